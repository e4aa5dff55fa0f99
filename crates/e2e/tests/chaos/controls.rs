//! What must fire before a run means anything: faults that do double and lose records where nothing forbids it, and lies
//! that the checker must see.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kurier::{Acks, Producer};
use kurier_e2e::clock::now;
use kurier_e2e::cluster::Cluster;
use tokio::runtime::Handle;

use crate::interrupt::{run_until, wait_for};
use crate::ledger::{self, Entry, Outcome};
use crate::load::Load;
use crate::proxy::Proxy;
use crate::sockets;

const PARTITIONS: usize = 3;
const RECORDS_PER_SECOND: u32 = 2_000;

/// A ledger's file and a log's.
pub(crate) struct Files {
    pub(crate) ledger: PathBuf,
    pub(crate) log: PathBuf,
}

impl Files {
    pub(crate) fn of(folder: &Path, name: &str) -> Self {
        let file = |what: &str| folder.join(format!("{name}.{what}"));
        Self { ledger: file("ledger"), log: file("log") }
    }

    /// Has the checker look, in a process of its own, and gives its exit status and what it said.
    pub(crate) fn check(&self) -> Result<(Option<i32>, String)> {
        let mut checker = Command::new(std::env::current_exe()?);
        let output = checker.arg("--check").args([&self.ledger, &self.log]).output()?;
        let talk = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8_lossy(&talk).into_owned()))
    }
}

/// All controls, on a cluster that is whole before and after.
pub(crate) fn run(runtime: &Handle, cluster: &mut Cluster, folder: &Path) -> Result<()> {
    let honest = cut_answers(runtime, cluster, folder, true)?;
    let (code, talk) = honest.check()?;
    ensure!(code == Some(0), "idempotent, but the checker ended with {code:?}:\n{talk}");
    let plain = cut_answers(runtime, cluster, folder, false)?;
    expect_miss(&plain, "doubled")?;
    let careless = acks_0_under_kill(runtime, cluster, folder)?;
    expect_miss(&careless, "lost")?;
    forge(&honest, folder)
}

/// A load whose answers are cut off after brokers carried the requests out.
fn cut_answers(runtime: &Handle, cluster: &Cluster, folder: &Path, is_idempotent: bool) -> Result<Files> {
    let topic = if is_idempotent { "cut-idempotent" } else { "cut-plain" };
    cluster.kafka().create_topic(topic, i32::try_from(PARTITIONS)?, 3, &["min.insync.replicas=2"])?;
    let detours = cluster.detours();
    let proxy = Proxy::start(runtime, &detours, 7, 40)?;
    let builder = Producer::builder().bootstrap_servers(detours.iter().map(|detour| detour.advertised.to_string()));
    let builder = builder.acks(Acks::All).enable_idempotence(is_idempotent);
    let load = Load::start(runtime, builder, topic, PARTITIONS, 0, RECORDS_PER_SECOND)?;
    wait_for("40 answers cut off", Duration::from_secs(60), || Ok((proxy.cuts() >= 40).then_some(())))?;
    let (ledger, _) = load.stop()?;
    println!("answers cut off, idempotent {is_idempotent}: {} of {} records", proxy.cuts(), ledger.counts().records);
    let files = Files::of(folder, topic);
    ledger::write(&files.ledger, topic, [&*ledger])?;
    cluster.kafka().save_by_java(topic, &files.log)?;
    Ok(files)
}

/// With acks=0 a record counts as sent when its last byte is written: to one who will never read it.
fn acks_0_under_kill(runtime: &Handle, cluster: &mut Cluster, folder: &Path) -> Result<Files> {
    let topic = "acks-0";
    cluster.kafka().create_assigned_topic(topic, &[vec![0, 1, 2], vec![1, 2, 0], vec![2, 0, 1]], &[])?;
    let builder = Producer::builder().bootstrap_servers([cluster.kafka().bootstrap_servers()]).acks(Acks::None);
    let load = Load::start(runtime, builder, topic, PARTITIONS, 0, RECORDS_PER_SECOND)?;
    run_until(now() + Duration::from_secs(1))?;
    let leader = cluster.kafka().leader(topic, 0)?.context("all nodes are up")?;
    let port = cluster.address(leader)?.port();
    cluster.pause(leader)?;
    wait_for("requests that the frozen leader has not read", Duration::from_secs(10), || {
        Ok((sockets::unread_at(port)? > 10_000).then_some(()))
    })?;
    let unread = sockets::unread_at(port)?;
    cluster.kill(leader)?;
    wait_for("another node leads", Duration::from_secs(30), || {
        // Until then the cluster may say nothing at all.
        let next = cluster.kafka().leader(topic, 0).unwrap_or_default();
        Ok(next.filter(|next| *next != leader))
    })?;
    run_until(now() + Duration::from_secs(1))?;
    let (ledger, _) = load.stop()?;
    println!("acks=0, leader {leader} killed with {unread} bytes unread: {} records", ledger.counts().records);
    cluster.revive(leader)?;
    cluster.kafka().wait_for_replicas(topic, 3)?;
    let files = Files::of(folder, topic);
    ledger::write(&files.ledger, topic, [&*ledger])?;
    cluster.kafka().save_by_java(topic, &files.log)?;
    Ok(files)
}

