//! The core by hand: each test is a story of what happens in the world and what the core says to it. The cluster answers
//! by itself what is asked about it; what becomes of batches the story says.

use std::collections::{BTreeMap, BTreeSet};
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
use crate::delivery::{Calls, Delivery, Runner};
use crate::error::Written;
use crate::record::RecordMetadata;
use crate::simulation::hands::Hands;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

struct NoCallbacks;

impl Runner for NoCallbacks {
    fn run(&self, _: Calls) {}
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

/// A request of batches that waits for its answer.
#[derive(Debug)]
struct Produce {
    connection: ConnectionId,
    node: i32,
    correlation_id: i32,
    version: i16,
    topic_id: Uuid,
    batches: Vec<Asked>,
}

impl Produce {
    /// Epoch, first sequence and count of its only batch.
    fn only(&self) -> (i16, i32, i32) {
        let [Asked { epoch, sequence, count, .. }] = &self.batches[..] else { panic!("{self:?}") };
        (*epoch, *sequence, *count)
    }
}

/// The core with its hands, and a cluster with one topic, `t`.
struct Rig {
    hands: Hands,
    /// The leader and its epoch of each partition.
    leaders: Vec<(i32, i32)>,
    topic_id: Uuid,
    nodes: BTreeSet<i32>,
    /// Nodes that cannot be connected to.
    down: BTreeSet<i32>,
    /// Nodes that never answer what the cluster is, nor with a producer id.
    mute: BTreeSet<i32>,
    /// Nodes that are connected to and never say so.
    silent: BTreeSet<i32>,
    /// Who is at the other end.
    connections: BTreeMap<ConnectionId, i32>,
    requests: VecDeque<Produce>,
    next_producer_id: i64,
    metadata_asked: usize,
    /// The topics of each question.
    topics_asked: Vec<Vec<String>>,
    /// To which host a connection was begun when.
    connects: Vec<(String, Instant)>,
    /// Where nodes listen that have moved.
    hosts: BTreeMap<i32, String>,
    /// What is said, and in which version, to who asks in this version what is spoken; no answer ends the connection.
    versions: fn(i16) -> Option<(i16, ApiVersionsResponse)>,
    versions_asked: Vec<i16>,
    /// Which cluster it is, and that of nodes which are of another.
    cluster_id: &'static str,
    astray: BTreeMap<i32, &'static str>,
    /// What is said of the topic, if not success.
    topic_refusal: ErrorCode,
    /// What is said instead of what the cluster is.
    metadata_refusal: ErrorCode,
}

/// What is spoken: of each API up to a version.
fn offer(highest: &[(i16, i16)]) -> ApiVersionsResponse {
    let api = |(api_key, max_version): &(i16, i16)| ApiVersion {
        api_key: *api_key,
        min_version: 0,
        max_version: *max_version,
    };
    ApiVersionsResponse { api_keys: highest.iter().map(api).collect(), ..Default::default() }
}

/// The number of the bootstrap server.
const SEED: i32 = -1;

impl Rig {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        Self::with(change, |_| {})
    }

    /// With other settings, in another world.
    fn with(change: impl FnOnce(&mut Config), arrange: impl FnOnce(&mut Self)) -> Self {
        let mut config = Config::default();
        config.set("bootstrap.servers", "seed:9092").unwrap();
        config.linger = ms(5);
        change(&mut config);
        let config = Arc::new(config.check().unwrap());
        let mut rig = Self {
            hands: Hands::new(config, Arc::new(NoCallbacks), 1).unwrap(),
            leaders: vec![(1, 0)],
            topic_id: Uuid([7; 16]),
            nodes: [1, 2, 3].into(),
            down: BTreeSet::new(),
            mute: BTreeSet::new(),
            silent: BTreeSet::new(),
            connections: BTreeMap::new(),
            requests: VecDeque::new(),
            next_producer_id: 1000,
            metadata_asked: 0,
            topics_asked: Vec::new(),
            connects: Vec::new(),
            hosts: BTreeMap::new(),
            versions: |version| Some((version, offer(&[(0, 13), (3, 13), (18, 4), (22, 5)]))),
            versions_asked: Vec::new(),
            cluster_id: "c",
            astray: BTreeMap::new(),
            topic_refusal: ErrorCode::NONE,
            metadata_refusal: ErrorCode::NONE,
        };
        arrange(&mut rig);
        rig.handle(Input::Signal(Signal::Wanted("t".into())));
        rig.turn();
        rig.pass(ms(200));
        assert!(rig.hands.accumulator.topic("t").is_some(), "the topic is known");
        rig
    }

    fn now(&self) -> Instant {
        self.hands.now()
    }

    fn handle(&mut self, input: Input) {
        self.hands.handle(input);
    }

    /// Time passes, in steps as the core wants to be woken.
    fn pass(&mut self, time: Duration) {
        let end = self.now() + time;
        for _ in 0..100_000 {
            let next = self.hands.core.next_timeout(self.now()).filter(|at| *at < end).unwrap_or(end);
            let next = next.max(self.now() + Duration::from_micros(1)).min(end);
            self.hands.clock.set(next);
            self.turn();
            if next == end {
                return;
            }
        }
        panic!("the core is never content");
    }

