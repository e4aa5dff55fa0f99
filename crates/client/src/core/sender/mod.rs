//! Which batches go now, to whom, in which request ([`request`]); what is said of them ([`answer`]); how each ends
//! ([`outcome`]); what holds it up ([`obstacle`]); and which nodes take nothing ([`stall`]). Here is kept whether each partition can send, and to whom.
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
//! A partition is *reviewed* whenever something about it changed; if a batch of it can go, it stands in its leader's
//! queue, once. Nothing scans all partitions.
//!
//! What keeps order and keeps records single: a batch's bytes are frozen at its first transmission; what was sent before
//! goes again alone, the oldest first; nothing goes to a new leader while the old one has not answered; and what may have
//! been written is never sent under another epoch, never split, never called not written ([`idempotence`](super::idempotence)).

mod answer;
mod batch;
mod obstacle;
mod outcome;
mod request;
mod stall;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use kurier_protocol::Uuid;

use super::connection::Peer;
use super::idempotence::Line;
use super::timer::Timers;
use super::{Key, World};
use crate::accumulator::batch::Taken;
use crate::accumulator::{Left, PartitionId};
use crate::delivery::Outcome;
use crate::error::{Error, ErrorKind, Written};
use crate::simulation::Mutant;
use batch::Batch;
use outcome::{another_cluster, closed, recreated};

/// All that is queued, waiting and in flight.
#[derive(Debug, Default)]
pub(crate) struct Sender {
    partitions: BTreeMap<PartitionId, Partition>,
    batches: BTreeMap<Key, Batch>,
    nodes: HashMap<i32, Queue>,
    /// Nodes whose queues are to be looked at.
    awake: BTreeSet<i32>,
    timers: Timers<PartitionId>,
    /// When it is looked at whether a node has taken nothing for too long.
    stall_timers: Timers<i32>,
    /// Partitions that have something to send and no leader.
    leaderless: BTreeSet<PartitionId>,
    /// Partitions that have something to send and wait for a producer id.
    awaiting_producer_id: BTreeSet<PartitionId>,
    /// What was opened up to then does not linger.
    hurry: Option<Instant>,
    /// Partitions whose first open batch lingers: the only ones for which a hurry changes anything.
    lingering: BTreeSet<PartitionId>,
    is_abandoned: bool,
}

/// A batch in a request, for when its answer comes.
#[derive(Debug)]
pub(crate) struct Sent {
    partition: PartitionId,
    key: Key,
    topic: Arc<str>,
    topic_id: Uuid,
    index: i32,
}

/// Partitions that have something for a node, in their turns.
#[derive(Debug, Default)]
struct Queue {
    ready: VecDeque<PartitionId>,
    /// Whether batches for it are being taken.
    is_taking: bool,
    /// Since when it has taken nothing, while there may be something for it.
    idle_since: Option<Instant>,
    /// Whether that is so for too long.
    is_stalled: bool,
}

#[derive(Debug, Default)]
struct Partition {
    /// What gathers for it.
    open: Option<Left>,
    /// When batches that were old were last told to take no more records.
    closed_at: Option<Instant>,
    /// Whether its first batch is being taken, or its batches are.
    is_taking: bool,
    /// The node in whose queue it stands.
    queued: Option<i32>,
    /// Batches to be sent, or sent again.
    waiting: BTreeSet<Key>,
    /// Batches that are sent and not answered. One that is no longer among the batches has expired meanwhile.
    in_flight: BTreeSet<Key>,
    /// Where those are.
    sent_to: Option<i32>,
    /// Batches that are being split. They are neither waiting nor in flight, and come back.
    splitting: BTreeSet<Key>,
    retry_at: Option<Instant>,
    /// Batches whose outcome is known, and not told before that of an older one.
    untold: BTreeMap<Key, (Taken, Outcome)>,
    line: Line,
    /// Whether a batch failed that may yet arrive under the current epoch.
    is_unsettled: bool,
    /// Whether senders were told that its leader takes nothing.
    is_shown_stalled: bool,
}

