//! The batches of seven clients, taken off the wire, held against what kcat then read from the brokers.
//!
//! `make captures-read` shows the counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use bytes::Bytes;
use kurier_compression::{CompressionType, decompress_batch};
use kurier_e2e::{capture, testdata};
use kurier_protocol::messages::{ProduceRequest, ProduceResponse};
use kurier_protocol::record_batch::{Header, NewRecord, Record, RecordBatch, RecordBatchBuilder, Stamp};
use kurier_protocol::{Direction, Message, Records, ResponseHeader, Uuid};
use serde_json::{Value, json};

/// Every batch that a broker wrote in the captures in testdata, by codec.
const BATCHES: [(CompressionType, usize); 5] = [
    (CompressionType::None, 106),
    (CompressionType::Gzip, 19),
    (CompressionType::Snappy, 16),
    (CompressionType::Lz4, 23),
    (CompressionType::Zstd, 27),
];

/// Scenarios in which no broker took a record.
const NOTHING_WRITTEN: [&str; 2] = ["_not-enough-replicas", "_sasl-wrong-password"];

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
    let mut counts: BTreeMap<CompressionType, Count> = BTreeMap::new();
    for path in pcaps() {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let client = name.split('_').next().unwrap().to_owned();
        let Ok(kcat) = fs::read_to_string(path.with_extension("records.jsonl")) else {
            assert!(NOTHING_WRITTEN.iter().any(|scenario| name.ends_with(scenario)), "{name} has no records beside it");
            continue;
        };
        let kcat: BTreeMap<(i64, i64), Value> = kcat.lines().map(|line| by_place(line.parse().unwrap())).collect();
        let mut met = BTreeSet::new();
        for (partition, base_offset, records) in written(&path) {
            let bytes = records.to_bytes();
            let (batch, rest) = RecordBatch::parse(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(rest.is_empty(), "{name}: more than one batch");
            let count = counts.entry(batch.header().attributes.compression_type().unwrap()).or_default();
            count.batches += 1;
            *count.clients.entry(client.clone()).or_default() += 1;
            let body = decompress_batch(&batch, 64 << 20).unwrap();
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
                met.insert((partition, base_offset + record.offset));
            }
            if let Some(ours) = rebuilt(&batch) {
                count.rebuilt += usize::from(ours == bytes);
                // Outside the checksum, and the broker's to fill in: some leave 0 there where Java writes -1.
                let but_for_leader_epoch = |bytes: &[u8]| [&bytes[..12], &bytes[16..]].concat();
                assert_eq!(but_for_leader_epoch(&ours), but_for_leader_epoch(&bytes), "{name}");
            }
        }
        // The topic of the SASL captures is shared: the second finds the first one's record.
        let of_others = usize::from(name.ends_with("_sasl-scram-256"));
        assert_eq!(met.len() + of_others, kcat.len(), "{name}: kcat read what was not captured");
    }
    for (codec, count) in &counts {
        let Count { batches, records, aborted, clients, rebuilt } = count;
        let clients: Vec<_> = clients.iter().map(|(client, n)| format!("{client} {n}")).collect();
        println!(
            "{codec:<6} {batches:>4} batches, {records:>4} records equal kcat's ({aborted} aborted): {}",
            clients.join(", ")
        );
        assert!(BATCHES.contains(&(*codec, *batches)), "captures are missing, or were not read");
        assert_eq!(*aborted, usize::from(*codec == CompressionType::None), "the record of the one transaction aborted");
        if *codec == CompressionType::None {
            println!("       built again from their records: {rebuilt} to the byte, all but for the leader epoch");
            assert_eq!(*rebuilt, 93, "those of Java, franz-go and confluent-kafka");
        }
    }
    assert_eq!(counts.len(), CompressionType::ALL.len(), "a codec was not captured");
}

#[test]
fn every_frame_is_read_and_written_the_same() {
    let mut counts: BTreeMap<(&str, i16), [usize; 2]> = BTreeMap::new();
    let mut of_other_versions = 0;
    for path in pcaps() {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let connections = capture::read(&fs::read(&path).unwrap()).unwrap();
        for exchange in connections.iter().flat_map(|connection| connection.exchanges().unwrap()) {
            let version = exchange.header.api_version;
            // Brokers speak newer versions to each other; and clients ask for versions of ApiVersions that nobody has.
            if !exchange.api.versions().contains(&version) {
                of_other_versions += 1;
                continue;
            }
            let mut frame = Vec::new();
            exchange.header.write(&mut frame).unwrap();
            rewrite(exchange.api.request(), &exchange.request, version, &mut frame, name);
            assert_eq!(frame, exchange.request_frame, "{name}: request of {} v{version}", exchange.api.name());
            let count = counts.entry((exchange.api.name(), version)).or_default();
            count[0] += 1;
            if let (Some(body), Some(whole)) = (&exchange.response, &exchange.response_frame) {
                let mut frame = Vec::new();
                ResponseHeader { correlation_id: exchange.header.correlation_id }.write(
                    exchange.api,
                    version,
                    &mut frame,
                );
                rewrite(exchange.api.response(), body, exchange.api.response_version(version, body), &mut frame, name);
                assert_eq!(&frame, whole, "{name}: response of {} v{version}", exchange.api.name());
                count[1] += 1;
            }
        }
    }
    println!("{:<20} {:>7} {:>8} {:>9}  read and written, the same bytes", "api", "version", "requests", "responses");
    for ((api, version), [requests, responses]) in &counts {
        println!("{api:<20} {version:>7} {requests:>8} {responses:>9}");
    }
    let sum = |side: usize| counts.values().map(|count| count[side]).sum::<usize>();
    println!(
        "{:<28} {:>8} {:>9}  and {of_other_versions} requests of versions that we do not speak",
        "all",
        sum(0),
        sum(1)
    );
    assert_eq!((sum(0), sum(1)), (588, 586), "captures are missing, or were not read");
}

/// Appends what we make of a body.
fn rewrite(direction: &Direction, body: &Bytes, version: i16, frame: &mut Vec<u8>, name: &str) {
    let message = direction.read(body, version).unwrap_or_else(|error| panic!("{name}: {error}"));
    message.write(version, frame).unwrap_or_else(|error| panic!("{name}: {error}"));
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
    let stamp = Stamp::idempotent(header.producer_id, header.producer_epoch, header.base_sequence);
    let stamp = if header.attributes.is_transactional() { stamp.in_transaction() } else { stamp };
    Some(builder.seal()?.stamp(&stamp).ok()?.to_bytes().to_vec())
}
