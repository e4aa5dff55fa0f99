//! Connections to servers: their state, and the requests that wait for a response on each.
//!
//! ```text
//!            want                connected              versions agreed      without SASL
//!   Idle ──────────▶ Connecting ───────────▶ Negotiating ───────┬─────────────────────▶ Ready ─┐ the session
//!    │ ▲                 │                        │             ▼            accepted     ▲  ◀─┘ is renewed
//!    │ │                 │ failed, or too slow    │      Authenticating ──────────────────┤
//!    ▼ └─── Backoff ◀────┴────────────────────────┴─────────────┴── lost, timed out, idle ┘
//!  Blocked: waits for credentials
//! ```
//!
//! A *peer* is a server: a bootstrap server, or a node that metadata named. A peer answers the requests on a connection
//! in order, so each response must bear the correlation id of the oldest request. When a connection ends, its
//! unanswered requests come back, each with whether the kernel had accepted its last byte. Before that byte, no broker
//! can have executed the request.
//!
//! [`handshake`] has the steps from a connection to a peer that is ready. [`choice`] finds a peer for a request that any
//! peer can answer; [`trouble`] says why a peer cannot be asked. The driver chooses between the addresses of a host name.
//! The core interprets requests and responses.

mod authentication;
pub(super) mod choice;
mod handshake;
mod session;
mod trouble;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kurier_protocol::{Chunks, CorrelationId, EncodeError, NodeId, Request, write_request};

use super::access::{Access, Admission, Entropy, Policy};
use super::action::{Action, Actions, ConnectionId};
use super::backoff::Backoff;
use super::input::Ending;
use super::timer::Timers;
use super::versions::Versions;
use crate::config::{Config, HostPort, Recovery};
use crate::error::{Cause, Error};
use crate::fault_injection::{FaultInjection, Mutant};
use handshake::VERSIONS_VERSION;
use session::{Authentication, Session};

/// A server that the core may connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Peer {
    /// A node of the cluster.
    Node(NodeId),
    /// A bootstrap server, by its position in the list.
    Seed(u32),
}

/// A request without a response yet. `Q` describes its content.
#[derive(Debug)]
pub(super) struct Pending<Q> {
    correlation_id: CorrelationId,
    pub version: i16,
    asked: Asked<Q>,
    deadline: Instant,
    /// Whether the kernel has accepted the request's last byte.
    is_written: bool,
    has_answer: bool,
}

/// The content of a request, kept until its response arrives.
#[derive(Debug)]
enum Asked<Q> {
    /// ApiVersions, which opens each connection.
    Versions,
    /// SaslHandshake, which proposes a mechanism.
    SaslHandshake,
    /// SaslAuthenticate, which carries a token.
    SaslAuthenticate,
    /// A request of the core.
    Question(Q),
}

impl<Q> Asked<Q> {
    fn question(&self) -> Option<&Q> {
        match self {
            Self::Question(question) => Some(question),
            Self::Versions | Self::SaslHandshake | Self::SaslAuthenticate => None,
        }
    }

    fn into_question(self) -> Option<Q> {
        match self {
            Self::Question(question) => Some(question),
            Self::Versions | Self::SaslHandshake | Self::SaslAuthenticate => None,
        }
    }
}

/// A request that will get no response, because its connection has ended.
#[derive(Debug)]
pub(super) struct Unanswered<Q> {
    pub question: Q,
    /// Whether the broker may have executed the request.
    pub is_written: bool,
}

/// A change of a connection or of a request on it.
#[derive(Debug)]
pub(super) enum Event<Q> {
    /// The peer accepts requests.
    Ready(Peer),
    /// The kernel accepted the last byte of a request, so there is room for another.
    Written(Peer),
    /// The kernel accepted the last byte of a request that has no response (acks=0).
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
    /// The connection attempt failed, or the connection has ended.
    Lost {
        peer: Peer,
        unanswered: Vec<Unanswered<Q>>,
        why: Cause,
    },
    /// The connection was closed because it was idle.
    Idle(Peer),
    /// A muted peer, or one in backoff, may be asked again.
    Unmuted(Peer),
    /// A node has a new address, and the core can connect to it at once.
    Moved(Peer),
    /// The cluster no longer names a node, and it has no connection.
    Gone(Peer),
}

