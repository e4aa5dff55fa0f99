//! Requests as data, and their answers as text.

use std::fmt::Write as _;

use bytes::Bytes;
use kurier_protocol::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreatableTopicResult,
};
use kurier_protocol::messages::fetch::{FetchPartition, FetchTopic, PartitionData};
use kurier_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsTopic};
use kurier_protocol::messages::metadata::{MetadataRequestTopic, MetadataResponsePartition, MetadataResponseTopic};
use kurier_protocol::messages::produce::{PartitionProduceData, PartitionProduceResponse, TopicProduceData};
use kurier_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, CreateTopicsRequest, FetchRequest, InitProducerIdRequest,
    ListOffsetsRequest, MetadataRequest, ProduceRequest,
};
use kurier_protocol::record_batch::Batches;
use kurier_protocol::{Api, ErrorCode, Records, Request, Uuid, read_response};

use super::batch::Batch;
use super::{CLIENT_ID, Exchange, Peer, Scene, To, create_topic, frame, frame_of, metadata, metadata_of, wait_until};

/// A request, or an action on the cluster.
pub(crate) enum Ask {
    Versions {
        version: i16,
        software: &'static str,
    },
    Metadata {
        version: i16,
        topics: Option<Vec<Wanted>>,
        may_create: bool,
    },
    Create(Create),
    Produce(Produce),
    InitProducerId(InitProducerIdRequest, i16),
    ListOffsets {
        version: i16,
        partition: i32,
        at: At,
        epoch: i32,
        topic: Which,
    },
    Fetch(Fetch),
    /// A request with any body behind the header that all versions share.
    Raw {
        key: i16,
        version: i16,
        body: &'static [u8],
    },
    /// Deletes the topic and waits until it is gone.
    Delete,
    /// Deletes the topic of this name and waits until it is gone.
    DeleteNamed(&'static str),
    /// Creates the topic again. Requests still use the old topic's id.
    CreateAnew,
    Stop(To),
    /// Starts the stopped node.
    Start,
    /// Waits until another node leads partition 0. From then on, `To::Leader` means that node.
    FollowLeader,
}

/// A topic in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// The call's own topic, by name.
    Own,
    /// The call's own topic, by its first id.
    OwnId,
    /// A topic by this name.
    Named(&'static str),
    /// An id that no topic has.
    NoId,
}

pub(crate) type Wanted = Which;

/// A timestamp in a ListOffsets request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// A special value.
    Number(i64),
    /// Milliseconds before or after the start of the call.
    Ahead(i64),
}

pub(crate) struct Produce {
    version: i16,
    acks: i16,
    topic: Which,
    client_id: &'static str,
    parts: Vec<(i32, Option<Batch>)>,
}

/// Creates a request to the call's own topic, with acks=all, in a version that all brokers here support.
pub(crate) fn produce(batch: Batch) -> Produce {
    Produce { version: 9, acks: -1, topic: Which::Own, client_id: CLIENT_ID, parts: vec![(0, Some(batch))] }
}

impl Produce {
    /// Sets the version. From 13 on, the request names the topic by its id.
    pub(crate) fn version(self, version: i16) -> Self {
        let topic = if version >= 13 && self.topic == Which::Own { Which::OwnId } else { self.topic };
        Self { version, topic, ..self }
    }

    pub(crate) fn acks(self, acks: i16) -> Self {
        Self { acks, ..self }
    }

    pub(crate) fn topic(self, topic: Which) -> Self {
        Self { topic, ..self }
    }

    /// Sets the client id.
    pub(crate) fn client_id(self, client_id: &'static str) -> Self {
        Self { client_id, ..self }
    }

    /// Sets the partition.
    pub(crate) fn partition(mut self, partition: i32) -> Self {
        self.parts.iter_mut().for_each(|part| part.0 = partition);
        self
    }

    /// Adds a batch for another partition.
    pub(crate) fn and(mut self, partition: i32, batch: Batch) -> Self {
        self.parts.push((partition, Some(batch)));
        self
    }
}

impl From<Produce> for Ask {
    fn from(produce: Produce) -> Self {
        Self::Produce(produce)
    }
}

pub(crate) struct Fetch {
    version: i16,
    topic: Which,
    partition: i32,
    offset: i64,
    max_bytes: i32,
    epoch: i32,
}

/// Fetches from the call's own topic, partition 0, everything from this offset on.
pub(crate) fn fetch(offset: i64) -> Fetch {
    Fetch { version: 12, topic: Which::Own, partition: 0, offset, max_bytes: 1 << 20, epoch: -1 }
}

impl Fetch {
    pub(crate) fn version(self, version: i16) -> Self {
        Self { version, ..self }
    }

