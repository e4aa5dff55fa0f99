//! Hostile input: whatever bytes arrive, a node answers or closes, without a panic and with bounded memory.

use std::sync::LazyLock;

use bytes::Bytes;
use kurier_broker::{Cluster, Reply, TopicSettings};
use kurier_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use kurier_protocol::messages::fetch::{FetchPartition, FetchTopic};
use kurier_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use kurier_protocol::messages::metadata::MetadataRequestTopic;
use kurier_protocol::messages::{
    ApiVersionsRequest, CreateTopicsRequest, FetchRequest, FindCoordinatorRequest, InitProducerIdRequest,
    ListOffsetsRequest, MetadataRequest, ProduceRequest,
};
use kurier_protocol::{Message, Request};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::FileFailurePersistence;

use crate::wire::{ALL, NOW_MS, batch, cluster_with, frame, produce_request, stamp, stamped};

/// One request of each API in each version.
static REQUESTS: LazyLock<Vec<(&str, i16, Bytes)>> = LazyLock::new(|| {
    fn versions<R: Request>(request: R, requests: &mut Vec<(&'static str, i16, Bytes)>) {
        for version in R::VERSIONS {
            if request.written_len(version).is_ok() {
                requests.push((R::SCHEMA.name, version, frame(version, &request)));
            }
        }
    }
    let mut requests = Vec::new();
    let names = ("tests".to_owned(), "1".to_owned());
    let (client_software_name, client_software_version) = names;
    versions(ApiVersionsRequest { client_software_name, client_software_version, ..Default::default() }, &mut requests);
    let topic = MetadataRequestTopic { name: Some("t".to_owned()), ..Default::default() };
    versions(MetadataRequest { topics: Some(vec![topic]), ..Default::default() }, &mut requests);
    versions(InitProducerIdRequest { transactional_id: None, ..Default::default() }, &mut requests);
    versions(FindCoordinatorRequest { key: "group".to_owned(), ..Default::default() }, &mut requests);
    versions(
        FindCoordinatorRequest { coordinator_keys: vec!["group".to_owned()], ..Default::default() },
        &mut requests,
    );
    let partitions = vec![FetchPartition { partition_max_bytes: 1000, ..Default::default() }];
    let topics = vec![FetchTopic { topic: "t".to_owned(), partitions }];
    versions(FetchRequest { max_bytes: 1000, topics, ..Default::default() }, &mut requests);
    let partitions = vec![ListOffsetsPartition { timestamp: NOW_MS, ..Default::default() }];
    let topics = vec![ListOffsetsTopic { name: "t".to_owned(), partitions }];
    versions(ListOffsetsRequest { replica_id: -1, topics, ..Default::default() }, &mut requests);
    let configs = vec![CreatableTopicConfig { name: "min.insync.replicas".to_owned(), value: Some("1".to_owned()) }];
    let topic = CreatableTopic {
        name: "new".to_owned(),
        num_partitions: 1,
        replication_factor: 1,
        configs,
        ..Default::default()
    };
    versions(CreateTopicsRequest { topics: vec![topic], ..Default::default() }, &mut requests);
    versions(
        produce_request(ALL, "t", &[(0, stamped(stamp(0), &[(NOW_MS, "some"), (NOW_MS, "values")]))]),
        &mut requests,
    );
    requests
});

fn written() -> Cluster {
    let mut cluster = cluster_with(1, TopicSettings::default());
    let request = produce_request(ALL, "t", &[(0, batch(&["a", "b"]))]);
    assert!(matches!(cluster.handle(1, &frame(9, &request), NOW_MS, false), Reply::Send { .. }));
    cluster
}

#[test]
fn complete_requests_are_answered_and_truncated_ones_close() {
    for (name, version, whole) in REQUESTS.iter() {
        if (*name, *version) == ("ApiVersionsRequest", 5) {
            continue; // not supported, and answered whatever the body
        }
        let mut cluster = written();
        let answered = matches!(cluster.handle(1, whole, NOW_MS, true), Reply::Send { .. });
        assert!(answered, "{name} v{version}");
        for len in 0..whole.len() {
            assert_eq!(
                cluster.handle(1, &whole.slice(..len), NOW_MS, true),
                Reply::Close,
                "{name} v{version} cut at {len}"
            );
        }
        let more = Bytes::from([&whole[..], b"\0"].concat());
        assert_eq!(cluster.handle(1, &more, NOW_MS, true), Reply::Close, "{name} v{version} with a byte more");
    }
    println!("{} requests", REQUESTS.len());
}

/// Replaces every byte of every request once with each value that tends to break readers.
#[test]
fn any_wrong_byte_is_survived() {
    let mut count = 0;
    for (_, _, whole) in REQUESTS.iter() {
        for at in 0..whole.len() {
            for byte in [0, 0x7f, 0x80, 0xff] {
                let mut bytes = whole.to_vec();
                bytes[at] = byte;
                let _ = written().handle(1, &bytes.into(), NOW_MS, true);
                count += 1;
            }
        }
    }
    println!("{count} requests with a wrong byte");
}

proptest! {
    #![proptest_config(ProptestConfig::with_failure_persistence(FileFailurePersistence::WithSource("regressions")))]

    #[test]
    fn any_body_of_any_api_is_survived(key in -1i16..30, version in -1i16..20, body in vec(any::<u8>(), 0..300)) {
        let header = [&key.to_be_bytes()[..], &version.to_be_bytes(), &[0, 0, 0, 7, 0xff, 0xff]].concat();
        let _ = written().handle(1, &[&header, &body[..]].concat().into(), NOW_MS, true);
    }

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..100)) {
        let _ = written().handle(1, &bytes.into(), NOW_MS, true);
    }

    #[test]
    fn requests_may_be_wrong_in_many_places(
        which in any::<Index>(), wrong in vec((any::<Index>(), any::<u8>()), 1..10), now_ms in any::<i64>(),
    ) {
        let mut bytes = REQUESTS[which.index(REQUESTS.len())].2.to_vec();
        for (at, byte) in wrong {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let mut cluster = written();
        // The second pass may read the records that the first pass wrote.
        for _ in 0..2 {
            let _ = cluster.handle(1, &bytes.clone().into(), now_ms, true);
        }
    }

    /// A batch with a right checksum may be wrong everywhere else.
    #[test]
    fn batches_may_be_wrong_with_the_right_checksum(
        wrong in vec((any::<Index>(), any::<u8>()), 1..6), codec in 0u8..8, now_ms in any::<i64>(),
    ) {
        let mut batch = stamped(stamp(0), &[(NOW_MS, "some"), (NOW_MS + 1, "values")]).to_vec();
        batch[22] = codec;
        for (at, byte) in wrong {
            let at = 17 + at.index(batch.len() - 17);
            batch[at] = byte;
        }
        let crc = crc32c::crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        let mut cluster = written();
        let request = produce_request(ALL, "t", &[(0, batch.into())]);
        let _ = cluster.handle(1, &frame(9, &request), now_ms, true);
        for timestamp in [-3, 0, NOW_MS, i64::MAX] {
            let partitions = vec![ListOffsetsPartition { timestamp, ..Default::default() }];
            let topics = vec![ListOffsetsTopic { name: "t".to_owned(), partitions }];
            let _ = cluster.handle(1, &frame(8, &ListOffsetsRequest { topics, ..Default::default() }), now_ms, true);
        }
    }
}

