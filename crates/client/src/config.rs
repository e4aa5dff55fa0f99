//! What a producer is told: one declaration a setting, from which come its field, its default, its names in Java's and
//! librdkafka's files, and what [`Config::explain`] says of it.
//!
//! Text comes in by [`Config::set`], from a file or key by key; [`ProducerBuilder`](crate::ProducerBuilder) sets the same
//! fields by type. Both end in [`Config::check`], which is where settings are held against each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read;
use std::str::FromStr;
use std::time::Duration;

use java_properties::PropertiesIter;
use kurier_compression::{Compression, CompressionType};

use crate::error::{Error, ErrorKind, printable};

/// Who must have a record before the broker answers (`acks`).
///
/// See [`ProducerBuilder`](crate::ProducerBuilder) for an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Acks {
    /// Nobody: the broker does not answer, and a record counts as sent when its last byte was written.
    None,
    /// The partition's leader.
    Leader,
    /// All replicas in sync, of which there must be `min.insync.replicas`.
    #[default]
    All,
}

impl Acks {
    /// As the wire has it.
    pub(crate) fn wire(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// How records find their partition when they do not name one (`partitioner.class`, librdkafka's `partitioner`).
///
/// ```
/// let mut config = kurier::Config::default();
/// config.set("partitioner", "consistent_random")?; // where librdkafka would put them
/// # Ok::<(), kurier::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartitionerChoice {
    /// As in Java: the key's murmur2, or the sticky choice.
    #[default]
    Java,
    /// One partition after the other.
    RoundRobin,
    /// Every record must name its partition.
    Explicit,
    /// By the rule of this name of librdkafka's; see [`kurier_partitioner::Keyed`].
    Keyed(&'static str),
}

/// What is done when the cluster as it is known cannot be reached (`metadata.recovery.strategy`, KIP-899).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// It is looked for among its known nodes alone.
    None,
    /// The bootstrap servers are asked again.
    #[default]
    Rebootstrap,
}

/// Which addresses and names of bootstrap servers are used (`client.dns.lookup`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum DnsLookup {
    /// All addresses of each name.
    #[default]
    AllAddresses,
    /// The canonical name of each address of each name.
    CanonicalNames,
}

/// A host and its port.
///
/// ```
/// let host: kurier::HostPort = "[::1]:9092".parse()?;
/// assert_eq!((host.host.as_str(), host.port), ("::1", 9092));
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// A name or an address; of IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl HostPort {
    /// Where a broker says that a node is; `None` where none can be: the host has 1 to 255 characters, which are printed
    /// in ASCII, and the port is 1 to 65535.
    #[must_use]
    pub fn of_node(host: &str, port: i32) -> Option<Self> {
        let port = u16::try_from(port).ok().filter(|port| *port > 0)?;
        let is_possible = (1..=255).contains(&host.len()) && host.chars().all(|letter| letter.is_ascii_graphic());
        is_possible.then(|| Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for HostPort {
    /// With control characters shown, for brokers tell hosts too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = printable(&self.host);
        if self.host.contains(':') { write!(f, "[{host}]:{}", self.port) } else { write!(f, "{host}:{}", self.port) }
    }
}

impl FromStr for HostPort {
    type Err = String;

    /// `host:port`, with brackets around an address of IPv6.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{text:?} is no host:port: {why}");
        // Listeners are often copied with their protocol.
        let rest = text.rsplit_once("://").map_or(text, |(_, rest)| rest);
        let (host, port) = rest.rsplit_once(':').ok_or_else(|| wrong("the port is missing"))?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => address,
            None if host.contains(':') => return Err(wrong("an address of IPv6 stands in brackets, as [::1]:9092")),
            None => host,
        };
        if host.is_empty() {
            return Err(wrong("the host is missing"));
        }
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(|| wrong("the port is 1 to 65535"))?;
        Ok(Self { host: host.to_owned(), port })
    }
}

/// A type that a setting can have.
trait Value: Sized {
    fn read(text: &str) -> Result<Self, String>;
    fn shown(&self) -> String;
}

impl Value for Duration {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map(Self::from_millis).map_err(|_| "it takes a number of milliseconds".to_owned())
    }

    fn shown(&self) -> String {
        self.as_millis().to_string()
    }
}

