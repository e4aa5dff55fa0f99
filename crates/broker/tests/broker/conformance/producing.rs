//! Calls for Produce: accepted and refused batches. The rules for sequences are in [`law`](crate::law).

use kurier_broker::KafkaVersion;
use kurier_compression::CompressionType;

use super::ask::{Ask, At, Which, create, fetch, produce};
use super::batch::{Batch, batch, keyed, timed};
use super::{Call, call};

/// Offsets of fields in a batch.
const MAGIC: usize = 16;
const ATTRIBUTES: usize = 21;
const LAST_OFFSET_DELTA: usize = 23;
const MAX_TIMESTAMP: usize = 35;
const COUNT: usize = 57;
const RECORDS: usize = 61;

fn v() -> Batch {
    batch(&["v"])
}

fn two() -> Batch {
    batch(&["v", "w"])
}

fn end() -> Ask {
    Ask::ListOffsets { version: 6, partition: 0, at: At::Number(-1), epoch: -1, topic: Which::Own }
}

const OFFSETS: Which = Which::Named("__consumer_offsets");
const TRANSACTIONS: Which = Which::Named("__transaction_state");
const SHARES: Which = Which::Named("__share_group_state");

fn shown(topic: Which, may_create: bool) -> Ask {
    Ask::Metadata { version: 9, topics: Some(vec![topic]), may_create }
}

