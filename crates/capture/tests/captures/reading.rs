//! Reads every captured frame and writes it again, compares every batch with kcat's output from the brokers, and checks
//! that damage costs no more than the damaged frames.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Capture, captures, shown};
use kurier_capture::{Frame, Reader, Side, Unread};
use kurier_compression::{CompressionType, DEFAULT_LIMIT_BYTES, decompress_batch};
use kurier_protocol::messages::{FetchRequest, ProduceRequest, ProduceResponse};
use kurier_protocol::record_batch::{Header, NewRecord, RecordBatch, RecordBatchBuilder, Stamp};
use kurier_protocol::{Api, Message, Records, RequestHeader, ResponseHeader, Uuid};

/// The batches that brokers wrote in the captures of testdata, by codec.
const BATCHES: [(CompressionType, usize); 5] = [
    (CompressionType::None, 106),
    (CompressionType::Gzip, 19),
    (CompressionType::Snappy, 16),
    (CompressionType::Lz4, 23),
    (CompressionType::Zstd, 27),
];

/// Scenarios without an accepted record.
const NOTHING_WRITTEN: [&str; 2] = ["_not-enough-replicas", "_sasl-wrong-password"];

/// Traffic between brokers, in APIs or versions that a producer does not need.
const BETWEEN_BROKERS: [(i16, i16); 2] = [(FetchRequest::KEY, 18), (WRITE_TXN_MARKERS, 2)];
const WRITE_TXN_MARKERS: i16 = 27;

/// Captures, connections, requests, responses, undecoded frames, and records at the end.
const ALL: [usize; 6] = [48, 149, 588, 586, 163, 5287];

/// Seeds of the damage done to every capture.
const SEEDS: u64 = 5;

#[derive(Default)]
struct Count {
    batches: usize,
    records: usize,
    aborted: usize,
    clients: BTreeMap<String, usize>,
    rebuilt: usize,
}

#[test]
fn every_frame_is_read_and_written_the_same() {
    let mut counts: BTreeMap<String, [usize; 6]> = BTreeMap::new();
    for capture in captures() {
        let Capture { name, frames, .. } = &capture;
        let [captures, connections, requests, responses, raw, records] =
            counts.entry(capture.client.clone()).or_default();
        *captures += 1;
        *connections += usize::try_from(capture.connections).unwrap();
        *records += capture.kcat.as_ref().map_or(0, BTreeMap::len);
        for frame in frames {
            match frame.read() {
                Ok(read) => {
                    let mut again = Vec::new();
                    read.write(&mut again).unwrap_or_else(|error| panic!("{name}: {error}"));
                    assert_eq!(again, frame.bytes, "{name}: {}", frame.json(false));
                    *(if frame.side == Side::Client { &mut *requests } else { &mut *responses }) += 1;
                }
                Err(unread) => {
                    let head = frame.head.unwrap_or_else(|| panic!("{name}: {unread}"));
                    assert_eq!(unread, Unread::Unknown, "{name}: {}", frame.json(false));
                    assert!(BETWEEN_BROKERS.contains(&(head.api_key, head.api_version)), "{name}: {head:?}");
                    assert_eq!(frame.json(true)["raw"].as_str().map(str::len), Some(2 * frame.bytes.len()));
                    *raw += 1;
                }
            }
        }
        // The remains of earlier traffic between brokers.
        assert!(capture.skipped_bytes <= 118, "{name}: {} bytes belong to no frame", capture.skipped_bytes);
    }
    println!(
        "{:<26} {:>8} {:>11} {:>8} {:>9} {:>4} {:>7}  read and written, the same bytes",
        "client", "captures", "connections", "requests", "responses", "raw", "records"
    );
    let mut all = [0; 6];
    for (client, count) in &counts {
        println!("{}", row(client, *count));
        for (sum, n) in all.iter_mut().zip(count) {
            *sum += n;
        }
    }
    println!("{}", row("all", all));
    assert_eq!(all, ALL, "captures are missing, or were not read");
}

fn row(client: &str, [captures, connections, requests, responses, raw, records]: [usize; 6]) -> String {
    format!("{client:<26} {captures:>8} {connections:>11} {requests:>8} {responses:>9} {raw:>4} {records:>7}")
}

