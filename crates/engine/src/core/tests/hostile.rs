//! Tests against hostile brokers, with responses that can be decoded or not. They must never make the core believe the
//! impossible, write a record to the wrong place, report a batch as written that may not be, or send requests
//! endlessly.
//!
//! The prefix of a test's name says what is attacked: `correlation_id`, `api_versions`, `metadata`, `produce_reply`,
//! `init_producer_id`. Tests of the decoder are in crates/protocol/tests/hostile.rs.

use std::fmt::{self, Write};
use std::sync::Mutex;

use kurier_protocol::messages::produce::BatchIndexAndErrorMessage;

use super::*;

/// All nodes and the bootstrap server.
const ALL: [i32; 4] = [SEED, 1, 2, 3];

/// Checks that a batch is sent again with the same bytes, and acknowledges it.
#[track_caller]
fn check_sent_again(rig: &mut Rig, before: &Produce, about: &str) {
    rig.pass(ms(3_000));
    let again = rig.request();
    assert_ne!(again.connection, before.connection, "{about}");
    assert_eq!(again.batches, before.batches, "{about}");
    rig.settle(&again, ErrorCode::NONE, 1);
}

#[test]
fn correlation_id_other_than_oldest_closes_connection() {
    type Lie = fn(&mut Rig, &Produce, &Produce);
    fn say(rig: &mut Rig, to: &Produce, correlation_id: i32) {
        rig.answer(to.connection, correlation_id, to.version, &ProduceResponse::default());
    }
    fn bytes(rig: &mut Rig, to: &Produce, frame: &'static [u8]) {
        rig.handle(Input::Received { connection: to.connection, frame: Bytes::from_static(frame) });
    }
    let lies: [(&str, Lie); 8] = [
        ("the highest there is", |rig, first, _| say(rig, first, i32::MAX)),
        ("below 0", |rig, first, _| say(rig, first, -1)),
        ("the lowest there is", |rig, first, _| say(rig, first, i32::MIN)),
        ("one that was answered before", |rig, first, _| say(rig, first, 0)),
        ("one that was not yet given", |rig, _, second| say(rig, second, second.correlation_id + 1)),
        ("that of the second", |rig, _, second| say(rig, second, second.correlation_id)),
        ("none", |rig, first, _| bytes(rig, first, b"")),
        ("three bytes of one", |rig, first, _| bytes(rig, first, b"\0\0\0")),
    ];
    for (name, lie) in lies {
        let mut rig = Rig::new(|_| {});
        rig.open_gate(0);
        let deliveries = [rig.send_and_linger(0), rig.send_and_linger(0)];
        let (first, second) = (rig.request(), rig.request());
        lie(&mut rig, &first, &second);
        rig.turn();
        assert!(!rig.connections.contains_key(&first.connection), "{name}");
        // A later response on the old connection has no effect.
        rig.settle(&first, ErrorCode::NONE, 77);
        rig.settle(&second, ErrorCode::MESSAGE_TOO_LARGE, -1);
        assert_eq!(deliveries.each_ref().map(fate), [Fate::Open, Fate::Open], "{name}");
        for (before, offset) in [(&first, 1), (&second, 2)] {
            rig.pass(ms(3_000));
            let again = rig.request();
            assert_eq!(again.batches, before.batches, "{name}");
            rig.settle(&again, ErrorCode::NONE, offset);
        }
        assert_eq!(deliveries.each_ref().map(fate), [Fate::At(1), Fate::At(2)], "{name}");
    }
}

#[test]
fn correlation_id_used_twice_answers_once() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    let deliveries = [rig.send_and_linger(0), rig.send_and_linger(0)];
    let (first, second) = (rig.request(), rig.request());
    rig.settle(&first, ErrorCode::NONE, 1);
    rig.settle(&first, ErrorCode::NONE, 2);
    assert!(!rig.connections.contains_key(&first.connection));
    assert_eq!(deliveries.each_ref().map(fate), [Fate::At(1), Fate::Open]);
    rig.pass(ms(3_000));
    let again = rig.request();
    assert_eq!(again.batches, second.batches);
    rig.settle(&again, ErrorCode::NONE, 2);
    assert_eq!(deliveries.each_ref().map(fate), [Fate::At(1), Fate::At(2)]);
}

