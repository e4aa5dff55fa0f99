//! Leaders: nodes stop and start, and partitions get other leaders.

use kurier_broker::{Cluster, TopicSettings, UnknownProducer};
use kurier_protocol::messages::MetadataRequest;
use kurier_protocol::messages::metadata::MetadataResponsePartition;
use kurier_protocol::{ErrorCode, NodeId, Request};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use crate::wire::{
    ALL, NOW_MS, ask, batch, cluster, cluster_with, outcome, produce, produce_request, produce_with, stamp, stamped,
    values,
};

/// Returns leader, epoch and in-sync replicas of "t", partition 0, as a running node reports them.
fn seen(cluster: &mut Cluster) -> (i32, i32, Vec<i32>) {
    let MetadataResponsePartition { leader_id, leader_epoch, isr_nodes, .. } = partitions(cluster).remove(0);
    (leader_id, leader_epoch, isr_nodes)
}

fn partitions(cluster: &mut Cluster) -> Vec<MetadataResponsePartition> {
    let node = cluster.node_ids().find(|node| cluster.is_up(*node)).unwrap();
    ask_all(cluster, node.0, &MetadataRequest { topics: None, ..Default::default() }).topics.remove(0).partitions
}

fn ask_all<R: Request>(cluster: &mut Cluster, node: i32, request: &R) -> R::Response {
    ask(cluster, node, 12, request)
}

fn written_by(cluster: &mut Cluster, node: i32, acks: i16) -> ErrorCode {
    produce_with(cluster, node, 12, &produce_request(acks, "t", &[(0, batch(&["v"]))])).error_code
}

#[test]
fn a_leader_moves_and_its_epoch_rises() {
    let mut cluster = cluster_with(3, TopicSettings::default());
    assert_eq!(seen(&mut cluster), (1, 0, vec![1, 2, 3]));
    for (epoch, node) in (1..).zip([2, 3, 1, 2]) {
        let before = cluster.leader("t", 0).unwrap();
        cluster.move_leader("t", 0, node).unwrap();
        assert_eq!(seen(&mut cluster), (node, epoch, vec![1, 2, 3]));
        assert_eq!(written_by(&mut cluster, before.0, ALL), ErrorCode::NOT_LEADER_OR_FOLLOWER);
        assert_eq!(written_by(&mut cluster, node, ALL), ErrorCode::NONE);
    }
    assert_eq!(values(&cluster, "t", 0).len(), 4);
}

#[test]
fn only_a_replica_in_sync_may_lead() {
    let mut cluster = cluster_with(4, TopicSettings::default());
    cluster.stop_node(2);
    for (topic, partition, node) in [("t", 0, 2), ("t", 0, 4), ("t", 0, 9), ("t", 1, 1), ("t", -1, 1), ("u", 0, 1)] {
        let error = cluster.move_leader(topic, partition, node).unwrap_err().to_string();
        assert!(error.contains(&format!("node {node} cannot lead {topic}-{partition}")), "{error}");
    }
    assert_eq!(seen(&mut cluster), (1, 0, vec![1, 3]));
}

#[test]
fn when_a_leader_stops_the_next_replica_in_sync_leads() {
    let mut cluster = cluster_with(3, TopicSettings::default());
    cluster.stop_node(1);
    assert_eq!(seen(&mut cluster), (2, 1, vec![2, 3]));
    cluster.stop_node(1);
    assert_eq!(seen(&mut cluster), (2, 1, vec![2, 3]), "it was down already");
    cluster.start_node(1);
    assert_eq!(seen(&mut cluster), (2, 1, vec![1, 2, 3]), "who comes back follows");
    cluster.stop_node(3);
    assert_eq!(seen(&mut cluster), (2, 1, vec![1, 2]), "a follower's end is nothing to the leader");
    cluster.stop_node(9);
    cluster.start_node(9);
    assert_eq!(seen(&mut cluster), (2, 1, vec![1, 2]), "there is no such node");
}

/// No other replica has the whole log.
#[test]
fn only_the_last_replica_in_sync_leads_again() {
    let mut cluster = cluster_with(4, TopicSettings { replication_factor: 2, ..Default::default() });
    cluster.stop_node(1);
    assert_eq!(written_by(&mut cluster, 2, ALL), ErrorCode::NONE);
    cluster.stop_node(2);
    assert_eq!(seen(&mut cluster), (-1, 2, vec![]), "nobody is shown to be in sync (KIP-966)");
    cluster.start_node(1);
    assert_eq!(seen(&mut cluster), (-1, 2, vec![]), "it misses what node 2 took alone");
    assert_eq!(written_by(&mut cluster, 1, 1), ErrorCode::NOT_LEADER_OR_FOLLOWER);
    cluster.start_node(2);
    assert_eq!(seen(&mut cluster), (2, 3, vec![1, 2]));
    assert_eq!(values(&cluster, "t", 0), ["v"]);
}

#[test]
fn a_topic_may_be_created_while_its_replicas_are_down() {
    let mut cluster = cluster(3);
    cluster.stop_node(1);
    cluster.stop_node(2);
    cluster.create_topic("t", 2, TopicSettings { replication_factor: 1, ..Default::default() }).unwrap();
    assert_eq!(seen(&mut cluster), (-1, 0, vec![]));
    cluster.start_node(1);
    assert_eq!(seen(&mut cluster), (1, 1, vec![1]));
    assert_eq!(cluster.leader("t", 1), None);
    cluster.start_node(2);
    assert_eq!(cluster.leader("t", 1), Some(NodeId(2)));
}

