//! InitProducerId (key 22): gives a producer the id and epoch under which brokers know its sequences (KIP-98, KIP-360).
//!
//! Without a transactional id every call gives a new id. Version 6 (KIP-939, two-phase commit) is not yet stable in
//! Kafka 4.4 and is left out.

use crate::error_code::ErrorCode;
use crate::schema::messages;

messages! {
    /// Asks for a producer id.
    request InitProducerIdRequest (key 22, versions 0..=5, flexible 2..) -> InitProducerIdResponse {
        /// Null for a producer that is only idempotent.
        0.. transactional_id: Option<String>,
        /// Milliseconds after which the coordinator aborts a transaction left open.
        0.. transaction_timeout_ms: i32,
        /// The id in use, to have its epoch raised; -1 for none.
        3.. producer_id: i64 = -1,
        /// The epoch in use, -1 for none.
        3.. producer_epoch: i16 = -1,
    }

    /// A producer id.
    response InitProducerIdResponse {
        /// Milliseconds for which the broker throttles this connection; 0 if it does not.
        0.. [ignorable] throttle_time_ms: i32,
        /// 0, or why there is no id.
        0.. error_code: ErrorCode,
        /// The id.
        0.. producer_id: i64 = -1,
        /// Its epoch.
        0.. producer_epoch: i16,
    }
}
