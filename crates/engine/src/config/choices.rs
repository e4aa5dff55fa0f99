//! Settings that choose one of several named values.

use kurier_compression::CompressionType;
use kurier_protocol::UnknownCompression;

use super::values::{Value, cannot_be};
use crate::error::Error;

/// Which replicas must have a record before the broker acknowledges it (`acks`).
///
/// See `kurier::ProducerBuilder` for an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Acks {
    /// None. The broker does not respond, and a record counts as sent when its last byte was written.
    None,
    /// The partition's leader.
    Leader,
    /// All in-sync replicas, at least `min.insync.replicas`.
    #[default]
    All,
}

impl Acks {
    /// Returns the value in a Produce request.
    #[doc(hidden)]
    pub fn wire(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

impl Value for Acks {
    fn read(key: &str, text: &str) -> Result<Self, Error> {
        match text {
            "0" => Ok(Self::None),
            "1" => Ok(Self::Leader),
            "all" | "-1" => Ok(Self::All),
            _ => Err(cannot_be(key, text, "it is 0, 1 or all (-1 means all)")),
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::None => "0",
            Self::Leader => "1",
            Self::All => "all",
        }
        .to_owned()
    }
}

/// How records without a partition get one (`partitioner.class`, librdkafka's `partitioner`).
///
/// ```
/// let mut config = kurier::Config::default();
/// config.set("partitioner", "consistent_random")?; // where librdkafka would put them
/// # Ok::<(), kurier::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartitionerChoice {
    /// As in Java: by the key's murmur2 hash, or the sticky partition for records without a key.
    #[default]
    Java,
    /// One partition after the other.
    RoundRobin,
    /// Every record must name its partition.
    Explicit,
    /// A rule of librdkafka with this name; see [`kurier_partitioner::Keyed`].
    Keyed(&'static str),
}

impl Value for PartitionerChoice {
    fn read(key: &str, text: &str) -> Result<Self, Error> {
        match text.rsplit('.').next().unwrap_or_default() {
            "" | "java" | "DefaultPartitioner" | "UniformStickyPartitioner" => Ok(Self::Java),
            "RoundRobinPartitioner" | "round_robin" => Ok(Self::RoundRobin),
            "explicit" => Ok(Self::Explicit),
            name => match kurier_partitioner::Keyed::named(name) {
                Some(keyed) => Ok(Self::Keyed(keyed.name())),
                None => Err(cannot_be(
                    key,
                    text,
                    "it is java, round_robin, explicit, or one of librdkafka's: murmur2, murmur2_random, consistent, \
                     consistent_random, fnv1a, fnv1a_random; to use your own, pass it to the builder's partitioner()",
                )),
            },
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Java => "java",
            Self::RoundRobin => "round_robin",
            Self::Explicit => "explicit",
            Self::Keyed(name) => name,
        }
        .to_owned()
    }
}

/// Recovery when the producer can reach no known node (`metadata.recovery.strategy`, KIP-899).
///
/// See [`Config`](crate::Config) for an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recovery {
    /// Keep trying the known nodes.
    None,
    /// Ask the bootstrap servers again.
    #[default]
    Rebootstrap,
}

impl Value for Recovery {
    fn read(key: &str, text: &str) -> Result<Self, Error> {
        match text.to_ascii_lowercase().as_str() {
            "none" => Ok(Self::None),
            "rebootstrap" => Ok(Self::Rebootstrap),
            _ => Err(cannot_be(key, text, "it is none or rebootstrap")),
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::None => "none",
            Self::Rebootstrap => "rebootstrap",
        }
        .to_owned()
    }
}

/// Which addresses and names of the bootstrap servers are used (`client.dns.lookup`).
///
/// See [`Config`](crate::Config) for an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DnsLookup {
    /// All addresses of each name.
    #[default]
    AllAddresses,
    /// The canonical name of each address of each name.
    CanonicalNames,
}

impl Value for DnsLookup {
    fn read(key: &str, text: &str) -> Result<Self, Error> {
        match text {
            "use_all_dns_ips" => Ok(Self::AllAddresses),
            "resolve_canonical_bootstrap_servers_only" => Ok(Self::CanonicalNames),
            _ => Err(cannot_be(key, text, "it is use_all_dns_ips or resolve_canonical_bootstrap_servers_only")),
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::AllAddresses => "use_all_dns_ips",
            Self::CanonicalNames => "resolve_canonical_bootstrap_servers_only",
        }
        .to_owned()
    }
}

impl Value for CompressionType {
    fn read(key: &str, text: &str) -> Result<Self, Error> {
        text.parse().map_err(|_: UnknownCompression| cannot_be(key, text, "it is none, gzip, snappy, lz4 or zstd"))
    }

    fn shown(&self) -> String {
        self.to_string()
    }
}
