//! Other implementations as clients. Each writes records to a topic and reads them back.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};
use kurier_e2e::java::{Jars, Program, run};
use kurier_e2e::kafka::VERSION;
use kurier_e2e::python;

use crate::cell::{Cell, Dialect};

/// The records of each cell.
pub(crate) const RECORDS: usize = 100;

/// Silences the logs of Java.
pub(crate) const QUIET: &str = "-Dorg.slf4j.simpleLogger.defaultLogLevel=off";

/// An implementation.
pub(crate) enum Client {
    Java(Program),
    Kcat { version: String },
    ConfluentKafka(PathBuf),
}

/// A client's own account of a cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) written: usize,
    pub(crate) read: usize,
    /// Empty without one.
    pub(crate) error: String,
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Java(_) => write!(f, "Java {VERSION}"),
            Self::Kcat { version } => write!(f, "kcat with librdkafka {version}"),
            Self::ConfluentKafka(_) => f.write_str(python::REQUIREMENTS.trim()),
        }
    }
}

impl Client {
    pub(crate) fn java() -> Result<Self> {
        Ok(Self::Java(Jars::fetch_server(VERSION)?.compile("WriteAndRead")?))
    }

    pub(crate) fn kcat() -> Result<Self> {
        let output = run(Command::new("kcat").arg("-V"), "apt-get install kcat")?;
        let text = String::from_utf8(output.stdout)?;
        let version = text.split_once("librdkafka ").and_then(|(_, rest)| rest.split_whitespace().next());
        Ok(Self::Kcat { version: version.with_context(|| format!("kcat -V printed {text:?}"))?.to_owned() })
    }

    pub(crate) fn confluent_kafka() -> Result<Self> {
        Ok(Self::ConfluentKafka(python::confluent_kafka()?))
    }

    /// Lets the client try each combination of protocol and mechanism: it writes records to the given bootstrap servers and
    /// reads them back. Returns what it says of each, in the same order.
    pub(crate) fn exchange(&self, cells: &[(Cell, String)]) -> Result<Vec<Told>> {
        let folder = tempfile::tempdir()?;
        let dialect = if matches!(self, Self::Java(_)) { Dialect::Java } else { Dialect::Librdkafka };
        let files = cells.iter().map(|(cell, servers)| cell.write_settings(folder.path(), dialect, servers));
        let files: Vec<PathBuf> = files.collect::<Result<_>>()?;
        let mut program = match self {
            Self::Java(program) => program.command(&[QUIET]),
            Self::ConfluentKafka(python) => {
                let mut command = Command::new(python);
                command.arg(python::source("write_and_read.py"));
                command
            }
            Self::Kcat { .. } => return files.iter().map(|file| by_kcat(file)).collect(),
        };
        let output = run(program.arg(RECORDS.to_string()).args(&files), "it was there before")?;
        let told: Vec<Told> = String::from_utf8(output.stdout)?.lines().map(told).collect::<Result<_>>()?;
        ensure!(told.len() == cells.len(), "{self} told of {} cells, not {}", told.len(), cells.len());
        Ok(told)
    }

    /// Returns whether the client sends wrong nonces in SCRAM. librdkafka did until 2.6.0, and Kafka refuses them
    /// (CVE-2024-56128).
    pub(crate) fn has_wrong_nonces(&self) -> bool {
        let Self::Kcat { version } = self else { return false };
        let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or_default());
        let version = [numbers.next(), numbers.next(), numbers.next()].map(Option::unwrap_or_default);
        version < [2, 6, 1]
    }
}

/// Reads a line of the Java or Python program.
fn told(line: &str) -> Result<Told> {
    let fields: Vec<&str> = line.splitn(3, '\t').collect();
    match fields[..] {
        [written, read, error] => Ok(Told { written: written.parse()?, read: read.parse()?, error: error.to_owned() }),
        _ => bail!("a client printed {line:?}"),
    }
}

fn by_kcat(settings: &Path) -> Result<Told> {
    let topic = settings.file_name().and_then(|name| name.to_str()).context("a file name")?;
    let lines: Vec<String> = (0..RECORDS).map(|n| format!("{topic} {n}")).collect();
    let written = kcat(settings, topic, &["-P"], &lines.join("\n"))?;
    if !written.status.success() {
        return Ok(Told { error: errors(&written), ..Told::default() });
    }
    let read = kcat(settings, topic, &["-C", "-q", "-e", "-o", "beginning"], "")?;
    let error = if read.status.success() { String::new() } else { errors(&read) };
    let text = String::from_utf8(read.stdout)?;
    let same = text.lines().zip(&lines).take_while(|(read, written)| read == written).count();
    ensure!(text.lines().count() == same, "kcat read others than {lines:?}: {text}");
    Ok(Told { written: lines.len(), read: same, error })
}

fn kcat(settings: &Path, topic: &str, arguments: &[&str], input: &str) -> Result<Output> {
    let mut kcat = Command::new("kcat");
    kcat.arg("-F").arg(settings).args(arguments).args(["-t", topic, "-p", "0"]);
    kcat.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = kcat.spawn().context("apt-get install kcat")?;
    // A refused client reads no input.
    let _it_may_have_ended = child.stdin.take().context("it is piped")?.write_all(input.as_bytes());
    Ok(child.wait_with_output()?)
}

/// Returns kcat's first error.
fn errors(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().find_map(|line| line.strip_prefix("% ERROR: ")).unwrap_or(&text).to_owned()
}
