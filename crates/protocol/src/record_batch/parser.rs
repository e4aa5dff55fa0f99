//! Reads batches over borrowed bytes: header and checksum at once, records lazily.

use std::fmt;

use nom::Parser;
use nom::bytes::complete::take;
use nom::number::complete::{be_i8, be_i16, be_i32, be_i64, be_u32};

use super::header::{Attributes, BATCH_HEADER_BYTES, BEFORE_LENGTH_ENDS, BatchHeader, MAGIC, checksum};
use super::record_header::{Header, Size};
use super::stamp::{ProducerEpoch, ProducerId, Sequence};
use crate::compression_type::CompressionType;
use crate::context::{Parsed, fail};
use crate::error::{ParseError, ParseErrorKind, Step, inside};
use crate::varint::{varint, varlong};

/// Minimum size of a record: length, attributes, two deltas, key, value and header count, of one byte each.
const RECORD_MIN_BYTES: usize = 7;

/// A batch with a verified checksum. See [`RecordBatchBuilder`](super::RecordBatchBuilder) for an example.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RecordBatch<'a> {
    header: BatchHeader,
    body: &'a [u8],
}

impl<'a> RecordBatch<'a> {
    /// Reads the batch at the start of `input`. Also returns the rest of the input.
    ///
    /// # Errors
    /// When `input` does not begin with a complete batch of magic 2 with a correct checksum.
    pub fn parse(input: &'a [u8]) -> Result<(Self, &'a [u8]), ParseError> {
        let mut magic = MAGIC;
        match Self::parse_header(input, &mut magic) {
            Ok((rest, batch)) => Ok((batch, rest)),
            Err(fault) => Err(ParseError::locate(fault, "RecordBatch", magic.into(), input.len())),
        }
    }

    fn parse_header(input: &'a [u8], magic: &mut i8) -> Parsed<'a, Self> {
        let at = |name| move |fault| inside(fault, Step::Field(name));
        let (rest, base_offset) = be_i64(input).map_err(at("base_offset"))?;
        let (after_length, length) = be_i32(rest).map_err(at("batch_length"))?;
        let (at_magic, partition_leader_epoch) = be_i32(after_length).map_err(at("partition_leader_epoch"))?;
        // All formats have the magic at this position, so an older batch is distinguished from a damaged one.
        let (_, found) = be_i8(at_magic).map_err(at("magic"))?;
        *magic = found;
        if found != MAGIC {
            return fail(ParseErrorKind::UnsupportedVersion, at_magic).map_err(at("magic"));
        }
        const LENGTH_MIN: usize = BATCH_HEADER_BYTES - BEFORE_LENGTH_ENDS;
        let Some(length_bytes) = usize::try_from(length).ok().filter(|length| *length >= LENGTH_MIN) else {
            return fail(ParseErrorKind::BatchLength(length), rest).map_err(at("batch_length"));
        };
        let (next, batch) = take(length_bytes)(after_length).map_err(at("batch_length"))?;
        let (_, batch) = Self::parse_checked(batch, base_offset, partition_leader_epoch)
            .map_err(|fault| fault.map(|fault| fault.with_more(next.len())))?;
        Ok((next, batch))
    }

    /// Reads the part that the batch length covers, after offset and epoch.
    fn parse_checked(batch: &'a [u8], base_offset: i64, partition_leader_epoch: i32) -> Parsed<'a, Self> {
        let at = |name| move |fault| inside(fault, Step::Field(name));
        let (before_crc, _) = take(5usize)(batch)?;
        let (checked, stored) = be_u32(before_crc).map_err(at("crc"))?;
        let computed = checksum(checked, []);
        if stored != computed {
            return fail(ParseErrorKind::Crc { stored, computed }, before_crc).map_err(at("crc"));
        }
        let (rest, attributes) = be_i16(checked)?;
        let (rest, last_offset_delta) = be_i32(rest)?;
        let (rest, base_timestamp) = be_i64(rest)?;
        let (rest, max_timestamp) = be_i64(rest)?;
        let (rest, producer_id) = be_i64(rest)?;
        let (rest, producer_epoch) = be_i16(rest)?;
        let (rest, base_sequence) = be_i32(rest)?;
        let (body, record_count) = be_i32(rest)?;
        // Compaction removes records but keeps the last offset. A batch never has more records than offsets.
        if record_count < 0 || last_offset_delta < record_count.saturating_sub(1) {
            return fail(ParseErrorKind::RecordCount(record_count), rest).map_err(at("record_count"));
        }
        let header = BatchHeader {
            base_offset,
            partition_leader_epoch,
            attributes: Attributes(attributes),
            last_offset_delta,
            base_timestamp,
            max_timestamp,
            producer_id: ProducerId(producer_id),
            producer_epoch: ProducerEpoch(producer_epoch),
            base_sequence: Sequence(base_sequence),
            record_count,
        };
        Ok((&[], Self { header, body }))
    }

    /// The batch's header.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The body: the records, compressed by the codec in the attributes.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Returns the records of an uncompressed batch.
    ///
    /// # Errors
    /// When the batch is compressed, or its record count is impossible.
    pub fn records(&self) -> Result<RecordIter<'a>, ParseError> {
        if self.header.attributes.codec_id() != CompressionType::None.id() {
            return Err(ParseError::whole("RecordBatch", MAGIC.into(), ParseErrorKind::Compressed));
        }
        self.records_in(self.body)
    }

    /// Returns the records in `body`, this batch's body after decompression.
    ///
    /// # Errors
    /// When the record count is impossible.
    pub fn records_in<'b>(&self, body: &'b [u8]) -> Result<RecordIter<'b>, ParseError> {
        let count = self.header.record_count;
        match usize::try_from(count) {
            Ok(left) if left <= body.len() / RECORD_MIN_BYTES => {
                Ok(RecordIter { header: self.header, body, rest: body, left, index: 0, last_offset_delta: -1 })
            }
            _ => Err(ParseError::whole("RecordBatch", MAGIC.into(), ParseErrorKind::RecordCount(count))),
        }
    }
}

