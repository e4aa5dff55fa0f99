//! A broker that keeps nothing, so that the cost of a producer shows.
//!
//! One node leads every partition of every topic. It answers ApiVersions, Metadata, InitProducerId and Produce, and
//! acknowledges each batch at once. It counts batches, and can check each one.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use kurier_protocol::messages::api_versions::ApiVersion;
use kurier_protocol::messages::metadata::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};
use kurier_protocol::messages::produce::{PartitionProduceResponse, TopicProduceResponse};
use kurier_protocol::messages::{
    ApiVersionsResponse, InitProducerIdResponse, MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse,
};
use kurier_protocol::{ErrorCode, Message, RequestHeader, write_response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the sink answers, with the lowest and highest version of each API. librdkafka writes record batches only to
/// brokers that also list Fetch, and LZ4 only where FindCoordinator is listed.
const APIS: [(i16, i16, i16); 6] = [
    (PRODUCE, 3, 9),
    (1, 4, 11), // Fetch
    (METADATA, 1, 9),
    (10, 0, 2), // FindCoordinator
    (API_VERSIONS, 0, 3),
    (INIT_PRODUCER_ID, 0, 4),
];

const PRODUCE: i16 = 0;
const METADATA: i16 = 3;
const API_VERSIONS: i16 = 18;
const INIT_PRODUCER_ID: i16 = 22;

/// Largest request, as Kafka's `socket.request.max.bytes`.
const REQUEST_BYTES_MAX: usize = 104_857_600;

/// Room for a read.
const READ_BYTES: usize = 64 * 1024;

/// Settings of a sink.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Partitions of each topic.
    pub partitions: i32,
    /// Whether to check each batch. A bad one is counted, and refused with CORRUPT_MESSAGE.
    pub is_verifying: bool,
}

/// Counts since the last [`take`](Self::take).
#[derive(Debug, Default)]
pub struct Counts {
    bytes: AtomicU64,
    batches: AtomicU64,
    records: AtomicU64,
    bad: AtomicU64,
    requests: AtomicU64,
}

impl Counts {
    /// Returns the counts as JSON, and starts again at zero.
    #[must_use]
    pub fn take(&self) -> Value {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        json!({
            "wire_bytes": take(&self.bytes),
            "batches": take(&self.batches),
            "sink_records": take(&self.records),
            "bad": take(&self.bad),
            "requests": take(&self.requests),
        })
    }
}

/// Serves connections for ever.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, settings: Settings, counts: Arc<Counts>) -> Result<()> {
    let address = listener.local_addr()?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let sink = Connection { settings, address, counts: Arc::clone(&counts), offsets: HashMap::new() };
        // A connection ends when its client closes it, or sends what the sink does not know: the client then reports it.
        tokio::spawn(sink.run(socket));
    }
}

struct Connection {
    settings: Settings,
    address: SocketAddr,
    counts: Arc<Counts>,
    /// Next offset by partition, whatever the topic.
    offsets: HashMap<i32, i64>,
}

impl Connection {
    async fn run(mut self, mut socket: TcpStream) -> Result<()> {
        let mut input = BytesMut::new();
        let mut answer = Vec::new();
        loop {
            while let Some(frame) = next_frame(&mut input)? {
                answer.clear();
                let (header, body) = RequestHeader::read(&frame)?;
                self.answer(&header, &body, &mut answer)?;
                socket.write_all(&answer).await?;
            }
            // No frame is left, so this uses the memory of the frames before again. With new memory for each large
            // request, page faults took the sink four fifths of its time.
            input.reserve(READ_BYTES);
            if socket.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
        }
    }

    /// Writes the answer to a request; nothing for Produce with `acks` 0.
    fn answer(&mut self, header: &RequestHeader, body: &Bytes, answer: &mut Vec<u8>) -> Result<()> {
        let (version, id) = (header.api_version, header.correlation_id);
        let is_known = APIS.iter().any(|api| api.0 == header.api_key && (api.1..=api.2).contains(&version));
        match header.api_key {
            API_VERSIONS if is_known => write_response(&versions(ErrorCode::NONE), version, id, answer)?,
            API_VERSIONS => write_response(&versions(ErrorCode::UNSUPPORTED_VERSION), 0, id, answer)?,
            METADATA if is_known => {
                let request = MetadataRequest::read(body, version)?;
                write_response(&self.metadata(request), version, id, answer)?;
            }
            INIT_PRODUCER_ID if is_known => {
                let response = InitProducerIdResponse { producer_id: 1, producer_epoch: 0, ..Default::default() };
                write_response(&response, version, id, answer)?;
            }
            PRODUCE if is_known => {
                let request = ProduceRequest::read(body, version)?;
                let acks = request.acks;
                let response = self.produce(request)?;
                if acks != 0 {
                    write_response(&response, version, id, answer)?;
                }
            }
            other => bail!("the sink does not answer version {version} of API {other}"),
        }
        Ok(())
    }

