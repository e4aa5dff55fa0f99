//! Tests of SASL from the client's side. The tokens are written out or built here, without the client's code. Kafka 4.3.1
//! gave the same answers to the same requests.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use kurier_broker::{Cluster, ClusterSettings, Fault, FaultKind, Reply, SaslSettings, Session};
use kurier_protocol::messages::fetch::{FetchPartition, FetchTopic};
use kurier_protocol::messages::metadata::{MetadataRequestTopic, MetadataResponseTopic};
use kurier_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FetchRequest, MetadataRequest, MetadataResponse, SaslAuthenticateRequest,
    SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kurier_protocol::{ErrorCode, Request, Secret};
use sha2::{Digest, Sha256, Sha512};

use crate::wire::{NOW_MS, frame, response};

/// A connection to a node of a cluster with SASL.
struct Client {
    cluster: Cluster,
    session: Session,
    now_ms: i64,
}

/// The node's reaction to a request.
#[derive(Debug, PartialEq)]
enum Seen<R> {
    Answer(R),
    /// The node answers after this time, and closes.
    Last(R, Duration),
    Closed,
    /// The node closes after this time.
    ClosedAfter(Duration),
}

impl Client {
    fn new(sasl: SaslSettings) -> Self {
        let cluster = Cluster::new(ClusterSettings { sasl: Some(sasl), ..ClusterSettings::default() });
        Self { cluster, session: Session::default(), now_ms: NOW_MS }
    }

    #[track_caller]
    fn send<R: Request>(&mut self, version: i16, request: &R) -> Seen<R::Response> {
        match self.cluster.handle_on(1, &mut self.session, &frame(version, request), self.now_ms, false) {
            Reply::Send { frame, after, cut: None } if after.is_zero() => Seen::Answer(response::<R>(&frame, version)),
            Reply::Send { frame, after, cut: Some(cut) } if cut == frame.len() => {
                Seen::Last(response::<R>(&frame, version), after)
            }
            Reply::Close => Seen::Closed,
            Reply::CloseAfter(time) => Seen::ClosedAfter(time),
            reply => panic!("{request:?} was answered by {reply:?}"),
        }
    }

    /// Proposes a mechanism and returns the answer's error code.
    #[track_caller]
    fn propose(&mut self, mechanism: &str) -> ErrorCode {
        match self.send(1, &SaslHandshakeRequest { mechanism: mechanism.to_owned() }) {
            Seen::Answer(answer) => answer.error_code,
            seen => panic!("{seen:?}"),
        }
    }

    fn token(&mut self, token: &[u8]) -> Seen<SaslAuthenticateResponse> {
        self.send(2, &SaslAuthenticateRequest { auth_bytes: Secret::from(token) })
    }

    /// Sends a token and returns the node's token and the session's lifetime.
    #[track_caller]
    fn accepted(&mut self, token: &[u8]) -> (Vec<u8>, i64) {
        match self.token(token) {
            Seen::Answer(answer) if answer.error_code.is_none() => {
                (answer.auth_bytes.reveal().to_vec(), answer.session_lifetime_ms)
            }
            seen => panic!("{seen:?}"),
        }
    }

    /// Sends a token that the node must refuse, and returns its words.
    #[track_caller]
    fn refused(&mut self, token: &[u8]) -> String {
        match self.token(token) {
            Seen::Last(answer, after) => {
                assert_eq!((answer.error_code, after.as_millis()), (ErrorCode::SASL_AUTHENTICATION_FAILED, 100));
                answer.error_message.unwrap()
            }
            seen => panic!("{seen:?}"),
        }
    }

    fn metadata(&mut self) -> bool {
        matches!(self.send(12, &MetadataRequest { topics: None, ..Default::default() }), Seen::Answer(_))
    }
}

fn alice() -> SaslSettings {
    let mut sasl = SaslSettings::default().user("alice", "alice-secret").user("b,o=b", "pass word");
    sasl.mechanisms.push("OAUTHBEARER".to_owned());
    sasl
}

/// An unsigned token.
fn unsigned(subject: &str, expires_ms: i64) -> Vec<u8> {
    let seconds = expires_ms / 1000;
    let claims = format!(r#"{{"sub":"{subject}","iat":1,"exp":{seconds}}}"#);
    let token = format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode(claims));
    format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}").into_bytes()
}

