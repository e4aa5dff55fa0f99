//! Building of Produce requests: the first batch of each partition in a node's queue.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use kurier_protocol::messages::ProduceRequest;
use kurier_protocol::messages::produce::{PartitionProduceData, TopicProduceData};
use kurier_protocol::record_batch::Stamp;
use kurier_protocol::{NodeId, Uuid};

use super::batch::{Batch, key_of};
use super::failure::{closed, recreated};
use super::{Sender, Stand};
use crate::accumulator::batch::Taken;
use crate::accumulator::{Left, PartitionId};
use crate::config::Acks;
use crate::core::action::LocalAction;
use crate::core::connection::Peer;
use crate::core::context::Context;
use crate::core::key::Key;
use crate::core::metadata::Place;
use crate::core::question::{Question, Sent};
use crate::core::versions::Need;
use crate::error::{Error, ErrorKind};
use crate::fault_injection::Mutant;

impl Sender {
    /// Sends the possible requests to all nodes whose state has changed.
    pub(crate) fn pump(&mut self, cx: &mut Context) {
        while let Some(node) = self.awake.pop_first() {
            self.pump_node(node, cx);
        }
    }

    fn pump_node(&mut self, node: NodeId, cx: &mut Context) {
        let Some(queue) = self.nodes.get_mut(&node) else { return };
        if queue.is_taking {
            return;
        }
        let peer = Peer::Node(node);
        if !cx.connections.knows(peer) {
            for id in queue.drain() {
                self.partition(id).queued = None;
                self.review(id, cx);
            }
            return self.forget_node(node, cx);
        }
        if queue.is_empty() {
            return;
        }
        if !cx.connections.has_room(peer, cx.config.max_in_flight, cx.now) {
            cx.connections.want(peer, cx.now);
            return;
        }
        if let Err(error) = produce_version(peer, true, cx) {
            for id in queue.drain() {
                self.partition(id).queued = None;
                self.fail_unsent(id, &error, cx);
                self.review(id, cx);
            }
            return;
        }
        let first = |id: &PartitionId| self.partitions.get(id).and_then(|partition| partition.waiting.first());
        let batches = queue.waiting.iter().filter_map(first).filter_map(|key| self.batches.get(key));
        let room = batches.fold(cx.config.max_request_size, |room, batch| room.saturating_sub(batch.request_bytes()));
        let mut takable = Vec::new();
        for id in queue.pop_open(room) {
            if self.stand(id, cx) != Stand::Ready(node) {
                self.partition(id).queued = None;
                self.review(id, cx);
            } else if self.partition(id).waiting.is_empty() {
                takable.push(id);
            } else {
                self.nodes.entry(node).or_default().waiting.push_back(id);
            }
        }
        if takable.is_empty() {
            return self.transmit(node, cx);
        }
        self.nodes.entry(node).or_default().is_taking = true;
        for id in &takable {
            let partition = self.partition(*id);
            partition.queued = None;
            partition.is_taking = true;
            partition.open = None;
        }
        cx.push(LocalAction::Take { node, partitions: takable, room });
    }

    /// Accepts batches from the accumulator, and sends them if that is still possible.
    pub(crate) fn handle_taken(
        &mut self,
        node: NodeId,
        batches: Vec<(PartitionId, Taken)>,
        left: Vec<(PartitionId, Option<Left>)>,
        cx: &mut Context,
    ) {
        if let Some(queue) = self.nodes.get_mut(&node) {
            queue.is_taking = false;
            queue.learn(&batches);
        }
        for (id, taken) in batches {
            let key = key_of(&taken);
            self.batches.insert(key, Batch::new(taken));
            self.partition(id).waiting.insert(key);
            if self.is_abandoned {
                self.fail(id, key, closed(), cx);
            }
        }
        for (id, left) in left {
            // A late signal may have caused a take from a partition that was removed meanwhile.
            let Some(partition) = self.partitions.get_mut(&id) else { continue };
            partition.is_taking = false;
            // A signal may have reported a full batch meanwhile.
            let is_full = partition.open.is_some_and(|open| open.is_full);
            let left = left.map(|left| Left { is_full: left.is_full || is_full, ..left });
            partition.open = left.or(partition.open);
            self.review(id, cx);
        }
        if !cx.connections.knows(Peer::Node(node)) {
            // The node left the cluster meanwhile, so its queue must be moved to other nodes.
            self.awake.insert(node);
            return;
        }
        self.transmit(node, cx);
    }

    /// Sends the first waiting batch of each partition in a node's queue, as many as fit into one request.
    fn transmit(&mut self, node: NodeId, cx: &mut Context) {
        let peer = Peer::Node(node);
        let has_room = cx.connections.has_room(peer, cx.config.max_in_flight, cx.now);
        let Some(queue) = self.nodes.get_mut(&node) else { return };
        if !has_room {
            cx.connections.want(peer, cx.now);
            return;
        }
        let waiting = std::mem::take(&mut queue.waiting);
        let mut room = cx.config.max_request_size;
        let (mut chosen, mut others, mut changed) = (Vec::new(), VecDeque::new(), Vec::new());
        for id in waiting {
            let first = self.partition(id).waiting.first().copied();
            let Some(key) = first.filter(|_| self.stand(id, cx) == Stand::Ready(node)) else {
                self.partition(id).queued = None;
                changed.push(id);
                continue;
            };
            let bytes = self.batches.get(&key).map_or(0, Batch::request_bytes);
            if bytes <= room || chosen.is_empty() {
                room = room.saturating_sub(bytes);
                self.partition(id).queued = None;
                chosen.push((id, key));
            } else {
                others.push_back(id);
            }
        }
        self.nodes.entry(node).or_default().waiting = others;
        changed.extend(chosen.iter().map(|(id, _)| *id));
        if !chosen.is_empty() {
            self.send(node, chosen, cx);
        }
        for id in changed {
            self.review(id, cx);
        }
        // Send the rest as soon as the node has room again.
        self.awake.remove(&node);
        if self.nodes.get(&node).is_some_and(|queue| !queue.is_empty())
            && cx.connections.has_room(peer, cx.config.max_in_flight, cx.now)
        {
            self.awake.insert(node);
        }
    }

