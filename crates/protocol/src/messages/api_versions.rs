//! ApiVersions (key 18): the first request on a connection, which asks for the broker's versions of each API.
//!
//! A broker that does not know the request's version answers in version 0 with [`ErrorCode::UNSUPPORTED_VERSION`], and
//! since Kafka 2.4 (KIP-511) with its versions of this API. The response's header is always v0.

use super::declaration::messages;
use crate::error_code::ErrorCode;

messages! {
    /// Asks for the broker's versions and identifies the client.
    request ApiVersionsRequest (key 18, versions 0..=5, flexible 3..) -> ApiVersionsResponse {
        /// The client's name, such as `kurier`; letters, digits, `-` and `.` (KIP-511).
        3.. [ignorable] client_software_name: String,
        /// The client's version; the same characters are allowed.
        3.. [ignorable] client_software_version: String,
        /// The expected cluster id; a broker of another cluster refuses the request (KIP-1242).
        5.. [ignorable] cluster_id: Option<String> = None,
        /// The expected node id, -1 if unknown (KIP-1242).
        5.. [ignorable] node_id: i32 = -1,
    }

    /// The broker's API versions.
    response ApiVersionsResponse {
        /// 0, or an error.
        0.. error_code: ErrorCode,
        /// One entry per API.
        0.. api_keys: Vec<ApiVersion>,
        /// Milliseconds for which the broker throttles this connection; 0 if it does not.
        1.. [ignorable] throttle_time_ms: i32,
        /// Features that the broker supports.
        3.. [ignorable, tag 0] supported_features: Vec<SupportedFeatureKey>,
        /// The epoch of `finalized_features`, -1 if unknown.
        3.. [ignorable, tag 1] finalized_features_epoch: i64 = -1,
        /// Features that the cluster has enabled, such as `transaction.version` (KIP-584).
        3.. [ignorable, tag 2] finalized_features: Vec<FinalizedFeatureKey>,
        /// Whether a controller is ready for the migration from ZooKeeper.
        3.. [ignorable, tag 3] zk_migration_ready: bool,
    }

    /// The versions of one API.
    struct ApiVersion {
        /// The API's key.
        0.. api_key: i16,
        /// The lowest version.
        0.. min_version: i16,
        /// The highest version.
        0.. max_version: i16,
    }

    /// A feature that the broker supports.
    struct SupportedFeatureKey {
        /// The feature's name.
        3.. name: String,
        /// The lowest version.
        3.. min_version: i16,
        /// The highest version.
        3.. max_version: i16,
    }

    /// A feature that the whole cluster has enabled.
    struct FinalizedFeatureKey {
        /// The feature's name.
        3.. name: String,
        /// The highest enabled level.
        3.. max_version_level: i16,
        /// The lowest enabled level.
        3.. min_version_level: i16,
    }
}