/// Performs the client's side of SCRAM; returns the last answer, after the proof was made for this password.
fn scram(client: &mut Client, mechanism: &str, name: &str, password: &str) -> Seen<SaslAuthenticateResponse> {
    let is_256 = mechanism == "SCRAM-SHA-256";
    let hmac = |key: &[u8], data: &[u8]| match is_256 {
        true => Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(data).finalize().into_bytes().to_vec(),
        false => Hmac::<Sha512>::new_from_slice(key).unwrap().chain_update(data).finalize().into_bytes().to_vec(),
    };
    let digest = |data: &[u8]| if is_256 { Sha256::digest(data).to_vec() } else { Sha512::digest(data).to_vec() };
    assert_eq!(client.propose(mechanism), ErrorCode::NONE);
    let bare = format!("n={name},r=abc");
    let Seen::Answer(answer) = client.token(format!("n,,{bare}").as_bytes()) else { panic!("no first answer") };
    let first = String::from_utf8(answer.auth_bytes.reveal().to_vec()).unwrap();
    let fields: Vec<&str> = first.split(',').map(|field| &field[2..]).collect();
    assert_eq!(fields[2], "4096");
    let salt = STANDARD.decode(fields[1]).unwrap();
    let mut salted = vec![0; if is_256 { 32 } else { 64 }];
    match is_256 {
        true => pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), &salt, 4096, &mut salted),
        false => pbkdf2::pbkdf2_hmac::<Sha512>(password.as_bytes(), &salt, 4096, &mut salted),
    }
    let last = format!("c=biws,r={}", fields[0]);
    let message = format!("{bare},{first},{last}");
    let client_key = hmac(&salted, b"Client Key");
    let signature = hmac(&digest(&client_key), message.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, mask)| key ^ mask).collect();
    let seen = client.token(format!("{last},p={}", STANDARD.encode(proof)).as_bytes());
    if let Seen::Answer(answer) = &seen {
        let own = STANDARD.encode(hmac(&hmac(&salted, b"Server Key"), message.as_bytes()));
        assert_eq!(&answer.auth_bytes.reveal()[..], format!("v={own}").as_bytes(), "the node proves itself");
    }
    seen
}

#[test]
fn every_mechanism_admits_a_user() {
    type Authenticate = fn(&mut Client);
    let cases: [(&str, Authenticate); 5] = [
        ("PLAIN", |client| {
            assert_eq!(client.propose("PLAIN"), ErrorCode::NONE);
            assert_eq!(client.accepted(b"\0alice\0alice-secret"), (vec![], 0));
        }),
        ("PLAIN for itself", |client| {
            client.propose("PLAIN");
            client.accepted(b"alice\0alice\0alice-secret");
        }),
        ("SCRAM-SHA-256", |client| {
            assert!(matches!(scram(client, "SCRAM-SHA-256", "alice", "alice-secret"), Seen::Answer(_)));
        }),
        ("SCRAM-SHA-512", |client| {
            assert!(matches!(scram(client, "SCRAM-SHA-512", "alice", "alice-secret"), Seen::Answer(_)));
        }),
        ("OAUTHBEARER", |client| {
            client.propose("OAUTHBEARER");
            assert_eq!(client.accepted(&unsigned("alice", NOW_MS + 5000)), (vec![], 5000));
        }),
    ];
    for (name, authenticate) in cases {
        let mut client = Client::new(alice());
        assert_eq!(client.session.principal(), None, "{name}");
        authenticate(&mut client);
        assert_eq!(client.session.principal(), Some("alice"), "{name}");
        assert!(client.metadata(), "{name}");
        let logins: Vec<_> = client.cluster.logins().map(|login| login.principal.as_deref()).collect();
        assert_eq!(logins, [Some("alice")], "{name}");
    }
}

#[test]
fn names_with_separators_authenticate() {
    let mut client = Client::new(alice());
    assert!(matches!(scram(&mut client, "SCRAM-SHA-256", "b=2Co=3Db", "pass word"), Seen::Answer(_)));
    assert_eq!(client.session.principal(), Some("b,o=b"));
}

