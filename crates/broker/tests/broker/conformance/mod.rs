//! The conformance suite: calls and their expected answers as data, for every version of Kafka that our broker
//! imitates.
//!
//! The calls need only the wire, so they can run on any broker: on our cluster by this crate's tests, and on real
//! Kafka, beside ours, by `make conformance`. The suite turns an answer [into text](ask) before it compares. The text
//! leaves out everything that differs between any two brokers (ids, names, times, messages for people) and fields with
//! default values.
//!
//! The suite leaves out intended differences: transactions, groups and fetch sessions, which our broker does not have;
//! error messages and the configurations that CreateTopics lists; and that a new topic is available at once. It also
//! leaves out a null batch, which Kafka since 3.9 never answers.

pub(crate) mod ask;
mod batch;
mod creating;
pub(crate) mod law;
mod metadata;
mod nodes;
mod producing;
mod reading;
mod versions;

use bytes::Bytes;
use kurier_broker::KafkaVersion;
use kurier_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use kurier_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use kurier_protocol::messages::metadata::{MetadataRequestTopic, MetadataResponsePartition};
use kurier_protocol::messages::{CreateTopicsRequest, ListOffsetsRequest, MetadataRequest, MetadataResponse};
use kurier_protocol::{ErrorCode, Request, Uuid, read_response, write_request};

use ask::Ask;

/// Limit on attempts when the suite waits for a condition.
const ATTEMPTS: usize = 3_000;

/// The broker under test.
pub(crate) trait Peer {
    /// Returns its version of Kafka.
    fn version(&self) -> KafkaVersion;
    /// Returns its nodes' ids.
    fn nodes(&self) -> Vec<i32>;
    /// Sends a node this frame, without its length, and waits for the reaction. A response comes without its length
    /// too.
    fn exchange(&mut self, node: i32, frame: &Bytes, is_answered: bool) -> Exchange;
    /// Deletes a topic; this may take a moment.
    fn delete_topic(&mut self, name: &str);
    /// Stops a node; the others may need a moment to notice.
    fn stop_node(&mut self, node: i32);
    /// Starts the node again.
    fn start_node(&mut self, node: i32);
    /// Returns the broker's time in milliseconds since 1970.
    fn now_ms(&self) -> i64;
    /// Returns a name that none of its topics has had.
    fn fresh_name(&mut self) -> String;
    /// Waits a moment. Returns false if waiting cannot change anything.
    fn wait(&mut self) -> bool;
}

/// Reaction of a node to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Exchange {
    Answer(Bytes),
    Silence,
    Closed,
}

/// A row of the table: requests on a topic of its own, with the expected answers.
pub(crate) struct Call {
    name: &'static str,
    topic: Option<Topic>,
    steps: Vec<Step>,
}

/// A topic without records.
#[derive(Clone, Copy, Debug)]
struct Topic {
    partitions: i32,
    replicas: i16,
    settings: &'static [(&'static str, &'static str)],
}

struct Step {
    ask: Ask,
    to: To,
    words: Words,
    is_patient: bool,
}

/// The node to ask. The leader is the leader of partition 0 when the call began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Leader,
    Follower,
}

/// An answer as text, which may differ for former versions of Kafka.
struct Words {
    now: &'static str,
    /// Answers up to and including a version, in the order of versions.
    then: Vec<(KafkaVersion, &'static str)>,
}

impl Words {
    fn of(&self, version: KafkaVersion) -> &'static str {
        self.then.iter().find(|(last, _)| version <= *last).map_or(self.now, |(_, words)| words)
    }
}

/// Creates a call on a topic of one partition and one replica.
fn call(name: &'static str) -> Call {
    Call { name, topic: Some(Topic { partitions: 1, replicas: 1, settings: &[] }), steps: Vec::new() }
}

impl Call {
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Removes the call's own topic.
    fn without_topic(self) -> Self {
        Self { topic: None, ..self }
    }

    fn partitions(mut self, partitions: i32) -> Self {
        self.topic = self.topic.map(|topic| Topic { partitions, ..topic });
        self
    }

    fn replicas(mut self, replicas: i16) -> Self {
        self.topic = self.topic.map(|topic| Topic { replicas, ..topic });
        self
    }

    fn settings(mut self, settings: &'static [(&'static str, &'static str)]) -> Self {
        self.topic = self.topic.map(|topic| Topic { settings, ..topic });
        self
    }

