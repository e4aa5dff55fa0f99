//! Producer builder: collects settings, checks them, and starts the producer.

use std::fmt;
use std::net::{Ipv4Addr, UdpSocket};
use std::panic::catch_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kurier_compression::CompressionType;
use kurier_partitioner::Partitioner;
use tokio::runtime;

use crate::credentials::{CredentialSource, TokenProvider};
use crate::driver::credentials::Source;
use crate::driver::{Driver, Given, Protection, Shared};
use crate::handle::Handle;
use crate::partitioning::Partitioning;
use crate::producer::Producer;
use kurier_engine::config::{Acks, Config, Mechanism, Secret, SecurityProtocol, Servers};
use kurier_engine::error::{Error, ErrorKind};
use kurier_engine::serializer::BytesSerializer;
#[cfg(feature = "tls")]
use kurier_security::tls::TlsConfig;

/// Configures a producer. [`Producer::builder`] creates one.
///
/// Each method's page opens with its key in Kafka, its default and its unit. Set keys without a method with
/// [`set`](Self::set).
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// # let broker = kurier_broker::Broker::start().await?;
/// # let servers = broker.bootstrap_servers();
/// use std::time::Duration;
///
/// use kurier::{Acks, CompressionType, Producer, StringSerializer};
///
/// let producer = Producer::builder()
///     .bootstrap_servers([servers])
///     .acks(Acks::All)
///     .linger(Duration::from_millis(20))
///     .compression(CompressionType::Lz4)
///     .set("retry.backoff.ms", "50")
///     .value_serializer(StringSerializer)
///     .build()
///     .await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ProducerBuilder<KS = BytesSerializer, VS = BytesSerializer> {
    config: Config,
    /// The first wrong setting; [`build`](Self::build) returns it.
    wrong: Option<Error>,
    key_serializer: KS,
    value_serializer: VS,
    partitioner: Option<Arc<dyn Partitioner>>,
    runtime: Option<runtime::Handle>,
    given: Given,
}

impl Default for ProducerBuilder {
    fn default() -> Self {
        Self {
            config: Config::default(),
            wrong: None,
            key_serializer: BytesSerializer,
            value_serializer: BytesSerializer,
            partitioner: None,
            runtime: None,
            given: Given::default(),
        }
    }
}

