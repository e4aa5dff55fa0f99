//! Fuzz target: the core with SASL, against nodes whose answers a script of bytes keeps, changes or invents.
//!
//! A cluster in memory gives true answers. No connection carries a request before its node has proved itself, nothing
//! follows SaslHandshake until the exchange has ended, and in the end every record has an outcome.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::time::Duration;

use bytes::Bytes;
use kurier_broker::{Cluster, ClusterSettings, Reply, SaslSettings, Session, TopicSettings};
use kurier_protocol::messages::{
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kurier_protocol::{ErrorCode, Message, NodeId, RequestHeader, Secret, read_response, write_response};
use kurier_security::{Credentials, ScramMechanism};

use super::sasl::conversation::Conversation;
use super::script::Script;
use super::stage::{Play, Stage, TOPIC};
use kurier_engine::accumulator::Clock;
use kurier_engine::config::Config;
use kurier_engine::core::{Action, ConnectionId, Ending, Input};

const NODE: NodeId = NodeId(1);
/// The longest token that a node makes up.
const TOKEN_BYTES_MAX: u8 = 60;
/// Each job computes thousands of hashes. Further jobs never finish.
const JOBS_MAX: usize = 1;

/// A request that awaits its response.
struct Asked {
    header: RequestHeader,
    frame: Bytes,
}

/// A connection, from both sides.
struct Line {
    is_connected: bool,
    session: Session,
    talk: Conversation,
    asked: VecDeque<Asked>,
    /// The SCRAM signature in the cluster's last answer, if it has one.
    signature: Option<Bytes>,
}

struct Talks<'a> {
    stage: Stage<'a>,
    cluster: Cluster,
    is_scram: bool,
    user: &'static str,
    lines: BTreeMap<ConnectionId, Line>,
    jobs: usize,
}

/// Runs the core with SASL against nodes that answer as `data` decides.
///
/// # Panics
/// If the core panics, breaks a rule of SASL, leaves a record without an outcome, or keeps memory in the end.
pub fn converse(data: &[u8]) {
    let mut script = Script::new(data);
    let is_scram = script.below(4) == 0;
    let lifetime = Duration::from_millis(u64::from(script.byte()) * 100);
    let mut config = Config::default();
    for (key, value) in [
        ("bootstrap.servers", "127.0.0.1:9092"),
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", if is_scram { "SCRAM-SHA-256" } else { "PLAIN" }),
        ("sasl.username", "alice"),
        ("sasl.password", "alice-secret"),
    ] {
        config.set(key, value).expect("the setting exists");
    }
    config.linger = Duration::ZERO;
    let Some(stage) = Stage::new(script, config) else { return };
    let sasl = SaslSettings { max_reauth: Some(lifetime).filter(|time| !time.is_zero()), ..SaslSettings::default() };
    let sasl = Some(sasl.user("alice", "alice-secret").user("bob", "bob-secret"));
    let mut cluster = Cluster::new(ClusterSettings { sasl, ..ClusterSettings::default() });
    cluster.set_port(NODE, 9092);
    cluster.create_topic(TOPIC, 2, TopicSettings::default()).expect("there is none of this name");
    Talks { stage, cluster, is_scram, user: "alice", lines: BTreeMap::new(), jobs: 0 }.run();
}

