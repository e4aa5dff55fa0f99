//! Tests of ApiVersions, of unsupported versions, and of producer ids.

use bytes::Bytes;
use kurier_broker::{Cluster, ClusterSettings, KafkaVersion, Offer, Reply};
use kurier_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FindCoordinatorRequest, InitProducerIdRequest, MetadataRequest,
};
use kurier_protocol::{Api, ErrorCode};

use crate::wire::{NOW_MS, ask, cluster, frame, reply, response};

fn request(name: &str, version: &str) -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: name.to_owned(),
        client_software_version: version.to_owned(),
        ..Default::default()
    }
}

fn ranges(response: &ApiVersionsResponse) -> Vec<(&'static str, i16, i16)> {
    let shown = response.api_keys.iter().map(|range| {
        let name = Api::of(range.api_key).unwrap().name();
        (name, range.min_version, range.max_version)
    });
    shown.collect()
}

#[test]
fn every_version_of_api_versions_lists_the_ranges() {
    let mut cluster = cluster(1);
    for version in 0..=4 {
        let response = ask(&mut cluster, 1, version, &request("tests", "1.0"));
        assert_eq!(response.error_code, ErrorCode::NONE);
        let spoken = [
            // Kafka offers Produce 0 too, and refuses it: librdkafka compresses only if a broker offers it
            // (KAFKA-18659).
            ("Produce", 0, 13),
            ("Fetch", 4, 12),
            ("ListOffsets", 1, 8),
            ("Metadata", 0, 13),
            ("FindCoordinator", 0, 6),
            ("SaslHandshake", 0, 1),
            ("ApiVersions", 0, 4),
            ("CreateTopics", 2, 7),
            ("InitProducerId", 0, 5),
            ("SaslAuthenticate", 0, 2),
        ];
        assert_eq!(ranges(&response), spoken, "version {version}");
    }
}

#[test]
fn older_kafka_offers_older_versions() {
    let highest = |version| {
        let mut cluster = Cluster::new(ClusterSettings { version, ..Default::default() });
        let response = ask(&mut cluster, 1, 0, &request("", ""));
        ranges(&response).into_iter().map(|(_, _, highest)| highest).collect::<Vec<_>>()
    };
    assert_eq!(highest(KafkaVersion::V3_7), [10, 12, 8, 12, 4, 1, 3, 7, 4, 2]);
    assert_eq!(highest(KafkaVersion::V3_9), [11, 12, 8, 12, 6, 1, 4, 7, 5, 2]);
    assert_eq!(highest(KafkaVersion::V4_3), [13, 12, 8, 13, 6, 1, 4, 7, 5, 2]);
}

/// A client that asks for too high a version gets the supported range, in version 0 (KIP-511).
#[test]
fn an_unknown_version_of_api_versions_falls_back_to_0() {
    let mut cluster = cluster(1);
    let response = ask(&mut cluster, 1, 5, &request("tests", "1.0"));
    assert_eq!(response.error_code, ErrorCode::UNSUPPORTED_VERSION);
    assert_eq!(ranges(&response), [("ApiVersions", 0, 4)]);

    for version in [i16::MIN, -1, 5, 6, i16::MAX] {
        let whatever = raw(18, version, b"a body of a version from the future");
        let Reply::Send { frame, .. } = cluster.handle(1, &whatever, NOW_MS, false) else {
            panic!("version {version} is not answered");
        };
        let body = [0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4];
        assert_eq!(frame[..], [&[0, 0, 0, 16, 0, 0, 0, 7][..], &body].concat());
    }
}

/// A request with this body behind the header that all versions share.
fn raw(key: i16, version: i16, body: &[u8]) -> Bytes {
    let header = [&key.to_be_bytes()[..], &version.to_be_bytes(), &7i32.to_be_bytes(), &[0, 1, b'c']].concat();
    [&header, body].concat().into()
}

#[test]
fn other_requests_in_unknown_versions_close() {
    let mut cluster = cluster(1);
    for (key, version) in [(0, 2), (0, 0), (0, 14), (1, 3), (1, 13), (2, 0), (2, 9), (3, 14), (3, -1), (22, 6), (19, 1)]
    {
        assert_eq!(cluster.handle(1, &raw(key, version, &[0; 40]), NOW_MS, false), Reply::Close, "{key} v{version}");
    }
    for key in [-1, 4, 8, 17, 36, 999] {
        assert_eq!(cluster.handle(1, &raw(key, 0, &[0; 40]), NOW_MS, false), Reply::Close, "key {key}");
    }
}

