//! `kurier replay`: produces the records of a capture again.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::fs::File;
use std::future::ready;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use kurier::{Error, Producer, Record, Summary};
use kurier_capture::{Frame, Reader, Side};
use kurier_compression::{DEFAULT_LIMIT_BYTES, decompress_batch};
use kurier_protocol::messages::{MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse};
use kurier_protocol::record_batch::RecordBatch;
use kurier_protocol::{Api, Message, RequestHeader, ResponseHeader, Uuid};
use tokio::time::Instant;

use crate::exit::Misuse;
use crate::gaps;
use crate::interrupt::Signals;
use crate::options::Options;
use crate::producer::watch::{Sent, Watch};
use crate::sync::lock;
use crate::{notice, producer, progress};

/// Brokers remember this many batches per producer, and answer a repeated batch as if it had just been written.
const REMEMBERED_BATCHES: usize = 5;

/// Maximum number of requests that await a response: more than all clients of a cluster have in flight.
const ASKED_MAX: usize = 10_000;

/// Produce the records of a capture again, with key, value, headers, timestamp and partition.
///
/// Sends each batch once that a broker answered with success, and each batch with acks=0. Transactional records are
/// sent without a transaction, those of aborted transactions too. Exit status 0 means that all records that the capture
/// holds were written; a message says what a cut or damaged capture lacks.
///
/// Ctrl-C (or SIGTERM or SIGHUP) stops reading. Records already read are still delivered, and the status is 130
/// (143 or 129). A second Ctrl-C gives up: the remaining records fail, each as not written or unknown.
#[derive(Args, Debug)]
pub(crate) struct Replay {
    /// Capture to read (pcap or pcapng, as tcpdump, Wireshark and kurier capture write them).
    file: PathBuf,

    #[command(flatten)]
    options: Options,

    /// Topic to send to; it needs as many partitions as the captured topics. Default: the topics of the capture.
    #[arg(short, long)]
    topic: Option<String>,

    /// Compress batches with CODEC: gzip, snappy, lz4 or zstd (same as -X compression.type=CODEC).
    #[arg(short = 'z', long, value_name = "CODEC")]
    compression: Option<String>,

    /// Speed relative to the capture, such as 1 or 0.5 (default: as fast as the cluster allows).
    #[arg(long, value_name = "X", value_parser = speed)]
    speed: Option<f64>,

    /// Replay only connections to port N. May be repeated.
    #[arg(long, value_name = "N")]
    port: Vec<u16>,
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(speed) if (0.001..=1e6).contains(&speed) => Ok(speed),
        _ => Err("it takes a number from 0.001 to 1000000".to_owned()),
    }
}

impl Replay {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.replay())
    }

    async fn replay(&self) -> Result<ExitCode> {
        let name = self.file.display().to_string();
        let file = File::open(&self.file).map_err(|error| Misuse::unreadable(&self.file, error))?;
        let progress = progress::bar(file.metadata().ok().map(|metadata| metadata.len()));
        let reader = Reader::new(progress.wrap_read(file)).with_context(|| name.clone())?;
        let mut reader = reader.to_ports(self.port.iter().copied());
        let compression = self.compression.iter().map(|codec| ("compression.type", codec.clone()));
        let config = self.options.config(compression)?;
        let mut signals = Signals::new()?;
        let opening = async {
            let producer = producer::start(config).await?;
            if let Some(topic) = &self.topic {
                producer::topic(&producer, topic).await?;
            }
            anyhow::Ok(producer)
        };
        let producer = match signals.unless(opening).await {
            Ok(opened) => opened?,
            Err(status) => {
                notice::say("interrupted before the cluster was reached: no record was sent");
                return Ok(status);
            }
        };
        let sent = Arc::<Sent>::default();
        let mut replaying = Replaying {
            producer: &producer,
            topic: self.topic.as_deref(),
            pace: self.speed.map(Pace::new),
            sent: Arc::clone(&sent),
            frames: 0,
            failures: Arc::default(),
        };
        let mut heard = Heard::default();
        let mut watch = Watch::new(&producer, &progress, signals, sent);
        let ended = watch.read(replaying.all(&mut reader, &mut heard)).await;
        let closed = watch.close(ended.is_err(), || ready(())).await;
        progress.finish_and_clear();
        if let Ok(Ok(())) = ended {
            gaps::say(&name, replaying.frames, &reader);
        }
        let failures = lock(&replaying.failures).clone();
        for failure in &failures.first {
            notice::say(failure);
        }
        let Summary { written, unknown, .. } = producer.summary();
        let not_written = failures.count.saturating_sub(unknown);
        notice::say(format_args!(
            "{written} records written from {name}, {not_written} not written, {unknown} unknown; {heard}"
        ));
        if let Some(cause) = closed.cause() {
            return Err(cause.clone().into());
        }
        closed.status(ended.map(|read| read.context(name)), failures.count == 0)
    }
}

