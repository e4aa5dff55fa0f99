//! Watches over a producer from its first record to its last outcome: says what holds records up, and follows signals.
//!
//! The first signal ends the reading, and the records that were read are still delivered. The second one gives up: the
//! producer closes at once, and each record that is left gets its outcome, not written or unknown.

use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::ProgressBar;
use kurier::{Error, Producer, Summary, Unfinished};
use tokio::time::timeout;

use crate::interrupt::Signals;
use crate::notice;

/// How long there is no outcome before the command says what holds the first record up. It says so again after twice as
/// long each time.
const SOON: Duration = Duration::from_secs(2);

/// The longest time between two such notices.
const AGAIN: Duration = Duration::from_secs(60);

/// Watches over a producer.
pub(crate) struct Watch<'a> {
    producer: &'a Producer,
    progress: &'a ProgressBar,
    signals: Signals,
    /// How many records the producer has accepted.
    accepted: Arc<AtomicU64>,
    /// How many of them had an outcome when they were counted last.
    outcomes: u64,
    /// How long to wait before they are counted next.
    patience: Duration,
}

/// How a producer was closed.
pub(crate) struct Closed {
    pub(crate) result: Result<Summary, Unfinished>,
    /// The exit status of the signal that gave the records up.
    pub(crate) given_up: Option<ExitCode>,
}

impl Closed {
    /// Why the producer ended before it was closed.
    pub(crate) fn cause(&self) -> Option<&Error> {
        self.result.as_ref().err().and_then(Unfinished::cause)
    }
}

impl<'a> Watch<'a> {
    pub(crate) fn new(
        producer: &'a Producer,
        progress: &'a ProgressBar,
        signals: Signals,
        accepted: Arc<AtomicU64>,
    ) -> Self {
        Self { producer, progress, signals, accepted, outcomes: 0, patience: SOON }
    }

    /// Reads and sends until the input ends, or a signal ends the reading with an exit status.
    pub(crate) async fn read<T>(&mut self, reading: impl Future<Output = T>) -> Result<T, ExitCode> {
        let ended = self.watch(pin!(reading)).await;
        if ended.is_err() {
            self.announce("reading has ended").await;
        }
        ended
    }

    /// Closes the producer when each record has its outcome. `sent` waits until the last send has returned. A signal only
    /// says what is awaited, unless one has ended the reading; the next one gives up.
    pub(crate) async fn close<F>(mut self, mut is_interrupted: bool, sent: impl Fn() -> F + Send + Sync) -> Closed
    where
        F: Future<Output = ()> + Send,
    {
        let producer = self.producer;
        // In a block of its own: a future that is no longer polled must not keep its place in a queue.
        let status = {
            let mut closing = pin!(async {
                sent().await;
                producer.close(Duration::MAX).await
            });
            loop {
                match self.watch(closing.as_mut()).await {
                    Ok(result) => return Closed { result, given_up: None },
                    Err(_) if !is_interrupted => {
                        self.announce("all input is read").await;
                        is_interrupted = true;
                    }
                    Err(status) => break status,
                }
            }
        };
        let giving_up = async {
            // Records get their outcome, and a send that waits returns. Then callbacks get their time.
            let _ = producer.close(Duration::ZERO).await;
            sent().await;
            producer.close(Duration::MAX).await
        };
        match self.signals.unless(giving_up).await {
            Ok(result) => Closed { result, given_up: Some(status) },
            Err(status) => Closed { result: Ok(producer.summary()), given_up: Some(status) },
        }
    }

    /// Does the work, and says what holds records up if none gets its outcome. Ends with a signal's exit status, after which
    /// the work can go on.
    async fn watch<T>(&mut self, mut work: Pin<&mut impl Future<Output = T>>) -> Result<T, ExitCode> {
        loop {
            match timeout(self.patience, self.signals.unless(work.as_mut())).await {
                Ok(ended) => return ended,
                Err(_) => self.look().await,
            }
        }
    }

    fn awaited(&self) -> u64 {
        let summary = self.producer.summary();
        self.accepted.load(Ordering::Relaxed).saturating_sub(summary.written.saturating_add(summary.failed()))
    }

    /// Says what holds records up, if none got its outcome since the last look.
    async fn look(&mut self) {
        let summary = self.producer.summary();
        let outcomes = summary.written.saturating_add(summary.failed());
        let is_stuck = outcomes == std::mem::replace(&mut self.outcomes, outcomes) && self.awaited() > 0;
        if !is_stuck {
            self.patience = SOON;
        } else if let Some(obstacle) = self.producer.obstacle().await {
            self.say(&format!("no outcome for {} yet: {obstacle}", records(self.awaited())));
            self.patience = (2 * self.patience).min(AGAIN);
        }
    }

    /// Says what is awaited after a signal, and how to give up.
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