#[test]
fn wrong_tokens_are_refused_in_kafkas_words() {
    let plain = "Authentication failed: ";
    let general = "Authentication failed during authentication due to invalid credentials with SASL mechanism ";
    let three = |count| format!("Invalid SASL/PLAIN response: expected 3 tokens, got {count}");
    let other_name = format!("{plain}Client requested an authorization id that is different from username");
    let bob = [b"n,a=bob,", &unsigned("alice", NOW_MS + 5000)[3..]].concat();
    let cases: [(&str, &[u8], String); 18] = [
        ("PLAIN", b"\0alice\0wrong", format!("{plain}Invalid username or password")),
        ("PLAIN", b"\0carol\0alice-secret", format!("{plain}Invalid username or password")),
        ("PLAIN", b"\0\0alice-secret", format!("{plain}username not specified")),
        ("PLAIN", b"\0alice\0", format!("{plain}password not specified")),
        ("PLAIN", b"bob\0alice\0alice-secret", other_name.clone()),
        ("PLAIN", b"\0alice\0\xff", format!("{plain}Invalid username or password")),
        ("PLAIN", b"", three(1)),
        ("PLAIN", b"alice", three(1)),
        ("PLAIN", b"alice\0alice-secret", three(2)),
        ("PLAIN", b"\0alice\0alice-secret\0\0", three(4)),
        ("SCRAM-SHA-256", b"n,a=bob,n=alice,r=abc", other_name),
        ("SCRAM-SHA-256", b"y,,n=alice,r=abc", format!("{general}SCRAM-SHA-256")),
        ("SCRAM-SHA-256", b"n,,n=alice,r=abc,tokenauth=true", format!("{general}SCRAM-SHA-256")),
        (
            "OAUTHBEARER",
            &bob,
            format!(
                "{plain}Client requested an authorization id (bob) that is different from the token's principal name \
                 (alice)"
            ),
        ),
        ("SCRAM-SHA-256", b"n,,n=carol,r=abc", format!("{general}SCRAM-SHA-256")),
        ("SCRAM-SHA-512", b"n,,n=alice", format!("{general}SCRAM-SHA-512")),
        ("SCRAM-SHA-512", b"n,,n=alice,r=a\x07", format!("{general}SCRAM-SHA-512")),
        ("OAUTHBEARER", b"n,,auth=Bearer x", format!("{general}OAUTHBEARER")),
    ];
    for (mechanism, token, words) in cases {
        let mut client = Client::new(alice());
        client.propose(mechanism);
        assert_eq!(client.refused(token), words, "{mechanism} {token:?}");
        assert_eq!(client.cluster.logins().next().unwrap().principal, None);
    }
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let Seen::Last(answer, _) = scram(&mut Client::new(alice()), mechanism, "alice", "wrong") else { panic!() };
        assert_eq!(answer.error_message, Some(format!("{general}{mechanism}")));
    }
}

