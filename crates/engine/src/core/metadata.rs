//! The known state of the cluster: nodes, topics and partition leaders (Java's `Metadata`; KIP-320, 516, 951).
//!
//! A topic is in use from the first send to it. [`refresh`](super::refresh) decides when to ask for the topics in use.
//! A partition keeps its id and its leader while brokers temporarily omit its topic.
//!
//! A topic that was not used for `metadata.max.idle.ms` is forgotten before the next request, unless a sender waits for
//! it or some of its data is not settled. If the topic is used again, its partitions get new ids.
//!
//! When no node can be reached, or no node has described the cluster for long, the core asks the bootstrap servers
//! again (KIP-899, KIP-1102). Only then, and only from a bootstrap server, does it accept another cluster id. From any
//! other server, another cluster id means that the connection reached the wrong cluster.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kurier_protocol::messages::metadata::{
    MetadataRequestTopic, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kurier_protocol::messages::produce::{LeaderIdAndEpoch, NodeEndpoint};
use kurier_protocol::messages::{MetadataRequest, MetadataResponse};
use kurier_protocol::{Chunks, EncodeError, ErrorCode, NodeId, PartitionIndex, Reaction, Uuid, write_request};

use super::advice::advertised;
use super::refresh::{QuestionId, Refresh};
use crate::accumulator::{Layout, Leadership, PartitionId};
use crate::config::{Config, HostPort, Recovery};
use crate::error::printable;
use crate::fault_injection::{FaultInjection, Mutant};

/// More partitions than any topic has.
const PARTITIONS_MAX: usize = 200_000;

/// More nodes than any cluster has. Each takes more memory here than in an answer.
const NODES_MAX: usize = 10_000;

/// The most topics that are kept while they are idle. Beyond it, those that were not used for longest are forgotten before
/// their time: a topic takes about 1.2 KB, and a producer may send one record to each of many.
pub(super) const TOPICS_KEPT_MAX: usize = 10_000;

/// How long a leader hint takes precedence over metadata with an older leader epoch. By then, slow brokers have learnt
/// of the election; and a wrong hint must not keep the partition from its leader.
const HINT_COUNTS_FOR: Duration = Duration::from_secs(10);

/// The known state of the cluster.
#[derive(Debug)]
pub(super) struct Metadata {
    /// How long a topic is kept after it was last used.
    max_idle: Duration,
    nodes: BTreeMap<NodeId, HostPort>,
    /// Invalid addresses that nodes advertise.
    misadvertised: BTreeMap<NodeId, String>,
    /// `client.rack`, if `partitioner.rack.aware` is true (KIP-1123).
    rack: Option<String>,
    /// The nodes in that rack.
    near: BTreeSet<NodeId>,
    topics: BTreeMap<Arc<str>, Topic>,
    /// When to check whether each topic has been idle for `max_idle`; one entry per topic.
    idle_checks: BTreeSet<(Instant, Arc<str>)>,
    places: BTreeMap<PartitionId, Place>,
    /// The id of the next partition. Ids are never reused.
    next_partition: Option<PartitionId>,
    refresh: Refresh,
    is_known: bool,
    /// The cluster's id (KIP-78).
    cluster_id: Option<String>,
    recovery: Recovery,
    /// How long metadata requests may fail before the core asks the bootstrap servers again.
    trigger: Duration,
    /// Whether the core may ask the bootstrap servers to describe the cluster.
    is_bootstrapping: bool,
    /// When metadata requests began to fail.
    in_vain_since: Option<Instant>,
    faults: FaultInjection,
}

/// A topic that senders use.
#[derive(Debug)]
struct Topic {
    id: Uuid,
    /// The topic's partitions by index, including former ones; empty until the topic is seen. A topic that was
    /// re-created with fewer partitions keeps the ids of the others and reuses them when they come back, so that ids do
    /// not pile up.
    partitions: Vec<PartitionId>,
    /// How many of the partitions the topic has now.
    count: usize,
    /// How many partitions a sender waits for.
    wanted: usize,
    used_at: Instant,
    /// The topic's entry in `idle_checks`.
    idle_check: Instant,
    /// Whether a sender waits for the topic.
    is_awaited: bool,
    /// Whether the topic is being forgotten, so that no request asks for it.
    is_retiring: bool,
    /// The last error that a broker gave for the topic, unless it was success.
    error: Option<ErrorCode>,
}

