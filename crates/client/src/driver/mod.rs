//! Driver of the core: one task feeds it inputs and carries out its actions, and one task serves each connection.
//!
//! ```text
//!   senders ─ signals, commands ─▶ ┌─────────┐ ─ frames ─▶ connection tasks ─▶ sockets
//!   connection tasks ─── inputs ─▶ │ Driver  │
//!   clock ────────────────── now ─▶│  Core   │ ─ take, split ─▶ accumulator, codecs
//!                                  └─────────┘ ─ complete ────▶ cells, and through them wakers and callbacks
//! ```
//!
//! Only this module uses sockets, host names, clocks and tasks.

#[cfg(feature = "oauth-oidc")]
mod assertion;
mod blocking;
mod callbacks;
mod clock;
#[cfg(not(all(test, shuttle)))]
mod connection;
pub(crate) mod credentials;
mod entropy;
mod files;
mod names;
#[cfg(feature = "oauth-oidc")]
mod oidc;
mod protection;
pub(crate) mod security;
mod shared;
#[cfg(feature = "tls")]
mod tls;
mod topics;
mod transport;
mod workers;

use std::collections::HashMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Instant;

use kurier_protocol::FrameBuffer;
use kurier_protocol::record_batch::Sequence;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

#[cfg(all(test, shuttle))]
use crate::models::connection;
use clock::SystemClock;
use connection::{Frame, Wires};
use kurier_engine::accumulator::batch::BatchId;
use kurier_engine::accumulator::{Clock, Signal, Topic, WANTED_TOPICS_MAX};
use kurier_engine::closing::Summary;
use kurier_engine::codecs::Codecs;
use kurier_engine::config::{Config, HostPort};
use kurier_engine::core::{Action, ConnectionId, Core, Ending, Input, Job, LocalAction};
use kurier_engine::error::{Error, ErrorKind, panic_text};
use kurier_engine::fault_injection::FaultInjection;
use kurier_engine::local_actions::{self, Rest, TakenBatches};
pub(crate) use names::Names;
use names::SystemNames;
use protection::Keepers;
pub(crate) use protection::{Given, Protection};
use shared::Alive;
pub(crate) use shared::{Command, Shared};
use topics::{Topics, Waiter};
use transport::Security;
pub(crate) use transport::Target;
use workers::Workers;

/// The control task.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    core: Core,
    seed: u64,
    names: Arc<dyn Names>,
    /// `None` after `run` has started its tasks.
    protection: Option<Protection>,
    security: Security,
    keepers: Keepers,
    codecs: Arc<Codecs>,
    workers: Workers,
    inputs: mpsc::Receiver<Input>,
    /// For connection tasks, to send to `inputs`.
    input: mpsc::Sender<Input>,
    /// Unbounded, because each node has at most one set of batches under way.
    compressed: mpsc::UnboundedReceiver<UnderWay>,
    under_way: mpsc::UnboundedSender<UnderWay>,
    connections: HashMap<ConnectionId, Line>,
    waiting: Waiting,
    closing: Option<Closing>,
    is_over: bool,
    /// Why the driver ends before a close: a panic, or no bootstrap server.
    failure: Option<Error>,
    /// Dropped last, when every batch has its outcome.
    alive: Option<Alive>,
}

/// A connection's task, the queue of frames for it, and the largest frame that it accepts.
struct Line {
    frames: mpsc::Sender<Frame>,
    frame_limit: Arc<AtomicUsize>,
    task: AbortHandle,
}

/// Calls of users that wait for a server that can be reached, for a topic, or for a flush.
#[derive(Default)]
struct Waiting {
    reach: Vec<Patient<()>>,
    topics: Topics,
    /// Each flush with the newest batch that it waits for.
    flushes: Vec<(BatchId, oneshot::Sender<Summary>)>,
}

/// A waiting call: its deadline and its reply channel.
type Patient<T> = (Instant, oneshot::Sender<Result<T, Error>>);