#[test]
fn an_ended_token_is_refused_after_one_more_message() {
    let mut client = Client::new(alice());
    client.propose("OAUTHBEARER");
    assert_eq!(client.accepted(&unsigned("alice", NOW_MS)).0, br#"{"status":"invalid_token"}"#);
    assert_eq!(client.refused(&[1]), r#"{"status":"invalid_token"}"#);
    // Instead, the client may send a better one.
    client.session = Session::default();
    client.propose("OAUTHBEARER");
    client.accepted(&unsigned("alice", NOW_MS));
    assert_eq!(client.accepted(&unsigned("alice", NOW_MS + 5000)), (vec![], 5000));
}

#[test]
fn before_authentication_a_node_answers_little() {
    let versions = ApiVersionsRequest {
        client_software_name: "tests".to_owned(),
        client_software_version: "1".to_owned(),
        ..Default::default()
    };
    let mut client = Client::new(alice());
    assert!(!client.metadata());
    assert!(matches!(client.send(4, &versions), Seen::Answer(_)));
    assert_eq!(client.send(4, &versions), Seen::Closed, "a second ApiVersions");
    assert_eq!(client.token(b"\0alice\0alice-secret"), Seen::Closed, "a token without a handshake");
}

#[test]
fn other_requests_during_an_exchange_are_refused() {
    let exchanging = || {
        let mut client = Client::new(alice());
        client.propose("PLAIN");
        client
    };
    let after = Duration::from_millis(100);
    let again = SaslHandshakeRequest { mechanism: "PLAIN".to_owned() };
    let refused = SaslHandshakeResponse { error_code: ErrorCode::ILLEGAL_SASL_STATE, mechanisms: Vec::new() };
    assert_eq!(exchanging().send(1, &again), Seen::Last(refused, after));

    let refused = ApiVersionsResponse { error_code: ErrorCode::ILLEGAL_SASL_STATE, ..Default::default() };
    assert_eq!(exchanging().send(0, &ApiVersionsRequest::default()), Seen::Last(refused, after));

    // It names no node and no topic but those of the request.
    let all = MetadataRequest { topics: None, ..Default::default() };
    assert_eq!(exchanging().send(12, &all), Seen::Last(MetadataResponse::default(), after));
    let topic = MetadataRequestTopic { name: Some("x".to_owned()), ..Default::default() };
    let shown = MetadataResponseTopic {
        error_code: ErrorCode::ILLEGAL_SASL_STATE,
        name: Some("x".to_owned()),
        ..Default::default()
    };
    let one = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
    let refused = MetadataResponse { topics: vec![shown], ..Default::default() };
    assert_eq!(exchanging().send(12, &one), Seen::Last(refused, after));
}

#[test]
fn tokens_after_handshake_0_have_no_message_around_them() {
    let begin = |mechanism: &str| {
        let mut client = Client::new(alice());
        let handshake = SaslHandshakeRequest { mechanism: mechanism.to_owned() };
        assert!(matches!(client.send(0, &handshake), Seen::Answer(answer) if answer.error_code.is_none()));
        client
    };
    let bare = |client: &mut Client, token: &'static [u8]| {
        client.cluster.handle_on(1, &mut client.session, &Bytes::from_static(token), client.now_ms, false)
    };
    let mut client = begin("PLAIN");
    let empty = Reply::Send { frame: Bytes::from_static(&[0; 4]), after: Duration::ZERO, cut: None };
    assert_eq!(bare(&mut client, b"\0alice\0alice-secret"), empty);
    assert!(client.metadata());
    let wait = Duration::from_millis(100);
    assert_eq!(bare(&mut begin("PLAIN"), b"\0alice\0wrong"), Reply::CloseAfter(wait));
    assert_eq!(begin("PLAIN").token(b"\0alice\0alice-secret"), Seen::ClosedAfter(wait), "a message around the token");
    // Kafka's SCRAM has no words of its own for that.
    assert_eq!(bare(&mut begin("SCRAM-SHA-256"), b"n,,n=carol,r=abc"), Reply::Close);
}

#[test]
fn an_unknown_mechanism_is_answered_with_the_list() {
    let mut client = Client::new(alice());
    for mechanism in ["GSSAPI", "plain", ""] {
        match client.send(1, &SaslHandshakeRequest { mechanism: mechanism.to_owned() }) {
            Seen::Last(answer, after) => {
                assert_eq!((answer.error_code, after.as_millis()), (ErrorCode::UNSUPPORTED_SASL_MECHANISM, 100));
                assert_eq!(answer.mechanisms, ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]);
            }
            seen => panic!("{mechanism}: {seen:?}"),
        }
    }
}

/// Kafka looks at the session when a request comes, and not again when it answers.
#[test]
fn request_that_waits_is_answered_after_the_session_has_ended() {
    let mut client = Client::new(SaslSettings { max_reauth: Some(Duration::from_secs(5)), ..alice() });
    client.propose("PLAIN");
    client.accepted(b"\0alice\0alice-secret");
    let asked = MetadataRequestTopic { name: Some("t".to_owned()), ..Default::default() };
    client.send(
        12,
        &MetadataRequest { topics: Some(vec![asked]), allow_auto_topic_creation: true, ..Default::default() },
    );
    let topics = vec![FetchTopic { topic: "t".to_owned(), partitions: vec![FetchPartition::default()] }];
    let request = FetchRequest { max_wait_ms: 500, min_bytes: 1, topics, ..Default::default() };
    client.now_ms += 4999;
    let fetch = frame(4, &request);
    let reply = client.cluster.handle_on(1, &mut client.session, &fetch, client.now_ms, false);
    assert_eq!(reply, Reply::Wait(Duration::from_millis(500)));
    client.now_ms += 500;
    let reply = client.cluster.handle_on(1, &mut client.session, &fetch, client.now_ms, true);
    assert!(matches!(reply, Reply::Send { .. }), "{reply:?}");
    assert!(!client.metadata(), "the session has ended");
}

