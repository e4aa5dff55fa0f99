//! Produce (key 0): record batches for partitions, and what became of them.
//!
//! Version 3 brought record batches of magic 2, 7 zstd (KIP-110), 8 errors by record (KIP-467), 10 the new leader in
//! the answer (KIP-951), 11 [`ErrorCode::TRANSACTION_ABORTABLE`], 12 implicit entry into a transaction (KIP-890), 13
//! topic ids instead of names (KIP-516). With `acks` 0 there is no response at all.

use crate::error_code::ErrorCode;
use crate::records::Records;
use crate::schema::messages;
use crate::uuid::Uuid;

messages! {
    /// Hands record batches to the leaders of their partitions.
    request ProduceRequest (key 0, versions 3..=13, flexible 9..) -> ProduceResponse {
        /// The transaction that the batches belong to, if any.
        3.. transactional_id: Option<String> = None,
        /// Who must have the batches before the answer: 0 nobody (and no answer), 1 the leader, -1 all replicas in sync.
        0.. acks: i16,
        /// Milliseconds that the leader may wait for the other replicas.
        0.. timeout_ms: i32,
        /// The batches by topic.
        0.. topic_data: Vec<TopicProduceData>,
    }

    /// What goes into one topic.
    struct TopicProduceData {
        /// The topic's name.
        0..=12 [ignorable] name: String,
        /// The topic's id.
        13.. [ignorable] topic_id: Uuid,
        /// The batches by partition.
        0.. partition_data: Vec<PartitionProduceData>,
    }

    /// What goes into one partition.
    struct PartitionProduceData {
        /// The partition's number in its topic.
        0.. index: i32,
        /// One record batch; the broker refuses more than one.
        0.. records: Option<Records> = None,
    }

    /// What became of each partition's batch.
    response ProduceResponse {
        /// By topic.
        0.. responses: Vec<TopicProduceResponse>,
        /// Milliseconds for which the broker throttles this connection; 0 if it does not.
        1.. [ignorable] throttle_time_ms: i32,
        /// Where the leaders named in `current_leader` listen.
        10.. [tag 0] node_endpoints: Vec<NodeEndpoint>,
    }

    /// What became of one topic's batches.
    struct TopicProduceResponse {
        /// The topic's name.
        0..=12 [ignorable] name: String,
        /// The topic's id.
        13.. [ignorable] topic_id: Uuid,
        /// By partition.
        0.. partition_responses: Vec<PartitionProduceResponse>,
    }

    /// What became of one partition's batch.
    struct PartitionProduceResponse {
        /// The partition's number in its topic.
        0.. index: i32,
        /// 0, or why the batch was refused.
        0.. error_code: ErrorCode,
        /// The offset of the batch's first record.
        0.. base_offset: i64,
        /// When the broker appended, in milliseconds since 1970, if the topic is of LogAppendTime; else -1.
        2.. [ignorable] log_append_time_ms: i64 = -1,
        /// The first offset that the partition still has, -1 if unknown.
        5.. [ignorable] log_start_offset: i64 = -1,
        /// The records to blame (KIP-467).
        8.. [ignorable] record_errors: Vec<BatchIndexAndErrorMessage>,
        /// What the records to blame have in common.
        8.. [ignorable] error_message: Option<String> = None,
        /// Who leads now, when this broker does not (KIP-951).
        10.. [tag 0] current_leader: LeaderIdAndEpoch,
    }

    /// One record to blame.
    struct BatchIndexAndErrorMessage {
        /// Its place in the batch, from 0.
        8.. batch_index: i32,
        /// What is wrong with it.
        8.. batch_index_error_message: Option<String> = None,
    }

    /// A partition's leader; both are -1 when it is not told.
    struct LeaderIdAndEpoch {
        /// The leader's node id.
        10.. leader_id: i32 = -1,
        /// The leader's epoch.
        10.. leader_epoch: i32 = -1,
    }

    /// A broker and where it listens.
    struct NodeEndpoint {
        /// Its node id.
        10.. node_id: i32,
        /// The host to connect to.
        10.. host: String,
        /// The port to connect to.
        10.. port: i32,
        /// Its rack, if it has one.
        10.. rack: Option<String> = None,
    }
}
