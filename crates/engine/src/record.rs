//! Record that a caller sends, and the metadata of a record that was written.

use std::fmt;

use kurier_protocol::record_batch::Header;
use smallvec::SmallVec;

use crate::error::{Error, ErrorKind, printable};
use crate::serializer::{Part, Unset};

/// A record to send, built from its topic on.
///
/// Key and value are any types that the producer's serializers take. The default serializers take anything that is
/// bytes: `&str`, `String`, `&[u8]`, `Vec<u8>`, `Bytes`. A part that is not set is null, which differs from empty: a
/// record without a key goes to any partition, and one without a value is a tombstone for compaction.
///
/// ```
/// use kurier::Record;
///
/// let record = Record::to("orders").key("customer-7").value("two of them").header("trace", "ab12");
/// let deletion = Record::to("orders").key("customer-7");
/// ```
#[derive(Clone)]
pub struct Record<'a, K = Unset, V = Unset> {
    #[doc(hidden)]
    pub topic: &'a str,
    #[doc(hidden)]
    pub partition: Option<i32>,
    #[doc(hidden)]
    pub timestamp: Option<i64>,
    #[doc(hidden)]
    pub key: K,
    #[doc(hidden)]
    pub value: V,
    #[doc(hidden)]
    pub headers: SmallVec<[Header<'a>; 2]>,
}

impl<'a> Record<'a> {
    /// Creates a record for this topic.
    #[must_use]
    pub fn to(topic: &'a str) -> Self {
        Self { topic, partition: None, timestamp: None, key: Unset, value: Unset, headers: SmallVec::new() }
    }
}

impl<'a, K, V> Record<'a, K, V> {
    /// Sets the key.
    #[must_use]
    pub fn key<T>(self, key: T) -> Record<'a, Part<T>, V> {
        let Self { topic, partition, timestamp, value, headers, .. } = self;
        Record { topic, partition, timestamp, key: Part(Some(key)), value, headers }
    }

    /// Sets the key, or null.
    #[must_use]
    pub fn nullable_key<T>(self, key: Option<T>) -> Record<'a, Part<T>, V> {
        let Self { topic, partition, timestamp, value, headers, .. } = self;
        Record { topic, partition, timestamp, key: Part(key), value, headers }
    }

    /// Sets the value.
    #[must_use]
    pub fn value<T>(self, value: T) -> Record<'a, K, Part<T>> {
        let Self { topic, partition, timestamp, key, headers, .. } = self;
        Record { topic, partition, timestamp, key, value: Part(Some(value)), headers }
    }

    /// Sets the value, or null.
    #[must_use]
    pub fn nullable_value<T>(self, value: Option<T>) -> Record<'a, K, Part<T>> {
        let Self { topic, partition, timestamp, key, headers, .. } = self;
        Record { topic, partition, timestamp, key, value: Part(value), headers }
    }

    /// Sets the partition; no partitioner is asked.
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Sets the timestamp, in milliseconds since 1970; the default is the time of sending. A send refuses a negative
    /// timestamp.
    #[must_use]
    pub fn timestamp(mut self, timestamp_ms: i64) -> Self {
        self.timestamp = Some(timestamp_ms);
        self
    }

    /// Adds a header. Headers keep their order, and a name may repeat.
    #[must_use]
    pub fn header(self, name: &'a str, value: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.push_header(name, Some(value.as_ref()))
    }

    /// Adds a header with a null value.
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

    /// Rejects a negative timestamp, as Java does.
    #[doc(hidden)]
    #[inline]
    pub fn check_timestamp(&self) -> Result<(), Error> {
        match self.timestamp {
            Some(timestamp) if timestamp < 0 => Err(invalid_timestamp(self.topic, timestamp)),
            _ => Ok(()),
        }
    }
}

#[cold]
fn invalid_timestamp(topic: &str, timestamp: i64) -> Error {
    let topic = printable(topic);
    let text = format!(
        "the timestamp of a record for topic {topic} is {timestamp}: use milliseconds since 1970, which is 0 or more, or \
         leave the timestamp out"
    );
    Error::new(ErrorKind::InvalidTimestamp, text)
}

/// Rejects a topic name that Kafka does not allow (`Topic.validate`), so that no broker is asked about it.
#[doc(hidden)]
pub fn check_topic_name(name: &str) -> Result<(), Error> {
    const CHARACTERS_MAX: usize = 249;
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    let why = if name.is_empty() {
        "it is empty".to_owned()
    } else if name == "." || name == ".." {
        "it must not be \".\" or \"..\"".to_owned()
    } else if let Some(letter) = name.chars().find(|letter| !is_allowed(*letter)) {
        let letter = printable(letter.encode_utf8(&mut [0; 4]));
        format!("it contains \"{letter}\", and only ASCII letters, digits, '.', '_' and '-' are allowed")
    } else if name.len() > CHARACTERS_MAX {
        format!("it has {} characters, and at most {CHARACTERS_MAX} are allowed", name.len())
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidTopic, format!("\"{}\" is not a valid topic name: {why}", printable(name))))
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

/// Partition, offset and timestamp of a record that was written.
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
    #[doc(hidden)]
    pub topic: std::sync::Arc<str>,
    #[doc(hidden)]
    pub partition: i32,
    #[doc(hidden)]
    pub offset: Option<i64>,
    #[doc(hidden)]
    pub timestamp: i64,
    #[doc(hidden)]
    pub is_acknowledged: bool,
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

    /// The offset in the partition, if the broker returned it. With acks=0 the broker does not respond. For a batch
    /// that the broker had already, it may have forgotten the offset.
    #[must_use]
    pub fn offset(&self) -> Option<i64> {
        self.offset
    }

    /// The record's timestamp, in milliseconds since 1970. On a topic with LogAppendTime it is the broker's.
    #[must_use]
    pub fn timestamp(&self) -> i64 {
        self.timestamp
    }

    /// Whether a broker acknowledged the record; never with acks=0.
    #[must_use]
    pub fn acknowledged(&self) -> bool {
        self.is_acknowledged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_names_are_those_that_kafka_allows() {
        for name in ["a", "a.b", "...", "A-z_0.9", &"a".repeat(249)] {
            assert!(check_topic_name(name).is_ok(), "{name}");
        }
        let (long, longest) = ("a".repeat(250), "a".repeat(40_000));
        for (name, expected) in [
            ("", "\"\" is not a valid topic name: it is empty"),
            (".", "\".\" is not a valid topic name: it must not be"),
            ("..", "\"..\" is not a valid"),
            ("a b", "\"a b\" is not a valid topic name: it contains \" \", and only ASCII letters"),
            ("a/b", "it contains \"/\""),
            ("gr\u{fc}n", "it contains \"\u{fc}\""),
            ("a\x1b[2J", "\"a\\u{1b}[2J\" is not a valid topic name: it contains \"\\u{1b}\""),
            (&long, "it has 250 characters, and at most 249 are allowed"),
            (&longest, "a... (40000 bytes in all)\" is not a valid topic name: it has 40000 characters"),
        ] {
            let error = check_topic_name(name).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(expected) && text.len() < 1_000, "{expected:?} is not in {text:?}");
            assert_eq!(error.kind(), ErrorKind::InvalidTopic);
        }
    }
}
