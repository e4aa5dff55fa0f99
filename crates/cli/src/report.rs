//! The delivery report of `kurier produce`: the outcome of each record, one JSON object per line.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, anyhow};
use kurier::{Error, RecordMetadata, Written};
use serde_json::{Value, json};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::interval;

use crate::exit::Misuse;
use crate::target::{FileId, Target};

/// Interval of writes to the file.
const FLUSH_EVERY: Duration = Duration::from_millis(500);

/// An open delivery report.
pub(crate) struct Report(Mutex<Lines>);

struct Lines {
    to: BufWriter<File>,
    /// Whether some lines are not flushed.
    is_dirty: bool,
    /// The first error. After it, the report writes nothing.
    error: Option<io::Error>,
}

impl Report {
    /// Opens the report; `-` is standard output. An older report is replaced.
    ///
    /// # Errors
    /// When the file is an input, holds other data, or cannot be written.
    pub(crate) fn open(path: &Path, inputs: &[FileId]) -> Result<Self> {
        let wrong = |why: &dyn fmt::Display| Misuse::error(format!("--delivery-report {}: {why}", path.display()));
        let target = Target::new(path, inputs, "delivery report", is_report).map_err(|why| wrong(&why))?;
        let to = BufWriter::new(target.open().map_err(|error| wrong(&error))?);
        Ok(Self(Mutex::new(Lines { to, is_dirty: false, error: None })))
    }

    /// Writes the outcome of a record.
    pub(crate) fn outcome(&self, number: u64, result: &Result<RecordMetadata, Error>) {
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
                let (text, written) = (error.to_string(), word(error.written()));
                json!({ "line": number, "topic": topic, "partition": partition, "error": text, "written": written })
            }
        };
        self.write(&line);
    }

    /// Writes that a record was not sent.
    pub(crate) fn refusal(&self, number: u64, topic: &str, error: &dyn fmt::Display, written: Written) {
        let text = error.to_string();
        self.write(&json!({ "line": number, "topic": topic, "error": text, "written": word(written) }));
    }

    fn write(&self, line: &Value) {
        let mut lines = self.lines();
        lines.is_dirty = true;
        lines.attempt(|to| writeln!(to, "{line}"));
    }

    fn flush(&self) {
        let mut lines = self.lines();
        if std::mem::take(&mut lines.is_dirty) {
            lines.attempt(BufWriter::flush);
        }
    }

    /// Starts a task that flushes the report at intervals.
    pub(crate) fn flush_regularly(self: &Arc<Self>) -> JoinHandle<()> {
        let report = Arc::clone(self);
        tokio::spawn(async move {
            let mut times = interval(FLUSH_EVERY);
            loop {
                times.tick().await;
                let report = Arc::clone(&report);
                // A slow disk or a blocked pipe must not delay signals.
                let _ = spawn_blocking(move || report.flush()).await;
            }
        })
    }

    /// Flushes the last lines.
    ///
    /// # Errors
    /// When a line could not be written.
    pub(crate) fn finish(&self) -> Result<()> {
        self.flush();
        let error = self.lines().error.take();
        error.map_or(Ok(()), |error| Err(anyhow!("the delivery report is not whole: {error}")))
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn attempt(&mut self, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) {
        if self.error.is_none() {
            self.error = write(&mut self.to).err();
        }
    }
}

fn word(written: Written) -> &'static str {
    match written {
        Written::No => "no",
        Written::Unknown => "unknown",
    }
}

/// Returns whether a file begins as a report does.
fn is_report(beginning: &[u8]) -> bool {
    let Some(line) = beginning.split(|byte| *byte == b'\n').next() else { return false };
    let Ok(Value::Object(line)) = serde_json::from_slice(line) else { return false };
    line.contains_key("line") && line.contains_key("topic")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_is_recognised_by_its_first_line() {
        for (text, expected) in [
            ("{\"line\":1,\"offset\":0,\"partition\":0,\"topic\":\"t\"}\n{", true),
            ("{\"line\":1,\"topic\":\"t\"}", true),
            ("{\"topic\":\"t\",\"value\":\"an event\"}\n", false),
            ("[1]\n", false),
            ("line,topic\n", false),
            ("\n{\"line\":1,\"topic\":\"t\"}\n", false),
        ] {
            assert_eq!(is_report(text.as_bytes()), expected, "{text}");
        }
    }
}
