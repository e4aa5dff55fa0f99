//! Tests of token endpoints, with an HTTP server in the test and a cluster in memory.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use kurier::{ErrorKind, Producer, ProducerBuilder, Record};
use kurier_broker::{Broker, SaslSettings};
use kurier_security::{Claim, UnsecuredToken};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// No call takes longer than this.
const LONG: Duration = Duration::from_secs(30);

/// An endpoint that gives its answers in order, and repeats the last one. An empty answer closes the connection.
struct Endpoint {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
    asked: Arc<Notify>,
}

impl Endpoint {
    async fn start(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let asked = Arc::new(Notify::new());
        let (seen, notify) = (Arc::clone(&requests), Arc::clone(&asked));
        tokio::spawn(async move {
            for answer in answers.iter().chain(std::iter::repeat(answers.last().unwrap())) {
                let (stream, _) = listener.accept().await.unwrap();
                serve(stream, |_| answer.clone(), &seen).await;
                notify.notify_one();
            }
        });
        Self { address, requests, asked }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// Reads one request and answers it.
async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: impl FnOnce(&str) -> String,
    requests: &Mutex<Vec<String>>,
) {
    let mut request = Vec::new();
    let is_whole = |request: &[u8]| {
        let text = String::from_utf8_lossy(request).to_lowercase();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
        (body.len() >= length.parse().ok()?).then_some(())
    };
    while is_whole(&request).is_none() {
        if stream.read_buf(&mut request).await.unwrap_or_default() == 0 {
            return;
        }
    }
    let request = String::from_utf8(request).unwrap();
    let answer = answer(&request);
    requests.lock().unwrap().push(request);
    // The client may close first.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// An unsigned token of alice.
#[expect(clippy::disallowed_methods, reason = "tokens end by the wall clock")]
fn token() -> String {
    let claims = vec![("sub".to_owned(), Claim::Text("alice".to_owned()))];
    let token = UnsecuredToken { claims, lifetime: Duration::from_secs(60), extensions: Vec::new() };
    let token = token.issue(SystemTime::now());
    String::from_utf8(token.value.expose().to_vec()).unwrap()
}

fn granted() -> String {
    answer("200 OK", &format!(r#"{{"access_token":"{}","token_type":"Bearer","expires_in":60}}"#, token()))
}

async fn cluster() -> Broker {
    let mut sasl = SaslSettings::default();
    sasl.mechanisms.push("OAUTHBEARER".to_owned());
    Broker::builder().topic("t", 1).sasl(sasl).start().await.unwrap()
}

fn builder(broker: &Broker, url: &str) -> ProducerBuilder {
    Producer::builder()
        .bootstrap_servers([broker.bootstrap_servers()])
        .set("security.protocol", "SASL_PLAINTEXT")
        .set("sasl.mechanism", "OAUTHBEARER")
        .set("sasl.oauthbearer.token.endpoint.url", url)
        .set("sasl.oauthbearer.client.credentials.client.id", "kurier")
        .set("sasl.oauthbearer.client.credentials.client.secret", "hunter2")
        .set("sasl.login.retry.backoff.ms", "1")
}

async fn deliver(builder: ProducerBuilder) {
    let producer = timeout(LONG, builder.build()).await.unwrap().unwrap_or_else(|error| panic!("{error:#}"));
    timeout(LONG, producer.deliver(Record::to("t").value("v"))).await.unwrap().unwrap();
}

#[tokio::test]
async fn token_of_an_endpoint_authenticates_after_retries() {
    let broker = cluster().await;
    let chunked = format!(r#"{{"access_token":"{}"}}"#, token());
    let endpoint = Endpoint::start(vec![
        answer("503 Service Unavailable", ""),
        answer("429 Too Many Requests", "").replacen("\r\n", "\r\nRetry-After: 0\r\n", 1),
        answer("408 Request Timeout", ""),
        String::new(),
        answer("200 OK", "<html>"),
        format!(
            "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{chunked}\r\n0\r\n\r\n",
            chunked.len()
        ),
    ])
    .await;
    let url = format!("http://{}/realms/kafka/token?tenant=a", endpoint.address);
    deliver(builder(&broker, &url).set("sasl.oauthbearer.scope", "kafka write")).await;
    let logins: Vec<_> = broker.with_cluster(|cluster| cluster.logins().map(|login| login.principal.clone()).collect());
    assert!(!logins.is_empty() && logins.iter().all(|principal| principal.as_deref() == Some("alice")), "{logins:?}");

    let requests = endpoint.requests();
    assert_eq!(requests.len(), 6, "one request for each answer");
    for request in requests {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let mut lines: Vec<String> = head.lines().map(str::to_owned).collect();
        assert_eq!(lines.remove(0), "POST /realms/kafka/token?tenant=a HTTP/1.1");
        lines.sort();
        let host = format!("host: {}", endpoint.address);
        let agent = format!("user-agent: kurier/{}", env!("CARGO_PKG_VERSION"));
        let expected = [
            "accept: application/json",
            "authorization: Basic a3VyaWVyOmh1bnRlcjI=",
            "connection: close",
            "content-length: 47",
            "content-type: application/x-www-form-urlencoded",
            &host,
            &agent,
        ];
        assert_eq!(lines, expected);
        assert_eq!(body, "grant_type=client_credentials&scope=kafka+write");
    }
}

#[tokio::test]
async fn assertion_of_a_file_proves_the_client() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("assertion");
    std::fs::write(&file, "e30.e30.hunter2\n").unwrap();
    let kind = "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    for (grant, form) in [
        (
            "client_credentials",
            format!("grant_type=client_credentials&client_id=kurier&{kind}&client_assertion=e30.e30.hunter2"),
        ),
        (
            "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=e30.e30.hunter2".to_owned(),
        ),
    ] {
        let (broker, endpoint) = (cluster().await, Endpoint::start(vec![granted()]).await);
        let builder = builder(&broker, &format!("http://{}/token", endpoint.address))
            .set("sasl.oauthbearer.assertion.file", file.to_str().unwrap())
            .set("sasl.oauthbearer.grant.type", grant);
        deliver(builder).await;
        let requests = endpoint.requests();
        let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
        assert_eq!(body, form);
        assert!(!head.contains("authorization"), "{head}");
    }

    let (broker, endpoint) = (cluster().await, Endpoint::start(vec![granted()]).await);
    let builder = builder(&broker, &format!("http://{}/token", endpoint.address)).set("max.block.ms", "1000");
    let error = builder.set("sasl.oauthbearer.assertion.file", "/nowhere/assertion").build().await.unwrap_err();
    let shown = format!("{error:#}");
    assert!(shown.contains("cannot read sasl.oauthbearer.assertion.file /nowhere/assertion: "), "{shown}");
    assert!(endpoint.requests().is_empty());
}

#[tokio::test]
async fn token_is_renewed_while_the_producer_is_idle() {
    let broker = cluster().await;
    let body = format!(r#"{{"access_token":"{}","expires_in":1}}"#, token());
    let (granted, failed) = (answer("200 OK", &body), answer("503 Service Unavailable", ""));
    let endpoint = Endpoint::start(vec![granted.clone(), failed, granted]).await;
    let producer = builder(&broker, &format!("http://{}/token", endpoint.address)).build().await.unwrap();
    while endpoint.requests().len() < 4 {
        timeout(LONG, endpoint.asked.notified()).await.unwrap();
    }
    timeout(LONG, producer.deliver(Record::to("t").value("v"))).await.unwrap().unwrap();
}

#[tokio::test]
async fn failure_of_an_endpoint_is_named() {
    let large = answer("200 OK", &format!(r#"{{"access_token":"{}"}}"#, "x".repeat(70_000)));
    let redirect = answer("302 Found", "").replacen("\r\n", "\r\nLocation: http://10.0.0.1/\r\n", 1);
    let refused = r#"{"error":"invalid_client","error_description":"no client kurier with hunter2"}"#;
    let cases = [
        (answer("401 Unauthorized", refused), true, "answered 401 (invalid_client: no client kurier with [hidden])"),
        (answer("404 Not Found", "<html>"), true, "answered 404: does the URL name the token endpoint?"),
        (redirect, true, "answered 302, which redirects: set the URL that it redirects to"),
        (answer("500 Internal Server Error", "x"), false, "answered 500"),
        (answer("200 OK", "<html>"), false, "answered with something that is not a JSON object"),
        (answer("200 OK", r#"{"access_token":"t"}"#), false, "answered without expires_in"),
        (answer("200 OK", "{}"), false, "answered without an access_token"),
        (large, false, "answered with more than 65536 bytes"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_owned(), false, "has not answered: "),
        ("SSH-2.0-x\r\n".to_owned(), false, "has not answered: "),
        (String::new(), false, "has not answered: "),
    ];
    let mut tasks = JoinSet::new();
    for (answer, is_refusal, text) in cases {
        tasks.spawn(async move {
            let broker = cluster().await;
            let endpoint = Endpoint::start(vec![answer]).await;
            let url = format!("http://{}/token?key=hunter2", endpoint.address);
            let build = builder(&broker, &url).set("max.block.ms", "3000").build();
            let error = timeout(LONG, build).await.unwrap().unwrap_err();
            let kind = if is_refusal { ErrorKind::Authentication } else { ErrorKind::Network };
            let shown = format!("{error:#} {error:?}");
            let expected = format!("token endpoint http://{}/token {text}", endpoint.address);
            assert!(shown.contains(&expected) && !shown.contains("hunter2"), "{expected} is not in {shown}");
            assert_eq!(error.kind(), kind, "{shown}");
            if is_refusal {
                assert_eq!(endpoint.requests().len(), 2, "the second refusal fails the build: {shown}");
            }
            assert_eq!(broker.with_cluster(|cluster| cluster.logins().count()), 0, "nothing connects without a token");
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn endpoint_that_is_silent_or_absent_is_named() {
    let broker = cluster().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = silent.local_addr().map(|address| (address, silent)).unwrap();
    // The port is bound but not listening: connections are refused.
    let absent = tokio::net::TcpSocket::new_v4().unwrap();
    absent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    for (address, text) in [
        (silent.0, "has not answered within 100 ms (sasl.login.read.timeout.ms)"),
        (absent.local_addr().unwrap(), "cannot be reached: Connection refused"),
    ] {
        let builder = builder(&broker, &format!("http://{address}/token"));
        let builder = builder.set("sasl.login.read.timeout.ms", "100").set("max.block.ms", "1000");
        let error = timeout(LONG, builder.build()).await.unwrap().unwrap_err();
        let shown = format!("{error:#}");
        assert!(shown.contains(&format!("token endpoint http://{address}/token {text}")), "{shown}");
        assert_eq!(error.kind(), ErrorKind::Network);
    }
}

#[cfg(not(feature = "tls"))]
#[tokio::test]
async fn key_of_assertions_needs_tls() {
    let broker = cluster().await;
    let builder = builder(&broker, "http://127.0.0.1:1/token").set("sasl.oauthbearer.assertion.private.key.file", "/k");
    let error = builder.build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("but this build of kurier has none: enable one of the features tls-ring"));
}

#[cfg(not(feature = "tls"))]
#[tokio::test]
async fn encrypted_endpoint_needs_tls() {
    let broker = cluster().await;
    let error = builder(&broker, "https://h/token").build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    let text = "the token endpoint https://h/token needs TLS, but this build of kurier has none: enable one of";
    assert!(error.to_string().starts_with(text), "{error}");
}

#[cfg(feature = "tls")]
fn path(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tls").join(name)
}

#[cfg(feature = "tls")]
mod signed {
    use std::fs;

    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use kurier_security::tls::{PemSource, TlsConfig, rustls};
    use rustls::SignatureScheme;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    use rustls::server::ParsedCertificate;

    use super::*;

    const ASSERTION: &str = "sasl.oauthbearer.assertion.";
    const TEMPLATE: &str = r#"{"header": {"kid": "one"}, "payload": {"resource": ["kafka", 7]}}"#;

    fn length(length: usize) -> u8 {
        u8::try_from(length).unwrap()
    }

    /// Verifies an assertion by the public key of a certificate. Returns its header and claims.
    fn verified(assertion: &str, certificate: &str) -> Option<(String, String)> {
        let (message, signature) = assertion.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        let text = |part| String::from_utf8(URL_SAFE_NO_PAD.decode(part).ok()?).ok();
        let (header, claims) = (text(header)?, text(claims)?);
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        // The bytes before the key in a structure of 2,048 bits, and of P-256. Webpki wants DER in place of two numbers.
        let (scheme, prefix, signature) = if header.contains(r#""alg":"RS256""#) {
            (SignatureScheme::RSA_PKCS1_SHA256, 24, signature)
        } else {
            let number = |digits: &[u8]| {
                let digits = &digits[digits.iter().position(|digit| *digit != 0).unwrap()..];
                let sign = if digits[0] >= 0x80 { vec![0] } else { vec![] };
                [&[2, length(sign.len() + digits.len())], &sign[..], digits].concat()
            };
            let (r, s) = signature.split_at_checked(32).filter(|(_, s)| s.len() == 32)?;
            let numbers = [number(r), number(s)].concat();
            let der = [&[0x30, length(numbers.len())], &numbers[..]].concat();
            (SignatureScheme::ECDSA_NISTP256_SHA256, 26, der)
        };
        let certificate = CertificateDer::from_pem_file(path(certificate)).unwrap();
        let key = ParsedCertificate::try_from(&certificate).unwrap().subject_public_key_info();
        let client = TlsConfig::builder().root_certificates(PemSource::path(path("ca.pem"))).build().unwrap().client();
        let known = client.crypto_provider().signature_verification_algorithms.mapping;
        let (_, verifiers) = known.iter().find(|(known, _)| *known == scheme).unwrap();
        let is_right = |it: &&dyn rustls::pki_types::SignatureVerificationAlgorithm| {
            it.verify_signature(&key[prefix..], message.as_bytes(), &signature).is_ok()
        };
        verifiers.iter().any(is_right).then_some((header, claims))
    }

    /// Returns the assertion in the form of a request.
    fn assertion(request: &str) -> &str {
        let fields = request.rsplit("\r\n\r\n").next().unwrap().split('&');
        let pairs = fields.filter_map(|field| field.split_once('='));
        pairs.into_iter().find(|(name, _)| ["assertion", "client_assertion"].contains(name)).unwrap().1
    }

    /// An endpoint that gives tokens for a second, to those whose assertion one of the certificates verifies.
    async fn endpoint(certificates: &'static [&'static str]) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let endpoint = Endpoint { address, requests: Arc::default(), asked: Arc::default() };
        let (seen, notify) = (Arc::clone(&endpoint.requests), Arc::clone(&endpoint.asked));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let is_known = |request: &str| certificates.iter().any(|it| verified(assertion(request), it).is_some());
                let answered = |request: &str| match is_known(request) {
                    true => answer("200 OK", &format!(r#"{{"access_token":"{}","expires_in":1}}"#, token())),
                    false => answer("401 Unauthorized", r#"{"error":"invalid_client"}"#),
                };
                serve(stream, answered, &seen).await;
                notify.notify_one();
            }
        });
        endpoint
    }

    #[expect(clippy::disallowed_methods, reason = "assertions end by the wall clock")]
    fn seconds() -> u64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
    }

    #[tokio::test]
    async fn endpoint_accepts_an_assertion_that_the_client_signs() {
        let folder = tempfile::tempdir().unwrap();
        let template = folder.path().join("template.json");
        fs::write(&template, TEMPLATE).unwrap();
        let bearer = "urn:ietf:params:oauth:grant-type:jwt-bearer";
        for (algorithm, key, certificate) in
            [("RS256", "rsa-key.pem", &["rsa.pem"]), ("ES256", "client-key.pem", &["client.pem"])]
        {
            for (grant, form) in [
                ("client_credentials", "grant_type=client_credentials&client_id=kurier&client_assertion_type="),
                (bearer, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion="),
            ] {
                let (broker, endpoint) = (cluster().await, endpoint(certificate).await);
                let mut builder = builder(&broker, &format!("http://{}/token", endpoint.address))
                    .set("sasl.oauthbearer.grant.type", grant);
                for (name, value) in [
                    ("algorithm", algorithm),
                    ("private.key.file", path(key).to_str().unwrap()),
                    ("template.file", template.to_str().unwrap()),
                    ("claim.aud", "https://login"),
                    ("claim.iss", "kurier"),
                    ("claim.sub", "alice"),
                    ("claim.exp.seconds", "100"),
                    ("claim.nbf.seconds", "10"),
                    ("claim.jti.include", "true"),
                ] {
                    builder = builder.set(&format!("{ASSERTION}{name}"), value);
                }
                let began = seconds();
                deliver(builder).await;
                let requests = endpoint.requests();
                let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
                assert!(body.starts_with(form) && !head.contains("authorization"), "{head} {body}");
                let (header, claims) = verified(assertion(&requests[0]), certificate[0]).unwrap();
                assert_eq!(header, format!(r#"{{"alg":"{algorithm}","kid":"one","typ":"JWT"}}"#));
                let issued =
                    (began..=seconds()).find(|second| claims.contains(&format!(r#""iat":{second},"#))).unwrap();
                let (before, rest) = claims.split_once(r#""jti":""#).unwrap();
                let (id, after) = rest.split_once('"').unwrap();
                assert_eq!((id.len(), &id[14..15]), (36, "4"), "a UUID of random bytes");
                let expected = format!(
                    r#"{{"aud":"https://login","exp":{},"iat":{issued},"iss":"kurier",|,"nbf":{},"resource":["kafka", 7],"sub":"alice"}}"#,
                    issued + 100,
                    issued - 10,
                );
                assert_eq!(format!("{before}|{after}"), expected);
            }
        }
    }

    #[tokio::test]
    async fn key_is_read_again_for_each_token() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key.pem");
        fs::copy(path("client-key.pem"), &key).unwrap();
        let (broker, endpoint) = (cluster().await, endpoint(&["client.pem", "broker.pem"]).await);
        let builder = builder(&broker, &format!("http://{}/token", endpoint.address))
            .set(&format!("{ASSERTION}algorithm"), "ES256")
            .set(&format!("{ASSERTION}private.key.file"), key.to_str().unwrap());
        let producer = timeout(LONG, builder.build()).await.unwrap().unwrap();
        fs::write(folder.path().join("next"), fs::read(path("broker-key.pem")).unwrap()).unwrap();
        fs::rename(folder.path().join("next"), &key).unwrap();
        // The token lasts for a second.
        while !endpoint.requests().iter().any(|request| verified(assertion(request), "broker.pem").is_some()) {
            timeout(LONG, endpoint.asked.notified()).await.unwrap();
        }
        timeout(LONG, producer.deliver(Record::to("t").value("v"))).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn key_or_template_that_cannot_be_used_fails_the_build() {
        let folder = tempfile::tempdir().unwrap();
        let template = |name: &str, text: &str| {
            let file = folder.path().join(name);
            fs::write(&file, text).unwrap();
            file.to_str().unwrap().to_owned()
        };
        let large = template("large.json", &" ".repeat(70_000));
        let (not_json, other) = (template("a.json", "hunter2"), template("b.json", r#"{"payload":{"iss":"hunter2"}}"#));
        let key = path("client-key.pem");
        let cases: [(&[(&str, &str)], &str); 7] = [
            (&[("private.key.file", "/nowhere/key.pem")], "cannot read /nowhere/key.pem"),
            (&[("private.key.file", key.to_str().unwrap())], "RS256 needs an RSA key"),
            (&[("private.key.pem", "hunter2!")], "sasl.oauthbearer.assertion.private.key.pem has no private key"),
            (&[("template.file", "/nowhere/t.json")], "cannot read sasl.oauthbearer.assertion.template.file /nowhere"),
            (&[("template.file", &not_json)], "a.json is not a JSON object"),
            (&[("template.file", &large)], "large.json: it has more than 65536 bytes"),
            (
                &[("template.file", &other), ("claim.iss", "kurier")],
                "b.json has another claim iss than sasl.oauthbearer.assertion.claim.iss: remove one of the two",
            ),
        ];
        for (settings, text) in cases {
            let broker = cluster().await;
            let mut builder = builder(&broker, "http://127.0.0.1:1/token");
            if !settings.iter().any(|(name, _)| name.starts_with("private.key.")) {
                builder = builder.set(&format!("{ASSERTION}private.key.file"), path("rsa-key.pem").to_str().unwrap());
            }
            for (name, value) in settings {
                builder = builder.set(&format!("{ASSERTION}{name}"), value);
            }
            let error = timeout(LONG, builder.build()).await.unwrap().unwrap_err();
            let shown = format!("{error:#} {error:?}");
            assert_eq!(error.kind(), ErrorKind::Configuration, "{shown}");
            assert!(shown.contains(text) && !shown.contains("hunter2"), "{text} is not in {shown}");
        }
    }
}

#[cfg(feature = "tls")]
mod encrypted {
    use kurier_security::tls::{PemSource, TlsConfig, rustls};
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// The server's side of TLS with this certificate, and the same cryptography as the client.
    fn acceptor(certificate: &str) -> TlsAcceptor {
        let client = TlsConfig::builder().root_certificates(PemSource::path(path("ca.pem"))).build().unwrap();
        let chain = CertificateDer::pem_file_iter(path(certificate)).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(path("broker-key.pem")).unwrap();
        let server = rustls::ServerConfig::builder_with_provider(Arc::clone(client.client().crypto_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        TlsAcceptor::from(Arc::new(server))
    }

    #[tokio::test]
    async fn endpoint_must_have_a_trusted_certificate() {
        for (certificate, authority, failure) in [
            ("broker.pem", "ca.pem", None),
            (
                "broker.pem",
                "other.pem",
                Some("cannot be trusted: its certificate is signed by no trusted authority (1 root of"),
            ),
            ("broker-expired.pem", "ca.pem", Some("cannot be trusted: its certificate expired")),
            ("broker-no-names.pem", "ca.pem", Some("cannot be trusted: its certificate names no host")),
            ("", "ca.pem", Some("cannot be reached: ")),
        ] {
            let broker = cluster().await;
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let acceptor = Some(certificate).filter(|name| !name.is_empty()).map(acceptor);
            tokio::spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let Some(acceptor) = &acceptor else { continue };
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, |_| granted(), &Mutex::default()).await;
                    }
                }
            });
            let builder = builder(&broker, &format!("https://{address}/token")).set("max.block.ms", "2000");
            let builder = builder.set("https.ca.location", path(authority).to_str().unwrap());
            let Some(failure) = failure else {
                deliver(builder).await;
                continue;
            };
            let error = timeout(LONG, builder.build()).await.unwrap().unwrap_err();
            let shown = format!("{error:#}");
            let expected = format!("token endpoint https://{address}/token {failure}");
            assert!(shown.contains(&expected), "{expected} is not in {shown}");
            for word in ["the broker's certificate", "ssl.truststore", "advertised.listeners"] {
                assert!(!shown.contains(word), "{shown}");
            }
        }
    }

    #[tokio::test]
    async fn missing_file_of_authorities_fails_the_build() {
        let broker = cluster().await;
        let builder = builder(&broker, "https://h/token").set("https.ca.location", "/nowhere/ca.pem");
        let error = builder.build().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(format!("{error:#}").contains("/nowhere/ca.pem"), "{error:#}");
    }
}
