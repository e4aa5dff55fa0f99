//! Between the Java console producer and real Kafka stands `kurier capture`: all goes through, the file can be read, and
//! `kurier replay` of it onto another topic gives the same records.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kurier_e2e::clock::wait_until;
use kurier_e2e::java::run;
use kurier_e2e::kafka::Kafka;
use kurier_e2e::testdata;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::kurier::binary;

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
    let mut capture = Command::new(binary()?);
    capture.args(["capture", "--listen", "127.0.0.1:0", "--upstream", upstream, "--out"]).arg(&file);
    let mut relay = Relay(capture.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?);
    let mut address = String::new();
    BufReader::new(relay.0.stdout.as_mut().context("it was given one")?).read_line(&mut address)?;

    let events = testdata("events.txt");
    let mut producer = kafka.console_producer(address.trim(), through);
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
    // One producer wrote each topic, batch after batch: the places are the same, too.
    ensure!(through_kafka == replayed, "other records than were captured");
    kafka.delete_topics(&[through, again])
}

/// A running `kurier capture`. It ends when dropped.
struct Relay(Child);

impl Relay {
    /// Ends it as a user does.
    fn end(&mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.0), Signal::INT)?;
        let status = wait_until("kurier capture ended", Duration::from_secs(10), || Ok(self.0.try_wait()?))?;
        ensure!(status.success(), "kurier capture ended with {status}");
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _nothing_to_do_about_it = self.0.wait();
    }
}
