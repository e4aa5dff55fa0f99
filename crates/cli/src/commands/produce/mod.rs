//! `kurier produce`: sends records from files or standard input to a topic.

mod input;
mod report;

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Result, anyhow};
use clap::Args;
use indicatif::ProgressBar;
use kurier::{Error, ErrorKind, Producer, Record, RecordMetadata, Summary, TopicProducer, Written};
use kurier_cli::format::Entry;
use tokio::sync::oneshot;

use crate::interrupt::Signals;
use crate::options::Options;
use crate::producer::watch::{Closed, Sent, Watch};
use crate::sync::lock;
use crate::{notice, producer, progress};
use input::{Input, Numbered, Records};
use report::Report;

/// Produce one record per line, or records in another format, from files or standard input.
///
/// Exit status: 0 if all records were written, 1 if some were not, 2 if the command line or a setting is invalid.
///
/// Ctrl-C (or SIGTERM or SIGHUP) stops reading. Records already read are still delivered, and the status is 130
/// (143 or 129). A second Ctrl-C gives up: the remaining records fail, each as not written or unknown.
#[derive(Args, Debug)]
pub(crate) struct Produce {
    #[command(flatten)]
    options: Options,

    /// Topic to send to.
    #[arg(short, long)]
    topic: String,

    /// Compress batches with CODEC: gzip, snappy, lz4 or zstd (same as -X compression.type=CODEC).
    #[arg(short = 'z', long, value_name = "CODEC")]
    compression: Option<String>,

    /// Send all records to partition N, whatever their key and their partition in the input.
    #[arg(short, long, value_name = "N")]
    partition: Option<i32>,

    /// Ignore the partitions in the input of --format; the partitioner chooses.
    #[arg(long, conflicts_with = "partition")]
    any_partition: bool,

    /// Write the outcome of each record to FILE (-: standard output), one JSON object per line.
    ///
    /// A written record: {"line":1,"topic":"t","partition":0,"offset":5}, without the offset if the broker does not
    /// return it, as with acks=0. A failed record: {"line":2,"topic":"t","error":"…","written":"no"}, or "unknown" if
    /// it may have been written. "line" counts the records of all inputs from 1. Each outcome is in FILE within a
    /// second. An older report is replaced; a FILE that is an input or holds other data is refused.
    #[arg(long, value_name = "FILE")]
    delivery_report: Option<PathBuf>,

    #[command(flatten)]
    input: Input,
}

impl Produce {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.produce())
    }

    async fn produce(&self) -> Result<ExitCode> {
        let compression = self.compression.iter().map(|codec| ("compression.type", codec.clone()));
        let config = self.options.config(compression)?;
        let records = self.input.open(config.max_request_size())?;
        let inputs = records.file_ids();
        if let Some(path) = &self.delivery_report {
            Report::check(path, &inputs)?;
        }
        let start = now();
        let (mut signals, report_signals) = (Signals::new()?, Signals::new()?);
        let opening = async {
            let producer = producer::start(config).await?;
            let topic = producer::topic(&producer, &self.topic).await?;
            anyhow::Ok((producer, topic))
        };
        let (producer, topic) = match signals.unless(opening).await {
            Ok(opened) => opened?,
            Err(status) => {
                notice::say("interrupted before the cluster was reached: no record was read");
                return Ok(status);
            }
        };
        // Opened only now, because it replaces an older report.
        let report = self.delivery_report.as_ref().map(|path| Report::open(path, &inputs)).transpose()?;
        let headers = self.input.headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect();
        let progress = progress::bar(records.total_bytes());
        if let Some(report) = &report {
            tokio::spawn(Arc::clone(report).give_up_on(report_signals, progress.clone()));
        }
        let fates = Arc::new(Fates { report, unit: records.unit(), state: Mutex::default() });
        let job = Arc::new(Job {
            topic,
            partition: self.partition,
            any_partition: self.any_partition,
            headers,
            fates: Arc::clone(&fates),
            sent: Arc::default(),
            is_over: AtomicBool::new(false),
            sending: tokio::sync::Mutex::default(),
            progress: progress.clone(),
        });
        let read = start_reading(records, Arc::clone(&job))?;
        let mut watch = Watch::new(&producer, &progress, signals, Arc::clone(&job.sent));
        // Standard input can block, so a separate thread reads and sends.
        let ended = watch.read(async { read.await.map_err(|_| anyhow!("the thread that reads has panicked"))? }).await;
        let closed = watch.close(ended.is_err(), || job.end()).await;
        progress.finish_and_clear();
        let status = self.finish(&producer, &fates, start, ended, &closed);
        match &fates.report {
            Some(report) => report.finish().await?.map_or(status, Ok),
            None => status,
        }
    }

    /// Prints the outcome of all records, and returns the exit status.
    fn finish(
        &self,
        producer: &Producer,
        fates: &Fates,
        start: Instant,
        ended: Result<Result<()>, ExitCode>,
        closed: &Closed,
    ) -> Result<ExitCode> {
        let state = lock(&fates.state);
        let summary = producer.summary();
        let total =
            Total { summary, refused: state.refused, topic: &self.topic, seconds: start.elapsed().as_secs_f64() };
        for error in &state.errors {
            notice::say(error);
        }
        if total.failed() > state.errors.len() as u64 {
            notice::say(format_args!("and {} more like these", total.failed() - state.errors.len() as u64));
        }
        notice::say(&total);
        if let Some(cause) = closed.cause() {
            return Err(cause.clone().into());
        }
        closed.status(ended, total.failed() == 0)
    }
}

