//! Signals that end a command: SIGINT (Ctrl-C), SIGTERM and SIGHUP.

use std::fs;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::process::ExitCode;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end a command, each with the exit status that stands for it.
#[derive(Debug)]
pub(crate) struct Signals(Vec<(Signal, ExitCode)>);

impl Signals {
    /// Takes the signals over. Those that the parent process has the command ignore, as nohup does with SIGHUP, stay
    /// ignored.
    ///
    /// # Errors
    /// When the system refuses to hand them over.
    pub(crate) fn new() -> io::Result<Self> {
        let ignored = fs::read_to_string("/proc/self/status").map_or(0, |status| ignored(&status));
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let is_ignored = |kind: &SignalKind| ignored >> (kind.as_raw_value() - 1) & 1 == 1;
        let taken = kinds.into_iter().filter(|kind| !is_ignored(kind)).map(|kind| Ok((signal(kind)?, status(kind))));
        taken.collect::<io::Result<_>>().map(Self)
    }

    /// Returns the result of `work`, or the exit status of a signal that came before it. Work that was not polled to its
    /// end can be passed again.
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

/// Returns the result of `work`, or the exit status of a signal that came before it. The signal drops the work at the point
/// where it waits.
///
/// # Errors
/// When the system refuses to hand over its signals.
pub(crate) async fn unless_interrupted<T>(work: impl Future<Output = T>) -> io::Result<Result<T, ExitCode>> {
    Ok(Signals::new()?.unless(work).await)
}

/// As in shells: 128 and the signal's number.
fn status(kind: SignalKind) -> ExitCode {
    u8::try_from(128 + kind.as_raw_value()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// The signals that a process ignores, as bits, from Linux's description of it (proc(5)). Other systems have none.
fn ignored(status: &str) -> u64 {
    let bits = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_description_of_the_process() {
        for (status, expected) in [("SigBlk:\t0000\nSigIgn:\t0000000000001001\n", 0x1001), ("", 0), ("SigIgn:\tx", 0)] {
            assert_eq!(ignored(status), expected, "{status:?}");
        }
    }
}
