//! Versions of TLS.

use rustls::SupportedProtocolVersion;

use crate::names::by_name;

/// A version of TLS that Kurier speaks (`ssl.enabled.protocols`).
///
/// ```
/// use kurier_security::tls::TlsVersion;
///
/// assert_eq!("TLSv1.3".parse(), Ok(TlsVersion::Tls13));
/// assert_eq!(TlsVersion::Tls12.to_string(), "TLSv1.2");
/// assert_eq!(
///     "TLSv1.1".parse::<TlsVersion>().unwrap_err().to_string(),
///     "unknown TLS version `TLSv1.1`: use TLSv1.2 or TLSv1.3; older versions are not secure"
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

impl TlsVersion {
    /// Each version, from the oldest on.
    pub const ALL: [Self; 2] = [Self::Tls12, Self::Tls13];

    /// Returns Java's name of the version.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        }
    }

    pub(crate) fn rustls(self) -> &'static SupportedProtocolVersion {
        match self {
            Self::Tls12 => &rustls::version::TLS12,
            Self::Tls13 => &rustls::version::TLS13,
        }
    }
}

by_name! { TlsVersion, UnknownTlsVersion }

/// Error of a name that is no [`TlsVersion`]; see there for an example.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown TLS version `{0}`: use TLSv1.2 or TLSv1.3; older versions are not secure")]
pub struct UnknownTlsVersion(String);
