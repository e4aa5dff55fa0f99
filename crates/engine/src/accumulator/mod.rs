//! The accumulator: open batches by partition, into which all threads encode their records, in accounted memory.
//!
//! ```text
//!  a sender's thread                                     the driver
//!  Topic ─▶ partition ─▶ lock ─▶ OpenBatch ─▶ append     take ─▶ Taken ─▶ core
//!                          └─▶ Signal (a batch was opened, or is ready) ──▶ core
//! ```
//!
//! A batch is *ready* at `batch.size` or after `linger.ms`, and *closed* when the driver takes it. Until then it grows,
//! up to the partition's cap. So an idle cluster gets small batches at once, and a busy one gets large batches.
//!
//! No user code runs under a lock. Code that holds a partition's lock may take the lock of a batch's cell, of memory or of
//! the random numbers, which come last in the lock order.

mod at_once;
pub mod batch;
mod choosing;
mod clock;
mod directory;
pub mod memory;
pub mod outcomes;
mod partition;
mod table;
mod topic;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use kurier_partitioner::{Choice, Sticky};
use kurier_protocol::PartitionIndex;
use kurier_protocol::record_batch::{BATCH_HEADER_BYTES, NewRecord, RecordBatchBuilder};

use crate::config::Config;
use crate::delivery::{Cell, Outcome, Runner};
use crate::error::{Error, ErrorKind};
use crate::fault_injection::{FaultInjection, Mutant};
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard, thread};
use batch::{BatchId, OpenBatch, Piece, Taken};
#[cfg(any(test, feature = "internal"))]
pub use clock::Still;
pub use clock::{Clock, WallReading};
use directory::Directory;
use memory::{Memory, Permit};
use outcomes::Outcomes;
pub use partition::{Partition, PartitionId};
use partition::{Queue, lock};
pub use topic::Topic;
use topic::{Places, stripe};

/// A message from senders to the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// A partition without batches got its first one, which may be full already.
    Opened { partition: PartitionId, since: Instant, is_full: bool },
    /// A partition's first batch is ready before its linger time is over.
    Full { partition: PartitionId },
    /// A sender uses a topic that is not known, or that has fewer partitions than the record needs.
    Wanted { topic: Arc<str>, partitions: usize },
    /// A sender waits for memory.
    Pressure,
}

/// A topic as the core knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    pub topic: Arc<str>,
    /// The partitions by index.
    pub partitions: Vec<(PartitionId, Leadership)>,
}

/// The location of a partition's leader, as far as records without a key depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leadership {
    /// No leader is known.
    #[default]
    None,
    /// The leader is outside `client.rack`, or racks do not count.
    Anywhere,
    /// The leader is in `client.rack`, and `partitioner.rack.aware` is true (KIP-1123).
    SameRack,
}

/// The open batches of all partitions.
pub struct Accumulator {
    config: Arc<Config>,
    faults: FaultInjection,
    pub memory: Arc<Memory>,
    clock: Arc<dyn Clock>,
    runner: Arc<dyn Runner>,
    topics: Directory,
    /// The partitions of known topics. Changes of `topics` also hold this lock.
    partitions: Mutex<BTreeMap<PartitionId, Arc<Partition>>>,
    signals: Mutex<Signals>,
    wake: Box<dyn Fn() + Send + Sync>,
    random: Mutex<fastrand::Rng>,
    next_batch: AtomicU64,
    /// How long a batch accepts records.
    growing_ms: u64,
    pub outcomes: Arc<Outcomes>,
    closed: Mutex<Option<Error>>,
}

/// The number of topics that senders may ask for at a time. Further topics must wait until others are known.
pub const WANTED_TOPICS_MAX: usize = 10_000;

/// Signals that the core has not seen.
#[derive(Default)]
struct Signals {
    list: Vec<Signal>,
    /// Topics that senders want, each with the largest number of partitions that a sender needs.
    wanted: BTreeMap<Arc<str>, usize>,
    /// Whether a sender waits for memory. One signal serves all waiting senders.
    is_pressed: bool,
}

/// The memory in use from which on a sender gives up its processor once per large segment. If the driver shares the
/// processor, it would otherwise wait for the end of the sender's time slice. By then the records have left the processor's
/// cache.
const AHEAD_BYTES: usize = 6 * 1024 * 1024;

