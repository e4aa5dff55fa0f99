//! Fuzz target: the core against brokers whose responses a script of bytes decides.
//!
//! Responses are well formed but may have any content, so the fuzzer tests their handling, not their parsing. In every
//! run nothing panics, every record gets an outcome, and all memory is free in the end.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use kurier_protocol::messages::api_versions::ApiVersion;
use kurier_protocol::messages::metadata::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};
use kurier_protocol::messages::produce::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kurier_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, InitProducerIdRequest, InitProducerIdResponse, MetadataRequest,
    MetadataResponse, ProduceRequest, ProduceResponse,
};
use kurier_protocol::{ErrorCode, Message, RequestHeader, write_response};

use super::script::{LIST_MAX, Script};
use super::stage::{Play, Stage, TOPIC};
use kurier_engine::config::Config;
use kurier_engine::core::{Action, ConnectionId, Ending, Input};

/// A request that awaits its response.
struct Asked {
    connection: ConnectionId,
    header: RequestHeader,
    body: Bytes,
}

struct Feed<'a> {
    stage: Stage<'a>,
    /// Connections that are not open yet.
    opening: VecDeque<ConnectionId>,
    open: Vec<ConnectionId>,
    asked: VecDeque<Asked>,
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
    let Some(stage) = Stage::new(script, config) else { return };
    Feed { stage, opening: VecDeque::new(), open: Vec::new(), asked: VecDeque::new() }.run();
}

impl<'a> Play<'a> for Feed<'a> {
    const STEPS_MAX: usize = 200;
    const WAKE_UPS_MAX: usize = 1000;

    fn stage(&mut self) -> &mut Stage<'a> {
        &mut self.stage
    }

    fn turn(&mut self) {
        self.stage.driver.tell();
        while let Some(action) = self.stage.driver.core.poll_action() {
            match self.stage.driver.act(action) {
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
                    self.stage.driver.handle(Input::Written { connection, correlation_id });
                }
                _ => {}
            }
        }
    }

    fn step(&mut self) {
        match self.stage.script.below(10) {
            0..=3 => self.answer(),
            4 | 5 => self.stage.send(&[7; 40], |script| script.below(LIST_MAX).into()),
            6 => {
                if let Some(connection) = self.opening.pop_front() {
                    self.open.push(connection);
                    self.stage.driver.handle(Input::Connected { connection, is_private: true });
                }
            }
            7 => {
                let at = usize::from(self.stage.script.byte());
                let connection = self.opening.pop_front().or_else(|| {
                    let at = at.checked_rem(self.open.len())?;
                    Some(self.open.swap_remove(at))
                });
                if let Some(connection) = connection {
                    self.asked.retain(|asked| asked.connection != connection);
                    self.stage.driver.handle(Input::Disconnected { connection, ending: Ending::Failed("cut".into()) });
                }
            }
            8 => self.wait(Duration::from_millis),
            _ => self.wait(Duration::from_secs),
        }
    }

    fn cut_all(&mut self) -> Vec<ConnectionId> {
        self.open.drain(..).chain(self.opening.drain(..)).collect()
    }
}

impl Feed<'_> {
    /// Responds to some connection's oldest request, or sends something else on it.
    fn answer(&mut self) {
        let Some(Asked { connection, header, body }) = self.asked.pop_front() else { return };
        let version = header.api_version;
        let mut frame = Vec::new();
        let correlation_id =
            if self.stage.script.mostly() { header.correlation_id } else { self.stage.script.int32().into() };
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
                    error_code: self.stage.script.code(),
                    producer_id: self.stage.script.number(),
                    producer_epoch: self.stage.script.int16(),
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
            self.stage.driver.handle(Input::Received { connection, frame: frame.slice(4..) });
        }
    }

    fn throttle(&mut self) -> i32 {
        if self.stage.script.mostly() { 0 } else { self.stage.script.int32() }
    }

    fn api_versions(&mut self) -> ApiVersionsResponse {
        let whole = [(0, 13), (3, 13), (18, 4), (22, 5)];
        let api = |(api_key, max_version)| ApiVersion { api_key, min_version: 0, max_version };
        let mut api_keys: Vec<_> = whole.into_iter().map(api).collect();
        if !self.stage.script.mostly() {
            api_keys = self.stage.script.list(|script| ApiVersion {
                api_key: script.int16(),
                min_version: script.int16(),
                max_version: script.int16(),
            });
        }
        let error_code = self.stage.script.code();
        ApiVersionsResponse { error_code, api_keys, throttle_time_ms: self.throttle(), ..Default::default() }
    }

    fn metadata(&mut self) -> MetadataResponse {
        let throttle_time_ms = self.throttle();
        let script = &mut self.stage.script;
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
        let script = &mut self.stage.script;
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
}
