//! Latencies of the measured records.

use std::sync::Mutex;
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use kurier::Error;

use crate::sync::lock;

/// Latencies in microseconds.
pub(super) struct Latencies(Histogram<u64>);

impl Latencies {
    fn new() -> Result<Self> {
        // Range from a microsecond to ten minutes, with three digits.
        Ok(Self(Histogram::new_with_bounds(1, 600_000_000, 3)?))
    }

    fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1));
    }

    /// Returns the contents and leaves this histogram empty.
    fn take(&mut self) -> Self {
        let empty = Histogram::new_from(&self.0);
        Self(std::mem::replace(&mut self.0, empty))
    }

    /// Number of latencies.
    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    /// Returns the mean in milliseconds, or `None` if no latency was measured.
    pub(super) fn mean_ms(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.mean() / 1e3)
    }

    /// Returns the maximum in milliseconds, or `None` if no latency was measured.
    pub(super) fn max_ms(&self) -> Option<f64> {
        self.at_ms(1.0)
    }

    /// Returns the latency at a quantile in milliseconds, or `None` if no latency was measured.
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    pub(super) fn at_ms(&self, quantile: f64) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(quantile) as f64 / 1e3)
    }
}

/// Latencies of all measured records, and the first failure.
pub(super) struct Tally {
    parts: Mutex<Parts>,
    error: Mutex<Option<Error>>,
}

struct Parts {
    /// Since the last report of progress.
    window: Latencies,
    /// Before the last report.
    before: Latencies,
    /// Without the records that warm up.
    steady: Latencies,
}

impl Tally {
    pub(super) fn new() -> Result<Self> {
        let parts = Parts { window: Latencies::new()?, before: Latencies::new()?, steady: Latencies::new()? };
        Ok(Self { parts: Mutex::new(parts), error: Mutex::default() })
    }

    /// Adds the outcome of a measured record. `is_steady` is whether the record came after those that warm up.
    pub(super) fn add(&self, outcome: Result<Duration, Error>, is_steady: bool) {
        match outcome {
            Ok(latency) => {
                let mut parts = lock(&self.parts);
                parts.window.record(latency);
                if is_steady {
                    parts.steady.record(latency);
                }
            }
            Err(error) => drop(lock(&self.error).get_or_insert(error)),
        }
    }

    /// Returns the latencies since the last call.
    pub(super) fn take_window(&self) -> Latencies {
        let mut parts = lock(&self.parts);
        let window = parts.window.take();
        // Cannot fail: both have the same bounds.
        let _ = parts.before.0.add(&window.0);
        window
    }

    /// Returns the latencies of all records, and those without the records that warm up.
    pub(super) fn take_all(&self) -> (Latencies, Latencies) {
        self.take_window();
        let mut parts = lock(&self.parts);
        (parts.before.take(), parts.steady.take())
    }

    /// Returns the first failure of a measured record.
    pub(super) fn take_error(&self) -> Option<Error> {
        lock(&self.error).take()
    }
}
