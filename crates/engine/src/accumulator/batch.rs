//! Batches: an open one that accepts records, and a closed one after the driver has taken it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use kurier_protocol::record_batch::{RecordBatchBuilder, SealedBatch, Segment};

use super::memory::{Load, Memory, Permit};
use super::outcomes::{Guard, Outcomes};
use crate::delivery::Cell;

/// A segment of a batch's memory, with its permit.
#[derive(Debug)]
pub struct Piece {
    buffer: Vec<u8>,
    _permit: Option<Permit>,
}

impl Piece {
    /// Allocates a segment of this capacity, paid for by `permit`.
    pub fn new(capacity: usize, permit: Option<&mut Permit>) -> Self {
        debug_assert!(permit.is_some(), "a segment that was not announced");
        Self { buffer: Vec::with_capacity(capacity), _permit: permit.map(|permit| permit.split(capacity)) }
    }
}

impl From<(Vec<u8>, Permit)> for Piece {
    fn from((buffer, permit): (Vec<u8>, Permit)) -> Self {
        Self { buffer, _permit: Some(permit) }
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Segment for Piece {
    fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }
}

/// Identifies a batch of any partition. Ids ascend in the order of opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId(pub u64);

/// A batch that accepts records.
#[derive(Debug)]
pub struct OpenBatch {
    pub id: BatchId,
    pub builder: RecordBatchBuilder<Piece>,
    pub cell: Arc<Cell>,
    pub created: Instant,
    /// The wall-clock time of opening, in milliseconds since 1970.
    pub opened_ms: i64,
    /// The size of the records from which on the batch is ready before its linger time is over.
    pub full_bytes: usize,
    /// Whether the core was told that the batch is ready.
    pub is_full: bool,
    /// Whether the batch accepts no more records, even though it has room.
    pub is_closed: bool,
}

/// A batch that was taken, or a piece of one that was too large.
#[derive(Clone, Debug)]
pub struct Taken {
    pub id: BatchId,
    /// The indexes of its records in the original batch.
    pub range: Range<u32>,
    pub sealed: SealedBatch,
    /// The size of the records before compression.
    pub plain_bytes: usize,
    pub created: Instant,
    /// The destination of the outcome. The core passes it on without looking inside.
    pub cell: Arc<Cell>,
    load: Arc<Load>,
    /// Shared by all pieces and copies of the batch.
    guard: Arc<Guard>,
}

impl Taken {
    /// Notes that the core has the batch and may send it.
    pub fn may_be_sent(&self) {
        self.guard.may_be_sent();
    }

    /// Counts the batch's memory as free while it is in use. Only a mutant calls this.
    pub fn count_as_free(&self) {
        self.load.forget(self.plain_bytes);
    }

    /// Returns the piece of the batch that starts at record `first` and has the records of `sealed`.
    pub fn piece_of(&self, first: u32, sealed: SealedBatch) -> Self {
        let range = first..first.saturating_add(sealed.record_count().cast_unsigned());
        Self { range, plain_bytes: sealed.body_bytes(), sealed, ..self.clone() }
    }

    /// Returns memory for another form of the batch, which will replace this one soon. It does not wait for free
    /// memory.
    pub fn piece(&self, memory: &Arc<Memory>, buffer: Vec<u8>) -> Piece {
        let permit = memory.take(&self.load, buffer.capacity());
        Piece::from((buffer, permit))
    }
}

impl OpenBatch {
    /// Returns whether the batch has just become full, and notes that.
    #[inline]
    pub fn becomes_full(&mut self) -> bool {
        let is_new = !self.is_full && self.builder.body_bytes() >= self.full_bytes;
        self.is_full |= is_new;
        is_new
    }

    /// Closes the batch; `None` if it is empty.
    pub fn take(self, load: &Arc<Load>, outcomes: &Arc<Outcomes>) -> Option<Taken> {
        let Self { id, builder, cell, created, .. } = self;
        let sealed = builder.seal()?;
        let count = sealed.record_count().cast_unsigned();
        Some(Taken {
            guard: Guard::new(id, &cell, count, outcomes),
            id,
            range: 0..count,
            plain_bytes: sealed.body_bytes(),
            sealed,
            created,
            cell,
            load: Arc::clone(load),
        })
    }
}
