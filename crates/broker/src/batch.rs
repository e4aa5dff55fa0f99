//! Looks into a batch as Kafka's `ProduceRequest.validateRecords` and `LogValidator` do, by the offsets of the fields
//! and with a cursor of its own: like the reader of requests it shares no code with the client.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use kurier_compression::{Compression, CompressionType};
use kurier_protocol::ErrorCode;

/// The most that a batch may hold when decompressed; Kafka itself has no such limit.
const BODY_BYTES_MAX: usize = 256 << 20;

/// A batch that was found to be sound.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    bytes: Bytes,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) record_count: i32,
    pub(crate) max_timestamp: i64,
}

/// The field of a batch's header at this place.
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
    /// Where the fields stand; the header ends at 61.
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
    const CONTROL: i16 = 0x20;

    /// Checks what a producer sent for one partition in this version of Produce.
    ///
    /// # Errors
    /// With the code that Kafka gives.
    pub(crate) fn check(bytes: Bytes, produce_version: i16, max_message_bytes: usize) -> Result<Self, ErrorCode> {
        let invalid = ErrorCode::INVALID_RECORD;
        let length = int32(&bytes, Self::LENGTH).ok_or(invalid)?;
        if field::<1>(&bytes, Self::MAGIC) != Some([2]) {
            return Err(invalid);
        }
        // One batch, and nothing after it.
        if usize::try_from(length).ok().and_then(|length| length.checked_add(12)) != Some(bytes.len()) {
            return Err(if bytes.len() < Self::HEADER { ErrorCode::CORRUPT_MESSAGE } else { invalid });
        }
        let attributes = int16(&bytes, Self::ATTRIBUTES).ok_or(invalid)?;
        let codec = u8::try_from(attributes & 7).unwrap_or_default();
        if codec == CompressionType::Zstd.id() && produce_version < 7 {
            return Err(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE);
        }
        if bytes.len() > max_message_bytes {
            return Err(ErrorCode::MESSAGE_TOO_LARGE);
        }
        let checked = bytes.get(Self::ATTRIBUTES..).ok_or(ErrorCode::CORRUPT_MESSAGE)?;
        if field(&bytes, Self::CRC).map(u32::from_be_bytes) != Some(crc32c::crc32c(checked)) {
            return Err(ErrorCode::CORRUPT_MESSAGE);
        }
        let batch = Self {
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
            && (batch.producer_id < 0 || (batch.base_sequence >= 0 && batch.producer_epoch >= 0));
        if !is_sound {
            return Err(invalid);
        }
        batch.check_records()?;
        Ok(batch)
    }

    /// Whether the body holds as many records as the header says, with offsets from 0 on, and nothing else.
    fn check_records(&self) -> Result<(), ErrorCode> {
        let Some(body) = body(&self.bytes)? else { return Ok(()) };
        let mut rest = &body[..];
        for offset in 0..self.record_count {
            let record;
            (record, rest) = next_record(rest).ok_or(ErrorCode::INVALID_RECORD)?;
            if record.offset_delta != i64::from(offset) {
                return Err(ErrorCode::INVALID_RECORD);
            }
        }
        if rest.is_empty() { Ok(()) } else { Err(ErrorCode::INVALID_RECORD) }
    }

    /// The batch as it stands in the log. Offset and leader epoch are not covered by the checksum; the time of an append
    /// is, and so gives a new one.
    pub(crate) fn stored(&self, base_offset: i64, leader_epoch: i32, append_time: Option<i64>) -> Bytes {
        let mut bytes = BytesMut::from(&self.bytes[..]);
        put(&mut bytes, 0, base_offset.to_be_bytes());
        put(&mut bytes, Self::LEADER_EPOCH, leader_epoch.to_be_bytes());
        if let Some(time) = append_time {
            let attributes = int16(&bytes, Self::ATTRIBUTES).unwrap_or_default() | Self::LOG_APPEND_TIME;
            put(&mut bytes, Self::ATTRIBUTES, attributes.to_be_bytes());
            put(&mut bytes, Self::MAX_TIMESTAMP, time.to_be_bytes());
            let crc = crc32c::crc32c(bytes.get(Self::ATTRIBUTES..).unwrap_or_default());
            put(&mut bytes, Self::CRC, crc.to_be_bytes());
        }
        bytes.freeze()
    }
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, field: [u8; N]) {
    if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = field;
    }
}

/// A batch's records, decompressed; `None` if this build does not have the codec, whose batches it takes on trust.
fn body(batch: &[u8]) -> Result<Option<Cow<'_, [u8]>>, ErrorCode> {
    let body = batch.get(Batch::HEADER..).unwrap_or_default();
    let codec = int16(batch, Batch::ATTRIBUTES).and_then(|attributes| u8::try_from(attributes & 7).ok());
    let kind = codec.and_then(CompressionType::from_id).ok_or(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE)?;
    if kind == CompressionType::None {
        return Ok(Some(body.into()));
    }
    let Ok(mut codec) = Compression::new(kind).codec() else { return Ok(None) };
    let mut plain = Vec::new();
    codec.decompress(body, BODY_BYTES_MAX, &mut plain).map_err(|_| ErrorCode::CORRUPT_MESSAGE)?;
    Ok(Some(plain.into()))
}

/// The first record of a stored batch whose timestamp is at least this: its offset delta and timestamp.
pub(crate) fn record_at(batch: &[u8], timestamp: i64) -> Option<(i32, i64)> {
    let max_timestamp = int64(batch, Batch::MAX_TIMESTAMP)?;
    let is_append_time = int16(batch, Batch::ATTRIBUTES)? & Batch::LOG_APPEND_TIME != 0;
    let body = body(batch).ok()??;
    let mut rest = &body[..];
    while !rest.is_empty() && !is_append_time {
        let record;
        (record, rest) = next_record(rest)?;
        let found = int64(batch, Batch::BASE_TIMESTAMP)?.checked_add(record.timestamp_delta)?;
        if found >= timestamp {
            return Some((record.offset_delta.try_into().ok()?, found));
        }
    }
    is_append_time.then_some((0, max_timestamp))
}

/// What is looked at in a record.
struct Record {
    timestamp_delta: i64,
    offset_delta: i64,
}

/// The record at the head of `body`, if it is a sound one, and what follows it.
fn next_record(body: &[u8]) -> Option<(Record, &[u8])> {
    let (length, rest) = varint(body)?;
    let (record, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    let (_attributes, rest) = record.split_first()?;
    let (timestamp_delta, rest) = varint(rest)?;
    let (offset_delta, rest) = varint(rest)?;
    let rest = after_bytes(rest, true)?;
    let rest = after_bytes(rest, true)?;
    let (headers, mut rest) = varint(rest)?;
    for _ in 0..u64::try_from(headers).ok()? {
        rest = after_bytes(rest, false)?;
        rest = after_bytes(rest, true)?;
    }
    rest.is_empty().then_some((Record { timestamp_delta, offset_delta }, after))
}

fn after_bytes(input: &[u8], may_be_null: bool) -> Option<&[u8]> {
    match varint(input)? {
        (-1, rest) => may_be_null.then_some(rest),
        (length, rest) => rest.get(usize::try_from(length).ok()?..),
    }
}

/// A zig-zag integer of at most ten bytes.
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
