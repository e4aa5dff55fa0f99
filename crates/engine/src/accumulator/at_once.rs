//! Appends records to a batch that is open already, which is what almost every record needs.
//!
//! A record takes one lock, and writes to no other memory that threads share. Whatever else it may need, such as memory,
//! a new batch or a partition that is not known, is left to [`Accumulator::append_with`].

use kurier_partitioner::{Choice, Sticky};
use kurier_protocol::record_batch::{BATCH_HEADER_BYTES, NewRecord};

use super::batch::OpenBatch;
use super::partition::{Partition, Queue, lock};
use super::topic::{Topic, stripe};
use super::{Accumulator, Keep, Ordering, Placed, Signal};
use crate::fault_injection::Mutant;

/// Where a record goes: a partition by its index, perhaps because it is the sticky one.
#[derive(Clone, Copy)]
struct Place<'a> {
    index: i32,
    sticky: Option<&'a Sticky>,
}

impl<'a> Place<'a> {
    /// Returns the place of a choice, if there is one already.
    #[inline]
    fn of(choice: Choice, topic: &'a Topic) -> Option<Self> {
        match choice {
            Choice::Partition(index) => Some(Self { index, sticky: None }),
            Choice::Anywhere if topic.count() == 1 => Some(Self { index: 0, sticky: None }),
            Choice::Anywhere => {
                let sticky = topic.sticky(stripe());
                Some(Self { index: sticky.current()?, sticky: Some(sticky) })
            }
        }
    }

    /// Returns whether records may go here. Ask under the partition's lock: retiring the topic and leaving the sticky
    /// partition need it, too. The number of partitions may still change.
    #[inline]
    fn is_valid(self, topic: &Topic) -> bool {
        topic.accepts(self.index) && self.sticky.is_none_or(|sticky| sticky.current() == Some(self.index))
    }
}

impl Accumulator {
    /// Appends a record to the open batch of its partition. Returns `None` if the record needs more than that; nothing has
    /// then happened.
    #[inline]
    pub fn append_at_once<T>(&self, topic: &Topic, placed: &mut Placed<'_>, keep: &mut impl Keep<T>) -> Option<T> {
        let place = Place::of(placed.choice, topic)?;
        let partition = topic.partition(place.index)?;
        let mut queue = lock(&partition.queue);
        if !place.is_valid(topic) {
            return None;
        }
        let Queue { last_reading, batches } = &mut *queue;
        let batch = batches.last_mut()?;
        let now_ms = self.clock.wall_ms_after(last_reading);
        let record = placed.at(now_ms);
        if !self.takes_more(partition, batch, record.bytes_max(), now_ms) {
            return None;
        }
        let index = batch.builder.record_count().cast_unsigned();
        let record_bytes = batch.builder.append_within(record)?;
        if let Some(sticky) = place.sticky {
            self.count_sticky(topic, sticky, place.index, record_bytes);
        }
        let kept = keep(&batch.cell, index, record.timestamp);
        let becomes_full = batch.becomes_full();
        drop(queue);
        if becomes_full {
            self.signal(Signal::Full { partition: partition.id });
        }
        Some(kept)
    }

    /// Appends values to the open batch of their partition, in their order, under one lock and with one timestamp.
    /// Returns how many: fewer if the batch takes no more, or if the sticky partition has had its share.
    pub fn append_run<'v>(
        &self,
        topic: &Topic,
        choice: Choice,
        values: impl Iterator<Item = Option<&'v [u8]>>,
    ) -> usize {
        let mut count = 0;
        let Some(place) = Place::of(choice, topic) else { return count };
        let Some(partition) = topic.partition(place.index) else { return count };
        let mut queue = lock(&partition.queue);
        if !place.is_valid(topic) {
            return count;
        }
        let Queue { last_reading, batches } = &mut *queue;
        let Some(batch) = batches.last_mut() else { return count };
        let timestamp = self.clock.wall_ms_after(last_reading);
        for value in values {
            let record = NewRecord { timestamp, key: None, value, headers: &[] };
            if !self.takes_more(partition, batch, record.bytes_max(), timestamp) {
                break;
            }
            let Some(record_bytes) = batch.builder.append_within(&record) else { break };
            count += 1;
            if place.sticky.is_some_and(|sticky| self.count_sticky(topic, sticky, place.index, record_bytes)) {
                break;
            }
        }
        let becomes_full = batch.becomes_full();
        drop(queue);
        if becomes_full {
            self.signal(Signal::Full { partition: partition.id });
        }
        count
    }

    /// Returns whether an open batch takes another record of at most `bytes` bytes.
    #[inline]
    pub(super) fn takes_more(&self, partition: &Partition, batch: &OpenBatch, bytes: usize, now_ms: i64) -> bool {
        let grown = (BATCH_HEADER_BYTES + batch.builder.body_bytes()).saturating_add(bytes);
        // The driver closes old batches, but it may have been unable to: the process was stopped, or its runtime
        // blocked. The difference is absolute, because the wall clock may have been set.
        let is_young = now_ms.abs_diff(batch.opened_ms) < self.growing_ms || self.faults.has(Mutant::LateRecordJoins);
        !batch.is_closed && grown <= partition.cap.load(Ordering::Relaxed) && is_young
    }
}
