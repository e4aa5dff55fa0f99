//! Tests of Produce: written records, responses, and the order of refusals.

use bytes::Bytes;
use kurier_broker::{Cluster, ClusterSettings, Reply, TopicSettings};
use kurier_compression::Compression;
use kurier_protocol::messages::produce::{NodeEndpoint, TopicProduceData};
use kurier_protocol::messages::{MetadataRequest, ProduceRequest};
use kurier_protocol::record_batch::{
    Batches, NewRecord, ProducerEpoch, ProducerId, RecordBatchBuilder, Sequence, Stamp,
};
use kurier_protocol::{CompressionType, ErrorCode, Uuid};

use crate::wire::{
    ALL, NOW_MS, altered, ask, batch, cluster, cluster_with, frame, outcome, produce, produce_request, produce_with,
    reply, stamp, stamped, values,
};

const HOUR_MS: i64 = 3_600_000;

#[test]
fn every_version_writes() {
    let mut cluster = cluster_with(1, TopicSettings::default());
    let id = topic_id(&mut cluster);
    for (version, offset) in (3..=13).zip(0..) {
        let mut request = produce_request(ALL, "t", &[(0, batch(&["v"]))]);
        if version >= 13 {
            request.topic_data[0].name.clear();
            request.topic_data[0].topic_id = id;
        }
        let response = ask(&mut cluster, 1, version, &request);
        let topic = &response.responses[0];
        assert_eq!((topic.name.as_str(), topic.topic_id), if version < 13 { ("t", Uuid::ZERO) } else { ("", id) });
        let answer = &topic.partition_responses[0];
        assert_eq!(outcome(answer), (ErrorCode::NONE, offset), "version {version}");
        assert_eq!(answer.log_append_time_ms, -1);
        assert_eq!(answer.log_start_offset, if version >= 5 { 0 } else { -1 });
    }
    assert_eq!(values(&cluster, "t", 0), ["v"; 11]);
}

fn topic_id(cluster: &mut Cluster) -> Uuid {
    let metadata = ask(cluster, 1, 13, &MetadataRequest { topics: None, ..Default::default() });
    metadata.topics[0].topic_id
}

#[test]
fn acks_0_has_no_response_and_errors_close() {
    let mut cluster = cluster_with(1, TopicSettings::default());
    let request = |partition| produce_request(0, "t", &[(partition, batch(&["v"]))]);
    assert_eq!(reply(&mut cluster, 1, 9, &request(0)), Reply::Nothing);
    assert_eq!(reply(&mut cluster, 1, 9, &request(1)), Reply::Close);
    let both = produce_request(0, "t", &[(0, batch(&["w"])), (1, batch(&["x"]))]);
    assert_eq!(reply(&mut cluster, 1, 9, &both), Reply::Close);
    assert_eq!(values(&cluster, "t", 0), ["v", "w"]);
}

#[test]
fn only_acks_all_needs_replicas() {
    for (min_insync_replicas, is_enough) in [(1, true), (2, true), (3, false)] {
        let mut cluster = cluster_with(3, TopicSettings { min_insync_replicas, ..Default::default() });
        cluster.stop_node(3);
        let answer = produce(&mut cluster, &batch(&["all"]));
        let expected = if is_enough { (ErrorCode::NONE, 0) } else { (ErrorCode::NOT_ENOUGH_REPLICAS, -1) };
        assert_eq!(outcome(&answer), expected, "min.insync.replicas={min_insync_replicas}");
        assert_eq!(values(&cluster, "t", 0).len(), usize::from(is_enough));

        let answer = produce_with(&mut cluster, 1, 9, &produce_request(1, "t", &[(0, batch(&["one"]))]));
        assert_eq!(answer.error_code, ErrorCode::NONE);
        let request = produce_request(0, "t", &[(0, batch(&["none"]))]);
        assert_eq!(reply(&mut cluster, 1, 9, &request), Reply::Nothing);

        cluster.start_node(3);
        assert_eq!(produce(&mut cluster, &batch(&["all again"])).error_code, ErrorCode::NONE);
        assert_eq!(values(&cluster, "t", 0).len(), 3 + usize::from(is_enough));
    }
}

