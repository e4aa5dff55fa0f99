//! The world of one run: time, network, nodes, and what happens to them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kurier_broker::{Cluster, ClusterSettings, Fault, FaultKind, Reply, TopicSettings};
use kurier_partitioner::Choice;
use kurier_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, InitProducerIdRequest, InitProducerIdResponse, MetadataRequest,
    ProduceRequest, ProduceResponse,
};
use kurier_protocol::record_batch::NewRecord;
use kurier_protocol::{ErrorCode, Message, RequestHeader, read_response, write_response};

use super::hands::Hands;
use super::ledger::{Ledger, Violation, value, violation};
use super::mutant::Mutant;
use super::plan::{Happening, Plan};
use super::wire::{Known, Wire, show_all};
use crate::accumulator::batch::BatchId;
use crate::accumulator::memory::Acquire;
use crate::accumulator::{AppendError, Clock, Placed, Signal};
use crate::config::{Config, HostPort};
use crate::core::{Action, ConnectionId, Input};
use crate::delivery::{Calls, Runner};
use crate::error::{Error, ErrorKind};
use crate::record::RecordMetadata;

std::thread_local! {
    /// Where the sequences of a new id begin in this thread's world.
    pub(super) static FIRST_SEQUENCE: std::cell::Cell<i32> = const { std::cell::Cell::new(0) };
}

/// What a run was like.
///
/// See `examples/simulate.rs` for an example.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How often what a row of the fault catalogue is about came up, by its number and what it is.
    pub rows: BTreeMap<(u8, &'static str), u64>,
    /// Records written, not written, and maybe written.
    pub records: [usize; 3],
    /// How many moments were lived through.
    pub moments: u64,
    /// How much time passed in the world.
    pub time: Duration,
}

/// Plays the run of a seed, with a mistake made on purpose or none. What happens is told to `trace`; beside what the run
/// was like stands the first promise that was broken, if one was.
pub fn play(seed: u64, mutant: Option<Mutant>, trace: Option<&mut dyn FnMut(&str)>) -> (Report, Result<(), Violation>) {
    let mut random = fastrand::Rng::with_seed(seed);
    let plan = Plan::draw(&mut random);
    FIRST_SEQUENCE.set(plan.first_sequence);
    Mutant::put_to_work(mutant);
    let played = catch_unwind(AssertUnwindSafe(|| match World::new(plan, random, trace) {
        Ok(mut world) => {
            let result = world.run();
            (std::mem::take(&mut world.report), result)
        }
        Err(error) => (Report::default(), Err(violation("settings", error.to_string()))),
    }));
    Mutant::put_to_work(None);
    FIRST_SEQUENCE.set(0);
    played.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
        (Report::default(), Err(violation("panic", text.unwrap_or("without words"))))
    })
}

const TOPIC: &str = "t";

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Callbacks that are due.
#[derive(Default)]
struct Due(Mutex<Vec<Calls>>);