/// A close in progress.
struct Closing {
    deadline: Instant,
    is_time_up: bool,
}

/// Batches that are being compressed, or are queued for the driver. They fail if they are dropped.
struct UnderWay {
    taken: TakenBatches,
    shared: Arc<Shared>,
    /// Dropped last, so that a close waits for these batches.
    _alive: Option<Alive>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        for (_, batch) in self.taken.batches.drain(..) {
            self.shared.fail_batch(&batch, self.shared.ended());
        }
    }
}

/// Event that ended a wait.
enum Happened {
    Nothing,
    Input(Input),
    Compressed(UnderWay),
}

/// Inputs handled in one round, and the capacity of their channel. A full channel blocks connection tasks.
const INPUTS_MAX: usize = 1024;

fn new_core(config: Arc<Config>, seed: u64, now: Instant) -> Core {
    Core::new(config, seed, Box::new(entropy::SystemEntropy), Sequence::FIRST, FaultInjection::NONE, now)
}

impl Driver {
    #[cfg(test)]
    pub(crate) fn new(shared: Arc<Shared>, seed: u64) -> Result<Self, Error> {
        Self::protected(shared, seed, Protection::NONE)
    }

    /// Creates a driver whose connections use TLS and SASL as `protection` says.
    pub(crate) fn protected(shared: Arc<Shared>, seed: u64, protection: Protection) -> Result<Self, Error> {
        let (input, inputs) = mpsc::channel(INPUTS_MAX);
        let (under_way, compressed) = mpsc::unbounded_channel();
        let now = shared.accumulator.clock().now();
        let codecs = Codecs::new(shared.config.compression()?, Arc::clone(&shared.accumulator.memory));
        Ok(Self {
            core: new_core(Arc::clone(&shared.config), seed, now),
            seed,
            names: Arc::new(SystemNames),
            security: protection.security.clone(),
            protection: Some(protection),
            keepers: Keepers::default(),
            codecs: Arc::new(codecs),
            workers: Workers::new(),
            alive: shared.take_alive(),
            shared,
            inputs,
            input,
            compressed,
            under_way,
            connections: HashMap::new(),
            waiting: Waiting::default(),
            closing: None,
            is_over: false,
            failure: None,
        })
    }

    /// Looks up the bootstrap servers, and runs until the producer is closed.
    pub(crate) async fn start(mut self) {
        match self.look_up().await {
            Ok(servers) => {
                let config = self.shared.config.with_bootstrap_servers(servers);
                // Timeouts count from here.
                self.core = new_core(Arc::new(config), self.seed, self.now());
                self.run().await;
            }
            Err(error) => self.failure = Some(error),
        }
    }

    /// Looks up the bootstrap servers. Stops when the producer is dropped, for example with the future of its build.
    async fn look_up(&self) -> Result<Vec<HostPort>, Error> {
        let shared = &self.shared;
        let trouble = names::Trouble::default();
        let mut found = std::pin::pin!(names::bootstrap(&shared.config, &*self.names, &trouble));
        let mut notified = Box::pin(shared.notify.notified());
        let is_end = |command: &Command| matches!(command, Command::Detach | Command::Close { .. });
        let is_question = |command: &mut Command| matches!(command, Command::Obstacle { .. });
        poll_fn(|cx| {
            while notified.as_mut().poll(cx).is_ready() {
                let questions: Vec<Command> = match &mut *shared.commands() {
                    Some(commands) if !commands.iter().any(is_end) => commands.extract_if(.., is_question).collect(),
                    _ => return Poll::Ready(Err(closed())),
                };
                for question in questions {
                    if let Command::Obstacle { reply } = question {
                        let text = format!("no name in bootstrap.servers has an address yet: {:#}", trouble.get());
                        let _ = reply.send(Some(text));
                    }
                }
                notified = Box::pin(shared.notify.notified());
            }
            found.as_mut().poll(cx)
        })
        .await
    }

