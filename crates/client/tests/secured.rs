//! Tests of SASL and TLS with real sockets, against a cluster in memory.

use std::time::{Duration, SystemTime};

use kurier::credentials::{
    BoxFuture, CredentialSource, Credentials, FetchReason, Token, TokenError, TokenProvider, TokenRequest,
};
use kurier::{Config, ConnectionSecurity, ErrorCode, ErrorKind, HostPort, Login, Producer, ProducerBuilder, Record};
use kurier_broker::{Broker, BrokerBuilder, SaslSettings};
use kurier_security::{Claim, UnsecuredToken};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// No call takes longer than this.
const LONG: Duration = Duration::from_secs(30);

fn sasl() -> SaslSettings {
    let mut sasl = SaslSettings::default().user("alice", "alice-secret").user("bob", "bob-secret");
    sasl.mechanisms.push("OAUTHBEARER".to_owned());
    sasl
}

fn cluster() -> BrokerBuilder {
    Broker::builder().nodes(3).topic("t", 3).sasl(sasl())
}

fn builder(broker: &Broker, mechanism: &str) -> ProducerBuilder {
    Producer::builder()
        .bootstrap_servers([broker.bootstrap_servers()])
        .set("security.protocol", "SASL_PLAINTEXT")
        .set("sasl.mechanism", mechanism)
}

fn user(broker: &Broker, mechanism: &str, password: &str) -> ProducerBuilder {
    builder(broker, mechanism).set("sasl.username", "alice").set("sasl.password", password)
}

async fn send_to_each_partition(producer: &Producer) {
    for partition in 0..3 {
        let record = Record::to("t").partition(partition).value("v");
        timeout(LONG, producer.deliver(record)).await.unwrap().unwrap();
    }
}

fn logins(broker: &Broker) -> Vec<Option<String>> {
    broker.with_cluster(|cluster| cluster.logins().map(|login| login.principal.clone()).collect())
}

/// Gives unsigned tokens.
#[derive(Debug)]
struct Tokens {
    subject: &'static str,
    lifetime: Duration,
}

impl TokenProvider for Tokens {
    #[expect(clippy::disallowed_methods, reason = "tokens end by the wall clock")]
    fn token<'a>(&'a self, _: &'a TokenRequest) -> BoxFuture<'a, Result<Token, TokenError>> {
        let claims = vec![("sub".to_owned(), Claim::Text(self.subject.to_owned()))];
        let token = UnsecuredToken { claims, lifetime: self.lifetime, extensions: Vec::new() };
        Box::pin(async move { Ok(token.issue(SystemTime::now())) })
    }
}

#[derive(Debug)]
struct Vault;

impl CredentialSource for Vault {
    fn credentials<'a>(&'a self, _: &'a TokenRequest) -> BoxFuture<'a, Result<Credentials, TokenError>> {
        Box::pin(async { Ok(Credentials::Plain { username: "bob".to_owned(), password: "bob-secret".into() }) })
    }
}

#[tokio::test]
async fn every_mechanism_delivers() {
    let broker = cluster().start().await.unwrap();
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let producer = user(&broker, mechanism, "alice-secret").build().await.unwrap();
        send_to_each_partition(&producer).await;
    }
    let tokens = Tokens { subject: "alice", lifetime: Duration::from_secs(60) };
    let producer = builder(&broker, "OAUTHBEARER").token_provider(tokens).build().await.unwrap();
    send_to_each_partition(&producer).await;
    assert!(logins(&broker).iter().all(|principal| principal.as_deref() == Some("alice")));

    let producer = builder(&broker, "PLAIN").credential_source(Vault).build().await.unwrap();
    send_to_each_partition(&producer).await;
    assert_eq!(logins(&broker).last().unwrap().as_deref(), Some("bob"));
}