impl Partition {
    /// Whether it has a batch of any kind.
    fn has_batches(&self) -> bool {
        let Self { open, is_taking, waiting, in_flight, splitting, untold, .. } = self;
        let is_empty = splitting.is_empty() && waiting.is_empty() && in_flight.is_empty() && untold.is_empty();
        open.is_some() || *is_taking || !is_empty
    }

    /// Frees the tables of a partition that has no batches: an emptied B-tree keeps a node, and `untold` a large one.
    fn release(&mut self) {
        if !self.has_batches() {
            (self.waiting, self.in_flight, self.splitting) = Default::default();
            self.untold = BTreeMap::new();
        }
    }

    /// Whether a batch that failed may yet arrive at a broker.
    fn may_arrive(&self) -> bool {
        self.is_unsettled || self.line.is_unfenced() || self.line.not_before().is_some()
    }
}

/// How a partition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// It has nothing to send, or waits for what will have it reviewed.
    Nothing,
    /// It has something to send by then.
    Due(Instant),
    Leaderless,
    /// It could send, had it a producer id.
    WithoutProducerId,
    /// It can send to this node.
    Ready(i32),
    /// It could send, had this node answered what was sent before.
    Unanswered(i32),
}

impl Sender {
    fn partition(&mut self, id: PartitionId) -> &mut Partition {
        self.partitions.entry(id).or_default()
    }

    /// Whether any partition has state.
    #[cfg(test)]
    pub(crate) fn has_partitions(&self) -> bool {
        !self.partitions.is_empty()
    }

    /// Whether nothing would be lost with a partition's state: it has no batch, and nothing of it may yet arrive at a
    /// broker. `settled_at` is when whatever was sent is taken to have arrived or be lost.
    pub(crate) fn can_forget(&self, id: PartitionId, settled_at: Instant, now: Instant) -> bool {
        self.partitions.get(&id).is_none_or(|it| !it.has_batches() && (!it.may_arrive() || settled_at <= now))
    }

    /// Forgets a partition that has no batches. If it comes back, it is another, at a later epoch.
    pub(crate) fn forget(&mut self, id: PartitionId, world: &mut World) {
        self.timers.set(id, None);
        self.leaderless.remove(&id);
        self.awaiting_producer_id.remove(&id);
        self.lingering.remove(&id);
        let Some(partition) = self.partitions.remove(&id) else { return };
        if let Some(queue) = partition.queued.and_then(|node| self.nodes.get_mut(&node)) {
            queue.ready.retain(|other| *other != id);
        }
        if let Some(identity) = partition.line.identity() {
            world.ids.forget(identity);
        }
    }

    /// The partitions that have state, in their order.
    fn ids(&self) -> Vec<PartitionId> {
        self.partitions.keys().copied().collect()
    }

    /// A partition has a batch.
    pub(crate) fn handle_opened(&mut self, id: PartitionId, left: Left, world: &mut World, now: Instant) {
        let partition = self.partition(id);
        // Whoever made it ready may have been faster to say so than whoever opened it.
        let is_full = left.is_full || partition.open.is_some_and(|open| open.is_full);
        partition.open = Some(Left { is_full, ..left });
        self.review(id, world, now);
    }

    /// A partition's first batch is as large as it need be.
    pub(crate) fn handle_full(&mut self, id: PartitionId, world: &mut World, now: Instant) {
        let partition = self.partition(id);
        match &mut partition.open {
            Some(open) => open.is_full = true,
            // It is being taken, or what was said of its opening is yet to come.
            open @ None => *open = Some(Left { since: now, is_full: true }),
        }
        self.review(id, world, now);
    }

    /// Sends what has gathered without lingering. Looks only at partitions that linger, for senders that wait for memory
    /// may ask for this often.
    pub(crate) fn hurry(&mut self, world: &mut World, now: Instant) {
        self.hurry = Some(now);
        for id in std::mem::take(&mut self.lingering) {
            self.review(id, world, now);
        }
    }

