//! CreateTopics (key 19): creates topics.

use super::declaration::messages;
use crate::error_code::ErrorCode;
use crate::uuid::Uuid;

messages! {
    /// The topics to create.
    request CreateTopicsRequest (key 19, versions 2..=7, flexible 5..) -> CreateTopicsResponse {
        /// The topics.
        0.. topics: Vec<CreatableTopic>,
        /// Milliseconds that the broker may take.
        0.. timeout_ms: i32 = 60_000,
        /// Whether to only check the request.
        1.. validate_only: bool,
    }

    /// A topic to create.
    struct CreatableTopic {
        /// The topic's name.
        0.. name: String,
        /// Number of partitions; -1 for the broker's default, or if `assignments` is set.
        0.. num_partitions: i32,
        /// Number of replicas per partition; -1 for the broker's default, or if `assignments` is set.
        0.. replication_factor: i16,
        /// The brokers of each partition; empty lets the cluster choose.
        0.. assignments: Vec<CreatableReplicaAssignment>,
        /// Settings that differ from the broker's.
        0.. configs: Vec<CreatableTopicConfig>,
    }

    /// The replicas of one partition.
    struct CreatableReplicaAssignment {
        /// The partition's number.
        0.. partition_index: i32,
        /// The replicas' node ids; the first is the preferred leader.
        0.. broker_ids: Vec<i32>,
    }

    /// One setting of a topic to create.
    struct CreatableTopicConfig {
        /// The setting's name, such as `min.insync.replicas`.
        0.. name: String,
        /// The setting's value; null is the default.
        0.. value: Option<String>,
    }

    /// Result for each topic.
    response CreateTopicsResponse {
        /// Milliseconds for which the broker throttles this connection; 0 if it does not.
        2.. [ignorable] throttle_time_ms: i32,
        /// Results by topic.
        0.. topics: Vec<CreatableTopicResult>,
    }

    /// Result for one topic.
    struct CreatableTopicResult {
        /// The topic's name.
        0.. name: String,
        /// The topic's id.
        7.. [ignorable] topic_id: Uuid,
        /// 0, or why the topic was not created.
        0.. error_code: ErrorCode,
        /// The error in words.
        1.. [ignorable, null 0..] error_message: Option<String>,
        /// 0, or why `configs` is missing (KIP-525).
        5.. [ignorable, tag 0] topic_config_error_code: ErrorCode,
        /// Number of partitions, -1 if the topic was not created.
        5.. [ignorable] num_partitions: i32 = -1,
        /// Number of replicas per partition, -1 if the topic was not created.
        5.. [ignorable] replication_factor: i16 = -1,
        /// All settings of the topic, if this client may see them.
        5.. [ignorable] configs: Option<Vec<CreatableTopicConfigs>>,
    }

    /// One setting of a created topic.
    struct CreatableTopicConfigs {
        /// The setting's name, such as `min.insync.replicas`.
        5.. name: String,
        /// The setting's value, null if it is secret.
        5.. value: Option<String>,
        /// Whether the setting is read-only.
        5.. read_only: bool,
        /// The source of the value, -1 if unknown.
        5.. [ignorable] config_source: i8 = -1,
        /// Whether the setting is secret.
        5.. is_sensitive: bool,
    }
}