#[tokio::test]
async fn credentials_stand_in_every_form_of_settings() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    // {"alg":"none"}.{"sub":"alice","exp":253402300799}
    std::fs::write(&file, "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSIsImV4cCI6MjUzNDAyMzAwNzk5fQ.\n").unwrap();
    let module = |module: &str, options: &str| {
        format!("org.apache.kafka.common.security.{module}LoginModule required {options};")
    };
    let password = r#"username="alice" password="alice-secret""#;
    let broker = cluster().start().await.unwrap();
    for builder in [
        builder(&broker, "PLAIN").sasl_plain("alice", "alice-secret"),
        builder(&broker, "PLAIN").sasl_scram_sha_256("alice", "alice-secret"),
        builder(&broker, "PLAIN").sasl_scram_sha_512("alice", "alice-secret"),
        builder(&broker, "PLAIN").set("sasl.jaas.config", &module("plain.Plain", password)),
        builder(&broker, "SCRAM-SHA-512").set("sasl.jaas.config", &module("scram.Scram", password)),
        builder(&broker, "OAUTHBEARER")
            .set("sasl.jaas.config", &module("oauthbearer.OAuthBearer", r#"unsecuredLoginStringClaim_sub="alice""#)),
        builder(&broker, "OAUTHBEARER")
            .set("enable.sasl.oauthbearer.unsecure.jwt", "true")
            .set("sasl.oauthbearer.config", "principal=alice"),
        builder(&broker, "OAUTHBEARER")
            .set("sasl.oauthbearer.token.endpoint.url", &format!("file://{}", file.display())),
    ] {
        let about = format!("{builder:?}");
        assert!(!about.contains("alice-secret"), "{about}");
        let producer = builder.build().await.unwrap_or_else(|error| panic!("{about}: {error:#}"));
        send_to_each_partition(&producer).await;
        assert_eq!(logins(&broker).last().unwrap().as_deref(), Some("alice"), "{about}");
    }

    std::fs::write(&file, "opaque").unwrap();
    let builder = builder(&broker, "OAUTHBEARER")
        .set("max.block.ms", "3000")
        .set("sasl.oauthbearer.token.endpoint.url", &format!("file://{}", file.display()));
    let error = timeout(LONG, builder.build()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
    let text = format!("{error:#}");
    assert!(text.contains("token cannot be used: the token has 1 parts") && !text.contains("opaque"), "{text}");
}

#[tokio::test]
async fn wrong_password_fails_the_build_soon() {
    for mechanism in ["PLAIN", "SCRAM-SHA-512"] {
        let broker = cluster().start().await.unwrap();
        let error = timeout(LONG, user(&broker, mechanism, "wrong").build()).await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.is_retriable()), (ErrorKind::Authentication, false));
        assert_eq!(error.error_code(), Some(ErrorCode::SASL_AUTHENTICATION_FAILED));
        let text = format!("{error:#}");
        assert!(text.starts_with(&format!("{mechanism} for user alice: SASL_AUTHENTICATION_FAILED (58)")), "{text}");
        assert_eq!(logins(&broker).len(), 2, "the second refusal fails the build");
        assert!(!text.contains("wrong"), "{text}");
    }
}

#[tokio::test]
async fn password_file_and_new_credentials_are_used() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "alice-secret\n").unwrap();
    let broker = cluster().start().await.unwrap();
    let builder = builder(&broker, "SCRAM-SHA-256").set("sasl.username", "alice");
    let producer = builder.set("kurier.sasl.password.file", file.to_str().unwrap()).build().await.unwrap();
    send_to_each_partition(&producer).await;

    broker.with_cluster(|cluster| cluster.set_password("alice", Some("new")));
    std::fs::write(&file, "new").unwrap();
    producer.reload_security().await.unwrap();
    for node in 1..=3 {
        broker.stop_node(node);
        broker.start_node(node).await.unwrap();
    }
    send_to_each_partition(&producer).await;
}

#[tokio::test]
async fn source_is_asked_again_after_a_refusal() {
    /// A source that returns the new password only after a broker has refused the old one.
    #[derive(Debug)]
    struct Behind;

    impl CredentialSource for Behind {
        fn credentials<'a>(&'a self, request: &'a TokenRequest) -> BoxFuture<'a, Result<Credentials, TokenError>> {
            let password = if request.reason == FetchReason::Refused { "alice-secret" } else { "old" };
            let username = "alice".to_owned();
            Box::pin(async { Ok(Credentials::Plain { username, password: password.into() }) })
        }
    }

    let broker = cluster().start().await.unwrap();
    let builder = builder(&broker, "PLAIN").credential_source(Behind);
    let producer = timeout(LONG, builder.build()).await.unwrap().unwrap();
    send_to_each_partition(&producer).await;
    assert_eq!(logins(&broker).iter().filter(|principal| principal.is_none()).count(), 1);
}

#[tokio::test]
async fn missing_source_of_tokens_is_named() {
    let broker = cluster().start().await.unwrap();
    let error = builder(&broker, "OAUTHBEARER").build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert_eq!(
        error.to_string(),
        "sasl.mechanism is OAUTHBEARER, and nothing provides a token: call token_provider on the builder"
    );
}

#[tokio::test]
async fn provider_that_refuses_or_fails_is_named() {
    #[derive(Debug)]
    struct Broken(bool);

    impl TokenProvider for Broken {
        fn token<'a>(&'a self, _: &'a TokenRequest) -> BoxFuture<'a, Result<Token, TokenError>> {
            let error = match self.0 {
                true => TokenError::refused("the token endpoint answered 401 (invalid_client)"),
                false => TokenError::unavailable("connection refused"),
            };
            Box::pin(async { Err(error) })
        }
    }

    let broker = cluster().start().await.unwrap();
    let cases = [
        (true, ErrorKind::Authentication, "the token endpoint answered 401 (invalid_client)"),
        (false, ErrorKind::Network, "connection refused"),
    ];
    for (is_refusal, kind, text) in cases {
        let builder = builder(&broker, "OAUTHBEARER").token_provider(Broken(is_refusal)).set("max.block.ms", "3000");
        let error = timeout(LONG, builder.build()).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(format!("{error:#}").contains(text), "{error:#}");
        assert!(logins(&broker).is_empty(), "nothing connects without a token");
    }
}

