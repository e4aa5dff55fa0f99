//! Each protocol with each mechanism: `kurier produce` writes, Java's consumer reads the same lines back, and the
//! broker's log names the client as whom the broker knew it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result, ensure};
use kurier_e2e::cluster::Cluster;
use kurier_e2e::command::{binary, provider};
use kurier_e2e::listener::{Listener, PASSWORD, USER};
use kurier_e2e::testdata;
use serde_json::Value;

use crate::kurier::Produce;

const LINES: usize = 1_000;

const MECHANISMS: [&str; 4] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"];

/// A protocol and a mechanism.
struct Cell {
    name: String,
    /// The plain one, if `None`.
    listener: Option<Listener>,
    mechanism: Option<&'static str>,
}

pub(super) fn cells(cluster: &Cluster) -> Result<()> {
    let cells = all();
    ensure!(cells.len() == 11, "{} cells", cells.len());
    binary()?;
    println!("kurier with {}", provider().as_deref().unwrap_or("its default provider of TLS"));
    println!("{:<28} {:>7} {:>8} {:>7} {:<16}", "cell", "written", "by Java", "took", "principal");
    for cell in &cells {
        cell.check(cluster).with_context(|| cell.name.clone())?;
    }
    Ok(())
}

fn all() -> Vec<Cell> {
    let cell = |name: &str, listener, mechanism| Cell { name: name.to_owned(), listener, mechanism };
    let mut cells = vec![
        cell("PLAINTEXT", None, None),
        cell("SSL", Some(Listener::Tls), None),
        cell("SSL-mutual", Some(Listener::MutualTls), None),
    ];
    for listener in [Listener::SaslPlaintext, Listener::SaslTls] {
        let of = |mechanism| cell(&format!("{}-{mechanism}", listener.protocol()), Some(listener), Some(mechanism));
        cells.extend(MECHANISMS.map(of));
    }
    cells
}

impl Cell {
    fn check(&self, cluster: &Cluster) -> Result<()> {
        let Self { name, listener, .. } = self;
        let kafka = cluster.kafka();
        let servers = match listener {
            Some(listener) => cluster.secured_servers(*listener)?,
            None => kafka.bootstrap_servers().to_owned(),
        };
        kafka.create_topic(name, 3, 1, &[])?;
        let folder = tempfile::tempdir()?;
        let [settings, file] = ["settings", "lines"].map(|name| folder.path().join(name));
        fs::write(&settings, self.settings())?;
        let lines: Vec<String> = (0..LINES).map(|n| format!("{name} line {n:04}")).collect();
        fs::write(&file, lines.join("\n"))?;

        let produce = Produce::at(&servers, name)?.arguments(["--command-config".as_ref(), settings.as_os_str()]);
        let produced = produce.file(&file)?;
        produced.expect(0, LINES)?;
        let mut read: Vec<String> = kafka.read_by_java(name)?.into_iter().map(|record| record.value).collect();
        read.sort();
        ensure!(read == lines, "Java read {} other lines", read.len());
        let principals = principals(cluster, name)?;
        ensure!(principals == BTreeSet::from([self.principal().to_owned()]), "the broker knew it as {principals:?}");
        let seconds = produced.took.as_secs_f64();
        println!("{name:<28} {LINES:>7} {:>8} {seconds:>5.2} s {:<16}", read.len(), self.principal());
        Ok(())
    }

    /// Returns a properties file.
    fn settings(&self) -> String {
        let protocol = self.listener.map_or("PLAINTEXT", Listener::protocol);
        // The broker logs the client's id with each request.
        let mut settings = vec![("client.id", self.name.clone()), ("security.protocol", protocol.to_owned())];
        let file = |name: &str| testdata(name).display().to_string();
        if protocol.ends_with("SSL") {
            settings.push(("ssl.truststore.location", file("tls/ca.pem")));
            settings.extend(provider().map(|provider| ("kurier.tls.provider", provider)));
        }
        if self.listener == Some(Listener::MutualTls) {
            settings.push(("ssl.keystore.location", file("tls/client-bundle.pem")));
        }
        settings.extend(self.mechanism.map(|mechanism| ("sasl.mechanism", mechanism.to_owned())));
        match self.mechanism {
            Some("OAUTHBEARER") => settings.extend([
                ("enable.sasl.oauthbearer.unsecure.jwt", "true".to_owned()),
                ("sasl.oauthbearer.config", format!("principal={USER}")),
            ]),
            Some(_) => {
                settings.extend([("sasl.username", USER.to_owned()), ("sasl.password", PASSWORD.to_owned())]);
            }
            None => {}
        }
        settings.iter().fold(String::new(), |mut text, (name, value)| {
            let _a_string_takes_all = writeln!(text, "{name}={value}");
            text
        })
    }

    fn principal(&self) -> &'static str {
        match self.listener {
            Some(Listener::MutualTls) => "User:CN=client",
            _ if self.mechanism.is_some() => "User:alice",
            _ => "User:ANONYMOUS",
        }
    }
}

/// Returns the principals of a client's Produce requests, from the broker's log.
fn principals(cluster: &Cluster, client_id: &str) -> Result<BTreeSet<String>> {
    let mut principals = BTreeSet::new();
    for line in cluster.log(0)?.lines().filter_map(|line| line.split_once("Completed request:")) {
        let request: Value = line.1.parse().with_context(|| format!("the broker's log: {}", line.1))?;
        let header = &request["requestHeader"];
        if header["clientId"] == client_id && header["requestApiKeyName"] == "PRODUCE" {
            principals.extend(request["principal"].as_str().map(str::to_owned));
        }
    }
    Ok(principals)
}
