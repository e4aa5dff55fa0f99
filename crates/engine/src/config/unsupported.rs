//! Keys that are not settings of this producer: some have no effect here, others ask for features that Kurier lacks.

use super::Config;
use super::foreign::{self, is_foreign};
use super::origin::Origin;
use super::values::refused;
use crate::error::{Error, printable};

/// Keys of Java's and librdkafka's producers that have no effect here, by the reason.
const MEANINGLESS: &[(&str, &[&str])] = &[
    ("serializers are given to the builder", &["key.serializer", "value.serializer"]),
    (
        "there are no classes to load",
        &["interceptor.classes", "metric.reporters", "plugin.library.paths", "interceptors"],
    ),
    (
        "metrics are counted, not sampled",
        &["metrics.num.samples", "metrics.sample.window.ms", "metrics.recording.level"],
    ),
    ("there is no JMX", &["auto.include.jmx.reporter"]),
    ("metrics are not yet pushed to brokers", &["enable.metrics.push"]),
    ("the program asks the producer for its metrics", &["statistics.interval.ms"]),
    ("there are no transactions yet", &["transaction.timeout.ms"]),
    ("a batch takes memory as its records come", &["buffer.memory.allocation.strategy", "message.copy.max.bytes"]),
    ("buffer.memory limits the records that wait", &["queue.buffering.max.messages"]),
    ("batch.size limits a batch", &["batch.num.messages"]),
    ("batches wait for max.in.flight.requests.per.connection", &["queue.buffering.backpressure.threshold"]),
    ("records without a key change partition with each batch", &["sticky.partitioning.linger.ms"]),
    ("every record has its outcome, with its offset", &["delivery.report.only.error", "produce.offset.report"]),
    ("brokers create topics as their auto.create.topics.enable says", &["allow.auto.create.topics"]),
    ("only topics in use are asked for", &["topic.blacklist", "topic.metadata.refresh.sparse"]),
    (
        "metadata is asked for again after retry.backoff.ms, up to max.block.ms",
        &[
            "topic.metadata.refresh.fast.interval.ms",
            "topic.metadata.refresh.fast.cnt",
            "topic.metadata.propagation.max.ms",
        ],
    ),
    (
        "versions are negotiated with each broker",
        &[
            "api.version.request",
            "api.version.request.timeout.ms",
            "api.version.fallback.ms",
            "broker.version.fallback",
            "builtin.features",
        ],
    ),
    ("each connection looks its host up, and tries all addresses", &["broker.address.ttl", "broker.address.family"]),
    ("TCP keepalive and TCP_NODELAY are always on", &["socket.keepalive.enable", "socket.nagle.disable"]),
    (
        "connections have fixed rules for this",
        &[
            "receive.message.max.bytes",
            "socket.blocking.max.ms",
            "socket.max.fails",
            "reconnect.backoff.jitter.ms",
            "enable.random.seed",
            "internal.termination.signal",
        ],
    ),
    (
        "the program subscribes to tracing for logs",
        &["debug", "log_level", "log.queue", "log.thread.name", "log.connection.close"],
    ),
    (
        "the TLS library chooses it",
        &["ssl.keymanager.algorithm", "ssl.trustmanager.algorithm", "ssl.secure.random.implementation"],
    ),
    (
        "there is no Kerberos",
        &[
            "sasl.kerberos.keytab",
            "sasl.kerberos.kinit.cmd",
            "sasl.kerberos.min.time.before.relogin",
            "sasl.kerberos.principal",
            "sasl.kerberos.service.name",
            "sasl.kerberos.ticket.renew.jitter",
            "sasl.kerberos.ticket.renew.window.factor",
        ],
    ),
    (
        "only brokers validate tokens",
        &[
            "sasl.oauthbearer.allow.unverified.audience",
            "sasl.oauthbearer.allow.unverified.issuer",
            "sasl.oauthbearer.clock.skew.seconds",
            "sasl.oauthbearer.expected.audience",
            "sasl.oauthbearer.expected.issuer",
            "sasl.oauthbearer.jwks.endpoint.refresh.ms",
            "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms",
            "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms",
            "sasl.oauthbearer.jwks.endpoint.url",
            "sasl.oauthbearer.scope.claim.name",
            "sasl.oauthbearer.sub.claim.name",
        ],
    ),
    (
        "only a program can set it, through librdkafka's functions",
        &[
            "background_event_cb",
            "closesocket_cb",
            "connect_cb",
            "default_topic_conf",
            "dr_cb",
            "dr_msg_cb",
            "enabled_events",
            "error_cb",
            "log_cb",
            "msg_order_cmp",
            "oauthbearer_token_refresh_cb",
            "opaque",
            "open_cb",
            "partitioner_cb",
            "resolve_cb",
            "socket_cb",
            "ssl_ca",
            "ssl.certificate.verify_cb",
            "ssl_certificate",
            "ssl_engine_callback_data",
            "ssl_key",
            "stats_cb",
            "throttle_cb",
        ],
    ),
];

