//! Controls, which must fail before a run means anything: faults that double and lose records where nothing prevents
//! it, and false reports that the checker must detect.

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
use crate::ledger::{self, Entry, Limit, Outcome, Told};
use crate::limit::{self, Whose};
use crate::load::Load;
use crate::payload::Payload;
use crate::proxy::Proxy;
use crate::recreation;
use crate::sockets;
use crate::way;

const PARTITIONS: usize = 3;
const RECORDS_PER_SECOND: u32 = 2_000;

/// A ledger's file, and the files of the logs, one for each incarnation of the topic.
pub(crate) struct Files {
    pub(crate) ledger: PathBuf,
    pub(crate) logs: Vec<PathBuf>,
}

impl Files {
    /// Creates names for a ledger and one log.
    pub(crate) fn of(folder: &Path, name: &str) -> Self {
        Self { ledger: folder.join(format!("{name}.ledger")), logs: Vec::new() }.and_log(folder, name)
    }

    /// Adds another log.
    pub(crate) fn and_log(mut self, folder: &Path, name: &str) -> Self {
        self.logs.push(folder.join(format!("{name}.{}.log", self.logs.len())));
        self
    }

    /// Runs the checker in a process of its own. Returns its exit status and its output.
    pub(crate) fn check(&self) -> Result<(Option<i32>, String)> {
        let mut checker = Command::new(std::env::current_exe()?);
        let output = checker.arg("--check").arg(&self.ledger).args(&self.logs).output()?;
        let talk = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8_lossy(&talk).into_owned()))
    }
}

/// Runs all controls, on a cluster that is healthy before and after.
pub(crate) fn run(runtime: &Handle, cluster: &mut Cluster, folder: &Path) -> Result<()> {
    let honest = cut_answers(runtime, cluster, folder, true)?;
    let (code, talk) = honest.check()?;
    ensure!(code == Some(0), "idempotent, but the checker ended with {code:?}:\n{talk}");
    let plain = cut_answers(runtime, cluster, folder, false)?;
    expect_miss(&plain, "doubled")?;
    let careless = acks_0_under_kill(runtime, cluster, folder)?;
    expect_miss(&careless, "lost")?;
    let (recreated, what) = recreation::run(runtime, cluster, folder, "recreated", Duration::from_secs(2))?;
    println!("{what}");
    let (limited, what) = limit::run(runtime, cluster, folder, "limited", Whose::Topics)?;
    println!("{what}");
    forge(&honest, folder, &FORGERIES)?;
    forge(&recreated, folder, &FORGERIES_OF_TWO_TOPICS)?;
    forge(&limited, folder, &FORGERIES_OF_LIMITS)
}

/// Runs a load whose responses are cut off after the brokers executed the requests.
fn cut_answers(runtime: &Handle, cluster: &Cluster, folder: &Path, is_idempotent: bool) -> Result<Files> {
    let topic = if is_idempotent { "cut-idempotent" } else { "cut-plain" };
    cluster.kafka().create_topic(topic, i32::try_from(PARTITIONS)?, 3, &["min.insync.replicas=2"])?;
    let detours = cluster.detours();
    let proxy = Proxy::start(runtime, &detours, 7, 40)?;
    let builder = Producer::builder().bootstrap_servers(detours.iter().map(|detour| detour.advertised.to_string()));
    let builder = builder.acks(Acks::All).enable_idempotence(is_idempotent);
    let load = Load::start(runtime, builder, topic, PARTITIONS, 0, RECORDS_PER_SECOND, None)?;
    wait_for("40 answers cut off", Duration::from_secs(60), || Ok((proxy.cuts() >= 40).then_some(())))?;
    let (ledger, _) = load.stop()?;
    println!("answers cut off, idempotent {is_idempotent}: {} of {} records", proxy.cuts(), ledger.counts().records);
    let files = Files::of(folder, topic);
    ledger::write(&files.ledger, &Told::of(topic), [&*ledger])?;
    cluster.kafka().save_by_java(topic, &files.logs[0])?;
    Ok(files)
}