pub(super) fn calls() -> Vec<Call> {
    vec![
        call("every version writes")
            .ask(produce(v()).version(3), "NONE at 0")
            .ask(produce(v()).version(4), "NONE at 1")
            .ask(produce(v()).version(5), "NONE at 2, log from 0")
            .ask(produce(v()).version(6), "NONE at 3, log from 0")
            .ask(produce(v()).version(7), "NONE at 4, log from 0")
            .ask(produce(v()).version(8), "NONE at 5, log from 0")
            .ask(produce(v()).version(9), "NONE at 6, log from 0")
            .ask(produce(v()).version(10), "NONE at 7, log from 0")
            .ask(produce(v()).version(11), "NONE at 8, log from 0")
            .until(KafkaVersion::V3_7, "Closed")
            .ask(produce(v()).version(12), "NONE at 9, log from 0")
            .until(KafkaVersion::V3_9, "Closed")
            .ask(produce(v()).version(13), "NONE at 10, log from 0")
            .until(KafkaVersion::V3_9, "Closed"),
        call("offsets count on by the records")
            .ask(produce(two()), "NONE at 0, log from 0")
            .ask(produce(v()), "NONE at 2, log from 0")
            .ask(produce(batch(&["v"; 7])), "NONE at 3, log from 0")
            .ask(produce(v()), "NONE at 10, log from 0"),
        call("with acks of 1")
            .ask(produce(two()).acks(1), "NONE at 0, log from 0")
            .ask(produce(v()).acks(1), "NONE at 2, log from 0"),
        call("with acks of 0").ask(produce(two()).acks(0), "Silence").ask(end(), "NONE 2, epoch 0"),
        call("with acks of 0, an error closes")
            .ask(produce(v()).acks(0).partition(1), "Closed")
            .ask(produce(v().damaged()).acks(0), "Closed")
            .ask(produce(v()).acks(0).topic(Which::Named("conformance-missing")), "Closed")
            .ask(end(), "NONE 0, epoch 0"),
        call("with acks that there are not")
            .ask(produce(v()).acks(2), "INVALID_REQUIRED_ACKS")
            .ask(produce(v()).acks(-2), "INVALID_REQUIRED_ACKS")
            .ask(produce(v()).acks(2).partition(1), "UNKNOWN_TOPIC_OR_PARTITION")
            .ask(end(), "NONE 0, epoch 0"),
        call("several partitions, one of them not there")
            .partitions(2)
            .ask(
                produce(two()).and(1, v()).and(2, v()),
                "NONE at 0, log from 0; NONE at 0, log from 0; UNKNOWN_TOPIC_OR_PARTITION",
            )
            .ask(produce(v()).and(1, v().damaged()), "NONE at 2, log from 0; CORRUPT_MESSAGE"),
        call("__consumer_offsets, which Kafka keeps for itself")
            .without_topic()
            .ask(shown(OFFSETS, false), "UNKNOWN_TOPIC_OR_PARTITION __consumer_offsets, internal")
            .ask(produce(v()).topic(OFFSETS), "UNKNOWN_TOPIC_OR_PARTITION")
            .ask(
                shown(OFFSETS, true),
                "NONE __consumer_offsets, internal, 0: leader leads leader, in sync leader, epoch 0",
            )
            .in_the_end()
            .ask(produce(v()).topic(OFFSETS), "INVALID_TOPIC_EXCEPTION")
            .ask(produce(v()).topic(OFFSETS).acks(1), "INVALID_TOPIC_EXCEPTION")
            .ask(produce(v()).topic(OFFSETS).acks(0), "Closed")
            .ask(produce(v()).topic(OFFSETS).acks(2), "INVALID_REQUIRED_ACKS")
            .ask(produce(v()).topic(OFFSETS).partition(1), "UNKNOWN_TOPIC_OR_PARTITION")
            .ask(produce(v().damaged()).topic(OFFSETS), "INVALID_TOPIC_EXCEPTION")
            .ask(produce(v().with(MAGIC, &[3])).topic(OFFSETS), "CORRUPT_MESSAGE, and why")
            .ask(produce(keyed(&[Some("k")])).topic(OFFSETS).client_id("__admin_client"), "NONE at 0, log from 0")
            .in_the_end()
            .ask(
                produce(v()).topic(OFFSETS).client_id("__admin_client"),
                "INVALID_RECORD, log from 0, for records [0], and why",
            ),
        call("__transaction_state, which Kafka keeps for itself")
            .without_topic()
            .ask(create(1, 1).named("__transaction_state"), "NONE, 1 partitions, 1 replicas, an id")
            .ask(
                shown(TRANSACTIONS, false),
                "NONE __transaction_state, internal, 0: leader leads leader, in sync leader, epoch 0",
            )
            .in_the_end()
            .ask(produce(v()).topic(TRANSACTIONS), "INVALID_TOPIC_EXCEPTION")
            .ask(produce(v()).topic(TRANSACTIONS).version(3), "INVALID_TOPIC_EXCEPTION")
            .ask(produce(v()).topic(TRANSACTIONS).acks(1), "INVALID_TOPIC_EXCEPTION")
            .ask(produce(v()).topic(TRANSACTIONS).acks(0), "Closed"),
        call("__share_group_state, which newer Kafka keeps for itself")
            .without_topic()
            .ask(create(1, 1).named("__share_group_state"), "NONE, 1 partitions, 1 replicas, an id")
            .ask(
                shown(SHARES, false),
                "NONE __share_group_state, internal, 0: leader leads leader, in sync leader, epoch 0",
            )
            .until(KafkaVersion::V3_7, "NONE __share_group_state, 0: leader leads leader, in sync leader, epoch 0")
            .in_the_end()
            .ask(produce(v()).topic(SHARES), "INVALID_TOPIC_EXCEPTION")
            .until(KafkaVersion::V3_7, "NONE at 0, log from 0"),
        call("names of Kafka's own that are none")
            .without_topic()
            .ask(shown(Which::Named("__consumer_offset"), false), "UNKNOWN_TOPIC_OR_PARTITION __consumer_offset")
            .ask(shown(Which::Named("__cluster_metadata"), false), "UNKNOWN_TOPIC_OR_PARTITION __cluster_metadata")
            .ask(produce(v()).topic(Which::Named("__cluster_metadata")), "UNKNOWN_TOPIC_OR_PARTITION"),
        call("a topic or partition that is not there")
            .ask(produce(v()).partition(1), "UNKNOWN_TOPIC_OR_PARTITION")
            .ask(produce(v()).partition(-1), "UNKNOWN_TOPIC_OR_PARTITION")
            .ask(produce(v()).partition(i32::MAX), "UNKNOWN_TOPIC_OR_PARTITION")
            .ask(produce(v()).topic(Which::Named("conformance-missing")), "UNKNOWN_TOPIC_OR_PARTITION")
            .ask(produce(v()).topic(Which::Named("two words")), "UNKNOWN_TOPIC_OR_PARTITION")
            .ask(produce(v()).topic(Which::Named("")), "UNKNOWN_TOPIC_OR_PARTITION"),
        call("a partition that is not there, by id")
            .ask(produce(v()).version(13).partition(1), "UNKNOWN_TOPIC_OR_PARTITION")
            .until(KafkaVersion::V3_9, "Closed"),
        call("a batch for an id that no topic has")
            .ask(produce(v()).topic(Which::NoId).version(13), "UNKNOWN_TOPIC_ID")
            .until(KafkaVersion::V3_9, "Closed"),
        call("a batch for a topic that was deleted, and then made anew")
            .ask(produce(v()).version(13), "NONE at 0, log from 0")
            .until(KafkaVersion::V3_9, "Closed")
            .then(Ask::Delete)
            .ask(produce(v()).version(13), "UNKNOWN_TOPIC_ID")
            .until(KafkaVersion::V3_9, "Closed")
            .ask(produce(v()), "UNKNOWN_TOPIC_OR_PARTITION")
            .then(Ask::CreateAnew)
            .ask(produce(v()).version(13), "UNKNOWN_TOPIC_ID")
            .until(KafkaVersion::V3_9, "Closed")
            .ask(produce(v()), "NONE at 0, log from 0"),
        call("a topic made anew knows no producers")
            .ask(produce(v().by(9, 0, 0)), "NONE at 0, log from 0")
            .then(Ask::Delete)
            .then(Ask::CreateAnew)
            .ask(produce(v().by(9, 0, 8)), "NONE at 0, log from 0")
            .ask(produce(v().by(9, 0, 7)), "OUT_OF_ORDER_SEQUENCE_NUMBER, log from 0"),
        call("errors of sequences, and what else is said")
            .ask(produce(v().by(9, 1, 0)), "NONE at 0, log from 0")
            .ask(produce(v().by(9, 1, 5)), "OUT_OF_ORDER_SEQUENCE_NUMBER, log from 0")
            .ask(produce(v().by(9, 0, 1)), "INVALID_PRODUCER_EPOCH, log from 0")
            .ask(produce(v().by(9, 2, 1)), "OUT_OF_ORDER_SEQUENCE_NUMBER, log from 0"),
        call("errors of sequences in version 3")
            .ask(produce(v().by(9, 1, 0)).version(3), "NONE at 0")
            .ask(produce(v().by(9, 1, 5)).version(3), "OUT_OF_ORDER_SEQUENCE_NUMBER")
            .ask(produce(v().by(9, 0, 1)).version(3), "INVALID_PRODUCER_EPOCH"),
        call("a duplicate has its highest time where an append time would be")
            .ask(produce(timed(&[-5_000, -2_000, -9_000]).by(9, 0, 0)), "NONE at 0, log from 0")
            .ask(produce(timed(&[-5_000, -2_000, -9_000]).by(9, 0, 0)), "NONE at 0, time -2000, log from 0"),
        call("a batch of a transaction that nobody began")
            .ask(produce(v().by(9, 0, 0).with(ATTRIBUTES, &[0, 0x10])), "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"),
        call("gzip")
            .ask(produce(two().compressed(CompressionType::Gzip)), "NONE at 0, log from 0")
            .ask(fetch(0), "NONE 0..2 stable 2, [epoch 0 2 compressed from 0]"),
        call("snappy").ask(produce(two().compressed(CompressionType::Snappy)), "NONE at 0, log from 0"),
        call("lz4").ask(produce(two().compressed(CompressionType::Lz4)), "NONE at 0, log from 0"),
        call("a codec that there is not")
            .ask(produce(v().with(ATTRIBUTES, &[0, 5])), "UNKNOWN_SERVER_ERROR, log from 0")
            .ask(produce(v().with(ATTRIBUTES, &[0, 7])).version(3), "UNKNOWN_SERVER_ERROR"),
        call("zstd before version 7")
            .ask(produce(v().with(ATTRIBUTES, &[0, 4])).version(6), "UNSUPPORTED_COMPRESSION_TYPE"),
        call("a body that its codec cannot read")
            .ask(produce(v().with(ATTRIBUTES, &[0, 1])), "UNKNOWN_SERVER_ERROR, log from 0")
            .ask(produce(v().with(ATTRIBUTES, &[0, 2])), "UNKNOWN_SERVER_ERROR, log from 0")
            .ask(produce(v().with(ATTRIBUTES, &[0, 3])), "UNKNOWN_SERVER_ERROR, log from 0"),
        call("a batch that is as large as may be, and larger")
            .settings(&[("max.message.bytes", "69")])
            .ask(produce(v()), "NONE at 0, log from 0")
            .ask(produce(batch(&["vv"])), "MESSAGE_TOO_LARGE")
            .ask(produce(batch(&["vv"])).version(3), "MESSAGE_TOO_LARGE")
            .ask(produce(batch(&["vv"]).damaged()), "MESSAGE_TOO_LARGE")
            .ask(produce(v()), "NONE at 1, log from 0"),
        call("a batch that is larger than a segment")
            .settings(&[("max.message.bytes", "3000000"), ("segment.bytes", "1048576")])
            .ask(produce(batch(&[&"v".repeat(1_100_000)])), "RECORD_LIST_TOO_LARGE")
            .ask(produce(batch(&[&"v".repeat(1_000_000)])), "NONE at 0, log from 0"),
        call("records from the future")
            .settings(&[("message.timestamp.after.max.ms", "3600000")])
            .ask(
                produce(timed(&[0, 3_500_000, 3_700_000, -1, 3_800_000])),
                "INVALID_TIMESTAMP, log from 0, for records [2, 4], and why",
            )
            .ask(produce(timed(&[3_700_000])).version(7), "INVALID_TIMESTAMP, log from 0")
            .ask(produce(timed(&[3_700_000]).by(9, 0, 0)), "INVALID_TIMESTAMP, log from 0, for records [0], and why")
            .ask(produce(timed(&[3_500_000]).by(9, 0, 0)), "NONE at 0, log from 0"),
        call("records from the future, where nothing is said of them")
            .ask(produce(timed(&[0, 3_700_000])), "INVALID_TIMESTAMP, log from 0, for records [1], and why")
            .until(KafkaVersion::V3_9, "NONE at 0, log from 0"),
        call("records from the past")
            .ask(produce(timed(&[-86_400_000_000, 0])), "NONE at 0, log from 0")
            .ask(produce(v().with(MAX_TIMESTAMP, &[0; 8])), "NONE at 2, log from 0")
            .ask(fetch(2), "NONE 0..3 stable 3, [epoch 0 2:v@now max now]"),
        call("a topic of append times")
            .settings(&[("message.timestamp.type", "LogAppendTime")])
            .ask(produce(timed(&[-9_000, 86_400_000]).by(9, 0, 0)), "NONE at 0, time now, log from 0")
            .ask(produce(timed(&[-9_000, 86_400_000]).by(9, 0, 0)), "NONE at 0, time now, log from 0")
            .ask(produce(timed(&[-9_000])).version(3), "NONE at 2, time now")
            .ask(
                fetch(0),
                "NONE 0..3 stable 3, [epoch 0 appended 0:v@now 1:v@now max now], [epoch 0 appended 2:v@now max now]",
            ),
        call("a producer that gives append times").settings(&[("message.timestamp.type", "LogAppendTime")]).ask(
            produce(two().with(ATTRIBUTES, &[0, 0x08])),
            "INVALID_TIMESTAMP, log from 0, for records [0, 1], and why",
        ),
        call("a producer that gives append times to a topic of its own times")
            .ask(produce(timed(&[-9_000]).with(ATTRIBUTES, &[0, 0x08])), "NONE at 0, log from 0")
            .ask(fetch(0), "NONE 0..1 stable 1, [epoch 0 0:v@-9000 max -9000]"),
        call("records without a key on a compacted topic (KIP-467)")
            .settings(&[("cleanup.policy", "compact")])
            .ask(
                produce(keyed(&[Some("a"), None, Some("b"), None])),
                "INVALID_RECORD, log from 0, for records [1, 3], and why",
            )
            .ask(produce(keyed(&[None])).version(7), "INVALID_RECORD, log from 0")
            .ask(
                produce(keyed(&[None]).compressed(CompressionType::Gzip)),
                "INVALID_RECORD, log from 0, for records [0], and why",
            )
            .ask(produce(keyed(&[Some("a"), None]).by(9, 0, 0)), "INVALID_RECORD, log from 0, for records [1], and why")
            .ask(produce(keyed(&[Some("a"), Some("a")]).by(9, 0, 0)), "NONE at 0, log from 0")
            .ask(produce(keyed(&[None])).acks(0), "Closed"),
        call("and on one that is compacted and deleted")
            .settings(&[("cleanup.policy", "compact,delete")])
            .ask(produce(keyed(&[Some("a"), None])), "INVALID_RECORD, log from 0, for records [1], and why"),
    ]
}