#[test]
fn partitions_are_spread_over_the_nodes() {
    let mut cluster = cluster(3);
    cluster.create_topic("t", 7, TopicSettings { replication_factor: 2, ..Default::default() }).unwrap();
    let leaders: Vec<_> = partitions(&mut cluster).iter().map(|partition| partition.leader_id).collect();
    assert_eq!(leaders, [1, 2, 3, 1, 2, 3, 1]);
    let replicas: Vec<_> = partitions(&mut cluster).into_iter().map(|partition| partition.replica_nodes).collect();
    assert_eq!(replicas[..3], [[1, 2], [2, 3], [3, 1]]);
}

#[derive(Clone, Debug)]
enum Event {
    Stop(i32),
    Start(i32),
    Move(i32),
    Write { node: i32, acks: i16 },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        (1..=4).prop_map(Event::Stop),
        (1..=4).prop_map(Event::Start),
        (1..=4).prop_map(Event::Move),
        (1..=4, -1i16..=1).prop_map(|(node, acks)| Event::Write { node, acks: if acks == 0 { 1 } else { acks } }),
    ];
    vec(event, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_failure_persistence(FileFailurePersistence::WithSource("regressions")))]

    /// After any events, at most one node leads, it is up and in sync, its epoch rises with each change, and
    /// acknowledged records stay.
    #[test]
    fn any_events_keep_the_invariants(events in events(), replication_factor in 1usize..=4, min_insync_replicas in 1usize..=3) {
        let settings = TopicSettings { replication_factor, min_insync_replicas, ..Default::default() };
        let mut cluster = cluster_with(4, settings);
        let (mut written, mut before) = (0, (Some(1), 0));
        for event in events {
            match event {
                Event::Stop(node) => cluster.stop_node(node),
                Event::Start(node) => cluster.start_node(node),
                Event::Move(node) => drop(cluster.move_leader("t", 0, node)),
                Event::Write { node, .. } if !cluster.is_up(node) => continue,
                Event::Write { node, acks } => {
                    let in_sync = seen(&mut cluster).2.len();
                    let expected = if cluster.leader("t", 0) != Some(NodeId(node)) {
                        (ErrorCode::NOT_LEADER_OR_FOLLOWER, -1)
                    } else if acks == ALL && in_sync < min_insync_replicas.min(replication_factor) {
                        (ErrorCode::NOT_ENOUGH_REPLICAS, -1)
                    } else {
                        written += 1;
                        (ErrorCode::NONE, written - 1)
                    };
                    let answer = produce_with(&mut cluster, node, 12, &produce_request(acks, "t", &[(0, batch(&["v"]))]));
                    prop_assert_eq!(outcome(&answer), expected);
                }
            }
            prop_assert_eq!(cluster.end_offset("t", 0), Some(written));
            if cluster.node_ids().all(|node| !cluster.is_up(node)) {
                prop_assert_eq!(cluster.leader("t", 0), None);
                continue;
            }
            let (leader, epoch, in_sync) = seen(&mut cluster);
            let leader = (leader >= 0).then_some(leader);
            prop_assert_eq!(cluster.leader("t", 0), leader.map(NodeId));
            prop_assert_eq!(in_sync.is_empty(), leader.is_none());
            prop_assert!(leader.is_none_or(|leader| cluster.is_up(leader) && in_sync.contains(&leader)));
            prop_assert!(epoch >= before.1 && (leader == before.0 || epoch > before.1), "{:?} to {:?}", before, (leader, epoch));
            before = (leader, epoch);
        }
    }
}

#[test]
fn a_forgotten_producer_is_treated_as_configured() {
    let batch = |sequence| stamped(stamp(sequence), &[(NOW_MS, "v")]);
    for (unknown, expected) in [
        (UnknownProducer::Taken, (ErrorCode::NONE, 1)),
        (UnknownProducer::OutOfOrder, (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1)),
        (UnknownProducer::Refused, (ErrorCode::UNKNOWN_PRODUCER_ID, -1)),
    ] {
        let mut cluster = cluster_with(1, TopicSettings::default());
        cluster.set_unknown_producer(unknown);
        assert_eq!(outcome(&produce(&mut cluster, &batch(0))), (ErrorCode::NONE, 0));
        cluster.forget_producers("t", 0);
        assert_eq!(outcome(&produce(&mut cluster, &batch(1))), expected, "{unknown:?}");
        assert_eq!(outcome(&produce(&mut cluster, &batch(0))).0.is_none(), unknown != UnknownProducer::Taken);
    }
}

#[test]
fn truncation_drops_batches_and_producer_state() {
    let mut cluster = cluster_with(1, TopicSettings::default());
    for (sequence, value) in [(0, "a"), (1, "b"), (2, "c")] {
        produce(&mut cluster, &stamped(stamp(sequence), &[(NOW_MS, value)]));
    }
    cluster.truncate("t", 0, 2);
    assert_eq!((values(&cluster, "t", 0), cluster.end_offset("t", 0)), (vec!["a".to_owned()], Some(1)));
    assert_eq!(
        outcome(&produce(&mut cluster, &stamped(stamp(2), &[(NOW_MS, "c")]))).0,
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
    );
    assert_eq!(outcome(&produce(&mut cluster, &stamped(stamp(1), &[(NOW_MS, "b")]))), (ErrorCode::NONE, 1));
}
