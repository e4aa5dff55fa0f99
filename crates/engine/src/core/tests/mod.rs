//! Tests that drive the core by hand. The rig's cluster answers ApiVersions, Metadata and InitProducerId by itself;
//! each test decides the responses to Produce.

mod authentication;
mod batches;
mod captured;
mod certainty;
mod cluster;
mod hostile;
mod idle;
mod links;
mod metadata;
mod obstacles;
mod producer_ids;
mod sequences;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use kurier_partitioner::Choice;
use kurier_protocol::messages::api_versions::ApiVersion;
use kurier_protocol::messages::metadata::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};
use kurier_protocol::messages::produce::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kurier_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, InitProducerIdResponse, ProduceResponse};
use kurier_protocol::record_batch::{NewRecord, RecordBatch};
use kurier_protocol::{Message, RequestHeader, Uuid, write_response};

use super::*;
use crate::accumulator::{AppendError, Placed};
use crate::delivery::{Delivery, NoCallbacks};
use crate::error::Written;
use crate::record::RecordMetadata;
use crate::test_driver::TestDriver;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A batch in a request.
#[derive(Clone, Debug, PartialEq)]
struct Asked {
    index: i32,
    id: i64,
    epoch: i16,
    sequence: i32,
    count: i32,
    bytes: Bytes,
}

/// A Produce request that waits for its response.
#[derive(Clone, Debug)]
struct Produce {
    connection: ConnectionId,
    node: i32,
    correlation_id: i32,
    version: i16,
    topic_id: Uuid,
    batches: Vec<Asked>,
}

impl Produce {
    /// Returns the epoch, first sequence number and record count of the request's only batch.
    fn only(&self) -> (i16, i32, i32) {
        let [Asked { epoch, sequence, count, .. }] = &self.batches[..] else { panic!("{self:?}") };
        (*epoch, *sequence, *count)
    }
}

/// A node's response to ApiVersions of the given version, with the version of the response.
type Offer = fn(i16) -> Option<(i16, ApiVersionsResponse)>;

/// The core with its driver, and a cluster with one topic, `t`.
struct Rig {
    driver: TestDriver,
    /// The leader and leader epoch of each partition.
    leaders: Vec<(i32, i32)>,
    topic_id: Uuid,
    nodes: BTreeSet<i32>,
    /// Nodes that refuse connections.
    down: BTreeSet<i32>,
    /// Nodes that never answer Metadata or InitProducerId.
    mute: BTreeSet<i32>,
    /// Nodes whose connections never complete.
    silent: BTreeSet<i32>,
    /// The node at the other end of each connection.
    connections: BTreeMap<ConnectionId, i32>,
    /// The largest frame that each connection accepts, once the core has raised it.
    frame_limits: BTreeMap<ConnectionId, usize>,
    requests: VecDeque<Produce>,
    next_producer_id: i64,
    metadata_asked: usize,
    /// The topics of each metadata request.
    topics_asked: Vec<Vec<String>>,
    /// The host and time of each connection attempt.
    connects: Vec<(String, Instant)>,
    /// The new addresses of nodes that have moved.
    hosts: BTreeMap<i32, String>,
    /// The response to ApiVersions of each version. `None` closes the connection.
    versions: Offer,
    /// Like `versions`, for nodes that differ from the others.
    versions_by_node: BTreeMap<i32, Offer>,
    versions_asked: Vec<i16>,
    /// Each ApiVersions request: the node, and the cluster and node id that it names.
    identities: Vec<(i32, Option<String>, i32)>,
    /// Nodes whose address belongs to another broker. That broker checks the node id in the request.
    misrouted: BTreeSet<i32>,
    /// The racks of nodes.
    racks: BTreeMap<i32, &'static str>,
    /// The cluster id, and the ids of nodes that belong to another cluster.
    cluster_id: &'static str,
    astray: BTreeMap<i32, &'static str>,
    /// The error for the topic in metadata.
    topic_refusal: ErrorCode,
    /// The error that replaces metadata.
    metadata_refusal: ErrorCode,
    /// Changes to responses before they are sent.
    change_metadata: Box<dyn Fn(&mut MetadataResponse)>,
    change_producer_id: fn(&mut InitProducerIdResponse),
    producer_ids_asked: usize,
    /// Whether every topic but `t` exists, with one partition that node 1 leads.
    has_others: bool,
    /// Topics that the core refused.
    refused: Vec<(Arc<str>, Error)>,
    /// How long a connection takes, and when each pending one completes.
    connects_in: Duration,
    connecting: VecDeque<(Instant, ConnectionId)>,
    /// Reports of written frames that the driver holds back.
    held_writes: Option<Vec<Input>>,
}