/// The growth of a batch after which a sender may give up its processor. Smaller batches must grow: with 10,000 partitions,
/// memory is in use before any batch is worth a request.
const LARGE_GROWTH_BYTES: usize = 32 * 1024;

/// A record that could not be appended at once.
#[derive(Debug)]
pub struct NoRoom {
    pub partition: Arc<Partition>,
    pub bytes: usize,
}

/// The state of a partition's queue after a batch was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    pub since: Instant,
    pub is_full: bool,
}

/// One value per partition.
type OfEach<T> = Vec<(PartitionId, T)>;

/// Makes of an appended record what its sender keeps: `(cell, index in the batch, timestamp)`. It is called once, under
/// the partition's lock, so it must not run the user's code.
pub trait Keep<T>: FnMut(&Arc<Cell>, u32, i64) -> T {}

impl<T, F: FnMut(&Arc<Cell>, u32, i64) -> T> Keep<T> for F {}

/// A record and its destination.
#[derive(Clone, Copy)]
pub struct Placed<'a> {
    pub choice: Choice,
    /// Milliseconds since 1970; `None` is the time of the append.
    timestamp: Option<i64>,
    /// The record, whose timestamp [`at`](Self::at) sets.
    record: NewRecord<'a>,
}

impl<'a> Placed<'a> {
    /// A record with its own timestamp.
    pub fn new(choice: Choice, record: NewRecord<'a>) -> Self {
        Self { choice, timestamp: Some(record.timestamp), record }
    }

    /// A record with this timestamp, or with the time of its append.
    #[inline]
    pub fn timed(choice: Choice, timestamp: Option<i64>, record: NewRecord<'a>) -> Self {
        Self { choice, timestamp, record }
    }

    /// Returns the record, as one that is appended at this time.
    #[inline]
    fn at(&mut self, now_ms: i64) -> &NewRecord<'a> {
        self.record.timestamp = self.timestamp.unwrap_or(now_ms);
        &self.record
    }
}

impl fmt::Debug for Placed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The record prints sizes only.
        f.debug_struct("Placed").field("choice", &self.choice).field("record", &self.record).finish()
    }
}

