//! The `kurier` command. Data goes to standard output, talk to standard error; exit status 0 is success, 1 failure, 2 a
//! command line that makes no sense.

mod batches;
mod broker;
mod decode;
mod partition;

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
    Decode(decode::Decode),
    Partition(partition::Partition),
}

fn main() -> ExitCode {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let result = match Cli::parse().command {
        Command::Broker(broker) => broker.run(&mut out),
        Command::Decode(decode) => decode.run(&mut out),
        Command::Partition(partition) => partition.run(&mut out),
    };
    match result.and_then(|()| out.flush().map_err(Error::from)) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has had enough of it.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kurier: {error:#}");
            ExitCode::FAILURE
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
