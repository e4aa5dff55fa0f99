//! State of one run, and its course from faults to recovery or close.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kurier_broker::{Cluster, ClusterSettings, Offer, TopicSettings};
use kurier_partitioner::Choice;
use kurier_protocol::record_batch::Sequence;
use kurier_protocol::{NodeId, PartitionIndex};

use super::checks::Pace;
use super::coverage::Watch;
use super::digest::Digest;
use super::fault_row::FaultRow;
use super::invariant::{Invariant, Violation, violation};
use super::ledger::Ledger;
use super::network::{Event, Line};
use super::plan::{Lack, Plan, topic_name};
use super::report::Report;
use super::sasl::Sasl;
use super::senders::{Due, Flush, Patient, Told};
use super::troubles::SpotTrouble;
use super::wire::{Spot, Wire};
use kurier_engine::accumulator::Signal;
use kurier_engine::accumulator::batch::BatchId;
use kurier_engine::config::{Config, HostPort};
use kurier_engine::core::{Action, ConnectionId, Input, LocalAction};
use kurier_engine::delivery::Runner;
use kurier_engine::error::{Error, ErrorKind};
use kurier_engine::fault_injection::{FaultInjection, Mutant};
use kurier_engine::test_driver::TestDriver;

/// Runs the simulation of a seed, with one deliberate mistake or none. Writes events to `trace`. Returns a report and
/// the first broken invariant, if any.
pub fn play(seed: u64, mutant: Option<Mutant>, trace: Option<&mut dyn FnMut(&str)>) -> (Report, Result<(), Violation>) {
    let mut random = fastrand::Rng::with_seed(seed);
    let (plan, sasl) = (Plan::draw(&mut random), Sasl::draw(seed));
    let played =
        catch_unwind(AssertUnwindSafe(|| match World::new(plan, sasl, random, FaultInjection::of(mutant), trace) {
            Ok(mut world) => {
                let result = world.run();
                world.report.digest = world.digest.get();
                (std::mem::take(&mut world.report), result)
            }
            Err(error) => (Report::default(), Err(violation(Invariant::ValidSettings, format!("{error:#}")))),
        }));
    played.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
        (Report::default(), Err(violation(Invariant::NoPanic, text.unwrap_or("without words"))))
    })
}

/// The ports of bootstrap servers follow this one; those of nodes follow the next.
pub(super) const BOOTSTRAP_PORT: u16 = 9_000;
const FIRST_PORT: u16 = 9_100;

/// Returns a duration of this many milliseconds.
pub(super) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) struct World<'t> {
    pub(super) plan: Plan,
    pub(super) random: fastrand::Rng,
    pub(super) driver: TestDriver,
    pub(super) cluster: Cluster,
    /// The partition count of each topic.
    pub(super) partitions: Vec<i32>,
    pub(super) ledger: Ledger,
    pub(super) wire: Wire,
    pub(super) due: Arc<Due>,
    pub(super) told: Told,
    pub(super) patients: VecDeque<Patient>,
    pub(super) flushes: Vec<Flush>,
    pub(super) resolved: HashMap<BatchId, Vec<Range<u32>>>,
    pub(super) lines: BTreeMap<ConnectionId, Line>,
    pub(super) events: BTreeMap<(Instant, u64), Event>,
    pub(super) next_event: u64,
    pub(super) paused: BTreeMap<NodeId, Instant>,
    /// The node behind each port, including the bootstrap servers' ports. Other ports refuse connections.
    pub(super) ports: BTreeMap<u16, NodeId>,
    pub(super) next_port: u16,
    /// Nodes that are up but unreachable.
    pub(super) unreachable: BTreeSet<NodeId>,
    /// Nodes whose responses arrive no earlier than this time.
    pub(super) late: BTreeMap<NodeId, Instant>,
    /// The number of clusters that the bootstrap servers led to before this one.
    pub(super) era: u32,
    /// Logs of deleted topics.
    pub(super) old_logs: BTreeMap<Spot, Vec<Vec<Bytes>>>,
    /// The outdated metadata that a node returns while it lags behind, and its version.
    pub(super) old_metadata: Option<(i16, Bytes)>,
    pub(super) lags_until: Instant,
    pub(super) is_well: bool,
    /// Faults that affect single partitions of requests.
    pub(super) spot_troubles: Vec<SpotTrouble>,
    /// Memory that splits took beyond their whole batches, since memory was last within its limit.
    pub(super) grown_by_splits: usize,
    /// `None` without SASL.
    pub(super) sasl: Option<Sasl>,
    pub(super) pace: Pace,
    pub(super) watch: Watch,
    pub(super) digest: Digest,
    pub(super) report: Report,
    pub(super) trace: Option<&'t mut dyn FnMut(&str)>,
    pub(super) broken: Option<Violation>,
}

