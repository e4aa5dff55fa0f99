//! `kurier perf`: measures throughput, latency and cost.

use std::fmt;
use std::future::ready;
use std::io::Write;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use clap::Args;
use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use kurier::{Delivery, Error, TopicProducer};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde_json::json;
use tokio::sync::{oneshot, watch};

use crate::exit::Misuse;
use crate::interrupt::Signals;
use crate::notice;
use crate::options::{self, Options};
use crate::sync::lock;
use crate::watch::{Sent, Watch};

/// Send many records and measure, like kafka-producer-perf-test.
///
/// Time and CPU are measured from the first send to the last acknowledgement, latency from each send to its
/// acknowledgement.
///
/// Ctrl-C (or SIGTERM or SIGHUP) stops sending. Records already sent are still delivered and measured, and the status is
/// 130 (143 or 129). A second Ctrl-C gives up: the remaining records fail.
#[derive(Args, Debug)]
pub(crate) struct Perf {
    #[command(flatten)]
    options: Options,

    /// Topic to send to.
    #[arg(short, long)]
    topic: String,

    /// Number of records.
    #[arg(long, value_name = "N")]
    num_records: u64,

    /// Size of each value in bytes.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..))]
    record_size: u32,

    /// File to slice values from, one after the other (default: fixed pseudo-random letters).
    #[arg(long, value_name = "FILE")]
    payload_file: Option<PathBuf>,

    /// Maximum number of records per second; -1 is unlimited.
    #[arg(long, value_name = "N", default_value_t = -1, allow_negative_numbers = true)]
    throughput: i64,

    /// Give each record a key of eight digits.
    #[arg(long)]
    keyed: bool,

    /// Number of threads that send.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,

    /// Print only one line of JSON, at the end.
    #[arg(long)]
    json: bool,
}

/// Interval of progress reports.
const REPORT_EVERY: Duration = Duration::from_secs(5);

impl Perf {
    pub(crate) fn run(&self, out: &mut impl Write) -> Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let payload = Arc::new(Payload::new(self)?);
            let producer = options::build(self.options.config([])?).await?;
            // The first request for the topic waits for metadata, which is not part of the measurement.
            let topic = options::topic(&producer, &self.topic).await?;
            // The first call calibrates the processor's clock, which takes time.
            let _ = quanta::Instant::now();
            let job = Arc::new(Job {
                topic,
                payload,
                is_keyed: self.keyed,
                records: self.num_records,
                threads: u64::from(self.threads),
                rate: u64::try_from(self.throughput).ok().filter(|rate| *rate > 0),
                start: now(),
                tally: Tally::new()?,
                sent: Arc::default(),
                is_over: watch::Sender::new(false),
            });
            let no_bar = ProgressBar::hidden();
            let mut watch = Watch::new(&producer, &no_bar, Signals::new()?, Arc::clone(&job.sent)).without_input();
            let meter = Meter::start()?;
            let (senders, tallied) = start(&job)?;
            let ended = watch.read(self.report(&job, senders)).await;
            job.is_over.send_replace(true);
            // Waits for the last acknowledgement.
            let closed = watch.close(ended.is_err(), || ready(())).await;
            for tallied in tallied {
                tallied.await.map_err(|_| anyhow!("a thread that counts has panicked"))?;
            }
            let report = meter.stop(u64::from(self.record_size), job.tally.take_total())?;
            match self.json {
                true => writeln!(out, "{}", report.json())?,
                false => writeln!(out, "{report}")?,
            }
            if let Some(error) = lock(&job.tally.error).as_ref() {
                notice::say(format_args!("the first record that failed: {error}"));
            }
            closed.status(ended, report.window.failed == 0 && closed.result.is_ok())
        })
    }

    /// Waits until all records are sent, and reports progress at intervals.
    async fn report(&self, job: &Job, senders: Vec<oneshot::Receiver<Result<(), Error>>>) -> Result<()> {
        let all = async {
            for sender in senders {
                sender.await.map_err(|_| anyhow!("a thread that sends has panicked"))??;
            }
            Ok(())
        };
        let mut all = pin!(all);
        loop {
            match tokio::time::timeout(REPORT_EVERY, all.as_mut()).await {
                Ok(result) => return result,
                Err(_) if self.json => {}
                Err(_) => {
                    let seconds = REPORT_EVERY.as_secs_f64();
                    let report = Report::of(u64::from(self.record_size), seconds, job.tally.take_window());
                    notice::say_as_it_is(report.in_short());
                }
            }
        }
    }
}

