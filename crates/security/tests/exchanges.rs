//! Whole exchanges, and credentials and answers that end them early.
#![cfg(feature = "sasl")]

use std::time::{Duration, SystemTime};

use kurier_security::{Credentials, Exchange, Mechanism, SaslError, ScramMechanism, Step, Token};

const NONCE: [u8; 24] = [7; 24];

fn plain(username: &str, password: &str) -> Credentials {
    Credentials::Plain { username: username.to_owned(), password: password.into() }
}

fn scram(username: &str, password: &str) -> Credentials {
    Credentials::Scram {
        mechanism: ScramMechanism::Sha512,
        username: username.to_owned(),
        password: password.into(),
        is_delegation_token: false,
    }
}

fn bearer(value: &str, extensions: &[(&str, &str)]) -> Credentials {
    let extensions = extensions.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Credentials::Bearer(Token {
        value: value.into(),
        expires_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1),
        extensions,
    })
}

fn first(credentials: &Credentials) -> Vec<u8> {
    Exchange::start(credentials, NONCE).unwrap().1.as_bytes().to_vec()
}

/// RFC 4616, section 4, without the authorization id; RFC 7628, section 4.1, likewise, with Java's order.
#[test]
fn first_messages_of_rfcs() {
    assert_eq!(first(&plain("tim", "tanstaaftanstaaf")), b"\0tim\0tanstaaftanstaaf");
    assert_eq!(first(&plain("Ülo", " ä=,\" ")), "\0Ülo\0 ä=,\" ".as_bytes());
    let token = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==";
    assert_eq!(first(&bearer(token, &[])), format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}").as_bytes());
    assert_eq!(
        first(&bearer(token, &[("host", "server.example.com"), ("port", "143")])),
        format!("n,,\u{1}auth=Bearer {token}\u{1}host=server.example.com\u{1}port=143\u{1}\u{1}").as_bytes()
    );
}

/// The lines of `testdata/sasl/exchanges.jsonl` with OAUTHBEARER are first messages of Java's client.
#[test]
fn first_messages_of_java() {
    let mut count = 0;
    for line in include_str!("../../../testdata/sasl/exchanges.jsonl").lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        if line["mechanism"] == "OAUTHBEARER" {
            let extensions: Vec<(&str, &str)> = line["extensions"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str().unwrap()))
                .collect();
            let message = first(&bearer(line["value"].as_str().unwrap(), &extensions));
            assert_eq!(str::from_utf8(&message).unwrap(), line["messages"][0].as_str().unwrap());
            count += 1;
        }
    }
    assert_eq!(count, 2);
}

