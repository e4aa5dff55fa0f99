//! Scripted faults: each kind, on each API, with count and node.

use std::time::Duration;

use kurier_broker::{Cluster, Fault, FaultKind, Reply, TopicSettings};
use kurier_protocol::messages::fetch::{FetchPartition, FetchTopic};
use kurier_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use kurier_protocol::messages::metadata::MetadataRequestTopic;
use kurier_protocol::messages::{
    ApiVersionsRequest, CreateTopicsRequest, FetchRequest, FindCoordinatorRequest, InitProducerIdRequest,
    ListOffsetsRequest, MetadataRequest, ProduceRequest,
};
use kurier_protocol::{ErrorCode, Request};

use crate::wire::{
    ALL, NOW_MS, ask, batch, cluster_with, frame, outcome, produce, produce_request, produce_with, reply, response,
    values,
};

const CODE: ErrorCode = ErrorCode::REQUEST_TIMED_OUT;
const ONE_BATCH: &[&str] = &["v"];

fn faulty(fault: Fault) -> Cluster {
    let mut cluster = cluster_with(2, TopicSettings::default());
    cluster.add_fault(fault);
    cluster
}

fn request() -> ProduceRequest {
    produce_request(ALL, "t", &[(0, batch(ONE_BATCH))])
}

/// Returns node 1's reply to one batch, and the number of batches written.
fn try_produce(cluster: &mut Cluster) -> (Reply, usize) {
    let reply = reply(cluster, 1, 9, &request());
    (reply, values(cluster, "t", 0).len())
}

#[track_caller]
fn whole_answer(reply: Reply) -> (Duration, usize, ErrorCode, i32) {
    let Reply::Send { frame, after, cut } = reply else { panic!("{reply:?} is no answer") };
    let response = response::<ProduceRequest>(&frame, 9);
    let code = response.responses[0].partition_responses[0].error_code;
    (after, cut.unwrap_or(frame.len()).min(frame.len()), code, response.throttle_time_ms)
}

#[test]
fn each_kind_of_fault_happens_once() {
    let full = whole_answer(try_produce(&mut cluster_with(2, TopicSettings::default())).0);
    let (at_once, len) = (Duration::ZERO, full.1);
    let late = Duration::from_millis(50);
    let answer = |after, sent, code, throttle_time_ms| Some((after, sent, code, throttle_time_ms));
    for (kind, is_written, expected) in [
        (FaultKind::Error(CODE), 0, answer(at_once, len, CODE, 0)),
        (FaultKind::ErrorAfter(CODE), 1, answer(at_once, len, CODE, 0)),
        (FaultKind::Close, 0, None),
        (FaultKind::CloseAfter, 1, None),
        (FaultKind::Silence, 1, None),
        (FaultKind::Cut(0), 1, answer(at_once, 0, ErrorCode::NONE, 0)),
        (FaultKind::Cut(5), 1, answer(at_once, 5, ErrorCode::NONE, 0)),
        (FaultKind::Cut(10_000), 1, answer(at_once, len, ErrorCode::NONE, 0)),
        (FaultKind::Delay(late), 1, answer(late, len, ErrorCode::NONE, 0)),
        (FaultKind::Throttle(late), 1, answer(at_once, len, ErrorCode::NONE, 50)),
    ] {
        let mut cluster = faulty(Fault::new("Produce", kind.clone()));
        let (reply, written) = try_produce(&mut cluster);
        assert_eq!(written, is_written, "{kind:?}");
        match (&kind, expected) {
            (FaultKind::Silence, _) => assert_eq!(reply, Reply::Hang),
            (_, None) => assert_eq!(reply, Reply::Close, "{kind:?}"),
            (_, Some(expected)) => assert_eq!(whole_answer(reply), expected, "{kind:?}"),
        }
        let (reply, written) = try_produce(&mut cluster);
        assert_eq!((whole_answer(reply), written), (full, is_written + 1), "after {kind:?}");
    }
}

#[test]
fn faults_apply_to_their_api_and_node_and_count() {
    let fault = || Fault::new("Metadata", FaultKind::Close);
    let metadata = MetadataRequest { topics: Some(vec![]), ..Default::default() };
    let closes = |cluster: &mut Cluster, node| reply(cluster, node, 9, &metadata) == Reply::Close;

    let mut cluster = faulty(fault().times(2));
    assert_eq!(produce(&mut cluster, &batch(ONE_BATCH)).error_code, ErrorCode::NONE, "another API");
    assert_eq!([1, 2, 1].map(|node| closes(&mut cluster, node)), [true, true, false]);

    let mut cluster = faulty(fault().on_node(2));
    assert_eq!([1, 1, 2, 2].map(|node| closes(&mut cluster, node)), [false, false, true, false]);

    let mut cluster = faulty(fault().times(0));
    assert!(!closes(&mut cluster, 1));

    let mut cluster = faulty(fault().times(usize::MAX));
    assert!((0..1000).all(|_| closes(&mut cluster, 1)));
}