#[derive(Debug)]
enum State {
    Idle,
    /// Waits for credentials.
    Blocked,
    Backoff {
        until: Instant,
    },
    Connecting {
        connection: ConnectionId,
        since: Instant,
    },
    Negotiating {
        connection: ConnectionId,
    },
    Authenticating {
        connection: ConnectionId,
        versions: Versions,
    },
    Ready {
        connection: ConnectionId,
        versions: Versions,
    },
}

impl State {
    /// Returns whether the peer is not ready yet, and `socket.connection.setup.timeout.ms` limits the time until it is.
    fn is_handshake(&self) -> bool {
        match self {
            Self::Connecting { .. } | Self::Negotiating { .. } | Self::Authenticating { .. } => true,
            Self::Idle | Self::Blocked | Self::Backoff { .. } | Self::Ready { .. } => false,
        }
    }
}

/// Timeouts and backoffs of connections. Requests have their own deadlines.
#[derive(Clone, Copy, Debug)]
struct Patience {
    setup: Backoff,
    reconnect: Backoff,
    request: Duration,
    idle: Duration,
    /// The longest time that a peer may be muted by throttling.
    throttle: Duration,
}

#[derive(Debug)]
struct Link<Q> {
    host: HostPort,
    state: State,
    /// Consecutive connections without a useful response. A connection that becomes ready does not reset this, because
    /// its peer may lack every API that the core needs.
    failures: u32,
    /// Consecutive connections that did not become ready.
    setup_failures: u32,
    /// Consecutive connections that ended during ApiVersions.
    negotiations_broken: u32,
    /// The version for the next ApiVersions request.
    versions_version: i16,
    setup_deadline: Instant,
    pending: VecDeque<Pending<Q>>,
    /// The last requests that expect no response, in order. Some brokers respond to them anyway.
    answerless: VecDeque<CorrelationId>,
    muted_until: Option<Instant>,
    used_at: Instant,
    trouble: Option<Cause>,
    /// Whether any connection to the peer became ready.
    was_ready: bool,
    /// Whether the peer ever answered a request other than ApiVersions.
    has_answered: bool,
    /// Whether the peer is in backoff because a server of another cluster answered at its address.
    is_astray: bool,
    /// Whether the connection is encrypted or does not leave the machine, so that no one else can read it.
    is_private: bool,
    /// Why one side did not accept the certificate of the other, the last time that they connected.
    untrusted: Option<Error>,
    authentication: Option<Authentication>,
    session: Option<Session>,
    /// Whether the connection takes no more requests, and is closed when all are answered.
    is_retiring: bool,
}

/// How many requests without a response to remember: as many small ones as fit into the socket buffers of both sides.
const ANSWERLESS_MAX: usize = 4096;

impl<Q> Link<Q> {
    fn connection(&self) -> Option<ConnectionId> {
        match self.state {
            State::Idle | State::Blocked | State::Backoff { .. } => None,
            State::Connecting { connection, .. }
            | State::Negotiating { connection }
            | State::Authenticating { connection, .. }
            | State::Ready { connection, .. } => Some(connection),
        }
    }

    /// Restarts the idle time. A renewal of the session does not, because it would keep an unneeded connection open.
    fn use_for(&mut self, is_question: bool, now: Instant) {
        if self.session.is_none() || is_question {
            self.used_at = now;
        }
    }

    /// Returns whether the session is being renewed.
    fn is_renewing(&self) -> bool {
        self.session.is_some() && self.authentication.is_some()
    }

