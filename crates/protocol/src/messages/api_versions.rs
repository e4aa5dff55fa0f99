//! ApiVersions (key 18): the first request on a connection. The broker says which versions of which APIs it speaks.
//!
//! A broker that does not know the version asked answers in version 0 with [`ErrorCode::UNSUPPORTED_VERSION`], and
//! since Kafka 2.4 (KIP-511) with the versions of this API that it does know. The response's header is always v0.

use crate::error_code::ErrorCode;
use crate::schema::messages;

messages! {
    /// Asks what the broker speaks, and says who asks.
    request ApiVersionsRequest (key 18, versions 0..=5, flexible 3..) -> ApiVersionsResponse {
        /// The client's name, such as `kurier`; letters, digits, `-` and `.` (KIP-511).
        3.. [ignorable] client_software_name: String,
        /// The client's version, of the same characters.
        3.. [ignorable] client_software_version: String,
        /// The cluster that the client believes to be talking to; a broker of another refuses (KIP-1242).
        5.. [ignorable] cluster_id: Option<String> = None,
        /// The broker that the client believes to be talking to, -1 if it does not know (KIP-1242).
        5.. [ignorable] node_id: i32 = -1,
    }

    /// What the broker speaks.
    response ApiVersionsResponse {
        /// 0, or why there is no answer.
        0.. error_code: ErrorCode,
        /// One entry an API.
        0.. api_keys: Vec<ApiVersion>,
        /// Milliseconds for which the broker throttles this connection; 0 if it does not.
        1.. [ignorable] throttle_time_ms: i32,
        /// What the broker could do.
        3.. [ignorable, tag 0] supported_features: Vec<SupportedFeatureKey>,
        /// The epoch of `finalized_features`, -1 if unknown.
        3.. [ignorable, tag 1] finalized_features_epoch: i64 = -1,
        /// What the cluster has agreed upon, such as `transaction.version` (KIP-584).
        3.. [ignorable, tag 2] finalized_features: Vec<FinalizedFeatureKey>,
        /// Set by a controller that is ready for the move away from ZooKeeper.
        3.. [ignorable, tag 3] zk_migration_ready: bool,
    }

    /// The versions of one API.
    struct ApiVersion {
        /// Which API.
        0.. api_key: i16,
        /// The lowest version.
        0.. min_version: i16,
        /// The highest version.
        0.. max_version: i16,
    }

    /// A feature that the broker could serve.
    struct SupportedFeatureKey {
        /// Its name.
        3.. name: String,
        /// Its lowest version.
        3.. min_version: i16,
        /// Its highest version.
        3.. max_version: i16,
    }

    /// A feature that the whole cluster serves.
    struct FinalizedFeatureKey {
        /// Its name.
        3.. name: String,
        /// The highest level in force.
        3.. max_version_level: i16,
        /// The lowest level in force.
        3.. min_version_level: i16,
    }
}
