//! Partitioners: choose the partition of a record in its topic.
//!
//! A key goes to the same partition as with the Java client, as long as the topic's partition count is unchanged. A
//! record without a key goes to a partition that the producer chooses, so that batches become full and slow partitions
//! get fewer records.
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
mod partitioner;
mod round_robin;
mod sticky;
mod unkeyed;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

pub use explicit::Explicit;
pub use keyed::Keyed;
pub use murmur2::murmur2;
pub use partitioner::{Choice, PartitionError, Partitioner, RecordView, TopicView};
pub use round_robin::RoundRobin;
pub use sticky::{Sticky, Weights};
pub use unkeyed::Unkeyed;
