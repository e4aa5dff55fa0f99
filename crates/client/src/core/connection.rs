//! Connections: to whom they go, how far each has come, and what is unanswered on it.
//!
//! ```text
//!            want                connected             versions agreed
//!   Idle ──────────▶ Connecting ───────────▶ Negotiating ───────────▶ Ready
//!    ▲                   │ failed, or too slow    │                     │ lost, timed out, idle
//!    └──── Backoff ◀─────┴────────────────────────┴─────────────────────┘
//! ```
//!
//! A server is a *peer*: one of the bootstrap servers, or a node that metadata named. Requests on a connection are answered
//! in their order; each answer must bear the number of the request that is first in line. When a connection ends, what
//! was unanswered comes back with whether its last byte had been accepted by the kernel: before that, nothing of it can
//! have been executed.
//!
//! [`choice`] finds a peer for what any may answer; [`trouble`] says why a peer cannot be asked. Left to others: which
//! address of a name is tried (the driver), and what requests mean.

mod choice;
mod trouble;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kurier_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use kurier_protocol::{Chunks, EncodeError, ErrorCode, Request, read_response, write_request};

use super::backoff::Backoff;
use super::timer::Timers;
use super::versions::Versions;
use super::{Action, Actions};
use crate::config::{Config, HostPort, Recovery};
use crate::error::printable;
use crate::simulation::Mutant;
pub(crate) use choice::{Errand, Nobody};
use trouble::IS_IT_A_BROKER;

/// A server that may be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Peer {
    /// A node of the cluster.
    Node(i32),
    /// A bootstrap server, by its place in the list.
    Seed(u32),
}

/// Numbers connections; none comes twice, so that what belongs to an old one is told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// A request that is unanswered. `Q` is what was asked.
#[derive(Debug)]
pub(crate) struct Pending<Q> {
    correlation_id: i32,
    pub(crate) version: i16,
    /// `None` is the first request on each connection, for its versions.
    question: Option<Q>,
    deadline: Instant,
    /// Whether the kernel has accepted its last byte.
    is_written: bool,
    has_answer: bool,
}

/// A request that will get no answer, because its connection has ended.
#[derive(Debug)]
pub(crate) struct Unanswered<Q> {
    pub(crate) question: Q,
    /// Whether it may have been executed.
    pub(crate) is_written: bool,
}

/// How a connection ended, for the peer it was made to.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The peer closed it, or reset it.
    #[cfg_attr(all(test, shuttle), expect(dead_code, reason = "models have connections of their own"))]
    Closed(&'static str),
    /// It could not be made, or failed otherwise.
    Failed(String),
}

/// What became of a connection, or of a request on it.
#[derive(Debug)]
pub(crate) enum Event<Q> {
    /// Requests may be sent.
    Ready(Peer),
    /// The last byte of a request was accepted, so that there is room for another.
    Written(Peer),
    /// The last byte of a request without an answer was accepted.
    Sent {
        peer: Peer,
        question: Q,
    },
    Answered {
        peer: Peer,
        version: i16,
        question: Q,
        frame: Bytes,
    },
    /// The connection could not be made, or has ended.
    Lost {
        peer: Peer,
        unanswered: Vec<Unanswered<Q>>,
        why: String,
    },
    /// The connection was ended because nobody needed it.
    Idle(Peer),
    /// A peer that was to be left alone may be sent to again.
    Unmuted(Peer),
    /// A node listens elsewhere, and can be connected to at once.
    Moved(Peer),
    /// The cluster no longer names a node, and nothing connects to it.
    Gone(Peer),
}

#[derive(Debug)]
enum State {
    Idle,
    Backoff { until: Instant },
    Connecting { connection: ConnectionId, since: Instant },
    Negotiating { connection: ConnectionId },
    Ready { connection: ConnectionId, versions: Versions },
}

/// How long a peer may take to become ready, at first and at most; the bounds of what it is asked are the requests'.
#[derive(Clone, Copy, Debug)]
struct Patience {
    setup: Backoff,
    reconnect: Backoff,
    request: Duration,
    idle: Duration,
    /// The longest that a peer is left alone because it asks for it.
    throttle: Duration,
}

