//! The settings of a producer. One declaration per setting gives its field, its default, its names in Java's and
//! librdkafka's files, and its line in [`Config::explain`].
//!
//! [`Config::set`] reads text, from a file or key by key; [`ProducerBuilder`](crate::ProducerBuilder) sets the same fields
//! by type. Both end in [`Config::check`], which validates the settings against each other.

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
use std::time::Duration;

use kurier_compression::CompressionType;

pub use choices::{Acks, PartitionerChoice};
pub(crate) use choices::{DnsLookup, Recovery};
pub use explain::Explained;
pub use host_port::HostPort;
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
        /// Keys that only other clients have, such as `group.id`, are accepted and ignored, so that a producer can share a
        /// file with consumers, admin tools and Connect's workers. [`explain`](Self::explain) lists them. A producer has
        /// these settings, each with librdkafka's name where that is another:
        ///
        $(#[doc = concat!("* `", $key, "`" $(, ", `", $alias, "`")*, ":" $(, $doc)*)])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config {
            $($(#[doc = $doc])* pub(crate) $field: $type,)*
            /// The settings that were made, by Java's name; with each the name that was written.
            made: BTreeMap<&'static str, &'static str>,
            /// What was changed so that settings agree, by key.
            adjusted: BTreeMap<&'static str, String>,
            /// Keys that were given and mean nothing here, with the reason.
            ignored: BTreeMap<String, &'static str>,
            /// Whether what cannot be done is an error, and not a warning.
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

            /// Sets the setting with this name, or says why `key`, as it was written, cannot have this value.
            fn assign(&mut self, name: &str, key: &str, text: &str) -> Result<(), String> {
                match name {
                    $(
                        $key => match <$type as Value>::read(text) {
                            Ok(value) => self.$field = value,
                            Err(why) => return Err(<$type as Value>::refusal(key, text, &why)),
                        },
                    )*
                    _ => {}
                }
                Ok(())
            }

            /// Every setting with its key, its value and its default.
            fn values(&self) -> Vec<(&'static str, String, String)> {
                vec![$(($key, Value::shown(&self.$field), Value::shown(&{ let default: $type = $default; default })),)*]
            }
        }
    };
}

