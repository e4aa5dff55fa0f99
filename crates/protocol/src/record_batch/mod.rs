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
//! turns into [`Records`](crate::Records) for the wire. [`RecordBatch`] reads borrowed bytes lazily.

mod builder;
mod header;
mod parser;
mod record_header;
mod stamp;

pub use builder::{NewRecord, RecordBatchBuilder, SealedBatch, Segment, Slot};
pub use header::{Attributes, BATCH_HEADER_BYTES, BatchHeader};
pub use parser::{Batches, ControlType, Headers, Record, RecordBatch, RecordIter};
pub use record_header::Header;
pub use stamp::{ProducerEpoch, ProducerId, Sequence, Stamp};

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{CompressionType, EncodeErrorKind, ParseErrorKind};

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