impl<'a> Play<'a> for Talks<'a> {
    const STEPS_MAX: usize = 120;
    const WAKE_UPS_MAX: usize = 500;

    fn stage(&mut self) -> &mut Stage<'a> {
        &mut self.stage
    }

    fn turn(&mut self) {
        self.stage.driver.tell();
        while let Some(action) = self.stage.driver.core.poll_action() {
            if matches!(action, Action::Compute { .. }) {
                self.jobs += 1;
                if self.jobs > JOBS_MAX {
                    continue;
                }
            }
            match self.stage.driver.act(action) {
                Some(Action::Connect { connection, .. }) => {
                    let line = Line {
                        is_connected: false,
                        session: Session::default(),
                        talk: Conversation::new(),
                        asked: VecDeque::new(),
                        signature: None,
                    };
                    self.lines.insert(connection, line);
                }
                Some(Action::Disconnect(connection)) => drop(self.lines.remove(&connection)),
                Some(Action::FrameLimit { connection, bytes }) => {
                    let Some(line) = self.lines.get_mut(&connection) else { continue };
                    assert!(line.talk.is_proven, "{connection:?} is ready without a proof");
                    line.talk.limit_bytes = bytes;
                }
                Some(Action::Transmit { connection, correlation_id, chunks }) => {
                    self.take_request(connection, &chunks.concat());
                    self.stage.driver.handle(Input::Written { connection, correlation_id });
                }
                _ => {}
            }
        }
    }

    fn step(&mut self) {
        match self.stage.script.below(12) {
            0..6 => self.answer(),
            6 => self.connect(),
            7 => self.stage.send(b"v", |_| 0),
            8 => {
                let Some(connection) = self.any() else { return };
                let ending = match self.stage.script.mostly() {
                    true => Ending::Closed("it closed the connection"),
                    false => Ending::Failed("cut".into()),
                };
                self.lines.remove(&connection);
                self.stage.driver.handle(Input::Disconnected { connection, ending });
            }
            9 => self.change(),
            10 => self.wait(Duration::from_millis),
            _ => self.wait(Duration::from_secs),
        }
    }

    fn cut_all(&mut self) -> Vec<ConnectionId> {
        mem::take(&mut self.lines).into_keys().collect()
    }
}

