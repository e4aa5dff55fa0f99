//! Headers of batches.

use bytes::Bytes;

use super::stamp::{ProducerEpoch, ProducerId, Sequence};
use crate::compression_type::CompressionType;
use crate::error::{EncodeError, EncodeErrorKind, Step};
use crate::records::Records;

/// Size of a batch's header in bytes.
pub const BATCH_HEADER_BYTES: usize = 61;

/// Bytes before and including the batch length, which the length does not count: base offset and length.
pub(super) const BEFORE_LENGTH_ENDS: usize = 12;

/// The magic of batches that this crate reads and writes.
pub(super) const MAGIC: i8 = 2;

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
pub(super) fn checksum<'a>(header: &[u8], body: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    body.into_iter().fold(crc32c::crc32c(header), crc32c::crc32c_append)
}

pub(super) fn refuse(kind: EncodeErrorKind, field: &'static str) -> EncodeError {
    EncodeError::new(kind).inside(Step::Field(field)).of("RecordBatch", MAGIC.into())
}