#[test]
fn sessions_end_unless_the_client_authenticates_again() {
    let limited = || Client::new(SaslSettings { max_reauth: Some(Duration::from_secs(5)), ..alice() });
    let mut client = limited();
    client.propose("PLAIN");
    assert_eq!(client.accepted(b"\0alice\0alice-secret").1, 5000);
    client.now_ms += 4999;
    assert!(client.metadata());
    client.now_ms += 1;
    assert!(!client.metadata(), "the session has ended");
    // Kafka takes a late handshake.
    assert_eq!(client.propose("PLAIN"), ErrorCode::NONE);
    assert!(!client.metadata(), "an exchange is under way");
    client.accepted(b"\0alice\0alice-secret");
    assert!(client.metadata());
    assert_eq!(client.cluster.logins().map(|login| login.is_again).collect::<Vec<_>>(), [false, true]);
    // Within a second of the last time, the node takes the request for a mistake.
    client.now_ms += 999;
    assert_eq!(client.propose("PLAIN"), ErrorCode::ILLEGAL_SASL_STATE);
    client.now_ms += 1;
    assert_eq!(client.propose("PLAIN"), ErrorCode::NONE);

    let cannot: [(&str, &[u8], &str); 2] = [
        (
            "PLAIN",
            b"\0b,o=b\0pass word",
            "Cannot change principals during re-authentication from User.alice: User.b,o=b",
        ),
        ("PLAIN", b"\0alice\0old", "Authentication failed: Invalid username or password"),
    ];
    for (mechanism, token, words) in cannot {
        let mut client = limited();
        client.propose("PLAIN");
        client.accepted(b"\0alice\0alice-secret");
        assert_eq!(client.propose(mechanism), ErrorCode::NONE);
        assert_eq!(client.refused(token), words);
    }
    // Kafka closes without an answer to another mechanism, after its time for refusals.
    let mut client = limited();
    client.propose("PLAIN");
    client.accepted(b"\0alice\0alice-secret");
    assert_eq!(client.propose("SCRAM-SHA-256"), ErrorCode::NONE);
    assert_eq!(client.token(b"n,,n=alice,r=abc"), Seen::ClosedAfter(Duration::from_millis(100)));
    let mut client = limited();
    client.propose("PLAIN");
    client.accepted(b"\0alice\0alice-secret");
    assert_eq!(client.send(1, &SaslHandshakeRequest { mechanism: "GSSAPI".to_owned() }), Seen::Closed);
}

#[test]
fn a_session_without_end_cannot_be_renewed() {
    let mut client = Client::new(alice());
    client.propose("PLAIN");
    client.accepted(b"\0alice\0alice-secret");
    for mechanism in ["PLAIN", "GSSAPI"] {
        assert_eq!(client.propose(mechanism), ErrorCode::ILLEGAL_SASL_STATE);
    }
    match client.token(b"\0alice\0alice-secret") {
        Seen::Answer(answer) => {
            assert_eq!(answer.error_code, ErrorCode::ILLEGAL_SASL_STATE);
            let words = "SaslAuthenticate request received after successful authentication";
            assert_eq!(answer.error_message.as_deref(), Some(words));
        }
        seen => panic!("{seen:?}"),
    }
    assert!(client.metadata(), "the session goes on");
}

#[test]
fn passwords_change_while_the_cluster_runs() {
    let mut client = Client::new(alice());
    assert!(matches!(scram(&mut client, "SCRAM-SHA-256", "alice", "alice-secret"), Seen::Answer(_)));
    client.cluster.set_password("alice", Some("new"));
    client.session = Session::default();
    assert!(matches!(scram(&mut client, "SCRAM-SHA-256", "alice", "alice-secret"), Seen::Last(..)));
    client.session = Session::default();
    assert!(matches!(scram(&mut client, "SCRAM-SHA-256", "alice", "new"), Seen::Answer(_)));
    client.cluster.set_password("alice", None);
    client.session = Session::default();
    client.propose("PLAIN");
    client.refused(b"\0alice\0new");
}

#[test]
fn a_fault_refuses_credentials() {
    let mut client = Client::new(alice());
    let refusal = FaultKind::Error(ErrorCode::SASL_AUTHENTICATION_FAILED);
    client.cluster.add_fault(Fault::new("SaslAuthenticate", refusal));
    client.propose("PLAIN");
    assert_eq!(client.refused(b"\0alice\0alice-secret"), "refused by a scripted fault");
}

#[test]
fn without_sasl_a_node_refuses_its_messages() {
    let mut client = Client::new(alice());
    client.cluster = Cluster::new(ClusterSettings::default());
    assert_eq!(client.propose("PLAIN"), ErrorCode::ILLEGAL_SASL_STATE);
    match client.token(b"") {
        Seen::Answer(answer) => assert_eq!(answer.error_code, ErrorCode::ILLEGAL_SASL_STATE),
        seen => panic!("{seen:?}"),
    }
}