    /// How many partitions linger.
    #[cfg(test)]
    pub(crate) fn lingering_count(&self) -> usize {
        self.lingering.len()
    }

    /// The nodes that have a queue or a timer.
    #[cfg(test)]
    pub(crate) fn known_nodes(&self) -> BTreeSet<i32> {
        self.nodes.keys().chain(self.stall_timers.things()).copied().collect()
    }

    /// Gives up all batches, each with whether it may have been sent.
    pub(crate) fn dismantle(&mut self) -> Vec<(Taken, Written)> {
        let certainty = |attempts: u32| if attempts == 0 { Written::No } else { Written::Unknown };
        let batches = std::mem::take(&mut self.batches).into_values();
        batches.map(|batch| (batch.taken, certainty(batch.attempts))).collect()
    }

    /// Something about a node has changed.
    pub(crate) fn wake(&mut self, peer: Peer) {
        if let Peer::Node(node) = peer {
            self.awake.insert(node);
        }
    }

    /// Partitions have elected a leader since they were last sent to: there is no reason to wait any more.
    pub(crate) fn handle_elected(&mut self, elected: &[PartitionId], world: &mut World, now: Instant) {
        for id in elected {
            self.partition(*id).retry_at = None;
            self.review(*id, world, now);
        }
    }

    /// Metadata came: partitions have other leaders.
    pub(crate) fn handle_moved(&mut self, moved: &[PartitionId], world: &mut World, now: Instant) {
        let leaderless = std::mem::take(&mut self.leaderless);
        for id in leaderless.into_iter().chain(moved.iter().copied()) {
            self.review(id, world, now);
        }
    }

    /// A partition's topic was deleted and made anew. What was sent belonged to the old one, and fails when it is to be
    /// sent again.
    pub(crate) fn handle_recreated(&mut self, id: PartitionId, world: &mut World, now: Instant) {
        let partition = self.partition(id);
        partition.line.break_off(Key::FIRST);
        partition.line.close_gate();
        self.review(id, world, now);
    }

    /// Starts over with another cluster, which knows nothing of this producer. A batch that may be written in the cluster
    /// before fails as unknown. A batch that surely is not goes to the new cluster under a new id and sequence, also if it
    /// was sent before or is a piece of one that was. Connections to the cluster before have ended, so nothing is in flight.
    pub(crate) fn handle_another_cluster(&mut self, world: &mut World, now: Instant) {
        world.ids.discard();
        for id in self.ids() {
            let Partition { waiting, splitting, .. } = self.partition(id);
            let unfinished: Vec<Key> = waiting.iter().chain(splitting.iter()).copied().collect();
            for key in unfinished {
                match self.batches.get_mut(&key) {
                    Some(batch) if batch.is_maybe_written => {
                        let error = self.with_trouble(key, another_cluster());
                        self.fail(id, key, error, world, now);
                    }
                    Some(batch) => batch.forget_cluster(),
                    None => {}
                }
            }
            let partition = self.partition(id);
            (partition.line, partition.is_unsettled, partition.retry_at) = (Line::default(), false, None);
            self.review(id, world, now);
        }
    }

    /// Whether a partition has something to send and cannot, without a producer id.
    pub(crate) fn awaits_producer_id(&self) -> bool {
        !self.awaiting_producer_id.is_empty()
    }

    /// Reviews the partitions that wait for a producer id, now that there is one.
    pub(crate) fn handle_producer_id(&mut self, world: &mut World, now: Instant) {
        for id in std::mem::take(&mut self.awaiting_producer_id) {
            self.review(id, world, now);
        }
    }

    /// Fails all that waits for a producer id.
    pub(crate) fn fail_without_producer_id(&mut self, error: &Error, world: &mut World, now: Instant) {
        for id in std::mem::take(&mut self.awaiting_producer_id) {
            self.fail_unsent(id, error, world, now);
            self.review(id, world, now);
        }
    }

