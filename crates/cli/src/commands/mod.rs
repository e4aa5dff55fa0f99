//! The subcommands, one file or room each.

mod broker;
mod capture;
mod completions;
mod config;
mod consume;
mod decode;
mod man;
mod partition;
mod perf;
mod produce;
mod replay;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Broker(broker::Broker),
    Capture(capture::Capture),
    Completions(completions::Completions),
    Config(config::Config),
    Consume(consume::Consume),
    Decode(decode::Decode),
    Man(man::Man),
    Partition(partition::Partition),
    Perf(perf::Perf),
    Produce(produce::Produce),
    Replay(replay::Replay),
}

impl Command {
    /// Runs the command, with standard output as `out`, and returns the exit status. `declaration` describes the whole
    /// command line.
    pub(crate) fn run(self, declaration: fn() -> clap::Command, out: &mut impl Write) -> Result<ExitCode> {
        match self {
            Self::Broker(broker) => broker.run(out).map(|()| ExitCode::SUCCESS),
            Self::Capture(capture) => capture.run(out),
            Self::Completions(completions) => completions.run(declaration(), out).map(|()| ExitCode::SUCCESS),
            Self::Config(config) => config.run(out).map(|()| ExitCode::SUCCESS),
            Self::Consume(consume) => consume.run(),
            Self::Decode(decode) => decode.run(out).map(|()| ExitCode::SUCCESS),
            Self::Man(man) => man.run(declaration(), out).map(|()| ExitCode::SUCCESS),
            Self::Partition(partition) => partition.run(out).map(|()| ExitCode::SUCCESS),
            Self::Perf(perf) => perf.run(out),
            Self::Produce(produce) => produce.run(),
            Self::Replay(replay) => replay.run(),
        }
    }
}
