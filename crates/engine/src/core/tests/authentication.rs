//! Tests of SASL: the core against a cluster in memory, which keeps its own side of every mechanism.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kurier_broker::{Cluster, ClusterSettings, Fault, FaultKind, Reply, SaslSettings, Session, TopicSettings};
use kurier_protocol::NodeId;
use kurier_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use kurier_security::{Credentials, Token};

use super::*;
use crate::accumulator::Clock;

/// The core, and a cluster of three nodes with the topic `t`, whose leader is node 1.
struct Secured {
    driver: TestDriver,
    cluster: Cluster,
    connections: BTreeMap<ConnectionId, (NodeId, Session)>,
    /// Frames that nodes will send, with their times; `None` closes the connection.
    coming: Vec<(Instant, ConnectionId, Option<Bytes>)>,
    /// Time of a request and its answer on the way.
    latency: Duration,
    is_private: bool,
    /// Changes an answer to SaslAuthenticate.
    tamper: Option<fn(Bytes) -> Bytes>,
    /// Connections that nodes closed.
    closes: usize,
    /// Requests that a node answered by closing the connection.
    unanswerable: usize,
    connects: usize,
    /// SaslHandshake requests that nodes saw.
    proposals: usize,
    refused: Vec<Error>,
}

fn settings(mechanism: &str, password: &str) -> Vec<(&'static str, String)> {
    vec![
        ("bootstrap.servers", "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3".to_owned()),
        ("security.protocol", "SASL_PLAINTEXT".to_owned()),
        ("sasl.mechanism", mechanism.to_owned()),
        ("sasl.username", "alice".to_owned()),
        ("sasl.password", password.to_owned()),
    ]
}

fn sasl() -> SaslSettings {
    SaslSettings::default().user("alice", "alice-secret").user("bob", "bob-secret")
}

impl Secured {
    fn new(settings: &[(&str, String)], sasl: Option<SaslSettings>) -> Self {
        let mut config = Config::default();
        for (key, value) in settings {
            config.set(key, value).unwrap();
        }
        let config = Arc::new(config.check().unwrap());
        let mut cluster = Cluster::new(ClusterSettings { nodes: 3, sasl, ..Default::default() });
        (1..=3).for_each(|node| cluster.set_port(node, u16::try_from(node).unwrap()));
        cluster.create_topic("t", 1, TopicSettings::default()).unwrap();
        let mut driver = TestDriver::new(config, Arc::new(NoCallbacks)).unwrap();
        driver.handle(Input::Signal(Signal::Wanted { topic: "t".into(), partitions: 0 }));
        Self {
            driver,
            cluster,
            connections: BTreeMap::new(),
            coming: Vec::new(),
            latency: ms(2),
            is_private: true,
            tamper: None,
            closes: 0,
            unanswerable: 0,
            connects: 0,
            proposals: 0,
            refused: Vec::new(),
        }
    }

    /// The core without a token, and a cluster that takes tokens.
    fn with_tokens() -> Self {
        let mut offered = sasl();
        offered.mechanisms.push("OAUTHBEARER".to_owned());
        let mut config = settings("OAUTHBEARER", "");
        config.truncate(3);
        Self::new(&config, Some(offered))
    }

    /// Gives the core a new token of alice, which lasts for this long.
    fn set_token(&mut self, seconds: u64) {
        let ends_ms = self.driver.clock.wall_ms() + i64::try_from(seconds * 1000).unwrap();
        let claims = format!(r#"{{"sub":"alice","exp":{}}}"#, ends_ms as f64 / 1000.0);
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let value = format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(&claims));
        let expires_at = self.driver.now() + Duration::from_secs(seconds);
        let token = Token { value: value.as_str().into(), expires_at: std::time::UNIX_EPOCH, extensions: Vec::new() };
        self.driver.set_credentials(Credentials::Bearer(token), Some(expires_at));
    }

    /// Lets time pass.
    fn pass(&mut self, time: Duration) {
        let end = self.driver.now() + time;
        loop {
            self.turn();
            let now = self.driver.now();
            if now >= end {
                return;
            }
            let coming = self.coming.iter().map(|(at, ..)| *at).min();
            let due = self.driver.core.next_timeout(now).into_iter().chain(coming).min().unwrap_or(end);
            self.driver.clock.set(due.clamp(now + Duration::from_micros(1), end));
        }
    }