impl Talks<'_> {
    /// Returns one of the connections.
    fn any(&mut self) -> Option<ConnectionId> {
        let at = usize::from(self.stage.script.byte()).checked_rem(self.lines.len())?;
        self.lines.keys().nth(at).copied()
    }

    fn connect(&mut self) {
        let waiting = self.lines.iter_mut().find(|(_, line)| !line.is_connected);
        let Some((connection, line)) = waiting else { return };
        line.is_connected = true;
        let connection = *connection;
        self.stage.driver.handle(Input::Connected { connection, is_private: true });
    }

    /// Changes credentials or certificates.
    fn change(&mut self) {
        self.turn();
        let (user, password) = match self.stage.script.below(4) {
            0 => ("alice", "alice-secret"),
            1 => ("alice", "wrong"),
            2 => ("bob", "bob-secret"),
            _ => {
                self.lines.values_mut().for_each(|line| line.talk.is_retiring = Some("other certificates"));
                return self.stage.driver.handle(Input::TlsChanged);
            }
        };
        self.user = user;
        self.retire_others();
        let (username, password) = (user.to_owned(), password.into());
        let credentials = match self.is_scram {
            true => {
                Credentials::Scram { mechanism: ScramMechanism::Sha256, username, password, is_delegation_token: false }
            }
            false => Credentials::Plain { username, password },
        };
        self.stage.driver.set_credentials(credentials, None);
    }

    fn retire_others(&mut self) {
        for line in self.lines.values_mut().filter(|line| line.talk.is_proven && line.talk.user != self.user) {
            line.talk.is_retiring = Some("another user");
        }
    }

    fn take_request(&mut self, connection: ConnectionId, frame: &[u8]) {
        let frame = Bytes::copy_from_slice(frame).slice(4..);
        let (header, _) = RequestHeader::read(&frame).expect("the core writes requests");
        let now = self.stage.driver.now();
        let Some(line) = self.lines.get_mut(&connection) else { return };
        if let Err(violation) = line.talk.check(header.api_key, self.user, now) {
            panic!("{connection:?}: {violation}");
        }
        match header.api_key {
            SaslHandshakeRequest::KEY => {
                line.signature = None;
                line.talk.begin(self.user, 0, false, now);
            }
            SaslAuthenticateRequest::KEY => line.talk.is_waiting = true,
            _ => {}
        }
        line.asked.push_back(Asked { header, frame });
    }

    /// Answers the oldest request of a connection: with the cluster's answer, a changed one, or an invented one.
    fn answer(&mut self) {
        let (connection, kind) = (self.any(), self.stage.script.byte());
        let Some(connection) = connection else { return };
        let now_ms = self.stage.driver.clock.wall_ms();
        let Some(line) = self.lines.get_mut(&connection) else { return };
        let Some(Asked { header, frame }) = line.asked.pop_front() else { return };
        let (true_answer, closes) = match self.cluster.handle_on(NODE, &mut line.session, &frame, now_ms, true) {
            Reply::Send { frame, cut, .. } => (frame.slice(4..), cut.is_some()),
            _ => (Bytes::new(), true),
        };
        if header.api_key == SaslAuthenticateRequest::KEY
            && let Ok((_, response)) = read_response::<SaslAuthenticateRequest>(&true_answer, header.api_version)
        {
            line.signature = Some(response.auth_bytes.reveal().clone()).filter(|token| token.starts_with(b"v="));
        }
        let answer = match kind {
            0..0xa0 => true_answer,
            0xa0..0xc0 => self.altered(&true_answer),
            _ => self.invented(&header),
        };
        if answer.is_empty() {
            self.lines.remove(&connection);
            let ending = Ending::Closed("it closed the connection");
            return self.stage.driver.handle(Input::Disconnected { connection, ending });
        }
        self.turn();
        self.understand(connection, &header, &answer);
        self.stage.driver.handle(Input::Received { connection, frame: answer });
        self.turn();
        if closes && self.lines.remove(&connection).is_some() {
            let ending = Ending::Closed("it closed the connection");
            self.stage.driver.handle(Input::Disconnected { connection, ending });
        }
    }

    /// Changes one byte of an answer.
    fn altered(&mut self, answer: &Bytes) -> Bytes {
        let mut bytes = answer.to_vec();
        let (at, to) = (usize::from(self.stage.script.byte()), self.stage.script.byte());
        let len = bytes.len();
        if let Some(byte) = at.checked_rem(len).and_then(|at| bytes.get_mut(at)) {
            *byte = to;
        }
        bytes.into()
    }

    /// Makes up an answer.
    fn invented(&mut self, header: &RequestHeader) -> Bytes {
        let script = &mut self.stage.script;
        let mut frame = Vec::new();
        let written = match header.api_key {
            SaslHandshakeRequest::KEY => {
                let response =
                    SaslHandshakeResponse { error_code: script.code(), mechanisms: vec!["PLAIN".to_owned()] };
                write_response(&response, header.api_version, header.correlation_id, &mut frame)
            }
            SaslAuthenticateRequest::KEY => {
                let error_code = match script.below(4) {
                    0 => ErrorCode::SASL_AUTHENTICATION_FAILED,
                    1 => ErrorCode(script.int16()),
                    _ => ErrorCode::NONE,
                };
                let response = SaslAuthenticateResponse {
                    error_code,
                    error_message: script.mostly().then(|| script.host()),
                    auth_bytes: Secret::from(&token(script)[..]),
                    session_lifetime_ms: script.number(),
                };
                write_response(&response, header.api_version, header.correlation_id, &mut frame)
            }
            _ => {
                frame.extend([0; 4]);
                frame.extend(header.correlation_id.0.to_be_bytes());
                frame.extend(token(script));
                Ok(())
            }
        };
        match written {
            Ok(()) => Bytes::from(frame).slice(4..),
            Err(_) => Bytes::new(),
        }
    }

    /// Notes whether an answer proves that the node knows the password. With PLAIN, success counts as the proof.
    fn understand(&mut self, connection: ConnectionId, header: &RequestHeader, answer: &Bytes) {
        let Some(line) = self.lines.get_mut(&connection) else { return };
        if !matches!(header.api_key, SaslHandshakeRequest::KEY | SaslAuthenticateRequest::KEY) {
            return;
        }
        line.talk.is_waiting = false;
        let Ok((read, response)) = read_response::<SaslAuthenticateRequest>(answer, header.api_version) else { return };
        let is_signed = match self.is_scram {
            true => line.signature.as_ref().is_some_and(|signature| signature == response.auth_bytes.reveal()),
            false => true,
        };
        let is_answer = header.api_key == SaslAuthenticateRequest::KEY && read == header.correlation_id;
        if is_answer && response.error_code.is_none() && is_signed {
            line.talk.prove(response.session_lifetime_ms);
            self.retire_others();
        }
    }
}

/// Returns a node's token: a plausible one, or random bytes.
fn token(script: &mut Script<'_>) -> Vec<u8> {
    match script.below(4) {
        0 => b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".to_vec(),
        1 => b"r=x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".to_vec(),
        2 => Vec::new(),
        _ => (0..script.below(TOKEN_BYTES_MAX)).map(|_| script.byte()).collect(),
    }
}
