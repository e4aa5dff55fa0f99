//! The cluster: nodes, topics, leaders, and the effect of each request on them. It has neither I/O nor a clock: callers
//! pass a node's request as bytes, together with the time, and get the answer as bytes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use kurier_protocol::{ErrorCode, NodeId, PartitionIndex, Uuid};

use crate::api::Api;
use crate::fault::{Fault, Faults};
use crate::log::{Log, UnknownProducer};
use crate::offer::{Offer, Offers};
use crate::sasl::{Answer, Authentication, Users};
use crate::session::Login;
use crate::settings::{ClusterSettings, TopicSettings};
use crate::version::KafkaVersion;

/// Limit on the partitions of a cluster: each takes a little memory.
const PARTITIONS_MAX: usize = 100_000;

/// How many logins to remember.
const LOGINS_MAX: usize = 10_000;

/// A whole cluster in memory, without sockets and without a clock: callers pass requests as bytes, and the time.
///
/// ```
/// use bytes::Bytes;
/// use kurier_broker::{Cluster, ClusterSettings, Reply, TopicSettings};
/// use kurier_protocol::messages::MetadataRequest;
/// use kurier_protocol::{read_response, write_request};
///
/// let mut cluster = Cluster::new(ClusterSettings { nodes: 2, ..ClusterSettings::default() });
/// cluster.create_topic("orders", 6, TopicSettings::default())?;
/// cluster.stop_node(1);
///
/// // A client asks node 2 for everything.
/// let mut wire = Vec::new();
/// write_request(&MetadataRequest { topics: None, ..Default::default() }, 12, 1, Some("me"), &mut wire)?;
/// let frame = Bytes::from(wire).slice(4..);
/// let Reply::Send { frame, .. } = cluster.handle(2, &frame, 1_700_000_000_000, false) else { panic!("no answer") };
///
/// let (_, metadata) = read_response::<MetadataRequest>(&frame.slice(4..), 12)?;
/// assert_eq!(metadata.brokers.len(), 1);
/// assert!(metadata.topics[0].partitions.iter().all(|partition| partition.leader_id == 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Cluster {
    settings: ClusterSettings,
    id: String,
    nodes: BTreeMap<NodeId, Node>,
    topics: BTreeMap<String, Topic>,
    /// Topic names by id.
    names: HashMap<Uuid, String>,
    /// Number of partitions of all topics.
    partition_count: usize,
    next_topic: u64,
    next_producer_id: i64,
    /// Counts the changes that a waiting reader could wait for.
    changes: u64,
    unknown_producer: UnknownProducer,
    pub(crate) faults: Faults,
    offers: Offers,
    users: Users,
    logins: VecDeque<Login>,
}

#[derive(Debug)]
pub(crate) struct Node {
    /// The node's port.
    port: u16,
    /// Host and port that the node gives to clients instead.
    advertised: Option<(String, u16)>,
    pub(crate) is_up: bool,
}

#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) id: Uuid,
    pub(crate) settings: TopicSettings,
    pub(crate) partitions: Vec<Partition>,
}

#[derive(Debug)]
pub(crate) struct Partition {
    /// The leader; `None` if no eligible node is up.
    pub(crate) leader: Option<NodeId>,
    /// Rises with each change of leader, also with a change to no leader.
    pub(crate) leader_epoch: i32,
    pub(crate) replicas: Vec<NodeId>,
    /// Replicas in sync. The last one stays in the list when its node stops, because no other replica has the whole
    /// log.
    pub(crate) isr: Vec<NodeId>,
    pub(crate) log: Log,
}

/// Reason why the cluster cannot do what its owner asked.
///
/// ```
/// use kurier_broker::{Cluster, ClusterSettings};
///
/// let error = Cluster::new(ClusterSettings::default()).move_leader("orders", 0, 1).unwrap_err();
/// assert_eq!(error.to_string(), "node 1 cannot lead orders-0: there is no such partition");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ClusterError(pub(crate) String);

