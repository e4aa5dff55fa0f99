//! What happens between two moments: records are sent, and things go wrong.

use kurier_broker::{Fault, FaultKind};
use kurier_partitioner::Choice;
use kurier_protocol::ErrorCode;

use super::network::Event;
use super::plan::Happening;
use super::world::{TOPIC, World, ms};
use crate::core::ConnectionId;

impl World<'_> {
    pub(super) fn happen(&mut self, happening: Happening) {
        if happening != Happening::Send {
            trace!(self, "-- {happening:?}");
        }
        let node = self.random.i32(1..=self.plan.nodes.into());
        let partition = self.random.i32(0..self.partitions);
        let now = self.now();
        match happening {
            Happening::Send => {
                for _ in 0..self.random.usize(1..6) {
                    let choice = match self.random.u32(0..4) {
                        0 => Choice::Anywhere,
                        _ => Choice::Partition(partition),
                    };
                    let bytes = self.random.usize(8..=self.plan.largest_record);
                    self.send(choice, bytes, None);
                }
            }
            Happening::Flush => self.flush(),
            Happening::Cut => {
                if let Some(connection) = self.any_open() {
                    self.hit(42, "cut");
                    self.cut(connection, "reset by peer");
                }
            }
            Happening::Deafen => {
                if let Some(line) = self.any_open().and_then(|connection| self.lines.get_mut(&connection)) {
                    line.is_deaf = true;
                    self.hit(42, "half open");
                }
            }
            Happening::StopNode => self.stop_node(node),
            Happening::StartNode => self.cluster.start_node(node),
            Happening::Pause => {
                let until = now + ms(self.random.u64(1..3_000));
                self.paused.insert(node, until);
                self.hit(42, "paused");
            }
            Happening::MoveLeader => {
                if self.wire.is_busy(partition) && self.cluster.move_leader(TOPIC, partition, node).is_ok() {
                    self.hit(25, "the leader changed with batches in flight");
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
                self.hit(16, "no producer id");
                self.cluster.add_fault(Fault::new("InitProducerId", FaultKind::Error(code)));
            }
            Happening::LoseMetadata => {
                let kind = if self.random.bool() { FaultKind::Close } else { FaultKind::Silence };
                self.hit(37, "a question about the cluster is lost");
                self.cluster.add_fault(Fault::new("Metadata", kind));
            }
            Happening::HideTopic => {
                let times = self.random.usize(1..4);
                let code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
                self.hit(12, "the topic cannot be seen for a while");
                self.cluster.add_fault(Fault::new("Metadata", FaultKind::Error(code)).times(times));
            }
            Happening::Lag => {
                self.lags_until = now + ms(self.random.u64(10..3_000));
            }
            Happening::MoveNode => self.move_node(node),
            Happening::HoldTakes => {
                self.hands.held_takes.get_or_insert_default();
                let until = now + ms(self.random.u64(0..300));
                self.at(until, Event::LetGo);
            }
            Happening::Sleep => {
                let time = ms(self.random.u64(1_000..600_000));
                self.hit(60, "the machine slept");
                self.slept += time;
                self.hands.clock.set(now + time);
            }
            Happening::GiveUp => {
                if !self.patients.is_empty() {
                    let at = self.random.usize(..self.patients.len());
                    self.hit(54, "gave up waiting for memory");
                    drop(self.patients.remove(at));
                }
            }
            Happening::AddPartition => {
                if self.partitions < 6 && self.cluster.add_partitions(TOPIC, self.partitions + 1).is_ok() {
                    self.hit(29, "a partition more");
                    self.partitions += 1;
                }
            }
            Happening::Recreate => self.recreate(),
        }
    }

    pub(super) fn any_open(&mut self) -> Option<ConnectionId> {
        let open: Vec<ConnectionId> =
            self.lines.iter().filter(|(_, line)| line.is_open && line.is_connected).map(|(id, _)| *id).collect();
        (!open.is_empty()).then(|| open[self.random.usize(..open.len())])
    }

    /// A node dies: what it has not read is lost.
    pub(super) fn stop_node(&mut self, node: i32) {
        self.cluster.stop_node(node);
        self.paused.remove(&node);
        if (1..=self.plan.nodes.into()).all(|node| !self.cluster.is_up(node)) {
            self.hit(35, "all nodes down");
        }
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

    pub(super) fn move_node(&mut self, node: i32) {
        let old: Vec<u16> = self.ports.iter().filter(|(_, other)| **other == node).map(|(port, _)| *port).collect();
        let Some(highest) = self.ports.keys().max().copied() else { return };
        // One bootstrap server stays where it is.
        if node == 1 {
            return;
        }
        for port in old {
            self.ports.remove(&port);
        }
        self.ports.insert(highest + 1, node);
        self.cluster.set_port(node, highest + 1);
        self.hit(32, "a node moved");
    }

    pub(super) fn recreate(&mut self) {
        if self.plan.produce_max < 13 {
            // By name, what is on its way may come into the new topic in any order.
            return;
        }
        self.hit(28, "the topic was made anew");
        for partition in 0..self.partitions {
            let log = self.cluster.log(TOPIC, partition).unwrap_or_default();
            self.old_logs.entry(partition).or_default().push(log);
        }
        let _ = self.cluster.delete_topic(TOPIC);
        self.create_topic();
    }
}
