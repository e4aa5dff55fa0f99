//! `kurier produce`: lines of text, a record each, into a topic.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use clap::Args;
use indicatif::ProgressBar;
use kurier::{Error, ErrorKind, Producer, Record, RecordMetadata, Summary, TopicProducer, Written};
use serde_json::json;
use tokio::sync::oneshot;

use crate::exit::Misuse;
use crate::interrupt::unless_interrupted;
use crate::lines::{Input, KeyValue, Line, Lines};
use crate::options::{self, Options};
use crate::progress;

/// Send lines, a record each, from files or standard input, and say what became of every one.
///
/// Exit status 0 says that all were written, 1 that some were not, 2 that the command line or a setting makes no sense.
/// Ctrl-C ends the reading; what was read is still delivered, and the status is 130.
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

    /// Send to this partition, whatever the key.
    #[arg(short, long, value_name = "N")]
    partition: Option<i32>,

    /// Write what became of each line to this file, a line of JSON each.
    ///
    /// {"line":1,"topic":"t","partition":0,"offset":5} for what was written; without an offset where the broker does not
    /// say it, as with acks=0. {"line":2,"topic":"t","error":"…","written":"no"} for what was not, and "unknown" if it may
    /// be. The lines come as the outcomes do.
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
        let lines = self.input.open(config.max_request_size())?;
        let report = self.delivery_report.as_ref().map(|path| {
            let cannot = |error: io::Error| Misuse::error(format!("--delivery-report {}: {error}", path.display()));
            File::create(path).map(BufWriter::new).map_err(cannot)
        });
        let fates = Arc::new(Fates { report: Mutex::new(report.transpose()?), state: Mutex::default() });
        let start = now();
        let producer = options::build(config).await?;
        let topic = options::topic(&producer, &self.topic).await?;
        let headers = self.input.headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect();
        let progress = progress::bar(lines.total_bytes());
        let job = Job {
            topic,
            partition: self.partition,
            headers,
            fates: Arc::clone(&fates),
            is_over: Arc::new(AtomicBool::new(false)),
            progress: progress.clone(),
        };
        let is_over = Arc::clone(&job.is_over);
        let read = start_reading(lines, job)?;
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
    partition: Option<i32>,
    headers: Vec<(String, Option<String>)>,
    fates: Arc<Fates>,
    is_over: Arc<AtomicBool>,
    progress: ProgressBar,
}

fn start_reading(lines: Lines, job: Job) -> Result<oneshot::Receiver<Result<()>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let (done, read) = oneshot::channel();
    let thread = std::thread::Builder::new().name("kurier-produce".to_owned());
    thread.spawn(move || drop(done.send(runtime.block_on(job.send_all(lines)))))?;
    Ok(read)
}

impl Job {
    async fn send_all(self, mut lines: Lines) -> Result<()> {
        while let Some(Line { number, content }) = lines.next()? {
            if self.is_over.load(Ordering::Relaxed) {
                break;
            }
            let bytes = match content {
                Ok(content) => {
                    if let Err(error) = self.send(number, content).await {
                        if error.kind() == ErrorKind::Closed {
                            break;
                        }
                        self.fates.refuse(number, self.topic.name(), &error, Some(error.written()));
                    }
                    content.key.map_or(0, <[u8]>::len) + content.value.map_or(0, <[u8]>::len)
                }
                Err(error) => {
                    self.fates.refuse(number, self.topic.name(), &error, None);
                    error.limit
                }
            };
            self.progress.inc(bytes as u64 + 1);
        }
        Ok(())
    }

    async fn send(&self, number: u64, KeyValue { key, value }: KeyValue<'_>) -> Result<(), Error> {
        let mut record = Record::to(self.topic.name()).nullable_key(key).nullable_value(value);
        if let Some(partition) = self.partition {
            record = record.partition(partition);
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
    report: Mutex<Option<BufWriter<File>>>,
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
            state.errors.push(format!("line {number}: {text}"));
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