#[test]
fn min_insync_replicas_is_capped_by_replicas() {
    let code = |nodes, replication_factor, min_insync_replicas| {
        let settings = TopicSettings { replication_factor, min_insync_replicas, ..Default::default() };
        produce(&mut cluster_with(nodes, settings), &batch(&["v"])).error_code
    };
    assert_eq!(code(3, 1, 2), ErrorCode::NONE);
    assert_eq!(code(3, 2, 3), ErrorCode::NONE);
    // Replicas without a node count as missing.
    assert_eq!(code(1, 3, 1), ErrorCode::NONE);
    assert_eq!(code(1, 3, 2), ErrorCode::NOT_ENOUGH_REPLICAS);
    assert_eq!(code(2, 3, 3), ErrorCode::NOT_ENOUGH_REPLICAS);
}

#[test]
fn max_message_bytes_limits_batches() {
    let batch = batch(&["v"]);
    for (max_message_bytes, expected) in
        [(batch.len(), (ErrorCode::NONE, 0)), (batch.len() - 1, (ErrorCode::MESSAGE_TOO_LARGE, -1))]
    {
        let mut cluster = cluster_with(1, TopicSettings { max_message_bytes, ..Default::default() });
        assert_eq!(outcome(&produce(&mut cluster, &batch)), expected);
        assert_eq!(values(&cluster, "t", 0).len(), usize::from(expected.1 == 0));
    }
}

#[test]
fn unknown_topics_and_partitions_refuse_batches() {
    let mut cluster = cluster_with(1, TopicSettings::default());
    for (topic, partition) in [("t", 1), ("t", -1), ("t", i32::MAX), ("other", 0), ("", 0)] {
        let request = produce_request(ALL, topic, &[(partition, batch(&["v"]))]);
        let answer = produce_with(&mut cluster, 1, 9, &request);
        assert_eq!(outcome(&answer), (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, -1), "{topic}-{partition}");
        assert_eq!(answer.index, partition);
    }
    let mut by_id = produce_request(ALL, "", &[(0, batch(&["v"]))]);
    by_id.topic_data[0].topic_id = Uuid([7; 16]);
    assert_eq!(outcome(&produce_with(&mut cluster, 1, 13, &by_id)), (ErrorCode::UNKNOWN_TOPIC_ID, -1));
    assert_eq!(values(&cluster, "t", 0).len(), 0);
}

#[test]
fn an_old_id_does_not_match_a_recreated_topic() {
    let mut cluster = cluster_with(1, TopicSettings::default());
    let mut request = produce_request(ALL, "", &[(0, batch(&["v"]))]);
    request.topic_data[0].topic_id = topic_id(&mut cluster);
    assert_eq!(outcome(&produce_with(&mut cluster, 1, 13, &request)), (ErrorCode::NONE, 0));
    cluster.delete_topic("t").unwrap();
    cluster.create_topic("t", 1, TopicSettings::default()).unwrap();
    assert_eq!(outcome(&produce_with(&mut cluster, 1, 13, &request)), (ErrorCode::UNKNOWN_TOPIC_ID, -1));
    assert_ne!(topic_id(&mut cluster), request.topic_data[0].topic_id);
}

