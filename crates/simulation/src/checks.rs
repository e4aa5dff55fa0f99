//! Checks at every step and at the end of a run: leaks, time limits, and the ledger's checks.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use kurier_protocol::{CorrelationId, ErrorCode};

use super::fault_row::FaultRow;
use super::invariant::{Invariant, Violation, violation};
use super::ledger::Log;
use super::plan::topic_name;
use super::wire::{Batch, Spot, show};
use super::world::{World, ms};
use kurier_engine::core::ConnectionId;
use kurier_engine::error::{Error, ErrorKind, Stage, Written};

/// Retry rate limits that the producer must keep.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Ended connections by port: the number of failures in a row, and the time.
    ended: HashMap<u16, Vec<(u32, Instant)>>,
    /// When the last metadata request was answered or lost.
    pub(super) metadata_at: Option<Instant>,
    /// When a producer id was last requested, and when the last request was refused.
    id_asked_at: Option<Instant>,
    pub(super) id_refused_at: Option<Instant>,
    /// Metadata requests in flight, in order: connection, correlation id, and the time of sending.
    questions: Vec<(ConnectionId, CorrelationId, Instant)>,
    /// How many metadata requests in a row came early.
    hasty: u32,
    /// The topics of the last metadata request.
    topics: HashSet<String>,
    /// The number of connections and requests so far.
    pub(super) outputs: u64,
    /// Ports that the producer may connect to at once, because its credentials have changed.
    free: HashSet<u16>,
}

impl Pace {
    /// New credentials end every wait for a connection.
    pub(super) fn free_ports(&mut self) {
        self.free.extend(self.ended.iter().filter(|(_, ended)| !ended.is_empty()).map(|(port, _)| *port));
    }
}

/// How long a node may take to answer before another is asked. For metadata, a third node is asked after twice as long.
const SLOW: Duration = Duration::from_millis(500);

/// How long the producer remembers that a batch of a topic was too large.
pub(super) const CAP_REMEMBERED_FOR: Duration = Duration::from_secs(600);

/// The shortest allowed wait after this many failures.
fn least(failures: u32, first: Duration, longest: Duration) -> Duration {
    if longest <= first {
        return longest;
    }
    // The simulated clock ticks in nanoseconds, and the factor is not exact.
    (first * (1 << failures.saturating_sub(1).min(20)))
        .min(longest)
        .mul_f64(0.8)
        .saturating_sub(Duration::from_micros(1))
}

