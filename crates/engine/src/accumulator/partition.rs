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
    pub(super) batches: Batches,
}

/// The batches of a partition, in the order of opening.
#[derive(Debug, Default)]
pub(super) struct Batches {
    /// All but the last one. Mostly there is none.
    earlier: VecDeque<OpenBatch>,
    /// The last one, which may grow. It lies in the partition, where each record finds it.
    last: Option<OpenBatch>,
}

impl Batches {
    pub(super) fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    pub(super) fn first(&self) -> Option<&OpenBatch> {
        self.earlier.front().or(self.last.as_ref())
    }

    #[inline]
    pub(super) fn last_mut(&mut self) -> Option<&mut OpenBatch> {
        self.last.as_mut()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut OpenBatch> {
        self.earlier.iter_mut().chain(&mut self.last)
    }

    pub(super) fn push(&mut self, batch: OpenBatch) {
        self.earlier.extend(self.last.replace(batch));
    }

    /// Removes the first batch, if it `fits`.
    pub(super) fn pop_first_if(&mut self, mut fits: impl FnMut(&OpenBatch) -> bool) -> Option<OpenBatch> {
        if !self.earlier.is_empty() {
            return self.earlier.pop_front_if(|batch| fits(batch));
        }
        // An idle partition allocates nothing.
        self.earlier = VecDeque::new();
        self.last.take_if(|batch| fits(batch))
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Data under these locks is consistent at every moment, so a panic leaves it usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
