//! Identity of a batch inside the core.

use crate::accumulator::batch::BatchId;

/// Identifies a batch or a piece of one. Keys sort in the order of their partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub batch: BatchId,
    pub first_record: u32,
}

impl Key {
    /// The lowest key.
    pub const FIRST: Self = Self { batch: BatchId(0), first_record: 0 };
}
