//! The end of a producer: counts of outcomes, and the records that were not delivered.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use kurier_protocol::{PartitionIndex, record_batch};

use crate::error::{Error, Written, write_causes};
use crate::record::RecordMetadata;

/// The number of a producer's records with each outcome, since it was built.
///
/// ```
/// let counts = kurier::Summary::default();
/// assert_eq!(counts.to_string(), "0 written, 0 not written, 0 unknown");
/// assert_eq!(counts.failed(), 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Records in their logs, as far as `acks` promises.
    pub written: u64,
    /// Records that are not in their logs and never will be.
    pub not_written: u64,
    /// Records that may be in their logs.
    pub unknown: u64,
}

impl Summary {
    /// Returns these counts of records written, not written and unknown.
    #[doc(hidden)]
    #[must_use]
    pub fn of([written, not_written, unknown]: [u64; 3]) -> Self {
        Self { written, not_written, unknown }
    }

    /// Returns the number of records that failed, surely or possibly.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.not_written.saturating_add(self.unknown)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} written, {} not written, {} unknown", self.written, self.not_written, self.unknown)
    }
}

/// Records and callbacks that were left when a producer ended.
///
/// Iterate it for the records, each with its certainty. [`uncalled`](Self::uncalled) returns the callbacks.
///
/// ```
/// async fn end(producer: kurier::Producer) {
///     if let Err(unfinished) = producer.close(std::time::Duration::from_secs(10)).await {
///         eprintln!("{unfinished:#}");
///         for record in unfinished {
///             eprintln!("{}-{}: {:?}", record.topic, record.partition, record.written);
///         }
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Unfinished {
    counts: Summary,
    records: Vec<Undelivered>,
    uncalled: Vec<Uncalled>,
    cause: Option<Error>,
}

impl Unfinished {
    #[doc(hidden)]
    pub fn new(counts: Summary, records: Vec<Undelivered>, uncalled: Vec<Uncalled>, cause: Option<Error>) -> Self {
        Self { counts, records, uncalled, cause }
    }

    /// Returns the number of records with each outcome.
    #[must_use]
    pub fn counts(&self) -> Summary {
        self.counts
    }

    /// Returns the records that were left when the producer ended, in the order of each partition.
    #[must_use]
    pub fn records(&self) -> &[Undelivered] {
        &self.records
    }

    /// Returns the callbacks that had not returned at the timeout, in order. The first of them may be running.
    ///
    /// Each is still called once, if the process lives long enough. Their records have an outcome: see
    /// [`Uncalled::result`]. Calling `kurier::close` again waits for them again.
    #[must_use]
    pub fn uncalled(&self) -> &[Uncalled] {
        &self.uncalled
    }

    /// Returns why the producer ended, unless `kurier::close` ended it: its runtime was shut down
    /// ([`Closed`](crate::ErrorKind::Closed)), or it met a bug of its own ([`Bug`](crate::ErrorKind::Bug)).
    #[must_use]
    pub fn cause(&self) -> Option<&Error> {
        self.cause.as_ref()
    }
}

impl IntoIterator for Unfinished {
    type Item = Undelivered;
    type IntoIter = std::vec::IntoIter<Undelivered>;

    fn into_iter(self) -> Self::IntoIter {
        self.records.into_iter()
    }
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Some(_) => write!(f, "the producer ended before it was closed")?,
            None => write!(f, "the producer was closed before all records and callbacks were done")?,
        }
        if !self.records.is_empty() {
            write!(f, "; {} records were not delivered", self.records.len())?;
        }
        if !self.uncalled.is_empty() {
            write!(f, "; {} callbacks had not returned", self.uncalled.len())?;
        }
        write!(f, "; in all: {}", self.counts)?;
        write_causes(self, f)
    }
}

impl std::error::Error for Unfinished {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

/// A record whose callback had not returned when its producer was closed.
///
/// ```
/// async fn end(producer: kurier::Producer) {
///     if let Err(unfinished) = producer.close(std::time::Duration::from_secs(10)).await {
///         for record in unfinished.uncalled() {
///             eprintln!("its callback has not run: {:?}", record.result);
///         }
///     }
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Uncalled {
    /// The record's timestamp, in milliseconds since 1970.
    pub timestamp: i64,
    /// The result that the callback gets: where the record was written, or why it failed, with
    /// [`written`](crate::Error::written).
    pub result: Result<RecordMetadata, Error>,
}

/// A record that was not delivered.
///
/// See [`Unfinished`] for an example.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Undelivered {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The index of its partition.
    pub partition: i32,
    /// The serialized key; `None` is null.
    pub key: Option<Bytes>,
    /// The serialized value; `None` is null.
    pub value: Option<Bytes>,
    /// The headers, in order.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
    /// The record's timestamp, in milliseconds since 1970.
    pub timestamp: i64,
    /// Whether the record may be in the log all the same.
    pub written: Written,
}

impl Undelivered {
    #[doc(hidden)]
    pub fn new(
        topic: &Arc<str>,
        partition: PartitionIndex,
        record: record_batch::Record<'_>,
        written: Written,
    ) -> Self {
        let own = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
        Self {
            topic: Arc::clone(topic),
            partition: partition.0,
            key: own(record.key),
            value: own(record.value),
            headers: record.headers.map(|header| (Bytes::copy_from_slice(header.key), own(header.value))).collect(),
            timestamp: record.timestamp,
            written,
        }
    }
}

impl fmt::Debug for Undelivered {
    /// Leaves out the payload, which must not appear in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Undelivered")
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .field("timestamp", &self.timestamp)
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}
