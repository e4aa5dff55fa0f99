//! Partitioners that hash the key, as Java or librdkafka does: the same key goes to the same partition.

use crate::murmur2::murmur2;
use crate::partitioner::{Choice, PartitionError, Partitioner, RecordView, TopicView};

/// Chooses the partition by a hash of the key, over all partitions of the topic, with or without a leader.
///
/// Clients differ for a null or empty key:
///
/// | name | hash | null key | empty key |
/// |---|---|---|---|
/// | `java`, `murmur2_random` | murmur2 | anywhere | hashed |
/// | `murmur2` | murmur2 | as empty | hashed |
/// | `consistent_random`, librdkafka's default | CRC-32 | anywhere | anywhere |
/// | `consistent` | CRC-32 | as empty | hashed |
/// | `fnv1a_random` | FNV-1a | anywhere | hashed |
/// | `fnv1a` | FNV-1a | as empty | hashed |
///
/// All but `java` are librdkafka's names and rules (`rd_kafka_msg_partitioner_*`).
///
/// ```
/// use kurier_partitioner::{Choice, Keyed, Partitioner, RecordView, TopicView};
///
/// let topic = TopicView::new("orders", 100, &[]).unwrap();
/// let place = |name, key| Keyed::named(name).unwrap().partition(&RecordView::keyed(key), &topic).unwrap();
/// assert_eq!(place("java", b"D"), Choice::Partition(53));
/// assert_eq!(place("consistent_random", b"D"), Choice::Partition(92));
/// assert_eq!(place("consistent_random", b""), Choice::Anywhere);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keyed {
    name: &'static str,
    hash: Hash,
    anywhere: Anywhere,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Murmur2,
    Crc32,
    Fnv1a,
}

/// The keys that do not determine a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Anywhere {
    Never,
    Null,
    NullAndEmpty,
}

impl Keyed {
    /// The rule of the Java client, Kafka Streams and most others.
    pub const JAVA: Self = Self { name: "java", hash: Hash::Murmur2, anywhere: Anywhere::Null };

    /// All rules.
    pub const ALL: [Self; 7] = [
        Self::JAVA,
        Self { name: "murmur2_random", hash: Hash::Murmur2, anywhere: Anywhere::Null },
        Self { name: "murmur2", hash: Hash::Murmur2, anywhere: Anywhere::Never },
        Self { name: "consistent_random", hash: Hash::Crc32, anywhere: Anywhere::NullAndEmpty },
        Self { name: "consistent", hash: Hash::Crc32, anywhere: Anywhere::Never },
        Self { name: "fnv1a_random", hash: Hash::Fnv1a, anywhere: Anywhere::Null },
        Self { name: "fnv1a", hash: Hash::Fnv1a, anywhere: Anywhere::Never },
    ];

    /// Returns the rule with this name.
    ///
    /// ```
    /// use kurier_partitioner::Keyed;
    ///
    /// assert_eq!(Keyed::named("java"), Some(Keyed::JAVA));
    /// assert_eq!(Keyed::named("consistent").unwrap().name(), "consistent");
    /// assert_eq!(Keyed::named("random"), None);
    /// ```
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|keyed| keyed.name == name)
    }

    /// Returns whether a record with this key may go to any partition.
    ///
    /// ```
    /// use kurier_partitioner::Keyed;
    ///
    /// assert!(Keyed::JAVA.goes_anywhere(None));
    /// assert!(!Keyed::JAVA.goes_anywhere(Some(b"")));
    /// ```
    #[inline]
    #[must_use]
    pub fn goes_anywhere(&self, key: Option<&[u8]>) -> bool {
        match (self.anywhere, key) {
            (Anywhere::Never, _) => false,
            (Anywhere::Null, key) => key.is_none(),
            (Anywhere::NullAndEmpty, key) => key.is_none_or(<[u8]>::is_empty),
        }
    }

    /// The rule's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.name
    }
}

impl Default for Keyed {
    fn default() -> Self {
        Self::JAVA
    }
}

impl Partitioner for Keyed {
    #[inline]
    fn partition(&self, record: &RecordView<'_>, topic: &TopicView<'_>) -> Result<Choice, PartitionError> {
        if self.goes_anywhere(record.key()) {
            return Ok(Choice::Anywhere);
        }
        let key = record.key().unwrap_or_default();
        Ok(topic.place(match self.hash {
            // Clears the sign bit, like Java's Utils.toPositive.
            Hash::Murmur2 => murmur2(key) & 0x7fff_ffff,
            Hash::Crc32 => crc32fast::hash(key),
            Hash::Fnv1a => fnv1a(key),
        }))
    }
}

/// 32-bit FNV-1a: its absolute value as a signed number, which sarama introduced and librdkafka adopted.
fn fnv1a(bytes: &[u8]) -> u32 {
    const OFFSET: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;
    let hash = bytes.iter().fold(OFFSET, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(PRIME));
    hash.cast_signed().unsigned_abs()
}
