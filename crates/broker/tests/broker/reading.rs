//! Tests of Fetch and ListOffsets: records read back, limits, and offsets by timestamp.

use std::time::Duration;

use bytes::Bytes;
use kurier_broker::{Cluster, Reply, TopicSettings};
use kurier_protocol::ErrorCode;
use kurier_protocol::messages::fetch::{FetchPartition, FetchTopic, PartitionData};
use kurier_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use kurier_protocol::messages::{FetchRequest, ListOffsetsRequest};
use kurier_protocol::record_batch::Stamp;

use crate::wire::{
    ALL, NOW_MS, ask, batch, cluster, cluster_with, frame, produce, produce_request, reply, response, stamped,
};

/// Size of a batch of one value of one letter.
const BATCH: i32 = 69;
const MUCH: i32 = 1 << 20;
const WAIT: Duration = Duration::from_millis(500);

/// A fetch of partitions of "t", each with its first offset and byte limit.
fn fetch(max_bytes: i32, partitions: &[(i32, i64, i32)]) -> FetchRequest {
    let partition = |(partition, fetch_offset, partition_max_bytes): &(i32, i64, i32)| FetchPartition {
        partition: *partition,
        fetch_offset: *fetch_offset,
        partition_max_bytes: *partition_max_bytes,
        ..Default::default()
    };
    let topics = vec![FetchTopic { topic: "t".to_owned(), partitions: partitions.iter().map(partition).collect() }];
    FetchRequest { max_wait_ms: 500, min_bytes: 1, max_bytes, topics, ..Default::default() }
}

/// Returns node 1's answer.
#[track_caller]
fn fetched(cluster: &mut Cluster, version: i16, request: &FetchRequest) -> Vec<PartitionData> {
    let mut response = ask(cluster, 1, version, request);
    assert_eq!((response.error_code, response.session_id), (ErrorCode::NONE, 0));
    response.responses.pop().unwrap().partitions
}

fn bytes(data: &PartitionData) -> i32 {
    data.records.as_ref().unwrap().len().try_into().unwrap()
}

/// Returns a cluster with two partitions of three batches each.
fn written() -> Cluster {
    let mut cluster = cluster(2);
    cluster.create_topic("t", 2, TopicSettings::default()).unwrap();
    cluster.move_leader("t", 1, 1).unwrap();
    for value in ["a", "b", "c"] {
        ask(&mut cluster, 1, 9, &produce_request(ALL, "t", &[(0, batch(&[value])), (1, batch(&[value]))]));
    }
    cluster
}

#[test]
fn every_version_reads() {
    let mut cluster = written();
    for version in 4..=12 {
        let read = fetched(&mut cluster, version, &fetch(MUCH, &[(1, 0, MUCH), (0, 2, MUCH)]));
        let shown: Vec<_> = read.iter().map(|data| (data.partition_index, data.error_code, bytes(data))).collect();
        assert_eq!(shown, [(1, ErrorCode::NONE, 3 * BATCH), (0, ErrorCode::NONE, BATCH)], "version {version}");
        assert_eq!((read[0].high_watermark, read[0].last_stable_offset), (3, 3));
        assert_eq!(read[0].log_start_offset, if version >= 5 { 0 } else { -1 });
        assert_eq!(read[0].records.clone().unwrap().to_bytes(), Bytes::from(cluster.log("t", 1).unwrap().concat()));
    }
}

#[test]
fn a_batch_is_read_from_any_of_its_offsets() {
    let mut cluster = cluster_with(1, TopicSettings::default());
    produce(&mut cluster, &batch(&["a", "b", "c"]));
    produce(&mut cluster, &batch(&["d"]));
    let log = cluster.log("t", 0).unwrap();
    for (offset, first) in [(0, 0), (1, 0), (2, 0), (3, 1)] {
        let read = fetched(&mut cluster, 12, &fetch(MUCH, &[(0, offset, MUCH)]));
        assert_eq!(read[0].records.clone().unwrap().to_bytes(), Bytes::from(log[first..].concat()));
    }
}

/// Responses hold whole batches within the limits, but always the first batch of all (KIP-74).
#[test]
fn byte_limits_hold_except_for_the_first_batch() {
    let mut cluster = written();
    for (what, max_bytes, partition_max_bytes, expected) in [
        ("enough", MUCH, [MUCH, MUCH], [3, 3]),
        ("of each partition one batch", MUCH, [BATCH, BATCH], [1, 1]),
        ("of each partition one and a half", MUCH, [BATCH * 3 / 2, BATCH * 3 / 2], [1, 1]),
        ("four batches in all", 4 * BATCH, [MUCH, MUCH], [3, 1]),
        ("less than a batch", BATCH - 1, [MUCH, MUCH], [1, 0]),
        ("of each partition less than a batch", MUCH, [BATCH - 1, BATCH - 1], [1, 0]),
        ("nothing", 0, [0, 0], [1, 0]),
        ("less than nothing", -1, [-1, -1], [1, 0]),
    ] {
        let [first, second] = partition_max_bytes;
        let read = fetched(&mut cluster, 12, &fetch(max_bytes, &[(0, 0, first), (1, 0, second)]));
        let batches: Vec<_> = read.iter().map(|data| bytes(data) / BATCH).collect();
        assert_eq!(batches, expected, "{what}");
    }
    // The exception is for the first partition that has a batch.
    let read = fetched(&mut cluster, 12, &fetch(1, &[(0, 3, 1), (1, 2, 1)]));
    assert_eq!(read.iter().map(bytes).collect::<Vec<_>>(), [0, BATCH]);
}

