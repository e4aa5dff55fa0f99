//! TxnOffsetCommit (key 28): commits a consumer group's offsets as part of a transaction (KIP-98, KIP-447).
//!
//! Version 6 of Kafka 4.4, which uses topic ids, is left out until this project supports transactions.

use super::declaration::messages;
use crate::error_code::ErrorCode;

messages! {
    /// The offsets to commit.
    request TxnOffsetCommitRequest (key 28, versions 0..=5, flexible 3..) -> TxnOffsetCommitResponse {
        /// The transactional id.
        0.. transactional_id: String,
        /// The consumer group.
        0.. group_id: String,
        /// The producer's id.
        0.. producer_id: i64,
        /// The producer's epoch.
        0.. producer_epoch: i16,
        /// The consumer's generation or, in the newer group protocol, its member epoch; -1 if unknown (KIP-447). Kafka
        /// 4.4 renamed the field to `generationIdOrMemberEpoch`.
        3.. generation_id: i32 = -1,
        /// The consumer's member id, empty if unknown.
        3.. member_id: String,
        /// The consumer's static id, if it has one.
        3.. group_instance_id: Option<String> = None,
        /// The offsets by topic.
        0.. topics: Vec<TxnOffsetCommitRequestTopic>,
    }

    /// The offsets of one topic.
    struct TxnOffsetCommitRequestTopic {
        /// The topic's name.
        0..=5 [ignorable] name: String,
        /// The offsets by partition.
        0.. partitions: Vec<TxnOffsetCommitRequestPartition>,
    }

    /// The offset of one partition.
    struct TxnOffsetCommitRequestPartition {
        /// The partition's number.
        0.. partition_index: i32,
        /// The next offset to read.
        0.. committed_offset: i64,
        /// The leader epoch of the last record read, -1 if unknown.
        2.. [ignorable] committed_leader_epoch: i32 = -1,
        /// Metadata that the consumer stores with the offset.
        0.. committed_metadata: Option<String>,
    }

    /// Result for each offset.
    response TxnOffsetCommitResponse {
        /// Milliseconds for which the broker throttles this connection; 0 if it does not.
        0.. throttle_time_ms: i32,
        /// Results by topic.
        0.. topics: Vec<TxnOffsetCommitResponseTopic>,
    }

    /// Results for one topic.
    struct TxnOffsetCommitResponseTopic {
        /// The topic's name.
        0..=5 [ignorable] name: String,
        /// Results by partition.
        0.. partitions: Vec<TxnOffsetCommitResponsePartition>,
    }

    /// Result for one partition.
    struct TxnOffsetCommitResponsePartition {
        /// The partition's number.
        0.. partition_index: i32,
        /// 0, or why the offset was not committed.
        0.. error_code: ErrorCode,
    }
}