    pub(crate) fn topic(self, topic: Which) -> Self {
        Self { topic, ..self }
    }

    pub(crate) fn partition(self, partition: i32) -> Self {
        Self { partition, ..self }
    }

    pub(crate) fn max_bytes(self, max_bytes: i32) -> Self {
        Self { max_bytes, ..self }
    }

    /// Sets the leader epoch that the reader assumes.
    pub(crate) fn epoch(self, epoch: i32) -> Self {
        Self { epoch, ..self }
    }
}

impl From<Fetch> for Ask {
    fn from(fetch: Fetch) -> Self {
        Self::Fetch(fetch)
    }
}

pub(crate) struct Create {
    version: i16,
    topic: Which,
    partitions: i32,
    replicas: i16,
    assignments: Vec<(i32, usize)>,
    settings: Vec<(&'static str, Option<&'static str>)>,
    is_dry_run: bool,
    also: Vec<Which>,
}

/// Creates a topic under the call's own name.
pub(crate) fn create(partitions: i32, replicas: i16) -> Create {
    let (assignments, settings, also) = (Vec::new(), Vec::new(), Vec::new());
    Create { version: 7, topic: Which::Own, partitions, replicas, assignments, settings, is_dry_run: false, also }
}

impl Create {
    pub(crate) fn version(self, version: i16) -> Self {
        Self { version, ..self }
    }

    pub(crate) fn named(self, name: &'static str) -> Self {
        Self { topic: Which::Named(name), ..self }
    }

    pub(crate) fn set(mut self, name: &'static str, value: Option<&'static str>) -> Self {
        self.settings.push((name, value));
        self
    }

    /// Assigns this partition to this number of nodes.
    pub(crate) fn assigned(mut self, partition: i32, replicas: usize) -> Self {
        self.assignments.push((partition, replicas));
        self
    }

    pub(crate) fn dry_run(self) -> Self {
        Self { is_dry_run: true, ..self }
    }

    /// Names the topic twice in one request.
    pub(crate) fn twice(mut self) -> Self {
        self.also.push(self.topic);
        self
    }

    /// Adds another topic to the same request.
    pub(crate) fn and(mut self, name: &'static str) -> Self {
        self.also.push(Which::Named(name));
        self
    }
}

impl From<Create> for Ask {
    fn from(create: Create) -> Self {
        Self::Create(create)
    }
}

/// The ranges to list of ApiVersions: key and range of each of our APIs.
const OURS: [(i16, i16, i16); 8] =
    [(0, 3, 13), (1, 4, 12), (2, 1, 8), (3, 0, 13), (10, 0, 6), (18, 0, 4), (19, 2, 7), (22, 0, 5)];