impl fmt::Debug for RecordBatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordBatch").field("header", &self.header).field("body", &Size(Some(self.body))).finish()
    }
}

/// The batches in a partition's records. Iteration ends after the first unreadable batch; a Fetch response may end in
/// the middle of one.
///
/// ```
/// use kurier_protocol::record_batch::{Batches, NewRecord, RecordBatchBuilder, Stamp};
///
/// let mut builder = RecordBatchBuilder::new();
/// builder.append(&NewRecord { value: Some(b"v"), ..Default::default() })?;
/// let batch = builder.seal().unwrap().stamp(&Stamp::NONE)?.to_bytes();
///
/// let fetched = [&batch[..], &batch[..], &batch[..40]].concat();
/// let read: Vec<_> = Batches::new(&fetched).collect();
/// assert!(read[0].is_ok() && read[1].is_ok());
/// assert_eq!(
///     read[2].as_ref().unwrap_err().to_string(),
///     "RecordBatch v2: the input ends inside this value, at byte 150, in [2].batchLength"
/// );
/// # Ok::<(), kurier_protocol::EncodeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    rest: &'a [u8],
    /// Number of bytes and batches before `rest`.
    offset: usize,
    index: usize,
}

impl<'a> Batches<'a> {
    /// Iterates over the batches in `records`.
    #[must_use]
    pub fn new(records: &'a [u8]) -> Self {
        Self { rest: records, offset: 0, index: 0 }
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<RecordBatch<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match RecordBatch::parse(self.rest) {
            Ok((batch, rest)) => {
                self.offset += self.rest.len() - rest.len();
                self.index += 1;
                self.rest = rest;
                Some(Ok(batch))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(error.within(self.offset, self.index)))
            }
        }
    }
}

