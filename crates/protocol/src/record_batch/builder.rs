//! Builds a batch. Each record is encoded once, in place, and stays there until it is sent.
//!
//! The body is a list of segments. The first has 1 KiB, and each next one doubles, up to 64 KiB. A segment is never
//! moved or grown: growing one buffer to 1 MiB by copying costs half as much again per record. The caller supplies the
//! segments, so it can count their memory and take it back when the last reference is dropped.

use std::fmt;

use bytes::Bytes;

use super::header::{Attributes, BATCH_HEADER_BYTES, BatchHeader, refuse};
use super::record_header::{Header, Size};
use super::stamp::Stamp;
use crate::compression_type::CompressionType;
use crate::error::{EncodeError, EncodeErrorKind};
use crate::put::Put;
use crate::records::Records;
use crate::varint::{put_varlong, varlong_len};

/// Size of the first segment; the next ones double.
const FIRST_SEGMENT_BYTES: usize = 1024;

/// A record's attributes, of which Kafka uses none.
const ATTRIBUTES: u8 = 0;

/// Maximum size of a segment.
const LARGEST_SEGMENT_BYTES: usize = 64 * 1024;

/// A record to append.
///
/// ```
/// use kurier_protocol::record_batch::NewRecord;
///
/// let record = NewRecord { timestamp: 1_700_000_000_000, key: Some(b"k"), value: Some(b"v"), headers: &[] };
/// let deletion = NewRecord { value: None, ..record };
/// assert_ne!(record, deletion);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct NewRecord<'a> {
    /// The timestamp in milliseconds since 1970.
    pub timestamp: i64,
    /// The key; `None` is null, which differs from empty.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is null, which compaction treats as a deletion.
    pub value: Option<&'a [u8]>,
    /// The headers, in order; keys may repeat.
    pub headers: &'a [Header<'a>],
}

impl NewRecord<'_> {
    /// Returns an upper bound of the record's size in a batch: with the longest form of each varint.
    ///
    /// ```
    /// use kurier_protocol::record_batch::{NewRecord, RecordBatchBuilder};
    ///
    /// let record = NewRecord { value: Some(b"v"), ..Default::default() };
    /// assert_eq!(record.bytes_max(), 37);
    /// assert_eq!(RecordBatchBuilder::new().append(&record)?, 8);
    /// # Ok::<(), kurier_protocol::EncodeError>(())
    /// ```
    #[inline]
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        /// Length, attributes, timestamp, offset, the lengths of key and value, and the number of headers.
        const FIELDS_BYTES: usize = 5 + 1 + 10 + 5 + 5 + 5 + 5;
        let headers = match self.headers {
            [] => 0,
            headers => headers_bytes_max(headers),
        };
        // Slices are no longer than half of the address space, so only the headers can overflow.
        (len(self.key) + len(self.value)).saturating_add(FIELDS_BYTES).saturating_add(headers)
    }
}

impl fmt::Debug for NewRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewRecord")
            .field("timestamp", &self.timestamp)
            .field("key", &Size(self.key))
            .field("value", &Size(self.value))
            .field("headers", &self.headers)
            .finish()
    }
}

/// A piece of memory that a builder fills and then shares.
///
/// `Vec<u8>` is a segment. A producer that limits its memory wraps a vector together with its reservation:
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// use kurier_protocol::record_batch::{NewRecord, RecordBatchBuilder, Segment};
///
/// /// Gives its bytes back when the last reference to them goes.
/// struct Counted(Vec<u8>, Arc<AtomicUsize>);
///
/// impl AsRef<[u8]> for Counted {
///     fn as_ref(&self) -> &[u8] {
///         &self.0
///     }
/// }
///
/// impl Segment for Counted {
///     fn buffer(&mut self) -> &mut Vec<u8> {
///         &mut self.0
///     }
/// }
///
/// impl Drop for Counted {
///     fn drop(&mut self) {
///         self.1.fetch_add(self.0.capacity(), Ordering::Relaxed);
///     }
/// }
///
/// let free = Arc::new(AtomicUsize::new(10_000));
/// let mut builder = RecordBatchBuilder::default();
/// let slot = builder.slot(&NewRecord { value: Some(&[7; 2000]), ..Default::default() })?;
/// assert_eq!(slot.growth(), 1024 + 2048, "two new segments");
/// free.fetch_sub(slot.growth(), Ordering::Relaxed);
/// slot.fill(|size| Counted(Vec::with_capacity(size), Arc::clone(&free)));
///
/// let sealed = builder.seal().unwrap();
/// assert_eq!(free.load(Ordering::Relaxed), 10_000 - 3072);
/// drop(sealed);
/// assert_eq!(free.load(Ordering::Relaxed), 10_000);
/// # Ok::<(), kurier_protocol::EncodeError>(())
/// ```
pub trait Segment: AsRef<[u8]> + Send + 'static {
    /// The vector to fill. It has the requested capacity, which the builder never exceeds.
    fn buffer(&mut self) -> &mut Vec<u8>;
}

