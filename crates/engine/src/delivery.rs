//! Delivery of outcomes to senders: one cell per batch, and a [`Delivery`] per record that points into the cell.
//!
//! A cell never holds payload. It is resolved by ranges of records, because a batch that is too large is sent in
//! pieces; each record is resolved once. Wakers run user code, so they are cloned, woken and dropped outside the lock.
//! Callbacks are handed to a [`Runner`]: they run neither where a batch is resolved nor where they are registered.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use kurier_protocol::PartitionIndex;

use crate::error::{Error, Written};
use crate::record::RecordMetadata;
use crate::sync::{Mutex, MutexGuard, OnceLock};

/// A function that a sender registers for a record's outcome.
pub type Callback = Box<dyn FnOnce(Result<RecordMetadata, Error>) + Send>;

/// Runs callbacks elsewhere, in the order of the `run` calls.
pub trait Runner: Send + Sync {
    /// Takes a batch's callbacks, to run them soon.
    fn run(&self, calls: Calls);
}

/// A runner for tests without callbacks.
#[derive(Debug)]
pub struct NoCallbacks;

impl Runner for NoCallbacks {
    fn run(&self, _: Calls) {}
}

/// The callbacks of a batch's records whose outcome is known.
pub struct Calls {
    cell: Arc<Cell>,
    range: Range<u32>,
    outcome: Outcome,
    left: Mutex<Uncalled>,
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").field("range", &self.range).field("outcome", &self.outcome).finish_non_exhaustive()
    }
}

/// Callbacks that have not returned.
struct Uncalled {
    due: std::vec::IntoIter<Waiting>,
    /// The record whose callback is running, by its index and timestamp.
    running: Option<(u32, i64)>,
}

impl Calls {
    fn new(cell: &Arc<Cell>, range: Range<u32>, outcome: Outcome, due: Vec<Waiting>) -> Self {
        let left = Mutex::new(Uncalled { due: due.into_iter(), running: None });
        Self { cell: Arc::clone(cell), range, outcome, left }
    }

    fn left(&self) -> MutexGuard<'_, Uncalled> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the next callback with its record's outcome, through `call`. Returns `false` if there is none.
    #[doc(hidden)]
    pub fn call_next(&self, call: impl FnOnce(Callback, Result<RecordMetadata, Error>)) -> bool {
        let mut left = self.left();
        let Some(Waiting { index, timestamp, callback }) = left.due.next() else {
            left.running = None;
            return false;
        };
        left.running = Some((index, timestamp));
        drop(left);
        call(callback, self.cell.result(self.range.start, &self.outcome, index, timestamp));
        true
    }

    /// Runs each callback with its record's outcome, through `call`.
    #[cfg(any(test, feature = "internal"))]
    #[doc(hidden)]
    pub fn call_each(self, mut call: impl FnMut(Callback, Result<RecordMetadata, Error>)) {
        while self.call_next(&mut call) {}
    }

    /// Returns the results for the callbacks that have not returned, in order.
    #[expect(clippy::needless_collect, reason = "results are made when the lock is free again")]
    #[doc(hidden)]
    pub fn uncalled(&self) -> Vec<crate::closing::Uncalled> {
        let left = self.left();
        let waiting = left.due.as_slice().iter().map(|waiting| (waiting.index, waiting.timestamp));
        let records: Vec<_> = left.running.into_iter().chain(waiting).collect();
        drop(left);
        let result = |(index, timestamp)| crate::closing::Uncalled {
            timestamp,
            result: self.cell.result(self.range.start, &self.outcome, index, timestamp),
        };
        records.into_iter().map(result).collect()
    }
}

/// The outcome of a range of a batch's records.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The records are in the log, as far as acks promises.
    Written {
        /// The offset of the range's first record, if it is known.
        base_offset: Option<i64>,
        /// The broker's time, for a topic with LogAppendTime.
        log_append_time: Option<i64>,
        /// Whether a broker acknowledged the records.
        is_acknowledged: bool,
    },
    /// All records failed for the same reason.
    Failed(Error),
    /// Some records caused the failure, and the others failed with them (KIP-467).
    Rejected {
        /// The records that caused the failure.
        culprits: Culprits,
        /// The error of the others.
        others: Error,
    },
}

