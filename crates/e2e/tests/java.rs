//! Our batches, read by the Java client like a consumer: every codec and level in this build, record for record. Also the
//! golden properties files, read by Java.
//!
//! `make java` shows the counts. KURIER_SEED=n repeats the records of a failure.

use std::collections::BTreeMap;
use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kurier_compression::{Compression, CompressionType};
use kurier_e2e::java::Jars;
use kurier_protocol::Records;
use kurier_protocol::record_batch::{
    Header, NewRecord, ProducerEpoch, ProducerId, RecordBatchBuilder, Sequence, Stamp,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

const BATCHES_PER_CODEC: usize = 60;

#[derive(Clone, Debug)]
struct Batch {
    records: Vec<OwnedRecord>,
    stamp: Stamp,
}

#[derive(Clone, Debug)]
struct OwnedRecord {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

#[test]
fn batches_of_every_codec_are_read_by_java() {
    let seed = std::env::var("KURIER_SEED").map_or(1, |seed| seed.parse().expect("KURIER_SEED is a number"));
    println!("KURIER_SEED={seed}");
    let jars = Jars::fetch("4.3.1").unwrap();
    let read_batches = jars.compile("ReadBatches").unwrap();

    let batches = batches(seed);
    let mut file = Vec::new();
    let mut expected = Vec::new();
    for compression in compressions() {
        for batch in &batches {
            let bytes = build(batch, compression).to_bytes();
            file.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
            file.extend(&bytes);
            expected.push((compression, batch));
        }
    }
    let batches_file = tempfile::NamedTempFile::new().unwrap();
    fs::write(batches_file.path(), file).unwrap();
    let printed = read_batches.run([batches_file.path()]).unwrap();

    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines.len(), expected.len(), "Java read a different number of batches");
    for (line, (compression, batch)) in lines.iter().zip(&expected) {
        let theirs: Value = line.parse().unwrap();
        let ours = shown(batch, compression.kind());
        assert_eq!(theirs, ours, "{} at level {}", compression.kind(), compression.level());
        let count = counts.entry(format!("{} {}", compression.kind(), compression.level())).or_default();
        count.0 += 1;
        count.1 += batch.records.len();
    }
    println!("{:<10} {:>7} {:>8}  read by Java's MemoryRecords, record for record", "codec", "batches", "records");
    for (codec, (batches, records)) in &counts {
        println!("{codec:<10} {batches:>7} {records:>8}");
    }
    assert_eq!(counts.len(), compressions().len());
}

#[test]
fn golden_properties_are_what_java_reads() {
    let read_properties = Jars::fetch("4.3.1").unwrap().compile("ReadProperties").unwrap();
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/properties.jsonl");
    assert_eq!(read_properties.run([""; 0]).unwrap(), fs::read_to_string(golden).unwrap());
}

/// Returns every codec at its notable levels. A feature of this crate selects the zstd implementation.
fn compressions() -> Vec<Compression> {
    let at = |kind, level| Compression::new(kind).with_level(level).unwrap();
    vec![
        CompressionType::None.into(),
        at(CompressionType::Gzip, -1),
        at(CompressionType::Gzip, 1),
        at(CompressionType::Gzip, 9),
        CompressionType::Snappy.into(),
        at(CompressionType::Lz4, 9),
        at(CompressionType::Zstd, -5),
        at(CompressionType::Zstd, 1),
        at(CompressionType::Zstd, 3),
        at(CompressionType::Zstd, 19),
    ]
}

fn batches(seed: u64) -> Vec<Batch> {
    let bytes = |max| vec(any::<u8>(), 0..max);
    let text =
        |max| vec(0u8..16, 0..max).prop_map(|letters| letters.into_iter().map(|letter| b'a' + letter / 4).collect());
    let timestamp = prop_oneof![8 => 1_700_000_000_000i64..1_710_000_000_000, 1 => Just(0), 1 => 0..=i64::MAX];
    let value = prop_oneof![6 => text(400), 2 => bytes(300), 1 => text(9_000)];
    let name = prop_oneof![Just("trace"), Just(""), Just("제목"), Just("again")].prop_map(str::to_owned);
    let headers = vec((name, proptest::option::of(bytes(20))), 0..4);
    let record = (timestamp, proptest::option::of(bytes(40)), proptest::option::of(value), headers)
        .prop_map(|(timestamp, key, value, headers)| OwnedRecord { timestamp, key, value, headers });
    let large =
        text(150_000).prop_map(|value| OwnedRecord { timestamp: 5, key: None, value: Some(value), headers: vec![] });
    let records = prop_oneof![6 => vec(record.clone(), 1..40), 2 => vec(record, 200..400), 1 => vec(large, 1..3)];
    let idempotent = (0i64.., 0i16.., 0i32..)
        .prop_map(|(id, epoch, sequence)| Stamp::idempotent(ProducerId(id), ProducerEpoch(epoch), Sequence(sequence)));
    let transactional = idempotent.clone().prop_map(Stamp::in_transaction);
    let stamp = prop_oneof![Just(Stamp::NONE), idempotent, transactional];
    let batch = (records, stamp).prop_map(|(records, stamp)| Batch { records, stamp });

    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    (0..BATCHES_PER_CODEC).map(|_| batch.new_tree(&mut runner).unwrap().current()).collect()
}

fn build(batch: &Batch, compression: Compression) -> Records {
    let mut builder = RecordBatchBuilder::new();
    for record in &batch.records {
        let headers: Vec<_> =
            record.headers.iter().map(|(key, value)| Header { key: key.as_bytes(), value: value.as_deref() }).collect();
        let key = record.key.as_deref();
        let value = record.value.as_deref();
        builder.append(&NewRecord { timestamp: record.timestamp, key, value, headers: &headers }).unwrap();
    }
    let sealed = compression.codec().unwrap().compress_batch(builder.seal().unwrap()).unwrap();
    sealed.stamp(&batch.stamp).unwrap()
}

/// Returns the expected output of java/ReadBatches.java.
fn shown(batch: &Batch, codec: CompressionType) -> Value {
    let base64 = |bytes: Option<&[u8]>| bytes.map(|bytes| STANDARD.encode(bytes));
    let stamp = batch.stamp;
    let records = batch.records.iter().zip(0i32..).map(|(record, offset)| {
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|(key, value)| json!([base64(Some(key.as_bytes())), base64(value.as_deref())]))
            .collect();
        let sequence = if stamp == Stamp::NONE { Sequence(-1) } else { stamp.base_sequence().after(offset) };
        json!({
            "offset": offset, "timestamp": record.timestamp, "sequence": sequence.0,
            "key": base64(record.key.as_deref()), "value": base64(record.value.as_deref()), "headers": headers,
        })
    });
    json!({
        "magic": 2, "compression": codec.name(), "producerId": stamp.producer_id().0, "producerEpoch": stamp.producer_epoch().0,
        "baseSequence": stamp.base_sequence().0, "isTransactional": stamp.is_transactional(),
        "maxTimestamp": batch.records.iter().map(|record| record.timestamp).max(),
        "records": records.collect::<Vec<_>>(),
    })
}