    /// Returns the deadline for renewing the session. It also holds while no request is in flight.
    fn renewal_deadline(&self, patience: Duration) -> Option<Instant> {
        let is_ready = matches!(self.state, State::Ready { .. });
        self.authentication.as_ref().filter(|_| is_ready).map(|authentication| authentication.since + patience)
    }

    /// Returns whether the peer is ready and no request awaits a response.
    fn is_unused(&self) -> bool {
        matches!(self.state, State::Ready { .. }) && self.pending.is_empty() && self.authentication.is_none()
    }
}

/// The connections to all peers.
#[derive(Debug)]
pub(super) struct Connections<Q> {
    client_id: String,
    /// Whether ApiVersions tells nodes which cluster and node id the core expects.
    checks_cluster: bool,
    /// The id of the cluster that the nodes belong to.
    cluster_id: Option<String>,
    patience: Patience,
    links: BTreeMap<Peer, Link<Q>>,
    peers: HashMap<ConnectionId, Peer>,
    timers: Timers<Peer>,
    next_connection: u64,
    next_correlation_id: CorrelationId,
    random: fastrand::Rng,
    /// Settings of SASL; `None` without it.
    policy: Option<Policy>,
    access: Access,
    entropy: Box<dyn Entropy>,
    faults: FaultInjection,
    /// Events that the core has not seen.
    events: VecDeque<Event<Q>>,
    /// Actions that the core has not taken.
    actions: Actions,
}

impl<Q: fmt::Debug> Connections<Q> {
    pub(super) fn new(
        config: &Config,
        seed: u64,
        entropy: Box<dyn Entropy>,
        faults: FaultInjection,
        now: Instant,
    ) -> Self {
        let patience = Patience {
            setup: Backoff { first: config.connection_setup_timeout, longest: config.connection_setup_timeout_max },
            reconnect: Backoff { first: config.reconnect_backoff, longest: config.reconnect_backoff_max },
            request: config.request_timeout,
            idle: config.connections_max_idle,
            // By then every waiting batch has its outcome.
            throttle: config.delivery_timeout,
        };
        let mut connections = Self {
            client_id: config.client_id.clone(),
            // As in Java: without recovery, the core could not react to a failed check.
            checks_cluster: config.metadata_cluster_check && config.metadata_recovery == Recovery::Rebootstrap,
            cluster_id: None,
            patience,
            links: BTreeMap::new(),
            peers: HashMap::new(),
            timers: Timers::default(),
            next_connection: 0,
            next_correlation_id: CorrelationId(0),
            random: fastrand::Rng::with_seed(seed),
            policy: config.security().sasl.as_ref().map(Policy::of),
            access: Access::new(),
            entropy,
            faults,
            events: VecDeque::new(),
            actions: Actions::new(),
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
            is_private: false,
            untrusted: None,
            authentication: None,
            session: None,
            is_retiring: false,
        };
        self.links.insert(peer, link);
    }

    /// Returns the next event. Call it until it returns `None`.
    pub(super) fn poll_event(&mut self) -> Option<Event<Q>> {
        self.events.pop_front()
    }

    /// Moves the actions to the end of `actions`.
    pub(super) fn move_actions(&mut self, actions: &mut Actions) {
        actions.append(&mut self.actions);
    }

