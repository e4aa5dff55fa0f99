//! `kurier broker`: a cluster in memory.

use std::fmt::{self, Display};
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
#[cfg(feature = "tls")]
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use kurier::{HostPort, SecurityProtocol};
use kurier_broker::{Broker as Cluster, ClusterSettings, KafkaVersion, SaslSettings, TopicSettings};
use tokio::signal::unix::{SignalKind, signal};

#[cfg(feature = "tls")]
use crate::certificates::{read, server_tls};
use crate::exit::{Cause, Misuse};
use crate::notice;
use crate::options::{listen_address, property};

/// Run an in-memory Kafka cluster until Ctrl-C or SIGTERM.
///
/// Prints the bootstrap servers on one line of standard output when the cluster is ready, and with TLS or SASL the
/// settings that clients need on standard error. Its records are lost when it ends.
///
/// Make a certificate for tests, which is its own authority, with: openssl req -x509 -newkey rsa:2048 -noenc -days 30
/// -keyout key.pem -out chain.pem -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -addext
/// basicConstraints=critical,CA:FALSE
#[derive(Args, Debug)]
pub(crate) struct Broker {
    /// Address of the first node; the next nodes use the ports after it. Port 0 gives each node a free port.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092", value_parser = listen_address)]
    listen: SocketAddr,

    /// Addresses to give to clients, separated by commas, in the order of the node ids. Nodes beyond the last address
    /// use its host and the ports after its own. Default: a node's own address, or, for nodes that listen everywhere
    /// (0.0.0.0, [::]), the address that the client used.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', value_parser = advertised)]
    advertised_listeners: Vec<(String, u16)>,

    /// Number of nodes.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    nodes: u16,

    /// Kafka version to behave as: 3.7, 3.9 or 4.3.
    #[arg(long, value_name = "VERSION", default_value_t)]
    as_version: KafkaVersion,

    /// Create this topic at the start. Other topics are created when a client asks for them.
    #[arg(short, long = "topic", value_name = "NAME:PARTITIONS", value_parser = topic)]
    topics: Vec<(String, i32)>,

    /// File of the nodes' certificate, as PEM, followed by those of its issuers. Clients must then use TLS.
    #[cfg(feature = "tls")]
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// File of the certificate's private key, as PEM.
    #[cfg(feature = "tls")]
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// File of certificates, as PEM. Each client must show a certificate that one of these authorities has signed.
    #[cfg(feature = "tls")]
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,

    /// A user. Clients must then authenticate with PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512. Other users of this machine
    /// can see the password: use it for tests only.
    #[arg(long = "user", value_name = "NAME:PASSWORD", value_parser = user)]
    users: Vec<User>,

    /// Let clients authenticate with OAUTHBEARER too, with any unsigned token that names a subject and has not ended.
    #[arg(long)]
    unsecured_tokens: bool,

    #[arg(short = 'X', long = "command-property", value_name = "KEY=VALUE")]
    #[arg(help = format!("Kafka broker setting; supported keys: {}", keys().collect::<Vec<_>>().join(", ")))]
    properties: Vec<String>,
}

