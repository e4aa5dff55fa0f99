//! Assertions for a token endpoint: from a file, or signed with the client's key (feature `tls`).

use kurier_engine::config::{AssertionSource, OidcSettings};
use kurier_engine::core::CredentialError;
use kurier_engine::error::Error;
use kurier_security::Secret;

use super::files::read_secret;

/// Largest file with an assertion, and largest template.
const BYTES_MAX: u64 = 64 * 1024;

/// Signs an assertion to check key and template. May block for a moment.
///
/// # Errors
/// If they cannot be used, or if the build has no TLS.
pub(super) fn check(settings: &OidcSettings) -> Result<(), Error> {
    match &settings.assertion {
        Some(AssertionSource::Key(key)) => own::sign(key, settings.tls.provider).map(drop),
        _ => Ok(()),
    }
}

/// Returns the assertion for a request; an empty one if the client has a secret.
pub(super) async fn make(settings: &OidcSettings) -> Result<Secret, CredentialError> {
    match &settings.assertion {
        None => Ok(Secret::default()),
        Some(AssertionSource::File(path)) => read_secret("sasl.oauthbearer.assertion.file", path, BYTES_MAX).await,
        Some(AssertionSource::Key(key)) => own::make(key, settings.tls.provider).await,
    }
}

#[cfg(feature = "tls")]
mod own {
    use std::path::Path;

    use kurier_engine::config::{AssertionSettings, TlsProvider};
    use kurier_engine::core::{CredentialError, Entropy};
    use kurier_engine::error::{Error, ErrorKind};
    use kurier_security::tls::AssertionKey;
    use kurier_security::{AssertionTemplate, Secret};
    use tokio::time::timeout;

    use super::super::blocking::on_a_thread;
    use super::super::clock::wall_time;
    use super::super::entropy::SystemEntropy;
    use super::super::files::{FILE_TIME_MAX, read_file};
    use super::super::tls;
    use super::BYTES_MAX;

    /// Signs an assertion on a thread of its own, with key and template as the files have them now.
    pub(super) async fn make(settings: &AssertionSettings, provider: TlsProvider) -> Result<Secret, CredentialError> {
        let settings = settings.clone();
        let signed = on_a_thread("kurier-files", move || Ok(sign(&settings, provider)));
        let failed = |why: String| Error::new(ErrorKind::Configuration, format!("cannot sign an assertion: {why}"));
        let signed = match timeout(FILE_TIME_MAX, signed).await {
            Ok(Ok(signed)) => signed,
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed(format!("it took longer than {FILE_TIME_MAX:?}"))),
        };
        // A file may be half-written.
        signed.map_err(|why| CredentialError { is_refusal: false, why })
    }

    pub(super) fn sign(settings: &AssertionSettings, provider: TlsProvider) -> Result<Secret, Error> {
        const KEY: &str = "sasl.oauthbearer.assertion.template.file";
        let AssertionSettings { assertion, key, passphrase, template } = settings;
        let of_template = |error: kurier_security::TemplateError| {
            let path = template.as_deref().unwrap_or_else(|| Path::new(""));
            Error::new(ErrorKind::Configuration, format!("{KEY} {} {error}", path.display()))
        };
        let members = match template {
            Some(path) => {
                let bytes = read_file(path, BYTES_MAX).map_err(|error| {
                    Error::new(ErrorKind::Configuration, format!("cannot read {KEY} {}", path.display()))
                        .caused_by(error)
                })?;
                AssertionTemplate::parse(&bytes).map_err(of_template)?
            }
            None => AssertionTemplate::default(),
        };
        let random = SystemEntropy.nonce();
        let random = random.first_chunk().copied().unwrap_or_default();
        let unsigned = assertion.unsigned(&members, wall_time(), random).map_err(of_template)?;
        let (key, provider) = (tls::source(key), tls::provider(provider));
        let key = AssertionKey::load(assertion.algorithm, &key, passphrase.as_ref(), provider);
        key.and_then(|key| key.sign(&unsigned)).map_err(|error| tls::with_kind(ErrorKind::Configuration, error))
    }
}

/// Nothing signs in a build without TLS.
#[cfg(not(feature = "tls"))]
mod own {
    use std::future::{Ready, ready};

    use kurier_engine::config::{AssertionSettings, TlsProvider};
    use kurier_engine::core::CredentialError;
    use kurier_engine::error::{Error, ErrorKind};
    use kurier_security::Secret;

    pub(super) fn make(settings: &AssertionSettings, provider: TlsProvider) -> Ready<Result<Secret, CredentialError>> {
        ready(sign(settings, provider).map_err(|why| CredentialError { is_refusal: true, why }))
    }

    pub(super) fn sign(_: &AssertionSettings, _: TlsProvider) -> Result<Secret, Error> {
        let text = "sasl.oauthbearer.assertion.private.key.file needs the cryptography of TLS, but this build of kurier has \
                    none: enable one of the features tls-ring, tls-aws-lc and tls-graviola";
        Err(Error::new(ErrorKind::Configuration, text))
    }
}