/// Batches that no client should send. Each goes to a partition of its own, followed by a good batch.
pub(super) fn unsound() -> Vec<Call> {
    let refused = |name, words, sent| call(name).ask(produce(sent), words).ask(produce(two()), "NONE at 0, log from 0");
    let taken = |name, sent| {
        call(name).ask(produce(sent), "NONE at 0, log from 0").ask(produce(two()), "NONE at 2, log from 0")
    };
    vec![
        refused("nothing", "INVALID_RECORD", two().cut(0)),
        refused("less than a length", "INVALID_RECORD", two().cut(10)),
        refused("less than a magic", "INVALID_RECORD", two().cut(16)),
        refused("less than a header", "INVALID_RECORD", two().cut(30)),
        refused("less than its length says", "INVALID_RECORD", two().without_its_last_byte()),
        refused("a length below 0", "CORRUPT_MESSAGE, and why", two().unchecked(8, &[0xff; 4])),
        refused("a length that nothing has", "CORRUPT_MESSAGE, and why", two().unchecked(8, &[0, 0, 0, 13])),
        refused("the length of half a header", "CORRUPT_MESSAGE", two().unchecked(8, &[0, 0, 0, 20])),
        // The right length is 65.
        refused("a length that is too short by 1", "CORRUPT_MESSAGE", two().unchecked(11, &[64])),
        refused("a length that is too long by 1", "INVALID_RECORD", two().unchecked(11, &[66])),
        refused("the longest length", "UNKNOWN_SERVER_ERROR", two().unchecked(8, &[0x7f, 0xff, 0xff, 0xff])),
        refused("magic 0", "INVALID_RECORD", two().with(MAGIC, &[0])),
        refused("magic 1", "INVALID_RECORD", two().with(MAGIC, &[1])),
        refused("magic 3", "CORRUPT_MESSAGE, and why", two().with(MAGIC, &[3])),
        refused("magic -1", "CORRUPT_MESSAGE, and why", two().with(MAGIC, &[0xff])),
        refused("a wrong checksum", "CORRUPT_MESSAGE", two().damaged()),
        refused("two batches", "INVALID_RECORD", two().twice()),
        refused("another base offset than 0", "INVALID_RECORD, log from 0", two().unchecked(7, &[5])),
        refused("a control batch", "INVALID_RECORD, log from 0", two().with(ATTRIBUTES, &[0, 0x20])),
        refused("no records", "INVALID_RECORD, log from 0", two().with(COUNT, &[0; 4])),
        refused("a count above the offsets", "INVALID_RECORD, log from 0", two().with(COUNT, &[0, 0, 0, 3])),
        refused("a count below 0", "INVALID_RECORD, log from 0", two().with(COUNT, &[0xff; 4])),
        refused(
            "a last offset that does not match",
            "INVALID_RECORD, log from 0",
            two().with(LAST_OFFSET_DELTA, &[0, 0, 0, 5]),
        ),
        refused(
            "a count and a last offset of more than there is",
            "INVALID_RECORD, log from 0",
            two().with(LAST_OFFSET_DELTA, &[0, 0, 0, 2]).with(COUNT, &[0, 0, 0, 3]),
        ),
        refused(
            "a count and a last offset of less than there is",
            "INVALID_RECORD, log from 0",
            two().with(LAST_OFFSET_DELTA, &[0, 0, 0, 0]).with(COUNT, &[0, 0, 0, 1]),
        ),
        refused("a record of no length", "INVALID_RECORD, log from 0", two().with(RECORDS, &[0])),
        refused("a record of a length below 0", "INVALID_RECORD, log from 0", two().with(RECORDS, &[1])),
        refused("a record that is too long", "INVALID_RECORD, log from 0", two().with(RECORDS, &[0x7e])),
        refused("a producer id without a sequence", "INVALID_RECORD, log from 0", two().by(9, 0, -1)),
        taken("attributes that have no meaning", two().with(ATTRIBUTES, &[0x7f, 0xc0])),
        taken("the leader's epoch", two().unchecked(12, &[0, 0, 0, 9])),
        // Our broker refuses these if it is strict. The suite sends no null records: 3.9.1 and 4.3.1 never answer them.
        taken("bytes after the batch", two().and(b"more")),
        taken("an offset that does not count on", two().with(64, &[2])),
        taken("a key shorter than null", two().with(65, &[3])),
        taken("a producer id without an epoch", two().by(9, -1, 0)),
    ]
}