/// A record that was read.
///
/// ```
/// use kurier_protocol::record_batch::{Header, NewRecord, RecordBatch, RecordBatchBuilder, Stamp};
///
/// let headers = [Header { key: b"trace", value: Some(b"ab12") }];
/// let mut builder = RecordBatchBuilder::new();
/// builder.append(&NewRecord { timestamp: 5, key: Some(b"k"), value: None, headers: &headers })?;
/// let bytes = builder.seal().unwrap().stamp(&Stamp::NONE)?.to_bytes();
///
/// let (batch, _) = RecordBatch::parse(&bytes).unwrap();
/// let record = batch.records().unwrap().next().unwrap().unwrap();
/// assert_eq!((record.offset, record.timestamp, record.key, record.value), (0, 5, Some(&b"k"[..]), None));
/// assert!(record.headers.eq(headers));
/// # Ok::<(), kurier_protocol::EncodeError>(())
/// ```
#[derive(Clone)]
pub struct Record<'a> {
    /// The record's offset in the partition; in a producer's batch, its index from 0.
    pub offset: i64,
    /// The timestamp in milliseconds since 1970.
    pub timestamp: i64,
    /// The key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is null.
    pub value: Option<&'a [u8]>,
    /// The headers in order, including repeated keys.
    pub headers: Headers<'a>,
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("offset", &self.offset)
            .field("timestamp", &self.timestamp)
            .field("key", &Size(self.key))
            .field("value", &Size(self.value))
            .field("headers", &self.headers)
            .finish()
    }
}

/// A broker's marker for the end of a transaction.
///
/// ```
/// use kurier_protocol::record_batch::{ControlType, NewRecord, RecordBatch, RecordBatchBuilder, Stamp};
///
/// let mut builder = RecordBatchBuilder::new();
/// // Version 0 and type 1, of 16 bits each.
/// builder.append(&NewRecord { key: Some(&[0, 0, 0, 1]), ..Default::default() })?;
/// let bytes = builder.seal().unwrap().stamp(&Stamp::NONE)?.to_bytes();
/// let (batch, _) = RecordBatch::parse(&bytes).unwrap();
/// let record = batch.records().unwrap().next().unwrap().unwrap();
/// assert_eq!(record.control_type(), Some(ControlType::Commit));
/// # Ok::<(), kurier_protocol::EncodeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ControlType {
    /// The transaction was aborted.
    Abort,
    /// The transaction was committed.
    Commit,
    /// A marker of KRaft, or an unknown one.
    Other(i16),
}

impl Record<'_> {
    /// The type of this marker, if its batch is a control batch ([`Attributes::is_control`]).
    #[must_use]
    pub fn control_type(&self) -> Option<ControlType> {
        // The key has a version and a type of 16 bits each.
        let (_, key) = self.key?.split_first_chunk::<2>()?;
        let (kind, _) = key.split_first_chunk::<2>()?;
        Some(match i16::from_be_bytes(*kind) {
            0 => ControlType::Abort,
            1 => ControlType::Commit,
            other => ControlType::Other(other),
        })
    }
}

/// The records of a batch. Iteration ends after the first unreadable record. See [`Record`] for an example.
#[derive(Clone)]
pub struct RecordIter<'a> {
    header: BatchHeader,
    body: &'a [u8],
    rest: &'a [u8],
    left: usize,
    index: usize,
    /// Offset delta of the previous record; offsets ascend.
    last_offset_delta: i32,
}

impl fmt::Debug for RecordIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordIter").field("left", &self.left).field("rest", &Size(Some(self.rest))).finish()
    }
}

