//! Sends one record to each of many topics, and shows that the producer's memory does not grow with their number.
//!
//! The broker keeps all topics in memory, so it runs in a process of its own: this program again, with the argument
//! `broker`. Topics are forgotten after `metadata.max.idle.ms`, here its minimum. The program fails if the peak memory
//! of the producer's process, which is more than the producer, exceeds `buffer.memory` plus 32 MB.
//!
//! ```text
//! cargo run -p kurier --features internal --example many_topics -- 100000
//! ```

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a program that prints figures and takes time")]

use std::error::Error;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kurier::{Producer, Record};
use kurier_broker::Broker;

const BUFFER_MEMORY: usize = 32 * 1024 * 1024;
const ALLOWANCE: usize = 32 * 1024 * 1024;
const MAX_IDLE: Duration = Duration::from_secs(5);

/// Records in flight at a time.
const AT_ONCE: usize = 100;

/// Number of topics between two progress lines.
const REPORT_EVERY: usize = 5_000;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("broker") => serve().await,
        count => produce(count.unwrap_or("100000").parse()?).await,
    }
}

/// Runs a broker until standard input ends.
async fn serve() -> Result<()> {
    let broker = Broker::builder().auto_create_topics(true, 1).start().await?;
    println!("{}", broker.bootstrap_servers());
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}

async fn produce(topics: usize) -> Result<()> {
    let mut broker =
        Command::new(std::env::current_exe()?).arg("broker").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut servers = String::new();
    let output = broker.stdout.take().ok_or("the broker has no output")?;
    BufReader::new(output).read_line(&mut servers)?;
    let result = send_to_each(topics, servers.trim()).await;
    // The broker ends with its standard input.
    drop(broker.stdin.take());
    broker.wait()?;
    result
}

async fn send_to_each(topics: usize, servers: &str) -> Result<()> {
    let producer = Producer::builder()
        .bootstrap_servers(servers.split(','))
        .set("buffer.memory", &BUFFER_MEMORY.to_string())
        .set("metadata.max.idle.ms", &MAX_IDLE.as_millis().to_string())
        .set("linger.ms", "0")
        .build()
        .await?;
    let limit = BUFFER_MEMORY + ALLOWANCE;
    println!("{topics} topics; buffer.memory {} MB, metadata.max.idle.ms {}", mb(BUFFER_MEMORY), MAX_IDLE.as_millis());
    println!("{:>8} {:>10} {:>12} {:>9} {:>9}", "seconds", "topics", "known", "RSS MB", "peak MB");
    let started = Instant::now();
    let mut most_known = 0;
    for first in (0..topics).step_by(AT_ONCE) {
        let sends = (first..topics.min(first + AT_ONCE)).map(|number| {
            let producer = producer.clone();
            async move {
                let topic = format!("events-of-customer-{number}");
                producer.deliver(Record::to(&topic).value("one record")).await
            }
        });
        let mut sent = tokio::task::JoinSet::new();
        sends.for_each(|send| drop(sent.spawn(send)));
        while let Some(written) = sent.join_next().await {
            written??;
        }
        let done = topics.min(first + AT_ONCE);
        if done.is_multiple_of(REPORT_EVERY) || done == topics {
            let known = producer.known_partitions();
            most_known = most_known.max(known);
            let (rss, peak) = (memory("VmRSS:")?, memory("VmHWM:")?);
            let seconds = started.elapsed().as_secs_f64();
            println!("{seconds:>8.1} {done:>10} {known:>12} {:>9} {:>9}", mb(rss), mb(peak));
        }
    }
    // Use the first topic again.
    producer.deliver(Record::to("events-of-customer-0").value("another record")).await?;
    let summary = producer.close(Duration::from_secs(60)).await?;
    let peak = memory("VmHWM:")?;
    println!(
        "{} records written in {:.1} s; at most {most_known} topics known at a time; peak {} MB of {} MB",
        summary.written,
        started.elapsed().as_secs_f64(),
        mb(peak),
        mb(limit)
    );
    if summary.written != topics as u64 + 1 {
        return Err(format!("{summary:?}, and not {} written", topics + 1).into());
    }
    if peak > limit {
        return Err(format!("the process took {} MB, and {} MB are allowed", mb(peak), mb(limit)).into());
    }
    Ok(())
}

fn mb(bytes: usize) -> usize {
    bytes / (1024 * 1024)
}

/// Returns a memory figure of this process in bytes, from Linux.
fn memory(name: &str) -> Result<usize> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let figure = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = figure.and_then(|rest| rest.trim().strip_suffix(" kB")).ok_or("no figures of this process")?;
    Ok(kilobytes.parse::<usize>()? * 1024)
}
