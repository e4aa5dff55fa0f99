//! The trait of partitioners, with their input and their answer.

use std::error::Error;
use std::fmt;

/// Chooses a partition for each record that does not name one.
///
/// The producer calls it once per record, on the sending thread, without holding a lock.
///
/// ```
/// use kurier_partitioner::{Choice, PartitionError, Partitioner, RecordView, TopicView};
///
/// /// Orders from abroad have a partition of their own.
/// #[derive(Debug)]
/// struct Abroad;
///
/// impl Partitioner for Abroad {
///     fn partition(&self, record: &RecordView<'_>, topic: &TopicView<'_>) -> Result<Choice, PartitionError> {
///         match record.key() {
///             Some(key) if key.starts_with(b"abroad-") => Ok(Choice::Partition(topic.partition_count() - 1)),
///             _ => Ok(Choice::Anywhere),
///         }
///     }
/// }
///
/// let topic = TopicView::new("orders", 3, &[0, 1, 2]).unwrap();
/// assert_eq!(Abroad.partition(&RecordView::keyed(b"abroad-7"), &topic)?, Choice::Partition(2));
/// # Ok::<(), PartitionError>(())
/// ```
pub trait Partitioner: fmt::Debug + Send + Sync {
    /// Chooses a partition below the topic's [`partition_count`](TopicView::partition_count).
    ///
    /// # Errors
    /// When the record has no valid partition. The record is then not sent.
    fn partition(&self, record: &RecordView<'_>, topic: &TopicView<'_>) -> Result<Choice, PartitionError>;
}

/// A partitioner's answer. See [`Partitioner`] for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The record goes to this partition.
    Partition(i32),
    /// The producer chooses the partition.
    Anywhere,
}

/// A partitioner's view of a record.
///
/// ```
/// use kurier_partitioner::RecordView;
///
/// let record = RecordView::new(None, Some(b"value"));
/// assert_eq!((record.key(), record.value()), (None, Some(&b"value"[..])));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordView<'a> {
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
}

impl<'a> RecordView<'a> {
    /// Creates a view of a record with these serialised bytes; `None` is null.
    #[must_use]
    pub fn new(key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Self {
        Self { key, value }
    }

    /// Creates a view of a record with this key.
    #[must_use]
    pub fn keyed(key: &'a [u8]) -> Self {
        Self::new(Some(key), None)
    }

    /// Creates a view of a record without a key.
    #[must_use]
    pub fn keyless() -> Self {
        Self::default()
    }

    /// The key as it will be on the wire; `None` is null.
    #[must_use]
    pub fn key(&self) -> Option<&'a [u8]> {
        self.key
    }

    /// The value as it will be on the wire; `None` is null.
    #[must_use]
    pub fn value(&self) -> Option<&'a [u8]> {
        self.value
    }
}

/// A partitioner's view of a topic.
///
/// ```
/// use kurier_partitioner::TopicView;
///
/// // Partition 1 of 3 has no leader just now.
/// let topic = TopicView::new("orders", 3, &[0, 2]).unwrap();
/// assert_eq!((topic.name(), topic.partition_count(), topic.available()), ("orders", 3, &[0, 2][..]));
/// assert!(TopicView::new("orders", 0, &[]).is_none());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TopicView<'a> {
    name: &'a str,
    /// At least one.
    partition_count: i32,
    available: &'a [i32],
}

impl<'a> TopicView<'a> {
    /// Creates a view of a topic with `partition_count` partitions. `available` are those with a leader, in ascending
    /// order. Returns `None` if the topic has no partitions.
    #[must_use]
    pub fn new(name: &'a str, partition_count: i32, available: &'a [i32]) -> Option<Self> {
        (partition_count > 0).then_some(Self { name, partition_count, available })
    }

    /// The topic's name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Number of partitions, with or without a leader; at least one.
    #[must_use]
    pub fn partition_count(&self) -> i32 {
        self.partition_count
    }

    /// The partitions with a leader, in ascending order; may be empty temporarily.
    #[must_use]
    pub fn available(&self) -> &'a [i32] {
        self.available
    }

    /// Returns the partition for a hash.
    pub(crate) fn place(&self, hash: u32) -> Choice {
        let partition = hash.checked_rem(self.partition_count.cast_unsigned()).unwrap_or_default();
        Choice::Partition(partition.cast_signed())
    }
}

/// An error of a partitioner about a record. Its source is the reason.
///
/// ```
/// use std::error::Error;
///
/// use kurier_partitioner::PartitionError;
///
/// let error = PartitionError::new("orders", "the key is not a number");
/// assert_eq!(error.to_string(), "cannot choose a partition of topic orders");
/// assert_eq!(error.source().unwrap().to_string(), "the key is not a number");
/// ```
#[derive(Debug)]
pub struct PartitionError {
    topic: String,
    source: Box<dyn Error + Send + Sync>,
}

impl PartitionError {
    /// Creates an error about a record of this topic, from a text or an underlying error.
    #[must_use]
    pub fn new(topic: &str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { topic: topic.to_owned(), source: source.into() }
    }

    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }
}

impl fmt::Display for PartitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot choose a partition of topic {}", self.topic)
    }
}

impl Error for PartitionError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
