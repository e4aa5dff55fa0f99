//! Short-lived producers: they must leave no descriptor, thread, task or memory behind.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kurier::{Producer, Record};
use kurier_e2e::clock::{now, wait_until};
use kurier_e2e::cluster::Cluster;
use kurier_e2e::kafka::Kafka;
use tokio::runtime::Handle;

use crate::process::{self, MIB};

const FEW: usize = 100;
const MANY: usize = 1_000;

/// Limit on the memory growth from few producers to many.
const GROWTH_MAX_BYTES: u64 = 2 * MIB;

/// The process's resources without a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    descriptors: usize,
    threads: usize,
    /// Tasks of the runtime that every second producer used.
    tasks: usize,
}

pub(crate) async fn cycles(cluster: &Cluster) -> Result<()> {
    let kafka = cluster.kafka();
    kafka.create_topic("cycles", 3, 3, &[])?;
    let started = now();
    let before = Held::now()?;
    println!("at first {before:?}");
    let (mut few, mut done) = (None, 0);
    for reached in [1, FEW, FEW * 4, FEW * 7, MANY] {
        while done < reached {
            cycle(kafka, done).await.with_context(|| format!("cycle {done}"))?;
            done += 1;
        }
        let (held, bytes) = (Held::settled(before)?, process::resident_bytes()?);
        let seconds = started.elapsed().as_secs();
        println!("after {done} cycles, {seconds} s: {held:?}, memory {:.2} MiB", mib(bytes));
        if done == FEW {
            few = Some((held, bytes));
        }
        if done == MANY {
            let (few, few_bytes) = few.context("there were few before")?;
            ensure!(held == few, "after {FEW} cycles {few:?}, after {MANY} {held:?}");
            let more = bytes.saturating_sub(few_bytes);
            println!("memory: {:.2} MiB more", mib(more));
            ensure!(more <= GROWTH_MAX_BYTES, "{more} bytes more after {MANY} cycles than after {FEW}");
        }
    }
    let written: i64 = kafka.describe("cycles")?.iter().map(|partition| partition.end).sum();
    ensure!(written == i64::try_from(MANY * RECORDS)?, "{written} records are there, not {}", MANY * RECORDS);
    Ok(())
}

const RECORDS: usize = 3;

/// Creates a producer, sends a few records, and closes it. Every second producer uses this runtime instead of a thread
/// of its own. Every third one reports outcomes to callbacks. Every fifth one is dropped without a close.
async fn cycle(kafka: &Kafka, n: usize) -> Result<()> {
    let mut builder = Producer::builder().bootstrap_servers(kafka.bootstrap_servers().split(','));
    if n.is_multiple_of(2) {
        builder = builder.runtime(Handle::current());
    }
    let producer = builder.build().await?;
    let key = format!("key-{n}");
    let mut deliveries = Vec::new();
    for _ in 0..RECORDS {
        let record = Record::to("cycles").key(&key).value("a few bytes");
        match n.is_multiple_of(3) {
            true => producer.send_with(record, drop).await?,
            false => deliveries.push(producer.send(record).await?),
        }
    }
    if n.is_multiple_of(5) {
        let summary = producer.flush().await?;
        ensure!(summary.written == RECORDS as u64, "{summary}");
    } else {
        let summary = producer.close(Duration::from_secs(10)).await?;
        ensure!(summary.written == RECORDS as u64, "{summary}");
    }
    for delivery in deliveries {
        delivery.await?;
    }
    Ok(())
}

impl Held {
    fn now() -> Result<Self> {
        let tasks = Handle::current().metrics().num_alive_tasks();
        Ok(Self { descriptors: process::descriptors()?, threads: process::threads()?, tasks })
    }

    /// Waits until the resources are back at their level, for a while at most, because threads end a moment after their
    /// last action.
    fn settled(before: Self) -> Result<Self> {
        let waited = wait_until("producers have gone", Duration::from_secs(5), || {
            let held = Self::now()?;
            Ok((held == before).then_some(held))
        });
        waited.or_else(|_| Self::now())
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown to two digits")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB as f64
}