#[test]
fn followers_name_the_leader() {
    let mut cluster = cluster(3);
    cluster.create_topic("t", 3, TopicSettings::default()).unwrap();
    for (node, port) in (1..).zip(9091..=9093) {
        cluster.set_port(node, port);
    }
    cluster.move_leader("t", 0, 2).unwrap();
    let batches: Vec<_> = (0..3).map(|partition| (partition, batch(&["v"]))).collect();

    for version in 3..=12 {
        let response = ask(&mut cluster, 3, version, &produce_request(1, "t", &batches));
        let shown: Vec<_> = response.responses[0]
            .partition_responses
            .iter()
            .map(|answer| (answer.error_code, answer.current_leader.leader_id, answer.current_leader.leader_epoch))
            .collect();
        let elsewhere = ErrorCode::NOT_LEADER_OR_FOLLOWER;
        if version < 10 {
            assert_eq!(shown, [(elsewhere, -1, -1), (elsewhere, -1, -1), (ErrorCode::NONE, -1, -1)]);
            assert_eq!(response.node_endpoints, []);
        } else {
            assert_eq!(shown, [(elsewhere, 2, 1), (elsewhere, 2, 0), (ErrorCode::NONE, -1, -1)]);
            let leader = NodeEndpoint { node_id: 2, host: "127.0.0.1".to_owned(), port: 9092, rack: None };
            assert_eq!(response.node_endpoints, [leader], "once, though it leads two");
        }
    }
    assert_eq!(values(&cluster, "t", 0).len() + values(&cluster, "t", 1).len(), 0);

    // Without a leader there is no hint.
    cluster.create_topic("alone", 1, TopicSettings { replication_factor: 1, ..Default::default() }).unwrap();
    cluster.stop_node(1);
    let response = ask(&mut cluster, 2, 10, &produce_request(1, "alone", &[(0, batch(&["v"]))]));
    let answer = &response.responses[0].partition_responses[0];
    assert_eq!((answer.error_code, answer.current_leader.leader_id), (ErrorCode::NOT_LEADER_OR_FOLLOWER, -1));
    assert_eq!(response.node_endpoints, []);
}

#[test]
fn topics_and_partitions_of_one_request_are_answered_in_its_order() {
    let mut cluster = cluster_with(1, TopicSettings::default());
    cluster.create_topic("u", 2, TopicSettings::default()).unwrap();
    let mut request =
        produce_request(ALL, "u", &[(1, batch(&["u1"])), (0, batch(&["u0", "u00"])), (9, batch(&["no"]))]);
    request.topic_data.extend(produce_request(ALL, "t", &[(0, batch(&["t0"]))]).topic_data);
    let response = ask(&mut cluster, 1, 9, &request);
    let shown: Vec<_> = response
        .responses
        .iter()
        .flat_map(|topic| {
            topic.partition_responses.iter().map(|answer| (&*topic.name, answer.index, answer.error_code.0))
        })
        .collect();
    assert_eq!(shown, [("u", 1, 0), ("u", 0, 0), ("u", 9, 3), ("t", 0, 0)]);
    assert_eq!(values(&cluster, "u", 0), ["u0", "u00"]);
}

/// The log's batch differs from the sent one only in base offset and leader epoch.
#[test]
fn the_log_keeps_the_sent_batch() {
    let mut cluster = cluster_with(2, TopicSettings::default());
    let sent = batch(&["first", "second"]);
    produce(&mut cluster, &sent);
    cluster.move_leader("t", 0, 2).unwrap();
    cluster.move_leader("t", 0, 1).unwrap();
    produce(&mut cluster, &sent);
    let log = cluster.log("t", 0).unwrap();
    assert_eq!(log.len(), 2);
    for (kept, (base_offset, leader_epoch)) in log.iter().zip([(0i64, 0i32), (2, 2)]) {
        assert_eq!(kept[..8], base_offset.to_be_bytes());
        assert_eq!(kept[8..12], sent[8..12]);
        assert_eq!(kept[12..16], leader_epoch.to_be_bytes());
        assert_eq!(kept[16..], sent[16..]);
    }
}