/// The records of a batch that a broker refused, each with its error. Records with the same error text share one error.
#[derive(Clone, Debug)]
pub struct Culprits {
    /// The position of each record in the range, in order, and the index of its error.
    records: Arc<[(u32, usize)]>,
    errors: Arc<[Error]>,
}

impl Culprits {
    /// `said` holds the text for each record, by its position in the range; `error` makes an error of a text.
    #[doc(hidden)]
    pub fn new<T: Hash + Eq + Copy>(said: BTreeMap<u32, T>, error: impl Fn(T) -> Error) -> Self {
        let mut errors = Vec::new();
        let mut places = HashMap::new();
        let mut place = |text: T| {
            *places.entry(text).or_insert_with(|| {
                errors.push(error(text));
                errors.len() - 1
            })
        };
        let records = said.into_iter().map(|(record, text)| (record, place(text))).collect();
        Self { records, errors: errors.into() }
    }

    #[doc(hidden)]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Returns the error of a record, if the record caused the failure.
    fn find(&self, record: u32) -> Option<&Error> {
        let at = self.records.binary_search_by_key(&record, |(record, _)| *record).ok()?;
        self.records.get(at).and_then(|(_, error)| self.errors.get(*error))
    }

    /// Returns the records that caused the failure.
    #[cfg(test)]
    #[doc(hidden)]
    pub fn records(&self) -> Vec<u32> {
        self.records.iter().map(|(record, _)| *record).collect()
    }
}

impl Outcome {
    /// Maps each error; records that shared an error still share one.
    #[doc(hidden)]
    pub fn map_errors(self, change: impl Fn(Error) -> Error) -> Self {
        match self {
            Self::Written { .. } => self,
            Self::Failed(error) => Self::Failed(change(error)),
            Self::Rejected { culprits: Culprits { records, errors }, others } => {
                let errors = errors.iter().cloned().map(&change).collect();
                Self::Rejected { culprits: Culprits { records, errors }, others: change(others) }
            }
        }
    }

    /// Returns whether failed records may be written; `None` if they did not fail.
    #[doc(hidden)]
    pub fn certainty(&self) -> Option<Written> {
        match self {
            Self::Written { .. } => None,
            Self::Failed(error) => Some(error.written()),
            Self::Rejected { others, .. } => Some(others.written()),
        }
    }
}

/// The outcomes of a batch's records, with the wakers and callbacks that wait for them.
pub struct Cell {
    topic: Arc<str>,
    partition: PartitionIndex,
    runner: Arc<dyn Runner>,
    /// The first outcome, mostly that of the whole batch. It is read without a lock.
    first: OnceLock<(Range<u32>, Outcome)>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The outcomes after the first, in the order of their ranges, which do not overlap.
    others: Vec<(Range<u32>, Outcome)>,
    /// Wakers by a record's index in the batch.
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
    fn other(&self, index: u32) -> Option<&(Range<u32>, Outcome)> {
        let at = self.others.partition_point(|(range, _)| range.end <= index);
        self.others.get(at).filter(|(range, _)| range.contains(&index))
    }

    /// Takes the wakers of these records.
    fn take_wakers(&mut self, range: &Range<u32>) -> Vec<Option<Waker>> {
        let indexes = usize_range(range, self.wakers.len());
        if indexes == (0..self.wakers.len()) {
            return std::mem::take(&mut self.wakers);
        }
        let taken = self.wakers.get_mut(indexes).into_iter().flatten().map(Option::take).collect();
        // Deliveries keep the cell, but not the memory of its wakers.
        if self.wakers.iter().all(Option::is_none) {
            self.wakers = Vec::new();
        }
        taken
    }

    /// Returns the slot for a record's waker.
    fn waker(&mut self, index: u32) -> &mut Option<Waker> {
        let at = index as usize;
        if self.wakers.len() <= at {
            self.wakers.resize_with(at + 1, || None);
        }
        &mut self.wakers[at]
    }
}

impl Cell {
    #[doc(hidden)]
    pub fn new(topic: Arc<str>, partition: PartitionIndex, runner: Arc<dyn Runner>) -> Self {
        Self { topic, partition, runner, first: OnceLock::default(), state: Mutex::default() }
    }

