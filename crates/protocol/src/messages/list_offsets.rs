//! ListOffsets (key 2): finds the offset of a timestamp, or a partition's first or last offset. For tests and tools.

use super::declaration::messages;
use crate::error_code::ErrorCode;

messages! {
    /// Asks for offsets.
    request ListOffsetsRequest (key 2, versions 1..=8, flexible 6..) -> ListOffsetsResponse {
        /// The node id of a broker that asks, -1 for a client.
        0.. replica_id: i32,
        /// 0 includes all records, 1 only committed ones (KIP-98).
        2.. isolation_level: i8,
        /// Requests by topic.
        0.. topics: Vec<ListOffsetsTopic>,
    }

    /// Request for one topic.
    struct ListOffsetsTopic {
        /// The topic's name.
        0.. name: String,
        /// Requests by partition.
        0.. partitions: Vec<ListOffsetsPartition>,
    }

    /// Request for one partition.
    struct ListOffsetsPartition {
        /// The partition's number.
        0.. partition_index: i32,
        /// The leader epoch that the client knows, -1 if unknown (KIP-320).
        4.. [ignorable] current_leader_epoch: i32 = -1,
        /// Milliseconds since 1970, or -1 for the end, -2 for the beginning, -3 for the highest timestamp (KIP-734).
        0.. timestamp: i64,
    }

    /// The offsets found.
    response ListOffsetsResponse {
        /// Milliseconds for which the broker throttles this connection; 0 if it does not.
        2.. [ignorable] throttle_time_ms: i32,
        /// Offsets by topic.
        0.. topics: Vec<ListOffsetsTopicResponse>,
    }

    /// The offsets of one topic.
    struct ListOffsetsTopicResponse {
        /// The topic's name.
        0.. name: String,
        /// Offsets by partition.
        0.. partitions: Vec<ListOffsetsPartitionResponse>,
    }

    /// The offset of one partition.
    struct ListOffsetsPartitionResponse {
        /// The partition's number.
        0.. partition_index: i32,
        /// 0, or why there is no offset.
        0.. error_code: ErrorCode,
        /// The timestamp of the found record, -1 if no timestamp was requested.
        1.. timestamp: i64 = -1,
        /// The offset, -1 if none was found.
        1.. offset: i64 = -1,
        /// The epoch of the found record, -1 if unknown.
        4.. leader_epoch: i32 = -1,
    }
}
