//! Every record must name its partition.

use crate::{Choice, PartitionError, Partitioner, RecordView, TopicView};

/// Refuses every record that it is asked about, for it is asked only about those that name no partition.
///
/// For producers that place all records themselves: one that was forgotten is an error instead of a record in a
/// partition where nobody looks for it.
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
