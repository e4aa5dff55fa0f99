//! System clock: the only code that reads the time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kurier_engine::accumulator::Clock;

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "time enters here")]
    fn now(&self) -> Instant {
        Instant::now()
    }

    #[expect(clippy::disallowed_methods, reason = "time enters here")]
    fn wall_ms(&self) -> i64 {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
    }
}

/// Returns the time of the wall clock, in whole milliseconds.
pub(super) fn wall_time() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(SystemClock.wall_ms()).unwrap_or_default())
}
