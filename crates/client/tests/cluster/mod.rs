//! Test helpers for the in-memory cluster: read its logs, and stall a partition.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use kurier::{Producer, ProducerBuilder};
use kurier_broker::{Broker, TopicSettings};
use kurier_compression::decompress_batch;
use kurier_protocol::CompressionType;
use kurier_protocol::record_batch::RecordBatch;

/// Longer than any test takes.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// A batch in a log.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) base_offset: i64,
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    pub(crate) sequence: i32,
    pub(crate) compression: Option<CompressionType>,
    pub(crate) records: Vec<Stored>,
}

/// A record in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
    pub(crate) timestamp: i64,
}

/// All batches of a partition.
pub(crate) fn batches(broker: &Broker, topic: &str, partition: i32) -> Vec<Batch> {
    let log = broker.with_cluster(|cluster| cluster.log(topic, partition)).unwrap();
    let batch = |bytes: &[u8]| {
        let (batch, rest) = RecordBatch::parse(bytes).unwrap();
        assert!(rest.is_empty());
        let header = batch.header();
        let body = decompress_batch(&batch, usize::MAX).unwrap();
        let own = |bytes: &[u8]| bytes.to_vec();
        let records = batch.records_in(&body).unwrap().map(Result::unwrap).map(|record| Stored {
            key: record.key.map(own),
            value: record.value.map(own),
            headers: record
                .headers
                .map(|header| (String::from_utf8(own(header.key)).unwrap(), header.value.map(own)))
                .collect(),
            timestamp: record.timestamp,
        });
        Batch {
            base_offset: header.base_offset,
            producer_id: header.producer_id.0,
            epoch: header.producer_epoch.0,
            sequence: header.base_sequence.0,
            compression: header.attributes.compression_type(),
            records: records.collect(),
        }
    };
    log.iter().map(|bytes| batch(bytes)).collect()
}

/// All records of a partition.
pub(crate) fn records(broker: &Broker, topic: &str, partition: i32) -> Vec<Stored> {
    batches(broker, topic, partition).into_iter().flat_map(|batch| batch.records).collect()
}

/// The values of all records of a partition, as text.
pub(crate) fn values(broker: &Broker, topic: &str, partition: i32) -> Vec<String> {
    let text = |record: Stored| String::from_utf8(record.value.unwrap()).unwrap();
    records(broker, topic, partition).into_iter().map(text).collect()
}

/// A producer for this cluster with short waits before retries.
pub(crate) fn producer(broker: &Broker) -> ProducerBuilder {
    Producer::builder()
        .bootstrap_servers([broker.bootstrap_servers()])
        .set("retry.backoff.ms", "5")
        .set("retry.backoff.max.ms", "20")
        .set("reconnect.backoff.ms", "5")
        .set("reconnect.backoff.max.ms", "20")
}

/// A cluster whose topic `t` has two partitions on separate nodes: 0 on node 1, and 1 on node 2. [`stall`] stops node
/// 2.
pub(crate) async fn cluster_that_stalls() -> Broker {
    let settings = TopicSettings { replication_factor: 1, ..TopicSettings::default() };
    Broker::builder().nodes(2).topic_with("t", 2, settings).start().await.unwrap()
}

/// Leaves partition 1 without a leader, so that nothing can be written to it.
pub(crate) fn stall(broker: &Broker) {
    broker.with_cluster(|cluster| cluster.stop_node(2));
}

/// Undoes [`stall`].
pub(crate) fn heal(broker: &Broker) {
    broker.with_cluster(|cluster| cluster.start_node(2));
}

/// Polls once, and returns whether the future is still pending.
pub(crate) async fn is_pending<F: Future>(mut future: Pin<&mut F>) -> bool {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}
