//! Record batches of magic 2 (KIP-98), the only format that Kafka 4 accepts.
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
//! A record is its length followed by zig-zag varints and bytes: attributes (0), timestamp delta (64 bits), offset
//! delta, key, value, and a header count, then each header's key and value. A length of -1 is null.
//!
//! [`RecordBatchBuilder`] encodes records in place into segments. [`SealedBatch`] is the closed body, which a [`Stamp`]
//! turns into [`Records`] for the wire. [`RecordBatch`] reads borrowed bytes lazily.

mod builder;
mod parser;
mod stamp;

use std::fmt;

use bytes::Bytes;

pub use builder::{NewRecord, RecordBatchBuilder, SealedBatch, Segment, Slot};
pub use parser::{Batches, ControlType, Headers, Record, RecordBatch, RecordIter};
pub use stamp::{ProducerEpoch, ProducerId, Sequence, Stamp};

use crate::compression_type::CompressionType;
use crate::error::{EncodeError, EncodeErrorKind, Step};
use crate::records::Records;

/// Size of a batch's header in bytes.
pub const BATCH_HEADER_BYTES: usize = 61;

/// Bytes before and including the batch length, which the length does not count: base offset and length.
const BEFORE_LENGTH_ENDS: usize = 12;

/// The magic of batches that this crate reads and writes.
const MAGIC: i8 = 2;

/// Minimum size of a record: length, attributes, two deltas, key, value and header count, of one byte each.
const RECORD_MIN_BYTES: usize = 7;

/// A header of a record. Kafka expects UTF-8 keys but does not check them, and neither does this crate.
///
/// ```
/// use kurier_protocol::record_batch::{Header, NewRecord};
///
/// let headers = [Header { key: b"trace", value: Some(b"ab12") }, Header { key: b"trace", value: None }];
/// let record = NewRecord { headers: &headers, ..Default::default() };
/// assert_eq!(format!("{:?}", record.headers[0]), "Header { key: 5 bytes, value: 4 bytes }");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// The key, which may be empty and may repeat.
    pub key: &'a [u8],
    /// The value; `None` is null.
    pub value: Option<&'a [u8]>,
}

impl fmt::Debug for Header<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header").field("key", &Size(Some(self.key))).field("value", &Size(self.value)).finish()
    }
}

/// Prints only the size of a payload, to keep it out of logs.
struct Size<'a>(Option<&'a [u8]>);

impl fmt::Debug for Size<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("null"),
            Some(bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}

/// The attribute bits of a batch.
///
/// ```
/// use kurier_protocol::CompressionType;
/// use kurier_protocol::record_batch::Attributes;
///
/// let attributes = Attributes(0x14);
/// assert_eq!(attributes.compression_type(), Some(CompressionType::Zstd));
/// assert!(attributes.is_transactional() && !attributes.is_control());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(pub i16);

impl Attributes {
    const CODEC: i16 = 0x07;
    const LOG_APPEND_TIME: i16 = 0x08;
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;

    /// The codec's id; ids 5 to 7 are unused.
    #[must_use]
    pub fn codec_id(self) -> u8 {
        (self.0 & Self::CODEC).to_be_bytes()[1]
    }

    /// The codec, if its id is known.
    #[must_use]
    pub fn compression_type(self) -> Option<CompressionType> {
        CompressionType::from_id(self.codec_id())
    }

    /// Returns these attributes with another codec.
    #[must_use]
    pub fn with_compression_type(self, kind: CompressionType) -> Self {
        Self((self.0 & !Self::CODEC) | i16::from(kind.id()))
    }

    /// Whether all records have the time of their append instead of their own timestamps.
    #[must_use]
    pub fn is_log_append_time(self) -> bool {
        self.0 & Self::LOG_APPEND_TIME != 0
    }

    /// Returns these attributes with or without LogAppendTime.
    #[must_use]
    pub fn with_log_append_time(self, is_log_append_time: bool) -> Self {
        self.with(Self::LOG_APPEND_TIME, is_log_append_time)
    }

    /// Whether the batch belongs to a transaction.
    #[must_use]
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Returns these attributes, inside or outside a transaction.
    #[must_use]
    pub fn with_transactional(self, is_transactional: bool) -> Self {
        self.with(Self::TRANSACTIONAL, is_transactional)
    }

    /// Whether the batch holds a broker's marker instead of application records.
    #[must_use]
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Returns these attributes, for a marker or for records.
    #[must_use]
    pub fn with_control(self, is_control: bool) -> Self {
        self.with(Self::CONTROL, is_control)
    }

