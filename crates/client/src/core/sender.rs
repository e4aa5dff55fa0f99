//! Which batches go now, to whom, in which request; and what becomes of them.
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
//! queue, once. Nothing scans all partitions but a flush.
//!
//! What keeps order and keeps records single: a batch's bytes are frozen at its first transmission; what was sent before
//! goes again alone, the oldest first; nothing goes to a new leader while the old one has not answered; and what may have
//! been written is never sent under another epoch, never split, never called not written ([`idempotence`](super::idempotence)).

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kurier_protocol::messages::produce::{PartitionProduceData, PartitionProduceResponse, TopicProduceData};
use kurier_protocol::messages::{ProduceRequest, ProduceResponse};
use kurier_protocol::record_batch::{BATCH_HEADER_BYTES, Stamp};
use kurier_protocol::{CompressionType, ErrorCode, Uuid};

use super::backoff::Backoff;
use super::connection::Peer;
use super::idempotence::Line;
use super::metadata::Place;
use super::response::{Asked, Verdict, verdict};
use super::timer::Timers;
use super::{Action, Key, Question, World};
use crate::accumulator::batch::Taken;
use crate::accumulator::{Left, PartitionId};
use crate::config::Acks;
use crate::delivery::Outcome;
use crate::error::{Error, ErrorKind, Stage, Written};
use crate::simulation::Mutant;

/// All that is queued, waiting and in flight.
#[derive(Debug, Default)]
pub(crate) struct Sender {
    /// By number.
    partitions: Vec<Partition>,
    batches: BTreeMap<Key, Batch>,
    nodes: HashMap<i32, Queue>,
    /// Nodes whose queues are to be looked at.
    awake: BTreeSet<i32>,
    timers: Timers<PartitionId>,
    /// Partitions that have something to send and no leader.
    leaderless: BTreeSet<PartitionId>,
    /// Partitions that wait for a producer id.
    nameless: BTreeSet<PartitionId>,
    /// What was opened up to then does not linger.
    hurry: Option<Instant>,
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
}

#[derive(Debug)]
struct Batch {
    taken: Taken,
    stamp: Option<Stamp>,
    /// The topic that it was sent to first.
    topic_id: Uuid,
    attempts: u32,
    /// Whether an attempt may have been written, for all that is known.
    is_maybe_written: bool,
    /// Whether every attempt was answered so.
    is_only_too_large: bool,
    trouble: Option<Trouble>,
}

/// What went wrong last with a batch.
#[derive(Clone, Debug, Default)]
struct Trouble {
    node: String,
    text: String,
    code: Option<ErrorCode>,
}

/// How a partition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// It has nothing to send, or waits for what will have it reviewed.
    Nothing,
    /// It has something to send by then.
    Due(Instant),
    Leaderless,
    Nameless,
    /// It can send to this node.
    Ready(i32),
}

impl Batch {
    fn new(taken: Taken) -> Self {
        Self {
            taken,
            stamp: None,
            topic_id: Uuid::ZERO,
            attempts: 0,
            is_maybe_written: false,
            is_only_too_large: true,
            trouble: None,
        }
    }

    fn request_bytes(&self) -> usize {
        self.taken.sealed.body_bytes() + BATCH_HEADER_BYTES
    }

    /// Whether it was sent to a topic that had the name of this one.
    fn is_of_another_topic(&self, topic_id: Uuid) -> bool {
        self.attempts > 0 && self.topic_id != Uuid::ZERO && self.topic_id != topic_id
    }

    /// Adds to an error what is known of the batch.
    fn describe(&self, error: Error, stage: Stage, now: Instant) -> Error {
        let written = if self.is_maybe_written { Written::Unknown } else { Written::No };
        let error =
            error.written_is(written).after(stage, self.attempts, now.saturating_duration_since(self.taken.created));
        match &self.trouble {
            Some(trouble) => error.on(Some(trouble.node.clone())).with_code(trouble.code),
            None => error,
        }
    }
}

fn key_of(taken: &Taken) -> Key {
    Key { batch: taken.id, first_record: taken.range.start }
}

