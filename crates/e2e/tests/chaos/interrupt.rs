//! Ctrl-C, seen wherever the run waits: so nodes end by the hand that started them, a paused one too.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kurier_e2e::clock::{now, sleep_until, wait_until};
use tokio::signal::unix::{SignalKind, signal};

static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Watches for SIGINT and SIGTERM; whoever sends a second one waits for nothing.
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

/// An error once Ctrl-C was pressed.
pub(crate) fn check() -> Result<()> {
    ensure!(!IS_INTERRUPTED.load(Ordering::Relaxed), "interrupted");
    Ok(())
}

/// Lets the load run until then.
pub(crate) fn run_until(then: Instant) -> Result<()> {
    while now() < then {
        check()?;
        sleep_until(then.min(now() + Duration::from_millis(50)));
    }
    check()
}

/// Waits as [`wait_until`] does.
pub(crate) fn wait_for<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    wait_until(what, limit, || {
        check()?;
        ask()
    })
}
