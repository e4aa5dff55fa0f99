//! Validates the settings of TLS against each other.

use std::path::PathBuf;
use std::time::Duration;

use kurier_security::Secret;

use super::super::Config;
use super::super::values::refused;
use super::choices::{EndpointIdentification, TlsVersion, TlsVersions};
use super::{Identity, PemSource, TlsSettings, Trust};
use crate::error::Error;

/// The largest PEM text, in bytes: many times the size of all certificates that a system trusts.
const PEM_MAX: usize = 4 << 20;

impl Config {
    /// Returns the settings of TLS.
    pub(super) fn tls_settings(&mut self) -> Result<TlsSettings, Error> {
        if self.endpoint_identification == EndpointIdentification::None {
            return Err(refused(
                "ssl.endpoint.identification.algorithm cannot switch the check of names off: remove it; for brokers with \
                 another name set kurier.tls.server.name"
                    .to_owned(),
            ));
        }
        let trust = self.pem(
            ("ssl.truststore.location", self.truststore_location.as_ref()),
            ("ssl.truststore.certificates", &self.truststore_certificates),
        )?;
        if let Some((key, _)) = &trust
            && self.is_made("kurier.tls.roots")
        {
            self.unused.insert("kurier.tls.roots", format!("{} names the authorities", self.written(key)));
        }
        let identity = self.identity()?;
        if identity.is_none() && self.is_made("ssl.key.password") {
            self.unused.insert("ssl.key.password", "there is no private key".to_owned());
        }
        let reload = self.tls_reload;
        if reload > Duration::ZERO && reload < Duration::from_secs(1) {
            return Err(refused(format!(
                "kurier.tls.reload.ms must be 0 or at least 1000, and is {}",
                reload.as_millis()
            )));
        }
        Ok(TlsSettings {
            trust: trust.map_or(Trust::Roots(self.tls_roots), |(_, certificates)| Trust::Certificates(certificates)),
            identity,
            versions: self.versions()?,
            cipher_suites: self.cipher_suites.0.clone(),
            server_name: self.tls_server_name.as_ref().map(|name| name.0.clone()),
            provider: self.tls_provider,
            reload: Some(reload).filter(|reload| *reload > Duration::ZERO),
        })
    }

    /// Returns the PEM text of one of two settings, a path or text, with its key.
    pub(super) fn pem(
        &self,
        (path_key, path): (&'static str, Option<&PathBuf>),
        (text_key, text): (&'static str, &Secret),
    ) -> Result<Option<(&'static str, PemSource)>, Error> {
        match path {
            Some(_) if !text.is_empty() => Err(self.both(path_key, text_key)),
            Some(path) => Ok(Some((path_key, PemSource::Path(path.clone())))),
            None if text.is_empty() => Ok(None),
            None if text.expose().len() > PEM_MAX => {
                let len = text.expose().len();
                Err(refused(format!("{} has {len} bytes, and at most {PEM_MAX} are allowed", self.written(text_key))))
            }
            None => Ok(Some((text_key, PemSource::Text { setting: self.written(text_key), text: text.clone() }))),
        }
    }

    /// Returns certificate and key of the client: from one file, or each from a file or text.
    fn identity(&self) -> Result<Option<Identity>, Error> {
        let key_password = Some(self.key_password.clone()).filter(|password| !password.is_empty());
        let certificates = self.pem(
            ("ssl.certificate.location", self.certificate_location.as_ref()),
            ("ssl.keystore.certificate.chain", &self.certificate_chain),
        )?;
        let key =
            self.pem(("ssl.key.location", self.key_location.as_ref()), ("ssl.keystore.key", &self.private_key))?;
        if let Some(path) = &self.keystore_location {
            return match certificates.or(key) {
                Some((other, _)) => Err(self.both("ssl.keystore.location", other)),
                None => {
                    let file = PemSource::Path(path.clone());
                    Ok(Some(Identity { certificates: file.clone(), key: file, key_password }))
                }
            };
        }
        let lone = |key: &'static str, missing: &str| {
            refused(format!("{} is set without {missing}: set both, or neither", self.written(key)))
        };
        match (certificates, key) {
            (None, None) => Ok(None),
            (Some((_, certificates)), Some((_, key))) => Ok(Some(Identity { certificates, key, key_password })),
            (Some((key @ "ssl.certificate.location", _)), None) => Err(lone(key, "ssl.key.location")),
            (Some((key, _)), None) => Err(lone(key, "ssl.keystore.key")),
            (None, Some((key @ "ssl.key.location", _))) => Err(lone(key, "ssl.certificate.location")),
            (None, Some((key, _))) => Err(lone(key, "ssl.keystore.certificate.chain")),
        }
    }

    /// Returns the versions that both `ssl.enabled.protocols` and `ssl.protocol` allow.
    fn versions(&mut self) -> Result<TlsVersions, Error> {
        let TlsVersions { tls_1_2, tls_1_3 } = self.tls_versions;
        if !tls_1_3 || self.ssl_protocol == TlsVersion::Tls13 {
            return Ok(self.tls_versions);
        }
        if tls_1_2 {
            self.adjusted.insert("ssl.enabled.protocols", "TLSv1.2, because ssl.protocol is TLSv1.2".to_owned());
            self.tls_versions.tls_1_3 = false;
            return Ok(self.tls_versions);
        }
        Err(refused(
            "ssl.enabled.protocols is TLSv1.3, but ssl.protocol is TLSv1.2, so no version is left: remove one of the two"
                .to_owned(),
        ))
    }
}