#[test]
fn credentials_that_no_message_can_carry() {
    let long = "x".repeat(8 * 1024 + 1);
    let longest = "x".repeat(64 * 1024 + 1);
    let many: Vec<(String, String)> = (0..101u8).map(|index| ("k".repeat(index.into()), "v".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().skip(1).map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let not_utf8 = Credentials::Plain { username: "a".to_owned(), password: vec![b'p', 0xff].into() };
    let cases = [
        (plain("", "p"), "PLAIN cannot carry these credentials: the user name is empty"),
        (plain("a\0b", "p"), "the user name contains NUL"),
        (plain(&long, "p"), "the user name is longer than 8 KiB"),
        (plain("a", ""), "the password is empty"),
        (plain("a", "hunter2\0"), "the password contains NUL"),
        (plain("a", &long), "the password is longer than 8 KiB"),
        (not_utf8, "the password is not UTF-8"),
        (scram("", "p"), "SCRAM-SHA-512 cannot carry these credentials: the user name is empty"),
        (scram("a", ""), "the password is empty"),
        (bearer("", &[]), "OAUTHBEARER cannot carry these credentials: the token is empty"),
        (bearer(&longest, &[]), "the token is longer than 64 KiB"),
        (bearer("hunter2 ", &[]), "the token has a character other than"),
        (bearer("hunter=2", &[]), "the token has a character other than"),
        (bearer("hunter2\u{1}", &[]), "the token has a character other than"),
        (bearer("==", &[]), "the token has a character other than"),
        (bearer("t", &[("k", &longest)]), "the extensions are longer than 64 KiB"),
        (bearer("t", &[("", "v")]), "the key of an extension is not made of letters"),
        (bearer("t", &[("k1", "v")]), "the key of an extension is not made of letters"),
        (bearer("t", &[("auth", "v")]), "an extension has the reserved key auth"),
        (bearer("t", &[("k", "v"), ("k", "w")]), "two extensions have the same key"),
        (bearer("t", &[("k", "")]), "the value of an extension is empty"),
        (bearer("t", &[("k", "hunter2\u{1}")]), "not printable ASCII"),
        (bearer("t", &[("k", "é")]), "not printable ASCII"),
    ];
    for (credentials, text) in cases {
        let error = Exchange::start(&credentials, NONCE).unwrap_err();
        assert!(matches!(error, SaslError::Inexpressible { .. }));
        assert!(error.to_string().contains(text) && !error.to_string().contains("hunter2"), "{error}");
    }
    assert!(Exchange::start(&bearer("t", &many), NONCE).is_ok());
}

#[test]
fn success_of_plain_is_the_error_code() {
    for answer in [b"".as_slice(), b"welcome"] {
        let (mut exchange, _) = Exchange::start(&plain("alice", "p"), NONCE).unwrap();
        assert!(matches!(exchange.handle(answer), Ok(Step::Done)));
        assert!(matches!(exchange.handle(b""), Err(SaslError::OutOfTurn { .. })));
    }
}

#[test]
fn refused_token_is_acknowledged_with_one_byte() {
    let reasons = [
        // RFC 7628, section 4.3.
        (
            r#"{"status":"invalid_token","scope":"example_scope","openid-configuration":"https://example.com/.well-known/openid-configuration"}"#,
            "status invalid_token, scope example_scope",
        ),
        (r#"{"status":"invalid_token"}"#, "status invalid_token"),
        (r#"{"scope":"a\u001b"}"#, "scope a\\u{1b}"),
        ("{}", "no reason given"),
        ("not JSON", "no reason given"),
    ];
    for (answer, text) in reasons {
        let (mut exchange, _) = Exchange::start(&bearer("t", &[]), NONCE).unwrap();
        let Ok(Step::Send(message)) = exchange.handle(answer.as_bytes()) else { panic!("{answer}") };
        assert_eq!(message.as_bytes(), b"\x01");
        assert_eq!(exchange.refusal().unwrap().to_string(), text);
        let error = exchange.handle(b"").unwrap_err();
        assert!(error.to_string().contains("it reports success after it has refused the token"), "{error}");
    }
    let (mut exchange, _) = Exchange::start(&bearer("t", &[]), NONCE).unwrap();
    assert!(matches!(exchange.handle(b""), Ok(Step::Done)));
    assert_eq!(exchange.refusal(), None);
}

#[test]
fn early_success_does_not_end_scram() {
    let (mut exchange, _) = Exchange::start(&scram("alice", "p"), NONCE).unwrap();
    assert!(matches!(exchange.handle(b""), Err(SaslError::Protocol { .. })));
    // An exchange that has ended stays so.
    let first = b"r=BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHx,s=c2FsdA==,i=4096";
    assert!(matches!(exchange.handle(first), Err(SaslError::OutOfTurn { .. })));

    let (mut exchange, _) = Exchange::start(&scram("alice", "p"), NONCE).unwrap();
    let Ok(Step::Compute(job)) = exchange.handle(first) else { panic!() };
    exchange.prove(job.run()).unwrap();
    assert_eq!(exchange.handle(b"").unwrap_err(), SaslError::Unproven { mechanism: Mechanism::ScramSha512 });
}

#[test]
fn calls_out_of_turn_are_errors() {
    let first = b"r=BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHx,s=c2FsdA==,i=4096";
    let job = |exchange: &mut Exchange| match exchange.handle(first) {
        Ok(Step::Compute(job)) => job,
        other => panic!("{other:?}"),
    };
    let (mut exchange, _) = Exchange::start(&scram("alice", "p"), NONCE).unwrap();
    let proof = job(&mut exchange).run();
    let (mut other, _) = Exchange::start(&scram("alice", "p"), NONCE).unwrap();
    assert_eq!(other.prove(proof).unwrap_err().to_string(), "the SCRAM-SHA-512 exchange expects no proof now");
    // The failed call has not changed the exchange.
    let proof = job(&mut other).run();
    other.prove(proof).unwrap();
    assert_eq!(exchange.handle(first).unwrap_err().to_string(), "the SCRAM-SHA-512 exchange expects no message now");
}

#[test]
fn limit_of_iterations_can_be_changed() {
    let answer = b"r=BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHx,s=c2FsdA==,i=70000";
    for (max, is_allowed) in [(None, false), (Some(69_999), false), (Some(70_000), true)] {
        let (mut exchange, _) = Exchange::start(&scram("alice", "p"), NONCE).unwrap();
        if let Some(max) = max {
            exchange.set_scram_iterations_max(max);
        }
        assert_eq!(exchange.handle(answer).is_ok(), is_allowed);
    }
}

#[test]
fn long_answer_is_refused() {
    for credentials in [plain("a", "p"), scram("a", "p"), bearer("t", &[])] {
        let (mut exchange, _) = Exchange::start(&credentials, NONCE).unwrap();
        let error = exchange.handle(&[b' '; 64 * 1024 + 1]).unwrap_err();
        assert!(
            matches!(error, SaslError::Protocol { .. }) && error.to_string().contains("65537 bytes, more than 65536"),
            "{error}"
        );
    }
}

#[test]
fn no_debug_output_shows_a_secret() {
    for credentials in [plain("alice", "hunter2"), scram("alice", "hunter2"), bearer("hunter2", &[("key", "hunter2")])]
    {
        let (mut exchange, message) = Exchange::start(&credentials, NONCE).unwrap();
        let shown = format!("{credentials:?} {exchange:?} {message:?} {:?}", exchange.handle(b"x").ok());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
