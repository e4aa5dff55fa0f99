//! Tests of TLS with real sockets, against a cluster in memory.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use kurier::credentials::{BoxFuture, Token, TokenError, TokenProvider, TokenRequest};
use kurier::{Config, ConnectionSecurity, ErrorKind, HostPort, Producer, ProducerBuilder, Record};
use kurier_broker::{Broker, BrokerBuilder, SaslSettings, ServerTls};
use kurier_security::{Claim, UnsecuredToken};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// No call takes longer than this.
const LONG: Duration = Duration::from_secs(30);

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tls").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

/// A broker's side of TLS with this certificate.
fn server(certificate: &str) -> ServerTls {
    ServerTls::from_pem(text(certificate), text("broker-key.pem"))
}

fn cluster() -> BrokerBuilder {
    Broker::builder().nodes(3).topic("t", 3)
}

fn sasl() -> SaslSettings {
    let mut sasl = SaslSettings::default().user("alice", "alice-secret");
    sasl.mechanisms.push("OAUTHBEARER".to_owned());
    sasl
}

/// A producer that trusts the test's authority.
fn builder(broker: &Broker) -> ProducerBuilder {
    Producer::builder()
        .bootstrap_servers([broker.bootstrap_servers()])
        .set("security.protocol", "SSL")
        .set("ssl.truststore.location", path("ca.pem").to_str().unwrap())
        .set("max.block.ms", "10000")
}

fn with_client_certificate(builder: ProducerBuilder) -> ProducerBuilder {
    builder.set("ssl.keystore.certificate.chain", &text("client.pem")).set("ssl.keystore.key", &text("client-key.pem"))
}

async fn send_to_each_partition(producer: &Producer) {
    for partition in 0..3 {
        let record = Record::to("t").partition(partition).value("v");
        timeout(LONG, producer.deliver(record)).await.unwrap().unwrap();
    }
}

#[derive(Debug)]
struct Tokens;

impl TokenProvider for Tokens {
    #[expect(clippy::disallowed_methods, reason = "tokens end by the wall clock")]
    fn token<'a>(&'a self, _: &'a TokenRequest) -> BoxFuture<'a, Result<Token, TokenError>> {
        let claims = vec![("sub".to_owned(), Claim::Text("alice".to_owned()))];
        let token = UnsecuredToken { claims, lifetime: Duration::from_secs(60), extensions: Vec::new() };
        Box::pin(async move { Ok(token.issue(SystemTime::now())) })
    }
}

/// The cells of the table in SECURITY.md: each protocol with each mechanism.
#[tokio::test]
async fn every_protocol_and_mechanism_delivers() {
    let mut cells = vec![("PLAINTEXT", ""), ("SSL", ""), ("SSL", "client certificate")];
    for protocol in ["SASL_PLAINTEXT", "SASL_SSL"] {
        cells.extend(["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"].map(|mechanism| (protocol, mechanism)));
    }
    assert_eq!(cells.len(), 11);
    for (protocol, mechanism) in cells {
        let (is_tls, is_sasl) = (protocol.ends_with("SSL"), protocol.starts_with("SASL"));
        let is_mutual = mechanism == "client certificate";
        let mut brokers = cluster();
        if is_tls {
            let tls = server("broker.pem");
            brokers = brokers.tls(if is_mutual { tls.client_ca(text("ca.pem")) } else { tls });
        }
        if is_sasl {
            brokers = brokers.sasl(sasl());
        }
        let broker = brokers.start().await.unwrap();
        let mut producer =
            Producer::builder().bootstrap_servers([broker.bootstrap_servers()]).set("security.protocol", protocol);
        if is_tls {
            producer = producer.set("ssl.truststore.location", path("ca.pem").to_str().unwrap());
        }
        if is_mutual {
            producer = with_client_certificate(producer);
        }
        producer = match mechanism {
            _ if !is_sasl => producer,
            "OAUTHBEARER" => producer.set("sasl.mechanism", mechanism).token_provider(Tokens),
            _ => producer
                .set("sasl.mechanism", mechanism)
                .set("sasl.username", "alice")
                .set("sasl.password", "alice-secret"),
        };
        let producer = timeout(LONG, producer.build()).await.unwrap();
        let producer = producer.unwrap_or_else(|error| panic!("{protocol} {mechanism}: {error:#}"));
        send_to_each_partition(&producer).await;
        for partition in 0..3 {
            let end = broker.with_cluster(|cluster| cluster.end_offset("t", partition));
            assert_eq!(end, Some(1), "{protocol} {mechanism}");
        }
    }
}

