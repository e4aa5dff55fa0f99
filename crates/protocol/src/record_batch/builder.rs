//! Builds a batch: each record is encoded once, in place, where it stays until it is on the wire.
//!
//! The body is a list of segments, the first of 1 KiB, each twice the one before up to 64 KiB. A segment is never moved
//! or grown: growing one buffer to 1 MiB by copying costs half as much again a record. Segments come from the caller, so
//! that it can count their memory, and get it back when the last reference to them goes.

use bytes::Bytes;

use super::{Attributes, BATCH_HEADER_BYTES, BEFORE_LENGTH_ENDS, BatchHeader, Header};
use crate::error::{EncodeError, EncodeErrorKind, Step};
use crate::put::Put;
use crate::records::Records;
use crate::varint::{put_varlong, varlong_len};

/// The first segment's size; the next ones double.
const FIRST_SEGMENT_BYTES: usize = 1024;

/// No segment is larger.
const LARGEST_SEGMENT_BYTES: usize = 64 * 1024;

/// A record to be appended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewRecord<'a> {
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// `None` is null, which is not the same as empty.
    pub key: Option<&'a [u8]>,
    /// `None` is null, which compaction takes for a deletion.
    pub value: Option<&'a [u8]>,
    /// In this order; keys may repeat.
    pub headers: &'a [Header<'a>],
}

/// A piece of memory that a builder fills and then shares.
///
/// `Vec<u8>` is one. A producer that counts its memory wraps a vector together with what it must give back.
pub trait Segment: AsRef<[u8]> + Send + 'static {
    /// The vector to fill. It has the capacity that the builder asked for, and the builder never exceeds it.
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
/// let records = builder.seal().stamp(&Stamp::default())?;
/// let bytes = records.to_bytes();
/// let (batch, rest) = RecordBatch::parse(&bytes).unwrap();
/// assert!(rest.is_empty());
/// let values: Vec<_> = batch.records().unwrap().map(|record| record.unwrap().value).collect();
/// assert_eq!(values, [Some(&b"first"[..]), None]);
/// # Ok::<(), kurier_protocol::EncodeError>(())
/// ```
#[derive(Debug)]
pub struct RecordBatchBuilder<S = Vec<u8>> {
    segments: Vec<S>,
    /// How much more the last segment takes.
    room: usize,
    len: usize,
    record_count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl<S> Default for RecordBatchBuilder<S> {
    fn default() -> Self {
        Self { segments: Vec::new(), room: 0, len: 0, record_count: 0, base_timestamp: 0, max_timestamp: 0 }
    }
}

/// A record with the lengths that it will have as the next one of its builder.
#[derive(Clone, Copy, Debug)]
pub struct Measured<'a> {
    record: NewRecord<'a>,
    timestamp_delta: i64,
    /// Of the record without its own length.
    content_len: i64,
    len: usize,
}

impl Measured<'_> {
    /// How many bytes the record takes.
    #[must_use]
    pub fn record_bytes(&self) -> usize {
        self.len
    }
}

impl RecordBatchBuilder {
    /// An empty batch whose segments are vectors.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a record and returns how many bytes it takes.
    ///
    /// # Errors
    /// As [`measure`](Self::measure).
    pub fn append(&mut self, record: &NewRecord<'_>) -> Result<usize, EncodeError> {
        let measured = self.measure(record)?;
        self.push(&measured, Vec::with_capacity);
        Ok(measured.len)
    }
}

impl<S: Segment> RecordBatchBuilder<S> {
    /// How many bytes the records take so far, without the batch's header.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.len
    }

    /// How many records it has.
    #[must_use]
    pub fn record_count(&self) -> i32 {
        self.record_count
    }

    /// Whether it has no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// The highest timestamp so far, 0 if there is no record.
    #[must_use]
    pub fn max_timestamp(&self) -> i64 {
        self.max_timestamp
    }

    /// Computes how a record would stand as the next of this batch.
    ///
    /// # Errors
    /// When a length, or with it the batch's, is above 2,147,483,647, or its timestamp is too far from the first one's.
    pub fn measure<'a>(&self, record: &NewRecord<'a>) -> Result<Measured<'a>, EncodeError> {
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
        let len = varlong_len(content_len) + content;
        length(self.len + len + BATCH_HEADER_BYTES, "batch")?;
        Ok(Measured { record: *record, timestamp_delta, content_len, len })
    }

    /// How many bytes of new segments a record would take; 0 if it fits into the last one.
    #[must_use]
    pub fn growth(&self, measured: &Measured<'_>) -> usize {
        let mut missing = measured.len.saturating_sub(self.room);
        let mut growth = 0;
        let mut index = self.segments.len();
        while missing > 0 {
            let size = segment_bytes(index);
            growth += size;
            missing = missing.saturating_sub(size);
            index += 1;
        }
        growth
    }

    /// Appends a record that this batch has measured, no other record having come between.
    ///
    /// `segment` is called with the size of each segment that is needed, in all with what [`growth`](Self::growth)
    /// says.
    ///
    /// # Panics
    /// When a segment has less capacity than was asked for.
    pub fn push(&mut self, measured: &Measured<'_>, segment: impl FnMut(usize) -> S) {
        let Measured { record, timestamp_delta, content_len, len } = measured;
        if self.record_count == 0 {
            self.base_timestamp = record.timestamp;
            self.max_timestamp = record.timestamp;
        }
        let offset_delta = self.record_count;
        match self.segments.last_mut() {
            Some(last) if *len <= self.room => {
                put_record(record, *timestamp_delta, offset_delta, *content_len, last.buffer());
                self.room -= len;
            }
            _ => {
                let mut straddle = Straddle { segments: &mut self.segments, room: &mut self.room, segment };
                put_record(record, *timestamp_delta, offset_delta, *content_len, &mut straddle);
            }
        }
        self.len += len;
        self.record_count += 1;
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
    }

    /// Closes the batch.
    #[must_use]
    pub fn seal(self) -> SealedBatch {
        SealedBatch {
            body: self.segments.into_iter().map(Bytes::from_owner).collect(),
            body_len: self.len,
            record_count: self.record_count,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            attributes: Attributes::default(),
        }
    }
}

