//! The network: who is connected to whom, what is on its way, when it arrives, and what ends it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kurier_broker::Reply;
use kurier_protocol::messages::ProduceRequest;
use kurier_protocol::{Message, RequestHeader, read_response};

use super::ledger::violation;
use super::wire::{Known, Wire, show_all};
use super::world::{TOPIC, World, ms};
use crate::accumulator::Clock;
use crate::config::HostPort;
use crate::core::{ConnectionId, Input};

/// What will happen at some moment.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    Connected(ConnectionId),
    NotConnected(ConnectionId),
    /// The kernel has all of the first frame that it had not.
    Accepted(ConnectionId),
    /// A node looks for a request.
    Serve(ConnectionId),
    /// An answer arrives.
    Deliver(ConnectionId),
    /// The other end closes.
    Closed(ConnectionId),
    /// What was compressed is done.
    LetGo,
}

/// A connection, also when the producer has no more of it: what it sent may be on its way.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) node: i32,
    pub(super) is_connected: bool,
    /// Whether the producer has it.
    pub(super) is_open: bool,
    /// Since when it has not.
    pub(super) left_at: Instant,
    /// Whether nothing comes back any more.
    pub(super) is_deaf: bool,
    pub(super) up: VecDeque<Frame>,
    pub(super) accepted_at: Instant,
    pub(super) arrived_at: Instant,
    pub(super) down: VecDeque<Answer>,
    pub(super) delivered_at: Instant,
}

#[derive(Debug)]
pub(super) struct Frame {
    pub(super) correlation_id: i32,
    /// As the producer handed them over; they are its memory.
    pub(super) chunks: Vec<Bytes>,
    pub(super) is_accepted: bool,
    pub(super) arrives_at: Instant,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) at: Instant,
    pub(super) frame: Bytes,
    /// Of Produce: the version.
    pub(super) produce: Option<i16>,
    pub(super) throttle_time_ms: i32,
}

