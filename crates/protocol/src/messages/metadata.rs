//! Metadata (key 3): who the brokers are and who leads each partition.
//!
//! Since version 10 topics have ids (KIP-516), since 12 they may be asked for by id alone; version 13 may tell the
//! client to start again from its bootstrap servers (KIP-1102).

use crate::error_code::ErrorCode;
use crate::schema::messages;
use crate::uuid::Uuid;

messages! {
    /// Asks who the brokers are and who leads each partition of the named topics.
    request MetadataRequest (key 3, versions 0..=13, flexible 9..) -> MetadataResponse {
        /// Which topics. `None` asks for all of them, an empty list for none (in version 0 the empty list asked for all).
        0.. [null 1..] topics: Option<Vec<MetadataRequestTopic>>,
        /// Whether the broker may create a topic that is missing, if its own configuration agrees.
        4.. allow_auto_topic_creation: bool = true,
        /// Whether to say what this client may do with the cluster.
        8..=10 include_cluster_authorized_operations: bool,
        /// Whether to say what this client may do with each topic.
        8.. include_topic_authorized_operations: bool,
    }

    /// A topic to be told about.
    struct MetadataRequestTopic {
        /// Its id; zero where the name is given.
        10.. [ignorable] topic_id: Uuid,
        /// Its name, null where the id is given.
        0.. [null 10..] name: Option<String>,
    }

    /// The cluster, as the answering broker sees it.
    response MetadataResponse {
        /// Milliseconds for which the broker throttles this connection; 0 if it does not.
        3.. [ignorable] throttle_time_ms: i32,
        /// Every live broker.
        0.. brokers: Vec<MetadataResponseBroker>,
        /// The cluster's id (KIP-78).
        2.. [ignorable] cluster_id: Option<String> = None,
        /// The controller's node id, -1 if unknown.
        1.. [ignorable] controller_id: i32 = -1,
        /// Every topic asked for.
        0.. topics: Vec<MetadataResponseTopic>,
        /// A bit field of what this client may do with the cluster; `i32::MIN` if it was not asked for (KIP-430).
        8..=10 cluster_authorized_operations: i32 = i32::MIN,
        /// [`ErrorCode::REBOOTSTRAP_REQUIRED`] tells the client to start again from its bootstrap servers (KIP-1102).
        13.. [ignorable] error_code: ErrorCode,
    }

    /// A broker and where it listens.
    struct MetadataResponseBroker {
        /// Its node id.
        0.. node_id: i32,
        /// The host to connect to.
        0.. host: String,
        /// The port to connect to.
        0.. port: i32,
        /// Its rack, if it has one.
        1.. [ignorable] rack: Option<String> = None,
    }

    /// A topic.
    struct MetadataResponseTopic {
        /// 0, or why nothing can be said of it.
        0.. error_code: ErrorCode,
        /// Its name; null if it was asked for by an id that is unknown.
        0.. [null 12..] name: Option<String>,
        /// Its id.
        10.. [ignorable] topic_id: Uuid,
        /// Whether it is Kafka's own.
        1.. [ignorable] is_internal: bool,
        /// Its partitions, in no particular order.
        0.. partitions: Vec<MetadataResponsePartition>,
        /// A bit field of what this client may do with the topic; `i32::MIN` if it was not asked for (KIP-430).
        8.. topic_authorized_operations: i32 = i32::MIN,
    }

    /// A partition and its replicas.
    struct MetadataResponsePartition {
        /// 0, or what is wrong with it.
        0.. error_code: ErrorCode,
        /// Its number in the topic.
        0.. partition_index: i32,
        /// The leader's node id, -1 if there is none.
        0.. leader_id: i32,
        /// How often the leader has changed, -1 if unknown (KIP-320).
        7.. [ignorable] leader_epoch: i32 = -1,
        /// The node ids of all replicas.
        0.. replica_nodes: Vec<i32>,
        /// The node ids of the replicas in sync.
        0.. isr_nodes: Vec<i32>,
        /// The node ids of the replicas that are down.
        5.. [ignorable] offline_replicas: Vec<i32>,
    }
}
