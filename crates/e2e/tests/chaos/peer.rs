//! The Java producer beside ours, on the same cluster and under the same load: java/KeepProducing.java.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use kurier_e2e::clock::now;
use kurier_e2e::java::Jars;
use kurier_e2e::kafka::{Kafka, VERSION};

use crate::gaps::Acknowledgements;

/// The running Java producer.
pub(crate) struct Peer {
    process: Child,
    /// The process ends when this closes.
    input: Option<ChildStdin>,
    pub(crate) acknowledgements: Arc<Acknowledgements>,
    failed: Arc<AtomicUsize>,
    listener: Option<JoinHandle<Result<()>>>,
}

impl Peer {
    pub(crate) fn start(kafka: &Kafka, topic: &str, partitions: usize, records_per_second: u32) -> Result<Self> {
        let program = Jars::fetch_server(VERSION)?.compile("KeepProducing")?;
        let mut java = program.command(&["-Xmx400m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=off"]);
        java.args([kafka.bootstrap_servers(), topic, &partitions.to_string(), &records_per_second.to_string()]);
        java.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = java.spawn().context("java cannot be run; apt-get install openjdk-17-jre-headless")?;
        let input = process.stdin.take();
        let mut output = BufReader::new(process.stdout.take().context("it was given one")?);
        let mut peer = Self {
            process,
            input,
            acknowledgements: Arc::new(Acknowledgements::new(partitions)),
            failed: Arc::default(),
            listener: None,
        };
        let mut line = String::new();
        output.read_line(&mut line)?;
        let begin = now();
        ensure!(line == "begin\n", "the Java producer did not begin: {line:?}");
        let (acknowledgements, failed) = (Arc::clone(&peer.acknowledgements), Arc::clone(&peer.failed));
        peer.listener = Some(thread::spawn(move || listen(output, begin, &acknowledgements, &failed)));
        Ok(peer)
    }

    /// Stops the process and returns its number of failed records.
    pub(crate) fn stop(mut self) -> Result<usize> {
        self.input = None;
        let listener = self.listener.take().context("it was there")?;
        listener.join().map_err(|_| anyhow!("the listener panicked"))??;
        let status = self.process.wait()?;
        ensure!(status.success(), "the Java producer ended with {status}");
        Ok(self.failed.load(Ordering::Relaxed))
    }
}

fn listen(
    output: BufReader<ChildStdout>,
    begin: Instant,
    acknowledgements: &Acknowledgements,
    failed: &AtomicUsize,
) -> Result<()> {
    for line in output.lines() {
        let line = line?;
        let fields: Vec<&str> = line.split('\t').collect();
        let [outcome, partition, micros] = fields[..] else { bail!("the Java producer said {line:?}") };
        match outcome {
            "written" => acknowledgements.note(partition.parse()?, begin + Duration::from_micros(micros.parse()?)),
            _ => _ = failed.fetch_add(1, Ordering::Relaxed),
        }
    }
    Ok(())
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ended_already = self.process.kill();
        let _nothing_to_do_about_it = self.process.wait();
    }
}
