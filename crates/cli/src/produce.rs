//! `kurier produce`: records from files or standard input into a topic.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use clap::Args;
use indicatif::ProgressBar;
use kurier::{Error, ErrorKind, Producer, Record, RecordMetadata, Summary, TopicProducer, Written};
use kurier_cli::format::Entry;
use serde_json::json;
use tokio::sync::oneshot;

use crate::exit::Misuse;
use crate::input::{Input, Numbered, Records};
use crate::interrupt::unless_interrupted;
use crate::options::{self, Options};
use crate::progress;

/// Produce one record per line, or records in another format, from files or standard input.
///
/// Exit status 0: all records were written. 1: some were not. 2: the command line or a setting makes no sense. Ctrl-C ends
/// the reading; records that were read are still delivered, and the status is 130.
#[derive(Args, Debug)]
pub(crate) struct Produce {
    #[command(flatten)]
    options: Options,

    /// The topic to send to.
    #[arg(short, long)]
    topic: String,

    /// Compress batches: gzip, snappy, lz4 or zstd (as -X compression.type=CODEC).
    #[arg(short = 'z', long, value_name = "CODEC")]
    compression: Option<String>,

    /// Send all records to partition N, whatever their key and the partition in the input.
    #[arg(short, long, value_name = "N")]
    partition: Option<i32>,

    /// Let the partitioner choose, whatever partition the input of --format names.
    #[arg(long, conflicts_with = "partition")]
    any_partition: bool,

    /// Write the outcome of each record to FILE (-: standard output), one JSON object a line.
    ///
    /// {"line":1,"topic":"t","partition":0,"offset":5} for a written record, without the offset if the broker does not say
    /// it, as with acks=0. {"line":2,"topic":"t","error":"…","written":"no"} for a record that was not written, "unknown"
    /// if it may be written. "line" counts the records of all inputs from 1. Outcomes are written as they
    /// become known.
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
        let report = self.delivery_report.as_ref().map(|path| {
            let cannot = |error: io::Error| Misuse::error(format!("--delivery-report {}: {error}", path.display()));
            let report: Box<dyn Write + Send> = match path == Path::new("-") {
                true => Box::new(io::stdout()),
                false => Box::new(File::create(path).map_err(cannot)?),
            };
            anyhow::Ok(BufWriter::new(report))
        });
        let report = Mutex::new(report.transpose()?);
        let fates = Arc::new(Fates { report, unit: records.unit(), state: Mutex::default() });
        let start = now();
        let producer = options::build(config).await?;
        let topic = options::topic(&producer, &self.topic).await?;
        let headers = self.input.headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect();
        let progress = progress::bar(records.total_bytes());
        let job = Job {
            topic,
            partition: self.partition,
            any_partition: self.any_partition,
            headers,
            fates: Arc::clone(&fates),
            is_over: Arc::new(AtomicBool::new(false)),
            progress: progress.clone(),
        };
        let is_over = Arc::clone(&job.is_over);
        let read = start_reading(records, job)?;
        // Whoever sends is a thread of its own, since standard input lets one wait.
        let ended =
            unless_interrupted(async { read.await.map_err(|_| anyhow!("the thread that reads has panicked"))? })
                .await?;
        is_over.store(true, Ordering::Relaxed);
        if ended.is_err() {
            progress.println("kurier: interrupted; what was read is being delivered, and another Ctrl-C ends that");
        }
        let status = self.finish(&producer, &fates, start, &progress, ended).await?;
        if let Some(report) = lock(&fates.report).as_mut() {
            report.flush().map_err(|error| anyhow!("the delivery report is not whole: {error}"))?;
        }
        Ok(status)
    }

    /// Waits for the last outcome and says what became of all.
    async fn finish(
        &self,
        producer: &Producer,
        fates: &Fates,
        start: Instant,
        progress: &ProgressBar,
        ended: Result<Result<()>, ExitCode>,
    ) -> Result<ExitCode> {
        let closed = unless_interrupted(producer.close(Duration::MAX)).await?;
        progress.finish_and_clear();
        let state = lock(&fates.state);
        let summary = producer.summary();
        let total =
            Total { summary, refused: state.refused, topic: &self.topic, seconds: start.elapsed().as_secs_f64() };
        for error in &state.errors {
            eprintln!("kurier: {error}");
        }
        if total.failed() > state.errors.len() as u64 {
            eprintln!("kurier: and {} more like these", total.failed() - state.errors.len() as u64);
        }
        eprintln!("kurier: {total}");
        if let Some(error) = &state.report_error {
            return Err(anyhow!("the delivery report is not whole: {error}"));
        }
        match (ended, closed) {
            (Err(status), _) | (_, Err(status)) => Ok(status),
            (Ok(read), Ok(_)) => {
                read?;
                Ok(if total.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
        }
    }
}

/// What the thread that reads and sends needs.
struct Job {
    topic: TopicProducer,
    /// Overrides the input's partition.
    partition: Option<i32>,
    /// Ignores the input's partition.
    any_partition: bool,
    headers: Vec<(String, Option<String>)>,
    fates: Arc<Fates>,
    is_over: Arc<AtomicBool>,
    progress: ProgressBar,
}

fn start_reading(records: Records, job: Job) -> Result<oneshot::Receiver<Result<()>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let (done, read) = oneshot::channel();
    let thread = std::thread::Builder::new().name("kurier-produce".to_owned());
    thread.spawn(move || drop(done.send(runtime.block_on(job.send_all(records)))))?;
    Ok(read)
}