/// A partition and its leader.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub topic: Arc<str>,
    pub topic_id: Uuid,
    pub index: PartitionIndex,
    /// The partition's leader, if there is one and its address is known.
    pub leader: Option<NodeId>,
    /// The leader according to metadata, even if its address is not known.
    named_leader: NodeId,
    /// The leader epoch according to metadata.
    leader_epoch: i32,
    /// The hint that named the leader, until metadata names a leader.
    hint: Option<Hint>,
    /// The leadership that the accumulator was last shown.
    shown: Leadership,
}

/// A leader epoch from a Produce response (KIP-951).
#[derive(Clone, Copy, Debug)]
struct Hint {
    leader_epoch: i32,
    until: Instant,
}

impl Place {
    /// Returns the newest leader epoch that counts now.
    fn newest_epoch(&self, now: Instant) -> i32 {
        let hint = self.hint.filter(|hint| now < hint.until);
        self.leader_epoch.max(hint.map_or(-1, |hint| hint.leader_epoch))
    }

    /// Drops the state that belongs to one topic id.
    fn reset(&mut self, topic_id: Uuid) {
        (self.topic_id, self.leader_epoch, self.hint) = (topic_id, -1, None);
    }
}

/// A topic that has been idle for long.
#[derive(Debug)]
pub(super) struct Idle {
    pub topic: Arc<str>,
    /// The topic's partitions, including former ones.
    pub partitions: Vec<PartitionId>,
    pub used_at: Instant,
}

/// The changes that a response brought.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Whether the response describes another cluster than before.
    pub is_another_cluster: bool,
    /// The topics that have changed, as they are now.
    pub layouts: Vec<Layout>,
    /// Partitions that are new or have another leader.
    pub moved: Vec<PartitionId>,
    /// Partitions whose leader has a newer epoch than before.
    pub elected: Vec<PartitionId>,
    /// Partitions of topics that were deleted and created again.
    pub recreated: Vec<PartitionId>,
    /// Topics that a broker refused for good, with the error.
    pub refused: Vec<(Arc<str>, ErrorCode)>,
}

/// Why a response was not used.
#[derive(Debug)]
pub(super) enum Useless {
    Refusal(String),
    /// It comes from the wrong cluster.
    Astray(String),
}

impl Metadata {
    pub(super) fn new(config: &Config, seed: u64, faults: FaultInjection, now: Instant) -> Self {
        Self {
            max_idle: config.metadata_max_idle,
            nodes: BTreeMap::new(),
            misadvertised: BTreeMap::new(),
            rack: Some(config.client_rack.clone()).filter(|_| config.rack_aware),
            near: BTreeSet::new(),
            topics: BTreeMap::new(),
            idle_checks: BTreeSet::new(),
            places: BTreeMap::new(),
            next_partition: Some(PartitionId(0)),
            refresh: Refresh::new(config, seed, now),
            is_known: false,
            cluster_id: None,
            recovery: config.metadata_recovery,
            trigger: config.rebootstrap_trigger,
            is_bootstrapping: true,
            in_vain_since: None,
            faults,
        }
    }

    /// Returns the cluster's id, if it is known.
    pub(super) fn cluster_id(&self) -> Option<&str> {
        self.cluster_id.as_deref()
    }

    pub(super) fn nodes(&self) -> &BTreeMap<NodeId, HostPort> {
        &self.nodes
    }

    pub(super) fn place(&self, id: PartitionId) -> Option<&Place> {
        self.places.get(&id)
    }