impl Ask {
    /// Sends the request to the broker and returns the answer as text.
    pub(crate) fn put(&self, scene: &mut Scene<'_>, to: To) -> String {
        let node = scene.node(to);
        match self {
            Self::Versions { version, software } => {
                let request = ApiVersionsRequest {
                    client_software_name: (*software).to_owned(),
                    client_software_version: "1.0".to_owned(),
                    ..Default::default()
                };
                match scene.peer.exchange(node, &frame(*version, &request), true) {
                    Exchange::Answer(answer) => versions(&answer, *version),
                    other => format!("{other:?}"),
                }
            }
            Self::Metadata { version, topics, may_create } => {
                let wanted = |which: &Which| MetadataRequestTopic {
                    topic_id: scene.topic_id(*which),
                    name: scene.topic_name(*which),
                };
                let request = MetadataRequest {
                    topics: topics.as_ref().map(|topics| topics.iter().map(wanted).collect()),
                    // The field exists from version 4 on; before, topics may always be created.
                    allow_auto_topic_creation: *may_create || *version < 4,
                    ..Default::default()
                };
                let all = topics.is_none() || (*version == 0 && topics.as_ref().is_some_and(Vec::is_empty));
                scene.ask(node, *version, &request, |scene, response| {
                    let is_meant = |topic: &&MetadataResponseTopic| !all || topic.name.as_ref() == Some(&scene.topic);
                    let mut topics: Vec<_> =
                        response.topics.iter().filter(is_meant).map(|topic| scene.topic(topic)).collect();
                    topics.sort();
                    topics.join("; ")
                })
            }
            Self::Create(create) => scene.create(node, create),
            Self::Produce(produce) => scene.produce(node, produce),
            Self::InitProducerId(request, version) => scene.ask(node, *version, request, |scene, response| {
                let is_new = !scene.producers.contains(&response.producer_id);
                scene.producers.push(response.producer_id);
                match response.error_code {
                    ErrorCode::NONE if is_new => format!("NONE a new id, epoch {}", response.producer_epoch),
                    ErrorCode::NONE => "NONE an old id".to_owned(),
                    code => format!("{}, id {}, epoch {}", name(code), response.producer_id, response.producer_epoch),
                }
            }),
            Self::ListOffsets { version, partition, at, epoch, topic } => {
                let timestamp = match at {
                    At::Number(number) => *number,
                    At::Ahead(ms) => scene.began_ms + ms,
                };
                let partitions =
                    vec![ListOffsetsPartition { partition_index: *partition, current_leader_epoch: *epoch, timestamp }];
                let topics = vec![ListOffsetsTopic { name: scene.topic_name(*topic).unwrap_or_default(), partitions }];
                let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
                scene.ask(node, *version, &request, |scene, response| {
                    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
                    partitions.map(|partition| scene.offset(partition)).collect::<Vec<_>>().join("; ")
                })
            }
            Self::Fetch(fetch) => scene.fetch(node, fetch),
            Self::Raw { key, version, body } => {
                let header =
                    [&key.to_be_bytes()[..], &version.to_be_bytes(), &1i32.to_be_bytes(), &[0, 1, b'c']].concat();
                match scene.peer.exchange(node, &[&header[..], body].concat().into(), true) {
                    Exchange::Answer(answer) => format!("{:?}", &answer[..]),
                    other => format!("{other:?}"),
                }
            }
            Self::Delete => {
                let name = scene.topic.clone();
                scene.delete(&name);
                "done".to_owned()
            }
            Self::DeleteNamed(name) => {
                scene.delete(name);
                "done".to_owned()
            }
            Self::CreateAnew => {
                let name = scene.topic.clone();
                create_topic(scene.peer, &name, 1, 1, &[]);
                "done".to_owned()
            }
            Self::Stop(to) => {
                let node = scene.node(*to);
                scene.peer.stop_node(node);
                scene.stopped = Some(node);
                "done".to_owned()
            }
            Self::Start => {
                let node = scene.stopped.take().expect("a node was stopped");
                scene.peer.start_node(node);
                "done".to_owned()
            }
            Self::FollowLeader => {
                scene.follow_leader();
                "done".to_owned()
            }
        }
    }
}