settings! {
    /// The first contacts, as `host:port`; the others are learnt from them.
    "bootstrap.servers" | "metadata.broker.list" => bootstrap_servers: Vec<HostPort> = Vec::new();
    /// How long build keeps looking the bootstrap servers up when none of their names has an address (KIP-909). With 0 it
    /// looks them up once, and fails if none has one, as Java does. Build waits no longer than `max.block.ms` in all, unless
    /// that is 0. Names that have no address at build stay in the list, and are looked up again with each connection.
    "bootstrap.resolve.timeout.ms" => bootstrap_resolve_timeout: Duration = Duration::ZERO;
    /// How the bootstrap servers are looked up. `use_all_dns_ips`: a connection tries all addresses of a name.
    /// `resolve_canonical_bootstrap_servers_only`: at build, each address of each name is looked up in reverse, and the
    /// canonical names take the list's place; an address without a name that leads back to it stays an address.
    "client.dns.lookup" => dns_lookup: DnsLookup = DnsLookup::AllAddresses;
    /// Who must have a record before the broker answers.
    "acks" | "request.required.acks" => acks: Acks = Acks::All;
    /// How long an unfilled batch waits for more records (5 since Kafka 4.0, KIP-1030).
    "linger.ms" | "queue.buffering.max.ms" => linger: Duration = ms(5);
    /// How many bytes, compressed, make a batch ready to go. It is closed when it is taken, and may be larger by then.
    /// 0 sends each record by itself.
    "batch.size" => batch_size: usize = 16_384;
    /// How many bytes of memory unsent and unacknowledged records may take. `queue.buffering.max.kbytes` counts in KiB.
    "buffer.memory" | "queue.buffering.max.kbytes" => buffer_memory: usize = 33_554_432;
    /// How long a send may wait for metadata and for memory together.
    "max.block.ms" => max_block: Duration = ms(60_000);
    /// The codec of batches.
    "compression.type" | "compression.codec" => compression_type: CompressionType = CompressionType::None;
    /// The level of gzip: 1 to 9, -1 for its default.
    "compression.gzip.level" => gzip_level: i32 = -1;
    /// The level of lz4: 9, the fast one, is the only one.
    "compression.lz4.level" => lz4_level: i32 = 9;
    /// The level of zstd: -131072 to 22.
    "compression.zstd.level" => zstd_level: i32 = 3;
    /// How often a batch is sent again at most, within `delivery.timeout.ms`. With idempotence this limits only what is
    /// surely not written; what may be is sent again, which cannot double it, until its outcome is known or time is up.
    "retries" | "message.send.max.retries" => retries: u32 = 2_147_483_647;
    /// The largest request, and the largest record before compression, in bytes.
    "max.request.size" | "message.max.bytes" => max_request_size: usize = 1_048_576;
    /// How many requests may be unanswered on a connection: 1 to 1,000,000 (librdkafka's limit), and to 5 with idempotence.
    "max.in.flight.requests.per.connection" | "max.in.flight" => max_in_flight: usize = 5;
    /// Whether brokers are to notice repeated and reordered batches.
    "enable.idempotence" => enable_idempotence: bool = true;
    /// How long a record may take from its batch's beginning to its outcome; 0 for ever, as in librdkafka. It is at least
    /// `linger.ms` + `request.timeout.ms`; of these three, those that are not set give way.
    "delivery.timeout.ms" | "message.timeout.ms" => delivery_timeout: Duration = ms(120_000);
    /// How long a request may take; also how long a leader may wait for the other replicas.
    "request.timeout.ms" | "socket.timeout.ms" => request_timeout: Duration = ms(30_000);
    /// The name under which brokers log and limit this producer.
    "client.id" => client_id: String = "kurier".to_owned();
    /// How old the view of the cluster may become; -1 for any age.
    "metadata.max.age.ms" | "topic.metadata.refresh.interval.ms" => metadata_max_age: Duration = ms(300_000);
    /// How long the producer asks for a topic after the last send to it. A topic with records under way stays in use.
    "metadata.max.idle.ms" => metadata_max_idle: Duration = ms(300_000);
    /// Whether the bootstrap servers are asked again when no known node can be reached: `rebootstrap`, or `none` (KIP-899).
    "metadata.recovery.strategy" => metadata_recovery: Recovery = Recovery::Rebootstrap;
    /// Whether brokers from Kafka 4.4 on check that a connection reached the node and the cluster that the producer means
    /// (KIP-1242). It needs `metadata.recovery.strategy` to be `rebootstrap`.
    "metadata.cluster.check.enable" => metadata_cluster_check: bool = true;
    /// How long metadata may be asked for in vain before all connections are ended and the bootstrap servers asked again
    /// (KIP-1102).
    "metadata.recovery.rebootstrap.trigger.ms" => rebootstrap_trigger: Duration = ms(300_000);
    /// The first wait before a batch, or a request for metadata, is sent again.
    "retry.backoff.ms" => retry_backoff: Duration = ms(100);
    /// The longest such wait; it doubles up to that (KIP-580).
    "retry.backoff.max.ms" => retry_backoff_max: Duration = ms(1_000);
    /// The first wait before a host is connected to again.
    "reconnect.backoff.ms" => reconnect_backoff: Duration = ms(50);
    /// The longest such wait.
    "reconnect.backoff.max.ms" => reconnect_backoff_max: Duration = ms(1_000);
    /// How long a connection may take to come up, the first time.
    "socket.connection.setup.timeout.ms" => connection_setup_timeout: Duration = ms(10_000);
    /// The longest that it may take; it doubles with each failure (KIP-601).
    "socket.connection.setup.timeout.max.ms" => connection_setup_timeout_max: Duration = ms(30_000);
    /// How long a connection may lie idle, which is to be less than the broker allows it; -1 or 0 for ever.
    "connections.max.idle.ms" => connections_max_idle: Duration = ms(540_000);
    /// The size of a socket's send buffer; -1 or 0 leaves it to the system.
    "send.buffer.bytes" | "socket.send.buffer.bytes" => send_buffer_bytes: i32 = 131_072;
    /// The size of a socket's receive buffer; -1 or 0 leaves it to the system.
    "receive.buffer.bytes" | "socket.receive.buffer.bytes" => receive_buffer_bytes: i32 = 32_768;
    /// How records find their partition.
    "partitioner.class" | "partitioner" => partitioner: PartitionerChoice = PartitionerChoice::Java;
    /// Whether keys are to have no say in that.
    "partitioner.ignore.keys" => partitioner_ignore_keys: bool = false;
    /// Whether partitions for which much is waiting get fewer of the records without a key.
    "partitioner.adaptive.partitioning.enable" => adaptive_partitioning: bool = true;
    /// How long a node may take nothing, though there is something for it, before records without a key leave its
    /// partitions out (KIP-794); 0 for ever. It needs `partitioner.adaptive.partitioning.enable`.
    "partitioner.availability.timeout.ms" => availability_timeout: Duration = Duration::ZERO;
    /// Whether records without a key prefer partitions whose leader is in `client.rack` (KIP-1123). All partitions that
    /// have a leader are used while no such leader is there.
    "partitioner.rack.aware" => rack_aware: bool = false;
    /// The rack, or availability zone, in which this producer runs. Kafka compares it with the brokers' `broker.rack`.
    "client.rack" => client_rack: String = String::new();
}

impl Config {
    /// Sets whether keys that are unknown, or not supported yet, are errors, as they are by default. Otherwise
    /// [`explain`](Self::explain) lists them.
    pub fn strict(&mut self, is_strict: bool) {
        self.strict = is_strict;
    }

    /// Makes one setting.
    ///
    /// # Errors
    /// Of kind [`Configuration`](ErrorKind::Configuration): when the key is unknown, with the one that was probably meant;
    /// when the value is none of the key's, with those that are.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let (key, value) = (key.trim(), value.trim());
        let Some((name, key)) = Self::name_of(key) else { return self.set_aside(key, value) };
        let (text, why) = match special(name, key, value) {
            Some(special) => (special.text, special.why),
            None => (value.to_owned(), None),
        };
        self.assign(name, key, &text).map_err(refused)?;
        self.made.insert(name, key);
        match why {
            Some(why) => self.adjusted.insert(name, format!("{text}: {why}")),
            None => self.adjusted.remove(name),
        };
        Ok(())
    }

    /// Notes that a setting was made otherwise than by text.
    pub(crate) fn made(&mut self, name: &'static str) {
        self.made.insert(name, name);
    }

    fn is_made(&self, name: &str) -> bool {
        self.made.contains_key(name)
    }

    /// Returns the name of a setting as it was written, for errors.
    fn written(&self, name: &'static str) -> &'static str {
        self.made.get(name).copied().unwrap_or(name)
    }

    /// For how long a batch takes records after it was opened, so that late ones do not inherit an old batch's deadline.
    pub(crate) fn growing_time(&self) -> Duration {
        (self.linger + self.delivery_timeout / 16).max(ms(1))
    }

    /// The same settings, with other bootstrap servers.
    pub(crate) fn with_bootstrap_servers(&self, bootstrap_servers: Vec<HostPort>) -> Self {
        Self { bootstrap_servers, ..self.clone() }
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