#[test]
fn records_get_the_append_time() {
    let mut cluster = cluster_with(1, TopicSettings { is_log_append_time: true, ..Default::default() });
    // A producer's clock may be any time ahead.
    let sent = stamped(stamp(0), &[(NOW_MS - 1, "a"), (NOW_MS + 99 * HOUR_MS, "b")]);
    for _ in 0..2 {
        let answer = produce(&mut cluster, &sent);
        assert_eq!((outcome(&answer), answer.log_append_time_ms), ((ErrorCode::NONE, 0), NOW_MS));
    }
    let log: Bytes = cluster.log("t", 0).unwrap().concat().into();
    let batch = Batches::new(&log).next().unwrap().unwrap();
    assert!(batch.header().attributes.is_log_append_time());
    let times: Vec<_> = batch.records().unwrap().map(|record| record.unwrap().timestamp).collect();
    assert_eq!(times, [NOW_MS, NOW_MS]);
}

#[test]
fn records_from_the_future_are_refused_and_named() {
    let late = stamped(Stamp::NONE, &[(NOW_MS, "a"), (NOW_MS + HOUR_MS, "b"), (NOW_MS + HOUR_MS + 1, "c"), (-1, "d")]);
    for version in [3, 7, 8, 12] {
        let mut cluster = cluster_with(1, TopicSettings::default());
        let answer = produce_with(&mut cluster, 1, version, &produce_request(ALL, "t", &[(0, late.clone())]));
        assert_eq!(outcome(&answer), (ErrorCode::INVALID_TIMESTAMP, -1));
        let blamed: Vec<_> = answer.record_errors.iter().map(|error| error.batch_index).collect();
        assert_eq!(blamed, if version < 8 { vec![] } else { vec![2] });
        assert_eq!(answer.error_message.is_some(), version >= 8);
        assert_eq!(values(&cluster, "t", 0).len(), 0);
    }
    let settings = TopicSettings { timestamp_after_max_ms: HOUR_MS + 1, ..Default::default() };
    assert_eq!(produce(&mut cluster_with(1, settings), &late).error_code, ErrorCode::NONE);
    let settings = TopicSettings { timestamp_after_max_ms: i64::MAX, ..Default::default() };
    let latest = stamped(Stamp::NONE, &[(i64::MAX, "a")]);
    assert_eq!(produce(&mut cluster_with(1, settings), &latest).error_code, ErrorCode::NONE);
}

#[test]
fn no_more_than_a_thousand_records_are_named() {
    let records = vec![(NOW_MS + 2 * HOUR_MS, "v"); 5000];
    let answer = produce(&mut cluster_with(1, TopicSettings::default()), &stamped(Stamp::NONE, &records));
    assert_eq!((answer.error_code, answer.record_errors.len()), (ErrorCode::INVALID_TIMESTAMP, 1000));
}

#[test]
fn a_wrong_highest_timestamp_is_corrected() {
    const MAX_TIMESTAMP: usize = 35;
    let sent = stamped(Stamp::NONE, &[(NOW_MS - 9, "a"), (NOW_MS - 2, "b"), (NOW_MS - 7, "c")]);
    let mut cluster = cluster_with(1, TopicSettings::default());
    for wrong in [0, i64::MAX] {
        produce(&mut cluster, &altered(&sent, MAX_TIMESTAMP, &wrong.to_be_bytes()));
    }
    for kept in cluster.log("t", 0).unwrap() {
        assert_eq!(kept[16..], sent[16..], "checksum and all");
    }
}

#[test]
fn a_producer_cannot_claim_append_time() {
    const ATTRIBUTES: usize = 21;
    let sent = stamped(Stamp::NONE, &[(NOW_MS, "a"), (NOW_MS, "b")]);
    let claims = altered(&sent, ATTRIBUTES, &[0, 0x08]);
    let mut cluster = cluster_with(1, TopicSettings::default());
    assert_eq!(produce(&mut cluster, &claims).error_code, ErrorCode::NONE);
    assert_eq!(cluster.log("t", 0).unwrap()[0][16..], sent[16..]);

    let mut cluster = cluster_with(1, TopicSettings { is_log_append_time: true, ..Default::default() });
    let answer = produce(&mut cluster, &claims);
    assert_eq!((answer.error_code, answer.record_errors.len()), (ErrorCode::INVALID_TIMESTAMP, 2));
}