impl Segment for Vec<u8> {
    fn buffer(&mut self) -> &mut Vec<u8> {
        self
    }
}

/// An open batch.
///
/// ```
/// use kurier_protocol::record_batch::{NewRecord, RecordBatch, RecordBatchBuilder, Stamp};
///
/// let mut builder = RecordBatchBuilder::new();
/// builder.append(&NewRecord { timestamp: 1_700_000_000_000, value: Some(b"first"), ..Default::default() })?;
/// builder.append(&NewRecord { timestamp: 1_700_000_000_007, key: Some(b"k"), ..Default::default() })?;
///
/// let records = builder.seal().expect("it is not empty").stamp(&Stamp::NONE)?;
/// let bytes = records.to_bytes();
/// let (batch, rest) = RecordBatch::parse(&bytes).unwrap();
/// assert!(rest.is_empty());
/// let values: Vec<_> = batch.records().unwrap().map(|record| record.unwrap().value).collect();
/// assert_eq!(values, [Some(&b"first"[..]), None]);
/// # Ok::<(), kurier_protocol::EncodeError>(())
/// ```
pub struct RecordBatchBuilder<S = Vec<u8>> {
    segments: Vec<S>,
    /// Free bytes in the last segment.
    room: usize,
    body_bytes: usize,
    record_count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl<S> Default for RecordBatchBuilder<S> {
    fn default() -> Self {
        Self { segments: Vec::new(), room: 0, body_bytes: 0, record_count: 0, base_timestamp: 0, max_timestamp: 0 }
    }
}

impl<S> fmt::Debug for RecordBatchBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { body_bytes, record_count, .. } = self;
        write!(f, "RecordBatchBuilder({record_count} records, {body_bytes} bytes)")
    }
}

impl RecordBatchBuilder {
    /// Creates an empty batch whose segments are vectors.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a record and returns its size in bytes.
    ///
    /// # Errors
    /// As [`slot`](Self::slot).
    pub fn append(&mut self, record: &NewRecord<'_>) -> Result<usize, EncodeError> {
        let slot = self.slot(record)?;
        let record_bytes = slot.record_bytes();
        slot.fill(Vec::with_capacity);
        Ok(record_bytes)
    }
}

impl<S: Segment> RecordBatchBuilder<S> {
    /// Size of the records so far, without the batch's header.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    /// Number of records.
    #[must_use]
    pub fn record_count(&self) -> i32 {
        self.record_count
    }

    /// Whether the batch has no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// The highest timestamp so far, 0 without records.
    #[must_use]
    pub fn max_timestamp(&self) -> i64 {
        self.max_timestamp
    }

    /// Returns a slot for the next record. Filling the slot appends the record.
    ///
    /// # Errors
    /// When a length, the batch's length or its record count would exceed 2,147,483,647, or when the timestamp is too
    /// far from the first record's. A record that does not fit this batch fits an empty one, unless the record itself
    /// is too long.
    pub fn slot<'b, 'r>(&'b mut self, record: &NewRecord<'r>) -> Result<Slot<'b, 'r, S>, EncodeError> {
        if self.record_count == i32::MAX {
            return Err(refuse(EncodeErrorKind::TooLong(self.record_count.unsigned_abs() as usize), "records"));
        }
        let timestamp_delta = if self.record_count == 0 {
            0
        } else {
            let overflow = || refuse(EncodeErrorKind::Overflow, "timestamp");
            record.timestamp.checked_sub(self.base_timestamp).ok_or_else(overflow)?
        };
        let mut content = 1 + varlong_len(timestamp_delta) + varlong_len(self.record_count.into());
        content += bytes_len(record.key, "key")? + bytes_len(record.value, "value")?;
        content += varlong_len(length(record.headers.len(), "headers")?);
        for header in record.headers {
            content += bytes_len(Some(header.key), "headers")? + bytes_len(header.value, "headers")?;
        }
        let content_len = length(content, "record")?;
        let record_bytes = varlong_len(content_len) + content;
        length(self.body_bytes + record_bytes + BATCH_HEADER_BYTES, "batch")?;
        Ok(Slot { builder: self, record: *record, timestamp_delta, content_len, record_bytes })
    }