#[derive(Debug)]
struct Link<Q> {
    host: HostPort,
    state: State,
    /// How often in a row a connection failed, with the last one that was of use: where nothing is spoken that could be
    /// asked, each becomes ready.
    failures: u32,
    /// How often in a row it did not become ready.
    setup_failures: u32,
    /// How often in a row it broke off when it was asked for its versions.
    negotiations_broken: u32,
    /// The version in which to ask for versions.
    versions_version: i16,
    setup_deadline: Instant,
    pending: VecDeque<Pending<Q>>,
    /// The last requests that were to have no answer, in their order; some brokers give one all the same.
    answerless: VecDeque<i32>,
    muted_until: Option<Instant>,
    used_at: Instant,
    trouble: Option<String>,
    /// Whether a connection to it ever became ready.
    was_ready: bool,
    /// Whether it ever answered more than what it speaks.
    has_answered: bool,
    /// Whether it is left alone because a server of another cluster was found there.
    is_astray: bool,
}

/// The version in which versions are asked for first. Version 5 names the broker that is meant (KIP-1242). Brokers before
/// Kafka 4.4 refuse it and name their highest: that costs one round trip on the first connection to each peer. Java pays it
/// on every connection.
const VERSIONS_VERSION: i16 = 5;

/// So many requests that were to have no answer are remembered: as many as may be on their way in the buffers of both
/// sides when they are small.
const ANSWERLESS_MAX: usize = 4096;

impl<Q> Link<Q> {
    fn connection(&self) -> Option<ConnectionId> {
        match self.state {
            State::Idle | State::Backoff { .. } => None,
            State::Connecting { connection, .. }
            | State::Negotiating { connection }
            | State::Ready { connection, .. } => Some(connection),
        }
    }
}

/// All connections.
#[derive(Debug)]
pub(crate) struct Connections<Q> {
    client_id: String,
    /// Whether nodes check that they are the ones that are meant.
    checks_cluster: bool,
    /// The cluster that nodes are believed to belong to.
    cluster_id: Option<String>,
    patience: Patience,
    links: BTreeMap<Peer, Link<Q>>,
    peers: HashMap<ConnectionId, Peer>,
    timers: Timers<Peer>,
    next_connection: u64,
    next_correlation_id: i32,
    random: fastrand::Rng,
}

impl<Q: fmt::Debug> Connections<Q> {
    pub(crate) fn new(config: &Config, seed: u64, now: Instant) -> Self {
        let patience = Patience {
            setup: Backoff { first: config.connection_setup_timeout, longest: config.connection_setup_timeout_max },
            reconnect: Backoff { first: config.reconnect_backoff, longest: config.reconnect_backoff_max },
            request: config.request_timeout,
            idle: config.connections_max_idle,
            // By then all that waits has its outcome.
            throttle: config.delivery_timeout,
        };
        let mut connections = Self {
            client_id: config.client_id.clone(),
            // As in Java: without recovery nothing could be done about it.
            checks_cluster: config.metadata_cluster_check && config.metadata_recovery == Recovery::Rebootstrap,
            cluster_id: None,
            patience,
            links: BTreeMap::new(),
            peers: HashMap::new(),
            timers: Timers::default(),
            next_connection: 0,
            next_correlation_id: 0,
            random: fastrand::Rng::with_seed(seed),
        };
        for (host, index) in config.bootstrap_servers.iter().zip(0u32..) {
            connections.add(Peer::Seed(index), host.clone(), now);
        }
        connections
    }

    fn add(&mut self, peer: Peer, host: HostPort, now: Instant) {
        let link = Link {
            host,
            state: State::Idle,
            failures: 0,
            setup_failures: 0,
            negotiations_broken: 0,
            versions_version: VERSIONS_VERSION,
            setup_deadline: now,
            pending: VecDeque::new(),
            answerless: VecDeque::new(),
            muted_until: None,
            used_at: now,
            trouble: None,
            was_ready: false,
            has_answered: false,
            is_astray: false,
        };
        self.links.insert(peer, link);
    }