    /// All that can happen now happens.
    fn turn(&mut self) {
        self.hands.tell();
        while let Some(action) = self.hands.core.poll_action() {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match self.hands.act(action) {
            Some(Action::Connect { connection, host, .. }) => {
                let node = host.host.get(1..).and_then(|node| node.parse().ok()).unwrap_or(SEED);
                self.connections.insert(connection, node);
                self.connects.push((host.host, self.now()));
                if self.down.contains(&node) {
                    self.cut(node);
                } else if !self.silent.contains(&node) {
                    self.handle(Input::Connected(connection));
                }
            }
            Some(Action::Disconnect(connection)) => drop(self.connections.remove(&connection)),
            Some(Action::Transmit { connection, correlation_id, chunks }) => {
                let frame: Bytes = chunks.concat().into();
                self.read(connection, correlation_id, &frame.slice(4..));
                self.handle(Input::Written { connection, correlation_id });
            }
            _ => {}
        }
    }

    /// A server reads a request, and answers what is asked of the cluster.
    fn read(&mut self, connection: ConnectionId, correlation_id: i32, frame: &Bytes) {
        let (header, body) = RequestHeader::read(frame).unwrap();
        let version = header.api_version;
        match header.api_key {
            ApiVersionsRequest::KEY => {
                self.versions_asked.push(version);
                match (self.versions)(version) {
                    Some((version, response)) => self.answer(connection, correlation_id, version, &response),
                    None => self.handle(Input::Disconnected { connection, why: "cut".to_owned() }),
                }
            }
            MetadataRequest::KEY => {
                self.metadata_asked += 1;
                if self.mute.contains(&self.connections[&connection]) {
                    return;
                }
                let asked = MetadataRequest::read(&body, version).unwrap().topics.unwrap();
                self.topics_asked.push(asked.iter().filter_map(|topic| topic.name.clone()).collect());
                let description = self.describe(asked.iter().any(|topic| topic.name.as_deref() == Some("t")));
                let astray = self.astray.get(&self.connections[&connection]);
                let cluster_id = Some((*astray.unwrap_or(&self.cluster_id)).to_owned());
                let response = MetadataResponse { cluster_id, ..description };
                self.answer(connection, correlation_id, version, &response);
            }
            InitProducerIdRequest::KEY => {
                if self.mute.contains(&self.connections[&connection]) {
                    return;
                }
                self.next_producer_id += 1;
                let response = InitProducerIdResponse { producer_id: self.next_producer_id, ..Default::default() };
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
            rack: None,
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

    /// The request that came first.
    fn request(&mut self) -> Produce {
        self.requests.pop_front().expect("a request was sent")
    }

    /// A broker answers all of a request's batches with this code, and success with this offset.
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

    /// As [`settle_with`](Self::settle_with), and nothing is done about it yet.
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

    /// A node's connections end.
    fn cut(&mut self, node: i32) {
        let cut: Vec<ConnectionId> =
            self.connections.iter().filter(|(_, other)| **other == node).map(|(connection, _)| *connection).collect();
        for connection in cut {
            self.handle(Input::Disconnected { connection, why: "cut".to_owned() });
        }
    }

    /// All connections end, and none but to the bootstrap server can be made.
    fn lose_nodes(&mut self) {
        self.down = self.nodes.clone();
        for node in self.nodes.clone().into_iter().chain([SEED]) {
            self.cut(node);
        }
    }

    /// A record of so many bytes to a partition.
    fn send(&self, partition: i32, bytes: usize) -> Delivery {
        let value = vec![7; bytes];
        let record = NewRecord { timestamp: 1, value: Some(&value), ..Default::default() };
        let placed = Placed { record, choice: Choice::Partition(partition) };
        let topic = self.hands.accumulator.topic("t").unwrap();
        match self.hands.accumulator.append(&topic, &placed, None, None) {
            Ok(delivery) => delivery,
            Err((AppendError::Refused(error), _)) => panic!("{error}"),
            Err((AppendError::NoRoom(missing), _)) => panic!("{missing:?}"),
        }
    }

    /// A record is sent, lingers, and goes.
    fn send_and_linger(&mut self, partition: i32) -> Delivery {
        let delivery = self.send(partition, 10);
        self.pass(ms(6));
        delivery
    }

    /// The first batch of a partition, acknowledged, so that five may follow.
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

fn fate(delivery: &Delivery) -> Fate {
    let result: Poll<Result<RecordMetadata, Error>> =
        Pin::new(&mut delivery.again()).poll(&mut Context::from_waker(Waker::noop()));
    match result {
        Poll::Pending => Fate::Open,
        Poll::Ready(Ok(metadata)) => Fate::At(metadata.offset().unwrap_or(-1)),
        Poll::Ready(Err(error)) => Fate::Failed(error.kind(), error.written()),
    }
}

#[test]
fn a_retry_after_a_lost_connection_has_the_same_bytes() {
    let mut rig = Rig::new(|_| {});
    let delivery = rig.send_and_linger(0);
    let first = rig.request();
    rig.cut(1);
    rig.pass(ms(500));
    let second = rig.request();
    assert_ne!(first.connection, second.connection);
    assert_eq!(first.batches, second.batches);
    rig.settle(&second, ErrorCode::DUPLICATE_SEQUENCE_NUMBER, -1);
    assert_eq!(fate(&delivery), Fate::At(-1));
}

#[test]
fn one_batch_until_the_first_is_acknowledged_then_five() {
    let mut rig = Rig::new(|_| {});
    let _first = rig.send_and_linger(0);
    let _second = rig.send_and_linger(0);
    assert_eq!(rig.requests.len(), 1);
    let request = rig.request();
    rig.settle(&request, ErrorCode::NONE, 0);
    let more: Vec<Delivery> = (0..7).map(|_| rig.send_and_linger(0)).collect();
    assert_eq!(rig.requests.len(), 5);
    for offset in 1..6 {
        let request = rig.request();
        rig.settle(&request, ErrorCode::NONE, offset);
    }
    assert_eq!(fate(&more[0]), Fate::At(2));
}

#[test]
fn nothing_goes_to_a_new_leader_before_the_old_one_has_answered() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    let first = rig.send_and_linger(0);
    let asked = rig.request();
    rig.leaders = vec![(2, 1)];
    rig.hands.core.world.metadata.doubt();
    rig.pass(ms(200));
    let second = rig.send_and_linger(0);
    assert!(rig.requests.is_empty(), "the old leader may yet answer");
    rig.settle(&asked, ErrorCode::NOT_LEADER_OR_FOLLOWER, -1);
    rig.pass(ms(500));
    let again = rig.request();
    assert_eq!((again.node, &again.batches), (2, &asked.batches));
    // What was sent before goes first.
    let next = rig.request();
    rig.settle(&again, ErrorCode::NONE, 1);
    assert_eq!((next.node, next.only()), (2, (0, 2, 1)));
    rig.settle(&next, ErrorCode::NONE, 2);
    assert_eq!((fate(&first), fate(&second)), (Fate::At(1), Fate::At(2)));
}

#[test]
fn a_late_success_of_what_has_expired_in_flight_closes_the_gap() {
    let mut rig = Rig::new(|config| {
        config.set("delivery.timeout.ms", "1000").unwrap();
        config.set("request.timeout.ms", "900").unwrap();
    });
    rig.open_gate(0);
    let lost = rig.send_and_linger(0);
    rig.request();
    rig.cut(1);
    rig.pass(ms(500));
    let again = rig.request();
    rig.pass(ms(400));
    let next = rig.send_and_linger(0);
    let after = rig.request();
    rig.pass(ms(100));
    assert_eq!(fate(&lost), Fate::Failed(ErrorKind::DeliveryTimeout, Written::Unknown));
    rig.settle(&again, ErrorCode::NONE, 1);
    rig.settle(&after, ErrorCode::NONE, 2);
    assert_eq!(fate(&lost), Fate::Failed(ErrorKind::DeliveryTimeout, Written::Unknown), "nothing completes twice");
    let last = rig.send_and_linger(0);
    let request = rig.request();
    assert_eq!(request.only(), (0, 3, 1), "nothing is missing in the log");
    rig.settle(&request, ErrorCode::NONE, 3);
    assert_eq!((fate(&next), fate(&last)), (Fate::At(2), Fate::At(3)));
}

#[test]
fn what_has_expired_in_flight_and_is_lost_breaks_the_line() {
    let mut rig = Rig::new(|config| {
        config.set("delivery.timeout.ms", "1000").unwrap();
        config.set("request.timeout.ms", "900").unwrap();
    });
    rig.open_gate(0);
    let lost = rig.send_and_linger(0);
    rig.request();
    rig.cut(1);
    rig.pass(ms(500));
    let again = rig.request();
    rig.pass(ms(400));
    let next = rig.send_and_linger(0);
    let after = rig.request();
    rig.pass(ms(100));
    assert_eq!(fate(&lost), Fate::Failed(ErrorKind::DeliveryTimeout, Written::Unknown));
    rig.settle(&again, ErrorCode::NOT_LEADER_OR_FOLLOWER, -1);
    rig.settle(&after, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
    rig.pass(ms(300));
    let request = rig.request();
    assert_eq!(request.only(), (1, 0, 1));
    rig.settle(&request, ErrorCode::NONE, 1);
    assert_eq!(fate(&next), Fate::At(1));
}

#[test]
fn what_follows_a_batch_that_expired_in_flight_is_not_sent_while_its_place_is_open() {
    for is_lost in [false, true] {
        let mut rig = Rig::new(|config| {
            config.set("delivery.timeout.ms", "1000").unwrap();
            config.set("request.timeout.ms", "950").unwrap();
        });
        rig.open_gate(0);
        let expired = rig.send_and_linger(0);
        rig.request();
        rig.cut(1);
        rig.pass(ms(500));
        let again = rig.request();
        rig.pass(ms(496));
        assert_eq!(fate(&expired), Fate::Failed(ErrorKind::DeliveryTimeout, Written::Unknown));
        let next = rig.send_and_linger(0);
        assert!(rig.requests.is_empty(), "what is sent now could be refused for the gap, and be unknown too");
        match is_lost {
            true => rig.cut(1),
            false => rig.settle(&again, ErrorCode::NONE, 1),
        }
        rig.pass(ms(300));
        let request = rig.request();
        assert_eq!(request.only(), if is_lost { (1, 0, 1) } else { (0, 2, 1) });
        rig.settle(&request, ErrorCode::NONE, 2);
        assert_eq!(fate(&next), Fate::At(2));
    }
}

#[test]
fn a_broker_that_has_forgotten_us_closes_the_gate_also_by_what_it_says_of_an_expired_batch() {
    for code in [ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, ErrorCode::UNKNOWN_PRODUCER_ID] {
        let mut rig = Rig::new(|config| {
            config.set("delivery.timeout.ms", "1000").unwrap();
            config.set("request.timeout.ms", "950").unwrap();
        });
        rig.open_gate(0);
        let _expired = rig.send_and_linger(0);
        rig.request();
        rig.cut(1);
        rig.pass(ms(500));
        let again = rig.request();
        rig.pass(ms(496));
        let _next = rig.send_and_linger(0);
        rig.settle(&again, code, -1);
        rig.pass(ms(10));
        let first = rig.request();
        assert_eq!(first.only(), (1, 0, 1));
        let _more = rig.send_and_linger(0);
        assert!(rig.requests.is_empty(), "nothing of this epoch is acknowledged");
        rig.settle(&first, ErrorCode::NONE, 1);
        assert!(!rig.requests.is_empty());
    }
}

#[test]
fn what_went_before_a_refused_batch_goes_on_as_it_is_and_its_outcome_is_told_first() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    let deliveries: Vec<Delivery> = (0..3).map(|_| rig.send_and_linger(0)).collect();
    let requests: Vec<Produce> = (0..3).map(|_| rig.request()).collect();
    // It may be written, so it is to have its chance under the sequence that it has.
    rig.settle(&requests[0], ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND, -1);
    rig.settle(&requests[1], ErrorCode::INVALID_RECORD, -1);
    rig.settle(&requests[2], ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
    assert!(deliveries.iter().all(|delivery| fate(delivery) == Fate::Open), "the outcome of the first is told first");
    rig.pass(ms(500));
    let again = rig.request();
    assert_eq!((again.only(), &again.batches), ((0, 1, 1), &requests[0].batches));
    assert!(rig.requests.is_empty(), "what comes after goes under the next epoch, and not yet");
    rig.settle(&again, ErrorCode::NONE, 1);
    assert_eq!(
        (fate(&deliveries[0]), fate(&deliveries[1])),
        (Fate::At(1), Fate::Failed(ErrorKind::Refused, Written::No))
    );
    rig.pass(ms(500));
    let last = rig.request();
    assert_eq!(last.only(), (1, 0, 1));
    rig.settle(&last, ErrorCode::NONE, 2);
    assert_eq!(fate(&deliveries[2]), Fate::At(2));
}

#[test]
fn out_of_order_at_the_head_drains_and_goes_on_under_the_next_epoch() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    let deliveries: Vec<Delivery> = (0..3).map(|_| rig.send_and_linger(0)).collect();
    let requests: Vec<Produce> = (0..3).map(|_| rig.request()).collect();
    assert_eq!(requests.iter().map(Produce::only).collect::<Vec<_>>(), [(0, 1, 1), (0, 2, 1), (0, 3, 1)]);
    rig.settle(&requests[0], ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
    rig.pass(ms(300));
    assert!(rig.requests.is_empty(), "two are in flight");
    rig.settle(&requests[1], ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
    rig.settle(&requests[2], ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
    for sequence in 0..3 {
        rig.pass(ms(500));
        let request = rig.request();
        assert_eq!(request.only(), (1, sequence, 1));
        assert!(rig.requests.is_empty());
        rig.settle(&request, ErrorCode::NONE, i64::from(sequence) + 1);
    }
    assert_eq!(deliveries.iter().map(fate).collect::<Vec<_>>(), [Fate::At(1), Fate::At(2), Fate::At(3)]);
}

#[test]
fn pieces_of_a_batch_that_is_too_large_have_its_sequences() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    let deliveries: Vec<Delivery> = (0..4).map(|_| rig.send(0, 100)).collect();
    rig.pass(ms(6));
    let follower = rig.send_and_linger(0);
    let (whole, after) = (rig.request(), rig.request());
    assert_eq!((whole.only(), after.only()), ((0, 1, 4), (0, 5, 1)));
    rig.settle(&whole, ErrorCode::MESSAGE_TOO_LARGE, -1);
    rig.settle(&after, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
    for (sequence, count) in [(1, 2), (3, 2), (5, 1)] {
        rig.pass(ms(1_000));
        let request = rig.request();
        assert_eq!(request.only(), (0, sequence, count));
        rig.settle(&request, ErrorCode::NONE, sequence.into());
    }
    assert_eq!(deliveries.iter().map(fate).collect::<Vec<_>>(), [1, 2, 3, 4].map(Fate::At));
    assert_eq!((fate(&follower), rig.hands.accumulator.incomplete_count()), (Fate::At(5), 0));
}

#[test]
fn two_batches_that_are_too_large_are_split_together() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    let mut deliveries: Vec<Delivery> = Vec::new();
    for _ in 0..3 {
        deliveries.extend((0..2).map(|_| rig.send(0, 100)));
        rig.pass(ms(6));
    }
    let whole: Vec<Produce> = (0..3).map(|_| rig.request()).collect();
    // What all three answers say is heard before anything is done about it.
    let too_large = ErrorCode::MESSAGE_TOO_LARGE;
    for (request, code) in whole.iter().zip([too_large, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, too_large]) {
        rig.answer_with(request, |answer| PartitionProduceResponse { error_code: code, ..answer });
    }
    rig.turn();
    for (sequence, count) in [(1, 1), (2, 1), (3, 2), (5, 1), (6, 1)] {
        rig.pass(ms(1_000));
        let request = rig.request();
        assert_eq!(request.only(), (0, sequence, count), "no gap, so no other epoch");
        rig.settle(&request, ErrorCode::NONE, sequence.into());
    }
    assert_eq!(deliveries.iter().map(fate).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6].map(Fate::At));
}

#[test]
fn a_throttled_node_is_left_alone_but_not_for_ever() {
    for (throttle_time_ms, version, pause) in [
        (1_000, 13, ms(1_000)),
        (i32::MAX, 13, ms(120_000)),
        (-1_000, 13, ms(0)),
        (i32::MIN, 13, ms(0)),
        // It has taken the time before it answered.
        (1_000, 5, ms(0)),
    ] {
        let mut rig = Rig::with(
            |_| {},
            |rig| {
                if version == 5 {
                    rig.versions = |version| Some((version, offer(&[(0, 5), (3, 13), (22, 5)])));
                }
            },
        );
        rig.open_gate(0);
        let delivery = rig.send_and_linger(0);
        let request = rig.request();
        let answer = PartitionProduceResponse { base_offset: 1, ..Default::default() };
        let topic_id = request.topic_id;
        let topic = TopicProduceResponse { name: "t".to_owned(), topic_id, partition_responses: vec![answer] };
        rig.reply(&request, &ProduceResponse { responses: vec![topic], throttle_time_ms, ..Default::default() });
        assert_eq!(fate(&delivery), Fate::At(1));
        if let Some(almost) = pause.checked_sub(ms(100)) {
            rig.pass(almost);
            let _waits = rig.send(0, 10);
            rig.pass(ms(99));
            assert!(rig.requests.is_empty(), "{throttle_time_ms}");
        }
        let _next = rig.send(0, 10);
        rig.pass(ms(10));
        assert_eq!(rig.requests.len(), 1, "{throttle_time_ms}");
    }
}

#[test]
fn a_partition_whose_leader_moves_leaves_the_queue_of_the_dead_node() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    let delivery = rig.send_and_linger(0);
    let asked = rig.request();
    rig.down = [1].into();
    rig.cut(1);
    // It waits for the node that is gone, and nobody knows better.
    rig.pass(ms(5_000));
    assert!(rig.requests.is_empty());
    rig.leaders = vec![(2, 1)];
    rig.pass(ms(2_000));
    let again = rig.request();
    assert_eq!((again.node, &again.batches), (2, &asked.batches));
    rig.settle(&again, ErrorCode::NONE, 1);
    assert_eq!(fate(&delivery), Fate::At(1));
}

#[test]
fn what_gathers_for_a_leader_that_is_no_longer_named_waits_for_the_next() {
    let mut rig = Rig::new(|_| {});
    // The last that is heard of the partition is older than what was known; the cluster has lost node 1 since.
    for (leader_epoch, nodes) in [(5, vec![1, 2, 3]), (4, vec![2, 3])] {
        (rig.leaders, rig.nodes) = (vec![(1, leader_epoch)], nodes.into_iter().collect());
        rig.hands.core.world.metadata.doubt();
        rig.pass(ms(1_000));
    }
    let delivery = rig.send_and_linger(0);
    rig.pass(ms(5_000));
    assert!(rig.requests.is_empty());
    rig.leaders = vec![(3, 6)];
    rig.pass(ms(3_000));
    let request = rig.request();
    rig.settle(&request, ErrorCode::NONE, 0);
    assert_eq!((request.node, fate(&delivery)), (3, Fate::At(0)));
}

#[test]
fn what_may_be_written_is_never_sent_under_another_epoch() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    let (first, second) = (rig.send_and_linger(0), rig.send_and_linger(0));
    rig.requests.clear();
    rig.cut(1);
    rig.pass(ms(500));
    let again = rig.request();
    rig.settle(&again, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
    assert_eq!(fate(&first), Fate::Failed(ErrorKind::Refused, Written::Unknown));
    assert_eq!(fate(&second), Fate::Failed(ErrorKind::Refused, Written::Unknown));
    let third = rig.send_and_linger(0);
    let request = rig.request();
    assert_eq!(request.only(), (1, 0, 1));
    rig.settle(&request, ErrorCode::NONE, 3);
    assert_eq!(fate(&third), Fate::At(3));
}

#[test]
fn a_hint_that_moves_a_node_loses_nothing_that_was_in_flight_to_it() {
    let mut rig = Rig::new(|_| {});
    rig.leaders = vec![(1, 1), (2, 1)];
    rig.hands.core.world.metadata.doubt();
    rig.pass(ms(1_000));
    let deliveries = [rig.send_and_linger(0), rig.send_and_linger(1)];
    let (to_1, to_2) = (rig.request(), rig.request());
    assert_eq!((to_1.node, to_2.node), (1, 2));
    // The cluster no longer names node 2, which is connected to all the same.
    (rig.nodes, rig.leaders) = ([1, 3].into(), vec![(1, 1), (2, 0)]);
    rig.hands.core.world.metadata.doubt();
    rig.pass(ms(1_000));
    let answer = PartitionProduceResponse {
        error_code: ErrorCode::NOT_LEADER_OR_FOLLOWER,
        current_leader: LeaderIdAndEpoch { leader_id: 2, leader_epoch: 9 },
        ..Default::default()
    };
    let topic =
        TopicProduceResponse { topic_id: rig.topic_id, partition_responses: vec![answer], ..Default::default() };
    let node = NodeEndpoint { node_id: 2, host: "n2".to_owned(), port: 9093, rack: None };
    rig.reply(&to_1, &ProduceResponse { responses: vec![topic], node_endpoints: vec![node], ..Default::default() });
    rig.pass(ms(1_000));
    for request in std::mem::take(&mut rig.requests) {
        assert_eq!(request.node, 2);
        rig.settle(&request, ErrorCode::NONE, 0);
    }
    assert_eq!(deliveries.each_ref().map(fate), [Fate::At(0), Fate::At(0)]);
}

#[test]
fn a_hint_is_followed_at_once_to_a_node_that_was_not_known() {
    let mut rig = Rig::new(|_| {});
    let delivery = rig.send_and_linger(0);
    let request = rig.request();
    let answer = PartitionProduceResponse {
        error_code: ErrorCode::NOT_LEADER_OR_FOLLOWER,
        current_leader: LeaderIdAndEpoch { leader_id: 4, leader_epoch: 1 },
        ..Default::default()
    };
    let topic =
        TopicProduceResponse { topic_id: rig.topic_id, partition_responses: vec![answer], ..Default::default() };
    let node = NodeEndpoint { node_id: 4, host: "n4".to_owned(), port: 9092, rack: None };
    rig.reply(&request, &ProduceResponse { responses: vec![topic], node_endpoints: vec![node], ..Default::default() });
    let again = rig.request();
    assert_eq!((again.node, again.batches == request.batches), (4, true));
    rig.settle(&again, ErrorCode::NONE, 0);
    assert_eq!(fate(&delivery), Fate::At(0));
}

/// Four records of 300 bytes make a batch ready, twelve fill it; nothing goes for its age alone.
fn patient() -> Rig {
    Rig::new(|config| (config.batch_size, config.linger) = (1_000, ms(10_000)))
}

#[test]
fn a_batch_that_is_ready_while_the_one_before_is_taken_does_not_linger() {
    let mut rig = patient();
    rig.hands.held_takes = Some(VecDeque::new());
    let _first: Vec<Delivery> = (0..14).map(|_| rig.send(0, 300)).collect();
    rig.turn();
    let second: Vec<Delivery> = (0..4).map(|_| rig.send(0, 300)).collect();
    rig.turn();
    for taken in rig.hands.held_takes.take().unwrap() {
        rig.handle(taken);
    }
    rig.turn();
    let request = rig.request();
    rig.settle(&request, ErrorCode::NONE, 0);
    let request = rig.request();
    rig.settle(&request, ErrorCode::NONE, 12);
    assert_eq!(fate(&second[0]), Fate::At(14));
}

#[test]
fn a_batch_is_ready_in_whatever_order_its_signals_come() {
    let mut rig = patient();
    rig.down = [1].into();
    let delivery = (0..4).map(|_| rig.send(0, 300)).last().unwrap();
    let signals = rig.hands.accumulator.take_signals();
    assert_eq!(signals.len(), 2);
    for signal in signals.into_iter().rev() {
        rig.handle(Input::Signal(signal));
    }
    rig.turn();
    rig.down.clear();
    rig.pass(ms(1_000));
    let request = rig.request();
    rig.settle(&request, ErrorCode::NONE, 0);
    assert_eq!(fate(&delivery), Fate::At(3));
}

#[test]
fn whoever_sends_in_the_moment_of_the_end_is_told_of_it() {
    let mut rig = patient();
    // One batch is told of, and one behind it is opened after time was up.
    let time_is_up = rig.now();
    let mut deliveries: Vec<Delivery> = (0..12).map(|_| rig.send(0, 300)).collect();
    rig.down = [1].into();
    rig.turn();
    rig.hands.clock.set(rig.now() + ms(1));
    deliveries.push(rig.send(0, 300));
    rig.hands.core.handle(Input::Abandon, time_is_up);
    rig.turn();
    for delivery in &deliveries {
        assert_eq!(fate(delivery), Fate::Failed(ErrorKind::Closed, Written::No));
    }
    assert_eq!(rig.hands.accumulator.incomplete_count(), 0);
}

#[test]
fn the_end_comes_also_to_what_the_core_was_not_told_of() {
    let mut rig = Rig::new(|_| {});
    let delivery = rig.send(0, 10);
    drop(rig.hands.accumulator.take_signals());
    rig.handle(Input::Abandon);
    rig.turn();
    assert_eq!(fate(&delivery), Fate::Failed(ErrorKind::Closed, Written::No));
}

#[test]
fn the_end_comes_also_to_what_is_being_taken() {
    let mut rig = Rig::new(|_| {});
    rig.hands.held_takes = Some(VecDeque::new());
    let delivery = rig.send_and_linger(0);
    rig.handle(Input::Abandon);
    rig.turn();
    assert_eq!(fate(&delivery), Fate::Open);
    for taken in rig.hands.held_takes.take().unwrap() {
        rig.handle(taken);
    }
    rig.turn();
    assert_eq!(fate(&delivery), Fate::Failed(ErrorKind::Closed, Written::No));
}

#[test]
fn a_late_record_does_not_inherit_the_deadline_of_a_batch_that_queues_behind_another() {
    let mut rig = Rig::new(|_| {});
    rig.down = [1].into();
    let mut deliveries = Vec::new();
    for _ in 0..40 {
        deliveries.push(rig.send(0, 10));
        rig.pass(ms(5_000));
    }
    // Of the 120 s of delivery.timeout.ms, what was sent 100 s ago has used no more than 15 s more.
    for delivery in deliveries.iter().rev().take(20) {
        assert_eq!(fate(delivery), Fate::Open);
    }
    assert!(matches!(fate(&deliveries[0]), Fate::Failed(ErrorKind::DeliveryTimeout, Written::No)));
}

#[test]
fn the_gate_to_a_recreated_topic_is_not_opened_by_answers_of_the_old_one() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    let old = rig.send_and_linger(0);
    let asked = rig.request();
    (rig.topic_id, rig.leaders) = (Uuid([8; 16]), vec![(1, 0)]);
    rig.hands.core.world.metadata.doubt();
    rig.pass(ms(1_000));
    let new: Vec<Delivery> = (0..3).map(|_| rig.send_and_linger(0)).collect();
    assert!(rig.requests.is_empty());
    rig.settle(&asked, ErrorCode::NONE, 1);
    assert_eq!(fate(&old), Fate::At(1));
    rig.pass(ms(100));
    let first = rig.request();
    assert_eq!((first.topic_id, first.batches[0].epoch, first.batches[0].sequence), (rig.topic_id, 1, 0));
    let _more = rig.send_and_linger(0);
    assert!(rig.requests.is_empty(), "one, until it is acknowledged");
    rig.settle(&first, ErrorCode::NONE, 0);
    assert_eq!(fate(&new[0]), Fate::At(0));
}

#[test]
fn what_was_sent_to_a_topic_that_was_made_anew_fails() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    let (sent, lost) = (rig.send_and_linger(0), rig.send_and_linger(0));
    let asked = rig.request();
    (rig.topic_id, rig.leaders) = (Uuid([8; 16]), vec![(1, 0)]);
    rig.settle(&asked, ErrorCode::UNKNOWN_TOPIC_ID, -1);
    rig.cut(1);
    rig.requests.clear();
    rig.pass(ms(1_000));
    assert!(rig.requests.is_empty(), "nothing is asked for them");
    assert_eq!(fate(&sent), Fate::Failed(ErrorKind::TopicRecreated, Written::No));
    assert_eq!(fate(&lost), Fate::Failed(ErrorKind::TopicRecreated, Written::Unknown));
}

#[test]
fn partitions_that_come_back_with_another_topic_of_the_name_have_their_old_numbers() {
    let mut rig = Rig::new(|config| config.metadata_max_age = ms(1_000));
    let ids = |rig: &Rig| rig.hands.accumulator.partition_ids().count();
    for round in 0..20u8 {
        (rig.topic_id, rig.leaders) = (Uuid([10 + round; 16]), vec![(1, 0); 1 + usize::from(round % 2) * 3]);
        rig.pass(ms(3_000));
    }
    assert_eq!(ids(&rig), 4);
    let lost = rig.send_and_linger(3);
    let asked = rig.request();
    (rig.topic_id, rig.leaders) = (Uuid([8; 16]), vec![(1, 0)]);
    rig.settle(&asked, ErrorCode::UNKNOWN_TOPIC_ID, -1);
    rig.pass(ms(3_000));
    // It grows, and is still the same topic.
    rig.leaders = vec![(1, 0); 4];
    rig.pass(ms(3_000));
    let asked = rig.request();
    rig.settle(&asked, ErrorCode::UNKNOWN_TOPIC_ID, -1);
    rig.pass(ms(1_000));
    assert_eq!(fate(&lost), Fate::Failed(ErrorKind::TopicRecreated, Written::No));
    let delivery = rig.send_and_linger(3);
    let request = rig.request();
    assert_eq!((request.topic_id, ids(&rig)), (rig.topic_id, 4));
    rig.settle(&request, ErrorCode::NONE, 0);
    assert_eq!(fate(&delivery), Fate::At(0));
}

#[test]
fn a_node_that_cannot_be_asked_keeps_nobody_from_asking_another() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    // The only connection that stands is to node 1, which wants to be left alone.
    rig.down = [SEED].into();
    rig.cut(SEED);
    rig.pass(ms(1_000));
    let others: Vec<i32> = rig.connections.values().copied().filter(|node| *node != 1).collect();
    rig.down.extend(&others);
    others.iter().for_each(|node| rig.cut(*node));
    let _delivery = rig.send_and_linger(0);
    let request = rig.request();
    let answer = PartitionProduceResponse { error_code: ErrorCode::LEADER_NOT_AVAILABLE, ..Default::default() };
    let topic =
        TopicProduceResponse { topic_id: rig.topic_id, partition_responses: vec![answer], ..Default::default() };
    rig.down = [SEED].into();
    let before = rig.metadata_asked;
    rig.reply(&request, &ProduceResponse { responses: vec![topic], throttle_time_ms: 60_000, ..Default::default() });
    rig.pass(ms(5_000));
    assert!(rig.metadata_asked > before);
}

#[test]
fn connections_that_nobody_needs_are_ended_and_not_asked_why() {
    let mut rig = Rig::new(|config| config.connections_max_idle = ms(5_000));
    rig.open_gate(0);
    let before = rig.metadata_asked;
    rig.pass(ms(20_000));
    assert_eq!((rig.connections.len(), rig.metadata_asked), (0, before));
    let delivery = rig.send_and_linger(0);
    let request = rig.request();
    rig.settle(&request, ErrorCode::NONE, 1);
    assert_eq!(fate(&delivery), Fate::At(1));
}

#[test]
fn for_a_new_topic_node_after_node_is_tried_until_one_answers() {
    let mut rig = Rig::new(|config| config.connections_max_idle = ms(5_000));
    rig.pass(ms(20_000));
    assert_eq!(rig.connections.len(), 0);
    rig.silent = [SEED, 1, 2, 3].into();
    rig.handle(Input::Signal(Signal::Wanted("new".into())));
    // Sooner than any connection is given up.
    rig.pass(ms(4_000));
    let tried: BTreeSet<i32> = rig.connections.values().copied().collect();
    assert_eq!(tried, rig.silent);
}

#[test]
fn the_record_that_is_too_large_is_split_off_wherever_it_stands() {
    for sizes in [[10, 10, 3_000], [10, 3_000, 10], [3_000, 10, 10]] {
        let mut rig = Rig::new(|_| {});
        rig.open_gate(0);
        let deliveries = sizes.map(|size| (size, rig.send(0, size)));
        rig.pass(ms(6));
        for _ in 0..20 {
            rig.pass(ms(500));
            let Some(request) = rig.requests.pop_front() else { break };
            let code = match request.batches[0].bytes.len() {
                ..2_000 => ErrorCode::NONE,
                _ => ErrorCode::MESSAGE_TOO_LARGE,
            };
            rig.settle(&request, code, 0);
        }
        for (size, delivery) in deliveries {
            let is_small = size == 10;
            match fate(&delivery) {
                Fate::At(_) => assert!(is_small),
                other => {
                    assert_eq!((is_small, other), (false, Fate::Failed(ErrorKind::RecordTooLarge, Written::No)));
                }
            }
        }
    }
}

#[test]
fn nothing_lingers_while_somebody_waits_for_memory() {
    let mut rig = Rig::new(|config| (config.linger, config.buffer_memory) = (ms(10_000), 2_048));
    let topic = rig.hands.accumulator.topic("t").unwrap();
    let value = [7; 900];
    let record = NewRecord { value: Some(&value), ..Default::default() };
    let placed = Placed { record, choice: Choice::Partition(0) };
    let mut deliveries = Vec::new();
    let missing = loop {
        match rig.hands.accumulator.append(&topic, &placed, None, None) {
            Ok(delivery) => deliveries.push(delivery),
            Err((AppendError::NoRoom(missing), _)) => break missing,
            Err((AppendError::Refused(error), _)) => panic!("{error}"),
        }
    };
    let deadline = rig.now() + ms(60_000);
    let mut waiting: VecDeque<_> = (0..3).map(|_| missing.wait(&rig.hands.accumulator, deadline)).collect();
    while let Some(mut first) = waiting.pop_front() {
        rig.turn();
        let request = rig.request();
        rig.settle(&request, ErrorCode::NONE, 0);
        rig.pass(ms(1));
        let Poll::Ready(permit) = Pin::new(&mut first).poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("there is room")
        };
        let appended = rig.hands.accumulator.append(&topic, &placed, Some(permit.unwrap()), None);
        deliveries.push(appended.map_err(|(error, _)| error).unwrap());
    }
    assert!(deliveries.iter().rev().skip(1).all(|delivery| matches!(fate(delivery), Fate::At(_))));
}

