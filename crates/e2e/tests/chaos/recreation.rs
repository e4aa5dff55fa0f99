//! Deletion and recreation of a topic under load. Each of the two incarnations has a log. The old log comes from the
//! nodes' disks, where Kafka keeps deleted logs for a minute; Java reads the new one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kurier_e2e::clock::now;
use kurier_e2e::cluster::Cluster;
use kurier_protocol::record_batch::Batches;
use tokio::runtime::Handle;

use crate::controls::Files;
use crate::faults::PATIENCE;
use crate::interrupt::{run_until, wait_for};
use crate::ledger::{self, NEVER_SENT, Told};
use crate::load::Load;
use crate::way;

const PARTITIONS: usize = 3;
const RECORDS_PER_SECOND: u32 = 2_000;

/// How long to wait for the old leaders' last responses after they gave up the partitions.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Deletes the topic `name` under load, creates it again after `absence`, and runs the checker on both logs.
pub(crate) fn run(
    runtime: &Handle,
    cluster: &Cluster,
    folder: &Path,
    name: &str,
    absence: Duration,
) -> Result<(Files, String)> {
    let kafka = cluster.kafka();
    let create = || kafka.create_topic(name, i32::try_from(PARTITIONS)?, 3, &["min.insync.replicas=2"]);
    create()?;
    let partitions: Vec<i32> = (0..).take(PARTITIONS).collect();
    let builder = way::builder(cluster);
    let load = Load::start(runtime, builder, name, PARTITIONS, 0, RECORDS_PER_SECOND, None)?;
    let acknowledged_since = |then| {
        wait_for("every partition is acknowledged", PATIENCE, || {
            Ok(load.ledger.acknowledgements.came_after(then, &partitions).then_some(()))
        })
    };
    acknowledged_since(now())?;
    run_until(now() + Duration::from_secs(1))?;

    // Between the two, an acknowledgement may be from either incarnation.
    load.ledger.set_incarnation(None);
    let struck = now();
    kafka.delete_topics(&[name])?;
    let files = Files::of(folder, name).and_log(folder, name);
    if absence.is_zero() {
        create()?;
    }
    wait_for("every node has given up every partition", PATIENCE, || {
        Ok((deleted_logs(cluster, name)?.len() == PARTITIONS * cluster.node_ids().len()).then_some(()))
    })?;
    run_until(now() + LAST_ANSWERS)?;
    fs::write(&files.logs[0], old_log(cluster, name)?)?;
    load.ledger.set_incarnation(Some(1));
    if !absence.is_zero() {
        run_until(now() + absence)?;
        create()?;
    }
    let created = now();
    acknowledged_since(created).context("the new topic is not written to")?;
    let recovered = now();
    run_until(now() + Duration::from_secs(2))?;
    let (ledger, _) = load.stop()?;
    ledger::write(&files.ledger, &Told::of(name), [&*ledger])?;
    kafka.save_by_java(name, &files.logs[1])?;
    let (code, talk) = files.check()?;
    let counts = ledger.counts();
    let what = format!(
        "topic {name} deleted and created again {:.1} s later: records {}, acknowledged {}, failed with the old topic {}, \
         unknown {}, not written {}; all partitions of the new one acknowledged {:.1} s after it was there; errors {:?}",
        created.duration_since(struck).as_secs_f64(),
        counts.records,
        counts.written,
        counts.recreated,
        counts.unknown,
        counts.not_written,
        recovered.duration_since(created).as_secs_f64(),
        ledger.errors(),
    );
    ensure!(code == Some(0), "{what}\nthe checker ended with {code:?}; its files are in {}:\n{talk}", folder.display());
    // By the documented guarantees these records go to the new topic.
    let unsent =
        ledger.errors().into_iter().find(|(error, _)| error.contains("TopicRecreated") && error.ends_with(NEVER_SENT));
    ensure!(unsent.is_none(), "{what}\nrecords that were never sent failed with the old topic: {unsent:?}");
    for log in &files.logs {
        ensure!(fs::metadata(log)?.len() > 0, "{what}\n{} is empty: nothing was to be lost", log.display());
    }
    Ok((files, what))
}

/// Finds the log of each partition of a deleted topic on each node.
fn deleted_logs(cluster: &Cluster, topic: &str) -> Result<Vec<(i32, PathBuf)>> {
    let mut logs = Vec::new();
    for node in cluster.node_ids() {
        for entry in fs::read_dir(cluster.data(node)?)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // Kafka renames `topic-0` to `topic-0.<id>-delete`.
            let partition = name.strip_prefix(topic).and_then(|rest| rest.strip_prefix('-'));
            let partition = partition.and_then(|rest| rest.strip_suffix("-delete")?.split_once('.'));
            if let Some((partition, _)) = partition {
                logs.push((partition.parse()?, entry.path().join("00000000000000000000.log")));
            }
        }
    }
    Ok(logs)
}

/// Returns the records of a deleted topic as lines of a log's file. Of each partition's copies it takes the longest,
/// which is the leader's.
fn old_log(cluster: &Cluster, topic: &str) -> Result<String> {
    let mut longest = vec![Vec::new(); PARTITIONS];
    for (partition, file) in deleted_logs(cluster, topic)? {
        let bytes = fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        let place = longest.get_mut(usize::try_from(partition)?).context("a partition of this topic")?;
        if bytes.len() > place.len() {
            *place = bytes;
        }
    }
    let mut lines = String::new();
    for (partition, bytes) in longest.iter().enumerate() {
        for batch in Batches::new(bytes) {
            for record in batch?.records()? {
                let record = record?;
                let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
                let key_length = record.key.map_or(-1, |key| i64::try_from(key.len()).unwrap_or(i64::MAX));
                let (key, value) = (text(record.key), text(record.value));
                lines.push_str(&format!("{partition}\t{}\t{key_length}\t{key}\t{value}\n", record.offset));
            }
        }
    }
    Ok(lines)
}
