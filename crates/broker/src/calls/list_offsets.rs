//! ListOffsets 1 to 8.
//!
//! A request gives a timestamp or a special value: -1 for the end, -2 for the beginning, -3 (from version 7 on) for the
//! record with the highest timestamp, -4 (from version 8 on) for the beginning of the local log, which here is the
//! whole log. Kafka 3.7 accepts the special values in every version.

use kurier_protocol::messages::ListOffsetsResponse;
use kurier_protocol::messages::list_offsets::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kurier_protocol::{ErrorCode, PartitionIndex};

use super::call::{Call, Outcome};
use super::reader::{Read, Reader};
use crate::cluster::Cluster;
use crate::log::Found;
use crate::version::KafkaVersion;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;

struct ListOffsetsPartition {
    index: PartitionIndex,
    leader_epoch: i32,
    timestamp: i64,
}

pub(super) fn handle(cluster: &Cluster, call: &Call<'_>, mut reader: Reader<'_>) -> Read<Outcome> {
    let _replica_id = reader.int32()?;
    if call.version >= 2 {
        let _isolation_level = reader.int8()?;
    }
    let topics = reader.array(|reader| {
        let name = reader.string()?.to_owned();
        let partitions = reader.array(|reader| {
            let index = PartitionIndex(reader.int32()?);
            let leader_epoch = if call.version >= 4 { reader.int32()? } else { -1 };
            let timestamp = reader.int64()?;
            reader.tags()?;
            Ok(ListOffsetsPartition { index, leader_epoch, timestamp })
        })?;
        reader.tags()?;
        let partitions = partitions.iter().map(|wanted| find(cluster, call, &name, wanted));
        Ok(ListOffsetsTopicResponse { partitions: partitions.collect(), name })
    })?;
    reader.tags()?;
    reader.end()?;
    Ok(call.answer(&ListOffsetsResponse { throttle_time_ms: call.throttle_time_ms, topics }))
}

fn find(
    cluster: &Cluster,
    call: &Call<'_>,
    topic: &str,
    wanted: &ListOffsetsPartition,
) -> ListOffsetsPartitionResponse {
    let ListOffsetsPartition { index, leader_epoch, timestamp } = *wanted;
    let refused =
        |error_code| ListOffsetsPartitionResponse { partition_index: index.0, error_code, ..Default::default() };
    if let Some(code) = call.refuse {
        return refused(code);
    }
    let Some(partition) = cluster.partition(topic, index) else {
        return refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    };
    if let Some(code) = partition.refusal(call.node, leader_epoch) {
        return refused(code);
    }
    let version = cluster.settings().version;
    let lowest = match call.version {
        _ if version <= KafkaVersion::V3_7 => i64::MIN,
        ..7 => EARLIEST,
        7 => MAX_TIMESTAMP,
        8.. => EARLIEST_LOCAL,
    };
    if timestamp < lowest {
        return refused(ErrorCode::UNSUPPORTED_VERSION);
    }
    let log = &partition.log;
    let at = |offset, leader_epoch| Found { offset, timestamp: -1, leader_epoch };
    let found = match timestamp {
        LATEST => at(log.end_offset(), partition.leader_epoch),
        EARLIEST | EARLIEST_LOCAL => at(0, log.first_epoch().unwrap_or(partition.leader_epoch)),
        MAX_TIMESTAMP => log.newest_record(version).unwrap_or_else(|| at(-1, -1)),
        timestamp => log.record_at(timestamp).unwrap_or_else(|| at(-1, -1)),
    };
    ListOffsetsPartitionResponse {
        partition_index: index.0,
        timestamp: found.timestamp,
        offset: found.offset,
        // The field exists from version 4 on.
        leader_epoch: if call.version >= 4 { found.leader_epoch } else { -1 },
        ..Default::default()
    }
}
