//! Which partition of its topic a record goes to.
//!
//! The same key lands in the same partition as with the Java client, for as long as the topic keeps its partition
//! count; a record without a key goes wherever it batches best.
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
//! # What there is
//!
//! | | a key | no key |
//! |---|---|---|
//! | [`Keyed::JAVA`], the default | Java's murmur2 of the key | [`Sticky`], weighted by load ([`Weights`]) |
//! | [`Keyed::named`] | as librdkafka's `consistent`, `murmur2`, `fnv1a` and their `_random` forms | as there |
//! | [`RoundRobin`] | one partition after the other | the same |
//! | [`Explicit`] | refused: the record must name its partition | the same |
//! | your own [`Partitioner`] | as you like | as you like, or [`Choice::Anywhere`] |
//!
//! A record that names its partition goes there, and no partitioner is asked.
//!
//! # How a choice is made
//!
//! A partitioner sees the record's bytes and the topic, and answers with a partition or with "anywhere". What becomes of
//! "anywhere" is the producer's: it holds a [`Sticky`] for each topic (and thread), which keeps to one partition until a
//! batch's worth of bytes went there, so that batches fill, and then picks another by [`Weights`], so that slow
//! partitions get less (KIP-480, KIP-794). So a partitioner of your own batches as well as the default does.
//!
//! Nothing here keeps a clock or makes random numbers: the caller brings them.

mod explicit;
mod keyed;
mod murmur2;
mod round_robin;
mod sticky;

use std::fmt;
use std::num::NonZeroU32;

use thiserror::Error;

pub use explicit::Explicit;
pub use keyed::Keyed;
pub use murmur2::murmur2;
pub use round_robin::RoundRobin;
pub use sticky::{Sticky, Weights};

/// Chooses a partition for each record that does not name one.
///
/// It is called on the thread that sends, once a record, and not under any lock of the producer's.
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
    /// When the record cannot be placed; it is then not sent.
    fn partition(&self, record: &RecordView<'_>, topic: &TopicView<'_>) -> Result<Choice, PartitionError>;
}

/// A partitioner's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This partition.
    Partition(u32),
    /// Whichever partition the producer is filling.
    Anywhere,
}

/// What a partitioner sees of a record.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordView<'a> {
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
}

impl<'a> RecordView<'a> {
    /// A record of these serialised bytes; `None` is null.
    #[must_use]
    pub fn new(key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Self {
        Self { key, value }
    }

    /// A record with this key.
    #[must_use]
    pub fn keyed(key: &'a [u8]) -> Self {
        Self::new(Some(key), None)
    }

    /// A record without a key.
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

/// What a partitioner sees of a topic.
#[derive(Clone, Copy, Debug)]
pub struct TopicView<'a> {
    name: &'a str,
    partition_count: NonZeroU32,
    available: &'a [u32],
}

impl<'a> TopicView<'a> {
    /// A topic of `partition_count` partitions, of which `available` have a leader. `None` if it has no partitions.
    #[must_use]
    pub fn new(name: &'a str, partition_count: u32, available: &'a [u32]) -> Option<Self> {
        Some(Self { name, partition_count: NonZeroU32::new(partition_count)?, available })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// How many partitions it has, with or without a leader; at least one.
    #[must_use]
    pub fn partition_count(&self) -> u32 {
        self.partition_count.get()
    }

    /// The partitions that have a leader, in ascending order; may be empty for a while.
    #[must_use]
    pub fn available(&self) -> &'a [u32] {
        self.available
    }

    /// Which partition a hash falls to.
    fn place(&self, hash: u32) -> Choice {
        Choice::Partition(hash % self.partition_count)
    }
}

/// Why a record cannot be placed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no partition of {topic} was chosen: {reason}")]
pub struct PartitionError {
    /// The topic's name.
    pub topic: String,
    /// In the partitioner's words.
    pub reason: String,
}
