//! Lulls: times without faults, at the end of a run or within it. The producer must recover in time.

use std::time::Duration;

use kurier_protocol::NodeId;

use super::fault_row::FaultRow;
use super::invariant::{Invariant, violation};
use super::network::Event;
use super::plan::{Lack, topic_name};
use super::world::{World, ms};
use kurier_engine::core::ConnectionId;
use kurier_engine::error::ErrorKind;

impl World<'_> {
    /// Returns how long any record may wait for its outcome once all faults have ended.
    pub(super) fn patience(&self) -> Duration {
        let config = &self.plan.config;
        config.delivery_timeout + config.request_timeout * 2 + config.connection_setup_timeout_max + ms(6_000)
    }

    /// Returns how long delivery of the records without an outcome may take after all faults have ended.
    fn recovery(&self) -> Duration {
        let config = &self.plan.config;
        let answers = config.request_timeout * 2 + config.connection_setup_timeout_max * 3;
        let waits = config.retry_backoff_max * 8 + config.reconnect_backoff_max * 5;
        let records = u32::try_from(self.ledger.open_count()).unwrap_or(u32::MAX);
        answers + waits + config.linger + ms(4_000) + self.plan.latency.saturating_mul(records.saturating_mul(4))
    }

    /// Ends all faults.
    fn calm(&mut self) {
        self.is_well = true;
        self.cluster.clear_faults();
        self.spot_troubles.clear();
        self.paused.clear();
        self.unreachable.clear();
        self.late.clear();
        for node in self.plan.node_ids() {
            self.cluster.start_node(node);
        }
        let waiting: Vec<ConnectionId> = self.lines.keys().copied().collect();
        for connection in waiting {
            self.at(self.now(), Event::Serve(connection));
        }
        self.driver.let_go();
        self.calm_sasl();
    }

    /// Ends all faults for the time that the producer may need to recover, except that one node may stay dead. No
    /// records are sent meanwhile.
    pub(super) fn lull(&mut self, dead: Option<NodeId>) {
        trace!(self, "-- a lull, without node {dead:?}");
        self.calm();
        if let Some(node) = dead {
            self.stop_node(node);
        }
        self.prove_recovery();
        self.is_well = false;
    }

    /// Checks that no open record expires although it had enough time left.
    fn prove_recovery(&mut self) {
        let config = &self.plan.config;
        let (now, recovery) = (self.driver.clock.elapsed(), self.recovery());
        // A record may inherit the deadline of an older batch.
        let oldest = config.linger + config.delivery_timeout / 16 + ms(1);
        let is_due = |accepted_at: Duration| now + recovery + oldest < accepted_at + config.delivery_timeout;
        let waiting = self.ledger.open(is_due);
        let end = self.now() + recovery;
        while self.now() < end && self.broken.is_none() && waiting.iter().any(|number| !self.ledger.is_told(*number)) {
            self.pass(ms(50));
        }
        // A partition without a further epoch may have to wait until no request with the old id can arrive.
        if self.plan.first_epoch > 0 || self.watch.is_id_useless || self.plan.lack.is_some() {
            return;
        }
        for number in waiting {
            let is_late = !self.ledger.is_told(number) || self.ledger.has_expired(number);
            if is_late && self.broken.is_none() {
                let told = self.ledger.say(number);
                self.fail(violation(
                    Invariant::InTime,
                    format!("record {number} is not delivered in {recovery:?} of calm: {told}"),
                ));
            }
        }
    }

    /// Ends all faults for good, and waits for every outcome.
    pub(super) fn heal(&mut self) {
        trace!(self, "all is well from here on");
        self.calm();
        let deadline = self.now() + self.patience();
        self.prove_recovery();
        while self.now() < deadline
            && self.broken.is_none()
            && (self.ledger.open_count() > 0 || !self.patients.is_empty())
        {
            self.pass(ms(20));
        }
        if let Some((number, _)) = self.ledger.oldest_open() {
            let what = format!("record {number} has no outcome {:?} after all is well", self.patience());
            self.fail(violation(Invariant::InTime, what));
        }
    }

    /// Sends a record to every partition once all topics are known. Returns the number of the first record.
    fn send_to_all(&mut self) -> u64 {
        let topics = 0..self.plan.topics.len();
        let is_unknown = |this: &Self, topic: usize| this.driver.accumulator.topic(topic_name(topic)).is_none();
        for topic in topics.clone().filter(|topic| is_unknown(self, *topic)).collect::<Vec<_>>() {
            self.want(topic);
        }
        let end = self.now() + self.patience();
        while self.now() < end && self.broken.is_none() && topics.clone().any(|topic| is_unknown(self, topic)) {
            self.pass(ms(20));
        }
        let before = self.ledger.next();
        for spot in self.spots() {
            self.send(spot.topic, spot.choice(), 9, None);
        }
        self.pass(self.patience());
        before
    }

    /// Checks that a producer delivers records after all faults have ended.
    pub(super) fn prove_alive(&mut self) {
        let mut before = 0;
        // The first records may fail without a producer id, the second because their topic was created again.
        for _ in 0..3 {
            before = self.send_to_all();
        }
        let is_too_large = |this: &Self| this.plan.config.max_request_size < 100;
        for number in before..self.ledger.next() {
            if !self.ledger.was_written(number) && !is_too_large(self) {
                let what = format!("record {number} is not written, though all is well: {}", self.ledger.say(number));
                self.fail(violation(Invariant::InTime, what));
            }
        }
    }

    /// Checks that every record fails with a reason before `delivery.timeout.ms` if no broker can ever accept it.
    pub(super) fn prove_refusal(&mut self, lack: Lack) {
        self.send_to_all();
        let before = self.send_to_all();
        for number in before..self.ledger.next() {
            let kind = self.ledger.failure(number);
            if kind.is_none_or(|kind| kind == ErrorKind::DeliveryTimeout) {
                let told = self.ledger.say(number);
                self.fail(violation(
                    Invariant::InTime,
                    format!("record {number} is not refused, though brokers lack {lack:?}: {told}"),
                ));
            }
            match lack {
                Lack::ProducerIds => self.hit(FaultRow::ApiMissing, "without InitProducerId, and told so"),
                Lack::Produce => self.hit(FaultRow::ApiMissing, "without record batches, and told so"),
                Lack::Authorization => self.hit(FaultRow::IdRefusedForGood, "no producer id for good, and told so"),
            }
        }
    }
}
