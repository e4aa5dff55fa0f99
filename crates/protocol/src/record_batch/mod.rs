//! Record batches of magic 2 (KIP-98), the only form in which Kafka 4 takes records.
//!
//! ```text
//!  byte  size  field
//!     0     8  base offset              the broker's to fill in; a producer writes 0
//!     8     4  batch length             of all that follows it: 49 + the body
//!    12     4  partition leader epoch   the broker's to fill in; a producer writes -1
//!    16     1  magic                    2
//!    17     4  CRC-32C                  of all that follows it: 40 bytes of header, and the body
//!    21     2  attributes               codec, timestamp type, transactional, control
//!    23     4  last offset delta        record count - 1, until compaction removes records
//!    27     8  base timestamp           the first record's, in milliseconds since 1970
//!    35     8  max timestamp
//!    43     8  producer id              -1 without idempotence
//!    51     2  producer epoch           -1 without idempotence
//!    53     4  base sequence            -1 without idempotence
//!    57     4  record count
//!    61     …  body: the records, compressed as one piece if the attributes name a codec
//! ```
//!
//! A record is its length and, as zig-zag varints and bytes: attributes (0), timestamp delta (64 bits), offset delta,
//! key, value, and a count of headers, each a key and a value. A length of -1 is null.
//!
//! [`RecordBatchBuilder`] encodes records in place into segments; [`SealedBatch`] is the closed body, which a
//! [`Stamp`] turns into [`Records`](crate::Records) for the wire. [`RecordBatch`] reads, lazily, over borrowed bytes.

mod builder;
mod parser;

pub use builder::{Measured, NewRecord, RecordBatchBuilder, SealedBatch, Segment, Stamp};
pub use parser::{Batches, ControlType, Headers, Record, RecordBatch, RecordIter};

use crate::error::ParseErrorKind;
use crate::put::Put;
use crate::wire::{Parsed, fail};

/// How many bytes stand before a batch's records.
pub const BATCH_HEADER_BYTES: usize = 61;

/// What the batch length does not count: the base offset and itself.
const BEFORE_LENGTH_ENDS: usize = 12;

/// The header bytes that the checksum covers.
const CHECKED_HEADER_BYTES: usize = 40;

/// The magic that this crate reads and writes.
const MAGIC: i8 = 2;

/// No record takes fewer bytes: length, attributes, two deltas, key, value, header count, of one byte each.
const RECORD_MIN_BYTES: usize = 7;

/// A header of a record. Kafka means keys to be UTF-8 but does not check, and neither does this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// May be empty, and may repeat.
    pub key: &'a [u8],
    /// `None` is null.
    pub value: Option<&'a [u8]>,
}

/// The bits of a batch that say how to take it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(pub i16);

impl Attributes {
    const CODEC: i16 = 0x07;
    const LOG_APPEND_TIME: i16 = 0x08;
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;

    /// The codec's id: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd; 5 to 7 are not in use.
    #[must_use]
    pub fn codec(self) -> u8 {
        (self.0 & Self::CODEC).to_be_bytes()[1]
    }

    /// These attributes with another codec; of its id the lowest three bits count.
    #[must_use]
    pub fn with_codec(self, id: u8) -> Self {
        Self((self.0 & !Self::CODEC) | (i16::from(id) & Self::CODEC))
    }

    /// Whether all records have the time of their append, and not their own.
    #[must_use]
    pub fn is_log_append_time(self) -> bool {
        self.0 & Self::LOG_APPEND_TIME != 0
    }

    /// Whether the batch belongs to a transaction.
    #[must_use]
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// These attributes, in or out of a transaction.
    #[must_use]
    pub fn with_transactional(self, transactional: bool) -> Self {
        Self(if transactional { self.0 | Self::TRANSACTIONAL } else { self.0 & !Self::TRANSACTIONAL })
    }

    /// Whether the batch holds a broker's marker instead of records for people.
    #[must_use]
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }
}

/// All of a batch's header but length, magic and checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The first record's offset.
    pub base_offset: i64,
    /// The epoch of the leader that appended the batch; -1 before.
    pub partition_leader_epoch: i32,
    /// Codec, timestamp type, transactional, control.
    pub attributes: Attributes,
    /// The last record's offset less the first's.
    pub last_offset_delta: i32,
    /// The first record's timestamp, in milliseconds since 1970.
    pub base_timestamp: i64,
    /// The highest timestamp; under LogAppendTime that of all records.
    pub max_timestamp: i64,
    /// -1 without idempotence.
    pub producer_id: i64,
    /// -1 without idempotence.
    pub producer_epoch: i16,
    /// The first record's sequence; -1 without idempotence.
    pub base_sequence: i32,
    /// How many records. Compaction may leave fewer than `last_offset_delta + 1`.
    pub record_count: i32,
}

impl BatchHeader {
    /// The 40 bytes that the checksum covers.
    fn checked_bytes(&self) -> [u8; CHECKED_HEADER_BYTES] {
        let mut bytes = [0; CHECKED_HEADER_BYTES];
        let mut rest = &mut bytes[..];
        let mut put = |field: &[u8]| {
            let (place, after) = std::mem::take(&mut rest).split_at_mut(field.len());
            place.copy_from_slice(field);
            rest = after;
        };
        put(&self.attributes.0.to_be_bytes());
        put(&self.last_offset_delta.to_be_bytes());
        put(&self.base_timestamp.to_be_bytes());
        put(&self.max_timestamp.to_be_bytes());
        put(&self.producer_id.to_be_bytes());
        put(&self.producer_epoch.to_be_bytes());
        put(&self.base_sequence.to_be_bytes());
        put(&self.record_count.to_be_bytes());
        bytes
    }

    /// Writes the header of a batch whose body is these chunks, `batch_length` being 49 more than they hold.
    fn write<'a>(&self, batch_length: i32, body: impl IntoIterator<Item = &'a [u8]>, out: &mut impl Put) {
        let checked = self.checked_bytes();
        out.put_slice(&self.base_offset.to_be_bytes());
        out.put_slice(&batch_length.to_be_bytes());
        out.put_slice(&self.partition_leader_epoch.to_be_bytes());
        out.put_slice(&MAGIC.to_be_bytes());
        out.put_slice(&checksum(&checked, body).to_be_bytes());
        out.put_slice(&checked);
    }
}

/// CRC-32C over the covered part of the header and the body.
fn checksum<'a>(header: &[u8], body: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    body.into_iter().fold(crc32c::crc32c(header), crc32c::crc32c_append)
}

/// A length as a varint, -1 being null.
fn nullable_len<'a>(input: &'a [u8], length: i32) -> Parsed<'a, Option<usize>> {
    match usize::try_from(length) {
        Ok(length) => Ok((input, Some(length))),
        Err(_) if length == -1 => Ok((input, None)),
        Err(_) => fail(ParseErrorKind::NegativeLength(length.into()), input),
    }
}