impl Cluster {
    /// Creates a cluster whose nodes are up but have no ports yet.
    #[must_use]
    pub fn new(settings: ClusterSettings) -> Self {
        let node = |id: u16| {
            let advertised = advertised(&settings.advertised_listeners, usize::from(id) - 1);
            (NodeId(id.into()), Node { port: 0, advertised, is_up: true })
        };
        Self {
            nodes: (1..=settings.nodes).map(node).collect(),
            topics: BTreeMap::new(),
            names: HashMap::new(),
            partition_count: 0,
            next_topic: 1,
            next_producer_id: 1000,
            changes: 0,
            unknown_producer: UnknownProducer::default(),
            faults: Faults::default(),
            offers: Offers::default(),
            users: settings.sasl.as_ref().map(Users::new).unwrap_or_default(),
            logins: VecDeque::new(),
            id: "kurier-in-memory-00000".to_owned(),
            settings,
        }
    }

    /// Returns the cluster id for Metadata responses.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Changes the cluster id, so that clients take the nodes for another cluster.
    pub fn set_id(&mut self, id: &str) {
        id.clone_into(&mut self.id);
    }

    /// Returns the settings that the cluster was created with.
    #[must_use]
    pub fn settings(&self) -> &ClusterSettings {
        &self.settings
    }

    /// Returns the ids of all nodes, up or down.
    pub fn node_ids(&self) -> impl Iterator<Item = NodeId> {
        self.nodes.keys().copied()
    }

    pub(crate) fn nodes(&self) -> &BTreeMap<NodeId, Node> {
        &self.nodes
    }

    pub(crate) fn topics(&self) -> &BTreeMap<String, Topic> {
        &self.topics
    }

    /// Sets the host and port that a node gives to clients from now on.
    pub fn advertise(&mut self, node: impl Into<NodeId>, host: &str, port: u16) {
        if let Some(node) = self.nodes.get_mut(&node.into()) {
            node.advertised = Some((host.to_owned(), port));
        }
    }

    /// Sets the password of a user, who need not exist; with `None`, removes the user. Connections that have
    /// authenticated stay.
    pub fn set_password(&mut self, user: &str, password: Option<&str>) {
        self.users.set_password(user, password);
    }

    /// Returns the last 10,000 exchanges that ended, in order: who authenticated, and which attempts the nodes refused.
    pub fn logins(&self) -> impl Iterator<Item = &Login> {
        self.logins.iter()
    }

    pub(crate) fn note_login(&mut self, login: Login) {
        if self.logins.len() == LOGINS_MAX {
            self.logins.pop_front();
        }
        self.logins.push_back(login);
    }

    /// Returns the time between a refusal of SASL and its answer.
    pub(crate) fn refusal_delay(&self) -> Duration {
        self.settings.sasl.as_ref().map_or(Duration::ZERO, |settings| settings.refusal_delay)
    }

    /// Handles a token of a client, on a cluster with SASL.
    pub(crate) fn authenticate(&mut self, state: &mut Authentication, token: &[u8], now_ms: i64) -> Answer {
        match &self.settings.sasl {
            Some(settings) => state.handle_token(settings, &mut self.users, token, now_ms),
            None => Answer::Refusal { why: "this cluster has no users".to_owned(), is_general: false },
        }
    }

