//! Sends records to the sink, so that a tool can count the producer's instructions per record.
//!
//! `record_path RECORDS` sends that many records of 100 bytes, rounded up to whole batches. `make bench-instructions`
//! runs it twice, with different numbers, so that start and end cancel out.
//!
//! The work is the same in every run: no batch becomes full or old, so each `flush` closes exactly one batch, of
//! [`BATCH`] records, in a request of its own. A record passes the partitioner, the accumulator, the core, the driver
//! and its `Delivery`. The sink runs in a process of its own, which the tool does not count. Time in the kernel does not
//! count either.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kurier::{Producer, TopicProducer};
use kurier_bench::SinkProcess;

/// Size of each value.
const VALUE_BYTES: usize = 100;

/// Records per batch: about the default `batch.size`, 16 KiB.
const BATCH: u64 = 150;

const TOPIC: &str = "records";

fn main() -> Result<()> {
    let records: u64 = std::env::args().nth(1).context("usage: record_path RECORDS")?.parse()?;
    let sink = SinkProcess::start(&[])?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(send(records.div_ceil(BATCH), &sink.address))
}

async fn send(batches: u64, servers: &str) -> Result<()> {
    let producer = Producer::builder()
        .bootstrap_servers([servers])
        // Only `flush` closes a batch.
        .set("batch.size", "1048576")
        .set("linger.ms", "60000")
        .build()
        .await?;
    let topic = producer.topic(TOPIC).await?;
    let values = values();
    for _ in 0..batches {
        send_batch(&producer, &topic, &values).await?;
    }
    let summary = producer.close(Duration::from_secs(60)).await?;
    ensure!(summary.written == batches * BATCH, "{summary}");
    Ok(())
}

/// Sends one batch and waits for the outcome of each of its records.
async fn send_batch(producer: &Producer, topic: &TopicProducer, values: &[Vec<u8>]) -> Result<()> {
    let mut deliveries = Vec::with_capacity(values.len());
    for value in values {
        deliveries.push(topic.send(topic.record().value(&value[..])).await?);
    }
    producer.flush().await?;
    for delivery in deliveries {
        delivery.await?;
    }
    Ok(())
}

/// Returns the values of a batch. Without compression their content does not matter.
fn values() -> Vec<Vec<u8>> {
    (0..BATCH).map(|number| number.to_be_bytes().iter().copied().cycle().take(VALUE_BYTES).collect()).collect()
}
