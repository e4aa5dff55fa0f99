//! Searches everything that the producer shows for the secrets that it was given: logs at the level `trace`, `Debug` and
//! `Display` of its types, errors, and `explain()`.

use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use kurier::credentials::{BoxFuture, Credentials, ScramMechanism, Token, TokenError, TokenProvider, TokenRequest};
use kurier::{Config, Producer, ProducerBuilder, Record};
use kurier_broker::{Broker, SaslSettings};
use tokio::time::timeout;
use tracing_subscriber::fmt::MakeWriter;

const LONG: Duration = Duration::from_secs(30);

/// Secrets that occur nowhere by chance.
const PASSWORD: &str = "canary-password-7Qz";
const WRONG: &str = "canary-wrong-9Xy";
const TOKEN_ID: &str = "canary-token-3Kp";

/// Collects what the producer shows.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Vec<u8>>>);

impl io::Write for Shown {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Shown {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Shown {
    fn add(&self, text: &str) {
        self.0.lock().unwrap().extend_from_slice(text.as_bytes());
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// Returns a secret as text, in base64, in hexadecimal and as a list of bytes.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned()];
    // In base64 a text looks different at each of three offsets. The outer letters depend on its neighbours.
    for shift in 0..3 {
        let padded = [&vec![0; shift], secret.as_bytes()].concat();
        for encoded in [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)] {
            forms.push(encoded[4..encoded.len() - 4].to_owned());
        }
    }
    let mut hex = String::new();
    secret.bytes().for_each(|byte| write!(hex, "{byte:02x}").unwrap());
    forms.extend([hex.to_uppercase(), hex]);
    // As `Debug` of bytes in a list.
    forms.push(format!("{:?}", secret.as_bytes()).trim_matches(['[', ']']).to_owned());
    forms
}

/// The token, whose signature is a secret.
fn token() -> Token {
    let claims = r#"{"sub":"alice","exp":4102444800}"#;
    let value =
        format!("{}.{}.{TOKEN_ID}", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode(claims));
    Token {
        value: value.into(),
        expires_at: SystemTime::UNIX_EPOCH + Duration::from_secs(4_102_444_800),
        extensions: Vec::new(),
    }
}

#[derive(Debug)]
struct Tokens;

impl TokenProvider for Tokens {
    fn token<'a>(&'a self, _: &'a TokenRequest) -> BoxFuture<'a, Result<Token, TokenError>> {
        Box::pin(async { Ok(token()) })
    }
}

fn builder(broker: &Broker, mechanism: &str, password: &str) -> ProducerBuilder {
    Producer::builder()
        .bootstrap_servers([broker.bootstrap_servers()])
        .set("security.protocol", "SASL_PLAINTEXT")
        .set("sasl.mechanism", mechanism)
        .set("sasl.username", "alice")
        .set("sasl.password", password)
        .set("max.block.ms", "5000")
}

#[tokio::test]
async fn nothing_that_the_producer_shows_contains_a_secret() {
    let shown = Shown::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false).with_writer(shown.clone());
    subscriber.init();

    let mut sasl = SaslSettings::default().user("alice", PASSWORD);
    sasl.mechanisms.push("OAUTHBEARER".to_owned());
    shown.add(&format!("{sasl:?}"));
    let broker = Broker::builder().topic("t", 1).sasl(sasl).start().await.unwrap();

    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let build = builder(&broker, mechanism, PASSWORD);
        shown.add(&format!("{build:?}"));
        let producer = timeout(LONG, build.build()).await.unwrap().unwrap();
        timeout(LONG, producer.deliver(Record::to("t").value("v"))).await.unwrap().unwrap();
        let (username, password) = ("bob".to_owned(), WRONG.into());
        let wrong = match mechanism {
            "PLAIN" => Credentials::Plain { username, password },
            _ => Credentials::Scram {
                mechanism: if mechanism == "SCRAM-SHA-256" { ScramMechanism::Sha256 } else { ScramMechanism::Sha512 },
                username,
                password,
                is_delegation_token: false,
            },
        };
        producer.set_credentials(wrong).unwrap();
        shown.add(&format!("{producer:?} {:?}", producer.obstacle().await));
        // Another user gets a new connection, which the broker refuses.
        let _ = timeout(Duration::from_secs(2), producer.deliver(Record::to("t").value("v"))).await;
        shown.add(&format!("{:?}", producer.close(Duration::ZERO).await));

        let error = timeout(LONG, builder(&broker, mechanism, WRONG).build()).await.unwrap().unwrap_err();
        shown.add(&format!("{error} {error:#} {error:?}"));
    }
    let tokens = Producer::builder()
        .bootstrap_servers([broker.bootstrap_servers()])
        .set("security.protocol", "SASL_PLAINTEXT")
        .set("sasl.mechanism", "OAUTHBEARER")
        .set("max.block.ms", "5000")
        .token_provider(Tokens);
    let error = timeout(LONG, tokens.build()).await.unwrap().unwrap_err();
    shown.add(&format!("{error:#} {error:?} {:?} {:?}", token(), Credentials::Bearer(token())));

    let mut config = Config::default();
    let jaas = format!(
        "org.apache.kafka.common.security.plain.PlainLoginModule required username=alice password=\"{WRONG}\";"
    );
    for (key, value) in [
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.jaas.config", jaas.as_str()),
        ("ssl.key.password", PASSWORD),
        ("ssl.keystore.key", PASSWORD),
        ("sasl.oauthbearer.client.secret", PASSWORD),
        ("sasl.oauthbearer.assertion.private.key.pem", PASSWORD),
        ("sasl.oauthbearer.assertion.private.key.passphrase", WRONG),
    ] {
        let set = config.set(key, value);
        shown.add(&format!("{set:?} {config:?} {:?}", config.explain()));
    }
    shown.add(&format!("{:?}", config.clone().check().map_err(|error| format!("{error:#}"))));
    let broken = [
        ("sasl.jaas.config", format!("Plain required password=\"{PASSWORD}")),
        ("sasl.password", format!("{PASSWORD}\0")),
        ("ssl.truststore.certificates", PASSWORD.to_owned()),
    ];
    for (key, value) in broken {
        let mut config = Config::default();
        let _ = config.set("security.protocol", "SASL_SSL").and_then(|()| config.set("sasl.mechanism", "PLAIN"));
        let set = config.set(key, &value).and_then(|()| config.clone().check().map(drop));
        shown.add(&format!("{set:?}"));
        let build = Producer::builder().config(config).bootstrap_servers(["127.0.0.1:1"]).start();
        shown.add(&format!("{:?}", build.err()));
    }

    let text = shown.text();
    assert!(
        text.contains("authenticated") && text.contains("SASL_AUTHENTICATION_FAILED"),
        "the logs are there: {text}"
    );
    for secret in [PASSWORD, WRONG, TOKEN_ID] {
        for form in forms(secret) {
            let found = text.find(&form).map(|at| &text[at.saturating_sub(300)..(at + 100).min(text.len())]);
            assert_eq!(found, None, "{secret} as {form}");
        }
    }
}
