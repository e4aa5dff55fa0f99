//! The `kurier` command. Data goes to standard output, talk to standard error; [`exit`] says what the status means.

mod batches;
mod broker;
mod connection;
mod consume;
mod decode;
mod escapes;
mod exit;
mod format;
mod interrupt;
mod lines;
mod options;
mod partition;
mod perf;
mod produce;
mod reader;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Error;
use clap::{Parser, Subcommand};

/// A Kafka producer's tools.
#[derive(Debug, Parser)]
#[command(name = "kurier", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Broker(broker::Broker),
    Consume(consume::Consume),
    Decode(decode::Decode),
    Partition(partition::Partition),
    Perf(perf::Perf),
    Produce(produce::Produce),
}

fn main() -> ExitCode {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let result = match Cli::parse().command {
        Command::Broker(broker) => broker.run(&mut out).map(|()| ExitCode::SUCCESS),
        Command::Consume(consume) => consume.run(&mut out),
        Command::Decode(decode) => decode.run(&mut out).map(|()| ExitCode::SUCCESS),
        Command::Partition(partition) => partition.run(&mut out).map(|()| ExitCode::SUCCESS),
        Command::Perf(perf) => perf.run(&mut out),
        Command::Produce(produce) => produce.run(),
    };
    match result.and_then(|status| out.flush().map(|()| status).map_err(Error::from)) {
        Ok(status) => status,
        // Whoever read our output has had enough of it.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kurier: {error:#}");
            exit::status(&error)
        }
    }
}

fn is_broken_pipe(error: &Error) -> bool {
    error.chain().any(|cause| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let json_kind = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        kind.or(json_kind) == Some(io::ErrorKind::BrokenPipe)
    })
}
