//! The batches of seven clients, taken off the wire, held against what kcat then read from the brokers.
//!
//! `make captures-read` shows the counts.

use std::collections::BTreeMap;
use std::fs;

use kurier_compression::{Compression, CompressionType};
use kurier_e2e::{capture, testdata};
use kurier_protocol::messages::{ProduceRequest, ProduceResponse};
use kurier_protocol::record_batch::{Header, NewRecord, Record, RecordBatch, RecordBatchBuilder, Stamp};
use kurier_protocol::{Message, Records, Uuid};
use serde_json::{Value, json};

/// Every batch that a broker wrote in the captures in testdata, by codec.
const BATCHES: [(CompressionType, usize); 5] = [
    (CompressionType::None, 106),
    (CompressionType::Gzip, 19),
    (CompressionType::Snappy, 16),
    (CompressionType::Lz4, 23),
    (CompressionType::Zstd, 27),
];

#[derive(Default)]
struct Count {
    batches: usize,
    records: usize,
    aborted: usize,
    clients: BTreeMap<String, usize>,
    rebuilt: usize,
}

#[test]
fn the_batches_of_every_codec_are_read_as_kcat_read_them() {
    let mut counts: BTreeMap<u8, Count> = BTreeMap::new();
    for path in pcaps() {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let client = name.split('_').next().unwrap().to_owned();
        let Ok(kcat) = fs::read_to_string(path.with_extension("records.jsonl")) else { continue };
        let kcat: BTreeMap<(i64, i64), Value> = kcat.lines().map(|line| by_place(line.parse().unwrap())).collect();
        for (partition, base_offset, records) in written(&path) {
            let bytes = records.to_bytes();
            let (batch, rest) = RecordBatch::parse(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(rest.is_empty(), "{name}: more than one batch");
            let count = counts.entry(batch.header().attributes.codec()).or_default();
            count.batches += 1;
            *count.clients.entry(client.clone()).or_default() += 1;
            let body = body(&batch);
            for record in batch.records_in(&body).unwrap() {
                let record = record.unwrap_or_else(|error| panic!("{name}: {error}"));
                let Some(theirs) = kcat.get(&(partition.into(), base_offset + record.offset)) else {
                    // kcat reads what is committed, and the capture of a transaction has one that was aborted.
                    assert!(batch.header().attributes.is_transactional(), "{name}: kcat does not have {record:?}");
                    count.aborted += 1;
                    continue;
                };
                assert_eq!(&shown(&record, theirs), theirs, "{name}");
                count.records += 1;
            }
            if let Some(ours) = rebuilt(&batch) {
                count.rebuilt += usize::from(ours == bytes);
                // Outside the checksum, and the broker's to fill in: some leave 0 there where Java writes -1.
                let but_for_leader_epoch = |bytes: &[u8]| [&bytes[..12], &bytes[16..]].concat();
                assert_eq!(but_for_leader_epoch(&ours), but_for_leader_epoch(&bytes), "{name}");
            }
        }
    }
    for (codec, count) in &counts {
        let codec = CompressionType::from_id(*codec).unwrap();
        let Count { batches, records, aborted, clients, rebuilt } = count;
        let clients: Vec<_> = clients.iter().map(|(client, n)| format!("{client} {n}")).collect();
        println!(
            "{codec:<6} {batches:>4} batches, {records:>4} records equal kcat's ({aborted} aborted): {}",
            clients.join(", ")
        );
        assert!(BATCHES.contains(&(codec, *batches)), "captures are missing, or were not read");
        if codec == CompressionType::None {
            println!("       built again from their records: {rebuilt} to the byte, all but for the leader epoch");
            assert_eq!(*rebuilt, 93, "those of Java, franz-go and confluent-kafka");
        }
    }
    assert_eq!(counts.len(), CompressionType::ALL.len(), "a codec was not captured");
}

fn pcaps() -> Vec<std::path::PathBuf> {
    let mut pcaps: Vec<_> = fs::read_dir(testdata("captures")).unwrap().map(|entry| entry.unwrap().path()).collect();
    pcaps.retain(|path| path.extension().is_some_and(|extension| extension == "pcap"));
    pcaps.sort();
    assert!(!pcaps.is_empty());
    pcaps
}

/// The batches that a broker wrote: partition, offset, bytes. With acks=0 it does not say where, but the topics of these
/// captures had one writer.
fn written(pcap: &std::path::Path) -> Vec<(i32, i64, Records)> {
    let mut batches = Vec::new();
    let mut next_offset: BTreeMap<i32, i64> = BTreeMap::new();
    let connections = capture::read(&fs::read(pcap).unwrap()).unwrap();
    for exchange in connections.iter().flat_map(|connection| connection.exchanges().unwrap()) {
        if exchange.header.api_key != ProduceRequest::KEY {
            continue;
        }
        let version = exchange.header.api_version;
        let request = ProduceRequest::read(&exchange.request, version).unwrap();
        let response = exchange.response.map(|body| ProduceResponse::read(&body, version).unwrap());
        assert_eq!(response.is_none(), request.acks == 0, "an answer was not captured");
        for topic in &request.topic_data {
            for data in &topic.partition_data {
                let records = data.records.clone().unwrap();
                let offset = match &response {
                    Some(response) => written_at(response, (&topic.name, topic.topic_id), data.index),
                    None => Some(next_offset.get(&data.index).copied().unwrap_or_default()),
                };
                if let Some(offset) = offset {
                    let bytes = records.to_bytes();
                    let (batch, _) = RecordBatch::parse(&bytes).unwrap();
                    next_offset.insert(data.index, offset + i64::from(batch.header().record_count));
                    batches.push((data.index, offset, records));
                }
            }
        }
    }
    batches
}

fn written_at(response: &ProduceResponse, topic: (&str, Uuid), index: i32) -> Option<i64> {
    let topic = response.responses.iter().find(|answer| (answer.name.as_str(), answer.topic_id) == topic)?;
    let partition = topic.partition_responses.iter().find(|answer| answer.index == index)?;
    (partition.error_code.is_none() && partition.base_offset >= 0).then_some(partition.base_offset)
}

fn by_place(record: Value) -> ((i64, i64), Value) {
    let number = |name: &str| record[name].as_i64().unwrap();
    ((number("partition"), number("offset")), record)
}

fn body(batch: &RecordBatch<'_>) -> Vec<u8> {
    let kind = CompressionType::from_id(batch.header().attributes.codec()).unwrap();
    let mut body = Vec::new();
    Compression::new(kind).codec().unwrap().decompress(batch.body(), 64 << 20, &mut body).unwrap();
    body
}

/// Our record as kcat prints records, with what only the broker knows taken from its own print.
fn shown(record: &Record<'_>, theirs: &Value) -> Value {
    let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    // On a topic of LogAppendTime the broker puts its own.
    let timestamp = if theirs["tstype"] == "logappend" { theirs["ts"].clone() } else { json!(record.timestamp) };
    let mut shown = json!({
        "topic": theirs["topic"], "partition": theirs["partition"], "offset": theirs["offset"],
        "tstype": theirs["tstype"], "ts": timestamp, "broker": theirs["broker"],
        "key": text(record.key), "payload": text(record.value),
    });
    let headers = record.headers.clone().flat_map(|header| [text(Some(header.key)), text(header.value)]);
    let headers: Vec<_> = headers.collect();
    if !headers.is_empty() {
        shown["headers"] = json!(headers);
    }
    shown
}

/// The batch as our builder makes it from its records, if it is not compressed.
fn rebuilt(batch: &RecordBatch<'_>) -> Option<Vec<u8>> {
    let mut builder = RecordBatchBuilder::new();
    for record in batch.records().ok()? {
        let record = record.ok()?;
        let headers: Vec<Header<'_>> = record.headers.collect();
        let record = NewRecord { timestamp: record.timestamp, key: record.key, value: record.value, headers: &headers };
        builder.append(&record).ok()?;
    }
    let header = batch.header();
    let stamp = Stamp {
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        transactional: header.attributes.is_transactional(),
    };
    Some(builder.seal().stamp(&stamp).ok()?.to_bytes().to_vec())
}
