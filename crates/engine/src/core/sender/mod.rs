//! The sender, which decides when each partition's batches are sent and to what node.
//!
//! [`queue`] holds the partitions that have a batch for a node, [`request`] builds Produce requests, [`answer`] handles
//! their responses, [`outcome`] completes batches, [`obstacle`] explains delays, and [`stall`] detects nodes that
//! accept nothing.
//!
//! ```text
//!                 take                      transmit                  written
//!   accumulator ────────▶ waiting (by key) ──────────▶ in flight ────────────────▶ complete
//!    open                    ▲      │                   │  │  │                        ▲
//!                            │      └─ expired ─────────┼──┼──┼── expired, refused ────┤
//!                            └── retry, pieces ─────────┘  │  └── answered: too large ─┘
//!                                                          └── the connection ended
//! ```
//!
//! The sender *reviews* a partition whenever its state changes. A partition that can send a batch stands once in its
//! leader's queue. No step scans all partitions.
//!
//! Four rules keep records in order and free of duplicates. A batch's bytes are frozen at its first transmission.
//! Retries go out alone, the oldest first. A new leader gets no batch while the old one has not answered. A batch that
//! may have been written is never sent under another epoch, never split, and never reported as not written
//! ([`idempotence`](super::idempotence)).

mod answer;
mod batch;
mod failure;
mod obstacle;
mod outcome;
mod queue;
mod request;
mod stall;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use kurier_protocol::{NodeId, Uuid};

use super::connection::Peer;
use super::context::Context;
use super::idempotence::Line;
use super::key::Key;
use super::timer::Timers;
use crate::accumulator::batch::Taken;
use crate::accumulator::{Left, PartitionId};
use crate::delivery::Outcome;
use crate::error::{Error, ErrorKind, Written};
use crate::fault_injection::Mutant;
use batch::Batch;
use failure::{another_cluster, closed, recreated};
use queue::Queue;

/// All batches that are queued, waiting or in flight.
#[derive(Debug, Default)]
pub(super) struct Sender {
    partitions: BTreeMap<PartitionId, Partition>,
    batches: BTreeMap<Key, Batch>,
    nodes: HashMap<NodeId, Queue>,
    /// Nodes whose queues must be checked.
    awake: BTreeSet<NodeId>,
    timers: Timers<PartitionId>,
    /// When to check whether a node has stalled.
    stall_timers: Timers<NodeId>,
    /// How often a partition was reviewed.
    #[cfg(test)]
    pub reviews: usize,
    /// Partitions that have a batch to send and no leader.
    leaderless: BTreeSet<PartitionId>,
    /// Partitions that have a batch to send and wait for a producer id.
    awaiting_producer_id: BTreeSet<PartitionId>,
    /// Batches opened by then do not linger.
    hurry: Option<Instant>,
    /// Partitions whose first open batch lingers. Only these can be hurried.
    lingering: BTreeSet<PartitionId>,
    is_abandoned: bool,
}

#[derive(Debug, Default)]
struct Partition {
    /// The partition's first open batch.
    open: Option<Left>,
    /// When old open batches were last closed to further records.
    closed_at: Option<Instant>,
    /// Whether batches of the partition are being taken.
    is_taking: bool,
    /// The node whose queue holds the partition.
    queued: Option<NodeId>,
    /// Batches to send or to retry.
    waiting: BTreeSet<Key>,
    /// Batches without a response. One that is missing in `Sender::batches` has expired in flight.
    in_flight: BTreeSet<Key>,
    /// The node that has the batches in flight.
    sent_to: Option<NodeId>,
    /// Batches that are being split. They are neither waiting nor in flight; their pieces come back.
    splitting: BTreeSet<Key>,
    retry_at: Option<Instant>,
    /// Outcomes that are known but not reported, because an older batch has none yet.
    untold: BTreeMap<Key, (Taken, Outcome)>,
    line: Line,
    /// Whether a failed batch may still arrive at a broker under the current epoch.
    is_unsettled: bool,
    /// Whether senders were told that the leader has stalled.
    is_shown_stalled: bool,
}

