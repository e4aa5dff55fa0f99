//! Replays each client's captured requests to our own broker. The broker has the topics, partitions and producer ids of
//! the capture, must answer every request in its version, and in the end holds the records that kcat read from Kafka.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, ResponseKind};
use kurier_broker::{Cluster, ClusterSettings, KafkaVersion, Reply, TopicSettings};
use kurier_capture::{Frame, Side};
use kurier_compression::{DEFAULT_LIMIT_BYTES, decompress_batch};
use kurier_protocol::messages::{
    InitProducerIdRequest, InitProducerIdResponse, MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse,
    SaslAuthenticateRequest, SaslHandshakeRequest,
};
use kurier_protocol::record_batch::Batches;
use kurier_protocol::{Api, ErrorCode, Message, RequestHeader, ResponseHeader, Uuid};

use crate::{Capture, captures, shown};

/// Captures with this ending are left out, because our broker has no transactions yet.
const WAITS_FOR_TRANSACTIONS: &str = "_transaction";

/// One node leads all partitions and gets every request.
const NODE: i32 = 1;

#[test]
fn our_broker_answers_every_client_and_holds_the_same_records() {
    let mut counts: BTreeMap<String, [usize; 4]> = BTreeMap::new();
    let captures = captures();
    for capture in captures.iter().filter(|capture| !capture.name.ends_with(WAITS_FOR_TRANSACTIONS)) {
        let (mut cluster, topic) = cluster(capture);
        let mut answers = 0;
        let mut requests = 0;
        // The SASL captures share a topic, so the second one finds the first one's record.
        let before = captures
            .iter()
            .filter(|before| capture.name.ends_with("_sasl-scram-256") && before.name.ends_with("_sasl-plain"));
        for (frame, answer) in before.chain([capture]).flat_map(asked) {
            requests += 1;
            if let Some(answer) = answer.filter(|answer| key(answer) == InitProducerIdRequest::KEY) {
                // Kafka was not always ready to give an id; our broker is.
                let given: InitProducerIdResponse = body(answer);
                cluster.set_next_producer_id(given.producer_id.max(0));
            }
            let now_ms = i64::try_from(frame.time.as_millis()).unwrap();
            match cluster.handle(NODE, &frame.bytes, now_ms, false) {
                Reply::Send { frame: reply, .. } => {
                    answers += 1;
                    check(&capture.name, frame, answer.unwrap(), &reply.slice(4..));
                }
                Reply::Nothing => assert!(answer.is_none(), "{}: {}", capture.name, frame.json(false)),
                other => panic!("{}: {other:?} to {}", capture.name, frame.json(false)),
            }
        }
        let records = topic.map_or(0, |topic| held(capture, &cluster, &topic));
        let count = counts.entry(capture.client.clone()).or_default();
        for (sum, n) in count.iter_mut().zip([1, requests, answers, records]) {
            *sum += n;
        }
    }
    println!(
        "{:<26} {:>8} {:>8} {:>7} {:>7}  answered by our broker",
        "client", "captures", "requests", "answers", "records"
    );
    let mut all = [0; 4];
    for (client, count) in counts {
        println!("{client:<26} {:>8} {:>8} {:>7} {:>7}", count[0], count[1], count[2], count[3]);
        for (sum, n) in all.iter_mut().zip(count) {
            *sum += n;
        }
    }
    println!("{:<26} {:>8} {:>8} {:>7} {:>7}", "all", all[0], all[1], all[2], all[3]);
    assert_eq!(all, ALL, "captures are missing, or were not replayed");
}

/// Captures, requests, responses, and records at the end.
const ALL: [usize; 4] = [47, 427, 425, 5241];

/// Returns the clients' requests, each with its response. Leaves out SASL, which our broker does not have yet, and
/// traffic between brokers.
fn asked(capture: &Capture) -> Vec<(&Frame, Option<&Frame>)> {
    let frames = &capture.frames;
    let answers: BTreeMap<u64, &Frame> = frames.iter().filter_map(|frame| Some((frame.answers?, frame))).collect();
    let is_asked = |frame: &&Frame| {
        let is_sasl = [SaslHandshakeRequest::KEY, SaslAuthenticateRequest::KEY].contains(&key(frame));
        frame.side == Side::Client && !is_sasl && frame.read().is_ok()
    };
    frames.iter().filter(is_asked).map(|frame| (frame, answers.get(&frame.number).copied())).collect()
}

