//! Errors of TLS.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// The party to blame for a [`TlsError`]; see there for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsErrorKind {
    /// A setting, or a file that it names, is wrong.
    Configuration,
    /// The broker did not prove its identity, or it refused ours. Another attempt gives the same result.
    Authentication,
    /// The connection failed. Another attempt may succeed.
    Network,
}

/// Error of a TLS setting, of a certificate, or of a handshake. It shows no secret.
///
/// ```
/// use kurier_security::tls::{PemSource, TlsConfig, TlsErrorKind};
///
/// let error = TlsConfig::builder().root_certificates(PemSource::path("/missing/ca.pem")).build().unwrap_err();
/// assert_eq!(error.kind(), TlsErrorKind::Configuration);
/// ```
#[derive(Clone, Debug)]
pub struct TlsError {
    kind: TlsErrorKind,
    text: String,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl TlsError {
    /// Returns the party to blame.
    #[must_use]
    pub fn kind(&self) -> TlsErrorKind {
        self.kind
    }

    pub(crate) fn new(kind: TlsErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), source: None }
    }

    pub(crate) fn configuration(text: impl Into<String>) -> Self {
        Self::new(TlsErrorKind::Configuration, text)
    }

    /// Adds the cause, which `source()` returns.
    pub(crate) fn because(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for TlsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
