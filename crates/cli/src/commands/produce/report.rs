//! The delivery report of `kurier produce`: the outcome of each record, one JSON object per line.
//!
//! A thread of its own writes the lines, so that a slow disk or a pipe without a reader delays no signal. Callbacks wait
//! for it only while too many lines are unwritten.

use std::fmt;
use std::fs::File;
use std::future::pending;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Error, Result};
use indicatif::ProgressBar;
use kurier::{RecordMetadata, Written};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::exit::{Cause, Misuse};
use crate::interrupt::Signals;
use crate::notice;
use crate::sync::lock;
use crate::target::{FileId, Target};

/// Maximum size of the lines that the writer has not taken.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// Size of one write. Small writes show that a slow reader still reads.
const WRITE_BYTES: usize = 4096;

/// Once signals have arrived, the command waits this long for a write to complete, and then gives up the report.
const PATIENCE: Duration = Duration::from_secs(1);

/// An open delivery report.
#[derive(Default)]
pub(crate) struct Report {
    state: Mutex<State>,
    /// Notified when lines arrive, when there is space for more, and when the report ends.
    changed: Condvar,
    /// Notified when the report has ended.
    ended: Notify,
}

#[derive(Default)]
struct State {
    /// Lines that the writer has not taken.
    lines: Vec<u8>,
    /// Size of the lines that are not written, taken or not.
    unwritten: usize,
    /// Number of completed writes.
    writes: u64,
    /// Whether no further line comes.
    is_complete: bool,
    /// Whether no further line is written: all are, or one could not be, or the report was given up.
    has_ended: bool,
    error: Option<io::Error>,
    /// Exit status of the signal that gave up the report.
    given_up: Option<ExitCode>,
}

impl Report {
    /// Checks that the report can be opened, and changes nothing; `-` is standard output.
    ///
    /// # Errors
    /// When the file is an input, holds other data, or cannot be written.
    pub(crate) fn check(path: &Path, inputs: &[FileId]) -> Result<Target> {
        Target::new(path, inputs, "delivery report", is_report).map_err(|why| misuse(path, why))
    }