#[test]
fn api_versions_with_invalid_ranges_are_rejected_and_retried_with_backoff() {
    fn ranges(version: i16, ranges: &[(i16, i16, i16)]) -> Option<(i16, ApiVersionsResponse)> {
        let api = |(api_key, min_version, max_version): &(i16, i16, i16)| ApiVersion {
            api_key: *api_key,
            min_version: *min_version,
            max_version: *max_version,
        };
        Some((version, ApiVersionsResponse { api_keys: ranges.iter().map(api).collect(), ..Default::default() }))
    }
    fn refuse(error_code: ErrorCode, highest: &[(i16, i16)]) -> Option<(i16, ApiVersionsResponse)> {
        Some((0, ApiVersionsResponse { error_code, ..offer(highest) }))
    }
    type Offer = fn(i16) -> Option<(i16, ApiVersionsResponse)>;
    let spoken = MetadataRequest::VERSIONS;
    let too_new = format!(
        "it offers Metadata in versions 99 to 32767, and Kurier speaks {} to {}: use a broker of another version",
        spoken.start(),
        spoken.end()
    );
    let lies: [(&str, Offer, &str); 13] = [
        (
            "nothing",
            |version| ranges(version, &[]),
            "it does not offer Metadata: is this a controller's listener? Use a listener of a broker",
        ),
        (
            "the lowest above the highest",
            |version| ranges(version, &[(0, 3, 2), (3, 0, 13), (18, 0, 4)]),
            "it offers API 0 in versions 3 to 2",
        ),
        (
            "from below 0",
            |version| ranges(version, &[(0, 0, 13), (3, -1, 13), (18, 0, 4)]),
            "it offers API 3 in versions -1 to 13",
        ),
        (
            "up to below 0",
            |version| ranges(version, &[(3, i16::MIN, -1), (18, 0, 4)]),
            "it offers API 3 in versions -32768 to -1",
        ),
        ("the same twice", |version| ranges(version, &[(3, 0, 13), (0, 0, 13), (3, 0, 12)]), "it offers API 3 twice"),
        (
            "an unknown one twice",
            |version| ranges(version, &[(0, 0, 13), (3, 0, 13), (-7, 0, 1), (-7, 0, 1)]),
            "it offers API -7 twice",
        ),
        (
            "versions that are to come",
            |version| ranges(version, &[(0, 99, 200), (3, 99, i16::MAX), (18, 0, 4)]),
            &too_new,
        ),
        ("refused for ever", |_| refuse(ErrorCode::UNSUPPORTED_VERSION, &[]), "UNSUPPORTED_VERSION"),
        (
            "refused, and offered the same",
            |_| refuse(ErrorCode::UNSUPPORTED_VERSION, &[(18, 4)]),
            "UNSUPPORTED_VERSION",
        ),
        ("refused, and offered more", |_| refuse(ErrorCode::UNSUPPORTED_VERSION, &[(18, 99)]), "UNSUPPORTED_VERSION"),
        (
            "refused, and offered less than 0",
            |_| refuse(ErrorCode::UNSUPPORTED_VERSION, &[(18, -5)]),
            "UNSUPPORTED_VERSION",
        ),
        (
            "refused without a reason that is known",
            |version| {
                let (_, said) = refuse(ErrorCode(9_999), &[(0, 13), (3, 13)])?;
                Some((version, said))
            },
            "it refused ApiVersions: UNKNOWN (9999)",
        ),
        ("nothing at all", |_| None, "cut"),
    ];
    for (name, lie, said) in lies {
        let mut rig = Rig::new(|_| {});
        rig.open_gate(0);
        let truth = std::mem::replace(&mut rig.versions, lie);
        ALL.into_iter().for_each(|node| rig.cut(node));
        rig.versions_asked.clear();
        let mut delivery = rig.send_and_linger(0);
        rig.pass(ms(10_000));
        assert!(rig.requests.is_empty(), "{name}");
        // Each connection asks four times at most. In the end, each of the four peers reconnects once per second.
        assert!((4..=200).contains(&rig.versions_asked.len()), "{name}: {}", rig.versions_asked.len());
        let obstacles = rig.driver.core.obstacles().unwrap_or_default();
        assert!(obstacles.contains(said), "{name}: {said} is not in {obstacles}");
        rig.versions = truth;
        rig.pass(ms(5_000));
        // If no broker offers a known version of Produce, the batch fails at once.
        if fate(&delivery) != Fate::Open {
            assert!(["nothing", "versions that are to come"].contains(&name), "{name}: {}", shown(&delivery));
            assert_eq!(fate(&delivery), Fate::Failed(ErrorKind::Unsupported, Written::No), "{name}");
            delivery = rig.send_and_linger(0);
            rig.pass(ms(1_000));
        }
        let request = rig.request();
        rig.settle(&request, ErrorCode::NONE, 1);
        assert_eq!(fate(&delivery), Fate::At(1), "{name}");
    }
}

