//! Exit status: 0 for success, 1 for a failure, 2 for an invalid command line or setting, 128 plus the signal's number
//! after a signal (130 for Ctrl-C).

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Error;

/// An invalid command line or setting that clap cannot detect.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misuse(String);

impl Misuse {
    /// Returns an error of this type.
    pub(crate) fn error(text: impl fmt::Display) -> Error {
        Error::new(Self(text.to_string()))
    }

    /// Returns the error for a file on the command line that cannot be read.
    pub(crate) fn unreadable(file: &Path, error: &io::Error) -> Error {
        Self::error(format_args!("{} cannot be read: {error}", file.display()))
    }
}

/// Returns the exit status for an error.
pub(crate) fn status(error: &Error) -> ExitCode {
    if error.chain().any(<dyn std::error::Error>::is::<Misuse>) { ExitCode::from(2) } else { ExitCode::FAILURE }
}
