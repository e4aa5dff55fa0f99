//! Kurier as a library, in a loop that does nothing else.
//!
//! `--api` names the call: `send` drops each `Delivery`, `name` sends by the topic's name, `headers` adds two headers,
//! `await` waits for each outcome in the order of the records, `post` makes no `Delivery`, and `post_all` sends runs of
//! values without keys. No latency is measured.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::Parser;
use kurier::{Delivery, Producer, Record, TopicProducer};
use kurier_bench::{Latencies, Meter, Pace, Payload, Workload};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let workload = Workload::parse();
    let mut builder = Producer::builder();
    for (key, value) in workload.settings() {
        builder = builder.set(key, &value);
    }
    let producer = builder.build().await?;
    let topic = producer.topic(&workload.topic).await?;
    let mut run = Run { payload: Payload::new(&workload)?, pace: Pace::new(workload.rate), workload };
    let meter = Meter::start()?;
    match &run.workload.api[..] {
        "send" | "" => run.send(&topic).await?,
        "name" => run.send_by_name(&producer).await?,
        "headers" => run.send_with_headers(&topic).await?,
        "await" => run.send_and_await(&topic).await?,
        "post" => run.post(&topic).await?,
        "post_all" => run.post_all(&topic).await?,
        other => bail!("--api {other} is unknown: use send, name, headers, await, post or post_all"),
    }
    let summary = producer.close(Duration::from_secs(120)).await?;
    ensure!(summary.written == run.workload.records, "{summary}");
    let peer = format!("kurier {}", if run.workload.api.is_empty() { "send" } else { &run.workload.api });
    meter.report(&peer, &run.workload, summary.written, summary.failed(), &Latencies::default())
}

struct Run {
    workload: Workload,
    payload: Payload,
    pace: Pace,
}

impl Run {
    async fn send(&mut self, topic: &TopicProducer) -> Result<()> {
        for number in 0..self.workload.records {
            self.pace.sleep(number);
            let key = self.workload.key(number);
            let record = topic.record().value(self.payload.next_value()).nullable_key(key.as_ref().map(|key| &key[..]));
            topic.send(record).await?.forget();
        }
        Ok(())
    }

    async fn send_by_name(&mut self, producer: &Producer) -> Result<()> {
        for number in 0..self.workload.records {
            self.pace.sleep(number);
            let key = self.workload.key(number);
            let record = Record::to(&self.workload.topic).value(self.payload.next_value());
            producer.send(record.nullable_key(key.as_ref().map(|key| &key[..]))).await?.forget();
        }
        Ok(())
    }

    async fn send_with_headers(&mut self, topic: &TopicProducer) -> Result<()> {
        for number in 0..self.workload.records {
            self.pace.sleep(number);
            let key = self.workload.key(number);
            let record =
                topic.record().value(self.payload.next_value()).header("trace", "ab12").header("source", "bench");
            topic.send(record.nullable_key(key.as_ref().map(|key| &key[..]))).await?.forget();
        }
        Ok(())
    }

    async fn post(&mut self, topic: &TopicProducer) -> Result<()> {
        for number in 0..self.workload.records {
            self.pace.sleep(number);
            let key = self.workload.key(number);
            let record = topic.record().value(self.payload.next_value()).nullable_key(key.as_ref().map(|key| &key[..]));
            topic.post(record).await?;
        }
        Ok(())
    }

    async fn post_all(&mut self, topic: &TopicProducer) -> Result<()> {
        /// Values of a call: as many as one lock covers.
        const RUN: u64 = 64;
        let mut number = 0;
        while number < self.workload.records {
            self.pace.sleep(number);
            let count = RUN.min(self.workload.records - number);
            topic.post_all(&mut &self.payload.next_values(usize::try_from(count)?)[..]).await?;
            number += count;
        }
        Ok(())
    }

    async fn send_and_await(&mut self, topic: &TopicProducer) -> Result<()> {
        /// Deliveries that may be open: enough that the first of them has its outcome.
        const OPEN_MAX: usize = 100_000;
        let mut open: VecDeque<Delivery> = VecDeque::new();
        for number in 0..self.workload.records {
            self.pace.sleep(number);
            let key = self.workload.key(number);
            let record = topic.record().value(self.payload.next_value()).nullable_key(key.as_ref().map(|key| &key[..]));
            open.push_back(topic.send(record).await?);
            if open.len() >= OPEN_MAX
                && let Some(first) = open.pop_front()
            {
                first.await?;
            }
        }
        for delivery in open {
            delivery.await?;
        }
        Ok(())
    }
}
