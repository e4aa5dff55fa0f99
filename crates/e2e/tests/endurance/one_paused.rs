//! One silent node of three: the other nodes' partitions must continue as before.
//!
//! The producer keeps records for the silent node's partitions until the node answers again. They would soon fill all
//! of `buffer.memory`. A producer that allows this lets every other partition starve. Ours gives a partition less
//! memory when less is free.
//!
//! The topic has one replica. With three replicas and `acks=all`, a leader with a silent follower acknowledges nothing
//! until it has removed the follower from the in-sync replicas (`replica.lag.time.max.ms`, 30 s by default). Kafka then
//! stops every partition for that time, whatever the producer does, and the test would have no rate to measure. With
//! one replica, a partition depends only on its own leader, and any slowdown is the producer's fault.
//!
//! The load models keys: each key has a sender of its own, which waits alone when its key has no room. The control uses
//! one sender for all keys. It blocks on the first key without room, and must fall below the mark.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kurier::{Producer, Record};
use kurier_e2e::clock::now;
use kurier_e2e::cluster::Cluster;
use kurier_e2e::kafka::Kafka;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::setting;

const NODES: i32 = 3;
/// If a node leads k partitions, each may use up to twice the free memory times the free share. Together they leave
/// about one part in √2k of `buffer.memory`; for k = 4 that is three tenths. `ENDURANCE_PARTITIONS` changes the number.
const PARTITIONS: usize = 12;
const KEYS_A_PARTITION: usize = 4;
const ROUNDS: usize = 5;

/// Rate for all keys together. A third of it fills the limit of one node's partitions, seven tenths of 32 MiB, in 3.6
/// s.
const RECORDS_PER_SECOND: usize = 19_200;
const VALUE_BYTES: usize = 1_000;
const TICK: Duration = Duration::from_millis(20);

/// The time until the silent node counts as dead, 6 s, twice.
const PAUSE: Duration = Duration::from_secs(12);
const BEFORE: Duration = Duration::from_secs(6);
const KEPT_MIN: f64 = 0.8;

/// Counts of all sends.
#[derive(Debug, Default)]
struct Tally {
    written: Vec<AtomicU64>,
    accepted: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    is_over: AtomicBool,
}

pub(crate) async fn one_paused(cluster: &mut Cluster) -> Result<()> {
    let partitions = setting("ENDURANCE_PARTITIONS", PARTITIONS)?;
    let topic = "one-paused";
    cluster.kafka().create_topic(topic, i32::try_from(partitions)?, 1, &[])?;
    let producer = producer(cluster.kafka()).await?;
    let keys = keys(&producer, topic, partitions).await?;
    println!(
        "{} keys, {RECORDS_PER_SECOND} records of {VALUE_BYTES} bytes a second, to {partitions} partitions",
        keys.len()
    );

    let tally = Arc::new(Tally::new(partitions));
    let mut senders = JoinSet::new();
    for key in &keys {
        senders.spawn(send(producer.clone(), topic, vec![key.clone()], keys.len(), Arc::clone(&tally)));
    }
    let mut kept = Vec::new();
    for round in 0..ROUNDS {
        let paused = i32::try_from(round)? % NODES;
        kept.push(measure(cluster, topic, paused, &tally).await.with_context(|| format!("round {round}"))?);
    }
    kept.sort_by(f64::total_cmp);
    let median = kept[ROUNDS / 2];
    println!(
        "the others kept {:.0} % of their rate in the median of {ROUNDS} rounds, {:.0} % at least",
        median * 100.0,
        kept[0] * 100.0
    );
    tally.is_over.store(true, Ordering::Relaxed);
    while let Some(ended) = senders.join_next().await {
        ended??;
    }
    let summary = producer.close(Duration::from_secs(60)).await?;
    let refused = tally.refused.load(Ordering::Relaxed);
    println!("{summary}, {refused} found no room within max.block.ms");
    ensure!(summary.failed() == 0, "records failed: {summary}");
    let there: i64 = cluster.kafka().describe(topic)?.iter().map(|partition| partition.end).sum();
    let written = i64::try_from(summary.written)?;
    ensure!(there == written, "{written} records were acknowledged, {there} are there");
    ensure!(median >= KEPT_MIN, "the others kept less than {:.0} % of their rate", KEPT_MIN * 100.0);
    cluster.kafka().delete_topics(&[topic])?;
    control(cluster, partitions).await
}

/// Runs one sender for all keys.
async fn control(cluster: &mut Cluster, partitions: usize) -> Result<()> {
    let topic = "one-paused-control";
    cluster.kafka().create_topic(topic, i32::try_from(partitions)?, 1, &[])?;
    let producer = producer(cluster.kafka()).await?;
    let keys = keys(&producer, topic, partitions).await?;
    let tally = Arc::new(Tally::new(partitions));
    let sender = tokio::spawn(send(producer.clone(), topic, keys, 1, Arc::clone(&tally)));
    let kept = measure(cluster, topic, 0, &tally).await?;
    tally.is_over.store(true, Ordering::Relaxed);
    sender.await??;
    producer.close(Duration::from_secs(60)).await?;
    println!("control: with one sender for all keys, the others kept {:.0} %", kept * 100.0);
    ensure!(kept < KEPT_MIN, "who waits for room for one key kept up with all others: this test would not notice");
    Ok(())
}

async fn producer(kafka: &Kafka) -> Result<Producer> {
    Ok(Producer::builder().bootstrap_servers(kafka.bootstrap_servers().split(',')).build().await?)
}

