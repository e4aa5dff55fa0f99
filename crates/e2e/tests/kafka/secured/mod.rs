//! TLS and SASL with real Kafka: every protocol with every mechanism delivers, and every failure names its cause.

mod cells;
mod failures;

use anyhow::Result;
use kurier_e2e::cluster::{Cluster, Shape};
use kurier_e2e::listener::Listener;

pub(crate) fn secured(version: &'static str) -> Result<()> {
    println!("\nKafka {version}, nodes: 1");
    let shape = Shape { listeners: &Listener::ALL, logs_requests: true, ..Shape::new(version, 1) };
    let cluster = Cluster::start_as(&shape)?;
    cells::cells(&cluster)?;
    failures::failures(&cluster)
}