/// Returns a cluster with the topics of the capture, and the name of the topic that its client wrote to.
fn cluster(capture: &Capture) -> (Cluster, Option<String>) {
    let version = capture.name.split('_').nth(1).unwrap().strip_prefix("kafka-").unwrap();
    let version: KafkaVersion = version.rsplit_once('.').unwrap().0.parse().unwrap();
    let mut cluster =
        Cluster::new(ClusterSettings { version, auto_create_topics: false, ..ClusterSettings::default() });
    let asked = asked(capture);
    let mut names: BTreeMap<Uuid, String> = BTreeMap::new();
    for answer in asked.iter().filter_map(|(_, answer)| *answer).filter(|answer| key(answer) == MetadataRequest::KEY) {
        let metadata: MetadataResponse = body(answer);
        for topic in metadata.topics.iter().filter(|topic| topic.error_code.is_none()) {
            let name = topic.name.as_deref().unwrap();
            if cluster.leader(name, 0).is_none() {
                let partitions = i32::try_from(topic.partitions.len()).unwrap();
                cluster.create_topic(name, partitions, settings(capture, &asked)).unwrap();
                if topic.topic_id != Uuid::ZERO {
                    cluster.set_topic_id(name, topic.topic_id).unwrap();
                }
            }
            names.insert(topic.topic_id, name.to_owned());
        }
    }
    let produced = asked.iter().find(|(frame, _)| key(frame) == ProduceRequest::KEY).map(|(frame, _)| request(frame));
    let topic =
        produced.and_then(|request| request.topic_data.first().map(|topic| (topic.name.clone(), topic.topic_id)));
    (cluster, topic.map(|(name, id)| if name.is_empty() { names[&id].clone() } else { name }))
}

/// Derives the settings of the scenario's topic from its responses.
fn settings(capture: &Capture, asked: &[(&Frame, Option<&Frame>)]) -> TopicSettings {
    let mut largest_taken = 0;
    let mut codes = Vec::new();
    for (frame, answer) in asked.iter().filter(|(frame, _)| key(frame) == ProduceRequest::KEY) {
        let Some(answer) = answer else { continue };
        let answer: ProduceResponse = body(answer);
        let answers = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
        let request = request(frame);
        for data in request.topic_data.iter().flat_map(|topic| &topic.partition_data) {
            let code = answers.clone().find(|answer| answer.index == data.index).unwrap().error_code;
            if code.is_none() {
                largest_taken = largest_taken.max(data.records.as_ref().unwrap().len());
            }
            codes.push(code);
        }
    }
    let whole = TopicSettings::default();
    TopicSettings {
        is_log_append_time: capture.name.ends_with("_log-append-time"),
        max_message_bytes: if codes.contains(&ErrorCode::MESSAGE_TOO_LARGE) {
            largest_taken
        } else {
            whole.max_message_bytes
        },
        // One of the three replicas is up.
        min_insync_replicas: if codes.contains(&ErrorCode::NOT_ENOUGH_REPLICAS) { 2 } else { 1 },
        ..whole
    }
}

/// Checks that another implementation can read the response in the requested version, and that the producer id is
/// Kafka's.
fn check(name: &str, request: &Frame, theirs: &Frame, answer: &Bytes) {
    let head = request.head.unwrap();
    let api = head.api().unwrap();
    let (header, said) = ResponseHeader::read(answer, api, head.api_version).unwrap();
    assert_eq!(header.correlation_id, head.correlation_id);
    if head.api_key == InitProducerIdRequest::KEY && body::<InitProducerIdResponse>(theirs).error_code.is_none() {
        assert_eq!(answer, &theirs.bytes, "{name}");
    }
    let version = api.response_version(head.api_version, &said);
    api.response().read(&said, version).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut rest = said;
    let oracle = ResponseKind::decode(ApiKey::try_from(api.key()).unwrap(), &mut rest, version);
    oracle.unwrap_or_else(|error| panic!("{name}: the oracle cannot read {} v{version}: {error}", api.name()));
    assert!(rest.is_empty(), "{name}: the oracle leaves {} bytes of {} v{version}", rest.len(), api.name());
}

/// Returns the number of records in the broker; kcat must have read each of them at the same offset.
fn held(capture: &Capture, cluster: &Cluster, topic: &str) -> usize {
    let name = &capture.name;
    let mut count = 0;
    let empty = BTreeMap::new();
    let kcat = capture.kcat.as_ref().unwrap_or(&empty);
    for partition in 0.. {
        let Some(log) = cluster.log(topic, partition) else { break };
        for batch in log.iter().flat_map(|bytes| Batches::new(bytes)) {
            let batch = batch.unwrap();
            let plain = decompress_batch(&batch, DEFAULT_LIMIT_BYTES).unwrap();
            for record in batch.records_in(&plain).unwrap() {
                let record = record.unwrap();
                let theirs = kcat.get(&(partition.into(), record.offset));
                let theirs = theirs.unwrap_or_else(|| panic!("{name}: kcat has no {record:?}"));
                assert_eq!(&shown(&record, theirs), theirs, "{name}");
                count += 1;
            }
        }
    }
    assert_eq!(count, kcat.len(), "{name}: not all that kcat read");
    count
}

fn key(frame: &Frame) -> i16 {
    frame.head.map_or(-1, |head| head.api_key)
}

fn request(frame: &Frame) -> ProduceRequest {
    let (header, body) = RequestHeader::read(&frame.bytes).unwrap();
    ProduceRequest::read(&body, header.api_version).unwrap()
}

fn body<M: Message>(frame: &Frame) -> M {
    let head = frame.head.unwrap();
    let api = Api::of(head.api_key).unwrap();
    let (_, body) = ResponseHeader::read(&frame.bytes, api, head.api_version).unwrap();
    M::read(&body, head.api_version).unwrap()
}
