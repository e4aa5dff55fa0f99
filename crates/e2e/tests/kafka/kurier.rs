//! The `kurier` command as users run it: its exit status, its messages, its delivery report.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kurier_e2e::clock::{now, wait_until};
use kurier_e2e::command::binary;
use kurier_e2e::kafka::Kafka;
use serde_json::Value;
use tempfile::TempDir;

/// A `kurier produce` command before its start.
pub(crate) struct Produce {
    command: Command,
    topic: String,
    folder: TempDir,
}

/// A running command; dropping it ends it.
pub(crate) struct Producing {
    process: Child,
    topic: String,
    started: Instant,
    folder: TempDir,
}

/// A finished command.
pub(crate) struct Produced {
    /// Exit status; `None` after a signal.
    pub(crate) code: Option<i32>,
    /// Output on standard error.
    pub(crate) talk: String,
    /// Delivery report, in the order of the input lines.
    pub(crate) report: Vec<Reported>,
    pub(crate) took: Duration,
}

/// A line of the delivery report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reported {
    /// Line number of the input, from 1.
    pub(crate) line: usize,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With acks=0 there is no offset.
    Written { partition: i32, offset: Option<i64> },
    /// `written` is "no" or "unknown".
    Failed { error: String, written: String },
}

impl Produce {
    /// Creates a command for this topic, with the report that every test needs.
    pub(crate) fn to(kafka: &Kafka, topic: &str) -> Result<Self> {
        Self::at(kafka.bootstrap_servers(), topic)
    }

    /// Like [`to`](Self::to), with other addresses of the cluster.
    pub(crate) fn at(bootstrap_servers: &str, topic: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(binary()?);
        command.args(["produce", "-b", bootstrap_servers, "-t", topic, "--delivery-report"]);
        command.arg(folder.path().join("report"));
        Ok(Self { command, topic: topic.to_owned(), folder })
    }

    pub(crate) fn arguments(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Runs the command on this file until it ends.
    pub(crate) fn file(mut self, file: &Path) -> Result<Produced> {
        self.command.arg(file).stdin(Stdio::null());
        self.start()?.finish()
    }

    /// Starts the command on standard input.
    pub(crate) fn standard_input(mut self) -> Result<(Producing, ChildStdin)> {
        self.command.stdin(Stdio::piped());
        let mut producing = self.start()?;
        let input = producing.process.stdin.take().context("it was given one")?;
        Ok((producing, input))
    }

    fn start(mut self) -> Result<Producing> {
        self.command.stdout(Stdio::null()).stderr(File::create(self.folder.path().join("talk"))?);
        let process = self.command.spawn().with_context(|| format!("{:?} cannot be run", self.command))?;
        Ok(Producing { process, topic: self.topic, started: now(), folder: self.folder })
    }
}

impl Producing {
    /// Waits for the command's end, for longer than the default delivery.timeout.ms of two minutes.
    pub(crate) fn finish(mut self) -> Result<Produced> {
        let talk = |folder: &TempDir| fs::read_to_string(folder.path().join("talk")).unwrap_or_default();
        let limit = Duration::from_secs(150);
        let status = wait_until("kurier produce ended", limit, || Ok(self.process.try_wait()?))
            .with_context(|| format!("it said: {}", talk(&self.folder)))?;
        let took = self.started.elapsed();
        let talk = talk(&self.folder);
        // Without a report, the exit status and messages say why.
        let report = fs::read_to_string(self.folder.path().join("report")).unwrap_or_default();
        let mut report = report
            .lines()
            .map(|line| Reported::parse(line, &self.topic).with_context(|| format!("the delivery report: {line}")))
            .collect::<Result<Vec<_>>>()?;
        report.sort_by_key(|reported| reported.line);
        Ok(Produced { code: status.code(), talk, report, took })
    }
}

impl Drop for Producing {
    fn drop(&mut self) {
        let _ended_already = self.process.kill();
        let _nothing_to_do_about_it = self.process.wait();
    }
}

impl Produced {
    /// Checks the exit status, and that the report has each line once.
    pub(crate) fn expect(&self, code: i32, lines: usize) -> Result<()> {
        let Self { code: ended, talk, report, .. } = self;
        ensure!(*ended == Some(code), "it ended with {ended:?}, not {code}, and said: {talk}");
        let found = report.iter().map(|reported| reported.line);
        ensure!(found.eq(1..=lines), "the report has {} lines, not each of 1 to {lines} once", report.len());
        Ok(())
    }

    /// Checks that every line of the report failed and is known not to be written.
    pub(crate) fn expect_not_written(&self, why: &str) -> Result<()> {
        for Reported { line, outcome } in &self.report {
            let Outcome::Failed { error, written } = outcome else { bail!("line {line} was written: {outcome:?}") };
            ensure!(error.contains(why), "line {line} failed, but not with {why}: {error}");
            ensure!(written == "no", "line {line} was not written, but the report says {written:?}");
        }
        ensure!(self.talk.contains(why), "it does not say {why}: {}", self.talk);
        Ok(())
    }
}

impl Reported {
    fn parse(line: &str, topic: &str) -> Result<Self> {
        let fields: Value = line.parse()?;
        let number = |name: &str| fields.get(name).and_then(Value::as_i64);
        let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
        let outcome = match text("error") {
            Some(error) => Outcome::Failed { error, written: text("written").context("written")? },
            None => {
                ensure!(text("topic").as_deref() == Some(topic), "another topic");
                let partition = number("partition").context("partition")?.try_into()?;
                Outcome::Written { partition, offset: number("offset") }
            }
        };
        Ok(Self { line: number("line").context("line")?.try_into()?, outcome })
    }
}
