//! A partitioner for producers that name the partition of every record.

use crate::partitioner::{Choice, PartitionError, Partitioner, RecordView, TopicView};

/// Refuses every record, because the producer asks only about records without a partition.
///
/// A record without a partition is then an error; otherwise it would go to a partition where no consumer expects it.
///
/// ```
/// use kurier_partitioner::{Explicit, Partitioner, RecordView, TopicView};
///
/// let topic = TopicView::new("orders", 3, &[0, 1, 2]).unwrap();
/// let error = Explicit.partition(&RecordView::keyed(b"k"), &topic).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "no partition of orders was chosen: the record names none, and the explicit partitioner chooses none"
/// );
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Explicit;

impl Partitioner for Explicit {
    fn partition(&self, _: &RecordView<'_>, topic: &TopicView<'_>) -> Result<Choice, PartitionError> {
        Err(PartitionError::new(topic.name(), "the record names none, and the explicit partitioner chooses none"))
    }
}