#[test]
fn an_answer_to_what_was_to_have_none_is_passed_over_once() {
    let mut rig = Rig::new(|config| {
        config.set("acks", "0").unwrap();
        config.set("enable.idempotence", "false").unwrap();
    });
    let deliveries = [rig.send_and_linger(0), rig.send_and_linger(0)];
    assert!(deliveries.iter().all(|delivery| fate(delivery) == Fate::At(-1)));
    let (first, second) = (rig.request(), rig.request());
    for request in [&first, &second] {
        rig.settle(request, ErrorCode::NONE, 0);
    }
    let _third = rig.send_and_linger(0);
    assert_eq!(rig.request().connection, first.connection);
    // Nobody answers twice.
    rig.settle(&second, ErrorCode::NONE, 0);
    assert!(!rig.connections.contains_key(&first.connection));
}

#[test]
fn times_without_end_are_only_long() {
    let mut rig = Rig::new(|config| {
        for time in [
            &mut config.linger,
            &mut config.delivery_timeout,
            &mut config.request_timeout,
            &mut config.metadata_max_age,
            &mut config.retry_backoff,
            &mut config.retry_backoff_max,
            &mut config.connections_max_idle,
            &mut config.connection_setup_timeout,
            &mut config.connection_setup_timeout_max,
        ] {
            *time = Duration::MAX;
        }
    });
    let delivery = rig.send_and_linger(0);
    rig.handle(Input::Hurry);
    rig.turn();
    let request = rig.request();
    rig.settle(&request, ErrorCode::NONE, 0);
    assert_eq!(fate(&delivery), Fate::At(0));
}

