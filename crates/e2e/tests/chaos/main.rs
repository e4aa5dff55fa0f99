//! Chaos tests: kills, pauses, restarts, moves, recreated topics and lowered limits under load, on three nodes of real
//! Apache Kafka. No acknowledged record may be lost, doubled, reordered or misplaced. No record reported as not written
//! may be in the log. No gap may be longer than with Java.
//!
//! `make chaos` runs all, in about fifteen minutes; `CHAOS=smoke` runs each fault a few times, `CHAOS=controls` only
//! the controls. `CHAOS_SECURED=1` gives our producers SASL over TLS with sessions of five seconds. One of our producers writes 5,000 records a second. Another one, which gives up after four seconds,
//! writes 500 to the same topic. The Java producer writes 5,000 to a topic that the same nodes lead. Java reads the
//! topics back. The checker is this program again (`--check LEDGER LOG...`), and exits with 1 on any miss. The files of
//! a failed check stay in `target/tmp/chaos`. Ctrl-C ends the test and all nodes.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it shows what it counted")]

mod controls;
mod faults;
mod gaps;
mod interrupt;
mod ledger;
mod limit;
mod load;
mod payload;
mod peer;
mod proxy;
mod recreation;
mod sockets;
mod verdict;
mod way;

use std::env;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use kurier_e2e::clock::now;
use kurier_e2e::cluster::Cluster;
use tokio::runtime::{Handle, Runtime};

use crate::controls::Files;
use crate::faults::{Plan, Scene, TOPIC};
use crate::ledger::{Ledger, Told};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let result = match &arguments[..] {
        [check, ledger, logs @ ..] if check == "--check" => check_files(Path::new(ledger), logs),
        _ => run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chaos: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs only the checker.
fn check_files(ledger: &Path, logs: &[String]) -> Result<()> {
    let verdict = verdict::check(ledger, logs)?;
    print!("{verdict}");
    ensure!(verdict.is_clean(), "the log is not what was told");
    Ok(())
}

fn run() -> Result<()> {
    let plan = match env::var("CHAOS").as_deref() {
        Err(_) | Ok("" | "full") => {
            Some(Plan { kills: 10, pauses: 5, moves: 4, recreations: 4, limits: 4, restarts: true })
        }
        Ok("smoke") => Some(Plan { kills: 2, pauses: 1, moves: 1, recreations: 2, limits: 2, restarts: false }),
        Ok("controls") => None,
        Ok(other) => bail!("CHAOS={other}: it is full, smoke or controls"),
    };
    let runtime = Runtime::new()?;
    interrupt::watch(runtime.handle())?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chaos");
    fs::create_dir_all(&folder)?;
    let began = now();
    let mut cluster = way::start()?;
    controls::run(runtime.handle(), &mut cluster, &folder)?;
    if let Some(plan) = plan {
        chaos(runtime.handle(), &mut cluster, plan, &folder)?;
    }
    fs::remove_dir_all(&folder)?;
    println!("all as it should be, in {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}

fn chaos(runtime: &Handle, cluster: &mut Cluster, plan: Plan, folder: &Path) -> Result<()> {
    let mut scene = Scene::set(runtime, cluster, folder)?;
    scene.play(plan)?;
    let (table, compared) = (scene.table(), scene.compare());
    let (patient, impatient, peer) = scene.end();
    let acknowledged = Arc::clone(&peer.acknowledgements);
    let failed = peer.stop()?;
    let (patient, late) = patient.stop()?;
    let (impatient, _) = impatient.stop()?;
    let files = Files::of(folder, TOPIC);
    ledger::write(&files.ledger, &Told::of(TOPIC), [&*patient, &*impatient])?;
    cluster.kafka().save_by_java(TOPIC, &files.logs[0])?;
    let (code, talk) = files.check()?;

    println!("\n{table}");
    tell("Kurier", &patient);
    println!("  its load was {:.2} s late at most", late.as_secs_f64());
    tell("Kurier, delivery.timeout.ms 4000", &impatient);
    println!("Java: acknowledged {}, failed {failed}\n", acknowledged.count());
    println!("both of Kurier's against the log:\n{talk}");
    ensure!(code == Some(0), "the checker ended with {code:?}; its files are in {}", folder.display());
    let mut out_of_turn = patient.out_of_turn();
    out_of_turn.extend(impatient.out_of_turn());
    ensure!(out_of_turn.is_empty(), "callbacks before those of earlier records: {out_of_turn:#?}");
    compared
}

fn tell(who: &str, ledger: &Ledger) {
    let counts = ledger.counts();
    println!(
        "{who}: records {}, acknowledged {}, unknown {}, not written {}, refused {}",
        counts.records, counts.written, counts.unknown, counts.not_written, counts.refused
    );
    for (error, count) in ledger.errors() {
        println!("  {error}: {count}");
    }
}
