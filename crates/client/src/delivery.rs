//! How a record's outcome reaches who sent it: one cell a batch, and a [`Delivery`] that points into it.
//!
//! The cell never holds payload. It is resolved by ranges of records, for a batch that was too large goes out in pieces;
//! each record is resolved once. Wakers are taken under the lock and woken outside it; callbacks are handed to a
//! [`Runner`] and never run by whoever resolves, or registers, them.

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::{Error, Written};
use crate::record::RecordMetadata;
use crate::sync::{Mutex, MutexGuard};

/// What a record's sender wants to be called with.
pub(crate) type Callback = Box<dyn FnOnce(Result<RecordMetadata, Error>) + Send>;

/// Runs callbacks, in the order in which they are handed over, somewhere else.
pub(crate) trait Runner: Send + Sync {
    fn run(&self, calls: Calls);
}

/// For tests without callbacks.
#[cfg(any(test, feature = "internal"))]
pub(crate) struct NoCallbacks;

#[cfg(any(test, feature = "internal"))]
impl Runner for NoCallbacks {
    fn run(&self, _: Calls) {}
}

/// Callbacks of one batch whose records have their outcomes.
pub(crate) struct Calls {
    cell: Arc<Cell>,
    due: Vec<Waiting>,
    range: Range<u32>,
    outcome: Outcome,
}

impl Calls {
    /// Calls each with its record's outcome, by way of `call`.
    pub(crate) fn call_each(self, mut call: impl FnMut(Callback, Result<RecordMetadata, Error>)) {
        let Self { cell, due, range, outcome } = self;
        for Waiting { index, timestamp, callback } in due {
            call(callback, cell.result(&range, &outcome, index, timestamp));
        }
    }
}

/// What became of a range of a batch's records.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// They are in the log, as far as acks promises.
    Written {
        /// The offset of the range's first record, if it is known.
        base_offset: Option<i64>,
        /// The broker's time, on a topic of LogAppendTime.
        log_append_time: Option<i64>,
        /// Whether a broker said so.
        is_acknowledged: bool,
    },
    /// They failed, all for one reason.
    Failed(Error),
    /// Some are to blame, by their place in the range; the others failed with them (KIP-467).
    Rejected { culprits: Arc<[(u32, Error)]>, others: Error },
}

impl Outcome {
    /// Whether records may be written that failed; `None` if they did not.
    pub(crate) fn certainty(&self) -> Option<Written> {
        match self {
            Self::Written { .. } => None,
            Self::Failed(error) => Some(error.written()),
            Self::Rejected { others, .. } => Some(others.written()),
        }
    }
}

/// The outcomes of one batch's records, and who waits for them.
pub(crate) struct Cell {
    topic: Arc<str>,
    partition: i32,
    runner: Arc<dyn Runner>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// In order of their ranges, which do not overlap.
    resolved: Vec<(Range<u32>, Outcome)>,
    /// By a record's index in the batch.
    wakers: Vec<Option<Waker>>,
    callbacks: Vec<Waiting>,
}

/// A callback whose record has no outcome yet.
struct Waiting {
    index: u32,
    timestamp: i64,
    callback: Callback,
}

impl State {
    fn outcome(&self, index: u32) -> Option<(&Range<u32>, &Outcome)> {
        let at = self.resolved.partition_point(|(range, _)| range.end <= index);
        self.resolved.get(at).filter(|(range, _)| range.contains(&index)).map(|(range, outcome)| (range, outcome))
    }
}