#[test]
fn a_cluster_that_has_moved_altogether_is_found_by_the_bootstrap_servers_and_nothing_is_sent_twice() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    let delivery = rig.send_and_linger(0);
    let before = rig.request();
    rig.lose_nodes();
    (rig.nodes, rig.leaders) = ([4, 5, 6].into(), vec![(4, 1)]);
    rig.pass(ms(2_000));
    let again = rig.request();
    assert_eq!((again.node, &again.batches), (4, &before.batches));
    rig.settle(&again, ErrorCode::NONE, 1);
    assert_eq!(fate(&delivery), Fate::At(1));
}

#[test]
fn who_wants_no_recovery_has_the_bootstrap_servers_left_alone() {
    let mut rig = Rig::new(|config| config.set("metadata.recovery.strategy", "none").unwrap());
    rig.open_gate(0);
    let _delivery = rig.send_and_linger(0);
    rig.requests.clear();
    rig.lose_nodes();
    rig.pass(ms(100));
    let before = rig.metadata_asked;
    rig.pass(ms(60_000));
    assert_eq!(rig.metadata_asked, before);
    rig.down.clear();
    rig.pass(ms(2_000));
    assert!(rig.metadata_asked > before);
    assert_eq!(rig.requests.len(), 1);
}

#[test]
fn what_was_sent_to_another_cluster_fails_and_what_was_not_begins_anew_in_this_one() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    let sent = rig.send_and_linger(0);
    let before = rig.request();
    let gathered = rig.send(0, 10);
    rig.lose_nodes();
    // At the same addresses, as when a cluster was made anew.
    (rig.cluster_id, rig.topic_id, rig.leaders) = ("d", Uuid([8; 16]), vec![(2, 0)]);
    rig.pass(ms(100));
    rig.down = [1].into();
    rig.pass(ms(5_000));
    assert_eq!(fate(&sent), Fate::Failed(ErrorKind::TopicRecreated, Written::Unknown));
    let request = rig.request();
    assert_eq!((request.only(), request.topic_id), ((0, 0, 1), Uuid([8; 16])));
    assert_ne!(request.batches[0].id, before.batches[0].id);
    rig.settle(&request, ErrorCode::NONE, 0);
    assert_eq!(fate(&gathered), Fate::At(0));
}