impl Partition {
    /// Returns whether the partition has a batch in any state.
    fn has_batches(&self) -> bool {
        let Self { open, is_taking, waiting, in_flight, splitting, untold, .. } = self;
        let is_empty = splitting.is_empty() && waiting.is_empty() && in_flight.is_empty() && untold.is_empty();
        open.is_some() || *is_taking || !is_empty
    }

    /// Frees the tables of a partition without batches: an empty B-tree keeps a node, and the node of `untold` is
    /// large.
    fn release(&mut self) {
        if !self.has_batches() {
            (self.waiting, self.in_flight, self.splitting) = Default::default();
            self.untold = BTreeMap::new();
        }
    }

    /// Returns whether a failed batch may still arrive at a broker.
    fn may_arrive(&self) -> bool {
        self.is_unsettled || self.line.is_unfenced() || self.line.not_before().is_some()
    }
}

/// A partition's readiness to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// It has nothing to send, or another event will cause its next review.
    Nothing,
    /// It can send at that time.
    Due(Instant),
    Leaderless,
    /// It waits for a producer id.
    WithoutProducerId,
    /// It can send to this node.
    Ready(NodeId),
    /// It waits until this node has answered earlier requests.
    Unanswered(NodeId),
}

impl Sender {
    fn partition(&mut self, id: PartitionId) -> &mut Partition {
        self.partitions.entry(id).or_default()
    }

    /// Returns whether any partition has state.
    #[cfg(test)]
    pub(crate) fn has_partitions(&self) -> bool {
        !self.partitions.is_empty()
    }

    /// Returns whether a partition's state can be dropped: it has no batch, and no failed batch can still arrive at a
    /// broker. At `settled_at`, earlier batches count as arrived or lost.
    pub(super) fn can_forget(&self, id: PartitionId, settled_at: Instant, now: Instant) -> bool {
        self.partitions.get(&id).is_none_or(|it| !it.has_batches() && (!it.may_arrive() || settled_at <= now))
    }

    /// Forgets a partition without batches. If it comes back, it counts as a new partition at a later epoch.
    pub(super) fn forget(&mut self, id: PartitionId, cx: &mut Context) {
        self.timers.set(id, None);
        self.leaderless.remove(&id);
        self.awaiting_producer_id.remove(&id);
        self.lingering.remove(&id);
        let Some(partition) = self.partitions.remove(&id) else { return };
        if let Some(queue) = partition.queued.and_then(|node| self.nodes.get_mut(&node)) {
            queue.remove(id);
        }
        if let Some(identity) = partition.line.identity()
            && !cx.faults.has(Mutant::EpochFloorIgnored)
        {
            cx.ids.forget(identity);
        }
    }

    /// Returns the partitions that have state, in order.
    fn ids(&self) -> Vec<PartitionId> {
        self.partitions.keys().copied().collect()
    }

    /// Notes that a partition has an open batch.
    pub(super) fn handle_opened(&mut self, id: PartitionId, left: Left, cx: &mut Context) {
        let partition = self.partition(id);
        // The signal that the batch is full may arrive before the signal that it was opened.
        let is_full = left.is_full || partition.open.is_some_and(|open| open.is_full);
        partition.open = Some(Left { is_full, ..left });
        self.review(id, cx);
    }

    /// Notes that a partition's first batch is full.
    pub(super) fn handle_full(&mut self, id: PartitionId, cx: &mut Context) {
        let partition = self.partition(id);
        match &mut partition.open {
            Some(open) => open.is_full = true,
            // The batch is being taken, or the signal that it was opened is still to come.
            open @ None => *open = Some(Left { since: cx.now, is_full: true }),
        }
        self.review(id, cx);
    }

    /// Sends open batches without lingering. Senders that wait for memory may call this often, so it reviews only
    /// partitions that linger.
    pub(super) fn hurry(&mut self, cx: &mut Context) {
        self.hurry = Some(cx.now);
        for id in std::mem::take(&mut self.lingering) {
            self.review(id, cx);
        }
    }