impl Cell {
    pub(crate) fn new(topic: Arc<str>, partition: i32, runner: Arc<dyn Runner>) -> Self {
        Self { topic, partition, runner, state: Mutex::default() }
    }

    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// The records' topic and partition.
    pub(crate) fn place(&self) -> (&Arc<str>, i32) {
        (&self.topic, self.partition)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock panics halfway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves records that have no outcome yet.
    pub(crate) fn resolve(self: &Arc<Self>, range: Range<u32>, outcome: Outcome) {
        let mut state = self.state();
        debug_assert!(range.clone().all(|index| state.outcome(index).is_none()), "a record is resolved twice");
        let at = state.resolved.partition_point(|(before, _)| before.end <= range.start);
        state.resolved.insert(at, (range.clone(), outcome.clone()));
        let indexes = usize_range(&range, state.wakers.len());
        let wakers: Vec<Waker> = state.wakers.get_mut(indexes).into_iter().flatten().filter_map(Option::take).collect();
        // They stand in the order of their records.
        let first = state.callbacks.partition_point(|one| one.index < range.start);
        let end = state.callbacks.partition_point(|one| one.index < range.end);
        let due: Vec<Waiting> = match first == 0 && end == state.callbacks.len() {
            true => std::mem::take(&mut state.callbacks),
            false => state.callbacks.drain(first..end).collect(),
        };
        drop(state);
        for waker in wakers {
            waker.wake();
        }
        if !due.is_empty() {
            self.runner.run(Calls { cell: Arc::clone(self), due, range, outcome });
        }
    }

    /// Registers a callback for a record; it is called after those of the records before it, if they have any.
    pub(crate) fn add_callback(self: &Arc<Self>, index: u32, timestamp: i64, callback: Callback) {
        let mut state = self.state();
        let waiting = Waiting { index, timestamp, callback };
        if let Some((range, outcome)) = state.outcome(index) {
            let (range, outcome) = (range.clone(), outcome.clone());
            drop(state);
            self.runner.run(Calls { cell: Arc::clone(self), due: vec![waiting], range, outcome });
            return;
        }
        // Mostly it is the newest.
        if state.callbacks.last().is_none_or(|last| last.index <= index) {
            state.callbacks.push(waiting);
        } else {
            let at = state.callbacks.partition_point(|one| one.index <= index);
            state.callbacks.insert(at, waiting);
        }
    }

    fn poll(&self, index: u32, timestamp: i64, cx: &Context<'_>) -> Poll<Result<RecordMetadata, Error>> {
        let mut state = self.state();
        if let Some((range, outcome)) = state.outcome(index) {
            return Poll::Ready(self.result(range, outcome, index, timestamp));
        }
        let index = index as usize;
        if state.wakers.len() <= index {
            state.wakers.resize_with(index + 1, || None);
        }
        match state.wakers.get_mut(index) {
            Some(Some(waker)) => waker.clone_from(cx.waker()),
            Some(place) => *place = Some(cx.waker().clone()),
            None => {}
        }
        Poll::Pending
    }

    fn result(
        &self,
        range: &Range<u32>,
        outcome: &Outcome,
        index: u32,
        timestamp: i64,
    ) -> Result<RecordMetadata, Error> {
        let place = index - range.start;
        let at = |error: &Error| error.clone().at(&self.topic, self.partition);
        match outcome {
            Outcome::Written { base_offset, log_append_time, is_acknowledged } => Ok(RecordMetadata {
                topic: Arc::clone(&self.topic),
                partition: self.partition,
                offset: base_offset.map(|offset| offset.saturating_add(place.into())),
                timestamp: log_append_time.unwrap_or(timestamp),
                is_acknowledged: *is_acknowledged,
            }),
            Outcome::Failed(error) => Err(at(error)),
            Outcome::Rejected { culprits, others } => {
                let culprit = culprits.iter().find(|(index, _)| *index == place);
                Err(at(culprit.map_or(others, |(_, error)| error)))
            }
        }
    }
}

/// A range of records as one of a list of this length.
fn usize_range(range: &Range<u32>, len: usize) -> Range<usize> {
    (range.start as usize).min(len)..(range.end as usize).min(len)
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cell({}-{})", self.topic, self.partition)
    }
}

/// The outcome to come of a record that the producer has accepted.
///
/// Await it for partition and offset; give it a callback; or forget it. Dropping it changes nothing about the record,
/// which is delivered or fails all the same.
///
/// See [`Producer`](crate::Producer) for an example of each.
#[must_use = "the record is on its way, but nobody will learn what became of it: await this, or call on_complete or forget"]
pub struct Delivery {
    cell: Arc<Cell>,
    index: u32,
    timestamp: i64,
}

impl Delivery {
    pub(crate) fn new(cell: Arc<Cell>, index: u32, timestamp: i64) -> Self {
        Self { cell, index, timestamp }
    }

    /// Does without the outcome.
    pub fn forget(self) {}

