//! `kurier capture` between the Java console producer and real Kafka: all traffic passes, the file can be read, and
//! `kurier replay` to another topic gives the same records.

use std::fs::{self, File};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use kurier_e2e::command::binary;
use kurier_e2e::java::run;
use kurier_e2e::kafka::Kafka;
use kurier_e2e::relay::Relay;
use kurier_e2e::testdata;
use serde_json::Value;

const PARTITIONS: i32 = 6;

pub(crate) fn relay(kafka: &Kafka) -> Result<()> {
    let topics = ["through", "again"].map(|name| format!("{name}-{}", std::process::id()));
    let [through, again] = &topics;
    let replicas = kafka.nodes(kafka.bootstrap_servers())?.len().min(3);
    for topic in &topics {
        kafka.create_topic(topic, PARTITIONS, replicas, &[])?;
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("captured.pcap");
    let upstream = kafka.bootstrap_servers().split(',').next().context("no server")?;
    let relay = Relay::start(upstream, &file)?;

    let events = testdata("events.txt");
    let mut producer = kafka.console_producer(relay.address(), through);
    run(producer.stdin(File::open(&events)?), "apt-get install openjdk-17-jre-headless")?;
    relay.end()?;

    let decoded = run(Command::new(binary()?).arg("decode").arg(&file), "it is built by this test")?;
    let decoded = String::from_utf8(decoded.stdout)?;
    let frames = decoded.lines().map(str::parse).collect::<Result<Vec<Value>, _>>()?;
    let unread = frames.iter().filter(|frame| frame.get("body").is_none()).count();
    let mut replay = Command::new(binary()?);
    replay.arg("replay").arg(&file).args(["-b", kafka.bootstrap_servers(), "-t", again]);
    run(&mut replay, "it is built by this test")?;

    let lines = fs::read_to_string(&events)?.lines().count();
    let [through_kafka, replayed] = topics.each_ref().map(|topic| kafka.read_by_java(topic));
    let (through_kafka, replayed) = (through_kafka?, replayed?);
    println!(
        "the console producer's {lines} lines: {} frames captured, {unread} unread; {} records through, {} replayed",
        frames.len(),
        through_kafka.len(),
        replayed.len()
    );
    ensure!(!frames.is_empty() && unread == 0, "frames that cannot be read");
    ensure!(through_kafka.len() == lines, "lines are lost, or doubled");
    // One producer wrote each topic batch by batch, so the offsets are the same too.
    ensure!(through_kafka == replayed, "other records than were captured");
    kafka.delete_topics(&[through, again])
}