    /// Opens the report. An older report is replaced.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub(crate) fn open(path: &Path, inputs: &[FileId]) -> Result<Arc<Self>> {
        // The file may have changed since the command started.
        let to = Self::check(path, inputs)?.open().map_err(|error| misuse(path, error))?;
        let report = Arc::new(Self::default());
        let writing = Arc::clone(&report);
        thread::Builder::new().name("kurier-report".to_owned()).spawn(move || writing.write_all(to))?;
        Ok(report)
    }

    /// Writes the outcome of a record.
    pub(crate) fn outcome(&self, number: u64, result: &Result<RecordMetadata, kurier::Error>) {
        let line = match result {
            Ok(metadata) => {
                let mut line = json!({ "line": number, "topic": metadata.topic(), "partition": metadata.partition() });
                if let (Some(offset), Some(line)) = (metadata.offset(), line.as_object_mut()) {
                    line.insert("offset".to_owned(), offset.into());
                }
                line
            }
            Err(error) => {
                let (topic, partition) = error.topic_partition().unwrap_or_default();
                let (text, written) = (format!("{error:#}"), word(error.written()));
                json!({ "line": number, "topic": topic, "partition": partition, "error": text, "written": written })
            }
        };
        self.add(&line);
    }

    /// Writes that a record was not sent.
    pub(crate) fn refusal(&self, number: u64, topic: &str, error: &dyn fmt::Display, written: Written) {
        let text = format!("{error:#}");
        self.add(&json!({ "line": number, "topic": topic, "error": text, "written": word(written) }));
    }

    /// Adds a line. Waits while too many lines are unwritten.
    fn add(&self, line: &Value) {
        let line = format!("{line}\n");
        let mut state = self.state();
        while state.lines.len() > WAITING_BYTES_MAX && !state.has_ended {
            state = self.wait(state);
        }
        if !state.has_ended {
            if state.lines.is_empty() {
                self.changed.notify_all();
            }
            state.lines.extend_from_slice(line.as_bytes());
            state.unwritten += line.len();
        }
    }

    /// Writes all lines.
    fn write_all(&self, mut to: File) {
        while let Some(lines) = self.next_lines() {
            let written = lines.chunks(WRITE_BYTES).try_for_each(|chunk| {
                to.write_all(chunk)?;
                let mut state = self.state();
                state.unwritten -= chunk.len();
                state.writes += 1;
                Ok(())
            });
            if let Err(error) = written {
                return self.end(Some(error));
            }
        }
        self.end(None);
    }

    /// Takes the unwritten lines. Returns `None` after the last.
    fn next_lines(&self) -> Option<Vec<u8>> {
        let mut state = self.state();
        while state.lines.is_empty() && !state.is_complete && !state.has_ended {
            state = self.wait(state);
        }
        if state.lines.is_empty() || state.has_ended {
            return None;
        }
        self.changed.notify_all();
        Some(std::mem::take(&mut state.lines))
    }

    fn end(&self, error: Option<io::Error>) {
        let mut state = self.state();
        if !state.has_ended {
            state.has_ended = true;
            state.error = error;
        }
        drop(state);
        self.changed.notify_all();
        self.ended.notify_waiters();
    }

    /// Gives up the report once two signals have arrived and no write completes. Until then, each callback still adds
    /// its line.
    pub(crate) async fn give_up_on(self: Arc<Self>, mut signals: Signals, progress: ProgressBar) {
        let _first = signals.unless(pending::<()>()).await;
        let mut second = signals.unless(self.stalls()).await;
        if second.is_ok() {
            let text = "interrupted: the delivery report waits for its reader; another Ctrl-C ends the wait";
            progress.suspend(|| notice::say(text));
            second = signals.unless(pending()).await;
        }
        self.stalls().await;
        self.state().given_up = second.err();
        self.end(Some(io::Error::other("its reader stopped reading, and a signal ended the wait")));
    }

    /// Waits until lines are unwritten and no write completes.
    async fn stalls(&self) {
        loop {
            let State { unwritten, writes, .. } = *self.state();
            sleep(PATIENCE).await;
            if unwritten > 0 && writes == self.state().writes {
                return;
            }
        }
    }

    /// Waits until all lines are written. If the report was given up, returns the exit status.
    ///
    /// # Errors
    /// When a line could not be written.
    pub(crate) async fn finish(&self) -> Result<Option<ExitCode>> {
        self.state().is_complete = true;
        self.changed.notify_all();
        loop {
            let ended = self.ended.notified();
            if self.state().has_ended {
                break;
            }
            ended.await;
        }
        let mut state = self.state();
        match state.error.take() {
            None => Ok(None),
            Some(error) => {
                let error = Error::new(error).context("the delivery report is incomplete");
                let Some(status) = state.given_up else { return Err(error) };
                notice::say(format_args!("{error:#}"));
                Ok(Some(status))
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

fn misuse(path: &Path, why: impl Into<Cause>) -> Error {
    Misuse::because(format_args!("--delivery-report {}", path.display()), why)
}

fn word(written: Written) -> &'static str {
    match written {
        Written::No => "no",
        Written::Unknown => "unknown",
    }
}

/// Returns whether all lines at the beginning of a file are lines of a report. The last one may be cut.
fn is_report(beginning: &[u8]) -> bool {
    let (whole, cut) = match beginning.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => (beginning.get(..end).unwrap_or_default(), beginning.get(end + 1..).unwrap_or_default()),
        None => (beginning, &[][..]),
    };
    whole.split(|byte| *byte == b'\n').all(is_outcome) && (cut.is_empty() || cut.starts_with(b"{"))
}

/// Returns whether a line has the fields that [`Report`] writes, and no others.
fn is_outcome(line: &[u8]) -> bool {
    const FIELDS: [&[&str]; 4] = [
        &["line", "topic", "partition"],
        &["line", "topic", "partition", "offset"],
        &["line", "topic", "error", "written"],
        &["line", "topic", "partition", "error", "written"],
    ];
    let Ok(Value::Object(line)) = serde_json::from_slice(line) else { return false };
    let has = |fields: &[&str]| line.len() == fields.len() && fields.iter().all(|field| line.contains_key(*field));
    let is_text = |field: &str| line.get(field).is_none_or(Value::is_string);
    let is_number = |field: &str| line.get(field).is_none_or(Value::is_i64);
    FIELDS.into_iter().any(has)
        && ["line", "partition", "offset"].into_iter().all(is_number)
        && ["topic", "error", "written"].into_iter().all(is_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_is_recognised_by_its_lines() {
        for (text, expected) in [
            ("{\"line\":1,\"offset\":0,\"partition\":0,\"topic\":\"t\"}\n{", true),
            ("{\"line\":1,\"partition\":0,\"topic\":\"t\"}", true),
            ("{\"error\":\"e\",\"line\":1,\"topic\":\"t\",\"written\":\"no\"}\n", true),
            ("{\"error\":\"e\",\"line\":1,\"partition\":0,\"topic\":\"t\",\"written\":\"unknown\"}\n", true),
            ("{\"line\":5,\"topic\":\"news\",\"text\":\"precious\"}\n", false),
            ("{\"line\":5,\"topic\":\"news\",\"error\":\"precious\"}\n", false),
            ("{\"line\":\"5\",\"topic\":\"news\",\"partition\":0}\n", false),
            ("{\"line\":5,\"topic\":\"news\",\"partition\":0}\n{\"line\":6,\"text\":\"precious\"}\n", false),
            ("{\"line\":5,\"topic\":\"news\",\"partition\":0}\nprecious", false),
            ("{\"line\":1,\"topic\":\"t\"}", false),
            ("{\"topic\":\"t\",\"value\":\"an event\"}\n", false),
            ("[1]\n", false),
            ("line,topic\n", false),
            ("\n{\"line\":1,\"partition\":0,\"topic\":\"t\"}\n", false),
        ] {
            assert_eq!(is_report(text.as_bytes()), expected, "{text}");
        }
    }
}