    #[doc(hidden)]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Returns the records' topic and partition.
    #[doc(hidden)]
    pub fn place(&self) -> (&Arc<str>, PartitionIndex) {
        (&self.topic, self.partition)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code under this lock can panic halfway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a record's outcome, if it is the first one.
    #[inline]
    fn first(&self, index: u32) -> Option<&(Range<u32>, Outcome)> {
        self.first.get().filter(|(range, _)| range.contains(&index))
    }

    fn outcome<'c>(&'c self, state: &'c State, index: u32) -> Option<&'c (Range<u32>, Outcome)> {
        self.first(index).or_else(|| state.other(index))
    }

    /// Sets the outcome of records that have none yet.
    #[doc(hidden)]
    pub fn resolve(self: &Arc<Self>, range: Range<u32>, outcome: Outcome) {
        // Do this once, so that all records share one error.
        let outcome = outcome.map_errors(|error| error.at(&self.topic, self.partition));
        let mut state = self.state();
        debug_assert!(range.clone().all(|index| self.outcome(&state, index).is_none()), "a record is resolved twice");
        if let Err(other) = self.first.set((range.clone(), outcome.clone())) {
            let at = state.others.partition_point(|(before, _)| before.end <= range.start);
            state.others.insert(at, other);
        }
        let wakers = state.take_wakers(&range);
        // Callbacks are sorted by record.
        let first = state.callbacks.partition_point(|one| one.index < range.start);
        let end = state.callbacks.partition_point(|one| one.index < range.end);
        let due: Vec<Waiting> = match first == 0 && end == state.callbacks.len() {
            true => std::mem::take(&mut state.callbacks),
            false => state.callbacks.drain(first..end).collect(),
        };
        drop(state);
        for waker in wakers.into_iter().flatten() {
            waker.wake();
        }
        if !due.is_empty() {
            self.runner.run(Calls::new(self, range, outcome, due));
        }
    }

    /// Returns the parts of a range whose records have no outcome yet.
    #[doc(hidden)]
    pub fn unresolved(&self, range: Range<u32>) -> Vec<Range<u32>> {
        let state = self.state();
        let mut all: Vec<_> =
            self.first.get().into_iter().chain(&state.others).map(|(range, _)| range.clone()).collect();
        drop(state);
        all.sort_unstable_by_key(|resolved| resolved.start);
        let mut start = range.start;
        let mut unresolved = Vec::new();
        for resolved in all {
            if start < resolved.start.min(range.end) {
                unresolved.push(start..resolved.start.min(range.end));
            }
            start = start.max(resolved.end);
        }
        if start < range.end {
            unresolved.push(start..range.end);
        }
        unresolved
    }

    /// Registers a callback for a record. It runs after the callbacks of earlier records.
    #[doc(hidden)]
    pub fn add_callback(self: &Arc<Self>, index: u32, timestamp: i64, callback: Callback) {
        let mut state = self.state();
        let waiting = Waiting { index, timestamp, callback };
        if let Some((range, outcome)) = self.outcome(&state, index).cloned() {
            drop(state);
            self.runner.run(Calls::new(self, range, outcome, vec![waiting]));
            return;
        }
        // Usually the callback belongs to the newest record.
        if state.callbacks.last().is_none_or(|last| last.index <= index) {
            state.callbacks.push(waiting);
        } else {
            let at = state.callbacks.partition_point(|one| one.index <= index);
            state.callbacks.insert(at, waiting);
        }
    }

    #[inline]
    fn poll(&self, index: u32, timestamp: i64, cx: &Context<'_>) -> Poll<Result<RecordMetadata, Error>> {
        match self.first(index) {
            Some((range, outcome)) => Poll::Ready(self.result(range.start, outcome, index, timestamp)),
            None => self.poll_locked(index, timestamp, cx),
        }
    }

    fn poll_locked(&self, index: u32, timestamp: i64, cx: &Context<'_>) -> Poll<Result<RecordMetadata, Error>> {
        let mut new = None;
        loop {
            let mut state = self.state();
            if let Some((range, outcome)) = self.outcome(&state, index).cloned() {
                drop(state);
                return Poll::Ready(self.result(range.start, &outcome, index, timestamp));
            }
            let known = state.waker(index);
            if known.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            if let Some(new) = new.take() {
                let before = known.replace(new);
                drop(state);
                drop(before);
                return Poll::Pending;
            }
            drop(state);
            new = Some(cx.waker().clone());
        }
    }

    /// Returns a record's result. The outcome's range begins with record `start`.
    fn result(&self, start: u32, outcome: &Outcome, index: u32, timestamp: i64) -> Result<RecordMetadata, Error> {
        let place = index - start;
        match outcome {
            Outcome::Written { base_offset, log_append_time, is_acknowledged } => Ok(RecordMetadata {
                topic: Arc::clone(&self.topic),
                partition: self.partition.0,
                offset: base_offset.map(|offset| offset.saturating_add(place.into())),
                timestamp: log_append_time.unwrap_or(timestamp),
                is_acknowledged: *is_acknowledged,
            }),
            Outcome::Failed(error) => Err(error.clone()),
            Outcome::Rejected { culprits, others } => Err(culprits.find(place).unwrap_or(others).clone()),
        }
    }
}

/// Converts a range of records to a range within a list of this length.
fn usize_range(range: &Range<u32>, len: usize) -> Range<usize> {
    (range.start as usize).min(len)..(range.end as usize).min(len)
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cell({}-{})", self.topic, self.partition)
    }
}