/// Sends the records of a capture.
struct Replaying<'a> {
    producer: &'a Producer,
    topic: Option<&'a str>,
    pace: Option<Pace>,
    sent: Arc<Sent>,
    /// Number of frames that the capture has given.
    frames: u64,
    failures: Arc<Mutex<Failures>>,
}

/// Records that were not written, or may not have been.
#[derive(Clone, Debug, Default)]
struct Failures {
    count: u64,
    /// The first errors.
    first: Vec<String>,
}

impl Failures {
    fn add(&mut self, error: &dyn fmt::Display) {
        const TOLD_MAX: usize = 10;
        self.count += 1;
        if self.first.len() < TOLD_MAX {
            self.first.push(format!("{error:#}"));
        }
    }
}

/// Times when the first batch was captured and when it was sent again.
#[derive(Debug)]
struct Pace {
    speed: f64,
    began: Option<(Duration, Instant)>,
}

impl Pace {
    fn new(speed: f64) -> Self {
        Self { speed, began: None }
    }

    /// Waits until a batch that was captured at `time` is due.
    async fn wait(&mut self, time: Duration) {
        let (first, start) = *self.began.get_or_insert_with(|| (time, Instant::now()));
        tokio::time::sleep_until(start + time.saturating_sub(first).div_f64(self.speed)).await;
    }
}

impl Replaying<'_> {
    async fn all(&mut self, reader: &mut Reader<'_>, heard: &mut Heard) -> Result<()> {
        for frame in reader {
            let frame = frame?;
            self.frames += 1;
            for batch in heard.hear(&frame) {
                if let Some(pace) = &mut self.pace {
                    pace.wait(batch.time).await;
                }
                self.send(&batch).await?;
            }
        }
        Ok(())
    }

    /// Sends the records of a batch, in order.
    async fn send(&self, batch: &Written) -> Result<()> {
        let topic = self.topic.or(batch.topic.as_deref()).with_context(|| {
            format!("the capture does not contain the name of topic {}: name it with -t", batch.topic_id)
        })?;
        // Old formats, and invalid batches that a broker accepted with acks=0.
        if let Err(error) = self.send_to(topic, batch).await {
            self.fail(&format_args!("a batch for partition {} of {topic}: {error:#}", batch.partition));
        }
        Ok(())
    }

    async fn send_to(&self, topic: &str, batch: &Written) -> Result<()> {
        let mut rest = &batch.records[..];
        while !rest.is_empty() {
            let (parsed, after) = RecordBatch::parse(rest)?;
            rest = after;
            let body = decompress_batch(&parsed, DEFAULT_LIMIT_BYTES)?;
            for record in parsed.records_in(&body)? {
                let captured = record?;
                let headers: Result<Vec<_>, _> =
                    captured.headers.clone().map(|header| Ok((str::from_utf8(header.key)?, header.value))).collect();
                let headers = match headers {
                    Ok(headers) => headers,
                    Err(std::str::Utf8Error { .. }) => {
                        self.fail(&"a record has a header whose name is not UTF-8");
                        continue;
                    }
                };
                let mut record = Record::to(topic)
                    .nullable_key(captured.key)
                    .nullable_value(captured.value)
                    .partition(batch.partition)
                    .timestamp(captured.timestamp);
                for (name, value) in &headers {
                    record = match value {
                        Some(value) => record.header(name, value),
                        None => record.null_header(name),
                    };
                }
                let failures = Arc::clone(&self.failures);
                let settle = move |result: Result<_, Error>| {
                    if let Err(error) = result {
                        lock(&failures).add(&error);
                    }
                };
                if let Err(error) = self.sent.count(self.producer.send_with(record, settle)).await {
                    self.fail(&error);
                }
            }
        }
        Ok(())
    }

    fn fail(&self, error: &dyn fmt::Display) {
        lock(&self.failures).add(error);
    }
}

/// An idempotent producer in a partition: topic id, topic name, partition, producer id. Its last batches are identified
/// by epoch and first sequence.
type ProducerIn = (Uuid, Option<String>, i32, i64);