#[test]
fn a_node_that_turns_out_to_be_of_another_cluster_is_not_believed() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    rig.cut(SEED);
    rig.astray = [(2, "d"), (3, "d")].into();
    (rig.down, rig.topic_id) = ([SEED, 1].into(), Uuid([8; 16]));
    rig.cut(1);
    let delivery = rig.send_and_linger(0);
    rig.pass(ms(5_000));
    assert!(rig.requests.is_empty());
    assert!(rig.hands.core.obstacles().unwrap().contains("it belongs to cluster d, and not to c"));
    (rig.topic_id, rig.down) = (Uuid([7; 16]), BTreeSet::new());
    rig.pass(ms(2_000));
    let request = rig.request();
    assert_eq!((request.node, request.only()), (1, (0, 1, 1)));
    rig.settle(&request, ErrorCode::NONE, 1);
    assert_eq!(fate(&delivery), Fate::At(1));
}

#[test]
fn nodes_that_cannot_tell_of_the_cluster_for_long_are_left_for_the_bootstrap_servers() {
    for (refusal, patience) in
        [(ErrorCode::UNKNOWN_SERVER_ERROR, ms(20_000)), (ErrorCode::REBOOTSTRAP_REQUIRED, ms(10))]
    {
        let mut rig = Rig::new(|config| config.rebootstrap_trigger = ms(20_000));
        rig.open_gate(0);
        rig.cut(SEED);
        rig.metadata_refusal = refusal;
        rig.connects.clear();
        let is_asked = |rig: &Rig| rig.connects.iter().any(|(host, _)| host == "seed");
        rig.pass(patience);
        assert!(!is_asked(&rig), "{refusal}");
        rig.pass(ms(1_500));
        assert!(is_asked(&rig), "{refusal}");
    }
}

