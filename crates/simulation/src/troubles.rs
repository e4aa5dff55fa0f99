//! Steps of a run: senders send records, and faults strike.

use std::time::Duration;

use bytes::Bytes;
use kurier_broker::{Fault, FaultKind, UnknownProducer};
use kurier_partitioner::Choice;
use kurier_protocol::{ErrorCode, NodeId, PartitionIndex};

use super::fault_row::FaultRow;
use super::invariant::{Invariant, violation};
use super::network::Event;
use super::plan::Happening;
use super::plan::topic_name;
use super::wire::Spot;
use super::world::{BOOTSTRAP_PORT, World, ms};
use kurier_engine::core::{ConnectionId, Input};

/// A fault that affects one partition of the next requests that contain it.
#[derive(Debug)]
pub(super) struct SpotTrouble {
    pub(super) spot: Spot,
    pub(super) code: ErrorCode,
    /// Whether single records are blamed.
    pub(super) blames: bool,
    pub(super) times: u32,
}

impl World<'_> {
    pub(super) fn happen(&mut self, happening: Happening) {
        if happening != Happening::Send {
            trace!(self, "-- {happening:?}");
        }
        let node = NodeId(self.random.i32(1..=self.plan.nodes.into()));
        let topic = self.random.usize(..self.plan.topics.len());
        let partitions = self.partitions.get(topic).copied().unwrap_or(1);
        let index = PartitionIndex(self.random.i32(0..partitions));
        let spot = Spot { topic, index };
        let now = self.now();
        match happening {
            Happening::Send => {
                for _ in 0..self.random.usize(1..6) {
                    let choice = match self.random.u32(0..4) {
                        0 => Choice::Anywhere,
                        _ => spot.choice(),
                    };
                    let bytes = self.random.usize(8..=self.plan.largest_record);
                    self.send(topic, choice, bytes, None);
                }
            }
            Happening::Flush => self.flush(),
            Happening::Cut => {
                if let Some(connection) = self.any_open() {
                    self.cut(connection, "reset by peer");
                }
            }
            Happening::Deafen => {
                if let Some(line) = self.any_open().and_then(|connection| self.lines.get_mut(&connection)) {
                    line.is_deaf = true;
                }
            }
            Happening::StopNode => self.stop_node(node),
            Happening::StartNode => self.cluster.start_node(node),
            Happening::Pause => {
                let until = now + ms(self.random.u64(1..3_000));
                self.paused.insert(node, until);
            }
            Happening::MoveLeader => {
                // An idle partition learns of a move sooner or later anyway.
                if self.wire.is_busy(spot) {
                    let _ = self.cluster.move_leader(topic_name(topic), index, node);
                }
            }
            Happening::Refuse => {
                let codes = [
                    ErrorCode::NOT_ENOUGH_REPLICAS,
                    ErrorCode::NOT_ENOUGH_REPLICAS,
                    ErrorCode::CORRUPT_MESSAGE,
                    ErrorCode::MESSAGE_TOO_LARGE,
                    ErrorCode::NOT_LEADER_OR_FOLLOWER,
                    ErrorCode::KAFKA_STORAGE_ERROR,
                    ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
                    ErrorCode::UNKNOWN_PRODUCER_ID,
                    ErrorCode::INVALID_PRODUCER_EPOCH,
                    ErrorCode::INVALID_RECORD,
                ];
                let code = codes[self.random.usize(..codes.len())];
                let times = self.random.usize(1..4);
                self.cluster.add_fault(Fault::new("Produce", FaultKind::Error(code)).times(times));
            }
            Happening::Unsure => {
                let code = match self.random.bool() {
                    true => ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
                    false => ErrorCode::REQUEST_TIMED_OUT,
                };
                self.cluster.add_fault(Fault::new("Produce", FaultKind::ErrorAfter(code)).on_node(node));
            }
            Happening::CloseOne => {
                let kinds = [FaultKind::Close, FaultKind::CloseAfter, FaultKind::CloseAfter, FaultKind::Silence];
                let kind = kinds[self.random.usize(..kinds.len())].clone();
                self.cluster.add_fault(Fault::new("Produce", kind).on_node(node));
            }
            Happening::Throttle => {
                let time = ms(self.random.u64(1..1_000));
                self.cluster.add_fault(Fault::new("Produce", FaultKind::Throttle(time)));
            }
            Happening::RefuseId => {
                let code = match self.random.bool() {
                    true => ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
                    false => ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
                };
                self.cluster.add_fault(Fault::new("InitProducerId", FaultKind::Error(code)));
            }
            Happening::LoseMetadata => {
                let kind = if self.random.bool() { FaultKind::Close } else { FaultKind::Silence };
                self.cluster.add_fault(Fault::new("Metadata", kind));
            }
            Happening::HideTopic => {
                let times = self.random.usize(1..4);
                let code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
                self.cluster.add_fault(Fault::new("Metadata", FaultKind::Error(code)).times(times));
            }
            Happening::Lag => {
                self.lags_until = now + ms(self.random.u64(10..3_000));
            }
            Happening::MoveNode => self.move_node(node),
            Happening::HoldTakes => {
                self.driver.held_takes.get_or_insert_default();
                for spot in self.spots() {
                    self.watch.held.insert(spot, self.wire.identity(spot));
                }
                let until = now + ms(self.random.u64(0..300));
                self.at(until, Event::LetGo);
            }
            Happening::Sleep => {
                let time = ms(self.random.u64(1_000..600_000));
                self.driver.clock.set(now + time);
                self.watch.slept_at = Some(self.driver.clock.elapsed());
            }
            Happening::GiveUp => {
                if !self.patients.is_empty() {
                    let at = self.random.usize(..self.patients.len());
                    self.hit(FaultRow::MemoryFull, "gave up waiting for memory");
                    drop(self.patients.remove(at));
                }
            }
            Happening::AddPartition => {
                if partitions < 6 && self.cluster.add_partitions(topic_name(topic), partitions + 1).is_ok() {
                    self.watch.added.insert(Spot { topic, index: PartitionIndex(partitions) });
                    if let Some(partitions) = self.partitions.get_mut(topic) {
                        *partitions += 1;
                    }
                }
            }
            Happening::Recreate => self.recreate(topic),
            Happening::RefuseSome => {
                let codes = [
                    ErrorCode::NOT_ENOUGH_REPLICAS,
                    ErrorCode::NOT_LEADER_OR_FOLLOWER,
                    ErrorCode::TOPIC_AUTHORIZATION_FAILED,
                    ErrorCode::KAFKA_STORAGE_ERROR,
                    ErrorCode::CORRUPT_MESSAGE,
                    ErrorCode::MESSAGE_TOO_LARGE,
                    ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                    ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
                    ErrorCode::UNKNOWN_PRODUCER_ID,
                    ErrorCode::INVALID_RECORD,
                ];
                let code = *self.random.choice(&codes).unwrap_or(&ErrorCode::NOT_ENOUGH_REPLICAS);
                let times = self.random.u32(1..4);
                self.spot_troubles.push(SpotTrouble { spot, code, blames: false, times });
            }
            Happening::Blame => {
                self.spot_troubles.push(SpotTrouble { spot, code: ErrorCode::INVALID_RECORD, blames: true, times: 1 });
            }
            Happening::Truncate => self.truncate(spot),
            Happening::Forget => self.forget(),
            Happening::Silence => {
                let time = ms(self.random.u64(600_000..660_000));
                self.pass(time);
            }
            // A session's end is a time of the nodes' clock.
            Happening::SetClock if self.sasl.is_some() => {}
            Happening::SetClock => {
                const DAY_MS: i64 = 86_400_000;
                self.driver.clock.set_wall(self.random.i64(-DAY_MS..=DAY_MS));
                self.watch.has_clock_jumped = true;
            }
            Happening::MoveInSilence => self.move_in_silence(node),
            Happening::LateHint => self.hint_late(spot),
            Happening::SwitchCluster => self.switch_cluster(spot),
            Happening::Babble => self.babble(),
            Happening::Limit => self.limit(topic),
            Happening::Burst => {
                for _ in 0..self.random.usize(20..80) {
                    let bytes = self.random.usize(8..=self.plan.largest_record);
                    if !self.send(topic, spot.choice(), bytes, None) {
                        break;
                    }
                }
            }
            Happening::RefuseThenTooLarge => {
                let codes = [ErrorCode::NOT_ENOUGH_REPLICAS, ErrorCode::CORRUPT_MESSAGE, ErrorCode::UNKNOWN_TOPIC_ID];
                let first = *self.random.choice(&codes).unwrap_or(&ErrorCode::NOT_ENOUGH_REPLICAS);
                for code in [first, ErrorCode::MESSAGE_TOO_LARGE] {
                    self.spot_troubles.push(SpotTrouble { spot, code, blames: false, times: 1 });
                }
            }
            Happening::LeaderAway => self.keep_leader_away(spot),
            Happening::Suspend => self.suspend(spot),
            Happening::Leave => {
                let time = self.plan.config.metadata_max_idle.min(ms(20_000)).mul_f64(1.0 + self.random.f64());
                self.pass(time);
            }
        }
    }

    /// Changes a topic's `max.message.bytes`, to below or above the size of its batches.
    fn limit(&mut self, topic: usize) {
        let bytes = match self.random.u32(0..3) {
            0 => 1_048_588,
            _ => self.random.usize(150..self.plan.config.max_request_size.max(600)),
        };
        if let Some(plan) = self.plan.topics.get_mut(topic) {
            plan.max_message_bytes = bytes;
        }
        let _ = self.cluster.set_max_message_bytes(topic_name(topic), bytes);
    }

    /// A node sends a response without a request, if possible while a request is being written.
    fn babble(&mut self) {
        let is_writing = |line: &super::network::Line| line.is_open && line.up.iter().any(|frame| !frame.is_accepted);
        let writing = self.lines.iter().find(|(_, line)| is_writing(line)).map(|(connection, _)| *connection);
        let Some(connection) = writing.or_else(|| self.any_open()) else { return };
        trace!(self, "{connection:?} ◀ an answer to nothing");
        self.hit(FaultRow::UnaskedAnswer, "an answer to nothing");
        let frame = Bytes::from_static(&[0x7f, 0, 0, 0]);
        self.driver.handle(Input::Received { connection, frame });
    }

    /// A new leader lacks the last batches, as followers may unless acks=all.
    fn truncate(&mut self, spot: Spot) {
        if self.plan.config.acks == kurier_engine::Acks::All {
            return;
        }
        let batches = self.random.usize(1..4);
        let name = topic_name(spot.topic);
        let read = |this: &Self| this.ledger.read(&this.cluster.log(name, spot.index).unwrap_or_default());
        let before = read(self);
        self.cluster.truncate(name, spot.index, batches);
        match (before, read(self)) {
            (Ok(before), Ok(after)) => self.ledger.truncate(before.get(after.len()..).unwrap_or_default()),
            (Err(violation), _) | (_, Err(violation)) => self.fail(violation),
        }
    }

    /// Brokers forget producers that have been silent for a long time and have no requests in transit.
    fn forget(&mut self) {
        // If brokers do not report a forgotten producer, they keep it for at least ten minutes.
        let least = match self.plan.unknown_producer {
            UnknownProducer::Taken => ms(600_000),
            UnknownProducer::OutOfOrder | UnknownProducer::Refused => Duration::ZERO,
        };
        let config = &self.plan.config;
        let time = least + config.delivery_timeout * 2 + config.request_timeout;
        self.pass(time);
        let is_silent = self.wire.is_quiet() && self.ledger.open_count() == 0;
        if is_silent && self.lines.values().all(|line| line.up.is_empty()) {
            for spot in self.spots() {
                self.cluster.forget_producers(topic_name(spot.topic), spot.index);
            }
        }
    }

    /// All nodes are dead for ten minutes, while all senders send as fast as memory allows.
    pub(super) fn outage(&mut self) {
        trace!(self, "-- ten minutes without a node");
        for node in self.plan.node_ids() {
            self.stop_node(node);
        }
        let end = self.now() + ms(600_000);
        let before = self.ledger.next();
        while self.now() < end && self.broken.is_none() {
            let topic = self.random.usize(..self.plan.topics.len());
            for _ in 0..64 {
                if self.patients.len() >= 4 || !self.send(topic, Choice::Anywhere, self.plan.largest_record, None) {
                    break;
                }
            }
            self.pass(ms(100));
        }
        for node in self.plan.node_ids() {
            self.cluster.start_node(node);
        }
        let tried = self.ledger.next() - before;
        match (before..self.ledger.next()).filter(|number| self.ledger.was_written(*number)).count() {
            0 if tried > 0 => {
                self.hit(FaultRow::TenMinutesDown, "ten minutes without a node, at full rate, within memory")
            }
            0 => {}
            written => {
                self.fail(violation(Invariant::TrueOutcome, format!("{written} records written without a node")))
            }
        }
    }

    pub(super) fn any_open(&mut self) -> Option<ConnectionId> {
        let open: Vec<ConnectionId> =
            self.lines.iter().filter(|(_, line)| line.is_open && line.is_connected).map(|(id, _)| *id).collect();
        (!open.is_empty()).then(|| open[self.random.usize(..open.len())])
    }

    /// A node dies and loses all requests it has not read.
    pub(super) fn stop_node(&mut self, node: NodeId) {
        self.cluster.stop_node(node);
        self.paused.remove(&node);
        self.watch.are_all_down |= self.plan.node_ids().all(|node| !self.cluster.is_up(node));
        let on_it: Vec<ConnectionId> =
            self.lines.iter().filter(|(_, line)| line.node == node).map(|(connection, _)| *connection).collect();
        for connection in on_it {
            if self.lines.get(&connection).is_some_and(|line| line.is_open) {
                self.cut(connection, "the node died");
            } else {
                self.lines.remove(&connection);
            }
        }
    }

    /// Moves a node to another port. The bootstrap servers keep their ports.
    pub(super) fn move_node(&mut self, node: NodeId) {
        let port = self.next_port;
        self.next_port += 1;
        self.ports.retain(|port, other| *other != node || is_bootstrap(*port));
        self.ports.insert(port, node);
        self.cluster.set_port(node, port);
    }

    pub(super) fn recreate(&mut self, topic: usize) {
        for spot in self.replace_topic(topic) {
            // Below version 13, requests in transit name the topic by name and may reach the new topic, although
            // earlier ones were lost with the old topic.
            if self.plan.produce_max < 13 {
                self.ledger.forgo_order(spot);
            }
        }
    }

    /// Deletes a topic and creates it again. Returns its partitions.
    pub(super) fn replace_topic(&mut self, topic: usize) -> Vec<Spot> {
        let spots: Vec<Spot> = self.spots().into_iter().filter(|spot| spot.topic == topic).collect();
        for spot in &spots {
            let log = self.cluster.log(topic_name(topic), spot.index).unwrap_or_default();
            self.old_logs.entry(*spot).or_default().push(log);
        }
        let _ = self.cluster.delete_topic(topic_name(topic));
        self.create_topic(topic);
        spots
    }
}

/// Returns whether a port belongs to a bootstrap server.
fn is_bootstrap(port: u16) -> bool {
    (BOOTSTRAP_PORT..BOOTSTRAP_PORT + 100).contains(&port)
}
