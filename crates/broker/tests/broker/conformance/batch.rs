//! Batches made by hand: the builder of `kurier-protocol` makes good ones, and edits then break them.

use bytes::{Bytes, BytesMut};
use kurier_compression::{Compression, CompressionType};
use kurier_protocol::record_batch::{NewRecord, ProducerEpoch, ProducerId, RecordBatchBuilder, Sequence, Stamp};

/// The bytes to send to a partition: by default one batch.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    records: Vec<Record>,
    stamp: Stamp,
    codec: CompressionType,
    edits: Vec<Edit>,
}

#[derive(Clone, Debug)]
struct Record {
    key: Option<&'static str>,
    value: String,
    /// Milliseconds from the start of the call to the record's timestamp.
    ahead_ms: i64,
}

#[derive(Clone, Debug)]
enum Edit {
    /// Overwrites the bytes at this offset and corrects the checksum.
    With(usize, Vec<u8>),
    /// Overwrites the bytes at this offset and keeps the old checksum.
    Unchecked(usize, Vec<u8>),
    /// Keeps only the beginning.
    Cut(usize),
    /// Removes the last byte.
    WithoutLast,
    /// Flips the checksum's last bit.
    Damaged,
    /// Appends bytes after the batch.
    And(&'static [u8]),
    /// Appends the batch once more.
    Twice,
}

/// Creates a batch of these values, with the call's timestamp, without keys and without a producer.
pub(crate) fn batch(values: &[&str]) -> Batch {
    let record = |value: &&str| Record { key: None, value: (*value).to_owned(), ahead_ms: 0 };
    Batch {
        records: values.iter().map(record).collect(),
        stamp: Stamp::NONE,
        codec: CompressionType::None,
        edits: vec![],
    }
}

/// Creates a batch of records with these timestamps, relative to the call's.
pub(crate) fn timed(ahead_ms: &[i64]) -> Batch {
    let mut batch = batch(&vec!["v"; ahead_ms.len()]);
    for (record, ahead_ms) in batch.records.iter_mut().zip(ahead_ms) {
        record.ahead_ms = *ahead_ms;
    }
    batch
}

/// Creates a batch of records with these keys.
pub(crate) fn keyed(keys: &[Option<&'static str>]) -> Batch {
    let mut batch = batch(&vec!["v"; keys.len()]);
    for (record, key) in batch.records.iter_mut().zip(keys) {
        record.key = *key;
    }
    batch
}

impl Batch {
    /// Sets the producer.
    pub(crate) fn by(self, producer: i64, epoch: i16, sequence: i32) -> Self {
        let stamp = Stamp::idempotent(ProducerId(producer), ProducerEpoch(epoch), Sequence(sequence));
        Self { stamp, ..self }
    }

    pub(crate) fn compressed(self, codec: CompressionType) -> Self {
        Self { codec, ..self }
    }

    /// Overwrites the bytes at this offset and corrects the checksum.
    pub(crate) fn with(self, at: usize, bytes: &[u8]) -> Self {
        self.edited(Edit::With(at, bytes.to_vec()))
    }

    /// Overwrites the bytes at this offset and keeps the old checksum.
    pub(crate) fn unchecked(self, at: usize, bytes: &[u8]) -> Self {
        self.edited(Edit::Unchecked(at, bytes.to_vec()))
    }

    pub(crate) fn cut(self, length: usize) -> Self {
        self.edited(Edit::Cut(length))
    }

    pub(crate) fn without_its_last_byte(self) -> Self {
        self.edited(Edit::WithoutLast)
    }

    /// Breaks the checksum.
    pub(crate) fn damaged(self) -> Self {
        self.edited(Edit::Damaged)
    }

    pub(crate) fn and(self, bytes: &'static [u8]) -> Self {
        self.edited(Edit::And(bytes))
    }

    pub(crate) fn twice(self) -> Self {
        self.edited(Edit::Twice)
    }

    fn edited(mut self, edit: Edit) -> Self {
        self.edits.push(edit);
        self
    }

    /// Returns the bytes, for a call at this time.
    pub(crate) fn bytes(&self, now_ms: i64) -> Bytes {
        let mut builder = RecordBatchBuilder::new();
        for Record { key, value, ahead_ms } in &self.records {
            let (key, value) = (key.map(str::as_bytes), Some(value.as_bytes()));
            builder.append(&NewRecord { timestamp: now_ms + ahead_ms, key, value, headers: &[] }).unwrap();
        }
        let mut sealed = builder.seal().unwrap();
        if self.codec != CompressionType::None {
            sealed = Compression::new(self.codec).codec().unwrap().compress_batch(sealed).unwrap();
        }
        let mut bytes = BytesMut::from(&sealed.stamp(&self.stamp).unwrap().to_bytes()[..]);
        for edit in &self.edits {
            edit.apply(&mut bytes);
        }
        bytes.freeze()
    }
}

impl Edit {
    fn apply(&self, batch: &mut BytesMut) {
        const CRC: usize = 17;
        const ATTRIBUTES: usize = 21;
        match self {
            Self::With(at, bytes) => {
                batch[*at..at + bytes.len()].copy_from_slice(bytes);
                let crc = crc32c::crc32c(&batch[ATTRIBUTES..]);
                batch[CRC..ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
            }
            Self::Unchecked(at, bytes) => batch[*at..at + bytes.len()].copy_from_slice(bytes),
            Self::Cut(length) => batch.truncate(*length),
            Self::WithoutLast => batch.truncate(batch.len() - 1),
            Self::Damaged => batch[ATTRIBUTES - 1] ^= 1,
            Self::And(bytes) => batch.extend_from_slice(bytes),
            Self::Twice => {
                let once = batch.clone();
                batch.extend_from_slice(&once);
            }
        }
    }
}