/// A key that asks for a feature that Kurier lacks.
struct NotYet {
    /// The key or, if it ends in a dot, a prefix of keys.
    key: &'static str,
    /// Values that mean the feature is off, in any letter case. An empty value means the same.
    harmless: &'static [&'static str],
    remedy: &'static str,
    /// Whether the key is an error even if the settings are not strict, because to ignore it would change the security
    /// of connections.
    is_grave: bool,
}

impl NotYet {
    /// A key that a lenient configuration ignores.
    const fn new(key: &'static str, harmless: &'static [&'static str], remedy: &'static str) -> Self {
        Self { key, harmless, remedy, is_grave: false }
    }
}

const NOT_YET: &[NotYet] = &[
    NotYet::new("transactional.id", &[], NO_TRANSACTIONS),
    NotYet::new("transaction.two.phase.commit.enable", &["false"], NO_TRANSACTIONS),
    NotYet::new(
        "enable.gapless.guarantee",
        &["false"],
        "leave it out; with enable.idempotence records keep their order, and each failed record has its error",
    ),
    NotYet::new("queuing.strategy", &["fifo"], "records of a partition are sent in their order"),
    NotYet::new("compression.level", &["-1"], "set compression.gzip.level or compression.zstd.level instead"),
    NotYet::new("ssl.truststore.password", &[], NO_STORE_PASSWORD),
    NotYet::new("ssl.keystore.password", &[], NO_STORE_PASSWORD),
    NotYet {
        is_grave: true,
        ..NotYet::new(
            "enable.ssl.certificate.verification",
            &["true"],
            "leave it out; for a private authority set ssl.truststore.location, for brokers with another name \
             kurier.tls.server.name",
        )
    },
    NotYet::new("ssl.engine.factory.class", &[], OWN_TLS),
    NotYet::new("ssl.engine.id", &[], OWN_TLS),
    NotYet::new("ssl.engine.location", &[], OWN_TLS),
    NotYet::new("ssl.provider", &[], OWN_TLS),
    NotYet::new("ssl.providers", &[], OWN_TLS),
    NotYet::new("security.providers", &[], OWN_TLS),
    NotYet::new("ssl.curves.list", &[], OWN_TLS),
    NotYet::new("ssl.sigalgs.list", &[], OWN_TLS),
    NotYet::new("ssl.crl.location", &[], OWN_TLS),
    NotYet::new("ssl.ca.certificate.stores", &["Root"], "set ssl.truststore.location"),
    NotYet::new("sasl.client.callback.handler.class", &[JAVA_CLIENT_HANDLER], OWN_TOKENS),
    NotYet::new("sasl.login.callback.handler.class", &JAVA_LOGIN_HANDLERS, OWN_TOKENS),
    NotYet::new("sasl.login.class", &[JAVA_LOGIN], OWN_TOKENS),
    NotYet::new("sasl.oauthbearer.jwt.validator.class", &JAVA_VALIDATORS, OWN_TOKENS),
    NotYet::new("sasl.oauthbearer.metadata.authentication.type", &["none"], OWN_TOKENS),
    NotYet::new("sasl.oauthbearer.", &[], OWN_TOKENS),
    NotYet::new("config.providers", &[], "write the values instead of ${...}, because no provider expands them here"),
];

const NO_STORE_PASSWORD: &str = "remove it: a PEM store has no password, and ssl.key.password protects a key in it; a JKS or \
                                 PKCS12 store must be converted to PEM, see ssl.truststore.type";
const OWN_TLS: &str = "leave it out, or give the builder a rustls configuration";
const OWN_TOKENS: &str = "leave it out, or implement TokenProvider";
const JAVA_CLIENT_HANDLER: &str = "org.apache.kafka.common.security.authenticator.SaslClientCallbackHandler";
const JAVA_LOGIN: &str = "org.apache.kafka.common.security.authenticator.DefaultLogin";
const JAVA_LOGIN_HANDLERS: [&str; 4] = [
    "org.apache.kafka.common.security.authenticator.AbstractLogin$DefaultLoginCallbackHandler",
    "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler",
    "org.apache.kafka.common.security.oauthbearer.secured.OAuthBearerLoginCallbackHandler",
    "org.apache.kafka.common.security.oauthbearer.internals.unsecured.OAuthBearerUnsecuredLoginCallbackHandler",
];
const JAVA_VALIDATORS: [&str; 2] = [
    "org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator",
    "org.apache.kafka.common.security.oauthbearer.ClientJwtValidator",
];
const NO_TRANSACTIONS: &str = "leave it out; Kurier has no transactions yet";

impl NotYet {
    fn of(key: &str) -> Option<&'static Self> {
        NOT_YET.iter().find(|known| key == known.key || (known.key.ends_with('.') && key.starts_with(known.key)))
    }