    /// Runs until the producer is closed.
    pub(crate) async fn run(mut self) {
        if let Some(protection) = self.protection.take() {
            self.keepers = protection.start(&self.input);
        }
        let mut happened = Happened::Nothing;
        loop {
            let worked = catch_unwind(AssertUnwindSafe(|| {
                self.work(happened);
                self.next_deadline()
            }));
            match worked {
                Ok(_) if self.is_over => break,
                Ok(until) => {
                    let has_slept;
                    (happened, has_slept) = self.wait(until).await;
                    // Busy senders must not starve the connection tasks, which run while this task sleeps.
                    if !has_slept {
                        tokio::task::yield_now().await;
                    }
                }
                Err(panic) => {
                    let error = Error::new(ErrorKind::Bug, "the producer's driver failed");
                    self.failure = Some(error.caused_by(panic_text(&*panic)));
                    break;
                }
            }
        }
        for line in self.connections.values() {
            line.task.abort();
        }
    }

    fn now(&self) -> Instant {
        self.shared.accumulator.clock().now()
    }

    /// Handles all pending events and carries out the core's actions.
    fn work(&mut self, happened: Happened) {
        let now = self.now();
        match happened {
            Happened::Nothing => {}
            Happened::Input(input) => {
                self.core.handle(input, now);
                self.act(now);
            }
            Happened::Compressed(under_way) => self.hand_over(under_way, now),
        }
        self.take_signals();
        self.take_commands();
        let now = self.now();
        for _ in 0..INPUTS_MAX {
            let Ok(input) = self.inputs.try_recv() else { break };
            self.core.handle(input, now);
            self.act(now);
        }
        while let Ok(under_way) = self.compressed.try_recv() {
            self.hand_over(under_way, now);
        }
        self.core.handle_timeout(now);
        self.act(now);
        self.serve(now);
    }

    fn take_signals(&mut self) {
        let signals = self.shared.accumulator.take_signals();
        // Read the clock after taking the signals, so that a flush covers batches opened until then.
        let now = self.now();
        for signal in signals {
            match signal {
                Signal::Wanted { topic, partitions } => self.want(topic, partitions, None, now),
                signal => self.core.handle(Input::Signal(signal), now),
            }
        }
    }

    fn take_commands(&mut self) {
        let commands = self.shared.commands().as_mut().map(std::mem::take);
        let now = self.now();
        for command in commands.into_iter().flatten() {
            match command {
                Command::Reach { deadline, reply } => self.waiting.reach.push((deadline, reply)),
                Command::Topic { name, partitions, deadline, reply } => {
                    self.want(name, partitions, Some((deadline, reply)), now);
                }
                Command::Flush { reply } => {
                    let (_, newest) = self.shared.accumulator.incomplete();
                    self.waiting.flushes.push((newest, reply));
                    self.core.handle(Input::Hurry, now);
                }
                Command::Obstacle { reply } => {
                    let _ = reply.send(self.obstacle(now));
                }
                Command::SetCredentials(credentials) => self.keepers.set_credentials(credentials),
                #[cfg(feature = "tls")]
                Command::SetTls(config) => {
                    if let Some(input) = self.keepers.set_tls(&self.security, config) {
                        self.core.handle(input, now);
                    }
                }
                Command::ReloadSecurity { reply } => self.keepers.reload(reply),
                Command::Close { deadline } => self.close(deadline),
                Command::Detach if self.closing.is_none() => {
                    let left = self.shared.accumulator.incomplete_count();
                    if left > 0 {
                        tracing::warn!(
                            batches = left,
                            "a producer was dropped with unfinished batches; it still delivers them, unless the process ends \
                             first: call close"
                        );
                    }
                    self.close(now + self.shared.config.delivery_timeout);
                }
                Command::Detach => {}
            }
        }
        self.act(self.now());
    }

