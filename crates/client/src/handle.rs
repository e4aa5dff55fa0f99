//! What all clones of a producer share, and the way of a record into its batch: at once if possible, else after a wait.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use kurier_partitioner::Choice;
use kurier_protocol::PartitionIndex;
use kurier_protocol::record_batch::NewRecord;
use smallvec::SmallVec;
use tokio::sync::oneshot;

use crate::driver::{Command, Shared};
use crate::partitioning::Partitioning;
use crate::parts::{Field, Output, Parts, Scratch};
use kurier_engine::accumulator::{AppendError, Keep, Placed, Signal, Topic};
use kurier_engine::error::{Error, ErrorKind, printable};
use kurier_engine::record::{Record, check_topic_name};
use kurier_engine::serializer::{Serialize, Serialized, Serializer};

/// State shared by all clones of a producer; dropped with the last of them.
pub(crate) struct Handle<KS, VS> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) key_serializer: KS,
    pub(crate) value_serializer: VS,
    pub(crate) partitioning: Partitioning,
}

impl<KS, VS> Drop for Handle<KS, VS> {
    fn drop(&mut self) {
        self.shared.command(Command::Detach);
    }
}

/// The number of values that one lock covers at most: about 4 µs.
const RUN_MAX: usize = 64;

/// The bytes of serialized values after which a run ends.
const SERIALIZED_MAX: usize = 16 * 1024;