    /// Appends a record if it is sure to fit into the last segment, and returns its size in bytes. The bytes are those of
    /// [`slot`](Self::slot), at a fraction of its cost.
    ///
    /// Returns `None` and changes nothing for all other records: the first of a batch, one that may need another
    /// segment, and one whose offset or timestamp differs by 1,048,576 or more from the first record's. They need a
    /// slot.
    ///
    /// ```
    /// use kurier_protocol::record_batch::{NewRecord, RecordBatchBuilder};
    ///
    /// let mut builder = RecordBatchBuilder::new();
    /// let record = NewRecord { value: Some(b"v"), ..Default::default() };
    /// assert_eq!(builder.append_within(&record), None, "the first record needs a segment");
    /// builder.append(&record)?;
    /// assert_eq!(builder.append_within(&record), Some(8));
    /// assert_eq!(builder.record_count(), 2);
    /// # Ok::<(), kurier_protocol::EncodeError>(())
    /// ```
    #[inline]
    pub fn append_within(&mut self, record: &NewRecord<'_>) -> Option<usize> {
        // A negative difference is huge without its sign.
        let timestamp_delta = record.timestamp.checked_sub(self.base_timestamp)?.cast_unsigned();
        let offset_delta = u64::from(self.record_count.cast_unsigned());
        let is_short = (timestamp_delta | offset_delta) < Varints::BELOW && self.body_bytes < WITHIN_BODY_BYTES;
        // An empty batch has no room. `put` and `put_with` store up to 16 bytes and cut the surplus off. The bound leaves
        // room for that: it counts ten bytes for a timestamp and five for an offset, and these have at most three.
        if !is_short || record.bytes_max() > self.room {
            return None;
        }
        let start = Varints::of_zigzag(timestamp_delta << 1).after_attributes();
        let offset = Varints::of_zigzag(offset_delta << 1);
        match record.headers {
            [] => self.put_within(record, start, offset, 1, |out| out.push(0)),
            _ => self.put_with_headers_within(record, start, offset),
        }
    }

    // Most records have no headers. The functions for headers are not inlined, which leaves the others more registers.
    #[inline(never)]
    fn put_with_headers_within(&mut self, record: &NewRecord<'_>, start: Varints, offset: Varints) -> Option<usize> {
        let headers_bytes = headers_bytes_within(record.headers);
        self.put_within(record, start, offset, headers_bytes, |out| put_headers_within(record.headers, out))
    }

    /// Appends a record that fits into the last segment. `start` is all that stands between its length and its offset.
    #[inline(always)]
    fn put_within(
        &mut self,
        record: &NewRecord<'_>,
        start: Varints,
        offset: Varints,
        headers_bytes: usize,
        put_headers: impl FnOnce(&mut Vec<u8>),
    ) -> Option<usize> {
        let NewRecord { timestamp, key, value, headers: _ } = *record;
        let out = self.segments.last_mut()?.buffer();
        let value_len = Varints::of_nullable(value);
        let value = value.unwrap_or_default();
        let payload_bytes = value.len() + headers_bytes;
        let record_bytes;
        match key {
            None => {
                let rest = offset.before(Varints::NULL).before(value_len);
                let start = start.after_len(payload_bytes + rest.len());
                record_bytes = start.len() + rest.len() + payload_bytes;
                start.put_with(rest, out);
            }
            Some(key) => {
                let rest = offset.before(Varints::of_len(key.len()));
                let payload_bytes = key.len() + value_len.len() + payload_bytes;
                let start = start.after_len(payload_bytes + rest.len());
                record_bytes = start.len() + rest.len() + payload_bytes;
                start.put_with(rest, out);
                out.extend_from_slice(key);
                value_len.put(out);
            }
        }
        self.room -= record_bytes;
        self.body_bytes += record_bytes;
        self.record_count += 1;
        self.max_timestamp = self.max_timestamp.max(timestamp);
        out.extend_from_slice(value);
        put_headers(out);
        Some(record_bytes)
    }