    /// Requests metadata until the topic has this many partitions. A call without a waiter keeps the request for
    /// `max.block.ms`, and at least `request.timeout.ms`, so that a response can arrive.
    fn want(&mut self, name: Arc<str>, partitions: usize, waiter: Option<Patient<Arc<Topic>>>, now: Instant) {
        // A closed producer accepts no records for the topic.
        if self.closing.is_some() {
            if let Some((_, reply)) = waiter {
                let _ = reply.send(Err(closed()));
            }
            return;
        }
        if let Some(topic) = self.shared.accumulator.topic(&name)
            && topic.partition_count() >= partitions
        {
            if let Some((_, reply)) = waiter {
                let _ = reply.send(Ok(topic));
            }
            return;
        }
        let topics = &mut self.waiting.topics;
        if topics.len() >= WANTED_TOPICS_MAX && !topics.contains(&name) {
            if let Some((_, reply)) = waiter {
                let text = format!("the producer already waits for {WANTED_TOPICS_MAX} topics: request fewer at once");
                let _ = reply.send(Err(Error::new(ErrorKind::Metadata, text)));
            }
            return;
        }
        let until = now + self.shared.config.max_block.max(self.shared.config.request_timeout);
        let told = |patient| Waiter::Told { partitions, patient };
        topics.add(&name, waiter.map_or(Waiter::Nobody { partitions, until }, told), now);
        self.core.handle(Input::Wanted { topic: name, partitions }, now);
    }

    fn close(&mut self, deadline: Instant) {
        match &mut self.closing {
            Some(closing) => closing.deadline = closing.deadline.min(deadline),
            None => {
                self.closing = Some(Closing { deadline, is_time_up: false });
                self.shared.accumulator.close(closed());
                // Read the clock after that: senders could open batches until then, and those must not linger either.
                let now = self.now();
                self.core.handle(Input::Hurry, now);
                // Calls that wait for a topic can no longer send.
                for (name, waiters) in self.waiting.topics.clear() {
                    waiters.into_iter().for_each(|waiting| drop(waiting.reply.send(Err(closed()))));
                    self.core.handle(Input::Unwanted(name), now);
                }
            }
        }
    }

    /// Carries out the core's actions.
    fn act(&mut self, now: Instant) {
        while let Some(action) = self.core.poll_action() {
            match action {
                Action::Connect { connection, host, attempt, was_ready } => {
                    // As many frames as may be unanswered, and a few metadata requests.
                    let (frames, receiver) = mpsc::channel(self.shared.config.max_in_flight.saturating_add(8));
                    let frame_limit = Arc::new(AtomicUsize::new(FrameBuffer::UNAUTHENTICATED_LIMIT_BYTES));
                    let (inputs, limit) = (self.input.clone(), Arc::clone(&frame_limit));
                    let wires = Wires { connection, frames: receiver, inputs, frame_limit: limit };
                    let (config, names) = (Arc::clone(&self.shared.config), Arc::clone(&self.names));
                    let security = self.security.clone();
                    let target = Target { config, names, security, host, attempt, was_ready };
                    let task = tokio::spawn(connection::run(target, wires)).abort_handle();
                    self.connections.insert(connection, Line { frames, frame_limit, task });
                }
                Action::FrameLimit { connection, bytes } => {
                    if let Some(line) = self.connections.get(&connection) {
                        line.frame_limit.store(bytes, Ordering::Relaxed);
                    }
                }
                Action::Disconnect(connection) => {
                    if let Some(line) = self.connections.remove(&connection) {
                        line.task.abort();
                    }
                }
                Action::Transmit { connection, correlation_id, chunks } => {
                    let Some(line) = self.connections.get(&connection) else { continue };
                    match line.frames.try_send(Frame { correlation_id, chunks: chunks.into_chunks() }) {
                        // A task that has ended reports its reason in an input of its own.
                        Ok(()) | Err(TrySendError::Closed(_)) => {}
                        Err(TrySendError::Full(_)) => {
                            let ending = Ending::Failed("its outgoing queue is full".into());
                            self.core.handle(Input::Disconnected { connection, ending }, now);
                        }
                    }
                }
                Action::FetchCredentials { reason } => {
                    if let Some(input) = self.keepers.fetch(reason) {
                        self.core.handle(input, now);
                    }
                }
                Action::Compute { connection, job } => self.compute(connection, job),
                Action::Refuse { topic, error } => {
                    for waiting in self.waiting.topics.take(&topic, usize::MAX).0 {
                        let _ = waiting.reply.send(Err(error.clone()));
                    }
                }
                Action::Local(action) => self.perform(action, now),
            }
        }
    }