    /// Describes the invalid address that a partition's leader advertises, if that is why the core cannot connect to
    /// it.
    pub(super) fn misadvertised_leader(&self, place: &Place) -> Option<String> {
        let address = self.misadvertised.get(&place.named_leader)?;
        Some(no_address(place.named_leader, address))
    }

    /// Returns all known partitions, in order.
    pub(super) fn partitions(&self) -> impl Iterator<Item = PartitionId> {
        self.places.keys().copied()
    }

    /// Returns whether the cluster was ever described.
    pub(super) fn is_known(&self) -> bool {
        self.is_known
    }

    /// Returns the last error that a broker gave for a topic, unless it was success.
    pub(super) fn topic_error(&self, name: &str) -> Option<ErrorCode> {
        self.topics.get(name)?.error
    }

    /// Notes that a sender waits for a topic, and needs this many partitions.
    pub(super) fn want(&mut self, name: &Arc<str>, partitions: usize, now: Instant) {
        let Some(topic) = self.topics.get_mut(name) else {
            let idle_check = now + self.max_idle;
            let topic = Topic {
                id: Uuid::ZERO,
                partitions: Vec::new(),
                count: 0,
                wanted: partitions,
                used_at: now,
                idle_check,
                is_awaited: true,
                is_retiring: false,
                error: None,
            };
            self.topics.insert(Arc::clone(name), topic);
            self.idle_checks.insert((idle_check, Arc::clone(name)));
            self.refresh.add(name);
            return;
        };
        topic.wanted = topic.wanted.max(partitions);
        (topic.used_at, topic.is_awaited, topic.is_retiring) = (now, true, false);
        // A topic that was not found waits for its backoff, even if many senders use it.
        if topic.lacks() && !self.refresh.is_unseen(name) {
            self.refresh.add(name);
        }
    }

    /// Notes that a sender has appended to a partition.
    pub(super) fn use_partition(&mut self, id: PartitionId, now: Instant) {
        let Some(place) = self.places.get(&id) else { return };
        let Some(topic) = self.topics.get_mut(&place.topic) else { return };
        (topic.used_at, topic.is_retiring) = (now, false);
    }

    /// Returns how many topics may be looked at before their time, because there are too many.
    pub(super) fn early_looks(&self) -> usize {
        // The first look at a used topic only notes the time, and the second may remove it. So allow two looks per
        // topic.
        2 * self.topics.len().saturating_sub(TOPICS_KEPT_MAX)
    }

    /// Returns a topic that was not used for `metadata.max.idle.ms` and that no sender waits for; with `early_looks`, one
    /// that was not used since it was looked at last. Requests leave it out until it is used again or
    /// [retired](Self::retire). After another `metadata.max.idle.ms` it is returned here again.
    pub(super) fn next_idle(&mut self, early_looks: &mut usize, now: Instant) -> Option<Idle> {
        loop {
            let is_early = self.idle_checks.first()?.0 > now;
            if is_early {
                *early_looks = early_looks.checked_sub(1)?;
            }
            let (at, name) = self.idle_checks.pop_first()?;
            let Some(topic) = self.topics.get_mut(&name) else { continue };
            let idle_at = topic.used_at + self.max_idle;
            let is_used = idle_at > at;
            topic.is_retiring = !is_used && !topic.is_awaited;
            topic.idle_check = if is_used { idle_at } else { now + self.max_idle };
            self.idle_checks.insert((topic.idle_check, Arc::clone(&name)));
            if topic.is_retiring {
                return Some(Idle { topic: name, partitions: topic.partitions.clone(), used_at: topic.used_at });
            }
        }
    }

    /// Keeps an idle topic, because some of its data is not settled.
    pub(super) fn keep(&mut self, name: &str) {
        if let Some(topic) = self.topics.get_mut(name) {
            topic.is_retiring = false;
        }
    }

    /// Notes that the accumulator has removed a topic, and returns the partitions that it had. If a sender has begun to
    /// wait for the topic, it is asked for as a new one.
    pub(super) fn retire(&mut self, name: &Arc<str>, now: Instant) -> Vec<PartitionId> {
        let Some(topic) = self.remove(name) else { return Vec::new() };
        if topic.is_awaited {
            self.want(name, topic.wanted, now);
        }
        topic.partitions
    }