    /// Sets the cluster's nodes and their addresses. A node with a new address gets a new connection. A node that is no
    /// longer named stays while it has a connection.
    pub(super) fn set_nodes(&mut self, nodes: &BTreeMap<NodeId, HostPort>, cluster_id: Option<&str>, now: Instant) {
        self.cluster_id = cluster_id.map(str::to_owned).filter(|_| self.checks_cluster);
        for (id, host) in nodes {
            let peer = Peer::Node(*id);
            match self.links.get(&peer) {
                Some(link) if link.host == *host => {}
                Some(_) => {
                    self.lose(peer, format!("node {id} has moved to {host}").into(), now);
                    self.timers.set(peer, None);
                    self.add(peer, host.clone(), now);
                    // Records may wait for this node even if it had no connection to lose.
                    self.events.push_back(Event::Moved(peer));
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
            self.events.push_back(Event::Gone(peer));
        }
    }

    /// Returns the connections that are established or being established.
    #[cfg(any(test, feature = "internal"))]
    pub(super) fn open(&self) -> impl Iterator<Item = ConnectionId> {
        self.peers.keys().copied()
    }

    /// Lists inconsistencies and unfinished requests: connections of unknown peers, timers of removed peers, and
    /// requests for which `may_be_asked` is false.
    #[cfg(any(test, feature = "internal"))]
    pub(super) fn leftovers(&self, may_be_asked: impl Fn(&Q) -> bool) -> Vec<String> {
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
            let is_left = |pending: &&Pending<Q>| pending.asked.question().is_some_and(|asked| !may_be_asked(asked));
            left.extend(link.pending.iter().filter(is_left).map(|pending| format!("{peer:?} is asked {pending:?}")));
            if link.connection().is_none() && !(link.pending.is_empty() && link.answerless.is_empty()) {
                left.push(format!("{peer:?} with requests of the past"));
            }
        }
        left
    }

    /// Returns whether nodes are known and the last connection to each of them did not become ready.
    pub(super) fn is_every_node_unreachable(&self) -> bool {
        let mut nodes =
            self.links.iter().filter(|(peer, _)| matches!(peer, Peer::Node(_))).map(|(_, link)| link).peekable();
        nodes.peek().is_some() && nodes.all(|link| link.setup_failures > 0)
    }

    /// Returns whether the peer is known.
    pub(super) fn knows(&self, peer: Peer) -> bool {
        self.links.contains_key(&peer)
    }

    /// Connects to a peer, unless a connection exists, is being made, or the peer is in backoff.
    pub(super) fn want(&mut self, peer: Peer, now: Instant) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        if !matches!(link.state, State::Idle) {
            return;
        }
        match self.policy.map(|_| self.access.admit(now)) {
            None | Some(Admission::Connect) => {}
            Some(Admission::Until(until)) => {
                link.state = State::Backoff { until };
                return self.schedule(peer);
            }
            Some(Admission::Wait) => {
                link.state = State::Blocked;
                return;
            }
            Some(Admission::Fetch(reason)) => {
                link.state = State::Blocked;
                return self.actions.push_back(Action::FetchCredentials { reason });
            }
        }
        let connection = ConnectionId(self.next_connection);
        self.next_connection += 1;
        self.peers.insert(connection, peer);
        let timeout = self.patience.setup.after(link.setup_failures.saturating_add(1), &mut self.random);
        link.setup_deadline = now + timeout;
        link.state = State::Connecting { connection, since: now };
        let (host, was_ready) = (link.host.clone(), link.was_ready);
        self.actions.push_back(Action::Connect { connection, host, attempt: link.failures, was_ready });
        self.schedule(peer);
    }

    /// Returns the peers whose link meets the condition.
    fn peers_with(&self, is_so: impl Fn(&Link<Q>) -> bool) -> Vec<Peer> {
        self.links.iter().filter(|(_, link)| is_so(link)).map(|(peer, _)| *peer).collect()
    }

    /// Lets a peer without a connection connect at once.
    fn set_idle(&mut self, peer: Peer) {
        if let Some(link) = self.links.get_mut(&peer) {
            link.state = State::Idle;
        }
        self.schedule(peer);
        self.events.push_back(Event::Unmuted(peer));
    }

    /// Lets the peers that waited for credentials connect.
    fn unblock(&mut self) {
        for peer in self.peers_with(|link| matches!(link.state, State::Blocked)) {
            self.set_idle(peer);
        }
    }

    /// Replaces a connection when its requests are answered.
    fn retire(&mut self, peer: Peer) {
        if let Some(link) = self.links.get_mut(&peer) {
            link.is_retiring = true;
        }
        self.schedule(peer);
    }