    /// Runs a slow job of SASL on a worker's thread, and passes its result to the core.
    fn compute(&self, connection: ConnectionId, job: Job) {
        let inputs = self.input.clone();
        let work = move || drop(inputs.blocking_send(Input::Computed { connection, proof: job.run() }));
        // If no thread starts, the job is lost, and the connection times out.
        drop(self.workers.run(Box::new(work)));
    }

    /// Performs an action that needs no network.
    fn perform(&mut self, action: LocalAction, now: Instant) {
        if let LocalAction::Complete { batch, outcome, .. } = &action {
            self.shared.keep_if_failed(batch, outcome);
        }
        match local_actions::perform(action, &self.shared.accumulator, &self.codecs) {
            Rest::Nothing => {}
            Rest::Answer(input) => self.core.handle(input, now),
            Rest::Compress(taken) => self.compress(taken, now),
            Rest::Published { topic, partitions } => self.serve_published(topic, partitions, now),
        }
    }

    /// Compresses batches on a worker's thread, if one starts, and passes them to the core.
    fn compress(&mut self, taken: TakenBatches, now: Instant) {
        let mut under_way = UnderWay { taken, shared: Arc::clone(&self.shared), _alive: self.alive.clone() };
        if !self.codecs.compress() || under_way.taken.batches.is_empty() {
            return self.core.handle(under_way.taken.hand_over(), now);
        }
        let (codecs, done) = (Arc::clone(&self.codecs), self.under_way.clone());
        let job = move || {
            under_way.taken.compress(&under_way.shared.accumulator, &codecs);
            // If the driver has stopped, the batches fail.
            let _ = done.send(under_way);
        };
        if let Err(job) = self.workers.run(Box::new(job)) {
            job();
        }
    }

    /// Passes compressed batches to the core, and carries out its actions.
    fn hand_over(&mut self, mut under_way: UnderWay, now: Instant) {
        self.core.handle(under_way.taken.hand_over(), now);
        self.act(now);
    }

    /// Replies to calls whose deadline has passed or whose condition is met.
    fn serve(&mut self, now: Instant) {
        self.shared.accumulator.memory.turn_away(Some(now), || self.no_memory());
        self.serve_verdict(now);
        self.serve_reach(now);
        self.serve_topics(now);
        self.serve_flushes();
        self.serve_closing(now);
    }

    /// Describes what blocks the producer: its connection to the cluster, its oldest batch, or a topic or partition
    /// that senders wait for.
    fn obstacle(&mut self, now: Instant) -> Option<String> {
        if !self.core.is_connected() {
            let obstacles = self.core.obstacles();
            return Some(obstacles.unwrap_or_else(|| "no bootstrap server has been asked yet".to_owned()));
        }
        let of_batch = self.core.batch_obstacle(now);
        let of_topic = |(name, wanted): (&Arc<str>, usize)| {
            let shown = kurier_engine::error::printable(name);
            let Some(topic) = self.shared.accumulator.topic(name) else {
                return format!("topic {shown} is not known: {}", self.core.obstacle(name));
            };
            let count = topic.partition_count();
            let unit = if count == 1 { "partition" } else { "partitions" };
            format!("topic {shown} has {count} {unit}, and a send waits for partition {}", wanted.saturating_sub(1))
        };
        of_batch.or_else(|| self.waiting.topics.any().map(of_topic))
    }

    fn no_memory(&self) -> Error {
        let config = &self.shared.config;
        let why = self
            .core
            .obstacles()
            .unwrap_or_else(|| "the brokers accept records more slowly than the application sends them".to_owned());
        let text = format!(
            "no room under buffer.memory, which is {}, within max.block.ms, which is {}",
            config.buffer_memory,
            config.max_block.as_millis()
        );
        Error::new(ErrorKind::BufferFull, text).caused_by(why)
    }

