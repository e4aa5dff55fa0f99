//! The cluster keeps the [law](crate::law) of sequences.

use kurier_broker::{Cluster, TopicSettings};
use kurier_protocol::{ErrorCode, Request};

use crate::law::{self, Peer};
use crate::wire::{NOW_MS, ask, cluster, cluster_with, outcome, produce, stamp, stamped, values};

/// A cluster of one node, and how many topics it has.
struct InMemory(Cluster, u32);

impl Peer for InMemory {
    fn fresh_topic(&mut self, partitions: i32) -> String {
        self.1 += 1;
        let name = format!("topic-{}", self.1);
        self.0.create_topic(&name, partitions, TopicSettings::default()).unwrap();
        name
    }

    fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        ask(&mut self.0, 1, version, request)
    }

    fn now_ms(&self) -> i64 {
        NOW_MS
    }
}

#[test]
fn the_law_of_sequences_is_kept() {
    let mut peer = InMemory(cluster(1), 0);
    let broken: Vec<_> = law::CASES.iter().filter_map(|case| case.check(&mut peer).err()).collect();
    println!("{} cases", law::CASES.len());
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn partitions_are_apart() {
    law::check_that_partitions_are_apart(&mut InMemory(cluster(1), 0)).unwrap();
}

#[test]
fn a_duplicate_is_answered_with_its_highest_timestamp_as_kafka_does() {
    let mut cluster = cluster_with(1, TopicSettings::default());
    let batch = stamped(stamp(0), &[(NOW_MS - 5, "a"), (NOW_MS - 2, "b"), (NOW_MS - 9, "c")]);
    let (first, again) = (produce(&mut cluster, &batch), produce(&mut cluster, &batch));
    assert_eq!(outcome(&first), outcome(&again));
    assert_eq!((first.log_append_time_ms, again.log_append_time_ms), (-1, NOW_MS - 2));
}

#[test]
fn what_was_written_under_a_sequence_stays() {
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
fn a_topic_made_anew_knows_no_producers() {
    let mut cluster = cluster_with(1, TopicSettings::default());
    produce(&mut cluster, &stamped(stamp(0), &[(NOW_MS, "old")]));
    cluster.delete_topic("t").unwrap();
    cluster.create_topic("t", 1, TopicSettings::default()).unwrap();
    assert_eq!(outcome(&produce(&mut cluster, &stamped(stamp(8), &[(NOW_MS, "new")]))), (ErrorCode::NONE, 0));
    assert_eq!(values(&cluster, "t", 0), ["new"]);
}