impl Job {
    async fn send_all(self, mut records: Records) -> Result<()> {
        while let Some(Numbered { number, bytes, content }) = records.next()? {
            if self.is_over.load(Ordering::Relaxed) {
                break;
            }
            match content {
                Ok(entry) => {
                    if let Err(error) = self.send(number, &entry).await {
                        if error.kind() == ErrorKind::Closed {
                            break;
                        }
                        self.fates.refuse(number, self.topic.name(), &error, Some(error.written()));
                    }
                }
                Err(error) => self.fates.refuse(number, self.topic.name(), &error, None),
            }
            self.progress.inc(bytes as u64);
        }
        Ok(())
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
            // The parser has checked names.
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
        self.topic.send_with(record, move |result| fates.settle(number, result)).await
    }
}

/// What became of the lines.
struct Fates {
    report: Mutex<Option<BufWriter<Box<dyn Write + Send>>>>,
    /// "line" or "record".
    unit: &'static str,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Lines that the producer did not accept.
    refused: u64,
    /// The first errors, each text once.
    errors: Vec<String>,
    report_error: Option<io::Error>,
}

impl Fates {
    /// The outcome of a line that was sent.
    fn settle(&self, number: u64, result: Result<RecordMetadata, Error>) {
        match result {
            Ok(metadata) => {
                let mut line = json!({ "line": number, "topic": metadata.topic(), "partition": metadata.partition() });
                if let (Some(offset), Some(line)) = (metadata.offset(), line.as_object_mut()) {
                    line.insert("offset".to_owned(), offset.into());
                }
                self.write(&line);
            }
            Err(error) => {
                let (topic, partition) = error.topic_partition().unwrap_or_default();
                let written = word(error.written());
                let text = error.to_string();
                let line = json!({ "line": number, "topic": topic, "partition": partition, "error": text, "written": written });
                self.write(&line);
                self.remember(number, &text);
            }
        }
    }

    /// A line that was not sent.
    fn refuse(&self, number: u64, topic: &str, error: &dyn fmt::Display, written: Option<Written>) {
        let written = word(written.unwrap_or(Written::No));
        let text = error.to_string();
        self.write(&json!({ "line": number, "topic": topic, "error": text, "written": written }));
        self.remember(number, &text);
        lock(&self.state).refused += 1;
    }

    fn remember(&self, number: u64, text: &str) {
        /// So many errors are told; the report has all.
        const ERRORS_MAX: usize = 10;
        let mut state = lock(&self.state);
        if state.errors.len() < ERRORS_MAX {
            state.errors.push(format!("{} {number}: {text}", self.unit));
        }
    }

    fn write(&self, line: &serde_json::Value) {
        if let Some(report) = lock(&self.report).as_mut()
            && let Err(error) = writeln!(report, "{line}")
        {
            lock(&self.state).report_error.get_or_insert(error);
        }
    }
}

fn word(written: Written) -> &'static str {
    match written {
        Written::No => "no",
        Written::Unknown => "unknown",
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::disallowed_methods, reason = "what is told of the time taken")]
fn now() -> Instant {
    Instant::now()
}
