//! Simulated network: connections, frames in transit, their arrival, and the end of connections.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kurier_broker::{Reply, Session};
use kurier_protocol::messages::{ApiVersionsRequest, InitProducerIdRequest, MetadataRequest, ProduceRequest};
use kurier_protocol::{CorrelationId, Message, NodeId, RequestHeader, read_response};

use super::fault_row::FaultRow;
use super::invariant::{Invariant, violation};
use super::plan::topic_name;
use super::sasl::conversation::{Conversation, is_handshake, is_sasl};
use super::sasl::exchange::Meaning;
use super::wire::{Spot, Wire, show_all};
use super::world::{World, ms};
use kurier_engine::accumulator::Clock;
use kurier_engine::config::HostPort;
use kurier_engine::core::{ConnectionId, Ending, Input};

/// A scheduled event.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    Connected(ConnectionId),
    NotConnected(ConnectionId),
    /// The kernel has accepted all of the first unaccepted frame.
    Accepted(ConnectionId),
    /// A node reads the next request.
    Serve(ConnectionId),
    /// A response arrives.
    Deliver(ConnectionId),
    /// The node closes the connection.
    Closed(ConnectionId),
    /// Held compression ends.
    LetGo,
    /// The cluster learns the newest login.
    Accounts,
    /// The producer gets the newest login.
    Credentials,
}

/// A connection. It may outlive the producer's use of it, while frames are in transit.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) node: NodeId,
    port: u16,
    /// The number of failures in a row before it.
    failures: u32,
    /// Whether its ApiVersions response has arrived; with SASL, whether it was used for other requests.
    is_ready: bool,
    pub(super) used_at: Instant,
    /// Unanswered requests: the correlation id and the API.
    questions: Vec<(CorrelationId, i16)>,
    pub(super) is_connected: bool,
    /// Whether the producer still uses it.
    pub(super) is_open: bool,
    /// When the producer stopped using it.
    pub(super) left_at: Instant,
    /// Whether no response arrives any more.
    pub(super) is_deaf: bool,
    /// Whether the node has closed it.
    pub(super) is_shut: bool,
    /// The node's side of SASL.
    pub(super) session: Session,
    pub(super) talk: Conversation,
    pub(super) up: VecDeque<Frame>,
    pub(super) accepted_at: Instant,
    pub(super) arrived_at: Instant,
    pub(super) down: VecDeque<Answer>,
    pub(super) delivered_at: Instant,
}

impl Line {
    /// Returns whether requests other than those of the handshake are in flight.
    pub(super) fn has_questions(&self) -> bool {
        self.questions.iter().any(|(_, key)| !is_handshake(*key))
    }
}

#[derive(Debug)]
pub(super) struct Frame {
    pub(super) correlation_id: CorrelationId,
    /// The producer's own memory.
    pub(super) chunks: Vec<Bytes>,
    pub(super) is_accepted: bool,
    pub(super) arrives_at: Instant,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) at: Instant,
    pub(super) frame: Bytes,
    pub(super) correlation_id: CorrelationId,
    pub(super) key: i16,
    pub(super) version: i16,
    /// Batches that the node recognised as duplicates.
    pub(super) duplicates: Vec<(Spot, u64)>,
    pub(super) throttle_time_ms: i32,
    /// Only for answers of SASL.
    pub(super) meaning: Meaning,
}