    fn remove(&mut self, name: &str) -> Option<Topic> {
        let (name, topic) = self.topics.remove_entry(name)?;
        self.refresh.remove(&name);
        self.idle_checks.remove(&(topic.idle_check, name));
        for id in &topic.partitions {
            self.places.remove(id);
        }
        Some(topic)
    }

    /// Notes that no sender waits for a topic any more. A topic that was never seen is not asked for again.
    pub(super) fn forget(&mut self, name: &str) {
        let Some(topic) = self.topics.get_mut(name) else { return };
        (topic.wanted, topic.is_awaited) = (0, false);
        self.refresh.remove(name);
        if topic.partitions.is_empty() {
            self.remove(name);
        }
    }

    /// Returns whether the bootstrap servers may be asked.
    pub(super) fn is_bootstrapping(&self) -> bool {
        self.is_bootstrapping
    }

    /// Returns whether the bootstrap servers may be asked again once the cluster is known.
    pub(super) fn recovers(&self) -> bool {
        self.recovery == Recovery::Rebootstrap
    }

    /// Allows the bootstrap servers to describe the cluster again.
    pub(super) fn rebootstrap(&mut self, now: Instant) {
        self.is_bootstrapping = true;
        self.in_vain_since = Some(now);
        self.refresh.request();
    }

    /// Returns when to give up the known nodes and ask the bootstrap servers, because no node has described the cluster
    /// for `metadata.recovery.rebootstrap.trigger.ms`. As in Java, one millisecond more must have passed. `None` while
    /// the bootstrap servers are being asked: closing their connections would only lose time.
    pub(super) fn gives_up_at(&self) -> Option<Instant> {
        let may_give_up = self.recovers() && !self.is_bootstrapping;
        let since = self.in_vain_since.filter(|_| may_give_up)?;
        Some(since + self.trigger + Duration::from_millis(1))
    }

    /// Records a metadata attempt.
    pub(super) fn try_to_ask(&mut self, now: Instant) {
        self.in_vain_since.get_or_insert(now);
    }

    /// Requests a refresh, because the metadata turned out to be wrong.
    pub(super) fn doubt(&mut self) {
        self.refresh.request();
    }

    /// Describes unfinished work; empty when there is none.
    #[cfg(any(test, feature = "internal"))]
    pub(super) fn leftovers(&self) -> Vec<String> {
        self.refresh.leftovers()
    }

    /// Returns whether to send a request now.
    pub(super) fn asks(&self, now: Instant) -> bool {
        self.refresh.asks(now)
    }

    /// Returns when to send the next request, unless an event comes first.
    pub(super) fn next_ask(&self, now: Instant) -> Option<Instant> {
        self.refresh.next(now)
    }

    /// Builds the next request.
    pub(super) fn request(&mut self, now: Instant) -> MetadataRequest {
        let topics = &self.topics;
        let in_use_after = |start| {
            let later = topics.range((start, Bound::Unbounded));
            later.filter(|(_, topic)| !topic.is_retiring).map(|(name, _)| name)
        };
        request_for(self.refresh.next_part(now, in_use_after))
    }

    /// Returns the id of the next request.
    pub(super) fn next_question(&self) -> QuestionId {
        self.refresh.next_question()
    }

    /// Notes that a request was sent.
    pub(super) fn asked(&mut self, question: QuestionId, now: Instant) {
        self.refresh.asked(question, now);
    }

    /// Forgets the topics of the last request that cannot be encoded, and returns them with the reasons.
    pub(super) fn take_unsendable(&mut self, version: i16) -> Vec<(Arc<str>, EncodeError)> {
        let why = |name: &Arc<str>| {
            let alone = write_request(&request_for([name]), version, 0, None, &mut Chunks::new());
            alone.err().map(|error| (Arc::clone(name), error))
        };
        let unsendable: Vec<_> = self.refresh.part().iter().filter_map(why).collect();
        for (name, _) in &unsendable {
            self.forget(name);
        }
        unsendable
    }

