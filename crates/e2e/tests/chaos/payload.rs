//! The content of records: each value names its topic, partition, producer and counter, and has a filler with a
//! checksum. So a checker can detect a misplaced or damaged record from its value.

use std::hash::{DefaultHasher, Hash, Hasher};

use kurier::partitioner::murmur2;

/// The facts in a record's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) producer: usize,
    /// Index among the producer's records, from 0.
    pub(crate) counter: usize,
}

/// Reason why a value cannot be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// The value is not from our producers.
    Foreign,
    /// The filler is damaged.
    Damaged,
}

impl Payload {
    /// Parses a value.
    pub(crate) fn read(value: &str) -> Result<Self, Unreadable> {
        let fields: Vec<&str> = value.split(' ').collect();
        let [topic, partition, producer, counter, hash, filler] = fields[..] else { return Err(Unreadable::Foreign) };
        let (Ok(partition), Ok(producer), Ok(counter)) = (partition.parse(), producer.parse(), counter.parse()) else {
            return Err(Unreadable::Foreign);
        };
        if hash != hash_of(filler) {
            return Err(Unreadable::Damaged);
        }
        Ok(Self { topic: topic.to_owned(), partition, producer, counter })
    }

    /// Returns the value; a large one has thousands of letters.
    pub(crate) fn value(&self, is_large: bool) -> String {
        let Self { topic, partition, producer, counter } = self;
        let filler = filler(*producer, *counter, is_large);
        format!("{topic} {partition} {producer} {counter} {} {filler}", hash_of(&filler))
    }
}

/// Returns a record's key. Every other record has one; the others name their partition.
pub(crate) fn key(counter: usize) -> Option<String> {
    counter.is_multiple_of(2).then(|| format!("user-{}", counter % 1_999))
}

/// Returns a record's correct partition.
pub(crate) fn partition(counter: usize, partitions: usize) -> i32 {
    let place = match key(counter) {
        // Kafka's default partitioner.
        Some(key) => usize::try_from(murmur2(key.as_bytes()) & 0x7fff_ffff).unwrap_or_default() % partitions,
        None => counter / 2 % partitions,
    };
    i32::try_from(place).unwrap_or_default()
}

/// Returns 40 to 79 letters, or 6,000 to 6,039 for a large record, different for each record.
fn filler(producer: usize, counter: usize, is_large: bool) -> String {
    let mut state = hash((producer, counter));
    let length = if is_large { 6_000 } else { 40 } + counter % 40;
    let letter = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + u8::try_from((state >> 40) % 26).unwrap_or_default())
    };
    (0..length).map(letter).collect()
}

fn hash_of(filler: &str) -> String {
    format!("{:016x}", hash(filler))
}

fn hash(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
