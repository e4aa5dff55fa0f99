//! The versions of Kafka that a cluster can imitate.

use std::fmt;
use std::str::FromStr;

/// A version of Kafka to imitate, with its API ranges, defaults and refusals.
///
/// The variants are in order of release; more may come.
///
/// ```
/// use kurier_broker::{ClusterSettings, KafkaVersion};
///
/// assert_eq!(ClusterSettings::default().version, KafkaVersion::V4_3);
/// assert_eq!("3.9".parse(), Ok(KafkaVersion::V3_9));
/// assert!(KafkaVersion::V3_7 < KafkaVersion::V3_9);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum KafkaVersion {
    /// Kafka 3.7.
    V3_7,
    /// Kafka 3.9.
    V3_9,
    /// Kafka 4.3.
    #[default]
    V4_3,
}

impl KafkaVersion {
    /// All versions, the oldest first.
    pub const ALL: [Self; 3] = [Self::V3_7, Self::V3_9, Self::V4_3];

    fn name(self) -> &'static str {
        match self {
            Self::V3_7 => "3.7",
            Self::V3_9 => "3.9",
            Self::V4_3 => "4.3",
        }
    }
}

impl fmt::Display for KafkaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Error for a version that no cluster can imitate.
///
/// ```
/// use kurier_broker::KafkaVersion;
///
/// let error = "2.8".parse::<KafkaVersion>().unwrap_err();
/// assert_eq!(error.to_string(), "cannot imitate Kafka 2.8: choose 3.7, 3.9 or 4.3");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot imitate Kafka {0}: choose 3.7, 3.9 or 4.3")]
pub struct UnknownVersion(String);

impl FromStr for KafkaVersion {
    type Err = UnknownVersion;

    fn from_str(name: &str) -> Result<Self, UnknownVersion> {
        Self::ALL.into_iter().find(|version| version.name() == name).ok_or_else(|| UnknownVersion(name.to_owned()))
    }
}