    fn with(self, bit: i16, is_set: bool) -> Self {
        Self(if is_set { self.0 | bit } else { self.0 & !bit })
    }
}

/// A batch's header without length, magic and checksum.
///
/// ```
/// use bytes::Bytes;
/// use kurier_protocol::record_batch::{NewRecord, RecordBatch, RecordBatchBuilder, Stamp};
///
/// let mut builder = RecordBatchBuilder::new();
/// builder.append(&NewRecord { value: Some(b"v"), ..Default::default() })?;
/// let sent = builder.seal().unwrap().stamp(&Stamp::NONE)?.to_bytes();
/// let (batch, _) = RecordBatch::parse(&sent).unwrap();
///
/// // A broker gives the batch its place, and on a topic of LogAppendTime its time.
/// let mut header = *batch.header();
/// header.base_offset = 42;
/// header.attributes = header.attributes.with_log_append_time(true);
/// header.max_timestamp = 1_700_000_000_000;
/// let kept = header.with_body(vec![Bytes::copy_from_slice(batch.body())])?.to_bytes();
///
/// let (batch, _) = RecordBatch::parse(&kept).unwrap();
/// let record = batch.records().unwrap().next().unwrap().unwrap();
/// assert_eq!((record.offset, record.timestamp), (42, 1_700_000_000_000));
/// # Ok::<(), kurier_protocol::EncodeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The first record's offset.
    pub base_offset: i64,
    /// The epoch of the leader that appended the batch, -1 before the append.
    pub partition_leader_epoch: i32,
    /// Codec, timestamp type, transactional, control.
    pub attributes: Attributes,
    /// Difference between the last record's offset and the first's.
    pub last_offset_delta: i32,
    /// The first record's timestamp, in milliseconds since 1970.
    pub base_timestamp: i64,
    /// The highest timestamp; with LogAppendTime the timestamp of all records.
    pub max_timestamp: i64,
    /// The producer's id, -1 without idempotence.
    pub producer_id: ProducerId,
    /// The producer's epoch, -1 without idempotence.
    pub producer_epoch: ProducerEpoch,
    /// The first record's sequence, -1 without idempotence.
    pub base_sequence: Sequence,
    /// Number of records. Compaction may leave fewer than `last_offset_delta + 1`.
    pub record_count: i32,
}

impl BatchHeader {
    /// Returns the batch with this header and this body, with length and checksum.
    ///
    /// # Errors
    /// When the body is too long for a batch: its length is at most 2,147,483,647.
    pub fn with_body(&self, body: Vec<Bytes>) -> Result<Records, EncodeError> {
        let body_bytes: usize = body.iter().map(Bytes::len).sum();
        let length = BATCH_HEADER_BYTES - BEFORE_LENGTH_ENDS + body_bytes;
        let batch_length = i32::try_from(length).map_err(|_| refuse(EncodeErrorKind::TooLong(length), "batch"))?;

        let mut checked = Vec::with_capacity(BATCH_HEADER_BYTES);
        checked.extend_from_slice(&self.attributes.0.to_be_bytes());
        checked.extend_from_slice(&self.last_offset_delta.to_be_bytes());
        checked.extend_from_slice(&self.base_timestamp.to_be_bytes());
        checked.extend_from_slice(&self.max_timestamp.to_be_bytes());
        checked.extend_from_slice(&self.producer_id.0.to_be_bytes());
        checked.extend_from_slice(&self.producer_epoch.0.to_be_bytes());
        checked.extend_from_slice(&self.base_sequence.0.to_be_bytes());
        checked.extend_from_slice(&self.record_count.to_be_bytes());

        let mut header = Vec::with_capacity(BATCH_HEADER_BYTES);
        header.extend_from_slice(&self.base_offset.to_be_bytes());
        header.extend_from_slice(&batch_length.to_be_bytes());
        header.extend_from_slice(&self.partition_leader_epoch.to_be_bytes());
        header.extend_from_slice(&MAGIC.to_be_bytes());
        header.extend_from_slice(&checksum(&checked, body.iter().map(AsRef::as_ref)).to_be_bytes());
        header.extend_from_slice(&checked);

        let mut chunks = Vec::with_capacity(1 + body.len());
        chunks.push(header.into());
        chunks.extend(body);
        Ok(chunks.into())
    }
}

/// Returns the CRC-32C of the covered part of the header and of the body.
fn checksum<'a>(header: &[u8], body: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    body.into_iter().fold(crc32c::crc32c(header), crc32c::crc32c_append)
}