impl<'t> World<'t> {
    fn new(
        mut plan: Plan,
        sasl: Option<Sasl>,
        random: fastrand::Rng,
        faults: FaultInjection,
        trace: Option<&'t mut dyn FnMut(&str)>,
    ) -> Result<Self, Error> {
        if let Some(sasl) = &sasl {
            sasl.configure(&mut plan.config)?;
        }
        let settings = sasl.as_ref().map(Sasl::settings);
        let mut cluster =
            Cluster::new(ClusterSettings { nodes: plan.nodes, sasl: settings, ..ClusterSettings::default() });
        let mut ports = BTreeMap::new();
        let mut servers = Vec::new();
        for node in 1..=plan.nodes {
            let (bootstrap, port) = (BOOTSTRAP_PORT + node, FIRST_PORT + node);
            let node = NodeId(node.into());
            cluster.set_port(node, port);
            ports.extend([(bootstrap, node), (port, node)]);
            servers.push(HostPort { host: "127.0.0.1".to_owned(), port: bootstrap });
        }
        let config = Arc::new(plan.config.with_bootstrap_servers(servers).check()?);
        plan.config = Config::clone(&config);
        let due = Arc::new(Due::default());
        let runner = Arc::clone(&due) as Arc<dyn Runner>;
        let driver = TestDriver::with(Arc::clone(&config), runner, Sequence(plan.first_sequence), faults)?;
        let start = driver.now();
        let wire = Wire::new(&plan);
        let mut world = Self {
            partitions: plan.topics.iter().map(|topic| topic.partitions).collect(),
            plan,
            random,
            driver,
            cluster,
            ledger: Ledger::default(),
            wire,
            due,
            told: Told::default(),
            patients: VecDeque::new(),
            flushes: Vec::new(),
            resolved: HashMap::new(),
            lines: BTreeMap::new(),
            events: BTreeMap::new(),
            next_event: 0,
            paused: BTreeMap::new(),
            next_port: FIRST_PORT + 100,
            ports,
            unreachable: BTreeSet::new(),
            late: BTreeMap::new(),
            era: 0,
            old_logs: BTreeMap::new(),
            old_metadata: None,
            lags_until: start,
            is_well: false,
            spot_troubles: Vec::new(),
            grown_by_splits: 0,
            sasl,
            pace: Pace::default(),
            watch: Watch::default(),
            digest: Digest::default(),
            report: Report::default(),
            trace,
            broken: None,
        };
        world.cluster.set_unknown_producer(world.plan.unknown_producer);
        world.limit_offers();
        for topic in 0..world.plan.topics.len() {
            world.create_topic(topic);
        }
        Ok(world)
    }

    /// Removes from all nodes the APIs that their Kafka version, or the plan, lacks.
    fn limit_offers(&mut self) {
        for node in self.plan.node_ids() {
            self.cluster.set_offer(node, "Produce", Offer::UpTo(self.plan.produce_max));
            match self.plan.lack {
                Some(Lack::ProducerIds) => self.cluster.set_offer(node, "InitProducerId", Offer::Nothing),
                Some(Lack::Produce) => self.cluster.set_offer(node, "Produce", Offer::UpTo(2)),
                Some(Lack::Authorization) | None => {}
            }
        }
    }

    pub(super) fn create_topic(&mut self, topic: usize) {
        let (Some(plan), Some(partitions)) = (self.plan.topics.get(topic), self.partitions.get(topic)) else { return };
        let settings = TopicSettings {
            min_insync_replicas: plan.min_insync.min(self.plan.nodes.into()),
            max_message_bytes: plan.max_message_bytes,
            is_log_append_time: plan.is_log_append_time,
            ..TopicSettings::default()
        };
        let _ = self.cluster.create_topic(topic_name(topic), *partitions, settings);
    }

