//! Tests of Metadata: topics by name and id, and automatically created topics.

use kurier_broker::{Cluster, ClusterSettings, TopicSettings};
use kurier_protocol::messages::metadata::MetadataRequestTopic;
use kurier_protocol::messages::{MetadataRequest, MetadataResponse};
use kurier_protocol::{ErrorCode, Uuid};

use crate::wire::{ask, cluster, cluster_with};

fn by_name(names: &[&str]) -> MetadataRequest {
    let topic = |name: &&str| MetadataRequestTopic { name: Some((*name).to_owned()), ..Default::default() };
    let topics = Some(names.iter().map(topic).collect());
    MetadataRequest { topics, ..Default::default() }
}

fn by_id(ids: &[Uuid]) -> MetadataRequest {
    let topic = |id: &Uuid| MetadataRequestTopic { name: None, topic_id: *id };
    MetadataRequest { topics: Some(ids.iter().map(topic).collect()), ..by_name(&[]) }
}

fn shown(response: &MetadataResponse) -> Vec<(Option<&str>, i16, usize)> {
    let topics = response.topics.iter();
    topics.map(|topic| (topic.name.as_deref(), topic.error_code.0, topic.partitions.len())).collect()
}

fn three_topics() -> Cluster {
    let mut cluster = cluster(3);
    for (name, partitions) in [("b", 2), ("a", 1), ("c", 3)] {
        cluster.create_topic(name, partitions, TopicSettings::default()).unwrap();
    }
    cluster
}

#[test]
fn every_version_shows_the_cluster() {
    let mut cluster = three_topics();
    for (node, port) in [(1, 9101), (2, 9102), (3, 9103)] {
        cluster.set_port(node, port);
    }
    cluster.stop_node(2);
    for version in 0..=13 {
        let response = ask(&mut cluster, 3, version, &by_name(&["c", "a"]));
        assert_eq!(shown(&response), [(Some("c"), 0, 3), (Some("a"), 0, 1)], "version {version}");
        let brokers: Vec<_> = response.brokers.iter().map(|node| (node.node_id, &*node.host, node.port)).collect();
        assert_eq!(brokers, [(1, "127.0.0.1", 9101), (3, "127.0.0.1", 9103)]);
        assert_eq!(response.controller_id, if version >= 1 { 1 } else { -1 });
        assert_eq!(response.cluster_id.is_some(), version >= 2);

        let topic = &response.topics[0];
        assert_eq!(topic.topic_id == Uuid::ZERO, version < 10);
        // Partition 1 began on node 2 and moves to the next replica.
        let partition = &topic.partitions[1];
        assert_eq!((partition.partition_index, partition.leader_id), (1, 3));
        assert_eq!(partition.leader_epoch, if version >= 7 { 1 } else { -1 });
        assert_eq!((&partition.replica_nodes[..], &partition.isr_nodes[..]), (&[2, 3, 1][..], &[3, 1][..]));
        assert_eq!(partition.offline_replicas, if version >= 5 { vec![2] } else { vec![] });
    }
}

#[test]
fn null_means_all_topics_and_an_empty_list_none() {
    let mut cluster = three_topics();
    let all = [(Some("a"), 0, 1), (Some("b"), 0, 2), (Some("c"), 0, 3)];
    for version in 1..=13 {
        let everything = MetadataRequest { topics: None, ..by_name(&[]) };
        assert_eq!(shown(&ask(&mut cluster, 1, version, &everything)), all);
        assert_eq!(shown(&ask(&mut cluster, 1, version, &by_name(&[]))), []);
    }
    assert_eq!(shown(&ask(&mut cluster, 1, 0, &by_name(&[]))), all, "version 0 had no null");
}