#[test]
fn api_versions_without_known_produce_fails_batch_as_not_written() {
    type Offer = fn(i16) -> Option<(i16, ApiVersionsResponse)>;
    let lies: [(Offer, &str); 2] = [
        (|version| Some((version, offer(&[(3, 13), (18, 4), (22, 5)]))), "does not offer the API Produce"),
        (
            |version| Some((version, offer(&[(0, 2), (3, 13), (18, 4), (22, 5)]))),
            "offers the API Produce in versions 0 to 2 only",
        ),
    ];
    for (lie, said) in lies {
        let mut rig = Rig::new(|_| {});
        rig.open_gate(0);
        let truth = std::mem::replace(&mut rig.versions, lie);
        rig.cut(1);
        rig.pass(ms(1_000));
        let delivery = rig.send_and_linger(0);
        assert_eq!(fate(&delivery), Fate::Failed(ErrorKind::Unsupported, Written::No));
        assert!(shown(&delivery).contains(said), "{}", shown(&delivery));
        assert!(rig.requests.is_empty());
        // The failure does not affect later batches.
        rig.versions = truth;
        rig.cut(1);
        rig.pass(ms(1_000));
        let delivery = rig.send_and_linger(0);
        rig.pass(ms(1_000));
        let request = rig.request();
        assert_eq!(request.only(), (0, 1, 1), "the batch that failed has used no sequence");
        rig.settle(&request, ErrorCode::NONE, 1);
        assert_eq!(fate(&delivery), Fate::At(1));
    }
}

/// Returns the error that the sender gets.
fn shown(delivery: &Delivery) -> String {
    match outcome(delivery) {
        Poll::Ready(Err(error)) => format!("{error} {error:?}"),
        other => panic!("{other:?}"),
    }
}

/// Makes the core ask for metadata again.
fn doubt(rig: &mut Rig) {
    rig.driver.core.cx.metadata.doubt();
    rig.pass(ms(1_500));
}

#[test]
fn metadata_with_impossible_nodes_leaves_their_partitions_leaderless() {
    type Lie = fn(&mut MetadataResponseBroker);
    let lies: [(&str, Lie); 15] = [
        ("id -1", |node| node.node_id = -1),
        ("the lowest id", |node| node.node_id = i32::MIN),
        ("another id", |node| node.node_id = 7),
        ("port 0", |node| node.port = 0),
        ("port -1", |node| node.port = -1),
        ("port 65536", |node| node.port = 65_536),
        ("port 65536 + 9092", |node| node.port = 65_536 + 9_092),
        ("the highest port", |node| node.port = i32::MAX),
        ("no host", |node| node.host = String::new()),
        ("a host of 256 bytes", |node| node.host = "h".repeat(256)),
        ("a host of 86 letters and 258 bytes", |node| node.host = "서".repeat(86)),
        ("a host with NUL", |node| node.host = "n1\0".to_owned()),
        ("a host with an escape", |node| node.host = "n1\x1b[2J".to_owned()),
        ("a host with a space", |node| node.host = "n1 n2".to_owned()),
        ("a host that is shown backwards", |node| node.host = "\u{202e}1n".to_owned()),
    ];
    for (name, lie) in lies {
        let mut rig = Rig::new(|_| {});
        rig.open_gate(0);
        rig.change_metadata =
            Box::new(move |response| response.brokers.iter_mut().filter(|node| node.node_id == 1).for_each(lie));
        rig.connects.clear();
        doubt(&mut rig);
        let delivery = rig.send_and_linger(0);
        rig.cut(1);
        rig.pass(ms(5_000));
        assert!(rig.requests.is_empty(), "{name}");
        assert!(is_known(&rig), "{name}: {:?}", rig.connects);
        rig.change_metadata = Box::new(|_| {});
        rig.pass(ms(10_000));
        let request = rig.request();
        rig.settle(&request, ErrorCode::NONE, 1);
        assert_eq!((request.node, fate(&delivery)), (1, Fate::At(1)), "{name}");
    }
}

/// Returns whether the core has connected only to the bootstrap server and the three nodes.
fn is_known(rig: &Rig) -> bool {
    rig.connects.iter().all(|(host, _)| ["seed", "n1", "n2", "n3"].contains(&&**host))
}