    /// Returns the host and port that a node gives to a client that reached the cluster at the address `reached`.
    pub(crate) fn address(&self, node: &Node, reached: Option<IpAddr>) -> (String, u16) {
        if let Some(advertised) = &node.advertised {
            return advertised.clone();
        }
        let stands_for_all = self.settings.host.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified());
        let host = match reached {
            _ if !stands_for_all => self.settings.host.clone(),
            Some(ip) => ip.to_string(),
            None => "localhost".to_owned(),
        };
        (host, node.port)
    }

    /// Returns the port that a node listens on.
    pub(crate) fn port(&self, node: NodeId) -> Option<u16> {
        self.nodes.get(&node).map(|node| node.port)
    }

    /// Sets the port that a node listens on.
    pub fn set_port(&mut self, node: impl Into<NodeId>, port: u16) {
        if let Some(node) = self.nodes.get_mut(&node.into()) {
            node.port = port;
        }
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// If the topic exists, its name is invalid, or it would have no partitions.
    pub fn create_topic(&mut self, name: &str, partitions: i32, settings: TopicSettings) -> Result<(), ClusterError> {
        self.check_new_name(name).and_then(|()| self.add_topic(name, partitions, settings)).map_err(|code| {
            ClusterError(format!(
                "topic {name:?} of {partitions} partitions cannot be created: {code}, {}",
                code.meaning()
            ))
        })
    }

    /// Checks whether a new topic may have this name beside the existing topics. Kafka checks all names of a request
    /// before it creates the first topic, so names of one request do not collide
    /// (`ReplicationControlManager.createTopics`).
    pub(crate) fn check_new_name(&self, name: &str) -> Result<(), ErrorCode> {
        // This name belongs to the controllers' log; clients may not create such a topic
        // (`ControllerApis.createTopics`).
        if name == "__cluster_metadata" {
            return Err(match self.settings.version {
                KafkaVersion::V3_7 => ErrorCode::TOPIC_AUTHORIZATION_FAILED,
                KafkaVersion::V3_9 | KafkaVersion::V4_3 => ErrorCode::INVALID_REQUEST,
            });
        }
        if !is_topic_name(name) {
            return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
        }
        if self.topics.contains_key(name) {
            return Err(ErrorCode::TOPIC_ALREADY_EXISTS);
        }
        if name.contains(['.', '_']) && self.topics.keys().any(|other| collide(name, other)) {
            return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
        }
        Ok(())
    }

    /// Creates a topic whose name passed [`check_new_name`](Self::check_new_name).
    pub(crate) fn add_topic(&mut self, name: &str, partitions: i32, settings: TopicSettings) -> Result<(), ErrorCode> {
        if partitions < 1 {
            return Err(ErrorCode::INVALID_PARTITIONS);
        }
        if !self.has_room_for(partitions) {
            return Err(ErrorCode::POLICY_VIOLATION);
        }
        if settings.replication_factor == 0 {
            return Err(ErrorCode::INVALID_REPLICATION_FACTOR);
        }
        let id = self.new_topic_id();
        let partitions: Vec<_> =
            (0..partitions).map(|index| self.new_partition(PartitionIndex(index), &settings)).collect();
        self.partition_count += partitions.len();
        self.names.insert(id, name.to_owned());
        self.topics.insert(name.to_owned(), Topic { id, settings, partitions });
        Ok(())
    }

    /// Sets a topic's id, for example to the id in a capture whose clients are to be replayed.
    ///
    /// # Errors
    /// If there is no such topic, or another topic has the id.
    pub fn set_topic_id(&mut self, name: &str, id: Uuid) -> Result<(), ClusterError> {
        if let Some(other) = self.names.get(&id).filter(|other| *other != name) {
            return Err(ClusterError(format!("topic {name} cannot have the id {id}: {other} has it")));
        }
        let missing = || ClusterError(format!("topic {name} cannot have the id {id}: there is no such topic"));
        let topic = self.topics.get_mut(name).ok_or_else(missing)?;
        self.names.remove(&std::mem::replace(&mut topic.id, id));
        self.names.insert(id, name.to_owned());
        Ok(())
    }

    /// Sets the next new producer id; later ids count up from it.
    pub fn set_next_producer_id(&mut self, id: i64) {
        // The counter is incremented before an id is given out.
        self.next_producer_id = id.saturating_sub(1);
    }

    fn has_room_for(&self, partitions: i32) -> bool {
        usize::try_from(partitions).is_ok_and(|more| more <= PARTITIONS_MAX.saturating_sub(self.partition_count))
    }

    fn new_partition(&self, index: PartitionIndex, settings: &TopicSettings) -> Partition {
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        let first = usize::try_from(index.0).unwrap_or_default() % ids.len().max(1);
        let replication = settings.replication_factor.min(ids.len());
        let replicas: Vec<NodeId> = ids.iter().cycle().skip(first).take(replication).copied().collect();
        let up: Vec<NodeId> = replicas.iter().copied().filter(|id| self.is_up(*id)).collect();
        let leader = up.first().copied();
        // In an empty log, replicas that are down miss nothing.
        let isr = if up.is_empty() { replicas.clone() } else { up };
        let mut log = Log::default();
        log.set_unknown_producer(self.unknown_producer);
        Partition { leader, leader_epoch: 0, replicas, isr, log }
    }

    /// Ids differ only in the number; the other bits make them look like Kafka's.
    fn new_topic_id(&mut self) -> Uuid {
        let mut id = *b"Kurier\x40\x00\x80\x00\0\0\0\0\0\0";
        let number = self.next_topic.to_be_bytes();
        for (place, byte) in id.iter_mut().skip(10).zip(number.iter().skip(2)) {
            *place = *byte;
        }
        self.next_topic += 1;
        Uuid(id)
    }

    /// Deletes a topic with all its records. A later topic of the same name gets another id.
    ///
    /// # Errors
    /// If there is no such topic.
    pub fn delete_topic(&mut self, name: &str) -> Result<(), ClusterError> {
        let missing = || ClusterError(format!("there is no topic {name:?} to delete"));
        let topic = self.topics.remove(name).ok_or_else(missing)?;
        self.names.remove(&topic.id);
        self.partition_count -= topic.partitions.len();
        Ok(())
    }

    /// Raises a topic's number of partitions.
    ///
    /// # Errors
    /// If there is no such topic, it has as many partitions already, or the cluster would have more than 100,000.
    pub fn add_partitions(&mut self, name: &str, total: i32) -> Result<(), ClusterError> {
        let refuse = |why| ClusterError(format!("topic {name:?} cannot have {total} partitions: {why}"));
        let topic = self.topics.get(name).ok_or_else(|| refuse("there is no such topic"))?;
        let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        if total <= count || !self.has_room_for(total - count) {
            return Err(refuse("it must have more than now, and the cluster no more than 100,000"));
        }
        let new: Vec<_> =
            (count..total).map(|index| self.new_partition(PartitionIndex(index), &topic.settings)).collect();
        self.partition_count += new.len();
        if let Some(topic) = self.topics.get_mut(name) {
            topic.partitions.extend(new);
        }
        Ok(())
    }

    /// Changes a topic's `max.message.bytes`. From now on, larger batches are refused.
    ///
    /// # Errors
    /// If there is no such topic.
    pub fn set_max_message_bytes(&mut self, name: &str, bytes: usize) -> Result<(), ClusterError> {
        let topic = self.topics.get_mut(name);
        let topic = topic.ok_or_else(|| ClusterError(format!("there is no topic {name:?} to change")))?;
        topic.settings.max_message_bytes = bytes;
        Ok(())
    }

    /// Makes a node the leader of a partition.
    ///
    /// # Errors
    /// If there is no such partition, the node is down, or its replica is not in sync.
    pub fn move_leader(
        &mut self,
        topic: &str,
        partition: impl Into<PartitionIndex>,
        node: impl Into<NodeId>,
    ) -> Result<(), ClusterError> {
        let (partition, node) = (partition.into(), node.into());
        let refuse = |why| ClusterError(format!("node {node} cannot lead {topic}-{partition}: {why}"));
        if !self.is_up(node) {
            return Err(refuse("it is not up"));
        }
        let partition = self.partition_mut(topic, partition).ok_or_else(|| refuse("there is no such partition"))?;
        if !partition.isr.contains(&node) {
            return Err(refuse("it is no replica in sync"));
        }
        partition.leader = Some(node);
        partition.leader_epoch += 1;
        Ok(())
    }

    /// Returns the node that leads a partition, if any.
    #[must_use]
    pub fn leader(&self, topic: &str, partition: impl Into<PartitionIndex>) -> Option<NodeId> {
        self.partition(topic, partition.into())?.leader
    }

    /// Stops a node. Its partitions get another in-sync replica as leader, if one is up.
    pub fn stop_node(&mut self, node: impl Into<NodeId>) {
        self.set_up(node.into(), false);
    }

    /// Starts a stopped node. Its replicas come into sync, and it leads the partitions that have no leader.
    pub fn start_node(&mut self, node: impl Into<NodeId>) {
        self.set_up(node.into(), true);
    }

    /// Whether a node is up.
    #[must_use]
    pub fn is_up(&self, node: impl Into<NodeId>) -> bool {
        self.nodes.get(&node.into()).is_some_and(|node| node.is_up)
    }

    fn set_up(&mut self, id: NodeId, is_up: bool) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.is_up = is_up;
        let up: Vec<NodeId> = self.nodes.iter().filter(|(_, node)| node.is_up).map(|(id, _)| *id).collect();
        for partition in self.topics.values_mut().flat_map(|topic| &mut topic.partitions) {
            partition.follow(&up);
        }
    }

    /// Scripts a fault; see [`Fault`].
    pub fn add_fault(&mut self, fault: Fault) {
        self.faults.add(fault);
    }

    /// Removes all pending faults.
    pub fn clear_faults(&mut self) {
        self.faults = Faults::default();
    }

    /// Changes which versions a node offers of an API such as `Produce`; see [`Offer`].
    ///
    /// # Panics
    /// If the nodes have no API of this name.
    pub fn set_offer(&mut self, node: impl Into<NodeId>, api: &'static str, offer: Offer) {
        self.offers.set(node.into(), api, offer);
    }

    /// Returns the lowest and highest version that a node offers of an API.
    pub(crate) fn offered(&self, node: NodeId, api: Api) -> Option<(i16, i16)> {
        self.offers.range(node, api, self.settings.version)
    }

    /// Sets how all partitions treat producers that they do not know.
    pub fn set_unknown_producer(&mut self, unknown: UnknownProducer) {
        self.unknown_producer = unknown;
        for partition in self.topics.values_mut().flat_map(|topic| &mut topic.partitions) {
            partition.log.set_unknown_producer(unknown);
        }
    }

    /// Makes a partition forget its producers, as Kafka does after `producer.id.expiration.ms` without a batch.
    pub fn forget_producers(&mut self, topic: &str, partition: impl Into<PartitionIndex>) {
        if let Some(partition) = self.partition_mut(topic, partition.into()) {
            partition.log.forget_producers();
        }
    }

    /// Removes this many batches from the end of a partition's log. In Kafka this happens when a new leader lacks
    /// batches that were acknowledged with acks=1, or after an unclean election.
    pub fn truncate(&mut self, topic: &str, partition: impl Into<PartitionIndex>, batches: usize) {
        if let Some(partition) = self.partition_mut(topic, partition.into()) {
            partition.leader_epoch += 1;
            partition.log.truncate(batches);
        }
    }

    /// Returns the batches of a partition as its log stores them.
    #[must_use]
    pub fn log(&self, topic: &str, partition: impl Into<PartitionIndex>) -> Option<Vec<Bytes>> {
        self.partition(topic, partition.into())?.log.read(0, usize::MAX, true)
    }

    /// Returns the offset after a partition's last record.
    #[must_use]
    pub fn end_offset(&self, topic: &str, partition: impl Into<PartitionIndex>) -> Option<i64> {
        Some(self.partition(topic, partition.into())?.log.end_offset())
    }

    pub(crate) fn partition(&self, topic: &str, partition: PartitionIndex) -> Option<&Partition> {
        self.topics.get(topic)?.partitions.get(usize::try_from(partition.0).ok()?)
    }

    fn partition_mut(&mut self, topic: &str, partition: PartitionIndex) -> Option<&mut Partition> {
        self.topics.get_mut(topic)?.partitions.get_mut(usize::try_from(partition.0).ok()?)
    }

    pub(crate) fn topic_mut(&mut self, name: &str) -> Option<&mut Topic> {
        self.topics.get_mut(name)
    }

    /// Returns a counter that rises whenever there may be more to read.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// Records that there may be more to read.
    pub(crate) fn has_changed(&mut self) {
        self.changes += 1;
    }

    /// Returns the name of the topic with this id.
    pub(crate) fn topic_name(&self, id: Uuid) -> Option<&str> {
        self.names.get(&id).map(String::as_str)
    }

    /// Whether the topic is one of Kafka's internal topics, which clients may read but not write
    /// (`Topic.INTERNAL_TOPICS`).
    pub(crate) fn is_internal(&self, topic: &str) -> bool {
        match topic {
            "__consumer_offsets" | "__transaction_state" => true,
            "__share_group_state" => self.settings.version >= KafkaVersion::V3_9,
            _ => false,
        }
    }

    pub(crate) fn new_producer_id(&mut self) -> i64 {
        self.next_producer_id += 1;
        self.next_producer_id
    }
}