/// Methods that set one field each.
macro_rules! setters {
    ($($(#[doc = $doc:literal])* $key:literal $name:ident($argument:ident: $type:ty) => $field:ident;)*) => {$(
        $(#[doc = $doc])*
        #[must_use]
        pub fn $name(mut self, $argument: $type) -> Self {
            self.config.$field = $argument;
            self.config.made($key);
            self
        }
    )*};
}

impl<KS: Send + Sync, VS: Send + Sync> ProducerBuilder<KS, VS> {
    setters! {
        /// `acks`, default all: which replicas must have a record before the broker acknowledges it.
        "acks" acks(acks: Acks) => acks;
        /// `linger.ms`, default 5 ms: how long a batch that is not full waits for more records.
        "linger.ms" linger(linger: Duration) => linger;
        /// `batch.size`, default 16,384 bytes: the size that makes a batch ready to send; 0 sends each record by
        /// itself.
        "batch.size" batch_size(bytes: usize) => batch_size;
        /// `buffer.memory`, default 33,554,432 bytes: memory for unsent and unacknowledged records.
        "buffer.memory" buffer_memory(bytes: usize) => buffer_memory;
        /// `max.block.ms`, default 60 s: how long a send may wait for metadata and memory.
        "max.block.ms" max_block(patience: Duration) => max_block;
        /// `compression.type`, default none: the codec of batches.
        "compression.type" compression(compression: CompressionType) => compression_type;
        /// `enable.idempotence`, default true: whether brokers reject repeated and reordered batches.
        "enable.idempotence" enable_idempotence(is_enabled: bool) => enable_idempotence;
        /// `delivery.timeout.ms`, default 120 s: how long a record may wait for its outcome.
        "delivery.timeout.ms" delivery_timeout(timeout: Duration) => delivery_timeout;
        /// `request.timeout.ms`, default 30 s: how long a request may take.
        "request.timeout.ms" request_timeout(timeout: Duration) => request_timeout;
        /// `max.request.size`, default 1,048,576 bytes: the largest request, and the largest record.
        "max.request.size" max_request_size(bytes: usize) => max_request_size;
        /// `partitioner.availability.timeout.ms`, default 0, which is off (KIP-794): how long a node may accept none of
        /// its pending batches before records without a key avoid its partitions.
        "partitioner.availability.timeout.ms" partitioner_availability_timeout(timeout: Duration) => availability_timeout;
        /// `security.protocol`, default PLAINTEXT: whether connections are encrypted, and whether the client
        /// authenticates.
        "security.protocol" security_protocol(protocol: SecurityProtocol) => security_protocol;
    }

    /// `ssl.truststore.location`, default none: a PEM file with the certificates of the authorities that may sign a
    /// broker's certificate, or a folder of such files.
    #[must_use]
    pub fn truststore_location(mut self, path: impl Into<PathBuf>) -> Self {
        self.config.truststore_location = Some(path.into());
        self.config.made("ssl.truststore.location");
        self
    }

    /// `ssl.keystore.location`, default none: a PEM file with the private key of the client, its certificate and its
    /// chain.
    #[must_use]
    pub fn keystore_location(mut self, path: impl Into<PathBuf>) -> Self {
        self.config.keystore_location = Some(path.into());
        self.config.made("ssl.keystore.location");
        self
    }

    /// `sasl.mechanism` PLAIN with `sasl.username` and `sasl.password`. Requires a `security.protocol` with SASL.
    ///
    /// ```
    /// use kurier::{Producer, SecurityProtocol};
    ///
    /// let builder = Producer::builder()
    ///     .bootstrap_servers(["kafka-1:9093"])
    ///     .security_protocol(SecurityProtocol::SaslSsl)
    ///     .sasl_plain("alice", "alice-secret");
    /// assert!(!format!("{builder:?}").contains("alice-secret"));
    /// ```
    #[must_use]
    pub fn sasl_plain(self, username: impl Into<String>, password: impl Into<Secret>) -> Self {
        self.sasl(Mechanism::Plain, username.into(), password.into())
    }

    /// `sasl.mechanism` SCRAM-SHA-256 with `sasl.username` and `sasl.password`. Requires a `security.protocol` with
    /// SASL.
    #[must_use]
    pub fn sasl_scram_sha_256(self, username: impl Into<String>, password: impl Into<Secret>) -> Self {
        self.sasl(Mechanism::ScramSha256, username.into(), password.into())
    }

    /// `sasl.mechanism` SCRAM-SHA-512 with `sasl.username` and `sasl.password`. Requires a `security.protocol` with
    /// SASL.
    #[must_use]
    pub fn sasl_scram_sha_512(self, username: impl Into<String>, password: impl Into<Secret>) -> Self {
        self.sasl(Mechanism::ScramSha512, username.into(), password.into())
    }

    fn sasl(mut self, mechanism: Mechanism, username: String, password: Secret) -> Self {
        self.config.sasl_mechanism = Some(mechanism);
        self.config.sasl_username = username;
        self.config.sasl_password = password;
        for key in ["sasl.mechanism", "sasl.username", "sasl.password"] {
            self.config.made(key);
        }
        self
    }

    /// `bootstrap.servers`: the first brokers to contact. Each item is `host:port`, or several of them separated by
    /// commas.
    #[must_use]
    pub fn bootstrap_servers(mut self, servers: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let servers: Vec<String> = servers.into_iter().map(|server| server.as_ref().to_owned()).collect();
        self.config.bootstrap_servers = Servers::default();
        self.set("bootstrap.servers", &servers.join(","))
    }

    /// `client.id`, default `kurier`: this producer's name in brokers' logs and quotas.
    #[must_use]
    pub fn client_id(self, client_id: &str) -> Self {
        self.set("client.id", client_id)
    }

    /// Sets any setting by its key in Java or librdkafka. [`build`](Self::build) returns the error for a wrong key or
    /// value.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        if let Err(error) = self.config.set(key, value) {
            self.wrong.get_or_insert(error);
        }
        self
    }

    /// Replaces all settings.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        if self.given.credentials.is_some() {
            self.config.note_source();
        }
        self
    }

    /// Partitioner for records that do not name a partition. It replaces `partitioner.class` and
    /// `partitioner.ignore.keys`.
    #[must_use]
    pub fn partitioner(mut self, partitioner: impl Partitioner + 'static) -> Self {
        self.partitioner = Some(Arc::new(partitioner));
        self
    }

    /// Serializer of keys. Without one, keys are anything that is bytes.
    #[must_use]
    pub fn key_serializer<S>(self, key_serializer: S) -> ProducerBuilder<S, VS> {
        let Self { config, wrong, value_serializer, partitioner, runtime, given, .. } = self;
        ProducerBuilder { config, wrong, key_serializer, value_serializer, partitioner, runtime, given }
    }

    /// Serializer of values. Without one, values are anything that is bytes.
    #[must_use]
    pub fn value_serializer<S>(self, value_serializer: S) -> ProducerBuilder<KS, S> {
        let Self { config, wrong, key_serializer, partitioner, runtime, given, .. } = self;
        ProducerBuilder { config, wrong, key_serializer, value_serializer, partitioner, runtime, given }
    }

    /// Source of tokens, for `sasl.mechanism=OAUTHBEARER`.
    #[must_use]
    pub fn token_provider(mut self, provider: impl TokenProvider + 'static) -> Self {
        self.given.credentials = Some(Source::Tokens(Arc::new(provider)));
        self.config.note_source();
        self
    }

    /// Source of user names and passwords, instead of `sasl.username` and `sasl.password`.
    #[must_use]
    pub fn credential_source(mut self, source: impl CredentialSource + 'static) -> Self {
        self.given.credentials = Some(Source::Program(Arc::new(source)));
        self.config.note_source();
        self
    }

    /// Configuration of TLS, instead of the settings `ssl.*` and `kurier.tls.*`. `security.protocol` must be `SSL` or
    /// `SASL_SSL`.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, config: TlsConfig) -> Self {
        self.given.tls = Some(config);
        self
    }

    /// Runs the producer's tasks on this runtime instead of on a thread of its own. Build the runtime with
    /// `enable_all()`. When the runtime shuts down, the producer ends, and records without an outcome fail.
    #[must_use]
    pub fn runtime(mut self, runtime: runtime::Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Checks the settings, starts the producer, resolves the bootstrap servers, and waits up to `max.block.ms` for a
    /// connection to one. With `max.block.ms` at 0 it does not wait for a connection.
    ///
    /// If no bootstrap server's name has an address, it fails at once, or retries for `bootstrap.resolve.timeout.ms` if
    /// that is above 0.
    ///
    /// The first producer of a process also calibrates a clock, on the calling thread, for up to 200 ms.
    ///
    /// # Errors
    /// Of kind [`Configuration`](ErrorKind::Configuration) if a setting is wrong, two settings contradict each other,
    /// or the runtime lacks timers or I/O. Of kind [`Network`](ErrorKind::Network), with the reason for every server,
    /// if none could be resolved or reached.
    ///
    /// # Cancel safety
    /// If this future is dropped before it is ready, the producer ends.
    pub async fn build(self) -> Result<Producer<KS, VS>, Error> {
        let producer = self.start()?;
        producer.connected().await?;
        Ok(producer)
    }

    /// Checks the settings and starts the producer, which resolves the bootstrap servers and connects in the
    /// background.
    ///
    /// [`Producer::connected`] waits for a connection, as [`build`](Self::build) does. Until then
    /// [`Producer::obstacle`] returns the reason why there is none.
    ///
    /// ```
    /// # let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// use kurier::Producer;
    ///
    /// let builder = Producer::builder().bootstrap_servers(["127.0.0.1:1"]).set("max.block.ms", "500");
    /// let producer = builder.start()?;
    /// assert!(producer.obstacle().await.is_some());
    /// let error = producer.connected().await.unwrap_err();
    /// assert!(format!("{error:#}").contains("127.0.0.1:1: Connection refused"), "{error:#}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`Configuration`](ErrorKind::Configuration), as [`build`](Self::build).
    pub fn start(self) -> Result<Producer<KS, VS>, Error> {
        let Self { config, wrong, key_serializer, value_serializer, partitioner, runtime, given } = self;
        if let Some(wrong) = wrong {
            return Err(wrong);
        }
        let config = Arc::new(config.check()?);
        let partitioning = partitioner.map_or_else(|| Partitioning::of(&config), Partitioning::Other);
        let seed = fastrand::u64(..);
        if let Some(runtime) = &runtime {
            check_runtime(runtime)?;
        }
        let protection = Protection::new(&config, given)?;
        let shared = Shared::new(Arc::clone(&config), seed);
        let driver = Driver::protected(Arc::clone(&shared), seed, protection)?;
        match runtime {
            Some(runtime) => drop(runtime.spawn(driver.start())),
            None => start_thread(driver)?,
        }
        Ok(Producer::new(Handle { shared, key_serializer, value_serializer, partitioning }))
    }
}