#[test]
fn metadata_with_longest_host_and_highest_port_is_accepted() {
    let mut rig = Rig::new(|_| {});
    rig.change_metadata = Box::new(|response| {
        (response.brokers[0].host, response.brokers[0].port) = (format!("n{:0>254}", 1), 65_535);
    });
    doubt(&mut rig);
    let delivery = rig.send_and_linger(0);
    rig.pass(ms(1_000));
    let request = rig.request();
    rig.settle(&request, ErrorCode::NONE, 0);
    assert_eq!((request.node, fate(&delivery)), (1, Fate::At(0)));
    assert_eq!(rig.connects.last().unwrap().0.len(), 255);
}

#[test]
fn metadata_without_valid_node_or_above_10000_nodes_is_rejected() {
    type Lie = fn(&mut MetadataResponse);
    let lies: [(Lie, &str); 4] = [
        (|response| response.brokers.clear(), "its response names no nodes"),
        (
            |response| response.brokers.iter_mut().for_each(|node| node.port = 0),
            "its response names no node with a valid address: node 1 advertises n1:0 (advertised.listeners on that broker), which \
             is not a valid address",
        ),
        (|response| response.error_code = ErrorCode(-2), "it refused Metadata: UNKNOWN (-2)"),
        (
            |response| {
                let node = |node_id| MetadataResponseBroker { node_id, host: "n".to_owned(), port: 9092, rack: None };
                response.brokers.extend((10..10_008).map(node));
            },
            "its response names 10001 nodes, more than the limit of 10000",
        ),
    ];
    for (lie, said) in lies {
        let mut rig = Rig::new(|_| {});
        rig.open_gate(0);
        rig.change_metadata = Box::new(lie);
        rig.leaders = vec![(3, 9)];
        let before = rig.metadata_asked;
        doubt(&mut rig);
        let obstacles = rig.driver.core.obstacles().unwrap();
        assert!(obstacles.contains(said), "{said} is not in {obstacles}");
        assert!(rig.metadata_asked - before < 20, "{}", rig.metadata_asked - before);
        // Earlier metadata stays valid. The rig answers metadata before earlier Produce requests, which closes the
        // connection, so the core must retry.
        let delivery = rig.send_and_linger(0);
        for _ in 0..20 {
            for request in std::mem::take(&mut rig.requests) {
                assert_eq!(request.node, 1, "{said}");
                rig.settle(&request, ErrorCode::NONE, 1);
            }
            rig.pass(ms(100));
        }
        assert_eq!(fate(&delivery), Fate::At(1), "{said}");
    }
}

#[test]
fn metadata_with_duplicate_nodes_or_partitions_counts_them_once() {
    let mut rig = Rig::new(|_| {});
    rig.change_metadata = Box::new(|response| {
        let nodes = response.brokers.clone();
        response.brokers.extend(nodes);
        for topic in &mut response.topics {
            let partitions = topic.partitions.clone();
            topic.partitions.extend(partitions);
        }
        let topics = response.topics.clone();
        response.topics.extend(topics);
    });
    doubt(&mut rig);
    assert_eq!(rig.driver.accumulator.topic("t").unwrap().partition_count(), 1);
    let delivery = rig.send_and_linger(0);
    let request = rig.request();
    rig.settle(&request, ErrorCode::NONE, 0);
    assert_eq!(
        (request.node, fate(&delivery), rig.connections.values().filter(|node| **node == 1).count()),
        (1, Fate::At(0), 1)
    );
}