    /// Returns all partitions.
    pub(super) fn spots(&self) -> Vec<Spot> {
        let of_topic = |(topic, partitions): (usize, &i32)| {
            (0..*partitions).map(move |index| Spot { topic, index: PartitionIndex(index) })
        };
        self.partitions.iter().enumerate().flat_map(of_topic).collect()
    }

    pub(super) fn say(&mut self, text: fmt::Arguments<'_>) {
        let at = self.driver.clock.elapsed();
        if let Some(trace) = &mut self.trace {
            trace(&format!("{:>6}.{:06}  {text}", at.as_secs(), at.subsec_micros()));
        }
    }

    pub(super) fn hit(&mut self, row: FaultRow, what: &'static str) {
        *self.report.met.entry((row, what)).or_default() += 1;
    }

    pub(super) fn fail(&mut self, violation: Violation) {
        trace!(self, "VIOLATION of {violation}");
        if self.trace.is_some() {
            for left in self.driver.core.leftovers() {
                trace!(self, "    the core has {left}");
            }
        }
        self.broken.get_or_insert(violation);
    }

    pub(super) fn ensure(&mut self, result: Result<(), Violation>) {
        if let Err(violation) = result {
            self.fail(violation);
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.driver.now()
    }

    pub(super) fn run(&mut self) -> Result<(), Violation> {
        if self.trace.is_some() {
            let text = format!("{:#?}", self.plan);
            for line in text.lines() {
                trace!(self, "{line}");
            }
            let sasl = format!("{:?}", self.sasl);
            trace!(self, "{sasl}");
        }
        for topic in 0..self.plan.topics.len() {
            self.driver.handle(Input::Signal(Signal::Wanted { topic: topic_name(topic).into(), partitions: 0 }));
        }
        self.pass(ms(300));
        for step in 0..self.plan.steps {
            if self.plan.outage == Some(step) {
                self.outage();
                self.stop_if_broken()?;
            }
            let happening = self.plan.happening(&mut self.random);
            self.happen(happening);
            self.trouble_sasl();
            let time = match self.random.u32(0..100) {
                0..50 => Duration::ZERO,
                50..90 => Duration::from_micros(self.random.u64(0..10_000)),
                90..99 => ms(self.random.u64(10..100)),
                _ => ms(self.random.u64(100..2_000)),
            };
            self.pass(time);
            self.stop_if_broken()?;
        }
        if self.plan.ends_badly {
            self.end();
        } else {
            self.heal();
            self.stop_if_broken()?;
            match self.plan.lack {
                None => self.prove_alive(),
                Some(lack) => self.prove_refusal(lack),
            }
            self.stop_if_broken()?;
            self.prove_idle();
        }
        self.stop_if_broken()?;
        self.settle_network();
        self.check_end()?;
        self.report.records = self.ledger.counts();
        self.report.time = self.driver.clock.elapsed();
        self.stop_if_broken()
    }

    pub(super) fn stop_if_broken(&mut self) -> Result<(), Violation> {
        self.broken.take().map_or(Ok(()), Err)
    }

    /// Splits a batch, and checks the memory that this takes.
    fn split(&mut self, action: Action, whole: usize) {
        /// The minimum size of a piece, and the unused part of its last segment.
        const ROUNDING: usize = 2 * 1_024;
        let before = self.driver.accumulator.memory.used();
        self.driver.act(action);
        let growth = self.driver.accumulator.memory.used().saturating_sub(before);
        // The records of a compressed batch take more room uncompressed in its pieces.
        if growth > whole + ROUNDING {
            self.fail(violation(
                Invariant::NoLeak,
                format!("a batch of {whole} bytes takes {growth} more when it is split"),
            ));
        }
        self.grown_by_splits += growth;
    }

    /// Closes the producer with no time left.
    pub(super) fn end(&mut self) {
        trace!(self, "the producer ends here");
        let closed = || Error::new(ErrorKind::Closed, "closed");
        self.driver.accumulator.close(closed());
        self.patients.clear();
        let before = self.ledger.next();
        self.send(0, Choice::Anywhere, 9, None);
        match self.ledger.next() == before {
            true => self.hit(FaultRow::Close, "a record after close, refused"),
            false => self.fail(violation(Invariant::OneOutcome, "a record is accepted after close")),
        }
        // A second close has no effect.
        self.driver.accumulator.close(closed());
        self.driver.handle(Input::Hurry);
        let time = ms(self.random.u64(0..500));
        self.pass(time);
        self.driver.handle(Input::Abandon);
        self.turn();
        self.driver.let_go();
        self.turn();
        if let Some((number, _)) = self.ledger.oldest_open() {
            self.fail(violation(
                Invariant::OneOutcome,
                format!("record {number} has no outcome when the producer is closed"),
            ));
        }
        self.ledger.close();
        // Frames in transit still arrive.
        self.pass(self.plan.config.request_timeout);
    }

    pub(super) fn at(&mut self, at: Instant, event: Event) {
        self.events.insert((at, self.next_event), event);
        self.next_event += 1;
    }

    /// Advances the time from one scheduled event to the next.
    pub(super) fn pass(&mut self, time: Duration) {
        /// More than the steps at any one instant.
        const RESTLESS: usize = 20_000;
        let end = self.now() + time;
        let mut at_this_time = 0;
        loop {
            let now = self.now();
            while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= now) {
                let event = entry.remove();
                self.report.moments += 1;
                self.take_place(event);
            }
            self.turn();
            if self.broken.is_some() {
                return;
            }
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            if event.is_some_and(|at| at <= now) {
                at_this_time += 1;
                if at_this_time > RESTLESS {
                    return self.fail(violation(Invariant::InTime, "time stands still"));
                }
                continue;
            }
            at_this_time = 0;
            let own = [self.driver.core.next_timeout(now), self.driver.accumulator.memory.next_deadline()];
            let next = own.into_iter().flatten().min().map(|at| at.max(now + Duration::from_micros(100)));
            let next = event.into_iter().chain(next).min().filter(|at| *at < end);
            if now == end {
                return;
            }
            self.report.moments += 1;
            self.driver.clock.set(next.unwrap_or(end));
        }
    }