    /// Closes the batch. Returns `None` without records: a producer cannot send an empty batch.
    #[must_use]
    pub fn seal(self) -> Option<SealedBatch> {
        if self.is_empty() {
            return None;
        }
        Some(SealedBatch {
            body: self.segments.into_iter().map(Bytes::from_owner).collect(),
            body_bytes: self.body_bytes,
            record_count: self.record_count,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            compression_type: CompressionType::None,
        })
    }
}

/// A slot for a builder's next record. Dropping it appends nothing.
///
/// See [`Segment`] for an example.
#[derive(Debug)]
pub struct Slot<'b, 'r, S = Vec<u8>> {
    builder: &'b mut RecordBatchBuilder<S>,
    record: NewRecord<'r>,
    timestamp_delta: i64,
    /// Length of the record without its own length field.
    content_len: i64,
    record_bytes: usize,
}

impl<S: Segment> Slot<'_, '_, S> {
    /// Size of the record in bytes.
    #[must_use]
    pub fn record_bytes(&self) -> usize {
        self.record_bytes
    }

    /// Number of bytes that new segments need; 0 if the record fits into the last one.
    #[must_use]
    pub fn growth(&self) -> usize {
        let mut missing = self.record_bytes.saturating_sub(self.builder.room);
        let mut growth = 0;
        let mut index = self.builder.segments.len();
        while missing > 0 {
            let size = segment_bytes(index);
            growth += size;
            missing = missing.saturating_sub(size);
            index += 1;
        }
        growth
    }

    /// Appends the record. Calls `segment` with the size of each new segment; the sizes add up to
    /// [`growth`](Self::growth).
    ///
    /// # Panics
    /// When a segment has less capacity than requested.
    pub fn fill(self, segment: impl FnMut(usize) -> S) {
        let Self { builder, record, timestamp_delta, content_len, record_bytes } = self;
        let offset_delta = builder.record_count;
        if builder.record_count == 0 {
            builder.base_timestamp = record.timestamp;
            builder.max_timestamp = record.timestamp;
        }
        match builder.segments.last_mut() {
            Some(last) if record_bytes <= builder.room => {
                put_record(&record, timestamp_delta, offset_delta, content_len, last.buffer());
                builder.room -= record_bytes;
            }
            _ => {
                let mut straddle = Straddle { segments: &mut builder.segments, room: &mut builder.room, segment };
                put_record(&record, timestamp_delta, offset_delta, content_len, &mut straddle);
            }
        }
        builder.body_bytes += record_bytes;
        builder.record_count += 1;
        builder.max_timestamp = builder.max_timestamp.max(record.timestamp);
    }
}

/// The body size from which on only a [`Slot`] is used, which checks that a batch's length fits into 31 bits.
const WITHIN_BODY_BYTES: usize = 1 << 30;

/// Returns the length of a key or value, 0 for null.
#[inline(always)]
fn len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(0, <[u8]>::len)
}

