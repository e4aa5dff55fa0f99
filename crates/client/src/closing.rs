//! How a producer ends: what became of its records, and those that were not delivered, to be kept.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use kurier_protocol::record_batch;

use crate::error::{Error, Written};
use crate::record::RecordMetadata;

/// What became of a producer's records since it was built.
///
/// ```
/// let counts = kurier::Summary::default();
/// assert_eq!(counts.to_string(), "0 written, 0 not written, 0 unknown");
/// assert_eq!(counts.failed(), 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// They are in their logs, as far as `acks` promises.
    pub written: u64,
    /// They are not, and will not be.
    pub not_written: u64,
    /// They may be.
    pub unknown: u64,
}

impl Summary {
    /// How many failed, with whatever certainty.
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
/// Iterate it for the records, with the certainty of each. [`uncalled`](Self::uncalled) has the callbacks.
///
/// ```
/// async fn end(producer: kurier::Producer) {
///     if let Err(unfinished) = producer.close(std::time::Duration::from_secs(10)).await {
///         eprintln!("{unfinished}");
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
    pub(crate) fn new(
        counts: Summary,
        records: Vec<Undelivered>,
        uncalled: Vec<Uncalled>,
        cause: Option<Error>,
    ) -> Self {
        Self { counts, records, uncalled, cause }
    }

    /// What became of all records.
    #[must_use]
    pub fn counts(&self) -> Summary {
        self.counts
    }

    /// The records that were left when the producer ended, each partition's in their order.
    #[must_use]
    pub fn records(&self) -> &[Undelivered] {
        &self.records
    }

    /// The callbacks that had not returned when time was up, in their order; the first of them may be running.
    ///
    /// They are still called, each once, as long as the process lives. Their records have their outcome: see
    /// [`Uncalled::result`]. Calling [`close`](crate::Producer::close) again waits for them again.
    #[must_use]
    pub fn uncalled(&self) -> &[Uncalled] {
        &self.uncalled
    }

    /// Why the producer ended, if it did not end through [`close`](crate::Producer::close): its runtime was shut down
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
            Some(cause) => write!(f, "the producer ended before it was closed: {cause}")?,
            None => write!(f, "the producer was closed before it was done")?,
        }
        if !self.records.is_empty() {
            write!(f, "; {} records were not delivered", self.records.len())?;
        }
        if !self.uncalled.is_empty() {
            write!(f, "; {} callbacks had not returned", self.uncalled.len())?;
        }
        write!(f, "; in all: {}", self.counts)
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
    /// Milliseconds since 1970, as the record has it.
    pub timestamp: i64,
    /// The result that the callback is called with: where the record was written, or why not, with
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
    /// The partition that was chosen.
    pub partition: i32,
    /// The key, as it was serialised; `None` is null.
    pub key: Option<Bytes>,
    /// The value, as it was serialised; `None` is null.
    pub value: Option<Bytes>,
    /// The headers, in their order.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Whether it may be in the log all the same.
    pub written: Written,
}

impl Undelivered {
    pub(crate) fn new(topic: &Arc<str>, partition: i32, record: record_batch::Record<'_>, written: Written) -> Self {
        let own = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
        Self {
            topic: Arc::clone(topic),
            partition,
            key: own(record.key),
            value: own(record.value),
            headers: record.headers.map(|header| (Bytes::copy_from_slice(header.key), own(header.value))).collect(),
            timestamp: record.timestamp,
            written,
        }
    }
}

impl fmt::Debug for Undelivered {
    /// Without its bytes: payload has no place in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Undelivered")
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .field("timestamp", &self.timestamp)
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}
