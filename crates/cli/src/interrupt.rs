//! Signals that end a command: SIGINT (Ctrl-C), SIGTERM and SIGHUP.

use std::fs;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::process::ExitCode;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end a command, each with its exit status.
#[derive(Debug)]
pub(crate) struct Signals(Vec<(Signal, ExitCode)>);

impl Signals {
    /// Takes over the signals. SIGHUP stays ignored if the command was started with it ignored, as by nohup. SIGINT
    /// does not, because scripts start every background command with it ignored.
    ///
    /// # Errors
    /// When the system refuses to deliver the signals.
    pub(crate) fn new() -> io::Result<Self> {
        let is_hangup_ignored = fs::read_to_string("/proc/self/status").is_ok_and(|status| is_hangup_ignored(&status));
        let hangup = (!is_hangup_ignored).then(SignalKind::hangup);
        let kinds = [SignalKind::interrupt(), SignalKind::terminate()].into_iter().chain(hangup);
        kinds.map(|kind| Ok((signal(kind)?, status(kind)))).collect::<io::Result<_>>().map(Self)
    }

    /// Returns the result of `work`, or the exit status of a signal that arrives first. To continue the work after a
    /// signal, pass a reference to it again.
    pub(crate) async fn unless<T>(&mut self, work: impl Future<Output = T>) -> Result<T, ExitCode> {
        let mut work = pin!(work);
        let ended = poll_fn(|cx| {
            for (signal, status) in &mut self.0 {
                if signal.poll_recv(cx).is_ready() {
                    return Poll::Ready(Err(*status));
                }
            }
            work.as_mut().poll(cx).map(Ok)
        });
        ended.await
    }
}

/// Returns the result of `work`, or the exit status of a signal that arrives first. The signal drops the work at its
/// current await point.
///
/// # Errors
/// When the system refuses to deliver the signals.
pub(crate) async fn unless_interrupted<T>(work: impl Future<Output = T>) -> io::Result<Result<T, ExitCode>> {
    Ok(Signals::new()?.unless(work).await)
}

/// Returns 128 plus the signal's number, as shells do.
fn status(kind: SignalKind) -> ExitCode {
    u8::try_from(128 + kind.as_raw_value()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Returns whether a process ignores SIGHUP, from its Linux status file (proc(5)). Other systems have no such file.
fn is_hangup_ignored(status: &str) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    ignored.is_some_and(|bits| bits & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_sighup_is_read_from_proc_status() {
        for (status, expected) in [
            ("SigBlk:\t0000\nSigIgn:\t0000000000001001\n", true),
            ("SigIgn:\t0000000000001002\n", false),
            ("", false),
            ("SigIgn:\tx", false),
        ] {
            assert_eq!(is_hangup_ignored(status), expected, "{status:?}");
        }
    }
}
