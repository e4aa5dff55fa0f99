//! Exit status: 0 for success, 1 for a failure, 2 for an invalid command line or setting, 128 plus the signal's number
//! after a signal (130 for Ctrl-C).

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Error;

/// An invalid command line or setting that clap cannot detect. It displays, and has the causes of, the error inside.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct Misuse(Error);

impl Misuse {
    /// Returns an error of this type with a text.
    pub(crate) fn error(text: impl fmt::Display) -> Error {
        Self::of(Error::msg(text.to_string()))
    }

    /// Returns another error as an error of this type.
    pub(crate) fn of(error: impl Into<Error>) -> Error {
        Error::new(Self(error.into()))
    }

    /// Returns an error of this type with a text and its cause.
    pub(crate) fn because(text: impl fmt::Display, cause: impl Into<Cause>) -> Error {
        Self::of(Error::from_boxed(cause.into()).context(text.to_string()))
    }

    /// Returns the error for a file on the command line that cannot be read.
    pub(crate) fn unreadable(file: &Path, error: io::Error) -> Error {
        Self::because(format_args!("{} cannot be read", file.display()), error)
    }
}

/// Cause of an error: a text or another error.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Returns the exit status for an error.
pub(crate) fn status(error: &Error) -> ExitCode {
    if error.chain().any(<dyn std::error::Error>::is::<Misuse>) { ExitCode::from(2) } else { ExitCode::FAILURE }
}