impl World<'_> {
    pub(super) fn latency(&mut self) -> Duration {
        let highest = u64::try_from(self.plan.latency.as_micros()).unwrap_or_default();
        Duration::from_micros(self.random.u64(0..=highest))
    }

    pub(super) fn connect(&mut self, connection: ConnectionId, host: &HostPort, failures: u32) {
        let now = self.now();
        self.pace_connect(host.port, failures);
        let found = self.ports.get(&host.port).copied();
        trace!(self, "{connection:?} to {host}, node {found:?}");
        if self.watch.moved_ports.remove(&host.port) {
            self.hit(FaultRow::HostMovedUnused, "connected to a node that had moved while nobody sent");
        }
        let node = found.unwrap_or(NodeId::NONE);
        let line = Line {
            node,
            port: host.port,
            failures,
            is_ready: false,
            used_at: now,
            questions: Vec::new(),
            is_connected: false,
            is_open: true,
            left_at: now,
            is_deaf: false,
            is_shut: false,
            session: Session::default(),
            talk: Conversation::new(),
            up: VecDeque::new(),
            accepted_at: now,
            arrived_at: now,
            down: VecDeque::new(),
            delivered_at: now,
        };
        self.lines.insert(connection, line);
        let after = self.latency() + self.latency();
        let luck = if self.is_well { 99 } else { self.random.u32(0..100) };
        if luck < self.plan.connect_failure {
            // Half of the failed attempts never get a response.
            if luck % 2 == 0 {
                self.at(now + after, Event::NotConnected(connection));
            }
        } else if self.is_reachable(node) {
            self.at(now + after, Event::Connected(connection));
        } else {
            self.at(now + after, Event::NotConnected(connection));
        }
    }

    /// Returns whether a connection to a node can be made.
    fn is_reachable(&self, node: NodeId) -> bool {
        self.cluster.is_up(node) && !self.unreachable.contains(&node)
    }

    pub(super) fn transmit(&mut self, connection: ConnectionId, correlation_id: CorrelationId, chunks: Vec<Bytes>) {
        let Some(line) = self.lines.get(&connection).filter(|line| line.is_open) else { return };
        let (node, now) = (line.node, self.now());
        let frame = Bytes::from(chunks.concat()).slice(4..);
        self.pace.outputs += 1;
        match RequestHeader::read(&frame) {
            Ok((header, body)) => {
                // With lumpy inputs, the core may have sent this before it handled the throttle time. A session may end
                // before that time, so its renewal does not wait.
                if !self.plan.is_lumpy && !is_sasl(header.api_key) {
                    let on_time = self.wire.check_throttle(connection, self.driver.clock.elapsed());
                    self.ensure(on_time);
                }
                self.check_talk(connection, header.api_key);
                let has_sasl = self.sasl.is_some();
                if let Some(line) = self.lines.get_mut(&connection) {
                    line.questions.push((correlation_id, header.api_key));
                    line.is_ready |= has_sasl && !is_handshake(header.api_key);
                    // A renewal of the session does not count as a use of the connection.
                    if !is_sasl(header.api_key) || !line.talk.is_proven {
                        line.used_at = now;
                    }
                }
                self.look_at(connection, node, correlation_id, &header, &body);
            }
            Err(error) => self.fail(violation(Invariant::SoundSequences, format!("a request cannot be read: {error}"))),
        }
        // Usually the kernel has room.
        let wait = match self.random.u32(0..100) {
            _ if self.is_well => Duration::ZERO,
            0..85 => Duration::ZERO,
            85..98 => Duration::from_micros(self.random.u64(0..5_000)),
            _ => ms(self.random.u64(0..1_000)),
        };
        let Some(line) = self.lines.get_mut(&connection) else { return };
        line.accepted_at = line.accepted_at.max(now + wait);
        let at = line.accepted_at;
        line.up.push_back(Frame { correlation_id, chunks, is_accepted: false, arrives_at: at });
        self.at(at, Event::Accepted(connection));
    }

    /// Checks an outgoing request.
    fn look_at(
        &mut self,
        connection: ConnectionId,
        node: NodeId,
        correlation_id: CorrelationId,
        header: &RequestHeader,
        body: &Bytes,
    ) {
        let (key, version) = (header.api_key, header.api_version);
        if key != ProduceRequest::KEY {
            trace!(self, "{connection:?} ▶ node {node}: API {key} #{correlation_id} of {} bytes", body.len());
        }
        match key {
            ProduceRequest::KEY => match Wire::parse(body, version, &self.ledger) {
                Ok(batches) => {
                    if self.trace.is_some() {
                        let batches = show_all(&batches);
                        trace!(self, "{connection:?} ▶ node {node}: Produce #{correlation_id}{batches}");
                    }
                    self.meet_send(node, &batches);
                    let now = self.driver.clock.elapsed();
                    let is_small = self.check_caps(&batches);
                    self.ensure(is_small);
                    let sent = self.wire.send((connection, node), correlation_id, batches, &self.ledger, now);
                    for (row, what) in std::mem::take(&mut self.wire.met) {
                        self.hit(row, what);
                    }
                    self.ensure(sent);
                }
                Err(violation) => self.fail(violation),
            },
            MetadataRequest::KEY => {
                if let Ok(request) = MetadataRequest::read(body, version) {
                    let names = request.topics.into_iter().flatten().filter_map(|topic| topic.name);
                    self.pace_metadata(connection, correlation_id, names.collect());
                }
                self.meet_question();
            }
            InitProducerIdRequest::KEY => self.pace_id(),
            _ => {}
        }
    }

    pub(super) fn take_place(&mut self, event: Event) {
        // The breaker's model must see the core's requests before a close.
        if !self.plan.is_lumpy || (self.sasl.is_some() && matches!(event, Event::Closed(_))) {
            self.drain();
        }
        match event {
            Event::Connected(connection) => {
                let Some(line) = self.lines.get(&connection).filter(|line| line.is_open) else { return };
                let node = line.node;
                if !self.is_reachable(node) {
                    return self.cut(connection, "refused");
                }
                if let Some(line) = self.lines.get_mut(&connection) {
                    line.is_connected = true;
                }
                self.driver.handle(Input::Connected { connection, is_private: true });
            }
            Event::NotConnected(connection) => self.cut(connection, "refused"),
            Event::Accepted(connection) => self.accept(connection),
            Event::Serve(connection) => self.serve(connection),
            Event::Deliver(connection) => self.deliver(connection),
            Event::Closed(connection) => self.cut(connection, "closed by the node"),
            Event::LetGo => self.driver.let_go(),
            Event::Accounts => self.change_accounts(),
            Event::Credentials => self.change_credentials(),
        }
    }

    pub(super) fn accept(&mut self, connection: ConnectionId) {
        let (now, latency) = (self.now(), self.latency());
        let Some(line) = self.lines.get_mut(&connection).filter(|line| line.is_open) else { return };
        let Some(frame) = line.up.iter_mut().find(|frame| !frame.is_accepted) else { return };
        frame.is_accepted = true;
        line.arrived_at = line.arrived_at.max(now + latency);
        frame.arrives_at = line.arrived_at;
        let (at, correlation_id) = (line.arrived_at, frame.correlation_id);
        self.at(at, Event::Serve(connection));
        if self.plan.config.acks == kurier_engine::Acks::None {
            self.wire.forget(connection, correlation_id);
        }
        self.driver.handle(Input::Written { connection, correlation_id });
    }

    /// A node reads the next request of a connection, if there is one.
    pub(super) fn serve(&mut self, connection: ConnectionId) {
        let now = self.now();
        let Some(line) = self.lines.get(&connection) else { return };
        if line.is_shut {
            if !line.is_open {
                self.lines.remove(&connection);
            }
            return;
        }
        if !line.up.front().is_some_and(|frame| frame.is_accepted && frame.arrives_at <= now) {
            return;
        }
        if let Some(until) = self.paused.get(&line.node).filter(|until| **until > now) {
            return self.at(*until, Event::Serve(connection));
        }
        // A new producer id relies on no request arriving this late, because it does not fence the old id.
        if !line.is_open && now >= line.left_at + self.plan.config.delivery_timeout {
            self.lines.remove(&connection);
            return;
        }
        let Some(line) = self.lines.get_mut(&connection) else { return };
        let Some(frame) = line.up.pop_front() else { return };
        self.execute(connection, &frame);
        if self.lines.get(&connection).is_some_and(|line| !line.is_open && line.up.is_empty()) {
            self.lines.remove(&connection);
            return;
        }
        self.at(now, Event::Serve(connection));
    }

    /// A node executes a request, even if the producer no longer waits for the response.
    pub(super) fn execute(&mut self, connection: ConnectionId, frame: &Frame) {
        let Some(line) = self.lines.get(&connection) else { return };
        let (node, is_open) = (line.node, line.is_open);
        let request = Bytes::from(frame.chunks.concat()).slice(4..);
        let Ok((header, body)) = RequestHeader::read(&request) else { return };
        if is_sasl(header.api_key) {
            return self.execute_sasl(connection, frame, &header, &request);
        }
        let is_produce = header.api_key == ProduceRequest::KEY;
        let end = |spot: Spot| self.cluster.end_offset(topic_name(spot.topic), spot.index).unwrap_or_default();
        let asked = self.wire.asked(connection, frame.correlation_id);
        let asked = asked.map(|batch| (end(batch.spot), batch.clone())).collect();
        let (request, refused) = match is_produce && is_open && !self.is_well {
            true => self.refuse_some(&header, request, &body),
            false => (request, Vec::new()),
        };
        let reply = self.handle(connection, &request);
        if is_produce && !is_open {
            trace!(self, "node {node} executes #{} of {connection:?}, which has ended", frame.correlation_id);
        }
        match reply {
            Reply::Send { frame: answer, cut: None, .. } => {
                let answer = answer.slice(4..);
                let (answer, throttle_time_ms, duplicates) = self.tamper(&header, answer, asked, refused);
                let (at, key, version) = (self.now(), header.api_key, header.api_version);
                let correlation_id = frame.correlation_id;
                let meaning = Meaning::Useless;
                let answer =
                    Answer { at, frame: answer, correlation_id, key, version, duplicates, throttle_time_ms, meaning };
                self.answer(connection, answer);
            }
            Reply::Nothing => {}
            Reply::Hang => {
                if let Some(line) = self.lines.get_mut(&connection) {
                    line.is_deaf = true;
                }
            }
            _ => {
                self.check_close(connection, header.api_key);
                self.shut(connection);
            }
        }
    }

    /// A node handles a request of a connection.
    pub(super) fn handle(&mut self, connection: ConnectionId, request: &Bytes) -> Reply {
        let now_ms = self.driver.clock.wall_ms();
        match self.lines.get_mut(&connection) {
            Some(line) => self.cluster.handle_on(line.node, &mut line.session, request, now_ms, false),
            None => Reply::Close,
        }
    }

    pub(super) fn answer(&mut self, connection: ConnectionId, mut answer: Answer) {
        let latency = self.latency();
        let Some(line) = self.lines.get_mut(&connection).filter(|line| line.is_open) else { return };
        line.delivered_at = line.delivered_at.max(answer.at + latency);
        if let Some(late) = self.late.get(&line.node) {
            line.delivered_at = line.delivered_at.max(*late);
        }
        answer.at = line.delivered_at;
        line.down.push_back(answer);
        let at = line.delivered_at;
        self.at(at, Event::Deliver(connection));
    }

    pub(super) fn deliver(&mut self, connection: ConnectionId) {
        let now = self.now();
        let Some(line) = self.lines.get_mut(&connection).filter(|line| line.is_open && !line.is_deaf) else { return };
        let Some(answer) = line.down.pop_front_if(|answer| answer.at <= now) else { return };
        let (node, id) = (line.node, answer.correlation_id);
        if !is_sasl(answer.key) || !line.talk.is_proven {
            line.used_at = now;
        }
        line.questions.retain(|(other, _)| *other != id);
        line.is_ready |= answer.key == ApiVersionsRequest::KEY && self.sasl.is_none();
        if is_sasl(answer.key) {
            self.drain();
            self.deliver_sasl(connection, answer.meaning);
            return self.driver.handle(Input::Received { connection, frame: answer.frame });
        }
        let version = answer.version;
        match answer.key {
            ProduceRequest::KEY => {
                if let Ok((_, response)) = read_response::<ProduceRequest>(&answer.frame, version) {
                    if self.trace.is_some() {
                        let answers = response.responses.iter().flat_map(|topic| &topic.partition_responses);
                        let answers: Vec<String> =
                            answers.map(|a| format!("{}: {} at {}", a.index, a.error_code, a.base_offset)).collect();
                        trace!(self, "{connection:?} ◀ node {node}: #{id} {}", answers.join(", "));
                    }
                    for (spot, first) in answer.duplicates {
                        self.wire.found_duplicate(spot, first);
                    }
                    self.meet_answer(connection, id, &response);
                    self.wire.answered(connection, id, &response, &self.ledger, self.driver.clock.elapsed());
                }
            }
            MetadataRequest::KEY => {
                trace!(self, "{connection:?} ◀ node {node}: #{id} about the cluster");
                if self.pace_told(connection, id, true)
                    && let Ok((_, response)) = read_response::<MetadataRequest>(&answer.frame, version)
                {
                    self.meet_metadata(&response);
                }
            }
            InitProducerIdRequest::KEY => {
                if let Ok((_, response)) = read_response::<InitProducerIdRequest>(&answer.frame, version) {
                    match response.error_code.is_none() {
                        false => {
                            self.pace.id_refused_at = Some(now);
                            self.watch.id_failures += 1;
                        }
                        true => {
                            self.wire.took_id(response.producer_id);
                            if std::mem::take(&mut self.watch.id_failures) > 0 {
                                self.hit(FaultRow::NoProducerId, "no id at first, and then one");
                            }
                        }
                    }
                }
            }
            _ => {}
        }
        if let Ok(throttle @ 1..) = u64::try_from(answer.throttle_time_ms) {
            // After this time all pending records have their outcome; no wait is longer because of throttling.
            let pause = ms(throttle).min(self.plan.config.delivery_timeout);
            self.wire.throttle(connection, self.driver.clock.elapsed() + pause);
        }
        self.driver.handle(Input::Received { connection, frame: answer.frame });
    }

    /// The producer closes a connection. Responses that have arrived meanwhile still reach the core.
    pub(super) fn end_line(&mut self, connection: ConnectionId) {
        let late: Vec<Bytes> = match self.lines.get_mut(&connection).filter(|line| line.is_open && !line.is_deaf) {
            Some(line) => line.down.drain(..).map(|answer| answer.frame).collect(),
            None => Vec::new(),
        };
        trace!(self, "{connection:?} is ended by the producer");
        self.meet_end(connection);
        self.leave(connection, true);
        for frame in late {
            self.hit(FaultRow::AnswerOfEndedConnection, "an answer on a connection that is given up");
            self.driver.handle(Input::Received { connection, frame });
        }
    }

    /// A connection breaks, and the producer gets the error.
    pub(super) fn cut(&mut self, connection: ConnectionId, why: &'static str) {
        let Some(is_connected) = self.lines.get(&connection).filter(|line| line.is_open).map(|line| line.is_connected)
        else {
            return;
        };
        trace!(self, "{connection:?} is cut: {why}");
        let ending = if is_connected { Ending::Closed(why) } else { Ending::Failed(why.into()) };
        self.meet_cut(connection);
        self.leave(connection, false);
        self.driver.handle(Input::Disconnected { connection, ending });
    }

    /// Ends the producer's use of a connection. Requests that the kernel has may still be executed, all or the first of
    /// them. If the producer closed the connection, so may the one that was being written.
    pub(super) fn leave(&mut self, connection: ConnectionId, by_us: bool) {
        let now = self.now();
        let Some(line) = self.lines.get_mut(&connection).filter(|line| line.is_open) else { return };
        (line.is_open, line.left_at) = (false, now);
        line.down.clear();
        let (port, failures) = (line.port, if line.is_ready { 1 } else { line.failures.saturating_add(1) });
        let questions: Vec<CorrelationId> =
            line.questions.drain(..).filter(|(_, key)| *key == MetadataRequest::KEY).map(|(id, _)| id).collect();
        let is_unconfirmed = by_us && line.up.iter().any(|frame| !frame.is_accepted);
        let may_get_through = |frame: &Frame| frame.is_accepted || by_us;
        let unsent: Vec<CorrelationId> =
            line.up.iter().filter(|frame| !may_get_through(frame)).map(|frame| frame.correlation_id).collect();
        line.up.retain(may_get_through);
        let executed = self.random.usize(0..=line.up.len());
        line.up.truncate(if self.cluster.is_up(line.node) && !line.is_shut { executed } else { 0 });
        // The delay until the node executes them. A broker does not find them much later than the sender gives up.
        let late = match self.random.u32(0..3) {
            0 => Duration::ZERO,
            1 => ms(self.random.u64(0..50)),
            _ => self.plan.config.request_timeout.mul_f64(self.random.f64()),
        };
        for frame in &mut line.up {
            frame.is_accepted = true;
            frame.arrives_at = frame.arrives_at.max(now + late);
            // The kernel has its own copy.
            frame.chunks = vec![frame.chunks.concat().into()];
        }
        let is_over = line.up.is_empty();
        if let Some(last) = line.up.back().map(|frame| frame.arrives_at) {
            for frame in &mut line.up {
                frame.arrives_at = last;
            }
            self.at(last, Event::Serve(connection));
        }
        if let Some(sasl) = &mut self.sasl {
            sasl.breaker.end(connection);
        }
        self.pace_ended(port, failures);
        for question in questions {
            self.watch.is_metadata_lost |= self.pace_told(connection, question, false);
        }
        self.wire.ended(connection, &unsent);
        if is_unconfirmed && self.plan.config.acks == kurier_engine::Acks::None {
            self.hit(
                FaultRow::UnansweredWrite,
                "a connection without answers ended before its last write was confirmed",
            );
        }
        if is_over {
            self.lines.remove(&connection);
        }
    }

    /// Lets everything in transit arrive.
    pub(super) fn settle_network(&mut self) {
        self.is_well = true;
        self.paused.clear();
        let open: Vec<ConnectionId> =
            self.lines.iter().filter(|(_, line)| line.is_open).map(|(connection, _)| *connection).collect();
        for connection in open {
            self.leave(connection, true);
        }
        let all: Vec<ConnectionId> = self.lines.keys().copied().collect();
        for connection in all {
            while let Some(frame) = self.lines.get_mut(&connection).and_then(|line| line.up.pop_front()) {
                self.execute(connection, &frame);
            }
        }
        self.lines.clear();
    }
}