    /// Returns how many partitions linger.
    #[cfg(test)]
    pub(crate) fn lingering_count(&self) -> usize {
        self.lingering.len()
    }

    /// Returns the nodes that have a queue or a timer.
    #[cfg(test)]
    pub(crate) fn known_nodes(&self) -> BTreeSet<NodeId> {
        self.nodes.keys().chain(self.stall_timers.things()).copied().collect()
    }

    /// Removes and returns all batches, each with whether it may be written.
    pub(super) fn dismantle(&mut self) -> Vec<(Taken, Written)> {
        let certainty = |attempts: u32| if attempts == 0 { Written::No } else { Written::Unknown };
        let batches = std::mem::take(&mut self.batches).into_values();
        batches.map(|batch| (batch.taken, certainty(batch.attempts))).collect()
    }

    /// Notes that a peer's state has changed, so that its queue is checked.
    pub(super) fn wake(&mut self, peer: Peer) {
        if let Peer::Node(node) = peer {
            self.awake.insert(node);
        }
    }

    /// Retries at once on partitions that have elected a leader since their last attempt.
    pub(super) fn handle_elected(&mut self, elected: &[PartitionId], cx: &mut Context) {
        for id in elected {
            self.partition(*id).retry_at = None;
            self.review(*id, cx);
        }
    }

    /// Reviews partitions that have a new leader or had none.
    pub(super) fn handle_moved(&mut self, moved: &[PartitionId], cx: &mut Context) {
        let leaderless = std::mem::take(&mut self.leaderless);
        for id in leaderless.into_iter().chain(moved.iter().copied()) {
            self.review(id, cx);
        }
    }

    /// Handles the re-creation of a partition's topic. Earlier attempts went to the old topic, so their batches fail
    /// instead of being retried.
    pub(super) fn handle_recreated(&mut self, id: PartitionId, cx: &mut Context) {
        let partition = self.partition(id);
        partition.line.break_off(Key::FIRST);
        partition.line.close_gate();
        self.review(id, cx);
    }

    /// Starts over with another cluster, which does not know this producer. A batch that may be written in the old
    /// cluster fails as unknown. A batch that is surely not written goes to the new cluster under a new id and
    /// sequence, even after earlier attempts or a split. All connections to the old cluster have ended, so no batch is
    /// in flight.
    pub(super) fn handle_another_cluster(&mut self, cx: &mut Context) {
        cx.ids.discard();
        for id in self.ids() {
            let Partition { waiting, splitting, .. } = self.partition(id);
            let unfinished: Vec<Key> = waiting.iter().chain(splitting.iter()).copied().collect();
            for key in unfinished {
                match self.batches.get_mut(&key) {
                    Some(batch) if batch.is_maybe_written => {
                        let error = self.with_trouble(key, another_cluster());
                        self.fail(id, key, error, cx);
                    }
                    Some(batch) => batch.forget_cluster(cx.faults),
                    None => {}
                }
            }
            let partition = self.partition(id);
            (partition.line, partition.is_unsettled, partition.retry_at) = (Line::default(), false, None);
            self.review(id, cx);
        }
    }

    /// Returns whether a partition waits for a producer id.
    pub(super) fn awaits_producer_id(&self) -> bool {
        !self.awaiting_producer_id.is_empty()
    }

    /// Reviews the partitions that waited for a producer id.
    pub(super) fn handle_producer_id(&mut self, cx: &mut Context) {
        for id in std::mem::take(&mut self.awaiting_producer_id) {
            self.review(id, cx);
        }
    }

    /// Fails all batches that wait for a producer id.
    pub(super) fn fail_without_producer_id(&mut self, error: &Error, cx: &mut Context) {
        for id in std::mem::take(&mut self.awaiting_producer_id) {
            self.fail_unsent(id, error, cx);
            self.review(id, cx);
        }
    }

