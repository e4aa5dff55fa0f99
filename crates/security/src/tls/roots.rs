//! Root certificates: the authorities that a client trusts.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;

use super::error::TlsError;
use super::pem::{Label, PemSource};

/// The origin of root certificates (`kurier.tls.roots`, `ssl.truststore.*`).
///
/// ```
/// use kurier_security::tls::{PemSource, Roots, TlsConfig};
///
/// let builder = TlsConfig::builder().roots(Roots::Pem(vec![PemSource::path("/etc/kafka/ca.pem")]));
/// # let _ = builder;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Roots {
    /// Those of the system; if it has none, Mozilla's with the feature `tls-webpki-roots`.
    #[default]
    Auto,
    /// Those of the system: on Linux its folder, or `SSL_CERT_FILE` and `SSL_CERT_DIR`; on macOS the keychain; on Windows
    /// the certificate store.
    System,
    /// Mozilla's, as compiled in. Needs the feature `tls-webpki-roots`.
    Mozilla,
    /// Certificates of the user, and no others.
    Pem(Vec<PemSource>),
}

/// Root certificates with their origin.
#[derive(Clone)]
pub(super) struct Trusted {
    pub(super) store: Arc<RootCertStore>,
    /// Such as `the system`, or the names of files.
    pub(super) origin: String,
    /// Certificates that could not be used.
    pub(super) skipped: usize,
}

impl fmt::Display for Trusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.store.len() == 1 { "" } else { "s" };
        write!(f, "{} root{plural} of {}", self.store.len(), self.origin)?;
        if self.skipped > 0 {
            write!(f, ", {} unusable", self.skipped)?;
        }
        Ok(())
    }
}

impl Trusted {
    pub(super) fn load(roots: &Roots) -> Result<Self, TlsError> {
        match roots {
            Roots::Auto => Self::system().or_else(|error| if HAS_MOZILLA { Self::mozilla() } else { Err(error) }),
            Roots::System => Self::system(),
            Roots::Mozilla => Self::mozilla(),
            Roots::Pem(sources) => Self::pem(sources),
        }
    }

    fn system() -> Result<Self, TlsError> {
        let found = rustls_native_certs::load_native_certs();
        let errors = found.errors.len();
        let trusted = Self::of(found.certs, "the system".to_owned(), errors);
        if !trusted.store.is_empty() {
            return Ok(trusted);
        }
        let error = TlsError::configuration(
            "the system has no root certificates (looked in SSL_CERT_FILE, SSL_CERT_DIR and the system's own place): set \
             ssl.truststore.location, install the system's package ca-certificates, or enable the feature tls-webpki-roots",
        );
        Err(match found.errors.into_iter().next() {
            Some(cause) => error.because(cause),
            None => error,
        })
    }

    #[cfg(feature = "tls-webpki-roots")]
    #[expect(clippy::unnecessary_wraps, reason = "the same signature without the feature")]
    fn mozilla() -> Result<Self, TlsError> {
        let store = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Ok(Self { store: Arc::new(store), origin: "Mozilla".to_owned(), skipped: 0 })
    }

    #[cfg(not(feature = "tls-webpki-roots"))]
    fn mozilla() -> Result<Self, TlsError> {
        Err(TlsError::configuration(
            "Mozilla's root certificates are not in this build: enable the feature tls-webpki-roots, or set \
             kurier.tls.roots=system",
        ))
    }

    fn pem(sources: &[PemSource]) -> Result<Self, TlsError> {
        let names: Vec<String> = sources.iter().map(ToString::to_string).collect();
        let names = names.join(", ");
        let mut certificates = Vec::new();
        let mut skipped = 0;
        for source in sources {
            for document in source.documents()? {
                match document.sections() {
                    Ok(sections) => {
                        let found = sections.into_iter().filter(|section| section.label == Label::Certificate);
                        certificates.extend(found.map(|section| CertificateDer::from(section.der.to_vec())));
                    }
                    // A folder may also hold files without certificates.
                    Err(_) if source.is_folder() => skipped += 1,
                    Err(error) => return Err(error),
                }
            }
        }
        if certificates.is_empty() {
            return Err(TlsError::configuration(format!(
                "{names} has no certificate: it needs a section that starts with -----BEGIN CERTIFICATE-----"
            )));
        }
        let trusted = Self::of(certificates, names.clone(), skipped);
        if trusted.store.is_empty() {
            return Err(TlsError::configuration(format!("{names} has no certificate that can be read: replace it")));
        }
        Ok(trusted)
    }

    /// Keeps each certificate once. Skips certificates that cannot be used.
    fn of(mut certificates: Vec<CertificateDer<'static>>, origin: String, skipped: usize) -> Self {
        let mut seen = HashSet::new();
        certificates.retain(|certificate| seen.insert(certificate.clone()));
        let mut store = RootCertStore::empty();
        let (_, ignored) = store.add_parsable_certificates(certificates);
        Self { store: Arc::new(store), origin, skipped: skipped + ignored }
    }
}

const HAS_MOZILLA: bool = cfg!(feature = "tls-webpki-roots");
