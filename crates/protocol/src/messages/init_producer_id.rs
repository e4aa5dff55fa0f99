//! InitProducerId (key 22): gives a producer its id and epoch, which brokers need to check its sequences (KIP-98,
//! KIP-360).
//!
//! Without a transactional id every call returns a new id. Version 6 (KIP-939, two-phase commit) is not stable in Kafka
//! 4.4 and is left out.

use super::declaration::messages;
use crate::error_code::ErrorCode;

messages! {
    /// Asks for a producer id.
    request InitProducerIdRequest (key 22, versions 0..=5, flexible 2..) -> InitProducerIdResponse {
        /// The transactional id; null for a producer that is only idempotent.
        0.. transactional_id: Option<String>,
        /// Milliseconds until the coordinator aborts an open transaction.
        0.. transaction_timeout_ms: i32,
        /// The current producer id, to increase its epoch; -1 for none.
        3.. producer_id: i64 = -1,
        /// The current epoch, -1 for none.
        3.. producer_epoch: i16 = -1,
    }

    /// The id and epoch for the producer.
    response InitProducerIdResponse {
        /// Milliseconds for which the broker throttles this connection; 0 if it does not.
        0.. [ignorable] throttle_time_ms: i32,
        /// 0, or why there is no id.
        0.. error_code: ErrorCode,
        /// The producer id.
        0.. producer_id: i64 = -1,
        /// The producer's epoch.
        0.. producer_epoch: i16,
    }
}
