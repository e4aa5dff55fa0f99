//! The options of every command that connects, with the names that kafka-producer-perf-test has as well.

use clap::{ArgMatches, Args, Command, Error, FromArgMatches};

use crate::options::Options;

/// Options that also take `--producer-props`, several settings after one option, and `--producer.config`.
#[derive(Debug)]
pub(super) struct PerfOptions(pub(super) Options);

fn with_other_names(command: Command) -> Command {
    command
        .mut_arg("properties", |option| option.num_args(1..).alias("producer-props"))
        .mut_arg("command_config", |option| option.alias("producer.config"))
}

impl Args for PerfOptions {
    fn augment_args(command: Command) -> Command {
        with_other_names(Options::augment_args(command))
    }

    fn augment_args_for_update(command: Command) -> Command {
        with_other_names(Options::augment_args_for_update(command))
    }
}

impl FromArgMatches for PerfOptions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Options::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }
}