    fn turn(&mut self) {
        let now = self.driver.now();
        for (_, connection, frame) in self.coming.extract_if(.., |(at, ..)| *at <= now).collect::<Vec<_>>() {
            match frame {
                _ if !self.connections.contains_key(&connection) => {}
                Some(frame) => self.driver.handle(Input::Received { connection, frame }),
                None => {
                    self.closes += 1;
                    self.connections.remove(&connection);
                    let ending = Ending::Closed("it closed the connection");
                    self.driver.handle(Input::Disconnected { connection, ending });
                }
            }
        }
        self.driver.tell();
        while let Some(action) = self.driver.core.poll_action() {
            match self.driver.act(action) {
                Some(Action::Connect { connection, host, .. }) => {
                    self.connects += 1;
                    self.connections.insert(connection, (NodeId(host.port.into()), Session::default()));
                    self.driver.handle(Input::Connected { connection, is_private: self.is_private });
                }
                Some(Action::Disconnect(connection)) => drop(self.connections.remove(&connection)),
                Some(Action::Transmit { connection, correlation_id, chunks }) => {
                    let frame = Bytes::from(chunks.concat()).slice(4..);
                    self.driver.handle(Input::Written { connection, correlation_id });
                    self.serve(connection, &frame);
                }
                Some(Action::Refuse { error, .. }) => self.refused.push(error),
                _ => {}
            }
        }
    }

    fn serve(&mut self, connection: ConnectionId, frame: &Bytes) {
        let Some((node, session)) = self.connections.get_mut(&connection) else { return };
        let now_ms = self.driver.clock.wall_ms();
        let at = self.driver.now() + self.latency;
        self.proposals += usize::from(frame.first_chunk() == Some(&SaslHandshakeRequest::KEY.to_be_bytes()));
        match self.cluster.handle_on(*node, session, frame, now_ms, false) {
            Reply::Send { frame: answer, after, cut } => {
                let mut answer = answer.slice(4..);
                let is_token = frame.first_chunk() == Some(&SaslAuthenticateRequest::KEY.to_be_bytes());
                if let Some(tamper) = self.tamper.filter(|_| is_token) {
                    answer = tamper(answer);
                }
                self.coming.push((at + after, connection, Some(answer)));
                if cut.is_some() {
                    self.coming.push((at + after, connection, None));
                }
            }
            Reply::Close => {
                self.unanswerable += 1;
                self.coming.push((at, connection, None));
            }
            Reply::CloseAfter(time) => self.coming.push((at + time, connection, None)),
            _ => {}
        }
    }

    fn is_known(&self) -> bool {
        self.driver.accumulator.topic("t").is_some()
    }

    fn send(&self) -> Delivery {
        let record = NewRecord { timestamp: 1, value: Some(b"v"), ..Default::default() };
        let mut placed = Placed::new(Choice::Partition(0), record);
        let topic = self.driver.accumulator.topic("t").expect("the topic is known");
        self.driver.accumulator.append(&topic, &mut placed, &mut Delivery::new).unwrap()
    }

    /// Sends a record every 100 ms for this long. Each must be written, in order, after its first attempt.
    fn send_for(&mut self, time: Duration) -> usize {
        let end = self.driver.now() + time;
        let mut deliveries = Vec::new();
        while self.driver.now() < end {
            deliveries.push(self.send());
            self.pass(ms(100));
        }
        self.pass(ms(1000));
        let first = self.cluster.end_offset("t", 0).unwrap() - i64::try_from(deliveries.len()).unwrap();
        for (delivery, offset) in deliveries.iter().zip(first..) {
            assert_eq!(fate(delivery), Fate::At(offset));
        }
        deliveries.len()
    }

    /// Returns who authenticated, and whether again on the same connection.
    fn logins(&self) -> Vec<(Option<String>, bool)> {
        self.cluster.logins().map(|login| (login.principal.clone(), login.is_again)).collect()
    }

    #[track_caller]
    fn verdict(&self) -> (ErrorKind, String) {
        let error = self.driver.core.verdict().expect("calls fail at once");
        (error.kind(), format!("{error:#}"))
    }
}

#[test]
fn every_mechanism_delivers() {
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let mut rig = Secured::new(&settings(mechanism, "alice-secret"), Some(sasl()));
        rig.pass(ms(1000));
        assert_eq!(rig.send_for(ms(300)), 3, "{mechanism}");
        assert_eq!((rig.closes, rig.driver.core.verdict().is_none()), (0, true), "{mechanism}");
        assert!(rig.logins().iter().all(|(principal, is_again)| principal.as_deref() == Some("alice") && !is_again));
    }
}

