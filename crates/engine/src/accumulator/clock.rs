//! The time, as the accumulator sees it.

use std::time::Instant;

/// Clock source for code that must not read the system clock.
pub trait Clock: Send + Sync {
    fn now(&self) -> Instant;

    /// Milliseconds since 1970.
    fn wall_ms(&self) -> i64;

    /// Milliseconds since 1970, read once for each record. `last` is the caller's previous reading: a clock that knows
    /// how long that holds can return it again.
    fn wall_ms_after(&self, last: &mut WallReading) -> i64 {
        let _ = last;
        self.wall_ms()
    }
}

/// A reading of the wall clock, and how long it holds by a counter of the processor.
#[derive(Clone, Copy, Debug, Default)]
pub struct WallReading {
    pub wall_ms: i64,
    /// The counter at the reading.
    pub ticks: u64,
    /// The number of ticks until the next millisecond.
    pub span: u64,
}

/// A clock that stands still, for tests.
#[cfg(any(test, feature = "internal"))]
#[derive(Debug)]
pub struct Still(pub Instant);

#[cfg(any(test, feature = "internal"))]
impl Clock for Still {
    fn now(&self) -> Instant {
        self.0
    }

    fn wall_ms(&self) -> i64 {
        0
    }
}
