//! A Kafka cluster in memory.
mod api_versions;
mod batch;
mod cluster;
mod create_topics;
mod fault;
mod fetch;
mod find_coordinator;
mod init_producer_id;
mod list_offsets;
mod log;
mod metadata;
mod node;
mod produce;
mod reader;
mod server;

pub use cluster::{Cluster, ClusterError, ClusterSettings, TopicSettings};
pub use fault::{Fault, FaultKind};
pub use node::Reply;
pub use server::{Broker, BrokerBuilder};
