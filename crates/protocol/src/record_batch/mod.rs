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
//! [`Stamp`] turns into [`Records`] for the wire. [`RecordBatch`] reads, lazily, over borrowed bytes.

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

/// How many bytes stand before a batch's records.
pub const BATCH_HEADER_BYTES: usize = 61;

/// What the batch length does not count: the base offset and itself.
const BEFORE_LENGTH_ENDS: usize = 12;

/// The magic that this crate reads and writes.
const MAGIC: i8 = 2;

/// No record takes fewer bytes: length, attributes, two deltas, key, value, header count, of one byte each.
const RECORD_MIN_BYTES: usize = 7;

/// A header of a record. Kafka means keys to be UTF-8 but does not check, and neither does this.
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
    /// May be empty, and may repeat.
    pub key: &'a [u8],
    /// `None` is null.
    pub value: Option<&'a [u8]>,
}

impl fmt::Debug for Header<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header").field("key", &Size(Some(self.key))).field("value", &Size(self.value)).finish()
    }
}

/// Shows payload by its size, for it has no place in logs.
struct Size<'a>(Option<&'a [u8]>);

impl fmt::Debug for Size<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("null"),
            Some(bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}

/// The bits of a batch that say how to take it.
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

    /// The codec's id; 5 to 7 are not in use.
    #[must_use]
    pub fn codec_id(self) -> u8 {
        (self.0 & Self::CODEC).to_be_bytes()[1]
    }

    /// The codec, if its id is in use.
    #[must_use]
    pub fn compression_type(self) -> Option<CompressionType> {
        CompressionType::from_id(self.codec_id())
    }

    /// These attributes with another codec.
    #[must_use]
    pub fn with_compression_type(self, kind: CompressionType) -> Self {
        Self((self.0 & !Self::CODEC) | i16::from(kind.id()))
    }

    /// Whether all records have the time of their append, and not their own.
    #[must_use]
    pub fn is_log_append_time(self) -> bool {
        self.0 & Self::LOG_APPEND_TIME != 0
    }

    /// These attributes, with the records' own times or with that of their append.
    #[must_use]
    pub fn with_log_append_time(self, is_log_append_time: bool) -> Self {
        self.with(Self::LOG_APPEND_TIME, is_log_append_time)
    }

    /// Whether the batch belongs to a transaction.
    #[must_use]
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// These attributes, in or out of a transaction.
    #[must_use]
    pub fn with_transactional(self, is_transactional: bool) -> Self {
        self.with(Self::TRANSACTIONAL, is_transactional)
    }

    /// Whether the batch holds a broker's marker instead of records for people.
    #[must_use]
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// These attributes, for a marker or for records.
    #[must_use]
    pub fn with_control(self, is_control: bool) -> Self {
        self.with(Self::CONTROL, is_control)
    }

    fn with(self, bit: i16, is_set: bool) -> Self {
        Self(if is_set { self.0 | bit } else { self.0 & !bit })
    }
}

/// All of a batch's header but length, magic and checksum.
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
    pub producer_id: ProducerId,
    /// -1 without idempotence.
    pub producer_epoch: ProducerEpoch,
    /// The first record's sequence; -1 without idempotence.
    pub base_sequence: Sequence,
    /// How many records. Compaction may leave fewer than `last_offset_delta + 1`.
    pub record_count: i32,
}

impl BatchHeader {
    /// The batch of this header and this body, with length and checksum.
    ///
    /// # Errors
    /// When the body is too long for a batch's length, which is at most 2,147,483,647.
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

/// CRC-32C over the covered part of the header and the body.
fn checksum<'a>(header: &[u8], body: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    body.into_iter().fold(crc32c::crc32c(header), crc32c::crc32c_append)
}

fn refuse(kind: EncodeErrorKind, field: &'static str) -> EncodeError {
    EncodeError::new(kind).inside(Step::Field(field)).of("RecordBatch", MAGIC.into())
}
