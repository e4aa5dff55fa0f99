//! `kurier perf`: measures throughput, latency and cost.

mod payload;
mod report;
mod tally;

use std::future::ready;
use std::io::Write;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use clap::Args;
use indicatif::ProgressBar;
use kurier::{Delivery, Error, TopicProducer};
use tokio::sync::{oneshot, watch};

use crate::interrupt::Signals;
use crate::options::Options;
use crate::producer::watch::{Sent, Watch};
use crate::sync::lock;
use crate::{notice, producer};
use payload::{Payload, key_of};
use report::{Meter, Report, now};
use tally::Tally;

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
            let payload = Arc::new(Payload::new(self.record_size, self.payload_file.as_deref())?);
            let producer = producer::start(self.options.config([])?).await?;
            // The first request for the topic waits for metadata, which is not part of the measurement.
            let topic = producer::topic(&producer, &self.topic).await?;
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
                notice::say(format_args!("first error: {error:#}"));
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
