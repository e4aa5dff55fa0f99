//! A running `kurier capture` between clients and a cluster.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::clock::wait_until;
use crate::command::binary;

/// A running relay; dropping it ends it.
#[derive(Debug)]
pub struct Relay {
    process: Child,
    address: String,
}

impl Relay {
    /// Starts a relay on free ports, for the cluster with a node at `upstream`. It writes the traffic to this file.
    ///
    /// # Errors
    /// If the relay does not start.
    pub fn start(upstream: &str, file: &Path) -> Result<Self> {
        let mut capture = Command::new(binary()?);
        capture.args(["capture", "--listen", "127.0.0.1:0", "--upstream", upstream, "--out"]).arg(file);
        let process = capture.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut relay = Self { process, address: String::new() };
        let output = relay.process.stdout.as_mut().context("it was given one")?;
        BufReader::new(output).read_line(&mut relay.address)?;
        relay.address.truncate(relay.address.trim_end().len());
        ensure!(!relay.address.is_empty(), "kurier capture does not say where it listens");
        Ok(relay)
    }

    /// Returns the bootstrap server for its clients.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Ends the relay with SIGINT, as a user would.
    ///
    /// # Errors
    /// If the relay does not end, or ends with a failure.
    pub fn end(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.process), Signal::INT)?;
        let status = wait_until("kurier capture ended", Duration::from_secs(10), || Ok(self.process.try_wait()?))?;
        ensure!(status.success(), "kurier capture ended with {status}");
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ended_already = self.process.kill();
        let _nothing_to_do_about_it = self.process.wait();
    }
}