/// Returns an upper bound of the size of headers, without their number.
#[inline(never)]
fn headers_bytes_max(headers: &[Header<'_>]) -> usize {
    let one = |header: &Header<'_>| (header.key.len() + len(header.value)).saturating_add(5 + 5);
    headers.iter().map(one).fold(0, usize::saturating_add)
}

/// Returns the size of headers whose lengths are short, with their number.
#[inline(never)]
fn headers_bytes_within(headers: &[Header<'_>]) -> usize {
    let one = |header: &Header<'_>| {
        let lengths = Varints::of_len(header.key.len()).before(Varints::of_nullable(header.value));
        lengths.len() + header.key.len() + len(header.value)
    };
    Varints::of_len(headers.len()).len() + headers.iter().map(one).sum::<usize>()
}

/// Writes headers whose lengths are short, with their number.
#[inline(never)]
fn put_headers_within(headers: &[Header<'_>], out: &mut Vec<u8>) {
    Varints::of_len(headers.len()).put(out);
    for header in headers {
        Varints::of_len(header.key.len()).put(out);
        out.extend_from_slice(header.key);
        Varints::of_nullable(header.value).put(out);
        out.extend_from_slice(header.value.unwrap_or_default());
    }
}

/// Up to seven bytes of a record, in a register: short varints, and perhaps the attributes. One store writes them all,
/// because single stores stall a wide load that follows.
#[derive(Clone, Copy)]
struct Varints {
    /// The bytes, the first one lowest. All others are zero.
    bytes: u64,
    bits: u32,
}

impl Varints {
    /// Non-negative values below this have at most three bytes.
    const BELOW: u64 = 1 << 20;

    /// The length of null, which is -1.
    const NULL: Self = Self { bytes: 1, bits: 8 };

    /// Encodes a value in its zigzag form, which is below twice [`BELOW`](Self::BELOW).
    #[inline(always)]
    fn of_zigzag(value: u64) -> Self {
        let (bytes, bits) = if value < 0x80 {
            (value, 8)
        } else if value < 0x4000 {
            (value & 0x7f | 0x80 | value >> 7 << 8, 16)
        } else {
            (value & 0x7f | 0x80 | (value >> 7 & 0x7f | 0x80) << 8 | value >> 14 << 16, 24)
        };
        Self { bytes, bits }
    }

    /// Encodes a length.
    #[inline(always)]
    fn of_len(len: usize) -> Self {
        Self::of_zigzag((len as u64) << 1)
    }

    /// Encodes the length of a nullable value.
    #[inline(always)]
    fn of_nullable(bytes: Option<&[u8]>) -> Self {
        bytes.map_or(Self::NULL, |bytes| Self::of_len(bytes.len()))
    }

    /// Adds a record's attributes at the start.
    #[inline(always)]
    fn after_attributes(self) -> Self {
        Self { bytes: u64::from(ATTRIBUTES), bits: 8 }.before(self)
    }

    /// Adds a record's length at the start. After these bytes, the record has `bytes` more.
    #[inline(always)]
    fn after_len(self, bytes: usize) -> Self {
        Self::of_len(self.len() + bytes).before(self)
    }

    /// Adds values at the end.
    #[inline(always)]
    fn before(self, later: Self) -> Self {
        Self { bytes: self.bytes | later.bytes << self.bits, bits: self.bits + later.bits }
    }

    #[inline(always)]
    fn len(self) -> usize {
        // At most 7, so the cast is safe.
        (self.bits / 8) as usize
    }

    /// Writes the register, and cuts the zeros off.
    #[inline(always)]
    fn put(self, out: &mut Vec<u8>) {
        let end = out.len() + self.len();
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.truncate(end);
    }

    /// Writes this register and then another one, and cuts the zeros off. Both have at most seven bytes, this one at least one.
    #[inline(always)]
    fn put_with(self, later: Self, out: &mut Vec<u8>) {
        let end = out.len() + self.len() + later.len();
        let low = self.bytes | later.bytes << self.bits;
        let high = later.bytes >> (64 - self.bits);
        out.extend_from_slice(&(u128::from(high) << 64 | u128::from(low)).to_le_bytes());
        out.truncate(end);
    }
}

/// Returns the size of the segment of this index.
fn segment_bytes(index: usize) -> usize {
    match index {
        0..6 => FIRST_SEGMENT_BYTES << index,
        _ => LARGEST_SEGMENT_BYTES,
    }
}

/// Writes across segment boundaries.
struct Straddle<'a, S, F> {
    segments: &'a mut Vec<S>,
    room: &'a mut usize,
    segment: F,
}

impl<S: Segment, F: FnMut(usize) -> S> Put for Straddle<'_, S, F> {
    fn put_slice(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if *self.room == 0 {
                *self.room = segment_bytes(self.segments.len());
                let mut segment = (self.segment)(*self.room);
                assert!(segment.buffer().capacity() >= *self.room, "a segment has less capacity than was asked for");
                self.segments.push(segment);
            }
            let Some(last) = self.segments.last_mut() else { return };
            let (now, later) = bytes.split_at(bytes.len().min(*self.room));
            last.buffer().extend_from_slice(now);
            *self.room -= now.len();
            bytes = later;
        }
    }
}

#[inline]
fn put_record(record: &NewRecord<'_>, timestamp_delta: i64, offset_delta: i32, content_len: i64, out: &mut impl Put) {
    put_varlong(content_len, out);
    out.put_slice(&[ATTRIBUTES]);
    put_varlong(timestamp_delta, out);
    put_varlong(offset_delta.into(), out);
    put_bytes(record.key, out);
    put_bytes(record.value, out);
    put_varlong(fitting_length(record.headers.len()), out);
    for header in record.headers {
        put_bytes(Some(header.key), out);
        put_bytes(header.value, out);
    }
}

