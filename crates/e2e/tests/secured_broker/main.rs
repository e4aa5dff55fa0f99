//! Tests of our broker with TLS and SASL, with other implementations as clients. Each protocol with each mechanism
//! delivers, a wrong password or certificate is refused in Kafka's words, and clients whose sessions end while they write
//! lose no record.
//!
//! `make broker-judges` shows the tables for Java and kcat, `make broker-judges-python` those for confluent-kafka.
#![expect(clippy::print_stdout, reason = "tests show what they counted")]

mod cell;
mod client;
mod sessions;

use anyhow::{Context, Result, ensure};
use kurier_broker::Broker;
use kurier_e2e::listener::USER;
use tokio::runtime::Runtime;

use cell::{Cell, Mistake};
use client::{Client, RECORDS, Told};

#[test]
fn java_and_kcat_write_and_read_with_every_protocol_and_mechanism() {
    for client in [Client::java().unwrap(), Client::kcat().unwrap()] {
        check_cells(&client).with_context(|| client.to_string()).unwrap();
    }
}

#[test]
#[ignore = "fetches a wheel: make broker-judges-python"]
fn confluent_kafka_writes_and_reads_with_every_protocol_and_mechanism() {
    check_cells(&Client::confluent_kafka().unwrap()).unwrap();
}

fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

/// Lets a client write and read in each cell, and prints a table.
fn check_cells(client: &Client) -> Result<()> {
    let runtime = runtime()?;
    let cells: Vec<Cell> = Cell::all().into_iter().chain(Cell::mistakes()).collect();
    let brokers: Vec<Broker> =
        cells.iter().map(|cell| cell::start(&runtime, cell.listener, None)).collect::<Result<_>>()?;
    let servers = brokers.iter().map(Broker::bootstrap_servers);
    let told = client.exchange(&cells.iter().copied().zip(servers).collect::<Vec<_>>())?;
    println!("\n{client}\n{:<42} {:>7} {:>4} {:>6}  refusal", "cell", "written", "read", "logins");
    for ((cell, broker), told) in cells.iter().zip(&brokers).zip(&told) {
        let name = cell.name();
        let logins: Vec<_> =
            broker.with_cluster(|cluster| cluster.logins().map(|login| login.principal.clone()).collect());
        println!("{name:<42} {:>7} {:>4} {:>6}  {}", told.written, told.read, logins.len(), told.error);
        check_told(client, cell, told).with_context(|| name.clone())?;
        let is_refused = told.written == 0;
        let principal = Some(USER.to_owned()).filter(|_| !is_refused);
        ensure!(logins.iter().all(|login| *login == principal), "{name}: {logins:?}");
        ensure!(logins.is_empty() == cell.mechanism.is_none(), "{name}: {logins:?}");
    }
    Ok(())
}

/// Checks a client's account of a cell.
fn check_told(client: &Client, cell: &Cell, told: &Told) -> Result<()> {
    let is_scram = cell.mechanism.is_some_and(|mechanism| mechanism.starts_with("SCRAM"));
    let refusal = match (cell.mistake, cell.mechanism) {
        (None, Some(mechanism)) if is_scram && client.has_wrong_nonces() => invalid_credentials(mechanism),
        (Some(Mistake::WrongPassword), Some("PLAIN")) => {
            "Authentication failed: Invalid username or password".to_owned()
        }
        (Some(Mistake::WrongPassword), mechanism) => invalid_credentials(mechanism.unwrap_or_default()),
        (Some(Mistake::ForeignAuthority), _) if matches!(client, Client::Java(_)) => {
            "PKIX path building failed".to_owned()
        }
        (Some(Mistake::ForeignAuthority), _) => "certificate verify failed".to_owned(),
        // TLS 1.3 reports it after the client's side of the handshake.
        (Some(Mistake::NoCertificate), _) if matches!(client, Client::Java(_)) => "certificate_required".to_owned(),
        (Some(Mistake::NoCertificate), _) => "certificate required".to_owned(),
        (None, _) => {
            ensure!(told == &Told { written: RECORDS, read: RECORDS, error: String::new() }, "{told:?}");
            return Ok(());
        }
    };
    ensure!(told.written == 0 && told.error.contains(&refusal), "not refused with {refusal:?}: {told:?}");
    Ok(())
}

fn invalid_credentials(mechanism: &str) -> String {
    format!("Authentication failed during authentication due to invalid credentials with SASL mechanism {mechanism}")
}
