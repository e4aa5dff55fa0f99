//! Lowering of the batch size limit under load, in the topic's setting or the brokers', and raising it again.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use kurier_e2e::clock::now;
use kurier_e2e::cluster::Cluster;
use kurier_e2e::kafka::Configured;
use tokio::runtime::Handle;

use crate::controls::Files;
use crate::faults::PATIENCE;
use crate::interrupt::{run_until, wait_for};
use crate::ledger::{self, Limit, Told};
use crate::load::Load;
use crate::way;

const PARTITIONS: usize = 3;
const RECORDS_PER_SECOND: u32 = 3_000;

/// A linger time that makes batches larger.
const LINGER: Duration = Duration::from_millis(50);

/// The lowered limit: smaller than a usual batch, between a small and a large record.
const LIMIT_BYTES: usize = 4_000;

/// Every 50th record is large.
const LARGE_EVERY: usize = 50;

/// Owner of the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The topic's `max.message.bytes`.
    Topics,
    /// Every broker's `message.max.bytes`, which applies to all topics without a limit of their own.
    Brokers,
}

/// Lowers the limit under a load to the topic `name`, raises it again, and runs the checker.
pub(crate) fn run(
    runtime: &Handle,
    cluster: &Cluster,
    folder: &Path,
    name: &str,
    whose: Whose,
) -> Result<(Files, String)> {
    let kafka = cluster.kafka();
    kafka.create_topic(name, i32::try_from(PARTITIONS)?, 3, &["min.insync.replicas=2"])?;
    let partitions: Vec<i32> = (0..).take(PARTITIONS).collect();
    let builder = way::builder(cluster).linger(LINGER);
    let load = Load::start(runtime, builder, name, PARTITIONS, 0, RECORDS_PER_SECOND, Some(LARGE_EVERY))?;
    let acknowledged_since = |then| {
        wait_for("every partition is acknowledged", PATIENCE, || {
            Ok(load.ledger.acknowledgements.came_after(then, &partitions).then_some(()))
        })
    };
    acknowledged_since(now())?;
    run_until(now() + Duration::from_secs(1))?;

    let (what, setting) = match whose {
        Whose::Topics => (Configured::Topic(name), "max.message.bytes"),
        Whose::Brokers => (Configured::Brokers, "message.max.bytes"),
    };
    kafka.configure(what, setting, Some(&LIMIT_BYTES.to_string()))?;
    wait_for("a record is too large", PATIENCE, || Ok((load.ledger.counts().too_large > 0).then_some(())))?;
    // By then every node knows the new limit.
    run_until(now() + Duration::from_secs(2))?;
    let from = load.ledger.counts().records;
    run_until(now() + Duration::from_secs(2))?;
    let to = load.ledger.counts().records;
    wait_for("the records under the limit have outcomes", PATIENCE, || {
        Ok(load.ledger.is_answered_up_to(to).then_some(()))
    })?;
    kafka.configure(what, setting, None)?;
    let raised = now();
    acknowledged_since(raised)?;
    run_until(now() + Duration::from_secs(2))?;
    let then = load.ledger.counts();
    run_until(now() + Duration::from_secs(1))?;
    let (ledger, _) = load.stop()?;
    let counts = ledger.counts();
    let files = Files::of(folder, name);
    let told = Told { limit: Some(Limit { bytes: LIMIT_BYTES, from, to }), ..Told::of(name) };
    ledger::write(&files.ledger, &told, [&*ledger])?;
    kafka.save_by_java(name, &files.logs[0])?;
    let (code, talk) = files.check()?;
    let what = format!(
        "{setting} lowered to {LIMIT_BYTES} under load to {name}, and raised again: records {}, acknowledged {}, too large \
         {}, unknown {}, not written {}, refused {}; errors {:?}",
        counts.records,
        counts.written,
        counts.too_large,
        counts.unknown,
        counts.not_written,
        counts.refused,
        ledger.errors(),
    );
    ensure!(code == Some(0), "{what}\nthe checker ended with {code:?}; its files are in {}:\n{talk}", folder.display());
    ensure!(counts.written + counts.too_large == counts.records, "{what}\nrecords failed, and not for their size");
    ensure!(counts.too_large == then.too_large, "{what}\nrecords are too large although the limit is raised");
    Ok((files, what))
}
