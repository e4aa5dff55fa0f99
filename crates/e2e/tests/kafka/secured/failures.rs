//! Failures to protect a connection or to authenticate: each error names its cause and the way out, and soon.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use kurier::credentials::{BoxFuture, Token, TokenError, TokenProvider, TokenRequest};
use kurier::{ErrorKind, Producer, ProducerBuilder};
use kurier_e2e::clock::{now, sleep_until};
use kurier_e2e::cluster::Cluster;
use kurier_e2e::listener::{Listener, PASSWORD, USER};
use kurier_e2e::testdata;
use kurier_security::{Claim, UnsecuredToken};
use tokio::runtime::Runtime;

/// How long one producer keeps trying with a wrong password, and how often it may try in that time: at the start, after
/// one second, and after five more.
const STUBBORN: (Duration, usize) = (Duration::from_secs(10), 3);

/// How much longer than expected a failure may take, on a busy machine.
const BUSY: Duration = Duration::from_secs(2);

struct Failure {
    name: &'static str,
    /// The plain one, if `None`.
    listener: Option<Listener>,
    settings: fn(ProducerBuilder) -> ProducerBuilder,
    kind: ErrorKind,
    text: &'static str,
    within: Duration,
}

const SECOND: Duration = Duration::from_secs(1);

const FAILURES: [Failure; 14] = [
    Failure {
        name: "wrong password, PLAIN",
        listener: Some(Listener::SaslPlaintext),
        settings: |builder| builder.sasl_plain(USER, "wrong-secret"),
        kind: ErrorKind::Authentication,
        text: "PLAIN for user alice: SASL_AUTHENTICATION_FAILED (58)",
        within: Duration::from_secs(2),
    },
    Failure {
        name: "wrong password, SCRAM",
        listener: Some(Listener::SaslTls),
        settings: |builder| builder.sasl_scram_sha_512(USER, "wrong-secret"),
        kind: ErrorKind::Authentication,
        text: "SCRAM-SHA-512 for user alice: SASL_AUTHENTICATION_FAILED (58)",
        within: Duration::from_secs(2),
    },
    Failure {
        name: "unknown user",
        listener: Some(Listener::SaslPlaintext),
        settings: |builder| builder.sasl_scram_sha_256("mallory", PASSWORD),
        kind: ErrorKind::Authentication,
        text: "SCRAM-SHA-256 for user mallory: SASL_AUTHENTICATION_FAILED (58)",
        within: Duration::from_secs(2),
    },
    Failure {
        name: "expired token",
        listener: Some(Listener::SaslTls),
        settings: |builder| builder.set("sasl.mechanism", "OAUTHBEARER").token_provider(ExpiredTokens),
        kind: ErrorKind::Authentication,
        text: "SASL_AUTHENTICATION_FAILED (58)",
        within: Duration::from_secs(2),
    },
    Failure {
        name: "mechanism not offered",
        listener: Some(Listener::PlainOnly),
        settings: |builder| builder.sasl_scram_sha_256(USER, PASSWORD),
        kind: ErrorKind::Authentication,
        text: "the broker offers PLAIN, not SCRAM-SHA-256: set sasl.mechanism",
        within: SECOND,
    },
    Failure {
        name: "SASL to a plain listener",
        listener: None,
        settings: |builder| builder.set("security.protocol", "SASL_PLAINTEXT").sasl_plain(USER, PASSWORD),
        kind: ErrorKind::Authentication,
        text: "does not use SASL",
        within: SECOND,
    },
    Failure {
        name: "no SASL to a SASL listener",
        listener: Some(Listener::SaslPlaintext),
        settings: |builder| builder.set("security.protocol", "PLAINTEXT"),
        kind: ErrorKind::Network,
        text: "does this listener require SASL?",
        within: SECOND,
    },
    Failure {
        name: "TLS to a plain listener",
        listener: None,
        settings: |builder| trusting(builder.set("security.protocol", "SSL")),
        kind: ErrorKind::Network,
        text: "is this a PLAINTEXT port?",
        within: SECOND,
    },
    Failure {
        name: "plaintext to a TLS listener",
        listener: Some(Listener::Tls),
        settings: |builder| builder.config(Default::default()),
        kind: ErrorKind::Network,
        text: "this is a TLS port; set security.protocol=SSL",
        within: SECOND,
    },
    Failure {
        name: "expired certificate",
        listener: Some(Listener::ExpiredTls),
        settings: |builder| builder,
        kind: ErrorKind::Authentication,
        text: "the broker's certificate expired",
        within: SECOND,
    },
    Failure {
        name: "unknown authority",
        listener: Some(Listener::Tls),
        settings: |builder| builder.truststore_location(testdata("tls/other.pem")),
        kind: ErrorKind::Authentication,
        text: "signed by no trusted authority",
        within: SECOND,
    },
    Failure {
        name: "wrong host",
        listener: Some(Listener::Tls),
        settings: |builder| builder.set("kurier.tls.server.name", "b2.example"),
        kind: ErrorKind::Authentication,
        text: "not b2.example",
        within: SECOND,
    },
    Failure {
        name: "no client certificate",
        listener: Some(Listener::MutualTls),
        settings: |builder| builder,
        kind: ErrorKind::Authentication,
        text: "the broker requires a client certificate (bad_certificate): set ssl.keystore.location",
        within: SECOND,
    },
    Failure {
        name: "foreign client certificate",
        listener: Some(Listener::MutualTls),
        settings: |builder| {
            builder
                .set("ssl.certificate.location", &file("tls/broker-self-signed.pem"))
                .set("ssl.key.location", &file("tls/broker-key.pem"))
        },
        kind: ErrorKind::Authentication,
        text: "refused",
        within: SECOND,
    },
];

