//! Tests of CreateTopics, and of topics created by the cluster's owner.

use kurier_broker::{Cluster, ClusterSettings, TopicSettings};
use kurier_protocol::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreatableTopicResult,
};
use kurier_protocol::messages::{CreateTopicsRequest, MetadataRequest};
use kurier_protocol::{ErrorCode, Uuid};

use crate::wire::{ALL, ask, batch, cluster, produce_request, produce_with};

fn topic(name: &str, num_partitions: i32, replication_factor: i16) -> CreatableTopic {
    CreatableTopic { name: name.to_owned(), num_partitions, replication_factor, ..Default::default() }
}

fn with(topic: CreatableTopic, configs: &[(&str, Option<&str>)]) -> CreatableTopic {
    let config = |(name, value): &(&str, Option<&str>)| CreatableTopicConfig {
        name: (*name).to_owned(),
        value: value.map(str::to_owned),
    };
    CreatableTopic { configs: configs.iter().map(config).collect(), ..topic }
}

fn create(cluster: &mut Cluster, version: i16, topics: Vec<CreatableTopic>) -> Vec<CreatableTopicResult> {
    ask(cluster, 1, version, &CreateTopicsRequest { topics, ..Default::default() }).topics
}

/// Returns the number of partitions, and of the first one's replicas.
fn shape(cluster: &mut Cluster, name: &str) -> Option<(usize, usize)> {
    let metadata = ask(cluster, 1, 12, &MetadataRequest { topics: None, ..Default::default() });
    let topic = metadata.topics.into_iter().find(|topic| topic.name.as_deref() == Some(name))?;
    Some((topic.partitions.len(), topic.partitions[0].replica_nodes.len()))
}

#[test]
fn every_version_creates() {
    for version in 2..=7 {
        let mut cluster = cluster(3);
        let results = create(&mut cluster, version, vec![topic("a", 2, 3), topic("b", 1, 1)]);
        let shown: Vec<_> = results.iter().map(|result| (&*result.name, result.error_code)).collect();
        assert_eq!(shown, [("a", ErrorCode::NONE), ("b", ErrorCode::NONE)], "version {version}");
        let (partitions, replicas) = (results[0].num_partitions, results[0].replication_factor);
        assert_eq!((partitions, replicas), if version >= 5 { (2, 3) } else { (-1, -1) });
        assert_eq!(results[0].topic_id == Uuid::ZERO, version < 7);
        assert_eq!(results[0].error_message, None);
        assert_eq!((shape(&mut cluster, "a"), shape(&mut cluster, "b")), (Some((2, 3)), Some((1, 1))));
    }
}

#[test]
fn missing_counts_use_the_clusters_defaults() {
    let default_topic = TopicSettings { replication_factor: 2, ..Default::default() };
    let mut cluster =
        Cluster::new(ClusterSettings { nodes: 3, default_partitions: 4, default_topic, ..Default::default() });
    create(&mut cluster, 7, vec![topic("open", -1, -1), topic("half", -1, 1)]);
    assert_eq!((shape(&mut cluster, "open"), shape(&mut cluster, "half")), (Some((4, 2)), Some((4, 1))));

    // The default is three replicas, but no more than there are nodes. The answer tells the number.
    let mut single = Cluster::new(ClusterSettings::default());
    let results = create(&mut single, 7, vec![topic("t", -1, -1)]);
    assert_eq!((results[0].num_partitions, results[0].replication_factor), (1, 1));
}

#[test]
fn assignments_set_counts() {
    let mut cluster = cluster(3);
    let assignment =
        |partition_index, nodes: &[i32]| CreatableReplicaAssignment { partition_index, broker_ids: nodes.to_vec() };
    let assignments = vec![assignment(0, &[2, 1]), assignment(1, &[3, 2])];
    let results = create(&mut cluster, 7, vec![CreatableTopic { assignments, ..topic("t", -1, -1) }]);
    assert_eq!((results[0].num_partitions, results[0].replication_factor), (2, 2));
}