    /// Takes the nodes of the cluster and where they listen. A node that moved is connected to anew; one that is no
    /// longer named is kept while it is of use.
    pub(crate) fn set_nodes(
        &mut self,
        nodes: &BTreeMap<i32, HostPort>,
        cluster_id: Option<&str>,
        now: Instant,
        out: &mut Actions,
    ) -> Vec<Event<Q>> {
        self.cluster_id = cluster_id.map(str::to_owned).filter(|_| self.checks_cluster);
        let mut events = Vec::new();
        for (id, host) in nodes {
            let peer = Peer::Node(*id);
            match self.links.get(&peer) {
                Some(link) if link.host == *host => {}
                Some(_) => {
                    events.extend(self.lose(peer, format!("node {id} has moved to {host}"), now, out));
                    self.timers.set(peer, None);
                    self.add(peer, host.clone(), now);
                    // No connection may have been lost, and still records wait for this node.
                    if !Mutant::MoveWakesNobody.is_on() {
                        events.push(Event::Moved(peer));
                    }
                }
                None => self.add(peer, host.clone(), now),
            }
        }
        let is_stale = |(peer, link): (&Peer, &Link<Q>)| match peer {
            Peer::Node(id) if !nodes.contains_key(id) && link.connection().is_none() => Some(*peer),
            _ => None,
        };
        let stale: Vec<Peer> = self.links.iter().filter_map(is_stale).collect();
        for peer in stale {
            self.links.remove(&peer);
            self.timers.set(peer, None);
            events.push(Event::Gone(peer));
        }
        events
    }

    /// The connections that there are, or are being made.
    #[cfg(any(test, feature = "internal"))]
    pub(crate) fn open(&self) -> impl Iterator<Item = ConnectionId> {
        self.peers.keys().copied()
    }

    /// What is kept of connections that are gone, of peers that there are not, and of questions that are not to be under
    /// way, for people.
    #[cfg(any(test, feature = "internal"))]
    pub(crate) fn leftovers(&self, may_be_asked: impl Fn(&Q) -> bool) -> Vec<String> {
        let belongs = |(connection, peer): &(&ConnectionId, &Peer)| {
            self.links.get(peer).is_some_and(|link| link.connection() == Some(**connection))
        };
        let mut left: Vec<String> =
            self.peers.iter().filter(|known| !belongs(known)).map(|(id, _)| format!("{id:?} of nobody")).collect();
        let timers = self.timers.things().filter(|peer| !self.links.contains_key(peer));
        left.extend(timers.map(|peer| format!("a timer of {peer:?}, which is gone")));
        for (peer, link) in &self.links {
            if link.connection().is_some_and(|connection| !self.peers.contains_key(&connection)) {
                left.push(format!("{peer:?} with a connection that is nobody's"));
            }
            let is_left = |pending: &&Pending<Q>| pending.question.as_ref().is_some_and(|asked| !may_be_asked(asked));
            left.extend(link.pending.iter().filter(is_left).map(|pending| format!("{peer:?} is asked {pending:?}")));
            if link.connection().is_none() && !(link.pending.is_empty() && link.answerless.is_empty()) {
                left.push(format!("{peer:?} with requests of the past"));
            }
        }
        left
    }

    /// Whether nodes are known, and the last connection to each of them did not become ready.
    pub(crate) fn is_every_node_unreachable(&self) -> bool {
        let mut nodes =
            self.links.iter().filter(|(peer, _)| matches!(peer, Peer::Node(_))).map(|(_, link)| link).peekable();
        nodes.peek().is_some() && nodes.all(|link| link.setup_failures > 0)
    }

    /// Whether there is such a peer.
    pub(crate) fn knows(&self, peer: Peer) -> bool {
        self.links.contains_key(&peer)
    }

