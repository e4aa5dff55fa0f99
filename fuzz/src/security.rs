//! Targets of kurier-security: messages of a broker, JAAS entries, tokens and PEM.

use std::sync::LazyLock;
use std::time::SystemTime;

use kurier_security::tls::{PemSource, TlsConfig};
use kurier_security::{
    AssertionTemplate, Claims, ClientProof, Credentials, Exchange, JaasEntry, Mechanism, SaslError, ScramMechanism,
    ScramProof, Secret, Step, Token, TokenClient,
};

const NONCE: [u8; 24] = [7; 24];
/// The nonce in base64.
pub const NONCE_TEXT: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH";
/// A broker's first message, which begins the second kind of input of [`scram_server`].
const FIRST: &str = "r=BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHx,s=c2FsdA==,i=4096";
/// The broker's last message after `FIRST`, as Python's hashlib computes it.
pub const LAST: &str = "v=E0M6q0We+1319jtbkjUmWEPGz5Wjyp6B3L+xNlFLxxo=";

/// The computation takes milliseconds, so all inputs share one result.
static PROOF: LazyLock<ScramProof> = LazyLock::new(|| match start_scram().handle(FIRST.as_bytes()) {
    Ok(Step::Compute(job)) => job.run(),
    other => panic!("{other:?}"),
});

fn start_scram() -> Exchange {
    let credentials = Credentials::Scram {
        mechanism: ScramMechanism::Sha256,
        username: "alice".to_owned(),
        password: "alice-secret".into(),
        is_delegation_token: false,
    };
    Exchange::start(&credentials, NONCE).expect("the credentials are good").0
}

/// A message of a SCRAM server: one byte, and the first message, or the last one if the byte is odd. A first message
/// must continue our nonce and state allowed iterations. Only the right signature is success.
pub fn scram_server(data: &[u8]) {
    let [which, message @ ..] = data else { return };
    let mut exchange = start_scram();
    let result = if which & 1 == 0 {
        exchange.handle(message)
    } else {
        assert!(matches!(exchange.handle(FIRST.as_bytes()), Ok(Step::Compute(_))));
        exchange.prove(PROOF.clone()).expect("a proof is due");
        exchange.handle(message)
    };
    match result {
        Ok(Step::Compute(_)) => {
            let text = str::from_utf8(message).expect("a message is text");
            let [nonce, salt, iterations] = text.splitn(3, ',').collect::<Vec<_>>()[..] else { panic!("{text}") };
            let added = nonce.strip_prefix("r=").and_then(|nonce| nonce.strip_prefix(NONCE_TEXT));
            assert!(added.is_some_and(|added| !added.is_empty()) && salt.len() > 2, "{text}");
            let iterations = iterations.split(',').next().and_then(|text| text.strip_prefix("i="));
            let iterations: u32 = iterations.expect("iterations").parse().expect("a number");
            assert!((4_096..=65_536).contains(&iterations) && message.len() <= 4_096);
        }
        Ok(Step::Done) => {
            assert!(which & 1 == 1 && message.split(|byte| *byte == b',').next() == Some(LAST.as_bytes()));
        }
        Ok(Step::Send(_)) => panic!("SCRAM sends after it has computed"),
        Err(error) => {
            check_text(&error.to_string());
            assert!(!matches!(error, SaslError::OutOfTurn { .. } | SaslError::Inexpressible { .. }));
            assert!(matches!(exchange.handle(message), Err(SaslError::OutOfTurn { .. })), "the exchange has ended");
        }
    }
}