    /// Carries out all actions of the core.
    pub(super) fn drain(&mut self) {
        while let Some(action) = self.driver.core.poll_action() {
            self.act(action);
        }
    }

    /// Does everything that is due now.
    pub(super) fn turn(&mut self) {
        loop {
            self.driver.tell();
            self.drain();
            self.run_callbacks();
            let now = self.now();
            let full = || Error::new(ErrorKind::BufferFull, "no room");
            self.driver.accumulator.memory.turn_away(Some(now), full);
            let is_news = self.serve_patients();
            self.serve_flushes();
            self.check_now();
            if !is_news || self.broken.is_some() {
                return;
            }
        }
    }

    pub(super) fn act(&mut self, action: Action) {
        self.digest.add(self.driver.clock.elapsed(), &action);
        if let Action::Local(LocalAction::Complete { batch, .. }) = &action {
            let before = self.resolved.entry(batch.id).or_default();
            if before.iter().any(|other| other.start < batch.range.end && batch.range.start < other.end) {
                let what = format!("{:?} of {:?} has two outcomes", batch.range, batch.id);
                return self.fail(violation(Invariant::OneOutcome, what));
            }
            before.push(batch.range.clone());
        }
        if let Action::Local(LocalAction::Split { batch, .. }) = &action {
            self.hit(FaultRow::TooLarge, "split");
            self.meet_split(batch);
            let whole = batch.plain_bytes;
            return self.split(action, whole);
        }
        match self.driver.act(action) {
            Some(Action::Connect { connection, host, attempt, .. }) => self.connect(connection, &host, attempt),
            Some(Action::Disconnect(connection)) => self.end_line(connection),
            Some(Action::Transmit { connection, correlation_id, chunks }) => {
                self.transmit(connection, correlation_id, chunks.into_chunks());
            }
            Some(Action::FrameLimit { connection, bytes }) => {
                self.raise_limit(connection, bytes);
                self.run_callbacks();
            }
            // Report outcomes before anything else is sent.
            _ => self.run_callbacks(),
        }
    }
}
