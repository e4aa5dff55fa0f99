//! Produce (key 0): sends record batches to partitions and returns their results.
//!
//! Version 3 added record batches of magic 2, 7 zstd (KIP-110), 8 errors per record (KIP-467), 10 the new leader in the
//! response (KIP-951), 11 [`ErrorCode::TRANSACTION_ABORTABLE`], 12 adding partitions to a transaction implicitly
//! (KIP-890), 13 topic ids instead of names (KIP-516). With `acks` 0 there is no response.

use super::declaration::messages;
use crate::error_code::ErrorCode;
use crate::records::Records;
use crate::uuid::Uuid;

messages! {
    /// Sends record batches to the leaders of their partitions.
    request ProduceRequest (key 0, versions 3..=13, flexible 9..) -> ProduceResponse {
        /// The transaction of the batches, if any.
        3.. transactional_id: Option<String> = None,
        /// Replicas that must have the batches before the response: 0 none (and no response), 1 the leader, -1 all
        /// in-sync replicas.
        0.. acks: i16,
        /// Milliseconds that the leader may wait for other replicas.
        0.. timeout_ms: i32,
        /// The batches by topic.
        0.. topic_data: Vec<TopicProduceData>,
    }

    /// Batches for one topic.
    struct TopicProduceData {
        /// The topic's name.
        0..=12 [ignorable] name: String,
        /// The topic's id.
        13.. [ignorable] topic_id: Uuid,
        /// The batches by partition.
        0.. partition_data: Vec<PartitionProduceData>,
    }

    /// The batch for one partition.
    struct PartitionProduceData {
        /// The partition's number in its topic.
        0.. index: i32,
        /// One record batch; the broker refuses more than one.
        0.. records: Option<Records> = None,
    }

    /// Result for each batch.
    response ProduceResponse {
        /// Results by topic.
        0.. responses: Vec<TopicProduceResponse>,
        /// Milliseconds for which the broker throttles this connection; 0 if it does not.
        1.. [ignorable] throttle_time_ms: i32,
        /// Addresses of the leaders in `current_leader`.
        10.. [tag 0] node_endpoints: Vec<NodeEndpoint>,
    }

    /// Results for one topic.
    struct TopicProduceResponse {
        /// The topic's name.
        0..=12 [ignorable] name: String,
        /// The topic's id.
        13.. [ignorable] topic_id: Uuid,
        /// Results by partition.
        0.. partition_responses: Vec<PartitionProduceResponse>,
    }

    /// Result for one partition.
    struct PartitionProduceResponse {
        /// The partition's number in its topic.
        0.. index: i32,
        /// 0, or why the batch was refused.
        0.. error_code: ErrorCode,
        /// The offset of the batch's first record.
        0.. base_offset: i64,
        /// The time of the append, in milliseconds since 1970, if the topic uses LogAppendTime; else -1.
        2.. [ignorable] log_append_time_ms: i64 = -1,
        /// The partition's first offset, -1 if unknown.
        5.. [ignorable] log_start_offset: i64 = -1,
        /// The invalid records (KIP-467).
        8.. [ignorable] record_errors: Vec<BatchIndexAndErrorMessage>,
        /// The error that the invalid records have in common.
        8.. [ignorable] error_message: Option<String> = None,
        /// The current leader, if this broker is not (KIP-951).
        10.. [tag 0] current_leader: LeaderIdAndEpoch,
    }

    /// One invalid record.
    struct BatchIndexAndErrorMessage {
        /// The record's index in the batch, from 0.
        8.. batch_index: i32,
        /// The record's error.
        8.. batch_index_error_message: Option<String> = None,
    }

    /// A partition's leader; both fields are -1 if absent.
    struct LeaderIdAndEpoch {
        /// The leader's node id.
        10.. leader_id: i32 = -1,
        /// The leader's epoch.
        10.. leader_epoch: i32 = -1,
    }

    /// A broker and its address.
    struct NodeEndpoint {
        /// The broker's node id.
        10.. node_id: i32,
        /// The host to connect to.
        10.. host: String,
        /// The port to connect to.
        10.. port: i32,
        /// The broker's rack, if it has one.
        10.. rack: Option<String> = None,
    }
}