/// Finds the batches of a capture that brokers wrote.
#[derive(Debug, Default)]
struct Heard {
    names: HashMap<Uuid, String>,
    /// Requests that await a response, by the number of their frame.
    asked: BTreeMap<u64, Vec<Written>>,
    /// Number of batches in requests that waited too long.
    forgotten: usize,
    remembered: HashMap<ProducerIn, VecDeque<(i16, i32)>>,
    batches: u64,
    refused: u64,
    repeated: u64,
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unanswered = self.forgotten + self.asked.values().map(Vec::len).sum::<usize>();
        write!(f, "{} batches were written when it was captured", self.batches)?;
        write!(f, ", {} refused, {} sent again, {unanswered} not answered", self.refused, self.repeated)
    }
}

/// Record batches of a partition that a broker wrote.
#[derive(Debug)]
struct Written {
    time: Duration,
    topic: Option<String>,
    topic_id: Uuid,
    partition: i32,
    records: Vec<u8>,
}

impl Heard {
    /// Returns the batches that a broker wrote according to this frame.
    fn hear(&mut self, frame: &Frame) -> Vec<Written> {
        let Some(head) = frame.head else { return Vec::new() };
        let Some(api) = head.api() else { return Vec::new() };
        let version = head.api_version;
        match (frame.side, head.api_key) {
            (Side::Server, MetadataRequest::KEY) => {
                if let Some(response) = body::<MetadataResponse>(frame, api, version) {
                    let named = response.topics.into_iter().filter_map(|topic| Some((topic.topic_id, topic.name?)));
                    self.names.extend(named.filter(|(id, _)| *id != Uuid::ZERO));
                }
                Vec::new()
            }
            (Side::Client, ProduceRequest::KEY) => {
                let Ok((_, body)) = RequestHeader::read(&frame.bytes) else { return Vec::new() };
                let Ok(request) = ProduceRequest::read(&body, version) else { return Vec::new() };
                let sent = self.sent(&request, frame.time);
                if request.acks != 0 {
                    self.asked.insert(frame.number, sent);
                    if self.asked.len() > ASKED_MAX {
                        self.forgotten += self.asked.pop_first().map_or(0, |(_, batches)| batches.len());
                    }
                    return Vec::new();
                }
                self.batches += sent.len() as u64;
                sent
            }
            (Side::Server, ProduceRequest::KEY) => {
                let sent = frame.answers.and_then(|number| self.asked.remove(&number)).unwrap_or_default();
                let response = body::<ProduceResponse>(frame, api, version).unwrap_or_default();
                sent.into_iter().filter(|batch| self.is_written(batch, &response)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn sent(&self, request: &ProduceRequest, time: Duration) -> Vec<Written> {
        let mut sent = Vec::new();
        for topic in &request.topic_data {
            let name = Some(topic.name.clone()).filter(|name| !name.is_empty());
            let name = name.or_else(|| self.names.get(&topic.topic_id).cloned());
            for data in &topic.partition_data {
                let Some(records) = &data.records else { continue };
                sent.push(Written {
                    time,
                    topic: name.clone(),
                    topic_id: topic.topic_id,
                    partition: data.index,
                    records: records.to_bytes().to_vec(),
                });
            }
        }
        sent
    }

    /// Returns whether the response reports success for this batch, for the first time.
    fn is_written(&mut self, batch: &Written, response: &ProduceResponse) -> bool {
        let of_topic = response.responses.iter().filter(|topic| {
            topic.topic_id == batch.topic_id && (topic.name.is_empty() || Some(&topic.name) == batch.topic.as_ref())
        });
        let mut partitions = of_topic.flat_map(|topic| &topic.partition_responses);
        if !partitions.any(|answer| answer.index == batch.partition && answer.error_code.is_none()) {
            self.refused += 1;
            return false;
        }
        let Ok((parsed, _)) = RecordBatch::parse(&batch.records) else { return true };
        let header = parsed.header();
        if header.producer_id.0 >= 0 {
            let producer = (batch.topic_id, batch.topic.clone(), batch.partition, header.producer_id.0);
            let remembered = self.remembered.entry(producer).or_default();
            let this = (header.producer_epoch.0, header.base_sequence.0);
            if remembered.contains(&this) {
                self.repeated += 1;
                return false;
            }
            if remembered.len() == REMEMBERED_BATCHES {
                remembered.pop_front();
            }
            remembered.push_back(this);
        }
        self.batches += 1;
        true
    }
}

fn body<M: Message>(frame: &Frame, api: &Api, version: i16) -> Option<M> {
    let (_, body) = ResponseHeader::read(&frame.bytes, api, version).ok()?;
    M::read(&body, version).ok()
}
