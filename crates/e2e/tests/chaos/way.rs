//! The listener that our producers use: the plain one, or with `CHAOS_SECURED=1` SASL over TLS with sessions of five
//! seconds.

use std::env;
use std::net::SocketAddr;

use anyhow::Result;
use kurier::{Producer, ProducerBuilder};
use kurier_e2e::cluster::{Cluster, Shape};
use kurier_e2e::kafka::VERSION;
use kurier_e2e::listener::{Listener, PASSWORD, USER};
use kurier_e2e::testdata;

/// Starts the cluster.
pub(crate) fn start() -> Result<Cluster> {
    let shape = Shape { has_detours: true, ..Shape::new(VERSION, 3) };
    let is_secured = env::var_os("CHAOS_SECURED").is_some_and(|value| !value.is_empty());
    println!("Kafka {VERSION}, nodes: 3, {}", if is_secured { "SASL over TLS, sessions of 5 s" } else { "plaintext" });
    if !is_secured {
        return Cluster::start_as(&shape);
    }
    let settings = [("connections.max.reauth.ms", "5000")];
    Cluster::start_as(&Shape { listeners: &[Listener::SaslTls], settings: &settings, ..shape })
}

/// Returns a producer of the cluster.
pub(crate) fn builder(cluster: &Cluster) -> ProducerBuilder {
    match cluster.secured_servers(Listener::SaslTls) {
        Ok(servers) => Producer::builder()
            .bootstrap_servers([servers])
            .set("security.protocol", Listener::SaslTls.protocol())
            .truststore_location(testdata("tls/ca.pem"))
            .sasl_scram_sha_512(USER, PASSWORD),
        Err(_) => Producer::builder().bootstrap_servers([cluster.kafka().bootstrap_servers()]),
    }
}

/// Returns a node's address for our producers.
pub(crate) fn address(cluster: &Cluster, node: i32) -> Result<SocketAddr> {
    cluster.secured_address(node, Listener::SaslTls).or_else(|_| cluster.address(node))
}
