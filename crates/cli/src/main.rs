//! The `kurier` command. It prints data on standard output and messages on standard error; [`exit`] defines the exit
//! status.

#![warn(clippy::print_stderr)]

mod addresses;
mod broker;
mod capture;
mod connection;
mod consume;
mod decode;
mod exit;
mod gaps;
mod input;
mod interrupt;
mod notice;
mod options;
mod output;
mod partition;
mod perf;
mod produce;
mod progress;
mod reader;
mod relay;
mod replay;
mod report;
mod sync;
mod target;
mod watch;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Error;
use clap::{Parser, Subcommand};
use output::Output;

/// Tools for Kafka: a producer, a reader, a test cluster and more.
#[derive(Debug, Parser)]
#[command(name = "kurier", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Broker(broker::Broker),
    Capture(capture::Capture),
    Consume(consume::Consume),
    Decode(decode::Decode),
    Partition(partition::Partition),
    Perf(perf::Perf),
    Produce(produce::Produce),
    Replay(replay::Replay),
}

fn main() -> ExitCode {
    // Not locked: another thread may write the delivery report to standard output.
    let mut out = Output::new(io::stdout());
    let result = match Cli::parse().command {
        Command::Broker(broker) => broker.run(&mut out).map(|()| ExitCode::SUCCESS),
        Command::Capture(capture) => capture.run(&mut out),
        Command::Consume(consume) => consume.run(),
        Command::Decode(decode) => decode.run(&mut out).map(|()| ExitCode::SUCCESS),
        Command::Partition(partition) => partition.run(&mut out).map(|()| ExitCode::SUCCESS),
        Command::Perf(perf) => perf.run(&mut out),
        Command::Produce(produce) => produce.run(),
        Command::Replay(replay) => replay.run(),
    };
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
