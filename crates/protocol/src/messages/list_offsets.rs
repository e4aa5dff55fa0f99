//! ListOffsets (key 2): the offset that belongs to a time, or a partition's first or last. For tests and tools.

use crate::error_code::ErrorCode;
use crate::schema::messages;

messages! {
    /// Which offsets.
    request ListOffsetsRequest (key 2, versions 1..=8, flexible 6..) -> ListOffsetsResponse {
        /// The asking broker's node id, -1 for a client.
        0.. replica_id: i32,
        /// 0 counts everything, 1 only what is committed (KIP-98).
        2.. isolation_level: i8,
        /// By topic.
        0.. topics: Vec<ListOffsetsTopic>,
    }

    /// Which offsets of one topic.
    struct ListOffsetsTopic {
        /// The topic's name.
        0.. name: String,
        /// By partition.
        0.. partitions: Vec<ListOffsetsPartition>,
    }

    /// Which offset of one partition.
    struct ListOffsetsPartition {
        /// The partition's number.
        0.. partition_index: i32,
        /// The leader's epoch as the asker knows it, -1 if it does not (KIP-320).
        4.. [ignorable] current_leader_epoch: i32 = -1,
        /// Milliseconds since 1970, or -1 for the end, -2 for the beginning, -3 for the highest timestamp (KIP-734).
        0.. timestamp: i64,
    }

    /// The offsets.
    response ListOffsetsResponse {
        /// Milliseconds for which the broker throttles this connection; 0 if it does not.
        2.. [ignorable] throttle_time_ms: i32,
        /// By topic.
        0.. topics: Vec<ListOffsetsTopicResponse>,
    }

    /// The offsets of one topic.
    struct ListOffsetsTopicResponse {
        /// The topic's name.
        0.. name: String,
        /// By partition.
        0.. partitions: Vec<ListOffsetsPartitionResponse>,
    }

    /// The offset of one partition.
    struct ListOffsetsPartitionResponse {
        /// The partition's number.
        0.. partition_index: i32,
        /// 0, or why there is none.
        0.. error_code: ErrorCode,
        /// The timestamp of the record found, -1 if none was looked for.
        1.. timestamp: i64 = -1,
        /// The offset, -1 if none was found.
        1.. offset: i64 = -1,
        /// The epoch of the record found, -1 if unknown.
        4.. leader_epoch: i32 = -1,
    }
}
