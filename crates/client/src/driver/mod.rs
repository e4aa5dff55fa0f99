//! What connects the core to the world: one task that feeds it what happens and does what it says, and one a connection.
//!
//! ```text
//!   senders ─ signals, commands ─▶ ┌─────────┐ ─ frames ─▶ connection tasks ─▶ sockets
//!   connection tasks ─── inputs ─▶ │ Driver  │
//!   clock ────────────────── now ─▶│  Core   │ ─ take, split ─▶ accumulator, codecs
//!                                  └─────────┘ ─ complete ────▶ cells, and through them wakers and callbacks
//! ```
//!
//! Sockets, names of hosts, clocks and tasks are here and nowhere else.

mod callbacks;
mod clock;
mod codecs;
#[cfg(not(all(test, shuttle)))]
mod connection;
mod shared;
mod topics;

use std::collections::HashMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use kurier_compression::decompress_batch;
use kurier_protocol::record_batch::{RecordBatch, Stamp};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::accumulator::batch::{BatchId, Taken};
use crate::accumulator::{Left, PartitionId, Signal, Topic};
use crate::closing::{Summary, Undelivered, Unfinished};
use crate::core::{Action, ConnectionId, Core, Input, Key};
use crate::delivery::Outcome;
use crate::error::{Error, ErrorKind, Written};
#[cfg(all(test, shuttle))]
use crate::models::connection;
pub(crate) use codecs::Codecs;
use connection::{Frame, Wires};
pub(crate) use shared::{Command, Shared};
use topics::{Topics, Waiter};

/// The control task.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    core: Core,
    codecs: Arc<Codecs>,
    inputs: mpsc::Receiver<Input>,
    /// For connections, to reach us.
    input: mpsc::Sender<Input>,
    /// Without a limit of its own: of each node's batches some are under way once at most.
    compressed: mpsc::UnboundedReceiver<UnderWay>,
    under_way: mpsc::UnboundedSender<UnderWay>,
    connections: HashMap<ConnectionId, Line>,
    waiting: Waiting,
    closing: Option<Closing>,
    is_over: bool,
}

/// A connection's task, and the way to it.
struct Line {
    frames: mpsc::Sender<Frame>,
    task: AbortHandle,
}

/// Who waits for what.
#[derive(Default)]
struct Waiting {
    reach: Vec<Patient<()>>,
    topics: Topics,
    /// Beside each the newest batch that it waits for.
    flushes: Vec<(BatchId, oneshot::Sender<Summary>)>,
}

/// Somebody who waits for something, but not for ever.
type Patient<T> = (Instant, oneshot::Sender<Result<T, Error>>);

/// A producer on its way out.
struct Closing {
    deadline: Instant,
    replies: Vec<oneshot::Sender<Result<Summary, Unfinished>>>,
    /// What failed because time was up; `None` until it is.
    undelivered: Option<Vec<Undelivered>>,
}

/// Batches that are being compressed, or wait for us to look. Whoever drops them, and be it the channel that nobody
/// reads any more, their records have an outcome.
struct UnderWay {
    node: i32,
    batches: Vec<(PartitionId, Taken)>,
    left: Vec<(PartitionId, Option<Left>)>,
    shared: Arc<Shared>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        for (_, batch) in self.batches.drain(..) {
            self.shared.complete(batch, Outcome::Failed(undelivered()), true);
        }
    }
}

/// What ended a wait.
enum Happened {
    Nothing,
    Input(Input),
    Compressed(UnderWay),
}

/// More topics than anybody begins to send to at once. All are asked for in one request, again and again.
const WANTED_TOPICS_MAX: usize = 10_000;

/// How much may happen before we look. Whoever has more to say waits.
const INPUTS_MAX: usize = 1024;

impl Driver {
    pub(crate) fn new(shared: Arc<Shared>, seed: u64) -> Result<Self, Error> {
        let (input, inputs) = mpsc::channel(INPUTS_MAX);
        let (under_way, compressed) = mpsc::unbounded_channel();
        let now = shared.accumulator.clock().now();
        let codecs = Codecs::new(shared.config.compression()?, Arc::clone(&shared.accumulator.memory));
        Ok(Self {
            core: Core::new(Arc::clone(&shared.config), seed, now),
            codecs: Arc::new(codecs),
            shared,
            inputs,
            input,
            compressed,
            under_way,
            connections: HashMap::new(),
            waiting: Waiting::default(),
            closing: None,
            is_over: false,
        })
    }