    /// Adds a request and its expected answer.
    fn ask(mut self, ask: impl Into<Ask>, now: &'static str) -> Self {
        let words = Words { now, then: Vec::new() };
        self.steps.push(Step { ask: ask.into(), to: To::Leader, words, is_patient: false });
        self
    }

    /// Adds an action, which has no answer.
    fn then(self, ask: Ask) -> Self {
        self.ask(ask, "done")
    }

    fn last(mut self, change: impl FnOnce(&mut Step)) -> Self {
        change(self.steps.last_mut().expect("there is a step"));
        self
    }

    /// Sets the last step's answer for Kafka up to and including this version. Older versions come first.
    fn until(self, version: KafkaVersion, words: &'static str) -> Self {
        self.last(|step| step.words.then.push((version, words)))
    }

    /// Sends the last step to a node that does not lead.
    fn of_follower(self) -> Self {
        self.last(|step| step.to = To::Follower)
    }

    /// Allows other answers to the last step at first.
    fn in_the_end(self) -> Self {
        self.last(|step| step.is_patient = true)
    }

    /// Runs the call on a broker.
    ///
    /// # Errors
    /// With all differences.
    pub(crate) fn check(&self, peer: &mut dyn Peer) -> Result<(), String> {
        let mut scene = Scene::new(peer, self.topic);
        let mut differences = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            let expected = step.words.of(scene.peer.version());
            let mut found = step.ask.put(&mut scene, step.to);
            for _ in 0..ATTEMPTS {
                if !step.is_patient || found == expected || !scene.peer.wait() {
                    break;
                }
                found = step.ask.put(&mut scene, step.to);
            }
            if found != expected {
                differences.push(format!("{}, step {index}: {found:?}, not {expected:?}", self.name));
            }
        }
        if differences.is_empty() { Ok(()) } else { Err(differences.join("\n")) }
    }
}

/// A running call.
pub(crate) struct Scene<'p> {
    pub(crate) peer: &'p mut dyn Peer,
    /// Name of the call's own topic; without one, a name that no topic has.
    topic: String,
    topic_id: Uuid,
    /// Leader of partition 0, as far as the call has followed it.
    leader: i32,
    /// When the call began.
    began_ms: i64,
    /// The stopped node.
    stopped: Option<i32>,
    /// The producer ids that the broker gave out.
    producers: Vec<i64>,
}

impl<'p> Scene<'p> {
    fn new(peer: &'p mut dyn Peer, topic: Option<Topic>) -> Self {
        let (topic, metadata) = match topic {
            Some(topic) => {
                let name = fresh_topic(peer, topic.partitions, topic.replicas, topic.settings);
                let metadata = metadata(peer, &name);
                (name, Some(metadata))
            }
            None => (peer.fresh_name(), None),
        };
        let shown = metadata.as_ref().and_then(|metadata| metadata.topics.first());
        let first = shown.and_then(|topic| topic.partitions.iter().find(|partition| partition.partition_index == 0));
        let leader = first.map_or_else(|| peer.nodes()[0], |partition| partition.leader_id);
        let topic_id = shown.map_or(Uuid::ZERO, |topic| topic.topic_id);
        let began_ms = peer.now_ms();
        Self { peer, topic, topic_id, leader, began_ms, stopped: None, producers: Vec::new() }
    }

    fn node(&self, to: To) -> i32 {
        match to {
            To::Leader => self.leader,
            To::Follower => self.peer.nodes().into_iter().find(|node| *node != self.leader).expect("there are more"),
        }
    }

    /// Names a node by its role.
    fn role(&self, node: i32) -> String {
        let mut others = self.peer.nodes().into_iter().filter(|other| *other != self.leader);
        match node {
            -1 => "nobody".to_owned(),
            node if node == self.leader => "leader".to_owned(),
            node => {
                others.position(|other| other == node).map_or_else(String::new, |place| format!("follower {place}"))
            }
        }
    }

    /// Describes a timestamp: one after the start of the call can only be an append time.
    fn time(&self, time_ms: i64) -> String {
        match time_ms {
            -1 => "none".to_owned(),
            time if (self.began_ms..=self.peer.now_ms()).contains(&time) => "now".to_owned(),
            time => format!("{:+}", time - self.began_ms),
        }
    }
}

/// Creates an empty topic and waits until it has leaders.
pub(crate) fn fresh_topic(peer: &mut dyn Peer, partitions: i32, replicas: i16, settings: &[(&str, &str)]) -> String {
    let name = peer.fresh_name();
    create_topic(peer, &name, partitions, replicas, settings);
    name
}