macro_rules! numbers {
    ($($type:ty)*) => {$(
        impl Value for $type {
            fn read(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| format!("it takes a number from {} to {}", Self::MIN, Self::MAX))
            }

            fn shown(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

numbers! { usize u32 i32 }

impl Value for bool {
    fn read(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("it is true or false".to_owned()),
        }
    }

    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    fn read(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn shown(&self) -> String {
        self.clone()
    }
}

impl Value for Vec<HostPort> {
    fn read(text: &str) -> Result<Self, String> {
        let servers = text.split(',').map(str::trim).filter(|server| !server.is_empty());
        servers.map(HostPort::from_str).collect()
    }

    fn shown(&self) -> String {
        self.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

impl Value for Acks {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "0" => Ok(Self::None),
            "1" => Ok(Self::Leader),
            "all" | "-1" => Ok(Self::All),
            _ => Err("it is 0, 1 or all (which -1 says as well)".to_owned()),
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

impl Value for Recovery {
    fn read(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "none" => Ok(Self::None),
            "rebootstrap" => Ok(Self::Rebootstrap),
            _ => Err("it is none or rebootstrap".to_owned()),
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

impl Value for DnsLookup {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "use_all_dns_ips" => Ok(Self::AllAddresses),
            "resolve_canonical_bootstrap_servers_only" => Ok(Self::CanonicalNames),
            _ => Err("it is use_all_dns_ips or resolve_canonical_bootstrap_servers_only".to_owned()),
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
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: kurier_protocol::UnknownCompression| error.to_string())
    }

    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Value for PartitionerChoice {
    fn read(text: &str) -> Result<Self, String> {
        match text.rsplit('.').next().unwrap_or_default() {
            "" | "java" | "DefaultPartitioner" | "UniformStickyPartitioner" => Ok(Self::Java),
            "RoundRobinPartitioner" | "round_robin" => Ok(Self::RoundRobin),
            "explicit" => Ok(Self::Explicit),
            name => match kurier_partitioner::Keyed::named(name) {
                Some(keyed) => Ok(Self::Keyed(keyed.name())),
                None => Err(
                    "it is java, round_robin, explicit, or one of librdkafka's: murmur2, murmur2_random, consistent, \
                    consistent_random, fnv1a, fnv1a_random; one of your own is given to the builder"
                        .to_owned(),
                ),
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

/// Milliseconds.
const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])* $key:literal $(| $alias:literal)* => $field:ident: $type:ty = $default:expr;)*) => {
        /// Everything that a producer can be told, with Java's names and defaults.
        ///
        /// ```
        /// use kurier::Config;
        ///
        /// let mut config = Config::default();
        /// config.set("bootstrap.servers", "kafka-1:9092, [::1]:9092")?;
        /// config.set("linger.ms", "20")?;
        /// let error = config.set("linger", "20").unwrap_err();
        /// assert!(error.to_string().contains("did you mean linger.ms?"), "{error}");
        /// # Ok::<(), kurier::Error>(())
        /// ```
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config {
            $($(#[doc = $doc])* pub(crate) $field: $type,)*
            /// The settings that were made, by key.
            made: BTreeSet<&'static str>,
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
                    made: BTreeSet::new(),
                    adjusted: BTreeMap::new(),
                    ignored: BTreeMap::new(),
                    strict: true,
                }
            }
        }

        impl Config {
            /// Every key, Java's name first, then librdkafka's.
            const KEYS: &'static [&'static [&'static str]] = &[$(&[$key $(, $alias)*],)*];

            /// Sets the setting of this key; `None` if there is none.
            fn assign(&mut self, key: &str, text: &str) -> Option<Result<&'static str, String>> {
                match key {
                    $(
                        $key $(| $alias)* => Some(<$type as Value>::read(text).map(|value| {
                            self.$field = value;
                            $key
                        })),
                    )*
                    _ => None,
                }
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
    /// How many bytes of memory unsent and unacknowledged records may take.
    "buffer.memory" => buffer_memory: usize = 33_554_432;
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
    /// How long a record may take from its batch's beginning to its outcome.
    "delivery.timeout.ms" | "message.timeout.ms" => delivery_timeout: Duration = ms(120_000);
    /// How long a request may take; also how long a leader may wait for the other replicas.
    "request.timeout.ms" | "socket.timeout.ms" => request_timeout: Duration = ms(30_000);
    /// The name under which brokers log and limit this producer.
    "client.id" => client_id: String = "kurier".to_owned();
    /// How old the view of the cluster may become.
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
    /// How long a connection may lie idle, which is to be less than the broker allows it.
    "connections.max.idle.ms" => connections_max_idle: Duration = ms(540_000);
    /// The size of a socket's send buffer; -1 leaves it to the system.
    "send.buffer.bytes" | "socket.send.buffer.bytes" => send_buffer_bytes: i32 = 131_072;
    /// The size of a socket's receive buffer; -1 leaves it to the system.
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

/// Java's keys that mean nothing here, and why.
const MEANINGLESS: &[(&str, &str)] = &[
    ("key.serializer", "serializers are given to the builder"),
    ("value.serializer", "serializers are given to the builder"),
    ("interceptor.classes", "there are no classes to load"),
    ("metric.reporters", "there are no classes to load"),
    ("config.providers", "there are no classes to load"),
    ("security.providers", "there are no classes to load"),
    ("metrics.num.samples", "metrics are counted, not sampled"),
    ("metrics.sample.window.ms", "metrics are counted, not sampled"),
    ("metrics.recording.level", "metrics are counted, not sampled"),
    ("auto.include.jmx.reporter", "there is no JMX"),
    ("enable.metrics.push", "metrics are not yet pushed to brokers"),
    ("transaction.timeout.ms", "there are no transactions yet"),
];

/// Keys that promise what cannot be kept yet, or, with a dot at the end, the beginnings of such; the values under which
/// nothing is lost; and what to do now.
const NOT_YET: &[(&str, &[&str], &str)] = &[
    ("security.protocol", &["PLAINTEXT", "plaintext"], PLAINTEXT_ALONE),
    ("ssl.", &[], PLAINTEXT_ALONE),
    ("sasl.", &[], PLAINTEXT_ALONE),
    ("transactional.id", &[""], "transactions are to come"),
];

/// The longest string that a request's header can hold, in bytes.
const WIRE_STRING_MAX: usize = 32_767;

const PLAINTEXT_ALONE: &str = "TLS and SASL are to come; use a PLAINTEXT listener of the brokers";

impl Config {
    /// Settings from a file in the form of Java's properties, as Java and librdkafka users have them.
    ///
    /// # Errors
    /// Of kind [`Configuration`](ErrorKind::Configuration): when the file is no such file, or a key or value is wrong.
    pub fn from_properties(file: impl Read) -> Result<Self, Error> {
        let mut config = Self::default();
        config.set_properties(file)?;
        Ok(config)
    }

    /// Adds the settings of such a file to these.
    ///
    /// # Errors
    /// As [`from_properties`](Self::from_properties).
    pub fn set_properties(&mut self, file: impl Read) -> Result<(), Error> {
        Self::read_properties(file)?.into_iter().try_for_each(|(key, value)| self.set(&key, &value))
    }

    /// The keys and values of such a file, by key, of which the last counts where one is there twice.
    ///
    /// As for Java the file is ISO 8859-1, whatever it begins with, and other characters are written `\uXXXX`.
    ///
    /// # Errors
    /// Of kind [`Configuration`](ErrorKind::Configuration): when the file cannot be read, has more than 1 MiB, or an
    /// escape in it is wrong.
    pub fn read_properties(file: impl Read) -> Result<Vec<(String, String)>, Error> {
        const LIMIT_BYTES: usize = 1 << 20;
        let wrong = |why: &dyn fmt::Display| refused(format!("the file of properties cannot be read: {why}"));
        let mut bytes = Vec::new();
        file.take(LIMIT_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|error| wrong(&error))?;
        if bytes.len() > LIMIT_BYTES {
            return Err(wrong(&format!("it has more than {LIMIT_BYTES} bytes")));
        }
        // java-properties would go by a mark of another encoding, panics where such a file ends in half a character, and
        // drops a last line that ends in nothing but a backslash.
        let text: String = bytes.into_iter().chain(*b"\n").map(char::from).collect();
        let mut pairs = BTreeMap::new();
        PropertiesIter::new_with_encoding(text.as_bytes(), encoding_rs::UTF_8)
            .read_into(|key, value| drop(pairs.insert(key, value)))
            .map_err(|error| wrong(&error))?;
        Ok(pairs.into_iter().collect())
    }

    /// Whether keys that are not known, or cannot be followed, are errors. They are, unless this says otherwise; then
    /// they are listed by [`explain`](Self::explain).
    pub fn strict(&mut self, is_strict: bool) {
        self.strict = is_strict;
    }

    /// Makes one setting.
    ///
    /// # Errors
    /// Of kind [`Configuration`](ErrorKind::Configuration): when the key is not known, with the nearest one that is; when
    /// the value is none of the key's, with those that are.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let (key, value) = (key.trim(), value.trim());
        match self.assign(key, value) {
            Some(Ok(name)) => {
                self.made.insert(name);
                Ok(())
            }
            Some(Err(why)) => Err(refused(format!("{key} cannot be {value:?}: {why}"))),
            None => self.set_aside(key, value),
        }
    }

    /// Notes a key that is no setting, if nothing is lost by it.
    fn set_aside(&mut self, key: &str, value: &str) -> Result<(), Error> {
        if let Some((_, why)) = MEANINGLESS.iter().find(|(known, _)| *known == key) {
            self.ignored.insert(key.to_owned(), why);
            return Ok(());
        }
        let is_it = |known: &str| key == known || (known.ends_with('.') && key.starts_with(known));
        let promised = NOT_YET.iter().find(|(known, ..)| is_it(known));
        let (why, is_harmless) = match promised {
            Some((_, harmless, _)) if harmless.contains(&value) => ("it is so anyway", true),
            Some(_) => ("it cannot be followed yet", false),
            None => ("it is not known", false),
        };
        if is_harmless || !self.strict {
            self.ignored.insert(key.to_owned(), why);
            return Ok(());
        }
        if let Some((_, values, remedy)) = promised {
            // The value may be a password, unless some are known.
            let shown = if values.is_empty() { String::new() } else { format!("={value}") };
            return Err(refused(format!("{key}{shown} cannot be followed yet: {remedy}")));
        }
        let names = Self::KEYS.iter().copied().flatten().chain(MEANINGLESS.iter().map(|(key, _)| key));
        // What is much longer than any name is near to none, and would take long to compare.
        let beginning: String = key.chars().take(64).collect();
        let nearest = names.min_by_key(|name| strsim::osa_distance(name, &beginning)).copied().unwrap_or_default();
        Err(refused(format!("{key} is no setting of a producer: did you mean {nearest}?")))
    }

    /// Notes that a setting was made otherwise than by text.
    pub(crate) fn made(&mut self, key: &'static str) {
        self.made.insert(key);
    }

    fn is_made(&self, key: &str) -> bool {
        self.made.contains(key)
    }

    /// Holds the settings against each other, as Java does. What was not asked for gives way, and
    /// [`explain`](Self::explain) says so; what was, is an error.
    pub(crate) fn check(mut self) -> Result<Self, Error> {
        if self.bootstrap_servers.is_empty() {
            return Err(refused("bootstrap.servers is missing: name at least one broker as host:port".to_owned()));
        }
        self.check_limits()?;
        if self.client_id.len() > WIRE_STRING_MAX {
            let len = self.client_id.len();
            return Err(refused(format!(
                "client.id has {len} bytes, and Kafka's protocol allows {WIRE_STRING_MAX}: choose a shorter name"
            )));
        }
        self.check_idempotence()?;
        self.limit_times();
        self.check_delivery_timeout()?;
        self.compression()?;
        // As in Java, whoever sets the first wait alone wants no other.
        if self.is_made("reconnect.backoff.ms") && !self.is_made("reconnect.backoff.max.ms") {
            self.reconnect_backoff_max = self.reconnect_backoff;
            let why = format!("{}, as reconnect.backoff.ms", self.reconnect_backoff.as_millis());
            self.adjusted.insert("reconnect.backoff.max.ms", why);
        }
        if self.rack_aware && self.client_rack.is_empty() {
            return Err(refused(
                "partitioner.rack.aware is true, but client.rack is empty: set client.rack to the broker.rack of the nearest \
                 brokers, or leave partitioner.rack.aware out"
                    .to_owned(),
            ));
        }
        if !self.adaptive_partitioning && self.availability_timeout > Duration::ZERO {
            self.availability_timeout = Duration::ZERO;
            let why = "0, because partitioner.adaptive.partitioning.enable is false".to_owned();
            self.adjusted.insert("partitioner.availability.timeout.ms", why);
        }
        Ok(self)
    }

    /// Refuses values that a setting's type allows, and no producer can work with.
    fn check_limits(&self) -> Result<(), Error> {
        /// Java's `int`.
        const INT_MAX: i128 = i32::MAX as i128;
        /// Room for what stands around the records of a request, whose length is a Java `int`; librdkafka's limit too.
        const REQUEST_MAX: i128 = 1_000_000_000;
        /// librdkafka's limit.
        const IN_FLIGHT_MAX: i128 = 1_000_000;
        /// Twice as much can still be counted.
        const MEMORY_MAX: i128 = isize::MAX as i128;
        let count = |count: usize| i128::try_from(count).unwrap_or(i128::MAX);
        let ms = |time: Duration| i128::try_from(time.as_millis()).unwrap_or(i128::MAX);
        for (key, value, least, most) in [
            ("batch.size", count(self.batch_size), 0, INT_MAX),
            ("buffer.memory", count(self.buffer_memory), 1, MEMORY_MAX),
            ("max.request.size", count(self.max_request_size), 1, REQUEST_MAX),
            ("max.in.flight.requests.per.connection", count(self.max_in_flight), 1, IN_FLIGHT_MAX),
            ("retries", self.retries.into(), 0, INT_MAX),
            ("send.buffer.bytes", self.send_buffer_bytes.into(), -1, INT_MAX),
            ("receive.buffer.bytes", self.receive_buffer_bytes.into(), -1, INT_MAX),
            // Nothing would ever be answered, or connected to, in time.
            ("request.timeout.ms", ms(self.request_timeout), 1, i128::MAX),
            ("socket.connection.setup.timeout.ms", ms(self.connection_setup_timeout), 1, i128::MAX),
            ("socket.connection.setup.timeout.max.ms", ms(self.connection_setup_timeout_max), 1, i128::MAX),
            ("metadata.max.idle.ms", ms(self.metadata_max_idle), 5_000, i128::MAX),
        ] {
            if value < least {
                return Err(refused(format!("{key} must be at least {least}, and is {value}")));
            }
            if value > most {
                return Err(refused(format!("{key} must be at most {most}, and is {value}")));
            }
        }
        Ok(())
    }

    /// Makes times so short that they can be added to any moment.
    fn limit_times(&mut self) {
        /// Cap at 100 years to avoid `Instant` overflow.
        const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
        for time in [
            &mut self.bootstrap_resolve_timeout,
            &mut self.linger,
            &mut self.max_block,
            &mut self.delivery_timeout,
            &mut self.request_timeout,
            &mut self.metadata_max_age,
            &mut self.metadata_max_idle,
            &mut self.rebootstrap_trigger,
            &mut self.retry_backoff,
            &mut self.retry_backoff_max,
            &mut self.reconnect_backoff,
            &mut self.reconnect_backoff_max,
            &mut self.connection_setup_timeout,
            &mut self.connection_setup_timeout_max,
            &mut self.connections_max_idle,
            &mut self.availability_timeout,
        ] {
            *time = (*time).min(FOREVER);
        }
    }

    fn check_idempotence(&mut self) -> Result<(), Error> {
        /// Brokers remember as many batches of a producer.
        const IN_FLIGHT_MAX: usize = 5;
        if !self.enable_idempotence {
            return Ok(());
        }
        let conflict = if self.acks != Acks::All {
            Some(format!("acks is {}, and it needs all", self.acks.shown()))
        } else if self.retries == 0 {
            Some("retries is 0, and it needs at least 1".to_owned())
        } else {
            None
        };
        if let Some(conflict) = conflict {
            if self.is_made("enable.idempotence") {
                return Err(refused(format!("enable.idempotence cannot be true: {conflict}")));
            }
            self.enable_idempotence = false;
            self.adjusted.insert("enable.idempotence", format!("false, because {conflict}"));
        } else if self.max_in_flight > IN_FLIGHT_MAX {
            return Err(refused(format!(
                "max.in.flight.requests.per.connection is {}, and enable.idempotence, which is true, allows 5: lower the one or \
                 switch off the other",
                self.max_in_flight
            )));
        }
        Ok(())
    }

    fn check_delivery_timeout(&mut self) -> Result<(), Error> {
        let least = self.linger.saturating_add(self.request_timeout);
        if self.delivery_timeout >= least {
            return Ok(());
        }
        if self.is_made("delivery.timeout.ms") {
            return Err(refused(format!(
                "delivery.timeout.ms is {}, but must be at least linger.ms + request.timeout.ms, which is {}",
                self.delivery_timeout.as_millis(),
                least.as_millis()
            )));
        }
        self.delivery_timeout = least;
        let why = format!("{}, which is linger.ms + request.timeout.ms", least.as_millis());
        self.adjusted.insert("delivery.timeout.ms", why);
        Ok(())
    }

    /// For how long a batch takes records after it was opened, so that late ones do not inherit an old batch's deadline.
    pub(crate) fn growing_time(&self) -> Duration {
        (self.linger + self.delivery_timeout / 16).max(ms(1))
    }

    /// The same settings, with other bootstrap servers.
    pub(crate) fn with_bootstrap_servers(&self, bootstrap_servers: Vec<HostPort>) -> Self {
        Self { bootstrap_servers, ..self.clone() }
    }

    /// The codec with its level.
    pub(crate) fn compression(&self) -> Result<Compression, Error> {
        let (key, level) = match self.compression_type {
            CompressionType::None | CompressionType::Snappy => ("", None),
            CompressionType::Gzip => ("compression.gzip.level", Some(self.gzip_level)),
            CompressionType::Lz4 => ("compression.lz4.level", Some(self.lz4_level)),
            CompressionType::Zstd => ("compression.zstd.level", Some(self.zstd_level)),
        };
        let compression = Compression::new(self.compression_type);
        let compression = match level {
            Some(level) => compression.with_level(level).map_err(|error| refused(format!("{key}: {error}")))?,
            None => compression,
        };
        compression.codec().map_err(|error| refused(format!("compression.type: {error}")))?;
        Ok(compression)
    }

    /// The largest request and record in force, in bytes: `max.request.size`.
    #[must_use]
    pub fn max_request_size(&self) -> usize {
        self.max_request_size
    }

    /// Every setting with its value; what was changed so that they agree, and why; what was given and means nothing.
    #[must_use]
    pub fn explain(&self) -> Vec<Explained> {
        let setting = |(key, value, default): (&'static str, String, String)| {
            let why = match self.adjusted.get(key) {
                Some(why) => format!("adjusted to {why}"),
                None if self.is_made(key) => format!("set (default {default})"),
                None => "default".to_owned(),
            };
            Explained { key: key.to_owned(), value: Some(value), why }
        };
        let ignored =
            |(key, why): (&String, &&str)| Explained { key: key.clone(), value: None, why: format!("ignored: {why}") };
        self.values().into_iter().map(setting).chain(self.ignored.iter().map(ignored)).collect()
    }
}

/// One line of [`Config::explain`].
///
/// ```
/// let mut config = kurier::Config::default();
/// config.set("linger.ms", "20")?;
/// let linger = config.explain().into_iter().find(|line| line.key == "linger.ms").unwrap();
/// assert_eq!(linger.to_string(), "linger.ms=20 # set (default 5)");
/// # Ok::<(), kurier::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explained {
    /// The key, in Java's name.
    pub key: String,
    /// The value in force; `None` if the key means nothing here.
    pub value: Option<String>,
    /// Whether it is the default, was set, was adjusted, or is ignored, and why.
    pub why: String,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value} # {}", self.key, self.why),
            None => write!(f, "# {} {}", self.key, self.why),
        }
    }
}

fn refused(why: String) -> Error {
    Error::new(ErrorKind::Configuration, why)
}
