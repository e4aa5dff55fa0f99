//! A batch on its way, from being taken to its outcome.

use std::time::Instant;

use kurier_protocol::record_batch::{BATCH_HEADER_BYTES, Stamp};
use kurier_protocol::{ErrorCode, Uuid};

use crate::accumulator::batch::Taken;
use crate::core::Key;
use crate::error::{Error, Stage, Written};

/// A batch that was taken, and what has come to it so far.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) taken: Taken,
    pub(super) stamp: Option<Stamp>,
    /// The topic that it was sent to first.
    pub(super) topic_id: Uuid,
    pub(super) attempts: u32,
    /// Whether an attempt may have been written, for all that is known.
    pub(super) is_maybe_written: bool,
    /// Whether every attempt was answered so.
    pub(super) is_only_too_large: bool,
    pub(super) trouble: Option<Trouble>,
}

/// What went wrong last with a batch.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble {
    pub(super) node: String,
    pub(super) text: String,
    pub(super) code: Option<ErrorCode>,
}

impl Batch {
    pub(super) fn new(taken: Taken) -> Self {
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

    pub(super) fn request_bytes(&self) -> usize {
        self.taken.sealed.body_bytes() + BATCH_HEADER_BYTES
    }

    /// Whether it was sent to a topic that had the name of this one.
    pub(super) fn is_of_another_topic(&self, topic_id: Uuid) -> bool {
        self.attempts > 0 && self.topic_id != Uuid::ZERO && self.topic_id != topic_id
    }

    /// Adds to an error what is known of the batch.
    pub(super) fn describe(&self, error: Error, stage: Stage, now: Instant) -> Error {
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
