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
            "{} records sent, {:.1} records/sec ({:.2} MB/sec), {} ms avg latency, {} ms max latency.",
            self.acknowledged,
            self.records_per_second(),
            self.mib_per_second(),
            shown(self.latencies.mean_ms(), 1),
            shown(self.latencies.max_ms(), 1),
        )
    }

    /// Formats the result of a run, or of the part of it that came after warming up.
    pub(super) fn total(&self, is_steady: bool) -> String {
        let quantile = |quantile| shown(self.latencies.at_ms(quantile).map(f64::round), 0);
        format!(
            "{}{} records sent, {:.6} records/sec ({:.2} MB/sec), {} ms avg latency, {} ms max latency, \
             {} ms 50th, {} ms 95th, {} ms 99th, {} ms 99.9th.",
            self.acknowledged,
            if is_steady { " steady state" } else { "" },
            self.records_per_second(),
            self.mib_per_second(),
            shown(self.latencies.mean_ms(), 2),
            shown(self.latencies.max_ms(), 2),
            quantile(0.5),
            quantile(0.95),
            quantile(0.99),
            quantile(0.999),
        )
    }

    fn json(&self) -> Map<String, Value> {
        let milliseconds = |latency: Option<f64>| latency.map_or(Value::Null, |latency| rounded(latency, 3));
        let fields = [
            ("records", json!(self.acknowledged)),
            ("secs", rounded(self.seconds, 3)),
            ("rec_per_s", rounded(self.records_per_second(), 0)),
            ("mb_per_s", rounded(self.records_per_second() * self.bytes_per_record / 1e6, 1)),
            ("latencies", json!(self.latencies.count())),
            ("avg_ms", milliseconds(self.latencies.mean_ms())),
            ("max_ms", milliseconds(self.latencies.max_ms())),
            ("p50_ms", milliseconds(self.latencies.at_ms(0.5))),
            ("p95_ms", milliseconds(self.latencies.at_ms(0.95))),
            ("p99_ms", milliseconds(self.latencies.at_ms(0.99))),
            ("p999_ms", milliseconds(self.latencies.at_ms(0.999))),
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

/// Formats a latency with this many digits after the point, or `-` if none was measured.
fn shown(latency: Option<f64>, digits: usize) -> String {
    latency.map_or_else(|| "-".to_owned(), |latency| format!("{latency:.digits$}"))
}

/// Returns a number with a given count of digits after the point; `null` without a number or for an infinite one.
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tally::Tally;
    use super::*;

    fn window(latencies: &[Duration]) -> Window {
        let tally = Tally::new().unwrap();
        for latency in latencies {
            tally.add(Ok(*latency), false);
        }
        Window { seconds: 2.0, acknowledged: 100, bytes_per_record: 10.0, latencies: tally.take_window() }
    }

    #[test]
    fn latency_is_shown_only_if_measured() {
        const RATES: &str = "records sent, 50.0 records/sec (0.00 MB/sec)";
        const RATES_OF_ALL: &str = "records sent, 50.000000 records/sec (0.00 MB/sec)";
        let measured = [Duration::from_micros(1_000), Duration::from_micros(2_000)];
        for (latencies, progress, total, json) in [
            (
                &measured[..],
                "1.5 ms avg latency, 2.0 ms max latency.",
                "1.50 ms avg latency, 2.00 ms max latency, 1 ms 50th, 2 ms 95th, 2 ms 99th, 2 ms 99.9th.",
                [json!(1.5), json!(2.0), json!(1.0), json!(2.0), json!(2.0), json!(2.0)],
            ),
            (
                &[],
                "- ms avg latency, - ms max latency.",
                "- ms avg latency, - ms max latency, - ms 50th, - ms 95th, - ms 99th, - ms 99.9th.",
                [const { Value::Null }; 6],
            ),
        ] {
            let window = window(latencies);
            assert_eq!(window.progress(), format!("100 {RATES}, {progress}"));
            assert_eq!(window.total(false), format!("100 {RATES_OF_ALL}, {total}"));
            assert_eq!(window.total(true), format!("100 steady state {RATES_OF_ALL}, {total}"));
            let object = window.json();
            assert_eq!(object["latencies"], latencies.len());
            let fields = ["avg_ms", "max_ms", "p50_ms", "p95_ms", "p99_ms", "p999_ms"];
            assert_eq!(fields.map(|name| object[name].clone()), json);
        }
    }
}
