//! The `kurier` command. It prints data on standard output and messages on standard error; [`exit`] defines the exit
//! status.

#![warn(clippy::print_stderr)]

#[cfg(feature = "tls")]
mod certificates;
mod commands;
mod exit;
mod gaps;
mod interrupt;
mod notice;
mod options;
mod output;
mod producer;
mod progress;
mod sync;
mod target;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Error;
use clap::{CommandFactory, Parser};
use commands::Command;
use output::Output;

/// Tools for Kafka: a producer, a reader, a test cluster and more.
#[derive(Debug, Parser)]
#[command(name = "kurier", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    // Not locked: another thread may write the delivery report to standard output.
    let mut out = Output::new(io::stdout());
    let result = Cli::parse().command.run(Cli::command, &mut out);
    match result.and_then(|status| out.flush().map(|()| status).map_err(Error::from)) {
        Ok(status) => status,
        // The reader of standard output has closed it.
        Err(_) if out.is_unwanted() => ExitCode::SUCCESS,
        Err(error) => {
            notice::say(format_args!("{error:#}"));
            exit::status(&error)
        }
    }
}
