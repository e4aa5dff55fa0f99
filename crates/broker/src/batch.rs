//! Validation of batches, after Kafka's `ProduceRequest.validateRecords`, `UnifiedLog` and `LogValidator`. It reads
//! fields by their offsets, with a cursor of its own: like the request reader, it shares no code with the client.
//!
//! Error codes are Kafka's. A strict cluster also refuses some batches that Kafka accepts but no client should send:
//! those with bytes after the batch, record offsets that do not count from 0, lengths below -1, or a producer id
//! without an epoch.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use kurier_compression::{Compression, CompressionType};
use kurier_protocol::ErrorCode;

use crate::settings::TopicSettings;

/// Limit on a batch's decompressed size. Kafka has no such limit.
const BODY_BYTES_MAX: usize = 256 << 20;

/// Limit on the records that one refusal blames.
const BLAMED_MAX: usize = 1000;

/// Reason for not writing a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    /// The records to blame, by their index in the batch, each with its error message (KIP-467).
    pub(crate) blamed: Vec<(i32, String)>,
    /// An error message for the whole batch.
    pub(crate) why: Option<&'static str>,
    /// Whether the partition's log refuses the batch. If so, the answer tells the log's start offset.
    pub(crate) is_by_log: bool,
}

impl Refusal {
    /// Creates a refusal with a message that Kafka gives too.
    fn because(code: ErrorCode, why: &'static str) -> Self {
        Self { why: Some(why), ..code.into() }
    }

    /// Marks the refusal as the log's. For some codes Kafka does not tell the log's start offset
    /// (`ReplicaManager.appendToLocalLog`).
    pub(crate) fn by_log(self) -> Self {
        let is_silent = matches!(
            self.code,
            ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE | ErrorCode::CORRUPT_MESSAGE
        );
        Self { is_by_log: !is_silent, ..self }
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self { code, blamed: Vec::new(), why: None, is_by_log: false }
    }
}

/// A batch that passed all checks.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// The batch as the client sent it.
    bytes: Bytes,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) record_count: i32,
    pub(crate) max_timestamp: i64,
}

/// Returns the header field at this offset.
fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn int16(bytes: &[u8], at: usize) -> Option<i16> {
    field(bytes, at).map(i16::from_be_bytes)
}

fn int32(bytes: &[u8], at: usize) -> Option<i32> {
    field(bytes, at).map(i32::from_be_bytes)
}

fn int64(bytes: &[u8], at: usize) -> Option<i64> {
    field(bytes, at).map(i64::from_be_bytes)
}

impl Batch {
    /// Offsets of the fields; the header has 61 bytes.
    const LENGTH: usize = 8;
    const LEADER_EPOCH: usize = 12;
    const MAGIC: usize = 16;
    const CRC: usize = 17;
    const ATTRIBUTES: usize = 21;
    const LAST_OFFSET_DELTA: usize = 23;
    const BASE_TIMESTAMP: usize = 27;
    const MAX_TIMESTAMP: usize = 35;
    const PRODUCER_ID: usize = 43;
    const PRODUCER_EPOCH: usize = 51;
    const BASE_SEQUENCE: usize = 53;
    const COUNT: usize = 57;
    const HEADER: usize = 61;

    /// Bits of the attributes.
    const LOG_APPEND_TIME: i16 = 0x08;
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;

    /// Lowest value of the length field, for any magic.
    const SHORTEST: i32 = 14;

    /// Whether these bytes claim to belong to a transaction.
    pub(crate) fn is_transactional(bytes: &[u8]) -> bool {
        field::<1>(bytes, Self::MAGIC) == Some([2])
            && int16(bytes, Self::ATTRIBUTES).is_some_and(|attributes| attributes & Self::TRANSACTIONAL != 0)
    }