impl Scene<'_> {
    fn topic_name(&self, which: Which) -> Option<String> {
        match which {
            Which::Own => Some(self.topic.clone()),
            Which::Named(name) => Some(name.to_owned()),
            Which::OwnId | Which::NoId => None,
        }
    }

    fn topic_id(&self, which: Which) -> Uuid {
        match which {
            Which::Own | Which::Named(_) => Uuid::ZERO,
            Which::OwnId => self.topic_id,
            Which::NoId => Uuid([7; 16]),
        }
    }

    /// Sends a request and returns the answer as text.
    fn ask<R: Request>(
        &mut self,
        node: i32,
        version: i16,
        request: &R,
        words: impl FnOnce(&mut Self, R::Response) -> String,
    ) -> String {
        self.ask_by::<R>(node, version, &frame(version, request), words)
    }

    /// Like `ask`, with an encoded request.
    fn ask_by<R: Request>(
        &mut self,
        node: i32,
        version: i16,
        frame: &Bytes,
        words: impl FnOnce(&mut Self, R::Response) -> String,
    ) -> String {
        match self.peer.exchange(node, frame, true) {
            Exchange::Answer(answer) => match read_response::<R>(&answer, version) {
                Ok((_, response)) => words(self, response),
                Err(error) => format!("no answer of version {version}: {error}"),
            },
            other => format!("{other:?}"),
        }
    }

    fn delete(&mut self, name: &str) {
        self.peer.delete_topic(name);
        let is_gone = |peer: &mut dyn Peer| metadata(peer, name).topics.iter().all(|topic| topic.partitions.is_empty());
        wait_until(self.peer, &format!("{name} is deleted"), is_gone);
    }

    fn follow_leader(&mut self) {
        let (name, old) = (self.topic.clone(), self.leader);
        let asked = self.node(To::Follower);
        wait_until(self.peer, &format!("{name} has another leader"), |peer| {
            let metadata = metadata_of(peer, asked, &name);
            self.leader = metadata.topics[0].partitions[0].leader_id;
            self.leader != old && self.leader != -1
        });
    }

    fn create(&mut self, node: i32, create: &Create) -> String {
        let nodes = self.peer.nodes();
        let assignment = |(partition, replicas): &(i32, usize)| CreatableReplicaAssignment {
            partition_index: *partition,
            broker_ids: nodes.iter().copied().take(*replicas).collect(),
        };
        let config = |(name, value): &(&str, Option<&str>)| CreatableTopicConfig {
            name: (*name).to_owned(),
            value: value.map(str::to_owned),
        };
        let topic = |which: &Which| CreatableTopic {
            name: self.topic_name(*which).unwrap_or_default(),
            num_partitions: create.partitions,
            replication_factor: create.replicas,
            assignments: create.assignments.iter().map(assignment).collect(),
            configs: create.settings.iter().map(config).collect(),
        };
        let request = CreateTopicsRequest {
            topics: [create.topic].iter().chain(&create.also).map(topic).collect(),
            timeout_ms: 10_000,
            validate_only: create.is_dry_run,
        };
        self.ask(node, create.version, &request, |_, response| {
            let mut topics: Vec<_> = response.topics.iter().map(created).collect();
            topics.sort();
            topics.join("; ")
        })
    }

    fn produce(&mut self, node: i32, produce: &Produce) -> String {
        let data = |(index, batch): &(i32, Option<Batch>)| PartitionProduceData {
            index: *index,
            records: batch.as_ref().map(|batch| batch.bytes(self.began_ms).into()),
        };
        let topic_data = vec![TopicProduceData {
            name: self.topic_name(produce.topic).unwrap_or_default(),
            topic_id: self.topic_id(produce.topic),
            partition_data: produce.parts.iter().map(data).collect(),
        }];
        let request = ProduceRequest { acks: produce.acks, timeout_ms: 10_000, topic_data, ..Default::default() };
        let frame = frame_of(produce.client_id, produce.version, &request);
        if produce.acks == 0 {
            return format!("{:?}", self.peer.exchange(node, &frame, false));
        }
        self.ask_by::<ProduceRequest>(node, produce.version, &frame, |scene, response| {
            let partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
            let mut partitions: Vec<_> = partitions.collect();
            partitions.sort_by_key(|partition| partition.index);
            let mut words = partitions.iter().map(|partition| scene.produced(partition)).collect::<Vec<_>>().join("; ");
            let endpoints: Vec<_> =
                response.node_endpoints.iter().map(|endpoint| scene.role(endpoint.node_id)).collect();
            if !endpoints.is_empty() {
                let _ = write!(words, "; {} is at", endpoints.join(", "));
            }
            words
        })
    }

    fn produced(&self, answer: &PartitionProduceResponse) -> String {
        let mut words = name(answer.error_code);
        if answer.base_offset != -1 {
            let _ = write!(words, " at {}", answer.base_offset);
        }
        if answer.log_append_time_ms != -1 {
            let _ = write!(words, ", time {}", self.time(answer.log_append_time_ms));
        }
        if answer.log_start_offset != -1 {
            let _ = write!(words, ", log from {}", answer.log_start_offset);
        }
        let blamed: Vec<_> = answer.record_errors.iter().map(|error| error.batch_index).collect();
        if !blamed.is_empty() {
            let _ = write!(words, ", for records {blamed:?}");
        }
        if answer.error_message.is_some() {
            words += ", and why";
        }
        if answer.current_leader.leader_id != -1 {
            let leader = &answer.current_leader;
            let _ = write!(words, ", {} leads in epoch {}", self.role(leader.leader_id), leader.leader_epoch);
        }
        words
    }

    fn fetch(&mut self, node: i32, fetch: &Fetch) -> String {
        let partition = FetchPartition {
            partition: fetch.partition,
            current_leader_epoch: fetch.epoch,
            fetch_offset: fetch.offset,
            partition_max_bytes: fetch.max_bytes,
            ..Default::default()
        };
        let topic = self.topic_name(fetch.topic).unwrap_or_default();
        let topics = vec![FetchTopic { topic, partitions: vec![partition] }];
        let request = FetchRequest { max_wait_ms: 0, min_bytes: 0, topics, ..Default::default() };
        self.ask(node, fetch.version, &request, |scene, response| {
            let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
            let read = partitions.map(|partition| scene.fetched(partition)).collect::<Vec<_>>().join("; ");
            match response.error_code {
                ErrorCode::NONE => read,
                code => format!("{} of all; {read}", name(code)),
            }
        })
    }

    fn fetched(&self, answer: &PartitionData) -> String {
        let mut words = name(answer.error_code);
        for (what, offset) in
            [("", answer.log_start_offset), ("..", answer.high_watermark), (" stable ", answer.last_stable_offset)]
        {
            if offset != -1 {
                let _ = write!(words, "{}{offset}", if what.is_empty() { " " } else { what });
            }
        }
        let records: Bytes = answer.records.as_ref().map(Records::to_bytes).unwrap_or_default();
        for batch in Batches::new(&records) {
            let Ok(batch) = batch else { return words + ", and half a batch" };
            let header = batch.header();
            let _ = write!(words, ", [epoch {}", header.partition_leader_epoch);
            if header.attributes.is_log_append_time() {
                let _ = write!(words, " appended");
            }
            let Ok(records) = batch.records() else {
                let _ = write!(words, " {} compressed from {}]", header.record_count, header.base_offset);
                continue;
            };
            for record in records {
                let record = record.unwrap();
                let value = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
                let _ = write!(words, " {}:{value}@{}", record.offset, self.time(record.timestamp));
            }
            let _ = write!(words, " max {}]", self.time(header.max_timestamp));
        }
        words
    }

    fn offset(&self, answer: &ListOffsetsPartitionResponse) -> String {
        let mut words = name(answer.error_code);
        if answer.offset != -1 {
            let _ = write!(words, " {}", answer.offset);
        }
        if answer.timestamp != -1 {
            let _ = write!(words, " of {}", self.time(answer.timestamp));
        }
        if answer.leader_epoch != -1 {
            let _ = write!(words, ", epoch {}", answer.leader_epoch);
        }
        words
    }

    fn topic(&self, topic: &MetadataResponseTopic) -> String {
        let shown = match &topic.name {
            None => "null",
            Some(name) if *name == self.topic => "own",
            Some(name) => name,
        };
        let mut words = format!("{} {shown}", name(topic.error_code));
        if topic.topic_id == self.topic_id && topic.topic_id != Uuid::ZERO {
            words += ", own id";
        } else if topic.topic_id != Uuid::ZERO {
            words += ", an id";
        }
        if topic.is_internal {
            words += ", internal";
        }
        let mut partitions: Vec<_> = topic.partitions.iter().collect();
        partitions.sort_by_key(|partition| partition.partition_index);
        for partition in partitions {
            let _ = write!(words, ", {}", self.partition(partition));
        }
        words
    }

    fn partition(&self, partition: &MetadataResponsePartition) -> String {
        let roles = |ids: &[i32]| {
            let mut roles: Vec<_> = ids.iter().map(|id| self.role(*id)).collect();
            roles.sort();
            if roles.is_empty() { "nobody".to_owned() } else { roles.join("+") }
        };
        let (leader, isr) = (self.role(partition.leader_id), roles(&partition.isr_nodes));
        let mut words = format!("{}: {leader} leads {}", partition.partition_index, roles(&partition.replica_nodes));
        let _ = write!(words, ", in sync {isr}");
        if partition.leader_epoch != -1 {
            let _ = write!(words, ", epoch {}", partition.leader_epoch);
        }
        if !partition.offline_replicas.is_empty() {
            let _ = write!(words, ", offline {}", roles(&partition.offline_replicas));
        }
        if !partition.error_code.is_none() {
            let _ = write!(words, ", {}", name(partition.error_code));
        }
        words
    }
}