#[test]
fn batches_of_every_codec_are_checked() {
    for kind in CompressionType::ALL {
        let mut cluster = cluster_with(1, TopicSettings::default());
        let Ok(mut codec) = Compression::new(kind).codec() else {
            // Without the codec, batches are accepted unread.
            const ATTRIBUTES: usize = 21;
            let unread = altered(&batch(&["v"]), ATTRIBUTES, &[0, kind.id()]);
            assert_eq!(produce(&mut cluster, &unread).error_code, ErrorCode::NONE, "{kind}");
            continue;
        };
        let mut builder = RecordBatchBuilder::new();
        for _ in 0..50 {
            let record = NewRecord { timestamp: NOW_MS, key: Some(b"key"), value: Some(&[b'v'; 100]), headers: &[] };
            builder.append(&record).unwrap();
        }
        let sealed = codec.compress_batch(builder.seal().unwrap()).unwrap();
        let sent = sealed.stamp(&Stamp::NONE).unwrap().to_bytes();
        assert_eq!(outcome(&produce(&mut cluster, &sent)), (ErrorCode::NONE, 0), "{kind}");
        assert_eq!(cluster.log("t", 0).unwrap()[0][16..], sent[16..]);

        // The checksum is right, but the header contradicts the body.
        const LAST_OFFSET_DELTA: usize = 23;
        const COUNT: usize = 57;
        for count in [49i32, 51] {
            let lies =
                altered(&altered(&sent, LAST_OFFSET_DELTA, &(count - 1).to_be_bytes()), COUNT, &count.to_be_bytes());
            assert_eq!(
                outcome(&produce(&mut cluster, &lies)),
                (ErrorCode::INVALID_RECORD, -1),
                "{kind}, {count} records"
            );
        }
        if kind != CompressionType::None {
            let damaged = altered(&sent, 61, &[0xff; 12]);
            assert_eq!(outcome(&produce(&mut cluster, &damaged)), (ErrorCode::UNKNOWN_SERVER_ERROR, -1), "{kind}");
        }
        assert_eq!(cluster.end_offset("t", 0), Some(50));
    }
}

/// The [conformance suite](crate::conformance) covers Kafka's own refusals.
#[test]
fn strict_nodes_refuse_more_than_kafka() {
    let good = batch(&["v", "w"]);
    for (what, sent) in [
        ("bytes after the batch", Bytes::from([&good[..], b"more"].concat())),
        ("an offset that does not count on", altered(&good, 64, &[2])),
        ("a key shorter than null", altered(&good, 65, &[3])),
        ("a producer id without an epoch", epochless()),
    ] {
        let mut cluster = cluster_with(1, TopicSettings::default());
        assert_eq!(outcome(&produce(&mut cluster, &sent)), (ErrorCode::INVALID_RECORD, -1), "{what}");
        assert_eq!(values(&cluster, "t", 0).len(), 0);
        assert_eq!(outcome(&produce(&mut cluster, &good)), (ErrorCode::NONE, 0), "after {what}");

        let mut cluster = Cluster::new(ClusterSettings { is_strict: false, ..Default::default() });
        cluster.create_topic("t", 1, TopicSettings::default()).unwrap();
        assert_eq!(outcome(&produce(&mut cluster, &sent)), (ErrorCode::NONE, 0), "{what}");
    }
}

#[test]
fn null_is_no_batch() {
    let mut cluster = cluster_with(1, TopicSettings::default());
    let mut request = produce_request(ALL, "t", &[(0, batch(&["v"]))]);
    request.topic_data[0].partition_data[0].records = None;
    assert_eq!(outcome(&produce_with(&mut cluster, 1, 9, &request)), (ErrorCode::INVALID_RECORD, -1));
}

fn epochless() -> Bytes {
    stamped(Stamp::idempotent(ProducerId(9), ProducerEpoch(-1), Sequence(0)), &[(NOW_MS, "v"), (NOW_MS, "w")])
}

