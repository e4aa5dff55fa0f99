//! CreateTopics (key 19): makes topics.

use crate::error_code::ErrorCode;
use crate::schema::messages;
use crate::uuid::Uuid;

messages! {
    /// The topics to make.
    request CreateTopicsRequest (key 19, versions 2..=7, flexible 5..) -> CreateTopicsResponse {
        /// One by one.
        0.. topics: Vec<CreatableTopic>,
        /// Milliseconds that the broker may take.
        0.. timeout_ms: i32 = 60_000,
        /// Whether to check only, and make none.
        1.. validate_only: bool,
    }

    /// A topic to make.
    struct CreatableTopic {
        /// Its name.
        0.. name: String,
        /// How many partitions; -1 for the broker's default, or when `assignments` says it.
        0.. num_partitions: i32,
        /// How many replicas each; -1 for the broker's default, or when `assignments` says it.
        0.. replication_factor: i16,
        /// Which brokers get which partition; empty lets the cluster choose.
        0.. assignments: Vec<CreatableReplicaAssignment>,
        /// Its configuration, where it differs from the broker's.
        0.. configs: Vec<CreatableTopicConfig>,
    }

    /// The replicas of one partition.
    struct CreatableReplicaAssignment {
        /// The partition's number.
        0.. partition_index: i32,
        /// The node ids; the first is to lead.
        0.. broker_ids: Vec<i32>,
    }

    /// One configuration of a topic to make.
    struct CreatableTopicConfig {
        /// Such as `min.insync.replicas`.
        0.. name: String,
        /// Its value; null asks for the default.
        0.. value: Option<String>,
    }

    /// What became of each topic.
    response CreateTopicsResponse {
        /// Milliseconds for which the broker throttles this connection; 0 if it does not.
        2.. [ignorable] throttle_time_ms: i32,
        /// One by one.
        0.. topics: Vec<CreatableTopicResult>,
    }

    /// What became of one topic.
    struct CreatableTopicResult {
        /// Its name.
        0.. name: String,
        /// Its id.
        7.. [ignorable] topic_id: Uuid,
        /// 0, or why it was not made.
        0.. error_code: ErrorCode,
        /// The same in words.
        1.. [ignorable, null 0..] error_message: Option<String>,
        /// 0, or why `configs` says nothing (KIP-525).
        5.. [ignorable, tag 0] topic_config_error_code: ErrorCode,
        /// How many partitions it has, -1 if it was not made.
        5.. [ignorable] num_partitions: i32 = -1,
        /// How many replicas each has, -1 if it was not made.
        5.. [ignorable] replication_factor: i16 = -1,
        /// Its whole configuration, if this client may see it.
        5.. [ignorable] configs: Option<Vec<CreatableTopicConfigs>>,
    }

    /// One configuration of a topic made.
    struct CreatableTopicConfigs {
        /// Such as `min.insync.replicas`.
        5.. name: String,
        /// Its value, null if it is secret.
        5.. value: Option<String>,
        /// Whether it cannot be changed.
        5.. read_only: bool,
        /// Where the value comes from, -1 if unknown.
        5.. [ignorable] config_source: i8 = -1,
        /// Whether it is a secret.
        5.. is_sensitive: bool,
    }
}
