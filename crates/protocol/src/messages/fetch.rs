//! Fetch (key 1): reads record batches. A producer needs it for tests and tools alone, so versions end where names end:
//! 12 is the last that names topics, and the first with flexible encoding.

use crate::error_code::ErrorCode;
use crate::records::Records;
use crate::schema::messages;

messages! {
    /// What to read from where.
    request FetchRequest (key 1, versions 4..=12, flexible 12..) -> FetchResponse {
        /// The cluster that the reader believes to be talking to; only for replicas of a KRaft log.
        12.. [ignorable, tag 0] cluster_id: Option<String> = None,
        /// The reading broker's node id, -1 for a consumer.
        0..=14 replica_id: i32 = -1,
        /// Milliseconds to wait for `min_bytes`.
        0.. max_wait_ms: i32,
        /// How many bytes make it worth an answer.
        0.. min_bytes: i32,
        /// How many bytes at most in all; the first batch comes even if it is larger (KIP-74).
        3.. [ignorable] max_bytes: i32 = i32::MAX,
        /// 0 reads everything, 1 only what is committed (KIP-98).
        4.. [ignorable] isolation_level: i8,
        /// The fetch session, 0 for none (KIP-227).
        7.. [ignorable] session_id: i32,
        /// The session's epoch; -1 for no session.
        7.. [ignorable] session_epoch: i32 = -1,
        /// The partitions by topic.
        0.. topics: Vec<FetchTopic>,
        /// What to drop from the session.
        7.. forgotten_topics_data: Vec<ForgottenTopic>,
        /// The reader's rack, to be sent to a near replica (KIP-392).
        11.. [ignorable] rack_id: String,
    }

    /// What to read of one topic.
    struct FetchTopic {
        /// The topic's name.
        0..=12 [ignorable] topic: String,
        /// By partition.
        0.. partitions: Vec<FetchPartition>,
    }

    /// What to read of one partition.
    struct FetchPartition {
        /// The partition's number.
        0.. partition: i32,
        /// The leader's epoch as the reader knows it, -1 if it does not (KIP-320).
        9.. [ignorable] current_leader_epoch: i32 = -1,
        /// The offset to begin with.
        0.. fetch_offset: i64,
        /// The epoch of the last record read, -1 if there is none (KIP-595).
        12.. last_fetched_epoch: i32 = -1,
        /// The first offset that a reading replica has, -1 for a consumer.
        5.. [ignorable] log_start_offset: i64 = -1,
        /// How many bytes at most of this partition.
        0.. partition_max_bytes: i32,
    }

    /// What a session need not read any more.
    struct ForgottenTopic {
        /// The topic's name.
        7..=12 [ignorable] topic: String,
        /// The partitions' numbers.
        7.. partitions: Vec<i32>,
    }

    /// What was read.
    response FetchResponse {
        /// Milliseconds for which the broker throttles this connection; 0 if it does not.
        1.. [ignorable] throttle_time_ms: i32,
        /// 0, or what failed as a whole.
        7.. [ignorable] error_code: ErrorCode,
        /// The fetch session, 0 for none.
        7.. session_id: i32,
        /// By topic.
        0.. responses: Vec<FetchableTopicResponse>,
    }

    /// What was read of one topic.
    struct FetchableTopicResponse {
        /// The topic's name.
        0..=12 [ignorable] topic: String,
        /// By partition.
        0.. partitions: Vec<PartitionData>,
    }

    /// What was read of one partition.
    struct PartitionData {
        /// The partition's number.
        0.. partition_index: i32,
        /// 0, or why nothing was read.
        0.. error_code: ErrorCode,
        /// The first offset that is not yet replicated.
        0.. high_watermark: i64,
        /// The first offset of the oldest open transaction, -1 if unknown (KIP-98).
        4.. [ignorable] last_stable_offset: i64 = -1,
        /// The first offset that the partition still has, -1 if unknown.
        5.. [ignorable] log_start_offset: i64 = -1,
        /// Where the reader's log leaves the leader's (KIP-595).
        12.. [tag 0] diverging_epoch: EpochEndOffset,
        /// Who leads now, when this broker does not.
        12.. [tag 1] current_leader: LeaderIdAndEpoch,
        /// The snapshot to fetch instead (KIP-630).
        12.. [tag 2] snapshot_id: SnapshotId,
        /// The transactions whose records a reader of committed data must skip.
        4.. [ignorable] aborted_transactions: Option<Vec<AbortedTransaction>>,
        /// The replica to read from henceforth, -1 to stay (KIP-392).
        11.. preferred_read_replica: i32 = -1,
        /// Record batches; the last may be cut short.
        0.. records: Option<Records> = None,
    }

    /// An epoch and where it ends; both are -1 when it is not told.
    struct EpochEndOffset {
        /// The epoch.
        12.. epoch: i32 = -1,
        /// The first offset after it.
        12.. end_offset: i64 = -1,
    }

    /// A partition's leader; both are -1 when it is not told.
    struct LeaderIdAndEpoch {
        /// The leader's node id.
        12.. leader_id: i32 = -1,
        /// The leader's epoch.
        12.. leader_epoch: i32 = -1,
    }

    /// A snapshot; both are -1 when there is none.
    struct SnapshotId {
        /// The first offset that it does not hold.
        0.. end_offset: i64 = -1,
        /// The epoch of its last record.
        0.. epoch: i32 = -1,
    }

    /// A transaction that was aborted.
    struct AbortedTransaction {
        /// Its producer.
        4.. producer_id: i64,
        /// The offset of its first record in the partition.
        4.. first_offset: i64,
    }
}