#[test]
fn tokens_deliver_and_are_renewed_before_their_session_ends() {
    let mut rig = Secured::with_tokens();
    rig.pass(ms(100));
    assert!(!rig.is_known(), "nothing connects without a token");
    assert_eq!(rig.connects, 0);
    rig.set_token(20);
    rig.pass(ms(100));
    for _ in 0..5 {
        rig.send_for(Duration::from_secs(10));
        rig.set_token(20);
    }
    assert_eq!(rig.closes, 0, "no session ended");
    assert!(rig.logins().iter().any(|(_, is_again)| *is_again));
}

#[test]
fn session_that_ends_with_its_token_is_renewed_with_the_next_one() {
    let mut rig = Secured::with_tokens();
    rig.latency = ms(20);
    rig.set_token(40);
    rig.pass(ms(500));
    rig.send_for(ms(100));
    let count = rig.proposals;
    rig.driver.drops_fetches = true;
    rig.pass(ms(38_000));
    assert_eq!(rig.proposals, count);
    rig.set_token(40);
    rig.pass(ms(1000));
    assert_eq!((rig.proposals, rig.closes), (2 * count, 0));
}

/// The sessions of four connections wait for the same token, which comes 1.5 s before they end.
#[test]
fn sessions_that_waited_for_a_token_are_renewed_one_after_another() {
    for is_one_silent in [false, true] {
        let mut rig = Secured::with_tokens();
        rig.latency = ms(20);
        rig.driver.drops_fetches = true;
        rig.set_token(40);
        rig.pass(ms(500));
        for leader in 1..=3 {
            rig.cluster.move_leader("t", 0, leader).unwrap();
            rig.send_for(ms(100));
        }
        let start = rig.logins().len();
        assert_eq!((rig.connections.len(), start), (4, 4), "one to a bootstrap server, three to leaders");
        let begun_ms = rig.cluster.logins().next().unwrap().at_ms;
        let age = rig.driver.clock.wall_ms() - begun_ms;
        rig.pass(ms(38_500 - u64::try_from(age).unwrap()));
        assert_eq!(rig.proposals, 4, "nothing is renewed without a new token");
        if is_one_silent {
            rig.cluster.add_fault(Fault::new("SaslHandshake", FaultKind::Silence));
        }
        let asked_ms = rig.driver.clock.wall_ms();
        rig.set_token(40);
        rig.pass(ms(1400));
        let renewed: Vec<i64> = rig.cluster.logins().skip(start).map(|login| login.at_ms - asked_ms).collect();
        assert!(rig.logins()[start..].iter().all(|login| *login == (Some("alice".to_owned()), true)));
        match is_one_silent {
            // Two answers of the broker lie between them.
            false => {
                assert!(renewed.len() == 4 && renewed.windows(2).all(|pair| pair[1] - pair[0] >= 40), "{renewed:?}")
            }
            // The others wait for half of the time that they have left.
            true => assert!(renewed.len() == 3 && renewed.iter().all(|at| (700..900).contains(at)), "{renewed:?}"),
        }
        assert_eq!((rig.closes, rig.connections.len()), (0, 4));
    }
}

#[test]
fn wrong_password_is_tried_at_most_eight_times_in_15_minutes() {
    for mechanism in ["PLAIN", "SCRAM-SHA-512"] {
        let mut rig = Secured::new(&settings(mechanism, "wrong"), Some(sasl()));
        rig.pass(Duration::from_secs(15 * 60));
        let logins = rig.logins();
        assert!((4..=8).contains(&logins.len()), "{mechanism}: {} attempts", logins.len());
        let (kind, text) = rig.verdict();
        assert_eq!(kind, ErrorKind::Authentication);
        assert!(text.starts_with(&format!("{mechanism} for user alice: SASL_AUTHENTICATION_FAILED (58)")), "{text}");
        // The right password works at once.
        rig.driver.set_credentials(credentials(mechanism, "alice", "alice-secret"), None);
        rig.pass(ms(1500));
        assert!(rig.is_known() && rig.driver.core.verdict().is_none());
    }
}