fn name(code: ErrorCode) -> String {
    code.name().map_or_else(|| code.to_string(), str::to_owned)
}

fn created(topic: &CreatableTopicResult) -> String {
    let mut words = name(topic.error_code);
    if topic.num_partitions != -1 {
        let _ = write!(words, ", {} partitions", topic.num_partitions);
    }
    if topic.replication_factor != -1 {
        let _ = write!(words, ", {} replicas", topic.replication_factor);
    }
    if topic.topic_id != Uuid::ZERO {
        words += ", an id";
    }
    if topic.error_message.is_some() {
        words += ", and why";
    }
    words
}

/// Lists the ranges of the APIs that our broker has too. A broker answers an unknown version in version 0 (KIP-511).
fn versions(answer: &Bytes, version: i16) -> String {
    let is_refused = answer.get(4..6) == Some(&ErrorCode::UNSUPPORTED_VERSION.0.to_be_bytes());
    let version = if is_refused { 0 } else { version };
    let response = match read_response::<ApiVersionsRequest>(answer, version) {
        Ok((_, response)) => response,
        Err(error) => return format!("no answer of version {version}: {error}"),
    };
    let ApiVersionsResponse { error_code, api_keys, .. } = response;
    let mut words = format!("{} in version {version}", name(error_code));
    for (key, lowest, highest) in OURS {
        if let Some(range) = api_keys.iter().find(|range| range.api_key == key) {
            let api = Api::of(key).map_or("?", |api| api.name());
            let (lowest, highest) = (range.min_version.max(lowest), range.max_version.min(highest));
            let _ = write!(words, ", {api} {lowest}-{highest}");
        }
    }
    words
}
