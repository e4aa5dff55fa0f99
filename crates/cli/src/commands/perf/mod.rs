//! `kurier perf`: measures throughput, latency and cost.

mod options;
mod pace;
mod payload;
mod report;
mod sending;
mod tally;

use std::future::ready;
use std::io::Write;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use indicatif::ProgressBar;
use kurier::{Config, Producer, Summary};
use kurier_cli::escapes::unescaped;
use tokio::time::timeout;

use crate::exit::Misuse;
use crate::interrupt::Signals;
use crate::producer::watch::Watch;
use crate::{notice, producer};
use options::PerfOptions;
use pace::Stop;
use payload::Payload;
use report::{Cpu, Meter, Report, Window, now};
use sending::{End, Job};
use tally::Tally;

/// Send many records and measure, with the options and the output of kafka-producer-perf-test.
///
/// Time and CPU are measured from the first send to the last acknowledgement, latency from each send to its
/// acknowledgement. Up to 200,000 records, the latency of each record is measured; with more, that of every 64th, because
/// measuring it costs about as much as sending. --latency-every changes this. A result without a measured record has -
/// for its latencies (null in JSON).
///
/// Ctrl-C (or SIGTERM or SIGHUP) stops sending. Records already sent are still delivered and measured, and the status is
/// 130 (143 or 129). A second Ctrl-C gives up: the remaining records fail.
#[derive(Args, Debug)]
pub(crate) struct Perf {
    #[command(flatten)]
    options: PerfOptions,

    /// Topic to send to.
    #[arg(short, long)]
    topic: String,

    /// Number of records.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    num_records: u64,

    /// Size of each value in bytes. The values are pseudo-random letters.
    #[arg(
        long,
        value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(1..),
        required_unless_present_any = ["payload_file", "payload_monotonic"],
    )]
    record_size: Option<u32>,

    /// File of values, one per line, which are sent in random order. With --record-size: file to cut values of that size
    /// from, one after the other.
    #[arg(long, value_name = "FILE")]
    payload_file: Option<PathBuf>,

    /// Text between the values of --payload-file, with the escapes \n, \t, \r, \\ and \xNN.
    #[arg(long, value_name = "TEXT", default_value = r"\n")]
    payload_delimiter: String,

    /// Send the numbers 0, 1, 2 and so on, in decimal.
    #[arg(long, conflicts_with_all = ["record_size", "payload_file"])]
    payload_monotonic: bool,

    /// Maximum number of records per second; -1 or 0 is unlimited.
    #[arg(long, value_name = "N", default_value_t = -1.0, allow_negative_numbers = true)]
    throughput: f64,

    /// Number of first records to leave out of a second result, which is printed after the first.
    #[arg(long, value_name = "N", default_value_t = 0)]
    warmup_records: u64,

    /// Milliseconds between reports of progress.
    #[arg(long, value_name = "MS", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..))]
    reporting_interval: u64,

    /// Measure the latency of every Nth record; 1 measures each.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    latency_every: Option<u64>,

    /// Give each record a key of eight digits.
    #[arg(long)]
    keyed: bool,

    /// Number of threads that send.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,

    /// Print the counts of records at the end, with the names of Java's metrics.
    #[arg(long, conflicts_with = "json")]
    print_metrics: bool,

    /// Print only one line of JSON, at the end.
    #[arg(long)]
    json: bool,

    #[arg(long, hide = true)]
    transactional_id: Option<String>,

    #[arg(long, hide = true)]
    transaction_duration_ms: Option<String>,
}

/// Number of records up to which the latency of each is measured.
const EACH_MEASURED_MAX: u64 = 200_000;

/// Distance of measured records in a longer run.
const LATENCY_EVERY: u64 = 64;