    /// Finds the one batch among the record bytes of a partition, in this version of Produce. Like
    /// `ProduceRequest.validateRecords`, this comes before any check of the partition.
    ///
    /// # Errors
    /// With Kafka's error code.
    pub(crate) fn find(sent: &[u8], produce_version: i16, is_strict: bool) -> Result<&[u8], Refusal> {
        let invalid = ErrorCode::INVALID_RECORD;
        let length = int32(sent, Self::LENGTH).ok_or(invalid)?;
        if length < Self::SHORTEST {
            return Err(Refusal::because(ErrorCode::CORRUPT_MESSAGE, "its length is that of no batch"));
        }
        let [magic] = field(sent, Self::MAGIC).ok_or(invalid)?;
        if magic > 2 {
            return Err(Refusal::because(ErrorCode::CORRUPT_MESSAGE, "its magic is that of no batch"));
        }
        // Kafka wraps around here and then sees a number below 0.
        let end = length.checked_add(12).ok_or(ErrorCode::UNKNOWN_SERVER_ERROR)?;
        let end = usize::try_from(end).map_err(|_| invalid)?;
        let (batch, after) = sent.split_at_checked(end).ok_or(invalid)?;
        if magic != 2 {
            return Err(invalid.into());
        }
        if batch.len() < Self::HEADER {
            return Err(ErrorCode::CORRUPT_MESSAGE.into());
        }
        if codec(batch) == CompressionType::Zstd.id() && produce_version < 7 {
            return Err(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE.into());
        }
        // Kafka ignores an incomplete batch.
        let next = int32(after, Self::LENGTH).and_then(|length| usize::try_from(length).ok());
        let has_next = next.is_some_and(|length| after.len() - 12 >= length);
        if after.is_empty() || (!has_next && !is_strict) {
            Ok(batch)
        } else {
            Err(if is_intact(batch) { invalid } else { ErrorCode::CORRUPT_MESSAGE }.into())
        }
    }

    /// Checks a batch that [`find`](Self::find) returned, before the partition appends it at this time.
    ///
    /// # Errors
    /// With Kafka's error code.
    pub(crate) fn check(bytes: Bytes, settings: &TopicSettings, now_ms: i64, is_strict: bool) -> Result<Self, Refusal> {
        let invalid = ErrorCode::INVALID_RECORD;
        // A producer cannot know the batch's offset in the log, so it sends 0.
        if int64(&bytes, 0) != Some(0) {
            return Err(invalid.into());
        }
        if bytes.len() > settings.max_message_bytes {
            return Err(ErrorCode::MESSAGE_TOO_LARGE.into());
        }
        if !is_intact(&bytes) {
            return Err(ErrorCode::CORRUPT_MESSAGE.into());
        }
        let attributes = int16(&bytes, Self::ATTRIBUTES).ok_or(invalid)?;
        let mut batch = Self {
            producer_id: int64(&bytes, Self::PRODUCER_ID).ok_or(invalid)?,
            producer_epoch: int16(&bytes, Self::PRODUCER_EPOCH).ok_or(invalid)?,
            base_sequence: int32(&bytes, Self::BASE_SEQUENCE).ok_or(invalid)?,
            record_count: int32(&bytes, Self::COUNT).ok_or(invalid)?,
            max_timestamp: int64(&bytes, Self::MAX_TIMESTAMP).ok_or(invalid)?,
            bytes,
        };
        let is_sound = batch.record_count > 0
            && int32(&batch.bytes, Self::LAST_OFFSET_DELTA) == batch.record_count.checked_sub(1)
            && attributes & Self::CONTROL == 0
            && (batch.producer_id < 0 || batch.base_sequence >= 0)
            && (batch.producer_id < 0 || batch.producer_epoch >= 0 || !is_strict);
        if !is_sound {
            return Err(invalid.into());
        }
        batch.check_records(settings, now_ms, is_strict)?;
        // This check comes last: Kafka may have rewritten the batch into a smaller one before.
        if batch.bytes.len() > settings.segment_bytes {
            return Err(ErrorCode::RECORD_LIST_TOO_LARGE.into());
        }
        Ok(batch)
    }

