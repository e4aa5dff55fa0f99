//! The one clock of these tests, and waiting for others by asking them.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// What the clock shows.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "other people's processes run by no other clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// Sleeps until the clock shows this.
pub fn sleep_until(then: Instant) {
    thread::sleep(then.saturating_duration_since(now()));
}

/// Asks again and again until there is an answer, and returns it.
///
/// # Errors
/// When asking fails, or after `limit`; then with what it was that did not come to be.
pub fn wait_until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = now() + limit;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if now() > deadline {
            bail!("{what}: not so after {} s", limit.as_secs());
        }
        // Short beside what others take to do anything, long beside what a question costs them.
        thread::sleep(Duration::from_millis(50));
    }
}