pub(super) fn failures(cluster: &Cluster) -> Result<()> {
    let runtime = Runtime::new()?;
    // No other producer fails with this mechanism at this listener.
    let (started, stubborn) = (now(), Listener::SaslPlaintext);
    let servers = cluster.secured_servers(stubborn)?;
    let builder = Producer::builder().bootstrap_servers([servers]).set("security.protocol", stubborn.protocol());
    let stays = builder.sasl_scram_sha_512(USER, "wrong-secret").start()?;
    println!("{:<28} {:<15} {:>7}  text", "failure", "kind", "took");
    for failure in &FAILURES {
        failure.check(cluster, &runtime).with_context(|| failure.name)?;
    }
    let (time, limit) = STUBBORN;
    sleep_until(started + time);
    let channel = format!("channelId={}-", cluster.secured_address(0, stubborn)?);
    let is_one = |line: &&str| {
        line.contains("Failed authentication with") && line.contains(&channel) && line.contains("SCRAM-SHA-512")
    };
    let attempts = cluster.log(0)?.lines().filter(is_one).count();
    println!("wrong password: {attempts} attempts in {} s", time.as_secs());
    ensure!((2..=limit).contains(&attempts), "{attempts} attempts, not at most {limit}");
    drop(stays);
    Ok(())
}

impl Failure {
    fn check(&self, cluster: &Cluster, runtime: &Runtime) -> Result<()> {
        let servers = match self.listener {
            Some(listener) => cluster.secured_servers(listener)?,
            None => cluster.kafka().bootstrap_servers().to_owned(),
        };
        let protocol = self.listener.map_or("PLAINTEXT", Listener::protocol);
        let builder = Producer::builder().set("security.protocol", protocol);
        let builder = if protocol.ends_with("SSL") { trusting(builder) } else { builder };
        // An unreachable cluster is an error only after max.block.ms.
        let block = if self.kind == ErrorKind::Network { "1000" } else { "20000" };
        let builder = (self.settings)(builder).bootstrap_servers([servers]).set("max.block.ms", block);
        let started = now();
        let Err(error) = runtime.block_on(builder.build()) else { bail!("the producer is ready") };
        let took = started.elapsed();
        let text = format!("{error:#}");
        println!("{:<28} {:<15} {:>5.2} s  {text}", self.name, format!("{:?}", error.kind()), took.as_secs_f64());
        ensure!(error.kind() == self.kind, "{:?}, not {:?}: {text}", error.kind(), self.kind);
        ensure!(text.contains(self.text), "it does not say {:?}: {text}", self.text);
        ensure!(!text.contains("-secret"), "it tells the password: {text}");
        ensure!(took < self.within + BUSY, "it took {took:?}");
        Ok(())
    }
}

fn trusting(builder: ProducerBuilder) -> ProducerBuilder {
    builder.truststore_location(testdata("tls/ca.pem"))
}

fn file(name: &str) -> String {
    testdata(name).display().to_string()
}

/// A provider of expired tokens, which it reports as valid.
#[derive(Debug)]
struct ExpiredTokens;

impl TokenProvider for ExpiredTokens {
    #[expect(clippy::disallowed_methods, reason = "tokens end by the wall clock")]
    fn token<'a>(&'a self, _: &'a TokenRequest) -> BoxFuture<'a, Result<Token, TokenError>> {
        let claims = vec![("sub".to_owned(), Claim::Text(USER.to_owned()))];
        let hour = Duration::from_secs(3_600);
        let token = UnsecuredToken { claims, lifetime: Duration::from_secs(60), extensions: Vec::new() };
        Box::pin(
            async move { Ok(Token { expires_at: SystemTime::now() + hour, ..token.issue(SystemTime::now() - hour) }) },
        )
    }
}