impl World<'_> {
    /// Records that a connection ended; `failures` counts this one and those in a row before it.
    pub(super) fn pace_ended(&mut self, port: u16, failures: u32) {
        let now = self.now();
        self.pace.ended.entry(port).or_default().push((failures, now));
    }

    /// Checks that the producer does not connect too early after this many failures in a row.
    pub(super) fn pace_connect(&mut self, port: u16, failures: u32) {
        self.pace.outputs += 1;
        if failures == 0 {
            return;
        }
        let (now, config) = (self.now(), &self.plan.config);
        let (first, longest) = (config.reconnect_backoff, config.reconnect_backoff_max);
        let wait = least(failures, first, longest);
        let ended = self.pace.ended.entry(port).or_default();
        if self.pace.free.remove(&port) {
            ended.clear();
            return;
        }
        // When a connection that was ready ends, the count of failures starts again at 1.
        let is_over = |(count, at): &(u32, Instant)| *at + least(failures.min(*count), first, longest) <= now;
        match ended.iter().position(is_over) {
            Some(at) => drop(ended.remove(at)),
            None => {
                let what = format!("a connection to port {port} sooner than {wait:?} after the {failures}. in a row");
                self.fail(violation(Invariant::InTime, what));
            }
        }
    }

    /// Checks that a metadata request does not come too early.
    pub(super) fn pace_metadata(
        &mut self,
        connection: ConnectionId,
        correlation_id: CorrelationId,
        topics: HashSet<String>,
    ) {
        let config = &self.plan.config;
        let wait = least(1, config.retry_backoff, config.retry_backoff_max);
        let is_news = !topics.is_subset(&self.pace.topics);
        self.pace.topics = topics;
        let now = self.now();
        let (since, wait) = match self.pace.questions.last() {
            Some((_, _, at)) => (Some(now - *at), SLOW * (1 << (self.pace.questions.len() - 1).min(6))),
            None => (self.pace.metadata_at.filter(|_| !is_news).map(|at| now - at), wait),
        };
        // After a response, the core requests new topics at once. With lumpy inputs it may have handled that response
        // between two steps of the network.
        let is_free = is_news && self.plan.is_lumpy;
        let since = since.filter(|since| *since < wait && !is_free);
        // A topic that is used again after a long time may be requested once more at once.
        self.pace.hasty = if since.is_some() { self.pace.hasty + 1 } else { 0 };
        // The core may have asked another node before it handled the response.
        let most = if self.plan.is_lumpy { 2 } else { 1 };
        if let Some(since) = since.filter(|_| self.pace.hasty > most) {
            let others = self.pace.questions.len();
            let what =
                format!("a question about the cluster {since:?} after the last, not {wait:?}, {others} under way");
            self.fail(violation(Invariant::InTime, what));
        }
        // The core sent this before it handled a response that arrived at the same time and also answers it.
        let is_answered =
            self.plan.is_lumpy && self.pace.questions.is_empty() && since.is_some_and(|since| since.is_zero());
        if !is_answered {
            self.pace.questions.push((connection, correlation_id, now));
        }
    }

    /// A sender needs a topic, so the producer may request it at once.
    pub(super) fn pace_want(&mut self, topic: &str) {
        self.pace.topics.remove(topic);
    }

    /// Ends a metadata request, answered or lost. Returns whether it was still in flight.
    pub(super) fn pace_told(
        &mut self,
        connection: ConnectionId,
        correlation_id: CorrelationId,
        is_answered: bool,
    ) -> bool {
        let is_it = |(on, id, _): &(ConnectionId, CorrelationId, Instant)| (*on, *id) == (connection, correlation_id);
        let Some(at) = self.pace.questions.iter().position(is_it) else { return false };
        if is_answered {
            // The other nodes got the same request; their responses are no longer needed.
            self.pace.questions.clear();
        } else {
            self.pace.questions.remove(at);
        }
        self.pace.metadata_at = Some(self.now());
        true
    }

    /// Checks that a producer id is not requested too early.
    pub(super) fn pace_id(&mut self) {
        let config = &self.plan.config;
        let wait = least(1, config.retry_backoff, config.retry_backoff_max);
        let now = self.now();
        let was_slow = self.pace.id_asked_at.replace(now).is_some_and(|at| at + SLOW <= now);
        let since = self.pace.id_refused_at.map(|at| now - at).filter(|since| *since < wait);
        // After a sleep, the core may ask a second node before it handles the first node's refusal.
        if let Some(since) = since.filter(|since| !(was_slow && since.is_zero())) {
            self.fail(violation(
                Invariant::InTime,
                format!("an id is asked for {since:?} after it was refused, and not {wait:?}"),
            ));
        }
    }

    /// Checks that an idle producer does little, and that unneeded connections end.
    pub(super) fn prove_idle(&mut self) {
        let config = &self.plan.config;
        let (idle, max_age) = (config.connections_max_idle, config.metadata_max_age);
        let time = idle + ms(30_000);
        let (moments, outputs) = (self.report.moments, self.pace.outputs);
        self.pass(time);
        // An idle producer only requests metadata: connect, ApiVersions, Metadata.
        let rounds = time.as_millis().div_ceil(max_age.as_millis().max(1));
        let most = 3 * u64::try_from(rounds).unwrap_or(u64::MAX / 256) + 9;
        let most =
            self.sasl.as_ref().map_or(most, |sasl| 3 * most + sasl.renewals(time) * 2 * u64::from(self.plan.nodes));
        let (moments, outputs) = (self.report.moments - moments, self.pace.outputs - outputs);
        if outputs > most || moments > 100 + 40 * most {
            let what = format!("{outputs} requests and connections, {moments} moments, in {time:?} with nothing to do");
            self.fail(violation(Invariant::InTime, what));
        }
        let now = self.now();
        let open = self.lines.iter().filter(|(_, line)| line.is_open).map(|(connection, _)| *connection);
        let (open, known): (HashSet<_>, HashSet<_>) = (open.collect(), self.driver.core.connections().collect());
        if open != known {
            self.fail(violation(Invariant::NoLeak, format!("{open:?} are open, and the producer knows of {known:?}")));
        }
        let is_forgotten = |line: &super::network::Line| line.is_open && line.used_at + idle + ms(1) < now;
        if let Some(connection) = self.lines.iter().find(|(_, line)| is_forgotten(line)).map(|(id, _)| *id) {
            self.fail(violation(Invariant::NoLeak, format!("{connection:?} is open, and was not used for {idle:?}")));
        }
    }

    pub(super) fn check_end(&self) -> Result<(), Violation> {
        let mut logs: BTreeMap<Spot, Vec<Log>> = BTreeMap::new();
        for (spot, all) in &self.old_logs {
            for batches in all {
                logs.entry(*spot).or_default().push(self.ledger.read(batches)?);
            }
        }
        for spot in self.spots() {
            let batches = self.cluster.log(topic_name(spot.topic), spot.index).unwrap_or_default();
            logs.entry(spot).or_default().push(self.ledger.read(&batches)?);
        }
        self.ledger.check(&logs, &self.plan)?;
        let (used, incomplete) = (self.driver.accumulator.memory.used(), self.driver.accumulator.incomplete_count());
        if used != 0 {
            return Err(violation(
                Invariant::NoLeak,
                format!("{used} bytes of memory are in use, and nothing is left"),
            ));
        }
        let dropped = self.driver.accumulator.outcomes.dropped();
        if dropped != 0 {
            return Err(violation(Invariant::NoLeak, format!("{dropped} batches were dropped without an outcome")));
        }
        let left = if self.plan.ends_badly { Vec::new() } else { self.driver.core.leftovers() };
        match incomplete == 0 && left.is_empty() && self.flushes.is_empty() {
            true => Ok(()),
            false => Err(violation(
                Invariant::NoLeak,
                format!("{incomplete} batches, {left:?} and {:?} are left", self.flushes),
            )),
        }
    }

    /// Checks the invariants of every step.
    pub(super) fn check_now(&mut self) {
        self.check_verdict();
        let config = &self.plan.config;
        let latest = config.delivery_timeout + ms(1);
        let used = self.driver.accumulator.memory.used();
        let held = self.driver.accumulator.held();
        if used != held {
            self.fail(violation(
                Invariant::NoLeak,
                format!("{used} bytes of memory are in use, and partitions hold {held}"),
            ));
        }
        // Pieces of a split batch do not wait for memory, because the batch already has it. But each piece is rounded
        // up.
        let most = self.plan.config.buffer_memory + self.grown_by_splits;
        if used > most {
            let what = format!("{used} bytes of memory are in use, of {most}");
            self.fail(violation(Invariant::NoLeak, what));
        }
        if used <= self.plan.config.buffer_memory {
            self.grown_by_splits = 0;
        }
        // A batch in compression expires later; and the core may still have work to do at this time.
        let is_due = self.driver.core.next_timeout(self.now()).is_some_and(|at| at <= self.now());
        if self.driver.held_takes.is_some() || is_due {
            return;
        }
        let now = self.driver.clock.elapsed();
        if let Some((number, accepted_at)) = self.ledger.oldest_open()
            && now > accepted_at + latest
        {
            self.fail(violation(
                Invariant::InTime,
                format!("record {number} has no outcome after {:?}", now - accepted_at),
            ));
        }
        if let Some(at) = self.flushes.first().map(|flush| flush.at).filter(|at| now > *at + latest) {
            self.fail(violation(Invariant::FlushInTime, format!("a flush is not over after {:?}", now - at)));
        }
    }
}