fn refuse(kind: EncodeErrorKind, field: &'static str) -> EncodeError {
    EncodeError::new(kind).inside(Step::Field(field)).of("RecordBatch", MAGIC.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ParseErrorKind;

    const FIRST: NewRecord<'static> = NewRecord {
        timestamp: 1_700_000_000_007,
        key: Some(b"key"),
        value: None,
        headers: &[Header { key: b"trace", value: None }, Header { key: b"", value: Some(b"ab12") }],
    };

    /// Three records; the second has the latest timestamp. The first takes 23 bytes, the others 10 each.
    fn builder() -> RecordBatchBuilder {
        let mut builder = RecordBatchBuilder::new();
        for (record, bytes) in [
            (FIRST, 23),
            (NewRecord { timestamp: FIRST.timestamp + 2, value: Some(b"abc"), ..Default::default() }, 10),
            (NewRecord { timestamp: FIRST.timestamp - 7, value: Some(b"abc"), ..Default::default() }, 10),
        ] {
            assert_eq!(builder.append(&record).unwrap(), bytes);
        }
        builder
    }

    #[test]
    fn batch_reports_sizes_and_timestamps() {
        let empty = RecordBatchBuilder::new();
        assert!(empty.is_empty());
        assert!(empty.seal().is_none());

        let builder = builder();
        assert!(!builder.is_empty());
        let youngest = FIRST.timestamp + 2;
        assert_eq!((builder.record_count(), builder.body_bytes(), builder.max_timestamp()), (3, 43, youngest));

        let sealed = builder.seal().unwrap();
        assert_eq!((sealed.record_count(), sealed.body_bytes(), sealed.body().len()), (3, 43, 1));
        assert_eq!((sealed.base_timestamp(), sealed.max_timestamp()), (FIRST.timestamp, youngest));
        assert_eq!(sealed.compression_type(), CompressionType::None);

        let body: Vec<Bytes> = vec![Bytes::from_static(b"pack"), Bytes::from_static(b"ed")];
        let packed = sealed.with_compressed_body(CompressionType::Lz4, body.clone());
        assert_eq!((packed.record_count(), packed.body_bytes(), packed.body()), (3, 6, &body[..]));
        assert_eq!(packed.compression_type(), CompressionType::Lz4);
        let stamp = Stamp::idempotent(ProducerId(7), ProducerEpoch(1), Sequence(9)).in_transaction();
        let bytes = packed.stamp(&stamp).unwrap().to_bytes();
        let (batch, rest) = RecordBatch::parse(&bytes).unwrap();
        assert_eq!((batch.body(), rest), (&b"packed"[..], &b""[..]));
        let header = BatchHeader {
            base_offset: 0,
            partition_leader_epoch: -1,
            attributes: Attributes(0x13),
            last_offset_delta: 2,
            base_timestamp: FIRST.timestamp,
            max_timestamp: youngest,
            producer_id: ProducerId(7),
            producer_epoch: ProducerEpoch(1),
            base_sequence: Sequence(9),
            record_count: 3,
        };
        assert_eq!(batch.header(), &header);
    }

    #[test]
    fn debug_output_has_sizes_instead_of_payload() {
        let headers = "[Header { key: 5 bytes, value: null }, Header { key: 0 bytes, value: 4 bytes }]";
        let shown = format!("NewRecord {{ timestamp: 1700000000007, key: 3 bytes, value: null, headers: {headers} }}");
        assert_eq!(format!("{FIRST:?}"), shown);
        let builder = builder();
        assert_eq!(format!("{builder:?}"), "RecordBatchBuilder(3 records, 43 bytes)");
        let sealed = builder.seal().unwrap();
        assert_eq!(format!("{sealed:?}"), "SealedBatch(3 records, 43 bytes, none)");
        let bytes = sealed.stamp(&Stamp::NONE).unwrap().to_bytes();
        let (batch, _) = RecordBatch::parse(&bytes).unwrap();
        assert_eq!(format!("{batch:?}"), format!("RecordBatch {{ header: {:?}, body: 43 bytes }}", batch.header()));
        let mut records = batch.records().unwrap();
        assert_eq!(format!("{records:?}"), "RecordIter { left: 3, rest: 43 bytes }");
        let shown =
            format!("Record {{ offset: 0, timestamp: 1700000000007, key: 3 bytes, value: null, headers: {headers} }}");
        assert_eq!(format!("{:?}", records.next().unwrap().unwrap()), shown);
    }

    #[test]
    fn iterators_have_size_hints() {
        let bytes = builder().seal().unwrap().stamp(&Stamp::NONE).unwrap().to_bytes();
        let mut records = RecordBatch::parse(&bytes).unwrap().0.records().unwrap();
        // One more item than records, because an error may follow.
        assert_eq!(records.size_hint(), (0, Some(4)));
        let mut headers = records.next().unwrap().unwrap().headers;
        assert_eq!(records.size_hint(), (0, Some(3)));
        assert_eq!(headers.len(), 2);
        assert_eq!(headers.next(), Some(FIRST.headers[0]));
        assert_eq!(headers.size_hint(), (1, Some(1)));
        assert_eq!(headers.next(), Some(FIRST.headers[1]));
        assert_eq!((headers.len(), headers.next()), (0, None));
    }

    #[test]
    fn error_has_its_position_among_batches() {
        let whole = builder().seal().unwrap().stamp(&Stamp::NONE).unwrap().to_bytes();
        let batch_bytes = BATCH_HEADER_BYTES + 43;
        assert_eq!(whole.len(), batch_bytes);
        for before in 0..3 {
            let mut wire = whole.repeat(4);
            let at = before * batch_bytes;
            wire[at + BATCH_HEADER_BYTES] ^= 1;
            let mut batches = Batches::new(&wire);
            assert!(batches.by_ref().take(before).all(|batch| batch.is_ok()));
            let error = batches.next().unwrap().unwrap_err();
            assert!(matches!(error.kind(), ParseErrorKind::Crc { .. }), "{error}");
            assert_eq!((error.offset(), error.field()), (at + 17, &*format!("[{before}].crc")));
            assert!(batches.next().is_none());
        }
    }

    #[test]
    fn batch_stays_within_32_bit_length() {
        // The pages are never touched, so they take no memory.
        let zeros = vec![0; 1 << 31];
        let (too_long, most) = (1 << 31, (1 << 31) - 1);
        let refused = |builder: &mut RecordBatchBuilder, record: NewRecord<'_>| {
            builder.slot(&record).err().map(|error| (error.kind().clone(), error.field()))
        };
        let value = |len| NewRecord { value: Some(&zeros[..len]), ..Default::default() };
        let by = |len, field: &str| Some((EncodeErrorKind::TooLong(len), field.to_owned()));
        let mut open = RecordBatchBuilder::new();
        assert_eq!(refused(&mut open, value(too_long)), by(too_long, "value"));
        assert_eq!(refused(&mut open, NewRecord { key: Some(&zeros), ..Default::default() }), by(too_long, "key"));
        for header in [Header { key: &zeros, value: None }, Header { key: b"", value: Some(&zeros) }] {
            let record = NewRecord { headers: &[header], ..Default::default() };
            assert_eq!(refused(&mut open, record), by(too_long, "headers"));
        }
        // Ten bytes surround the value, and the record's own length takes five.
        assert_eq!(refused(&mut open, value(most - 9)), by(too_long, "record"));
        assert_eq!(refused(&mut open, value(most - 10)), by(most + 5 + 61, "batch"));
        assert_eq!(refused(&mut open, value(most - 61 - 15)), None);
        assert_eq!(refused(&mut open, value(most - 61 - 14)), by(too_long, "batch"));
        open.append(&FIRST).unwrap();
        let far = |len| NewRecord { timestamp: FIRST.timestamp, ..value(len) };
        assert_eq!(refused(&mut open, far(most - 61 - 15 - 23)), None);
        assert_eq!(refused(&mut open, far(most - 61 - 14 - 23)), by(too_long, "batch"));

        let header =
            *RecordBatch::parse(&open.seal().unwrap().stamp(&Stamp::NONE).unwrap().to_bytes()).unwrap().0.header();
        let error = header.with_body(vec![Bytes::from(zeros).slice(49..)]).unwrap_err();
        assert_eq!((error.kind(), error.field().as_str()), (&EncodeErrorKind::TooLong(too_long), "batch"));
    }

    #[test]
    fn segments_double_from_1_kib_to_64_kib() {
        let mut builder = RecordBatchBuilder::new();
        let mut sizes = Vec::new();
        for len in [0, 100_000, 100_000, 1_000] {
            let value = vec![7; len];
            let slot = builder.slot(&NewRecord { value: Some(&value), ..Default::default() }).unwrap();
            slot.fill(|size| {
                sizes.push(size / 1024);
                Vec::with_capacity(size)
            });
        }
        assert_eq!(sizes, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
    }

    #[test]
    fn a_segment_is_filled_to_the_byte() {
        // Sixteen records of 64 bytes are 1 KiB.
        let record = NewRecord { value: Some(&[7; 57]), ..Default::default() };
        let mut builder = RecordBatchBuilder::new();
        for index in 0..48 {
            let slot = builder.slot(&record).unwrap();
            let growth = match index {
                0 => 1024,
                16 => 2048,
                _ => 0,
            };
            assert_eq!((slot.record_bytes(), slot.growth()), (64, growth), "{index}");
            slot.fill(Vec::with_capacity);
        }
        let sealed = builder.seal().unwrap();
        assert_eq!(sealed.body().iter().map(Bytes::len).collect::<Vec<_>>(), [1024, 2048]);
    }

    #[test]
    fn counts_are_limited_by_the_available_bytes() {
        let sealed = builder().seal().unwrap();
        let records = sealed.stamp(&Stamp::NONE).unwrap().to_bytes();
        let mut header = *RecordBatch::parse(&records).unwrap().0.header();
        // 43 bytes hold at most six records of the minimum size.
        for (record_count, refused) in [(6, None), (7, Some(ParseErrorKind::RecordCount(7)))] {
            (header.record_count, header.last_offset_delta) = (record_count, record_count - 1);
            let bytes = header.with_body(sealed.body().to_vec()).unwrap().to_bytes();
            let batch = RecordBatch::parse(&bytes).unwrap().0;
            assert_eq!(batch.records().err().map(|error| error.kind().clone()), refused);
        }
        // The record counts two headers with three bytes left, but two headers take at least four.
        (header.record_count, header.last_offset_delta) = (1, 0);
        let body = Bytes::from_static(&[18, 0, 0, 0, 1, 1, 4, 0, 0, 0]);
        let bytes = header.with_body(vec![body]).unwrap().to_bytes();
        let error = RecordBatch::parse(&bytes).unwrap().0.records().unwrap().next().unwrap().unwrap_err();
        assert_eq!(error.kind(), &ParseErrorKind::CountExceedsInput(2));
    }

    #[test]
    fn segment_with_too_little_capacity_panics() {
        let fill = |spare: usize| {
            let mut builder = RecordBatchBuilder::new();
            builder.slot(&FIRST).unwrap().fill(|size| Vec::with_capacity(size - spare));
        };
        fill(0);
        assert!(std::panic::catch_unwind(|| fill(1)).is_err());
    }

    #[test]
    fn each_attribute_has_its_own_bit() {
        for kind in CompressionType::ALL {
            for bits in 0..8i16 {
                let is_set = |bit: i16| bits & bit != 0;
                // All bits unset, then all set: bits without a name must not change.
                for (before, unnamed) in [(0, 0), (-1, -1 << 6)] {
                    let attributes = Attributes(before)
                        .with_compression_type(kind)
                        .with_log_append_time(is_set(1))
                        .with_transactional(is_set(2))
                        .with_control(is_set(4));
                    assert_eq!(attributes.0, unnamed | bits << 3 | i16::from(kind.id()));
                    assert_eq!((attributes.codec_id(), attributes.compression_type()), (kind.id(), Some(kind)));
                    assert_eq!(attributes.is_log_append_time(), is_set(1));
                    assert_eq!(attributes.is_transactional(), is_set(2));
                    assert_eq!(attributes.is_control(), is_set(4));
                }
            }
        }
        assert_eq!(Attributes(-1).compression_type(), None);
    }

    #[test]
    fn stamp_returns_its_values() {
        let of = |stamp: Stamp| {
            (stamp.producer_id().0, stamp.producer_epoch().0, stamp.base_sequence().0, stamp.is_transactional())
        };
        assert_eq!(of(Stamp::default()), (-1, -1, -1, false));
        let stamp = Stamp::idempotent(ProducerId(7), ProducerEpoch(8), Sequence(9));
        assert_eq!(of(stamp), (7, 8, 9, false));
        assert_eq!(of(stamp.in_transaction()), (7, 8, 9, true));
        for (sequence, count, after) in [(5, 3, 8), (i32::MAX, 1, 0), (i32::MAX - 1, 5, 3), (0, i32::MAX, i32::MAX)] {
            assert_eq!(Sequence(sequence).after(count), Sequence(after));
        }
    }

    #[test]
    fn control_record_names_commit_or_abort() {
        let no_headers = builder().seal().unwrap().stamp(&Stamp::NONE).unwrap().to_bytes();
        let record = RecordBatch::parse(&no_headers).unwrap().0.records().unwrap().next().unwrap().unwrap();
        for (key, kind) in [
            (Some(&[0, 0, 0, 0][..]), Some(ControlType::Abort)),
            (Some(&[0, 0, 0, 1]), Some(ControlType::Commit)),
            (Some(&[0, 9, 1, 2, 3]), Some(ControlType::Other(0x0102))),
            (Some(&[0, 0, 0]), None),
            (None, None),
        ] {
            assert_eq!(Record { key, ..record.clone() }.control_type(), kind);
        }
    }
}
