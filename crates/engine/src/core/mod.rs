//! The producer's control plane: a state machine that decides which requests to send, and what their responses mean.
//!
//! It has no sockets, tasks, clocks or randomness of its own: the same seed and inputs always give the same actions.
//!
//! ```text
//!                Input, now                                  Action
//!   driver ─────────────────▶  Core: metadata · connections  ─────────▶ driver
//!   accumulator, sockets             ids · sender                       sockets, accumulator, cells
//! ```
//!
//! The core sees batches, never records. Its caller passes the time; [`Core::next_timeout`] says when to call again.

mod access;
mod action;
mod advice;
mod backoff;
mod connection;
mod context;
mod idempotence;
mod input;
mod key;
mod metadata;
mod question;
mod refresh;
mod response;
mod sender;
mod timer;
mod versions;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kurier_protocol::messages::{InitProducerIdRequest, MetadataRequest, MetadataResponse, ProduceRequest};
use kurier_protocol::record_batch::Sequence;
use kurier_protocol::{ErrorCode, Message, Request, read_response};

use crate::accumulator::batch::Taken;
use crate::accumulator::{Left, Signal};
use crate::config::Config;
use crate::error::{Cause, Error, ErrorKind, Written};
use crate::fault_injection::{FaultInjection, Mutant};
pub use access::{CredentialError, Entropy, FetchReason, Grant, Job, SeededEntropy};
pub use action::{Action, Actions, ConnectionId, LocalAction, Payload};
use backoff::SLOW;
use connection::choice::{Errand, Nobody};
use connection::{Connections, Event, Peer};
use context::Context;
use idempotence::ProducerIds;
pub use input::{Ending, Input};
pub use key::Key;
use metadata::{Changes, Idle, Metadata, Useless};
use question::Question;
use refresh::QuestionId;
use sender::Sender;
use versions::{Need, Versions};

/// Why a request was not sent.
#[derive(Debug)]
enum Unasked {
    /// The peer does not offer the API, and its connection was closed.
    Lost,
    /// The request cannot be encoded in this version.
    Unsendable { version: i16 },
}

/// The control plane.
#[derive(Debug)]
pub struct Core {
    cx: Context,
    sender: Sender,
}

impl Core {
    /// Creates a core that begins each new producer id at `first_sequence`: 0, except in tests.
    pub fn new(
        config: Arc<Config>,
        seed: u64,
        entropy: Box<dyn Entropy>,
        first_sequence: Sequence,
        faults: FaultInjection,
        now: Instant,
    ) -> Self {
        let mut core = Self {
            cx: Context {
                now,
                metadata: Metadata::new(&config, seed ^ 1, faults, now),
                connections: Connections::new(&config, seed ^ 2, entropy, faults, now),
                ids: ProducerIds::new(&config, first_sequence, now),
                another_id_at: None,
                random: fastrand::Rng::with_seed(seed),
                config,
                faults,
                actions: Actions::new(),
            },
            sender: Sender::default(),
        };
        core.advance();
        core
    }

    /// Handles an input.
    pub fn handle(&mut self, input: Input, now: Instant) {
        self.cx.now = now;
        let Self { cx, sender } = self;
        match input {
            Input::Signal(Signal::Wanted { topic, partitions }) | Input::Wanted { topic, partitions } => {
                cx.metadata.want(&topic, partitions, now)
            }
            // A late signal of a partition that was removed meanwhile: its batch has its outcome.
            Input::Signal(Signal::Opened { partition, .. } | Signal::Full { partition })
                if cx.metadata.place(partition).is_none() => {}
            Input::Signal(Signal::Opened { partition, since, is_full }) => {
                cx.metadata.use_partition(partition, now);
                sender.handle_opened(partition, Left { since, is_full }, cx);
            }
            Input::Signal(Signal::Full { partition }) => {
                cx.metadata.use_partition(partition, now);
                sender.handle_full(partition, cx);
            }
            Input::Signal(Signal::Pressure) | Input::Hurry => sender.hurry(cx),
            Input::Unwanted(topic) => cx.metadata.forget(&topic),
            Input::Abandon => sender.abandon(cx),
            Input::Taken { node, batches, left } => {
                batches.iter().for_each(|(partition, _)| cx.metadata.use_partition(*partition, now));
                sender.handle_taken(node, batches, left, cx);
            }
            Input::Drained { partition, batches, left, why } => {
                sender.handle_drained(partition, batches, left, &why, cx);
            }
            Input::Split { partition, whole, pieces } => sender.handle_split(partition, whole, pieces, cx),
            Input::Retired(topic) => {
                for partition in cx.metadata.retire(&topic, now) {
                    sender.forget(partition, cx);
                }
            }
            Input::Connected { connection, is_private } => {
                cx.connections.handle_connected(connection, is_private, now);
            }
            Input::Credentials(fetched) => cx.connections.handle_credentials(fetched, now),
            Input::Computed { connection, proof } => cx.connections.handle_computed(connection, proof, now),
            Input::TlsChanged => cx.connections.handle_new_certificates(),
            Input::Written { connection, correlation_id } => {
                cx.connections.handle_written(connection, correlation_id, now);
            }
            Input::Received { connection, frame } => cx.connections.handle_received(connection, frame, now),
            Input::Disconnected { connection, ending } => {
                cx.connections.handle_disconnected(connection, ending, now);
            }
        }
        self.advance();
    }