#[test]
fn metadata_with_impossible_partitions_keeps_known_ones() {
    type Lie = fn(&mut MetadataResponseTopic);
    fn partition(partition_index: i32, leader_id: i32, leader_epoch: i32) -> MetadataResponsePartition {
        MetadataResponsePartition { partition_index, leader_id, leader_epoch, ..Default::default() }
    }
    // Each lie, with the resulting number of partitions and the leader of the first one.
    let lies: [(&str, Lie, usize, Option<i32>); 15] = [
        ("none", |topic| topic.partitions.clear(), 2, Some(1)),
        ("number -1 beside them", |topic| topic.partitions.push(partition(-1, 3, 9)), 2, Some(1)),
        ("the lowest number", |topic| topic.partitions.push(partition(i32::MIN, 3, 9)), 2, Some(1)),
        (
            "numbers below 0 alone",
            |topic| topic.partitions.iter_mut().for_each(|one| one.partition_index -= 2),
            2,
            Some(1),
        ),
        // The core believes that there are three partitions, but does not know the third one.
        ("the highest number", |topic| topic.partitions.push(partition(i32::MAX, 3, 9)), 3, Some(1)),
        ("only the second", |topic| drop(topic.partitions.remove(0)), 2, Some(1)),
        ("an older leader", |topic| topic.partitions[0] = partition(0, 3, 4), 2, Some(1)),
        ("a leader of no epoch", |topic| topic.partitions[0] = partition(0, 3, -1), 2, Some(3)),
        ("a leader of an epoch below that", |topic| topic.partitions[0] = partition(0, 3, i32::MIN), 2, Some(3)),
        ("a leader that is no node", |topic| topic.partitions[0] = partition(0, 77, 6), 2, None),
        ("a leader below 0", |topic| topic.partitions[0] = partition(0, -2, 6), 2, None),
        ("the lowest leader", |topic| topic.partitions[0] = partition(0, i32::MIN, 6), 2, None),
        ("no name", |topic| (topic.name, topic.partitions[0].leader_id) = (None, 3), 2, Some(1)),
        ("another name", |topic| (topic.name, topic.partitions[0].leader_id) = (Some("u".to_owned()), 3), 2, Some(1)),
        (
            "a code that nobody knows",
            |topic| (topic.error_code, topic.partitions[0].leader_id) = (ErrorCode(999), 3),
            2,
            Some(1),
        ),
    ];
    for (name, lie, count, leader) in lies {
        let mut rig = Rig::with(|_| {}, |rig| rig.leaders = vec![(1, 5), (2, 5)]);
        rig.open_gate(0);
        rig.change_metadata = Box::new(move |response| response.topics.iter_mut().for_each(lie));
        doubt(&mut rig);
        assert_eq!(rig.driver.accumulator.topic("t").unwrap().partition_count(), count, "{name}");
        let delivery = rig.send_and_linger(0);
        rig.pass(ms(500));
        assert_eq!(rig.requests.front().map(|request| request.node), leader, "{name}");
        rig.change_metadata = Box::new(|_| {});
        rig.leaders = vec![(3, 7), (2, 5)];
        match rig.requests.pop_front() {
            Some(request) => rig.settle(&request, ErrorCode::NONE, 1),
            None => {
                doubt(&mut rig);
                let request = rig.request();
                assert_eq!(request.node, 3, "{name}");
                rig.settle(&request, ErrorCode::NONE, 1);
            }
        }
        assert_eq!(fate(&delivery), Fate::At(1), "{name}");
    }
}

#[test]
fn metadata_above_200000_partitions_counts_topic_as_missing() {
    // 200,001 stands for a million, which would take long to build here.
    for (count, is_believed) in [(200_000, true), (200_001, false)] {
        let mut rig = Rig::new(|_| {});
        rig.open_gate(0);
        rig.leaders = vec![(1, 0); count];
        doubt(&mut rig);
        let known = rig.driver.accumulator.topic("t").unwrap().partition_count();
        assert_eq!(known, if is_believed { count } else { 1 });
        let error = (!is_believed).then_some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        assert_eq!(rig.driver.core.topic_error("t"), error);
        let delivery = rig.send_and_linger(0);
        let request = rig.request();
        rig.settle(&request, ErrorCode::NONE, 1);
        assert_eq!(fate(&delivery), Fate::At(1), "what was known still is");
    }
}

/// A subscriber that records all logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut show = |_: &tracing::field::Field, value: &dyn fmt::Debug| {
            write!(self.0.lock().unwrap(), "{value:?} ").unwrap();
        };
        event.record(&mut show);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// A terminal would execute escape sequences in a log (RUSTSEC-2025-0055), and payload must not appear there.
#[test]
fn metadata_and_responses_are_logged_without_escapes_or_payload() {
    let log = Log::default();
    // With a single subscriber, a callsite that another thread logs first would stay disabled.
    let _other = tracing::Dispatch::new(Log::default());
    tracing::subscriber::with_default(log.clone(), || {
        let mut rig = Rig::new(|_| {});
        rig.open_gate(0);
        let delivery = rig.send_and_linger(0);
        let request = rig.request();
        rig.settle_with(&request, |answer| PartitionProduceResponse {
            error_code: ErrorCode::INVALID_RECORD,
            error_message: Some("\x1b[2J".to_owned()),
            ..answer
        });
        assert_eq!(fate(&delivery), Fate::Failed(ErrorKind::Refused, Written::No));
        rig.change_metadata = Box::new(|response| response.cluster_id = Some("\x1b[2J".to_owned()));
        doubt(&mut rig);
        rig.pass(ms(10_000));
    });
    let log = log.0.lock().unwrap();
    assert!(log.contains("connection lost") && log.contains("\\u{1b}[2J"), "{log}");
    // The record's value is all sevens.
    assert!(!log.contains(char::is_control) && !log.contains("7, 7, 7"), "{log}");
}

