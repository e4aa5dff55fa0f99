//! A client for tests: asks a cluster in memory, and builds batches and requests.

use bytes::{Bytes, BytesMut};
use kurier_broker::{Cluster, ClusterSettings, Reply, TopicSettings};
use kurier_protocol::messages::ProduceRequest;
use kurier_protocol::messages::produce::{PartitionProduceData, PartitionProduceResponse, TopicProduceData};
use kurier_protocol::record_batch::{
    Batches, NewRecord, ProducerEpoch, ProducerId, RecordBatchBuilder, Sequence, Stamp,
};
use kurier_protocol::{ErrorCode, Request, read_response, write_request};

/// The time in all tests, in milliseconds since 1970.
pub(crate) const NOW_MS: i64 = 1_700_000_000_000;

pub(crate) const ALL: i16 = -1;

/// Correlation id of every request.
const CORRELATION_ID: i32 = 7;

/// Creates a cluster of this many nodes without automatic topic creation.
pub(crate) fn cluster(nodes: u16) -> Cluster {
    Cluster::new(ClusterSettings { nodes, auto_create_topics: false, ..Default::default() })
}

/// Like [`cluster`], with a topic "t" of one partition, which node 1 leads.
pub(crate) fn cluster_with(nodes: u16, settings: TopicSettings) -> Cluster {
    let mut cluster = cluster(nodes);
    cluster.create_topic("t", 1, settings).unwrap();
    cluster
}

/// Encodes a request as a frame without its length.
pub(crate) fn frame<R: Request>(version: i16, request: &R) -> Bytes {
    let mut frame = Vec::new();
    write_request(request, version, CORRELATION_ID, Some("tests"), &mut frame).unwrap();
    Bytes::from(frame).slice(4..)
}

/// Returns a node's reply to a request.
pub(crate) fn reply<R: Request>(cluster: &mut Cluster, node: i32, version: i16, request: &R) -> Reply {
    cluster.handle(node, &frame(version, request), NOW_MS, false)
}

/// Returns a node's response, which must come at once and whole.
#[track_caller]
pub(crate) fn ask<R: Request>(cluster: &mut Cluster, node: i32, version: i16, request: &R) -> R::Response {
    match reply(cluster, node, version, request) {
        Reply::Send { frame, after, cut: None } if after.is_zero() => response::<R>(&frame, version),
        reply => panic!("{request:?} was answered by {reply:?}"),
    }
}

/// Decodes a response frame that includes its length.
#[track_caller]
pub(crate) fn response<R: Request>(frame: &Bytes, version: i16) -> R::Response {
    let length = u32::try_from(frame.len() - 4).unwrap();
    assert_eq!(frame[..4], length.to_be_bytes());
    let (correlation_id, response) = read_response::<R>(&frame.slice(4..), version).unwrap();
    assert_eq!(correlation_id.0, CORRELATION_ID);
    response
}

/// Returns the stamp of producer 9 in epoch 0.
pub(crate) fn stamp(sequence: i32) -> Stamp {
    Stamp::idempotent(ProducerId(9), ProducerEpoch(0), Sequence(sequence))
}

/// Creates a batch of these values, each with the timestamp [`NOW_MS`], without a producer id.
pub(crate) fn batch(values: &[&str]) -> Bytes {
    stamped(Stamp::NONE, &values.iter().map(|value| (NOW_MS, *value)).collect::<Vec<_>>())
}

/// Creates a batch of these timestamps and values.
pub(crate) fn stamped(stamp: Stamp, records: &[(i64, &str)]) -> Bytes {
    let mut builder = RecordBatchBuilder::new();
    for (timestamp, value) in records {
        let value = Some(value.as_bytes());
        builder.append(&NewRecord { timestamp: *timestamp, value, ..Default::default() }).unwrap();
    }
    builder.seal().unwrap().stamp(&stamp).unwrap().to_bytes()
}

/// Overwrites the bytes of a batch at this offset and corrects the checksum.
pub(crate) fn altered(batch: &Bytes, at: usize, bytes: &[u8]) -> Bytes {
    let mut batch = BytesMut::from(&batch[..]);
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch.freeze()
}

/// Creates a request with these batches for partitions of a topic.
pub(crate) fn produce_request(acks: i16, topic: &str, batches: &[(i32, Bytes)]) -> ProduceRequest {
    let data =
        |(index, batch): &(i32, Bytes)| PartitionProduceData { index: *index, records: Some(batch.clone().into()) };
    let partition_data = batches.iter().map(data).collect();
    let topic_data = vec![TopicProduceData { name: topic.to_owned(), partition_data, ..Default::default() }];
    ProduceRequest { acks, timeout_ms: 10_000, topic_data, ..Default::default() }
}

/// Sends a batch to "t", partition 0, on node 1 with acks=all in version 9.
#[track_caller]
pub(crate) fn produce(cluster: &mut Cluster, batch: &Bytes) -> PartitionProduceResponse {
    produce_with(cluster, 1, 9, &produce_request(ALL, "t", &[(0, batch.clone())]))
}

/// Sends a request for one partition and returns the partition's response.
#[track_caller]
pub(crate) fn produce_with(
    cluster: &mut Cluster,
    node: i32,
    version: i16,
    request: &ProduceRequest,
) -> PartitionProduceResponse {
    let mut response = ask(cluster, node, version, request);
    let mut partitions = response.responses.pop().unwrap().partition_responses;
    assert_eq!((response.responses.len(), partitions.len()), (0, 1));
    partitions.pop().unwrap()
}

/// Returns the error code and the base offset.
pub(crate) fn outcome(answer: &PartitionProduceResponse) -> (ErrorCode, i64) {
    (answer.error_code, answer.base_offset)
}

/// Returns the values in a partition's log, in order. Checks that the offsets count from 0.
#[track_caller]
pub(crate) fn values(cluster: &Cluster, topic: &str, partition: i32) -> Vec<String> {
    let log: Bytes = cluster.log(topic, partition).unwrap().concat().into();
    let mut values = Vec::new();
    for batch in Batches::new(&log) {
        for record in batch.unwrap().records().unwrap() {
            let record = record.unwrap();
            assert_eq!(record.offset, i64::try_from(values.len()).unwrap());
            values.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
        }
    }
    assert_eq!(cluster.end_offset(topic, partition), Some(i64::try_from(values.len()).unwrap()));
    values
}