/// Readers that reserve memory for an unchecked count fail here: the five bytes are those of kafka-protocol-rs #152.
/// KAFKA-14063 (CVE-2022-34917) let anybody crash a broker like this.
#[test]
fn array_counts_beyond_the_request_close() {
    for (key, version, body, is_answered) in [
        (MetadataRequest::KEY, 0i16, &b"\x03\x3c\x0c\x00\xb6"[..], false),
        (MetadataRequest::KEY, 0, b"\0\0\0\0", true),
        (MetadataRequest::KEY, 1, b"\x7f\xff\xff\xff", false),
        (MetadataRequest::KEY, 1, b"\xff\xff\xff\xfe\0", false),
        (MetadataRequest::KEY, 12, b"\xff\xff\xff\xff\x0f\x01\0\0", false),
        (MetadataRequest::KEY, 12, b"\x01\x01\0\0", true),
        (FindCoordinatorRequest::KEY, 4, b"\0\xff\xff\xff\xff\x0f\0", false),
        (FindCoordinatorRequest::KEY, 4, b"\0\x02\x02g\0", true),
        (ProduceRequest::KEY, 9, b"\0\0\x01\0\0\0\0\xff\xff\xff\xff\x07\0", false),
        (ProduceRequest::KEY, 9, b"\0\0\x01\0\0\0\0\x01\0", true),
        (ProduceRequest::KEY, 3, b"\xff\xff\0\x01\0\0\0\0\0\0\0\x01\0\x01t\x7f\xff\xff\xff", false),
        (ProduceRequest::KEY, 3, b"\xff\xff\0\x01\0\0\0\0\0\0\0\x01\0\x01t\0\0\0\0", true),
    ] {
        let head = [&key.to_be_bytes()[..], &version.to_be_bytes(), b"\0\0\0\x07\xff\xff"].concat();
        let tags: &[u8] = if version >= if key == FindCoordinatorRequest::KEY { 3 } else { 9 } { b"\0" } else { b"" };
        let frame = Bytes::from([&head, tags, body].concat());
        let reply = written().handle(1, &frame, NOW_MS, true);
        assert_eq!(reply != Reply::Close, is_answered, "{key} v{version} {body:?}");
    }
}

/// An empty key takes a byte in the request, and a hundred in the response.
#[test]
fn a_request_has_no_more_than_200000_elements() {
    for (count, is_answered) in [(200_000usize, true), (200_001, false)] {
        let keys = FindCoordinatorRequest { coordinator_keys: vec![String::new(); count], ..Default::default() };
        let reply = written().handle(1, &frame(4, &keys), NOW_MS, false);
        assert_eq!(reply != Reply::Close, is_answered, "{count} keys");
    }
    // The limit holds for all arrays of a request together.
    let topic = FetchTopic { topic: String::new(), partitions: vec![FetchPartition::default(); 999] };
    for (count, is_answered) in [(200, true), (201, false)] {
        let request = FetchRequest { topics: vec![topic.clone(); count], ..Default::default() };
        let reply = written().handle(1, &frame(12, &request), NOW_MS, true);
        assert_eq!(reply != Reply::Close, is_answered, "{count} topics of 999 partitions");
    }
}
