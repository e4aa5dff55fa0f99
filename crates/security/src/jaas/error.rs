//! Mistakes in a JAAS entry.

use thiserror::Error;

use crate::mechanism::Mechanism;

/// A mistake in a value of `sasl.jaas.config`, with its position. The text quotes no option, because a misplaced quote
/// makes a part of a password look like one.
///
/// ```
/// use kurier_security::{JaasEntry, JaasErrorKind};
///
/// let error = JaasEntry::parse("org.example.Module required password=123;").unwrap_err();
/// assert_eq!((error.position(), error.kind()), (38, &JaasErrorKind::NoValue));
/// assert_eq!(
///     error.to_string(),
///     "at character 38: an option has no value: write NAME=\"VALUE\" with double quotes, and \\\" and \\\\ inside them"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("at character {position}: {kind}")]
pub struct JaasError {
    position: usize,
    kind: JaasErrorKind,
}

impl JaasError {
    pub(super) fn new(position: usize, kind: JaasErrorKind) -> Self {
        Self { position, kind }
    }

    /// Returns the position of the mistake, in characters, counted from 1.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Returns the kind of the mistake.
    #[must_use]
    pub fn kind(&self) -> &JaasErrorKind {
        &self.kind
    }
}

/// The kind of a [`JaasError`]. See there for an example.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum JaasErrorKind {
    /// The text is longer than 64 KiB.
    #[error("the entry is longer than 64 KiB")]
    TooLong,
    /// There is no login module.
    #[error("no login module: write CLASS required NAME=\"VALUE\";")]
    NoModule,
    /// There is no control flag after the login module.
    #[error("no control flag after the login module: write CLASS required NAME=\"VALUE\";")]
    NoFlag,
    /// The control flag is none of Java's four.
    #[error("the control flag is not required, requisite, sufficient or optional: write required")]
    UnknownFlag,
    /// A value has no name before it.
    #[error("an option has no name: write NAME=\"VALUE\"")]
    NoName,
    /// An option has no value, or a value that needs quotes.
    #[error("an option has no value: write NAME=\"VALUE\" with double quotes, and \\\" and \\\\ inside them")]
    NoValue,
    /// The entry has more than 100 options.
    #[error("the entry has more than 100 options")]
    TooManyOptions,
    /// There is no semicolon at the end.
    #[error("the entry does not end with a semicolon: check the quotes, or add the semicolon")]
    Unterminated,
    /// Text follows after the entry.
    #[error("more text follows after the entry's semicolon: sasl.jaas.config has one entry")]
    SecondEntry,
    /// The login module is not one of Kafka's three.
    #[error("{0}")]
    UnknownModule(String),
    /// The login module is for another mechanism.
    #[error("{module} is not for {mechanism}: change the login module or sasl.mechanism")]
    OtherMechanism {
        /// The last part of the login module's name.
        module: &'static str,
        /// The configured mechanism.
        mechanism: Mechanism,
    },
    /// The login module does not know the option.
    #[error("unknown option: {module} takes {options}")]
    UnknownOption {
        /// The last part of the login module's name.
        module: &'static str,
        /// The options that it knows.
        options: &'static str,
    },
    /// The login module needs an option that is missing.
    #[error("the option {0} is missing")]
    MissingOption(&'static str),
    /// An option has a value that it cannot have.
    #[error("the option {option} cannot have this value: {allowed}")]
    WrongValue {
        /// The option's name, or its beginning.
        option: &'static str,
        /// The values that it can have.
        allowed: &'static str,
    },
}