/// Nodes ignore the leader epoch, and attribute bits without a meaning.
#[test]
fn unused_fields_are_ignored() {
    let good = batch(&["v"]);
    for (what, at, bytes) in [
        ("leader epoch", 12, &[0, 0, 0, 9][..]),
        ("attributes", 21, &[0x7f, 0xc0]),
        ("a record's attributes", 62, &[9]),
    ] {
        let mut cluster = cluster_with(1, TopicSettings::default());
        assert_eq!(produce(&mut cluster, &altered(&good, at, bytes)).error_code, ErrorCode::NONE, "{what}");
    }
}

#[test]
fn every_flipped_bit_is_found() {
    let good = stamped(stamp(0), &[(NOW_MS, "some text"), (NOW_MS + 1, "and more")]);
    let mut cluster = cluster_with(1, TopicSettings::default());
    let mut flips = 0;
    // The base offset has a check of its own, the leader epoch none.
    for at in (8..12).chain(16..good.len()) {
        for bit in 0..8 {
            let mut bytes = good.to_vec();
            bytes[at] ^= 1 << bit;
            let answer = produce(&mut cluster, &bytes.into());
            let is_found = match answer.error_code {
                ErrorCode::CORRUPT_MESSAGE | ErrorCode::INVALID_RECORD => true,
                // Kafka too checks for transactions first.
                ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED => (at, bit) == (22, 4),
                _ => false,
            };
            assert!(is_found, "bit {bit} of byte {at}: {}", answer.error_code);
            flips += 1;
        }
    }
    println!("{flips} flips");
    assert_eq!(values(&cluster, "t", 0).len(), 0);
    assert_eq!(outcome(&produce(&mut cluster, &good)), (ErrorCode::NONE, 0));
}

#[test]
fn zstd_needs_version_7() {
    const ATTRIBUTES: usize = 21;
    let zstd = altered(&batch(&["v"]), ATTRIBUTES, &[0, 4]);
    for version in 3..=6 {
        let mut cluster = cluster_with(1, TopicSettings::default());
        let answer = produce_with(&mut cluster, 1, version, &produce_request(ALL, "t", &[(0, zstd.clone())]));
        assert_eq!(outcome(&answer), (ErrorCode::UNSUPPORTED_COMPRESSION_TYPE, -1));
    }
}

#[test]
fn transactions_are_refused() {
    let mut cluster = cluster_with(1, TopicSettings::default());
    cluster.create_topic("u", 1, TopicSettings::default()).unwrap();
    let within = stamped(stamp(0).in_transaction(), &[(NOW_MS, "v")]);
    let mut request = produce_request(ALL, "t", &[(0, batch(&["v"]))]);
    request.topic_data.extend(produce_request(ALL, "u", &[(0, within)]).topic_data);
    for transactional_id in [None, Some("me".to_owned())] {
        request.transactional_id = transactional_id;
        let response = ask(&mut cluster, 1, 9, &request);
        let codes =
            response.responses.iter().flat_map(|topic| &topic.partition_responses).map(|answer| answer.error_code);
        assert_eq!(codes.collect::<Vec<_>>(), [ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED; 2]);
    }
    assert_eq!(values(&cluster, "t", 0).len(), 0);

    // A transactional id without a transactional batch makes no transaction.
    let mut plain = produce_request(ALL, "t", &[(0, batch(&["v"]))]);
    plain.transactional_id = Some("me".to_owned());
    assert_eq!(outcome(&produce_with(&mut cluster, 1, 9, &plain)), (ErrorCode::NONE, 0));
}