/// Reads and sends records, on a separate thread.
struct Job {
    topic: TopicProducer,
    /// Overrides the input's partition.
    partition: Option<i32>,
    /// Ignores the input's partition.
    any_partition: bool,
    headers: Vec<(String, Option<String>)>,
    fates: Arc<Fates>,
    sent: Arc<Sent>,
    /// Whether to stop sending.
    is_over: AtomicBool,
    /// Locked while a record is sent.
    sending: tokio::sync::Mutex<()>,
    progress: ProgressBar,
}

fn start_reading(records: Records, job: Arc<Job>) -> Result<oneshot::Receiver<Result<()>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let (done, read) = oneshot::channel();
    let thread = std::thread::Builder::new().name("kurier-produce".to_owned());
    thread.spawn(move || drop(done.send(runtime.block_on(job.send_all(records)))))?;
    Ok(read)
}

impl Job {
    async fn send_all(&self, mut records: Records) -> Result<()> {
        while let Some(Numbered { number, bytes, content }) = records.next()? {
            let sending = self.sending.lock().await;
            if self.is_over.load(Ordering::Relaxed) {
                break;
            }
            match content {
                Ok(entry) => match self.sent.count(self.send(number, &entry)).await {
                    Ok(()) => {}
                    // Only a signal that gives up closes the producer during a send.
                    Err(error) if error.kind() == ErrorKind::Closed => {
                        let why = "the command was interrupted before the record was sent";
                        self.fates.refuse(number, self.topic.name(), &why, error.written());
                        break;
                    }
                    Err(error) => {
                        self.fates.refuse(number, self.topic.name(), &error, error.written());
                        if error.kind() == ErrorKind::Bug {
                            break;
                        }
                    }
                },
                Err(error) => self.fates.refuse(number, self.topic.name(), &error, Written::No),
            }
            drop(sending);
            self.progress.inc(bytes as u64);
        }
        Ok(())
    }

    /// Stops sending. Waits until the producer has accepted or refused the last record.
    async fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        drop(self.sending.lock().await);
    }

    async fn send(&self, number: u64, entry: &Entry<'_>) -> Result<(), Error> {
        let (key, value) = (entry.key.as_deref(), entry.value.as_deref());
        let mut record = Record::to(self.topic.name()).nullable_key(key).nullable_value(value);
        let named = entry.partition.filter(|_| !self.any_partition);
        if let Some(partition) = self.partition.or(named) {
            record = record.partition(partition);
        }
        if let Some(timestamp) = entry.timestamp {
            record = record.timestamp(timestamp);
        }
        for header in &entry.headers {
            // The parser has checked that names are UTF-8.
            let name = str::from_utf8(&header.name).unwrap_or_default();
            record = match &header.value {
                Some(value) => record.header(name, value),
                None => record.null_header(name),
            };
        }
        for (name, value) in &self.headers {
            record = match value {
                Some(value) => record.header(name, value),
                None => record.null_header(name),
            };
        }
        let fates = Arc::clone(&self.fates);
        self.topic.send_with(record, move |result| fates.settle(number, &result)).await
    }
}

/// Outcomes of the records.
struct Fates {
    report: Option<Arc<Report>>,
    /// "line" or "record".
    unit: &'static str,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Records that the producer did not accept.
    refused: u64,
    /// The first errors, for the final message.
    errors: Vec<String>,
}

impl Fates {
    /// Records the outcome of a record that the producer accepted.
    fn settle(&self, number: u64, result: &Result<RecordMetadata, Error>) {
        if let Some(report) = &self.report {
            report.outcome(number, result);
        }
        if let Err(error) = result {
            self.remember(number, error);
        }
    }

    /// Records a record that the producer did not accept.
    fn refuse(&self, number: u64, topic: &str, error: &dyn fmt::Display, written: Written) {
        if let Some(report) = &self.report {
            report.refusal(number, topic, error, written);
        }
        self.remember(number, error);
        lock(&self.state).refused += 1;
    }

    fn remember(&self, number: u64, error: &dyn fmt::Display) {
        /// Maximum number of errors to print; the report has all of them.
        const ERRORS_MAX: usize = 10;
        let mut state = lock(&self.state);
        if state.errors.len() < ERRORS_MAX {
            state.errors.push(format!("{} {number}: {error:#}", self.unit));
        }
    }
}

/// The last line on standard error.
struct Total<'a> {
    summary: Summary,
    refused: u64,
    topic: &'a str,
    seconds: f64,
}

impl Total<'_> {
    fn failed(&self) -> u64 {
        self.summary.failed().saturating_add(self.refused)
    }
}

impl fmt::Display for Total<'_> {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { written, not_written, unknown, .. } = self.summary;
        let records = if written == 1 { "record" } else { "records" };
        write!(f, "{written} {records} written to {}", self.topic)?;
        if self.failed() > 0 {
            write!(f, ", {} not written, {unknown} unknown", not_written.saturating_add(self.refused))?;
        }
        write!(f, ", in {:.1} s ({:.0} records/s)", self.seconds, written as f64 / self.seconds)
    }
}

#[expect(clippy::disallowed_methods, reason = "the summary shows how long it took")]
fn now() -> Instant {
    Instant::now()
}