/// With acks=0 a record counts as sent when its last byte is written, even to a broker that never reads it.
fn acks_0_under_kill(runtime: &Handle, cluster: &mut Cluster, folder: &Path) -> Result<Files> {
    let topic = "acks-0";
    cluster.kafka().create_assigned_topic(topic, &[vec![0, 1, 2], vec![1, 2, 0], vec![2, 0, 1]], &[])?;
    let builder = way::builder(cluster).acks(Acks::None);
    let load = Load::start(runtime, builder, topic, PARTITIONS, 0, RECORDS_PER_SECOND, None)?;
    run_until(now() + Duration::from_secs(1))?;
    let leader = cluster.kafka().leader(topic, 0)?.context("all nodes are up")?;
    let port = way::address(cluster, leader)?.port();
    cluster.pause(leader)?;
    wait_for("requests that the frozen leader has not read", Duration::from_secs(10), || {
        Ok((sockets::unread_at(port)? > 10_000).then_some(()))
    })?;
    let unread = sockets::unread_at(port)?;
    cluster.kill(leader)?;
    wait_for("another node leads", Duration::from_secs(30), || {
        // Until then the cluster may not answer at all.
        let next = cluster.kafka().leader(topic, 0).unwrap_or_default();
        Ok(next.filter(|next| *next != leader))
    })?;
    run_until(now() + Duration::from_secs(1))?;
    let (ledger, _) = load.stop()?;
    println!("acks=0, leader {leader} killed with {unread} bytes unread: {} records", ledger.counts().records);
    cluster.revive(leader)?;
    cluster.kafka().wait_for_replicas(topic, 3)?;
    let files = Files::of(folder, topic);
    ledger::write(&files.ledger, &Told::of(topic), [&*ledger])?;
    cluster.kafka().save_by_java(topic, &files.logs[0])?;
    Ok(files)
}

/// Requires that the checker finds the fault `what`, such as `lost`: it exits with 1, and counts at least one.
fn expect_miss(files: &Files, what: &str) -> Result<()> {
    let (code, talk) = files.check()?;
    let count = talk.lines().find_map(|line| line.trim().strip_prefix(what)?.trim().parse::<usize>().ok());
    let count = count.with_context(|| format!("the checker counts no {what}:\n{talk}"))?;
    ensure!(code == Some(1) && count > 0, "the checker ended with {code:?} and did not see what was {what}:\n{talk}");
    println!("  the checker ends with 1, {what}: {count}");
    Ok(())
}

/// A ledger and its logs, for alteration.
#[derive(Clone)]
struct Evidence {
    told: Told,
    entries: Vec<Entry>,
    logs: Vec<Vec<String>>,
}

impl Evidence {
    /// Returns the log of the last incarnation.
    fn log(&mut self) -> Option<&mut Vec<String>> {
        self.logs.last_mut()
    }

    /// Returns the ledger's entry for the record in a log's line.
    fn entry_of(&mut self, line: &str) -> Option<&mut Entry> {
        let counter = Payload::read(line.splitn(5, '\t').nth(4)?).ok()?.counter;
        self.entries.iter_mut().find(|entry| entry.counter == counter)
    }

    fn find(&mut self, is_one: impl Fn(&Entry) -> bool) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| is_one(entry))
    }
}

/// A forgery's name, the checker's name for it, and the alteration.
type Forgery = (&'static str, &'static str, fn(&mut Evidence) -> Option<()>);

const FORGERIES: [Forgery; 11] = [
    ("an acknowledged record that was never sent", "lost", |evidence| {
        let last = evidence.entries.last()?.clone();
        let outcome = Outcome::Written { incarnation: Some(0), partition: last.partition, offset: Some(1 << 40) };
        evidence.entries.push(Entry { counter: last.counter + 1, outcome, ..last });
        Some(())
    }),
    ("an offset", "misplaced", |evidence| {
        let Outcome::Written { offset: Some(offset), .. } = &mut evidence.entries.first_mut()?.outcome else {
            return None;
        };
        *offset += 1;
        Some(())
    }),
    ("a partition that was told", "misplaced", |evidence| {
        let Outcome::Written { partition, .. } = &mut evidence.entries.first_mut()?.outcome else { return None };
        *partition += 1;
        Some(())
    }),
    ("a written record as not written", "\"not written\", but in the log", |evidence| {
        evidence.entries.first_mut()?.outcome = Outcome::NotWritten;
        Some(())
    }),
    ("a written record as without an outcome", "without an outcome", |evidence| {
        evidence.entries.first_mut()?.outcome = Outcome::Pending;
        Some(())
    }),
    ("a record struck from the ledger", "that nobody sent", |evidence| evidence.entries.pop().map(drop)),
    ("a record struck from the log", "lost", |evidence| evidence.log()?.pop().map(drop)),
    ("a record twice in the log", "doubled", |evidence| {
        let (place, value) = split(evidence.log()?.last()?)?;
        let again = format!("{}\t{}\t{value}", place.0, place.1 + 1);
        evidence.log()?.push(again);
        Some(())
    }),
    ("two records that changed places", "reordered", |evidence| {
        let [.., one, other] = &mut evidence.log()?[..] else { return None };
        let ((one_place, one_value), (other_place, other_value)) = (split(one)?, split(other)?);
        let swapped = (
            format!("{}\t{}\t{other_value}", one_place.0, one_place.1),
            format!("{}\t{}\t{one_value}", other_place.0, other_place.1),
        );
        (*one, *other) = swapped;
        Some(())
    }),
    ("a record in another partition", "misplaced", |evidence| {
        let (place, value) = split(&evidence.log()?.pop()?)?;
        let moved = format!("{}\t{}\t{value}", place.0 + 1, 1i64 << 40);
        evidence.log()?.push(moved);
        Some(())
    }),
    ("a letter of a record", "damaged", |evidence| {
        let line = evidence.log()?.last_mut()?;
        line.pop();
        line.push('0');
        Some(())
    }),
];

