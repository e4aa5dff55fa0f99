//! Measures a run and prints it as one line of JSON.

use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde_json::{Value, json};

use crate::workload::Workload;

/// Latencies from a microsecond to ten minutes, with three digits.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        // These bounds are valid.
        let histogram = Histogram::new_with_bounds(1, 600_000_000, 3).unwrap_or_else(|_| unreachable!());
        Self(histogram)
    }
}

impl Latencies {
    /// Adds the latency of so many records.
    pub fn record(&mut self, latency: Duration, records: u64) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1);
        self.0.saturating_record_n(micros, records);
    }

    /// Number of latencies.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Returns the latency at a quantile, in milliseconds, or null without any.
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    fn at_ms(&self, quantile: f64) -> Value {
        match self.0.is_empty() {
            true => Value::Null,
            false => rounded(self.0.value_at_quantile(quantile) as f64 / 1e3, 3),
        }
    }
}

/// A stopwatch for wall-clock time and processor time.
#[derive(Debug)]
pub struct Meter {
    start: Instant,
    cpu: (f64, f64),
}

impl Meter {
    /// Starts to measure.
    ///
    /// # Errors
    /// When the system does not tell the processor time.
    pub fn start() -> Result<Self> {
        Ok(Self { start: now(), cpu: cpu_seconds()? })
    }

    /// Prints the result of a run on standard output. `peer` names the measured client.
    ///
    /// # Errors
    /// When the system does not tell the processor time.
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    #[expect(clippy::print_stdout, reason = "the result of the program")]
    pub fn report(self, peer: &str, workload: &Workload, ok: u64, failed: u64, latencies: &Latencies) -> Result<()> {
        let seconds = self.start.elapsed().as_secs_f64();
        let (user, system) = cpu_seconds()?;
        let (user, system) = (user - self.cpu.0, system - self.cpu.1);
        let per_second = ok as f64 / seconds;
        let line = json!({
            "peer": peer,
            "records": ok,
            "failed": failed,
            "size": workload.size,
            "secs": rounded(seconds, 3),
            "rec_per_s": rounded(per_second, 0),
            "mb_per_s": rounded(per_second * workload.size as f64 / 1e6, 1),
            "cpu_user": rounded(user, 3),
            "cpu_sys": rounded(system, 3),
            "cpu_us_per_rec": rounded((user + system) * 1e6 / ok.max(1) as f64, 3),
            "rss_mb": rounded(getrusage(UsageWho::RUSAGE_SELF)?.max_rss() as f64 / 1024.0, 1),
            "latencies": latencies.count(),
            "p50_ms": latencies.at_ms(0.5),
            "p99_ms": latencies.at_ms(0.99),
            "p999_ms": latencies.at_ms(0.999),
        });
        println!("{line}");
        Ok(())
    }
}

/// Returns the processor time of this process in seconds: its own, and the system's.
#[expect(clippy::cast_precision_loss, reason = "milliseconds are shown")]
fn cpu_seconds() -> Result<(f64, f64)> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let seconds = |time: nix::sys::time::TimeVal| time.num_microseconds() as f64 / 1e6;
    Ok((seconds(usage.user_time()), seconds(usage.system_time())))
}

fn rounded(number: f64, digits: i32) -> Value {
    let factor = 10f64.powi(digits);
    json!((number * factor).round() / factor)
}

/// Reads the monotonic clock.
#[expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}