    /// Looks at what is due.
    pub(crate) fn handle_timeout(&mut self, world: &mut World, now: Instant) {
        while let Some(id) = self.timers.pop(now) {
            self.expire(id, world, now);
            self.review(id, world, now);
        }
        self.handle_stall_timeout(world, now);
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.timers.next().into_iter().chain(self.stall_timers.next()).min()
    }

    /// What is not over, for people; nothing when all is.
    #[cfg(any(test, feature = "internal"))]
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let mut left: Vec<String> = self.batches.keys().map(|key| format!("{key:?}")).collect();
        let busy = self.partitions.values().filter(|partition| partition.has_batches());
        left.extend(busy.map(|left| format!("{left:?}")));
        left.extend(self.timers.next().map(|at| format!("a timer for {at:?}")));
        left
    }

    /// Puts a line of sequences that broke off together again, as soon as nothing is in flight, and what went before has
    /// its outcome.
    fn mend(&mut self, id: PartitionId, world: &mut World, now: Instant) {
        let partition = self.partition(id);
        let Partition { line, waiting, in_flight, splitting, .. } = partition;
        let is_ready = in_flight.is_empty() && splitting.is_empty();
        if !line.is_broken() || !is_ready || waiting.first().is_some_and(|first| line.is_whole_before(Some(first))) {
            return;
        }
        let keys: Vec<Key> = partition.waiting.iter().copied().collect();
        let topic_id = world.metadata.place(id).map_or(Uuid::ZERO, |place| place.topic_id);
        for key in keys {
            let Some(batch) = self.batches.get_mut(&key) else { continue };
            if batch.stamp.is_some() && batch.is_maybe_written && !Mutant::RestampUnsettled.is_on() {
                let error = if batch.is_of_another_topic(topic_id) {
                    recreated()
                } else {
                    let text = "its sequence broke off: a batch before it is missing, or the broker has forgotten this \
                                producer";
                    Error::new(ErrorKind::Refused, text)
                };
                let error = self.with_trouble(key, error);
                self.fail(id, key, error, world, now);
            } else {
                batch.stamp = None;
            }
        }
        let delivery_timeout = world.config.delivery_timeout;
        let partition = self.partition(id);
        let is_unsettled = std::mem::take(&mut partition.is_unsettled);
        partition.line.mend(is_unsettled, delivery_timeout, now);
        if !partition.line.has_identity() {
            world.ids.discard();
        }
    }

    /// Puts a partition into its leader's queue if it can send, and sets its timer.
    fn review(&mut self, id: PartitionId, world: &mut World, now: Instant) {
        if self.is_abandoned
            && let Some(open) = self.partition(id).open
        {
            return self.drain(id, now.max(open.since), &closed(), world);
        }
        let hurry = self.hurry;
        match self.partition(id).open.is_some_and(|open| !open.is_full && hurry < Some(open.since)) {
            true => self.lingering.insert(id),
            false => self.lingering.remove(&id),
        };
        self.mend(id, world, now);
        let stand = self.stand(id, world, now);
        if stand != Stand::WithoutProducerId {
            self.awaiting_producer_id.remove(&id);
        }
        match stand {
            Stand::Ready(node) => {
                let before = self.partition(id).queued.replace(node);
                // A node that led it may be gone for good, and its queue is not looked at again.
                if let Some(queue) = before.filter(|before| *before != node).and_then(|node| self.nodes.get_mut(&node))
                {
                    queue.ready.retain(|other| *other != id);
                }
                if before != Some(node) {
                    self.nodes.entry(node).or_default().ready.push_back(id);
                }
                self.awake.insert(node);
                self.watch(node, world, now);
            }
            Stand::Unanswered(node) => self.watch(node, world, now),
            Stand::Leaderless => {
                if Mutant::ResetWhenLeaderless.is_on() {
                    self.partition(id).line.reset();
                }
                self.leaderless.insert(id);
                world.metadata.doubt();
            }
            Stand::WithoutProducerId => {
                self.awaiting_producer_id.insert(id);
            }
            Stand::Nothing | Stand::Due(_) => {}
        }
        self.show_stall(id, world);
        let due = if let Stand::Due(at) = stand { Some(at) } else { None };
        let at = self.next_expiry(id, world).into_iter().chain(due).min();
        self.timers.set(id, at);
    }

    /// When the next of a partition's batches expires, or is to take no more records.
    fn next_expiry(&self, id: PartitionId, world: &World) -> Option<Instant> {
        let partition = self.partitions.get(&id)?;
        let created = |key: &Key| self.batches.get(key).map(|batch| batch.taken.created);
        let waiting = partition.waiting.first().and_then(created);
        let in_flight = partition.in_flight.iter().find_map(created);
        let open = partition.open.filter(|_| !partition.is_taking);
        let oldest = [waiting, in_flight, open.map(|open| open.since)].into_iter().flatten().min();
        let expires = oldest.map(|oldest| oldest + world.config.delivery_timeout);
        let grows =
            open.map(|open| open.since.max(partition.closed_at.unwrap_or(open.since)) + world.config.growing_time());
        expires.into_iter().chain(grows).min()
    }

    fn stand(&self, id: PartitionId, world: &World, now: Instant) -> Stand {
        let Some(partition) = self.partitions.get(&id) else { return Stand::Nothing };
        let Partition { is_taking, waiting, in_flight, sent_to, splitting, line, .. } = partition;
        let first = waiting.first();
        if *is_taking || !splitting.is_empty() || !line.is_whole_before(first) || self.is_abandoned {
            return Stand::Nothing;
        }
        let Some(due) = self.due(partition, now, world) else { return Stand::Nothing };
        let unanswered = sent_to.map_or(Stand::Nothing, Stand::Unanswered);
        let is_idempotent = world.ids.is_enabled();
        let window = match is_idempotent {
            true => line.window(world.config.max_in_flight, now),
            false => world.config.max_in_flight,
        };
        // What follows a batch that expired in flight waits until it is known whether its place in the line is taken.
        if is_idempotent && in_flight.iter().any(|key| !self.batches.contains_key(key)) {
            return unanswered;
        }
        // What was sent before goes alone, so that nothing can overtake it.
        let was_sent = first.and_then(|key| self.batches.get(key)).is_some_and(|batch| batch.own_attempts() > 0);
        if in_flight.len() >= if was_sent { 1 } else { window } {
            return unanswered;
        }
        if due > now {
            return Stand::Due(due);
        }
        // A leader that the cluster no longer names cannot be sent to either.
        let leader = world.metadata.place(id).and_then(|place| place.leader);
        let Some(leader) = leader.filter(|leader| world.connections.knows(Peer::Node(*leader))) else {
            return Stand::Leaderless;
        };
        if !in_flight.is_empty() && *sent_to != Some(leader) && !Mutant::NoDrainOnMove.is_on() {
            return Stand::Nothing;
        }
        if is_idempotent && !line.has_identity() {
            return match line.not_before() {
                Some(at) if at > now => Stand::Due(at),
                _ if world.ids.current().is_none() => Stand::WithoutProducerId,
                _ => Stand::Ready(leader),
            };
        }
        Stand::Ready(leader)
    }

    /// When a partition's first batch may go, at `once` if nothing says to wait; `None` if there is none.
    fn due(&self, partition: &Partition, once: Instant, world: &World) -> Option<Instant> {
        let Partition { open, waiting, retry_at, .. } = partition;
        match (waiting.first(), open) {
            (None, None) => None,
            (Some(_), _) => Some(retry_at.unwrap_or(once)),
            (None, Some(Left { since, is_full })) => Some(match *is_full || self.hurry >= Some(*since) {
                true => once,
                false => *since + world.config.linger,
            }),
        }
    }
}
