//! AddPartitionsToTxn (key 24): tells the coordinator which partitions a transaction is about to write to (KIP-98).
//!
//! Clients speak versions 0 to 3; from 4 on (KIP-890) brokers ask each other, for many transactions at once.

use crate::error_code::ErrorCode;
use crate::schema::messages;

messages! {
    /// Names partitions.
    request AddPartitionsToTxnRequest (key 24, versions 0..=5, flexible 3..) -> AddPartitionsToTxnResponse {
        /// The transactions, between brokers.
        4.. transactions: Vec<AddPartitionsToTxnTransaction>,
        /// The transaction.
        0..=3 v3_and_below_transactional_id: String,
        /// Its producer.
        0..=3 v3_and_below_producer_id: i64,
        /// The producer's epoch.
        0..=3 v3_and_below_producer_epoch: i16,
        /// The partitions by topic.
        0..=3 v3_and_below_topics: Vec<AddPartitionsToTxnTopic>,
    }

    /// One transaction of many.
    struct AddPartitionsToTxnTransaction {
        /// Which.
        4.. transactional_id: String,
        /// Its producer.
        4.. producer_id: i64,
        /// The producer's epoch.
        4.. producer_epoch: i16,
        /// Whether to check that they belong to it, and add none.
        4.. verify_only: bool,
        /// The partitions by topic.
        4.. topics: Vec<AddPartitionsToTxnTopic>,
    }

    /// Partitions of one topic.
    struct AddPartitionsToTxnTopic {
        /// The topic's name.
        0.. name: String,
        /// The partitions' numbers.
        0.. partitions: Vec<i32>,
    }

    /// What became of each partition.
    response AddPartitionsToTxnResponse {
        /// Milliseconds for which the broker throttles this connection; 0 if it does not.
        0.. throttle_time_ms: i32,
        /// 0, or what failed as a whole.
        4.. [ignorable] error_code: ErrorCode,
        /// By transaction, between brokers.
        4.. results_by_transaction: Vec<AddPartitionsToTxnResult>,
        /// By topic.
        0..=3 results_by_topic_v3_and_below: Vec<AddPartitionsToTxnTopicResult>,
    }

    /// One transaction of many.
    struct AddPartitionsToTxnResult {
        /// Which.
        4.. transactional_id: String,
        /// By topic.
        4.. topic_results: Vec<AddPartitionsToTxnTopicResult>,
    }

    /// What became of one topic's partitions.
    struct AddPartitionsToTxnTopicResult {
        /// The topic's name.
        0.. name: String,
        /// By partition.
        0.. results_by_partition: Vec<AddPartitionsToTxnPartitionResult>,
    }

    /// What became of one partition.
    struct AddPartitionsToTxnPartitionResult {
        /// The partition's number.
        0.. partition_index: i32,
        /// 0, or why it was not added.
        0.. partition_error_code: ErrorCode,
    }
}