#[test]
fn invalid_topics_are_refused() {
    let long = "x".repeat(250);
    for (wanted, code) in [
        (topic("two words", 1, 1), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (topic("", 1, 1), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (topic(&long, 1, 1), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (topic("there", 1, 1), ErrorCode::TOPIC_ALREADY_EXISTS),
        (topic("t", 0, 1), ErrorCode::INVALID_PARTITIONS),
        (topic("t", -2, 1), ErrorCode::INVALID_PARTITIONS),
        (topic("t", i32::MAX, 1), ErrorCode::POLICY_VIOLATION),
        (topic("t", 1, 0), ErrorCode::INVALID_REPLICATION_FACTOR),
        (topic("t", 1, -2), ErrorCode::INVALID_REPLICATION_FACTOR),
        (topic("t", 1, 4), ErrorCode::INVALID_REPLICATION_FACTOR),
        (with(topic("t", 1, 1), &[("min.insync.replicas", Some("0"))]), ErrorCode::INVALID_CONFIG),
        (with(topic("t", 1, 1), &[("min.insync.replicas", Some("two"))]), ErrorCode::INVALID_CONFIG),
        (with(topic("t", 1, 1), &[("min.insync.replicas", None)]), ErrorCode::INVALID_CONFIG),
        (with(topic("t", 1, 1), &[("max.message.bytes", Some("-5"))]), ErrorCode::INVALID_CONFIG),
        (with(topic("t", 1, 1), &[("message.timestamp.type", Some("Never"))]), ErrorCode::INVALID_CONFIG),
        (with(topic("t", 1, 1), &[("message.timestamp.after.max.ms", Some("-1"))]), ErrorCode::INVALID_CONFIG),
    ] {
        let mut cluster = cluster(3);
        cluster.create_topic("there", 1, TopicSettings::default()).unwrap();
        let results = create(&mut cluster, 7, vec![wanted.clone(), topic("after", 1, 1)]);
        assert_eq!(results[0].error_code, code, "{wanted:?}");
        assert_eq!(results[0].error_message.as_deref(), Some(code.meaning()));
        assert_eq!((results[0].num_partitions, results[0].topic_id), (-1, Uuid::ZERO));
        assert_eq!(shape(&mut cluster, "t"), None);
        assert_eq!(results[1].error_code, ErrorCode::NONE, "the next one is not to blame");
    }
}

#[test]
fn duplicate_names_are_refused_once() {
    let mut cluster = cluster(1);
    let results = create(&mut cluster, 7, vec![topic("twice", 1, 1), topic("once", 1, 1), topic("twice", 2, 1)]);
    let mut shown: Vec<_> = results.iter().map(|result| (&*result.name, result.error_code)).collect();
    shown.sort_unstable();
    assert_eq!(shown, [("once", ErrorCode::NONE), ("twice", ErrorCode::INVALID_REQUEST)]);
    assert_eq!(shape(&mut cluster, "twice"), None);
}

#[test]
fn validate_only_creates_nothing() {
    let mut cluster = cluster(2);
    let request = |topics| CreateTopicsRequest { topics, validate_only: true, ..Default::default() };
    let results = ask(&mut cluster, 1, 7, &request(vec![topic("t", 3, 2), topic("u", 0, 1)])).topics;
    assert_eq!((results[0].error_code, results[1].error_code), (ErrorCode::NONE, ErrorCode::INVALID_PARTITIONS));
    assert_eq!((results[0].num_partitions, results[0].replication_factor), (3, 2));
    assert_eq!(shape(&mut cluster, "t"), None);
}

#[test]
fn configurations_take_effect() {
    let mut cluster = cluster(2);
    let strict = with(topic("strict", 1, 2), &[("min.insync.replicas", Some("2")), ("cleanup.policy", Some("delete"))]);
    let small = with(topic("small", 1, 2), &[("max.message.bytes", Some("50"))]);
    let timed = with(topic("timed", 1, 2), &[("message.timestamp.type", Some("LogAppendTime"))]);
    let early = with(topic("early", 1, 2), &[("message.timestamp.after.max.ms", Some("0"))]);
    create(&mut cluster, 7, vec![strict, small, timed, early]);
    let mut code = |topic| {
        let answer = produce_with(&mut cluster, 1, 9, &produce_request(ALL, topic, &[(0, batch(&["v"]))]));
        (answer.error_code, answer.log_append_time_ms > 0)
    };
    assert_eq!(code("strict"), (ErrorCode::NONE, false));
    assert_eq!(code("small"), (ErrorCode::MESSAGE_TOO_LARGE, false));
    assert_eq!(code("timed"), (ErrorCode::NONE, true));
    assert_eq!(code("early"), (ErrorCode::NONE, false), "now is not too late");
    cluster.stop_node(2);
    let answer = produce_with(&mut cluster, 1, 9, &produce_request(ALL, "strict", &[(0, batch(&["v"]))]));
    assert_eq!(answer.error_code, ErrorCode::NOT_ENOUGH_REPLICAS);
}

#[test]
fn a_cluster_has_room_for_a_hundred_thousand_partitions() {
    let mut cluster = cluster(1);
    let settings = TopicSettings { replication_factor: 1, ..Default::default() };
    cluster.create_topic("most", 99_999, settings.clone()).unwrap();
    let error = cluster.create_topic("more", 2, settings.clone()).unwrap_err();
    assert!(error.to_string().contains("POLICY_VIOLATION"), "{error}");
    assert!(cluster.add_partitions("most", 100_001).is_err());
    cluster.create_topic("last", 1, settings).unwrap();
    cluster.delete_topic("most").unwrap();
    cluster.add_partitions("last", 100_000).unwrap();
}

#[test]
fn owner_errors_name_the_cause() {
    let mut cluster = cluster(1);
    cluster.create_topic("t", 1, TopicSettings::default()).unwrap();
    let twice = cluster.create_topic("t", 1, TopicSettings::default()).unwrap_err().to_string();
    assert!(twice.contains("\"t\"") && twice.contains("TOPIC_ALREADY_EXISTS"), "{twice}");
    let none = TopicSettings { replication_factor: 0, ..Default::default() };
    let none = cluster.create_topic("u", 1, none).unwrap_err().to_string();
    assert!(none.contains("INVALID_REPLICATION_FACTOR"), "{none}");
    let absent = cluster.delete_topic("absent").unwrap_err().to_string();
    assert!(absent.contains("\"absent\""), "{absent}");
}