    /// Delays the next request by the backoff, because this one could not be encoded.
    pub(super) fn put_off(&mut self, now: Instant) {
        self.refresh.put_off(now);
    }

    /// Notes that a request got no usable response.
    pub(super) fn handle_failure(&mut self, question: QuestionId, now: Instant) {
        self.refresh.fail(question, now);
    }

    /// Applies a response. It is useless if it names no nodes, or comes from the wrong cluster.
    pub(super) fn handle_response(
        &mut self,
        question: QuestionId,
        response: MetadataResponse,
        is_from_seed: bool,
        now: Instant,
    ) -> Result<Changes, Useless> {
        if !self.refresh.expects(question) {
            return Ok(Changes::default());
        }
        let nodes = nodes_of(&response).map_err(Useless::Refusal);
        let heard = nodes.and_then(|nodes| Ok((nodes, self.is_another_cluster(&response, is_from_seed)?)));
        let (nodes, is_another_cluster) = match heard {
            Ok(heard) => heard,
            Err(why) => {
                self.handle_failure(question, now);
                return Err(why);
            }
        };
        let mut changes = Changes { is_another_cluster, ..Changes::default() };
        if is_another_cluster {
            self.leave_cluster();
            self.refresh.begin_again();
        }
        self.cluster_id = response.cluster_id.or_else(|| self.cluster_id.take());
        (self.is_bootstrapping, self.in_vain_since, self.is_known) = (false, None, true);
        (self.nodes, self.misadvertised) = (nodes, misadvertised(&response.brokers));
        self.near = match &self.rack {
            Some(own) => response
                .brokers
                .iter()
                .filter(|node| node.rack.as_ref() == Some(own))
                .map(|node| NodeId(node.node_id))
                .collect(),
            None => BTreeSet::new(),
        };
        for topic in response.topics {
            self.take_topic(topic, &mut changes, now);
        }
        self.refresh.answered(changes.is_news(), now);
        Ok(changes)
    }

    /// Returns whether a response describes another cluster than the known one; an error if its sender must not do
    /// that.
    fn is_another_cluster(&self, response: &MetadataResponse, is_from_seed: bool) -> Result<bool, Useless> {
        match (&self.cluster_id, &response.cluster_id) {
            (Some(known), Some(heard)) if known != heard => match self.is_bootstrapping && is_from_seed {
                true => Ok(true),
                false => {
                    let (heard, known) = (printable(heard), printable(known));
                    Err(Useless::Astray(format!("it belongs to cluster {heard}, not to {known}")))
                }
            },
            _ => Ok(false),
        }
    }

    /// Drops the state that belongs to one cluster. Partitions keep their ids.
    fn leave_cluster(&mut self) {
        for topic in self.topics.values_mut() {
            (topic.id, topic.count) = (Uuid::ZERO, 0);
        }
        for place in self.places.values_mut() {
            place.reset(Uuid::ZERO);
            place.leader = None;
        }
    }

    fn take_topic(&mut self, mut heard: MetadataResponseTopic, changes: &mut Changes, now: Instant) {
        let Some((name, topic)) = heard.name.as_deref().and_then(|name| self.topics.get_key_value(name)) else {
            return;
        };
        // Senders must not be shown partitions that are being forgotten.
        if topic.is_retiring {
            return;
        }
        let name = Arc::clone(name);
        // Negative partition indexes are invalid and must not be counted.
        heard.partitions.retain(|partition| partition.partition_index >= 0);
        let count = heard.partitions.len();
        let error = match heard.error_code {
            // A topic without partitions and without an error is being created or deleted.
            ErrorCode::NONE if count == 0 || count > PARTITIONS_MAX => Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            ErrorCode::NONE => None,
            code => Some(code),
        };
        if let Some(topic) = self.topics.get_mut(&name) {
            topic.error = error;
        }
        if let Some(code) = error {
            let is_for_good = !matches!(code.reaction(), Reaction::Retry | Reaction::Refresh);
            if is_for_good {
                // The refusal fails the senders that wait for the topic.
                self.forget(&name);
                changes.refused.push((name, code));
            }
            return;
        }
        self.take_partitions(&name, heard, changes, now);
    }