#[test]
fn the_oldest_fault_goes_first() {
    let mut cluster = faulty(Fault::new("Produce", FaultKind::Error(ErrorCode::NOT_ENOUGH_REPLICAS)).on_node(2));
    cluster.add_fault(Fault::new("Produce", FaultKind::Error(CODE)).times(2));
    cluster.add_fault(Fault::new("Produce", FaultKind::CloseAfter));
    assert_eq!(whole_answer(try_produce(&mut cluster).0).2, CODE);
    assert_eq!(whole_answer(try_produce(&mut cluster).0).2, CODE);
    assert_eq!(try_produce(&mut cluster), (Reply::Close, 1));
    assert_eq!(whole_answer(try_produce(&mut cluster).0).2, ErrorCode::NONE);
}

/// A Produce request with acks=0 has no response that could be cut or late; an error can only close.
#[test]
fn faults_apply_to_acks_0() {
    for (kind, expected, written) in [
        (FaultKind::Error(CODE), Reply::Close, 0),
        (FaultKind::ErrorAfter(CODE), Reply::Close, 1),
        (FaultKind::Close, Reply::Close, 0),
        (FaultKind::CloseAfter, Reply::Close, 1),
        (FaultKind::Silence, Reply::Hang, 1),
        (FaultKind::Cut(3), Reply::Nothing, 1),
        (FaultKind::Delay(Duration::from_millis(50)), Reply::Nothing, 1),
    ] {
        let mut cluster = faulty(Fault::new("Produce", kind.clone()));
        let request = produce_request(0, "t", &[(0, batch(ONE_BATCH))]);
        assert_eq!(reply(&mut cluster, 1, 9, &request), expected, "{kind:?}");
        assert_eq!(values(&cluster, "t", 0).len(), written, "{kind:?}");
    }
}

/// The cluster handles a waiting request many times; the fault applies when it is answered.
#[test]
fn a_waiting_fetch_meets_its_fault_when_answered() {
    let late = Duration::from_millis(50);
    for kind in [FaultKind::Delay(late), FaultKind::CloseAfter, FaultKind::Silence] {
        let mut cluster = faulty(Fault::new("Fetch", kind.clone()));
        let request = fetch(0);
        for _ in 0..3 {
            assert_eq!(reply(&mut cluster, 1, 12, &request), Reply::Wait(Duration::from_millis(500)), "{kind:?}");
        }
        produce(&mut cluster, &batch(ONE_BATCH));
        match (kind, cluster.handle(1, &frame(12, &request), NOW_MS, false)) {
            (FaultKind::Delay(_), Reply::Send { after, .. }) => assert_eq!(after, late),
            (FaultKind::CloseAfter, Reply::Close) | (FaultKind::Silence, Reply::Hang) => {}
            (kind, reply) => panic!("{kind:?} gave {reply:?}"),
        }
        assert!(matches!(reply(&mut cluster, 1, 12, &request), Reply::Send { after: Duration::ZERO, .. }));
    }
    // A refused request does not wait.
    for (kind, is_closed) in [(FaultKind::Close, true), (FaultKind::Error(CODE), false)] {
        let mut cluster = faulty(Fault::new("Fetch", kind));
        assert_eq!(reply(&mut cluster, 1, 12, &fetch(0)) == Reply::Close, is_closed);
    }
}

fn fetch(fetch_offset: i64) -> FetchRequest {
    let partitions = vec![FetchPartition { fetch_offset, partition_max_bytes: 1000, ..Default::default() }];
    let topics = vec![FetchTopic { topic: "t".to_owned(), partitions }];
    FetchRequest { max_wait_ms: 500, min_bytes: 1, max_bytes: 1000, topics, ..Default::default() }
}

