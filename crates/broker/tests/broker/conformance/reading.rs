//! Calls for ListOffsets and Fetch: reads return exactly the written batches.

use kurier_broker::KafkaVersion;

use super::ask::{Ask, At, Which, fetch, produce};
use super::batch::{batch, timed};
use super::{Call, call};

fn offset(version: i16, at: At) -> Ask {
    Ask::ListOffsets { version, partition: 0, at, epoch: -1, topic: Which::Own }
}

/// Asks for the end offset, assuming this leader epoch.
fn offset_in(epoch: i32) -> Ask {
    Ask::ListOffsets { version: 6, partition: 0, at: LATEST, epoch, topic: Which::Own }
}

fn offset_of(partition: i32, topic: Which) -> Ask {
    Ask::ListOffsets { version: 6, partition, at: LATEST, epoch: -1, topic }
}

const LATEST: At = At::Number(-1);
const EARLIEST: At = At::Number(-2);
const NEWEST: At = At::Number(-3);
const LOCAL: At = At::Number(-4);

/// A batch of two records and one of one, as every version but the first shows them.
const TWO_BATCHES: &str = "NONE 0..3 stable 3, [epoch 0 0:v@-9000 1:v@-7000 max -7000], [epoch 0 2:v@-5000 max -5000]";

pub(super) fn calls() -> Vec<Call> {
    vec![
        call("offsets of an empty partition")
            .ask(offset(1, LATEST), "NONE 0")
            .ask(offset(3, EARLIEST), "NONE 0")
            .ask(offset(4, LATEST), "NONE 0, epoch 0")
            .ask(offset(6, EARLIEST), "NONE 0, epoch 0")
            .ask(offset(7, NEWEST), "NONE")
            .ask(offset(8, LOCAL), "NONE 0, epoch 0")
            .ask(offset(6, At::Ahead(0)), "NONE"),
        call("offsets of a partition")
            .ask(produce(timed(&[-9_000, -7_000])), "NONE at 0, log from 0")
            .ask(produce(timed(&[-8_000, -5_000, -6_000])), "NONE at 2, log from 0")
            .ask(offset(1, LATEST), "NONE 5")
            .ask(offset(1, EARLIEST), "NONE 0")
            .ask(offset(8, LATEST), "NONE 5, epoch 0")
            .ask(offset(8, EARLIEST), "NONE 0, epoch 0")
            .ask(offset(8, LOCAL), "NONE 0, epoch 0")
            .ask(offset(7, NEWEST), "NONE 3 of -5000, epoch 0")
            .until(KafkaVersion::V3_7, "NONE 4 of -5000, epoch 0"),
        call("offsets by time")
            .ask(produce(timed(&[-9_000, -7_000])), "NONE at 0, log from 0")
            .ask(produce(timed(&[-8_000, -5_000, -6_000])), "NONE at 2, log from 0")
            .ask(offset(1, At::Ahead(-10_000)), "NONE 0 of -9000")
            .ask(offset(6, At::Ahead(-10_000)), "NONE 0 of -9000, epoch 0")
            .ask(offset(6, At::Ahead(-9_000)), "NONE 0 of -9000, epoch 0")
            .ask(offset(6, At::Ahead(-8_000)), "NONE 1 of -7000, epoch 0")
            .ask(offset(6, At::Ahead(-7_000)), "NONE 1 of -7000, epoch 0")
            .ask(offset(6, At::Ahead(-6_500)), "NONE 3 of -5000, epoch 0")
            .ask(offset(6, At::Ahead(-5_000)), "NONE 3 of -5000, epoch 0")
            .ask(offset(6, At::Ahead(-4_999)), "NONE")
            .ask(offset(6, At::Number(0)), "NONE 0 of -9000, epoch 0"),
        call("the newest of equals")
            .ask(produce(timed(&[-5_000, -5_000])), "NONE at 0, log from 0")
            .ask(offset(7, NEWEST), "NONE 0 of -5000, epoch 0")
            .until(KafkaVersion::V3_7, "NONE 1 of -5000, epoch 0"),
        call("numbers that stand for something else only later, or never")
            .ask(produce(batch(&["v"])), "NONE at 0, log from 0")
            .ask(offset(6, NEWEST), "UNSUPPORTED_VERSION")
            .until(KafkaVersion::V3_7, "NONE 0 of now, epoch 0")
            .ask(offset(7, LOCAL), "UNSUPPORTED_VERSION")
            .until(KafkaVersion::V3_7, "NONE 0, epoch 0")
            .ask(offset(1, NEWEST), "UNSUPPORTED_VERSION")
            .until(KafkaVersion::V3_7, "NONE 0 of now")
            .ask(offset(8, At::Number(-7)), "UNSUPPORTED_VERSION")
            .until(KafkaVersion::V3_7, "NONE 0 of now, epoch 0"),
        call("offsets of what is not there")
            .ask(offset_of(1, Which::Own), "UNKNOWN_TOPIC_OR_PARTITION")
            .ask(offset_of(-1, Which::Own), "UNKNOWN_TOPIC_OR_PARTITION")
            .ask(offset_of(0, Which::Named("conformance-missing")), "UNKNOWN_TOPIC_OR_PARTITION")
            .ask(offset_of(0, Which::Named("two words")), "UNKNOWN_TOPIC_OR_PARTITION"),
        call("offsets, by leader epoch")
            .ask(offset_in(0), "NONE 0, epoch 0")
            .ask(offset_in(1), "UNKNOWN_LEADER_EPOCH")
            .ask(offset_in(7), "UNKNOWN_LEADER_EPOCH"),
        call("an empty partition is read")
            .ask(fetch(0), "NONE 0..0 stable 0")
            .ask(fetch(1), "OFFSET_OUT_OF_RANGE")
            .ask(fetch(-1), "OFFSET_OUT_OF_RANGE")
            .ask(fetch(0).version(4), "NONE..0 stable 0"),
        call("a partition is read, in every version")
            .ask(produce(timed(&[-9_000, -7_000])), "NONE at 0, log from 0")
            .ask(produce(timed(&[-5_000])), "NONE at 2, log from 0")
            .ask(
                fetch(0).version(4),
                "NONE..3 stable 3, [epoch 0 0:v@-9000 1:v@-7000 max -7000], [epoch 0 2:v@-5000 max -5000]",
            )
            .ask(fetch(0).version(5), TWO_BATCHES)
            .ask(fetch(0).version(7), TWO_BATCHES)
            .ask(fetch(0).version(9), TWO_BATCHES)
            .ask(fetch(0).version(11), TWO_BATCHES)
            .ask(fetch(0).version(12), TWO_BATCHES),
        call("a batch is read whole from any of its offsets")
            .ask(produce(batch(&["a", "b", "c"])), "NONE at 0, log from 0")
            .ask(produce(batch(&["d"])), "NONE at 3, log from 0")
            .ask(fetch(1), "NONE 0..4 stable 4, [epoch 0 0:a@now 1:b@now 2:c@now max now], [epoch 0 3:d@now max now]")
            .ask(fetch(3), "NONE 0..4 stable 4, [epoch 0 3:d@now max now]")
            .ask(fetch(4), "NONE 0..4 stable 4")
            .ask(fetch(5), "OFFSET_OUT_OF_RANGE")
            .ask(fetch(-1), "OFFSET_OUT_OF_RANGE"),
        call("a first batch is read even if it is too large")
            .ask(produce(batch(&["a"])), "NONE at 0, log from 0")
            .ask(produce(batch(&["b"])), "NONE at 1, log from 0")
            .ask(fetch(0).max_bytes(1), "NONE 0..2 stable 2, [epoch 0 0:a@now max now]")
            .ask(
                fetch(0).max_bytes(69 + 69),
                "NONE 0..2 stable 2, [epoch 0 0:a@now max now], [epoch 0 1:b@now max now]",
            ),
        call("what is not there is not read")
            .ask(fetch(0).partition(1), "UNKNOWN_TOPIC_OR_PARTITION")
            .ask(fetch(0).partition(-1), "UNKNOWN_TOPIC_OR_PARTITION")
            .ask(fetch(0).topic(Which::Named("conformance-missing")), "UNKNOWN_TOPIC_OR_PARTITION")
            .ask(fetch(0).topic(Which::Named("two words")), "UNKNOWN_TOPIC_OR_PARTITION"),
        call("reading, by leader epoch")
            .ask(produce(batch(&["a"])), "NONE at 0, log from 0")
            .ask(fetch(0).epoch(0), "NONE 0..1 stable 1, [epoch 0 0:a@now max now]")
            .ask(fetch(0).epoch(1), "UNKNOWN_LEADER_EPOCH")
            .ask(fetch(0).version(9).epoch(7), "UNKNOWN_LEADER_EPOCH"),
    ]
}