/// Returns an equal number of keys for each partition.
async fn keys(producer: &Producer, topic: &str, partitions: usize) -> Result<Vec<String>> {
    let mut keys = vec![Vec::new(); partitions];
    for n in 0..partitions * KEYS_A_PARTITION * 10 {
        let key = format!("key-{n}");
        let metadata = producer.deliver(Record::to(topic).key(&key).value("first")).await?;
        keys[usize::try_from(metadata.partition())?].push(key);
        if keys.iter().all(|keys| keys.len() >= KEYS_A_PARTITION) {
            break;
        }
    }
    keys.iter_mut().for_each(|keys| keys.truncate(KEYS_A_PARTITION));
    let keys = keys.concat();
    ensure!(keys.len() == partitions * KEYS_A_PARTITION, "keys spread: {keys:?}");
    Ok(keys)
}

/// Sends its share of all records, one key after another. After a wait, it does not catch up.
async fn send(producer: Producer, topic: &str, keys: Vec<String>, senders: usize, tally: Arc<Tally>) -> Result<()> {
    let ticks_a_second = 1_000 / TICK.as_millis();
    let a_tick = RECORDS_PER_SECOND / senders / usize::try_from(ticks_a_second)?;
    let value = vec![b'v'; VALUE_BYTES];
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut keys = keys.iter().cycle();
    while !tally.is_over.load(Ordering::Relaxed) {
        ticks.tick().await;
        for key in keys.by_ref().take(a_tick) {
            let Ok(delivery) = producer.send(Record::to(topic).key(key).value(&value)).await else {
                tally.refused.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            tally.accepted.fetch_add(1, Ordering::Relaxed);
            let tally = Arc::clone(&tally);
            delivery.on_complete(move |outcome| {
                let place = outcome.as_ref().ok().and_then(|metadata| usize::try_from(metadata.partition()).ok());
                match place.and_then(|partition| tally.written.get(partition)) {
                    Some(written) => written.fetch_add(1, Ordering::Relaxed),
                    None => tally.failed.fetch_add(1, Ordering::Relaxed),
                };
            });
        }
    }
    Ok(())
}

/// Returns the share of their rate that the other partitions keep while a node is silent.
async fn measure(cluster: &mut Cluster, topic: &str, paused: i32, tally: &Tally) -> Result<f64> {
    let led = cluster.kafka().describe(topic)?;
    let is_theirs = |partition: &&kurier_e2e::kafka::Partition| partition.leader != Some(paused);
    let theirs: BTreeSet<usize> =
        led.iter().filter(is_theirs).map(|one| usize::try_from(one.index)).collect::<Result<_, _>>()?;
    let its: BTreeSet<usize> = (0..led.len()).filter(|partition| !theirs.contains(partition)).collect();
    ensure!(!theirs.is_empty() && !its.is_empty(), "node {paused} leads some: {led:?}");
    let before = tally.rates(&[&theirs, &its], BEFORE).await;
    cluster.pause(paused)?;
    let during = tally.rates(&[&theirs, &its], PAUSE).await;
    cluster.resume(paused)?;
    let resumed = now();
    let owed = tally.owed();
    let kept = during[0] / before[0];
    println!(
        "node {paused} silent for {} s: others {:.0} before, {:.0} meanwhile, {:.0} %; its own {:.0} before, {:.0} meanwhile; {owed} unacknowledged",
        PAUSE.as_secs(),
        before[0],
        during[0],
        kept * 100.0,
        before[1],
        during[1],
    );
    // Wait until its partitions have their old rate again.
    let limit = Duration::from_secs(30);
    loop {
        let after = tally.rates(&[&its], Duration::from_millis(500)).await;
        if after[0] >= before[1] * KEPT_MIN && tally.owed() < owed / 10 {
            break;
        }
        ensure!(
            resumed.elapsed() < limit,
            "its partitions are at {:.0} records/s {} s after it goes on",
            after[0],
            limit.as_secs()
        );
    }
    println!("  its partitions as before {:.1} s after it goes on", resumed.elapsed().as_secs_f64());
    Ok(kept)
}

impl Tally {
    fn new(partitions: usize) -> Self {
        Self { written: (0..partitions).map(|_| AtomicU64::new(0)).collect(), ..Self::default() }
    }

    fn written(&self, partitions: &BTreeSet<usize>) -> u64 {
        partitions
            .iter()
            .filter_map(|partition| self.written.get(*partition))
            .map(|one| one.load(Ordering::Relaxed))
            .sum()
    }

    /// Returns the number of accepted records without an outcome.
    fn owed(&self) -> u64 {
        let written: u64 = self.written.iter().map(|one| one.load(Ordering::Relaxed)).sum();
        let over = written + self.failed.load(Ordering::Relaxed);
        self.accepted.load(Ordering::Relaxed).saturating_sub(over)
    }

    /// Measures the acknowledged records per second of each group from now on.
    async fn rates(&self, groups: &[&BTreeSet<usize>], duration: Duration) -> Vec<f64> {
        let (start, before) = (now(), groups.iter().map(|group| self.written(group)).collect::<Vec<_>>());
        sleep(duration).await;
        let seconds = start.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "counts of seconds")]
        let rate = |(group, before): (&&BTreeSet<usize>, u64)| (self.written(group) - before) as f64 / seconds;
        groups.iter().zip(before).map(rate).collect()
    }
}
