//! krafka by `enqueue`, its pipelined call. One task awaits the handles.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use bytes::Bytes;
use clap::Parser;
use krafka::producer::{Acks, DeliveryHandle};
use krafka::{Compression, Kafka, Record};
use kurier_bench::{Meter, Pace, Payload, Workload};
use kurier_bench_peers::Outcomes;

#[tokio::main]
async fn main() -> Result<()> {
    let workload = Workload::parse();
    let mut payload = Payload::new(&workload)?;
    let kafka = Kafka::builder(workload.bootstrap.clone()).client_id("bench").connect().await?;
    let acks = match &workload.acks[..] {
        "0" => Acks::None,
        "1" => Acks::Leader,
        _ => Acks::All,
    };
    let compression = match &workload.compression[..] {
        "none" => Compression::None,
        "gzip" => Compression::Gzip,
        "snappy" => Compression::Snappy,
        "lz4" => Compression::Lz4,
        "zstd" => Compression::Zstd,
        other => bail!("--compression {other} is unknown"),
    };
    let producer = kafka
        .producer()
        .acks(acks)
        .compression(compression)
        .linger(Duration::from_millis(workload.linger_ms))
        .batch_size(workload.batch_size)
        .buffer_memory(workload.buffer)
        .idempotent(workload.idempotence == 1)
        .build()
        .await?;
    let meter = Meter::start()?;
    let mut pace = Pace::new(workload.rate);
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<(Instant, DeliveryHandle)>(100_000);
    let waiter = tokio::spawn(async move {
        let outcomes = Outcomes::default();
        while let Some((sent, delivery)) = receiver.recv().await {
            outcomes.add(delivery.await.is_ok().then(|| sent.elapsed()));
        }
        outcomes
    });
    for number in 0..workload.records {
        // Blocks the main thread, which is none of the runtime's workers.
        pace.sleep(number);
        let mut record = Record::new(workload.topic.as_str(), Bytes::copy_from_slice(payload.next_value()));
        if let Some(key) = workload.key(number) {
            record = record.key(Bytes::copy_from_slice(&key));
        }
        let sent = Instant::now();
        sender.send((sent, producer.enqueue(record).await?)).await?;
    }
    drop(sender);
    waiter.await?.report(meter, "krafka", &workload)
}
