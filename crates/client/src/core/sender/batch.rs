//! A batch on its way, from being taken to its outcome.

use std::fmt;
use std::time::Instant;

use kurier_protocol::record_batch::{BATCH_HEADER_BYTES, Stamp};
use kurier_protocol::{ErrorCode, Uuid};

use crate::accumulator::batch::Taken;
use crate::core::Key;
use crate::core::response::Asked;
use crate::error::{Error, Stage, Written};
use crate::simulation::Mutant;

/// A batch that was taken, and what has come to it so far.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) taken: Taken,
    pub(super) stamp: Option<Stamp>,
    /// The topic that its records were first sent to; zero if they were not, or topics have no ids.
    pub(super) topic_id: Uuid,
    /// How often its records were sent, the attempts of the batch that it was split from included.
    pub(super) attempts: u32,
    /// When it was last sent.
    pub(super) sent_at: Option<Instant>,
    /// How many of these attempts were made by the batch that it was split from. `retries` does not count them.
    attempts_before_split: u32,
    /// Whether an attempt may have been written. An attempt is surely unwritten if a broker refused it before the append,
    /// or if its frame did not leave whole.
    pub(super) is_maybe_written: bool,
    pub(super) trouble: Option<Trouble>,
}

/// What went wrong last with a batch.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble {
    pub(super) node: String,
    pub(super) text: String,
    pub(super) code: Option<ErrorCode>,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the last try ended so: {}", self.text)
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

    /// A piece of this batch, which was split because it is too large. Nothing of this batch is in the log, so the piece
    /// may be sent under `stamp`, its share of this batch's sequences.
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

    /// Forgets the sequences and the topic that the batch was sent with. The caller knows that it is not in the log.
    pub(super) fn forget_cluster(&mut self) {
        self.stamp = self.stamp.filter(|_| Mutant::PiecesKeepStamp.is_on());
        self.topic_id = Uuid::ZERO;
    }

    /// How often this batch itself was sent.
    pub(super) fn own_attempts(&self) -> u32 {
        self.attempts.saturating_sub(self.attempts_before_split)
    }

    /// What is known of it when an answer comes. `is_head` as in [`Asked`].
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

    /// Whether it was sent to a topic that had the name of this one.
    pub(super) fn is_of_another_topic(&self, topic_id: Uuid) -> bool {
        self.attempts > 0 && self.topic_id != Uuid::ZERO && self.topic_id != topic_id
    }

    /// Adds to an error what is known of the batch.
    pub(super) fn describe(&self, error: Error, stage: Stage, now: Instant) -> Error {
        let stage = if self.attempts == 0 { Stage::Queued } else { stage };
        let written = if self.is_maybe_written { Written::Unknown } else { Written::No };
        let error =
            error.written_is(written).after(stage, self.attempts, now.saturating_duration_since(self.taken.created));
        match &self.trouble {
            Some(trouble) => error.on(Some(trouble.node.clone())).with_code(trouble.code),
            None => error,
        }
    }
}

pub(super) fn key_of(taken: &Taken) -> Key {
    Key { batch: taken.id, first_record: taken.range.start }
}