    fn metadata(&self, request: MetadataRequest) -> MetadataResponse {
        let partition = |partition_index| MetadataResponsePartition {
            partition_index,
            leader_id: 0,
            leader_epoch: 0,
            replica_nodes: vec![0],
            isr_nodes: vec![0],
            ..Default::default()
        };
        let topics = request.topics.unwrap_or_default().into_iter().map(|topic| MetadataResponseTopic {
            name: topic.name,
            partitions: (0..self.settings.partitions).map(partition).collect(),
            ..Default::default()
        });
        let node = MetadataResponseBroker {
            node_id: 0,
            host: self.address.ip().to_string(),
            port: self.address.port().into(),
            ..Default::default()
        };
        MetadataResponse {
            brokers: vec![node],
            cluster_id: Some("sink".to_owned()),
            controller_id: 0,
            topics: topics.collect(),
            ..Default::default()
        }
    }

    fn produce(&mut self, request: ProduceRequest) -> Result<ProduceResponse> {
        let add = |count: &AtomicU64, more: usize| count.fetch_add(more as u64, Ordering::Relaxed);
        add(&self.counts.requests, 1);
        let mut responses = Vec::with_capacity(request.topic_data.len());
        for topic in request.topic_data {
            let mut partition_responses = Vec::with_capacity(topic.partition_data.len());
            for partition in topic.partition_data {
                let records = partition.records.unwrap_or_default().to_bytes();
                let batch = Batch(&records);
                let records = batch.int32(57).context("a batch is shorter than its header")?;
                let is_bad = self.settings.is_verifying && !batch.is_sound();
                add(&self.counts.batches, 1);
                add(&self.counts.bytes, batch.0.len());
                add(&self.counts.records, usize::try_from(records)?);
                add(&self.counts.bad, usize::from(is_bad));
                let next = self.offsets.entry(partition.index).or_default();
                partition_responses.push(PartitionProduceResponse {
                    index: partition.index,
                    error_code: if is_bad { ErrorCode::CORRUPT_MESSAGE } else { ErrorCode::NONE },
                    base_offset: *next,
                    log_start_offset: 0,
                    ..Default::default()
                });
                *next += i64::from(records);
            }
            responses.push(TopicProduceResponse { name: topic.name, partition_responses, ..Default::default() });
        }
        Ok(ProduceResponse { responses, ..Default::default() })
    }
}

/// Takes a request without its length, if it has arrived.
fn next_frame(input: &mut BytesMut) -> Result<Option<Bytes>> {
    let Some(length) = input.first_chunk() else { return Ok(None) };
    let length = usize::try_from(i32::from_be_bytes(*length))?;
    ensure!(length <= REQUEST_BYTES_MAX, "a request of {length} bytes is too long");
    if input.len() < 4 + length {
        input.reserve(4 + length - input.len());
        return Ok(None);
    }
    input.advance(4);
    Ok(Some(input.split_to(length).freeze()))
}

fn versions(error_code: ErrorCode) -> ApiVersionsResponse {
    let range = |(api_key, min_version, max_version)| ApiVersion { api_key, min_version, max_version };
    ApiVersionsResponse { error_code, api_keys: APIS.into_iter().map(range).collect(), ..Default::default() }
}

/// A record batch of magic 2. It is read here by hand, because the producer's own code must not be its judge.
struct Batch<'a>(&'a [u8]);

impl Batch<'_> {
    fn int32(&self, at: usize) -> Option<i32> {
        self.0.get(at..)?.first_chunk().map(|bytes| i32::from_be_bytes(*bytes))
    }

    /// Whether length, magic, CRC, last offset delta and number of records agree.
    fn is_sound(&self) -> bool {
        let check = || {
            let length = usize::try_from(self.int32(8)?).ok()?;
            let records = self.int32(57)?;
            let checksum = crc32c::crc32c(self.0.get(21..)?);
            let is_sound = length == self.0.len() - 12
                && self.0.get(16) == Some(&2)
                && self.int32(17)?.cast_unsigned() == checksum
                && records > 0
                && self.int32(23)? == records - 1;
            Some(is_sound)
        };
        check() == Some(true)
    }
}
