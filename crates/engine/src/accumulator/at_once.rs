//! Appends records to a batch that is open already, which is what almost every record needs.
//!
//! A record takes one lock, and writes to no other memory that threads share. Whatever else it may need, such as memory,
//! a new batch or a partition that is not known, is left to [`Accumulator::append`].

use kurier_partitioner::{Choice, Sticky};
use kurier_protocol::record_batch::BATCH_HEADER_BYTES;

use super::batch::OpenBatch;
use super::partition::{Partition, Queue, lock};
use super::topic::{Topic, stripe};
use super::{Accumulator, Keep, Ordering, Placed, Signal};
use crate::fault_injection::Mutant;

/// An open batch, while its partition's lock is held.
struct Filling<'a> {
    accumulator: &'a Accumulator,
    topic: &'a Topic,
    partition: &'a Partition,
    batch: &'a mut OpenBatch,
    /// The sticky partition that the records count for, with its index.
    sticky: Option<(&'a Sticky, i32)>,
    now_ms: i64,
    signal: Option<Signal>,
    /// Whether the sticky partition has had its share.
    is_over: bool,
}

impl Filling<'_> {
    /// Appends a record, if the batch surely takes it. Returns its index and timestamp.
    #[inline]
    fn push(&mut self, placed: &Placed<'_>) -> Option<(u32, i64)> {
        let Self { accumulator, topic, partition, batch, sticky, now_ms, signal, is_over } = self;
        let record = placed.record(*now_ms);
        if !accumulator.takes_more(partition, batch, record.bytes_max(), *now_ms) {
            return None;
        }
        let index = batch.builder.record_count().cast_unsigned();
        let record_bytes = batch.builder.append_within(&record)?;
        if batch.becomes_full() {
            *signal = Some(Signal::Full { partition: partition.id });
        }
        if let Some((sticky, place)) = *sticky {
            *is_over = accumulator.count_sticky(topic, sticky, place, record_bytes);
        }
        Some((index, record.timestamp))
    }
}

impl Accumulator {
    /// Appends a record to the open batch of its partition. Returns `None` if the record needs more than that; nothing has
    /// then happened.
    #[inline]
    pub fn append_at_once<T>(&self, topic: &Topic, placed: &Placed<'_>, keep: &mut impl Keep<T>) -> Option<T> {
        self.fill_at_once(topic, placed.choice, |filling| {
            let (index, timestamp) = filling.push(placed)?;
            Some(keep(&filling.batch.cell, index, timestamp))
        })
    }

    /// Appends values to the open batch of their partition, in their order, under one lock and with one timestamp.
    /// Returns how many: fewer if the batch takes no more, or if the sticky partition has had its share.
    pub fn append_run<'v>(
        &self,
        topic: &Topic,
        choice: Choice,
        values: impl Iterator<Item = Option<&'v [u8]>>,
    ) -> usize {
        let filled = self.fill_at_once(topic, choice, |filling| {
            let mut count = 0;
            for value in values {
                let placed = Placed { choice, timestamp: None, key: None, value, headers: &[] };
                if filling.push(&placed).is_none() {
                    break;
                }
                count += 1;
                if filling.is_over {
                    break;
                }
            }
            Some(count)
        });
        filled.unwrap_or(0)
    }

    /// Lets `fill` append to the open batch of a partition, under its lock.
    #[inline]
    fn fill_at_once<T>(
        &self,
        topic: &Topic,
        choice: Choice,
        fill: impl FnOnce(&mut Filling<'_>) -> Option<T>,
    ) -> Option<T> {
        let (place, sticky) = match choice {
            Choice::Partition(place) => (place, None),
            Choice::Anywhere if topic.count() == 1 => (0, None),
            Choice::Anywhere => {
                let sticky = topic.sticky(stripe());
                let place = sticky.current()?;
                (place, Some((sticky, place)))
            }
        };
        let partition = topic.partition(place)?;
        let mut queue = lock(&partition.queue);
        // Both may have changed before the lock was taken.
        if !topic.accepts(place) || sticky.is_some_and(|(sticky, place)| sticky.current() != Some(place)) {
            return None;
        }
        let Queue { last_reading, batches } = &mut *queue;
        let batch = batches.back_mut()?;
        let now_ms = self.clock.wall_ms_after(last_reading);
        let mut filling =
            Filling { accumulator: self, topic, partition, batch, sticky, now_ms, signal: None, is_over: false };
        let filled = fill(&mut filling);
        let signal = filling.signal;
        drop(queue);
        if let Some(signal) = signal {
            self.signal(signal);
        }
        filled
    }

    /// Returns whether an open batch takes another record of at most `bytes` bytes.
    #[inline]
    pub(super) fn takes_more(&self, partition: &Partition, batch: &OpenBatch, bytes: usize, now_ms: i64) -> bool {
        let grown = BATCH_HEADER_BYTES + batch.builder.body_bytes() + bytes;
        // The driver closes old batches, but it may have been unable to: the process was stopped, or its runtime
        // blocked. The difference is absolute, because the wall clock may have been set.
        let is_young = now_ms.abs_diff(batch.opened_ms) < self.growing_ms || self.faults.has(Mutant::LateRecordJoins);
        !batch.is_closed && grown <= partition.cap.load(Ordering::Relaxed) && is_young
    }
}
