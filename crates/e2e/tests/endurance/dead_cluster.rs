//! A cluster that is dead for minutes, under full load. Memory stays within its limit, every send ends in time, and the
//! producer recovers by itself when the cluster is back. First all nodes are killed, so that they refuse connections.
//! Then all are paused, so that they accept connections but stay silent.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use kurier::{Error, ErrorKind, Producer, Record, Written};
use kurier_e2e::clock::{now, sleep_until};
use kurier_e2e::cluster::Cluster;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::process::{self, MIB};
use crate::setting;

const NODES: i32 = 3;
const PARTITIONS: i32 = 12;
/// Number of senders; each waits when there is no memory.
const SENDERS: usize = 48;
const VALUE_BYTES: usize = 1_000;

const BUFFER_MEMORY: usize = 32 * 1024 * 1024;
const MEMORY_MAX_BYTES: u64 = BUFFER_MEMORY as u64 + 32 * MIB;

/// Shorter than the defaults, so that several generations of records expire per minute.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(20);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_BLOCK: Duration = Duration::from_secs(10);
/// Allowed delay of an outcome, besides the machine's own delay.
const GRACE: Duration = Duration::from_secs(1);

/// Limit on the time from the cluster's return to the first acknowledgement.
const RECOVERY_MAX: Duration = Duration::from_secs(20);
const AFTERWARDS: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    Killed,
    Paused,
}

pub(crate) async fn dead_cluster(cluster: &mut Cluster) -> Result<()> {
    let minutes: u64 = setting("ENDURANCE_MINUTES", 10)?;
    let (delivery, request, block) = (DELIVERY_TIMEOUT.as_secs(), REQUEST_TIMEOUT.as_secs(), MAX_BLOCK.as_secs());
    println!("delivery.timeout {delivery} s, request.timeout {request} s, max.block {block} s, {SENDERS} senders");
    // Both deaths share one baseline, or the second could hide in memory that the first left in the heap.
    let base = process::resident_bytes()?;
    let mut misses = Vec::new();
    for death in [Death::Killed, Death::Paused] {
        println!("{death:?} for {minutes} min");
        misses.extend(outlive(cluster, death, Duration::from_secs(minutes * 60), base).await?);
    }
    ensure!(misses.is_empty(), "{}", misses.join("; "));
    Ok(())
}