/// The size of a batch's segment of this index.
fn segment_bytes(index: usize) -> usize {
    match index {
        0..6 => FIRST_SEGMENT_BYTES << index,
        _ => LARGEST_SEGMENT_BYTES,
    }
}

/// Writes across the ends of segments.
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
    const ATTRIBUTES: u8 = 0;
    put_varlong(content_len, out);
    out.put_slice(&[ATTRIBUTES]);
    put_varlong(timestamp_delta, out);
    put_varlong(offset_delta.into(), out);
    put_bytes(record.key, out);
    put_bytes(record.value, out);
    put_varlong(measured_length(record.headers.len()), out);
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
            put_varlong(measured_length(bytes.len()), out);
            out.put_slice(bytes);
        }
    }
}

/// A length that [`RecordBatchBuilder::measure`] has found to fit.
fn measured_length(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

/// How many bytes a nullable value takes with its length.
fn bytes_len(bytes: Option<&[u8]>, field: &'static str) -> Result<usize, EncodeError> {
    match bytes {
        None => Ok(1),
        Some(bytes) => Ok(varlong_len(length(bytes.len(), field)?) + bytes.len()),
    }
}

/// A length, which on the wire has 32 bits.
fn length(len: usize, field: &'static str) -> Result<i64, EncodeError> {
    i32::try_from(len).map(i64::from).map_err(|_| refuse(EncodeErrorKind::TooLong(len), field))
}

fn refuse(kind: EncodeErrorKind, field: &'static str) -> EncodeError {
    EncodeError::new(kind).inside(Step::Field(field)).of("RecordBatch", super::MAGIC.into())
}

/// A closed batch that has yet to learn under which producer id, epoch and sequence it goes out.
///
/// A clone shares the records' bytes.
#[derive(Clone, Debug)]
pub struct SealedBatch {
    body: Vec<Bytes>,
    body_len: usize,
    record_count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    attributes: Attributes,
}

impl SealedBatch {
    /// The records, encoded, as chunks in order.
    #[must_use]
    pub fn body(&self) -> &[Bytes] {
        &self.body
    }

    /// How many bytes the body has.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.body_len
    }

    /// How many records.
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

    /// The codec's id, 0 while the body is not compressed.
    #[must_use]
    pub fn codec(&self) -> u8 {
        self.attributes.codec()
    }

    /// The same batch with its body compressed: `body` is what the codec of this id made of [`body`](Self::body).
    #[must_use]
    pub fn compressed(self, codec: u8, body: Vec<Bytes>) -> Self {
        let body_len = body.iter().map(Bytes::len).sum();
        Self { body, body_len, attributes: self.attributes.with_codec(codec), ..self }
    }

    /// The batch as it goes out. The same stamp gives the same bytes.
    ///
    /// # Errors
    /// When the body is above 2,147,483,647 bytes.
    pub fn stamp(&self, stamp: &Stamp) -> Result<Records, EncodeError> {
        let header = BatchHeader {
            base_offset: 0,
            partition_leader_epoch: -1,
            attributes: self.attributes.with_transactional(stamp.transactional),
            last_offset_delta: self.record_count - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: stamp.producer_id,
            producer_epoch: stamp.producer_epoch,
            base_sequence: stamp.base_sequence,
            record_count: self.record_count,
        };
        let len = BATCH_HEADER_BYTES - BEFORE_LENGTH_ENDS + self.body_len;
        let len = i32::try_from(len).map_err(|_| refuse(EncodeErrorKind::TooLong(len), "batch"))?;
        let mut bytes = Vec::with_capacity(BATCH_HEADER_BYTES);
        header.write(len, self.body.iter().map(AsRef::as_ref), &mut bytes);
        let mut chunks = Vec::with_capacity(1 + self.body.len());
        chunks.push(bytes.into());
        chunks.extend_from_slice(&self.body);
        Ok(chunks.into())
    }
}

/// Under which producer id, epoch and sequence a batch goes out. The default is without idempotence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// -1 without idempotence.
    pub producer_id: i64,
    /// -1 without idempotence.
    pub producer_epoch: i16,
    /// The first record's sequence; -1 without idempotence.
    pub base_sequence: i32,
    /// Whether the batch belongs to a transaction.
    pub transactional: bool,
}

impl Default for Stamp {
    fn default() -> Self {
        Self { producer_id: -1, producer_epoch: -1, base_sequence: -1, transactional: false }
    }
}
