//! Round trips of arbitrary messages of every version, and of arbitrary batches.

mod arbitrary;

use bytes::Bytes;
use kurier_protocol::record_batch::{
    Attributes, Batches, Header, NewRecord, ProducerEpoch, ProducerId, RecordBatch, RecordBatchBuilder, Segment,
    Sequence, Stamp,
};
use kurier_protocol::{APIS, ParseErrorKind};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestRunner};

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        source_file: Some(file!()),
        ..ProptestConfig::default()
    }
}

#[test]
fn arbitrary_messages_of_every_version_come_back() {
    for api in APIS {
        for version in api.versions() {
            for direction in [api.request(), api.response()] {
                let flexible = api.request_header_version(version) == 2;
                let bodies = arbitrary::body(direction.schema(), version, flexible);
                let check = |body: Vec<u8>| {
                    let body = Bytes::from(body);
                    let message =
                        direction.read(&body, version).map_err(|error| TestCaseError::fail(error.to_string()))?;
                    let mut written = Vec::new();
                    message.write(version, &mut written).map_err(|error| TestCaseError::fail(error.to_string()))?;
                    // The encoder omits a tagged field at its default, so its output is never longer.
                    prop_assert!(written.len() <= body.len());
                    let again = direction.read(&written.clone().into(), version).unwrap();
                    prop_assert_eq!(again.json(version), message.json(version));
                    let mut twice = Vec::new();
                    again.write(version, &mut twice).unwrap();
                    prop_assert_eq!(twice, written);
                    Ok(())
                };
                if let Err(failure) = TestRunner::new(config(30)).run(&bodies, check) {
                    panic!("{} v{version}: {failure}", direction.schema().name);
                }
            }
        }
    }
}

#[derive(Clone, Debug)]
struct OwnedRecord {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl OwnedRecord {
    fn headers(&self) -> Vec<Header<'_>> {
        self.headers.iter().map(|(key, value)| Header { key, value: value.as_deref() }).collect()
    }

    fn as_new<'a>(&'a self, headers: &'a [Header<'a>]) -> NewRecord<'a> {
        NewRecord { timestamp: self.timestamp, key: self.key.as_deref(), value: self.value.as_deref(), headers }
    }
}

#[test]
fn short_way_writes_long_varints() {
    let many = NewRecord { timestamp: 1_000, value: Some(b"v"), ..Default::default() };
    let text = [b'x'; 8_192];
    let header = [Header { key: b"trace", value: Some(&text) }];
    let value = Some(&text[..]);
    let late = NewRecord { timestamp: 1_000 + 8_192, key: None, value, headers: &[] };
    let (mut short, mut long) = (RecordBatchBuilder::new(), RecordBatchBuilder::new());
    for number in 0..8_193 + 200 {
        // Timestamp, offset, key and value then have three bytes each.
        let record = match number {
            0..8_193 => many,
            _ => match number % 3 {
                0 => late,
                1 => NewRecord { key: value, ..late },
                _ => NewRecord { headers: &header, ..late },
            },
        };
        if short.append_within(&record).is_none() {
            short.append(&record).unwrap();
        }
        long.append(&record).unwrap();
    }
    assert_eq!(short.seal().unwrap().stamp(&Stamp::NONE).unwrap(), long.seal().unwrap().stamp(&Stamp::NONE).unwrap());
}

#[test]
fn short_way_refuses_a_difference_of_times_that_overflows() {
    let first = NewRecord { timestamp: i64::MAX, ..Default::default() };
    let mut builder = RecordBatchBuilder::new();
    builder.append(&first).unwrap();
    assert_eq!(builder.append_within(&NewRecord { timestamp: i64::MIN, ..first }), None);
}