/// The future outcome of a record that the producer has accepted.
///
/// Await it for partition and offset, give it a callback, or forget it. Dropping it does not affect the record, which
/// is delivered or fails all the same.
///
/// See `kurier::Producer` for an example of each.
#[must_use = "the record is on its way, but nobody will learn what became of it: await this, or call on_complete or forget"]
pub struct Delivery {
    cell: Arc<Cell>,
    index: u32,
    timestamp: i64,
}

impl Delivery {
    #[doc(hidden)]
    #[inline]
    pub fn new(cell: &Arc<Cell>, index: u32, timestamp: i64) -> Self {
        Self { cell: Arc::clone(cell), index, timestamp }
    }

    /// Ignores the outcome.
    pub fn forget(self) {}

    /// Calls `callback` with the outcome once it is known, on the thread that runs all of a producer's callbacks.
    ///
    /// If the outcome is known already, the callback is queued behind earlier ones. A panic in a callback ends only
    /// that callback. `kurier::Producer::close` waits for callbacks until its timeout. The callbacks
    /// of one partition run in the order of its records if they are registered with the send, by
    /// `kurier::send_with`.
    pub fn on_complete(self, callback: impl FnOnce(Result<RecordMetadata, Error>) + Send + 'static) {
        self.call_back(Box::new(callback));
    }

    /// Returns a second handle, for tests that poll more than once.
    #[cfg(test)]
    #[doc(hidden)]
    pub fn again(&self) -> Self {
        Self::new(&self.cell, self.index, self.timestamp)
    }

    #[doc(hidden)]
    pub fn call_back(&self, callback: Callback) {
        self.cell.add_callback(self.index, self.timestamp, callback);
    }
}

/// After it was ready, it returns the same again.
impl Future for Delivery {
    type Output = Result<RecordMetadata, Error>;

    #[inline]
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

    /// A runner that stores callbacks for later.
    #[derive(Default)]
    struct Later(Mutex<Vec<Calls>>);

    impl Runner for Later {
        fn run(&self, calls: Calls) {
            self.0.lock().unwrap().push(calls);
        }
    }

    fn cell() -> (Arc<Cell>, Arc<Later>) {
        let runner = Arc::new(Later::default());
        (Arc::new(Cell::new("t".into(), PartitionIndex(3), Arc::clone(&runner) as Arc<dyn Runner>)), runner)
    }

    fn written(offset: i64) -> Outcome {
        Outcome::Written { base_offset: Some(offset), log_append_time: None, is_acknowledged: true }
    }

