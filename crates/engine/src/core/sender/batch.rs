//! A batch between being taken from the accumulator and its outcome.

use std::fmt;
use std::time::Instant;

use kurier_protocol::Uuid;
use kurier_protocol::record_batch::{BATCH_HEADER_BYTES, Stamp};

use crate::accumulator::batch::Taken;
use crate::core::key::Key;
use crate::core::response::Asked;
use crate::error::{Error, Stage, Written};
use crate::fault_injection::{FaultInjection, Mutant};

/// A batch that was taken, and the history of its attempts.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) taken: Taken,
    pub(super) stamp: Option<Stamp>,
    /// The topic id of the first attempt; zero before that, or without topic ids.
    pub(super) topic_id: Uuid,
    /// The number of attempts, including those of the batch that this one was split from.
    pub(super) attempts: u32,
    /// When the last attempt was sent.
    pub(super) sent_at: Option<Instant>,
    /// How many attempts the batch before the split made. `retries` does not count them.
    attempts_before_split: u32,
    /// Whether an attempt may have been written. An attempt is surely unwritten if a broker refused it before the
    /// append, or if its frame was not sent whole.
    pub(super) is_maybe_written: bool,
    pub(super) trouble: Option<Trouble>,
}

/// The last failure of a batch.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) node: String,
    pub(super) error: Error,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "last error: {:#}", self.error)
    }
}

impl Batch {
    pub(super) fn new(taken: Taken) -> Self {
        Self {
            taken,
            stamp: None,
            topic_id: Uuid::ZERO,
            attempts: 0,
            sent_at: None,
            attempts_before_split: 0,
            is_maybe_written: false,
            trouble: None,
        }
    }

    /// Returns a piece of this batch, which is too large. No record of this batch is in the log, so the piece may use
    /// `stamp`, its share of this batch's sequence numbers.
    pub(super) fn piece(&self, taken: Taken, stamp: Option<Stamp>) -> Self {
        Self {
            stamp,
            topic_id: self.topic_id,
            attempts: self.attempts,
            attempts_before_split: self.attempts,
            trouble: self.trouble.clone(),
            ..Self::new(taken)
        }
    }

    /// Forgets the sequence numbers and the topic id. The caller knows that the batch is not in the log.
    pub(super) fn forget_cluster(&mut self, faults: FaultInjection) {
        self.stamp = self.stamp.filter(|_| faults.has(Mutant::PiecesKeepStamp));
        self.topic_id = Uuid::ZERO;
    }

    /// Returns the number of attempts since the batch was split off.
    pub(super) fn own_attempts(&self) -> u32 {
        self.attempts.saturating_sub(self.attempts_before_split)
    }

    /// Returns the facts that decide what a response means. `is_head` as in [`Asked`].
    pub(super) fn asked(&self, is_idempotent: bool, is_head: bool) -> Asked {
        let Taken { sealed, plain_bytes, .. } = &self.taken;
        Asked {
            record_count: sealed.record_count(),
            bytes: self.request_bytes(),
            plain_bytes: plain_bytes + BATCH_HEADER_BYTES,
            codec: sealed.compression_type(),
            max_timestamp: sealed.max_timestamp(),
            is_idempotent,
            is_head,
        }
    }

    pub(super) fn request_bytes(&self) -> usize {
        self.taken.sealed.body_bytes() + BATCH_HEADER_BYTES
    }

    /// Returns whether an earlier attempt went to a different topic of the same name.
    pub(super) fn is_of_another_topic(&self, topic_id: Uuid) -> bool {
        self.attempts > 0 && self.topic_id != Uuid::ZERO && self.topic_id != topic_id
    }

    /// Adds the batch's history to an error.
    pub(super) fn describe(&self, error: Error, stage: Stage, now: Instant) -> Error {
        let stage = if self.attempts == 0 { Stage::Queued } else { stage };
        let written = if self.is_maybe_written { Written::Unknown } else { Written::No };
        let error =
            error.written_is(written).after(stage, self.attempts, now.saturating_duration_since(self.taken.created));
        match &self.trouble {
            Some(trouble) => error.on(Some(trouble.node.clone())).with_code(trouble.error.error_code()),
            None => error,
        }
    }
}

pub(super) fn key_of(taken: &Taken) -> Key {
    Key { batch: taken.id, first_record: taken.range.start }
}
