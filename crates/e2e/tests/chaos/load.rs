//! A steady load from one of our producers, which uses only the public crate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use kurier::{Producer, ProducerBuilder, Record};
use kurier_e2e::clock::{now, sleep_until};
use tokio::runtime::Handle;

use crate::ledger::Ledger;
use crate::payload::{self, Payload};

const TICKS_PER_SECOND: u32 = 100;

/// A load of records at a fixed rate until stopped.
pub(crate) struct Load {
    runtime: Handle,
    producer: Producer,
    pub(crate) ledger: Arc<Ledger>,
    is_to_stop: Arc<AtomicBool>,
    feeder: JoinHandle<Duration>,
}

impl Load {
    /// Creates the producer and begins. Every `large_every`th record is large.
    pub(crate) fn start(
        runtime: &Handle,
        builder: ProducerBuilder,
        topic: &str,
        partitions: usize,
        number: usize,
        records_per_second: u32,
        large_every: Option<usize>,
    ) -> Result<Self> {
        let producer = runtime.block_on(builder.build())?;
        let ledger = Arc::new(Ledger::new(number, partitions));
        let is_to_stop = Arc::new(AtomicBool::new(false));
        let feeder = Feeder {
            runtime: runtime.clone(),
            producer: producer.clone(),
            topic: topic.to_owned(),
            partitions,
            large_every,
            ledger: Arc::clone(&ledger),
            is_to_stop: Arc::clone(&is_to_stop),
        };
        let feeder = thread::spawn(move || feeder.run(records_per_second));
        Ok(Self { runtime: runtime.clone(), producer, ledger, is_to_stop, feeder })
    }

    /// Stops the load and waits for every outcome. Returns the load's largest delay.
    pub(crate) fn stop(self) -> Result<(Arc<Ledger>, Duration)> {
        self.is_to_stop.store(true, Ordering::Relaxed);
        let late = self.feeder.join().map_err(|_| anyhow!("the feeder panicked"))?;
        // Longer than delivery.timeout.ms, so no record may be left.
        let closed = self.runtime.block_on(self.producer.close(Duration::from_secs(130)));
        closed.context("the producer was not done after delivery.timeout.ms")?;
        Ok((self.ledger, late))
    }
}

struct Feeder {
    runtime: Handle,
    producer: Producer,
    topic: String,
    partitions: usize,
    large_every: Option<usize>,
    ledger: Arc<Ledger>,
    is_to_stop: Arc<AtomicBool>,
}

impl Feeder {
    /// Sends until stopped. Returns the largest delay, while the producer accepted no records.
    fn run(&self, records_per_second: u32) -> Duration {
        let a_tick = records_per_second / TICKS_PER_SECOND;
        let (start, mut late) = (now(), Duration::ZERO);
        for tick in 0.. {
            let due = start + Duration::from_secs(1) * tick / TICKS_PER_SECOND;
            sleep_until(due);
            if self.is_to_stop.load(Ordering::Relaxed) {
                break;
            }
            (0..a_tick).for_each(|_| self.send());
            late = late.max(due.elapsed());
        }
        late
    }

    fn send(&self) {
        let producer = self.ledger.producer();
        let (counter, partition, value) = self.ledger.give(|counter| {
            let partition = payload::partition(counter, self.partitions);
            let is_large = self.large_every.is_some_and(|every| counter.is_multiple_of(every));
            (partition, Payload { topic: self.topic.clone(), partition, producer, counter }.value(is_large))
        });
        let ledger = Arc::clone(&self.ledger);
        let tell = move |result| ledger.resolve(counter, &result);
        let record = Record::to(&self.topic).nullable_key(payload::key(counter)).value(value);
        let record = if counter.is_multiple_of(2) { record } else { record.partition(partition) };
        if let Err(error) = self.runtime.block_on(self.producer.send_with(record, tell)) {
            self.ledger.refuse(counter, &error);
        }
    }
}