#[test]
fn refusal_also_stops_connections_that_were_begun_before_it() {
    // With slow servers, a second one is tried before the first has refused.
    for latency in [600, 800, 1000] {
        let mut config = settings("PLAIN", "wrong");
        config.push(("socket.connection.setup.timeout.ms", "10000".to_owned()));
        let mut rig = Secured::new(&config, Some(sasl()));
        rig.latency = ms(latency);
        rig.pass(Duration::from_secs(60));
        let times: Vec<i64> = rig.cluster.logins().map(|login| login.at_ms).collect();
        for (refusals, pair) in times.windows(2).enumerate() {
            let wait_ms = [1000, 5000, 30_000][refusals.min(2)];
            assert!(pair[1] - pair[0] >= wait_ms, "latency {latency}: {times:?}");
        }
        assert!(times.len() >= 3, "{times:?}");
    }
}

fn credentials(mechanism: &str, username: &str, password: &str) -> Credentials {
    let (username, password) = (username.to_owned(), password.into());
    match mechanism {
        "PLAIN" => Credentials::Plain { username, password },
        _ => Credentials::Scram {
            mechanism: kurier_security::ScramMechanism::Sha512,
            username,
            password,
            is_delegation_token: false,
        },
    }
}

#[test]
fn second_refusal_fails_waiting_calls() {
    let mut rig = Secured::new(&settings("PLAIN", "wrong"), Some(sasl()));
    rig.pass(ms(900));
    assert!(rig.driver.core.verdict().is_none(), "one refusal may be a broker that is behind");
    rig.pass(ms(1100));
    assert_eq!(rig.verdict().0, ErrorKind::Authentication);
    assert_eq!(rig.logins().len(), 2);
}

#[test]
fn sessions_are_renewed_on_the_same_connection() {
    let limited = SaslSettings { max_reauth: Some(Duration::from_secs(10)), ..sasl() };
    for mechanism in ["PLAIN", "SCRAM-SHA-256"] {
        let mut rig = Secured::new(&settings(mechanism, "alice-secret"), Some(limited.clone()));
        rig.latency = ms(30);
        rig.pass(ms(1000));
        rig.send_for(ms(100));
        let connects = rig.connects;
        rig.send_for(Duration::from_secs(60));
        assert_eq!((rig.closes, rig.connects), (0, connects), "{mechanism}");
        let again = rig.logins().iter().filter(|(_, is_again)| *is_again).count();
        assert!(again >= 5, "{mechanism}: {again}");
    }
}

#[test]
fn renewals_do_not_keep_an_idle_connection_open() {
    let limited = SaslSettings { max_reauth: Some(Duration::from_secs(4)), ..sasl() };
    let mut config = settings("PLAIN", "alice-secret");
    config.push(("connections.max.idle.ms", "10000".to_owned()));
    let mut rig = Secured::new(&config, Some(limited));
    rig.pass(ms(500));
    rig.send_for(ms(100));
    rig.pass(Duration::from_secs(11));
    assert!(rig.logins().contains(&(Some("alice".to_owned()), true)), "a session was renewed");
    assert_eq!((rig.connections.len(), rig.closes), (0, 0));
}

#[test]
fn sessions_too_short_for_that_get_a_new_connection() {
    for lifetime_ms in [1000, 2000, 2900] {
        let limited = SaslSettings { max_reauth: Some(ms(lifetime_ms)), ..sasl() };
        let mut rig = Secured::new(&settings("PLAIN", "alice-secret"), Some(limited));
        rig.pass(ms(500));
        rig.send_for(Duration::from_secs(20));
        assert_eq!(rig.closes, 0);
        assert!(rig.logins().iter().all(|(_, is_again)| !is_again));
        assert!(rig.logins().len() >= 7, "{:?}", rig.logins());
    }
}

#[test]
fn nothing_is_sent_after_the_end_of_a_session() {
    let limited = SaslSettings { max_reauth: Some(Duration::from_secs(10)), ..sasl() };
    let mut rig = Secured::new(&settings("PLAIN", "alice-secret"), Some(limited));
    rig.pass(ms(500));
    rig.send_for(ms(300));
    // The machine sleeps, and a sender asks for a topic before any timer has run.
    rig.driver.clock.set(rig.driver.now() + Duration::from_secs(20));
    rig.driver.handle(Input::Signal(Signal::Wanted { topic: "u".into(), partitions: 0 }));
    rig.pass(ms(1000));
    assert_eq!(rig.unanswerable, 0);
    assert!(rig.driver.accumulator.topic("u").is_some());
}

