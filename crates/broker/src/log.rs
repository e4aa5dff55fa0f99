//! A partition's log, and its memory of the producers that wrote to it.
//!
//! The rules for sequences are those of Kafka's `ProducerAppendInfo` and `ProducerStateEntry`: a producer id has an
//! epoch and its last five batches. A batch whose epoch, first and last sequence are among them is a duplicate, and the
//! answer is its old offset, whatever its bytes. Any other batch must begin where the last one ended. A new epoch must
//! begin at 0. An unknown producer id may begin anywhere (until Kafka 4.5, KAFKA-15591).

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use kurier_protocol::ErrorCode;

use crate::batch::{self, Batch};
use crate::version::KafkaVersion;

/// Batches to remember per producer (`ProducerStateEntry.NUM_BATCHES_TO_RETAIN`).
const REMEMBERED_BATCHES: usize = 5;

/// The batches of one partition.
#[derive(Debug, Default)]
pub(crate) struct Log {
    batches: Vec<Stored>,
    end_offset: i64,
    producers: HashMap<i64, Producer>,
    unknown: UnknownProducer,
}

#[derive(Debug)]
struct Stored {
    base_offset: i64,
    last_offset: i64,
    max_timestamp: i64,
    bytes: Bytes,
}

/// Reaction of a partition to a batch of an unknown producer whose first sequence is not 0.
///
/// ```
/// use kurier_broker::{Cluster, ClusterSettings, UnknownProducer};
///
/// let mut cluster = Cluster::new(ClusterSettings::default());
/// cluster.set_unknown_producer(UnknownProducer::Refused);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownProducer {
    /// Accepts the batch, as Kafka 2.5 to 4.4 does (KIP-360, KAFKA-15591).
    #[default]
    Taken,
    /// Answers OUT_OF_ORDER_SEQUENCE_NUMBER.
    OutOfOrder,
    /// Answers UNKNOWN_PRODUCER_ID, as Kafka did before 2.5.
    Refused,
}

/// A record found by its timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    /// Epoch of the leader that appended the record.
    pub(crate) leader_epoch: i32,
}

/// State of a producer id in this partition.
#[derive(Debug)]
struct Producer {
    epoch: i16,
    recent: VecDeque<Recent>,
}

#[derive(Clone, Copy, Debug)]
struct Recent {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
    max_timestamp: i64,
}

/// Position of a batch in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) base_offset: i64,
    /// -1 on a topic with CreateTime. For a duplicate, Kafka gives the batch's highest timestamp, which is the same
    /// value on a topic with LogAppendTime (`UnifiedLog.append`).
    pub(crate) log_append_time: i64,
}

/// Returns the sequence `count` after this one; after 2^31 - 1 comes 0.
fn sequence_after(sequence: i32, count: i32) -> i32 {
    sequence.wrapping_add(count) & i32::MAX
}

impl Log {
    /// Returns the offset of the next record.
    pub(crate) fn end_offset(&self) -> i64 {
        self.end_offset
    }

    /// Appends a batch, unless it is a duplicate.
    pub(crate) fn append(
        &mut self,
        batch: &Batch,
        leader_epoch: i32,
        append_time: Option<i64>,
    ) -> Result<Appended, ErrorCode> {
        if batch.producer_id >= 0
            && let Some(appended) = self.check_sequence(batch)?
        {
            return Ok(appended);
        }
        let appended = Appended { base_offset: self.end_offset, log_append_time: append_time.unwrap_or(-1) };
        let bytes = batch.stored(self.end_offset, leader_epoch, append_time);
        let base_offset = self.end_offset;
        self.end_offset += i64::from(batch.record_count);
        let max_timestamp = append_time.unwrap_or(batch.max_timestamp);
        self.batches.push(Stored { base_offset, last_offset: self.end_offset - 1, max_timestamp, bytes });
        if batch.producer_id >= 0 {
            self.remember(batch, base_offset, max_timestamp);
        }
        Ok(appended)
    }

    /// Sets how to treat unknown producers.
    pub(crate) fn set_unknown_producer(&mut self, unknown: UnknownProducer) {
        self.unknown = unknown;
    }

    /// Forgets all producers.
    pub(crate) fn forget_producers(&mut self) {
        self.producers.clear();
    }

