//! Where the value of a setting comes from.

use std::fmt;
use std::sync::Arc;

use crate::error::printable;

/// Where the value of a setting comes from.
///
/// ```
/// use kurier::{Config, Origin};
///
/// let mut config = Config::default();
/// config.set_properties_of("client.properties", &b"# for tests\nlinger.ms=20"[..])?;
/// let linger = config.explain().into_iter().find(|line| line.key == "linger.ms").unwrap();
/// assert_eq!(linger.origin, Origin::Line { file: Some("client.properties".into()), line: 2 });
/// assert_eq!(linger.origin.to_string(), "client.properties:2");
/// # Ok::<(), kurier::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The default.
    Default,
    /// The program.
    Code,
    /// A properties file.
    Line {
        /// The name of the file, if the program gave it.
        file: Option<Arc<str>>,
        /// The number of the line, from 1.
        line: usize,
    },
    /// An environment variable with this name.
    Variable(String),
    /// The value of `sasl.jaas.config`.
    Jaas,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Code => f.write_str("code"),
            Self::Line { file: Some(file), line } => write!(f, "{}:{line}", printable(file)),
            Self::Line { file: None, line } => write!(f, "line {line} of the properties file"),
            Self::Variable(name) => f.write_str(name),
            Self::Jaas => f.write_str("sasl.jaas.config"),
        }
    }
}

/// An explicit setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Made {
    /// The name as it was written.
    pub(super) key: &'static str,
    pub(super) origin: Origin,
}
