//! Tests with real Apache Kafka: `kurier produce` and the client's examples write, kcat and Java read. Also compares
//! our broker with Kafka.
//!
//! `make test-kafka` runs all, and `cargo test -p kurier-e2e --test kafka -- failover` runs those with that in their
//! names. The tests run one after another and share a cluster if they need the same. `KAFKA_BOOTSTRAP` names your own
//! cluster for the tests that end no node. `KURIER` names a binary to use instead of a build, and `KURIER_TLS` the provider
//! of TLS to build with.
#![expect(clippy::print_stdout, reason = "tests show what they counted")]

mod conforming;
mod failover;
mod identity;
mod kurier;
mod refusals;
mod relay;
mod round_trip;
mod secured;
mod three_ways;
mod turns;

#[path = "../../../broker/tests/broker/conformance/mod.rs"]
mod conformance;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use kurier_e2e::cluster::Cluster;
use kurier_e2e::kafka::{self, Kafka};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let clusters = Arc::new(Clusters::default());
    let conclusion = libtest_mimic::run(&arguments, trials(&clusters));
    drop(clusters);
    conclusion.exit_code()
}

/// Tests with the same cluster come together.
fn trials(clusters: &Arc<Clusters>) -> Vec<Trial> {
    let on_any = |name: &str, shape, test: fn(&Kafka) -> Result<()>| {
        let clusters = Arc::clone(clusters);
        Trial::test(name, move || clusters.theirs_or(shape, test))
    };
    let on_ours = |name: &str, shape, test: fn(&mut Cluster) -> Result<()>| {
        let clusters = Arc::clone(clusters);
        Trial::test(name, move || clusters.ours(shape, test))
    };
    let mut trials = vec![
        on_any("round_trip", THREE_NODES, round_trip::round_trip),
        on_any("three_ways", THREE_NODES, three_ways::three_ways),
        on_any("relay", THREE_NODES, relay::relay),
        on_ours("unknown_topic_is_refused", THREE_NODES, refusals::unknown_topic),
        on_ours("too_few_replicas_are_refused", THREE_NODES, refusals::too_few_replicas),
        on_ours("failover", THREE_NODES, failover::failover),
        on_ours("first_bootstrap_server_dead", THREE_NODES, failover::first_bootstrap_server_dead),
    ];
    // A user's own cluster has fixed nodes and a fixed version.
    if Kafka::from_environment().is_none() {
        trials.push(on_any("round_trip_on_one_node", (kafka::VERSION, 1), round_trip::round_trip));
        trials.push(on_any("round_trip_on_3_7", ("3.7.2", 1), round_trip::round_trip));
        trials.push(on_any("round_trip_on_4_4", ("4.4.0", 1), round_trip::round_trip));
        trials.push(on_any("wrong_broker_is_refused", ("4.4.0", 1), identity::wrong_broker_is_refused));
        for (name, version, is_rare) in
            [("secured", kafka::VERSION, false), ("secured_on_3_9", "3.9.1", true), ("secured_on_3_7", "3.7.2", true)]
        {
            let clusters = Arc::clone(clusters);
            let test = Trial::test(name, move || clusters.none(|| secured::secured(version)));
            trials.push(test.with_ignored_flag(is_rare));
        }
        let clusters_of_turns = Arc::clone(clusters);
        trials.push(Trial::test("conformance_of_sasl", move || clusters_of_turns.none(turns::turns)));
        let clusters = Arc::clone(clusters);
        trials.push(Trial::test("conformance", move || clusters.none(conforming::conformance)));
    }
    trials
}

/// A version of Kafka and a number of nodes.
type Shape = (&'static str, usize);

const THREE_NODES: Shape = (kafka::VERSION, 3);

/// The running cluster: one at a time, because several would compete for cores.
#[derive(Default)]
struct Clusters {
    running: Mutex<Option<(Shape, Cluster)>>,
}

impl Clusters {
    /// Runs a test on a cluster of ours. After a failed test its cluster is not used again.
    fn ours(&self, shape: Shape, test: impl FnOnce(&mut Cluster) -> Result<()>) -> Result<(), Failed> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, mut cluster) = match running.take() {
            Some((other, cluster)) if other == shape => (other, cluster),
            other => {
                drop(other);
                let (version, nodes) = shape;
                println!("\nKafka {version}, nodes: {nodes}");
                (shape, Cluster::start(version, nodes).map_err(failed)?)
            }
        };
        test(&mut cluster).map_err(failed)?;
        *running = Some((shape, cluster));
        Ok(())
    }

    /// Runs a test that starts clusters of its own.
    fn none(&self, test: impl FnOnce() -> Result<()>) -> Result<(), Failed> {
        drop(self.running.lock().unwrap_or_else(PoisonError::into_inner).take());
        test().map_err(failed)
    }

    /// Runs a test on the cluster in `KAFKA_BOOTSTRAP`, or on one of ours.
    fn theirs_or(&self, shape: Shape, test: impl FnOnce(&Kafka) -> Result<()>) -> Result<(), Failed> {
        match Kafka::from_environment() {
            Some(theirs) => theirs.and_then(|kafka| test(&kafka)).map_err(failed),
            None => self.ours(shape, |cluster| test(cluster.kafka())),
        }
    }
}

fn failed(error: anyhow::Error) -> Failed {
    format!("{error:#}").into()
}
