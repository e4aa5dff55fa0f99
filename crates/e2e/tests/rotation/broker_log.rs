//! Clients in the logs of the brokers.

use anyhow::{Context, Result};
use kurier_e2e::cluster::Cluster;
use serde_json::Value;

/// Returns the principals of a client's Produce requests to a node, in the order of their first request.
pub(crate) fn principals(cluster: &Cluster, node: i32, client_id: &str) -> Result<Vec<String>> {
    let mut principals: Vec<String> = Vec::new();
    let log = cluster.log(node)?;
    let about = format!("\"clientId\":\"{client_id}\"");
    let requests = log.lines().filter(|line| line.contains(&about) && line.contains("\"PRODUCE\""));
    for line in requests.filter_map(|line| line.split_once("Completed request:")) {
        let request: Value = line.1.parse().with_context(|| format!("the log of node {node}: {}", line.1))?;
        let principal = request["principal"].as_str().context("a principal")?;
        if !principals.iter().any(|other| other == principal) {
            principals.push(principal.to_owned());
        }
    }
    Ok(principals)
}

/// Returns how many lines of the nodes' logs contain a text.
pub(crate) fn count(cluster: &Cluster, text: &str) -> Result<usize> {
    let of_node = |node: i32| Ok(cluster.log(node)?.lines().filter(|line| line.contains(text)).count());
    cluster.node_ids().into_iter().map(of_node).sum()
}
