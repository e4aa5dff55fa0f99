//! The requests that await a response.

use std::sync::Arc;

use kurier_protocol::{PartitionIndex, Uuid};

use super::key::Key;
use super::refresh::QuestionId;
use crate::accumulator::PartitionId;

/// The content of a request, kept until its response arrives.
#[derive(Debug)]
pub(super) enum Question {
    Metadata(QuestionId),
    ProducerId,
    Produce(Vec<Sent>),
}

/// A batch in a request, kept until its response arrives.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) partition: PartitionId,
    pub(super) key: Key,
    pub(super) topic: Arc<str>,
    pub(super) topic_id: Uuid,
    pub(super) index: PartitionIndex,
}
