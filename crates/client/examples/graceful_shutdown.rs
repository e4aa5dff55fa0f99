//! Service that sends until Ctrl-C and loses no record: records that cannot be delivered in time are returned.
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
    // Kept until the end, because dropping it stops the broker.
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
                        eprintln!("{error:#}");
                    }
                });
            }
            stopped = &mut stop => {
                stopped?;
                break;
            }
        }
    }

    // Accepts no more records. Those accepted have ten seconds.
    match producer.close(Duration::from_secs(10)).await {
        Ok(summary) => eprintln!("{summary}"),
        Err(unfinished) => {
            eprintln!("{unfinished:#}");
            for record in unfinished {
                // Write them to a file or standard output, to send them again. Resend records that were not written at
                // once; resend those that may be written only if duplicates are better than losses.
                let value = record.value.unwrap_or_default();
                let fate = if record.written == Written::No { "not written" } else { "unknown" };
                println!("{fate}\t{}\t{}", record.partition, String::from_utf8_lossy(&value));
            }
        }
    }
    Ok(())
}