    fn take_partitions(&mut self, name: &Arc<str>, heard: MetadataResponseTopic, changes: &mut Changes, now: Instant) {
        let Some(topic) = self.topics.get_mut(name) else { return };
        let is_new_id = topic.id != heard.topic_id && heard.topic_id != Uuid::ZERO;
        let is_recreated = is_new_id && topic.id != Uuid::ZERO;
        if is_new_id {
            topic.id = heard.topic_id;
        }
        let mut by_index: HashMap<i32, MetadataResponsePartition> =
            heard.partitions.into_iter().map(|partition| (partition.partition_index, partition)).collect();
        // A slow broker may name too few partitions. Those that it omits keep their state.
        let count = by_index.len().max(if is_recreated { 0 } else { topic.count });
        let mut is_other = is_new_id || count != topic.count;
        topic.count = count;
        if !topic.lacks() {
            self.refresh.found(name);
        }
        for index in (0i32..).take(count) {
            let at = usize::try_from(index).unwrap_or_default();
            let id = match topic.partitions.get(at) {
                Some(id) => *id,
                None => {
                    let Some(next) = self.next_partition else { break };
                    self.next_partition = next.0.checked_add(1).map(PartitionId);
                    let place = Place {
                        topic: Arc::clone(name),
                        topic_id: topic.id,
                        index: PartitionIndex(index),
                        leader: None,
                        named_leader: NodeId::NONE,
                        leader_epoch: -1,
                        hint: None,
                        shown: Leadership::None,
                    };
                    self.places.insert(next, place);
                    topic.partitions.push(next);
                    changes.moved.push(next);
                    next
                }
            };
            let Some(place) = self.places.get_mut(&id) else { continue };
            // This also covers a partition that its re-created topic lacked for a while.
            if place.topic_id != topic.id {
                if place.topic_id != Uuid::ZERO {
                    changes.recreated.push(id);
                }
                place.reset(topic.id);
            }
            let Some(partition) = by_index.remove(&index) else { continue };
            // Metadata with an older epoch than the known one comes from a slow broker.
            let newest_epoch = place.newest_epoch(now);
            if partition.leader_epoch >= 0 && partition.leader_epoch < newest_epoch {
                continue;
            }
            let named_leader = NodeId(partition.leader_id);
            let leader = Some(named_leader).filter(|leader| self.nodes.contains_key(leader));
            if leader.is_some() && (0..partition.leader_epoch).contains(&newest_epoch) {
                changes.elected.push(id);
            }
            place.leader_epoch = place.leader_epoch.max(partition.leader_epoch);
            place.named_leader = named_leader;
            place.hint = None;
            if leader != place.leader {
                place.leader = leader;
                changes.moved.push(id);
            }
        }
        // A hint may have set a leader that senders have not been shown yet.
        let mut partitions = Vec::with_capacity(count);
        for id in topic.partitions.iter().take(count) {
            let Some(place) = self.places.get_mut(id) else { continue };
            let leader = match place.leader {
                None => Leadership::None,
                Some(leader) if self.near.contains(&leader) => Leadership::SameRack,
                Some(_) => Leadership::Anywhere,
            };
            is_other |= std::mem::replace(&mut place.shown, leader) != leader;
            partitions.push((*id, leader));
        }
        if is_other {
            changes.layouts.push(Layout { topic: Arc::clone(name), partitions });
        }
    }

