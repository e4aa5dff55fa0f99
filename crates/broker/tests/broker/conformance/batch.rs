//! Batches made by hand: sound ones by the builder of `kurier-protocol`, and then what is to be wrong with them.

use bytes::{Bytes, BytesMut};
use kurier_compression::{Compression, CompressionType};
use kurier_protocol::record_batch::{NewRecord, ProducerEpoch, ProducerId, RecordBatchBuilder, Sequence, Stamp};

/// What is sent to a partition: one batch, if nothing else is said.
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
    /// How much later it is than the call that it belongs to.
    ahead_ms: i64,
}

#[derive(Clone, Debug)]
enum Edit {
    /// Other bytes in this place, and the checksum that belongs to them.
    With(usize, Vec<u8>),
    /// Other bytes in this place, and nothing else.
    Unchecked(usize, Vec<u8>),
    /// Its beginning alone.
    Cut(usize),
    /// Without its last byte.
    WithoutLast,
    /// The checksum's last bit flipped.
    Damaged,
    /// With more bytes after it.
    And(&'static [u8]),
    /// Once more after it.
    Twice,
}

/// Records of these values, of the call's own time, without keys and without a producer.
pub(crate) fn batch(values: &[&str]) -> Batch {
    let record = |value: &&str| Record { key: None, value: (*value).to_owned(), ahead_ms: 0 };
    Batch {
        records: values.iter().map(record).collect(),
        stamp: Stamp::NONE,
        codec: CompressionType::None,
        edits: vec![],
    }
}

/// Records of these times before or after the call's own.
pub(crate) fn timed(ahead_ms: &[i64]) -> Batch {
    let mut batch = batch(&vec!["v"; ahead_ms.len()]);
    for (record, ahead_ms) in batch.records.iter_mut().zip(ahead_ms) {
        record.ahead_ms = *ahead_ms;
    }
    batch
}

/// Records of these keys.
pub(crate) fn keyed(keys: &[Option<&'static str>]) -> Batch {
    let mut batch = batch(&vec!["v"; keys.len()]);
    for (record, key) in batch.records.iter_mut().zip(keys) {
        record.key = *key;
    }
    batch
}

impl Batch {
    /// Of a producer.
    pub(crate) fn by(self, producer: i64, epoch: i16, sequence: i32) -> Self {
        let stamp = Stamp::idempotent(ProducerId(producer), ProducerEpoch(epoch), Sequence(sequence));
        Self { stamp, ..self }
    }

    pub(crate) fn compressed(self, codec: CompressionType) -> Self {
        Self { codec, ..self }
    }

    /// With other bytes in this place, and the checksum that belongs to them.
    pub(crate) fn with(self, at: usize, bytes: &[u8]) -> Self {
        self.edited(Edit::With(at, bytes.to_vec()))
    }

    /// With other bytes in this place, and the old checksum.
    pub(crate) fn unchecked(self, at: usize, bytes: &[u8]) -> Self {
        self.edited(Edit::Unchecked(at, bytes.to_vec()))
    }

    pub(crate) fn cut(self, length: usize) -> Self {
        self.edited(Edit::Cut(length))
    }

    pub(crate) fn without_its_last_byte(self) -> Self {
        self.edited(Edit::WithoutLast)
    }

    /// With a wrong checksum.
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

    /// The bytes, in a call of this time.
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
