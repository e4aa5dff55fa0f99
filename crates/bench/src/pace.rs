//! Sends records evenly over time.

use std::time::{Duration, Instant};

use crate::meter::now;

/// Least time to sleep, as in `kurier perf`: at more than one record in this time, the records of that time go together.
const SLEEP_MIN: Duration = Duration::from_micros(250);

/// The times at which records are due.
#[derive(Debug)]
pub struct Pace {
    start: Instant,
    /// Records per second; 0 is unlimited.
    rate: f64,
    /// Number of records that were due at the last look at the clock.
    due: u64,
}

impl Pace {
    /// Starts now.
    #[must_use]
    pub fn new(rate: f64) -> Self {
        Self { start: now(), rate, due: 0 }
    }

    /// Returns how long to wait before the record with this number, which is due `number / rate` seconds after the start.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "52 bits are enough for a rate, and the conversion saturates"
    )]
    pub fn wait(&mut self, number: u64) -> Option<Duration> {
        if self.rate == 0.0 || number < self.due {
            return None;
        }
        let elapsed = self.start.elapsed();
        let due_at = Duration::try_from_secs_f64(number as f64 / self.rate).unwrap_or(Duration::MAX);
        match due_at.checked_sub(elapsed) {
            Some(wait) if !wait.is_zero() => Some(wait.max(SLEEP_MIN)),
            _ => {
                self.due = number.max((elapsed.as_secs_f64() * self.rate) as u64) + 1;
                None
            }
        }
    }

    /// Sleeps until the record with this number is due. It blocks the thread, because timers of async runtimes are too
    /// coarse.
    pub fn sleep(&mut self, number: u64) {
        while let Some(wait) = self.wait(number) {
            std::thread::sleep(wait);
        }
    }
}
