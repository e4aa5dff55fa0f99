//! EndTxn (key 26): commits or aborts a transaction (KIP-98).
//!
//! From version 5 on the response has the id and epoch for the next transaction (KIP-890).

use super::declaration::messages;
use crate::error_code::ErrorCode;

messages! {
    /// Ends the transaction.
    request EndTxnRequest (key 26, versions 0..=5, flexible 3..) -> EndTxnResponse {
        /// The transactional id.
        0.. transactional_id: String,
        /// The producer's id.
        0.. producer_id: i64,
        /// The producer's epoch.
        0.. producer_epoch: i16,
        /// Whether to commit (true) or abort (false).
        0.. committed: bool,
    }

    /// Result of ending the transaction.
    response EndTxnResponse {
        /// Milliseconds for which the broker throttles this connection; 0 if it does not.
        0.. throttle_time_ms: i32,
        /// 0, or why the transaction did not end.
        0.. error_code: ErrorCode,
        /// The next producer id, -1 if unchanged.
        5.. [ignorable] producer_id: i64 = -1,
        /// The next epoch, -1 if unchanged.
        5.. [ignorable] producer_epoch: i16 = -1,
    }
}