/// Every API can be refused in every version, with the code in its own error fields.
#[test]
fn every_api_can_be_refused() {
    fn codes<R: Request>(name: &'static str, request: R, codes: impl Fn(i16, R::Response) -> Vec<ErrorCode>) {
        for version in R::VERSIONS {
            let mut cluster = faulty(Fault::new(name, FaultKind::Error(CODE)).times(usize::MAX));
            let mut wire = Vec::new();
            if kurier_protocol::write_request(&request, version, 7, None, &mut wire).is_err() {
                continue; // this version has no such error field
            }
            let found = codes(version, ask(&mut cluster, 1, version, &request));
            assert!(!found.is_empty() && found.iter().all(|code| *code == CODE), "{name} v{version}: {found:?}");
        }
    }
    let named = || MetadataRequestTopic { name: Some("new".to_owned()), ..Default::default() };
    codes("Metadata", MetadataRequest { topics: Some(vec![named()]), ..Default::default() }, |_, response| {
        response.topics.iter().map(|topic| topic.error_code).collect()
    });
    codes("InitProducerId", InitProducerIdRequest { transactional_id: None, ..Default::default() }, |_, response| {
        vec![response.error_code]
    });
    codes("FindCoordinator", FindCoordinatorRequest { key: "k".to_owned(), ..Default::default() }, |_, response| {
        vec![response.error_code]
    });
    let keys = FindCoordinatorRequest { coordinator_keys: vec!["k".to_owned()], ..Default::default() };
    codes("FindCoordinator", keys, |_, response| response.coordinators.iter().map(|one| one.error_code).collect());
    codes("Fetch", fetch(0), |version, response| match version {
        ..7 => response.responses[0].partitions.iter().map(|partition| partition.error_code).collect(),
        7.. => vec![response.error_code],
    });
    let topics = vec![ListOffsetsTopic { name: "t".to_owned(), partitions: vec![ListOffsetsPartition::default()] }];
    codes("ListOffsets", ListOffsetsRequest { topics, ..Default::default() }, |_, response| {
        response.topics[0].partitions.iter().map(|partition| partition.error_code).collect()
    });
    let topics = vec![Default::default()];
    codes("CreateTopics", CreateTopicsRequest { topics, ..Default::default() }, |_, response| {
        response.topics.iter().map(|topic| topic.error_code).collect()
    });
    codes("Produce", request(), |_, response| {
        response.responses[0].partition_responses.iter().map(|partition| partition.error_code).collect()
    });

    let mut cluster = faulty(Fault::new("ApiVersions", FaultKind::Error(CODE)));
    let names = ApiVersionsRequest {
        client_software_name: "a".to_owned(),
        client_software_version: "1".to_owned(),
        ..Default::default()
    };
    let response = ask(&mut cluster, 1, 4, &names);
    assert_eq!((response.error_code, response.api_keys.len()), (CODE, 0));
}

#[test]
fn refused_metadata_creates_no_topic() {
    let mut cluster = Cluster::new(Default::default());
    cluster.add_fault(Fault::new("Metadata", FaultKind::Error(CODE)));
    let topics = vec![MetadataRequestTopic { name: Some("new".to_owned()), ..Default::default() }];
    let request = MetadataRequest { topics: Some(topics), ..Default::default() };
    assert_eq!(ask(&mut cluster, 1, 9, &request).topics[0].error_code, CODE);
    assert_eq!(cluster.end_offset("new", 0), None);
    assert_eq!(ask(&mut cluster, 1, 9, &request).topics[0].error_code, ErrorCode::NONE);
}

#[test]
fn a_fault_blames_records() {
    for version in [3, 7, 8, 13] {
        let mut cluster = faulty(Fault::new("Produce", FaultKind::Blame(vec![0, 2])));
        let values_of_batch = &["a", "b", "c"];
        let request = produce_request(ALL, "t", &[(0, batch(values_of_batch))]);
        let answer = produce_with(&mut cluster, 1, version, &request);
        assert_eq!(outcome(&answer), (ErrorCode::INVALID_RECORD, -1));
        let blamed: Vec<_> = answer.record_errors.iter().map(|error| error.batch_index).collect();
        assert_eq!(blamed, if version < 8 { vec![] } else { vec![0, 2] });
        assert_eq!(values(&cluster, "t", 0).len(), 0);
    }
}

/// A malformed request closes the connection and leaves the fault for the next request.
#[test]
fn malformed_requests_use_up_no_fault() {
    let mut cluster = faulty(Fault::new("Produce", FaultKind::Error(CODE)));
    let whole = frame(9, &request());
    assert_eq!(cluster.handle(1, &whole.slice(..whole.len() - 1), NOW_MS, false), Reply::Close);
    assert_eq!(outcome(&produce(&mut cluster, &batch(ONE_BATCH))), (CODE, -1));
}

#[test]
#[should_panic(expected = "\"produce\" is none of [\"Produce\", ")]
fn a_fault_for_an_unknown_api_panics() {
    let _ = Fault::new("produce", FaultKind::Close);
}