#[inline]
fn put_bytes(bytes: Option<&[u8]>, out: &mut impl Put) {
    match bytes {
        None => put_varlong(-1, out),
        Some(bytes) => {
            put_varlong(fitting_length(bytes.len()), out);
            out.put_slice(bytes);
        }
    }
}

/// Converts a length that [`RecordBatchBuilder::slot`] has checked.
fn fitting_length(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

/// Returns the size of a nullable value with its length.
fn bytes_len(bytes: Option<&[u8]>, field: &'static str) -> Result<usize, EncodeError> {
    match bytes {
        None => Ok(1),
        Some(bytes) => Ok(varlong_len(length(bytes.len(), field)?) + bytes.len()),
    }
}

/// Converts a length to the wire's 32 bits.
fn length(len: usize, field: &'static str) -> Result<i64, EncodeError> {
    i32::try_from(len).map(i64::from).map_err(|_| refuse(EncodeErrorKind::TooLong(len), field))
}

/// A closed batch without a stamp (producer id, epoch and sequence).
///
/// A clone shares the records' bytes.
///
/// ```
/// use kurier_protocol::record_batch::{NewRecord, ProducerEpoch, ProducerId, RecordBatchBuilder, Sequence, Stamp};
///
/// let mut builder = RecordBatchBuilder::new();
/// builder.append(&NewRecord { value: Some(b"v"), ..Default::default() })?;
/// let sealed = builder.seal().unwrap();
/// assert_eq!((sealed.record_count(), sealed.body_bytes()), (1, 8));
///
/// let stamp = Stamp::idempotent(ProducerId(7), ProducerEpoch(0), Sequence::FIRST);
/// assert_eq!(sealed.stamp(&stamp)?, sealed.stamp(&stamp)?, "the same stamp, the same bytes");
/// # Ok::<(), kurier_protocol::EncodeError>(())
/// ```
#[derive(Clone)]
pub struct SealedBatch {
    body: Vec<Bytes>,
    body_bytes: usize,
    record_count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    compression_type: CompressionType,
}

impl SealedBatch {
    /// The encoded, perhaps compressed records, as chunks in order.
    #[must_use]
    pub fn body(&self) -> &[Bytes] {
        &self.body
    }

    /// Size of the body in bytes.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    /// Number of records; at least one.
    #[must_use]
    pub fn record_count(&self) -> i32 {
        self.record_count
    }

    /// The first record's timestamp.
    #[must_use]
    pub fn base_timestamp(&self) -> i64 {
        self.base_timestamp
    }

    /// The highest timestamp.
    #[must_use]
    pub fn max_timestamp(&self) -> i64 {
        self.max_timestamp
    }

    /// The codec of the body.
    #[must_use]
    pub fn compression_type(&self) -> CompressionType {
        self.compression_type
    }

    /// Returns the batch with its body replaced by a codec's output.
    #[must_use]
    pub fn with_compressed_body(self, compression_type: CompressionType, body: Vec<Bytes>) -> Self {
        let body_bytes = body.iter().map(Bytes::len).sum();
        Self { body, body_bytes, compression_type, ..self }
    }

    /// Returns the complete batch for sending. The same stamp gives the same bytes.
    ///
    /// # Errors
    /// When the body is too long for a batch: its length is at most 2,147,483,647.
    pub fn stamp(&self, stamp: &Stamp) -> Result<Records, EncodeError> {
        let header = BatchHeader {
            base_offset: 0,
            partition_leader_epoch: -1,
            attributes: Attributes::default()
                .with_compression_type(self.compression_type)
                .with_transactional(stamp.is_transactional()),
            last_offset_delta: self.record_count - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: stamp.producer_id(),
            producer_epoch: stamp.producer_epoch(),
            base_sequence: stamp.base_sequence(),
            record_count: self.record_count,
        };
        header.with_body(self.body.clone())
    }
}

impl fmt::Debug for SealedBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { body_bytes, record_count, compression_type, .. } = self;
        write!(f, "SealedBatch({record_count} records, {body_bytes} bytes, {compression_type})")
    }
}
