//! AddOffsetsToTxn (key 25): tells the coordinator that a transaction will commit offsets of a consumer group (KIP-98).

use super::declaration::messages;
use crate::error_code::ErrorCode;

messages! {
    /// Names the consumer group to add.
    request AddOffsetsToTxnRequest (key 25, versions 0..=4, flexible 3..) -> AddOffsetsToTxnResponse {
        /// The transactional id.
        0.. transactional_id: String,
        /// The producer's id.
        0.. producer_id: i64,
        /// The producer's epoch.
        0.. producer_epoch: i16,
        /// The consumer group.
        0.. group_id: String,
    }

    /// Result of adding the group.
    response AddOffsetsToTxnResponse {
        /// Milliseconds for which the broker throttles this connection; 0 if it does not.
        0.. throttle_time_ms: i32,
        /// 0, or why the group was not added.
        0.. error_code: ErrorCode,
    }
}