impl Perf {
    pub(crate) fn run(&self, out: &mut impl Write) -> Result<ExitCode> {
        self.check()?;
        let config = self.options.0.config([])?;
        let payload = self.payload()?;
        let latency_every = self.latency_every.unwrap_or(match self.num_records {
            ..=EACH_MEASURED_MAX => 1,
            _ => LATENCY_EVERY,
        });
        for line in self.preface(&payload, latency_every) {
            writeln!(out, "{line}")?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let producer = producer::start(config.clone()).await?;
            // The first request for the topic waits for metadata, which is not part of the measurement.
            let topic = producer::topic(&producer, &self.topic).await?;
            // The first call calibrates the processor's clock, which takes time.
            let _ = quanta::Instant::now();
            let job = Arc::new(Job {
                topic,
                payload,
                is_keyed: self.keyed,
                records: self.num_records,
                warmup: self.warmup_records,
                threads: u64::from(self.threads),
                rate: Some(self.throughput).filter(|rate| *rate > 0.0),
                latency_every,
                start: now(),
                tally: Tally::new()?,
                sent: Arc::default(),
                bytes: AtomicU64::new(0),
                steady: OnceLock::new(),
                stop: Stop::default(),
            });
            let no_bar = ProgressBar::hidden();
            let mut watch = Watch::new(&producer, &no_bar, Signals::new()?, Arc::clone(&job.sent)).without_input();
            let meter = Meter::start()?;
            let senders = sending::start(&job)?;
            let ended = watch.read(self.progress(out, &producer, &job, senders)).await;
            job.stop.stop();
            // Waits for the last acknowledgement and its callback.
            let closed = watch.close(ended.is_err(), || ready(())).await;
            let (seconds, cpu) = meter.stop()?;
            let counts = closed.result.as_ref().map_or_else(kurier::Unfinished::counts, |counts| *counts);
            let report = report(&job, counts, seconds, cpu);
            match self.json {
                true => writeln!(out, "{}", report.json())?,
                false => writeln!(out, "{report}")?,
            }
            if self.print_metrics {
                write!(out, "{}", report::metrics(&metrics(counts, &config)))?;
            }
            complain(&job, counts);
            closed.status(ended, counts.failed() == 0 && closed.result.is_ok())
        })
    }

    /// Checks options that clap cannot check.
    fn check(&self) -> Result<()> {
        for (name, is_given) in [
            ("--transactional-id", self.transactional_id.is_some()),
            ("--transaction-duration-ms", self.transaction_duration_ms.is_some()),
        ] {
            if is_given {
                let text =
                    format!("{name} cannot be used: Kurier has no transactions yet; leave it out to send without");
                return Err(Misuse::error(text));
            }
        }
        if self.warmup_records >= self.num_records {
            let (warmup, all) = (self.warmup_records, self.num_records);
            return Err(Misuse::error(format!(
                "--warmup-records is {warmup}: it must be less than --num-records {all}"
            )));
        }
        if !self.throughput.is_finite() {
            return Err(Misuse::error("--throughput must be a number; -1 is unlimited"));
        }
        Ok(())
    }

    fn payload(&self) -> Result<Payload> {
        match (&self.payload_file, self.record_size) {
            (file, Some(size)) => Payload::slices(size, file.as_deref()),
            (Some(file), None) => {
                let delimiter = unescaped(&self.payload_delimiter);
                let wrong = |why| Misuse::error(format_args!("--payload-delimiter: {why}"));
                Payload::parts(file, &delimiter.map_err(wrong)?)
            }
            (None, None) => Ok(Payload::Numbers),
        }
    }

    /// Returns the lines to print before the records are sent.
    fn preface(&self, payload: &Payload, latency_every: u64) -> Vec<String> {
        let mut lines = Vec::new();
        if self.json {
            return lines;
        }
        if let (Some(file), Some(count)) = (&self.payload_file, payload.count()) {
            let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
            lines.push(format!("Reading payloads from: {}", notice::printable(&file.display().to_string())));
            lines.push(format!("Number of records read: {count}"));
        }
        if self.warmup_records > 0 {
            lines.push(format!(
                "Warmup first {} records. Steady state results will print after the complete test summary.",
                self.warmup_records
            ));
        }
        if latency_every > 1 {
            lines.push(format!("Latencies are those of one record in {latency_every} (--latency-every 1: of each)."));
        }
        lines
    }

    /// Prints the progress at intervals, until all records are sent or a thread fails.
    async fn progress(&self, out: &mut impl Write, producer: &Producer, job: &Job, senders: Vec<End>) -> Result<()> {
        let mut all = pin!(sending::ended(senders));
        let mut acknowledged = 0;
        let mut start = now();
        let mut is_steady = false;
        loop {
            match timeout(Duration::from_millis(self.reporting_interval), all.as_mut()).await {
                Ok(result) => return result,
                Err(_) if self.json => {}
                Err(_) => {
                    let before = std::mem::replace(&mut acknowledged, producer.summary().written);
                    let window = Window {
                        seconds: std::mem::replace(&mut start, now()).elapsed().as_secs_f64(),
                        acknowledged: acknowledged - before,
                        bytes_per_record: bytes_per_record(job),
                        latencies: job.tally.take_window(),
                    };
                    if job.steady.get().is_some() && !std::mem::replace(&mut is_steady, true) {
                        writeln!(out, "In steady state.")?;
                    }
                    writeln!(out, "{}", window.progress())?;
                    out.flush()?;
                }
            }
        }
    }
}

/// Returns the mean size of the values sent so far.
#[expect(clippy::cast_precision_loss, reason = "a mean for people")]
fn bytes_per_record(job: &Job) -> f64 {
    job.bytes.load(Ordering::Relaxed) as f64 / job.sent.accepted().max(1) as f64
}

fn report(job: &Job, counts: Summary, seconds: f64, cpu: Cpu) -> Report {
    let (latencies, steady) = job.tally.take_all();
    let bytes_per_record = bytes_per_record(job);
    let steady = job.steady.get().map(|start| Window {
        seconds: start.elapsed().as_secs_f64(),
        // Exact if no record that warms up has failed.
        acknowledged: counts.written.saturating_sub(job.warmup),
        bytes_per_record,
        latencies: steady,
    });
    let total = Window { seconds, acknowledged: counts.written, bytes_per_record, latencies };
    Report { cpu, failed: counts.failed(), latency_every: job.latency_every, total, steady }
}

/// Prints why records failed, as far as that is known.
fn complain(job: &Job, counts: Summary) {
    match job.tally.take_error() {
        Some(error) => notice::say(format_args!("first error: {error:#}")),
        None if counts.failed() > 0 => notice::say(format_args!(
            "{} records failed, and none whose latency was measured; --latency-every 1 shows the first error",
            counts.failed()
        )),
        None => {}
    }
}

/// Returns the counts of records with the names of Java's metrics.
#[expect(clippy::cast_precision_loss, reason = "Java's metrics are numbers of this kind")]
fn metrics(counts: Summary, config: &Config) -> Vec<(String, f64)> {
    let explained = config.explain();
    let client = explained.iter().find(|line| line.key == "client.id").and_then(|line| line.value.as_deref());
    let client = client.unwrap_or_default();
    let name = |name| format!("producer-metrics:{name}:{{client-id={client}}}");
    vec![(name("record-error-total"), counts.failed() as f64), (name("record-send-total"), counts.written as f64)]
}