    /// Uses new certificates: replaces all connections, each when its requests are answered, and ends the waits of peers
    /// that did not trust the old ones.
    pub(super) fn handle_new_certificates(&mut self) {
        for peer in self.peers_with(|link| link.untrusted.is_some() && matches!(link.state, State::Backoff { .. })) {
            self.set_idle(peer);
        }
        self.links.values_mut().for_each(|link| link.untrusted = None);
        for peer in self.peers_with(|link| link.connection().is_some()) {
            self.retire(peer);
        }
    }

    /// Returns the error for calls that wait for the cluster, if waiting would not help.
    pub(super) fn verdict(&self) -> Option<&Error> {
        // Calls keep waiting while a server is ready, or a bootstrap server may still accept the producer.
        if self.links.values().any(|link| matches!(link.state, State::Ready { .. })) {
            return None;
        }
        let mut seeds = self.links.iter().filter(|(peer, _)| matches!(peer, Peer::Seed(_))).map(|(_, link)| link);
        let untrusted = || seeds.try_fold(None, |_, link| link.untrusted.as_ref().map(Some)).flatten();
        self.access.verdict().or_else(untrusted)
    }

    /// Sends a request to a peer that is ready. Without `has_answer`, the request is complete once it is written.
    pub(super) fn send<R: Request>(
        &mut self,
        peer: Peer,
        request: &R,
        version: i16,
        question: Q,
        has_answer: bool,
        now: Instant,
    ) -> Result<(), EncodeError> {
        self.transmit(peer, request, version, Asked::Question(question), has_answer, now)
    }

    fn transmit<R: Request>(
        &mut self,
        peer: Peer,
        request: &R,
        version: i16,
        asked: Asked<Q>,
        has_answer: bool,
        now: Instant,
    ) -> Result<(), EncodeError> {
        let Some(link) = self.links.get_mut(&peer) else { return Ok(()) };
        let Some(connection) = link.connection() else { return Ok(()) };
        let correlation_id = self.next_correlation_id;
        let mut chunks = Chunks::new();
        write_request(request, version, correlation_id, Some(&self.client_id), &mut chunks)?;
        self.next_correlation_id = CorrelationId(correlation_id.0.wrapping_add(1) & i32::MAX);
        let deadline = now + self.patience.request;
        link.use_for(asked.question().is_some(), now);
        if !has_answer {
            if link.answerless.len() == ANSWERLESS_MAX {
                link.answerless.pop_front();
            }
            link.answerless.push_back(correlation_id);
        }
        link.pending.push_back(Pending { correlation_id, version, asked, deadline, is_written: false, has_answer });
        self.actions.push_back(Action::Transmit { connection, correlation_id, chunks: chunks.finish().into() });
        self.schedule(peer);
        Ok(())
    }

    /// Notes that the kernel has accepted the last byte of a request.
    pub(super) fn handle_written(&mut self, connection: ConnectionId, correlation_id: CorrelationId, now: Instant) {
        let event = self.written(connection, correlation_id, now);
        self.events.extend(event);
    }

    fn written(&mut self, connection: ConnectionId, correlation_id: CorrelationId, now: Instant) -> Option<Event<Q>> {
        let peer = self.peers.get(&connection).copied()?;
        let link = self.links.get_mut(&peer)?;
        let at = link.pending.iter().position(|pending| pending.correlation_id == correlation_id)?;
        let pending = link.pending.get_mut(at)?;
        pending.is_written = true;
        let (has_answer, is_question) = (pending.has_answer, pending.asked.question().is_some());
        link.use_for(is_question, now);
        if has_answer {
            return Some(Event::Written(peer));
        }
        let question = link.pending.remove(at)?.asked.into_question()?;
        link.failures = 0;
        self.schedule(peer);
        Some(Event::Sent { peer, question })
    }