    fn poll(cell: &Arc<Cell>, index: u32) -> Poll<Result<RecordMetadata, Error>> {
        let mut delivery = Delivery::new(cell, index, 7);
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
    fn culprit_and_its_batch_mates_get_different_errors() {
        let (cell, _) = cell();
        let error = |text: &str| Error::new(ErrorKind::Refused, text);
        let culprits = Culprits::new(BTreeMap::from([(1, "this one")]), error);
        cell.resolve(10..13, Outcome::Rejected { culprits, others: error("with it") });
        let text = |index| poll(&cell, index).map(|result| result.unwrap_err().to_string());
        assert_eq!(text(11), Poll::Ready("produce to t-3: this one; not written".to_owned()));
        assert_eq!(text(12), Poll::Ready("produce to t-3: with it; not written".to_owned()));
    }

    #[test]
    fn records_of_a_batch_share_one_error() {
        let (cell, _) = cell();
        cell.resolve(0..500, Outcome::Failed(Error::new(ErrorKind::Refused, "x".repeat(200_000))));
        let said = (0..500).map(|record| (record, if record % 2 == 0 { "even" } else { "odd" })).collect();
        let culprits = Culprits::new(said, |text| Error::new(ErrorKind::Refused, text));
        cell.resolve(500..1_500, Outcome::Rejected { culprits, others: Error::new(ErrorKind::Refused, "others") });
        let error = |index| match poll(&cell, index) {
            Poll::Ready(Err(error)) => error,
            other => panic!("{other:?}"),
        };
        for (index, same, is_shared) in [
            (0, 499, true),
            (500, 998, true),
            (501, 999, true),
            (500, 501, false),
            (1_000, 1_499, true),
            (0, 500, false),
        ] {
            assert_eq!(error(index).is_clone_of(&error(same)), is_shared, "{index} and {same}");
        }
    }

    /// This would take minutes if each record searched all culprits.
    #[test]
    fn culprits_of_a_large_batch_are_found_quickly() {
        const COUNT: u32 = 200_000;
        let (cell, _) = cell();
        let culprits = Culprits::new((0..COUNT).map(|record| (record, record)).collect(), |record: u32| {
            Error::new(ErrorKind::Refused, record.to_string())
        });
        cell.resolve(0..COUNT, Outcome::Rejected { culprits, others: Error::new(ErrorKind::Refused, "others") });
        for index in 0..COUNT {
            let Poll::Ready(Err(error)) = poll(&cell, index) else { panic!("{index} is resolved") };
            assert!(index % 10_000 != 0 || error.to_string().contains(&format!(": {index};")), "{error}");
        }
    }

    /// Checks that the cell's lock is not held when it is woken or dropped.
    struct Looks(Arc<Cell>);

    impl Looks {
        fn look(&self) {
            assert!(self.0.state.try_lock().is_ok(), "the cell's lock is held");
        }
    }

    impl std::task::Wake for Looks {
        fn wake(self: Arc<Self>) {
            self.look();
        }
    }

    impl Drop for Looks {
        fn drop(&mut self) {
            self.look();
        }
    }

    #[test]
    fn wakers_memory_is_freed_with_the_last_outcome() {
        for pieces in [&[(0, 9)][..], &[(0, 4), (4, 9)], &[(4, 9), (0, 4)]] {
            let (cell, _) = cell();
            assert!(poll(&cell, 3).is_pending() && poll(&cell, 8).is_pending());
            for (start, end) in pieces {
                assert_ne!(cell.state().wakers.capacity(), 0);
                cell.resolve(*start..*end, written(0));
            }
            assert_eq!(cell.state().wakers.capacity(), 0, "{pieces:?}");
            assert!(poll(&cell, 3).is_ready() && poll(&cell, 8).is_ready());
        }
    }

    #[test]
    fn outcome_is_the_same_at_every_poll() {
        let (cell, _) = cell();
        let mut delivery = Delivery::new(&cell, 1, 7);
        cell.resolve(0..2, written(5));
        let mut offset = || match Pin::new(&mut delivery).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result.unwrap().offset(),
            Poll::Pending => None,
        };
        assert_eq!([offset(), offset()], [Some(6), Some(6)]);
    }

    #[test]
    fn wakers_are_woken_and_dropped_outside_the_lock() {
        let (cell, _) = cell();
        let mut delivery = Delivery::new(&cell, 1, 7);
        for _ in 0..2 {
            let waker = Waker::from(Arc::new(Looks(Arc::clone(&cell))));
            assert!(Pin::new(&mut delivery).poll(&mut Context::from_waker(&waker)).is_pending());
        }
        cell.resolve(0..2, written(1));
        assert!(poll(&cell, 1).is_ready());
    }

    #[test]
    fn callbacks_run_in_record_order_and_never_inline() {
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
