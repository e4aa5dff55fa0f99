//! Tests of sequences that the conformance suite does not cover.

use kurier_broker::TopicSettings;
use kurier_protocol::ErrorCode;

use crate::wire::{NOW_MS, cluster_with, outcome, produce, stamp, stamped, values};

#[test]
fn a_duplicate_is_answered_with_its_highest_timestamp_as_kafka_does() {
    let mut cluster = cluster_with(1, TopicSettings::default());
    let batch = stamped(stamp(0), &[(NOW_MS - 5, "a"), (NOW_MS - 2, "b"), (NOW_MS - 9, "c")]);
    let (first, again) = (produce(&mut cluster, &batch), produce(&mut cluster, &batch));
    assert_eq!(outcome(&first), outcome(&again));
    assert_eq!((first.log_append_time_ms, again.log_append_time_ms), (-1, NOW_MS - 2));
}

#[test]
fn a_duplicate_keeps_the_first_records() {
    let mut cluster = cluster_with(1, TopicSettings::default());
    assert_eq!(outcome(&produce(&mut cluster, &stamped(stamp(0), &[(NOW_MS, "first")]))), (ErrorCode::NONE, 0));
    assert_eq!(outcome(&produce(&mut cluster, &stamped(stamp(0), &[(NOW_MS, "second")]))), (ErrorCode::NONE, 0));
    assert_eq!(values(&cluster, "t", 0), ["first"]);
}

#[test]
fn sequences_outlive_a_change_of_leader() {
    let mut cluster = cluster_with(3, TopicSettings::default());
    let batch = |sequence| stamped(stamp(sequence), &[(NOW_MS, "v")]);
    produce(&mut cluster, &batch(0));
    cluster.move_leader("t", 0, 2).unwrap();
    cluster.stop_node(2);
    cluster.move_leader("t", 0, 1).unwrap();
    assert_eq!(outcome(&produce(&mut cluster, &batch(0))), (ErrorCode::NONE, 0));
    assert_eq!(outcome(&produce(&mut cluster, &batch(2))), (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1));
    assert_eq!(outcome(&produce(&mut cluster, &batch(1))), (ErrorCode::NONE, 1));
}

#[test]
fn a_recreated_topic_knows_no_producers() {
    let mut cluster = cluster_with(1, TopicSettings::default());
    produce(&mut cluster, &stamped(stamp(0), &[(NOW_MS, "old")]));
    cluster.delete_topic("t").unwrap();
    cluster.create_topic("t", 1, TopicSettings::default()).unwrap();
    assert_eq!(outcome(&produce(&mut cluster, &stamped(stamp(8), &[(NOW_MS, "new")]))), (ErrorCode::NONE, 0));
    assert_eq!(values(&cluster, "t", 0), ["new"]);
}