fn create_topic(peer: &mut dyn Peer, name: &str, partitions: i32, replicas: i16, settings: &[(&str, &str)]) {
    let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
        name: (*name).to_owned(),
        value: Some((*value).to_owned()),
    };
    let topic = CreatableTopic {
        name: name.to_owned(),
        num_partitions: partitions,
        replication_factor: replicas,
        configs: settings.iter().map(config).collect(),
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, validate_only: false };
    let node = peer.nodes()[0];
    let created = ask(peer, node, 5, &request);
    assert_eq!(created.topics[0].error_code, ErrorCode::NONE, "{name}: {created:?}");
    // Every node must know the topic, and every leader its partitions.
    for node in peer.nodes() {
        wait_until(peer, &format!("{name} has leaders"), |peer| {
            is_led(&metadata_of(peer, node, name), partitions, replicas)
        });
    }
    for partition in &metadata(peer, name).topics[0].partitions {
        wait_until(peer, &format!("{name} is served"), |peer| is_served(peer, name, partition));
    }
}

/// Waits for a condition that takes the broker a moment.
fn wait_until(peer: &mut dyn Peer, what: &str, mut is_so: impl FnMut(&mut dyn Peer) -> bool) {
    for _ in 0..ATTEMPTS {
        if is_so(peer) {
            return;
        }
        assert!(peer.wait(), "not so: {what}");
    }
    panic!("not so after a long time: {what}");
}

fn is_led(metadata: &MetadataResponse, partitions: i32, replicas: i16) -> bool {
    metadata.topics.first().is_some_and(|topic| {
        let led = topic.partitions.iter().filter(|partition| {
            partition.leader_id >= 0 && partition.isr_nodes.len() == usize::try_from(replicas).unwrap()
        });
        led.count() == usize::try_from(partitions).unwrap()
    })
}

fn is_served(peer: &mut dyn Peer, topic: &str, partition: &MetadataResponsePartition) -> bool {
    let index = partition.partition_index;
    let partitions = vec![ListOffsetsPartition { partition_index: index, timestamp: -1, ..Default::default() }];
    let topics = vec![ListOffsetsTopic { name: topic.to_owned(), partitions }];
    let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
    let answer = ask(peer, partition.leader_id, 6, &request);
    answer.topics[0].partitions[0].error_code.is_none()
}

fn metadata(peer: &mut dyn Peer, topic: &str) -> MetadataResponse {
    let node = peer.nodes()[0];
    metadata_of(peer, node, topic)
}

fn metadata_of(peer: &mut dyn Peer, node: i32, topic: &str) -> MetadataResponse {
    let topics = Some(vec![MetadataRequestTopic { name: Some(topic.to_owned()), ..Default::default() }]);
    let request = MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() };
    ask(peer, node, 12, &request)
}

/// Asks a node that must answer.
pub(crate) fn ask<R: Request>(peer: &mut dyn Peer, node: i32, version: i16, request: &R) -> R::Response {
    match peer.exchange(node, &frame(version, request), true) {
        Exchange::Answer(answer) => read_response::<R>(&answer, version).unwrap().1,
        other => panic!("{request:?} was answered by {other:?}"),
    }
}

/// Client id of the suite.
const CLIENT_ID: &str = "conformance";

/// Encodes a request as a frame without its length.
fn frame<R: Request>(version: i16, request: &R) -> Bytes {
    frame_of(CLIENT_ID, version, request)
}

/// Encodes a request of this client as a frame without its length.
fn frame_of<R: Request>(client_id: &str, version: i16, request: &R) -> Bytes {
    let mut frame = Vec::new();
    write_request(request, version, 1, Some(client_id), &mut frame).unwrap();
    Bytes::from(frame).slice(4..)
}

/// Returns the calls for any cluster, with a title for each group.
pub(crate) fn calls() -> Vec<(&'static str, Vec<Call>)> {
    vec![
        ("versions", versions::calls()),
        ("metadata", metadata::calls()),
        ("creating topics", creating::calls()),
        ("producing", producing::calls()),
        ("batches that are none", producing::unsound()),
        ("reading", reading::calls()),
    ]
}

/// Returns the calls for a cluster of three nodes.
pub(crate) fn calls_of_three_nodes() -> Vec<Call> {
    nodes::calls()
}
