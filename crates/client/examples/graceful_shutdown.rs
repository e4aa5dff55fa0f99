//! A service that sends until Ctrl-C, and then loses nothing: what cannot be delivered in time comes back to be kept.
//!
//! `cargo run -p kurier --example graceful_shutdown -- HOST:PORT TOPIC`; without arguments, against a broker in memory.

#![expect(clippy::print_stdout, reason = "that is what an example is for")]

use std::error::Error;
use std::time::Duration;

use kurier::{Producer, Record, Written};
use kurier_broker::Broker;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    // Kept until the end: dropped, the broker stops.
    let broker;
    let servers = match arguments.next() {
        Some(servers) => servers,
        None => {
            broker = Broker::start().await?;
            broker.bootstrap_servers()
        }
    };
    let topic = arguments.next().unwrap_or_else(|| "ticks".to_owned());

    let producer = Producer::builder().bootstrap_servers(servers.split(',')).build().await?;
    eprintln!("sending to {topic}; Ctrl-C ends it");
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let mut stop = std::pin::pin!(tokio::signal::ctrl_c());
    for number in 0u64.. {
        tokio::select! {
            _ = ticks.tick() => {
                let value = format!("tick {number}");
                producer.send(Record::to(&topic).value(value)).await?.on_complete(|result| {
                    if let Err(error) = result {
                        eprintln!("{error}");
                    }
                });
            }
            stopped = &mut stop => {
                stopped?;
                break;
            }
        }
    }

    // No more is accepted; what was, has ten seconds.
    match producer.close(Duration::from_secs(10)).await {
        Ok(summary) => eprintln!("{summary}"),
        Err(unfinished) => {
            eprintln!("{unfinished}");
            for record in unfinished {
                // To a file, or to standard output, to be sent again: at once what was not written, and what may have been
                // only where twice is better than never.
                let value = record.value.unwrap_or_default();
                let fate = if record.written == Written::No { "not written" } else { "unknown" };
                println!("{fate}\t{}\t{}", record.partition, String::from_utf8_lossy(&value));
            }
        }
    }
    Ok(())
}
