//! Settings of a producer. One declaration per setting gives its field, its default, its keys in Java and librdkafka,
//! and its line in [`Config::explain`].
//!
//! [`Config::set`] parses text, from a file or key by key; `kurier::ProducerBuilder` sets the same
//! fields by type. Both end in [`Config::check`], which validates the settings against each other.

mod check;
mod choices;
mod explain;
mod foreign;
mod host_port;
mod properties;
mod special;
mod unsupported;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kurier_compression::CompressionType;
use kurier_partitioner::{Explicit, Keyed, Partitioner, RoundRobin, Unkeyed};

pub use choices::{Acks, PartitionerChoice};
pub use choices::{DnsLookup, Recovery};
pub use explain::Explained;
pub use host_port::{HostPort, InvalidHostPort};
pub use kurier_security::Secret;
use special::special;
use values::Value;

use crate::error::{Error, ErrorKind};

/// Milliseconds.
const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])* $key:literal $(| $alias:literal)* => $field:ident: $type:ty = $default:expr;)*) => {
        /// The settings of a producer, with Java's names and defaults.
        ///
        /// ```
        /// use kurier::Config;
        ///
        /// let mut config = Config::default();
        /// config.set("bootstrap.servers", "kafka-1:9092, [::1]:9092")?;
        /// config.set("linger.ms", "20")?;
        /// let error = config.set("linger.m", "20").unwrap_err();
        /// assert!(error.to_string().contains("did you mean linger.ms?"), "{error}");
        /// # Ok::<(), kurier::Error>(())
        /// ```
        ///
        /// Keys that belong only to other clients, such as `group.id`, are accepted and ignored, so that a producer can
        /// share a file with consumers, admin tools and Connect workers. [`explain`](Self::explain) lists them. A
        /// producer has these settings, each with librdkafka's name where it differs:
        ///
        $(#[doc = concat!("* `", $key, "`" $(, ", `", $alias, "`")*, ":" $(, $doc)*)])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config {
            $($(#[doc = $doc])* #[doc(hidden)] pub $field: $type,)*
            /// Explicit settings: Java's name, and the name as it was written.
            made: BTreeMap<&'static str, &'static str>,
            /// Why a setting was adjusted, by key.
            adjusted: BTreeMap<&'static str, String>,
            /// Keys that were given but have no effect, with the reason.
            ignored: BTreeMap<String, &'static str>,
            /// Whether an unsupported or unknown key is an error, not a warning.
            strict: bool,
        }

        impl Default for Config {
            fn default() -> Self {
                Self {
                    $($field: $default,)*
                    made: BTreeMap::new(),
                    adjusted: BTreeMap::new(),
                    ignored: BTreeMap::new(),
                    strict: true,
                }
            }
        }

        impl Config {
            /// Every key, Java's name first, then librdkafka's.
            const KEYS: &'static [&'static [&'static str]] = &[$(&[$key $(, $alias)*],)*];

            /// Returns Java's name of the setting with this key, and the key.
            fn name_of(key: &str) -> Option<(&'static str, &'static str)> {
                let names = Self::KEYS.iter().find(|names| names.contains(&key))?;
                Some((names.first()?, names.iter().find(|name| **name == key)?))
            }

            /// Sets the setting `name`. The error says why `key`, as it was written, cannot have this value.
            fn assign(&mut self, name: &str, key: &str, text: &str) -> Result<(), Error> {
                match name {
                    $(
                        $key => {
                            let text = if <$type as Value>::IS_TRIMMED { text.trim() } else { text };
                            self.$field = <$type as Value>::read(key, text)?;
                        }
                    )*
                    _ => {}
                }
                Ok(())
            }

            /// Describes every setting: its keys, Java's name first, then librdkafka's; its default; its meaning.
            #[doc(hidden)]
            #[must_use]
            pub fn table() -> Vec<(&'static [&'static str], String, String)> {
                vec![$((
                    &[$key $(, $alias)*] as &[&str],
                    Value::shown(&{ let default: $type = $default; default }),
                    [$($doc.trim()),*].join(" "),
                ),)*]
            }

            /// Returns every setting with its key, its value and its default.
            fn values(&self) -> Vec<(&'static str, String, String)> {
                vec![$(($key, Value::shown(&self.$field), Value::shown(&{ let default: $type = $default; default })),)*]
            }
        }
    };
}

settings! {
    /// The first brokers to contact, as `host:port`; they name the others.
    "bootstrap.servers" | "metadata.broker.list" => bootstrap_servers: Vec<HostPort> = Vec::new();
    /// How long build retries the look-up of the bootstrap servers while none of their names has an address (KIP-909).
    /// With 0 it looks them up once, and fails if none has one, as Java does. Build waits at most `max.block.ms` in
    /// all, unless that is 0. Names without an address at build stay in the list, and each connection looks them up
    /// again.
    "bootstrap.resolve.timeout.ms" => bootstrap_resolve_timeout: Duration = Duration::ZERO;
    /// How the bootstrap servers are looked up. `use_all_dns_ips`: a connection tries all addresses of a name.
    /// `resolve_canonical_bootstrap_servers_only`: at build, each address of each name is looked up in reverse, and the
    /// canonical names replace the list; an address whose name does not resolve back to it stays an address.
    "client.dns.lookup" => dns_lookup: DnsLookup = DnsLookup::AllAddresses;
    /// Which replicas must have a record before the broker acknowledges it.
    "acks" | "request.required.acks" => acks: Acks = Acks::All;
    /// How long a batch that is not full waits for more records (5 since Kafka 4.0, KIP-1030).
    "linger.ms" | "queue.buffering.max.ms" => linger: Duration = ms(5);
    /// The compressed size in bytes that makes a batch ready to send. A batch is closed only when it is taken, so it
    /// may be larger. 0 sends each record by itself.
    "batch.size" => batch_size: usize = 16_384;
    /// Memory for unsent and unacknowledged records, in bytes. `queue.buffering.max.kbytes` counts in KiB.
    "buffer.memory" | "queue.buffering.max.kbytes" => buffer_memory: usize = 33_554_432;
    /// How long a send may wait for metadata and memory together.
    "max.block.ms" => max_block: Duration = ms(60_000);
    /// The codec of batches.
    "compression.type" | "compression.codec" => compression_type: CompressionType = CompressionType::None;
    /// The level of gzip: 1 to 9, -1 for its default.
    "compression.gzip.level" => gzip_level: i32 = -1;
    /// The level of lz4: only 9, the fast one.
    "compression.lz4.level" => lz4_level: i32 = 9;
    /// The level of zstd: -131072 to 22.
    "compression.zstd.level" => zstd_level: i32 = 3;
    /// How often a batch may be retried within `delivery.timeout.ms`. With idempotence the limit holds only for batches
    /// that are surely not written. A batch that may be written is retried, without a risk of duplicates, until its
    /// outcome is known or the time is up.
    "retries" | "message.send.max.retries" => retries: u32 = 2_147_483_647;
    /// The largest request, and the largest record before compression, in bytes.
    "max.request.size" | "message.max.bytes" => max_request_size: usize = 1_048_576;
    /// How many requests may be in flight per connection: 1 to 1,000,000 (librdkafka's limit), with idempotence 1 to 5.
    "max.in.flight.requests.per.connection" | "max.in.flight" => max_in_flight: usize = 5;
    /// Whether brokers reject repeated and reordered batches.
    "enable.idempotence" => enable_idempotence: bool = true;
    /// How long a record may wait for its outcome, from the start of its batch; 0 for no limit, as in librdkafka. At
    /// least `linger.ms` + `request.timeout.ms`: those of the three that are not set are adjusted.
    "delivery.timeout.ms" | "message.timeout.ms" => delivery_timeout: Duration = ms(120_000);
    /// How long a request may take, and how long a leader may wait for the other replicas.
    "request.timeout.ms" | "socket.timeout.ms" => request_timeout: Duration = ms(30_000);
    /// This producer's name in brokers' logs and quotas.
    "client.id" => client_id: String = "kurier".to_owned();
    /// How old metadata may become before it is refreshed; -1 for any age.
    "metadata.max.age.ms" | "topic.metadata.refresh.interval.ms" => metadata_max_age: Duration = ms(300_000);
    /// How long the producer keeps requesting a topic after the last send to it. A topic with undelivered records stays
    /// in use. Of more than 10,000 topics, those that were not used for longest are forgotten earlier.
    "metadata.max.idle.ms" => metadata_max_idle: Duration = ms(300_000);
    /// Whether the producer asks the bootstrap servers again when it can reach no known node: `rebootstrap`, or `none`
    /// (KIP-899).
    "metadata.recovery.strategy" => metadata_recovery: Recovery = Recovery::Rebootstrap;
    /// Whether brokers from Kafka 4.4 on check that a connection reached the intended node and cluster (KIP-1242).
    /// Requires `metadata.recovery.strategy=rebootstrap`.
    "metadata.cluster.check.enable" => metadata_cluster_check: bool = true;
    /// How long metadata requests may fail before the producer closes all connections and asks the bootstrap servers
    /// again (KIP-1102).
    "metadata.recovery.rebootstrap.trigger.ms" => rebootstrap_trigger: Duration = ms(300_000);
    /// The first wait before a batch or a metadata request is retried.
    "retry.backoff.ms" => retry_backoff: Duration = ms(100);
    /// The longest wait before a retry; the wait doubles up to this (KIP-580).
    "retry.backoff.max.ms" => retry_backoff_max: Duration = ms(1_000);
    /// The first wait before another connection attempt to a host.
    "reconnect.backoff.ms" => reconnect_backoff: Duration = ms(50);
    /// The longest wait before another connection attempt.
    "reconnect.backoff.max.ms" => reconnect_backoff_max: Duration = ms(1_000);
    /// The first timeout of a connection attempt.
    "socket.connection.setup.timeout.ms" => connection_setup_timeout: Duration = ms(10_000);
    /// The longest timeout of a connection attempt; it doubles with each failure (KIP-601).
    "socket.connection.setup.timeout.max.ms" => connection_setup_timeout_max: Duration = ms(30_000);
    /// How long a connection may be idle; use less than the broker allows. -1 or 0 for no limit.
    "connections.max.idle.ms" => connections_max_idle: Duration = ms(540_000);
    /// The size of a socket's send buffer; -1 or 0 leaves it to the system.
    "send.buffer.bytes" | "socket.send.buffer.bytes" => send_buffer_bytes: i32 = 131_072;
    /// The size of a socket's receive buffer; -1 or 0 leaves it to the system.
    "receive.buffer.bytes" | "socket.receive.buffer.bytes" => receive_buffer_bytes: i32 = 32_768;
    /// How records without a partition get one.
    "partitioner.class" | "partitioner" => partitioner: PartitionerChoice = PartitionerChoice::Java;
    /// Whether the partitioner ignores keys.
    "partitioner.ignore.keys" => partitioner_ignore_keys: bool = false;
    /// Whether partitions with long queues get fewer of the records without a key.
    "partitioner.adaptive.partitioning.enable" => adaptive_partitioning: bool = true;
    /// How long a node may accept none of its pending batches before records without a key avoid its partitions
    /// (KIP-794); 0 for no limit. Requires `partitioner.adaptive.partitioning.enable`.
    "partitioner.availability.timeout.ms" => availability_timeout: Duration = Duration::ZERO;
    /// Whether records without a key prefer partitions whose leader is in `client.rack` (KIP-1123). If there is no such
    /// leader, all partitions with a leader are used.
    "partitioner.rack.aware" => rack_aware: bool = false;
    /// The rack, or availability zone, that this producer runs in. Kafka compares it with the brokers' `broker.rack`.
    "client.rack" => client_rack: String = String::new();
}

impl Config {
    /// Sets whether unknown and unsupported keys are errors (the default). Otherwise [`explain`](Self::explain) lists
    /// them.
    pub fn strict(&mut self, is_strict: bool) {
        self.strict = is_strict;
    }

    /// Sets one setting. Spaces around the key, and around numbers, names and lists, do not count; in a secret they do,
    /// as in Java.
    ///
    /// # Errors
    /// Of kind [`Configuration`](ErrorKind::Configuration): if the key is unknown, with the key that was probably
    /// meant; if the key cannot have this value, with the allowed values.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let key = key.trim();
        let Some((name, key)) = Self::name_of(key) else { return self.set_aside(key, value.trim()) };
        let (text, why) = match special(name, key, value.trim()) {
            Some(special) => (special.text, special.why),
            None => (value.to_owned(), None),
        };
        self.assign(name, key, &text)?;
        self.made.insert(name, key);
        match why {
            Some(why) => self.adjusted.insert(name, format!("{text}: {why}")),
            None => self.adjusted.remove(name),
        };
        Ok(())
    }

    /// Marks a setting as explicit after a typed method has set it.
    #[doc(hidden)]
    pub fn made(&mut self, name: &'static str) {
        self.made.insert(name, name);
    }

    fn is_made(&self, name: &str) -> bool {
        self.made.contains_key(name)
    }

    /// Returns the setting's name as the user wrote it, for errors.
    fn written(&self, name: &'static str) -> &'static str {
        self.made.get(name).copied().unwrap_or(name)
    }

    /// How long an open batch accepts records, so that late records do not inherit an old batch's deadline.
    #[doc(hidden)]
    pub fn growing_time(&self) -> Duration {
        (self.linger + self.delivery_timeout / 16).max(ms(1))
    }

    /// Returns these settings with other bootstrap servers.
    #[doc(hidden)]
    pub fn with_bootstrap_servers(&self, bootstrap_servers: Vec<HostPort>) -> Self {
        Self { bootstrap_servers, ..self.clone() }
    }

    /// Creates the partitioner that these settings choose.
    #[doc(hidden)]
    #[must_use]
    pub fn new_partitioner(&self) -> Arc<dyn Partitioner> {
        match self.partitioner {
            _ if self.partitioner_ignore_keys => Arc::new(Unkeyed),
            PartitionerChoice::Java => Arc::new(Keyed::JAVA),
            PartitionerChoice::RoundRobin => Arc::new(RoundRobin::new()),
            PartitionerChoice::Explicit => Arc::new(Explicit),
            PartitionerChoice::Keyed(name) => Arc::new(Keyed::named(name).unwrap_or_default()),
        }
    }

    /// The largest request and record in force, in bytes: `max.request.size`.
    #[must_use]
    pub fn max_request_size(&self) -> usize {
        self.max_request_size
    }
}

fn refused(why: String) -> Error {
    Error::new(ErrorKind::Configuration, why)
}