impl Sender {
    fn partition(&mut self, id: PartitionId) -> &mut Partition {
        let at = id.0 as usize;
        if self.partitions.len() <= at {
            self.partitions.resize_with(at + 1, Partition::default);
        }
        &mut self.partitions[at]
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

    /// What has gathered goes now.
    pub(crate) fn hurry(&mut self, world: &mut World, now: Instant) {
        self.hurry = Some(now);
        for id in (0u32..).take(self.partitions.len()).map(PartitionId) {
            if self.partition(id).open.is_some() {
                self.review(id, world, now);
            }
        }
    }

    /// Something about a node has changed.
    pub(crate) fn wake(&mut self, peer: Peer) {
        if let Peer::Node(node) = peer {
            self.awake.insert(node);
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

    /// There is a producer id, or a reason why there is none.
    pub(crate) fn handle_producer_id(&mut self, refused: Option<Error>, world: &mut World, now: Instant) {
        for id in std::mem::take(&mut self.nameless) {
            if let Some(error) = &refused {
                let text = format!("no producer id, which idempotence needs, is to be had: {error}");
                let error = Error::new(ErrorKind::Refused, text).with_code(error.error_code());
                self.fail_waiting(id, &error, world, now);
                self.drain(id, now, &error, world);
            }
            self.review(id, world, now);
        }
    }

    fn fail_waiting(&mut self, id: PartitionId, error: &Error, world: &mut World, now: Instant) {
        let keys: Vec<Key> = self.partition(id).waiting.iter().copied().collect();
        for key in keys {
            self.fail(id, key, error.clone(), Stage::Backoff, world, now);
        }
    }

    /// Has a partition's batches taken, to fail.
    fn drain(&mut self, id: PartitionId, until: Instant, why: &Error, world: &mut World) {
        let partition = self.partition(id);
        partition.open = None;
        world.out.push_back(Action::Drain { partition: id, until, why: why.clone() });
    }

    pub(crate) fn handle_drained(
        &mut self,
        id: PartitionId,
        batches: Vec<Taken>,
        left: Option<Left>,
        why: &Error,
        world: &mut World,
        now: Instant,
    ) {
        for taken in batches {
            let batch = Batch::new(taken);
            let error = self.explain(id, batch.describe(why.clone(), Stage::Queued, now), world);
            self.partition(id).untold.insert(key_of(&batch.taken), (batch.taken, Outcome::Failed(error)));
        }
        self.tell(id, world);
        let partition = self.partition(id);
        partition.open = left.or(partition.open);
        self.review(id, world, now);
    }

    /// Nothing is sent any more.
    pub(crate) fn abandon(&mut self, world: &mut World, now: Instant) {
        self.is_abandoned = true;
        for id in (0u32..).take(self.partitions.len()).map(PartitionId) {
            self.fail_waiting(id, &closed(), world, now);
            let keys: Vec<Key> = self.partition(id).in_flight.iter().copied().collect();
            for key in keys {
                self.expire_in_flight(id, key, closed(), world, now);
            }
            // What is being taken is older: it comes first, and then what is left.
            if !self.partition(id).is_taking {
                self.drain(id, now, &closed(), world);
            }
        }
    }

    /// Looks at what is due.
    pub(crate) fn handle_timeout(&mut self, world: &mut World, now: Instant) {
        while let Some(id) = self.timers.pop(now) {
            self.expire(id, world, now);
            self.review(id, world, now);
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// What is not over, for people; nothing when all is.
    #[cfg(any(test, feature = "internal"))]
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let mut left: Vec<String> = self.batches.keys().map(|key| format!("{key:?}")).collect();
        let is_busy = |partition: &Partition| {
            let Partition { open, is_taking, waiting, in_flight, splitting, untold, .. } = partition;
            let is_empty = splitting.is_empty() && waiting.is_empty() && in_flight.is_empty() && untold.is_empty();
            open.is_some() || *is_taking || !is_empty
        };
        left.extend(self.partitions.iter().filter(|partition| is_busy(partition)).map(|left| format!("{left:?}")));
        left.extend(self.timers.next().map(|at| format!("a timer for {at:?}")));
        left
    }

    /// Fails what has waited for `delivery.timeout.ms`.
    fn expire(&mut self, id: PartitionId, world: &mut World, now: Instant) {
        let timeout = world.config.delivery_timeout;
        let is_old = |created: Instant| created + timeout <= now;
        let error = || {
            let text = format!("no outcome within delivery.timeout.ms, which is {}", timeout.as_millis());
            Error::new(ErrorKind::DeliveryTimeout, text)
        };
        let old = |keys: &BTreeSet<Key>, batches: &BTreeMap<Key, Batch>| -> Vec<Key> {
            let is_due = |key: &&Key| batches.get(key).is_some_and(|batch| is_old(batch.taken.created));
            keys.iter().filter(is_due).copied().collect()
        };
        let Some(partition) = self.partitions.get(id.0 as usize) else { return };
        let (waiting, in_flight) = (old(&partition.waiting, &self.batches), old(&partition.in_flight, &self.batches));
        let open = partition.open;
        for key in waiting {
            let error = self.with_trouble(key, error());
            self.fail(id, key, error, Stage::Backoff, world, now);
        }
        for key in in_flight {
            let error = self.with_trouble(key, error());
            self.expire_in_flight(id, key, error, world, now);
        }
        if let Some(open) = open
            && is_old(open.since)
            && !self.partition(id).is_taking
            && let Some(until) = now.checked_sub(timeout)
        {
            self.drain(id, until, &error(), world);
        }
        // Late records do not inherit an old batch's deadline.
        let grows_for = grows_for(world);
        let partition = self.partition(id);
        if let Some(open) = partition.open
            && let Some(until) = now.checked_sub(grows_for)
            && open.since <= until
            && partition.closed_at.is_none_or(|closed| closed <= until)
        {
            // Those behind the first, too; and those that are too young come next time.
            partition.closed_at = Some(now);
            world.out.push_back(Action::CloseBatches { partition: id, until });
        }
    }

    /// Adds what went wrong last with a batch to an error's text.
    fn with_trouble(&self, key: Key, error: Error) -> Error {
        match self.batches.get(&key).and_then(|batch| batch.trouble.as_ref()) {
            Some(trouble) => Error::new(error.kind(), format!("{error}; the last try ended so: {}", trouble.text)),
            None => error,
        }
    }

    /// Fails a batch that is in flight: it may be written. Its place is kept until its answer comes.
    fn expire_in_flight(&mut self, id: PartitionId, key: Key, error: Error, world: &mut World, now: Instant) {
        let Some(batch) = self.batches.get_mut(&key) else { return };
        batch.is_maybe_written = !Mutant::ExpiredIsUnwritten.is_on();
        if Mutant::FreeAtExpiry.is_on() {
            batch.taken.count_as_free();
        }
        let error = batch.describe(error, Stage::InFlight, now);
        self.partition(id).is_unsettled = true;
        self.complete(id, key, Outcome::Failed(error), world);
    }

    /// Fails a batch that waits.
    fn fail(&mut self, id: PartitionId, key: Key, error: Error, stage: Stage, world: &mut World, now: Instant) {
        let Some(batch) = self.batches.get(&key) else { return };
        let stage = if batch.attempts == 0 { Stage::Queued } else { stage };
        let (is_stamped, is_maybe_written) = (batch.stamp.is_some(), batch.is_maybe_written);
        let error = self.explain(id, batch.describe(error, stage, now), world);
        let partition = self.partition(id);
        partition.waiting.remove(&key);
        if partition.waiting.is_empty() {
            // It was for those; what is yet to be taken has nothing to wait for.
            partition.retry_at = None;
        }
        partition.is_unsettled |= is_maybe_written;
        if is_stamped {
            partition.line.break_off(key);
        }
        self.complete(id, key, Outcome::Failed(error), world);
    }

    /// Adds to the error of what was never sent why it was not.
    fn explain(&self, id: PartitionId, error: Error, world: &World) -> Error {
        if error.attempts() > 0 || error.kind() != ErrorKind::DeliveryTimeout {
            return error;
        }
        let Some(place) = world.metadata.place(id) else { return error };
        let said = world.metadata.topic_error(&place.topic).map(|code| format!(" ({code}, {})", code.meaning()));
        match place.leader {
            None => error.because(&format!("the partition has no leader{}", said.unwrap_or_default())),
            Some(node) => match world.connections.trouble(Peer::Node(node)) {
                Some(trouble) => error.because(&format!(
                    "its leader, {}, cannot be reached: {trouble}",
                    world.connections.name(Peer::Node(node))
                )),
                None => error.because("its leader did not take it in time"),
            },
        }
    }

    fn complete(&mut self, id: PartitionId, key: Key, outcome: Outcome, world: &mut World) {
        let Some(batch) = self.batches.remove(&key) else { return };
        self.partition(id).untold.insert(key, (batch.taken, outcome));
        self.tell(id, world);
    }

    /// Tells the outcomes that are known, the oldest batch's first.
    fn tell(&mut self, id: PartitionId, world: &mut World) {
        let Some(partition) = self.partitions.get_mut(id.0 as usize) else { return };
        let Partition { untold, waiting, in_flight, splitting, .. } = partition;
        // One that has expired in flight is told already.
        let in_flight = in_flight.iter().find(|key| self.batches.contains_key(key));
        let oldest = [waiting.first(), in_flight, splitting.first()].into_iter().flatten().min();
        while let Some(next) = untold.first_entry()
            && oldest.is_none_or(|oldest| next.key() < oldest)
        {
            let (key, (batch, outcome)) = next.remove_entry();
            let mut pieces = self.batches.range(Key { batch: key.batch, first_record: 0 }..).map(|(key, _)| key);
            let is_piece = |other: &Key| other.batch == key.batch;
            let is_last = !pieces.next().is_some_and(is_piece) && !untold.keys().next().is_some_and(is_piece);
            let is_last = is_last || Mutant::SplitCountsOnce.is_on();
            world.out.push_back(Action::Complete { partition: id, batch, outcome, is_last });
        }
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
                self.fail(id, key, error, Stage::Backoff, world, now);
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
        self.mend(id, world, now);
        let stand = self.stand(id, world, now);
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
            }
            Stand::Leaderless => {
                if Mutant::ResetWhenLeaderless.is_on() {
                    self.partition(id).line.reset();
                }
                self.leaderless.insert(id);
                world.metadata.doubt();
            }
            Stand::Nameless => {
                self.nameless.insert(id);
                world.ids.want();
            }
            Stand::Nothing | Stand::Due(_) => {}
        }
        let due = if let Stand::Due(at) = stand { Some(at) } else { None };
        let at = self.next_expiry(id, world).into_iter().chain(due).min();
        self.timers.set(id, at);
    }

    /// When the next of a partition's batches expires, or is to take no more records.
    fn next_expiry(&self, id: PartitionId, world: &World) -> Option<Instant> {
        let partition = self.partitions.get(id.0 as usize)?;
        let created = |key: &Key| self.batches.get(key).map(|batch| batch.taken.created);
        let waiting = partition.waiting.first().and_then(created);
        let in_flight = partition.in_flight.iter().find_map(created);
        let open = partition.open.filter(|_| !partition.is_taking);
        let oldest = [waiting, in_flight, open.map(|open| open.since)].into_iter().flatten().min();
        let expires = oldest.map(|oldest| oldest + world.config.delivery_timeout);
        let grows = open.map(|open| open.since.max(partition.closed_at.unwrap_or(open.since)) + grows_for(world));
        expires.into_iter().chain(grows).min()
    }

    fn stand(&self, id: PartitionId, world: &World, now: Instant) -> Stand {
        let Some(partition) = self.partitions.get(id.0 as usize) else { return Stand::Nothing };
        let Partition { open, is_taking, waiting, in_flight, sent_to, splitting, retry_at, line, .. } = partition;
        let first = waiting.first();
        if *is_taking || !splitting.is_empty() || !line.is_whole_before(first) || self.is_abandoned {
            return Stand::Nothing;
        }
        let due = match (first, open) {
            (None, None) => return Stand::Nothing,
            (Some(_), _) => retry_at.unwrap_or(now),
            (None, Some(Left { since, is_full })) => match *is_full || self.hurry >= Some(*since) {
                true => now,
                false => *since + world.config.linger,
            },
        };
        let is_idempotent = world.ids.is_enabled();
        let window = match is_idempotent {
            true => line.window(world.config.max_in_flight, now),
            false => world.config.max_in_flight,
        };
        // What follows a batch that expired in flight waits until it is known whether its place in the line is taken.
        if is_idempotent && in_flight.iter().any(|key| !self.batches.contains_key(key)) {
            return Stand::Nothing;
        }
        // What was sent before goes alone, so that nothing can overtake it.
        let was_sent = first.and_then(|key| self.batches.get(key)).is_some_and(|batch| batch.attempts > 0);
        if in_flight.len() >= if was_sent { 1 } else { window } {
            return Stand::Nothing;
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
                _ if world.ids.current().is_none() => Stand::Nameless,
                _ => Stand::Ready(leader),
            };
        }
        Stand::Ready(leader)
    }

    /// Sends what can be sent to the nodes of which something has changed.
    pub(crate) fn pump(&mut self, world: &mut World, now: Instant) {
        while let Some(node) = self.awake.pop_first() {
            self.pump_node(node, world, now);
        }
    }

    fn pump_node(&mut self, node: i32, world: &mut World, now: Instant) {
        let Some(queue) = self.nodes.get_mut(&node) else { return };
        if queue.is_taking || queue.ready.is_empty() {
            return;
        }
        let peer = Peer::Node(node);
        if !world.connections.knows(peer) {
            for id in std::mem::take(&mut queue.ready) {
                self.partition(id).queued = None;
                self.review(id, world, now);
            }
            return;
        }
        if !world.connections.has_room(peer, world.config.max_in_flight) {
            world.connections.want(peer, now, &mut world.out);
            return;
        }
        let ready = std::mem::take(&mut queue.ready);
        let (mut sendable, mut takable) = (VecDeque::new(), Vec::new());
        let mut room = world.config.max_request_size;
        for id in ready {
            if self.stand(id, world, now) != Stand::Ready(node) {
                self.partition(id).queued = None;
                self.review(id, world, now);
                continue;
            }
            let first = self.partition(id).waiting.first().copied();
            match first.and_then(|key| self.batches.get(&key)) {
                Some(batch) => {
                    room = room.saturating_sub(batch.request_bytes());
                    sendable.push_back(id);
                }
                None => takable.push(id),
            }
        }
        // Whoever was found to stand elsewhere may have come back into this queue.
        let queue = self.nodes.entry(node).or_default();
        sendable.append(&mut queue.ready);
        if takable.is_empty() || (room == 0 && !sendable.is_empty()) {
            sendable.extend(takable);
            queue.ready = sendable;
            return self.transmit(node, world, now);
        }
        queue.ready = sendable;
        queue.is_taking = true;
        for id in &takable {
            let partition = self.partition(*id);
            partition.queued = None;
            partition.is_taking = true;
            partition.open = None;
        }
        world.out.push_back(Action::Take { node, partitions: takable, room });
    }

    /// Batches were taken: they wait, and go at once if they still can.
    pub(crate) fn handle_taken(
        &mut self,
        node: i32,
        batches: Vec<(PartitionId, Taken)>,
        left: Vec<(PartitionId, Option<Left>)>,
        world: &mut World,
        now: Instant,
    ) {
        for (id, taken) in batches {
            let key = key_of(&taken);
            self.batches.insert(key, Batch::new(taken));
            self.partition(id).waiting.insert(key);
            if self.is_abandoned {
                self.fail(id, key, closed(), Stage::Queued, world, now);
            }
        }
        for (id, left) in left {
            let partition = self.partition(id);
            partition.is_taking = false;
            // What a sender has said meanwhile counts, too.
            let is_full = partition.open.is_some_and(|open| open.is_full);
            let left = left.map(|left| Left { is_full: left.is_full || is_full, ..left });
            partition.open = left.or(partition.open);
            self.review(id, world, now);
        }
        if let Some(queue) = self.nodes.get_mut(&node) {
            queue.is_taking = false;
        }
        self.transmit(node, world, now);
    }

    /// Sends the first batch of each partition in a node's queue that has one, as many as fit.
    fn transmit(&mut self, node: i32, world: &mut World, now: Instant) {
        let peer = Peer::Node(node);
        let has_room = world.connections.has_room(peer, world.config.max_in_flight);
        let Some(queue) = self.nodes.get_mut(&node) else { return };
        if !has_room {
            world.connections.want(peer, now, &mut world.out);
            return;
        }
        let ready = std::mem::take(&mut queue.ready);
        let mut room = world.config.max_request_size;
        let (mut chosen, mut others) = (Vec::new(), VecDeque::new());
        for id in ready {
            if self.stand(id, world, now) != Stand::Ready(node) {
                self.partition(id).queued = None;
                others.push_back((id, false));
                continue;
            }
            let Some(key) = self.partition(id).waiting.first().copied() else {
                others.push_back((id, true));
                continue;
            };
            let bytes = self.batches.get(&key).map_or(0, Batch::request_bytes);
            if bytes <= room || chosen.is_empty() {
                room = room.saturating_sub(bytes);
                chosen.push((id, key));
            } else {
                others.push_back((id, true));
            }
        }
        let mut changed = Vec::new();
        let queue = self.nodes.entry(node).or_default();
        for (id, stays) in others {
            if stays { queue.ready.push_back(id) } else { changed.push(id) }
        }
        for (id, _) in &chosen {
            self.partition(*id).queued = None;
        }
        changed.extend(chosen.iter().map(|(id, _)| *id));
        if !chosen.is_empty() {
            self.send(node, chosen, world, now);
        }
        for id in changed {
            self.review(id, world, now);
        }
        // What is left may be taken as soon as there is room again.
        self.awake.remove(&node);
        if self.nodes.get(&node).is_some_and(|queue| !queue.ready.is_empty()) {
            let has_room = world.connections.has_room(peer, world.config.max_in_flight);
            if has_room {
                self.awake.insert(node);
            }
        }
    }

    /// Sends a request with these batches.
    fn send(&mut self, node: i32, chosen: Vec<(PartitionId, Key)>, world: &mut World, now: Instant) {
        let peer = Peer::Node(node);
        let mut sent = Vec::with_capacity(chosen.len());
        let mut topics: Vec<TopicProduceData> = Vec::new();
        for (id, key) in chosen {
            let Some(Place { topic, topic_id, index, .. }) = world.metadata.place(id).cloned() else { continue };
            match self.stamp(id, key, topic_id, world) {
                Ok(records) => {
                    let data = PartitionProduceData { index, records: Some(records) };
                    // A partition that its topic has lost still goes by the old id.
                    match topics.iter_mut().find(|data| *data.name == *topic && data.topic_id == topic_id) {
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
                Err(error) => self.fail(id, key, error, Stage::Queued, world, now),
            }
        }
        if sent.is_empty() {
            return;
        }
        let acks = world.config.acks;
        // From 13 on topics go by their ids, of which some brokers know none.
        let limit = if sent.iter().any(|sent| sent.topic_id == Uuid::ZERO) { 12 } else { 13 };
        let versions = world.connections.versions(peer);
        let version = versions.and_then(|versions| versions.highest_below::<ProduceRequest>(limit));
        let is_zstd = world.config.compression_type == CompressionType::Zstd;
        let offered = versions.map_or_else(String::new, super::versions::Versions::offered::<ProduceRequest>);
        let Some(version) = version.filter(|version| !is_zstd || *version >= 7) else {
            let needed = if is_zstd { "7, for zstd," } else { "3" };
            let text = format!(
                "{} offers {offered} of Produce, and at least {needed} is needed",
                world.connections.name(peer)
            );
            for Sent { partition, key, .. } in sent {
                self.fail(partition, key, Error::new(ErrorKind::Refused, text.clone()), Stage::Queued, world, now);
            }
            return;
        };
        let request = ProduceRequest {
            transactional_id: None,
            acks: acks.wire(),
            timeout_ms: i32::try_from(world.config.request_timeout.as_millis()).unwrap_or(i32::MAX),
            topic_data: topics,
        };
        for Sent { partition, key, .. } in &sent {
            let partition = self.partition(*partition);
            partition.waiting.remove(key);
            partition.in_flight.insert(*key);
            partition.sent_to = Some(node);
            partition.retry_at = None;
            if let Some(batch) = self.batches.get_mut(key) {
                batch.attempts = batch.attempts.saturating_add(1);
            }
        }
        let has_answer = acks != Acks::None;
        let keys: Vec<(PartitionId, Key)> = sent.iter().map(|sent| (sent.partition, sent.key)).collect();
        let question = Question::Produce(sent);
        if let Err(error) = world.connections.send(peer, &request, version, question, has_answer, now, &mut world.out) {
            for (id, key) in keys {
                let error = Error::new(ErrorKind::Bug, "a batch cannot be written").caused_by(error.clone());
                self.partition(id).in_flight.remove(&key);
                self.fail(id, key, error, Stage::Queued, world, now);
            }
        }
    }

    /// A batch's bytes; at the first time it is given its sequences, which it then keeps.
    fn stamp(
        &mut self,
        id: PartitionId,
        key: Key,
        topic_id: Uuid,
        world: &World,
    ) -> Result<kurier_protocol::Records, Error> {
        let bug = |what: &str| Error::new(ErrorKind::Bug, what);
        let Some(batch) = self.batches.get_mut(&key) else { return Err(bug("a batch is gone")) };
        if batch.is_of_another_topic(topic_id) {
            return Err(recreated());
        }
        batch.topic_id = topic_id;
        let Some(partition) = self.partitions.get_mut(id.0 as usize) else { return Err(bug("a partition is gone")) };
        let stamp = match batch.stamp {
            Some(stamp) if !Mutant::NewSequenceOnRetry.is_on() => stamp,
            _ if world.ids.is_enabled() => {
                if !partition.line.has_identity()
                    && let Some(identity) = world.ids.current()
                {
                    partition.line.begin(identity);
                }
                let count = batch.taken.sealed.record_count();
                partition.line.stamp(count).ok_or_else(|| bug("there is no producer id"))?
            }
            _ => Stamp::NONE,
        };
        batch.stamp = Some(stamp);
        batch.taken.sealed.stamp(&stamp).map_err(|error| bug("a batch is too long").caused_by(error))
    }

    /// A request that has no answer is written, and that is all that will be known.
    pub(crate) fn handle_sent(&mut self, sent: Vec<Sent>, world: &mut World, now: Instant) {
        for Sent { partition, key, .. } in sent {
            self.partition(partition).in_flight.remove(&key);
            let outcome = Outcome::Written { base_offset: None, log_append_time: None, is_acknowledged: false };
            self.complete(partition, key, outcome, world);
            self.review(partition, world, now);
        }
    }

    /// A request was not answered.
    pub(crate) fn handle_lost(
        &mut self,
        sent: Vec<Sent>,
        is_written: bool,
        peer: Peer,
        why: &str,
        world: &mut World,
        now: Instant,
    ) {
        for Sent { partition, key, .. } in sent {
            self.lose(partition, key, is_written, peer, why, world, now);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "all that is known of an attempt")]
    fn lose(
        &mut self,
        id: PartitionId,
        key: Key,
        is_written: bool,
        peer: Peer,
        why: &str,
        world: &mut World,
        now: Instant,
    ) {
        self.partition(id).in_flight.remove(&key);
        match self.batches.get_mut(&key) {
            Some(batch) => {
                batch.is_maybe_written |= is_written;
                batch.is_only_too_large = false;
                let node = world.connections.name(peer);
                batch.trouble = Some(Trouble { node, text: format!("no answer: {why}"), code: None });
                self.retry(id, key, true, world, now);
            }
            // It has expired, and now it is sure that nothing will be heard of it.
            None => self.partition(id).line.break_off(key),
        }
        self.review(id, world, now);
    }

    /// Has a batch sent again, unless it was sent often enough.
    fn retry(&mut self, id: PartitionId, key: Key, with_backoff: bool, world: &mut World, now: Instant) {
        let Some(Batch { attempts, trouble, .. }) = self.batches.get(&key) else { return };
        let (attempts, trouble) = (*attempts, trouble.clone());
        self.partition(id).waiting.insert(key);
        if attempts > world.config.retries {
            let Trouble { text, code, .. } = trouble.unwrap_or_default();
            let kind = if code.is_some() { ErrorKind::Refused } else { ErrorKind::Network };
            let text = format!("it was sent as often as retries, which is {}, allows: {text}", world.config.retries);
            return self.fail(id, key, Error::new(kind, text), Stage::Backoff, world, now);
        }
        let backoff = Backoff { first: world.config.retry_backoff, longest: world.config.retry_backoff_max };
        let wait = if with_backoff { backoff.after(attempts, &mut world.random) } else { Duration::ZERO };
        let partition = self.partition(id);
        // The first of those that wait decides; the others come after it anyway.
        if partition.waiting.first() == Some(&key) || partition.retry_at.is_none() {
            partition.retry_at = Some(now + wait);
        }
    }

    /// A broker has answered. An answer that passes over a batch leaves it open whether it was written.
    pub(crate) fn handle_response(
        &mut self,
        sent: Vec<Sent>,
        response: &ProduceResponse,
        peer: Peer,
        world: &mut World,
        now: Instant,
    ) -> Result<(), String> {
        let mut by_name = HashMap::new();
        let mut by_id = HashMap::new();
        for topic in &response.responses {
            for answer in &topic.partition_responses {
                // What is said twice counts once.
                if topic.topic_id == Uuid::ZERO {
                    by_name.entry((topic.name.as_str(), answer.index)).or_insert(answer);
                } else {
                    by_id.entry((topic.topic_id, answer.index)).or_insert(answer);
                }
            }
        }
        let mut passed_over = 0;
        for Sent { partition, key, topic, topic_id, index } in sent {
            let by_its_name = || by_name.get(&(&*topic, index));
            match by_id.get(&(topic_id, index)).or_else(by_its_name).copied() {
                Some(answer) => self.handle_answer(partition, key, answer, response, peer, world, now),
                None => {
                    passed_over += 1;
                    let why = "its answer passes over this partition";
                    self.lose(partition, key, true, peer, why, world, now);
                }
            }
        }
        match passed_over {
            0 => Ok(()),
            _ => Err(format!("its answer to Produce passes over {passed_over} partitions")),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "all that is known of an answer")]
    fn handle_answer(
        &mut self,
        id: PartitionId,
        key: Key,
        answer: &PartitionProduceResponse,
        response: &ProduceResponse,
        peer: Peer,
        world: &mut World,
        now: Instant,
    ) {
        let code = answer.error_code;
        let is_idempotent = world.ids.is_enabled();
        let partition = self.partition(id);
        partition.in_flight.remove(&key);
        let is_before = |other: Option<&Key>| other.is_some_and(|other| *other < key);
        let Partition { in_flight, waiting, splitting, .. } = partition;
        let is_head = ![in_flight, waiting, splitting].into_iter().any(|keys| is_before(keys.first()))
            || Mutant::BreakOnAnyGap.is_on();
        let Some(batch) = self.batches.get_mut(&key) else {
            // It has expired meanwhile; its sender was told, and hears nothing more.
            let partition = self.partition(id);
            match code {
                ErrorCode::NONE | ErrorCode::DUPLICATE_SEQUENCE_NUMBER => partition.line.acknowledge(now),
                _ => partition.line.break_off(key),
            }
            return self.review(id, world, now);
        };
        let (record_count, max_timestamp) = (batch.taken.sealed.record_count(), batch.taken.sealed.max_timestamp());
        let asked = Asked { record_count, max_timestamp, is_idempotent, is_head };
        let verdict = verdict(answer, asked);
        if !matches!(verdict, Verdict::Written(_)) {
            batch.is_maybe_written |= !code.is_unwritten();
            batch.is_only_too_large &= code == ErrorCode::MESSAGE_TOO_LARGE;
            let said = answer.error_message.as_deref().map(|said| format!(" ({})", crate::error::printable(said)));
            let text = format!("{code}, {}{}", code.meaning(), said.unwrap_or_default());
            batch.trouble = Some(Trouble { node: world.connections.name(peer), text, code: Some(code) });
        }
        if code.refreshes_metadata() {
            world.metadata.doubt();
        }
        match verdict {
            Verdict::Written(outcome) => {
                self.partition(id).line.acknowledge(now);
                self.complete(id, key, outcome, world);
            }
            Verdict::Retry if Mutant::RebuildOnRetry.is_on() && record_count > 1 => self.split(id, key, world, now),
            Verdict::Retry => {
                let is_told = world.metadata.take_hint(id, &answer.current_leader, &response.node_endpoints);
                self.retry(id, key, !is_told, world, now);
            }
            Verdict::Split => self.split(id, key, world, now),
            Verdict::Broken { needs_new_id } => {
                let line = &mut self.partition(id).line;
                line.close_gate();
                if needs_new_id {
                    line.break_with_id(key)
                } else {
                    line.break_off(key)
                }
                self.retry(id, key, true, world, now);
            }
            Verdict::Failed(outcome) => self.refuse(id, key, outcome, world, now),
        }
        self.review(id, world, now);
    }

    /// A batch was refused for good.
    fn refuse(&mut self, id: PartitionId, key: Key, outcome: Outcome, world: &mut World, now: Instant) {
        let Some(batch) = self.batches.get(&key) else { return };
        let describe = |error: Error| batch.describe(error, Stage::InFlight, now);
        let outcome = match outcome {
            Outcome::Failed(error) => Outcome::Failed(describe(error)),
            Outcome::Rejected { culprits, others } => Outcome::Rejected {
                culprits: culprits.iter().map(|(index, error)| (*index, describe(error.clone()))).collect(),
                others: describe(others),
            },
            written @ Outcome::Written { .. } => written,
        };
        let is_maybe_written = batch.is_maybe_written;
        let partition = self.partition(id);
        partition.is_unsettled |= is_maybe_written;
        partition.line.break_off(key);
        self.complete(id, key, outcome, world);
    }

    /// Has a batch split that is too large, if nothing of it can have been written.
    fn split(&mut self, id: PartitionId, key: Key, world: &mut World, now: Instant) {
        let Some(batch) = self.batches.get(&key) else { return };
        if (!batch.is_only_too_large || batch.is_maybe_written) && !Mutant::RebuildOnRetry.is_on() {
            let error = Error::refused(ErrorCode::MESSAGE_TOO_LARGE, None);
            return self.refuse(id, key, Outcome::Failed(error), world, now);
        }
        let taken = batch.taken.clone();
        self.partition(id).splitting.insert(key);
        world.out.push_back(Action::Split { partition: id, whole: key, batch: taken });
    }

    pub(crate) fn handle_split(
        &mut self,
        id: PartitionId,
        whole: Key,
        pieces: Result<Vec<Taken>, String>,
        world: &mut World,
        now: Instant,
    ) {
        self.partition(id).splitting.remove(&whole);
        match pieces {
            Ok(pieces) => {
                let Some(parent) = self.batches.remove(&whole) else { return };
                let mut next = parent.stamp;
                for taken in pieces {
                    let stamp = next;
                    let count = taken.sealed.record_count();
                    next = stamp.filter(|_| world.ids.is_enabled()).map(|stamp| {
                        let sequence = stamp.base_sequence().after(count);
                        Stamp::idempotent(stamp.producer_id(), stamp.producer_epoch(), sequence)
                    });
                    let key = key_of(&taken);
                    let trouble = parent.trouble.clone();
                    self.batches.insert(key, Batch { stamp, trouble, ..Batch::new(taken) });
                    self.partition(id).waiting.insert(key);
                }
                self.partition(id).retry_at = None;
            }
            Err(why) => {
                let error = Error::new(ErrorKind::Bug, format!("a batch that was too large could not be split: {why}"));
                self.refuse(id, whole, Outcome::Failed(error), world, now);
            }
        }
        self.review(id, world, now);
    }
}

/// How long a batch takes records after it was opened.
fn grows_for(world: &World) -> Duration {
    (world.config.linger + world.config.delivery_timeout / 16).max(Duration::from_millis(1))
}

fn recreated() -> Error {
    Error::new(ErrorKind::TopicRecreated, "its topic was deleted and made anew while it was on its way")
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the producer was closed before the record was delivered")
}
