//! The cluster as far as it is known: nodes, topics, and who leads each partition (Java's `Metadata`; KIP-320, 516, 951).
//!
//! A topic is in use from the first send to it; [`refresh`](super::refresh) decides when the topics in use are asked for. A
//! partition keeps its number, and its leader, when brokers do not list its topic for a while.
//!
//! A topic that was not used for `metadata.max.idle.ms` is forgotten before the next request, unless a sender waits for it
//! or some of its data is not settled. One that is used again gets new numbers for its partitions.
//!
//! When no node can be reached, or for long none has an answer, the cluster is sought anew (KIP-899, KIP-1102). Only then,
//! and only by a bootstrap server, may another cluster be found: from anybody else it is a connection that went astray.

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
use kurier_protocol::{Chunks, EncodeError, ErrorCode, Reaction, Uuid, write_request};

use super::advertised;
use super::refresh::{QuestionId, Refresh};
use crate::accumulator::{Layout, Leadership, PartitionId};
use crate::config::{Config, HostPort, Recovery};
use crate::error::printable;
use crate::simulation::Mutant;

/// More partitions than any topic has.
const PARTITIONS_MAX: usize = 200_000;

/// More nodes than any cluster has. Each takes more memory here than in an answer.
const NODES_MAX: usize = 10_000;

/// How long a leader hint counts for more than metadata with an older leader epoch. Brokers that lag behind have heard of
/// the election by then; a hint that is wrong must not keep the partition from its leader.
const HINT_COUNTS_FOR: Duration = Duration::from_secs(10);

/// The cluster as far as it is known.
#[derive(Debug)]
pub(crate) struct Metadata {
    /// How long a topic is kept after it was last used.
    max_idle: Duration,
    nodes: BTreeMap<i32, HostPort>,
    /// Nodes that advertise what is no address, with that.
    misadvertised: BTreeMap<i32, String>,
    /// `client.rack`, if `partitioner.rack.aware` is true (KIP-1123).
    rack: Option<String>,
    /// Nodes in that rack.
    near: BTreeSet<i32>,
    topics: BTreeMap<Arc<str>, Topic>,
    /// When each topic may be unused for `max_idle`; one entry a topic.
    idle_checks: BTreeSet<(Instant, Arc<str>)>,
    places: BTreeMap<PartitionId, Place>,
    /// The number of the next partition. Numbers are never used twice.
    next_partition: Option<PartitionId>,
    refresh: Refresh,
    is_known: bool,
    /// What the cluster calls itself (KIP-78).
    cluster_id: Option<String>,
    recovery: Recovery,
    /// How long it may be asked in vain.
    trigger: Duration,
    /// Whether the bootstrap servers may be asked who the cluster is.
    is_bootstrapping: bool,
    /// Since when it has been asked in vain.
    in_vain_since: Option<Instant>,
}

/// A topic that somebody sends to.
#[derive(Debug)]
struct Topic {
    id: Uuid,
    /// Each partition that it ever had by its index; empty until it is seen. One that was made anew with fewer keeps the
    /// numbers of the others for when they come back, so that there are never more than it had at most.
    partitions: Vec<PartitionId>,
    /// How many of them it has.
    count: usize,
    /// How many somebody waits for.
    wanted: usize,
    used_at: Instant,
    /// Its entry in `idle_checks`.
    idle_check: Instant,
    /// Whether a sender waits for it.
    is_awaited: bool,
    /// Whether it is being forgotten, and so not asked for.
    is_retiring: bool,
    /// What a broker said last, if it was not success.
    error: Option<ErrorCode>,
}

/// A partition, and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) topic: Arc<str>,
    pub(crate) topic_id: Uuid,
    pub(crate) index: i32,
    /// The node that leads it, if one does and is known.
    pub(crate) leader: Option<i32>,
    /// The node that metadata names as its leader, known or not.
    named_leader: i32,
    /// As metadata says.
    leader_epoch: i32,
    /// The hint that named the leader, if none of the metadata since has.
    hint: Option<Hint>,
    /// What the accumulator was told about its leader.
    shown: Leadership,
}

/// A leader epoch that a Produce answer told (KIP-951).
#[derive(Clone, Copy, Debug)]
struct Hint {
    leader_epoch: i32,
    until: Instant,
}

impl Place {
    /// The newest leader epoch that counts now.
    fn newest_epoch(&self, now: Instant) -> i32 {
        let hint = self.hint.filter(|hint| now < hint.until);
        self.leader_epoch.max(hint.map_or(-1, |hint| hint.leader_epoch))
    }

    /// Forgets what is true of one topic of the name alone.
    fn reset(&mut self, topic_id: Uuid) {
        (self.topic_id, self.leader_epoch, self.hint) = (topic_id, -1, None);
    }
}

