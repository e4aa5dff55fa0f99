//! Fetch (key 1): reads record batches. A producer needs it only for tests and tools, so versions after 12 are left
//! out: 12 is the last that uses topic names, and the first with flexible encoding.

use super::declaration::messages;
use crate::error_code::ErrorCode;
use crate::records::Records;

messages! {
    /// Asks for records from given offsets.
    request FetchRequest (key 1, versions 4..=12, flexible 12..) -> FetchResponse {
        /// The expected cluster id; only for replicas of a KRaft log.
        12.. [ignorable, tag 0] cluster_id: Option<String> = None,
        /// The node id of a broker that reads, -1 for a consumer.
        0..=14 replica_id: i32 = -1,
        /// Milliseconds to wait for `min_bytes`.
        0.. max_wait_ms: i32,
        /// Minimum number of bytes in a response.
        0.. min_bytes: i32,
        /// Maximum number of bytes in total; a larger first batch is returned anyway (KIP-74).
        3.. [ignorable] max_bytes: i32 = i32::MAX,
        /// 0 reads all records, 1 only committed ones (KIP-98).
        4.. [ignorable] isolation_level: i8,
        /// The fetch session, 0 for none (KIP-227).
        7.. [ignorable] session_id: i32,
        /// The session's epoch; -1 for no session.
        7.. [ignorable] session_epoch: i32 = -1,
        /// The partitions by topic.
        0.. topics: Vec<FetchTopic>,
        /// Partitions to remove from the session.
        7.. forgotten_topics_data: Vec<ForgottenTopic>,
        /// The reader's rack, for reading from a nearby replica (KIP-392).
        11.. [ignorable] rack_id: String,
    }

    /// Request for one topic.
    struct FetchTopic {
        /// The topic's name.
        0..=12 [ignorable] topic: String,
        /// Requests by partition.
        0.. partitions: Vec<FetchPartition>,
    }

    /// Request for one partition.
    struct FetchPartition {
        /// The partition's number.
        0.. partition: i32,
        /// The leader epoch that the reader knows, -1 if unknown (KIP-320).
        9.. [ignorable] current_leader_epoch: i32 = -1,
        /// The offset to begin with.
        0.. fetch_offset: i64,
        /// The epoch of the last record read, -1 if there is none (KIP-595).
        12.. last_fetched_epoch: i32 = -1,
        /// The first offset of a reading replica, -1 for a consumer.
        5.. [ignorable] log_start_offset: i64 = -1,
        /// Maximum number of bytes from this partition.
        0.. partition_max_bytes: i32,
    }

    /// Partitions of one topic to remove from the session.
    struct ForgottenTopic {
        /// The topic's name.
        7..=12 [ignorable] topic: String,
        /// The partitions' numbers.
        7.. partitions: Vec<i32>,
    }

    /// Records by partition.
    response FetchResponse {
        /// Milliseconds for which the broker throttles this connection; 0 if it does not.
        1.. [ignorable] throttle_time_ms: i32,
        /// 0, or an error of the whole request.
        7.. [ignorable] error_code: ErrorCode,
        /// The fetch session, 0 for none.
        7.. session_id: i32,
        /// Records by topic.
        0.. responses: Vec<FetchableTopicResponse>,
    }

    /// Records of one topic.
    struct FetchableTopicResponse {
        /// The topic's name.
        0..=12 [ignorable] topic: String,
        /// Records by partition.
        0.. partitions: Vec<PartitionData>,
    }

    /// Records of one partition.
    struct PartitionData {
        /// The partition's number.
        0.. partition_index: i32,
        /// 0, or why no records were read.
        0.. error_code: ErrorCode,
        /// The first offset that is not yet replicated.
        0.. high_watermark: i64,
        /// The first offset of the oldest open transaction, -1 if unknown (KIP-98).
        4.. [ignorable] last_stable_offset: i64 = -1,
        /// The partition's first offset, -1 if unknown.
        5.. [ignorable] log_start_offset: i64 = -1,
        /// The position where the reader's log diverges from the leader's (KIP-595).
        12.. [tag 0] diverging_epoch: EpochEndOffset,
        /// The current leader, if this broker is not (KIP-951).
        12.. [tag 1] current_leader: LeaderIdAndEpoch,
        /// The snapshot to fetch instead (KIP-630).
        12.. [tag 2] snapshot_id: SnapshotId,
        /// The transactions whose records a reader of committed data must skip.
        4.. [ignorable] aborted_transactions: Option<Vec<AbortedTransaction>>,
        /// The replica to read from in future, -1 for this one (KIP-392).
        11.. preferred_read_replica: i32 = -1,
        /// Record batches; the last one may be incomplete.
        0.. records: Option<Records> = None,
    }

    /// An epoch and its end; both are -1 if absent.
    struct EpochEndOffset {
        /// The epoch.
        12.. epoch: i32 = -1,
        /// The first offset after the epoch.
        12.. end_offset: i64 = -1,
    }

    /// A partition's leader; both fields are -1 if absent.
    struct LeaderIdAndEpoch {
        /// The leader's node id.
        12.. leader_id: i32 = -1,
        /// The leader's epoch.
        12.. leader_epoch: i32 = -1,
    }

    /// A snapshot; both fields are -1 if absent.
    struct SnapshotId {
        /// The first offset after the snapshot.
        0.. end_offset: i64 = -1,
        /// The epoch of the snapshot's last record.
        0.. epoch: i32 = -1,
    }

    /// An aborted transaction.
    struct AbortedTransaction {
        /// The producer's id.
        4.. producer_id: i64,
        /// The offset of the transaction's first record in the partition.
        4.. first_offset: i64,
    }
}