impl<'a> RecordIter<'a> {
    fn parse_record(&self) -> Parsed<'a, (Record<'a>, i32)> {
        let (start, length) = varint(self.rest)?;
        let wrong_length = || ParseErrorKind::RecordLength(length.into());
        let Some((content, next)) = usize::try_from(length).ok().and_then(|length| start.split_at_checked(length))
        else {
            return fail(wrong_length(), self.rest);
        };
        match self.parse_content(content).map_err(|fault| fault.map(|fault| fault.with_more(next.len())))? {
            ([], record) => Ok((next, record)),
            _ => fail(wrong_length(), self.rest),
        }
    }

    /// Reads the part that a record's length covers. Also returns the offset delta.
    fn parse_content(&self, content: &'a [u8]) -> Parsed<'a, (Record<'a>, i32)> {
        let header = &self.header;
        let at = |name| move |fault| inside(fault, Step::Field(name));
        let (at_timestamp, _attributes) = be_i8(content)?;
        let (at_offset, timestamp_delta) = varlong(at_timestamp).map_err(at("timestamp_delta"))?;
        let Some(own_timestamp) = header.base_timestamp.checked_add(timestamp_delta) else {
            return fail(ParseErrorKind::Overflow, at_timestamp).map_err(at("timestamp_delta"));
        };
        let timestamp = if header.attributes.is_log_append_time() { header.max_timestamp } else { own_timestamp };
        let (rest, offset_delta) = varint(at_offset).map_err(at("offset_delta"))?;
        if offset_delta <= self.last_offset_delta || offset_delta > header.last_offset_delta {
            return fail(ParseErrorKind::OffsetDelta(offset_delta), at_offset).map_err(at("offset_delta"));
        }
        let Some(offset) = header.base_offset.checked_add(offset_delta.into()) else {
            return fail(ParseErrorKind::Overflow, at_offset).map_err(at("offset_delta"));
        };
        let (rest, key) = nullable_bytes(rest).map_err(at("key"))?;
        let (rest, value) = nullable_bytes(rest).map_err(at("value"))?;
        let (rest, headers) = parse_headers(rest).map_err(at("headers"))?;
        Ok((rest, (Record { offset, timestamp, key, value, headers }, offset_delta)))
    }
}

fn nullable_bytes(input: &[u8]) -> Parsed<'_, Option<&[u8]>> {
    let (rest, length) = varint(input)?;
    match usize::try_from(length) {
        Ok(length) => take(length).map(Some).parse_complete(rest),
        Err(_) if length == -1 => Ok((rest, None)),
        Err(_) => fail(ParseErrorKind::NegativeLength(length.into()), input),
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        let parsed = match (self.left, self.rest) {
            (0, []) => return None,
            (0, rest) => fail(ParseErrorKind::TrailingBytes(rest.len()), rest),
            _ => self.parse_record(),
        };
        match parsed {
            Ok((rest, (record, offset_delta))) => {
                self.rest = rest;
                self.left -= 1;
                self.index += 1;
                self.last_offset_delta = offset_delta;
                Some(Ok(record))
            }
            Err(fault) => {
                let fault = inside(inside(fault, Step::Index(self.index)), Step::Field("records"));
                self.left = 0;
                self.rest = &[];
                Some(Err(ParseError::locate(fault, "RecordBatch body", MAGIC.into(), self.body.len())))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left.saturating_add(1)))
    }
}

/// A record's headers, already checked for completeness. See [`Record`] for an example.
#[derive(Clone)]
pub struct Headers<'a> {
    rest: &'a [u8],
    left: usize,
}

fn parse_headers(input: &[u8]) -> Parsed<'_, Headers<'_>> {
    let (first, count) = varint(input)?;
    let left = match usize::try_from(count) {
        // Each header takes at least two bytes: the lengths of its key and value.
        Ok(count) if count <= first.len() / 2 => count,
        Ok(count) => return fail(ParseErrorKind::CountExceedsInput(count), input),
        Err(_) => return fail(ParseErrorKind::NegativeLength(count.into()), input),
    };
    let mut rest = first;
    for index in 0..left {
        (rest, _) = parse_one_header(rest).map_err(|fault| inside(fault, Step::Index(index)))?;
    }
    Ok((rest, Headers { rest: first, left }))
}

fn parse_one_header(input: &[u8]) -> Parsed<'_, Header<'_>> {
    match nullable_bytes(input)? {
        (_, None) => fail(ParseErrorKind::UnexpectedNull, input),
        (rest, Some(key)) => {
            let (rest, value) = nullable_bytes(rest)?;
            Ok((rest, Header { key, value }))
        }
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.left = self.left.checked_sub(1)?;
        // Cannot fail: the headers were checked with the record.
        let (rest, header) = parse_one_header(self.rest).ok()?;
        self.rest = rest;
        Some(header)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Headers<'_> {}

impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}
