//! Runs the [conformance suite](crate::conformance) on the in-memory cluster, as every version of Kafka.

use bytes::Bytes;
use kurier_broker::{Cluster, ClusterSettings, KafkaVersion, Reply, TopicSettings};

use crate::conformance::{self, Call, Exchange, Peer, law};
use crate::wire::NOW_MS;

/// A cluster in memory, the version to judge it by, and the number of names given out.
struct InMemory {
    cluster: Cluster,
    version: KafkaVersion,
    names: u32,
}

impl InMemory {
    /// Creates a cluster like the suite's real ones: topics have one replica by default, and the stricter checks are
    /// off.
    fn new(version: KafkaVersion, nodes: u16) -> Self {
        let settings = ClusterSettings {
            version,
            nodes,
            default_topic: one_replica(version),
            is_strict: false,
            ..Default::default()
        };
        Self { cluster: Cluster::new(settings), version, names: 0 }
    }
}

fn one_replica(version: KafkaVersion) -> TopicSettings {
    TopicSettings { replication_factor: 1, ..TopicSettings::of(version) }
}

/// Returns the calls for one node.
fn calls() -> impl Iterator<Item = Call> {
    conformance::calls().into_iter().flat_map(|(_, calls)| calls)
}

impl Peer for InMemory {
    fn version(&self) -> KafkaVersion {
        self.version
    }

    fn nodes(&self) -> Vec<i32> {
        self.cluster.node_ids().map(|node| node.0).collect()
    }

    fn exchange(&mut self, node: i32, frame: &Bytes, _: bool) -> Exchange {
        match self.cluster.handle(node, frame, NOW_MS, false) {
            Reply::Send { frame, after, cut: None } if after.is_zero() => Exchange::Answer(frame.slice(4..)),
            Reply::Nothing => Exchange::Silence,
            Reply::Close => Exchange::Closed,
            other => panic!("{other:?}"),
        }
    }

    fn delete_topic(&mut self, name: &str) {
        let _it_may_be_gone = self.cluster.delete_topic(name);
    }

    fn stop_node(&mut self, node: i32) {
        self.cluster.stop_node(node);
    }

    fn start_node(&mut self, node: i32) {
        self.cluster.start_node(node);
    }

    fn now_ms(&self) -> i64 {
        NOW_MS
    }

    fn fresh_name(&mut self) -> String {
        self.names += 1;
        format!("topic-{}", self.names)
    }

    fn wait(&mut self) -> bool {
        false
    }
}

#[test]
fn every_call_is_answered_as_kafka_does() {
    let mut differences = Vec::new();
    for version in KafkaVersion::ALL {
        let one = calls().map(|call| call.check(&mut InMemory::new(version, 1)));
        let three = conformance::calls_of_three_nodes();
        let three = three.iter().map(|call| call.check(&mut InMemory::new(version, 3)));
        let results: Vec<_> = one.chain(three).collect();
        println!("as {version}: {} calls", results.len());
        differences.extend(results.into_iter().filter_map(Result::err).map(|why| format!("as {version}: {why}")));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// The suite finds the differences of a strict cluster, and a default cluster differs nowhere else.
#[test]
fn a_strict_cluster_differs_only_in_strictness() {
    let settings = ClusterSettings { default_topic: one_replica(KafkaVersion::default()), ..Default::default() };
    let strict = || InMemory { cluster: Cluster::new(settings.clone()), version: settings.version, names: 0 };
    let differing: Vec<_> = calls().filter(|call| call.check(&mut strict()).is_err()).map(|call| call.name()).collect();
    let expected = [
        "bytes after a request",
        "bytes after the batch",
        "an offset that does not count on",
        "a key shorter than null",
        "a producer id without an epoch",
    ];
    assert_eq!(differing, expected);
}

#[test]
fn no_version_passes_for_another() {
    for (is, seems) in [(KafkaVersion::V3_7, KafkaVersion::V3_9), (KafkaVersion::V3_9, KafkaVersion::V4_3)] {
        let differing = calls().filter(|call| {
            call.check(&mut InMemory { version: seems, ..InMemory::new(is, 1) }).is_err()
                && call.check(&mut InMemory { version: is, ..InMemory::new(seems, 1) }).is_err()
        });
        let count = differing.count();
        println!("{is} and {seems} differ in {count} calls");
        assert!(count > 0);
    }
}

/// The table of `make conformance` identifies calls by name.
#[test]
fn call_names_are_unique() {
    let mut names: Vec<_> = calls().chain(conformance::calls_of_three_nodes()).map(|call| call.name()).collect();
    names.extend(law::CASES.iter().map(|case| case.name));
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn the_rules_for_sequences_hold() {
    for version in KafkaVersion::ALL {
        let mut peer = InMemory::new(version, 1);
        let broken: Vec<_> = law::CASES.iter().filter_map(|case| case.check(&mut peer).err()).collect();
        assert!(broken.is_empty(), "as {version}: {}", broken.join("\n"));
        law::check_that_partitions_are_apart(&mut peer).unwrap();
    }
}