#[test]
fn hidden_apis_are_neither_listed_nor_served() {
    let whole = ranges(&ask(&mut cluster(1), 1, 0, &request("", "")));
    let change = |name: &str, highest: Option<i16>| {
        let mut expected = whole.clone();
        match highest {
            Some(highest) => expected.iter_mut().filter(|api| api.0 == name).for_each(|api| api.2 = highest),
            None => expected.retain(|api| api.0 != name),
        }
        expected
    };
    for (api, offer, highest) in [
        ("InitProducerId", Offer::Nothing, None),
        ("InitProducerId", Offer::UpTo(1), Some(1)),
        ("InitProducerId", Offer::UpTo(-1), None),
        ("Produce", Offer::UpTo(2), Some(2)),
        ("Produce", Offer::UpTo(99), Some(13)),
        ("CreateTopics", Offer::UpTo(1), None),
        ("Metadata", Offer::Everything, Some(13)),
    ] {
        let mut cluster = cluster(2);
        cluster.set_offer(1, api, offer);
        assert_eq!(ranges(&ask(&mut cluster, 1, 0, &request("", ""))), change(api, highest), "{api} {offer:?}");
        assert_eq!(ranges(&ask(&mut cluster, 2, 0, &request("", ""))), whole, "node 2 is as it was");
    }
    let init = InitProducerIdRequest { transaction_timeout_ms: 1, ..Default::default() };
    let mut cluster = cluster(1);
    for (offer, version, is_served) in [
        (Offer::UpTo(1), 2, false),
        (Offer::UpTo(1), 1, true),
        (Offer::Nothing, 1, false),
        (Offer::Everything, 5, true),
    ] {
        cluster.set_offer(1, "InitProducerId", offer);
        assert_eq!(reply(&mut cluster, 1, version, &init) != Reply::Close, is_served, "{offer:?} v{version}");
    }
}

#[test]
fn a_clients_name_has_letters_digits_dashes_and_dots() {
    let mut cluster = cluster(1);
    let mut code = |name, version, api_version| {
        let response = ask(&mut cluster, 1, api_version, &request(name, version));
        assert_eq!(response.api_keys.is_empty(), !response.error_code.is_none());
        response.error_code
    };
    for good in ["kurier", "a", "apache-kafka-java", "x.2", "7"] {
        assert_eq!(code(good, "1.0.0-rc.1", 3), ErrorCode::NONE, "{good:?}");
    }
    for bad in ["", "two words", "-x", "x-", ".", "größe", "a_b"] {
        assert_eq!(code(bad, "1", 3), ErrorCode::INVALID_REQUEST, "{bad:?}");
        assert_eq!(code("kurier", bad, 4), ErrorCode::INVALID_REQUEST, "{bad:?}");
        assert_eq!(code(bad, bad, 2), ErrorCode::NONE, "before version 3 it is not said");
    }
}

#[test]
fn client_ids_may_be_null() {
    let mut cluster = cluster(1);
    let mut wire = Vec::new();
    kurier_protocol::write_request(&MetadataRequest::default(), 9, 7, None, &mut wire).unwrap();
    let Reply::Send { frame, .. } = cluster.handle(1, &Bytes::from(wire).slice(4..), NOW_MS, false) else {
        panic!("not answered");
    };
    assert_eq!(response::<MetadataRequest>(&frame, 9).brokers.len(), 1);
}

#[test]
fn every_producer_gets_an_id_of_its_own() {
    let mut cluster = cluster(2);
    let mut ids: Vec<_> = (0..=5)
        .map(|version| {
            let request = InitProducerIdRequest { transactional_id: None, ..Default::default() };
            let response = ask(&mut cluster, 1 + i32::from(version % 2), version, &request);
            assert_eq!((response.error_code, response.producer_epoch), (ErrorCode::NONE, 0));
            response.producer_id
        })
        .collect();
    // The request's old id does not matter.
    let known =
        InitProducerIdRequest { transactional_id: None, producer_id: ids[0], producer_epoch: 3, ..Default::default() };
    ids.push(ask(&mut cluster, 1, 5, &known).producer_id);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 7);
}

#[test]
fn transactional_and_partial_ids_are_refused() {
    let mut cluster = cluster(1);
    for (transactional_id, producer_id, producer_epoch, code) in [
        (Some("me"), -1, -1, ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        (Some(""), -1, -1, ErrorCode::INVALID_REQUEST),
        (None, 5, -1, ErrorCode::INVALID_REQUEST),
        (None, -1, 5, ErrorCode::INVALID_REQUEST),
    ] {
        let transactional_id = transactional_id.map(str::to_owned);
        let request = InitProducerIdRequest { transactional_id, producer_id, producer_epoch, ..Default::default() };
        let response = ask(&mut cluster, 1, 4, &request);
        assert_eq!((response.error_code, response.producer_id, response.producer_epoch), (code, -1, -1));
    }
}

#[test]
fn no_node_coordinates() {
    let mut cluster = cluster(1);
    for version in 0..=6 {
        let request = match version {
            ..=3 => FindCoordinatorRequest { key: "group".to_owned(), ..Default::default() },
            _ => FindCoordinatorRequest {
                coordinator_keys: vec!["group".to_owned(), String::new()],
                ..Default::default()
            },
        };
        let response = ask(&mut cluster, 1, version, &request);
        let codes: Vec<_> = match version {
            ..=3 => vec![response.error_code],
            _ => response.coordinators.iter().map(|coordinator| coordinator.error_code).collect(),
        };
        assert_eq!(codes, vec![ErrorCode::COORDINATOR_NOT_AVAILABLE; if version <= 3 { 1 } else { 2 }]);
    }
}

#[test]
fn stopped_and_unknown_nodes_close() {
    let mut cluster: Cluster = cluster(2);
    cluster.stop_node(2);
    for node in [0, 2, 3, -1] {
        assert_eq!(reply(&mut cluster, node, 0, &request("tests", "1")), Reply::Close);
    }
    assert_ne!(cluster.handle(1, &frame(0, &request("tests", "1")), NOW_MS, false), Reply::Close);
}
