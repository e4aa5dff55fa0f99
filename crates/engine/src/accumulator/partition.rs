//! A partition's batches, and the state that senders share.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, PoisonError};

use kurier_protocol::PartitionIndex;

use super::batch::OpenBatch;
use super::clock::WallReading;
use super::memory::Load;
use crate::sync::atomic::{AtomicBool, AtomicUsize};
use crate::sync::{Mutex, MutexGuard};

/// Identifies a partition of any topic. Ids ascend as the core discovers partitions, and are never reused: a partition
/// that was forgotten and comes back gets a new id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionId(pub u32);

/// A partition's batches.
pub struct Partition {
    pub(super) id: PartitionId,
    pub(super) topic: Arc<str>,
    pub(super) index: PartitionIndex,
    pub(super) queue: Mutex<Queue>,
    pub(super) load: Arc<Load>,
    /// The largest size of a batch before compression.
    pub(super) cap: AtomicUsize,
    /// Whether the leader has stalled, so that records without a key avoid the partition.
    pub(super) is_stalled: AtomicBool,
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Partition({}-{})", self.topic, self.index)
    }
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The wall clock at the last append.
    pub(super) last_reading: WallReading,
    pub(super) batches: VecDeque<OpenBatch>,
}

impl Queue {
    /// Frees the memory of an empty queue, which is most of an idle partition's memory.
    pub(super) fn release(&mut self) {
        if self.batches.is_empty() {
            self.batches = VecDeque::new();
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Data under these locks is consistent at every moment, so a panic leaves it usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