/// Runs the load through a cluster's death, and returns the broken promises.
async fn outlive(cluster: &mut Cluster, death: Death, duration: Duration, base: u64) -> Result<Vec<String>> {
    let topic = format!("{death:?}").to_lowercase();
    cluster.kafka().create_topic(&topic, PARTITIONS, 3, &["min.insync.replicas=2"])?;
    process::forget_peak()?;
    let producer = Producer::builder()
        .bootstrap_servers(cluster.kafka().bootstrap_servers().split(','))
        .buffer_memory(BUFFER_MEMORY)
        .delivery_timeout(DELIVERY_TIMEOUT)
        .request_timeout(REQUEST_TIMEOUT)
        .max_block(MAX_BLOCK)
        .build()
        .await?;
    let watch = Arc::new(Watch::default());
    let sleeper = thread::spawn({
        let watch = Arc::clone(&watch);
        move || watch.sleep()
    });
    let mut senders = JoinSet::new();
    for n in 0..SENDERS {
        senders.spawn(send(producer.clone(), topic.clone(), n, Arc::clone(&watch)));
    }
    sleep(Duration::from_secs(5)).await;
    println!("  alive: {}, memory {:.1} MiB over what it was", watch.text(), mib(over(base)?));
    ensure!(watch.acknowledged.load(Ordering::Relaxed) > 0, "nothing is acknowledged while all is well");

    for id in 0..NODES {
        match death {
            Death::Killed => cluster.kill(id)?,
            Death::Paused => cluster.pause(id)?,
        }
    }
    let died = now();
    let step = (duration / 10).min(Duration::from_secs(60));
    while died.elapsed() < duration {
        sleep(step.min(duration.saturating_sub(died.elapsed()))).await;
        let seconds = died.elapsed().as_secs();
        println!("  dead for {seconds} s: {}, memory {:.1} MiB over", watch.text(), mib(over(base)?));
    }
    let dead_peak = process::peak_resident_bytes()?.saturating_sub(base);

    let back = now();
    match death {
        Death::Killed => cluster.revive_all()?,
        Death::Paused => (0..NODES).try_for_each(|id| cluster.resume(id))?,
    }
    // From now on, every record must arrive.
    watch.is_back.store(true, Ordering::Relaxed);
    println!("  back after {:.1} s", back.elapsed().as_secs_f64());
    let answering = now();
    sleep(AFTERWARDS).await;
    watch.is_over.store(true, Ordering::Relaxed);
    let ended = async {
        while let Some(ended) = senders.join_next().await {
            ended??;
        }
        anyhow::Ok(())
    };
    timeout(MAX_BLOCK + GRACE * 2, ended).await??;
    sleeper.join().map_err(|_| anyhow!("who only slept has panicked"))?;
    let closed = producer.close(DELIVERY_TIMEOUT + GRACE).await;
    let peak = process::peak_resident_bytes()?.saturating_sub(base);
    println!("  after: {}, memory {:.1} MiB over", watch.text(), mib(over(base)?));
    cluster.kafka().wait_for_replicas(&topic, 3)?;
    let there: i64 = cluster.kafka().describe(&topic)?.iter().map(|partition| partition.end).sum();
    cluster.kafka().delete_topics(&[&topic])?;

    let last = watch.last();
    let since =
        |then: Option<Instant>| then.map_or(0.0, |then| then.saturating_duration_since(answering).as_secs_f64());
    println!(
        "  memory: {:.1} MiB over while dead, {:.1} MiB in all, of {} allowed",
        mib(dead_peak),
        mib(peak),
        mib(MEMORY_MAX_BYTES)
    );
    println!(
        "  outcomes: after {:.2} s at most, {} s allowed; who only slept was {:.2} s late at most",
        watch.outcome_max.seconds(),
        (DELIVERY_TIMEOUT + GRACE).as_secs(),
        watch.late_max.seconds()
    );
    println!(
        "  waits for room: {:.2} s at most, {} s allowed",
        watch.wait_max.seconds(),
        (MAX_BLOCK + GRACE).as_secs()
    );
    println!(
        "  back: first acknowledged after {:.1} s, last failure after {:.1} s",
        since(last.first_acknowledged),
        since(last.failed)
    );
    for ((kind, written, is_afterwards), count) in &last.failures {
        let when = if *is_afterwards { ", sent after the cluster was back" } else { "" };
        println!("  {count:>8} {kind:?}, written: {written:?}{when}");
    }
    let acknowledged = watch.acknowledged.load(Ordering::Relaxed);
    let unknown = watch.unknown.load(Ordering::Relaxed);
    println!("  in the log {there}; acknowledged {acknowledged}, unknown {unknown}");

    let mut misses = Vec::new();
    let mut demand = |is_met: bool, what: &str| {
        if !is_met {
            misses.push(format!("{death:?}: {what}"));
        }
    };
    demand(peak <= MEMORY_MAX_BYTES, "memory was above buffer.memory + 32 MiB");
    let grace = GRACE + watch.late_max.get();
    demand(watch.outcome_max.get() <= DELIVERY_TIMEOUT + grace, "an outcome came too late");
    demand(watch.wait_max.get() <= MAX_BLOCK + grace, "a send waited too long for room");
    demand(closed.is_ok() && watch.owed() == 0, "not every send had its outcome");
    demand(watch.failed_afterwards.load(Ordering::Relaxed) == 0, "what was sent after the cluster was back has failed");
    demand(last.first_acknowledged.is_some_and(|at| at < answering + RECOVERY_MAX), "it did not recover in time");
    let there = u64::try_from(there)?;
    demand((acknowledged..=acknowledged + unknown).contains(&there), "the log has other counts than the outcomes");
    Ok(misses)
}