/// Returns an offer of each API from version 0 up to a version.
fn offer(highest: &[(i16, i16)]) -> ApiVersionsResponse {
    let api = |(api_key, max_version): &(i16, i16)| ApiVersion {
        api_key: *api_key,
        min_version: 0,
        max_version: *max_version,
    };
    ApiVersionsResponse { api_keys: highest.iter().map(api).collect(), ..Default::default() }
}

/// Returns a topic with one partition, which node 1 leads.
fn other_topic(name: String) -> MetadataResponseTopic {
    let partition = MetadataResponsePartition { leader_id: 1, ..Default::default() };
    MetadataResponseTopic { name: Some(name), partitions: vec![partition], ..Default::default() }
}

/// The node number of the bootstrap server.
const SEED: i32 = -1;

impl Rig {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        Self::with(change, |_| {})
    }

    /// Creates a rig with other settings and a different cluster.
    fn with(change: impl FnOnce(&mut Config), arrange: impl FnOnce(&mut Self)) -> Self {
        let mut config = Config::default();
        config.set("bootstrap.servers", "seed:9092").unwrap();
        config.linger = ms(5);
        change(&mut config);
        let config = Arc::new(config.check().unwrap());
        let mut rig = Self {
            driver: TestDriver::new(config, Arc::new(NoCallbacks)).unwrap(),
            leaders: vec![(1, 0)],
            topic_id: Uuid([7; 16]),
            nodes: [1, 2, 3].into(),
            down: BTreeSet::new(),
            mute: BTreeSet::new(),
            silent: BTreeSet::new(),
            connections: BTreeMap::new(),
            frame_limits: BTreeMap::new(),
            requests: VecDeque::new(),
            next_producer_id: 1000,
            metadata_asked: 0,
            topics_asked: Vec::new(),
            connects: Vec::new(),
            racks: BTreeMap::new(),
            hosts: BTreeMap::new(),
            versions: |version| Some((version, offer(&[(0, 13), (3, 13), (18, 4), (22, 5)]))),
            versions_by_node: BTreeMap::new(),
            versions_asked: Vec::new(),
            identities: Vec::new(),
            misrouted: BTreeSet::new(),
            cluster_id: "c",
            astray: BTreeMap::new(),
            topic_refusal: ErrorCode::NONE,
            metadata_refusal: ErrorCode::NONE,
            change_metadata: Box::new(|_| {}),
            change_producer_id: |_| {},
            producer_ids_asked: 0,
            has_others: false,
            refused: Vec::new(),
            connects_in: Duration::ZERO,
            connecting: VecDeque::new(),
            held_writes: None,
        };
        arrange(&mut rig);
        rig.handle(Input::Signal(Signal::Wanted { topic: "t".into(), partitions: 0 }));
        rig.turn();
        rig.pass(ms(200));
        assert!(rig.driver.accumulator.topic("t").is_some(), "the topic is known");
        rig
    }

    fn now(&self) -> Instant {
        self.driver.now()
    }

    fn handle(&mut self, input: Input) {
        self.driver.handle(input);
    }

    /// Lets time pass, and wakes the core when it asks for that.
    fn pass(&mut self, time: Duration) {
        let end = self.now() + time;
        for _ in 0..100_000 {
            let connected = self.connecting.front().map(|(at, _)| *at);
            let due = self.driver.core.next_timeout(self.now()).into_iter().chain(connected).min();
            let next = due.filter(|at| *at < end).unwrap_or(end);
            let next = next.max(self.now() + Duration::from_micros(1)).min(end);
            self.driver.clock.set(next);
            self.turn();
            if next == end {
                return;
            }
        }
        panic!("the core is never content");
    }

    /// Performs all actions that are possible now.
    fn turn(&mut self) {
        while let Some((_, connection)) = self.connecting.pop_front_if(|(at, _)| *at <= self.driver.now()) {
            self.handle(Input::Connected { connection, is_private: true });
        }
        self.driver.tell();
        while let Some(action) = self.driver.core.poll_action() {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match self.driver.act(action) {
            Some(Action::Connect { connection, host, .. }) => {
                let node = host.host.get(1..).and_then(|node| node.parse().ok()).unwrap_or(SEED);
                self.connections.insert(connection, node);
                self.connects.push((host.host, self.now()));
                if self.down.contains(&node) {
                    self.cut(node);
                } else if !self.connects_in.is_zero() {
                    self.connecting.push_back((self.now() + self.connects_in, connection));
                } else if !self.silent.contains(&node) {
                    self.handle(Input::Connected { connection, is_private: true });
                }
            }
            Some(Action::Disconnect(connection)) => drop(self.connections.remove(&connection)),
            Some(Action::Transmit { connection, correlation_id, chunks }) => {
                let frame: Bytes = chunks.concat().into();
                self.read(connection, correlation_id.0, &frame.slice(4..));
                let written = Input::Written { connection, correlation_id };
                match &mut self.held_writes {
                    Some(held) => held.push(written),
                    None => self.handle(written),
                }
            }
            Some(Action::FrameLimit { connection, bytes }) => drop(self.frame_limits.insert(connection, bytes)),
            Some(Action::Refuse { topic, error }) => self.refused.push((topic, error)),
            _ => {}
        }
    }

    /// Lets a server read a request, and answer it unless it is Produce.
    fn read(&mut self, connection: ConnectionId, correlation_id: i32, frame: &Bytes) {
        let (header, body) = RequestHeader::read(frame).unwrap();
        let version = header.api_version;
        match header.api_key {
            ApiVersionsRequest::KEY => {
                self.versions_asked.push(version);
                let asked = ApiVersionsRequest::read(&body, version).unwrap();
                let node = self.connections.get(&connection).copied().unwrap_or(SEED);
                self.identities.push((node, asked.cluster_id, asked.node_id));
                if self.misrouted.contains(&node) && asked.node_id >= 0 {
                    let error_code = ErrorCode::REBOOTSTRAP_REQUIRED;
                    let refusal = ApiVersionsResponse { error_code, ..Default::default() };
                    return self.answer(connection, correlation_id, version, &refusal);
                }
                let versions = self.versions_by_node.get(&node).unwrap_or(&self.versions);
                match versions(version) {
                    Some((version, response)) => self.answer(connection, correlation_id, version, &response),
                    None => self.handle(Input::Disconnected { connection, ending: Ending::Failed("cut".into()) }),
                }
            }
            MetadataRequest::KEY => {
                self.metadata_asked += 1;
                if self.mute.contains(&self.connections[&connection]) {
                    return;
                }
                let asked = MetadataRequest::read(&body, version).unwrap().topics.unwrap();
                self.topics_asked.push(asked.iter().filter_map(|topic| topic.name.clone()).collect());
                let mut description = self.describe(asked.iter().any(|topic| topic.name.as_deref() == Some("t")));
                if self.has_others {
                    let others = asked.into_iter().filter(|topic| topic.name.as_deref() != Some("t"));
                    description.topics.extend(others.filter_map(|topic| topic.name).map(other_topic));
                }
                let astray = self.astray.get(&self.connections[&connection]);
                let cluster_id = Some((*astray.unwrap_or(&self.cluster_id)).to_owned());
                let mut response = MetadataResponse { cluster_id, ..description };
                (self.change_metadata)(&mut response);
                self.answer(connection, correlation_id, version, &response);
            }
            InitProducerIdRequest::KEY => {
                if self.mute.contains(&self.connections[&connection]) {
                    return;
                }
                (self.next_producer_id, self.producer_ids_asked) =
                    (self.next_producer_id + 1, self.producer_ids_asked + 1);
                let mut response = InitProducerIdResponse { producer_id: self.next_producer_id, ..Default::default() };
                (self.change_producer_id)(&mut response);
                self.answer(connection, correlation_id, version, &response);
            }
            ProduceRequest::KEY => {
                let node = self.connections[&connection];
                let asked = ProduceRequest::read(&body, version).unwrap();
                let mut batches = Vec::new();
                let mut topic_id = Uuid::ZERO;
                for topic in asked.topic_data {
                    topic_id = topic.topic_id;
                    for partition in topic.partition_data {
                        let bytes = partition.records.unwrap().to_bytes();
                        let batch = *RecordBatch::parse(&bytes).unwrap().0.header();
                        batches.push(Asked {
                            index: partition.index,
                            id: batch.producer_id.0,
                            epoch: batch.producer_epoch.0,
                            sequence: batch.base_sequence.0,
                            count: batch.record_count,
                            bytes: bytes.clone(),
                        });
                    }
                }
                self.requests.push_back(Produce { connection, node, correlation_id, version, topic_id, batches });
            }
            other => panic!("API {other}"),
        }
    }

    fn describe(&self, has_topic: bool) -> MetadataResponse {
        let host = |node_id: &i32| MetadataResponseBroker {
            node_id: *node_id,
            host: self.hosts.get(node_id).cloned().unwrap_or_else(|| format!("n{node_id}")),
            port: 9092,
            rack: self.racks.get(node_id).map(|rack| (*rack).to_owned()),
        };
        let partition = |((leader_id, leader_epoch), partition_index): (&(i32, i32), i32)| MetadataResponsePartition {
            partition_index,
            leader_id: *leader_id,
            leader_epoch: *leader_epoch,
            ..Default::default()
        };
        let topic = has_topic.then(|| MetadataResponseTopic {
            error_code: self.topic_refusal,
            name: Some("t".to_owned()),
            topic_id: self.topic_id,
            partitions: self.leaders.iter().zip(0..).map(partition).collect(),
            ..Default::default()
        });
        MetadataResponse {
            brokers: self.nodes.iter().map(host).collect(),
            topics: topic.into_iter().collect(),
            error_code: self.metadata_refusal,
            ..Default::default()
        }
    }

    fn answer<M: Message>(&mut self, connection: ConnectionId, correlation_id: i32, version: i16, response: &M) {
        let mut frame = Vec::new();
        write_response(response, version, correlation_id, &mut frame).unwrap();
        self.handle(Input::Received { connection, frame: Bytes::from(frame).slice(4..) });
    }

    /// Returns the oldest Produce request.
    fn request(&mut self) -> Produce {
        self.requests.pop_front().expect("a request was sent")
    }

    /// Answers all batches of a request with this code; success comes with this offset.
    fn settle(&mut self, request: &Produce, code: ErrorCode, offset: i64) {
        self.settle_with(request, |answer| PartitionProduceResponse {
            error_code: code,
            base_offset: offset,
            ..answer
        });
    }

    fn settle_with(
        &mut self,
        request: &Produce,
        change: impl Fn(PartitionProduceResponse) -> PartitionProduceResponse,
    ) {
        self.answer_with(request, change);
        self.turn();
    }

    /// Like [`settle_with`](Self::settle_with), but the core does not act on the response yet.
    fn answer_with(
        &mut self,
        request: &Produce,
        change: impl Fn(PartitionProduceResponse) -> PartitionProduceResponse,
    ) {
        let answer = |asked: &Asked| change(PartitionProduceResponse { index: asked.index, ..Default::default() });
        let response = ProduceResponse {
            responses: vec![TopicProduceResponse {
                name: "t".to_owned(),
                topic_id: request.topic_id,
                partition_responses: request.batches.iter().map(answer).collect(),
            }],
            ..Default::default()
        };
        self.answer(request.connection, request.correlation_id, request.version, &response);
    }

    fn reply(&mut self, request: &Produce, response: &ProduceResponse) {
        self.answer(request.connection, request.correlation_id, request.version, response);
        self.turn();
    }

    /// Ends a node's connections.
    fn cut(&mut self, node: i32) {
        let cut: Vec<ConnectionId> =
            self.connections.iter().filter(|(_, other)| **other == node).map(|(connection, _)| *connection).collect();
        for connection in cut {
            self.handle(Input::Disconnected { connection, ending: Ending::Failed("cut".into()) });
        }
    }

    /// Ends all connections, and refuses new ones except to the bootstrap server.
    fn lose_nodes(&mut self) {
        self.down = self.nodes.clone();
        for node in self.nodes.clone().into_iter().chain([SEED]) {
            self.cut(node);
        }
    }

    /// Sends a record of `bytes` bytes to a partition.
    fn send(&self, partition: i32, bytes: usize) -> Delivery {
        let value = vec![7; bytes];
        let record = NewRecord { timestamp: 1, value: Some(&value), ..Default::default() };
        let mut placed = Placed::new(Choice::Partition(partition), record);
        let topic = self.driver.accumulator.topic("t").unwrap();
        self.driver.accumulator.append(&topic, &mut placed, &mut Delivery::new).unwrap()
    }

    /// Sends a record, and waits until it no longer lingers.
    fn send_and_linger(&mut self, partition: i32) -> Delivery {
        let delivery = self.send(partition, 10);
        self.pass(ms(6));
        delivery
    }

    /// Sends a partition's first batch and acknowledges it, so that five may follow.
    fn open_gate(&mut self, partition: i32) {
        let first = self.send_and_linger(partition);
        let request = self.request();
        self.settle(&request, ErrorCode::NONE, 0);
        assert_eq!(fate(&first), Fate::At(0));
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Open,
    At(i64),
    Failed(ErrorKind, Written),
}

/// Returns the current outcome of a delivery.
fn outcome(delivery: &Delivery) -> Poll<Result<RecordMetadata, Error>> {
    Pin::new(&mut delivery.again()).poll(&mut Context::from_waker(Waker::noop()))
}

fn fate(delivery: &Delivery) -> Fate {
    match outcome(delivery) {
        Poll::Pending => Fate::Open,
        Poll::Ready(Ok(metadata)) => Fate::At(metadata.offset().unwrap_or(-1)),
        Poll::Ready(Err(error)) => Fate::Failed(error.kind(), error.written()),
    }
}
