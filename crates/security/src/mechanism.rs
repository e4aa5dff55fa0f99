//! Names of the SASL mechanisms.

use std::fmt;

use crate::names::by_name;
use crate::printable::printable;

/// A SASL mechanism that Kafka and this crate support: a value of `sasl.mechanism`.
///
/// ```
/// use kurier_security::Mechanism;
///
/// let mechanism: Mechanism = "SCRAM-SHA-512".parse()?;
/// assert_eq!(mechanism.name(), "SCRAM-SHA-512");
/// assert!(!mechanism.reveals_secret());
/// # Ok::<(), kurier_security::UnknownMechanism>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mechanism {
    /// `PLAIN`: user name and password as they are (RFC 4616).
    Plain,
    /// `SCRAM-SHA-256`: proofs of the password in both directions (RFC 5802, RFC 7677, KIP-84).
    ScramSha256,
    /// `SCRAM-SHA-512`, like `SCRAM-SHA-256` (KIP-84).
    ScramSha512,
    /// `OAUTHBEARER`: a token (RFC 7628, KIP-255).
    OauthBearer,
}

impl Mechanism {
    /// Every mechanism.
    pub const ALL: [Self; 4] = [Self::Plain, Self::ScramSha256, Self::ScramSha512, Self::OauthBearer];

    /// Returns the registered name, which a SaslHandshake request contains.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OauthBearer => "OAUTHBEARER",
        }
    }

    /// Returns whether the first message contains the password or the token, so that everyone on the path can read it
    /// unless the connection is encrypted.
    #[must_use]
    pub const fn reveals_secret(self) -> bool {
        matches!(self, Self::Plain | Self::OauthBearer)
    }
}

by_name! { Mechanism, UnknownMechanism }

/// The error for a name that is not the name of a [`Mechanism`]. The text names the four, and alternatives to GSSAPI
/// and AWS_MSK_IAM.
///
/// ```
/// use kurier_security::Mechanism;
///
/// let error = "GSSAPI".parse::<Mechanism>().unwrap_err();
/// assert!(error.to_string().starts_with("GSSAPI (Kerberos) is not supported: use SCRAM-SHA-512"), "{error}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownMechanism(String);

impl fmt::Display for UnknownMechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FOUR: &str = "SCRAM-SHA-512, SCRAM-SHA-256, OAUTHBEARER or PLAIN";
        match self.0.as_str() {
            "GSSAPI" => write!(f, "GSSAPI (Kerberos) is not supported: use {FOUR}"),
            "AWS_MSK_IAM" => {
                write!(f, "AWS_MSK_IAM is not supported: use OAUTHBEARER, see \"MSK IAM\" in the manual, or {FOUR}")
            }
            name => write!(f, "unknown SASL mechanism {}: use {FOUR}", printable(name.as_bytes())),
        }
    }
}

impl std::error::Error for UnknownMechanism {}

/// The hash of a SCRAM mechanism. See [`Credentials`](crate::Credentials) for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScramMechanism {
    /// `SCRAM-SHA-256`.
    Sha256,
    /// `SCRAM-SHA-512`.
    Sha512,
}

impl From<ScramMechanism> for Mechanism {
    fn from(mechanism: ScramMechanism) -> Self {
        match mechanism {
            ScramMechanism::Sha256 => Self::ScramSha256,
            ScramMechanism::Sha512 => Self::ScramSha512,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for mechanism in Mechanism::ALL {
            assert_eq!(mechanism.name().parse(), Ok(mechanism));
        }
    }

    #[test]
    fn unknown_name_gets_a_hint() {
        let cases = [
            ("GSSAPI", "GSSAPI (Kerberos) is not supported: use SCRAM-SHA-512, SCRAM-SHA-256, OAUTHBEARER or PLAIN"),
            ("AWS_MSK_IAM", "use OAUTHBEARER, see \"MSK IAM\""),
            (
                "scram-sha-512",
                "unknown SASL mechanism scram-sha-512: use SCRAM-SHA-512, SCRAM-SHA-256, OAUTHBEARER or PLAIN",
            ),
            ("\u{1b}[2J", "unknown SASL mechanism \\u{1b}[2J: use"),
            ("", "unknown SASL mechanism : use"),
        ];
        for (name, text) in cases {
            let error = name.parse::<Mechanism>().unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