    /// Applies a leader hint (KIP-951) from a response for the topic with this id. Returns whether the hint is new.
    pub(super) fn take_hint(
        &mut self,
        id: PartitionId,
        topic_id: Uuid,
        leader: &LeaderIdAndEpoch,
        endpoints: &[NodeEndpoint],
        now: Instant,
    ) -> bool {
        let Some(place) = self.places.get_mut(&id) else { return false };
        // The topic was re-created meanwhile, and the hint is about the old one.
        let is_foreign = place.topic_id != topic_id && !self.faults.has(Mutant::ForeignHint);
        let is_old = leader.leader_epoch <= place.newest_epoch(now) && !self.faults.has(Mutant::OldHint);
        if is_foreign || is_old || leader.leader_id < 0 {
            return false;
        }
        let endpoint = endpoints.iter().find(|endpoint| endpoint.node_id == leader.leader_id);
        let host = endpoint.and_then(|endpoint| HostPort::of_node(&endpoint.host, endpoint.port));
        if let Entry::Vacant(unknown) = self.nodes.entry(NodeId(leader.leader_id)) {
            let Some(host) = host else { return false };
            unknown.insert(host);
        }
        place.leader = Some(NodeId(leader.leader_id));
        place.hint = Some(Hint { leader_epoch: leader.leader_epoch, until: now + HINT_COUNTS_FOR });
        true
    }

    /// Notes that a node denies leading a partition: a hint that named this node was wrong, or is out of date.
    pub(super) fn deny_leader(&mut self, id: PartitionId, node: NodeId) {
        if let Some(place) = self.places.get_mut(&id)
            && place.leader == Some(node)
        {
            place.hint = None;
        }
    }
}

fn request_for<'a>(names: impl IntoIterator<Item = &'a Arc<str>>) -> MetadataRequest {
    let named = |name: &Arc<str>| MetadataRequestTopic { name: Some(name.to_string()), ..Default::default() };
    MetadataRequest { topics: Some(names.into_iter().map(named).collect()), ..Default::default() }
}

impl Topic {
    /// Returns whether the topic has no partitions yet, or fewer than a sender waits for.
    fn lacks(&self) -> bool {
        self.count == 0 || self.count < self.wanted
    }
}

impl Changes {
    fn is_news(&self) -> bool {
        !self.layouts.is_empty() || !self.moved.is_empty() || !self.refused.is_empty()
    }
}

/// Returns the nodes of a response that have valid ids and addresses.
fn nodes_of(response: &MetadataResponse) -> Result<BTreeMap<NodeId, HostPort>, String> {
    if !response.error_code.is_none() {
        return Err(format!("it refused Metadata: {}", response.error_code));
    }
    let node = |broker: &MetadataResponseBroker| {
        let host = HostPort::of_node(&broker.host, broker.port)?;
        (broker.node_id >= 0).then_some((NodeId(broker.node_id), host))
    };
    let nodes: BTreeMap<NodeId, HostPort> = response.brokers.iter().filter_map(node).collect();
    match nodes.len() {
        0 => Err(match misadvertised(&response.brokers).first_key_value() {
            Some((id, address)) => {
                format!("its response names no node with a valid address: {}", no_address(*id, address))
            }
            None => "its response names no nodes".to_owned(),
        }),
        1..=NODES_MAX => Ok(nodes),
        count => Err(format!("its response names {count} nodes, more than the limit of {NODES_MAX}")),
    }
}

/// Returns the invalid addresses in a response, for the first nodes that have one.
fn misadvertised(brokers: &[MetadataResponseBroker]) -> BTreeMap<NodeId, String> {
    /// More are not worth their memory.
    const NODES_NAMED_MAX: usize = 100;
    let is_wrong = |broker: &&MetadataResponseBroker| HostPort::of_node(&broker.host, broker.port).is_none();
    let address = |broker: &MetadataResponseBroker| {
        (NodeId(broker.node_id), format!("{}:{}", printable(&broker.host), broker.port))
    };
    brokers.iter().filter(is_wrong).take(NODES_NAMED_MAX).map(address).collect()
}

fn no_address(node: NodeId, address: &String) -> String {
    format!("{}, which is not a valid address", advertised(node, address))
}
