//! Faults of several steps. Most end in a lull, and the producer must recover in it.

use kurier_broker::{Fault, FaultKind};
use kurier_protocol::{ErrorCode, NodeId};

use super::fault_row::FaultRow;
use super::plan::topic_name;
use super::troubles::SpotTrouble;
use super::wire::Spot;
use super::world::{World, ms};
use kurier_engine::core::ConnectionId;

impl World<'_> {
    /// Refuses a node's connections while batches wait to be retried there, then moves the node. No records are sent
    /// meanwhile, and the leaders stay the same.
    pub(super) fn move_in_silence(&mut self, node: NodeId) {
        let transit = self.plan.latency * 4 + ms(2);
        self.paused.insert(node, self.now() + self.plan.config.linger + transit * 2);
        for spot in self.spots() {
            if self.leader(spot) == Some(node) {
                self.send(spot.topic, spot.choice(), 9, None);
            }
        }
        self.pass(self.plan.config.linger + transit);
        self.cut_off(node);
        let config = &self.plan.config;
        let silence = transit * 2 + config.reconnect_backoff_max.mul_f64(self.random.f64() * 3.0) + ms(1);
        self.pass(silence);
        self.move_node(node);
        self.watch.moved_ports.insert(self.next_port - 1);
        self.lull(None);
    }

    /// Delays a response of a former leader that names its successor, until the producer knows better: the topic is
    /// created again, or the leader moves once more.
    pub(super) fn hint_late(&mut self, spot: Spot) {
        let Some(old) = self.leader(spot).filter(|_| self.plan.nodes > 1) else { return };
        let transit = self.plan.latency * 4 + ms(10);
        let late = transit + self.plan.config.request_timeout / 2;
        self.paused.insert(old, self.now() + self.plan.config.linger + transit);
        self.send(spot.topic, spot.choice(), 9, None);
        self.pass(self.plan.config.linger + transit / 2);
        let others: Vec<NodeId> = self.plan.node_ids().filter(|node| *node != old).collect();
        for _ in 0..self.random.usize(1..4) {
            let to = *self.random.choice(&others).unwrap_or(&old);
            let _ = self.cluster.move_leader(topic_name(spot.topic), spot.index, to);
        }
        self.late.insert(old, self.now() + late);
        self.pass(transit);
        if self.random.bool() {
            self.recreate(spot.topic);
        } else {
            let to = *self.random.choice(&others).unwrap_or(&old);
            let _ = self.cluster.move_leader(topic_name(spot.topic), spot.index, to);
        }
        // A lost connection makes the producer request metadata.
        let is_other = |line: &super::network::Line| line.is_open && line.is_connected && line.node != old;
        if let Some(connection) = self.lines.iter().find(|(_, line)| is_other(line)).map(|(connection, _)| *connection)
        {
            self.cut(connection, "reset by peer");
        }
        for other in self.spots().into_iter().filter(|other| other.topic == spot.topic && *other != spot) {
            self.send(other.topic, other.choice(), 9, None);
        }
        self.pass(late);
        self.late.remove(&old);
        for _ in 0..3 {
            self.send(spot.topic, spot.choice(), 9, None);
        }
    }

    /// Makes the bootstrap servers lead to another cluster with the same topics, and stops the nodes of the old one. In
    /// some runs, pieces of a split batch wait at that time because their node throttles.
    pub(super) fn switch_cluster(&mut self, spot: Spot) {
        if self.random.bool() {
            let throttle = ms(self.random.u64(100..1_000));
            self.cluster.add_fault(Fault::new("Produce", FaultKind::Throttle(throttle)));
            self.spot_troubles.push(SpotTrouble { spot, code: ErrorCode::MESSAGE_TOO_LARGE, blames: false, times: 1 });
            for _ in 0..4 {
                self.send(spot.topic, spot.choice(), 9, None);
            }
            let transit = self.plan.latency * 4 + ms(2);
            self.pass(self.plan.config.linger + transit);
        }
        self.flush_network("its cluster is gone");
        self.era += 1;
        self.wire.left_cluster();
        self.cluster.set_id(&format!("cluster-{}", self.era));
        for topic in 0..self.plan.topics.len() {
            self.replace_topic(topic);
        }
        for node in self.plan.node_ids() {
            self.move_node(node);
            self.cluster.start_node(node);
        }
        self.old_metadata = None;
    }

    /// Ends all connections. The nodes first execute the requests that they have received.
    fn flush_network(&mut self, why: &'static str) {
        let open: Vec<ConnectionId> =
            self.lines.iter().filter(|(_, line)| line.is_open).map(|(connection, _)| *connection).collect();
        for connection in open {
            self.cut(connection, why);
        }
        let left: Vec<ConnectionId> =
            self.lines.iter().filter(|(_, line)| !line.is_open).map(|(connection, _)| *connection).collect();
        for connection in left {
            while let Some(frame) = self.lines.get_mut(&connection).and_then(|line| line.up.pop_front()) {
                self.execute(connection, &frame);
            }
            self.lines.remove(&connection);
        }
    }

    /// Keeps a partition's leader unreachable until its oldest batch has expired. A younger batch is queued behind it,
    /// whose opening was not signalled to the core.
    pub(super) fn keep_leader_away(&mut self, spot: Spot) {
        let Some(leader) = self.leader(spot) else { return };
        let config = &self.plan.config;
        let idle = config.metadata_max_idle.max(config.delivery_timeout + config.linger);
        if config.metadata_max_idle > ms(5_000) {
            return;
        }
        let full = config.batch_size / 40 + 2;
        self.cut_off(leader);
        for _ in 0..full {
            self.send(spot.topic, spot.choice(), 40, None);
        }
        let most = idle.mul_f64(0.7 + self.random.f64() / 5.0);
        self.pass(most);
        let last = self.ledger.next();
        self.send(spot.topic, spot.choice(), 9, None);
        self.pass(idle.mul_f64(0.35));
        // Two of three nodes are enough replicas. The producer can learn of another leader only by requesting the
        // topic.
        let dies = self.plan.nodes >= 3 && self.random.bool();
        self.lull(dies.then_some(leader));
        self.cluster.start_node(leader);
        if self.ledger.was_written(last) {
            self.hit(FaultRow::IdleTopicBusy, "written after its leader was away for longer than metadata.max.idle.ms");
        }
    }

    /// The machine sleeps while a batch is open, and a record is sent before the core has read the time.
    pub(super) fn suspend(&mut self, spot: Spot) {
        self.send(spot.topic, spot.choice(), 9, None);
        if self.random.bool() {
            self.turn();
        }
        let time = self.plan.config.delivery_timeout.mul_f64(0.3 + self.random.f64() * 1.5);
        self.driver.clock.set(self.now() + time);
        self.watch.slept_at = Some(self.driver.clock.elapsed());
        self.watch.after_sleep.insert(self.ledger.next());
        self.send(spot.topic, spot.choice(), 9, None);
    }

    fn leader(&self, spot: Spot) -> Option<NodeId> {
        self.cluster.leader(topic_name(spot.topic), spot.index)
    }

    /// Ends a node's connections and refuses new ones. The node stays up and keeps its leaderships.
    fn cut_off(&mut self, node: NodeId) {
        self.unreachable.insert(node);
        let on_it = self.lines.iter().filter(|(_, line)| line.node == node && line.is_open);
        let on_it: Vec<ConnectionId> = on_it.map(|(connection, _)| *connection).collect();
        for connection in on_it {
            self.cut(connection, "unreachable");
        }
    }
}