    /// Has `callback` called with the outcome, once there is one, on the thread that runs all of a producer's callbacks.
    ///
    /// If a record's outcome is there already, the callback is queued behind those before it. A callback that panics
    /// ends itself alone. Callbacks of one partition are called in the order of its records where they are registered
    /// with the send, by [`send_with`](crate::Producer::send_with).
    pub fn on_complete(self, callback: impl FnOnce(Result<RecordMetadata, Error>) + Send + 'static) {
        self.call_back(Box::new(callback));
    }

    /// The same delivery, for a test that looks more than once.
    #[cfg(test)]
    pub(crate) fn again(&self) -> Self {
        Self::new(Arc::clone(&self.cell), self.index, self.timestamp)
    }

    pub(crate) fn call_back(&self, callback: Callback) {
        self.cell.add_callback(self.index, self.timestamp, callback);
    }
}

impl Future for Delivery {
    type Output = Result<RecordMetadata, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.cell.poll(self.index, self.timestamp, cx)
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("cell", &self.cell).field("index", &self.index).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    /// Runs nothing, and remembers what it should have run.
    #[derive(Default)]
    struct Later(Mutex<Vec<Calls>>);

    impl Runner for Later {
        fn run(&self, calls: Calls) {
            self.0.lock().unwrap().push(calls);
        }
    }

    fn cell() -> (Arc<Cell>, Arc<Later>) {
        let runner = Arc::new(Later::default());
        (Arc::new(Cell::new("t".into(), 3, Arc::clone(&runner) as Arc<dyn Runner>)), runner)
    }

    fn written(offset: i64) -> Outcome {
        Outcome::Written { base_offset: Some(offset), log_append_time: None, is_acknowledged: true }
    }

    fn poll(cell: &Arc<Cell>, index: u32) -> Poll<Result<RecordMetadata, Error>> {
        let mut delivery = Delivery::new(Arc::clone(cell), index, 7);
        Pin::new(&mut delivery).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_delivery_is_24_bytes() {
        assert_eq!(size_of::<Delivery>(), 24);
    }

    #[test]
    fn pieces_of_a_batch_are_resolved_in_any_order() {
        let (cell, _) = cell();
        cell.resolve(5..9, written(100));
        assert!(poll(&cell, 4).is_pending());
        cell.resolve(0..5, Outcome::Failed(Error::new(ErrorKind::RecordTooLarge, "too large")));
        let Poll::Ready(Ok(metadata)) = poll(&cell, 7) else { panic!("resolved") };
        assert_eq!((metadata.partition(), metadata.offset(), metadata.timestamp()), (3, Some(102), 7));
        let Poll::Ready(Err(error)) = poll(&cell, 4) else { panic!("resolved") };
        assert_eq!((error.kind(), error.topic_partition()), (ErrorKind::RecordTooLarge, Some(("t", 3))));
    }

    #[test]
    fn the_culprit_and_its_batch_mates_are_told_apart() {
        let (cell, _) = cell();
        let error = |text: &str| Error::new(ErrorKind::Refused, text);
        let culprits = vec![(1, error("this one"))].into();
        cell.resolve(10..13, Outcome::Rejected { culprits, others: error("with it") });
        let text = |index| poll(&cell, index).map(|result| result.unwrap_err().to_string());
        assert_eq!(text(11), Poll::Ready("produce to t-3: this one; not written".to_owned()));
        assert_eq!(text(12), Poll::Ready("produce to t-3: with it; not written".to_owned()));
    }

    #[test]
    fn callbacks_come_in_order_of_their_records_and_never_at_once() {
        let (cell, later) = cell();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let callback = |name: u32| -> Callback {
            let seen = Arc::clone(&seen);
            Box::new(move |result| seen.lock().unwrap().push((name, result.unwrap().offset())))
        };
        cell.add_callback(2, 0, callback(2));
        cell.add_callback(0, 0, callback(0));
        cell.resolve(0..4, written(10));
        cell.add_callback(3, 0, callback(3));
        assert!(seen.lock().unwrap().is_empty(), "they are run by another");
        for calls in std::mem::take(&mut *later.0.lock().unwrap()) {
            calls.call_each(|callback, result| callback(result));
        }
        assert_eq!(*seen.lock().unwrap(), [(0, Some(10)), (2, Some(12)), (3, Some(13))]);
    }
}
