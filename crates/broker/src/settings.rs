//! Settings of clusters and topics.

use std::time::Duration;

use kurier_protocol::Secret;

use crate::version::KafkaVersion;

/// Settings of a topic, after Kafka's names.
///
/// ```
/// use kurier_broker::TopicSettings;
///
/// let strict = TopicSettings { min_insync_replicas: 2, ..TopicSettings::default() };
/// assert_eq!((strict.replication_factor, strict.max_message_bytes), (3, 1_048_588));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// Replicas of each partition. Replicas beyond the number of nodes count as down.
    pub replication_factor: usize,
    /// Replicas that must be in sync for a write with acks=all (`min.insync.replicas`).
    pub min_insync_replicas: usize,
    /// Largest size of a batch, in bytes (`max.message.bytes`).
    pub max_message_bytes: usize,
    /// Whether records get the time of their append (`message.timestamp.type=LogAppendTime`).
    pub is_log_append_time: bool,
    /// How far a record's own timestamp may be ahead of the broker's clock, in milliseconds
    /// (`message.timestamp.after.max.ms`).
    pub timestamp_after_max_ms: i64,
    /// Largest size of a log file, in bytes (`segment.bytes`). This broker writes no files, but Kafka refuses a larger
    /// batch with a special error code.
    pub segment_bytes: usize,
    /// Whether every record needs a key (`cleanup.policy` with `compact`). This broker does not compact.
    pub is_compacted: bool,
}

impl TopicSettings {
    /// Returns the default settings in this version of Kafka. Before 4.0, records may have any timestamp (KIP-1030).
    #[must_use]
    pub fn of(version: KafkaVersion) -> Self {
        let newest = Self::default();
        match version {
            KafkaVersion::V3_7 | KafkaVersion::V3_9 => Self { timestamp_after_max_ms: i64::MAX, ..newest },
            KafkaVersion::V4_3 => newest,
        }
    }
}

impl Default for TopicSettings {
    /// Three replicas, one of them in sync at least, batches of up to 1,048,588 bytes, the records' own timestamps, at
    /// most an hour ahead, segments of 1 GiB, no compaction.
    fn default() -> Self {
        Self {
            replication_factor: 3,
            min_insync_replicas: 1,
            max_message_bytes: 1_048_588,
            is_log_append_time: false,
            timestamp_after_max_ms: 3_600_000,
            segment_bytes: 1 << 30,
            is_compacted: false,
        }
    }
}

/// Settings of a cluster.
///
/// ```
/// use kurier_broker::{Cluster, ClusterSettings};
/// use kurier_protocol::NodeId;
///
/// let cluster = Cluster::new(ClusterSettings { nodes: 3, auto_create_topics: false, ..ClusterSettings::default() });
/// assert!(cluster.node_ids().eq([1, 2, 3].map(NodeId)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// Version of Kafka that the cluster imitates.
    pub version: KafkaVersion,
    /// Number of nodes; their ids count from 1.
    pub nodes: u16,
    /// Whether a metadata request for a missing topic creates it (`auto.create.topics.enable`).
    pub auto_create_topics: bool,
    /// Partitions of an automatically created topic (`num.partitions`).
    pub default_partitions: i32,
    /// Settings of automatically created topics, and of topics created without settings.
    pub default_topic: TopicSettings,
    /// Host that the nodes give to clients. An unspecified address (`0.0.0.0`, `::`) is replaced by the address at
    /// which the client reached its node, and by `localhost` if there is no connection.
    pub host: String,
    /// Hosts and ports that the nodes give to clients instead, in the order of their ids (`advertised.listeners`).
    /// Nodes after the last entry use its host, and the ports after its port. If empty, each node gives `host` and its
    /// listening port.
    pub advertised_listeners: Vec<(String, u16)>,
    /// Whether to refuse input that Kafka accepts but no client should send: bytes after a request or a batch, record
    /// offsets that do not count from 0, lengths below -1, a producer id without an epoch.
    pub is_strict: bool,
    /// Users and mechanisms of SASL. `None` lets everybody connect, without SASL.
    pub sasl: Option<SaslSettings>,
}

impl Default for ClusterSettings {
    /// One strict node of the newest Kafka on 127.0.0.1 that creates missing topics with one partition.
    fn default() -> Self {
        Self {
            version: KafkaVersion::default(),
            nodes: 1,
            auto_create_topics: true,
            default_partitions: 1,
            default_topic: TopicSettings::default(),
            host: "127.0.0.1".to_owned(),
            advertised_listeners: Vec::new(),
            is_strict: true,
            sasl: None,
        }
    }
}

/// Users and mechanisms of SASL. See [`ClusterSettings::sasl`](crate::ClusterSettings::sasl).
///
/// ```
/// use kurier_broker::SaslSettings;
///
/// let sasl = SaslSettings::default().user("alice", "alice-secret");
/// assert_eq!(sasl.mechanisms, ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]);
/// assert!(!format!("{sasl:?}").contains("alice-secret"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaslSettings {
    /// Names and passwords, for PLAIN and SCRAM.
    pub users: Vec<(String, Secret)>,
    /// Mechanisms that the nodes offer (`sasl.enabled.mechanisms`): PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER.
    /// The nodes accept every unsigned token (RFC 7519, `alg` `none`) that names a subject and has not ended.
    pub mechanisms: Vec<String>,
    /// Iterations of SCRAM. Kafka's own tool sets 4,096 to 16,384.
    pub scram_iterations: u32,
    /// How long a session may last before the client must authenticate again (`connections.max.reauth.ms`); `None` for
    /// ever.
    pub max_reauth: Option<Duration>,
    /// Time between a refusal and its answer (`connection.failed.authentication.delay.ms`).
    pub refusal_delay: Duration,
}

impl SaslSettings {
    /// Adds a user. A later password of the same user replaces an earlier one.
    #[must_use]
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.users.push((name.to_owned(), Secret::from(password.as_bytes())));
        self
    }
}

impl Default for SaslSettings {
    /// No users, every mechanism with a password, 4,096 iterations, sessions without end, refusals after 100 ms.
    fn default() -> Self {
        Self {
            users: Vec::new(),
            mechanisms: ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"].map(str::to_owned).to_vec(),
            scram_iterations: 4096,
            max_reauth: None,
            refusal_delay: Duration::from_millis(100),
        }
    }
}