/// A topic that was not used for long.
#[derive(Debug)]
pub(crate) struct Idle {
    pub(crate) topic: Arc<str>,
    /// Each partition that it ever had.
    pub(crate) partitions: Vec<PartitionId>,
    pub(crate) used_at: Instant,
}

/// What an answer changed.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Whether all of this is of another cluster than what was known until now.
    pub(crate) is_another_cluster: bool,
    /// Topics as they now are.
    pub(crate) layouts: Vec<Layout>,
    /// Partitions that are new, or have another leader.
    pub(crate) moved: Vec<PartitionId>,
    /// Those of which the leader is newer than was known, by its epoch.
    pub(crate) elected: Vec<PartitionId>,
    /// Partitions of topics that were deleted and made anew.
    pub(crate) recreated: Vec<PartitionId>,
    /// Topics of which nothing can be had, and why.
    pub(crate) refused: Vec<(Arc<str>, ErrorCode)>,
}

/// An answer of which nothing can be learnt, with the reason.
#[derive(Debug)]
pub(crate) enum Useless {
    Refusal(String),
    /// It comes from another cluster.
    Astray(String),
}

impl Metadata {
    pub(crate) fn new(config: &Config, seed: u64, now: Instant) -> Self {
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
        }
    }

    /// What the cluster calls itself, if it said so.
    pub(crate) fn cluster_id(&self) -> Option<&str> {
        self.cluster_id.as_deref()
    }

    pub(crate) fn nodes(&self) -> &BTreeMap<i32, HostPort> {
        &self.nodes
    }

    pub(crate) fn place(&self, id: PartitionId) -> Option<&Place> {
        self.places.get(&id)
    }

    /// Says which address keeps a partition's leader from being connected to, if it advertises what is no address.
    pub(crate) fn misadvertised_leader(&self, place: &Place) -> Option<String> {
        let address = self.misadvertised.get(&place.named_leader)?;
        Some(no_address(place.named_leader, address))
    }

    /// All partitions that are known, in their order.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = PartitionId> {
        self.places.keys().copied()
    }

    /// Whether anything was ever learnt.
    pub(crate) fn is_known(&self) -> bool {
        self.is_known
    }

    /// What a broker said last of a topic, if it was not success.
    pub(crate) fn topic_error(&self, name: &str) -> Option<ErrorCode> {
        self.topics.get(name)?.error
    }

    /// A sender waits for a topic, and for its partitions up to so many.
    pub(crate) fn want(&mut self, name: &Arc<str>, partitions: usize, now: Instant) {
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
        // What was asked in vain waits its backoff, however many send to it.
        if topic.lacks() && !self.refresh.is_unseen(name) {
            self.refresh.add(name);
        }
    }

    /// A sender has appended to a partition.
    pub(crate) fn use_partition(&mut self, id: PartitionId, now: Instant) {
        let Some(place) = self.places.get(&id) else { return };
        let Some(topic) = self.topics.get_mut(&place.topic) else { return };
        (topic.used_at, topic.is_retiring) = (now, false);
    }

    /// Takes a topic that was not used for `metadata.max.idle.ms` and that no sender waits for. Until it is used again or
    /// [retired](Self::retire), it is not asked for; it is offered here again after as long.
    pub(crate) fn next_idle(&mut self, now: Instant) -> Option<Idle> {
        while self.idle_checks.first().is_some_and(|(at, _)| *at <= now) {
            let (_, name) = self.idle_checks.pop_first()?;
            let Some(topic) = self.topics.get_mut(&name) else { continue };
            let idle_at = topic.used_at + self.max_idle;
            topic.is_retiring = idle_at <= now && !topic.is_awaited;
            topic.idle_check = if idle_at > now { idle_at } else { now + self.max_idle };
            self.idle_checks.insert((topic.idle_check, Arc::clone(&name)));
            if topic.is_retiring {
                return Some(Idle { topic: name, partitions: topic.partitions.clone(), used_at: topic.used_at });
            }
        }
        None
    }

    /// An idle topic keeps its place: some of its data is not settled.
    pub(crate) fn keep(&mut self, name: &str) {
        if let Some(topic) = self.topics.get_mut(name) {
            topic.is_retiring = false;
        }
    }

    /// Forgets a topic, and gives the partitions that it had.
    pub(crate) fn retire(&mut self, name: &str) -> Vec<PartitionId> {
        let Some((name, topic)) = self.topics.remove_entry(name) else { return Vec::new() };
        self.refresh.remove(&name);
        self.idle_checks.remove(&(topic.idle_check, name));
        for id in &topic.partitions {
            self.places.remove(id);
        }
        topic.partitions
    }

    /// No sender waits for a topic any more; if it was never seen, it is not asked for again.
    pub(crate) fn forget(&mut self, name: &str) {
        let Some(topic) = self.topics.get_mut(name) else { return };
        (topic.wanted, topic.is_awaited) = (0, false);
        self.refresh.remove(name);
        if topic.partitions.is_empty() {
            self.retire(name);
        }
    }

    /// Whether the bootstrap servers may be asked.
    pub(crate) fn is_bootstrapping(&self) -> bool {
        self.is_bootstrapping
    }

    /// Whether they may be asked again once the cluster is known.
    pub(crate) fn recovers(&self) -> bool {
        self.recovery == Recovery::Rebootstrap
    }

    /// The cluster is sought anew, with the bootstrap servers.
    pub(crate) fn rebootstrap(&mut self, now: Instant) {
        self.is_bootstrapping = true;
        self.in_vain_since = Some(now);
        self.refresh.request();
    }

    /// When to give the known nodes up and ask the bootstrap servers, because no node has described the cluster for
    /// `metadata.recovery.rebootstrap.trigger.ms`. As in Java, that time must be over by a millisecond. While the bootstrap
    /// servers are being asked there is nothing to give up, and ending their connections would only lose time.
    pub(crate) fn gives_up_at(&self) -> Option<Instant> {
        let may_give_up = self.recovers() && !self.is_bootstrapping;
        let since = self.in_vain_since.filter(|_| may_give_up)?;
        Some(since + self.trigger + Duration::from_millis(1))
    }

    /// It is tried to ask.
    pub(crate) fn try_to_ask(&mut self, now: Instant) {
        self.in_vain_since.get_or_insert(now);
    }

    /// The metadata turned out to be wrong.
    pub(crate) fn doubt(&mut self) {
        self.refresh.request();
    }

    /// What is yet to be heard of the cluster, for people.
    #[cfg(any(test, feature = "internal"))]
    pub(crate) fn leftovers(&self) -> Vec<String> {
        self.refresh.leftovers()
    }

    /// Whether to ask now.
    pub(crate) fn asks(&self, now: Instant) -> bool {
        self.refresh.asks(now)
    }

    /// When to ask next, if nothing happens before.
    pub(crate) fn next_ask(&self, now: Instant) -> Option<Instant> {
        self.refresh.next(now)
    }

    /// The next request.
    pub(crate) fn request(&mut self, now: Instant) -> MetadataRequest {
        let topics = &self.topics;
        let in_use_after = |start| {
            let later = topics.range((start, Bound::Unbounded));
            later.filter(|(_, topic)| !topic.is_retiring).map(|(name, _)| name)
        };
        request_for(self.refresh.next_part(now, in_use_after))
    }

    /// The number of the next question.
    pub(crate) fn next_question(&self) -> QuestionId {
        self.refresh.next_question()
    }

    /// The question has gone out.
    pub(crate) fn asked(&mut self, question: QuestionId, now: Instant) {
        self.refresh.asked(question, now);
    }

    /// Forgets the topics of the last request that no request can name, and returns them with the reasons.
    pub(crate) fn take_unsendable(&mut self, version: i16) -> Vec<(Arc<str>, EncodeError)> {
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

    /// No request could be written: the next try waits its backoff.
    pub(crate) fn put_off(&mut self, now: Instant) {
        self.refresh.put_off(now);
    }

    /// No answer came.
    pub(crate) fn handle_failure(&mut self, question: QuestionId, now: Instant) {
        self.refresh.fail(question, now);
    }

    /// Takes an answer in. It is a failure if it names no nodes, or comes from another cluster than it can.
    pub(crate) fn handle_response(
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
                .map(|node| node.node_id)
                .collect(),
            None => BTreeSet::new(),
        };
        for topic in response.topics {
            self.take_topic(topic, &mut changes, now);
        }
        self.refresh.answered(changes.is_news(), now);
        Ok(changes)
    }

    /// Whether an answer comes from another cluster than the one that is known; an error if that cannot be.
    fn is_another_cluster(&self, response: &MetadataResponse, is_from_seed: bool) -> Result<bool, Useless> {
        match (&self.cluster_id, &response.cluster_id) {
            (Some(known), Some(heard)) if known != heard => match self.is_bootstrapping && is_from_seed {
                true => Ok(true),
                false => {
                    let (heard, known) = (printable(heard), printable(known));
                    Err(Useless::Astray(format!("it belongs to cluster {heard}, and not to {known}")))
                }
            },
            _ => Ok(false),
        }
    }

    /// Forgets all that is true of one cluster alone. Partitions keep their numbers.
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
        let Some((name, _)) = heard.name.as_deref().and_then(|name| self.topics.get_key_value(name)) else {
            return;
        };
        let name = Arc::clone(name);
        // Numbers below 0 name no partitions, and must not count as some.
        heard.partitions.retain(|partition| partition.partition_index >= 0);
        let count = heard.partitions.len();
        let error = match heard.error_code {
            // No partitions, and no error: it is being made or unmade.
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
                // Whoever waits for it is told, and waits no longer.
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
        // A broker that lags behind may name fewer than there are; those that it does not name keep what they had.
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
                        index,
                        leader: None,
                        named_leader: -1,
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
            // Also one that has come back after its topic was made anew without it.
            if place.topic_id != topic.id {
                if place.topic_id != Uuid::ZERO {
                    changes.recreated.push(id);
                }
                place.reset(topic.id);
            }
            let Some(partition) = by_index.remove(&index) else { continue };
            // An epoch that is older than what is known comes from a broker that lags behind.
            let newest_epoch = place.newest_epoch(now);
            if partition.leader_epoch >= 0 && partition.leader_epoch < newest_epoch {
                continue;
            }
            let leader = Some(partition.leader_id).filter(|leader| self.nodes.contains_key(leader));
            if leader.is_some() && (0..partition.leader_epoch).contains(&newest_epoch) {
                changes.elected.push(id);
            }
            place.leader_epoch = place.leader_epoch.max(partition.leader_epoch);
            place.named_leader = partition.leader_id;
            place.hint = None;
            if leader != place.leader {
                place.leader = leader;
                changes.moved.push(id);
            }
        }
        // A hint may have told who leads it, of which senders were not told.
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

    /// Takes a leader hint (KIP-951), which the answer to a batch for the topic of this id gives. Says whether it is news.
    pub(crate) fn take_hint(
        &mut self,
        id: PartitionId,
        topic_id: Uuid,
        leader: &LeaderIdAndEpoch,
        endpoints: &[NodeEndpoint],
        now: Instant,
    ) -> bool {
        let Some(place) = self.places.get_mut(&id) else { return false };
        // The topic was deleted and created again since: the hint says nothing of the new one.
        let is_foreign = place.topic_id != topic_id && !Mutant::ForeignHint.is_on();
        let is_old = leader.leader_epoch <= place.newest_epoch(now) && !Mutant::OldHint.is_on();
        if is_foreign || is_old || leader.leader_id < 0 {
            return false;
        }
        let endpoint = endpoints.iter().find(|endpoint| endpoint.node_id == leader.leader_id);
        let host = endpoint.and_then(|endpoint| HostPort::of_node(&endpoint.host, endpoint.port));
        if let Entry::Vacant(unknown) = self.nodes.entry(leader.leader_id) {
            let Some(host) = host else { return false };
            unknown.insert(host);
        }
        place.leader = Some(leader.leader_id);
        place.hint = Some(Hint { leader_epoch: leader.leader_epoch, until: now + HINT_COUNTS_FOR });
        true
    }

    /// A node says that it does not lead a partition: a hint that named it was wrong, or is out of date.
    pub(crate) fn deny_leader(&mut self, id: PartitionId, node: i32) {
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
    /// Whether less is known of it than somebody waits for.
    fn lacks(&self) -> bool {
        self.count == 0 || self.count < self.wanted
    }
}

