//! What the exit status says: 0 that all went well, 1 that something failed, 2 that the command line or a setting makes
//! no sense, 128 and its number that a signal ended the command: 130 for Ctrl-C.

use std::fmt;
use std::process::ExitCode;

use anyhow::Error;

/// A command line or a setting that makes no sense, where clap cannot see it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misuse(String);

impl Misuse {
    /// The error that says so.
    pub(crate) fn error(text: impl fmt::Display) -> Error {
        Error::new(Self(text.to_string()))
    }
}

/// The status of a command that ended so.
pub(crate) fn status(error: &Error) -> ExitCode {
    if error.chain().any(<dyn std::error::Error>::is::<Misuse>) { ExitCode::from(2) } else { ExitCode::FAILURE }
}