    /// Drops the last batches, and the state of producers that depends on them.
    pub(crate) fn truncate(&mut self, batches: usize) {
        self.batches.truncate(self.batches.len().saturating_sub(batches));
        self.end_offset = self.batches.last().map_or(0, |last| last.last_offset + 1);
        for producer in self.producers.values_mut() {
            producer.recent.retain(|batch| batch.base_offset < self.end_offset);
        }
        self.producers.retain(|_, producer| !producer.recent.is_empty());
    }

    /// Checks a batch's sequence. Returns the position of a duplicate, or `None` if the batch may be appended.
    fn check_sequence(&self, batch: &Batch) -> Result<Option<Appended>, ErrorCode> {
        let Some(producer) = self.producers.get(&batch.producer_id) else {
            return match self.unknown {
                UnknownProducer::OutOfOrder if batch.base_sequence != 0 => Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER),
                UnknownProducer::Refused if batch.base_sequence != 0 => Err(ErrorCode::UNKNOWN_PRODUCER_ID),
                _ => Ok(None),
            };
        };
        if batch.producer_epoch < producer.epoch {
            return Err(ErrorCode::INVALID_PRODUCER_EPOCH);
        }
        let first = batch.base_sequence;
        if batch.producer_epoch > producer.epoch {
            return if first == 0 { Ok(None) } else { Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER) };
        }
        let last = sequence_after(first, batch.record_count - 1);
        let same = |recent: &&Recent| (recent.first_sequence, recent.last_sequence) == (first, last);
        if let Some(duplicate) = producer.recent.iter().find(same) {
            let Recent { base_offset, max_timestamp, .. } = *duplicate;
            return Ok(Some(Appended { base_offset, log_append_time: max_timestamp }));
        }
        match producer.recent.back() {
            Some(newest) if sequence_after(newest.last_sequence, 1) != first => {
                Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER)
            }
            _ => Ok(None),
        }
    }

    fn remember(&mut self, batch: &Batch, base_offset: i64, max_timestamp: i64) {
        let fresh = || Producer { epoch: batch.producer_epoch, recent: VecDeque::new() };
        let producer = self.producers.entry(batch.producer_id).or_insert_with(fresh);
        if producer.epoch != batch.producer_epoch {
            *producer = fresh();
        }
        producer.recent.push_back(Recent {
            first_sequence: batch.base_sequence,
            last_sequence: sequence_after(batch.base_sequence, batch.record_count - 1),
            base_offset,
            max_timestamp,
        });
        if producer.recent.len() > REMEMBERED_BATCHES {
            producer.recent.pop_front();
        }
    }

    /// Returns the batches from the one that holds `offset` on, up to `max_bytes`. If `wants_one`, returns at least
    /// one.
    ///
    /// `None` if the log has no such offset.
    pub(crate) fn read(&self, offset: i64, max_bytes: usize, wants_one: bool) -> Option<Vec<Bytes>> {
        if !(0..=self.end_offset).contains(&offset) {
            return None;
        }
        let first = self.batches.partition_point(|batch| batch.last_offset < offset);
        let mut room = max_bytes;
        let mut read = Vec::new();
        for batch in self.batches.iter().skip(first) {
            match room.checked_sub(batch.bytes.len()) {
                Some(left) => room = left,
                None if wants_one && read.is_empty() => room = 0,
                None => break,
            }
            read.push(batch.bytes.clone());
        }
        Some(read)
    }

    /// Returns the epoch of the leader that appended the first batch.
    pub(crate) fn first_epoch(&self) -> Option<i32> {
        batch::leader_epoch(&self.batches.first()?.bytes)
    }

    /// Returns the first record whose timestamp is at least this.
    pub(crate) fn record_at(&self, timestamp: i64) -> Option<Found> {
        let batch = self.batches.iter().find(|batch| batch.max_timestamp >= timestamp)?;
        let (delta, timestamp) = batch::record_at(&batch.bytes, timestamp)?;
        let leader_epoch = batch::leader_epoch(&batch.bytes)?;
        Some(Found { offset: batch.base_offset + delta, timestamp, leader_epoch })
    }

    /// Returns the first record with the highest timestamp. Kafka 3.7 returns the last record of its batch
    /// (KAFKA-16310).
    pub(crate) fn newest_record(&self, version: KafkaVersion) -> Option<Found> {
        let newest = self.batches.iter().map(|batch| batch.max_timestamp).max()?;
        let found = self.record_at(newest)?;
        if version > KafkaVersion::V3_7 {
            return Some(found);
        }
        let batch = self.batches.iter().find(|batch| batch.last_offset >= found.offset)?;
        Some(Found { offset: batch.last_offset, ..found })
    }
}
