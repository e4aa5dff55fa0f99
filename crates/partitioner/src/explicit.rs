//! A partitioner for producers that name the partition of every record.

use crate::partitioner::{Choice, PartitionError, Partitioner, RecordView, TopicView};

/// Refuses every record, because the producer asks only about records without a partition.
///
/// A record without a partition is then an error; otherwise it would go to a partition where no consumer expects it.
///
/// ```
/// use std::error::Error;
///
/// use kurier_partitioner::{Explicit, Partitioner, RecordView, TopicView};
///
/// let topic = TopicView::new("orders", 3, &[0, 1, 2]).unwrap();
/// let error = Explicit.partition(&RecordView::keyed(b"k"), &topic).unwrap_err();
/// assert_eq!(error.to_string(), "cannot choose a partition of topic orders");
/// let reason = error.source().unwrap();
/// assert_eq!(reason.to_string(), "the record names no partition, and the explicit partitioner requires one");
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Explicit;

impl Partitioner for Explicit {
    fn partition(&self, _: &RecordView<'_>, topic: &TopicView<'_>) -> Result<Choice, PartitionError> {
        Err(PartitionError::new(
            topic.name(),
            "the record names no partition, and the explicit partitioner requires one",
        ))
    }
}
