//! A topic's partitions by index, which senders find without writing to shared memory.

use std::sync::Arc;

use super::partition::Partition;
use crate::sync::OnceLock;

/// Partitions by index. The table only grows, because the core keeps an index's partition as long as it knows the topic.
///
/// ```text
///  slots [0 1 2] ─ next ─▶ slots [3 … 8] ─ next ─▶ slots [9 … 20]
/// ```
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Box<[OnceLock<Arc<Partition>>]>,
    /// The partitions that follow. It has at least twice as many slots as this one, so there are few tables.
    next: OnceLock<Box<Self>>,
}

impl Table {
    fn with_slots(count: usize) -> Self {
        Self { slots: std::iter::repeat_with(OnceLock::default).take(count).collect(), next: OnceLock::default() }
    }

    /// Returns the partition of this index, if there ever was one.
    #[inline]
    pub(super) fn get(&self, mut index: usize) -> Option<&Arc<Partition>> {
        let mut table = self;
        loop {
            if let Some(slot) = table.slots.get(index) {
                return slot.get();
            }
            index -= table.slots.len();
            table = table.next.get()?;
        }
    }

    /// Adds the partitions that are missing. `partitions` are in the order of their indexes.
    pub(super) fn extend(&self, partitions: &[Arc<Partition>]) {
        let (here, rest) = partitions.split_at(partitions.len().min(self.slots.len()));
        for (slot, partition) in self.slots.iter().zip(here) {
            let kept = slot.get_or_init(|| Arc::clone(partition));
            debug_assert!(Arc::ptr_eq(kept, partition), "an index has got another partition");
        }
        if !rest.is_empty() {
            let size = rest.len().max(self.slots.len() * 2);
            self.next.get_or_init(|| Box::new(Self::with_slots(size))).extend(rest);
        }
    }
}

impl From<&[Arc<Partition>]> for Table {
    fn from(partitions: &[Arc<Partition>]) -> Self {
        let table = Self::with_slots(partitions.len());
        table.extend(partitions);
        table
    }
}