    /// Performs the work that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.cx.now = now;
        self.cx.connections.handle_timeout(now);
        self.follow_events();
        self.sender.handle_timeout(&mut self.cx);
        self.advance();
    }

    /// Takes all batches, each with whether it may have been sent, after a panic inside the core.
    pub fn dismantle(&mut self) -> Vec<(Taken, Written)> {
        self.sender.dismantle()
    }

    /// Returns the next action. Call it until it returns `None`.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.cx.poll_action()
    }

    /// Returns when to call [`Self::handle_timeout`], unless an input comes first.
    pub fn next_timeout(&self, now: Instant) -> Option<Instant> {
        /// Retry interval when no node can accept a request.
        const LOOK_AGAIN: Duration = Duration::from_millis(250);
        let Context { metadata, connections, ids, another_id_at, .. } = &self.cx;
        let next_id = ids.next_ask().filter(|_| self.wants_producer_id());
        let asks = [metadata.next_ask(now), next_id].into_iter().flatten().map(|at| match at <= now {
            true => now + LOOK_AGAIN,
            false => at,
        });
        asks.chain(metadata.gives_up_at())
            .chain(*another_id_at)
            .chain(connections.next_timeout())
            .chain(self.sender.next_timeout())
            .min()
    }

    /// Describes unfinished work; empty when there is none.
    #[cfg(any(test, feature = "internal"))]
    pub fn leftovers(&self) -> Vec<String> {
        let Context { metadata, connections, .. } = &self.cx;
        let mut left = self.sender.leftovers();
        // Metadata requests are normal at any time.
        left.extend(connections.leftovers(|question| matches!(question, Question::Metadata(_))));
        left.extend(metadata.leftovers());
        left
    }

    /// Returns the connections that are established or being established.
    #[cfg(any(test, feature = "internal"))]
    pub fn connections(&self) -> impl Iterator<Item = ConnectionId> {
        self.cx.connections.open()
    }

    /// Returns whether any server has described the cluster.
    pub fn is_connected(&self) -> bool {
        self.cx.metadata.is_known()
    }

    /// Returns the last error that a broker gave for a topic, unless it was success.
    pub fn topic_error(&self, topic: &str) -> Option<ErrorCode> {
        self.cx.metadata.topic_error(topic)
    }

    /// Describes why a topic is not known, for an error text.
    pub fn obstacle(&self, topic: &str) -> String {
        if let Some(code) = self.topic_error(topic) {
            let advice = match code {
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => ": create it, or check its name",
                _ => "",
            };
            return format!("{code}, {}{advice}", code.meaning());
        }
        self.obstacles().unwrap_or_else(|| "no broker has said anything of it yet".to_owned())
    }

    /// Returns the error for calls that wait for the cluster, if waiting would not help: brokers refuse the
    /// credentials, or the configuration does not match theirs.
    pub fn verdict(&self) -> Option<&Error> {
        self.cx.connections.verdict()
    }

    /// Describes why servers of the cluster cannot be reached, server by server.
    pub fn obstacles(&self) -> Option<String> {
        self.cx.obstacles()
    }

    /// Describes what holds up the oldest batch without an outcome; `None` if there is no such batch.
    pub fn batch_obstacle(&mut self, now: Instant) -> Option<String> {
        self.cx.now = now;
        self.sender.obstacle(&self.cx)
    }

    /// Follows the connections' events, and sends the requests that are due and possible.
    fn advance(&mut self) {
        self.follow_events();
        for ask in [Self::give_up_nodes, Self::ask_metadata, Self::ask_producer_id] {
            ask(self);
            self.follow_events();
        }
        self.sender.pump(&mut self.cx);
    }

    /// Asks the bootstrap servers again if no node has described the cluster for long.
    fn give_up_nodes(&mut self) {
        if self.cx.metadata.gives_up_at().is_some_and(|at| at <= self.cx.now) {
            self.rebootstrap("nothing was heard of the cluster for metadata.recovery.rebootstrap.trigger.ms");
        }
    }

    fn ask_metadata(&mut self) {
        if !self.cx.metadata.asks(self.cx.now) {
            return;
        }
        self.cx.metadata.try_to_ask(self.cx.now);
        self.retire_topics();
        let is_the_same = |question: &Question| matches!(question, Question::Metadata(_));
        let Ok(peer) = self.anyone(is_the_same, |_| true) else { return };
        loop {
            let request = self.cx.metadata.request(self.cx.now);
            let question = self.cx.metadata.next_question();
            match self.ask(peer, &request, Question::Metadata(question)) {
                Ok(()) => self.cx.metadata.asked(question, self.cx.now),
                // Leave out the topics that cannot be encoded, and ask for the others.
                Err(Unasked::Unsendable { version }) if self.refuse_unsendable(version) => continue,
                Err(Unasked::Unsendable { .. }) => self.cx.metadata.put_off(self.cx.now),
                Err(Unasked::Lost) => {}
            }
            return;
        }
    }

    /// Refuses those topics of the last metadata request that cannot be encoded. Returns whether there were any.
    fn refuse_unsendable(&mut self, version: i16) -> bool {
        let unsendable = self.cx.metadata.take_unsendable(version);
        let is_any = !unsendable.is_empty();
        for (topic, why) in unsendable {
            let text = format!(
                "topic {}: its name of {} bytes does not fit into a request: use a shorter name",
                crate::error::printable(&topic),
                topic.len()
            );
            let error = Error::new(ErrorKind::Metadata, text).caused_by(why);
            self.cx.push(Action::Refuse { topic, error });
        }
        is_any
    }

    /// Requests the removal of topics that have been idle for long, as Java does when it refreshes metadata, or that are
    /// too many.
    fn retire_topics(&mut self) {
        let mut early_looks = self.cx.metadata.early_looks();
        while let Some(Idle { topic, partitions, used_at }) = self.cx.metadata.next_idle(&mut early_looks, self.cx.now)
        {
            let Context { now, config, faults, metadata, .. } = &mut self.cx;
            // Until then, a batch that failed without a response may still arrive at a broker.
            let settled_at = used_at + config.linger + 2 * config.delivery_timeout;
            match partitions.iter().all(|id| self.sender.can_forget(*id, settled_at, *now)) {
                true => self.cx.push(LocalAction::Retire { topic, partitions }),
                false if faults.has(Mutant::RetireBusy) => {}
                false => metadata.keep(&topic),
            }
        }
    }

    fn wants_producer_id(&self) -> bool {
        let Context { ids, faults, .. } = &self.cx;
        let is_idle = || ids.is_enabled() && ids.current().is_none();
        self.sender.awaits_producer_id() || (faults.has(Mutant::AskIdForever) && is_idle())
    }

    fn ask_producer_id(&mut self) {
        if self.cx.another_id_at.take_if(|at| *at <= self.cx.now).is_some() {
            self.cx.ids.ask_another();
        }
        if !self.wants_producer_id() || self.cx.ids.next_ask().is_none_or(|at| at > self.cx.now) {
            return;
        }
        let need = Need::producer_id();
        let is_the_same = |question: &Question| matches!(question, Question::ProducerId);
        let offers = |versions: &Versions| versions.needed::<InitProducerIdRequest>(&need).is_some();
        let peer = match self.anyone(is_the_same, offers) {
            Ok(peer) => peer,
            Err(Nobody::Offers(_)) if self.cx.faults.has(Mutant::SilentWithoutApi) => return,
            Err(Nobody::Offers(peer)) => {
                let Context { connections, .. } = &self.cx;
                let Some(versions) = connections.versions(peer) else { return };
                let error = need.error(&connections.name(peer), versions);
                return self.sender.fail_without_producer_id(&error, &mut self.cx);
            }
            Err(Nobody::Yet | Nobody::Left) => return,
        };
        let request =
            InitProducerIdRequest { transactional_id: None, transaction_timeout_ms: i32::MAX, ..Default::default() };
        if self.ask(peer, &request, Question::ProducerId).is_ok() {
            self.cx.ids.asked();
            self.cx.another_id_at = Some(self.cx.now + SLOW);
        }
    }

    /// Picks a peer for a request that any peer can answer, skipping peers that already have the same request. Falls
    /// back to the bootstrap servers when no node is left.
    fn anyone(
        &mut self,
        is_the_same: impl Fn(&Question) -> bool,
        offers: impl Fn(&Versions) -> bool,
    ) -> Result<Peer, Nobody> {
        let Context { now, config, metadata, connections, .. } = &mut self.cx;
        let errand = Errand { is_the_same: &is_the_same, offers: &offers, max_in_flight: config.max_in_flight };
        // With a short backoff some node is always about to be retried, so the core would never ask the bootstrap
        // servers.
        if metadata.recovers() && !metadata.is_bootstrapping() && connections.is_every_node_unreachable() {
            tracing::info!("the last attempt to reach each node failed; asking the bootstrap servers again");
            metadata.rebootstrap(*now);
        }
        match connections.anyone(errand, metadata.is_bootstrapping(), *now) {
            Err(Nobody::Left) if metadata.recovers() && !metadata.is_bootstrapping() => {
                tracing::info!("cannot reach any node of the cluster; asking the bootstrap servers again");
                metadata.rebootstrap(*now);
                connections.anyone(errand, true, *now)
            }
            found => found,
        }
    }

    /// Closes all connections and starts again with the bootstrap servers (KIP-1102).
    fn rebootstrap(&mut self, why: &str) {
        tracing::warn!(why, "closing all connections and asking the bootstrap servers again");
        self.cx.metadata.rebootstrap(self.cx.now);
        self.cx.connections.lose_all(None, why, self.cx.now);
    }

    /// Sends a request to a peer that is ready. A request that cannot be encoded is not the peer's fault.
    fn ask<R: Request>(&mut self, peer: Peer, request: &R, question: Question) -> Result<(), Unasked> {
        let Context { now, connections, .. } = &mut self.cx;
        let Some(version) = connections.versions(peer).and_then(Versions::highest::<R>) else {
            let why = connections.versions(peer).map_or_else(String::new, Versions::lack::<R>);
            connections.lose(peer, why.into(), *now);
            return Err(Unasked::Lost);
        };
        connections.send(peer, request, version, question, true, *now).map_err(|error| {
            tracing::error!(%error, "could not encode a request");
            Unasked::Unsendable { version }
        })
    }

    /// Handles the events of the connections.
    fn follow_events(&mut self) {
        while let Some(event) = self.cx.connections.poll_event() {
            match event {
                Event::Moved(_) if self.cx.faults.has(Mutant::MoveWakesNobody) => {}
                Event::Ready(peer)
                | Event::Written(peer)
                | Event::Idle(peer)
                | Event::Unmuted(peer)
                | Event::Moved(peer)
                | Event::Gone(peer) => self.sender.wake(peer),
                Event::Sent { peer, question } => {
                    if let Question::Produce(sent) = question {
                        self.sender.handle_sent(sent, &mut self.cx);
                    }
                    self.sender.wake(peer);
                }
                Event::Answered { peer, version, question, frame } => {
                    self.handle_answer(peer, version, question, &frame);
                    self.sender.wake(peer);
                }
                Event::Lost { peer, unanswered, why } => {
                    for unanswered in unanswered {
                        self.handle_unanswered(peer, unanswered.question, unanswered.is_written, &why);
                    }
                    // The partitions that this node led may have new leaders.
                    if self.cx.metadata.is_known() {
                        self.cx.metadata.doubt();
                    }
                    self.sender.wake(peer);
                }
            }
        }
    }

    fn handle_unanswered(&mut self, peer: Peer, question: Question, is_written: bool, why: &Cause) {
        match question {
            Question::Metadata(question) => self.cx.metadata.handle_failure(question, self.cx.now),
            Question::ProducerId => {
                self.cx.another_id_at = None;
                self.cx.ids.handle_failure(self.cx.now, &mut self.cx.random);
            }
            Question::Produce(sent) => self.sender.handle_lost(sent, is_written, peer, why, &mut self.cx),
        }
    }

    fn handle_answer(&mut self, peer: Peer, version: i16, question: Question, frame: &Bytes) {
        let handled = match question {
            Question::Metadata(question) => match read::<MetadataRequest>(frame, version) {
                Ok(response) => {
                    self.throttle::<MetadataRequest>(peer, version, response.throttle_time_ms);
                    self.take_metadata(peer, question, response)
                }
                Err(why) => {
                    self.cx.metadata.handle_failure(question, self.cx.now);
                    Err(why)
                }
            },
            Question::ProducerId => match read::<InitProducerIdRequest>(frame, version) {
                Ok(response) => {
                    self.cx.another_id_at = None;
                    self.throttle::<InitProducerIdRequest>(peer, version, response.throttle_time_ms);
                    match self.cx.ids.handle_response(&response, self.cx.now, &mut self.cx.random) {
                        Ok(()) => self.sender.handle_producer_id(&mut self.cx),
                        Err(code) => {
                            let text = format!(
                                "{} refused a producer id, which enable.idempotence=true needs",
                                self.cx.connections.name(peer)
                            );
                            let error = Error::new(ErrorKind::Refused, text).with_code(Some(code));
                            let error = error.caused_by(Error::refused(code, None));
                            self.sender.fail_without_producer_id(&error, &mut self.cx);
                        }
                    }
                    Ok(())
                }
                Err(why) => {
                    self.cx.ids.handle_failure(self.cx.now, &mut self.cx.random);
                    Err(why)
                }
            },
            Question::Produce(sent) => match read::<ProduceRequest>(frame, version) {
                Ok(response) => {
                    self.throttle::<ProduceRequest>(peer, version, response.throttle_time_ms);
                    let handled = self.sender.handle_response(sent, &response, peer, &mut self.cx);
                    if !response.node_endpoints.is_empty() {
                        self.set_nodes();
                        // The response named new nodes. Batches that waited for them can be sent now.
                        self.sender.handle_moved(&[], &mut self.cx);
                    }
                    handled
                }
                // An unreadable response may have been a success.
                Err(why) => {
                    self.sender.handle_lost(sent, true, peer, &why, &mut self.cx);
                    Err(why)
                }
            },
        };
        if let Err(why) = handled {
            self.cx.connections.lose(peer, why, self.cx.now);
        }
    }

    /// Mutes a peer for the time that its response asks for. In lower versions the broker has already waited that time
    /// before it answered (KIP-219).
    fn throttle<R: Request>(&mut self, peer: Peer, version: i16, throttle_time_ms: i32) {
        let is_asked = version >= if R::KEY == InitProducerIdRequest::KEY { 1 } else { 6 };
        if is_asked && !self.cx.faults.has(Mutant::IgnoreThrottle) {
            self.cx.connections.throttle(peer, throttle_time_ms, self.cx.now);
        }
    }

    /// Applies a metadata response. An error says why the response is unusable.
    fn take_metadata(&mut self, peer: Peer, question: QuestionId, response: MetadataResponse) -> Result<(), Cause> {
        let Context { now, metadata, connections, .. } = &mut self.cx;
        if response.error_code == ErrorCode::REBOOTSTRAP_REQUIRED && metadata.recovers() {
            metadata.handle_failure(question, *now);
            self.rebootstrap("a broker requires it (REBOOTSTRAP_REQUIRED)");
            return Ok(());
        }
        match metadata.handle_response(question, response, matches!(peer, Peer::Seed(_)), *now) {
            Ok(changes) => self.take_changes(peer, changes),
            Err(Useless::Refusal(why)) => return Err(why.into()),
            Err(Useless::Astray(why)) => connections.lose_astray(peer, why.into(), *now),
        }
        Ok(())
    }

    /// Updates the connections to match the cluster's nodes, as known from metadata or a leader hint.
    fn set_nodes(&mut self) {
        let Context { now, metadata, connections, .. } = &mut self.cx;
        connections.set_nodes(metadata.nodes(), metadata.cluster_id(), *now);
        self.follow_events();
    }

    fn take_changes(&mut self, from: Peer, changes: Changes) {
        let Changes { is_another_cluster, layouts, moved, elected, recreated, refused } = changes;
        if is_another_cluster {
            tracing::warn!("the bootstrap servers now lead to another cluster");
            self.cx.connections.lose_all(Some(from), "it belongs to the previous cluster", self.cx.now);
            self.follow_events();
            self.sender.handle_another_cluster(&mut self.cx);
        }
        self.cx.connections.forgive();
        self.set_nodes();
        layouts.into_iter().for_each(|layout| self.cx.push(LocalAction::Publish(layout)));
        for (topic, code) in refused {
            let text = format!("topic {}: {code}, {}", crate::error::printable(&topic), code.meaning());
            let error = Error::new(ErrorKind::Metadata, text).with_code(Some(code));
            self.cx.push(Action::Refuse { topic, error });
        }
        for partition in recreated {
            self.sender.handle_recreated(partition, &mut self.cx);
        }
        self.sender.handle_elected(&elected, &mut self.cx);
        self.sender.handle_moved(&moved, &mut self.cx);
    }
}

fn read<R: Request>(frame: &Bytes, version: i16) -> Result<R::Response, Cause> {
    let response = read_response::<R>(frame, version).map(|(_, response)| response);
    response.map_err(|error| Cause::from(error).context("cannot read its response"))
}

#[cfg(test)]
mod tests;
