//! Counts outcomes and their latencies.

use std::sync::Mutex;
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use kurier::Error;

use crate::sync::lock;

/// Number and latency of acknowledgements.
pub(super) struct Tally {
    /// Acknowledgements since the last report.
    window: Mutex<Window>,
    /// Acknowledgements before the last report.
    total: Mutex<Window>,
    /// The first failure.
    pub(super) error: Mutex<Option<Error>>,
}

pub(super) struct Window {
    pub(super) acknowledged: u64,
    pub(super) failed: u64,
    pub(super) latency_us: Histogram<u64>,
}

impl Window {
    fn new() -> Result<Self> {
        // Range from a microsecond to ten minutes, with three digits.
        Ok(Self { acknowledged: 0, failed: 0, latency_us: Histogram::new_with_bounds(1, 600_000_000, 3)? })
    }

    /// Returns the contents and leaves this window empty.
    fn take(&mut self) -> Self {
        let empty = Histogram::new_from(&self.latency_us);
        let latency_us = std::mem::replace(&mut self.latency_us, empty);
        Self {
            acknowledged: std::mem::take(&mut self.acknowledged),
            failed: std::mem::take(&mut self.failed),
            latency_us,
        }
    }

    fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.failed += other.failed;
        // Cannot fail: both have the same bounds.
        let _ = self.latency_us.add(&other.latency_us);
    }

    /// Returns the latency at a quantile, in milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    pub(super) fn latency_ms(&self, quantile: f64) -> f64 {
        self.latency_us.value_at_quantile(quantile) as f64 / 1e3
    }
}

impl Tally {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { window: Mutex::new(Window::new()?), total: Mutex::new(Window::new()?), error: Mutex::default() })
    }

    pub(super) fn add(&self, outcomes: impl Iterator<Item = Result<Duration, Error>>) {
        let mut window = lock(&self.window);
        for outcome in outcomes {
            match outcome {
                Ok(latency) => {
                    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1);
                    window.latency_us.saturating_record(micros);
                    window.acknowledged += 1;
                }
                Err(error) => {
                    lock(&self.error).get_or_insert(error);
                    window.failed += 1;
                }
            }
        }
    }

    pub(super) fn take_window(&self) -> Window {
        let window = lock(&self.window).take();
        lock(&self.total).add(&window);
        window
    }

    pub(super) fn take_total(&self) -> Window {
        self.take_window();
        lock(&self.total).take()
    }
}