impl Changes {
    fn is_news(&self) -> bool {
        !self.layouts.is_empty() || !self.moved.is_empty() || !self.refused.is_empty()
    }
}

/// The nodes of an answer, those that can be.
fn nodes_of(response: &MetadataResponse) -> Result<BTreeMap<i32, HostPort>, String> {
    if !response.error_code.is_none() {
        return Err(format!("it refused to describe the cluster: {}", response.error_code));
    }
    let node = |broker: &MetadataResponseBroker| {
        let host = HostPort::of_node(&broker.host, broker.port)?;
        (broker.node_id >= 0).then_some((broker.node_id, host))
    };
    let nodes: BTreeMap<i32, HostPort> = response.brokers.iter().filter_map(node).collect();
    match nodes.len() {
        0 => Err(match misadvertised(&response.brokers).first_key_value() {
            Some((id, address)) => {
                format!("it names no node that can be connected to: {}", no_address(*id, address))
            }
            None => "it names no nodes of the cluster".to_owned(),
        }),
        1..=NODES_MAX => Ok(nodes),
        count => Err(format!("it names {count} nodes, and no cluster has more than {NODES_MAX}")),
    }
}

/// The first nodes of an answer that advertise what is no address, with that.
fn misadvertised(brokers: &[MetadataResponseBroker]) -> BTreeMap<i32, String> {
    /// More are not worth their memory.
    const NODES_NAMED_MAX: usize = 100;
    let is_wrong = |broker: &&MetadataResponseBroker| HostPort::of_node(&broker.host, broker.port).is_none();
    let address =
        |broker: &MetadataResponseBroker| (broker.node_id, format!("{}:{}", printable(&broker.host), broker.port));
    brokers.iter().filter(is_wrong).take(NODES_NAMED_MAX).map(address).collect()
}

fn no_address(node: i32, address: &String) -> String {
    format!("{}, which is no address of a broker", advertised(node, address))
}