/// The checker ends with 1, and counts at least one of these.
fn expect_miss(files: &Files, what: &str) -> Result<()> {
    let (code, talk) = files.check()?;
    let count = talk.lines().find_map(|line| line.trim().strip_prefix(what)?.trim().parse::<usize>().ok());
    let count = count.with_context(|| format!("the checker counts no {what}:\n{talk}"))?;
    ensure!(code == Some(1) && count > 0, "the checker ended with {code:?} and did not see what was {what}:\n{talk}");
    println!("  the checker ends with 1, {what}: {count}");
    Ok(())
}

type Forgery = fn(&mut Vec<Entry>, &mut Vec<String>) -> Option<()>;

/// What may be forged, and what the checker is to call it.
const FORGERIES: [(&str, &str, Forgery); 11] = [
    ("an acknowledged record that was never sent", "lost", |ledger, _| {
        let last = ledger.last()?.clone();
        let outcome = Outcome::Written { partition: last.partition, offset: Some(1 << 40) };
        ledger.push(Entry { counter: last.counter + 1, outcome, ..last });
        Some(())
    }),
    ("an offset", "misplaced", |ledger, _| {
        let Outcome::Written { offset: Some(offset), .. } = &mut ledger.first_mut()?.outcome else { return None };
        *offset += 1;
        Some(())
    }),
    ("a partition that was told", "misplaced", |ledger, _| {
        let Outcome::Written { partition, .. } = &mut ledger.first_mut()?.outcome else { return None };
        *partition += 1;
        Some(())
    }),
    ("a written record as not written", "\"not written\", but in the log", |ledger, _| {
        ledger.first_mut()?.outcome = Outcome::NotWritten;
        Some(())
    }),
    ("a written record as without an outcome", "without an outcome", |ledger, _| {
        ledger.first_mut()?.outcome = Outcome::Pending;
        Some(())
    }),
    ("a record struck from the ledger", "that nobody sent", |ledger, _| ledger.pop().map(drop)),
    ("a record struck from the log", "lost", |_, log| log.pop().map(drop)),
    ("a record twice in the log", "doubled", |_, log| {
        let (place, value) = split(log.last()?)?;
        let again = format!("{}\t{}\t{value}", place.0, place.1 + 1);
        log.push(again);
        Some(())
    }),
    ("two records that changed places", "reordered", |_, log| {
        let [.., one, other] = &mut log[..] else { return None };
        let ((one_place, one_value), (other_place, other_value)) = (split(one)?, split(other)?);
        let swapped = (
            format!("{}\t{}\t{other_value}", one_place.0, one_place.1),
            format!("{}\t{}\t{one_value}", other_place.0, other_place.1),
        );
        (*one, *other) = swapped;
        Some(())
    }),
    ("a record in another partition", "misplaced", |_, log| {
        let (place, value) = split(log.last()?)?;
        let moved = format!("{}\t{}\t{value}", place.0 + 1, 1i64 << 40);
        log.pop();
        log.push(moved);
        Some(())
    }),
    ("a letter of a record", "damaged", |_, log| {
        let line = log.last_mut()?;
        line.pop();
        line.push('0');
        Some(())
    }),
];

/// A line of a log, by its partition and offset and the rest.
fn split(line: &str) -> Option<((i32, i64), String)> {
    let mut fields = line.splitn(3, '\t');
    let place = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((place, fields.next()?.to_owned()))
}

/// Alters an honest report, or its log, in every way that matters.
fn forge(honest: &Files, folder: &Path) -> Result<()> {
    let (topic, entries) = ledger::read(&honest.ledger)?;
    let log: Vec<String> = fs::read_to_string(&honest.log)?.lines().map(str::to_owned).collect();
    for (what, seen, forgery) in FORGERIES {
        let (mut entries, mut log) = (entries.clone(), log.clone());
        forgery(&mut entries, &mut log).with_context(|| format!("nothing to forge: {what}"))?;
        let files = Files::of(folder, "forged");
        ledger::write_entries(&files.ledger, &topic, entries)?;
        fs::write(&files.log, log.join("\n"))?;
        println!("forged: {what}");
        expect_miss(&files, seen)?;
    }
    Ok(())
}