impl Partition {
    /// Returns the error for a reader that asks this node and assumes this leader epoch, or -1 for no assumption
    /// (KIP-320, `Partition.localLogWithEpochOrThrow`).
    pub(crate) fn refusal(&self, node: NodeId, epoch: i32) -> Option<ErrorCode> {
        let elsewhere = Some(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        match epoch {
            _ if !self.replicas.contains(&node) => elsewhere,
            0.. if epoch < self.leader_epoch => Some(ErrorCode::FENCED_LEADER_EPOCH),
            0.. if epoch > self.leader_epoch => Some(ErrorCode::UNKNOWN_LEADER_EPOCH),
            _ if self.leader != Some(node) => elsewhere,
            _ => None,
        }
    }

    /// Updates the leader and the in-sync replicas after nodes went up or down.
    fn follow(&mut self, up: &[NodeId]) {
        let in_sync: Vec<NodeId> = self.isr.iter().copied().filter(|id| up.contains(id)).collect();
        let leader = self.leader.filter(|leader| in_sync.contains(leader)).or_else(|| in_sync.first().copied());
        if leader != self.leader {
            self.leader = leader;
            self.leader_epoch += 1;
        }
        // With a leader, replicas in memory catch up at once. Without one, only the last in-sync replica may lead
        // again.
        if leader.is_some() {
            self.isr = self.replicas.iter().copied().filter(|id| up.contains(id)).collect();
        }
    }
}

/// Returns the advertised host and port of a node, by its index among all nodes.
fn advertised(listeners: &[(String, u16)], place: usize) -> Option<(String, u16)> {
    let last = listeners.len().checked_sub(1)?;
    let (host, port) = listeners.get(place.min(last))?;
    let offset = u16::try_from(place.saturating_sub(last)).unwrap_or(u16::MAX);
    Some((host.clone(), port.saturating_add(offset)))
}

/// Whether two names differ only by dots and underscores, which metric names do not distinguish (`Topic.hasCollision`).
fn collide(name: &str, other: &str) -> bool {
    let is_dot = |letter: u8| matches!(letter, b'.' | b'_');
    let are_alike = |(one, other): (u8, u8)| one == other || (is_dot(one) && is_dot(other));
    name.len() == other.len() && name.bytes().zip(other.bytes()).all(are_alike)
}

/// Whether Kafka allows this topic name (`org.apache.kafka.common.internals.Topic`).
pub(crate) fn is_topic_name(name: &str) -> bool {
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    (1..=249).contains(&name.len()) && name != "." && name != ".." && name.chars().all(is_allowed)
}
