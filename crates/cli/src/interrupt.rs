//! Ends what runs when Ctrl-C or SIGTERM says so, at a point where nothing is half done.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::process::ExitCode;
use std::task::Poll;

use tokio::signal::unix::{SignalKind, signal};

/// Either what `work` came to, or the exit status of a command that a signal has ended. The work is then dropped where
/// it was waiting.
///
/// # Errors
/// When the system refuses to hand over its signals.
pub(crate) async fn unless_interrupted<T>(work: impl Future<Output = T>) -> io::Result<Result<T, ExitCode>> {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate()];
    let mut signals = Vec::new();
    for kind in kinds {
        signals.push((signal(kind)?, status(kind)));
    }
    let mut work = pin!(work);
    let ended = poll_fn(|cx| {
        for (signal, status) in &mut signals {
            if signal.poll_recv(cx).is_ready() {
                return Poll::Ready(Err(*status));
            }
        }
        work.as_mut().poll(cx).map(Ok)
    });
    Ok(ended.await)
}

/// As shells have it: 128 and the signal's number.
fn status(kind: SignalKind) -> ExitCode {
    u8::try_from(128 + kind.as_raw_value()).map_or(ExitCode::FAILURE, ExitCode::from)
}