    /// Checks that the body holds exactly as many records as the header says, with offsets from 0 on, valid timestamps
    /// and, on a compacted topic, keys. Also finds the highest timestamp, without trust in the header's.
    fn check_records(&mut self, settings: &TopicSettings, now_ms: i64, is_strict: bool) -> Result<(), Refusal> {
        let invalid = ErrorCode::INVALID_RECORD;
        let base_timestamp = int64(&self.bytes, Self::BASE_TIMESTAMP).ok_or(invalid)?;
        let latest = now_ms.saturating_add(settings.timestamp_after_max_ms);
        let is_of_append_time = is_of_append_time(&self.bytes);
        let Some(body) = body(&self.bytes)? else { return Ok(()) };
        let mut max_timestamp = NO_TIMESTAMP;
        let mut blamed = Vec::new();
        let mut code = invalid;
        let mut rest = &body[..];
        for index in 0..self.record_count {
            let record;
            (record, rest) = next_record(rest, is_strict).ok_or(invalid)?;
            if is_strict && record.offset_delta != i64::from(index) {
                return Err(invalid.into());
            }
            let timestamp = base_timestamp.checked_add(record.timestamp_delta).ok_or(invalid)?;
            max_timestamp = max_timestamp.max(timestamp);
            // If several records are bad, the last one decides the batch's error.
            let what = match settings.is_log_append_time {
                _ if settings.is_compacted && !record.has_key => {
                    code = invalid;
                    "on a compacted topic it needs a key".to_owned()
                }
                true if is_of_append_time => {
                    code = ErrorCode::INVALID_TIMESTAMP;
                    "a producer cannot say when its records are appended".to_owned()
                }
                false if timestamp > latest => {
                    code = ErrorCode::INVALID_TIMESTAMP;
                    format!("its timestamp, {timestamp}, is later than {latest}")
                }
                _ => continue,
            };
            if blamed.len() < BLAMED_MAX {
                blamed.push((index, what));
            }
        }
        if !rest.is_empty() {
            return Err(invalid.into());
        }
        if !blamed.is_empty() {
            return Err(Refusal { blamed, ..code.into() });
        }
        self.max_timestamp = max_timestamp;
        Ok(())
    }

    /// Returns the batch as the log stores it. The checksum does not cover offset and leader epoch, but it covers
    /// times.
    pub(crate) fn stored(&self, base_offset: i64, leader_epoch: i32, append_time: Option<i64>) -> Bytes {
        let mut bytes = BytesMut::from(&self.bytes[..]);
        put(&mut bytes, 0, base_offset.to_be_bytes());
        put(&mut bytes, Self::LEADER_EPOCH, leader_epoch.to_be_bytes());
        let sent = int16(&bytes, Self::ATTRIBUTES).unwrap_or_default();
        let (attributes, max_timestamp) = match append_time {
            Some(time) => (sent | Self::LOG_APPEND_TIME, time),
            None => (sent & !Self::LOG_APPEND_TIME, self.max_timestamp),
        };
        if attributes != sent || Some(max_timestamp) != int64(&bytes, Self::MAX_TIMESTAMP) {
            put(&mut bytes, Self::ATTRIBUTES, attributes.to_be_bytes());
            put(&mut bytes, Self::MAX_TIMESTAMP, max_timestamp.to_be_bytes());
            let crc = crc32c::crc32c(bytes.get(Self::ATTRIBUTES..).unwrap_or_default());
            put(&mut bytes, Self::CRC, crc.to_be_bytes());
        }
        bytes.freeze()
    }
}

/// Timestamp of a record that has none.
const NO_TIMESTAMP: i64 = -1;

/// Returns the codec's id from a batch's attributes.
fn codec(batch: &[u8]) -> u8 {
    int16(batch, Batch::ATTRIBUTES).and_then(|attributes| u8::try_from(attributes & 7).ok()).unwrap_or_default()
}

fn is_of_append_time(batch: &[u8]) -> bool {
    int16(batch, Batch::ATTRIBUTES).is_some_and(|attributes| attributes & Batch::LOG_APPEND_TIME != 0)
}

/// Whether the checksum matches the bytes.
fn is_intact(batch: &[u8]) -> bool {
    let crc = batch.get(Batch::ATTRIBUTES..).map(crc32c::crc32c);
    crc.is_some() && crc == field(batch, Batch::CRC).map(u32::from_be_bytes)
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, field: [u8; N]) {
    if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = field;
    }
}