    /// Sends a request with these batches.
    fn send(&mut self, node: NodeId, chosen: Vec<(PartitionId, Key)>, cx: &mut Context) {
        let peer = Peer::Node(node);
        let placed = |(id, key): (PartitionId, Key)| Some((id, key, cx.metadata.place(id).cloned()?));
        let chosen: Vec<(PartitionId, Key, Place)> = chosen.into_iter().filter_map(placed).collect();
        let has_topic_ids = chosen.iter().all(|(_, _, place)| place.topic_id != Uuid::ZERO);
        // Choose the version before batches take sequence numbers: unused numbers would be a gap in the log.
        let version = match produce_version(peer, has_topic_ids, cx) {
            Ok(version) => version,
            Err(error) => {
                for (id, key, _) in chosen {
                    self.fail(id, key, error.clone(), cx);
                }
                return;
            }
        };
        let mut sent = Vec::with_capacity(chosen.len());
        let mut topics: Vec<TopicProduceData> = Vec::new();
        let mut topic_places = HashMap::new();
        for (id, key, Place { topic, topic_id, index, .. }) in chosen {
            match self.stamp(id, key, topic_id, cx) {
                Ok(records) => {
                    let data = PartitionProduceData { index: index.0, records: Some(records) };
                    // A partition that the re-created topic no longer has keeps the old topic id.
                    let place = *topic_places.entry((Arc::clone(&topic), topic_id)).or_insert(topics.len());
                    match topics.get_mut(place) {
                        Some(topic) => topic.partition_data.push(data),
                        None => {
                            topics.push(TopicProduceData {
                                name: topic.to_string(),
                                topic_id,
                                partition_data: vec![data],
                            });
                        }
                    }
                    sent.push(Sent { partition: id, key, topic, topic_id, index });
                }
                Err(error) => self.fail(id, key, error, cx),
            }
        }
        if sent.is_empty() {
            return;
        }
        let acks = cx.config.acks;
        let request = ProduceRequest {
            transactional_id: None,
            acks: acks.wire(),
            timeout_ms: i32::try_from(cx.config.request_timeout.as_millis()).unwrap_or(i32::MAX),
            topic_data: topics,
        };
        let has_answer = acks != Acks::None;
        let keys: Vec<(PartitionId, Key)> = sent.iter().map(|sent| (sent.partition, sent.key)).collect();
        let question = Question::Produce(sent);
        if let Err(error) = cx.connections.send(peer, &request, version, question, has_answer, cx.now) {
            for (id, key) in keys {
                let error = Error::new(ErrorKind::Bug, "cannot encode a Produce request").caused_by(error.clone());
                self.fail(id, key, error, cx);
            }
            return;
        }
        for (id, key) in keys {
            let partition = self.partition(id);
            partition.waiting.remove(&key);
            partition.in_flight.insert(key);
            partition.sent_to = Some(node);
            partition.retry_at = None;
            if let Some(batch) = self.batches.get_mut(&key) {
                batch.attempts = batch.attempts.saturating_add(1);
                batch.sent_at = Some(cx.now);
            }
        }
        self.handle_accepted(node, cx);
    }

    /// Returns a batch's bytes. The first attempt gives the batch its sequence numbers, which it keeps.
    fn stamp(
        &mut self,
        id: PartitionId,
        key: Key,
        topic_id: Uuid,
        cx: &Context,
    ) -> Result<kurier_protocol::Records, Error> {
        let bug = |what: &str| Error::new(ErrorKind::Bug, what);
        let Some(batch) = self.batches.get_mut(&key) else { return Err(bug("a batch is missing")) };
        if batch.is_of_another_topic(topic_id) {
            return Err(recreated());
        }
        batch.topic_id = topic_id;
        let Some(partition) = self.partitions.get_mut(&id) else { return Err(bug("a partition is missing")) };
        let stamp = match batch.stamp {
            Some(stamp) if !cx.faults.has(Mutant::NewSequenceOnRetry) => stamp,
            _ if cx.ids.is_enabled() => {
                if !partition.line.has_identity()
                    && let Some(identity) = cx.ids.current()
                {
                    partition.line.begin(identity, cx.ids.first_sequence());
                }
                let count = batch.taken.sealed.record_count();
                partition.line.stamp(count, cx.faults).ok_or_else(|| bug("the producer id is missing"))?
            }
            _ => Stamp::NONE,
        };
        batch.stamp = Some(stamp);
        batch.taken.sealed.stamp(&stamp).map_err(|error| bug("cannot encode a batch").caused_by(error))
    }
}

/// Returns the version of Produce for a peer that is ready, or an error that names the missing version.
fn produce_version(peer: Peer, has_topic_ids: bool, cx: &Context) -> Result<i16, Error> {
    let need = Need::produce(cx.config.compression_type, has_topic_ids);
    let Some(versions) = cx.connections.versions(peer) else {
        return Err(Error::new(ErrorKind::Bug, "the node of a Produce request is not ready"));
    };
    versions.needed::<ProduceRequest>(&need).ok_or_else(|| need.error(&cx.connections.name(peer), versions))
}
