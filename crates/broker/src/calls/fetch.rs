//! Fetch 4 to 12.
//!
//! Version 7 added sessions. This broker keeps none: it answers with session 0, so readers continue with full requests
//! (KIP-227). Version 12 is the last that names topics by name. A request waits up to `max_wait_ms` until `min_bytes`
//! are available. The response always includes the first batch, even if it exceeds the limit (KIP-74).

use std::time::Duration;

use kurier_protocol::messages::FetchResponse;
use kurier_protocol::messages::fetch::{FetchableTopicResponse, PartitionData};
use kurier_protocol::{ErrorCode, NodeId, PartitionIndex, Records};

use super::call::{Call, Outcome};
use super::reader::{Read, Reader};
use crate::cluster::Cluster;

struct FetchPartition {
    partition: PartitionIndex,
    leader_epoch: i32,
    offset: i64,
    max_bytes: usize,
}

/// Limit on the bytes to read from one partition.
struct Limit {
    max_bytes: usize,
    /// Whether to return the first batch even if it exceeds `max_bytes`.
    wants_one: bool,
}

pub(super) fn handle(cluster: &Cluster, call: &Call<'_>, mut reader: Reader<'_>) -> Read<Outcome> {
    let version = call.version;
    let _replica_id = reader.int32()?;
    let max_wait_ms = reader.int32()?;
    let min_bytes = reader.int32()?;
    let max_bytes = reader.int32()?;
    let _isolation_level = reader.int8()?;
    let session_id = if version >= 7 { reader.int32()? } else { 0 };
    let _session_epoch = if version >= 7 { reader.int32()? } else { -1 };
    let topics = reader.array(|reader| {
        let name = reader.string()?.to_owned();
        let partitions = reader.array(|reader| {
            let partition = PartitionIndex(reader.int32()?);
            let leader_epoch = if version >= 9 { reader.int32()? } else { -1 };
            let offset = reader.int64()?;
            let _last_fetched_epoch = if version >= 12 { reader.int32()? } else { -1 };
            let _log_start_offset = if version >= 5 { reader.int64()? } else { -1 };
            let max_bytes = usize::try_from(reader.int32()?).unwrap_or_default();
            reader.tags()?;
            Ok(FetchPartition { partition, leader_epoch, offset, max_bytes })
        })?;
        reader.tags()?;
        Ok((name, partitions))
    })?;
    if version >= 7 {
        reader.array(|reader| {
            let _forgotten_topic = reader.string()?;
            reader.array(Reader::int32)?;
            reader.tags()
        })?;
    }
    if version >= 11 {
        let _rack_id = reader.string()?;
    }
    reader.tags()?;
    reader.end()?;

    let refuse = call.refuse.or_else(|| (session_id != 0).then_some(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
    if let Some(error_code) = refuse.filter(|_| version >= 7) {
        return Ok(call.answer(&FetchResponse { error_code, ..Default::default() }));
    }
    let mut room = usize::try_from(max_bytes).unwrap_or_default();
    let mut found = 0;
    let mut has_error = false;
    let responses: Vec<_> = topics
        .into_iter()
        .map(|(topic, wanted)| {
            let read = |wanted: &FetchPartition| {
                let limit = Limit { max_bytes: wanted.max_bytes.min(room), wants_one: found == 0 };
                let data = read(cluster, call.node, &topic, wanted, &limit, refuse);
                let bytes = data.records.as_ref().map_or(0, Records::len);
                room = room.saturating_sub(bytes);
                found += bytes;
                has_error |= !data.error_code.is_none();
                data
            };
            let partitions = wanted.iter().map(read).collect();
            FetchableTopicResponse { topic, partitions }
        })
        .collect();
    let is_enough = found >= usize::try_from(min_bytes).unwrap_or_default()
        || has_error
        || call.is_late
        || responses.iter().all(|topic| topic.partitions.is_empty());
    match u64::try_from(max_wait_ms) {
        Ok(wait @ 1..) if !is_enough => Ok(Outcome::Wait(Duration::from_millis(wait))),
        _ => {
            Ok(call.answer(&FetchResponse { throttle_time_ms: call.throttle_time_ms, responses, ..Default::default() }))
        }
    }
}

fn read(
    cluster: &Cluster,
    node: NodeId,
    topic: &str,
    wanted: &FetchPartition,
    limit: &Limit,
    refuse: Option<ErrorCode>,
) -> PartitionData {
    let refused = |error_code| PartitionData {
        partition_index: wanted.partition.0,
        error_code,
        high_watermark: -1,
        aborted_transactions: None,
        records: Some(Records::default()),
        ..Default::default()
    };
    if let Some(code) = refuse {
        return refused(code);
    }
    let Some(partition) = cluster.partition(topic, wanted.partition) else {
        return refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    };
    if let Some(code) = partition.refusal(node, wanted.leader_epoch) {
        return refused(code);
    }
    let end_offset = partition.log.end_offset();
    let Some(batches) = partition.log.read(wanted.offset, limit.max_bytes, limit.wants_one) else {
        return refused(ErrorCode::OFFSET_OUT_OF_RANGE);
    };
    PartitionData {
        partition_index: wanted.partition.0,
        // Replicas in memory have every record at once.
        high_watermark: end_offset,
        last_stable_offset: end_offset,
        log_start_offset: 0,
        aborted_transactions: None,
        records: Some(batches.into()),
        ..Default::default()
    }
}