    fn is_harmless(&self, value: &str) -> bool {
        self.harmless.iter().any(|harmless| harmless.eq_ignore_ascii_case(value))
    }

    /// Error for a refused value. Shows no values of TLS and SASL, which may be secrets.
    fn refusal(&self, key: &str, value: &str) -> Error {
        let is_secret = key.starts_with("ssl.") || key.starts_with("sasl.");
        let shown = if is_secret { String::new() } else { format!("={}", printable(value)) };
        refused(format!("{}{shown} is not supported yet: {}", printable(key), self.remedy))
    }
}

impl Config {
    /// Ignores a key that is not a setting, if that has no consequences.
    pub(super) fn set_aside(&mut self, key: &str, value: &str, origin: Origin) -> Result<(), Error> {
        let not_yet = NotYet::of(key);
        let why = if let Some(why) = meaningless(key) {
            why
        } else if is_foreign(key, Self::is_producers) {
            "it is not a producer's setting"
        } else if not_yet.is_some() && value.is_empty() {
            "it is empty, as without it"
        } else if not_yet.is_some_and(|known| known.is_harmless(value)) {
            "it is so anyway"
        } else if !self.strict && !not_yet.is_some_and(|known| known.is_grave) {
            if not_yet.is_some() { "it is not supported yet" } else { "it is not known" }
        } else {
            return Err(not_yet.map_or_else(|| unknown(key), |known| known.refusal(key, value)));
        };
        self.ignored.insert(key.to_owned(), (why, origin));
        Ok(())
    }

    /// Returns whether Java's or librdkafka's producer has this key.
    pub(super) fn is_producers(key: &str) -> bool {
        Self::name_of(key).is_some() || meaningless(key).is_some() || NotYet::of(key).is_some()
    }
}

/// Returns why a key has no effect here.
fn meaningless(key: &str) -> Option<&'static str> {
    MEANINGLESS.iter().find(|(_, keys)| keys.contains(&key)).map(|(why, _)| *why)
}

fn unknown(key: &str) -> Error {
    /// The most letters that a typing error changes.
    const DISTANCE_MAX: usize = 2;
    /// Longest text to compare: longer than every key, and quick to compare.
    const CHARACTERS_MAX: usize = 64;
    if key.is_empty() {
        return refused("unknown producer setting without a key: write key=value, as linger.ms=5".to_owned());
    }
    let beginning: String = key.chars().take(CHARACTERS_MAX).collect();
    let settings = Config::KEYS.iter().flat_map(|names| names.iter()).copied();
    let not_yet = NOT_YET.iter().map(|known| known.key).filter(|key| !key.ends_with('.'));
    let meaningless = MEANINGLESS.iter().flat_map(|(_, keys)| keys.iter()).copied();
    let names = settings.chain(not_yet).chain(meaningless).chain(foreign::keys());
    let distances = names.map(|name| (strsim::osa_distance(name, &beginning), name));
    let hint = match distances.min_by_key(|(distance, _)| *distance) {
        Some((..=DISTANCE_MAX, name)) => format!("did you mean {name}?"),
        _ => "the page of kurier::Config lists all settings".to_owned(),
    };
    refused(format!("unknown producer setting {}: {hint}", printable(key)))
}
