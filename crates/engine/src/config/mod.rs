//! Settings of a producer. One declaration per setting gives its field, its default, its limits, its keys in Java and
//! librdkafka, and its line in [`Config::explain`].
//!
//! [`Config::set`] parses text, from a file or key by key; `kurier::ProducerBuilder` sets the same
//! fields by type. Both end in [`Config::check`], which validates the settings against each other.

mod check;
mod choices;
mod environment;
mod explain;
mod foreign;
mod host_port;
mod origin;
mod properties;
mod security;
mod servers;
mod special;
mod unsupported;
mod values;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kurier_compression::CompressionType;
use kurier_partitioner::{Explicit, Keyed, Partitioner, RoundRobin, Unkeyed};
use kurier_security::AssertionAlgorithm;

pub use choices::{Acks, DnsLookup, PartitionerChoice, Recovery};
pub use explain::Explained;
pub use host_port::{HostPort, InvalidHostPort};
pub use kurier_security::{Mechanism, Secret};
use origin::Made;
pub use origin::Origin;
#[doc(hidden)]
pub use security::choices::{
    CipherSuites, EndpointIdentification, GrantType, OauthMethod, StoreType, TlsVersion, TokenRetriever,
};
pub use security::choices::{Roots, TlsProvider, TlsVersions};
pub use security::endpoint::EndpointUrl;
#[doc(hidden)]
pub use security::endpoint::TokenUrl;
#[doc(hidden)]
pub use security::in_the_clear;
pub use security::protocol::SecurityProtocol;
#[doc(hidden)]
pub use security::values::{Extensions, ServerName};
pub use security::{
    AssertionSettings, AssertionSource, Identity, LocalCredentials, LoginSettings, OidcSettings, PemSource,
    SaslCredentials, SaslSettings, SecurityConfig, TlsSettings, Trust,
};
#[doc(hidden)]
pub use servers::Servers;
#[doc(hidden)]
pub use special::FOREVER;
use special::special;
use values::{Value, at_least, at_most};

use crate::error::Error;

/// Milliseconds.
const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

