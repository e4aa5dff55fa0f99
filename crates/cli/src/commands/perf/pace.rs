//! Sends records evenly over time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::report::now;
use crate::sync::lock;

/// Least time to sleep. At more than one record in this time, the records of that time are sent together, because each
/// sleep costs about as much as several records.
const SLEEP_MIN: Duration = Duration::from_micros(250);

/// The times at which records are due. The record with number `n` is due `n / rate` seconds after the start.
pub(super) struct Pace {
    start: Instant,
    /// Records per second.
    rate: f64,
    /// Number of records that were due at the last look at the clock.
    due: u64,
}

impl Pace {
    pub(super) fn new(start: Instant, rate: f64) -> Self {
        Self { start, rate, due: 0 }
    }

    /// Returns how long to sleep before this record, and looks at the clock only if the record may not be due.
    pub(super) fn wait(&mut self, number: u64) -> Option<Duration> {
        if number < self.due {
            return None;
        }
        self.wait_at(number, self.start.elapsed())
    }

    /// Returns how long to sleep before this record, this long after the start.
    #[expect(clippy::cast_precision_loss, reason = "52 bits are enough for a rate")]
    fn wait_at(&mut self, number: u64, elapsed: Duration) -> Option<Duration> {
        // Never more than the largest duration: a rate may be tiny.
        let due_at = Duration::try_from_secs_f64(number as f64 / self.rate).unwrap_or(Duration::MAX);
        match due_at.checked_sub(elapsed) {
            Some(wait) if !wait.is_zero() => Some(wait.max(SLEEP_MIN)),
            _ => {
                self.due = number.max(self.due_by(elapsed)).saturating_add(1);
                None
            }
        }
    }

    /// Returns the number of the last record that is due this long after the start.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the conversion saturates")]
    fn due_by(&self, elapsed: Duration) -> u64 {
        (elapsed.as_secs_f64() * self.rate) as u64
    }
}

/// Tells threads that sleep that they must end.
#[derive(Debug, Default)]
pub(super) struct Stop {
    is_over: AtomicBool,
    /// Guards the flag between a look at it and the start of a sleep.
    mutex: Mutex<()>,
    changed: Condvar,
}

impl Stop {
    /// Wakes all threads, for good.
    pub(super) fn stop(&self) {
        let _held = lock(&self.mutex);
        self.is_over.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Sleeps for this time, or until [`stop`](Self::stop) is called. A timer of tokio would be too coarse: it has
    /// milliseconds.
    pub(super) fn sleep(&self, time: Duration) {
        let end = now().checked_add(time);
        let mut held = lock(&self.mutex);
        while !self.is_over() {
            // A time beyond the clock's range is as good as for ever.
            let rest = end.map_or(Duration::MAX, |end| end.saturating_duration_since(now()));
            if rest.is_zero() {
                return;
            }
            held = self.changed.wait_timeout(held, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn slow_records_are_sent_one_by_one() {
        let mut pace = Pace::new(now(), 1_000.0);
        assert_eq!(pace.wait_at(0, micros(0)), None);
        assert_eq!(pace.wait_at(1, micros(10)), Some(micros(990)));
        assert_eq!(pace.wait_at(1, micros(1_060)), None);
        assert_eq!(pace.due, 2);
        assert_eq!(pace.wait_at(2, micros(1_060)), Some(micros(940)));
    }

    #[test]
    fn fast_records_are_sent_together_after_a_short_sleep() {
        let mut pace = Pace::new(now(), 500_000.0);
        assert_eq!(pace.wait_at(0, micros(0)), None);
        assert_eq!(pace.wait_at(1, micros(0)), Some(SLEEP_MIN));
        assert_eq!(pace.wait_at(1, micros(310)), None);
        assert_eq!(pace.due, 156);
        assert_eq!(pace.wait(155), None);
        assert_eq!(pace.wait_at(156, micros(310)), Some(SLEEP_MIN));
    }

    #[test]
    fn late_thread_catches_up_without_a_sleep() {
        let mut pace = Pace::new(now(), 10.0);
        for number in 0..=100 {
            assert_eq!(pace.wait_at(number, Duration::from_secs(10)), None);
        }
        assert_eq!(pace.wait_at(101, Duration::from_secs(10)), Some(Duration::from_millis(100)));
    }

    #[test]
    fn tiny_rate_waits_for_ever() {
        let mut pace = Pace::new(now(), f64::MIN_POSITIVE);
        assert_eq!(pace.wait_at(0, micros(1)), None);
        assert_eq!(pace.wait_at(1, Duration::ZERO), Some(Duration::MAX));
    }

    #[test]
    fn huge_rate_never_waits() {
        for rate in [1e30, f64::MAX] {
            let mut pace = Pace::new(now(), rate);
            assert_eq!(pace.wait_at(0, micros(1)), None);
            assert_eq!(pace.due, u64::MAX);
            assert_eq!(pace.wait(u64::MAX - 1), None);
        }
    }

    #[test]
    fn stop_ends_every_sleep() {
        let stop = Stop::default();
        std::thread::scope(|scope| {
            for time in [Duration::MAX, Duration::from_secs(3_600)] {
                let stop = &stop;
                scope.spawn(move || stop.sleep(time));
            }
            stop.stop();
        });
        stop.sleep(Duration::MAX);
    }
}