    /// Performs the work that is due.
    pub(super) fn handle_timeout(&mut self, cx: &mut Context) {
        while let Some(id) = self.timers.pop(cx.now) {
            self.expire(id, cx);
            self.review(id, cx);
        }
        self.handle_stall_timeout(cx);
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.timers.next().into_iter().chain(self.stall_timers.next()).min()
    }

    /// Describes unfinished work; empty when there is none.
    #[cfg(any(test, feature = "internal"))]
    pub(super) fn leftovers(&self) -> Vec<String> {
        let mut left: Vec<String> = self.batches.keys().map(|key| format!("{key:?}")).collect();
        let busy = self.partitions.values().filter(|partition| partition.has_batches());
        left.extend(busy.map(|left| format!("{left:?}")));
        left.extend(self.timers.next().map(|at| format!("a timer for {at:?}")));
        left
    }

    /// Restores a broken sequence once no batch is in flight and every batch before the gap has its outcome.
    fn mend(&mut self, id: PartitionId, cx: &mut Context) {
        let partition = self.partition(id);
        let Partition { line, waiting, in_flight, splitting, .. } = partition;
        let is_ready = in_flight.is_empty() && splitting.is_empty();
        if !line.is_broken() || !is_ready || waiting.first().is_some_and(|first| line.is_whole_before(Some(first))) {
            return;
        }
        let keys: Vec<Key> = partition.waiting.iter().copied().collect();
        let topic_id = cx.metadata.place(id).map_or(Uuid::ZERO, |place| place.topic_id);
        for key in keys {
            let Some(batch) = self.batches.get_mut(&key) else { continue };
            if batch.stamp.is_some() && batch.is_maybe_written && !cx.faults.has(Mutant::RestampUnsettled) {
                let error = if batch.is_of_another_topic(topic_id) {
                    recreated()
                } else {
                    let text = "the sequence is broken: an earlier batch is missing, or the broker has forgotten this \
                                producer id";
                    Error::new(ErrorKind::Refused, text)
                };
                let error = self.with_trouble(key, error);
                self.fail(id, key, error, cx);
            } else {
                batch.stamp = None;
            }
        }
        let delivery_timeout = cx.config.delivery_timeout;
        let partition = self.partition(id);
        let is_unsettled = std::mem::take(&mut partition.is_unsettled);
        partition.line.mend(is_unsettled, delivery_timeout, cx.now);
        if !partition.line.has_identity() {
            cx.ids.discard();
        }
    }

    /// Updates a partition's queue entry and timer after its state has changed.
    fn review(&mut self, id: PartitionId, cx: &mut Context) {
        #[cfg(test)]
        {
            self.reviews += 1;
        }
        if self.is_abandoned
            && let Some(open) = self.partition(id).open
        {
            return self.drain(id, cx.now.max(open.since), &closed(), cx);
        }
        let hurry = self.hurry;
        match self.partition(id).open.is_some_and(|open| !open.is_full && hurry < Some(open.since)) {
            true => self.lingering.insert(id),
            false => self.lingering.remove(&id),
        };
        self.mend(id, cx);
        let stand = self.stand(id, cx);
        if stand != Stand::WithoutProducerId {
            self.awaiting_producer_id.remove(&id);
        }
        match stand {
            Stand::Ready(node) => {
                let before = self.partition(id).queued.replace(node);
                // The previous leader may be gone for good, and then its queue is never checked again.
                if let Some(queue) = before.filter(|before| *before != node).and_then(|node| self.nodes.get_mut(&node))
                {
                    queue.remove(id);
                }
                if before != Some(node) {
                    let has_waiting = !self.partition(id).waiting.is_empty();
                    let queue = self.nodes.entry(node).or_default();
                    if has_waiting { queue.waiting.push_back(id) } else { queue.open.push_back(id) }
                }
                self.awake.insert(node);
                self.watch(node, cx);
            }
            Stand::Unanswered(node) => self.watch(node, cx),
            Stand::Leaderless => {
                if cx.faults.has(Mutant::ResetWhenLeaderless) {
                    self.partition(id).line.reset();
                }
                self.leaderless.insert(id);
                cx.metadata.doubt();
            }
            Stand::WithoutProducerId => {
                self.awaiting_producer_id.insert(id);
            }
            Stand::Nothing | Stand::Due(_) => {}
        }
        self.show_stall(id, cx);
        let due = if let Stand::Due(at) = stand { Some(at) } else { None };
        let at = self.next_expiry(id, cx).into_iter().chain(due).min();
        self.timers.set(id, at);
    }