/// Records as a producer sends them one after the other. Lengths and timestamps are around the sizes of varints.
fn successive_records() -> impl Strategy<Value = Vec<OwnedRecord>> {
    let bytes = || prop_oneof![4 => vec(any::<u8>(), 0..100), 2 => vec(any::<u8>(), 60..70), 1 => vec(any::<u8>(), 8_100..8_300)];
    let after = prop_oneof![8 => 0..100i64, 2 => 8_100..8_300i64, 2 => 1_048_500..1_048_700i64, 1 => -5..0i64, 1 => any::<i64>()];
    let header = (vec(any::<u8>(), 0..70), proptest::option::of(bytes()));
    let headers = prop_oneof![2 => Just(Vec::new()), 1 => vec(header, 0..4)];
    let record = (after, proptest::option::of(bytes()), proptest::option::of(bytes()), headers);
    let record = record.prop_map(|(timestamp, key, value, headers)| OwnedRecord { timestamp, key, value, headers });
    (vec(record, 1..20), 1usize..20).prop_map(|(some, times)| std::iter::repeat_n(some, times).flatten().collect())
}

fn records() -> impl Strategy<Value = Vec<OwnedRecord>> {
    let bytes = |max| vec(any::<u8>(), 0..max);
    let timestamp = prop_oneof![8 => 1_700_000_000_000i64..1_800_000_000_000, 1 => Just(-1), 1 => 0..=i64::MAX];
    let value = prop_oneof![8 => bytes(300), 1 => bytes(5_000), 1 => bytes(150_000)];
    let headers = vec((bytes(10), proptest::option::of(bytes(20))), 0..4);
    let record = (timestamp, proptest::option::of(bytes(40)), proptest::option::of(value), headers)
        .prop_map(|(timestamp, key, value, headers)| OwnedRecord { timestamp, key, value, headers });
    vec(record, 1..40)
}