macro_rules! settings {
    ($(
        $(#[doc = $doc:literal])*
        $key:literal $(| $alias:literal)* => $field:ident: $type:ty = $default:expr
            $(, at least $least:expr)? $(, at most $most:expr)?;
    )*) => {
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
            /// Explicit settings, by Java's name.
            made: BTreeMap<&'static str, Made>,
            /// Whether the program provides credentials, so that no setting has to.
            has_source: bool,
            /// Why a setting was adjusted, by key.
            adjusted: BTreeMap<&'static str, String>,
            /// Why an explicit setting has no effect, by key.
            unused: BTreeMap<&'static str, String>,
            /// Keys that were given but have no effect, with the reason.
            ignored: BTreeMap<String, (&'static str, Origin)>,
            /// Whether an unsupported or unknown key is an error, not a warning.
            strict: bool,
            /// TLS and SASL, once the settings were checked.
            security: SecurityConfig,
        }

        impl Default for Config {
            fn default() -> Self {
                Self {
                    $($field: $default,)*
                    made: BTreeMap::new(),
                    has_source: false,
                    adjusted: BTreeMap::new(),
                    unused: BTreeMap::new(),
                    ignored: BTreeMap::new(),
                    strict: true,
                    security: SecurityConfig::default(),
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

            /// Caps durations, and rejects values beyond the limits in the table.
            fn check_limits(&mut self) -> Result<(), Error> {
                $(
                    self.$field.cap();
                    $(at_least(self.written($key), &self.$field, &$least)?;)?
                    $(at_most(self.written($key), &self.$field, &$most)?;)?
                )*
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

/// Java's largest `int`.
const JAVA_INT: usize = 2_147_483_647;
/// Leaves room for a request's other fields, because its length is a Java `int`. librdkafka has the same limit.
const REQUEST_MAX: usize = 1_000_000_000;
/// Twice this value still fits a `usize`.
const MEMORY_MAX: usize = usize::MAX / 2;

settings! {
    /// The first brokers to contact, as `host:port`; they name the others.
    "bootstrap.servers" | "metadata.broker.list" => bootstrap_servers: Servers = Servers::default();
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
    "batch.size" => batch_size: usize = 16_384, at most JAVA_INT;
    /// Memory for unsent and unacknowledged records, in bytes. `queue.buffering.max.kbytes` counts in KiB.
    "buffer.memory" | "queue.buffering.max.kbytes" => buffer_memory: usize = 33_554_432, at least 1, at most MEMORY_MAX;
    /// How long a send may wait for metadata and memory together.
    "max.block.ms" => max_block: Duration = ms(60_000);
    /// The codec of batches.
    "compression.type" | "compression.codec" => compression_type: CompressionType = CompressionType::None;
    /// The level of gzip: 1 to 9, or -1, which is 3. In Java -1 is 6, which takes more time for fewer bytes.
    "compression.gzip.level" => gzip_level: i32 = -1;
    /// The level of lz4: only 9, the fast one.
    "compression.lz4.level" => lz4_level: i32 = 9;
    /// The level of zstd: -131072 to 22.
    "compression.zstd.level" => zstd_level: i32 = 3;
    /// How often a batch may be retried within `delivery.timeout.ms`. With idempotence the limit holds only for batches
    /// that are surely not written. A batch that may be written is retried, without a risk of duplicates, until its
    /// outcome is known or the time is up.
    "retries" | "message.send.max.retries" => retries: u32 = 2_147_483_647, at most 2_147_483_647;
    /// The largest request, and the largest record before compression, in bytes.
    "max.request.size" | "message.max.bytes" => max_request_size: usize = 1_048_576, at least 1, at most REQUEST_MAX;
    /// How many requests may be in flight per connection: 1 to 1,000,000 (librdkafka's limit), with idempotence 1 to 5.
    "max.in.flight.requests.per.connection" | "max.in.flight" => max_in_flight: usize = 5, at least 1, at most 1_000_000;
    /// Whether brokers reject repeated and reordered batches.
    "enable.idempotence" => enable_idempotence: bool = true;
    /// How long a record may wait for its outcome, from the start of its batch; 0 for no limit, as in librdkafka. Must
    /// be at least `linger.ms` + `request.timeout.ms`; if not, the settings among these three that keep their default
    /// are adjusted.
    "delivery.timeout.ms" | "message.timeout.ms" => delivery_timeout: Duration = ms(120_000), at least ms(1);
    /// How long a request may take, and how long a leader may wait for the other replicas.
    "request.timeout.ms" | "socket.timeout.ms" => request_timeout: Duration = ms(30_000), at least ms(1);
    /// This producer's name in brokers' logs and quotas.
    "client.id" => client_id: String = "kurier".to_owned();
    /// How old metadata may become before it is refreshed; -1 for any age.
    "metadata.max.age.ms" | "topic.metadata.refresh.interval.ms" => metadata_max_age: Duration = ms(300_000);
    /// How long the producer keeps requesting a topic after the last send to it. A topic with undelivered records stays
    /// in use. Of more than 10,000 topics, those that were not used for longest are forgotten earlier.
    "metadata.max.idle.ms" => metadata_max_idle: Duration = ms(300_000), at least ms(5_000);
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
    "socket.connection.setup.timeout.ms" => connection_setup_timeout: Duration = ms(10_000), at least ms(1);
    /// The longest timeout of a connection attempt; it doubles with each failure (KIP-601).
    "socket.connection.setup.timeout.max.ms" => connection_setup_timeout_max: Duration = ms(30_000), at least ms(1);
    /// How long a connection may be idle; use less than the broker allows. -1 or 0 for no limit.
    "connections.max.idle.ms" => connections_max_idle: Duration = ms(540_000);
    /// The size of a socket's send buffer; -1 or 0 leaves it to the system.
    "send.buffer.bytes" | "socket.send.buffer.bytes" => send_buffer_bytes: i32 = 131_072, at least -1;
    /// The size of a socket's receive buffer; -1 or 0 leaves it to the system.
    "receive.buffer.bytes" | "socket.receive.buffer.bytes" => receive_buffer_bytes: i32 = 32_768, at least -1;
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
    /// Whether connections are encrypted, and whether the client authenticates: `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or
    /// `SASL_SSL`, in any letter case. A scheme in `bootstrap.servers`, as in `SSL://kafka-1:9093`, must agree.
    "security.protocol" => security_protocol: SecurityProtocol = SecurityProtocol::Plaintext;
    /// A PEM file with the certificates of the authorities that may sign a broker's certificate, or a folder of such
    /// files. Without it, and without `ssl.truststore.certificates`, `kurier.tls.roots` decides.
    "ssl.truststore.location" | "ssl.ca.location" => truststore_location: Option<PathBuf> = None;
    /// The same certificates as PEM text, up to 4 MiB (KIP-651).
    "ssl.truststore.certificates" | "ssl.ca.pem" => truststore_certificates: Secret = Secret::default();
    /// `PEM`, the only form that is supported. Without it the content decides.
    "ssl.truststore.type" => truststore_type: StoreType = StoreType::Detected;
    /// A PEM file with the private key of the client, its certificate and its chain, in any order.
    "ssl.keystore.location" => keystore_location: Option<PathBuf> = None;
    /// `PEM`, the only form that is supported. Without it the content decides.
    "ssl.keystore.type" => keystore_type: StoreType = StoreType::Detected;
    /// The certificate of the client and its chain as PEM text (KIP-651). Requires `ssl.keystore.key`.
    "ssl.keystore.certificate.chain" | "ssl.certificate.pem" => certificate_chain: Secret = Secret::default();
    /// The private key of the client as PEM text: PKCS#8, PKCS#1 or SEC1.
    "ssl.keystore.key" | "ssl.key.pem" => private_key: Secret = Secret::default();
    /// A PEM file with the certificate of the client and its chain, as in librdkafka. Requires `ssl.key.location`.
    "ssl.certificate.location" => certificate_location: Option<PathBuf> = None;
    /// A PEM file with the private key of the client, as in librdkafka.
    "ssl.key.location" => key_location: Option<PathBuf> = None;
    /// The password of an encrypted private key in PKCS#8.
    "ssl.key.password" => key_password: Secret = Secret::default();
    /// The versions of TLS that the client offers: `TLSv1.2` and `TLSv1.3`. Older versions are not safe.
    "ssl.enabled.protocols" => tls_versions: TlsVersions = TlsVersions::BOTH;
    /// `TLSv1.2` removes TLS 1.3 from `ssl.enabled.protocols`; `TLSv1.3` and `TLS` remove nothing.
    "ssl.protocol" => ssl_protocol: TlsVersion = TlsVersion::Tls13;
    /// IANA names of the cipher suites that the client offers, separated by commas. Without them it offers all of the
    /// provider's.
    "ssl.cipher.suites" => cipher_suites: CipherSuites = CipherSuites::default();
    /// `https`: the certificate of a broker must be for the host that was dialled. Only code can switch this off; see
    /// `kurier.tls.server.name` for brokers with another name.
    "ssl.endpoint.identification.algorithm" => endpoint_identification: EndpointIdentification = EndpointIdentification::Https;
    /// The DNS name or IP address that the certificate of every broker must be for, instead of the host that was
    /// dialled.
    "kurier.tls.server.name" => tls_server_name: Option<ServerName> = None;
    /// Where the client finds the authorities that it trusts, if no `ssl.truststore` setting names them: `system`,
    /// `mozilla` (feature `tls-webpki-roots`), or `auto`, which is the system's store or, if that is empty, Mozilla's
    /// list.
    "kurier.tls.roots" => tls_roots: Roots = Roots::Auto;
    /// The library that encrypts: `aws-lc`, `ring` or `graviola`, each a feature; `auto` for the process's default or
    /// else the first that is compiled in.
    "kurier.tls.provider" => tls_provider: TlsProvider = TlsProvider::Auto;
    /// How often the files of keys and certificates are compared with their content in use: 1,000 or more, or 0 for
    /// never.
    "kurier.tls.reload.ms" => tls_reload: Duration = ms(60_000);
    /// How the client authenticates: `SCRAM-SHA-512`, `SCRAM-SHA-256`, `PLAIN` or `OAUTHBEARER`. Required with
    /// `SASL_PLAINTEXT` and `SASL_SSL`. Java's default, `GSSAPI`, is not supported.
    "sasl.mechanism" | "sasl.mechanisms" => sasl_mechanism: Option<Mechanism> = None;
    /// The user name for `PLAIN` and `SCRAM`.
    "sasl.username" => sasl_username: String = String::new();
    /// The password for `PLAIN` and `SCRAM`. Spaces at its ends belong to it. It stays in memory that other code may
    /// have copied, and on a command line every user of the machine can read it: prefer `kurier.sasl.password.file`.
    "sasl.password" => sasl_password: Secret = Secret::default();
    /// A file with the password for `PLAIN` and `SCRAM`, with or without a final newline.
    "kurier.sasl.password.file" => sasl_password_file: Option<PathBuf> = None;
    /// Mechanism and credentials as one JAAS entry that ends with a semicolon, as in Java. Excludes `sasl.username`.
    "sasl.jaas.config" => sasl_jaas_config: Secret = Secret::default();
    /// The place of the tokens for `OAUTHBEARER`: a file with a JWT, `file:///run/secrets/token`, or a token endpoint,
    /// `https://host/token` (KIP-768; feature `oauth-oidc`). With `http:` the client's secret is not encrypted, so the
    /// host must be this machine, or `kurier.sasl.allow.cleartext` true.
    "sasl.oauthbearer.token.endpoint.url" => token_url: Option<TokenUrl> = None;
    /// The id of the client at the token endpoint. Counts more than `clientId` in `sasl.jaas.config`, as in Java.
    "sasl.oauthbearer.client.credentials.client.id" | "sasl.oauthbearer.client.id" => oauth_client_id: String = String::new();
    /// The secret of the client at the token endpoint. Counts more than `clientSecret` in `sasl.jaas.config`.
    "sasl.oauthbearer.client.credentials.client.secret" | "sasl.oauthbearer.client.secret" => oauth_client_secret: Secret = Secret::default();
    /// The scope that the client asks the token endpoint for. Counts more than `scope` in `sasl.jaas.config`.
    "sasl.oauthbearer.scope" => oauth_scope: String = String::new();
    /// Whether the client's id and secret are URL-encoded before base64 (KIP-1025). RFC 6749 requires that, but not
    /// every endpoint expects it.
    "sasl.oauthbearer.header.urlencode" => oauth_header_urlencode: bool = false;
    /// `oidc`: tokens come from a token endpoint, as in librdkafka. Without it the URL decides.
    "sasl.oauthbearer.method" => oauth_method: OauthMethod = OauthMethod::Default;
    /// The grant that the client shows the token endpoint: `client_credentials`, or
    /// `urn:ietf:params:oauth:grant-type:jwt-bearer`, which needs an assertion.
    "sasl.oauthbearer.grant.type" => oauth_grant_type: GrantType = GrantType::ClientCredentials;
    /// A file with a signed JWT that proves the client's identity to the token endpoint, instead of a secret (KIP-1139,
    /// KIP-1258). Another program must renew the file. The other settings `sasl.oauthbearer.assertion.*` then have no
    /// effect.
    "sasl.oauthbearer.assertion.file" => oauth_assertion_file: Option<PathBuf> = None;
    /// A file with the private key with which the client signs such a JWT itself, a new one for each token: PEM, or
    /// PKCS#8 in base64 without PEM's lines, as in Java. The file is read for each token. Needs a feature of TLS, such as
    /// `tls-ring`.
    "sasl.oauthbearer.assertion.private.key.file" => oauth_assertion_key_file: Option<PathBuf> = None;
    /// The same private key as PEM text, as in librdkafka.
    "sasl.oauthbearer.assertion.private.key.pem" => oauth_assertion_key: Secret = Secret::default();
    /// The passphrase of the private key, if it is encrypted (PKCS#8; feature `tls-encrypted-keys`).
    "sasl.oauthbearer.assertion.private.key.passphrase" => oauth_assertion_passphrase: Secret = Secret::default();
    /// The algorithm of the signature: `RS256` for an RSA key, `ES256` for a P-256 key.
    "sasl.oauthbearer.assertion.algorithm" => oauth_assertion_algorithm: AssertionAlgorithm = AssertionAlgorithm::Rs256;
    /// A file with further members of the JWT: a JSON object with the objects `header` and `payload`. It is read for each
    /// token.
    "sasl.oauthbearer.assertion.template.file" | "sasl.oauthbearer.assertion.jwt.template.file" => oauth_assertion_template: Option<PathBuf> = None;
    /// The claim `aud` of the JWT: its recipient, often the URL of the token endpoint.
    "sasl.oauthbearer.assertion.claim.aud" => oauth_assertion_audience: String = String::new();
    /// The claim `iss` of the JWT: the id of the client.
    "sasl.oauthbearer.assertion.claim.iss" => oauth_assertion_issuer: String = String::new();
    /// The claim `sub` of the JWT: the id of the client, or with the grant `jwt-bearer` the user that it acts for.
    "sasl.oauthbearer.assertion.claim.sub" => oauth_assertion_subject: String = String::new();
    /// How long the JWT is valid, in seconds: 1 or more.
    "sasl.oauthbearer.assertion.claim.exp.seconds" => oauth_assertion_exp_seconds: u32 = 300, at least 1;
    /// How long before its issue the JWT is valid, in seconds, for a token endpoint whose clock is slow.
    "sasl.oauthbearer.assertion.claim.nbf.seconds" => oauth_assertion_nbf_seconds: u32 = 60;
    /// Whether each JWT has an id of its own, the claim `jti`.
    "sasl.oauthbearer.assertion.claim.jti.include" => oauth_assertion_has_id: bool = false;
    /// Java's class that gets tokens (KIP-1139): `DefaultJwtRetriever`, `ClientCredentialsJwtRetriever`,
    /// `JwtBearerJwtRetriever` or `FileJwtRetriever`, with their package. It must agree with the URL.
    "sasl.oauthbearer.jwt.retriever.class" => token_retriever: TokenRetriever = TokenRetriever::Default;
    /// A PEM file with the certificates of the authorities that may sign the certificate of the token endpoint, or a
    /// folder of such files, as in librdkafka. Without it, and without `https.ca.pem`, `kurier.tls.roots` decides.
    "https.ca.location" => https_ca_location: Option<PathBuf> = None;
    /// The same certificates as PEM text, up to 4 MiB.
    "https.ca.pem" => https_ca_pem: Secret = Secret::default();
    /// SASL extensions for the token, as `NAME=VALUE,NAME=VALUE`, as in librdkafka (KIP-342).
    "sasl.oauthbearer.extensions" => oauth_extensions: Extensions = Extensions::default();
    /// Whether the client makes unsigned tokens, which only brokers for development accept (KIP-255), as in librdkafka.
    "enable.sasl.oauthbearer.unsecure.jwt" => unsecure_jwt: bool = false;
    /// The claims of an unsigned token, as in librdkafka: `principal=NAME`, and optionally `principalClaimName` (`sub`),
    /// `scope` (values separated by commas), `scopeClaimName` (`scope`), `lifeSeconds` (3600) and `extension_NAME`,
    /// separated by spaces. Requires `enable.sasl.oauthbearer.unsecure.jwt`.
    "sasl.oauthbearer.config" => oauthbearer_config: String = String::new();
    /// Whether `PLAIN` and `OAUTHBEARER` may send a password or a token unencrypted to other machines.
    "kurier.sasl.allow.cleartext" => sasl_allow_cleartext: bool = false;
    /// The most iterations of PBKDF2 that a broker may ask for in SCRAM: 4,096 to 1,000,000. Kafka creates users with
    /// 4,096 to 16,384.
    "kurier.sasl.scram.max.iterations" => scram_max_iterations: u32 = 65_536, at least 4_096, at most 1_000_000;
    /// How much of a token's lifetime passes before the client asks for the next one: 0.5 to 1.
    "sasl.login.refresh.window.factor" => login_window_factor: f64 = 0.8, at least 0.5, at most 1.0;
    /// The largest random delay of that request, as a part of the token's lifetime: 0 to 0.25.
    "sasl.login.refresh.window.jitter" => login_window_jitter: f64 = 0.05, at least 0.0, at most 0.25;
    /// The least age at which a token is replaced, in seconds: 0 to 900. Has no effect if this and
    /// `sasl.login.refresh.buffer.seconds` together exceed the lifetime.
    "sasl.login.refresh.min.period.seconds" => login_min_period_seconds: u32 = 60, at most 900;
    /// How long before its expiry a token is replaced at the latest, in seconds: 0 to 3,600.
    "sasl.login.refresh.buffer.seconds" => login_buffer_seconds: u32 = 300, at most 3_600;
    /// How long a connection to the provider of tokens may take. Java has no limit.
    "sasl.login.connect.timeout.ms" => login_connect_timeout: Duration = ms(10_000), at least ms(1);
    /// How long the provider of tokens may take to answer. Java has no limit.
    "sasl.login.read.timeout.ms" => login_read_timeout: Duration = ms(10_000), at least ms(1);
    /// The first wait before the client asks the provider of tokens again.
    "sasl.login.retry.backoff.ms" => login_retry_backoff: Duration = ms(100), at least ms(1);
    /// The longest wait before the client asks again; the wait doubles up to this.
    "sasl.login.retry.backoff.max.ms" => login_retry_backoff_max: Duration = ms(10_000);
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
    /// Of kind [`Configuration`](crate::ErrorKind::Configuration): if the key is unknown, with the key that was probably
    /// meant; if the key cannot have this value, with the allowed values.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), Error> {
        self.set_from(key, value, Origin::Code)
    }

    /// Sets one setting, with the place that it comes from.
    fn set_from(&mut self, key: &str, value: &str, origin: Origin) -> Result<(), Error> {
        let key = key.trim();
        let Some((name, key)) = Self::name_of(key) else { return self.set_aside(key, value.trim(), origin) };
        let (text, why) = match special(name, key, value.trim()) {
            Some(special) => (special.text, special.why),
            None => (value.to_owned(), None),
        };
        self.assign(name, key, &text)?;
        self.made.insert(name, Made { key, origin });
        match why {
            Some(why) => self.adjusted.insert(name, format!("{text}: {why}")),
            None => self.adjusted.remove(name),
        };
        Ok(())
    }

    /// Marks a setting as explicit after a typed method has set it.
    #[doc(hidden)]
    pub fn made(&mut self, name: &'static str) {
        self.made.insert(name, Made { key: name, origin: Origin::Code });
    }

    /// Notes that the program provides credentials, so that no setting has to.
    #[doc(hidden)]
    pub fn note_source(&mut self) {
        self.has_source = true;
    }

    fn is_made(&self, name: &str) -> bool {
        self.made.contains_key(name)
    }

    /// Returns the setting's name as the user wrote it, for errors.
    fn written(&self, name: &'static str) -> &'static str {
        self.made.get(name).map_or(name, |made| made.key)
    }

    /// How long an open batch accepts records, so that late records do not inherit an old batch's deadline.
    #[doc(hidden)]
    pub fn growing_time(&self) -> Duration {
        (self.linger + self.delivery_timeout / 16).max(ms(1))
    }

    /// Returns these settings with other bootstrap servers.
    #[doc(hidden)]
    pub fn with_bootstrap_servers(&self, bootstrap_servers: Vec<HostPort>) -> Self {
        Self { bootstrap_servers: bootstrap_servers.into(), ..self.clone() }
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

    /// TLS and SASL as these settings ask for them. Says `PLAINTEXT` until [`check`](Self::check) has returned.
    #[doc(hidden)]
    #[must_use]
    pub fn security(&self) -> &SecurityConfig {
        &self.security
    }

    /// The largest request and record in force, in bytes: `max.request.size`.
    #[must_use]
    pub fn max_request_size(&self) -> usize {
        self.max_request_size
    }
}