    /// Handles a frame from the peer.
    pub(super) fn handle_received(&mut self, connection: ConnectionId, frame: Bytes, now: Instant) {
        let Some(peer) = self.peers.get(&connection).copied() else { return };
        let Some(link) = self.links.get_mut(&peer) else { return };
        let answered = frame.first_chunk().map(|id| CorrelationId(i32::from_be_bytes(*id)));
        let is_first_in_line =
            |pending: &mut Pending<Q>| pending.has_answer && Some(pending.correlation_id) == answered;
        let Some(pending) = link.pending.pop_front_if(is_first_in_line) else {
            if let Some(at) = link.answerless.iter().position(|id| Some(*id) == answered) {
                link.used_at = now;
                // The peer answers in order, so it skipped the requests before this one.
                link.answerless.drain(..=at);
                return;
            }
            return self.lose(peer, "unexpected response (unknown correlation id)".into(), now);
        };
        link.use_for(pending.asked.question().is_some(), now);
        match pending.asked {
            Asked::Versions => self.handle_versions(peer, &frame, pending.version, now),
            Asked::SaslHandshake => self.handle_sasl_handshake(peer, &frame, pending.version, now),
            Asked::SaslAuthenticate => self.handle_sasl_authenticate(peer, &frame, pending.version, now),
            Asked::Question(question) => {
                (link.failures, link.has_answered, link.trouble) = (0, true, None);
                self.schedule(peer);
                self.events.push_back(Event::Answered { peer, version: pending.version, question, frame });
            }
        }
    }

    /// Handles the driver's report that a connection failed or ended. The driver has already reported all writes before
    /// it.
    pub(super) fn handle_disconnected(&mut self, connection: ConnectionId, ending: Ending, now: Instant) {
        let Some(peer) = self.peers.get(&connection).copied() else { return };
        if matches!(ending, Ending::Closed(_)) && self.refuse_by_close(peer, now) {
            return;
        }
        let why = match ending {
            Ending::Failed(why) => why,
            Ending::Untrusted(error) => return self.lose_untrusted(peer, error, now),
            Ending::Closed(why) => match self.links.get(&peer).and_then(Link::suspicion) {
                Some(suspicion) => format!("{why} {suspicion}").into(),
                None => why.into(),
            },
        };
        self.end(peer, why, now);
    }

    /// Closes a peer's connection and starts its backoff. The driver may be writing at this moment, so every request
    /// that it was given counts as written.
    pub(super) fn lose(&mut self, peer: Peer, why: Cause, now: Instant) {
        if let Some(link) = self.links.get_mut(&peer) {
            link.pending.iter_mut().for_each(|pending| pending.is_written = true);
        }
        self.end(peer, why, now);
    }

    /// Like [`lose`](Self::lose), when a server of another cluster answered. The peer stays in backoff until new
    /// metadata arrives, or for longer than usual.
    pub(super) fn lose_astray(&mut self, peer: Peer, why: Cause, now: Instant) {
        /// Backoff for nodes of another cluster. By then metadata has shown whether the node belongs to this cluster.
        const ASTRAY: Duration = Duration::from_secs(10);
        self.lose(peer, why, now);
        if let (Peer::Node(_), Some(link)) = (peer, self.links.get_mut(&peer)) {
            link.state = State::Backoff { until: now + ASTRAY };
            link.is_astray = true;
            self.schedule(peer);
        }
    }

    /// Like [`lose`](Self::lose), when only an operator can fix the cause. The backoff is longer.
    fn lose_for_long(&mut self, peer: Peer, why: Cause, now: Instant) {
        const FIRST: Duration = Duration::from_secs(1);
        const LONGEST: Duration = Duration::from_secs(30);
        self.lose(peer, why, now);
        let Some(link) = self.links.get_mut(&peer) else { return };
        let wait = Backoff { first: FIRST, longest: LONGEST }.after(link.failures, &mut self.random);
        link.state = State::Backoff { until: now + wait };
        self.schedule(peer);
    }

