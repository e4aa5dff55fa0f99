//! Measures a run, and reports it in the words of kafka-producer-perf-test, or as JSON.

use std::fmt;
use std::time::Instant;

use anyhow::Result;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde_json::{Map, Value, json};

use super::tally::Latencies;

/// A stopwatch for wall-clock time and processor time.
pub(super) struct Meter {
    start: Instant,
    cpu: Cpu,
}

/// Processor time in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cpu {
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

    /// Returns the seconds since the start, and the processor time.
    pub(super) fn stop(self) -> Result<(f64, Cpu)> {
        let cpu = Cpu::now()?;
        let cpu = Cpu { user: cpu.user - self.cpu.user, system: cpu.system - self.cpu.system };
        Ok((self.start.elapsed().as_secs_f64(), cpu))
    }
}

/// What a part of the run sent, and how fast.
pub(super) struct Window {
    pub(super) seconds: f64,
    pub(super) acknowledged: u64,
    pub(super) bytes_per_record: f64,
    pub(super) latencies: Latencies,
}

impl Window {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    fn records_per_second(&self) -> f64 {
        self.acknowledged as f64 / self.seconds
    }

    /// Megabytes per second. Those of kafka-producer-perf-test have 1,048,576 bytes.
    fn mib_per_second(&self) -> f64 {
        self.records_per_second() * self.bytes_per_record / f64::from(1 << 20)
    }

    /// Formats the progress.
    pub(super) fn progress(&self) -> String {
        format!(
            "{} records sent, {:.1} records/sec ({:.2} MB/sec), {:.1} ms avg latency, {:.1} ms max latency.",
            self.acknowledged,
            self.records_per_second(),
            self.mib_per_second(),
            self.latencies.mean_ms(),
            self.latencies.max_ms(),
        )
    }

    /// Formats the result of a run, or of the part of it that came after warming up.
    pub(super) fn total(&self, is_steady: bool) -> String {
        let quantile = |quantile| self.latencies.at_ms(quantile).round();
        format!(
            "{}{} records sent, {:.6} records/sec ({:.2} MB/sec), {:.2} ms avg latency, {:.2} ms max latency, \
             {} ms 50th, {} ms 95th, {} ms 99th, {} ms 99.9th.",
            self.acknowledged,
            if is_steady { " steady state" } else { "" },
            self.records_per_second(),
            self.mib_per_second(),
            self.latencies.mean_ms(),
            self.latencies.max_ms(),
            quantile(0.5),
            quantile(0.95),
            quantile(0.99),
            quantile(0.999),
        )
    }

    fn json(&self) -> Map<String, Value> {
        let fields = [
            ("records", json!(self.acknowledged)),
            ("secs", rounded(self.seconds, 3)),
            ("rec_per_s", rounded(self.records_per_second(), 0)),
            ("mb_per_s", rounded(self.records_per_second() * self.bytes_per_record / 1e6, 1)),
            ("latencies", json!(self.latencies.count())),
            ("avg_ms", rounded(self.latencies.mean_ms(), 3)),
            ("max_ms", rounded(self.latencies.max_ms(), 3)),
            ("p50_ms", rounded(self.latencies.at_ms(0.5), 3)),
            ("p95_ms", rounded(self.latencies.at_ms(0.95), 3)),
            ("p99_ms", rounded(self.latencies.at_ms(0.99), 3)),
            ("p999_ms", rounded(self.latencies.at_ms(0.999), 3)),
        ];
        fields.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
    }
}

/// The result of a run.
pub(super) struct Report {
    pub(super) cpu: Cpu,
    pub(super) failed: u64,
    pub(super) latency_every: u64,
    pub(super) total: Window,
    /// The part after the records that warm up.
    pub(super) steady: Option<Window>,
}

impl Report {
    /// Returns the result as one object. Its megabytes have 1,000,000 bytes.
    pub(super) fn json(&self) -> Value {
        let mut object = Map::from_iter([("peer".to_owned(), json!("kurier"))]);
        object.extend(self.total.json());
        #[expect(clippy::cast_precision_loss, reason = "a quotient for people")]
        let records = self.total.acknowledged.max(1) as f64;
        let others = [
            ("failed", json!(self.failed)),
            ("size", rounded(self.total.bytes_per_record, 1)),
            ("latency_every", json!(self.latency_every)),
            ("cpu_user", rounded(self.cpu.user, 3)),
            ("cpu_sys", rounded(self.cpu.system, 3)),
            ("cpu_us_per_rec", rounded((self.cpu.user + self.cpu.system) * 1e6 / records, 3)),
            ("rss_mb", rounded(peak_memory_mb(), 1)),
        ];
        object.extend(others.map(|(name, value)| (name.to_owned(), value)));
        if let Some(steady) = &self.steady {
            object.insert("steady_state".to_owned(), Value::Object(steady.json()));
        }
        Value::Object(object)
    }
}

impl fmt::Display for Report {
    /// Formats the last lines of kafka-producer-perf-test.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.total.total(false))?;
        match &self.steady {
            Some(steady) => write!(f, "\n{}", steady.total(true)),
            None => Ok(()),
        }
    }
}

/// Formats metrics as kafka-producer-perf-test does.
pub(super) fn metrics(metrics: &[(String, f64)]) -> String {
    let width = metrics.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = format!("\n{:width$}   Value\n", "Metric Name");
    for (name, value) in metrics {
        text += &format!("{name:width$} : {value:.3}\n");
    }
    text
}

/// Returns a number with so many digits after the point; `null` for none or infinitely many.
fn rounded(number: f64, digits: i32) -> Value {
    let factor = 10f64.powi(digits);
    json!((number * factor).round() / factor)
}

/// Returns the process's peak memory, in MiB.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn peak_memory_mb() -> f64 {
    // Linux reports kilobytes.
    getrusage(UsageWho::RUSAGE_SELF).map_or(0.0, |usage| usage.max_rss() as f64 / 1024.0)
}

#[expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]
pub(super) fn now() -> Instant {
    Instant::now()
}