impl Runner for Due {
    fn run(&self, calls: Calls) {
        lock(&self.0).push(calls);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Told = Arc<Mutex<Vec<(u64, Result<RecordMetadata, Error>)>>>;

/// What will happen at some moment.
#[derive(Clone, Copy, Debug)]
enum Event {
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
struct Line {
    node: i32,
    is_connected: bool,
    /// Whether the producer has it.
    is_open: bool,
    /// Since when it has not.
    left_at: Instant,
    /// Whether nothing comes back any more.
    is_deaf: bool,
    up: VecDeque<Frame>,
    accepted_at: Instant,
    arrived_at: Instant,
    down: VecDeque<Answer>,
    delivered_at: Instant,
}

#[derive(Debug)]
struct Frame {
    correlation_id: i32,
    /// As the producer handed them over; they are its memory.
    chunks: Vec<Bytes>,
    is_accepted: bool,
    arrives_at: Instant,
}

#[derive(Debug)]
struct Answer {
    at: Instant,
    frame: Bytes,
    /// Of Produce: the version.
    produce: Option<i16>,
    throttle_time_ms: i32,
}

/// A record that waits for memory.
struct Patient {
    acquire: Acquire,
    choice: Choice,
    bytes: usize,
    deadline: Instant,
}

struct World<'t> {
    plan: Plan,
    random: fastrand::Rng,
    hands: Hands,
    cluster: Cluster,
    partitions: i32,
    ledger: Ledger,
    wire: Wire,
    due: Arc<Due>,
    told: Told,
    patients: VecDeque<Patient>,
    /// Each the newest batch that it waits for, and the number of the first record that it does not.
    flushes: Vec<(BatchId, u64)>,
    resolved: HashMap<BatchId, Vec<Range<u32>>>,
    lines: BTreeMap<ConnectionId, Line>,
    events: BTreeMap<(Instant, u64), Event>,
    next_event: u64,
    paused: BTreeMap<i32, Instant>,
    /// The port of each node; a connection to another is refused.
    ports: BTreeMap<u16, i32>,
    /// Logs of topics that are gone.
    old_logs: BTreeMap<i32, Vec<Vec<Bytes>>>,
    /// What a node that lags behind says of the cluster, and until when.
    old_metadata: Option<(i16, Bytes)>,
    lags_until: Instant,
    is_well: bool,
    has_split: bool,
    /// For how long the machine has slept.
    slept: Duration,
    report: Report,
    trace: Option<&'t mut dyn FnMut(&str)>,
    broken: Option<Violation>,
}

macro_rules! trace {
    ($world:expr, $($text:tt)*) => {
        if $world.trace.is_some() {
            $world.say(format_args!($($text)*));
        }
    };
}

impl<'t> World<'t> {
    fn new(mut plan: Plan, random: fastrand::Rng, trace: Option<&'t mut dyn FnMut(&str)>) -> Result<Self, Error> {
        let mut cluster = Cluster::new(ClusterSettings { nodes: plan.nodes, ..ClusterSettings::default() });
        let mut ports = BTreeMap::new();
        let mut config = plan.config.clone();
        for node in 1..=plan.nodes {
            let port = 9_000 + node;
            cluster.set_port(node.into(), port);
            ports.insert(port, i32::from(node));
            config.bootstrap_servers.push(HostPort { host: "127.0.0.1".to_owned(), port });
        }
        let config = Arc::new(config.check()?);
        plan.config = Config::clone(&config);
        let due = Arc::new(Due::default());
        let runner = Arc::clone(&due) as Arc<dyn Runner>;
        let hands = Hands::new(Arc::clone(&config), runner, 1)?;
        let start = hands.now();
        let wire = Wire::new(config.max_in_flight, config.enable_idempotence, plan.first_sequence);
        let mut world = Self {
            partitions: plan.partitions,
            plan,
            random,
            hands,
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
            ports,
            old_logs: BTreeMap::new(),
            old_metadata: None,
            lags_until: start,
            is_well: false,
            has_split: false,
            slept: Duration::ZERO,
            report: Report::default(),
            trace,
            broken: None,
        };
        world.create_topic();
        Ok(world)
    }

    fn create_topic(&mut self) {
        let settings = TopicSettings {
            min_insync_replicas: self.plan.min_insync.min(self.plan.nodes.into()),
            max_message_bytes: self.plan.max_message_bytes,
            ..TopicSettings::default()
        };
        let _ = self.cluster.create_topic(TOPIC, self.partitions, settings);
    }

    fn say(&mut self, text: fmt::Arguments<'_>) {
        let at = self.hands.clock.elapsed();
        if let Some(trace) = &mut self.trace {
            trace(&format!("{:>6}.{:06}  {text}", at.as_secs(), at.subsec_micros()));
        }
    }

    fn hit(&mut self, row: u8, what: &'static str) {
        *self.report.rows.entry((row, what)).or_default() += 1;
    }

    fn fail(&mut self, violation: Violation) {
        trace!(self, "VIOLATION of {violation}");
        self.broken.get_or_insert(violation);
    }

    fn ensure(&mut self, result: Result<(), Violation>) {
        if let Err(violation) = result {
            self.fail(violation);
        }
    }

    fn now(&self) -> Instant {
        self.hands.now()
    }

    // ---- the run ----

    fn run(&mut self) -> Result<(), Violation> {
        if self.trace.is_some() {
            let text = format!("{:#?}", self.plan);
            for line in text.lines() {
                trace!(self, "{line}");
            }
        }
        self.hands.handle(Input::Signal(Signal::Wanted(TOPIC.into())));
        self.pass(ms(300));
        for _ in 0..self.plan.steps {
            let happening = self.plan.happening(&mut self.random);
            self.happen(happening);
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
            self.prove_alive();
        }
        self.stop_if_broken()?;
        self.settle_network();
        self.check_end()?;
        self.report.records = self.ledger.counts();
        self.report.time = self.hands.clock.elapsed();
        self.stop_if_broken()
    }

    fn stop_if_broken(&mut self) -> Result<(), Violation> {
        self.broken.take().map_or(Ok(()), Err)
    }

    /// How long anything may take once all is well.
    fn patience(&self) -> Duration {
        let config = &self.plan.config;
        config.delivery_timeout + config.request_timeout * 2 + config.connection_setup_timeout_max + ms(6_000)
    }

    /// Nothing goes wrong any more.
    fn heal(&mut self) {
        trace!(self, "all is well from here on");
        self.is_well = true;
        self.cluster.clear_faults();
        self.paused.clear();
        for node in 1..=self.plan.nodes.into() {
            self.cluster.start_node(node);
        }
        let waiting: Vec<ConnectionId> = self.lines.keys().copied().collect();
        for connection in waiting {
            self.at(self.now(), Event::Serve(connection));
        }
        self.hands.let_go();
        let deadline = self.now() + self.patience();
        while self.now() < deadline
            && self.broken.is_none()
            && (self.ledger.open_count() > 0 || !self.patients.is_empty())
        {
            self.pass(ms(20));
        }
        if let Some((number, _)) = self.ledger.oldest_open() {
            let what = format!("record {number} has no outcome {:?} after all is well", self.patience());
            self.fail(violation("I8", what));
        }
    }

    /// A healed producer delivers.
    fn prove_alive(&mut self) {
        let mut before = 0;
        // The first may learn the hard way that no id was to be had, the second that a topic is another one.
        for _ in 0..3 {
            before = self.ledger.next();
            for partition in 0..self.partitions {
                self.send(Choice::Partition(partition), 9, None);
            }
            self.pass(self.patience());
        }
        let is_too_large = |this: &Self| this.plan.config.max_request_size < 100;
        for number in before..self.ledger.next() {
            if !self.ledger.was_written(number) && !is_too_large(self) {
                let what = format!("record {number} is not written, though all is well: {}", self.ledger.say(number));
                self.fail(violation("I8", what));
            }
        }
        // Nothing is to be done now, and little is done.
        let moments = self.report.moments;
        self.pass(ms(5_000));
        let moments = self.report.moments - moments;
        if moments > 2_000 {
            self.fail(violation("I8", format!("{moments} moments in five seconds in which nothing is to be done")));
        }
    }

    /// The producer is closed, and time is up.
    fn end(&mut self) {
        trace!(self, "the producer ends here");
        self.hit(56, "closed with records under way");
        let closed = || Error::new(ErrorKind::Closed, "closed");
        self.hands.accumulator.close(closed());
        self.patients.clear();
        self.hands.handle(Input::Hurry);
        let time = ms(self.random.u64(0..500));
        self.pass(time);
        self.hands.handle(Input::Abandon);
        self.turn();
        self.hands.let_go();
        self.turn();
        if let Some((number, _)) = self.ledger.oldest_open() {
            self.fail(violation("I4", format!("record {number} has no outcome when the producer is closed")));
        }
    }

    /// Whatever is on its way arrives.
    fn settle_network(&mut self) {
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

    fn check_end(&self) -> Result<(), Violation> {
        let mut logs: BTreeMap<i32, Vec<super::ledger::Log>> = BTreeMap::new();
        for (partition, all) in &self.old_logs {
            for batches in all {
                logs.entry(*partition).or_default().push(self.ledger.read(batches)?);
            }
        }
        for partition in 0..self.partitions {
            let batches = self.cluster.log(TOPIC, partition).unwrap_or_default();
            logs.entry(partition).or_default().push(self.ledger.read(&batches)?);
        }
        self.ledger.check(&logs, &self.plan)?;
        let (used, incomplete) = (self.hands.accumulator.memory.used(), self.hands.accumulator.incomplete_count());
        if used != 0 {
            return Err(violation("I7", format!("{used} bytes of memory are in use, and nothing is left")));
        }
        let left = if self.plan.ends_badly { Vec::new() } else { self.hands.core.leftovers() };
        match incomplete == 0 && left.is_empty() && self.flushes.is_empty() {
            true => Ok(()),
            false => Err(violation("I7", format!("{incomplete} batches, {left:?} and {:?} are left", self.flushes))),
        }
    }

    // ---- time ----

    fn at(&mut self, at: Instant, event: Event) {
        self.events.insert((at, self.next_event), event);
        self.next_event += 1;
    }

    /// Time passes, from one moment to the next at which something is to be done.
    fn pass(&mut self, time: Duration) {
        /// More than ever happens at one time.
        const RESTLESS: usize = 20_000;
        let end = self.now() + time;
        let mut at_this_time = 0;
        loop {
            let now = self.now();
            while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= now) {
                let event = entry.remove();
                self.report.moments += 1;
                self.take_place(event);
                if !self.plan.is_lumpy {
                    self.drain();
                }
            }
            self.turn();
            if self.broken.is_some() {
                return;
            }
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            if event.is_some_and(|at| at <= now) {
                at_this_time += 1;
                if at_this_time > RESTLESS {
                    return self.fail(violation("I8", "time stands still"));
                }
                continue;
            }
            at_this_time = 0;
            let own = [self.hands.core.next_timeout(now), self.hands.accumulator.memory.next_deadline()];
            let next = own.into_iter().flatten().min().map(|at| at.max(now + Duration::from_micros(100)));
            let next = event.into_iter().chain(next).min().filter(|at| *at < end);
            if now == end {
                return;
            }
            self.report.moments += 1;
            self.hands.clock.set(next.unwrap_or(end));
        }
    }

    /// Does all that the core says.
    fn drain(&mut self) {
        while let Some(action) = self.hands.core.poll_action() {
            self.act(action);
        }
    }

    /// All that can happen now happens.
    fn turn(&mut self) {
        loop {
            self.hands.tell();
            self.drain();
            self.run_callbacks();
            let now = self.now();
            let full = || Error::new(ErrorKind::BufferFull, "no room");
            self.hands.accumulator.memory.turn_away(Some(now), full);
            let is_news = self.serve_patients();
            self.serve_flushes();
            self.check_now();
            if !is_news || self.broken.is_some() {
                return;
            }
        }
    }

    /// What holds at every moment.
    fn check_now(&mut self) {
        let config = &self.plan.config;
        // Batches that are split or compressed are there twice for a moment, and what a piece has is rounded up.
        let pieces = if self.has_split { config.buffer_memory } else { 0 };
        let most = config.buffer_memory + pieces + 4 * config.max_request_size + 4_096;
        let latest = config.delivery_timeout + config.linger + ms(1_000) + self.slept;
        let used = self.hands.accumulator.memory.used();
        let held = self.hands.accumulator.held();
        if used != held {
            self.fail(violation("I7", format!("{used} bytes of memory are in use, and partitions hold {held}")));
        }
        if used > most {
            let what = format!("{used} bytes of memory are in use, of {}", self.plan.config.buffer_memory);
            self.fail(violation("I7", what));
        }
        let now = self.hands.clock.elapsed();
        if self.hands.held_takes.is_none()
            && let Some((number, accepted_at)) = self.ledger.oldest_open()
            && now > accepted_at + latest
        {
            self.fail(violation("I8", format!("record {number} has no outcome after {:?}", now - accepted_at)));
        }
    }

    fn run_callbacks(&mut self) {
        let due = std::mem::take(&mut *lock(&self.due.0));
        for calls in due {
            calls.call_each(|callback, result| callback(result));
        }
        let told = std::mem::take(&mut *lock(&self.told));
        for (number, result) in told {
            match &result {
                Ok(metadata) => trace!(self, "record {number} is written at {:?}", metadata.offset()),
                Err(error) => trace!(self, "record {number} failed: {error}"),
            }
            if let Err(error) = &result {
                self.count_failure(error);
                if let Some((_, partition)) = error.topic_partition() {
                    self.wire.failed(partition);
                }
            }
            let told = self.ledger.tell(number, result);
            self.ensure(told);
        }
    }

    fn count_failure(&mut self, error: &Error) {
        use crate::error::{Stage, Written};
        match (error.kind(), error.stage(), error.written()) {
            (ErrorKind::DeliveryTimeout, Some(Stage::Queued), Written::No) => self.hit(8, "expired in the queue"),
            (ErrorKind::DeliveryTimeout, Some(Stage::InFlight), _) => {
                self.hit(9, "expired in flight");
                if self.lines.values().any(|line| line.is_open && line.up.iter().any(|frame| !frame.is_accepted)) {
                    self.hit(63, "expired while a frame was being written");
                }
            }
            (ErrorKind::TopicRecreated, ..) => self.hit(28, "failed, for its topic was made anew"),
            (_, _, Written::Unknown) if error.error_code() == Some(ErrorCode::NOT_LEADER_OR_FOLLOWER) => {
                self.hit(23, "unknown after NOT_LEADER_OR_FOLLOWER");
            }
            (ErrorKind::Refused, Some(Stage::Backoff), Written::Unknown) => self.hit(5, "drained as unknown"),
            _ => {}
        }
    }

    // ---- senders ----

    /// A record of so many bytes is sent; `true` when it was accepted or refused.
    fn send(&mut self, choice: Choice, bytes: usize, permit: Option<crate::accumulator::memory::Permit>) -> bool {
        let Some(topic) = self.hands.accumulator.topic(TOPIC) else { return false };
        let number = self.ledger.next();
        let value = value(number, bytes);
        let record = NewRecord { timestamp: self.hands.clock.wall_ms(), value: Some(&value), ..Default::default() };
        let told = Arc::clone(&self.told);
        let callback = Box::new(move |result| lock(&told).push((number, result)));
        match self.hands.accumulator.append(&topic, &Placed { record, choice }, permit, Some(callback)) {
            Ok(delivery) => {
                delivery.forget();
                trace!(self, "record {number} of {bytes} bytes is accepted for {choice:?}");
                self.ledger.accept(bytes.max(8), self.hands.clock.elapsed());
                true
            }
            Err((AppendError::Refused(error), _)) => {
                trace!(self, "a record of {bytes} bytes is refused: {error}");
                true
            }
            Err((AppendError::NoRoom(missing), _)) => {
                self.hit(54, "waited for memory");
                let deadline = self.now() + self.plan.config.max_block;
                let acquire = missing.wait(&self.hands.accumulator, deadline);
                self.patients.push_back(Patient { acquire, choice, bytes, deadline });
                false
            }
        }
    }

    /// Whoever waited for memory and has some appends. Says whether anybody did.
    fn serve_patients(&mut self) -> bool {
        let mut is_news = false;
        for _ in 0..self.patients.len() {
            let Some(mut patient) = self.patients.pop_front() else { break };
            let polled = Pin::new(&mut patient.acquire).poll(&mut Context::from_waker(Waker::noop()));
            match polled {
                Poll::Pending if patient.deadline + ms(1) < self.now() => {
                    self.fail(violation("I8", "who waits for memory is not told that there is none"));
                }
                Poll::Pending => self.patients.push_back(patient),
                Poll::Ready(Ok(permit)) => {
                    is_news = true;
                    self.send(patient.choice, patient.bytes, Some(permit));
                }
                Poll::Ready(Err(_)) => is_news = true,
            }
        }
        is_news
    }

    fn flush(&mut self) {
        let (_, newest) = self.hands.accumulator.incomplete();
        trace!(self, "flush, up to {newest:?}");
        self.flushes.push((newest, self.ledger.next()));
        self.hands.handle(Input::Hurry);
    }

    fn serve_flushes(&mut self) {
        let (oldest, _) = self.hands.accumulator.incomplete();
        let is_over = |(newest, _): &mut (BatchId, u64)| oldest.is_none_or(|oldest| oldest > *newest);
        let over: Vec<(BatchId, u64)> = self.flushes.extract_if(.., is_over).collect();
        for (_, end) in over {
            self.hit(55, "flushed");
            if let Some((number, _)) = self.ledger.oldest_open()
                && number < end
            {
                self.fail(violation("I9", format!("flushed, and record {number} has no outcome")));
            }
        }
    }

    // ---- what the core says ----

    fn act(&mut self, action: Action) {
        if let Action::Complete { batch, .. } = &action {
            let before = self.resolved.entry(batch.id).or_default();
            if before.iter().any(|other| other.start < batch.range.end && batch.range.start < other.end) {
                let what = format!("{:?} of {:?} has two outcomes", batch.range, batch.id);
                return self.fail(violation("I4", what));
            }
            before.push(batch.range.clone());
        }
        if let Action::Split { .. } = &action {
            self.hit(20, "split");
            self.has_split = true;
        }
        match self.hands.act(action) {
            Some(Action::Connect { connection, host, .. }) => self.connect(connection, &host),
            Some(Action::Disconnect(connection)) => self.leave(connection, true),
            Some(Action::Transmit { connection, correlation_id, chunks }) => {
                self.transmit(connection, correlation_id, chunks);
            }
            // What is told is told before anything else is sent.
            _ => self.run_callbacks(),
        }
    }

    fn latency(&mut self) -> Duration {
        let highest = u64::try_from(self.plan.latency.as_micros()).unwrap_or_default();
        Duration::from_micros(self.random.u64(0..=highest))
    }

    fn connect(&mut self, connection: ConnectionId, host: &HostPort) {
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

    fn transmit(&mut self, connection: ConnectionId, correlation_id: i32, chunks: Vec<Bytes>) {
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

    // ---- the network ----

    fn take_place(&mut self, event: Event) {
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

    fn accept(&mut self, connection: ConnectionId) {
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
    fn serve(&mut self, connection: ConnectionId) {
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
    fn execute(&mut self, connection: ConnectionId, frame: &Frame) {
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

    fn answer(&mut self, connection: ConnectionId, mut answer: Answer) {
        let latency = self.latency();
        let Some(line) = self.lines.get_mut(&connection).filter(|line| line.is_open) else { return };
        line.delivered_at = line.delivered_at.max(answer.at + latency);
        answer.at = line.delivered_at;
        line.down.push_back(answer);
        let at = line.delivered_at;
        self.at(at, Event::Deliver(connection));
    }

    /// What a broker of another version, or in another mood, would have answered.
    fn tamper(&mut self, header: &RequestHeader, answer: Bytes, before: &[Option<i64>]) -> (Bytes, i32) {
        let version = header.api_version;
        match header.api_key {
            ApiVersionsRequest::KEY if self.plan.produce_max < 13 => {
                let Ok((_, mut response)) = read_response::<ApiVersionsRequest>(&answer, version) else {
                    return (answer, 0);
                };
                for api in response.api_keys.iter_mut().filter(|api| api.api_key == ProduceRequest::KEY) {
                    api.max_version = self.plan.produce_max;
                }
                (rewritten::<ApiVersionsResponse>(&response, header, answer), 0)
            }
            InitProducerIdRequest::KEY if self.plan.first_epoch > 0 => {
                let Ok((_, mut response)) = read_response::<InitProducerIdRequest>(&answer, version) else {
                    return (answer, 0);
                };
                if response.error_code.is_none() {
                    response.producer_epoch = self.plan.first_epoch;
                }
                (rewritten::<InitProducerIdResponse>(&response, header, answer), 0)
            }
            MetadataRequest::KEY => {
                self.hit(38, "a question about the cluster");
                (self.lag(version, answer), 0)
            }
            ProduceRequest::KEY => {
                let Ok((_, mut response)) = read_response::<ProduceRequest>(&answer, version) else {
                    return (answer, 0);
                };
                self.tamper_produce(&mut response, before);
                let throttle_time_ms = response.throttle_time_ms;
                (rewritten::<ProduceResponse>(&response, header, answer), throttle_time_ms)
            }
            _ => (answer, 0),
        }
    }

    /// A node that lags behind says what was the case when it fell behind.
    fn lag(&mut self, version: i16, answer: Bytes) -> Bytes {
        if self.is_well || self.now() >= self.lags_until {
            self.old_metadata = Some((version, answer.clone()));
            return answer;
        }
        let old = self.old_metadata.as_ref().filter(|(old, _)| *old == version).map(|(_, old)| old.clone());
        match (old, answer.get(..4)) {
            (Some(old), Some(correlation_id)) if old.len() > 4 => {
                self.hit(27, "an old answer about the cluster");
                Bytes::from([correlation_id, old.get(4..).unwrap_or_default()].concat())
            }
            _ => answer,
        }
    }

    fn tamper_produce(&mut self, response: &mut ProduceResponse, before: &[Option<i64>]) {
        for answer in response.responses.iter_mut().flat_map(|topic| &mut topic.partition_responses) {
            let at = usize::try_from(answer.index).unwrap_or_default();
            let is_new = before.get(at).copied().flatten() != self.cluster.end_offset(TOPIC, answer.index);
            match answer.error_code {
                ErrorCode::NONE if !is_new => {
                    self.hit(1, "a duplicate, answered with its old offset");
                    // Some brokers know no more than that it is one.
                    if self.random.u32(0..3) == 0 {
                        self.hit(3, "DUPLICATE_SEQUENCE_NUMBER");
                        (answer.error_code, answer.base_offset) = (ErrorCode::DUPLICATE_SEQUENCE_NUMBER, -1);
                    }
                }
                ErrorCode::NONE if !self.is_well && self.random.u32(0..100) < 2 => {
                    let codes = [
                        (23, "written, and NOT_LEADER_OR_FOLLOWER", ErrorCode::NOT_LEADER_OR_FOLLOWER),
                        (11, "written, and REQUEST_TIMED_OUT", ErrorCode::REQUEST_TIMED_OUT),
                        (
                            11,
                            "written, and NOT_ENOUGH_REPLICAS_AFTER_APPEND",
                            ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
                        ),
                        (23, "written, and UNKNOWN_SERVER_ERROR", ErrorCode::UNKNOWN_SERVER_ERROR),
                    ];
                    let (row, what, code) = codes[self.random.usize(..codes.len())];
                    self.hit(row, what);
                    (answer.error_code, answer.base_offset) = (code, -1);
                }
                ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER => self.hit(4, "OUT_OF_ORDER_SEQUENCE_NUMBER"),
                ErrorCode::NOT_LEADER_OR_FOLLOWER => self.hit(26, "NOT_LEADER_OR_FOLLOWER, perhaps with a hint"),
                ErrorCode::NOT_ENOUGH_REPLICAS => self.hit(24, "NOT_ENOUGH_REPLICAS"),
                ErrorCode::MESSAGE_TOO_LARGE => self.hit(20, "MESSAGE_TOO_LARGE"),
                ErrorCode::CORRUPT_MESSAGE => self.hit(22, "CORRUPT_MESSAGE"),
                ErrorCode::INVALID_RECORD => self.hit(7, "INVALID_RECORD"),
                ErrorCode::UNKNOWN_PRODUCER_ID => self.hit(6, "UNKNOWN_PRODUCER_ID"),
                ErrorCode::INVALID_PRODUCER_EPOCH => self.hit(5, "INVALID_PRODUCER_EPOCH"),
                ErrorCode::UNKNOWN_TOPIC_ID => self.hit(28, "UNKNOWN_TOPIC_ID"),
                _ => {}
            }
        }
    }

    fn deliver(&mut self, connection: ConnectionId) {
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
            self.wire.throttle(connection, self.hands.clock.elapsed() + ms(throttle));
        }
        self.hands.handle(Input::Received { connection, frame: answer.frame });
    }

    /// A connection ends by itself: the producer is told.
    fn cut(&mut self, connection: ConnectionId, why: &str) {
        if !self.lines.get(&connection).is_some_and(|line| line.is_open) {
            return;
        }
        trace!(self, "{connection:?} is cut: {why}");
        self.leave(connection, false);
        self.hands.handle(Input::Disconnected { connection, why: why.to_owned() });
    }

    /// The producer has no more of a connection. What the kernel had may be executed yet, all of it or the first part;
    /// of what it had not, that which was just being written, if it was the producer that ended it.
    fn leave(&mut self, connection: ConnectionId, by_us: bool) {
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

    // ---- what happens ----

    fn happen(&mut self, happening: Happening) {
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

    fn any_open(&mut self) -> Option<ConnectionId> {
        let open: Vec<ConnectionId> =
            self.lines.iter().filter(|(_, line)| line.is_open && line.is_connected).map(|(id, _)| *id).collect();
        (!open.is_empty()).then(|| open[self.random.usize(..open.len())])
    }

    /// A node dies: what it has not read is lost.
    fn stop_node(&mut self, node: i32) {
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

    fn move_node(&mut self, node: i32) {
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

    fn recreate(&mut self) {
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

fn rewritten<M: Message>(response: &M, header: &RequestHeader, or: Bytes) -> Bytes {
    let mut frame = Vec::new();
    match write_response(response, header.api_version, header.correlation_id, &mut frame) {
        Ok(()) => Bytes::from(frame).slice(4..),
        Err(_) => or,
    }
}
