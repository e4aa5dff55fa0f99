//! Endurance tests: a producer in this process and real Apache Kafka, through long outages, thousands of producers, and
//! hundreds of lost responses.
//!
//! `make endurance` runs all, and `make endurance ONLY=unsettled` runs those with that in their names. Each test prints
//! its figures and fails on a broken promise. Environment variables:
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `ENDURANCE_MINUTES` | minutes that the cluster is dead, each time | 10 |
//! | `ENDURANCE_PARTITIONS` | partitions of the topic with a silent node | 12 |
//! | `ENDURANCE_RUNS` | number of runs with lost responses | 200 |
//! | `ENDURANCE_SEED` | seed of these runs | random, and printed |
//!
//! These tests measure this process under load over time, so they wait where other tests must not. Ctrl-C ends the
//! nodes, paused ones too.
#![expect(clippy::print_stdout, reason = "tests show what they counted")]

mod cycles;
mod dead_cluster;
mod one_paused;
mod process;
mod proxy;
mod unsettled;

use std::env;
use std::fmt::Display;
use std::pin::Pin;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use kurier_e2e::cluster::Cluster;
use kurier_e2e::kafka;
use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// Tests run one after another, because they measure the process.
fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => Arc::new(runtime),
        Err(error) => {
            println!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let trial = |name: &str, nodes: usize, test: Test| {
        let runtime = Arc::clone(&runtime);
        Trial::test(name, move || run(&runtime, nodes, test).map_err(|error| format!("{error:#}").into()))
    };
    let trials = vec![
        trial("unsettled", 1, |cluster| Box::pin(unsettled::unsettled(cluster))),
        trial("one_paused", 3, |cluster| Box::pin(one_paused::one_paused(cluster))),
        trial("cycles", 3, |cluster| Box::pin(cycles::cycles(cluster))),
        trial("dead_cluster", 3, |cluster| Box::pin(dead_cluster::dead_cluster(cluster))),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

type Test = for<'a> fn(&'a mut Cluster) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// Runs a test on a cluster of its own, which ends with the test, or on Ctrl-C.
fn run(runtime: &Runtime, nodes: usize, test: Test) -> Result<()> {
    println!("\nKafka {}, nodes: {nodes}", kafka::VERSION);
    let ended = runtime.block_on(async {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let test = async {
            let mut cluster = Cluster::start(kafka::VERSION, nodes)?;
            test(&mut cluster).await
        };
        tokio::select! {
            ended = test => ended.map(Some),
            _ = interrupt.recv() => Ok(None),
            _ = terminate.recv() => Ok(None),
        }
    })?;
    // By now the cluster is gone together with the test.
    ended.map_or_else(|| std::process::exit(130), Ok)
}

/// Returns an environment variable's value, or the default.
fn setting<T: FromStr<Err: Display>>(name: &str, default: T) -> Result<T> {
    match env::var(name) {
        Ok(text) if !text.is_empty() => text.parse().map_err(|error| anyhow!("{name}={text}: {error}")),
        _ => Ok(default),
    }
}
