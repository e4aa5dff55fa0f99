//! Tracks outcomes: the batches without one, and the number of records for each kind of outcome. A [`Guard`] fails the
//! records of a batch that was dropped without an outcome.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, PoisonError};

use super::batch::BatchId;
use crate::delivery::{Cell, Outcome};
use crate::error::{Error, ErrorKind, Written};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// The outcomes of a producer's records.
#[derive(Debug, Default)]
pub struct Outcomes {
    incomplete: Mutex<BTreeSet<BatchId>>,
    written: AtomicU64,
    not_written: AtomicU64,
    unknown: AtomicU64,
    /// Batches that were dropped without an outcome.
    dropped: AtomicU64,
    /// Why the driver ended, unless a close ended it.
    failure: Mutex<Option<Error>>,
}

impl Outcomes {
    fn incomplete(&self) -> MutexGuard<'_, BTreeSet<BatchId>> {
        self.incomplete.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a batch that was opened.
    pub fn open(&self, id: BatchId) {
        self.incomplete().insert(id);
    }

    /// Notes that all records of a batch have their outcome.
    pub fn complete(&self, id: BatchId) {
        self.incomplete().remove(&id);
    }

    /// Returns the oldest batch without an outcome.
    pub fn oldest(&self) -> Option<BatchId> {
        self.incomplete().first().copied()
    }

    /// Returns the number of batches without an outcome.
    pub fn incomplete_count(&self) -> usize {
        self.incomplete().len()
    }

    /// Gives records their outcome, and counts it.
    pub fn resolve(&self, cell: &Arc<Cell>, range: Range<u32>, outcome: Outcome) {
        let tally = match outcome.certainty() {
            None => &self.written,
            Some(Written::No) => &self.not_written,
            Some(Written::Unknown) => &self.unknown,
        };
        tally.fetch_add(u64::from(range.end - range.start), Ordering::Relaxed);
        cell.resolve(range, outcome);
    }

    /// Returns how many records were written, were not, and may have been.
    pub fn counts(&self) -> [u64; 3] {
        [&self.written, &self.not_written, &self.unknown].map(|tally| tally.load(Ordering::Relaxed))
    }

    /// Returns how many batches were dropped without an outcome.
    #[cfg(any(test, feature = "internal"))]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Notes why the driver ended, unless a close ended it. Batches that are dropped from now on fail with this error.
    pub fn fail(&self, error: Error) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// Returns why the driver ended, unless a close ended it.
    pub fn failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Fails the records without an outcome when the last part of their batch is dropped.
#[derive(Debug)]
pub struct Guard {
    id: BatchId,
    cell: Arc<Cell>,
    count: u32,
    outcomes: Arc<Outcomes>,
    may_be_sent: AtomicBool,
}

impl Guard {
    pub(super) fn new(id: BatchId, cell: &Arc<Cell>, count: u32, outcomes: &Arc<Outcomes>) -> Arc<Self> {
        let (cell, outcomes) = (Arc::clone(cell), Arc::clone(outcomes));
        Arc::new(Self { id, cell, count, outcomes, may_be_sent: AtomicBool::new(false) })
    }

    /// Notes that the core has the batch, and may send it.
    pub(super) fn may_be_sent(&self) {
        self.may_be_sent.store(true, Ordering::Relaxed);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let unresolved = self.cell.unresolved(0..self.count);
        if !unresolved.is_empty() {
            let written = if self.may_be_sent.load(Ordering::Relaxed) { Written::Unknown } else { Written::No };
            let dropped = || Error::new(ErrorKind::Bug, "the producer dropped a batch without an outcome");
            let error = self.outcomes.failure().unwrap_or_else(dropped).written_is(written);
            self.outcomes.dropped.fetch_add(1, Ordering::Relaxed);
            for range in unresolved {
                self.outcomes.resolve(&self.cell, range, Outcome::Failed(error.clone()));
            }
        }
        self.outcomes.complete(self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use kurier_protocol::PartitionIndex;

    use super::*;
    use crate::delivery::{Delivery, NoCallbacks};

    #[test]
    fn dropped_batch_fails_records_without_outcome() {
        for (may_be_sent, is_failed, kind, written) in [
            (false, false, ErrorKind::Bug, Written::No),
            (true, false, ErrorKind::Bug, Written::Unknown),
            (true, true, ErrorKind::Closed, Written::Unknown),
        ] {
            let outcomes = Arc::new(Outcomes::default());
            let cell = Arc::new(Cell::new("t".into(), PartitionIndex(0), Arc::new(NoCallbacks)));
            outcomes.open(BatchId(1));
            let guard = Guard::new(BatchId(1), &cell, 6, &outcomes);
            let another = Arc::clone(&guard);
            if may_be_sent {
                guard.may_be_sent();
            }
            if is_failed {
                outcomes.fail(Error::new(ErrorKind::Closed, "the producer's runtime has ended"));
            }
            let written_at =
                |base| Outcome::Written { base_offset: Some(base), log_append_time: None, is_acknowledged: true };
            outcomes.resolve(&cell, 1..2, written_at(1));
            outcomes.resolve(&cell, 3..5, written_at(3));
            drop(guard);
            assert_eq!((outcomes.incomplete_count(), outcomes.dropped()), (1, 0), "another part of the batch is left");
            drop(another);
            assert_eq!((outcomes.incomplete_count(), outcomes.dropped()), (0, 1));
            assert_eq!(outcomes.counts().iter().sum::<u64>(), 6);
            for index in 0..6 {
                let delivery = pin!(Delivery::new(&cell, index, 0));
                match delivery.poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(Ok(metadata)) => assert_eq!(metadata.offset(), Some(i64::from(index))),
                    Poll::Ready(Err(error)) => assert_eq!((error.kind(), error.written()), (kind, written), "{index}"),
                    Poll::Pending => panic!("record {index} has no outcome"),
                }
            }
        }
    }
}