/// An OAUTHBEARER server's reason, the claims of a token, the template of one, and the answer of a token endpoint. Only an empty answer of a
/// server is success.
pub fn oauth(data: &[u8]) {
    let token = Token { value: "t".into(), expires_at: SystemTime::UNIX_EPOCH, extensions: Vec::new() };
    let (mut exchange, _) = Exchange::start(&Credentials::Bearer(token), NONCE).expect("the token is good");
    match exchange.handle(data) {
        Ok(Step::Done) => assert!(data.is_empty()),
        Ok(Step::Send(message)) => {
            assert!(!data.is_empty() && message.as_bytes() == b"\x01");
            check_text(&exchange.refusal().expect("a reason").to_string());
        }
        other => panic!("{other:?}"),
    }
    token_endpoint(data);
    if let Err(error) = AssertionTemplate::parse(data) {
        check_text(&error.to_string());
    }
    for token in [data.to_vec(), format!("e30.{}.", base64url(data)).into_bytes()] {
        if let Err(error) = Claims::read(&token) {
            check_text(&error.to_string());
        }
    }
}

/// The body of an answer. A token has a lifetime; an error does not quote the client's secret.
fn token_endpoint(body: &[u8]) {
    let proof = ClientProof::Secret { secret: "hunter2".into(), encodes_header: false };
    let client = TokenClient { client_id: "kurier".to_owned(), proof, scope: None };
    for status in [200, 401, 503] {
        match client.read_answer(status, body, SystemTime::UNIX_EPOCH, &Secret::default()) {
            Ok(token) => assert!(status == 200 && !token.value.is_empty()),
            Err(error) => {
                check_text(&error.to_string());
                assert!(!error.to_string().contains("hunter2"));
                assert_eq!(error.is_refusal(), status == 401);
            }
        }
    }
}

/// Returns the bytes in base64url, by other code than the one under test.
fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().chain(&[0; 2]).take(3).fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        text.extend((0..=chunk.len()).map(|index| char::from(LETTERS[bits >> (18 - 6 * index) & 63])));
    }
    text
}

/// A JAAS entry. An entry that can be read must read back the same from its options in quotes.
pub fn jaas(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let entry = match JaasEntry::parse(&text) {
        Ok(entry) => entry,
        Err(error) => {
            assert!((1..=text.chars().count() + 1).contains(&error.position()), "{error}");
            return check_text(&error.to_string());
        }
    };
    let mut written = format!("{} required", quoted(entry.module()));
    for (name, value) in entry.options() {
        let value = str::from_utf8(value.expose()).expect("a value is text");
        written += &format!(" {}={}", quoted(name), quoted(value));
    }
    let again = JaasEntry::parse(&(written + ";")).expect("what was written can be read");
    assert!(again.module() == entry.module() && again.options().eq(entry.options()));
    for mechanism in Mechanism::ALL {
        if let Err(error) = entry.login(mechanism) {
            check_text(&error.to_string());
        }
    }
    if let Some(error) = entry.unknown_option() {
        check_text(&error.to_string());
    }
}

/// Returns a text in quotes, where a line's end needs an escape too.
fn quoted(text: &str) -> String {
    let escape = |letter: char| match letter {
        '"' | '\\' | '\n' | '\r' => format!("\\{:03o}", u32::from(letter)),
        _ => letter.to_string(),
    };
    format!("\"{}\"", text.chars().map(escape).collect::<String>())
}

/// Checks that an error is short and safe for terminals.
fn check_text(text: &str) {
    assert!(text.chars().count() < 4_000 && !text.contains(|letter: char| letter.is_control()), "{text:?}");
}

/// PEM text as root certificates and as a client's certificate with its key: gives settings, or an error of limited length.
/// A line break and a space are the same.
pub fn pem_bundle(data: &[u8]) {
    let read = |pem: &[u8]| {
        let source = || PemSource::text("pem", Secret::from(pem));
        let roots = TlsConfig::builder().root_certificates(source());
        let identity = roots.clone().identity_bundle(source());
        [roots, identity].map(|builder| match builder.build() {
            Ok(tls) => Some(tls.to_string()),
            Err(error) => {
                assert!(error.to_string().len() < 1000, "{error}");
                None
            }
        })
    };
    let on_one_line: Vec<u8> = data.iter().map(|&byte| if byte == b'\n' { b' ' } else { byte }).collect();
    assert_eq!(read(data), read(&on_one_line));
}