impl World<'_> {
    pub(super) fn latency(&mut self) -> Duration {
        let highest = u64::try_from(self.plan.latency.as_micros()).unwrap_or_default();
        Duration::from_micros(self.random.u64(0..=highest))
    }

    pub(super) fn connect(&mut self, connection: ConnectionId, host: &HostPort) {
        let now = self.now();
        let found = self.ports.get(&host.port).copied();
        trace!(self, "{connection:?} to {host}, node {found:?}");
        let node = found.unwrap_or_default();
        let line = Line {
            node,
            is_connected: false,
            is_open: true,
            left_at: now,
            is_deaf: false,
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
            // Half of them never hear anything.
            if luck % 2 == 0 {
                self.at(now + after, Event::NotConnected(connection));
            }
        } else if self.cluster.is_up(node) {
            self.at(now + after, Event::Connected(connection));
        } else {
            self.at(now + after, Event::NotConnected(connection));
        }
    }

    pub(super) fn transmit(&mut self, connection: ConnectionId, correlation_id: i32, chunks: Vec<Bytes>) {
        let Some(line) = self.lines.get(&connection).filter(|line| line.is_open) else { return };
        let node = line.node;
        // What the core had said before it heard of it may yet go out.
        if !self.plan.is_lumpy {
            let on_time = self.wire.check_throttle(connection, self.hands.clock.elapsed());
            self.ensure(on_time);
        }
        let frame = Bytes::from(chunks.concat()).slice(4..);
        match RequestHeader::read(&frame) {
            Ok((header, body)) if header.api_key == ProduceRequest::KEY => {
                match Wire::parse(&body, header.api_version) {
                    Ok(batches) => {
                        if self.trace.is_some() {
                            let batches = show_all(&batches);
                            trace!(self, "{connection:?} ▶ node {node}: Produce #{correlation_id}{batches}");
                        }
                        for batch in &batches {
                            match self.wire.known(batch) {
                                Known::Same => self.hit(2, "sent again, byte for byte"),
                                Known::Restamped => self.hit(17, "sent again under another id or epoch"),
                                Known::First if !self.wire.is_acknowledged(batch) && batch.stamped.id >= 0 => {
                                    self.hit(13, "sent to a partition that has acknowledged nothing");
                                }
                                Known::First if batch.stamped.id < 0 && self.wire.is_busy(batch.index) => {
                                    self.hit(19, "several in flight without idempotence");
                                }
                                _ => {}
                            }
                            if batch.stamped.sequence > i32::MAX - 50 {
                                self.hit(14, "sequences near their end");
                            }
                            if batch.stamped.epoch == i16::MAX {
                                self.hit(15, "the last epoch");
                            }
                        }
                        let sent = self.wire.send(connection, correlation_id, batches, &self.ledger);
                        self.ensure(sent);
                    }
                    Err(violation) => self.fail(violation),
                }
            }
            Ok((header, _)) => trace!(self, "{connection:?} ▶ node {node}: API {} #{correlation_id}", header.api_key),
            Err(error) => self.fail(violation("I5", format!("a request cannot be read: {error}"))),
        }
        // Mostly the kernel has room.
        let wait = match self.random.u32(0..100) {
            _ if self.is_well => Duration::ZERO,
            0..85 => Duration::ZERO,
            85..98 => Duration::from_micros(self.random.u64(0..5_000)),
            _ => ms(self.random.u64(0..1_000)),
        };
        let now = self.now();
        let Some(line) = self.lines.get_mut(&connection) else { return };
        line.accepted_at = line.accepted_at.max(now + wait);
        let at = line.accepted_at;
        line.up.push_back(Frame { correlation_id, chunks, is_accepted: false, arrives_at: at });
        self.at(at, Event::Accepted(connection));
    }

    pub(super) fn take_place(&mut self, event: Event) {
        match event {
            Event::Connected(connection) => {
                let Some(line) = self.lines.get_mut(&connection).filter(|line| line.is_open) else { return };
                if !self.cluster.is_up(line.node) {
                    return self.cut(connection, "refused");
                }
                line.is_connected = true;
                self.hands.handle(Input::Connected(connection));
            }
            Event::NotConnected(connection) => self.cut(connection, "refused"),
            Event::Accepted(connection) => self.accept(connection),
            Event::Serve(connection) => self.serve(connection),
            Event::Deliver(connection) => self.deliver(connection),
            Event::Closed(connection) => self.cut(connection, "closed by the node"),
            Event::LetGo => self.hands.let_go(),
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
        if self.plan.config.acks == crate::Acks::None {
            self.wire.forget(connection, correlation_id);
        }
        self.hands.handle(Input::Written { connection, correlation_id });
    }

    /// A node takes the next request of a connection, if there is one.
    pub(super) fn serve(&mut self, connection: ConnectionId) {
        let now = self.now();
        let Some(line) = self.lines.get(&connection) else { return };
        if !line.up.front().is_some_and(|frame| frame.is_accepted && frame.arrives_at <= now) {
            return;
        }
        if let Some(until) = self.paused.get(&line.node).filter(|until| **until > now) {
            return self.at(*until, Event::Serve(connection));
        }
        // That nothing arrives so late is what a new producer id relies on: it does not fence the old one.
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

    /// A node does what it is asked, whether or not anybody waits for the answer.
    pub(super) fn execute(&mut self, connection: ConnectionId, frame: &Frame) {
        let Some(line) = self.lines.get(&connection) else { return };
        let (node, is_open) = (line.node, line.is_open);
        let request = Bytes::from(frame.chunks.concat()).slice(4..);
        let Ok((header, _)) = RequestHeader::read(&request) else { return };
        let is_produce = header.api_key == ProduceRequest::KEY;
        let before: Vec<Option<i64>> =
            (0..self.partitions).map(|index| self.cluster.end_offset(TOPIC, index)).collect();
        let now_ms = self.hands.clock.wall_ms();
        let reply = self.cluster.handle(node, &request, now_ms, false);
        if is_produce && !is_open {
            self.hit(1, "executed after the connection ended");
            trace!(self, "node {node} executes #{} of {connection:?}, which has ended", frame.correlation_id);
        }
        match reply {
            Reply::Send { frame: answer, cut: None, .. } => {
                let answer = answer.slice(4..);
                let (answer, throttle_time_ms) = self.tamper(&header, answer, &before);
                let produce = is_produce.then_some(header.api_version);
                self.answer(connection, Answer { at: self.now(), frame: answer, produce, throttle_time_ms });
            }
            Reply::Nothing => {}
            Reply::Hang => {
                if let Some(line) = self.lines.get_mut(&connection) {
                    line.is_deaf = true;
                }
            }
            _ => {
                let at = self.now() + self.latency();
                self.at(at, Event::Closed(connection));
            }
        }
    }

    pub(super) fn answer(&mut self, connection: ConnectionId, mut answer: Answer) {
        let latency = self.latency();
        let Some(line) = self.lines.get_mut(&connection).filter(|line| line.is_open) else { return };
        line.delivered_at = line.delivered_at.max(answer.at + latency);
        answer.at = line.delivered_at;
        line.down.push_back(answer);
        let at = line.delivered_at;
        self.at(at, Event::Deliver(connection));
    }

    pub(super) fn deliver(&mut self, connection: ConnectionId) {
        let now = self.now();
        let Some(line) = self.lines.get_mut(&connection).filter(|line| line.is_open && !line.is_deaf) else { return };
        let Some(answer) = line.down.pop_front_if(|answer| answer.at <= now) else { return };
        let node = line.node;
        if let Some(version) = answer.produce
            && let Ok((correlation_id, response)) = read_response::<ProduceRequest>(&answer.frame, version)
        {
            if self.trace.is_some() {
                let answers = response.responses.iter().flat_map(|topic| &topic.partition_responses);
                let answers: Vec<String> =
                    answers.map(|a| format!("partition {}: {} at {}", a.index, a.error_code, a.base_offset)).collect();
                trace!(self, "{connection:?} ◀ node {node}: #{correlation_id} {}", answers.join(", "));
            }
            for code in self.wire.codes_for_told(connection, correlation_id, &response, &self.ledger) {
                match code.is_none() {
                    true => self.hit(10, "success after its sender was told of failure"),
                    false => self.hit(10, "failure after its sender was told of one"),
                }
            }
            self.wire.answered(connection, correlation_id, &response, &self.ledger);
        }
        if let Ok(throttle @ 1..) = u64::try_from(answer.throttle_time_ms) {
            self.hit(50, "throttled");
            // By then all that waited has its outcome; nobody waits longer because he is asked to.
            let pause = ms(throttle).min(self.plan.config.delivery_timeout);
            self.wire.throttle(connection, self.hands.clock.elapsed() + pause);
        }
        self.hands.handle(Input::Received { connection, frame: answer.frame });
    }

    /// A connection ends by itself: the producer is told.
    pub(super) fn cut(&mut self, connection: ConnectionId, why: &str) {
        if !self.lines.get(&connection).is_some_and(|line| line.is_open) {
            return;
        }
        trace!(self, "{connection:?} is cut: {why}");
        self.leave(connection, false);
        self.hands.handle(Input::Disconnected { connection, why: why.to_owned() });
    }

    /// The producer has no more of a connection. What the kernel had may be executed yet, all of it or the first part;
    /// of what it had not, that which was just being written, if it was the producer that ended it.
    pub(super) fn leave(&mut self, connection: ConnectionId, by_us: bool) {
        let now = self.now();
        let Some(line) = self.lines.get_mut(&connection).filter(|line| line.is_open) else { return };
        (line.is_open, line.left_at) = (false, now);
        let late_answers = line.down.len();
        line.down.clear();
        let may_get_through = |frame: &Frame| frame.is_accepted || by_us;
        let unsent: Vec<i32> =
            line.up.iter().filter(|frame| !may_get_through(frame)).map(|frame| frame.correlation_id).collect();
        line.up.retain(may_get_through);
        let executed = self.random.usize(0..=line.up.len());
        line.up.truncate(if self.cluster.is_up(line.node) { executed } else { 0 });
        // So long it takes until they are; a broker does not find them much later than their sender gives up.
        let late = match self.random.u32(0..3) {
            0 => Duration::ZERO,
            1 => ms(self.random.u64(0..50)),
            _ => self.plan.config.request_timeout.mul_f64(self.random.f64()),
        };
        for frame in &mut line.up {
            frame.is_accepted = true;
            frame.arrives_at = frame.arrives_at.max(now + late);
            // The kernel has its own memory.
            frame.chunks = vec![frame.chunks.concat().into()];
        }
        let is_over = line.up.is_empty();
        if let Some(last) = line.up.back().map(|frame| frame.arrives_at) {
            for frame in &mut line.up {
                frame.arrives_at = last;
            }
            self.at(last, Event::Serve(connection));
        }
        if late_answers > 0 {
            self.hit(18, "an answer that comes after the connection's end");
        }
        if !unsent.is_empty() {
            self.hit(48, "ended with a frame that the kernel had not taken");
        }
        self.wire.ended(connection, &unsent);
        if is_over {
            self.lines.remove(&connection);
        }
    }

    /// Whatever is on its way arrives.
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
