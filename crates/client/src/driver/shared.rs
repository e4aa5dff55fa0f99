//! State shared by a producer's handles and its driver: open batches, commands to the driver, and how the producer
//! ended.

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use kurier_compression::decompress_batch;
use kurier_protocol::record_batch::{RecordBatch, Stamp};
use kurier_security::Credentials;
use tokio::sync::{Notify, oneshot, watch};

use super::callbacks::Callbacks;
use super::clock::SenderClock;
use kurier_engine::accumulator::batch::Taken;
use kurier_engine::accumulator::{Accumulator, Clock, Topic};
use kurier_engine::closing::{Summary, Undelivered, Unfinished};
use kurier_engine::config::Config;
use kurier_engine::delivery::Outcome;
use kurier_engine::error::{Error, ErrorKind, Written};
use kurier_engine::fault_injection::FaultInjection;
use kurier_engine::sync::{Mutex, MutexGuard};

/// State shared by a producer's handles and its driver.
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) accumulator: Accumulator,
    callbacks: Arc<Callbacks>,
    pub(super) notify: Arc<Notify>,
    /// `None` once the driver no longer takes commands.
    commands: Mutex<Option<Vec<Command>>>,
    /// Records that failed because the producer ended; `None` until it starts to end.
    left: Mutex<Option<Vec<Undelivered>>>,
    /// The driver's token, until the driver takes it.
    alive: Mutex<Option<Alive>>,
    gone: watch::Receiver<()>,
}

/// Held by the driver and by each thread that compresses for it. Once all are dropped, every record has its outcome.
pub(crate) type Alive = watch::Sender<()>;

/// Request from a handle to the driver.
pub(crate) enum Command {
    /// Reply when a server has been reached.
    Reach { deadline: Instant, reply: oneshot::Sender<Result<(), Error>> },
    /// Reply when the topic is known and has this many partitions.
    Topic { name: Arc<str>, partitions: usize, deadline: Instant, reply: oneshot::Sender<Result<Arc<Topic>, Error>> },
    /// Reply when every record accepted until now has its outcome.
    Flush { reply: oneshot::Sender<Summary> },
    /// Reply with what blocks the call or the batch that has waited longest.
    Obstacle { reply: oneshot::Sender<Option<String>> },
    /// Authenticate with these credentials from now on.
    SetCredentials(Credentials),
    /// Use this configuration for new connections, and replace the existing ones.
    #[cfg(feature = "tls")]
    SetTls(kurier_security::tls::TlsConfig),
    /// Read the files of TLS and SASL again. Reply when that is done.
    ReloadSecurity { reply: oneshot::Sender<Result<(), Error>> },
    /// Accept no more records, and end when all are done or at the deadline.
    Close { deadline: Instant },
    /// The last handle is gone: no more records or commands will come.
    Detach,
}

impl Shared {
    pub(crate) fn new(config: Arc<Config>, seed: u64) -> Arc<Self> {
        Self::with_clock(config, seed, Arc::new(SenderClock::new()))
    }

    pub(super) fn with_clock(config: Arc<Config>, seed: u64, clock: Arc<dyn Clock>) -> Arc<Self> {
        let notify = Arc::new(Notify::new());
        let callbacks = Arc::new(Callbacks::default());
        let wake = Arc::clone(&notify);
        let runner = Arc::clone(&callbacks) as Arc<dyn kurier_engine::delivery::Runner>;
        let accumulator = Accumulator::new(
            Arc::clone(&config),
            clock,
            runner,
            seed,
            FaultInjection::NONE,
            Box::new(move || wake.notify_one()),
        );
        let (alive, gone) = watch::channel(());
        Arc::new(Self {
            config,
            accumulator,
            callbacks,
            notify,
            commands: Mutex::new(Some(Vec::new())),
            left: Mutex::new(None),
            alive: Mutex::new(Some(alive)),
            gone,
        })
    }

    /// Gives the driver its token; `None` if there was a driver before.
    pub(super) fn take_alive(&self) -> Option<Alive> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Sends a command to the driver. After the driver's end it is dropped, and its reply channel with it.
    pub(crate) fn command(&self, command: Command) {
        if let Some(commands) = &mut *self.commands() {
            commands.push(command);
        }
        self.notify.notify_one();
    }

    pub(super) fn commands(&self) -> MutexGuard<'_, Option<Vec<Command>>> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts of all outcomes so far.
    pub(crate) fn summary(&self) -> Summary {
        Summary::of(self.accumulator.outcomes.counts())
    }

    fn left(&self) -> MutexGuard<'_, Option<Vec<Undelivered>>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the records that fail from now on, for [`Unfinished`].
    pub(super) fn keep_failed(&self) {
        self.left().get_or_insert_default();
    }

    /// Records that the driver ended without a close. All waiting calls fail with this error.
    pub(super) fn fail(&self, error: Error) {
        self.keep_failed();
        self.accumulator.outcomes.fail(error.clone());
        self.accumulator.close(error);
    }

    /// Error for a call whose reply the driver dropped.
    pub(crate) fn ended(&self) -> Error {
        let closed = || Error::new(ErrorKind::Closed, "the producer is closed: build another to send more");
        self.accumulator.outcomes.failure().or_else(|| self.accumulator.closed()).unwrap_or_else(closed)
    }

    /// Fails a batch's records.
    pub(super) fn fail_batch(&self, batch: &Taken, error: Error) {
        let outcome = Outcome::Failed(error);
        self.keep_if_failed(batch, &outcome);
        self.accumulator.complete(batch, outcome, true);
    }

    /// Keeps a batch's records for [`Unfinished`], if they fail while the producer ends.
    pub(super) fn keep_if_failed(&self, batch: &Taken, outcome: &Outcome) {
        if let Some(certainty) = outcome.certainty()
            && let Some(left) = &mut *self.left()
        {
            left.extend(records_of(batch, certainty));
        }
    }

    /// Waits until the driver has ended and every record has its outcome, then for callbacks up to `deadline`.
    pub(crate) async fn end(&self, deadline: Instant) -> Result<Summary, Unfinished> {
        let mut gone = self.gone.clone();
        while gone.changed().await.is_ok() {}
        let uncalled = self.callbacks.finish(deadline).await;
        let records = self.left().clone().unwrap_or_default();
        let cause = self.accumulator.outcomes.failure();
        match records.is_empty() && uncalled.is_empty() && cause.is_none() {
            true => Ok(self.summary()),
            false => Err(Unfinished::new(self.summary(), records, uncalled, cause)),
        }
    }
}

/// Returns a batch's records, to hand back to the caller.
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

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("accumulator", &self.accumulator).finish_non_exhaustive()
    }
}
