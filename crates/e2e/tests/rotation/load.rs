//! A steady load of numbered records, and the check of what arrived.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use kurier::{Producer, ProducerBuilder, Record};
use kurier_e2e::clock::{now, sleep_until};
use kurier_e2e::kafka::Kafka;
use tokio::runtime::Handle;

const TICKS_PER_SECOND: u32 = 100;

/// Partitions of each topic.
pub(crate) const PARTITIONS: i32 = 6;

/// A running load.
pub(crate) struct Load {
    pub(crate) topic: &'static str,
    pub(crate) producer: Producer,
    runtime: Handle,
    outcomes: Arc<Outcomes>,
    is_to_stop: Arc<AtomicBool>,
    feeder: JoinHandle<Result<u64>>,
}

#[derive(Debug, Default)]
struct Outcomes {
    acknowledged: AtomicU64,
    failures: Mutex<Vec<String>>,
    slowest: Mutex<Duration>,
}

/// The result of a load.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) records: u64,
    pub(crate) failures: Vec<String>,
    pub(crate) slowest: Duration,
}

impl Load {
    /// Creates the producer and begins.
    pub(crate) fn start(
        runtime: &Handle,
        builder: ProducerBuilder,
        topic: &'static str,
        records_per_second: u32,
    ) -> Result<Self> {
        let producer = runtime.block_on(builder.client_id(topic).build())?;
        let (outcomes, is_to_stop) = (Arc::<Outcomes>::default(), Arc::new(AtomicBool::new(false)));
        let feeder = Feeder {
            topic,
            producer: producer.clone(),
            runtime: runtime.clone(),
            outcomes: Arc::clone(&outcomes),
            is_to_stop: Arc::clone(&is_to_stop),
        };
        let feeder = thread::spawn(move || feeder.run(records_per_second));
        Ok(Self { topic, producer, runtime: runtime.clone(), outcomes, is_to_stop, feeder })
    }

    /// Stops the load and waits for every outcome.
    pub(crate) fn stop(self) -> Result<Sent> {
        self.is_to_stop.store(true, Ordering::Relaxed);
        let sent = self.feeder.join().map_err(|_| anyhow!("the feeder panicked"))??;
        let closed = self.runtime.block_on(self.producer.close(Duration::from_secs(130)));
        closed.with_context(|| format!("{}: the producer was not done after delivery.timeout.ms", self.topic))?;
        let failures = self.outcomes.failures.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let slowest = *self.outcomes.slowest.lock().unwrap_or_else(PoisonError::into_inner);
        let acknowledged = self.outcomes.acknowledged.load(Ordering::Relaxed);
        ensure!(acknowledged + failures.len() as u64 == sent, "{sent} sent, {acknowledged} acknowledged");
        Ok(Sent { records: sent, failures, slowest })
    }
}

struct Feeder {
    topic: &'static str,
    producer: Producer,
    runtime: Handle,
    outcomes: Arc<Outcomes>,
    is_to_stop: Arc<AtomicBool>,
}

impl Feeder {
    /// Sends until stopped, and returns the number of records.
    fn run(&self, records_per_second: u32) -> Result<u64> {
        let (start, mut number) = (now(), 0);
        for tick in 0.. {
            sleep_until(start + Duration::from_secs(1) * tick / TICKS_PER_SECOND);
            if self.is_to_stop.load(Ordering::Relaxed) {
                break;
            }
            for _ in 0..records_per_second / TICKS_PER_SECOND {
                self.send(number)?;
                number += 1;
            }
        }
        Ok(number)
    }

    fn send(&self, number: u64) -> Result<()> {
        let partition = i32::try_from(number % u64::try_from(PARTITIONS)?)?;
        let record = Record::to(self.topic).partition(partition).value(number.to_string());
        let (outcomes, since) = (Arc::clone(&self.outcomes), now());
        let tell = move |result: Result<_, kurier::Error>| outcomes.note(number, since, result.err());
        if let Err(error) = self.runtime.block_on(self.producer.send_with(record, tell)) {
            self.outcomes.note(number, since, Some(error));
        }
        Ok(())
    }
}

impl Outcomes {
    fn note(&self, number: u64, since: Instant, error: Option<kurier::Error>) {
        let mut slowest = self.slowest.lock().unwrap_or_else(PoisonError::into_inner);
        *slowest = since.elapsed().max(*slowest);
        match error {
            None => drop(self.acknowledged.fetch_add(1, Ordering::Relaxed)),
            Some(error) => {
                let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
                failures.push(format!("record {number}: {error:#}"));
            }
        }
    }
}

/// The records of a topic, as Java read them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct InLog {
    pub(crate) records: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) reordered: u64,
}

/// Reads a topic by Java. Each partition must have its numbers, each once, in ascending order.
pub(crate) fn read(kafka: &Kafka, topic: &str, sent: u64, folder: &Path) -> Result<InLog> {
    let file = folder.join(topic);
    kafka.save_by_java(topic, &file)?;
    let mut seen = vec![false; usize::try_from(sent)?];
    let mut last = vec![None; usize::try_from(PARTITIONS)?];
    let mut found = InLog::default();
    for line in BufReader::new(File::open(&file)?).lines() {
        let line = line?;
        let mut fields = line.split('\t');
        let partition: usize = fields.next().context("a partition")?.parse()?;
        let number: usize = fields.last().context("a value")?.parse()?;
        found.records += 1;
        let seen = seen.get_mut(number).with_context(|| format!("{topic}: nobody sent {number}"))?;
        found.doubled += u64::from(std::mem::replace(seen, true));
        let last = last.get_mut(partition).context("no such partition")?;
        found.reordered += u64::from(last.is_some_and(|last| last >= number));
        *last = Some(number);
    }
    found.lost = seen.iter().filter(|seen| !**seen).count() as u64;
    Ok(found)
}
