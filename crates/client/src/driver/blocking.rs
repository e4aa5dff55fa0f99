//! Calls of the system that may block: each gets a thread of its own.

use std::future::Future;
use std::io;
use std::pin::Pin;

use tokio::sync::oneshot;

/// Result of a call.
pub(crate) type Answer<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// Runs a call that may block on a thread with this name. The blocking pool of the user's runtime may be busy or have
/// no threads, so it is not used. If no thread starts, only this call fails.
pub(super) fn on_a_thread<T: Send + 'static>(
    name: &str,
    call: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Answer<T> {
    let (reply, answer) = oneshot::channel();
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(move || drop(reply.send(call())));
    Box::pin(async move {
        started?;
        answer.await.unwrap_or_else(|_| Err(io::Error::other("the call panicked")))
    })
}
