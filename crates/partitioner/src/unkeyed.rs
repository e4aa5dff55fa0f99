//! A partitioner that ignores keys.

use crate::partitioner::{Choice, PartitionError, Partitioner, RecordView, TopicView};

/// Treats every record as one without a key (`partitioner.ignore.keys`, librdkafka's `random`): the producer chooses
/// the partition.
///
/// ```
/// use kurier_partitioner::{Choice, Partitioner, RecordView, TopicView, Unkeyed};
///
/// let topic = TopicView::new("orders", 3, &[0, 1, 2]).unwrap();
/// assert_eq!(Unkeyed.partition(&RecordView::keyed(b"k"), &topic)?, Choice::Anywhere);
/// # Ok::<(), kurier_partitioner::PartitionError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Unkeyed;

impl Partitioner for Unkeyed {
    fn partition(&self, _: &RecordView<'_>, _: &TopicView<'_>) -> Result<Choice, PartitionError> {
        Ok(Choice::Anywhere)
    }
}
