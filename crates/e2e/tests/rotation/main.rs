//! Rotation with real Apache Kafka under load: client certificates, authorities, passwords and tokens change while three
//! producers write. No send may fail, and no record may be lost, doubled or reordered.
//!
//! `make rotation` runs it, in about two minutes; `ROTATION_RATE` is the number of records a second and producer
//! (3,400). Sessions last ten seconds, so that each connection also authenticates again several times.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it shows what it counted")]

mod authority;
mod broker_log;
mod load;
mod scene;

use std::env;
use std::process::ExitCode;

use anyhow::{Context, Result};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rotation: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let rate = env::var("ROTATION_RATE").ok().filter(|rate| !rate.is_empty());
    let rate = rate.map_or(Ok(3_400), |rate| rate.parse()).context("ROTATION_RATE")?;
    scene::play(rate)
}