#[test]
fn another_user_gets_new_connections_and_loses_no_record() {
    let mut rig = Secured::new(&settings("PLAIN", "alice-secret"), Some(sasl()));
    rig.pass(ms(500));
    rig.send_for(ms(500));
    let last = rig.send();
    rig.driver.set_credentials(credentials("PLAIN", "bob", "bob-secret"), None);
    rig.pass(ms(500));
    assert!(matches!(fate(&last), Fate::At(_)));
    rig.send_for(ms(500));
    assert_eq!(rig.closes, 0);
    assert_eq!(rig.logins().last(), Some(&(Some("bob".to_owned()), false)));
}

#[test]
fn user_who_changes_during_the_exchange_gets_another_connection() {
    let limited = SaslSettings { max_reauth: Some(Duration::from_secs(10)), ..sasl() };
    let mut rig = Secured::new(&settings("PLAIN", "alice-secret"), Some(limited));
    rig.latency = ms(50);
    rig.pass(ms(175));
    assert_eq!(rig.logins().len(), 1);
    rig.driver.set_credentials(credentials("PLAIN", "bob", "bob-secret"), None);
    rig.pass(ms(1000));
    rig.send_for(Duration::from_secs(20));
    assert_eq!(rig.logins().iter().filter(|(principal, _)| principal.as_deref() == Some("alice")).count(), 1);
    assert!(rig.logins().iter().all(|(principal, _)| principal.is_some()), "{:?}", rig.logins());
}

#[test]
fn changed_password_is_used_at_the_next_authentication() {
    let limited = SaslSettings { max_reauth: Some(Duration::from_secs(10)), ..sasl() };
    let mut rig = Secured::new(&settings("SCRAM-SHA-512", "alice-secret"), Some(limited));
    rig.pass(ms(500));
    rig.send_for(ms(100));
    let connects = rig.connects;
    rig.cluster.set_password("alice", Some("new"));
    rig.driver.set_credentials(credentials("SCRAM-SHA-512", "alice", "new"), None);
    rig.send_for(Duration::from_secs(30));
    assert_eq!((rig.closes, rig.connects), (0, connects));
    assert!(rig.logins().iter().all(|(principal, _)| principal.is_some()), "no attempt failed");
}

#[test]
fn refusal_of_old_credentials_does_not_delay_new_ones() {
    let mut rig = Secured::new(&settings("PLAIN", "old"), Some(sasl()));
    rig.latency = ms(50);
    // ApiVersions twice, SaslHandshake, and half of SaslAuthenticate.
    rig.pass(ms(175));
    assert_eq!(rig.logins(), [(None, false)]);
    rig.driver.set_credentials(credentials("PLAIN", "alice", "alice-secret"), None);
    rig.pass(ms(900));
    assert!(rig.is_known());
    assert_eq!(rig.logins()[1..].iter().filter(|(principal, _)| principal.is_none()).count(), 0);
}

#[test]
fn refused_renewal_is_followed_by_a_new_connection() {
    let limited = SaslSettings { max_reauth: Some(Duration::from_secs(10)), ..sasl() };
    let mut rig = Secured::new(&settings("PLAIN", "alice-secret"), Some(limited));
    rig.pass(ms(500));
    rig.cluster.set_password("alice", Some("new"));
    rig.pass(Duration::from_secs(20));
    assert!(rig.logins().contains(&(None, true)), "the renewal was refused");
    rig.driver.set_credentials(credentials("PLAIN", "alice", "new"), None);
    rig.pass(ms(1000));
    rig.send_for(ms(500));
}

#[test]
fn refused_renewal_stops_the_renewal_of_other_sessions() {
    let limited = SaslSettings { max_reauth: Some(Duration::from_secs(60)), ..sasl() };
    let mut rig = Secured::new(&settings("PLAIN", "alice-secret"), Some(limited));
    rig.pass(ms(500));
    rig.send_for(ms(500));
    assert!(rig.logins().len() > 1, "several connections");
    rig.cluster.set_password("alice", Some("new"));
    rig.pass(Duration::from_secs(60));
    let count = |rig: &Secured, login| rig.logins().iter().filter(|other| **other == login).count();
    assert_eq!(count(&rig, (None, true)), 1);
    // The old password is right again: a new connection finds out, and then sessions are renewed.
    rig.cluster.set_password("alice", Some("alice-secret"));
    rig.pass(Duration::from_secs(120));
    assert_eq!(count(&rig, (None, true)), 1);
    rig.send_for(ms(500));
}

