//! What is sent: a record that borrows or owns its parts, and where it came to stand.

use std::fmt;

use kurier_protocol::record_batch::Header;
use smallvec::SmallVec;

use crate::serializer::{Part, Unset};

/// A record to be sent, built from its topic on.
///
/// Key and value are whatever the producer's serializers take; without one of their own that is anything that is bytes:
/// `&str`, `String`, `&[u8]`, `Vec<u8>`, `Bytes`. A part that is not set is null, which is not the same as empty: a record
/// without a key goes to any partition, one without a value is a deletion to compaction.
///
/// ```
/// use kurier::Record;
///
/// let record = Record::to("orders").key("customer-7").value("two of them").header("trace", "ab12");
/// let deletion = Record::to("orders").key("customer-7");
/// ```
#[derive(Clone)]
pub struct Record<'a, K = Unset, V = Unset> {
    pub(crate) topic: &'a str,
    pub(crate) partition: Option<i32>,
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: K,
    pub(crate) value: V,
    pub(crate) headers: SmallVec<[Header<'a>; 2]>,
}

impl<'a> Record<'a> {
    /// A record for this topic.
    #[must_use]
    pub fn to(topic: &'a str) -> Self {
        Self { topic, partition: None, timestamp: None, key: Unset, value: Unset, headers: SmallVec::new() }
    }
}

impl<'a, K, V> Record<'a, K, V> {
    /// With this key.
    #[must_use]
    pub fn key<T>(self, key: T) -> Record<'a, Part<T>, V> {
        let Self { topic, partition, timestamp, value, headers, .. } = self;
        Record { topic, partition, timestamp, key: Part(Some(key)), value, headers }
    }

    /// With this key, or null.
    #[must_use]
    pub fn nullable_key<T>(self, key: Option<T>) -> Record<'a, Part<T>, V> {
        let Self { topic, partition, timestamp, value, headers, .. } = self;
        Record { topic, partition, timestamp, key: Part(key), value, headers }
    }

    /// With this value.
    #[must_use]
    pub fn value<T>(self, value: T) -> Record<'a, K, Part<T>> {
        let Self { topic, partition, timestamp, key, headers, .. } = self;
        Record { topic, partition, timestamp, key, value: Part(Some(value)), headers }
    }

    /// With this value, or null.
    #[must_use]
    pub fn nullable_value<T>(self, value: Option<T>) -> Record<'a, K, Part<T>> {
        let Self { topic, partition, timestamp, key, headers, .. } = self;
        Record { topic, partition, timestamp, key, value: Part(value), headers }
    }

    /// For this partition, whatever a partitioner would choose.
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// At this time, in milliseconds since 1970; without it, at the time of sending.
    #[must_use]
    pub fn timestamp(mut self, timestamp_ms: i64) -> Self {
        self.timestamp = Some(timestamp_ms);
        self
    }

    /// With one more header; they keep their order, and a name may repeat.
    #[must_use]
    pub fn header(self, name: &'a str, value: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.push_header(name, Some(value.as_ref()))
    }

    /// With one more header, whose value is null.
    #[must_use]
    pub fn null_header(self, name: &'a str) -> Self {
        self.push_header(name, None)
    }

    fn push_header(mut self, name: &'a str, value: Option<&'a [u8]>) -> Self {
        self.headers.push(Header { key: name.as_bytes(), value });
        self
    }

    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &'a str {
        self.topic
    }
}

impl<K, V> fmt::Debug for Record<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .field("timestamp", &self.timestamp)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

/// Where a record came to stand.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// # let broker = kurier_broker::Broker::start().await?;
/// # let producer = kurier::Producer::builder().bootstrap_servers([broker.bootstrap_servers()]).build().await?;
/// let metadata = producer.deliver(kurier::Record::to("orders").value("two")).await?;
/// assert_eq!((metadata.topic(), metadata.partition(), metadata.offset()), ("orders", 0, Some(0)));
/// assert!(metadata.acknowledged());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordMetadata {
    pub(crate) topic: std::sync::Arc<str>,
    pub(crate) partition: i32,
    pub(crate) offset: Option<i64>,
    pub(crate) timestamp: i64,
    pub(crate) is_acknowledged: bool,
}

impl RecordMetadata {
    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The offset in the partition, if the broker said it: with acks=0 it does not answer, and of a batch that it had
    /// before it may have forgotten where.
    #[must_use]
    pub fn offset(&self) -> Option<i64> {
        self.offset
    }

    /// The record's timestamp, in milliseconds since 1970; on a topic of LogAppendTime, the broker's.
    #[must_use]
    pub fn timestamp(&self) -> i64 {
        self.timestamp
    }

    /// Whether a broker said that it has the record; with acks=0 none does.
    #[must_use]
    pub fn acknowledged(&self) -> bool {
        self.is_acknowledged
    }
}