    /// Runs until the producer is closed.
    pub(crate) async fn run(mut self) {
        while !self.is_over {
            self.work();
            if self.is_over {
                break;
            }
            let until = self.next_deadline();
            self.wait(until).await;
            // Senders that are never idle must not keep connections from their turn.
            tokio::task::yield_now().await;
        }
        for line in self.connections.values() {
            line.task.abort();
        }
    }

    fn now(&self) -> Instant {
        self.shared.accumulator.clock().now()
    }

    /// Takes in all that happened, and does all that is to be done.
    fn work(&mut self) {
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
        // Read after they were taken: what a hurry is for was opened before it.
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
                Command::Close { deadline, reply } => self.close(deadline, Some(reply)),
                Command::Detach if self.closing.is_none() => {
                    let left = self.shared.accumulator.incomplete_count();
                    if left > 0 {
                        tracing::warn!(
                            batches = left,
                            "a producer was dropped with batches under way; they are still delivered, unless the process ends \
                             before: call close"
                        );
                    }
                    self.close(now + self.shared.config.delivery_timeout, None);
                }
                Command::Detach => {}
            }
        }
        self.act(self.now());
    }

    /// Asks for a topic of so many partitions as long as somebody waits for it; for who does not wait, as long as if it
    /// did, and at least until there may be an answer.
    fn want(&mut self, name: Arc<str>, partitions: usize, waiter: Option<Patient<Arc<Topic>>>, now: Instant) {
        // Nothing can be sent to it any more.
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
                let text = format!("{WANTED_TOPICS_MAX} other topics are being asked for: begin with fewer at once");
                let _ = reply.send(Err(Error::new(ErrorKind::Metadata, text)));
            }
            return;
        }
        let until = now + self.shared.config.max_block.max(self.shared.config.request_timeout);
        let told = |patient| Waiter::Told { partitions, patient };
        topics.add(&name, waiter.map_or(Waiter::Nobody { partitions, until }, told), now);
        self.core.handle(Input::Wanted { topic: name, partitions }, now);
    }

    fn close(&mut self, deadline: Instant, reply: Option<oneshot::Sender<Result<Summary, Unfinished>>>) {
        match &mut self.closing {
            Some(closing) => {
                closing.deadline = closing.deadline.min(deadline);
                closing.replies.extend(reply);
            }
            None => {
                self.closing = Some(Closing { deadline, replies: reply.into_iter().collect(), undelivered: None });
                self.shared.accumulator.close(closed());
                // Read after that, for until then batches were opened, and they are not to linger either.
                let now = self.now();
                self.core.handle(Input::Hurry, now);
                // Who waits for a topic could not send to it.
                for (name, waiters) in self.waiting.topics.clear() {
                    waiters.into_iter().for_each(|waiting| drop(waiting.reply.send(Err(closed()))));
                    self.core.handle(Input::Unwanted(name), now);
                }
            }
        }
    }

    /// Does what the core says.
    fn act(&mut self, now: Instant) {
        while let Some(action) = self.core.poll_action() {
            match action {
                Action::Connect { connection, host, attempt } => {
                    // As many frames as may be unanswered, and a few that ask about the cluster.
                    let (frames, receiver) = mpsc::channel(self.shared.config.max_in_flight.saturating_add(8));
                    let wires = Wires { connection, frames: receiver, inputs: self.input.clone() };
                    let config = Arc::clone(&self.shared.config);
                    let task = tokio::spawn(connection::run(config, host, attempt, wires)).abort_handle();
                    self.connections.insert(connection, Line { frames, task });
                }
                Action::Disconnect(connection) => {
                    if let Some(line) = self.connections.remove(&connection) {
                        line.task.abort();
                    }
                }
                Action::Transmit { connection, correlation_id, chunks } => {
                    let Some(line) = self.connections.get(&connection) else { continue };
                    match line.frames.try_send(Frame { correlation_id, chunks }) {
                        // A task that has ended says why, which is on its way.
                        Ok(()) | Err(TrySendError::Closed(_)) => {}
                        Err(TrySendError::Full(_)) => {
                            let why = "its line is full".to_owned();
                            self.core.handle(Input::Disconnected { connection, why }, now);
                        }
                    }
                }
                Action::Take { node, partitions, room } => self.take(node, &partitions, room, now),
                Action::Drain { partition, until, why } => {
                    let (batches, left) = self.shared.accumulator.drain(partition, until);
                    self.core.handle(Input::Drained { partition, batches, left, why }, now);
                }
                Action::CloseBatches { partition, until } => self.shared.accumulator.close_batches(partition, until),
                Action::Split { partition, whole, batch } => self.split(partition, whole, &batch, now),
                Action::Publish(layout) => {
                    self.shared.accumulator.publish(&layout);
                    let Some(topic) = self.shared.accumulator.topic(&layout.topic) else { continue };
                    let (content, is_over) = self.waiting.topics.take(&layout.topic, layout.partitions.len());
                    for waiting in content {
                        let _ = waiting.reply.send(Ok(Arc::clone(&topic)));
                    }
                    if is_over {
                        self.core.handle(Input::Unwanted(layout.topic), now);
                    }
                }
                Action::Retire { topic, partitions } => {
                    if self.shared.accumulator.retire(&topic, &partitions) {
                        self.core.handle(Input::Retired(topic), now);
                    }
                }
                Action::Stall(changed) => self.shared.accumulator.set_stalled(&changed),
                Action::Refuse { topic, error } => {
                    for waiting in self.waiting.topics.take(&topic, usize::MAX).0 {
                        let _ = waiting.reply.send(Err(error.clone()));
                    }
                }
                Action::Complete { partition, batch, outcome, is_last } => {
                    if let Outcome::Written { .. } = outcome {
                        self.shared.accumulator.grow_cap(partition, batch.plain_bytes);
                    }
                    self.complete(batch, outcome, is_last);
                }
            }
        }
    }

    fn take(&mut self, node: i32, partitions: &[PartitionId], room: usize, now: Instant) {
        let (batches, left) = self.shared.accumulator.take_all(partitions, room);
        if !self.codecs.compress() || batches.is_empty() {
            return self.core.handle(Input::Taken { node, batches, left }, now);
        }
        let (codecs, done) = (Arc::clone(&self.codecs), self.under_way.clone());
        let mut under_way = UnderWay { node, batches, left, shared: Arc::clone(&self.shared) };
        tokio::task::spawn_blocking(move || {
            for (_, taken) in &mut under_way.batches {
                codecs.compress_batch(taken);
                let accumulator = &under_way.shared.accumulator;
                accumulator.compressed(taken.cell.topic(), taken.plain_bytes, taken.sealed.body_bytes());
            }
            // Where nobody listens, gone is the driver with the runtime that it ran on.
            let _ = done.send(under_way);
        });
    }

    /// Gives the core what was compressed.
    fn hand_over(&mut self, mut under_way: UnderWay, now: Instant) {
        let (batches, left) = (std::mem::take(&mut under_way.batches), std::mem::take(&mut under_way.left));
        self.core.handle(Input::Taken { node: under_way.node, batches, left }, now);
        self.act(now);
    }

    /// Batches that are too large are rare; they are split here and now.
    fn split(&mut self, partition: PartitionId, whole: Key, batch: &Taken, now: Instant) {
        self.shared.accumulator.shrink_cap(partition, batch.plain_bytes);
        let pieces = self.codecs.split(batch);
        self.core.handle(Input::Split { partition, whole, pieces }, now);
    }

    fn complete(&mut self, batch: Taken, outcome: Outcome, is_last: bool) {
        if let Some(certainty) = outcome.certainty()
            && let Some(undelivered) = self.closing.as_mut().and_then(|closing| closing.undelivered.as_mut())
        {
            undelivered.extend(records_of(&batch, certainty));
        }
        self.shared.complete(batch, outcome, is_last);
    }

    /// Answers who has waited long enough, or no longer needs to.
    fn serve(&mut self, now: Instant) {
        self.shared.accumulator.memory.turn_away(Some(now), || self.no_memory());
        self.serve_reach(now);
        self.serve_topics(now);
        self.serve_flushes();
        self.serve_closing(now);
    }

    fn no_memory(&self) -> Error {
        let config = &self.shared.config;
        let why = self.core.obstacles().unwrap_or_else(|| "the brokers are slower than this producer".to_owned());
        let text = format!(
            "no room under buffer.memory, which is {}, within max.block.ms, which is {}: {why}",
            config.buffer_memory,
            config.max_block.as_millis()
        );
        Error::new(ErrorKind::BufferFull, text)
    }

    fn serve_reach(&mut self, now: Instant) {
        if self.core.is_connected() {
            for (_, reply) in self.waiting.reach.drain(..) {
                let _ = reply.send(Ok(()));
            }
        }
        for (_, reply) in self.waiting.reach.extract_if(.., |(deadline, _)| *deadline <= now) {
            let config = &self.shared.config;
            let why = self.core.obstacles().unwrap_or_else(|| "none has answered yet".to_owned());
            let text = format!(
                "no bootstrap server could be reached within max.block.ms, which is {}; check bootstrap.servers: {why}",
                config.max_block.as_millis()
            );
            let _ = reply.send(Err(Error::new(ErrorKind::Network, text)));
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

    /// Why a topic was not known in time, or not with as many partitions as somebody has records for.
    fn not_in_time(&self, name: &str) -> Error {
        let max_block = self.shared.config.max_block.as_millis();
        if self.shared.accumulator.topic(name).is_some() {
            return Error::new(
                ErrorKind::Partitioning,
                format!("and none came within max.block.ms, which is {max_block}"),
            );
        }
        let text = format!(
            "topic {} is not known within max.block.ms, which is {max_block}: {}",
            crate::error::printable(name),
            self.core.obstacle(name)
        );
        Error::new(ErrorKind::Metadata, text).with_code(self.core.topic_error(name))
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
        if closing.deadline <= now && closing.undelivered.is_none() && self.shared.accumulator.incomplete_count() > 0 {
            closing.undelivered = Some(Vec::new());
            self.core.handle(Input::Abandon, now);
            self.act(now);
        }
        // A batch that is being compressed comes back in a moment.
        if self.shared.accumulator.incomplete_count() > 0 {
            return;
        }
        self.is_over = true;
        self.serve_flushes();
        let Some(Closing { replies, undelivered, .. }) = self.closing.take() else { return };
        let counts = self.shared.summary();
        let undelivered = undelivered.unwrap_or_default();
        for reply in replies {
            let result = match undelivered.is_empty() {
                true => Ok(counts),
                false => Err(Unfinished::new(counts, undelivered.clone())),
            };
            let _ = reply.send(result);
        }
    }

    /// When there will be something to do, if nothing happens before.
    fn next_deadline(&self) -> Option<Instant> {
        let Waiting { reach, topics, .. } = &self.waiting;
        let reach = reach.iter().map(|(deadline, _)| *deadline);
        let closing = self.closing.as_ref().filter(|closing| closing.undelivered.is_none());
        let others = [
            self.core.next_timeout(self.now()),
            topics.next_deadline(),
            self.shared.accumulator.memory.next_deadline(),
            closing.map(|closing| closing.deadline),
        ];
        reach.chain(others.into_iter().flatten()).min()
    }

    /// Waits for something to happen.
    async fn wait(&mut self, until: Option<Instant>) {
        let shared = Arc::clone(&self.shared);
        let mut notified = std::pin::pin!(shared.notify.notified());
        let far = || self.now() + std::time::Duration::from_secs(3600);
        let until = until.unwrap_or_else(far);
        let mut sleep = std::pin::pin!(tokio::time::sleep_until(until.into()));
        let happened = poll_fn(|cx| {
            if notified.as_mut().poll(cx).is_ready() || sleep.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Happened::Nothing);
            }
            if let Poll::Ready(Some(under_way)) = self.compressed.poll_recv(cx) {
                return Poll::Ready(Happened::Compressed(under_way));
            }
            self.inputs.poll_recv(cx).map(|input| input.map_or(Happened::Nothing, Happened::Input))
        })
        .await;
        let now = self.now();
        match happened {
            Happened::Nothing => {}
            Happened::Input(input) => {
                self.core.handle(input, now);
                self.act(now);
            }
            Happened::Compressed(under_way) => self.hand_over(under_way, now),
        }
    }
}