#[test]
fn impossible_fetches_are_refused_at_once() {
    let mut cluster = written();
    cluster.move_leader("t", 1, 2).unwrap();
    for (partition, offset, code) in [
        (0, 4, ErrorCode::OFFSET_OUT_OF_RANGE),
        (0, -1, ErrorCode::OFFSET_OUT_OF_RANGE),
        (0, i64::MAX, ErrorCode::OFFSET_OUT_OF_RANGE),
        (1, 0, ErrorCode::NOT_LEADER_OR_FOLLOWER),
        (2, 0, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        (-1, 0, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    ] {
        for version in [4, 12] {
            // The node does not wait for it either.
            let read = fetched(&mut cluster, version, &fetch(MUCH, &[(partition, offset, MUCH)]));
            assert_eq!((read[0].error_code, bytes(&read[0])), (code, 0));
            assert_eq!(read[0].high_watermark, -1);
        }
    }
}

#[test]
fn a_reader_at_the_end_waits_until_there_is_more() {
    let mut cluster = written();
    let request = fetch(MUCH, &[(0, 3, MUCH)]);
    assert_eq!(reply(&mut cluster, 1, 12, &request), Reply::Wait(WAIT));
    assert_eq!(reply(&mut cluster, 1, 12, &request), Reply::Wait(WAIT), "however often it asks");

    let Reply::Send { frame: late, .. } = cluster.handle(1, &frame(12, &request), NOW_MS, true) else {
        panic!("who has waited long enough is answered");
    };
    assert_eq!(bytes(&response::<FetchRequest>(&late, 12).responses[0].partitions[0]), 0);

    produce(&mut cluster, &batch(&["d"]));
    assert_eq!(bytes(&fetched(&mut cluster, 12, &request)[0]), BATCH);
}

#[test]
fn a_reader_waits_for_min_bytes() {
    let mut cluster = written();
    for (min_bytes, is_enough) in
        [(-1, true), (0, true), (1, true), (6 * BATCH, true), (6 * BATCH + 1, false), (i32::MAX, false)]
    {
        let request = FetchRequest { min_bytes, ..fetch(MUCH, &[(0, 0, MUCH), (1, 0, MUCH)]) };
        assert_eq!(reply(&mut cluster, 1, 12, &request) != Reply::Wait(WAIT), is_enough, "{min_bytes}");
        for max_wait_ms in [0, -1] {
            let at_once = FetchRequest { max_wait_ms, ..request.clone() };
            assert!(matches!(reply(&mut cluster, 1, 12, &at_once), Reply::Send { .. }));
        }
    }
    // A request for nothing need not wait.
    let nothing = fetch(MUCH, &[]);
    assert!(matches!(reply(&mut cluster, 1, 12, &nothing), Reply::Send { .. }));
}

#[test]
fn sessions_are_not_kept() {
    let mut cluster = written();
    for version in 7..=12 {
        // A request for a session gets a full answer without a session.
        let wishes = FetchRequest { session_id: 0, session_epoch: 0, ..fetch(MUCH, &[(0, 0, MUCH)]) };
        assert_eq!(bytes(&fetched(&mut cluster, version, &wishes)[0]), 3 * BATCH);
        let continues = FetchRequest { session_id: 5, session_epoch: 1, ..fetch(MUCH, &[(0, 0, MUCH)]) };
        let response = ask(&mut cluster, 1, version, &continues);
        assert_eq!((response.error_code, response.responses.len()), (ErrorCode::FETCH_SESSION_ID_NOT_FOUND, 0));
    }
}

/// Returns offset, timestamp and leader epoch of "t", partition 0, from node 1.
fn find(cluster: &mut Cluster, version: i16, timestamp: i64) -> Result<(i64, i64, i32), ErrorCode> {
    find_in(cluster, version, "t", 0, timestamp)
}

fn find_in(
    cluster: &mut Cluster,
    version: i16,
    topic: &str,
    partition_index: i32,
    timestamp: i64,
) -> Result<(i64, i64, i32), ErrorCode> {
    let partitions = vec![ListOffsetsPartition { partition_index, timestamp, ..Default::default() }];
    let topics = vec![ListOffsetsTopic { name: topic.to_owned(), partitions }];
    let response = ask(cluster, 1, version, &ListOffsetsRequest { replica_id: -1, topics, ..Default::default() });
    assert_eq!((&*response.topics[0].name, response.topics.len()), (topic, 1));
    let found = &response.topics[0].partitions[0];
    assert_eq!(found.partition_index, partition_index);
    match found.error_code {
        ErrorCode::NONE => Ok((found.offset, found.timestamp, found.leader_epoch)),
        code => {
            assert_eq!((found.offset, found.timestamp, found.leader_epoch), (-1, -1, -1));
            Err(code)
        }
    }
}

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;

/// The expected answers are those of Kafka 4.3.1 to the same batches.
#[test]
fn offsets_are_found_by_time() {
    let mut cluster = cluster_with(2, TopicSettings::default());
    for (times, leader) in [([1000, 2000, 2000], 2), ([1700, 3000, 1000], 1), ([3000, 100, 100], 1)] {
        let batch = stamped(Stamp::NONE, &times.map(|time| (time, "v")));
        produce(&mut cluster, &batch);
        if leader == 2 {
            cluster.move_leader("t", 0, 2).unwrap();
            cluster.move_leader("t", 0, 1).unwrap();
        }
    }
    for (timestamp, found) in [
        (LATEST, (9, -1, 2)),
        (EARLIEST, (0, -1, 0)),
        (MAX_TIMESTAMP, (4, 3000, 2)),
        (EARLIEST_LOCAL, (0, -1, 0)),
        (0, (0, 1000, 0)),
        (1000, (0, 1000, 0)),
        (1500, (1, 2000, 0)),
        (2000, (1, 2000, 0)),
        (2001, (4, 3000, 2)),
        (3001, (-1, -1, -1)),
        (i64::MAX, (-1, -1, -1)),
    ] {
        assert_eq!(find(&mut cluster, 8, timestamp), Ok(found), "{timestamp}");
        for version in (1..=7).filter(|_| timestamp >= EARLIEST) {
            let (offset, time, epoch) = found;
            let epoch = if version >= 4 { epoch } else { -1 };
            assert_eq!(find(&mut cluster, version, timestamp), Ok((offset, time, epoch)), "{timestamp}, v{version}");
        }
    }
}

#[test]
fn special_timestamps_depend_on_the_version() {
    let mut cluster = cluster_with(1, TopicSettings::default());
    for version in 1..=8 {
        for timestamp in [-1, -2, -3, -4, -5, -6, i64::MIN] {
            let is_known = timestamp >= EARLIEST
                || (timestamp == MAX_TIMESTAMP && version >= 7)
                || (timestamp == EARLIEST_LOCAL && version >= 8);
            let found = find(&mut cluster, version, timestamp);
            assert_eq!(found.is_ok(), is_known, "{timestamp}, v{version}");
            assert!(is_known || found == Err(ErrorCode::UNSUPPORTED_VERSION));
        }
    }
}

#[test]
fn an_empty_partition_begins_and_ends_at_0() {
    let mut cluster = cluster_with(2, TopicSettings::default());
    cluster.move_leader("t", 0, 2).unwrap();
    cluster.move_leader("t", 0, 1).unwrap();
    assert_eq!(find(&mut cluster, 8, LATEST), Ok((0, -1, 2)));
    assert_eq!(find(&mut cluster, 8, EARLIEST), Ok((0, -1, 2)));
    assert_eq!(find(&mut cluster, 8, MAX_TIMESTAMP), Ok((-1, -1, -1)));
    assert_eq!(find(&mut cluster, 8, 0), Ok((-1, -1, -1)));
}

#[test]
fn offsets_are_found_by_append_time() {
    let mut cluster = cluster_with(1, TopicSettings { is_log_append_time: true, ..Default::default() });
    produce(&mut cluster, &stamped(Stamp::NONE, &[(1000, "a"), (2000, "b")]));
    for (timestamp, found) in
        [(0, (0, NOW_MS, 0)), (NOW_MS, (0, NOW_MS, 0)), (NOW_MS + 1, (-1, -1, -1)), (MAX_TIMESTAMP, (0, NOW_MS, 0))]
    {
        assert_eq!(find(&mut cluster, 8, timestamp), Ok(found), "{timestamp}");
    }
}

#[test]
fn only_the_leader_finds_offsets() {
    let mut cluster = written();
    cluster.move_leader("t", 1, 2).unwrap();
    assert_eq!(find_in(&mut cluster, 8, "t", 1, LATEST), Err(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    assert_eq!(find_in(&mut cluster, 8, "t", 2, LATEST), Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    assert_eq!(find_in(&mut cluster, 8, "other", 0, LATEST), Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
}