/// Checks of the outcomes that a record may have.
impl World<'_> {
    /// Checks that a record fails in time, and for a valid reason.
    pub(super) fn check_failure(&self, number: u64, error: &Error) -> Result<(), Violation> {
        let config = &self.plan.config;
        let accepted_at = self.ledger.accepted_at(number).unwrap_or_default();
        // A record may inherit the deadline of an older batch.
        let oldest = config.linger + config.delivery_timeout / 16 + ms(1);
        let age = self.driver.clock.elapsed().saturating_sub(accepted_at);
        if error.kind() == ErrorKind::DeliveryTimeout && age + oldest < config.delivery_timeout {
            return Err(violation(
                Invariant::InTime,
                format!("record {number} expires {age:?} after it was accepted: {error}"),
            ));
        }
        let is_refused = error.stage() == Some(Stage::InFlight) && error.written() == Written::No;
        let is_too_large = is_refused && error.error_code() == Some(ErrorCode::MESSAGE_TOO_LARGE);
        let spot = error
            .topic_partition()
            .and_then(|(_, index)| Some(Spot { topic: self.ledger.topic_of(number)?, index: index.into() }));
        let count = spot.filter(|_| is_too_large).and_then(|spot| self.wire.batch_size_of(spot, number));
        match count {
            Some(count @ 2..) => {
                let what =
                    format!("record {number} fails as too large, in a batch of {count} that was not split: {error}");
                Err(violation(Invariant::InTime, what))
            }
            _ => Ok(()),
        }
    }

    /// After a split, batches of the topic must stay below half the size of the split batch for ten minutes.
    pub(super) fn check_caps(&mut self, batches: &[Batch]) -> Result<(), Violation> {
        if self.plan.config.compression_type != kurier_engine::CompressionType::None {
            return Ok(());
        }
        let now = self.driver.clock.elapsed();
        for batch in batches.iter().filter(|batch| batch.count > 1) {
            let Some((cap, since)) = self.watch.caps.get(&batch.spot.topic).copied() else { continue };
            let is_younger = self.ledger.accepted_at(batch.first).is_some_and(|at| at > since);
            if !is_younger || now >= since + CAP_REMEMBERED_FOR {
                continue;
            }
            if batch.bytes.len() > cap {
                let what = format!("{} has {} bytes, and a split set {cap}", show(batch), batch.bytes.len());
                return Err(violation(Invariant::InTime, what));
            }
            self.hit(FaultRow::LastingSizeLimit, "a batch that keeps below the limit that a split set");
        }
        Ok(())
    }
}