/// Checks that a runtime has timers and I/O, by using them: tokio panics if they are missing.
fn check_runtime(runtime: &runtime::Handle) -> Result<(), Error> {
    let _entered = runtime.enter();
    let has_timers = catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO))).is_ok();
    let has_io = match UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
    {
        Ok(socket) => catch_unwind(|| drop(tokio::net::UdpSocket::from_std(socket))).is_ok(),
        // No socket could be created for the check; the first connection will show the problem.
        Err(_) => true,
    };
    let missing = match (has_timers, has_io) {
        (true, true) => return Ok(()),
        (false, true) => "timers",
        (true, false) => "I/O",
        (false, false) => "timers and I/O",
    };
    let text = format!("the runtime given to the builder has no {missing}: build it with enable_all()");
    Err(Error::new(ErrorKind::Configuration, text))
}

fn start_thread(driver: Driver) -> Result<(), Error> {
    let failed = |what: &str, error: std::io::Error| Error::new(ErrorKind::Network, what.to_owned()).caused_by(error);
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.map_err(|error| failed("could not create the producer's runtime", error))?;
    let thread = std::thread::Builder::new().name("kurier".to_owned());
    let thread = thread.spawn(move || runtime.block_on(driver.start()));
    thread.map(drop).map_err(|error| failed("could not start the producer's thread", error))
}

impl<KS, VS> fmt::Debug for ProducerBuilder<KS, VS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerBuilder")
            .field("config", &self.config)
            .field("wrong", &self.wrong)
            .finish_non_exhaustive()
    }
}