    /// Returns when the next of a partition's batches expires or must be closed to further records.
    fn next_expiry(&self, id: PartitionId, cx: &Context) -> Option<Instant> {
        let partition = self.partitions.get(&id)?;
        let created = |key: &Key| self.batches.get(key).map(|batch| batch.taken.created);
        let waiting = partition.waiting.first().and_then(created);
        let in_flight = partition.in_flight.iter().find_map(created);
        let open = partition.open.filter(|_| !partition.is_taking);
        let oldest = [waiting, in_flight, open.map(|open| open.since)].into_iter().flatten().min();
        let expires = oldest.map(|oldest| oldest + cx.config.delivery_timeout);
        let grows =
            open.map(|open| open.since.max(partition.closed_at.unwrap_or(open.since)) + cx.config.growing_time());
        expires.into_iter().chain(grows).min()
    }

    fn stand(&self, id: PartitionId, cx: &Context) -> Stand {
        let Some(partition) = self.partitions.get(&id) else { return Stand::Nothing };
        let Partition { is_taking, waiting, in_flight, sent_to, splitting, line, .. } = partition;
        let first = waiting.first();
        if *is_taking || !splitting.is_empty() || !line.is_whole_before(first) || self.is_abandoned {
            return Stand::Nothing;
        }
        let Some(due) = self.due(partition, cx.now, cx) else { return Stand::Nothing };
        let unanswered = sent_to.map_or(Stand::Nothing, Stand::Unanswered);
        let is_idempotent = cx.ids.is_enabled();
        let window = match is_idempotent && !cx.faults.has(Mutant::NoGate) {
            true => line.window(cx.config.max_in_flight, cx.now),
            false => cx.config.max_in_flight,
        };
        // After a batch expired in flight, later batches wait until its response shows whether its sequence numbers are
        // used.
        if is_idempotent && in_flight.iter().any(|key| !self.batches.contains_key(key)) {
            return unanswered;
        }
        // A retry goes out alone, so that no later batch can overtake it.
        let was_sent = first.and_then(|key| self.batches.get(key)).is_some_and(|batch| batch.own_attempts() > 0);
        if in_flight.len() >= if was_sent { 1 } else { window } {
            return unanswered;
        }
        if due > cx.now {
            return Stand::Due(due);
        }
        // If the leader is no longer among the cluster's nodes, the partition counts as leaderless: the node's address is
        // not known.
        let leader = cx.metadata.place(id).and_then(|place| place.leader);
        let Some(leader) = leader.filter(|leader| cx.connections.knows(Peer::Node(*leader))) else {
            return Stand::Leaderless;
        };
        if !in_flight.is_empty() && *sent_to != Some(leader) && !cx.faults.has(Mutant::NoDrainOnMove) {
            return Stand::Nothing;
        }
        if is_idempotent && !line.has_identity() {
            return match line.not_before() {
                Some(at) if at > cx.now => Stand::Due(at),
                _ if cx.ids.current().is_none() => Stand::WithoutProducerId,
                _ => Stand::Ready(leader),
            };
        }
        Stand::Ready(leader)
    }

    /// Returns when a partition's first batch may be sent, `once` if it need not wait; `None` if there is no batch.
    fn due(&self, partition: &Partition, once: Instant, cx: &Context) -> Option<Instant> {
        let Partition { open, waiting, retry_at, .. } = partition;
        match (waiting.first(), open) {
            (None, None) => None,
            (Some(_), _) => Some(retry_at.unwrap_or(once)),
            (None, Some(Left { since, is_full })) => Some(match *is_full || self.hurry >= Some(*since) {
                true => once,
                false => *since + cx.config.linger,
            }),
        }
    }
}
