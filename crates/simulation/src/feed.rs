//! Fuzz target: the core against brokers whose responses a script of bytes decides.
//!
//! Responses are well formed but may have any content, so the fuzzer tests their handling, not their parsing. In every
//! run nothing panics, every record gets an outcome, and all memory is free in the end.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use kurier_partitioner::Choice;
use kurier_protocol::messages::api_versions::ApiVersion;
use kurier_protocol::messages::metadata::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};
use kurier_protocol::messages::produce::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kurier_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, InitProducerIdRequest, InitProducerIdResponse, MetadataRequest,
    MetadataResponse, ProduceRequest, ProduceResponse,
};
use kurier_protocol::record_batch::NewRecord;
use kurier_protocol::{ErrorCode, Message, RequestHeader, write_response};

use super::script::{LIST_MAX, Script};
use kurier_engine::accumulator::{Placed, Signal};
use kurier_engine::config::Config;
use kurier_engine::core::{Action, ConnectionId, Ending, Input};
use kurier_engine::delivery::{Delivery, NoCallbacks};
use kurier_engine::test_driver::TestDriver;

/// The topic of all records.
const TOPIC: &str = "t";

/// Limits of a run, and of one response.
const STEPS_MAX: usize = 200;
const WAKE_UPS_MAX: usize = 1000;

/// A request that awaits its response.
struct Asked {
    connection: ConnectionId,
    header: RequestHeader,
    body: Bytes,
}

struct Feed<'a> {
    script: Script<'a>,
    driver: TestDriver,
    /// Connections that are not open yet.
    opening: VecDeque<ConnectionId>,
    open: Vec<ConnectionId>,
    asked: VecDeque<Asked>,
    deliveries: Vec<Delivery>,
    wake_ups: usize,
}

/// Runs the core against brokers that respond as `data` decides.
///
/// # Panics
/// If the core panics, a record has no outcome in the end, or memory is not free again.
pub fn feed(data: &[u8]) {
    let mut script = Script::new(data);
    let mut config = Config::default();
    config.set("bootstrap.servers", "seed:9092").expect("it is a server");
    config.linger = Duration::from_millis(script.below(20).into());
    config.enable_idempotence = script.mostly();
    config.retries = if script.mostly() { u32::MAX } else { 2 };
    let Ok(config) = config.check() else { return };
    let Ok(driver) = TestDriver::new(Arc::new(config), Arc::new(NoCallbacks)) else { return };
    let mut feed = Feed {
        script,
        driver,
        opening: VecDeque::new(),
        open: Vec::new(),
        asked: VecDeque::new(),
        deliveries: Vec::new(),
        wake_ups: 0,
    };
    feed.driver.handle(Input::Signal(Signal::Wanted { topic: TOPIC.into(), partitions: 0 }));
    for _ in 0..STEPS_MAX {
        if feed.script.is_over() {
            break;
        }
        feed.turn();
        feed.step();
    }
    feed.end();
}