/// The table of failures in the manual's page on security.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "each case says how long it may take")]
async fn failures_name_their_cause_and_the_way_out() {
    type Change = fn(ProducerBuilder) -> ProducerBuilder;
    let cases: [(&str, Option<ServerTls>, Change, ErrorKind, &str); 9] = [
        (
            "expired",
            Some(server("broker-expired.pem")),
            |producer| producer,
            ErrorKind::Authentication,
            "the broker's certificate expired",
        ),
        (
            "not yet valid",
            Some(server("broker-future.pem")),
            |producer| producer,
            ErrorKind::Authentication,
            "check this machine's clock",
        ),
        (
            "unknown authority",
            Some(server("broker.pem")),
            |producer| producer.set("ssl.truststore.location", path("other.pem").to_str().unwrap()),
            ErrorKind::Authentication,
            "signed by no trusted authority",
        ),
        (
            "wrong host",
            Some(server("broker.pem")),
            |producer| producer.set("kurier.tls.server.name", "b2.example"),
            ErrorKind::Authentication,
            "b2.example",
        ),
        (
            "no client certificate",
            Some(server("broker.pem").client_ca(text("ca.pem"))),
            |producer| producer,
            ErrorKind::Authentication,
            "the broker requires a client certificate",
        ),
        (
            "client certificate of another authority",
            Some(server("broker.pem").client_ca(text("other.pem"))),
            with_client_certificate,
            ErrorKind::Authentication,
            "refused",
        ),
        ("TLS to a plaintext port", None, |producer| producer, ErrorKind::Network, "PLAINTEXT"),
        (
            "plaintext to a TLS port",
            Some(server("broker.pem")),
            |producer| producer.config(Config::default()),
            ErrorKind::Network,
            "security.protocol=SSL",
        ),
        (
            "foreign key",
            Some(server("broker.pem")),
            |producer| with_client_certificate(producer).set("ssl.keystore.key", &text("rsa-key.pem")),
            ErrorKind::Configuration,
            "does not belong to",
        ),
    ];
    for (case, tls, change, kind, said) in cases {
        let brokers = match tls {
            Some(tls) => Broker::builder().tls(tls),
            None => Broker::builder(),
        };
        let broker = brokers.start().await.unwrap();
        let producer = change(builder(&broker));
        let producer = match case {
            "plaintext to a TLS port" => {
                producer.bootstrap_servers([broker.bootstrap_servers()]).set("max.block.ms", "1000")
            }
            "TLS to a plaintext port" => producer.set("max.block.ms", "1000"),
            _ => producer,
        };
        let start = Instant::now();
        let error = timeout(LONG, producer.build()).await.unwrap().unwrap_err();
        let took = start.elapsed();
        let text = format!("{error:#}");
        println!("{case} | {:?} | {} ms | {text}", error.kind(), took.as_millis());
        assert_eq!(error.kind(), kind, "{case}: {text}");
        assert!(text.contains(said), "{case}: {text}");
        assert!(!text.contains("PRIVATE KEY"), "{case}: {text}");
    }
}