/// A user's name and password. `Debug` shows only the name.
#[derive(Clone)]
struct User {
    name: String,
    password: String,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Applies a setting, or returns what its value must be.
type Set = fn(&mut ClusterSettings, &str) -> Result<(), Cause>;

/// The Kafka broker settings that have an effect here. Allowed values are those of `KafkaConfig` in 3.7.2 and 4.3.1,
/// with one exception: Kafka accepts a replication factor of 0 or above the maximum until a topic is created.
const SETTINGS: [(&str, Set); 9] = [
    ("advertised.listeners", |cluster, value| {
        set(&mut cluster.advertised_listeners, value.split(',').map(|one| advertised(one.trim())).collect())
    }),
    ("auto.create.topics.enable", |cluster, value| {
        set(&mut cluster.auto_create_topics, one_of(&value.to_ascii_lowercase(), &[("true", true), ("false", false)]))
    }),
    ("num.partitions", |cluster, value| set(&mut cluster.default_partitions, number(value, 1, i32::MAX))),
    ("default.replication.factor", |cluster, value| {
        set(&mut cluster.default_topic.replication_factor, number(value, 1, 32_767))
    }),
    ("min.insync.replicas", |cluster, value| {
        set(&mut cluster.default_topic.min_insync_replicas, number(value, 1, 2_147_483_647))
    }),
    ("message.max.bytes", |cluster, value| {
        set(&mut cluster.default_topic.max_message_bytes, number(value, 0, 2_147_483_647))
    }),
    ("log.message.timestamp.type", |cluster, value| {
        let types = [("CreateTime", false), ("LogAppendTime", true)];
        set(&mut cluster.default_topic.is_log_append_time, one_of(value, &types))
    }),
    ("log.message.timestamp.after.max.ms", |cluster, value| {
        set(&mut cluster.default_topic.timestamp_after_max_ms, number(value, 0, i64::MAX))
    }),
    ("connections.max.reauth.ms", |cluster, value| {
        let time = number(value, 0, i64::MAX).map(|millis| u64::try_from(millis).unwrap_or_default());
        let time = time.map(|millis| (millis > 0).then(|| Duration::from_millis(millis)));
        set(&mut cluster.sasl.get_or_insert_with(SaslSettings::default).max_reauth, time)
    }),
];

fn keys() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().map(|(key, _)| *key)
}

/// Names the setting that an unknown key may stand for, or all settings.
fn hint(key: &str) -> String {
    /// More different letters than this are not a typing error.
    const DISTANCE_MAX: usize = 2;
    let distances = keys().map(|name| (strsim::osa_distance(name, key), name));
    match distances.min() {
        Some((..=DISTANCE_MAX, nearest)) => format!("did you mean {nearest}?"),
        _ => format!("it has {}", keys().collect::<Vec<_>>().join(", ")),
    }
}

fn set<T>(field: &mut T, value: Result<T, impl Into<Cause>>) -> Result<(), Cause> {
    value.map(|value| *field = value).map_err(Into::into)
}

fn number<N: FromStr + PartialOrd + Display>(text: &str, least: N, most: N) -> Result<N, String> {
    let number = text.parse().ok().filter(|number| (&least..=&most).contains(&number));
    number.ok_or_else(|| format!("it takes a number from {least} to {most}"))
}

fn one_of(text: &str, values: &[(&str, bool)]) -> Result<bool, String> {
    let value = values.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    value.ok_or_else(|| format!("it takes {}", values.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" or ")))
}

/// Parses an advertised listener, such as `broker.example:9092` or `PLAINTEXT://[::1]:9092`.
fn advertised(text: &str) -> Result<(String, u16), Cause> {
    let address = match text.split_once("://") {
        None => text,
        Some((scheme, address)) if scheme.eq_ignore_ascii_case("plaintext") => address,
        Some((scheme, address)) => {
            return Err(format!(
                "leave {scheme}:// out, as in {address}: each node has one listener, and --tls-cert and --user decide its protocol"
            )
            .into());
        }
    };
    let HostPort { host, port } = address.parse()?;
    Ok((host, port))
}

/// Parses a user. The error does not repeat the text, which has a password.
fn user(text: &str) -> Result<User, String> {
    match text.split_once(':') {
        Some((name, password)) if !name.is_empty() && !password.is_empty() => {
            Ok(User { name: name.to_owned(), password: password.to_owned() })
        }
        _ => Err("it takes a name, a colon and a password".to_owned()),
    }
}

fn topic(text: &str) -> Result<(String, i32), String> {
    let (name, partitions) = text.rsplit_once(':').ok_or("it takes a name, a colon and a number of partitions")?;
    let partitions = partitions.parse().map_err(|_| format!("{partitions:?} is not a number of partitions"))?;
    Ok((name.to_owned(), partitions))
}