    /// Like [`lose_for_long`](Self::lose_for_long), when one side does not accept the certificate of the other.
    fn lose_untrusted(&mut self, peer: Peer, error: Error, now: Instant) {
        self.lose_for_long(peer, error.clone().into(), now);
        if let Some(link) = self.links.get_mut(&peer) {
            link.untrusted = Some(error);
        }
    }

    /// Ends the backoff of nodes that seemed to belong to another cluster: new metadata has arrived.
    pub(super) fn forgive(&mut self) {
        let astray: Vec<Peer> = self.links.iter().filter(|(_, link)| link.is_astray).map(|(peer, _)| *peer).collect();
        for peer in astray {
            if let Some(link) = self.links.get_mut(&peer) {
                (link.state, link.is_astray) = (State::Idle, false);
            }
            self.schedule(peer);
            self.events.push_back(Event::Unmuted(peer));
        }
    }

    /// Like [`lose`](Self::lose), for all peers except `but`.
    pub(super) fn lose_all(&mut self, but: Option<Peer>, why: &str, now: Instant) {
        let others: Vec<Peer> = self.links.keys().copied().filter(|peer| Some(*peer) != but).collect();
        for peer in others {
            self.lose(peer, why.into(), now);
        }
    }

    fn end(&mut self, peer: Peer, why: Cause, now: Instant) {
        if let Some(unanswered) = self.close(peer, &why, now) {
            self.events.push_back(Event::Lost { peer, unanswered, why });
        }
    }

    /// Closes a peer's connection, if there is one, and returns its unanswered requests.
    fn close(&mut self, peer: Peer, why: &Cause, now: Instant) -> Option<Vec<Unanswered<Q>>> {
        let link = self.links.get_mut(&peer)?;
        let connection = link.connection()?;
        self.actions.push_back(Action::Disconnect(connection));
        self.peers.remove(&connection);
        if matches!(link.state, State::Negotiating { .. }) {
            link.negotiations_broken += 1;
        }
        if matches!(link.state, State::Connecting { .. }) && link.versions_version > 0 {
            // The broker may come back upgraded. A peer that closes connections on newer versions keeps version 0.
            link.versions_version = VERSIONS_VERSION;
        }
        if !matches!(link.state, State::Ready { .. }) {
            link.setup_failures = link.setup_failures.saturating_add(1);
        }
        link.failures = link.failures.saturating_add(1);
        let until = now + self.patience.reconnect.after(link.failures, &mut self.random);
        let until = until.max(self.access.until().unwrap_or(until));
        link.state = State::Backoff { until };
        link.trouble = Some(why.clone());
        link.muted_until = None;
        (link.authentication, link.session, link.is_retiring) = (None, None, false);
        link.answerless.clear();
        self.access.handle_end(connection);
        let unanswered = |pending: Pending<Q>| {
            let question = pending.asked.into_question()?;
            Some(Unanswered { question, is_written: pending.is_written })
        };
        let unanswered: Vec<_> = link.pending.drain(..).filter_map(unanswered).collect();
        tracing::debug!(%link.host, ?peer, why = format_args!("{why:#}"), unanswered = unanswered.len(), "connection lost");
        self.schedule(peer);
        self.start_queued(now);
        self.renew_next(now);
        Some(unanswered)
    }

    /// Mutes a peer that throttles this producer (KIP-219), and extends the deadlines of its requests by the same time.
    pub(super) fn throttle(&mut self, peer: Peer, throttle_time_ms: i32, now: Instant) {
        let (Ok(millis), Some(link)) = (u64::try_from(throttle_time_ms), self.links.get_mut(&peer)) else { return };
        if millis == 0 {
            return;
        }
        let wait = Duration::from_millis(millis).min(self.patience.throttle);
        link.muted_until = link.muted_until.max(Some(now + wait));
        for pending in &mut link.pending {
            pending.deadline += wait;
        }
        self.schedule(peer);
    }

