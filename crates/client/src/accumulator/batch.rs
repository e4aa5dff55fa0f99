//! A batch that takes records, and what it becomes when it is taken.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use kurier_protocol::record_batch::{RecordBatchBuilder, SealedBatch, Segment};

use super::memory::{Load, Memory, Permit};
use super::outcomes::{Guard, Outcomes};
use crate::delivery::Cell;

/// A piece of a batch's memory, with the permit for it.
#[derive(Debug)]
pub(crate) struct Piece {
    buffer: Vec<u8>,
    _permit: Option<Permit>,
}

impl Piece {
    /// A piece of this capacity, paid for by `permit`.
    pub(crate) fn new(capacity: usize, permit: Option<&mut Permit>) -> Self {
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

/// Numbers batches in the order in which they were opened, over all partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BatchId(pub(crate) u64);

/// A batch that takes records.
#[derive(Debug)]
pub(crate) struct OpenBatch {
    pub(crate) id: BatchId,
    pub(crate) builder: RecordBatchBuilder<Piece>,
    pub(crate) cell: Arc<Cell>,
    pub(crate) created: Instant,
    /// When it was opened by the wall clock, in milliseconds since 1970.
    pub(crate) opened_ms: i64,
    /// Whether the core knows that it is ready.
    pub(crate) is_full: bool,
    /// Whether it takes no more, though it could.
    pub(crate) is_closed: bool,
}

/// A batch that has been taken, or a piece of one that was too large.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) id: BatchId,
    /// Which of the batch's records these are.
    pub(crate) range: Range<u32>,
    pub(crate) sealed: SealedBatch,
    /// How many bytes its records had before compression.
    pub(crate) plain_bytes: usize,
    pub(crate) created: Instant,
    /// Where its outcome goes. The core hands it on and looks at nothing in it.
    pub(crate) cell: Arc<Cell>,
    load: Arc<Load>,
    /// Shared by all pieces and copies of the batch.
    guard: Arc<Guard>,
}

impl Taken {
    /// Notes that the core has the batch, and may send it.
    pub(crate) fn may_be_sent(&self) {
        self.guard.may_be_sent();
    }

    /// Counts its memory as free while it is not: a mistake.
    pub(crate) fn count_as_free(&self) {
        self.load.forget(self.plain_bytes);
    }

    /// A piece of the batch: so many of its records, from this one on.
    pub(crate) fn piece_of(&self, first: u32, sealed: SealedBatch) -> Self {
        let range = first..first.saturating_add(sealed.record_count().cast_unsigned());
        Self { range, plain_bytes: sealed.body_bytes(), sealed, ..self.clone() }
    }

    /// Memory for another form of the batch, which takes the place of this one in a moment: it need not wait.
    pub(crate) fn piece(&self, memory: &Arc<Memory>, buffer: Vec<u8>) -> Piece {
        let permit = memory.take(&self.load, buffer.capacity());
        Piece::from((buffer, permit))
    }
}

impl OpenBatch {
    /// Closes the batch; `None` if it is empty.
    pub(crate) fn take(self, load: &Arc<Load>, outcomes: &Arc<Outcomes>) -> Option<Taken> {
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
