//! Collects outcomes and latencies of other producers.

use std::sync::Mutex;
use std::time::Duration;

use anyhow::Result;
use kurier_bench::{Latencies, Meter, Workload};

/// Outcomes so far.
#[derive(Debug, Default)]
pub struct Outcomes(Mutex<Counted>);

#[derive(Clone, Debug, Default)]
struct Counted {
    acknowledged: u64,
    failed: u64,
    latencies: Latencies,
}

impl Outcomes {
    /// Adds a record: its latency, or `None` if it failed.
    pub fn add(&self, latency: Option<Duration>) {
        let mut counted = self.0.lock().expect("no thread panics while it counts");
        match latency {
            Some(latency) => {
                counted.acknowledged += 1;
                counted.latencies.record(latency, 1);
            }
            None => counted.failed += 1,
        }
    }

    /// Prints the result.
    ///
    /// # Errors
    /// As [`Meter::report`].
    pub fn report(&self, meter: Meter, peer: &str, workload: &Workload) -> Result<()> {
        let counted = self.0.lock().expect("no thread panics while it counts").clone();
        meter.report(peer, workload, counted.acknowledged, counted.failed, &counted.latencies)
    }
}
