//! Measures a run, and reports it.

use std::fmt;
use std::time::Instant;

use anyhow::Result;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde_json::json;

use super::tally::Window;

/// A stopwatch for wall-clock time and processor time.
pub(super) struct Meter {
    start: Instant,
    cpu: Cpu,
}

/// Processor time in seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Cpu {
    user: f64,
    system: f64,
}

impl Cpu {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds are shown")]
    fn now() -> Result<Self> {
        let usage = getrusage(UsageWho::RUSAGE_SELF)?;
        let seconds = |time: nix::sys::time::TimeVal| time.num_microseconds() as f64 / 1e6;
        Ok(Self { user: seconds(usage.user_time()), system: seconds(usage.system_time()) })
    }
}

impl Meter {
    pub(super) fn start() -> Result<Self> {
        Ok(Self { start: now(), cpu: Cpu::now()? })
    }

    pub(super) fn stop(self, size: u64, window: Window) -> Result<Report> {
        let cpu = Cpu::now()?;
        let cpu = Cpu { user: cpu.user - self.cpu.user, system: cpu.system - self.cpu.system };
        Ok(Report { cpu, ..Report::of(size, self.start.elapsed().as_secs_f64(), window) })
    }
}

/// The result of a measurement.
pub(super) struct Report {
    size: u64,
    seconds: f64,
    cpu: Cpu,
    pub(super) window: Window,
}

impl Report {
    pub(super) fn of(size: u64, seconds: f64, window: Window) -> Self {
        Self { size, seconds, cpu: Cpu::default(), window }
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    fn records_per_second(&self) -> f64 {
        self.window.acknowledged as f64 / self.seconds
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    fn bytes_per_second(&self) -> f64 {
        self.records_per_second() * self.size as f64
    }

    /// Formats a progress report like kafka-producer-perf-test.
    pub(super) fn in_short(&self) -> String {
        format!(
            "{} records sent, {:.1} records/sec ({:.2} MB/sec), {:.1} ms avg latency, {:.1} ms max latency.",
            self.window.acknowledged,
            self.records_per_second(),
            // kafka-producer-perf-test's megabytes have 1,048,576 bytes.
            self.bytes_per_second() / f64::from(1 << 20),
            self.window.latency_us.mean() / 1e3,
            self.window.latency_ms(1.0),
        )
    }

    pub(super) fn json(&self) -> serde_json::Value {
        let rounded = |number: f64, digits: i32| (number * 10f64.powi(digits)).round() / 10f64.powi(digits);
        #[expect(clippy::cast_precision_loss, reason = "a quotient for people")]
        let records = self.window.acknowledged.max(1) as f64;
        json!({
            "peer": "kurier",
            "records": self.window.acknowledged,
            "failed": self.window.failed,
            "size": self.size,
            "secs": rounded(self.seconds, 3),
            "rec_per_s": rounded(self.records_per_second(), 0),
            "mb_per_s": rounded(self.bytes_per_second() / 1e6, 1),
            "cpu_user": rounded(self.cpu.user, 3),
            "cpu_sys": rounded(self.cpu.system, 3),
            "cpu_us_per_rec": rounded((self.cpu.user + self.cpu.system) * 1e6 / records, 3),
            "rss_mb": rounded(peak_memory_mb(), 1),
            "p50_ms": rounded(self.window.latency_ms(0.5), 2),
            "p99_ms": rounded(self.window.latency_ms(0.99), 2),
            "p999_ms": rounded(self.window.latency_ms(0.999), 2),
        })
    }
}

impl fmt::Display for Report {
    /// Formats the result like the last line of kafka-producer-perf-test.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let latency = |quantile| self.window.latency_ms(quantile).round();
        write!(
            f,
            "{} {} ms 50th, {} ms 95th, {} ms 99th, {} ms 99.9th.",
            self.in_short().trim_end_matches('.').to_owned() + ",",
            latency(0.5),
            latency(0.95),
            latency(0.99),
            latency(0.999)
        )
    }
}

/// Returns the process's peak memory, in millions of bytes.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn peak_memory_mb() -> f64 {
    // Linux reports kilobytes.
    getrusage(UsageWho::RUSAGE_SELF).map_or(0.0, |usage| usage.max_rss() as f64 / 1024.0)
}

#[expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]
pub(super) fn now() -> Instant {
    Instant::now()
}