    /// Ends connections, requests and backoffs that are past their deadline.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some(peer) = self.timers.pop(now) {
            self.check(peer, now);
            self.schedule(peer);
        }
    }

    fn check(&mut self, peer: Peer, now: Instant) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        match link.state {
            State::Idle | State::Blocked => {}
            State::Backoff { until } => {
                if until <= now {
                    (link.state, link.is_astray) = (State::Idle, false);
                    self.events.push_back(Event::Unmuted(peer));
                }
            }
            _ if link.state.is_handshake() && link.setup_deadline <= now => {
                let why = link.delay();
                self.lose(peer, why.into(), now);
            }
            State::Connecting { .. }
            | State::Negotiating { .. }
            | State::Authenticating { .. }
            | State::Ready { .. } => {
                let renewal = link.renewal_deadline(self.patience.request);
                if link.pending.front().is_some_and(|pending| pending.deadline <= now) {
                    self.lose(peer, "it did not answer within request.timeout.ms".into(), now);
                } else if renewal.is_some_and(|deadline| deadline <= now) {
                    self.lose(peer, "its session was not renewed within request.timeout.ms".into(), now);
                } else if link.is_unused() && (link.is_retiring || link.used_at + self.patience.idle <= now) {
                    // No request is unanswered, so this is not a failure.
                    self.close(peer, &"it is not needed any more".into(), now);
                    if let Some(link) = self.links.get_mut(&peer) {
                        (link.state, link.failures, link.trouble) = (State::Idle, 0, None);
                    }
                    self.events.push_back(Event::Idle(peer));
                } else if link.muted_until.is_some_and(|until| until <= now) {
                    link.muted_until = None;
                    self.events.push_back(Event::Unmuted(peer));
                } else if link.session.is_some() {
                    self.check_session(peer, now);
                }
            }
        }
    }

    fn schedule(&mut self, peer: Peer) {
        let at = self.links.get(&peer).and_then(|link| match link.state {
            State::Idle | State::Blocked => None,
            State::Backoff { until } => Some(until),
            State::Connecting { .. }
            | State::Negotiating { .. }
            | State::Authenticating { .. }
            | State::Ready { .. } => {
                let setup = link.state.is_handshake().then_some(link.setup_deadline);
                let answer = link.pending.front().map(|pending| pending.deadline);
                let wait = if link.is_retiring { Duration::ZERO } else { self.patience.idle };
                let idle = link.is_unused().then(|| link.used_at + wait);
                let session = link.session.as_ref().filter(|_| link.authentication.is_none());
                let session = session.and_then(Session::next);
                let renewal = link.renewal_deadline(self.patience.request);
                [setup, answer, idle, session, renewal, link.muted_until].into_iter().flatten().min()
            }
        });
        self.timers.set(peer, at);
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Returns the versions that a peer offers, if it is ready.
    pub(super) fn versions(&self, peer: Peer) -> Option<&Versions> {
        match &self.links.get(&peer)?.state {
            State::Ready { versions, .. } => Some(versions),
            _ => None,
        }
    }

    /// Returns whether a peer accepts one more request, with at most `max_in_flight` unanswered. While the last request
    /// is not written yet, another one would only wait behind it.
    pub(super) fn has_room(&self, peer: Peer, max_in_flight: usize, now: Instant) -> bool {
        self.links.get(&peer).is_some_and(|link| {
            matches!(link.state, State::Ready { .. })
                && link.muted_until.is_none()
                && (link.authentication.is_none() || self.faults.has(Mutant::SendBehindHandshake))
                && !link.session.as_ref().is_some_and(|session| session.has_ended(now))
                && (!link.is_retiring || self.faults.has(Mutant::FeedRetiring))
                && link.pending.len() < max_in_flight
                && link.pending.back().is_none_or(|last| last.is_written)
        })
    }
}
