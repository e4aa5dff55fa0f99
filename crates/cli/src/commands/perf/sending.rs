//! The threads that send.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Result, anyhow};
use kurier::{Error, TopicProducer};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::pace::{Pace, Stop};
use super::payload::{Payload, key_of};
use super::report::now;
use super::tally::Tally;
use crate::producer::watch::Sent;

/// A run's settings and its results so far. All threads that send share it.
pub(super) struct Job {
    pub(super) topic: TopicProducer,
    pub(super) payload: Payload,
    pub(super) is_keyed: bool,
    pub(super) records: u64,
    pub(super) warmup: u64,
    pub(super) threads: u64,
    /// Records per second, of all threads together.
    pub(super) rate: Option<f64>,
    /// Each thread measures its first record, and every record of this distance.
    pub(super) latency_every: u64,
    pub(super) start: Instant,
    pub(super) tally: Tally,
    pub(super) sent: Arc<Sent>,
    /// Bytes of the values of sent records.
    pub(super) bytes: AtomicU64,
    /// When the first record after those that warm up was sent.
    pub(super) steady: OnceLock<Instant>,
    pub(super) stop: Stop,
}

/// Signals the end of a thread, with its result.
pub(super) type End = oneshot::Receiver<Result<(), Error>>;

/// Starts the threads, each with its share of the records.
pub(super) fn start(job: &Arc<Job>) -> Result<Vec<End>> {
    (0..job.threads).map(|thread| spawn(Arc::clone(job), thread)).collect()
}

fn spawn(job: Arc<Job>, thread: u64) -> Result<End> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let (done, ended) = oneshot::channel();
    let named = std::thread::Builder::new().name(format!("kurier-perf-{thread}"));
    named.spawn(move || drop(done.send(runtime.block_on(send(&job, thread)))))?;
    Ok(ended)
}

/// Waits until all threads have ended. Returns at the first error or panic, while other threads may still send.
pub(super) async fn ended(threads: Vec<End>) -> Result<()> {
    let mut threads: JoinSet<_> = threads.into_iter().collect();
    while let Some(thread) = threads.join_next().await {
        thread?.map_err(|_| anyhow!("a thread that sends has panicked"))??;
    }
    Ok(())
}

/// Sends every record of a thread.
async fn send(job: &Arc<Job>, thread: u64) -> Result<(), Error> {
    let mut values = job.payload.values(thread, job.threads);
    let mut pace = job.rate.map(|rate| Pace::new(job.start, rate));
    let mut counted = Counted { job, records: 0, bytes: 0 };
    let mut until_measured = 0;
    let mut number = thread;
    while number < job.records && !job.stop.is_over() {
        if let Some(wait) = pace.as_mut().and_then(|pace| pace.wait(number)) {
            counted.report();
            job.stop.sleep(wait);
            continue;
        }
        if number == job.warmup && job.warmup > 0 {
            let _ = job.steady.set(now());
        }
        let key = key_of(number);
        let value = values.next(number);
        let record = job.topic.record().value(value).nullable_key(job.is_keyed.then_some(&key[..]));
        match until_measured {
            0 => {
                until_measured = job.latency_every - 1;
                job.topic.send_with(record, measure(Arc::clone(job), number >= job.warmup)).await?;
            }
            _ => {
                until_measured -= 1;
                job.topic.post(record).await?;
            }
        }
        counted.add(value.len());
        number += job.threads;
    }
    Ok(())
}

/// Returns a callback that measures the time until it is called.
fn measure(job: Arc<Job>, is_steady: bool) -> impl FnOnce(Result<kurier::RecordMetadata, Error>) + Send + 'static {
    let at = quanta::Instant::now();
    move |outcome| job.tally.add(outcome.map(|_| at.elapsed()), is_steady)
}

/// Records that a thread has sent but not reported yet. It reports the rest when it is dropped.
struct Counted<'a> {
    job: &'a Job,
    records: u64,
    bytes: u64,
}

impl Counted<'_> {
    /// Records between two reports, and their bytes: far fewer than buffer.memory, so that a record that waits for
    /// memory is not the only one known.
    const RECORDS: u64 = 64;
    const BYTES: u64 = 1 << 16;

    fn add(&mut self, bytes: usize) {
        self.records += 1;
        self.bytes += bytes as u64;
        if self.records >= Self::RECORDS || self.bytes >= Self::BYTES {
            self.report();
        }
    }

    fn report(&mut self) {
        self.job.sent.accept(std::mem::take(&mut self.records));
        self.job.bytes.fetch_add(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.report();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_error_or_panic_ends_the_wait_for_all_threads() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let error = Error::new(kurier::ErrorKind::RecordTooLarge, "it is too large");
        for (result, expected) in
            [(None, "a thread that sends has panicked".to_owned()), (Some(Err(error.clone())), error.to_string())]
        {
            // The first thread still sends.
            let (_sending, first) = oneshot::channel();
            let (done, second) = oneshot::channel();
            // A panic drops the channel.
            match result {
                Some(result) => done.send(result).unwrap(),
                None => drop(done),
            }
            let why = runtime.block_on(ended(vec![first, second])).unwrap_err();
            assert_eq!(why.to_string(), expected);
        }
    }
}
