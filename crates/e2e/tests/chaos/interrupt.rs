//! The handler of Ctrl-C. The run checks it at every wait, so that it can end all nodes itself, even a paused one.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kurier_e2e::clock::{now, sleep_until, wait_until};
use tokio::signal::unix::{SignalKind, signal};

static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Watches for SIGINT and SIGTERM. A second signal ends the process at once.
pub(crate) fn watch(runtime: &tokio::runtime::Handle) -> Result<()> {
    let _guard = runtime.enter();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    runtime.spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if IS_INTERRUPTED.swap(true, Ordering::Relaxed) {
                process::exit(130);
            }
        }
    });
    Ok(())
}

/// Returns an error after Ctrl-C.
pub(crate) fn check() -> Result<()> {
    ensure!(!IS_INTERRUPTED.load(Ordering::Relaxed), "interrupted");
    Ok(())
}

/// Lets the load run until this time.
pub(crate) fn run_until(then: Instant) -> Result<()> {
    while now() < then {
        check()?;
        sleep_until(then.min(now() + Duration::from_millis(50)));
    }
    check()
}

/// Like [`wait_until`], but ends on Ctrl-C.
pub(crate) fn wait_for<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    wait_until(what, limit, || {
        check()?;
        ask()
    })
}