    /// Has a peer connected to, if that has not begun and nothing says to wait.
    pub(crate) fn want(&mut self, peer: Peer, now: Instant, out: &mut Actions) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        if !matches!(link.state, State::Idle) {
            return;
        }
        let connection = ConnectionId(self.next_connection);
        self.next_connection += 1;
        self.peers.insert(connection, peer);
        let timeout = self.patience.setup.after(link.setup_failures.saturating_add(1), &mut self.random);
        link.setup_deadline = now + timeout;
        link.state = State::Connecting { connection, since: now };
        out.push_back(Action::Connect { connection, host: link.host.clone(), attempt: link.failures });
        self.schedule(peer);
    }

    /// A connection stands: the first thing is to ask what the server speaks.
    pub(crate) fn handle_connected(
        &mut self,
        connection: ConnectionId,
        now: Instant,
        out: &mut Actions,
    ) -> Vec<Event<Q>> {
        let Some(peer) = self.peers.get(&connection).copied() else { return Vec::new() };
        let Some(link) = self.links.get_mut(&peer) else { return Vec::new() };
        link.state = State::Negotiating { connection };
        // Some services break off when they are asked in a version that they do not know.
        if link.negotiations_broken >= 2 {
            link.versions_version = 0;
        }
        self.ask_versions(peer, now, out)
    }

    fn ask_versions(&mut self, peer: Peer, now: Instant, out: &mut Actions) -> Vec<Event<Q>> {
        let Some(link) = self.links.get(&peer) else { return Vec::new() };
        let version = link.versions_version;
        let (cluster_id, node_id) = match (peer, &self.cluster_id) {
            (Peer::Node(node_id), Some(cluster_id)) => (Some(cluster_id.clone()), node_id),
            _ => (None, -1),
        };
        let request = ApiVersionsRequest {
            client_software_name: "kurier".to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster_id,
            node_id,
        };
        match self.transmit(peer, &request, version, None, true, now, out) {
            Ok(()) => Vec::new(),
            Err(error) => self.lose(peer, error.to_string(), now, out),
        }
    }

    /// Sends a request to a peer that is ready. Without `has_answer` it is over once it is written.
    #[expect(clippy::too_many_arguments, reason = "a request has that many sides")]
    pub(crate) fn send<R: Request>(
        &mut self,
        peer: Peer,
        request: &R,
        version: i16,
        question: Q,
        has_answer: bool,
        now: Instant,
        out: &mut Actions,
    ) -> Result<(), EncodeError> {
        self.transmit(peer, request, version, Some(question), has_answer, now, out)
    }

    #[expect(clippy::too_many_arguments, reason = "a request has that many sides")]
    fn transmit<R: Request>(
        &mut self,
        peer: Peer,
        request: &R,
        version: i16,
        question: Option<Q>,
        has_answer: bool,
        now: Instant,
        out: &mut Actions,
    ) -> Result<(), EncodeError> {
        let Some(link) = self.links.get_mut(&peer) else { return Ok(()) };
        let Some(connection) = link.connection() else { return Ok(()) };
        let correlation_id = self.next_correlation_id;
        let mut chunks = Chunks::new();
        write_request(request, version, correlation_id, Some(&self.client_id), &mut chunks)?;
        self.next_correlation_id = correlation_id.wrapping_add(1) & i32::MAX;
        let deadline = now + self.patience.request;
        link.used_at = now;
        if !has_answer {
            if link.answerless.len() == ANSWERLESS_MAX {
                link.answerless.pop_front();
            }
            link.answerless.push_back(correlation_id);
        }
        link.pending.push_back(Pending { correlation_id, version, question, deadline, is_written: false, has_answer });
        out.push_back(Action::Transmit { connection, correlation_id, chunks: chunks.finish() });
        self.schedule(peer);
        Ok(())
    }

    /// The kernel has accepted the last byte of a request.
    pub(crate) fn handle_written(
        &mut self,
        connection: ConnectionId,
        correlation_id: i32,
        now: Instant,
    ) -> Option<Event<Q>> {
        let peer = self.peers.get(&connection).copied()?;
        let link = self.links.get_mut(&peer)?;
        let at = link.pending.iter().position(|pending| pending.correlation_id == correlation_id)?;
        let pending = link.pending.get_mut(at)?;
        pending.is_written = true;
        link.used_at = now;
        if pending.has_answer {
            return Some(Event::Written(peer));
        }
        let question = link.pending.remove(at)?.question?;
        link.failures = 0;
        self.schedule(peer);
        Some(Event::Sent { peer, question })
    }

    /// A frame has arrived.
    pub(crate) fn handle_received(
        &mut self,
        connection: ConnectionId,
        frame: Bytes,
        now: Instant,
        out: &mut Actions,
    ) -> Vec<Event<Q>> {
        let Some(peer) = self.peers.get(&connection).copied() else { return Vec::new() };
        let Some(link) = self.links.get_mut(&peer) else { return Vec::new() };
        link.used_at = now;
        let answered = frame.first_chunk().map(|id| i32::from_be_bytes(*id));
        let is_first_in_line =
            |pending: &mut Pending<Q>| pending.has_answer && Some(pending.correlation_id) == answered;
        let Some(pending) = link.pending.pop_front_if(is_first_in_line) else {
            if let Some(at) = link.answerless.iter().position(|id| Some(*id) == answered) {
                // Those before it would have been answered before it.
                link.answerless.drain(..=at);
                return Vec::new();
            }
            return self.lose(peer, "it answered what was not asked".to_owned(), now, out);
        };
        if pending.question.is_some() {
            (link.failures, link.has_answered) = (0, true);
        }
        self.schedule(peer);
        match pending.question {
            Some(question) => vec![Event::Answered { peer, version: pending.version, question, frame }],
            None => match read_response::<ApiVersionsRequest>(&frame, pending.version) {
                Ok((_, response)) => self.handle_versions(peer, &response, now, out),
                Err(error) => self.lose(peer, error.to_string(), now, out),
            },
        }
    }

    fn handle_versions(
        &mut self,
        peer: Peer,
        response: &ApiVersionsResponse,
        now: Instant,
        out: &mut Actions,
    ) -> Vec<Event<Q>> {
        let Some(link) = self.links.get_mut(&peer) else { return Vec::new() };
        let State::Negotiating { connection } = link.state else { return Vec::new() };
        let offered = Versions::of(response);
        if response.error_code == ErrorCode::UNSUPPORTED_VERSION && link.versions_version > 0 {
            // It may say which it knows; what is not lower than what it refused is no help.
            let highest =
                offered.ok().and_then(|offered| offered.highest_below::<ApiVersionsRequest>(link.versions_version - 1));
            link.versions_version = highest.unwrap_or(0);
            return self.ask_versions(peer, now, out);
        }
        if response.error_code == ErrorCode::REBOOTSTRAP_REQUIRED
            && let (Peer::Node(id), Some(cluster_id)) = (peer, &self.cluster_id)
        {
            // It answered: to ask in a version without the check would defeat it.
            link.negotiations_broken = 0;
            let cluster_id = printable(cluster_id);
            let why = format!("the broker at {} is not node {id} of cluster {cluster_id}", link.host);
            return self.lose_astray(peer, why, now, out);
        }
        if !response.error_code.is_none() {
            let why = format!("it refused to say what it speaks: {}", response.error_code);
            return self.lose(peer, why, now, out);
        }
        match offered {
            Ok(versions) => {
                link.state = State::Ready { connection, versions };
                (link.setup_failures, link.negotiations_broken) = (0, 0);
                (link.trouble, link.was_ready) = (None, true);
                tracing::debug!(%link.host, ?peer, "connected");
                self.schedule(peer);
                vec![Event::Ready(peer)]
            }
            Err(why) => self.lose(peer, why, now, out),
        }
    }

    /// The driver says that a connection could not be made, or has ended; what it had written until then, it has said.
    pub(crate) fn handle_disconnected(
        &mut self,
        connection: ConnectionId,
        ending: Ending,
        now: Instant,
        out: &mut Actions,
    ) -> Vec<Event<Q>> {
        let Some(peer) = self.peers.get(&connection).copied() else { return Vec::new() };
        let why = match ending {
            Ending::Failed(why) => why,
            Ending::Closed(why) => match self.links.get(&peer).and_then(Link::suspicion) {
                Some(suspicion) => format!("{why} {suspicion}"),
                None => why.to_owned(),
            },
        };
        self.end(peer, why, now, out)
    }

    /// Ends a peer's connection; it is left alone for a while. What the driver is still writing may get through in this
    /// moment, so all that was handed over counts as written.
    pub(crate) fn lose(&mut self, peer: Peer, why: String, now: Instant, out: &mut Actions) -> Vec<Event<Q>> {
        if let Some(link) = self.links.get_mut(&peer) {
            link.pending.iter_mut().for_each(|pending| pending.is_written = true);
        }
        self.end(peer, why, now, out)
    }

    /// As [`lose`](Self::lose), for a server of another cluster was found there: it is left alone until more is known, or
    /// for longer than usual.
    pub(crate) fn lose_astray(&mut self, peer: Peer, why: String, now: Instant, out: &mut Actions) -> Vec<Event<Q>> {
        /// So long nodes of another cluster are left alone. By then it has shown whether it is the one that is meant.
        const ASTRAY: Duration = Duration::from_secs(10);
        let events = self.lose(peer, why, now, out);
        if let (Peer::Node(_), Some(link)) = (peer, self.links.get_mut(&peer)) {
            link.state = State::Backoff { until: now + ASTRAY };
            link.is_astray = true;
            self.schedule(peer);
        }
        events
    }

    /// More is known: whoever was found to be of another cluster may be tried again.
    pub(crate) fn forgive(&mut self) -> Vec<Event<Q>> {
        let astray: Vec<Peer> = self.links.iter().filter(|(_, link)| link.is_astray).map(|(peer, _)| *peer).collect();
        for peer in &astray {
            if let Some(link) = self.links.get_mut(peer) {
                (link.state, link.is_astray) = (State::Idle, false);
            }
            self.schedule(*peer);
        }
        astray.into_iter().map(Event::Unmuted).collect()
    }

    /// As [`lose`](Self::lose), of all peers but one.
    pub(crate) fn lose_all(&mut self, but: Option<Peer>, why: &str, now: Instant, out: &mut Actions) -> Vec<Event<Q>> {
        let others: Vec<Peer> = self.links.keys().copied().filter(|peer| Some(*peer) != but).collect();
        let mut events = Vec::new();
        for peer in others {
            events.extend(self.lose(peer, why.to_owned(), now, out));
        }
        events
    }

    fn end(&mut self, peer: Peer, why: String, now: Instant, out: &mut Actions) -> Vec<Event<Q>> {
        let Some(link) = self.links.get_mut(&peer) else { return Vec::new() };
        let Some(connection) = link.connection() else { return Vec::new() };
        out.push_back(Action::Disconnect(connection));
        self.peers.remove(&connection);
        if matches!(link.state, State::Negotiating { .. }) {
            link.negotiations_broken += 1;
        }
        if matches!(link.state, State::Connecting { .. }) && link.versions_version > 0 {
            // The broker may come back upgraded. One that hangs up on new versions keeps version 0.
            link.versions_version = VERSIONS_VERSION;
        }
        if !matches!(link.state, State::Ready { .. }) {
            link.setup_failures = link.setup_failures.saturating_add(1);
        }
        link.failures = link.failures.saturating_add(1);
        let until = now + self.patience.reconnect.after(link.failures, &mut self.random);
        link.state = State::Backoff { until };
        link.trouble = Some(why.clone());
        link.muted_until = None;
        link.answerless.clear();
        let unanswered = |pending: Pending<Q>| {
            pending.question.map(|question| Unanswered { question, is_written: pending.is_written })
        };
        let unanswered: Vec<_> = link.pending.drain(..).filter_map(unanswered).collect();
        tracing::debug!(%link.host, ?peer, %why, unanswered = unanswered.len(), "connection lost");
        self.schedule(peer);
        vec![Event::Lost { peer, unanswered, why }]
    }

    /// Sends a peer nothing for a while, because it says that it is asked too much (KIP-219). Its answers may take as
    /// much longer.
    pub(crate) fn throttle(&mut self, peer: Peer, throttle_time_ms: i32, now: Instant) {
        let (Ok(millis), Some(link)) = (u64::try_from(throttle_time_ms), self.links.get_mut(&peer)) else { return };
        if millis == 0 || Mutant::IgnoreThrottle.is_on() {
            return;
        }
        let wait = Duration::from_millis(millis).min(self.patience.throttle);
        link.muted_until = link.muted_until.max(Some(now + wait));
        for pending in &mut link.pending {
            pending.deadline += wait;
        }
        self.schedule(peer);
    }

    /// Ends what has lasted too long.
    pub(crate) fn handle_timeout(&mut self, now: Instant, out: &mut Actions) -> Vec<Event<Q>> {
        let mut events = Vec::new();
        while let Some(peer) = self.timers.pop(now) {
            events.extend(self.check(peer, now, out));
            self.schedule(peer);
        }
        events
    }

    fn check(&mut self, peer: Peer, now: Instant, out: &mut Actions) -> Vec<Event<Q>> {
        let Some(link) = self.links.get_mut(&peer) else { return Vec::new() };
        match link.state {
            State::Idle => {}
            State::Backoff { until } => {
                if until <= now {
                    (link.state, link.is_astray) = (State::Idle, false);
                    return vec![Event::Unmuted(peer)];
                }
            }
            State::Connecting { .. } if link.setup_deadline <= now => {
                let why = "no connection stood within socket.connection.setup.timeout.ms";
                return self.lose(peer, why.to_owned(), now, out);
            }
            State::Negotiating { .. } if link.setup_deadline <= now => {
                let key = "socket.connection.setup.timeout.ms";
                let why = format!("it did not answer ApiVersions within {key}: {IS_IT_A_BROKER}");
                return self.lose(peer, why, now, out);
            }
            State::Connecting { .. } => {}
            State::Negotiating { .. } | State::Ready { .. } => {
                if link.pending.front().is_some_and(|pending| pending.deadline <= now) {
                    return self.lose(peer, "it did not answer within request.timeout.ms".to_owned(), now, out);
                }
                if link.pending.is_empty() && link.used_at + self.patience.idle <= now {
                    // Nothing is unanswered, and nobody is at fault.
                    self.lose(peer, "it was not needed for connections.max.idle.ms".to_owned(), now, out);
                    if let Some(link) = self.links.get_mut(&peer) {
                        (link.state, link.failures, link.trouble) = (State::Idle, 0, None);
                    }
                    return vec![Event::Idle(peer)];
                }
                if link.muted_until.is_some_and(|until| until <= now) {
                    link.muted_until = None;
                    return vec![Event::Unmuted(peer)];
                }
            }
        }
        Vec::new()
    }

    fn schedule(&mut self, peer: Peer) {
        let at = self.links.get(&peer).and_then(|link| match link.state {
            State::Idle => None,
            State::Backoff { until } => Some(until),
            State::Connecting { .. } => Some(link.setup_deadline),
            State::Negotiating { .. } | State::Ready { .. } => {
                let answer = match link.pending.front() {
                    Some(pending) => pending.deadline,
                    None => link.used_at + self.patience.idle,
                };
                let setup = matches!(link.state, State::Negotiating { .. }).then_some(link.setup_deadline);
                [Some(answer), setup, link.muted_until].into_iter().flatten().min()
            }
        });
        self.timers.set(peer, at);
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// What a peer that is ready speaks.
    pub(crate) fn versions(&self, peer: Peer) -> Option<&Versions> {
        match &self.links.get(&peer)?.state {
            State::Ready { versions, .. } => Some(versions),
            _ => None,
        }
    }

    /// Whether a peer takes one more request, when it may have so many unanswered. What is not even written yet is sent
    /// no faster by adding to it.
    pub(crate) fn has_room(&self, peer: Peer, max_in_flight: usize) -> bool {
        self.links.get(&peer).is_some_and(|link| {
            matches!(link.state, State::Ready { .. })
                && link.muted_until.is_none()
                && link.pending.len() < max_in_flight
                && link.pending.back().is_none_or(|last| last.is_written)
        })
    }
}