impl Drop for Driver {
    /// A runtime that is shut down takes its tasks with it: whoever waits is told.
    fn drop(&mut self) {
        if !self.is_over {
            self.end();
        }
        // Dropping a command wakes the task that waits for its reply: not under the lock.
        let too_late = self.shared.commands().take();
        drop(too_late);
        drop(self.shared.accumulator.take_signals());
    }
}

impl Driver {
    /// Gives all that is left the outcome of what was closed.
    fn end(&mut self) {
        let now = self.now();
        self.shared.accumulator.close(closed());
        for line in self.connections.values() {
            line.task.abort();
        }
        self.core.handle(Input::Abandon, now);
        self.give_up(now);
        // What is being compressed has its outcome from the channel, which goes with us.
        // The core has not been told of everything that was opened.
        for id in self.shared.accumulator.partition_ids() {
            let (batches, _) = self.shared.accumulator.drain(id, self.now());
            for batch in batches {
                self.complete(batch, Outcome::Failed(undelivered()), true);
            }
        }
    }

    /// Does of what the core says only what ends batches.
    fn give_up(&mut self, now: Instant) {
        while let Some(action) = self.core.poll_action() {
            match action {
                Action::Drain { partition, until, why } => {
                    let (batches, left) = self.shared.accumulator.drain(partition, until);
                    self.core.handle(Input::Drained { partition, batches, left, why }, now);
                }
                Action::Complete { batch, outcome, is_last, .. } => self.complete(batch, outcome, is_last),
                _ => {}
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
    Error::new(ErrorKind::Closed, "the producer is closed: make another to send more")
}

fn undelivered() -> Error {
    Error::new(ErrorKind::Closed, "the producer was closed before the record was delivered")
}

/// The records of a batch, for whoever may want to keep them.
fn records_of(batch: &Taken, written: Written) -> Vec<Undelivered> {
    const LIMIT: usize = i32::MAX as usize;
    let Ok(bytes) = batch.sealed.stamp(&Stamp::NONE) else { return Vec::new() };
    let bytes = bytes.to_bytes();
    let Ok((parsed, _)) = RecordBatch::parse(&bytes) else { return Vec::new() };
    let Ok(body) = decompress_batch(&parsed, LIMIT) else { return Vec::new() };
    let Ok(records) = parsed.records_in(&body) else { return Vec::new() };
    let (topic, partition) = batch.cell.place();
    records.filter_map(Result::ok).map(|record| Undelivered::new(topic, partition, record, written)).collect()
}

#[cfg(test)]
mod tests {
    use kurier_partitioner::Choice;
    use kurier_protocol::record_batch::NewRecord;

    use super::*;
    use crate::accumulator::{Layout, Placed};
    use crate::config::Config;
    use crate::delivery::Delivery;

    fn shared() -> Arc<Shared> {
        let mut config = Config::default();
        config.set("bootstrap.servers", "127.0.0.1:9").unwrap();
        let shared = Shared::new(Arc::new(config.check().unwrap()), 1);
        shared.accumulator.publish(&Layout { topic: "t".into(), partitions: vec![(PartitionId(0), true)] });
        shared
    }

    /// A batch that was taken, and the delivery of its record.
    fn under_way(shared: &Arc<Shared>) -> (UnderWay, Delivery) {
        let topic = shared.accumulator.topic("t").unwrap();
        let placed = Placed { record: NewRecord::default(), choice: Choice::Partition(0), sent_ms: 0 };
        let appended = shared.accumulator.append(&topic, &placed, None, None);
        let delivery = appended.map_err(|(error, _)| error).unwrap();
        let (taken, left) = shared.accumulator.take(PartitionId(0), usize::MAX, true);
        let batches = vec![(PartitionId(0), taken.unwrap())];
        (UnderWay { node: 1, batches, left: vec![(PartitionId(0), left)], shared: Arc::clone(shared) }, delivery)
    }

    #[tokio::test]
    async fn what_is_being_compressed_when_the_driver_goes_has_its_outcome() {
        let shared = shared();
        let driver = Driver::new(Arc::clone(&shared), 1).unwrap();
        let done = driver.under_way.clone();
        let ((before, early), (after, late)) = (under_way(&shared), under_way(&shared));
        assert!(done.send(before).is_ok());
        drop(driver);
        drop(done.send(after));
        for delivery in [early, late] {
            let error = delivery.await.unwrap_err();
            assert_eq!((error.kind(), error.written()), (ErrorKind::Closed, Written::No));
        }
        assert_eq!((shared.summary().not_written, shared.accumulator.incomplete_count()), (2, 0));
    }

    /// Looks at the lock of the commands when it is woken.
    struct Looks(Arc<Shared>);

    impl std::task::Wake for Looks {
        fn wake(self: Arc<Self>) {
            drop(self.0.commands());
        }
    }

    /// Woken under the lock, it would wait for itself.
    #[tokio::test]
    async fn command_that_comes_too_late_is_dropped_outside_the_lock() {
        let shared = shared();
        let driver = Driver::new(Arc::clone(&shared), 1).unwrap();
        let (reply, answer) = oneshot::channel();
        let mut answer = std::pin::pin!(answer);
        let waker = std::task::Waker::from(Arc::new(Looks(Arc::clone(&shared))));
        assert!(answer.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
        shared.command(Command::Flush { reply });
        drop(driver);
        assert!(answer.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_ready());
    }

    #[tokio::test]
    async fn a_topic_that_nobody_waits_for_is_not_asked_for_for_ever() {
        let shared = shared();
        let patience = shared.config.max_block;
        let mut driver = Driver::new(shared, 1).unwrap();
        let now = driver.now();
        driver.want("u".into(), 0, None, now);
        driver.want("u".into(), 0, None, now + patience / 2);
        driver.serve_topics(now + patience);
        assert_eq!(driver.waiting.topics.len(), 1);
        driver.serve_topics(now + patience / 2 * 3);
        assert_eq!(driver.waiting.topics.len(), 0);
    }

    #[tokio::test]
    async fn who_asks_for_a_topic_while_the_producer_is_closed_is_told_so_at_once() {
        let shared = shared();
        let (_under_way, _delivery) = under_way(&shared);
        let mut driver = Driver::new(Arc::clone(&shared), 1).unwrap();
        let far = driver.now() + shared.config.max_block;
        let ask = |name: &str, partitions| {
            let (reply, answer) = oneshot::channel();
            shared.command(Command::Topic { name: name.into(), partitions, deadline: far, reply });
            answer
        };
        // Before, with it, after it; for one that is not known, and for one that is but has too few partitions.
        let mut answers = vec![ask("u", 0), ask("t", 2)];
        driver.work();
        let (reply, mut closed) = oneshot::channel();
        shared.command(Command::Close { deadline: far, reply });
        answers.push(ask("v", 0));
        driver.work();
        answers.extend([ask("w", 0), ask("t", 3)]);
        shared.accumulator.signal(Signal::Wanted { topic: "x".into(), partitions: 0 });
        driver.work();
        assert!(closed.try_recv().is_err() && !driver.is_over, "a batch is under way");
        for mut answer in answers {
            assert_eq!(answer.try_recv().unwrap().unwrap_err().kind(), ErrorKind::Closed);
        }
        assert_eq!((driver.waiting.topics.len(), driver.waiting.topics.next_deadline()), (0, None));
    }

    #[tokio::test]
    async fn no_more_topics_are_asked_for_than_anybody_begins_to_send_to() {
        let mut driver = Driver::new(shared(), 1).unwrap();
        let now = driver.now();
        for number in 0..=WANTED_TOPICS_MAX {
            driver.want(number.to_string().into(), 0, None, now);
        }
        assert_eq!(driver.waiting.topics.len(), WANTED_TOPICS_MAX);
        let (reply, mut answer) = oneshot::channel();
        driver.want("late".into(), 0, Some((now, reply)), now);
        assert_eq!(answer.try_recv().unwrap().unwrap_err().kind(), ErrorKind::Metadata);
    }
}
