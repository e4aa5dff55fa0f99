//! AddPartitionsToTxn (key 24): announces the partitions that a transaction will write (KIP-98).
//!
//! Clients use versions 0 to 3. Brokers use later versions (KIP-890) among themselves, for several transactions at
//! once.

use super::declaration::messages;
use crate::error_code::ErrorCode;

messages! {
    /// Names the partitions to add.
    request AddPartitionsToTxnRequest (key 24, versions 0..=5, flexible 3..) -> AddPartitionsToTxnResponse {
        /// The transactions (between brokers).
        4.. transactions: Vec<AddPartitionsToTxnTransaction>,
        /// The transactional id.
        0..=3 v3_and_below_transactional_id: String,
        /// The producer's id.
        0..=3 v3_and_below_producer_id: i64,
        /// The producer's epoch.
        0..=3 v3_and_below_producer_epoch: i16,
        /// The partitions by topic.
        0..=3 v3_and_below_topics: Vec<AddPartitionsToTxnTopic>,
    }

    /// One transaction of many.
    struct AddPartitionsToTxnTransaction {
        /// The transactional id.
        4.. transactional_id: String,
        /// The producer's id.
        4.. producer_id: i64,
        /// The producer's epoch.
        4.. producer_epoch: i16,
        /// Whether to only check that the partitions belong to the transaction.
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

    /// Result for each partition.
    response AddPartitionsToTxnResponse {
        /// Milliseconds for which the broker throttles this connection; 0 if it does not.
        0.. throttle_time_ms: i32,
        /// 0, or an error of the whole request.
        4.. [ignorable] error_code: ErrorCode,
        /// Results by transaction (between brokers).
        4.. results_by_transaction: Vec<AddPartitionsToTxnResult>,
        /// Results by topic.
        0..=3 results_by_topic_v3_and_below: Vec<AddPartitionsToTxnTopicResult>,
    }

    /// Result for one transaction.
    struct AddPartitionsToTxnResult {
        /// The transactional id.
        4.. transactional_id: String,
        /// Results by topic.
        4.. topic_results: Vec<AddPartitionsToTxnTopicResult>,
    }

    /// Result for one topic.
    struct AddPartitionsToTxnTopicResult {
        /// The topic's name.
        0.. name: String,
        /// Results by partition.
        0.. results_by_partition: Vec<AddPartitionsToTxnPartitionResult>,
    }

    /// Result for one partition.
    struct AddPartitionsToTxnPartitionResult {
        /// The partition's number.
        0.. partition_index: i32,
        /// 0, or why the partition was not added.
        0.. partition_error_code: ErrorCode,
    }
}