#[test]
fn what_one_node_does_not_tell_of_the_cluster_another_is_asked_soon() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    rig.down = [SEED].into();
    rig.cut(SEED);
    rig.pass(ms(1_000));
    // All but one, of whom somebody is asked first.
    rig.mute = [1, 2].into();
    rig.leaders = vec![(3, 1)];
    let before = rig.metadata_asked;
    rig.hands.core.world.metadata.doubt();
    rig.pass(ms(2_500));
    assert!(rig.metadata_asked > before);
    let delivery = rig.send_and_linger(0);
    let request = rig.request();
    assert_eq!(request.node, 3);
    rig.settle(&request, ErrorCode::NONE, 1);
    assert_eq!(fate(&delivery), Fate::At(1));
    // What nobody answers is asked once of each.
    rig.mute.insert(3);
    let before = rig.metadata_asked;
    rig.hands.core.world.metadata.doubt();
    rig.pass(ms(20_000));
    assert!(rig.metadata_asked - before <= 3, "{}", rig.metadata_asked - before);
}

#[test]
fn a_leader_that_is_known_by_a_hint_is_shown_to_senders_with_the_next_metadata() {
    let mut rig = Rig::new(|_| {});
    let delivery = rig.send_and_linger(0);
    let request = rig.request();
    rig.leaders = vec![(-1, 1)];
    rig.hands.core.world.metadata.doubt();
    rig.pass(ms(300));
    let is_led = |rig: &Rig| {
        rig.hands.accumulator.topic("t").unwrap().with_view(|view| view.available().to_vec()).unwrap() == [0]
    };
    assert!(!is_led(&rig));
    rig.leaders = vec![(2, 2)];
    let mut asked = request;
    // One that is not newer is none, and neither is one to nobody.
    for (leader_id, leader_epoch) in [(2, 2), (3, 2), (-1, 9)] {
        rig.settle_with(&asked, |answer| PartitionProduceResponse {
            error_code: ErrorCode::NOT_LEADER_OR_FOLLOWER,
            current_leader: LeaderIdAndEpoch { leader_id, leader_epoch },
            ..answer
        });
        assert_eq!(rig.requests.len(), usize::from(leader_id == 2), "only what is news is followed at once");
        rig.pass(ms(2_000));
        assert!(is_led(&rig));
        asked = rig.request();
        assert_eq!(asked.node, 2);
    }
    rig.settle(&asked, ErrorCode::NONE, 0);
    assert_eq!(fate(&delivery), Fate::At(0));
}