/// The topic of a record.
#[derive(Clone, Copy)]
pub(crate) enum To<'a> {
    Topic(&'a Arc<Topic>),
    Name(&'a str),
}

/// Why a record was not appended at once.
pub(crate) enum Stop {
    /// It can never be sent.
    Refused(Error),
    /// Its topic is not known.
    NoTopic,
    /// Something else has to come first.
    Obstacle { topic: Arc<Topic>, obstacle: AppendError, output: Output },
}

impl<KS: Send + Sync, VS: Send + Sync> Handle<KS, VS> {
    /// Sends a record. Its future appends the record where it lies. Only a record that must wait is moved, into a future of
    /// its own.
    #[inline]
    pub(crate) fn submit<K, V, T>(
        &self,
        to: To<'_>,
        record: Record<'_, K, V>,
        keep: impl Keep<T> + Send,
    ) -> impl Future<Output = Result<T, Error>> + Send
    where
        K: Serialize<KS>,
        V: Serialize<VS>,
    {
        let mut unsent = Some((record, keep));
        let mut waiting = None;
        poll_fn(move |cx| {
            if let Some(waiting) = &mut waiting {
                return poll_boxed(waiting, cx);
            }
            let Some((record, keep)) = &mut unsent else { panic!("a send was polled after it had completed") };
            ready!(poll_turn(cx));
            let stop = match self.try_submit(to, record, keep) {
                Ok(kept) => {
                    unsent = None;
                    return Poll::Ready(Ok(kept));
                }
                Err(stop) => stop,
            };
            let moved = unsent.take();
            match (stop, moved) {
                (Stop::Refused(error), _) => Poll::Ready(Err(error)),
                (stop, Some((record, keep))) => {
                    poll_boxed(waiting.insert(Box::pin(self.wait_and_append(to, record, keep, stop))), cx)
                }
                (_, None) => Poll::Pending,
            }
        })
    }

    /// Appends a record, if that is possible at once.
    #[inline]
    pub(crate) fn try_submit<K, V, T>(
        &self,
        to: To<'_>,
        record: &Record<'_, K, V>,
        keep: &mut impl Keep<T>,
    ) -> Result<T, Stop>
    where
        K: Serialize<KS>,
        V: Serialize<VS>,
    {
        match to {
            To::Topic(topic) => self.try_append(topic, record, keep),
            To::Name(name) => {
                let appended = self.shared.accumulator.with_topic(name, |topic| self.try_append(topic, record, keep));
                appended.unwrap_or(Err(Stop::NoTopic))
            }
        }
    }

    #[inline]
    fn try_append<K, V, T>(
        &self,
        topic: &Arc<Topic>,
        record: &Record<'_, K, V>,
        keep: &mut impl Keep<T>,
    ) -> Result<T, Stop>
    where
        K: Serialize<KS>,
        V: Serialize<VS>,
    {
        record.check_timestamp().map_err(Stop::Refused)?;
        let key = record.key.as_bytes(&self.key_serializer);
        let value = record.value.as_bytes(&self.value_serializer);
        let (appended, parts) = match (key, value) {
            // Most records are bytes already. Their way needs no scratch buffer.
            (Some(key), Some(value)) => (self.append(topic, record, key, value, keep), None),
            _ => {
                let parts = Parts::of(record, &self.key_serializer, &self.value_serializer);
                let parts = parts.map_err(Stop::Refused)?;
                (self.append(topic, record, parts.key(), parts.value(), keep), Some(parts))
            }
        };
        appended.map_err(|obstacle| match obstacle {
            AppendError::Refused(error) if topic.lacks(record.partition.map(PartitionIndex)).is_none() => {
                Stop::Refused(error)
            }
            obstacle => {
                let output = parts.map(Parts::detach).unwrap_or_default();
                Stop::Obstacle { topic: Arc::clone(topic), obstacle, output }
            }
        })
    }

    /// Appends a record with this key and value.
    #[inline]
    fn append<K, V, T>(
        &self,
        topic: &Topic,
        record: &Record<'_, K, V>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        keep: &mut impl Keep<T>,
    ) -> Result<T, AppendError> {
        let mut placed = self.place(topic, record, key, value)?;
        self.shared.accumulator.append(topic, &mut placed, keep)
    }

    /// Chooses a record's partition.
    #[inline]
    fn place<'p, K, V>(
        &self,
        topic: &Topic,
        record: &'p Record<'_, K, V>,
        key: Option<&'p [u8]>,
        value: Option<&'p [u8]>,
    ) -> Result<Placed<'p>, AppendError> {
        let choice = match record.partition {
            Some(partition) => Choice::Partition(partition),
            None => self.partitioning.choose(topic, key, value).map_err(AppendError::Refused)?,
        };
        let new = NewRecord { timestamp: 0, key, value, headers: &record.headers };
        Ok(Placed::timed(choice, record.timestamp, new))
    }

    /// Waits until the obstacle is gone, and tries again, up to `max.block.ms`.
    async fn wait_and_append<K, V, T>(
        &self,
        to: To<'_>,
        record: Record<'_, K, V>,
        mut keep: impl Keep<T>,
        stop: Stop,
    ) -> Result<T, Error>
    where
        K: Serialize<KS>,
        V: Serialize<VS>,
    {
        let deadline = self.deadline();
        let (mut topic, mut obstacle, output) = match stop {
            Stop::Refused(error) => return Err(error),
            Stop::Obstacle { topic, obstacle, output } => (topic, Some(obstacle), output),
            Stop::NoTopic => {
                let name = to.name();
                check_topic_name(name)?;
                record.check_timestamp()?;
                (self.learn(name, 0, deadline).await?, None, Output::default())
            }
        };
        let parts = output.with(&record, &self.key_serializer, &self.value_serializer)?;
        loop {
            let permit = match obstacle {
                None => None,
                Some(AppendError::Refused(error)) => {
                    let Some(partitions) = topic.lacks(record.partition.map(PartitionIndex)) else { return Err(error) };
                    let learnt = self.learn(&topic.name, partitions, deadline).await;
                    topic = learnt.map_err(|why| match why.kind() {
                        ErrorKind::Closed => why,
                        _ => error.caused_by(why),
                    })?;
                    None
                }
                Some(AppendError::Retired) => {
                    topic = self.learn(&topic.name, 0, deadline).await?;
                    None
                }
                Some(AppendError::NoRoom(missing)) => Some(missing.wait(&self.shared.accumulator, deadline).await?),
            };
            let appended = self
                .place(&topic, &record, parts.key(), parts.value())
                .and_then(|mut placed| self.shared.accumulator.append_with(&topic, &mut placed, permit, &mut keep));
            match appended {
                Ok(kept) => return Ok(kept),
                Err(still) => obstacle = Some(still),
            }
        }
    }

    /// Sends a run of values without keys, as far as it is possible. `values` keeps those that were not accepted.
    pub(crate) async fn post_run<'v, V>(&self, topic: &Arc<Topic>, values: &mut &'v [V]) -> Result<(), Error>
    where
        V: Sync,
        VS: Serializer<V>,
    {
        let all: &'v [V] = values;
        // User code runs before the lock is taken.
        let choice = match topic.is_retired() {
            true => None,
            false => self.partitioning.choose_without_key(topic)?,
        };
        let mut scratch = Scratch::default();
        let mut run = SmallVec::<[Field<'v>; RUN_MAX]>::new();
        let mut refused = None;
        for value in all.iter().take(RUN_MAX) {
            // What is serialized here is not under buffer.memory yet.
            if scratch.bytes() >= SERIALIZED_MAX {
                break;
            }
            match scratch.value(value, &self.value_serializer, &topic.name) {
                Ok(field) => run.push(field),
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
        let mut rest = &run[..];
        while let Some(first) = rest.first() {
            let bytes = rest.iter().map(|field| field.bytes(&scratch));
            let mut count = choice.map_or(0, |choice| self.shared.accumulator.append_run(topic, choice, bytes));
            if count == 0 {
                // This one needs memory, another batch or a look-up.
                let Record { topic: name, partition, timestamp, key, headers, .. } = Record::to(&topic.name);
                let value = Serialized(first.bytes(&scratch));
                let record = Record { topic: name, partition, timestamp, key, value, headers };
                let to = if topic.is_retired() { To::Name(&topic.name) } else { To::Topic(topic) };
                self.submit(to, record, |_: &Arc<_>, _: u32, _: i64| ()).await?;
                count = 1;
            }
            rest = &rest[count..];
            *values = &values[count..];
        }
        refused.map_or(Ok(()), Err)
    }

    /// Returns the error for a sender that does not wait, and asks for what the record needs.
    #[cold]
    pub(crate) fn not_now<K, V>(&self, to: To<'_>, record: &Record<'_, K, V>, stop: Stop) -> Error {
        let accumulator = &self.shared.accumulator;
        let (topic, obstacle) = match stop {
            Stop::Refused(error) => return error,
            Stop::NoTopic => {
                let name = to.name();
                let is_valid = check_topic_name(name).and_then(|()| record.check_timestamp());
                return is_valid.err().unwrap_or_else(|| self.pending(name));
            }
            Stop::Obstacle { topic, obstacle, .. } => (topic, obstacle),
        };
        match obstacle {
            AppendError::Refused(error) => match topic.lacks(record.partition.map(PartitionIndex)) {
                Some(_) if let Some(closed) = accumulator.closed() => closed,
                Some(partitions) => {
                    accumulator.signal(Signal::Wanted { topic: Arc::clone(&topic.name), partitions });
                    error.and("the producer has requested the topic's partitions again")
                }
                None => error,
            },
            AppendError::Retired => self.pending(&topic.name),
            AppendError::NoRoom(_) => {
                accumulator.signal(Signal::Pressure);
                let text = format!("no room under buffer.memory, which is {}", self.shared.config.buffer_memory);
                Error::new(ErrorKind::BufferFull, text)
            }
        }
    }

    /// Requests metadata for an unknown topic, and returns the error for it.
    fn pending(&self, name: &str) -> Error {
        let accumulator = &self.shared.accumulator;
        if let Some(closed) = accumulator.closed() {
            return closed;
        }
        accumulator.signal(Signal::Wanted { topic: name.into(), partitions: 0 });
        let topic = printable(name);
        Error::new(
            ErrorKind::MetadataPending,
            format!("topic {topic} is not known yet; the producer has requested it: send again"),
        )
    }

    /// Deadline of a call that starts to wait now.
    pub(crate) fn deadline(&self) -> Instant {
        self.shared.accumulator.clock().now() + self.shared.config.max_block
    }

    /// Waits until a topic is known and has this many partitions.
    pub(crate) async fn learn(&self, name: &str, partitions: usize, deadline: Instant) -> Result<Arc<Topic>, Error> {
        let shared = &self.shared;
        let (reply, answer) = oneshot::channel();
        shared.command(Command::Topic { name: name.into(), partitions, deadline, reply });
        answer.await.map_err(|_| shared.ended())?
    }
}

impl<'a> To<'a> {
    fn name(self) -> &'a str {
        match self {
            To::Topic(topic) => &topic.name,
            To::Name(name) => name,
        }
    }
}

fn poll_boxed<F: Future>(future: &mut Pin<Box<F>>, cx: &mut Context<'_>) -> Poll<F::Output> {
    future.as_mut().poll(cx)
}

/// Gives other tasks their turn. A send that never blocks would starve other tasks and timers on this runtime: in a loop
/// of sends alone, an interval never ticked.
///
/// Every fourth send of a thread spends some of tokio's budget, which costs 7 ns. So a task that only sends pauses after
/// about five hundred. Outside of tokio the budget is unlimited.
#[inline]
fn poll_turn(cx: &mut Context<'_>) -> Poll<()> {
    const EVERY: u32 = 4;
    std::thread_local! {
        static SENDS: Cell<u32> = const { Cell::new(0) };
    }
    let count = |sends: &Cell<u32>| {
        sends.set(sends.get().wrapping_add(1));
        sends.get()
    };
    if SENDS.try_with(count).unwrap_or(0).is_multiple_of(EVERY) {
        return pin!(tokio::task::consume_budget()).poll(cx);
    }
    Poll::Ready(())
}
