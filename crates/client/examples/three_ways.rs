//! Three ways to send a record: forget it, wait for its partition and offset, or take a callback.
//!
//! `cargo run -p kurier --example three_ways -- HOST:PORT TOPIC`; without arguments, against a broker in memory.

#![expect(clippy::print_stdout, reason = "that is what an example is for")]

use std::error::Error;
use std::time::Duration;

use kurier::{Producer, Record};
use kurier_broker::Broker;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    // Kept until the end, because dropping it stops the broker.
    let broker;
    let servers = match arguments.next() {
        Some(servers) => servers,
        None => {
            broker = Broker::start().await?;
            broker.bootstrap_servers()
        }
    };
    let topic = arguments.next().unwrap_or_else(|| "greetings".to_owned());

    let producer = Producer::builder().bootstrap_servers(servers.split(',')).build().await?;
    let record = |value| Record::to(&topic).key("customer-7").value(value);

    // `send` returns when the producer has accepted the record. The producer delivers it, and nobody waits for the outcome.
    producer.send(record("forgotten")).await?.forget();

    // The first await waits for room, the second for the outcome.
    let metadata = producer.send(record("awaited")).await?.await?;
    println!("awaited: partition {}, offset {:?}", metadata.partition(), metadata.offset());

    // Callbacks run in the order of the records, on a thread that does nothing else.
    let callback = |result: Result<kurier::RecordMetadata, kurier::Error>| match result {
        Ok(metadata) => println!("callback: partition {}, offset {:?}", metadata.partition(), metadata.offset()),
        Err(error) => println!("callback: {error:#}"),
    };
    producer.send_with(record("called back"), callback).await?;

    let summary = producer.close(Duration::from_secs(30)).await?;
    println!("{summary}");
    Ok(())
}
