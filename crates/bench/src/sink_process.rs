//! The sink as a process of its own, so that its work does not count as the producer's.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;

/// A running sink. It ends with this value, and also if this process dies, because its input then ends.
#[derive(Debug)]
pub struct SinkProcess {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// Its address, as host and port.
    pub address: String,
}

impl SinkProcess {
    /// Starts the program `sink`, which stands beside this one, with some arguments.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(arguments: &[&str]) -> Result<Self> {
        let program = std::env::current_exe()?.with_file_name("sink");
        let mut command = Command::new(&program);
        // In a group of its own, so that Ctrl-C on a terminal leaves it alone.
        command.args(arguments).process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("{} does not start", program.display()))?;
        let input = child.stdin.take();
        let mut output = BufReader::new(child.stdout.take().context("the sink has no output")?);
        let mut address = String::new();
        output.read_line(&mut address)?;
        Ok(Self { child, input, output, address: address.trim().to_owned() })
    }

    /// Returns what the sink has counted since the last call.
    ///
    /// # Errors
    /// When it has ended.
    pub fn counts(&mut self) -> Result<Value> {
        self.input.as_mut().context("the sink has no input")?.write_all(b"\n")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        serde_json::from_str(&line).context("the sink has ended")
    }
}

impl Drop for SinkProcess {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
