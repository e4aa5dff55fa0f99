//! Watches a producer until each record has its outcome: prints what delays records, and handles signals.
//!
//! The first signal stops reading; the records already read are still delivered. The second signal gives up: the
//! producer closes at once, and each remaining record ends as not written or unknown.

use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use indicatif::ProgressBar;
use kurier::{Error, Producer, Summary, Unfinished};
use tokio::time::timeout;

use crate::interrupt::Signals;
use crate::notice;

/// Time without an outcome before the command prints what delays the first record. The time doubles with each further
/// notice.
const SOON: Duration = Duration::from_secs(2);

/// Longest time between two such notices.
const AGAIN: Duration = Duration::from_secs(60);

/// Counts the records that the producer has accepted, and those whose send waits.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    accepted: AtomicU64,
    waiting: AtomicU64,
}

impl Sent {
    /// Counts a record while its send waits, and afterwards if the producer has accepted it.
    pub(crate) async fn count<E>(&self, send: impl Future<Output = Result<(), E>>) -> Result<(), E> {
        /// Also counts a send that is dropped.
        struct Waiting<'a>(&'a AtomicU64);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        let result = send.await;
        if result.is_ok() {
            self.accept(1);
        }
        result
    }

    /// Counts records that the producer has accepted.
    pub(crate) fn accept(&self, records: u64) {
        self.accepted.fetch_add(records, Ordering::Relaxed);
    }

    /// Number of records that the producer has accepted.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    fn total(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed).saturating_add(self.waiting.load(Ordering::Relaxed))
    }
}

/// The command's words for the state that a signal found.
#[derive(Clone, Copy, Debug)]
struct Words {
    /// The signal ended the input.
    ended: &'static str,
    /// The input had ended before the signal.
    complete: &'static str,
}

/// Watches over a producer.
pub(crate) struct Watch<'a> {
    producer: &'a Producer,
    progress: &'a ProgressBar,
    signals: Signals,
    sent: Arc<Sent>,
    words: Words,
    /// Number of outcomes at the last count.
    counted: u64,
    /// Time until the next count.
    patience: Duration,
}

/// Result of closing a producer.
pub(crate) struct Closed {
    pub(crate) result: Result<Summary, Unfinished>,
    /// Exit status of the signal that gave up the records.
    pub(crate) given_up: Option<ExitCode>,
}

impl Closed {
    /// Returns why the producer ended before it was closed.
    pub(crate) fn cause(&self) -> Option<&Error> {
        self.result.as_ref().err().and_then(Unfinished::cause)
    }

    /// Returns the exit status of a command whose reading ended so. `is_whole` is whether all records were written.
    ///
    /// # Errors
    /// When the reading failed, and no signal came.
    pub(crate) fn status(&self, ended: Result<Result<()>, ExitCode>, is_whole: bool) -> Result<ExitCode> {
        match (ended, self.given_up) {
            (Err(status), _) | (_, Some(status)) => Ok(status),
            (Ok(read), None) => {
                read?;
                Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
        }
    }
}

impl<'a> Watch<'a> {
    pub(crate) fn new(producer: &'a Producer, progress: &'a ProgressBar, signals: Signals, sent: Arc<Sent>) -> Self {
        let words = Words { ended: "reading has ended", complete: "all input is read" };
        Self { producer, progress, signals, sent, words, counted: 0, patience: SOON }
    }

    /// Changes the words of the messages for a command that has no input.
    pub(crate) fn without_input(mut self) -> Self {
        self.words = Words { ended: "sending has ended", complete: "all records are sent" };
        self
    }

    /// Reads and sends until the input ends, or until a signal stops the reading and gives its exit status.
    pub(crate) async fn read<T>(&mut self, reading: impl Future<Output = T>) -> Result<T, ExitCode> {
        let ended = self.watch(pin!(reading)).await;
        if ended.is_err() {
            self.announce(self.words.ended).await;
        }
        ended
    }

    /// Closes the producer once each record has its outcome. `sent` waits until the last send has returned. Without an
    /// earlier signal, the first signal only prints what the command waits for. The next one gives up.
    pub(crate) async fn close<F>(mut self, mut is_interrupted: bool, sent: impl Fn() -> F + Send + Sync) -> Closed
    where
        F: Future<Output = ()> + Send,
    {
        let producer = self.producer;
        // The block drops `closing` before `sent` is called again. `sent` waits for a fair lock: a future that nobody polls
        // would keep its turn, and the second call would wait for ever.
        let status = {
            let mut closing = pin!(async {
                sent().await;
                producer.close(Duration::MAX).await
            });
            loop {
                match self.watch(closing.as_mut()).await {
                    Ok(result) => return Closed { result, given_up: None },
                    Err(_) if !is_interrupted => {
                        self.announce(self.words.complete).await;
                        is_interrupted = true;
                    }
                    Err(status) => break status,
                }
            }
        };
        let giving_up = async {
            // Ends the remaining records and any blocked send. The close below waits for callbacks.
            let _ = producer.close(Duration::ZERO).await;
            sent().await;
            producer.close(Duration::MAX).await
        };
        match self.signals.unless(giving_up).await {
            Ok(result) => Closed { result, given_up: Some(status) },
            Err(status) => Closed { result: Ok(producer.summary()), given_up: Some(status) },
        }
    }

    /// Runs the work, and prints what delays records if none gets its outcome. Returns the exit status of a signal that
    /// arrives first; the work can then continue.
    async fn watch<T>(&mut self, mut work: Pin<&mut impl Future<Output = T>>) -> Result<T, ExitCode> {
        loop {
            match timeout(self.patience, self.signals.unless(work.as_mut())).await {
                Ok(ended) => return ended,
                Err(_) => self.look().await,
            }
        }
    }

    /// Returns how many records have an outcome.
    fn outcomes(&self) -> u64 {
        let summary = self.producer.summary();
        summary.written.saturating_add(summary.failed())
    }

    /// Returns how many records have none.
    fn awaited(&self) -> u64 {
        self.sent.total().saturating_sub(self.outcomes())
    }

    /// Prints what delays records, if none got its outcome since the last call.
    async fn look(&mut self) {
        let outcomes = self.outcomes();
        let is_stuck = outcomes == std::mem::replace(&mut self.counted, outcomes) && self.awaited() > 0;
        if !is_stuck {
            self.patience = SOON;
        } else if let Some(obstacle) = self.producer.obstacle().await {
            self.say(&format!("no outcome for {} yet: {obstacle}", records(self.awaited())));
            self.patience = (2 * self.patience).min(AGAIN);
        }
    }

    /// Prints what the command waits for after a signal, and how to give up.
    async fn announce(&self, why: &str) {
        let awaited = self.awaited();
        let obstacle = match awaited {
            0 => None,
            _ => self.producer.obstacle().await,
        };
        let obstacle = obstacle.map_or_else(String::new, |obstacle| format!(" ({obstacle})"));
        self.say(&format!(
            "interrupted: {why}; {} without an outcome{obstacle}; another Ctrl-C gives up",
            records(awaited)
        ));
    }

    fn say(&self, text: &str) {
        self.progress.suspend(|| notice::say(text));
    }
}

fn records(count: u64) -> String {
    if count == 1 { "1 record".to_owned() } else { format!("{count} records") }
}
