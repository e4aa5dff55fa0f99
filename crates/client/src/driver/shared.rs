//! What a producer's handles and its driver share: where records gather, what is asked of the driver, what is counted.

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, oneshot};

use super::callbacks::Callbacks;
use super::clock::SystemClock;
use crate::accumulator::batch::Taken;
use crate::accumulator::{Accumulator, Topic};
use crate::closing::{Summary, Unfinished};
use crate::config::Config;
use crate::delivery::Outcome;
use crate::error::{Error, Written};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// What a producer's handles and its driver share.
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) accumulator: Accumulator,
    callbacks: Arc<Callbacks>,
    pub(super) notify: Arc<Notify>,
    /// `None` once nobody takes them any more.
    commands: Mutex<Option<Vec<Command>>>,
    tallies: Tallies,
}

/// What a handle asks of the driver.
pub(crate) enum Command {
    /// To say when a server has been reached.
    Reach { deadline: Instant, reply: oneshot::Sender<Result<(), Error>> },
    /// To say when a topic is known, and has so many partitions.
    Topic { name: Arc<str>, partitions: usize, deadline: Instant, reply: oneshot::Sender<Result<Arc<Topic>, Error>> },
    /// To say when everything accepted until now has its outcome.
    Flush { reply: oneshot::Sender<Summary> },
    /// To accept nothing more, and to say when all is done, or what is left at the deadline.
    Close { deadline: Instant, reply: oneshot::Sender<Result<Summary, Unfinished>> },
    /// Nobody can send or ask anything any more.
    Detach,
}

/// How many records had which outcome.
#[derive(Debug, Default)]
struct Tallies {
    written: AtomicU64,
    not_written: AtomicU64,
    unknown: AtomicU64,
}

impl Shared {
    pub(crate) fn new(config: Arc<Config>, seed: u64) -> Arc<Self> {
        let notify = Arc::new(Notify::new());
        let callbacks = Arc::new(Callbacks::default());
        let wake = Arc::clone(&notify);
        let runner = Arc::clone(&callbacks) as Arc<dyn crate::delivery::Runner>;
        let accumulator = Accumulator::new(
            Arc::clone(&config),
            Arc::new(SystemClock),
            runner,
            seed,
            Box::new(move || wake.notify_one()),
        );
        Arc::new(Self {
            config,
            accumulator,
            callbacks,
            notify,
            commands: Mutex::new(Some(Vec::new())),
            tallies: Tallies::default(),
        })
    }

    /// Asks something of the driver. After its end the question is dropped, and so answered.
    pub(crate) fn command(&self, command: Command) {
        if let Some(commands) = &mut *self.commands() {
            commands.push(command);
        }
        self.notify.notify_one();
    }

    pub(super) fn commands(&self) -> MutexGuard<'_, Option<Vec<Command>>> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What became of all records so far.
    pub(crate) fn summary(&self) -> Summary {
        let Tallies { written, not_written, unknown } = &self.tallies;
        Summary {
            written: written.load(Ordering::Relaxed),
            not_written: not_written.load(Ordering::Relaxed),
            unknown: unknown.load(Ordering::Relaxed),
        }
    }

    /// Tells a batch's records what became of them.
    pub(super) fn complete(&self, batch: Taken, outcome: Outcome, is_last: bool) {
        let Tallies { written, not_written, unknown } = &self.tallies;
        let Taken { cell, range, id, .. } = batch;
        let count = u64::from(range.end - range.start);
        match outcome.certainty() {
            None => written.fetch_add(count, Ordering::Relaxed),
            Some(Written::No) => not_written.fetch_add(count, Ordering::Relaxed),
            Some(Written::Unknown) => unknown.fetch_add(count, Ordering::Relaxed),
        };
        cell.resolve(range, outcome);
        if is_last {
            self.accumulator.complete(id);
        }
    }

    /// Waits until all callbacks of records that have their outcome have run.
    pub(crate) async fn callbacks_done(&self) {
        let (told, done) = oneshot::channel();
        self.callbacks.tell_when_done(told);
        let _ = done.await;
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("accumulator", &self.accumulator)
            .field("tallies", &self.tallies)
            .finish_non_exhaustive()
    }
}