#[tokio::test]
async fn certificates_rotate_while_records_flow() {
    let folder = tempfile::tempdir().unwrap();
    let copy = |from: &str, to: &str| std::fs::copy(path(from), folder.path().join(to)).unwrap();
    copy("ca.pem", "ca.pem");
    copy("client-bundle.pem", "client.pem");
    let brokers = cluster().tls(server("broker.pem").client_ca(text("ca.pem")));
    let broker = brokers.start().await.unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let producer = Producer::builder()
        .bootstrap_servers([broker.bootstrap_servers()])
        .set("security.protocol", "SSL")
        .set("ssl.truststore.location", &file("ca.pem"))
        .set("ssl.keystore.location", &file("client.pem"))
        .build()
        .await
        .unwrap();
    for round in 0..6 {
        // A half-written file changes nothing.
        std::fs::write(folder.path().join("client.pem"), "-----BEGIN CERT").unwrap();
        let error = producer.reload_security().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error:#}");
        send_to_each_partition(&producer).await;

        let identity =
            if round % 2 == 0 { ["ed25519-key.pem", "ed25519.pem"] } else { ["client-key.pem", "client.pem"] };
        std::fs::write(folder.path().join("client.pem"), identity.map(text).concat()).unwrap();
        copy(if round % 2 == 0 { "bundle.pem" } else { "ca.pem" }, "ca.pem");
        broker
            .set_tls(
                &server(if round % 2 == 0 { "broker-rotated.pem" } else { "broker.pem" }).client_ca(text("ca.pem")),
            )
            .unwrap();
        let deliveries: Vec<_> = futures_of(&producer, 50).await;
        producer.reload_security().await.unwrap();
        let more = futures_of(&producer, 50).await;
        for delivery in deliveries.into_iter().chain(more) {
            timeout(LONG, delivery).await.unwrap().unwrap();
        }
    }
    let ends = broker.with_cluster(|cluster| (0..3).filter_map(|index| cluster.end_offset("t", index)).sum::<i64>());
    assert_eq!(ends, 6 * 103);
}

#[tokio::test]
async fn connection_of_a_program_uses_the_authorities_that_the_file_has_now() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::copy(path("other.pem"), &file).unwrap();
    let broker = cluster().tls(server("broker.pem")).start().await.unwrap();
    let server: HostPort = broker.bootstrap_servers().split(',').next().unwrap().parse().unwrap();
    let mut config = Config::default();
    for (key, value) in [
        ("bootstrap.servers", broker.bootstrap_servers().as_str()),
        ("security.protocol", "SSL"),
        ("ssl.truststore.location", file.to_str().unwrap()),
        ("kurier.tls.reload.ms", "1000"),
    ] {
        config.set(key, value).unwrap();
    }
    let security = ConnectionSecurity::new(config).unwrap();
    let secure = async || {
        let socket = TcpStream::connect((server.host.as_str(), server.port)).await.unwrap();
        timeout(LONG, security.secure(socket, &server)).await.unwrap()
    };
    assert_eq!(secure().await.unwrap_err().kind(), ErrorKind::Authentication);
    std::fs::copy(path("ca.pem"), &file).unwrap();
    // After the first second.
    while let Err(error) = secure().await {
        assert_eq!(error.kind(), ErrorKind::Authentication, "{error:#}");
    }
    std::fs::write(&file, "-----BEGIN CERT").unwrap();
    secure().await.unwrap();
}

async fn futures_of(producer: &Producer, count: usize) -> Vec<kurier::Delivery> {
    let mut deliveries = Vec::new();
    for _ in 0..count {
        deliveries.push(producer.send(Record::to("t").value("v")).await.unwrap());
    }
    deliveries
}

#[tokio::test]
async fn silent_server_is_named_within_the_setup_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let producer = Producer::builder()
        .bootstrap_servers([listener.local_addr().unwrap().to_string()])
        .set("security.protocol", "SSL")
        .set("ssl.truststore.location", path("ca.pem").to_str().unwrap())
        .set("socket.connection.setup.timeout.ms", "300")
        .set("max.block.ms", "1500");
    let error = timeout(LONG, producer.build()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
    assert!(format!("{error:#}").contains("socket.connection.setup.timeout.ms"), "{error:#}");
}

#[tokio::test]
async fn configuration_of_the_program_outlives_the_files_of_the_settings() {
    use kurier::tls::{PemSource, TlsConfig};

    let broker = cluster().tls(server("broker.pem").client_ca(text("ca.pem"))).start().await.unwrap();
    let wrong =
        with_client_certificate(builder(&broker)).set("ssl.truststore.location", path("other.pem").to_str().unwrap());
    let producer = wrong.start().unwrap();
    let error = timeout(LONG, producer.connected()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication);
    let right = TlsConfig::builder()
        .root_certificates(PemSource::path(path("ca.pem")))
        .identity(PemSource::path(path("client.pem")), PemSource::path(path("client-key.pem")))
        .build()
        .unwrap();
    producer.set_tls(right).unwrap();
    timeout(LONG, producer.connected()).await.unwrap().unwrap();
    producer.reload_security().await.unwrap();
    for node in 1..=3 {
        broker.stop_node(node);
        broker.start_node(node).await.unwrap();
    }
    send_to_each_partition(&producer).await;
}
