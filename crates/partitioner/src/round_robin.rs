//! A partitioner that ignores the key and uses the partitions in turn (`RoundRobinPartitioner`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock};

use crate::partitioner::{Choice, PartitionError, Partitioner, RecordView, TopicView};

/// Sends each topic's records to its available partitions in turn, or to all partitions if none is available.
///
/// Every topic has its own turn. Otherwise, alternating writes to two topics could each use only half of the
/// partitions.
///
/// ```
/// use kurier_partitioner::{Choice, Partitioner, RecordView, RoundRobin, TopicView};
///
/// let partitioner = RoundRobin::new();
/// let topic = TopicView::new("orders", 3, &[0, 2]).unwrap();
/// let next = || partitioner.partition(&RecordView::keyed(b"same"), &topic).unwrap();
/// assert_eq!([next(), next(), next()], [Choice::Partition(0), Choice::Partition(2), Choice::Partition(0)]);
/// ```
#[derive(Debug, Default)]
pub struct RoundRobin {
    turns: RwLock<HashMap<String, AtomicU32>>,
}

impl RoundRobin {
    /// Starts every topic at its first available partition.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn turn(&self, topic: &str) -> u32 {
        // Poisoning is harmless: the map of counters is valid at any moment.
        let turns = self.turns.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(topic) {
            return turn.fetch_add(1, Ordering::Relaxed);
        }
        drop(turns);
        let mut turns = self.turns.write().unwrap_or_else(PoisonError::into_inner);
        turns.entry(topic.to_owned()).or_default().fetch_add(1, Ordering::Relaxed)
    }
}

impl Partitioner for RoundRobin {
    fn partition(&self, _: &RecordView<'_>, topic: &TopicView<'_>) -> Result<Choice, PartitionError> {
        let turn = self.turn(topic.name());
        let available = topic.available();
        let index = (turn as usize).checked_rem(available.len());
        let there = |partition: &&i32| (0..topic.partition_count()).contains(*partition);
        Ok(match index.and_then(|index| available.get(index)).filter(there) {
            Some(partition) => Choice::Partition(*partition),
            None => topic.place(turn),
        })
    }
}