#[test]
fn a_topic_that_nobody_uses_is_not_asked_for_until_it_is_used_again() {
    let settings = |config: &mut Config| {
        config.set("metadata.max.age.ms", "10000").unwrap();
        config.set("metadata.max.idle.ms", "30000").unwrap();
        config.set("delivery.timeout.ms", "20000").unwrap();
        config.set("request.timeout.ms", "10000").unwrap();
    };
    let mut rig = Rig::new(settings);
    rig.open_gate(0);
    let after = |rig: &mut Rig, time| {
        rig.pass(time);
        rig.topics_asked.last().cloned().unwrap()
    };
    assert_eq!(after(&mut rig, ms(25_000)), ["t"]);
    // Each use counts.
    rig.send_and_linger(0).forget();
    let request = rig.request();
    rig.settle(&request, ErrorCode::NONE, 1);
    assert_eq!(after(&mut rig, ms(25_000)), ["t"]);
    assert_eq!(after(&mut rig, ms(20_000)), Vec::<String>::new());
    // Meanwhile it was made anew: nothing goes to the old one, and nothing fails for it.
    (rig.topic_id, rig.leaders) = (Uuid([8; 16]), vec![(2, 0)]);
    let delivery = rig.send_and_linger(0);
    let request = rig.request();
    assert_eq!((request.node, request.topic_id), (2, Uuid([8; 16])));
    rig.settle(&request, ErrorCode::NONE, 0);
    assert_eq!(fate(&delivery), Fate::At(0));
    assert_eq!(after(&mut rig, ms(11_000)), ["t"]);
}

#[test]
fn a_node_that_has_moved_is_sent_the_same_bytes_where_it_is_now() {
    let mut rig = Rig::new(|_| {});
    let delivery = rig.send_and_linger(0);
    let before = rig.request();
    rig.hosts = [(1, "x1".to_owned())].into();
    rig.hands.core.world.metadata.doubt();
    rig.pass(ms(1_000));
    let again = rig.request();
    assert_eq!(rig.connects.last().unwrap().0, "x1");
    assert!(!rig.connections.contains_key(&before.connection));
    assert_eq!((again.node, &again.batches), (1, &before.batches));
    rig.settle(&again, ErrorCode::NONE, 0);
    assert_eq!(fate(&delivery), Fate::At(0));
}

#[test]
fn two_nodes_at_one_address_are_two() {
    let mut rig = Rig::with(
        |_| {},
        |rig| {
            rig.leaders = vec![(1, 0), (2, 0)];
            rig.hosts = [(2, "n1".to_owned())].into();
        },
    );
    let deliveries = [rig.send(0, 10), rig.send(1, 10)];
    rig.pass(ms(6));
    let (first, second) = (rig.request(), rig.request());
    assert_ne!(first.connection, second.connection);
    rig.settle(&first, ErrorCode::NONE, 0);
    rig.settle(&second, ErrorCode::NONE, 0);
    assert_eq!(deliveries.each_ref().map(fate), [Fate::At(0), Fate::At(0)]);
}

#[test]
fn a_topic_without_partitions_and_without_error_is_one_that_is_not_there_yet() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    let partitions = |rig: &Rig| rig.hands.accumulator.topic("t").unwrap().partition_count();
    rig.leaders = Vec::new();
    rig.hands.core.world.metadata.doubt();
    rig.pass(ms(1_000));
    assert_eq!(rig.hands.core.topic_error("t"), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    assert_eq!(partitions(&rig), 1);
    // None of them has a leader, and that is no reason to give up either.
    rig.leaders = vec![(-1, 1), (-1, 1)];
    rig.hands.core.world.metadata.doubt();
    rig.pass(ms(1_000));
    assert_eq!((rig.hands.core.topic_error("t"), partitions(&rig)), (None, 2));
    let delivery = rig.send_and_linger(1);
    rig.pass(ms(5_000));
    assert!(rig.requests.is_empty());
    rig.leaders = vec![(-1, 1), (3, 2)];
    rig.pass(ms(2_000));
    let request = rig.request();
    rig.settle(&request, ErrorCode::NONE, 0);
    assert_eq!((request.node, fate(&delivery)), (3, Fate::At(0)));
}

