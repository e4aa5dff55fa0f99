//! Kurier as a library, in a loop that does nothing else.
//!
//! `--api` names the call: `send` drops each `Delivery`, `name` sends by the topic's name, `headers` adds two headers,
//! `await` waits for each outcome in the order of the records, `post` makes no `Delivery`, and `post_all` sends runs of
//! values without keys. `--threads` divides the records among threads that share the producer. No latency is measured.

use std::collections::VecDeque;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::Parser;
use kurier::{Delivery, Part, Producer, Record, TopicProducer};
use kurier_bench::{Latencies, Meter, Pace, Payload, Workload};
use tokio::runtime::{Builder, Runtime};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    workload: Workload,
    /// Threads that send, each an equal share of the records.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    threads: u32,
}

/// A record with a value, and with a key if the workload has keys.
type FullRecord<'a> = Record<'a, Part<&'a [u8]>, Part<&'a [u8]>>;

fn main() -> Result<()> {
    let Arguments { workload, threads } = Arguments::parse();
    let runtime = new_runtime()?;
    let mut builder = Producer::builder();
    for (key, value) in workload.settings() {
        builder = builder.set(key, &value);
    }
    let producer = runtime.block_on(builder.build())?;
    let topic = runtime.block_on(producer.topic(&workload.topic))?;
    let shares = (0..threads).map(|thread| Share::new(&workload, thread, threads));
    let mut shares = shares.collect::<Result<Vec<_>>>()?.into_iter();
    let meter = Meter::start()?;
    let send = |share: Share<'_>| new_runtime()?.block_on(share.send(&producer, &topic));
    thread::scope(|scope| {
        let own = shares.next();
        #[expect(clippy::needless_collect, reason = "the others start before this thread sends")]
        let others: Vec<_> = shares.map(|share| scope.spawn(|| send(share))).collect();
        own.map_or(Ok(()), send)?;
        others.into_iter().try_for_each(|other| other.join().unwrap_or_else(|_| bail!("a thread panicked")))
    })?;
    let summary = runtime.block_on(producer.close(Duration::from_secs(120)))?;
    ensure!(summary.written == workload.records, "{summary}");
    let peer = format!("kurier {}", if workload.api.is_empty() { "send" } else { &workload.api });
    meter.report(&peer, &workload, summary.written, summary.failed(), &Latencies::default())
}

fn new_runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// The records that one thread sends.
struct Share<'a> {
    workload: &'a Workload,
    /// Number of the first record.
    first: u64,
    records: u64,
    payload: Payload,
    pace: Pace,
}

impl<'a> Share<'a> {
    fn new(workload: &'a Workload, thread: u32, threads: u32) -> Result<Self> {
        let until = |thread: u32| workload.records * u64::from(thread) / u64::from(threads);
        let first = until(thread);
        let records = until(thread + 1) - first;
        let pace = Pace::new(workload.rate / f64::from(threads));
        Ok(Self { workload, first, records, payload: Payload::new(workload)?, pace })
    }

    async fn send(mut self, producer: &Producer, topic: &TopicProducer) -> Result<()> {
        let workload = self.workload;
        match &workload.api[..] {
            "send" | "" => self.each(async |record| Ok(topic.send(record).await.map(Delivery::forget)?)).await,
            "name" => self.each(async |record| Ok(producer.send(record).await.map(Delivery::forget)?)).await,
            "headers" => {
                let send = async |record: FullRecord<'_>| {
                    topic.send(record.header("trace", "ab12").header("source", "bench")).await?.forget();
                    Ok(())
                };
                self.each(send).await
            }
            "await" => self.send_and_await(topic).await,
            "post" => self.each(async |record| Ok(topic.post(record).await?)).await,
            "post_all" => self.post_all(topic).await,
            other => bail!("--api {other} is unknown: use send, name, headers, await, post or post_all"),
        }
    }

    /// Makes each record when it is due, and calls `send` with it.
    async fn each(&mut self, mut send: impl AsyncFnMut(FullRecord<'_>) -> Result<()>) -> Result<()> {
        for number in 0..self.records {
            self.pace.sleep(number);
            let key = self.workload.key(self.first + number);
            let record = Record::to(&self.workload.topic).value(self.payload.next_value());
            send(record.nullable_key(key.as_ref().map(|key| &key[..]))).await?;
        }
        Ok(())
    }

    async fn send_and_await(&mut self, topic: &TopicProducer) -> Result<()> {
        /// Deliveries that may be open: enough that the first of them has its outcome.
        const OPEN_MAX: usize = 100_000;
        let mut open: VecDeque<Delivery> = VecDeque::new();
        self.each(async |record| {
            open.push_back(topic.send(record).await?);
            if open.len() >= OPEN_MAX
                && let Some(first) = open.pop_front()
            {
                first.await?;
            }
            Ok(())
        })
        .await?;
        for delivery in open {
            delivery.await?;
        }
        Ok(())
    }

    async fn post_all(&mut self, topic: &TopicProducer) -> Result<()> {
        /// Values of a call: as many as one lock covers.
        const RUN: u64 = 64;
        let mut number = 0;
        while number < self.records {
            self.pace.sleep(number);
            let count = RUN.min(self.records - number);
            topic.post_all(&mut &self.payload.next_values(usize::try_from(count)?)[..]).await?;
            number += count;
        }
        Ok(())
    }
}