/// Returns a batch's records, decompressed; `None` if this build lacks the codec. Such batches are accepted unread.
fn body(batch: &[u8]) -> Result<Option<Cow<'_, [u8]>>, ErrorCode> {
    let body = batch.get(Batch::HEADER..).unwrap_or_default();
    // Kafka has no better code for an unknown codec.
    let kind = CompressionType::from_id(codec(batch)).ok_or(ErrorCode::UNKNOWN_SERVER_ERROR)?;
    if kind == CompressionType::None {
        return Ok(Some(body.into()));
    }
    let Ok(mut codec) = Compression::new(kind).codec() else { return Ok(None) };
    let mut plain = Vec::new();
    // The checksum was right, so the client compressed wrongly. Kafka has no better code for that.
    codec.decompress(body, BODY_BYTES_MAX, &mut plain).map_err(|_| ErrorCode::UNKNOWN_SERVER_ERROR)?;
    Ok(Some(plain.into()))
}

/// Returns the epoch of the leader that appended a stored batch.
pub(crate) fn leader_epoch(batch: &[u8]) -> Option<i32> {
    int32(batch, Batch::LEADER_EPOCH)
}

/// Returns offset delta and timestamp of the first record in a stored batch whose timestamp is at least this.
pub(crate) fn record_at(batch: &[u8], timestamp: i64) -> Option<(i64, i64)> {
    if is_of_append_time(batch) {
        return Some((0, int64(batch, Batch::MAX_TIMESTAMP)?));
    }
    let base_timestamp = int64(batch, Batch::BASE_TIMESTAMP)?;
    let body = body(batch).ok()??;
    let mut rest = &body[..];
    while !rest.is_empty() {
        let record;
        (record, rest) = next_record(rest, false)?;
        let found = base_timestamp.checked_add(record.timestamp_delta)?;
        if found >= timestamp {
            return Some((record.offset_delta, found));
        }
    }
    None
}

/// The fields of a record that the checks need.
struct Record {
    timestamp_delta: i64,
    offset_delta: i64,
    has_key: bool,
}

/// Splits the record at the start of `body` from the rest, if the record is well-formed. Unless strict, any length
/// below 0 means null.
fn next_record(body: &[u8], is_strict: bool) -> Option<(Record, &[u8])> {
    let (length, rest) = varint(body)?;
    let (record, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    let (_attributes, rest) = record.split_first()?;
    let (timestamp_delta, rest) = varint(rest)?;
    let (offset_delta, rest) = varint(rest)?;
    let lowest = if is_strict { -1 } else { i64::MIN };
    let (key_length, _) = varint(rest)?;
    let rest = after_bytes(rest, lowest)?;
    let rest = after_bytes(rest, lowest)?;
    let (headers, mut rest) = varint(rest)?;
    for _ in 0..u64::try_from(headers).ok()? {
        rest = after_bytes(rest, 0)?;
        rest = after_bytes(rest, lowest)?;
    }
    rest.is_empty().then_some((Record { timestamp_delta, offset_delta, has_key: key_length >= 0 }, after))
}

/// Skips length-prefixed bytes. The length must be at least `lowest`; a length below 0 means null.
fn after_bytes(input: &[u8], lowest: i64) -> Option<&[u8]> {
    match varint(input)? {
        (length, _) if length < lowest => None,
        (..0, rest) => Some(rest),
        (length, rest) => rest.get(usize::try_from(length).ok()?..),
    }
}

/// Reads a zig-zag integer of at most ten bytes.
fn varint(input: &[u8]) -> Option<(i64, &[u8])> {
    let mut value = 0u64;
    for (index, byte) in input.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f).checked_shl(u32::try_from(index * 7).ok()?)?;
        if byte & 0x80 == 0 {
            let decoded = (value >> 1).cast_signed() ^ -(value & 1).cast_signed();
            return Some((decoded, input.get(index + 1..)?));
        }
    }
    None
}
