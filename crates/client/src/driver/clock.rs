//! System clocks: the only code that reads the time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kurier_engine::accumulator::{Clock, WallReading};

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "time enters here")]
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall_ms(&self) -> i64 {
        millis(since_1970())
    }
}

/// The machine's clocks for senders. A counter of the processor saves most readings of the wall clock.
#[derive(Clone, Debug)]
pub(crate) struct SenderClock {
    counter: quanta::Clock,
    ticks_per_ms: u64,
}

impl SenderClock {
    pub(crate) fn new() -> Self {
        let counter = quanta::Clock::new();
        let ticks_per_ms = ticks_per_ms(&counter);
        Self { counter, ticks_per_ms }
    }

    /// Reads the wall clock, whose value holds until its next millisecond.
    #[cold]
    fn read(&self, ticks: u64) -> WallReading {
        let now = since_1970();
        let left = 1_000_000 - u64::from(now.subsec_nanos()) % 1_000_000;
        let span = u128::from(self.ticks_per_ms) * u128::from(left) / 1_000_000;
        WallReading { wall_ms: millis(now), ticks, span: u64::try_from(span).unwrap_or(0) }
    }
}

impl Clock for SenderClock {
    fn now(&self) -> Instant {
        SystemClock.now()
    }

    fn wall_ms(&self) -> i64 {
        SystemClock.wall_ms()
    }

    fn wall_ms_after(&self, last: &mut WallReading) -> i64 {
        // The counter is read first, so a thread that is suspended in between reads the wall clock again soon.
        let ticks = self.counter.raw();
        // Counters of two processors may differ slightly. A difference below zero wraps, and the clock is read again.
        if ticks.wrapping_sub(last.ticks) >= last.span {
            *last = self.read(ticks);
        }
        last.wall_ms
    }
}

/// Returns the time of the wall clock, in whole milliseconds.
pub(super) fn wall_time() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(SystemClock.wall_ms()).unwrap_or_default())
}

#[expect(clippy::disallowed_methods, reason = "time enters here")]
fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn millis(since_1970: Duration) -> i64 {
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}

/// Returns the number of ticks in a millisecond, less 0.1 % for the counter's calibration.
fn ticks_per_ms(counter: &quanta::Clock) -> u64 {
    /// About a third of a second on a counter of 3 GHz.
    const TICKS: u64 = 1 << 30;
    let nanos = counter.delta_as_nanos(0, TICKS).max(1);
    let ticks = u128::from(TICKS) * 1_000_000 / u128::from(nanos);
    u64::try_from(ticks * 999 / 1_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_holds_until_the_next_millisecond() {
        let clock = SenderClock::new();
        let mut last = WallReading::default();
        let mut reads = 0;
        let end = clock.wall_ms() + 20;
        while last.wall_ms < end {
            let ticks = last.ticks;
            let before = clock.wall_ms();
            let read = clock.wall_ms_after(&mut last);
            // A thread may be suspended between the two.
            let after = clock.wall_ms();
            assert!((before..=after).contains(&read), "{read} is not between {before} and {after}");
            reads += u32::from(last.ticks != ticks);
        }
        assert!(reads < 1_000, "the wall clock was read {reads} times in 20 ms");
    }

    #[test]
    fn counter_that_went_back_is_not_trusted() {
        let clock = SenderClock::new();
        let ahead = WallReading { wall_ms: 0, ticks: u64::MAX / 2, span: 1_000_000 };
        assert_ne!(clock.wall_ms_after(&mut { ahead }), 0);
        let (just_now, span) = (clock.counter.raw(), u64::MAX / 2);
        assert_eq!(clock.wall_ms_after(&mut WallReading { wall_ms: 7, ticks: just_now, span }), 7);
    }
}