#[tokio::test]
async fn credentials_of_another_mechanism_and_tls_without_tls_are_refused() {
    let broker = cluster().start().await.unwrap();
    let producer = user(&broker, "SCRAM-SHA-256", "alice-secret").build().await.unwrap();
    let plain = || Credentials::Plain { username: "alice".to_owned(), password: "alice-secret".into() };
    let error = producer.set_credentials(plain()).unwrap_err();
    assert_eq!(error.to_string(), "the credentials are for PLAIN, but sasl.mechanism is SCRAM-SHA-256");
    send_to_each_partition(&producer).await;

    let open = Broker::builder().start().await.unwrap();
    let producer = Producer::builder().bootstrap_servers([open.bootstrap_servers()]).build().await.unwrap();
    let error = producer.set_credentials(plain()).unwrap_err();
    assert_eq!(error.to_string(), "set_credentials has no effect: security.protocol has no SASL");
}

#[tokio::test]
async fn unusable_sources_are_named_and_asked_again() {
    /// A source that panics, then returns an expired token, then a valid one.
    #[derive(Debug, Default)]
    struct Flaky(std::sync::atomic::AtomicUsize);

    impl TokenProvider for Flaky {
        #[expect(clippy::disallowed_methods, reason = "tokens end by the wall clock")]
        fn token<'a>(&'a self, _: &'a TokenRequest) -> BoxFuture<'a, Result<Token, TokenError>> {
            let claims = vec![("sub".to_owned(), Claim::Text("alice".to_owned()))];
            let token = UnsecuredToken { claims, lifetime: Duration::from_secs(60), extensions: Vec::new() };
            let calls = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Box::pin(async move {
                match calls {
                    0 => panic!("the vault is shut"),
                    1 => Ok(token.issue(SystemTime::UNIX_EPOCH)),
                    _ => Ok(token.issue(SystemTime::now())),
                }
            })
        }
    }

    let broker = cluster().start().await.unwrap();
    let producer = builder(&broker, "OAUTHBEARER").token_provider(Flaky::default()).start().unwrap();
    timeout(LONG, producer.connected()).await.unwrap().unwrap();
    send_to_each_partition(&producer).await;
}

#[tokio::test]
async fn empty_password_file_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "alice-secret").unwrap();
    let broker = cluster().start().await.unwrap();
    let builder = builder(&broker, "PLAIN").set("sasl.username", "alice");
    let producer = builder.set("kurier.sasl.password.file", file.to_str().unwrap()).build().await.unwrap();
    std::fs::write(&file, "\n").unwrap();
    let error = producer.reload_security().await.unwrap_err();
    assert!(error.to_string().contains("it is empty"), "{error}");
    send_to_each_partition(&producer).await;
}

#[tokio::test]
async fn login_of_a_connection_uses_a_token_until_it_is_refused() {
    // {"alg":"none"}.{"sub":NAME,"exp":253402300799}
    const ALICE: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSIsImV4cCI6MjUzNDAyMzAwNzk5fQ.";
    const BOB: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJib2IiLCJleHAiOjI1MzQwMjMwMDc5OX0.";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let write = |content: &str| std::fs::write(&file, content).unwrap();
    let mut config = Config::default();
    for (key, value) in [
        ("bootstrap.servers", "127.0.0.1:9092"),
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "OAUTHBEARER"),
        ("sasl.oauthbearer.token.endpoint.url", &format!("file://{}", file.display())),
    ] {
        config.set(key, value).unwrap();
    }
    let security = ConnectionSecurity::new(config).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server: HostPort = address.to_string().parse().unwrap();
    let stream = security.secure(TcpStream::connect(address).await.unwrap(), &server).await.unwrap();
    let login = async || security.start_login(&stream, &server).await.map(Option::unwrap);
    let has = |login: &Login, token: &str| String::from_utf8_lossy(login.first.as_ref()).contains(token);

    for (content, says) in
        [("", "it is empty"), (&ALICE[..40], "cannot be used"), ("eyJhbGciOiJub25lIn0.e30.", "has no time")]
    {
        write(content);
        let error = login().await.unwrap_err();
        assert!(!error.is_refusal() && format!("{error:#}").contains(says), "{error:#}");
    }
    write(ALICE);
    let first = login().await.unwrap();
    write(BOB);
    let second = login().await.unwrap();
    assert!(has(&first, ALICE) && has(&second, ALICE));
    assert!(security.forget(&second.ticket).await, "an earlier token");
    let third = login().await.unwrap();
    assert!(has(&third, BOB));
    // A late refusal of the old token keeps the new one.
    assert!(!security.forget(&first.ticket).await, "its own token");
    write("");
    assert!(has(&login().await.unwrap(), BOB));
    assert!(!security.forget(&third.ticket).await, "its own token");
    assert!(!login().await.unwrap_err().is_refusal());
}