/// State that the sending threads share.
struct Job {
    topic: TopicProducer,
    payload: Arc<Payload>,
    is_keyed: bool,
    records: u64,
    threads: u64,
    rate: Option<u64>,
    start: Instant,
    tally: Tally,
    sent: Arc<Sent>,
    is_over: watch::Sender<bool>,
}

/// Signals for the end of each thread's sending and counting.
type Ends = (Vec<oneshot::Receiver<Result<(), Error>>>, Vec<oneshot::Receiver<()>>);

/// Sent records with their send times.
type Sending = Vec<(quanta::Instant, Delivery)>;

/// Records per batch that a sending thread hands to its counting thread, and maximum number of queued batches.
const SENT_AT_ONCE: usize = 64;
/// Bytes in such a batch: far fewer than buffer.memory, so that a record that waits for memory is not the only one known.
const BYTES_AT_ONCE: usize = 1 << 16;
const HANDS_MAX: usize = 65_536;

/// Starts the sending threads, each with its share of the records, and one thread for each that counts the outcomes.
fn start(job: &Arc<Job>) -> Result<Ends> {
    let mut ends = Ends::default();
    for thread in 0..job.threads {
        let (hand, hands) = mpsc::sync_channel(HANDS_MAX);
        let sending = Arc::clone(job);
        ends.0.push(spawn(format!("kurier-perf-{thread}"), send(sending, thread, hand))?);
        ends.1.push(spawn(format!("kurier-count-{thread}"), count(Arc::clone(job), hands))?);
    }
    Ok(ends)
}

/// Runs this on a new thread.
fn spawn<T: Send + 'static>(
    name: String,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<oneshot::Receiver<T>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let (done, ended) = oneshot::channel();
    std::thread::Builder::new().name(name).spawn(move || drop(done.send(runtime.block_on(work))))?;
    Ok(ended)
}

async fn send(job: Arc<Job>, thread: u64, hand: mpsc::SyncSender<Sending>) -> Result<(), Error> {
    let mut is_over = job.is_over.subscribe();
    // At a low rate, hand over each record at once so that its outcome is not seen late.
    let at_once = match job.rate {
        Some(_) => 1,
        None => (BYTES_AT_ONCE / job.payload.size).clamp(1, SENT_AT_ONCE),
    };
    let mut sending = Vec::with_capacity(at_once);
    let mut number = thread;
    let mut result = Ok(());
    while number < job.records {
        if let Some(rate) = job.rate {
            pace(job.start, number, rate, &mut is_over).await;
        }
        if (number % 1024 < job.threads || job.rate.is_some()) && *is_over.borrow() {
            break;
        }
        let at = quanta::Instant::now();
        let key = key_of(number);
        let record = job.topic.record().value(job.payload.value(number));
        match job.topic.send(record.nullable_key(job.is_keyed.then_some(&key[..]))).await {
            Ok(delivery) => sending.push((at, delivery)),
            Err(error) => {
                result = Err(error);
                break;
            }
        }
        if sending.len() >= at_once {
            hand_over(&job, &hand, std::mem::replace(&mut sending, Vec::with_capacity(at_once)));
        }
        number += job.threads;
    }
    hand_over(&job, &hand, sending);
    result
}

/// Counts accepted records and hands them to the counting thread, which outlives the sending thread.
fn hand_over(job: &Job, hand: &mpsc::SyncSender<Sending>, sending: Sending) {
    job.sent.accept(sending.len() as u64);
    let _ = hand.send(sending);
}

/// Waits for the outcomes in record order. An outcome that arrives before those of earlier records is seen as late as
/// they are, so the measured latency is never too low.
async fn count(job: Arc<Job>, hands: mpsc::Receiver<Sending>) {
    let mut outcomes = Vec::with_capacity(SENT_AT_ONCE);
    for sent in hands {
        for (at, delivery) in sent {
            outcomes.push(delivery.await.map(|_| at.elapsed()));
        }
        job.tally.add(outcomes.drain(..));
    }
}

