//! Other producers, each in a small program that writes the same file of records.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use kurier_e2e::java::{Jars, run};
use kurier_e2e::{python, target};

/// Version of [`Client::OldJava`], the same as the limit of [`Client::OldFranzGo`].
const OLD_JAVA: &str = "2.4.1";

const GO_MODULES: &str = include_str!("../../captures/franz-go/go.mod");

/// The programs, ready to run.
pub(crate) struct Clients {
    python: PathBuf,
    franz_go: PathBuf,
}

/// One of the producers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// The Java client in the server's version.
    Java,
    ConfluentKafka,
    FranzGo,
    /// The Java client of Kafka 2.4: tshark knows all its API versions.
    OldJava,
    /// franz-go, limited to API versions of Kafka 2.4.
    OldFranzGo,
}

/// Settings of a producer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) client: Client,
    pub(crate) codec: &'static str,
    /// "all", which also means idempotent, or "1".
    pub(crate) acks: &'static str,
}

/// A client's own count of its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) acknowledged: usize,
    pub(crate) refused: usize,
}

impl Clients {
    /// Installs missing clients in the target folder.
    pub(crate) fn fetch() -> Result<Self> {
        let folder = target().join("captures");
        fs::create_dir_all(&folder)?;
        Ok(Self { python: python::confluent_kafka()?, franz_go: franz_go(&folder)? })
    }

    /// Returns a client's name and version.
    pub(crate) fn name(client: Client, server: &str) -> Result<String> {
        Ok(match client {
            Client::Java => format!("java-{server}"),
            Client::OldJava => format!("java-{OLD_JAVA}"),
            Client::ConfluentKafka => format!("confluent-kafka-{}", pinned(python::REQUIREMENTS, "confluent-kafka==")?),
            Client::FranzGo | Client::OldFranzGo => {
                format!("franz-go-{}", pinned(GO_MODULES, "require github.com/twmb/franz-go v")?)
            }
        })
    }

    /// Writes the records of a file to a topic.
    pub(crate) fn write(
        &self,
        settings: Settings,
        server: &'static str,
        bootstrap: &str,
        topic: &str,
        file: &Path,
    ) -> Result<Told> {
        let Settings { client, codec, acks } = settings;
        let mut program = match client {
            Client::Java => java(&Jars::fetch_server(server)?)?,
            Client::OldJava => java(&Jars::fetch(OLD_JAVA)?)?,
            Client::ConfluentKafka => {
                let mut python = Command::new(&self.python);
                python.arg(python::source("write_records.py"));
                python
            }
            Client::FranzGo | Client::OldFranzGo => Command::new(&self.franz_go),
        };
        program.args([bootstrap, topic, codec, acks]).arg(file);
        if client == Client::OldFranzGo {
            program.arg("2.4");
        }
        let output = run(&mut program, "it was there before")?;
        let told = String::from_utf8(output.stdout)?;
        let mut counts = told.split_whitespace().map(str::parse);
        match (counts.next(), counts.next(), counts.next()) {
            (Some(Ok(acknowledged)), Some(Ok(refused)), None) => Ok(Told { acknowledged, refused }),
            _ => bail!("{client:?} said {told:?}, not how many records were acknowledged and refused"),
        }
    }
}

fn java(jars: &Jars) -> Result<Command> {
    Ok(jars.compile("WriteRecords")?.command(&["-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]))
}

/// Builds the franz-go program each time, because Go itself detects changes.
fn franz_go(folder: &Path) -> Result<PathBuf> {
    let program = folder.join("franz-go");
    let mut build = Command::new("go");
    build.args(["build", "-mod=readonly", "-buildvcs=false", "-o"]).arg(&program).arg(".");
    build.current_dir(python::source("franz-go"));
    run(&mut build, "apt-get install golang-go (from 1.21 on it fetches the version that go.mod asks for)")?;
    Ok(program)
}

fn pinned<'a>(file: &'a str, before: &str) -> Result<&'a str> {
    let version = file.lines().find_map(|line| line.strip_prefix(before));
    Ok(version.with_context(|| format!("no line {before}..."))?.trim())
}