#[test]
fn many_partitions_that_fail_at_once_ask_once_and_then_ever_more_seldom() {
    const COUNT: i32 = 200;
    let mut rig = Rig::with(|_| {}, |rig| rig.leaders = (0..COUNT).map(|_| (1, 0)).collect());
    let deliveries: Vec<Delivery> = (0..COUNT).map(|partition| rig.send(partition, 10)).collect();
    rig.pass(ms(6));
    let before = rig.metadata_asked;
    let (mut produced, start) = (0, rig.now());
    while rig.now() < start + ms(10_000) {
        for request in std::mem::take(&mut rig.requests) {
            produced += request.batches.len();
            rig.settle(&request, ErrorCode::NOT_LEADER_OR_FOLLOWER, -1);
        }
        if rig.now() == start {
            assert_eq!(rig.metadata_asked, before + 1);
        }
        rig.pass(ms(10));
    }
    // About 0.1, 0.2, 0.4, 0.8 and then 1 second apart, give or take a fifth.
    let asked = rig.metadata_asked - before;
    assert!((8..=16).contains(&asked), "{asked}");
    let each = produced as f64 / f64::from(COUNT);
    assert!((8.0..=16.0).contains(&each), "{each}");
    drop(deliveries);
}

#[test]
fn versions_are_asked_for_lower_and_lower_and_not_for_ever() {
    fn refuse(highest: Option<i16>) -> Option<(i16, ApiVersionsResponse)> {
        let offered: Vec<(i16, i16)> = highest.map(|highest| (18, highest)).into_iter().collect();
        Some((0, ApiVersionsResponse { error_code: ErrorCode::UNSUPPORTED_VERSION, ..offer(&offered) }))
    }
    fn accept(version: i16) -> Option<(i16, ApiVersionsResponse)> {
        Some((version, offer(&[(0, 9), (3, 9), (18, 2), (22, 3)])))
    }
    for (versions, expected) in [
        // It says what it knows, or nothing, or what is no help.
        ((|version| if version > 2 { refuse(Some(2)) } else { accept(version) }) as fn(i16) -> _, &[4, 2][..]),
        (|version| if version > 0 { refuse(None) } else { accept(version) }, &[4, 0]),
        (|version| if version > 1 { refuse(Some(99)) } else { accept(version) }, &[4, 3, 2, 1]),
        // It hangs up.
        (|version| if version > 0 { None } else { accept(version) }, &[4, 4, 0]),
    ] {
        let rig = Rig::with(|_| {}, |rig| rig.versions = versions);
        assert!(rig.versions_asked.starts_with(expected), "{:?} and not {expected:?}", rig.versions_asked);
        assert!(rig.metadata_asked > 0);
    }
    let mut rig = Rig::new(|_| {});
    rig.versions = |_| Some((0, ApiVersionsResponse { error_code: ErrorCode::UNSUPPORTED_VERSION, ..offer(&[]) }));
    rig.cut(1);
    let _delivery = rig.send_and_linger(0);
    rig.versions_asked.clear();
    rig.pass(ms(10_000));
    assert!(rig.versions_asked.len() < 100, "{}", rig.versions_asked.len());
}

/// How long after the one before each connection to a host was begun.
fn gaps(rig: &Rig, host: &str) -> Vec<u128> {
    let times: Vec<Instant> = rig.connects.iter().filter(|(other, _)| other == host).map(|(_, begun)| *begun).collect();
    times.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect()
}

#[test]
fn a_host_that_fails_is_tried_ever_more_seldom() {
    for (is_silent, expected) in [
        (false, &[100, 200, 400, 800, 1_000, 1_000][..]),
        // It may take longer each time, and then is left alone a little.
        (true, &[10_000 + 100, 20_000 + 200, 30_000 + 400, 30_000 + 800]),
    ] {
        let mut rig = Rig::new(|config| config.set("delivery.timeout.ms", "3600000").unwrap());
        rig.open_gate(0);
        if is_silent {
            rig.silent = [1].into()
        } else {
            rig.down = [1].into()
        }
        rig.cut(1);
        rig.connects.clear();
        let _delivery = rig.send_and_linger(0);
        rig.pass(ms(150_000));
        let gaps = gaps(&rig, "n1");
        for (gap, expected) in gaps.iter().zip(expected) {
            assert!((expected * 79 / 100..=expected * 121 / 100).contains(gap), "{gaps:?} and not {expected:?}");
        }
        assert!(gaps.len() >= expected.len(), "{gaps:?}");
    }
}

#[test]
fn a_retry_does_not_wait_once_metadata_tells_of_an_election() {
    for (leader, epoch, is_prompt) in [(2, 1, true), (1, 1, true), (1, 0, false)] {
        let mut rig = Rig::new(|config| config.set("retry.backoff.max.ms", "60000").unwrap());
        let _delivery = rig.send_and_linger(0);
        let request = rig.request();
        rig.settle(&request, ErrorCode::NOT_LEADER_OR_FOLLOWER, -1);
        rig.pass(ms(1));
        assert!(rig.requests.is_empty());
        rig.pass(ms(150));
        let again = rig.request();
        // Its second attempt would wait for 200 ms, and metadata is asked for at once.
        rig.leaders = vec![(leader, epoch)];
        rig.settle(&again, ErrorCode::NOT_LEADER_OR_FOLLOWER, -1);
        rig.pass(ms(10));
        assert_eq!(rig.requests.len(), usize::from(is_prompt), "{leader} {epoch}");
    }
}

#[test]
fn more_partitions_are_asked_for_as_long_as_somebody_waits_for_them() {
    let mut rig = Rig::new(|_| {});
    let wait = |rig: &mut Rig| {
        rig.handle(Input::Wanted { topic: "t".into(), partitions: 2 });
        rig.turn();
        let before = rig.metadata_asked;
        rig.pass(ms(10_000));
        rig.metadata_asked - before
    };
    assert!((8..=16).contains(&wait(&mut rig)));
    // Nobody does, or it was refused, of which everybody was told.
    rig.handle(Input::Unwanted("t".into()));
    let before = rig.metadata_asked;
    rig.pass(ms(10_000));
    assert!(rig.metadata_asked <= before + 1);
    rig.topic_refusal = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    assert_eq!(wait(&mut rig), 0);
    rig.topic_refusal = ErrorCode::NONE;
    rig.leaders = vec![(1, 0), (1, 0)];
    assert_eq!(wait(&mut rig), 0);
    assert_eq!(rig.hands.accumulator.topic("t").unwrap().partition_count(), 2);
}

#[test]
fn a_producer_id_that_one_node_does_not_give_another_does() {
    let mut rig = Rig::with(|_| {}, |rig| rig.leaders = vec![(3, 0)]);
    rig.mute = [SEED, 1, 2].into();
    let delivery = rig.send_and_linger(0);
    rig.pass(ms(3_000));
    let request = rig.request();
    assert_eq!(request.batches[0].id, rig.next_producer_id);
    rig.settle(&request, ErrorCode::NONE, 0);
    assert_eq!(fate(&delivery), Fate::At(0));
}

#[test]
fn who_answers_what_was_not_asked_or_nothing_at_all_is_asked_the_same_on_another_connection() {
    for is_silent in [true, false] {
        let mut rig = Rig::new(|_| {});
        let delivery = rig.send_and_linger(0);
        let request = rig.request();
        match is_silent {
            true => rig.pass(ms(30_000)),
            false => {
                let other = request.correlation_id + 1;
                rig.answer(request.connection, other, request.version, &ProduceResponse::default());
            }
        }
        rig.turn();
        assert!(!rig.connections.contains_key(&request.connection), "{is_silent}");
        assert_eq!(fate(&delivery), Fate::Open);
        // What it says now is nobody's answer any more.
        rig.settle(&request, ErrorCode::NONE, 7);
        assert_eq!(fate(&delivery), Fate::Open);
        rig.pass(ms(500));
        let again = rig.request();
        assert_eq!(again.batches, request.batches);
        rig.settle(&again, ErrorCode::NONE, 0);
        assert_eq!(fate(&delivery), Fate::At(0));
    }
}