#[test]
fn renewal_that_comes_too_early_for_the_broker_fails_no_call() {
    let limited = SaslSettings { max_reauth: Some(Duration::from_secs(10)), ..sasl() };
    let mut rig = Secured::new(&settings("PLAIN", "alice-secret"), Some(limited));
    rig.pass(ms(500));
    rig.send_for(ms(100));
    rig.cluster.add_fault(Fault::new("SaslHandshake", FaultKind::Error(ErrorCode::ILLEGAL_SASL_STATE)));
    for _ in 0..20 {
        rig.send_for(ms(100));
        assert!(rig.driver.core.verdict().is_none());
    }
}

#[test]
fn source_is_asked_again_after_a_refused_renewal() {
    let limited = SaslSettings { max_reauth: Some(Duration::from_secs(10)), ..sasl() };
    let mut rig = Secured::new(&settings("SCRAM-SHA-512", "alice-secret"), Some(limited));
    rig.pass(ms(500));
    rig.send_for(ms(500));
    rig.cluster.set_password("alice", Some("new"));
    rig.driver.set_source(credentials("SCRAM-SHA-512", "alice", "new"));
    rig.send_for(Duration::from_secs(20));
    let refused: Vec<_> = rig.logins().into_iter().filter(|(principal, _)| principal.is_none()).collect();
    assert!(!refused.is_empty() && refused.iter().all(|(_, is_again)| *is_again), "only renewals: {refused:?}");
}

#[test]
fn configuration_that_the_broker_does_not_share_fails_calls_at_once() {
    let only_plain = SaslSettings { mechanisms: vec!["PLAIN".to_owned(), "SCRAM-SHA-512".to_owned()], ..sasl() };
    let cases = [
        (Some(only_plain), "the broker offers PLAIN, SCRAM-SHA-512, not SCRAM-SHA-256: set sasl.mechanism"),
        (None, "this listener does not use SASL: set security.protocol to PLAINTEXT or SSL"),
    ];
    for (offered, text) in cases {
        let mut rig = Secured::new(&settings("SCRAM-SHA-256", "alice-secret"), offered);
        rig.pass(ms(500));
        let (kind, said) = rig.verdict();
        assert_eq!(kind, ErrorKind::Authentication);
        assert!(said.starts_with(text), "{said}");
        assert!((1..=3).contains(&rig.proposals), "{} attempts at three servers", rig.proposals);
        // Each server waits for 1 s, then for twice as long, up to 30 s, and for up to a fifth less.
        rig.pass(Duration::from_secs(15 * 60));
        assert!((60..=3 * 45).contains(&rig.proposals), "{} attempts", rig.proposals);
    }
}

/// The broker closes each connection some time after the first request, as Kafka does.
#[test]
fn listener_that_requires_sasl_is_named_at_any_time() {
    let mut rig = Secured::new(&[("bootstrap.servers", "127.0.0.1:1".to_owned())], Some(sasl()));
    rig.latency = ms(100);
    rig.pass(ms(500));
    for _ in 0..100 {
        rig.pass(ms(10));
        let said = rig.driver.core.obstacles().unwrap_or_default();
        assert!(said.contains("does this listener require SASL?"), "{said}");
    }
}

#[test]
fn password_does_not_leave_the_machine_in_the_clear() {
    let mut rig = Secured::new(&settings("PLAIN", "alice-secret"), Some(sasl()));
    rig.is_private = false;
    rig.pass(ms(500));
    let (kind, text) = rig.verdict();
    assert_eq!(kind, ErrorKind::Configuration);
    assert!(text.starts_with("PLAIN would send the password unencrypted to 127.0.0.1:"), "{text}");
    assert!(rig.logins().is_empty());

    for extra in [("sasl.mechanism", "SCRAM-SHA-256"), ("kurier.sasl.allow.cleartext", "true")] {
        let mut config = settings("PLAIN", "alice-secret");
        config.push((extra.0, extra.1.to_owned()));
        let mut rig = Secured::new(&config, Some(sasl()));
        rig.is_private = false;
        rig.pass(ms(500));
        assert!(rig.is_known(), "{extra:?}");
    }
}