/// Each request has one error more than the next; the code is that of the first error.
#[test]
fn refusals_come_in_kafkas_order() {
    let min_insync_replicas = 2;
    let mut cluster =
        cluster_with(2, TopicSettings { min_insync_replicas, max_message_bytes: 80, ..Default::default() });
    cluster.stop_node(2);
    produce_with(&mut cluster, 1, 9, &produce_request(1, "t", &[(0, stamped(stamp(0), &[(NOW_MS, "v")]))]));
    cluster
        .create_topic("u", 2, TopicSettings { min_insync_replicas, max_message_bytes: 80, ..Default::default() })
        .unwrap();
    cluster.start_node(2);
    cluster.move_leader("u", 0, 2).unwrap();

    const TOO_LONG: &str = "a value that makes the batch longer than the topic allows";
    let gap = stamped(stamp(5), &[(NOW_MS, "v")]);
    let late = stamped(stamp(5), &[(NOW_MS + 2 * HOUR_MS, "v")]);
    let corrupt = Bytes::from([&late[..17], &[late[17] ^ 1], &late[18..]].concat());
    let long = stamped(stamp(5), &[(NOW_MS + 2 * HOUR_MS, TOO_LONG)]);
    let long = Bytes::from([&long[..17], &[long[17] ^ 1], &long[18..]].concat());
    let displaced = Bytes::from([&[9; 8], &long[8..]].concat());
    let unmagic = Bytes::from([&displaced[..16], &[1], &displaced[17..]].concat());
    let transactional = altered(&displaced, 21, &[0, 0x10]);

    for (topic, acks, node_2_is_up, sent, code) in [
        ("absent", 5, false, &transactional, ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        ("absent", 5, false, &unmagic, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        ("u", 5, true, &unmagic, ErrorCode::INVALID_RECORD),
        ("u", 5, true, &displaced, ErrorCode::INVALID_REQUIRED_ACKS),
        ("u", ALL, true, &displaced, ErrorCode::NOT_LEADER_OR_FOLLOWER),
        ("t", ALL, false, &displaced, ErrorCode::NOT_ENOUGH_REPLICAS),
        ("t", ALL, true, &displaced, ErrorCode::INVALID_RECORD),
        ("t", ALL, true, &long, ErrorCode::MESSAGE_TOO_LARGE),
        ("t", ALL, true, &corrupt, ErrorCode::CORRUPT_MESSAGE),
        ("t", ALL, true, &late, ErrorCode::INVALID_TIMESTAMP),
        ("t", ALL, true, &gap, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER),
    ] {
        if node_2_is_up {
            cluster.start_node(2)
        } else {
            cluster.stop_node(2)
        }
        if node_2_is_up && topic == "u" {
            cluster.move_leader("u", 0, 2).unwrap();
        }
        let answer = produce_with(&mut cluster, 1, 9, &produce_request(acks, topic, &[(0, sent.clone())]));
        assert_eq!(outcome(&answer), (code, -1));
    }
    // Even for a duplicate, a leader without enough replicas reports that they are missing.
    cluster.stop_node(2);
    let duplicate = stamped(stamp(0), &[(NOW_MS, "v")]);
    assert_eq!(produce(&mut cluster, &duplicate).error_code, ErrorCode::NOT_ENOUGH_REPLICAS);
}

#[test]
fn truncated_requests_close_and_write_nothing() {
    let request = ProduceRequest {
        topic_data: vec![TopicProduceData { topic_id: Uuid([7; 16]), ..Default::default() }],
        ..produce_request(ALL, "t", &[(0, batch(&["v"]))])
    };
    for version in [3, 8, 9, 12, 13] {
        let whole = frame(version, &request);
        for len in 0..whole.len() {
            let mut cluster = cluster_with(1, TopicSettings::default());
            assert_eq!(cluster.handle(1, &whole.slice(..len), NOW_MS, false), Reply::Close, "v{version} cut at {len}");
            assert_eq!(cluster.end_offset("t", 0), Some(0));
        }
        let more = Bytes::from([&whole[..], b"?"].concat());
        assert_eq!(cluster_with(1, TopicSettings::default()).handle(1, &more, NOW_MS, false), Reply::Close);
    }
}
