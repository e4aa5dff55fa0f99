//! EndTxn (key 26): commits or aborts a transaction (KIP-98).
//!
//! From version 5 on the answer holds the id and epoch for the next transaction (KIP-890).

use crate::error_code::ErrorCode;
use crate::schema::messages;

messages! {
    /// Ends the transaction.
    request EndTxnRequest (key 26, versions 0..=5, flexible 3..) -> EndTxnResponse {
        /// Which.
        0.. transactional_id: String,
        /// Its producer.
        0.. producer_id: i64,
        /// The producer's epoch.
        0.. producer_epoch: i16,
        /// True commits, false aborts.
        0.. committed: bool,
    }

    /// Whether it ended.
    response EndTxnResponse {
        /// Milliseconds for which the broker throttles this connection; 0 if it does not.
        0.. throttle_time_ms: i32,
        /// 0, or why not.
        0.. error_code: ErrorCode,
        /// The producer id from now on, -1 if it stays.
        5.. [ignorable] producer_id: i64 = -1,
        /// The epoch from now on, -1 if it stays.
        5.. [ignorable] producer_epoch: i16 = -1,
    }
}