#[test]
fn metadata_and_responses_are_shown_without_escapes() {
    let is_harmless = |text: &str| !text.contains(|letter: char| letter.is_control()) && text.contains("\\u{1b}[2J");
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    let delivery = rig.send_and_linger(0);
    let request = rig.request();
    rig.settle_with(&request, |answer| PartitionProduceResponse {
        error_code: ErrorCode::INVALID_RECORD,
        error_message: Some("\x1b[2Jwell\n".to_owned()),
        ..answer
    });
    assert!(is_harmless(&shown(&delivery)), "{:?}", shown(&delivery));
    // The reason to distrust a node also reaches senders with batches for this node.
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    (rig.down, rig.mute) = ([SEED, 2, 3].into(), [1].into());
    [SEED, 2, 3].into_iter().for_each(|node| rig.cut(node));
    doubt(&mut rig);
    let delivery = rig.send_and_linger(0);
    let request = rig.request();
    let response = MetadataResponse { cluster_id: Some("\x1b[2J".to_owned()), ..rig.describe(true) };
    rig.answer(request.connection, request.correlation_id - 1, 13, &response);
    rig.turn();
    let obstacles = rig.driver.core.obstacles().unwrap();
    assert!(obstacles.contains("it belongs to cluster \\u{1b}[2J, not to c"), "{obstacles:?}");
    rig.down.insert(1);
    rig.pass(ms(130_000));
    assert!(is_harmless(&shown(&delivery)), "{:?}", shown(&delivery));
}