/// Forgeries about a topic that was deleted and created again.
const FORGERIES_OF_TWO_TOPICS: [Forgery; 6] = [
    ("a record of the deleted topic, also in the new one", "doubled", |evidence| {
        let (place, value) = split(evidence.logs.first()?.first()?)?;
        evidence.log()?.push(format!("{}\t{}\t{value}", place.0, 1i64 << 40));
        Some(())
    }),
    ("a record of the deleted topic, in the new one instead", "misplaced", |evidence| {
        let (place, value) = split(&evidence.logs.first_mut()?.remove(0))?;
        evidence.log()?.push(format!("{}\t{}\t{value}", place.0, 1i64 << 40));
        Some(())
    }),
    ("a record that failed with the deleted topic, in the new one", "misplaced", |evidence| {
        let line = evidence.log()?.first()?.clone();
        evidence.entry_of(&line)?.outcome = Outcome::Recreated;
        Some(())
    }),
    ("a record of the new topic as one of the deleted topic", "misplaced", |evidence| {
        let is_new = |entry: &Entry| matches!(entry.outcome, Outcome::Written { incarnation: Some(1), .. });
        let Outcome::Written { incarnation, .. } = &mut evidence.find(is_new)?.outcome else { return None };
        *incarnation = Some(0);
        Some(())
    }),
    ("an acknowledged record struck from the deleted topic", "lost", |evidence| {
        evidence.logs.first_mut()?.remove(0);
        Some(())
    }),
    ("a record of the new topic before those of the deleted one", "reordered", |evidence| {
        let line = evidence.log()?.pop()?;
        evidence.logs.first_mut()?.insert(0, format!("{}\t-1\t{}", split(&line)?.0.0, split(&line)?.1));
        Some(())
    }),
];

/// Forgeries about a topic whose limit was lowered for a while.
const FORGERIES_OF_LIMITS: [Forgery; 3] = [
    ("a small record as too large", "against the limit of size", |evidence| {
        evidence.find(|entry| entry.outcome == Outcome::TooLarge)?.bytes = 100;
        Some(())
    }),
    ("a large record as written while the limit held", "against the limit of size", |evidence| {
        let Limit { from, to, .. } = evidence.told.limit?;
        let held = |entry: &Entry| entry.outcome == Outcome::TooLarge && (from..to).contains(&entry.counter);
        let entry = evidence.find(held)?;
        entry.outcome = Outcome::Written { incarnation: Some(0), partition: entry.partition, offset: None };
        Some(())
    }),
    ("a record as too large without any limit", "against the limit of size", |evidence| {
        evidence.told.limit = None;
        Some(())
    }),
];

/// Splits a log's line into partition, offset and the rest.
fn split(line: &str) -> Option<((i32, i64), String)> {
    let mut fields = line.splitn(3, '\t');
    let place = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((place, fields.next()?.to_owned()))
}

/// Makes each forgery in an honest report or its logs, and checks that the checker finds it.
fn forge(honest: &Files, folder: &Path, forgeries: &[Forgery]) -> Result<()> {
    let (told, entries) = ledger::read(&honest.ledger)?;
    let read =
        |log: &PathBuf| -> Result<Vec<String>> { Ok(fs::read_to_string(log)?.lines().map(str::to_owned).collect()) };
    let logs = honest.logs.iter().map(read).collect::<Result<_>>()?;
    let evidence = Evidence { told, entries, logs };
    for (what, seen, forge) in forgeries {
        let mut forged = evidence.clone();
        forge(&mut forged).with_context(|| format!("nothing to forge: {what}"))?;
        let mut files = Files::of(folder, "forged");
        while files.logs.len() < forged.logs.len() {
            files = files.and_log(folder, "forged");
        }
        ledger::write_entries(&files.ledger, &forged.told, forged.entries)?;
        for (file, log) in files.logs.iter().zip(&forged.logs) {
            fs::write(file, log.join("\n"))?;
        }
        println!("forged: {what}");
        expect_miss(&files, seen)?;
    }
    Ok(())
}