impl Feed<'_> {
    fn step(&mut self) {
        match self.script.below(10) {
            0..=3 => self.answer(),
            4 | 5 => self.send(),
            6 => {
                if let Some(connection) = self.opening.pop_front() {
                    self.open.push(connection);
                    self.driver.handle(Input::Connected { connection, is_private: true });
                }
            }
            7 => {
                let at = usize::from(self.script.byte());
                let connection = self.opening.pop_front().or_else(|| {
                    let at = at.checked_rem(self.open.len())?;
                    Some(self.open.swap_remove(at))
                });
                if let Some(connection) = connection {
                    self.asked.retain(|asked| asked.connection != connection);
                    self.driver.handle(Input::Disconnected { connection, ending: Ending::Failed("cut".into()) });
                }
            }
            8 => {
                let time = Duration::from_millis(self.script.byte().into());
                self.pass(time);
            }
            _ => {
                let time = Duration::from_secs(self.script.byte().into());
                self.pass(time);
            }
        }
    }

    /// Advances the time in the steps that the core wants, up to a limit of steps.
    fn pass(&mut self, time: Duration) {
        let end = self.driver.now() + time;
        while self.wake_ups < WAKE_UPS_MAX && self.driver.now() < end {
            self.wake_ups += 1;
            let now = self.driver.now();
            let next = self.driver.core.next_timeout(now).filter(|at| *at < end).unwrap_or(end);
            self.driver.clock.set(next.max(now + Duration::from_micros(1)).min(end));
            self.turn();
        }
        self.driver.clock.set(end);
    }

    fn turn(&mut self) {
        self.driver.tell();
        while let Some(action) = self.driver.core.poll_action() {
            match self.driver.act(action) {
                Some(Action::Connect { connection, .. }) => self.opening.push_back(connection),
                Some(Action::Disconnect(connection)) => {
                    self.open.retain(|open| *open != connection);
                    self.opening.retain(|opening| *opening != connection);
                    self.asked.retain(|asked| asked.connection != connection);
                }
                Some(Action::Transmit { connection, correlation_id, chunks }) => {
                    let frame: Bytes = chunks.concat().into();
                    let (header, body) = RequestHeader::read(&frame.slice(4..)).expect("the core writes requests");
                    self.asked.push_back(Asked { connection, header, body });
                    self.driver.handle(Input::Written { connection, correlation_id });
                }
                _ => {}
            }
        }
    }

    fn send(&mut self) {
        let Some(topic) = self.driver.accumulator.topic(TOPIC) else { return };
        let value = [7; 40];
        let record = NewRecord { timestamp: 1, value: Some(&value), ..Default::default() };
        let partition = i32::from(self.script.below(LIST_MAX));
        let placed =
            Placed { record, choice: Choice::Partition(partition), sent_ms: self.driver.accumulator.clock().wall_ms() };
        self.deliveries.extend(self.driver.accumulator.append(&topic, &placed, None, None).ok());
    }

    /// Responds to some connection's oldest request, or sends something else on it.
    fn answer(&mut self) {
        let Some(Asked { connection, header, body }) = self.asked.pop_front() else { return };
        let version = header.api_version;
        let mut frame = Vec::new();
        let correlation_id = if self.script.mostly() { header.correlation_id } else { self.script.int32().into() };
        // A response that the requested version cannot encode is not sent.
        let _unsaid = match header.api_key {
            ApiVersionsRequest::KEY => {
                let response = self.api_versions();
                let version = if response.error_code == ErrorCode::UNSUPPORTED_VERSION { 0 } else { version };
                write_response(&response, version, correlation_id, &mut frame)
            }
            MetadataRequest::KEY => {
                let response = self.metadata();
                write_response(&response, version, correlation_id, &mut frame)
            }
            InitProducerIdRequest::KEY => {
                let response = InitProducerIdResponse {
                    throttle_time_ms: self.throttle(),
                    error_code: self.script.code(),
                    producer_id: self.script.number(),
                    producer_epoch: self.script.int16(),
                };
                write_response(&response, version, correlation_id, &mut frame)
            }
            _ => {
                let asked = ProduceRequest::read(&body, version).expect("the core writes requests");
                let response = self.produce(&asked);
                write_response(&response, version, correlation_id, &mut frame)
            }
        };
        let frame = Bytes::from(frame);
        if frame.len() > 4 {
            self.driver.handle(Input::Received { connection, frame: frame.slice(4..) });
        }
    }

    fn throttle(&mut self) -> i32 {
        if self.script.mostly() { 0 } else { self.script.int32() }
    }

    fn api_versions(&mut self) -> ApiVersionsResponse {
        let whole = [(0, 13), (3, 13), (18, 4), (22, 5)];
        let api = |(api_key, max_version)| ApiVersion { api_key, min_version: 0, max_version };
        let mut api_keys: Vec<_> = whole.into_iter().map(api).collect();
        if !self.script.mostly() {
            api_keys = self.script.list(|script| ApiVersion {
                api_key: script.int16(),
                min_version: script.int16(),
                max_version: script.int16(),
            });
        }
        let error_code = self.script.code();
        ApiVersionsResponse { error_code, api_keys, throttle_time_ms: self.throttle(), ..Default::default() }
    }

    fn metadata(&mut self) -> MetadataResponse {
        let throttle_time_ms = self.throttle();
        let script = &mut self.script;
        let brokers = script.list(|script| MetadataResponseBroker {
            node_id: script.int32(),
            host: script.host(),
            port: script.port(),
            rack: None,
        });
        let partition = |script: &mut Script<'_>| MetadataResponsePartition {
            error_code: script.code(),
            partition_index: script.int32(),
            leader_id: script.int32(),
            leader_epoch: script.int32(),
            ..Default::default()
        };
        let topics = script.list(|script| MetadataResponseTopic {
            error_code: script.code(),
            name: script.mostly().then(|| TOPIC.to_owned()),
            topic_id: script.id(),
            partitions: script.list(partition),
            ..Default::default()
        });
        let cluster_id = script.mostly().then(|| "c".to_owned());
        let error_code = script.code();
        MetadataResponse { throttle_time_ms, brokers, cluster_id, topics, error_code, ..Default::default() }
    }

    fn produce(&mut self, asked: &ProduceRequest) -> ProduceResponse {
        let throttle_time_ms = self.throttle();
        let script = &mut self.script;
        let mut responses = Vec::new();
        for topic in &asked.topic_data {
            let mut partition_responses = Vec::new();
            for data in &topic.partition_data {
                if !script.mostly() {
                    continue;
                }
                let index = if script.mostly() { data.index } else { script.int32() };
                partition_responses.push(PartitionProduceResponse {
                    index,
                    error_code: ErrorCode(if script.mostly() { 0 } else { script.int16() }),
                    base_offset: script.number(),
                    log_append_time_ms: if script.mostly() { -1 } else { script.number() },
                    record_errors: if script.mostly() {
                        Vec::new()
                    } else {
                        script.list(|script| BatchIndexAndErrorMessage {
                            batch_index: script.int32(),
                            batch_index_error_message: None,
                        })
                    },
                    current_leader: LeaderIdAndEpoch { leader_id: script.int32(), leader_epoch: script.int32() },
                    ..Default::default()
                });
            }
            let topic_id = if script.mostly() { topic.topic_id } else { script.id() };
            responses.push(TopicProduceResponse { name: topic.name.clone(), topic_id, partition_responses });
        }
        let node_endpoints = script.list(|script| NodeEndpoint {
            node_id: script.int32(),
            host: script.host(),
            port: script.port(),
            rack: None,
        });
        ProduceResponse { responses, throttle_time_ms, node_endpoints }
    }

    /// Abandons everything, and checks that nothing is left.
    fn end(mut self) {
        self.turn();
        self.driver.handle(Input::Hurry);
        self.turn();
        self.driver.handle(Input::Abandon);
        self.turn();
        for connection in self.open.drain(..).chain(self.opening.drain(..)) {
            self.driver.handle(Input::Disconnected { connection, ending: Ending::Failed("the end".into()) });
        }
        self.turn();
        let mut context = Context::from_waker(Waker::noop());
        for mut delivery in self.deliveries.drain(..) {
            assert!(Pin::new(&mut delivery).poll(&mut context).is_ready(), "a record without an outcome");
        }
        assert_eq!(self.driver.accumulator.memory.used(), 0, "memory is not free again");
    }
}
