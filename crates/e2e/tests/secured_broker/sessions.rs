//! Sessions of five seconds: clients authenticate again while they write, and lose no record.
//!
//! kcat does not take part. librdkafka before 2.2 cannot authenticate again, and kcat ends when its only broker closes
//! the connection.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kurier_broker::{Broker, Login};
use kurier_e2e::clock::wait_until;
use kurier_e2e::java::Jars;
use kurier_e2e::kafka::VERSION;
use kurier_e2e::listener::{Listener, USER};
use kurier_e2e::python;
use tokio::runtime::Runtime;

use crate::cell::{self, Cell, Dialect};
use crate::client::QUIET;

/// Lifetime of a session.
const SESSION: Duration = Duration::from_secs(5);

/// How often each client must authenticate again.
const AGAIN: usize = 2;

/// Time limit for that. It takes about ten seconds, but a slow machine may need more.
const PATIENCE: Duration = Duration::from_secs(90);

/// A client that writes to a broker of its own.
struct Writer {
    /// Also the name of the topic.
    name: &'static str,
    broker: Broker,
    process: Child,
    /// Files of its standard output and error.
    output: [PathBuf; 2],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Program {
    Java,
    ConfluentKafka,
}

#[test]
fn java_loses_no_record_when_sessions_end() {
    let cases = [
        ("scram-256", Cell::of(Listener::SaslTls, Some("SCRAM-SHA-256"))),
        ("token", Cell::of(Listener::SaslPlaintext, Some("OAUTHBEARER"))),
    ];
    check(Program::Java, &cases).unwrap();
}

#[test]
#[ignore = "fetches a wheel: make broker-judges-python"]
fn confluent_kafka_loses_no_record_when_sessions_end() {
    let cases = [
        ("plain", Cell::of(Listener::SaslTls, Some("PLAIN"))),
        ("scram-256", Cell::of(Listener::SaslPlaintext, Some("SCRAM-SHA-256"))),
        ("scram-512", Cell::of(Listener::SaslTls, Some("SCRAM-SHA-512"))),
        ("token", Cell::of(Listener::SaslPlaintext, Some("OAUTHBEARER"))),
    ];
    check(Program::ConfluentKafka, &cases).unwrap();
}

/// Lets all clients write at once until each has authenticated again.
fn check(program: Program, cases: &[(&'static str, Cell)]) -> Result<()> {
    let runtime = crate::runtime()?;
    let folder = tempfile::tempdir()?;
    let mut writers = Vec::new();
    for (name, cell) in cases {
        writers.push(Writer::start(name, program, cell, &runtime, folder.path())?);
    }
    wait_until("each client has authenticated again", PATIENCE, || {
        Ok(writers.iter().all(|writer| writer.logins_again() >= AGAIN).then_some(()))
    })?;
    println!("\n{:<10} {:>7} {:>6} {:>6} {:>6} {:>6}", "sessions", "written", "log", "failed", "logins", "again");
    writers.into_iter().try_for_each(Writer::finish)
}

impl Writer {
    fn start(name: &'static str, program: Program, cell: &Cell, runtime: &Runtime, folder: &Path) -> Result<Self> {
        let broker = cell::start(runtime, cell.listener, Some(SESSION))?;
        let servers = broker.bootstrap_servers();
        let mut command = match program {
            Program::Java => {
                let mut java = Jars::fetch_server(VERSION)?.compile("KeepProducing")?.command(&[QUIET]);
                let settings = cell.write_settings(folder, Dialect::Java, &servers)?;
                java.args([&servers, name, "1", "100"]).arg(settings);
                java
            }
            Program::ConfluentKafka => {
                let mut python = Command::new(python::confluent_kafka()?);
                let settings = cell.write_settings(folder, Dialect::Librdkafka, &servers)?;
                python.arg(python::source("keep_producing.py")).arg(settings).arg(name);
                python
            }
        };
        // Use files, because pipes are read only at the end and would fill.
        let output = ["out", "err"].map(|end| folder.join(format!("{name}.{end}")));
        let [out, err] = &output;
        command.stdin(Stdio::piped()).stdout(File::create(out)?).stderr(File::create(err)?);
        let process = command.spawn().with_context(|| format!("{name} cannot be run"))?;
        Ok(Self { name, broker, process, output })
    }

    /// Counts the accepted logins after the first on a connection.
    fn logins_again(&self) -> usize {
        let is_accepted = |login: &&Login| login.is_again && login.principal.as_deref() == Some(USER);
        self.broker.with_cluster(|cluster| cluster.logins().filter(is_accepted).count())
    }

    /// Ends the client, and compares its account with the log.
    fn finish(mut self) -> Result<()> {
        drop(self.process.stdin.take());
        let status = self.process.wait()?;
        let again = self.logins_again();
        let [text, talk] = self.output.map(fs::read_to_string);
        let (name, text, talk) = (self.name, text?, talk?);
        let count = |word: &str| text.lines().filter(|line| line.starts_with(word)).count();
        let (written, failed) = (count("written"), count("failed"));
        let (end, logins, refused) = self.broker.with_cluster(|cluster| {
            let refused = cluster.logins().filter(|login| login.principal.is_none()).count();
            (cluster.end_offset(name, 0).unwrap_or_default(), cluster.logins().count(), refused)
        });
        println!("{name:<10} {written:>7} {end:>6} {failed:>6} {logins:>6} {again:>6}");
        ensure!(status.success(), "{name} ended with {status}: {talk}");
        ensure!(failed == 0 && written > 0, "{name} failed to write: {talk}");
        ensure!(i64::try_from(written) == Ok(end), "{name} lost or doubled records: {talk}");
        ensure!(refused == 0, "the broker refused {name}: {talk}");
        Ok(())
    }
}