#[test]
fn impostor_never_becomes_ready() {
    // Each changes an answer to SaslAuthenticate: code 0 at once, without or with another signature.
    let tampers: [fn(Bytes) -> Bytes; 3] = [
        |answer| {
            let mut answer = answer.to_vec();
            if let Some(at) = answer.windows(2).position(|bytes| bytes == b"v=") {
                answer[at + 2] = if answer[at + 2] == b'A' { b'B' } else { b'A' };
            }
            answer.into()
        },
        |answer| {
            // Correlation id, empty tags, no error, no text, no token, no lifetime, empty tags.
            let mut forged = answer[..4].to_vec();
            forged.extend([0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            forged.into()
        },
        |answer| answer.slice(..answer.len() - 1),
    ];
    for (at, tamper) in tampers.into_iter().enumerate() {
        let mut rig = Secured::new(&settings("SCRAM-SHA-256", "alice-secret"), Some(sasl()));
        rig.tamper = Some(tamper);
        rig.pass(Duration::from_secs(30));
        assert!(!rig.is_known(), "case {at}");
        let obstacle = rig.driver.core.obstacles().unwrap();
        assert!(obstacle.contains("prove") || obstacle.contains("rules") || obstacle.contains("read"), "{obstacle}");
    }
}

#[test]
fn new_certificates_replace_connections_and_lose_no_record() {
    let mut rig = Secured::new(&settings("PLAIN", "alice-secret"), Some(sasl()));
    rig.pass(ms(500));
    rig.send_for(ms(300));
    let connects = rig.connects;
    for _ in 0..5 {
        let before = rig.send();
        rig.driver.handle(Input::TlsChanged);
        let after = rig.send();
        rig.pass(ms(300));
        assert!(matches!((fate(&before), fate(&after)), (Fate::At(_), Fate::At(_))));
    }
    assert!(rig.connects >= connects + 5);
    assert_eq!(rig.closes, 0);
}

#[test]
fn untrusted_certificate_of_every_bootstrap_server_fails_calls() {
    let mut rig = Secured::new(&settings("PLAIN", "alice-secret"), Some(sasl()));
    let error = || Error::new(ErrorKind::Authentication, "the broker's certificate expired 3 d ago");
    for seeds in 1..=3 {
        assert!(rig.driver.core.verdict().is_none());
        rig.driver.tell();
        let mut connection = None;
        while let Some(action) = rig.driver.core.poll_action() {
            if let Some(Action::Connect { connection: next, .. }) = rig.driver.act(action) {
                connection = Some(next);
            }
        }
        let connection = connection.unwrap_or_else(|| panic!("server {seeds} is not tried"));
        rig.driver.handle(Input::Disconnected { connection, ending: Ending::Untrusted(error()) });
    }
    assert_eq!(rig.verdict(), (ErrorKind::Authentication, "the broker's certificate expired 3 d ago".to_owned()));
    // New certificates end the wait.
    rig.driver.handle(Input::TlsChanged);
    assert!(rig.driver.core.verdict().is_none());
    rig.pass(ms(100));
    assert!(rig.is_known());
}

#[test]
fn one_broker_with_another_configuration_fails_no_call() {
    let mut rig = Secured::new(&settings("SCRAM-SHA-256", "alice-secret"), Some(sasl()));
    rig.pass(ms(500));
    rig.send_for(ms(100));
    // The next connection meets a node without SASL.
    rig.cluster.add_fault(Fault::new("SaslHandshake", FaultKind::Error(ErrorCode::ILLEGAL_SASL_STATE)).times(9));
    rig.driver.handle(Input::Signal(Signal::Wanted { topic: "other".into(), partitions: 0 }));
    rig.cluster.move_leader("t", 0, 2).unwrap();
    let _waits = rig.send();
    rig.pass(ms(500));
    assert!(rig.driver.core.verdict().is_none(), "another node is ready");
}

#[test]
fn lost_job_ends_a_renewal() {
    let limited = SaslSettings { max_reauth: Some(Duration::from_secs(3600)), ..sasl() };
    let mut rig = Secured::new(&settings("SCRAM-SHA-256", "alice-secret"), Some(limited));
    rig.pass(ms(500));
    rig.send_for(ms(100));
    rig.driver.drops_jobs = true;
    // The renewal begins after 51 to 57 minutes; nothing is sent meanwhile but a record a minute.
    for _ in 0..58 {
        drop(rig.send());
        rig.pass(Duration::from_secs(60));
    }
    rig.driver.drops_jobs = false;
    rig.pass(Duration::from_secs(60));
    rig.send_for(ms(100));
}