#[test]
fn batches_of_every_codec_match_kcat() {
    let mut counts: BTreeMap<CompressionType, Count> = BTreeMap::new();
    for capture in captures() {
        let Capture { name, client, .. } = &capture;
        let Some(kcat) = &capture.kcat else {
            assert!(NOTHING_WRITTEN.iter().any(|scenario| name.ends_with(scenario)), "{name} has no records beside it");
            continue;
        };
        let mut met = BTreeSet::new();
        for (partition, base_offset, records) in written(&capture.frames) {
            let bytes = records.to_bytes();
            let (batch, rest) = RecordBatch::parse(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(rest.is_empty(), "{name}: more than one batch");
            let count = counts.entry(batch.header().attributes.compression_type().unwrap()).or_default();
            count.batches += 1;
            *count.clients.entry(client.clone()).or_default() += 1;
            let body = decompress_batch(&batch, DEFAULT_LIMIT_BYTES).unwrap();
            for record in batch.records_in(&body).unwrap() {
                let record = record.unwrap_or_else(|error| panic!("{name}: {error}"));
                let Some(theirs) = kcat.get(&(partition.into(), base_offset + record.offset)) else {
                    // kcat reads only committed records; the capture of a transaction has an aborted one.
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
                // The checksum does not cover the leader epoch, which the broker sets. Some clients leave 0 there, Java
                // -1.
                let but_for_leader_epoch = |bytes: &[u8]| [&bytes[..12], &bytes[16..]].concat();
                assert_eq!(but_for_leader_epoch(&ours), but_for_leader_epoch(&bytes), "{name}");
            }
        }
        // The SASL captures share a topic, so the second one finds the first one's record.
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

/// Every response belongs to the request with its correlation id, and no request has two.
#[test]
fn every_response_answers_a_request_of_its_connection() {
    for Capture { name, frames, .. } in captures() {
        let mut answered = BTreeSet::new();
        for response in frames.iter().filter(|frame| frame.side == Side::Server) {
            let request = &frames[usize::try_from(response.answers.unwrap()).unwrap()];
            assert_eq!(
                (request.side, request.connection, request.head),
                (Side::Client, response.connection, response.head)
            );
            assert_eq!(request.bytes[4..8], response.bytes[..4], "{name}");
            assert!(answered.insert(request.number), "{name}");
        }
    }
}

/// Damage: lost, doubled or swapped packets, and a missing beginning or end.
#[test]
fn damage_costs_only_the_damaged_frames() {
    let [mut kept, mut said] = [0, 0];
    for seed in 0..SEEDS {
        let mut random = fastrand::Rng::with_seed(seed);
        for Capture { name, file, frames, .. } in captures() {
            let (header, mut packets) = packets(&file);
            let harmless = random.bool();
            for at in 0..packets.len().saturating_sub(1) {
                match random.u8(0..40) {
                    0 => packets.swap(at, at + 1),
                    1 => packets.insert(at, packets[at]),
                    _ => {}
                }
            }
            if !harmless {
                packets.drain(..random.usize(0..packets.len().min(20)));
                packets.retain(|_| random.u8(0..40) != 0);
            }
            let mut damaged: Vec<u8> = [header].into_iter().chain(packets).flatten().copied().collect();
            if !harmless {
                damaged.truncate(damaged.len() - random.usize(0..100).min(damaged.len() - header.len()));
            }
            let mut reader = Reader::new(&damaged[..]).unwrap();
            let read: Vec<_> =
                reader.by_ref().collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{seed} {name}: {error}"));
            let known: BTreeSet<_> = frames.iter().map(|frame| (frame.side as u8, &frame.bytes)).collect();
            let made_up = read.iter().filter(|frame| !known.contains(&(frame.side as u8, &frame.bytes))).count();
            assert_eq!(made_up, 0, "seed {seed}, {name}: frames that nobody said");
            if harmless {
                assert_eq!(read.len(), frames.len(), "seed {seed}, {name}");
            } else {
                kept += read.len();
                said += frames.len();
            }
        }
    }
    println!("{kept} of {said} frames are read from captures without some of their packets");
    assert!(kept * 2 > said, "the step is not found again");
}

/// Splits a file into its header and its packets.
fn packets(file: &[u8]) -> (&[u8], Vec<&[u8]>) {
    let (header, mut rest) = file.split_at(24);
    let mut packets = Vec::new();
    while !rest.is_empty() {
        let len = u32::from_le_bytes(rest[8..12].try_into().unwrap());
        let (packet, after) = rest.split_at(16 + usize::try_from(len).unwrap());
        packets.push(packet);
        rest = after;
    }
    (header, packets)
}

/// Returns the batches that a broker wrote: partition, offset, bytes. With acks=0 the broker gives no offset, but each
/// topic of these captures had only one writer.
fn written(frames: &[Frame]) -> Vec<(i32, i64, Records)> {
    let is_produce = |frame: &&Frame| frame.head.is_some_and(|head| head.api_key == ProduceRequest::KEY);
    let answers: BTreeMap<u64, &Frame> =
        frames.iter().filter(is_produce).filter_map(|frame| Some((frame.answers?, frame))).collect();
    let mut batches = Vec::new();
    let mut next_offset: BTreeMap<i32, i64> = BTreeMap::new();
    for frame in frames.iter().filter(is_produce).filter(|frame| frame.side == Side::Client) {
        let (header, body) = RequestHeader::read(&frame.bytes).unwrap();
        let version = header.api_version;
        let request = ProduceRequest::read(&body, version).unwrap();
        let response = answers.get(&frame.number).map(|frame| {
            let api = Api::of(ProduceRequest::KEY).unwrap();
            let (_, body) = ResponseHeader::read(&frame.bytes, api, version).unwrap();
            ProduceResponse::read(&body, version).unwrap()
        });
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

/// Builds the batch again from its records, if it is not compressed.
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