    /// Fails the calls that wait for the cluster, if waiting would not help.
    fn serve_verdict(&mut self, now: Instant) {
        // Return early: this runs at every turn of the driver, and calls rarely wait.
        if self.waiting.reach.is_empty() && self.waiting.topics.len() == 0 {
            return;
        }
        let Some(error) = self.core.verdict().cloned() else { return };
        for (_, reply) in self.waiting.reach.drain(..) {
            let _ = reply.send(Err(error.clone()));
        }
        for (name, waiters) in self.waiting.topics.clear() {
            waiters.into_iter().for_each(|waiting| drop(waiting.reply.send(Err(error.clone()))));
            self.core.handle(Input::Unwanted(name), now);
        }
    }

    fn serve_reach(&mut self, now: Instant) {
        // With max.block.ms=0 no call waits, and build does not either.
        if self.core.is_connected() || self.shared.config.max_block.is_zero() {
            for (_, reply) in self.waiting.reach.drain(..) {
                let _ = reply.send(Ok(()));
            }
        }
        for (_, reply) in self.waiting.reach.extract_if(.., |(deadline, _)| *deadline <= now) {
            let config = &self.shared.config;
            let why = self.core.obstacles().unwrap_or_else(|| "no server has answered yet".to_owned());
            let text = format!(
                "cannot reach a bootstrap server within max.block.ms, which is {}; check bootstrap.servers",
                config.max_block.as_millis()
            );
            let _ = reply.send(Err(Error::new(ErrorKind::Network, text).caused_by(why)));
        }
    }

    /// Replies to the calls that waited until a topic has this many partitions.
    fn serve_published(&mut self, name: Arc<str>, partitions: usize, now: Instant) {
        let Some(topic) = self.shared.accumulator.topic(&name) else { return };
        let (content, is_over) = self.waiting.topics.take(&name, partitions);
        for waiting in content {
            let _ = waiting.reply.send(Ok(Arc::clone(&topic)));
        }
        if is_over {
            self.core.handle(Input::Unwanted(name), now);
        }
    }

    fn serve_topics(&mut self, now: Instant) {
        while let Some((name, late, is_unwanted)) = self.waiting.topics.pop(now) {
            if !late.is_empty() {
                let error = self.not_in_time(&name);
                late.into_iter().for_each(|waiting| drop(waiting.reply.send(Err(error.clone()))));
            }
            if is_unwanted {
                self.core.handle(Input::Unwanted(name), now);
            }
        }
    }

    /// Error for a topic that was not known in time, or had too few partitions.
    fn not_in_time(&self, name: &str) -> Error {
        let max_block = self.shared.config.max_block.as_millis();
        if self.shared.accumulator.topic(name).is_some() {
            return Error::new(
                ErrorKind::Partitioning,
                format!("the topic did not get this partition within max.block.ms, which is {max_block}"),
            );
        }
        let text = format!(
            "topic {} was not found within max.block.ms, which is {max_block}",
            kurier_engine::error::printable(name)
        );
        let error = Error::new(ErrorKind::Metadata, text).with_code(self.core.topic_error(name));
        error.caused_by(self.core.obstacle(name))
    }

    fn serve_flushes(&mut self) {
        if self.waiting.flushes.is_empty() {
            return;
        }
        let (oldest, _) = self.shared.accumulator.incomplete();
        let counts = self.shared.summary();
        for (_, reply) in
            self.waiting.flushes.extract_if(.., |(newest, _)| oldest.is_none_or(|oldest| oldest > *newest))
        {
            let _ = reply.send(counts);
        }
    }