/// A segment type other than `Vec<u8>`, to show that the builder takes any.
struct Counted(Vec<u8>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Segment for Counted {
    fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn arbitrary_records_come_back_in_order(
        records in records(), producer_id in -1i64.., producer_epoch in -1i16.., base_sequence in -1i32.., transactional: bool,
    ) {
        let mut builder = RecordBatchBuilder::default();
        let mut capacity = 0;
        for (index, record) in records.iter().enumerate() {
            let headers = record.headers();
            let record = record.as_new(&headers);
            let before = builder.body_bytes();
            let slot = builder.slot(&record).unwrap();
            let (record_bytes, growth) = (slot.record_bytes(), slot.growth());
            let mut grown = 0;
            slot.fill(|size| {
                grown += size;
                Counted(Vec::with_capacity(size))
            });
            capacity += grown;
            prop_assert_eq!(grown, growth, "a builder takes the memory that it announced");
            prop_assert_eq!(builder.body_bytes(), before + record_bytes);
            prop_assert_eq!(builder.record_count(), i32::try_from(index + 1).unwrap());
        }
        let sealed = builder.seal().unwrap();
        prop_assert!(sealed.body_bytes() <= capacity);
        prop_assert!(sealed.body().iter().all(|segment| segment.len() <= 65_536));

        let who = (ProducerId(producer_id), ProducerEpoch(producer_epoch), Sequence(base_sequence));
        let stamp = Stamp::idempotent(who.0, who.1, who.2);
        let stamp = if transactional { stamp.in_transaction() } else { stamp };
        let wire = sealed.stamp(&stamp).unwrap();
        prop_assert_eq!(&sealed.stamp(&stamp).unwrap(), &wire, "the same stamp, the same bytes");
        let bytes = wire.to_bytes();
        let (batch, rest) = RecordBatch::parse(&bytes).unwrap();
        prop_assert!(rest.is_empty());
        let header = batch.header();
        prop_assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), who);
        prop_assert_eq!(header.attributes, Attributes(if transactional { 0x10 } else { 0 }));
        prop_assert_eq!(header.base_timestamp, records[0].timestamp);
        prop_assert_eq!(header.max_timestamp, records.iter().map(|record| record.timestamp).max().unwrap());

        let read: Vec<_> = batch.records().unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(read.len(), records.len());
        for (offset, (read, record)) in (0..).zip(read.into_iter().zip(&records)) {
            prop_assert_eq!((read.offset, read.timestamp), (offset, record.timestamp));
            prop_assert_eq!((read.key, read.value), (record.key.as_deref(), record.value.as_deref()));
            let headers: Vec<_> = read.headers.map(|header| (header.key.to_vec(), header.value.map(<[u8]>::to_vec))).collect();
            prop_assert_eq!(&headers, &record.headers);
        }
    }

    #[test]
    fn short_way_writes_the_same_bytes(records in successive_records()) {
        /// Above the upper bound of a record's size without its bytes, beside ten for each header.
        const FIELDS: usize = 40;
        let (mut short, mut long) = (RecordBatchBuilder::new(), RecordBatchBuilder::new());
        for record in &records {
            let headers = record.headers();
            let record = record.as_new(&headers);
            let Ok(slot) = long.slot(&record) else {
                prop_assert_eq!(short.append_within(&record), None);
                continue;
            };
            let (record_bytes, growth) = (slot.record_bytes(), slot.growth());
            slot.fill(Vec::with_capacity);
            // A slot for a larger record shows whether the short way has to succeed.
            let padding = vec![0; record.value.map_or(0, <[u8]>::len) + FIELDS + 10 * headers.len()];
            let larger = NewRecord { value: Some(&padding), ..record };
            let base = records[0].timestamp;
            let is_near = record.timestamp.checked_sub(base).is_some_and(|delta| (0..1 << 20).contains(&delta));
            let is_sure = !short.is_empty() && is_near && short.slot(&larger).is_ok_and(|slot| slot.growth() == 0);
            match short.append_within(&record) {
                Some(bytes) => prop_assert_eq!((bytes, 0), (record_bytes, growth)),
                None => {
                    prop_assert!(!is_sure, "{:?} fits", record);
                    short.append(&record).unwrap();
                }
            }
            prop_assert_eq!(short.body_bytes(), long.body_bytes());
            prop_assert_eq!(short.max_timestamp(), long.max_timestamp());
        }
        let [short, long] = [short, long].map(|builder| builder.seal().unwrap());
        prop_assert_eq!(short.body(), long.body());
        prop_assert_eq!(short.stamp(&Stamp::NONE).unwrap(), long.stamp(&Stamp::NONE).unwrap());
    }

    #[test]
    fn consecutive_batches_are_read_until_an_error(sets in vec(records(), 1..4), cut in 0usize..200) {
        let mut wire = Vec::new();
        for records in &sets {
            let mut builder = RecordBatchBuilder::new();
            for record in records {
                builder.append(&NewRecord { timestamp: record.timestamp, value: record.value.as_deref(), ..Default::default() }).unwrap();
            }
            wire.extend_from_slice(&builder.seal().unwrap().stamp(&Stamp::NONE).unwrap().to_bytes());
        }
        let counts = Batches::new(&wire).map(|batch| usize::try_from(batch.unwrap().header().record_count).unwrap());
        let counts: Vec<_> = counts.collect();
        prop_assert_eq!(counts, sets.iter().map(Vec::len).collect::<Vec<_>>());

        // If the last batch is truncated, the others are read, then one error follows.
        let cut = &wire[..wire.len() - 1 - cut.min(60)];
        let read: Vec<_> = Batches::new(cut).collect();
        prop_assert_eq!(read.len(), sets.len());
        let error = read.last().unwrap().as_ref().unwrap_err();
        prop_assert_eq!(error.kind(), &ParseErrorKind::Truncated);
        prop_assert!(error.field().starts_with(&format!("[{}].", sets.len() - 1)), "{}", error);
        prop_assert!(read[..sets.len() - 1].iter().all(Result::is_ok));
    }
}