impl Accumulator {
    pub fn new(
        config: Arc<Config>,
        clock: Arc<dyn Clock>,
        runner: Arc<dyn Runner>,
        seed: u64,
        faults: FaultInjection,
        wake: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        Self {
            memory: Memory::new(config.buffer_memory),
            growing_ms: u64::try_from(config.growing_time().as_millis()).unwrap_or(u64::MAX),
            config,
            faults,
            clock,
            runner,
            topics: Directory::default(),
            partitions: Mutex::default(),
            signals: Mutex::default(),
            wake,
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            next_batch: AtomicU64::new(1),
            outcomes: Arc::default(),
            closed: Mutex::new(None),
        }
    }

    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Returns a known topic.
    pub fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.get(name)
    }

    /// Lets `act` use a known topic. That costs less than [`topic`](Self::topic) if the thread used the same one last.
    #[inline]
    pub fn with_topic<T>(&self, name: &str, act: impl FnOnce(&Arc<Topic>) -> T) -> Option<T> {
        self.topics.with(name, act)
    }

    /// Queues a signal for the core, and wakes the driver.
    pub fn signal(&self, signal: Signal) {
        let mut signals = lock(&self.signals);
        match signal {
            Signal::Pressure => signals.is_pressed = true,
            Signal::Wanted { topic, partitions } => {
                let has_room = signals.wanted.len() < WANTED_TOPICS_MAX;
                // A sender that does not wait tries again, so a topic without room is only delayed.
                if let Some(most) = signals.wanted.get_mut(&topic) {
                    *most = partitions.max(*most);
                } else if has_room {
                    signals.wanted.insert(topic, partitions);
                }
            }
            signal => signals.list.push(signal),
        }
        drop(signals);
        (self.wake)();
    }

    /// Takes the signals that the core has not seen.
    pub fn take_signals(&self) -> Vec<Signal> {
        let Signals { mut list, wanted, is_pressed } = std::mem::take(&mut *lock(&self.signals));
        list.extend(wanted.into_iter().map(|(topic, partitions)| Signal::Wanted { topic, partitions }));
        // `Pressure` comes last, so that it also covers the batches that the signals before it opened.
        list.extend(is_pressed.then_some(Signal::Pressure));
        list
    }

    /// Shows senders a topic as the core knows it.
    pub fn publish(&self, layout: &Layout) {
        let mut all = lock(&self.partitions);
        let known = self.topic(&layout.topic);
        let cap = known.as_ref().map_or(usize::MAX, |topic| topic.cap(self.clock.now()));
        let mut partitions = Vec::with_capacity(layout.partitions.len());
        for ((id, _), index) in layout.partitions.iter().zip(0i32..) {
            let new = || Arc::new(self.new_partition(*id, &layout.topic, PartitionIndex(index), cap));
            partitions.push(Arc::clone(all.entry(*id).or_insert_with(new)));
        }
        let led = || layout.partitions.iter().zip(0..).filter(|((_, leader), _)| *leader != Leadership::None);
        let available = led().map(|(_, index)| index).collect();
        let in_rack =
            led().filter(|((_, leader), _)| *leader == Leadership::SameRack).map(|(_, index)| index).collect();
        let places = Places::new(partitions.len(), available, in_rack);
        match known {
            Some(topic) => topic.set_places(&partitions, places),
            None => {
                let name = Arc::clone(&layout.topic);
                self.topics.insert(Arc::new(Topic::new(name, self.topics.identity(), &partitions, places)));
            }
        }
    }

    /// Removes a topic and all its partitions, including former ones, unless one of them has a batch or memory, or a
    /// sender waits for memory for it. Returns whether the topic was removed.
    ///
    /// A sender may hold the topic and append at the same time. Both happen under the partition's lock. So either the
    /// append comes first and the topic stays, or the sender finds the topic retired and looks it up again.
    pub fn retire(&self, name: &str, ids: &[PartitionId]) -> bool {
        let partitions: Vec<_> = ids.iter().filter_map(|id| self.partition(*id)).collect();
        // Take all locks at once, so that no sender sees a partly retired topic. No other code holds two of these
        // locks.
        let queues: Vec<_> = partitions.iter().map(|partition| lock(&partition.queue)).collect();
        let is_used = |(partition, queue): (&Arc<Partition>, &MutexGuard<'_, Queue>)| {
            !queue.batches.is_empty() || partition.load.is_used()
        };
        if partitions.iter().zip(&queues).any(is_used) {
            return false;
        }
        if let Some(topic) = self.topic(name) {
            topic.retire();
        }
        drop(queues);
        let mut all = lock(&self.partitions);
        for id in ids {
            all.remove(id);
        }
        self.topics.remove(name);
        true
    }

    fn new_partition(&self, id: PartitionId, topic: &Arc<str>, index: PartitionIndex, topic_cap: usize) -> Partition {
        let first_cap = self.config.batch_size.saturating_mul(4).min(self.config.max_request_size).min(topic_cap);
        Partition {
            id,
            topic: Arc::clone(topic),
            index,
            queue: Mutex::default(),
            load: Arc::default(),
            cap: AtomicUsize::new(first_cap),
            is_stalled: AtomicBool::new(false),
        }
    }

    /// Appends a record, if there is room, and returns what `keep` returns for it.
    #[inline]
    pub fn append<T>(&self, topic: &Topic, placed: &mut Placed<'_>, keep: &mut impl Keep<T>) -> Result<T, AppendError> {
        match self.append_at_once(topic, placed, keep) {
            Some(kept) => Ok(kept),
            None => self.append_with(topic, placed, None, keep),
        }
    }

    /// Appends a record that may need a new batch, memory, or another choice. `permit` is memory that the sender has
    /// waited for; the unused part is freed.
    #[cold]
    #[inline(never)]
    pub fn append_with<T>(
        &self,
        topic: &Topic,
        placed: &mut Placed<'_>,
        mut permit: Option<Permit>,
        keep: &mut impl Keep<T>,
    ) -> Result<T, AppendError> {
        loop {
            if topic.is_retired() {
                return Err(AppendError::Retired);
            }
            // With a single partition there is no choice and nothing to count.
            let is_chosen = placed.choice == Choice::Anywhere && topic.count() > 1;
            let sticky = is_chosen.then(|| topic.sticky(stripe()));
            let place = self.place(topic, sticky, placed.choice).map_err(AppendError::Refused)?;
            let no_partition = || AppendError::Refused(topic.no_partition(place));
            let partition = topic.partition(place).ok_or_else(no_partition)?;
            let mut queue = lock(&partition.queue);
            if !topic.accepts(place) {
                if topic.is_retired() {
                    continue;
                }
                // A re-created topic may have fewer partitions.
                if let Some(sticky) = sticky
                    && let Some(next) = self.choose(topic)
                {
                    sticky.switch(place, next);
                    continue;
                }
                return Err(no_partition());
            }
            // Another thread of this stripe may have switched.
            if sticky.is_some_and(|sticky| sticky.current() != Some(place)) {
                continue;
            }
            let appended = self.append_to(&mut queue, partition, topic, placed, &mut permit)?;
            let kept = keep(&appended.cell, appended.index, appended.timestamp);
            if let Some(sticky) = sticky {
                self.count_sticky(topic, sticky, place, appended.record_bytes);
            }
            drop(queue);
            if let Some(signal) = appended.signal {
                self.signal(signal);
            }
            // Other senders may wait for memory that this record did not need.
            drop(permit);
            if appended.growth_bytes >= LARGE_GROWTH_BYTES && self.memory.used() >= AHEAD_BYTES {
                thread::yield_now();
            }
            return Ok(kept);
        }
    }

    /// Returns the partition index for a choice.
    fn place(&self, topic: &Topic, sticky: Option<&Sticky>, choice: Choice) -> Result<i32, Error> {
        let place = match (choice, sticky) {
            (Choice::Partition(index), _) => Some(index),
            (Choice::Anywhere, None) => topic.accepts(0).then_some(0),
            (Choice::Anywhere, Some(sticky)) => sticky.current_or(|| self.choose(topic)),
        };
        place.ok_or_else(|| Error::new(ErrorKind::Metadata, format!("topic {} has no partitions", topic.name)))
    }

    fn append_to(
        &self,
        queue: &mut Queue,
        partition: &Arc<Partition>,
        topic: &Topic,
        placed: &mut Placed<'_>,
        permit: &mut Option<Permit>,
    ) -> Result<Appended, AppendError> {
        // Reading the clock under the lock makes the timestamps of a partition rise.
        let now_ms = self.clock.wall_ms_after(&mut queue.last_reading);
        let record = placed.at(now_ms);
        let takes_more = |batch: &&mut OpenBatch| self.takes_more(partition, batch, record.bytes_max(), now_ms);
        match queue.batches.last_mut().filter(takes_more) {
            Some(batch) => match self.fill(batch, partition, record, permit) {
                // A delta or count that does not fit into this batch may fit into a new one.
                Err(AppendError::Refused(_)) => self.append_to_new(queue, partition, topic, record, now_ms, permit),
                filled => filled,
            },
            None => self.append_to_new(queue, partition, topic, record, now_ms, permit),
        }
    }

    /// Appends to a new batch, and keeps the batch on success.
    fn append_to_new(
        &self,
        queue: &mut Queue,
        partition: &Arc<Partition>,
        topic: &Topic,
        record: &NewRecord<'_>,
        now_ms: i64,
        permit: &mut Option<Permit>,
    ) -> Result<Appended, AppendError> {
        if let Some(error) = lock(&self.closed).clone() {
            return Err(AppendError::Refused(error));
        }
        let created = self.clock.now();
        let mut batch = OpenBatch {
            id: BatchId(self.next_batch.fetch_add(1, Ordering::Relaxed)),
            builder: RecordBatchBuilder::default(),
            cell: Arc::new(Cell::new(Arc::clone(&partition.topic), partition.index, Arc::clone(&self.runner))),
            created,
            opened_ms: now_ms,
            full_bytes: self.full_bytes(topic),
            is_full: false,
            is_closed: false,
        };
        let mut appended = self.fill(&mut batch, partition, record, permit)?;
        self.outcomes.open(batch.id);
        // Senders may already be blocked on memory that this batch holds, so mark it ready at once.
        batch.is_full |= self.memory.is_contended();
        appended.signal = match queue.batches.last_mut() {
            None => Some(Signal::Opened { partition: partition.id, since: created, is_full: batch.is_full }),
            // The previous batch will not grow any more.
            Some(before) if !before.is_full => {
                before.is_full = true;
                Some(Signal::Full { partition: partition.id })
            }
            Some(_) => None,
        };
        queue.batches.push(batch);
        Ok(appended)
    }

    fn fill(
        &self,
        batch: &mut OpenBatch,
        partition: &Arc<Partition>,
        record: &NewRecord<'_>,
        permit: &mut Option<Permit>,
    ) -> Result<Appended, AppendError> {
        let index = batch.builder.record_count().cast_unsigned();
        let (record_bytes, growth_bytes) = match batch.builder.append_within(record) {
            Some(record_bytes) => (record_bytes, 0),
            None => self.grow(batch, partition, record, permit)?,
        };
        let signal = batch.becomes_full().then_some(Signal::Full { partition: partition.id });
        // With a `batch.size` of 0, each record gets its own batch.
        batch.is_closed = self.config.batch_size == 0;
        Ok(Appended {
            cell: Arc::clone(&batch.cell),
            index,
            timestamp: record.timestamp,
            record_bytes,
            growth_bytes,
            signal,
        })
    }

    /// Adds a record that may need more memory. Returns its size, and that of the new segments.
    fn grow(
        &self,
        batch: &mut OpenBatch,
        partition: &Arc<Partition>,
        record: &NewRecord<'_>,
        permit: &mut Option<Permit>,
    ) -> Result<(usize, usize), AppendError> {
        let refuse = |error: kurier_protocol::EncodeError| {
            AppendError::Refused(Error::new(ErrorKind::RecordTooLarge, "cannot encode the record").caused_by(error))
        };
        let slot = batch.builder.slot(record).map_err(refuse)?;
        let record_bytes = slot.record_bytes();
        let limit = self.config.max_request_size.min(self.memory.total());
        if record_bytes + BATCH_HEADER_BYTES > limit {
            return Err(AppendError::Refused(self.too_large(record_bytes + BATCH_HEADER_BYTES)));
        }
        let growth = slot.growth();
        let mut pieces = match growth {
            0 => None,
            _ => match self.take_memory(partition, growth, permit) {
                Some(permit) => Some(permit),
                None => return Err(AppendError::NoRoom(NoRoom { partition: Arc::clone(partition), bytes: growth })),
            },
        };
        slot.fill(|capacity| Piece::new(capacity, pieces.as_mut()));
        if pieces.is_some() {
            // The caller frees the rest without the lock, because that may wake a task.
            *permit = pieces;
        }
        Ok((record_bytes, growth))
    }

    /// Returns memory for a batch to grow: the permit, plus what it lacks.
    fn take_memory(&self, partition: &Partition, bytes: usize, permit: &mut Option<Permit>) -> Option<Permit> {
        if let Some(permit) = permit {
            // During the wait, records without a key may have moved to another partition.
            permit.pass_to(&partition.load);
        }
        match permit.take() {
            None => self.memory.try_acquire(&partition.load, bytes),
            Some(held) if held.bytes() >= bytes => Some(held),
            Some(mut held) => match self.memory.try_acquire(&partition.load, bytes - held.bytes()) {
                Some(more) => {
                    held.join(more);
                    Some(held)
                }
                None => {
                    *permit = Some(held);
                    None
                }
            },
        }
    }

    /// Returns how many bytes the records of a new batch have when it is estimated to have `batch.size` bytes after
    /// compression.
    fn full_bytes(&self, topic: &Topic) -> usize {
        let body_bytes = self.config.batch_size.saturating_sub(BATCH_HEADER_BYTES);
        match self.config.compression_type {
            kurier_compression::CompressionType::None => body_bytes,
            _ => topic.plain_bytes(body_bytes),
        }
    }

    fn too_large(&self, bytes: usize) -> Error {
        let Config { max_request_size, buffer_memory, .. } = &*self.config;
        let (limit, key) = match max_request_size <= buffer_memory {
            true => (max_request_size, "max.request.size"),
            false => (buffer_memory, "buffer.memory"),
        };
        let text = format!(
            "a record of {bytes} bytes is above {key}, which is {limit}: raise the setting, or send a smaller record"
        );
        Error::new(ErrorKind::RecordTooLarge, text)
    }

    /// Takes for one request the first batches of these partitions that fit into `room` bytes together, but at least
    /// one. Also returns the state of each partition's queue afterwards.
    pub fn take_all(&self, partitions: &[PartitionId], mut room: usize) -> (OfEach<Taken>, OfEach<Option<Left>>) {
        let (mut batches, mut left) = (Vec::new(), Vec::new());
        for id in partitions {
            let (taken, remainder) = self.take(*id, room, batches.is_empty());
            if let Some(taken) = taken {
                room = room.saturating_sub(taken.plain_bytes + BATCH_HEADER_BYTES);
                batches.push((*id, taken));
            }
            left.push((*id, remainder));
        }
        (batches, left)
    }

    /// Takes a partition's first batch, if it fits into `room` bytes or `is_first` of its request. Also returns the
    /// state of the queue afterwards.
    pub fn take(&self, id: PartitionId, room: usize, is_first: bool) -> (Option<Taken>, Option<Left>) {
        let Some(partition) = self.partition(id) else { return (None, None) };
        let mut queue = lock(&partition.queue);
        let fits = |batch: &OpenBatch| is_first || batch.builder.body_bytes() + BATCH_HEADER_BYTES <= room;
        let taken = queue.batches.pop_first_if(fits).and_then(|batch| batch.take(&partition.load, &self.outcomes));
        let left = queue.batches.first().map(|batch| Left { since: batch.created, is_full: batch.is_full });
        (taken, left)
    }

    /// Takes a partition's batches that were opened by `until`. Also returns the state of the queue afterwards.
    pub fn drain(&self, id: PartitionId, until: Instant) -> (Vec<Taken>, Option<Left>) {
        let Some(partition) = self.partition(id) else { return (Vec::new(), None) };
        let mut queue = lock(&partition.queue);
        let mut taken = Vec::new();
        while let Some(batch) = queue.batches.pop_first_if(|batch| batch.created <= until) {
            taken.extend(batch.take(&partition.load, &self.outcomes));
        }
        let left = queue.batches.first().map(|batch| Left { since: batch.created, is_full: batch.is_full });
        (taken, left)
    }

    /// Closes a partition's batches that were opened by `created_before` to further records.
    pub fn close_batches(&self, id: PartitionId, created_before: Instant) {
        let Some(partition) = self.partition(id) else { return };
        for batch in lock(&partition.queue).batches.iter_mut() {
            batch.is_closed |= batch.created <= created_before;
        }
    }

    fn partition(&self, id: PartitionId) -> Option<Arc<Partition>> {
        lock(&self.partitions).get(&id).cloned()
    }

    /// Sets which partitions' leaders have stalled or accept batches again.
    pub fn set_stalled(&self, changed: &[(PartitionId, bool)]) {
        let partitions = lock(&self.partitions);
        for (id, is_stalled) in changed {
            if let Some(partition) = partitions.get(id) {
                partition.is_stalled.store(*is_stalled, Ordering::Relaxed);
            }
        }
    }

    /// Returns the partitions of a topic that records without a key avoid.
    #[cfg(test)]
    pub fn left_out(&self, topic: &str) -> Vec<i32> {
        let topic = self.topic(topic).expect("it is known");
        let weights = self.weights(&topic);
        (0i32..).take(topic.partition_count()).filter(|index| weights.share(*index) == 0.0).collect()
    }

    /// Doubles the cap of a partition's batches after a batch of `plain_bytes` that reached the cap was acknowledged.
    /// The cap stays within `max.request.size`, and within the topic's own cap while that is remembered.
    pub fn grow_cap(&self, id: PartitionId, plain_bytes: usize) {
        let Some(partition) = self.partition(id) else { return };
        let cap = partition.cap.load(Ordering::Relaxed);
        // A batch above three quarters was probably closed because the next record did not fit.
        if plain_bytes >= cap / 4 * 3 {
            let now = self.clock.now();
            let topic = self.topic(&partition.topic).filter(|_| !self.faults.has(Mutant::CapForgotten));
            let topic_cap = topic.map_or(usize::MAX, |topic| topic.cap(now));
            let grown = cap.saturating_mul(2).min(self.config.max_request_size).min(topic_cap);
            partition.cap.store(grown, Ordering::Relaxed);
        }
    }

    /// Caps the batches of a partition's topic at half the size of a batch that was too large, but not below
    /// `batch.size`. No partition of the topic grows above that cap for a while.
    pub fn shrink_cap(&self, id: PartitionId, plain_bytes: usize) {
        let Some(partition) = self.partition(id) else { return };
        let cap = (plain_bytes / 2).max(self.config.batch_size).max(1);
        let Some(topic) = self.topic(&partition.topic) else { return };
        let cap = topic.learn_cap(cap, self.clock.now());
        for partition in topic.partitions() {
            partition.cap.fetch_min(cap, Ordering::Relaxed);
        }
    }

    /// Updates a topic's estimated compression ratio from one batch.
    pub fn compressed(&self, topic: &str, plain_bytes: usize, compressed_bytes: usize) {
        if let Some(topic) = self.topic(topic) {
            topic.learn_compression(plain_bytes, compressed_bytes);
        }
    }

    /// Gives a batch's records their outcome. `is_last` is false while other pieces of the batch have none.
    pub fn complete(&self, batch: &Taken, outcome: Outcome, is_last: bool) {
        self.outcomes.resolve(&batch.cell, batch.range.clone(), outcome);
        if is_last {
            self.outcomes.complete(batch.id);
        }
    }

    /// Returns the oldest batch without an outcome, and the newest batch ever opened.
    pub fn incomplete(&self) -> (Option<BatchId>, BatchId) {
        let newest = BatchId(self.next_batch.load(Ordering::Relaxed).saturating_sub(1));
        (self.outcomes.oldest(), newest)
    }

    /// Returns the number of batches without an outcome.
    pub fn incomplete_count(&self) -> usize {
        self.outcomes.incomplete_count()
    }

    /// Returns the ids of all partitions of known topics.
    pub fn partition_ids(&self) -> Vec<PartitionId> {
        lock(&self.partitions).keys().copied().collect()
    }

    /// Returns how many bytes of memory the partitions hold together.
    #[cfg(any(test, feature = "internal"))]
    pub fn held(&self) -> usize {
        lock(&self.partitions).values().fold(0, |sum, partition| sum.wrapping_add(partition.load.bytes()))
    }

    /// Returns the error for new records once the accumulator is closed.
    pub fn closed(&self) -> Option<Error> {
        lock(&self.closed).clone()
    }

    /// Refuses all records from now on with this error.
    pub fn close(&self, error: Error) {
        *lock(&self.closed) = Some(error.clone());
        // Close the open batches, so that no record slips in behind the check.
        for partition in lock(&self.partitions).values() {
            for batch in lock(&partition.queue).batches.iter_mut() {
                batch.is_closed = true;
            }
        }
        self.memory.turn_away(None, || error.clone());
    }
}

/// Why a record was not appended.
#[derive(Debug)]
pub enum AppendError {
    /// The record can never be appended.
    Refused(Error),
    /// The sender must wait for memory.
    NoRoom(NoRoom),
    /// The topic was removed: look it up again.
    Retired,
}

struct Appended {
    cell: Arc<Cell>,
    index: u32,
    timestamp: i64,
    record_bytes: usize,
    /// Size of the segments that the batch got for the record.
    growth_bytes: usize,
    signal: Option<Signal>,
}

impl NoRoom {
    /// Waits for the missing memory.
    pub fn wait(&self, accumulator: &Accumulator, deadline: Instant) -> memory::Acquire {
        let Self { partition, bytes } = self;
        let acquire = accumulator.memory.acquire(partition.id.0, &partition.load, *bytes, deadline);
        // `close` sets the error before it turns away the waiters. This sender has joined them before it checks for the
        // error, so it cannot be missed.
        if let Some(closed) = accumulator.closed() {
            accumulator.memory.turn_away(None, || closed.clone());
        }
        accumulator.signal(Signal::Pressure);
        acquire
    }
}

impl fmt::Debug for Accumulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accumulator").field("memory", &self.memory).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