#[test]
fn topics_are_found_by_id_since_version_12() {
    let mut cluster = three_topics();
    let ids: Vec<_> =
        ask(&mut cluster, 1, 12, &by_name(&["a", "b", "c"])).topics.iter().map(|topic| topic.topic_id).collect();
    let unknown = Uuid([7; 16]);
    for version in 12..=13 {
        let response = ask(&mut cluster, 1, version, &by_id(&[ids[1], unknown, ids[0], ids[1]]));
        let code = ErrorCode::UNKNOWN_TOPIC_ID.0;
        assert_eq!(shown(&response), [(Some("b"), 0, 2), (None, code, 0), (Some("a"), 0, 1)], "none twice");
        assert_eq!(response.topics[1].topic_id, unknown);
        assert_eq!(shown(&ask(&mut cluster, 1, version, &by_id(&[Uuid::ZERO]))), [(None, code, 0)]);
    }
    // The id decides, whatever the name.
    let both = MetadataRequestTopic { name: Some("a".to_owned()), topic_id: ids[2] };
    let request = MetadataRequest { topics: Some(vec![both]), ..by_name(&[]) };
    assert_eq!(shown(&ask(&mut cluster, 1, 12, &request)), [(Some("c"), 0, 3)]);
    for version in 10..=11 {
        let invalid = ErrorCode::INVALID_REQUEST.0;
        assert_eq!(shown(&ask(&mut cluster, 1, version, &by_id(&[ids[0]]))), [(Some(""), invalid, 0)]);
        assert_eq!(shown(&ask(&mut cluster, 1, version, &request)), [(Some("a"), invalid, 0)]);
    }

    cluster.delete_topic("a").unwrap();
    cluster.create_topic("a", 1, TopicSettings::default()).unwrap();
    let response = ask(&mut cluster, 1, 12, &by_id(&ids[..1]));
    assert_eq!(shown(&response), [(None, ErrorCode::UNKNOWN_TOPIC_ID.0, 0)], "made anew, it has another");
}

#[test]
fn a_topic_is_created_if_client_and_broker_allow_it() {
    for (broker_creates, client_creates) in [(false, false), (false, true), (true, false), (true, true)] {
        for version in 0..=13 {
            let mut cluster = Cluster::new(ClusterSettings {
                nodes: 2,
                auto_create_topics: broker_creates,
                default_partitions: 4,
                ..Default::default()
            });
            // Before version 4 a client could not forbid it.
            let allow_auto_topic_creation = client_creates || version < 4;
            let request = MetadataRequest { allow_auto_topic_creation, ..by_name(&["new"]) };
            let response = ask(&mut cluster, 1, version, &request);
            let is_created = broker_creates && allow_auto_topic_creation;
            let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0;
            assert_eq!(
                shown(&response),
                [(Some("new"), if is_created { 0 } else { unknown }, if is_created { 4 } else { 0 })]
            );
            assert_eq!(cluster.end_offset("new", 3).is_some(), is_created);
        }
    }
}

#[test]
fn invalid_names_are_refused_with_or_without_auto_creation() {
    let long = "x".repeat(250);
    for auto_create_topics in [false, true] {
        let mut cluster = Cluster::new(ClusterSettings { auto_create_topics, ..Default::default() });
        for name in ["", ".", "..", "two words", "größe", "a/b", "tab\t", &long] {
            for version in [0, 9, 13] {
                let invalid = ErrorCode::INVALID_TOPIC_EXCEPTION.0;
                assert_eq!(shown(&ask(&mut cluster, 1, version, &by_name(&[name]))), [(Some(name), invalid, 0)]);
            }
        }
        for name in ["a", "...", "_", "-", "A.b_c-9", &long[..249]] {
            assert!(cluster.create_topic(name, 1, TopicSettings::default()).is_ok(), "{name:?}");
        }
    }
}

#[test]
fn a_missing_leader_is_shown() {
    let mut cluster = cluster_with(2, TopicSettings { replication_factor: 1, ..Default::default() });
    cluster.stop_node(1);
    let response = ask(&mut cluster, 2, 12, &by_name(&["t"]));
    let partition = &response.topics[0].partitions[0];
    assert_eq!((partition.error_code, partition.leader_id), (ErrorCode::LEADER_NOT_AVAILABLE, -1));
    assert_eq!((&partition.isr_nodes[..], &partition.offline_replicas[..]), (&[][..], &[1][..]));
    assert_eq!((response.topics[0].error_code, response.controller_id), (ErrorCode::NONE, 2));
}

#[test]
fn added_partitions_are_shown() {
    let mut cluster = cluster_with(1, TopicSettings::default());
    cluster.add_partitions("t", 5).unwrap();
    assert_eq!(shown(&ask(&mut cluster, 1, 9, &by_name(&["t"]))), [(Some("t"), 0, 5)]);
    for (total, why) in [(5, "as many"), (1, "fewer"), (200_000, "too many"), (-1, "below 0")] {
        assert!(cluster.add_partitions("t", total).is_err(), "{why}");
    }
    assert!(cluster.add_partitions("absent", 2).is_err());
}