    fn serve_closing(&mut self, now: Instant) {
        let Some(closing) = &mut self.closing else { return };
        if closing.deadline <= now && !closing.is_time_up && self.shared.accumulator.incomplete_count() > 0 {
            closing.is_time_up = true;
            self.shared.keep_failed();
            self.core.handle(Input::Abandon, now);
            self.act(now);
        }
        // Batches that are still being compressed come back to the driver soon.
        if self.shared.accumulator.incomplete_count() > 0 {
            return;
        }
        self.is_over = true;
        self.serve_flushes();
    }

    /// When the driver must run next if nothing happens before.
    fn next_deadline(&self) -> Option<Instant> {
        let Waiting { reach, topics, .. } = &self.waiting;
        let reach = reach.iter().map(|(deadline, _)| *deadline);
        let closing = self.closing.as_ref().filter(|closing| !closing.is_time_up);
        let others = [
            self.core.next_timeout(self.now()),
            topics.next_deadline(),
            self.shared.accumulator.memory.next_deadline(),
            closing.map(|closing| closing.deadline),
        ];
        reach.chain(others.into_iter().flatten()).min()
    }

    /// Waits for the next event. Also returns whether this task slept until then.
    async fn wait(&mut self, until: Option<Instant>) -> (Happened, bool) {
        let shared = Arc::clone(&self.shared);
        let mut notified = std::pin::pin!(shared.notify.notified());
        let far = || self.now() + std::time::Duration::from_secs(3600);
        let until = until.unwrap_or_else(far);
        let mut sleep = std::pin::pin!(tokio::time::sleep_until(until.into()));
        let mut has_slept = false;
        let happened = poll_fn(|cx| {
            if notified.as_mut().poll(cx).is_ready() || sleep.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Happened::Nothing);
            }
            if let Poll::Ready(Some(under_way)) = self.compressed.poll_recv(cx) {
                return Poll::Ready(Happened::Compressed(under_way));
            }
            let input = self.inputs.poll_recv(cx);
            has_slept |= input.is_pending();
            input.map(|input| input.map_or(Happened::Nothing, Happened::Input))
        })
        .await;
        (happened, has_slept)
    }
}

impl Drop for Driver {
    /// When a runtime shuts down, it drops its tasks: all waiting calls fail, and all records get their outcome.
    fn drop(&mut self) {
        if !self.is_over {
            self.end();
        }
        // Dropping a command wakes the task that waits for its reply, so drop it outside the lock.
        let too_late = self.shared.commands().take();
        drop(too_late);
        drop(self.shared.accumulator.take_signals());
    }
}

impl Driver {
    /// Fails everything that is left, because the driver ends before a close.
    fn end(&mut self) {
        // Not the accumulator's clock: it may be what panicked.
        let now = SystemClock.now();
        let is_whole = self.failure.is_none() && !std::thread::panicking();
        let error = self.failure.take().unwrap_or_else(shut_down);
        self.shared.fail(error.clone());
        for line in self.connections.values() {
            line.task.abort();
        }
        if is_whole {
            self.core.handle(Input::Abandon, now);
            self.give_up(now);
        } else {
            for (batch, written) in self.core.dismantle() {
                self.shared.fail_batch(&batch, error.clone().written_is(written));
            }
        }
        // Batches that are being compressed fail when they are dropped. The core does not know all opened batches.
        for id in self.shared.accumulator.partition_ids() {
            let (batches, _) = self.shared.accumulator.drain(id, now);
            for batch in batches {
                self.shared.fail_batch(&batch, error.clone());
            }
        }
    }

    /// Carries out only those actions of the core that end batches.
    fn give_up(&mut self, now: Instant) {
        while let Some(action) = self.core.poll_action() {
            if let Action::Local(action @ (LocalAction::Drain { .. } | LocalAction::Complete { .. })) = action {
                self.perform(action, now);
            }
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("core", &self.core).finish_non_exhaustive()
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the producer is closed: build another to send more")
}

fn shut_down() -> Error {
    let text = "the runtime that the producer ran on was shut down before the producer was closed";
    Error::new(ErrorKind::Closed, text)
}

#[cfg(test)]
mod tests;