/// Sends without a pause, each record as soon as there is room.
async fn send(producer: Producer, topic: String, n: usize, watch: Arc<Watch>) -> Result<()> {
    let key = format!("key-{n}");
    let value = vec![b'v'; VALUE_BYTES];
    while !watch.is_over.load(Ordering::Relaxed) {
        // Sends that are always ready would starve the runtime's timers.
        tokio::task::consume_budget().await;
        let is_afterwards = watch.is_back.load(Ordering::Relaxed);
        let asked = now();
        let sent = producer.send(Record::to(&topic).key(&key).value(&value)).await;
        let accepted = now();
        watch.wait_max.raise(accepted - asked);
        match sent {
            Ok(delivery) => {
                watch.accepted.fetch_add(1, Ordering::Relaxed);
                let watch = Arc::clone(&watch);
                delivery.on_complete(move |outcome| watch.complete(accepted, is_afterwards, outcome.err()));
            }
            Err(error) => {
                watch.refused.fetch_add(1, Ordering::Relaxed);
                watch.note(&error, is_afterwards);
            }
        }
    }
    Ok(())
}

/// Statistics of all sends.
#[derive(Debug, Default)]
struct Watch {
    accepted: AtomicU64,
    refused: AtomicU64,
    acknowledged: AtomicU64,
    not_written: AtomicU64,
    unknown: AtomicU64,
    /// Failed records among those sent after the cluster's return.
    failed_afterwards: AtomicU64,
    /// Longest time from acceptance to outcome.
    outcome_max: Longest,
    /// Longest time from the call to acceptance or refusal.
    wait_max: Longest,
    late_max: Longest,
    is_back: AtomicBool,
    is_over: AtomicBool,
    last: Mutex<Last>,
}

#[derive(Clone, Debug, Default)]
struct Last {
    /// Times after the cluster's return.
    first_acknowledged: Option<Instant>,
    failed: Option<Instant>,
    /// Failures by kind, certainty, and whether the cluster was back.
    failures: HashMap<(ErrorKind, Written, bool), u64>,
}

impl Watch {
    /// Sleeps repeatedly and measures how late it wakes up: any thread on this machine may be as late.
    fn sleep(&self) {
        while !self.is_over.load(Ordering::Relaxed) {
            let due = now() + Duration::from_millis(100);
            sleep_until(due);
            self.late_max.raise(now().saturating_duration_since(due));
        }
    }

    fn complete(&self, accepted: Instant, is_afterwards: bool, error: Option<Error>) {
        let at = now();
        self.outcome_max.raise(at - accepted);
        let Some(error) = error else {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
            if is_afterwards {
                self.last.lock().unwrap_or_else(PoisonError::into_inner).first_acknowledged.get_or_insert(at);
            }
            return;
        };
        match error.written() {
            Written::No => self.not_written.fetch_add(1, Ordering::Relaxed),
            Written::Unknown => self.unknown.fetch_add(1, Ordering::Relaxed),
        };
        self.note(&error, is_afterwards);
    }

    fn note(&self, error: &Error, is_afterwards: bool) {
        self.failed_afterwards.fetch_add(u64::from(is_afterwards), Ordering::Relaxed);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.failed = Some(now());
        *last.failures.entry((error.kind(), error.written(), is_afterwards)).or_default() += 1;
        if is_afterwards && self.failed_afterwards.load(Ordering::Relaxed) <= 3 {
            println!("  sent when all was well again: {error}");
        }
    }

    fn last(&self) -> Last {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn owed(&self) -> u64 {
        let over = [&self.acknowledged, &self.not_written, &self.unknown].map(|count| count.load(Ordering::Relaxed));
        self.accepted.load(Ordering::Relaxed).saturating_sub(over.iter().sum())
    }

    fn text(&self) -> String {
        let [acknowledged, not_written, unknown, refused] =
            [&self.acknowledged, &self.not_written, &self.unknown, &self.refused]
                .map(|count| count.load(Ordering::Relaxed));
        let owed = self.owed();
        format!(
            "{acknowledged} acknowledged, {owed} open, {not_written} not written, {unknown} unknown, {refused} without room"
        )
    }
}

/// Maximum of many durations.
#[derive(Debug, Default)]
struct Longest(AtomicU64);

impl Longest {
    fn raise(&self, duration: Duration) {
        self.0.fetch_max(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }

    fn seconds(&self) -> f64 {
        self.get().as_secs_f64()
    }
}

fn over(base: u64) -> Result<u64> {
    Ok(process::resident_bytes()?.saturating_sub(base))
}

#[expect(clippy::cast_precision_loss, reason = "shown to one digit")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB as f64
}
