//! librdkafka by the crate rdkafka. `--api base` (the default) polls a `BaseProducer` from the thread that sends, as C
//! programs do; `--api future` awaits the futures of `FutureProducer`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Parser;
use kurier_bench::{Meter, Pace, Payload, Workload};
use kurier_bench_peers::Outcomes;
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryFuture, FutureProducer, FutureRecord, Producer, ProducerContext,
};
use tokio::sync::mpsc;

const QUEUE_FULL: RDKafkaErrorCode = RDKafkaErrorCode::QueueFull;

fn main() -> Result<()> {
    let workload = Workload::parse();
    let payload = Payload::new(&workload)?;
    match &workload.api[..] {
        "base" | "" => base(&workload, payload),
        "future" => tokio::runtime::Runtime::new()?.block_on(future(&workload, payload)),
        other => bail!("--api {other} is unknown: use base or future"),
    }
}

fn config(workload: &Workload) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (key, value) in workload.settings() {
        match key {
            "buffer.memory" => config.set("queue.buffering.max.kbytes", (workload.buffer / 1024).to_string()),
            _ => config.set(key, value),
        };
    }
    config.set("queue.buffering.max.messages", "10000000");
    config
}

struct Context {
    outcomes: Outcomes,
    epoch: Instant,
}

#[derive(Clone)]
struct Shared(Arc<Context>);

impl ClientContext for Shared {}

impl ProducerContext for Shared {
    /// Microseconds from the epoch to the send.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, sent_us: usize) {
        let latency = || self.0.epoch.elapsed().saturating_sub(Duration::from_micros(sent_us as u64));
        self.0.outcomes.add(result.as_ref().ok().map(|_| latency()));
    }
}

fn base(workload: &Workload, mut payload: Payload) -> Result<()> {
    let shared = Shared(Arc::new(Context { outcomes: Outcomes::default(), epoch: Instant::now() }));
    let producer: BaseProducer<Shared> = config(workload).create_with_context(shared.clone())?;
    producer.client().fetch_metadata(Some(&workload.topic), Duration::from_secs(10))?;
    let meter = Meter::start()?;
    let mut pace = Pace::new(workload.rate);
    for number in 0..workload.records {
        while let Some(wait) = pace.wait(number) {
            producer.poll(wait);
        }
        let key = workload.key(number);
        let value = payload.next_value();
        loop {
            let sent_us = usize::try_from(shared.0.epoch.elapsed().as_micros())?;
            let record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&workload.topic, sent_us).payload(value);
            let record = match &key {
                Some(key) => record.key(&key[..]),
                None => record,
            };
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(QUEUE_FULL), _)) => producer.poll(Duration::from_millis(1)),
                Err((error, _)) => return Err(error.into()),
            };
        }
        if number % 64 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(Duration::from_secs(120))?;
    shared.0.outcomes.report(meter, "librdkafka", workload)
}

async fn future(workload: &Workload, mut payload: Payload) -> Result<()> {
    let producer: FutureProducer = config(workload).create()?;
    producer.client().fetch_metadata(Some(&workload.topic), Duration::from_secs(10))?;
    let meter = Meter::start()?;
    let mut pace = Pace::new(workload.rate);
    let (sender, mut receiver) = mpsc::channel::<(Instant, DeliveryFuture)>(100_000);
    let waiter = tokio::spawn(async move {
        let outcomes = Outcomes::default();
        while let Some((sent, delivery)) = receiver.recv().await {
            outcomes.add(matches!(delivery.await, Ok(Ok(_))).then(|| sent.elapsed()));
        }
        outcomes
    });
    for number in 0..workload.records {
        pace.sleep(number);
        let key = workload.key(number);
        let mut record = FutureRecord::<[u8], [u8]>::to(&workload.topic).payload(payload.next_value());
        if let Some(key) = &key {
            record = record.key(&key[..]);
        }
        let sent = Instant::now();
        let delivery = loop {
            match producer.send_result(record) {
                Ok(delivery) => break delivery,
                Err((KafkaError::MessageProduction(QUEUE_FULL), back)) => {
                    record = back;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err((error, _)) => return Err(error.into()),
            }
        };
        sender.send((sent, delivery)).await?;
    }
    drop(sender);
    waiter.await?.report(meter, "rdkafka future", workload)
}