impl Broker {
    pub(crate) fn run(&self, out: &mut impl Write) -> Result<()> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
            let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
            let cluster = self.start().await?;
            writeln!(out, "{}", cluster.bootstrap_servers())?;
            out.flush()?;
            self.say_protocol(&cluster);
            std::future::poll_fn(|cx| {
                let ended = interrupt.poll_recv(cx).is_ready() || terminate.poll_recv(cx).is_ready();
                if ended { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
            })
            .await;
            Ok(())
        })
    }

    async fn start(&self) -> Result<Cluster> {
        let settings = self.settings()?;
        let mut builder = Cluster::builder()
            .listen(self.listen)
            .nodes(self.nodes)
            .version(settings.version)
            .advertised_listeners(settings.advertised_listeners)
            .topics_by_default(settings.default_topic)
            .auto_create_topics(settings.auto_create_topics, settings.default_partitions);
        if let Some(sasl) = self.sasl(settings.sasl) {
            builder = builder.sasl(sasl);
        }
        #[cfg(feature = "tls")]
        if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            let mut tls = server_tls(certificate, key)?;
            if let Some(authorities) = &self.tls_client_ca {
                tls = tls.client_ca(read("--tls-client-ca", authorities)?);
            }
            builder = builder.tls(tls);
        }
        for (name, partitions) in &self.topics {
            builder = builder.topic(name, *partitions);
        }
        builder.start().await.map_err(|error| match error.kind() {
            ErrorKind::InvalidInput => Misuse::of(error),
            _ => error.into(),
        })
    }

    /// Says which settings clients need, unless they need none.
    fn say_protocol(&self, cluster: &Cluster) {
        let mechanisms = cluster.with_cluster(|cluster| Some(cluster.settings().sasl.as_ref()?.mechanisms.join(", ")));
        let protocol = match (self.has_tls(), &mechanisms) {
            (false, None) => return,
            (true, None) => SecurityProtocol::Ssl,
            (false, Some(_)) => SecurityProtocol::SaslPlaintext,
            (true, Some(_)) => SecurityProtocol::SaslSsl,
        };
        let mechanism = mechanisms.map(|names| format!(", and one sasl.mechanism of {names}")).unwrap_or_default();
        notice::say(format_args!("clients set security.protocol={protocol}{mechanism}"));
    }

    fn has_tls(&self) -> bool {
        cfg_select! {
            feature = "tls" => self.tls_cert.is_some(),
            _ => false,
        }
    }

    /// Returns the settings of SASL, if clients must authenticate.
    fn sasl(&self, settings: Option<SaslSettings>) -> Option<SaslSettings> {
        if self.users.is_empty() && !self.unsecured_tokens {
            return None;
        }
        let mut sasl = settings.unwrap_or_default();
        for User { name, password } in &self.users {
            sasl = sasl.user(name, password);
        }
        if self.users.is_empty() {
            sasl.mechanisms.clear();
        }
        if self.unsecured_tokens {
            sasl.mechanisms.push("OAUTHBEARER".to_owned());
        }
        Some(sasl)
    }

    /// Returns the defaults of the version, changed by the given settings.
    fn settings(&self) -> Result<ClusterSettings> {
        let version = self.as_version;
        let default_topic = TopicSettings::of(version);
        let mut settings = ClusterSettings { version, default_topic, ..ClusterSettings::default() };
        for text in &self.properties {
            let (key, value) = property(text)?;
            let Some((_, set)) = SETTINGS.iter().find(|(name, _)| *name == key) else {
                return Err(Misuse::error(format!("unknown broker setting {key}: {}", hint(&key))));
            };
            let value = value.trim();
            set(&mut settings, value).map_err(|why| Misuse::because(format_args!("{key} cannot be {value:?}"), why))?;
        }
        if !self.advertised_listeners.is_empty() {
            settings.advertised_listeners.clone_from(&self.advertised_listeners);
        }
        Ok(settings)
    }
}
