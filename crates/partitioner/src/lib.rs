//! Partitioners: choose the partition of a record in its topic.
//!
//! A key goes to the same partition as with the Java client, as long as the topic's partition count is unchanged. A
//! record without a key goes to the partition that gives the best batches.
//!
//! ```
//! use kurier_partitioner::{Choice, Keyed, Partitioner, RecordView, TopicView};
//!
//! let topic = TopicView::new("orders", 10, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).unwrap();
//! let partitioner = Keyed::JAVA;
//! assert_eq!(partitioner.partition(&RecordView::keyed(b"abc"), &topic)?, Choice::Partition(7));
//! // An empty key is a key; only null is keyless.
//! assert_eq!(partitioner.partition(&RecordView::keyed(b""), &topic)?, Choice::Partition(1));
//! assert_eq!(partitioner.partition(&RecordView::keyless(), &topic)?, Choice::Anywhere);
//! # Ok::<(), kurier_partitioner::PartitionError>(())
//! ```
//!
//! # Overview
//!
//! | | record with a key | record without a key |
//! |---|---|---|
//! | [`Keyed::JAVA`], the default | Java's murmur2 of the key | [`Sticky`], weighted by load ([`Weights`]) |
//! | [`Keyed::named`] | as librdkafka's `consistent`, `murmur2`, `fnv1a` and their `_random` forms | as in librdkafka |
//! | [`Unkeyed`] | as without a key | as the default |
//! | [`RoundRobin`] | one partition after the other | the same |
//! | [`Explicit`] | refused: the record must name its partition | the same |
//! | your own [`Partitioner`] | your rule | your rule, or [`Choice::Anywhere`] |
//!
//! A record that names its partition goes there; the partitioner is not called.
//!
//! # How a partition is chosen
//!
//! A partitioner gets the record's bytes and the topic, and returns a partition or "anywhere". For "anywhere" the
//! producer chooses: it has a [`Sticky`] for each topic (and thread), which stays with one partition until a batch's
//! worth of bytes is appended, so that batches fill. It then picks another partition by [`Weights`], so that slow
//! partitions get less (KIP-480, KIP-794). So your own partitioner batches as well as the default.
//!
//! This crate has no clock and no random numbers: the caller provides them.
//!
//! # In your program
//!
//! To find the partition of a key (to read only that partition, or to test a routing rule), call a partitioner without
//! a producer. For your own rule, implement [`Partitioner`]; `kurier` accepts it like those of this crate.
//!
//! ```
//! use kurier_partitioner::{Choice, Keyed, PartitionError, Partitioner, RecordView, TopicView};
//!
//! /// What customers of the first class send goes to partition 0, all else as usual.
//! #[derive(Debug)]
//! struct FirstClass;
//!
//! impl Partitioner for FirstClass {
//!     fn partition(&self, record: &RecordView<'_>, topic: &TopicView<'_>) -> Result<Choice, PartitionError> {
//!         match record.key() {
//!             Some(key) if key.starts_with(b"first-") => Ok(Choice::Partition(0)),
//!             _ => Keyed::JAVA.partition(record, topic),
//!         }
//!     }
//! }
//!
//! let topic = TopicView::new("orders", 3, &[0, 1, 2]).unwrap();
//! assert_eq!(FirstClass.partition(&RecordView::keyed(b"first-7"), &topic)?, Choice::Partition(0));
//! # Ok::<(), PartitionError>(())
//! ```
//!
//! # Under a fuzzer, and against captured traffic
//!
//! A partitioner is a function of two views. So a fuzz target is one line: for any key, the partition exists. A test
//! can also check the keys of a capture; these are from Java's client with Kafka 4.3.1, of a topic with three
//! partitions.
//!
//! ```
//! use kurier_partitioner::{Choice, Keyed, Partitioner, RecordView, TopicView};
//!
//! let topic = TopicView::new("java-none", 3, &[0, 1, 2]).unwrap();
//! // Under cargo-fuzz: libfuzzer_sys::fuzz_target!(|key: &[u8]| target(key));
//! let target = |key: &[u8]| match Keyed::JAVA.partition(&RecordView::keyed(key), &topic) {
//!     Ok(Choice::Partition(partition)) => assert!((0..3).contains(&partition)),
//!     other => panic!("{other:?}"),
//! };
//! target(b"\xff\x00 any bytes at all");
//!
//! for (key, partition) in [("key-1", 0), ("key-4", 0), ("key-0", 1), ("key-2", 2)] {
//!     let choice = Keyed::JAVA.partition(&RecordView::keyed(key.as_bytes()), &topic)?;
//!     assert_eq!(choice, Choice::Partition(partition), "{key}");
//! }
//! # Ok::<(), kurier_partitioner::PartitionError>(())
//! ```

mod explicit;
mod keyed;
mod murmur2;
mod round_robin;
mod sticky;
mod unkeyed;

use std::error::Error;
use std::fmt;

pub use explicit::Explicit;
pub use keyed::Keyed;
pub use murmur2::murmur2;
pub use round_robin::RoundRobin;
pub use sticky::{Sticky, Weights};
pub use unkeyed::Unkeyed;

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
    fn place(&self, hash: u32) -> Choice {
        let partition = hash.checked_rem(self.partition_count.cast_unsigned()).unwrap_or_default();
        Choice::Partition(partition.cast_signed())
    }
}

/// An error of a partitioner about a record.
///
/// ```
/// use kurier_partitioner::PartitionError;
///
/// let error = PartitionError::new("orders", "the key is no number");
/// assert_eq!(error.to_string(), "no partition of orders was chosen: the key is no number");
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
        write!(f, "no partition of {} was chosen: {}", self.topic, self.source)
    }
}

impl Error for PartitionError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