#[test]
fn produce_reply_for_other_batches_is_ignored() {
    let other_topics = |response: &mut ProduceResponse| {
        let mut other = response.responses[0].clone();
        (other.name, other.topic_id) = ("u".to_owned(), Uuid([9; 16]));
        other.partition_responses[0].error_code = ErrorCode::MESSAGE_TOO_LARGE;
        response.responses.insert(0, other);
    };
    let other_partitions = |response: &mut ProduceResponse| {
        for index in [-1, i32::MIN, 1, i32::MAX] {
            let other = PartitionProduceResponse { index, error_code: ErrorCode::INVALID_RECORD, ..Default::default() };
            response.responses[0].partition_responses.insert(0, other);
        }
    };
    // The first entry of a partition counts.
    let twice = |response: &mut ProduceResponse| {
        let other =
            PartitionProduceResponse { error_code: ErrorCode::INVALID_RECORD, base_offset: 99, ..Default::default() };
        response.responses[0].partition_responses.push(other);
        response.responses.push(response.responses[0].clone());
    };
    type Lie<'a> = &'a dyn Fn(&mut ProduceResponse);
    let lies: [(&str, Lie<'_>); 3] =
        [("other topics", &other_topics), ("other partitions", &other_partitions), ("twice", &twice)];
    for (name, lie) in lies {
        let mut rig = Rig::new(|_| {});
        let delivery = rig.send_and_linger(0);
        let request = rig.request();
        let answer = PartitionProduceResponse { base_offset: 4, ..Default::default() };
        let topic = TopicProduceResponse {
            topic_id: request.topic_id,
            partition_responses: vec![answer],
            ..Default::default()
        };
        let mut response = ProduceResponse { responses: vec![topic], ..Default::default() };
        lie(&mut response);
        rig.reply(&request, &response);
        assert_eq!(fate(&delivery), Fate::At(4), "{name}");
        assert!(rig.connections.contains_key(&request.connection), "{name}");
        rig.pass(ms(1_000));
        assert!(rig.requests.is_empty(), "{name}");
    }
}

#[test]
fn produce_reply_unreadable_or_incomplete_leaves_batch_open() {
    let lies: [(&str, &[u8]); 6] = [
        // The bytes after the correlation id have no tags.
        ("of nothing", b"\0\x01\0\0\0\0\0"),
        (
            "of a topic without partitions",
            b"\0\x02\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x01\0\0\0\0\0\0",
        ),
        ("of no length", b""),
        ("of 2 GiB of topics", b"\0\xff\xff\xff\xff\x07"),
        ("of what is no answer", b"HTTP/1.1 200 OK"),
        ("with a byte more", b"\0\x01\0\0\0\0\0\0"),
    ];
    for (name, body) in lies {
        let mut rig = Rig::new(|_| {});
        let delivery = rig.send_and_linger(0);
        let request = rig.request();
        let frame = Bytes::from([&request.correlation_id.to_be_bytes()[..], body].concat());
        rig.handle(Input::Received { connection: request.connection, frame });
        rig.turn();
        assert!(!rig.connections.contains_key(&request.connection), "{name}");
        assert_eq!(fate(&delivery), Fate::Open, "{name}");
        check_sent_again(&mut rig, &request, name);
        assert_eq!(fate(&delivery), Fate::At(1), "{name}");
    }
    // A response for another batch does not decide this one either.
    let mut rig = Rig::with(|_| {}, |rig| rig.leaders = vec![(1, 0), (1, 0)]);
    let deliveries = [rig.send(0, 10), rig.send(1, 10)];
    rig.pass(ms(6));
    let request = rig.request();
    assert_eq!(request.batches.len(), 2);
    let (told, passed_over) = request.batches.split_at(1);
    let told = Produce { batches: told.to_vec(), ..request.clone() };
    rig.settle(&told, ErrorCode::NONE, 7);
    assert!(!rig.connections.contains_key(&request.connection));
    assert_eq!(deliveries.each_ref().map(fate), [Fate::At(7), Fate::Open]);
    check_sent_again(&mut rig, &Produce { batches: passed_over.to_vec(), ..request.clone() }, "passed over");
    assert_eq!(deliveries.each_ref().map(fate), [Fate::At(7), Fate::At(1)]);
    // If no retry succeeds, the outcome is unknown.
    let mut rig = Rig::new(|_| {});
    let delivery = rig.send_and_linger(0);
    let request = rig.request();
    rig.reply(&request, &ProduceResponse::default());
    rig.down = ALL.into();
    ALL.into_iter().for_each(|node| rig.cut(node));
    rig.pass(ms(130_000));
    assert!(matches!(fate(&delivery), Fate::Failed(_, Written::Unknown)), "{:?}", fate(&delivery));
}

#[test]
fn produce_reply_with_impossible_offset_counts_as_written() {
    for (base_offset, log_append_time_ms, expected) in [
        (-1, -1, [-1, -1]),
        (-2, i64::MIN, [-1, -1]),
        (i64::MIN, i64::MAX, [-1, -1]),
        (i64::MAX - 1, 0, [i64::MAX - 1, i64::MAX]),
    ] {
        let mut rig = Rig::new(|_| {});
        let deliveries = [rig.send(0, 10), rig.send(0, 10)];
        rig.pass(ms(6));
        let request = rig.request();
        rig.settle_with(&request, |answer| PartitionProduceResponse {
            base_offset,
            log_append_time_ms,
            log_start_offset: i64::MIN,
            ..answer
        });
        assert_eq!(deliveries.each_ref().map(fate), expected.map(Fate::At), "-1 stands for none");
    }
}

#[test]
fn produce_reply_with_unknown_code_fails_as_unknown() {
    for code in [i16::MIN, -2, 999, 9_999, i16::MAX] {
        let mut rig = Rig::new(|_| {});
        let delivery = rig.send_and_linger(0);
        let request = rig.request();
        rig.settle(&request, ErrorCode(code), 7);
        assert_eq!(fate(&delivery), Fate::Failed(ErrorKind::Refused, Written::Unknown), "{code}");
        assert!(shown(&delivery).contains(&code.to_string()), "{code}");
        rig.pass(ms(10_000));
        assert!(rig.requests.is_empty(), "{code}");
    }
}

#[test]
fn produce_reply_with_hint_to_no_node_is_ignored() {
    let node = |node_id, host: &str, port| NodeEndpoint { node_id, host: host.to_owned(), port, rack: None };
    let lies: [(&str, i32, Vec<NodeEndpoint>); 9] = [
        ("to a node without an address", 9, vec![]),
        ("to a node, and the address of another", 9, vec![node(8, "n8", 9092)]),
        ("to port 0", 9, vec![node(9, "n9", 0)]),
        ("to port -1", 9, vec![node(9, "n9", -1)]),
        ("to port 65536", 9, vec![node(9, "n9", 65_536)]),
        ("to no host", 9, vec![node(9, "", 9092)]),
        ("to a host of 256 bytes", 9, vec![node(9, &"n9".repeat(128), 9092)]),
        ("to a host with an escape", 9, vec![node(9, "n9\x1b[2J", 9092)]),
        ("to a node below 0", -3, vec![node(-3, "n9", 9092)]),
    ];
    for (name, leader_id, node_endpoints) in lies {
        let mut rig = Rig::new(|_| {});
        let delivery = rig.send_and_linger(0);
        let request = rig.request();
        let answer = PartitionProduceResponse {
            error_code: ErrorCode::NOT_LEADER_OR_FOLLOWER,
            current_leader: LeaderIdAndEpoch { leader_id, leader_epoch: i32::MAX },
            ..Default::default()
        };
        let topic = TopicProduceResponse {
            topic_id: request.topic_id,
            partition_responses: vec![answer],
            ..Default::default()
        };
        rig.connects.clear();
        rig.reply(&request, &ProduceResponse { responses: vec![topic], node_endpoints, ..Default::default() });
        assert!(rig.requests.is_empty(), "{name}");
        rig.pass(ms(1_000));
        let again = rig.request();
        assert_eq!((again.node, &again.batches), (1, &request.batches), "{name}");
        rig.settle(&again, ErrorCode::NONE, 0);
        assert_eq!(fate(&delivery), Fate::At(0), "{name}");
        assert!(is_known(&rig), "{name}: {:?}", rig.connects);
    }
}

#[test]
fn produce_reply_blaming_missing_records_fails_all() {
    for indexes in [&[2][..], &[-1], &[i32::MIN, i32::MAX], &[7, 8, 9]] {
        let mut rig = Rig::new(|_| {});
        let deliveries = [rig.send(0, 10), rig.send(0, 10)];
        rig.pass(ms(6));
        let request = rig.request();
        let blame = |batch_index: &i32| BatchIndexAndErrorMessage {
            batch_index: *batch_index,
            batch_index_error_message: None,
        };
        rig.settle_with(&request, |answer| PartitionProduceResponse {
            error_code: ErrorCode::INVALID_RECORD,
            record_errors: indexes.iter().map(blame).collect(),
            ..answer
        });
        let failed = || Fate::Failed(ErrorKind::Refused, Written::No);
        assert_eq!(deliveries.each_ref().map(fate), [failed(), failed()], "{indexes:?}");
        assert!(deliveries.iter().all(|delivery| !shown(delivery).contains("another record")), "{indexes:?}");
    }
}

#[test]
fn init_producer_id_below_0_is_retried_with_backoff() {
    type Lie = fn(&mut InitProducerIdResponse);
    let lies: [(&str, Lie); 4] = [
        ("an id of -1", |response| response.producer_id = -1),
        ("the lowest id", |response| response.producer_id = i64::MIN),
        ("an epoch of -1", |response| response.producer_epoch = -1),
        ("the lowest epoch", |response| response.producer_epoch = i16::MIN),
    ];
    for (name, lie) in lies {
        let mut rig = Rig::with(|_| {}, |rig| rig.change_producer_id = lie);
        let delivery = rig.send_and_linger(0);
        rig.pass(ms(10_000));
        assert_eq!((rig.requests.len(), fate(&delivery)), (0, Fate::Open), "{name}");
        // The intervals are about 0.1, 0.2, 0.4, 0.8 and then 1 second.
        assert!((8..=20).contains(&rig.producer_ids_asked), "{name}: {}", rig.producer_ids_asked);
        rig.change_producer_id = |response| response.producer_epoch = 3;
        rig.pass(ms(2_000));
        let request = rig.request();
        assert_eq!((request.only(), request.batches[0].id), ((3, 0, 1), rig.next_producer_id), "{name}");
        rig.settle(&request, ErrorCode::NONE, 0);
        assert_eq!(fate(&delivery), Fate::At(0), "{name}");
    }
    // A batch that never gets a producer id fails as not written.
    let mut rig = Rig::with(|_| {}, |rig| rig.change_producer_id = |response| response.producer_id = -1);
    let delivery = rig.send_and_linger(0);
    rig.pass(ms(130_000));
    assert!(matches!(fate(&delivery), Fate::Failed(_, Written::No)), "{:?}", fate(&delivery));
}