/// Waits until this record is due, or until sending is over.
async fn pace(start: Instant, number: u64, rate: u64, is_over: &mut watch::Receiver<bool>) {
    // A timer is too coarse for single records.
    if !number.is_multiple_of(16) {
        return;
    }
    let due =
        Duration::from_nanos(u64::try_from(u128::from(number) * 1_000_000_000 / u128::from(rate)).unwrap_or(u64::MAX));
    if let Some(wait) = due.checked_sub(start.elapsed()) {
        let _ = tokio::time::timeout(wait, is_over.wait_for(|is_over| *is_over)).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]
fn now() -> Instant {
    Instant::now()
}

/// Source of values: slices of a file, or of pseudo-random letters.
struct Payload {
    bytes: Vec<u8>,
    size: usize,
}

impl Payload {
    fn new(perf: &Perf) -> Result<Self> {
        let size = usize::try_from(perf.record_size)?;
        let bytes = match &perf.payload_file {
            Some(path) => std::fs::read(path)
                .map_err(|error| Misuse::error(format!("--payload-file {} cannot be read: {error}", path.display())))?,
            None => letters(size.max(1 << 20) + 1),
        };
        if bytes.len() <= size {
            let text = format!("--payload-file has {} bytes: it must be longer than --record-size {size}", bytes.len());
            return Err(Misuse::error(text));
        }
        Ok(Self { bytes, size })
    }

    fn value(&self, number: u64) -> &[u8] {
        let windows = self.bytes.len() - self.size;
        let at = usize::try_from(number).unwrap_or(0).wrapping_mul(self.size) % windows;
        self.bytes.get(at..at + self.size).unwrap_or_default()
    }
}

/// Returns pseudo-random letters that are always the same (xorshift).
fn letters(count: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b'A' + u8::try_from(state % 26).unwrap_or_default()
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// Returns a key of eight digits; consecutive numbers give scattered keys.
fn key_of(number: u64) -> [u8; 8] {
    let mut rest = number.wrapping_mul(2_654_435_761) % 100_000_000;
    let mut key = [b'0'; 8];
    for digit in key.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
    }
    key
}

/// Number and latency of acknowledgements.
struct Tally {
    /// Acknowledgements since the last report.
    window: Mutex<Window>,
    /// Acknowledgements before the last report.
    total: Mutex<Window>,
    /// The first failure.
    error: Mutex<Option<Error>>,
}

struct Window {
    acknowledged: u64,
    failed: u64,
    latency_us: Histogram<u64>,
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
    fn latency_ms(&self, quantile: f64) -> f64 {
        self.latency_us.value_at_quantile(quantile) as f64 / 1e3
    }
}

impl Tally {
    fn new() -> Result<Self> {
        Ok(Self { window: Mutex::new(Window::new()?), total: Mutex::new(Window::new()?), error: Mutex::default() })
    }

    fn add(&self, outcomes: impl Iterator<Item = Result<Duration, Error>>) {
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

    fn take_window(&self) -> Window {
        let window = lock(&self.window).take();
        lock(&self.total).add(&window);
        window
    }

    fn take_total(&self) -> Window {
        self.take_window();
        lock(&self.total).take()
    }
}

/// A stopwatch for wall-clock time and processor time.
struct Meter {
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
    fn start() -> Result<Self> {
        Ok(Self { start: now(), cpu: Cpu::now()? })
    }

    fn stop(self, size: u64, window: Window) -> Result<Report> {
        let cpu = Cpu::now()?;
        let cpu = Cpu { user: cpu.user - self.cpu.user, system: cpu.system - self.cpu.system };
        Ok(Report { cpu, ..Report::of(size, self.start.elapsed().as_secs_f64(), window) })
    }
}

/// The result of a measurement.
struct Report {
    size: u64,
    seconds: f64,
    cpu: Cpu,
    window: Window,
}

impl Report {
    fn of(size: u64, seconds: f64, window: Window) -> Self {
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
    fn in_short(&self) -> String {
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

    fn json(&self) -> serde_json::Value {
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
