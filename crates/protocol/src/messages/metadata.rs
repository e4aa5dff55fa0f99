//! Metadata (key 3): returns the brokers and the leader of each partition.
//!
//! Since version 10 topics have ids (KIP-516); since version 12 a request may name a topic by its id alone. Version 13
//! can tell the client to start again from its bootstrap servers (KIP-1102).

use super::declaration::messages;
use crate::error_code::ErrorCode;
use crate::uuid::Uuid;

messages! {
    /// Asks for the brokers and for the leaders of the named topics.
    request MetadataRequest (key 3, versions 0..=13, flexible 9..) -> MetadataResponse {
        /// The topics. `None` requests all of them, an empty list none (in version 0 the empty list requests all).
        0.. [null 1..] topics: Option<Vec<MetadataRequestTopic>>,
        /// Whether the broker may create a missing topic, if its own configuration allows that.
        4.. allow_auto_topic_creation: bool = true,
        /// Whether to return this client's permissions on the cluster.
        8..=10 include_cluster_authorized_operations: bool,
        /// Whether to return this client's permissions on each topic.
        8.. include_topic_authorized_operations: bool,
    }

    /// A requested topic.
    struct MetadataRequestTopic {
        /// The topic's id; zero if the name is given.
        10.. [ignorable] topic_id: Uuid,
        /// The topic's name; null if the id is given.
        0.. [null 10..] name: Option<String>,
    }

    /// The cluster as the answering broker knows it.
    response MetadataResponse {
        /// Milliseconds for which the broker throttles this connection; 0 if it does not.
        3.. [ignorable] throttle_time_ms: i32,
        /// Every live broker.
        0.. brokers: Vec<MetadataResponseBroker>,
        /// The cluster's id (KIP-78).
        2.. [ignorable] cluster_id: Option<String> = None,
        /// The controller's node id, -1 if unknown.
        1.. [ignorable] controller_id: i32 = -1,
        /// Every requested topic.
        0.. topics: Vec<MetadataResponseTopic>,
        /// This client's permissions on the cluster as a bit field; `i32::MIN` if not requested (KIP-430).
        8..=10 cluster_authorized_operations: i32 = i32::MIN,
        /// [`ErrorCode::REBOOTSTRAP_REQUIRED`] tells the client to start again from its bootstrap servers (KIP-1102).
        13.. [ignorable] error_code: ErrorCode,
    }

    /// A broker and its address.
    struct MetadataResponseBroker {
        /// The broker's node id.
        0.. node_id: i32,
        /// The host to connect to.
        0.. host: String,
        /// The port to connect to.
        0.. port: i32,
        /// The broker's rack, if it has one.
        1.. [ignorable] rack: Option<String> = None,
    }

    /// A topic.
    struct MetadataResponseTopic {
        /// 0, or an error for this topic.
        0.. error_code: ErrorCode,
        /// The topic's name; null if the request had an unknown id.
        0.. [null 12..] name: Option<String>,
        /// The topic's id.
        10.. [ignorable] topic_id: Uuid,
        /// Whether the topic is internal to Kafka.
        1.. [ignorable] is_internal: bool,
        /// The topic's partitions, in no particular order.
        0.. partitions: Vec<MetadataResponsePartition>,
        /// This client's permissions on the topic as a bit field; `i32::MIN` if not requested (KIP-430).
        8.. topic_authorized_operations: i32 = i32::MIN,
    }

    /// A partition and its replicas.
    struct MetadataResponsePartition {
        /// 0, or an error for this partition.
        0.. error_code: ErrorCode,
        /// The partition's number in its topic.
        0.. partition_index: i32,
        /// The leader's node id, -1 if there is none.
        0.. leader_id: i32,
        /// Number of leader changes, -1 if unknown (KIP-320).
        7.. [ignorable] leader_epoch: i32 = -1,
        /// The node ids of all replicas.
        0.. replica_nodes: Vec<i32>,
        /// The node ids of the in-sync replicas.
        0.. isr_nodes: Vec<i32>,
        /// The node ids of the offline replicas.
        5.. [ignorable] offline_replicas: Vec<i32>,
    }
}
