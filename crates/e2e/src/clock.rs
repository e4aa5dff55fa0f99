//! The clock of these tests, and waiting by polling.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Returns the current time.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "other people's processes run by no other clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// Sleeps until this time.
pub fn sleep_until(then: Instant) {
    thread::sleep(then.saturating_duration_since(now()));
}

/// Polls `ask` until it returns a value.
///
/// # Errors
/// If `ask` fails, or after `limit`, with `what` as the missing condition.
pub fn wait_until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = now() + limit;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if now() > deadline {
            bail!("{what}: not so after {} s", limit.as_secs());
        }
        // Short compared to any action of a cluster, long compared to one poll.
        thread::sleep(Duration::from_millis(50));
    }
}
