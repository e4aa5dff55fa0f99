//! The hash of Java's partitioner (`Utils.murmur2`): Austin Appleby's 32-bit MurmurHash2 with Kafka's own seed.

/// Kafka's seed.
const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;
const SHIFT: u32 = 24;

/// Returns Java's hash as an unsigned number.
///
/// ```
/// use kurier_partitioner::murmur2;
///
/// assert_eq!(murmur2(b"abc"), 479_470_107);
/// assert_eq!(murmur2(b"21").cast_signed(), -973_932_308);
/// ```
#[must_use]
pub fn murmur2(bytes: &[u8]) -> u32 {
    let mix = |word: u32| {
        let word = word.wrapping_mul(MULTIPLIER);
        (word ^ (word >> SHIFT)).wrapping_mul(MULTIPLIER)
    };
    // Kafka's arrays have lengths of at most 31 bits.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let (words, tail) = bytes.as_chunks::<4>();
    let mut hash = SEED ^ length;
    for word in words {
        hash = hash.wrapping_mul(MULTIPLIER) ^ mix(u32::from_le_bytes(*word));
    }
    if !tail.is_empty() {
        let last = tail.iter().rev().fold(0, |word, byte| (word << 8) | u32::from(*byte));
        hash = (hash ^ last).wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}
