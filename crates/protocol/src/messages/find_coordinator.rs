//! FindCoordinator (key 10): finds the broker that keeps the state of a transaction or a consumer group.
//!
//! Requests have one key up to version 3, several from version 4 on (KIP-699).

use super::declaration::messages;
use crate::error_code::ErrorCode;

messages! {
    /// Asks for coordinators.
    request FindCoordinatorRequest (key 10, versions 0..=6, flexible 3..) -> FindCoordinatorResponse {
        /// The group or transactional id.
        0..=3 key: String,
        /// Type of the keys: 0 groups, 1 transactional ids, 2 share partitions.
        1.. key_type: i8,
        /// The groups or transactional ids.
        4.. coordinator_keys: Vec<String>,
    }

    /// The coordinators.
    response FindCoordinatorResponse {
        /// Milliseconds for which the broker throttles this connection; 0 if it does not.
        1.. [ignorable] throttle_time_ms: i32,
        /// 0, or why there is no coordinator.
        0..=3 error_code: ErrorCode,
        /// The error in words.
        1..=3 [ignorable] error_message: Option<String>,
        /// The coordinator's node id.
        0..=3 node_id: i32,
        /// The host to connect to.
        0..=3 host: String,
        /// The port to connect to.
        0..=3 port: i32,
        /// One coordinator for each requested key.
        4.. coordinators: Vec<Coordinator>,
    }

    /// The coordinator of one key.
    struct Coordinator {
        /// The group or transactional id.
        4.. key: String,
        /// The coordinator's node id.
        4.. node_id: i32,
        /// The host to connect to.
        4.. host: String,
        /// The port to connect to.
        4.. port: i32,
        /// 0, or why there is no coordinator.
        4.. error_code: ErrorCode,
        /// The error in words.
        4.. [ignorable] error_message: Option<String>,
    }
}
