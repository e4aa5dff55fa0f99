//! Refusals of a healthy Kafka: nothing is written, and both the report and the command say so.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use kurier_e2e::cluster::Cluster;

use crate::kurier::Produce;

const LINES: usize = 100;

/// Topics of three replicas with one node down: writes succeed with min.insync.replicas of 1 and 2, but not 3.
pub(crate) fn too_few_replicas(cluster: &mut Cluster) -> Result<()> {
    let topics = [("min-insync-1", 1), ("min-insync-2", 2), ("min-insync-3", 3)];
    for (topic, in_sync) in topics {
        let setting = format!("min.insync.replicas={in_sync}");
        cluster.kafka().create_topic(topic, 3, 3, &[&setting])?;
    }
    cluster.kill(2)?;
    for (topic, _) in topics {
        // Wait until the cluster notices the dead node. Before that, a leader appends a batch and only then finds that
        // replicas are missing.
        cluster.kafka().wait_for_replicas(topic, 2)?;
    }
    println!("{:<12} {:>5} {:>7} {:>6} {:>7}", "topic", "lines", "in log", "exit", "took");
    for (topic, in_sync) in topics {
        produce(cluster, topic, in_sync < 3)?;
    }
    cluster.revive(2)?;
    let (topic, _) = topics[2];
    cluster.kafka().wait_for_replicas(topic, 3)?;
    produce(cluster, topic, true)
}

fn produce(cluster: &Cluster, topic: &str, enough: bool) -> Result<()> {
    let (folder, lines) = (tempfile::tempdir()?, lines());
    let file = folder.path().join("lines");
    fs::write(&file, lines.join("\n"))?;
    let settings = ["acks=all", "delivery.timeout.ms=5000", "request.timeout.ms=2000", "linger.ms=5"];
    let settings = settings.iter().flat_map(|setting| ["-X", setting]);
    let produced = Produce::to(cluster.kafka(), topic)?.arguments(settings).file(&file)?;
    let mut read: Vec<_> = cluster.kafka().read_by_java(topic)?.into_iter().map(|record| record.value).collect();
    read.sort();
    println!(
        "{topic:<12} {LINES:>5} {:>7} {:>6} {:>5.1} s",
        read.len(),
        produced.code.unwrap_or(-1),
        produced.took.as_secs_f64()
    );
    if enough {
        produced.expect(0, LINES)?;
        ensure!(read == lines, "{topic}: other lines were read");
    } else {
        ensure!(read.is_empty(), "{topic}: {} records are in the log", read.len());
        produced.expect(1, LINES)?;
        produced.expect_not_written("NOT_ENOUGH_REPLICAS")?;
        ensure!(produced.took < Duration::from_secs(5 + 3), "longer than delivery.timeout.ms and some");
    }
    Ok(())
}

/// A missing topic that nothing creates: the command fails within max.block.ms plus a second, for any number of lines.
pub(crate) fn unknown_topic(cluster: &mut Cluster) -> Result<()> {
    let (folder, topic) = (tempfile::tempdir()?, "nobody-made-me");
    let file = folder.path().join("lines");
    fs::write(&file, lines().join("\n"))?;
    let produced = Produce::to(cluster.kafka(), topic)?.arguments(["-X", "max.block.ms=2000"]).file(&file)?;
    println!("exit {:?} in {:.1} s:\n{}", produced.code, produced.took.as_secs_f64(), produced.talk);
    // Without the topic the command reads no input, so there is no report.
    produced.expect(1, 0)?;
    produced.expect_not_written("UNKNOWN_TOPIC_OR_PARTITION")?;
    ensure!(produced.talk.contains(topic), "it does not name the topic");
    ensure!(produced.took < Duration::from_secs(2 + 1), "longer than max.block.ms and a second");
    Ok(())
}

/// Returns the lines, sorted.
fn lines() -> Vec<String> {
    (0..LINES).map(|n| format!("line {n:03}")).collect()
}
