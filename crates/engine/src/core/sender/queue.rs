//! A node's queue: the partitions that have a batch for it, each once, in round-robin order.
//!
//! A request looks only at as many open batches as it is likely to hold, whatever the length of the queue.
//!
//! ```text
//!   review ─┬─▶ open ─── taken for a request ──▶ review
//!           └─▶ waiting ──── transmitted ──────▶ review
//! ```

use std::collections::VecDeque;
use std::time::Instant;

use kurier_protocol::record_batch::BATCH_HEADER_BYTES;

use crate::accumulator::PartitionId;
use crate::accumulator::batch::Taken;

/// The partitions that have a batch for a node.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Partitions whose next batch was taken, or is a retry. These go first.
    pub(super) waiting: VecDeque<PartitionId>,
    /// Partitions whose next batch is still open.
    pub(super) open: VecDeque<PartitionId>,
    /// The usual size of a batch before compression; zero if none was taken yet.
    usual_bytes: usize,
    /// Whether the accumulator is taking batches for this node.
    pub(super) is_taking: bool,
    /// Since when the node has accepted nothing, while it may have work.
    pub(super) idle_since: Option<Instant>,
    /// Whether that has lasted too long.
    pub(super) is_stalled: bool,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.open.is_empty()
    }

    /// Removes a partition. This scans the queue, so only rare events may cause it.
    pub(super) fn remove(&mut self, id: PartitionId) {
        self.waiting.retain(|other| *other != id);
        self.open.retain(|other| *other != id);
    }

    /// Empties the queue.
    pub(super) fn drain(&mut self) -> VecDeque<PartitionId> {
        let mut all = std::mem::take(&mut self.waiting);
        all.append(&mut self.open);
        all
    }

    /// Takes out the partitions whose open batches are likely to fill `room` bytes of a request.
    pub(super) fn pop_open(&mut self, room: usize) -> VecDeque<PartitionId> {
        // Batches may be smaller than usual, and a request should not leave half empty.
        let count = match self.usual_bytes / 4 * 3 {
            _ if room == 0 => 0,
            0 => usize::MAX,
            bytes => room / bytes + 1,
        };
        let others = self.open.split_off(count.min(self.open.len()));
        std::mem::replace(&mut self.open, others)
    }

    /// Learns the usual size of a batch.
    pub(super) fn learn(&mut self, batches: &[(PartitionId, Taken)]) {
        let bytes: usize = batches.iter().map(|(_, taken)| taken.plain_bytes + BATCH_HEADER_BYTES).sum();
        let Some(mean) = bytes.checked_div(batches.len()) else { return };
        self.usual_bytes = if self.usual_bytes == 0 { mean } else { self.usual_bytes / 4 * 3 + mean / 4 };
    }
}
