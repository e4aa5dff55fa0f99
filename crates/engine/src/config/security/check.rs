//! Validates the settings of TLS and SASL against each other and against `security.protocol`.

use std::time::Duration;

use kurier_security::{Mechanism, Secret};

use super::super::Config;
use super::super::values::refused;
use super::choices::{EndpointIdentification, TlsVersion, TlsVersions};
use super::{
    Identity, LoginSettings, PemSource, SaslCredentials, SaslSettings, SecurityConfig, SecurityProtocol, TlsSettings,
    Trust, password_credentials,
};
use crate::error::Error;

/// The largest PEM text, in bytes: the size of all certificates that a system trusts, many times.
const PEM_MAX: usize = 4 << 20;

/// The largest user name and the largest password, in bytes.
const CREDENTIAL_MAX: usize = 8 << 10;

/// Certificates and keys: settings whose loss would surprise.
const STORES: &[&str] = &[
    "ssl.truststore.location",
    "ssl.truststore.certificates",
    "ssl.keystore.location",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
];

/// Credentials: settings whose loss would surprise.
const CREDENTIALS: &[&str] = &["sasl.username", "sasl.password", "kurier.sasl.password.file", "sasl.jaas.config"];

impl Config {
    /// Validates the settings of TLS and SASL, and keeps the result for [`security`](Self::security).
    pub(in crate::config) fn check_security(&mut self) -> Result<(), Error> {
        let protocol = self.security_protocol;
        if let Some((scheme, server)) = self.bootstrap_servers.other_than(protocol) {
            return Err(refused(format!(
                "{} names {scheme} for {server}, but security.protocol is {protocol}: make them agree",
                self.written("bootstrap.servers")
            )));
        }
        let tls = if protocol.has_tls() {
            Some(self.tls_settings()?)
        } else {
            self.leave_out(&["ssl.", "kurier.tls."], STORES)?;
            None
        };
        let sasl = if protocol.has_sasl() {
            Some(self.sasl_settings()?)
        } else {
            self.leave_out(&["sasl.", "kurier.sasl."], CREDENTIALS)?;
            None
        };
        self.security = SecurityConfig { protocol, tls, sasl };
        for server in &*self.bootstrap_servers {
            // The driver checks the addresses of names.
            if let Ok(address) = server.host.parse() {
                self.security.check_cleartext(server, address)?;
            }
        }
        Ok(())
    }

    /// Reports explicit settings that the protocol does not use. Certificates, keys and credentials among them are an
    /// error, unless `security.protocol` is an explicit PLAINTEXT: then a file serves several environments.
    fn leave_out(&mut self, prefixes: &[&str], loud: &[&str]) -> Result<(), Error> {
        let protocol = self.security_protocol;
        let given = self.given().into_iter().filter(|key| prefixes.iter().any(|prefix| key.starts_with(prefix)));
        for key in given {
            let is_written = self.is_made("security.protocol");
            if loud.contains(&key) && !(is_written && protocol == SecurityProtocol::Plaintext) {
                let needs_sasl = protocol.has_sasl() || self.given().iter().any(|key| CREDENTIALS.contains(key));
                let better = if needs_sasl { SecurityProtocol::SaslSsl } else { SecurityProtocol::Ssl };
                let is = if is_written { format!("is {protocol}") } else { format!("is not set, so it is {protocol}") };
                return Err(refused(format!(
                    "{} is set, but security.protocol {is}: set {better}, or remove it",
                    self.written(key)
                )));
            }
            self.unused.insert(key, format!("security.protocol is {protocol}"));
        }
        Ok(())
    }

    /// Returns the keys of explicit settings that have a value.
    fn given(&self) -> Vec<&'static str> {
        let values = self.values().into_iter();
        values.filter(|(key, value, _)| self.is_made(key) && !value.is_empty()).map(|(key, ..)| key).collect()
    }

    /// Returns the error for two settings that exclude each other.
    fn both(&self, one: &'static str, other: &'static str) -> Error {
        refused(format!("{} and {} are both set: remove one", self.written(one), self.written(other)))
    }

    fn tls_settings(&mut self) -> Result<TlsSettings, Error> {
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
    fn pem(
        &self,
        (path_key, path): (&'static str, Option<&std::path::PathBuf>),
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

    fn versions(&self) -> Result<TlsVersions, Error> {
        let TlsVersions { tls_1_2, tls_1_3 } = self.tls_versions;
        let versions = TlsVersions { tls_1_2, tls_1_3: tls_1_3 && self.ssl_protocol == TlsVersion::Tls13 };
        if versions.tls_1_2 || versions.tls_1_3 {
            return Ok(versions);
        }
        Err(refused(
            "ssl.enabled.protocols is TLSv1.3, but ssl.protocol is TLSv1.2, so no version is left: remove one of the two"
                .to_owned(),
        ))
    }

    fn sasl_settings(&mut self) -> Result<SaslSettings, Error> {
        let Some(mechanism) = self.sasl_mechanism else {
            return Err(refused(format!(
                "sasl.mechanism is missing, and security.protocol is {} (Java's default, GSSAPI, is not supported): set one of \
                 SCRAM-SHA-512, SCRAM-SHA-256, PLAIN, OAUTHBEARER",
                self.security_protocol
            )));
        };
        self.check_sasl_limits()?;
        let unused: &[&str] = if mechanism == Mechanism::OauthBearer {
            &["sasl.username", "sasl.password", "kurier.sasl.password.file"]
        } else {
            &["sasl.login."]
        };
        for key in self.given().into_iter().filter(|key| unused.iter().any(|unused| key.starts_with(unused))) {
            self.unused.insert(key, format!("sasl.mechanism is {mechanism}"));
        }
        Ok(SaslSettings {
            mechanism,
            credentials: self.credentials(mechanism)?,
            allow_cleartext: self.sasl_allow_cleartext,
            scram_max_iterations: self.scram_max_iterations,
            login: LoginSettings {
                window_factor: self.login_window_factor,
                window_jitter: self.login_window_jitter,
                min_period: Duration::from_secs(self.login_min_period_seconds.into()),
                buffer: Duration::from_secs(self.login_buffer_seconds.into()),
                connect_timeout: self.login_connect_timeout,
                read_timeout: self.login_read_timeout,
                retry_backoff: self.login_retry_backoff,
                retry_backoff_max: self.login_retry_backoff_max,
            },
        })
    }

    fn credentials(&self, mechanism: Mechanism) -> Result<SaslCredentials, Error> {
        if !self.sasl_jaas_config.is_empty() {
            return Err(refused(
                "sasl.jaas.config is not supported yet: set sasl.username and sasl.password".to_owned(),
            ));
        }
        if mechanism == Mechanism::OauthBearer || self.has_source {
            return Ok(SaslCredentials::Program);
        }
        let missing = |key: &str| refused(format!("{key} is missing: {mechanism} needs a user name and a password"));
        let username = self.sasl_username.clone();
        if username.is_empty() {
            return Err(missing("sasl.username"));
        }
        let password = self.sasl_password.clone();
        for (key, value) in [("sasl.username", username.as_bytes()), ("sasl.password", password.expose())] {
            let why = match value.len() {
                len if len > CREDENTIAL_MAX => {
                    format!("it has {} bytes, and at most {CREDENTIAL_MAX} are allowed", value.len())
                }
                _ if value.contains(&0) => "it contains a NUL character".to_owned(),
                _ => continue,
            };
            return Err(refused(format!("{key} cannot be used: {why}")));
        }
        match &self.sasl_password_file {
            Some(_) if !password.is_empty() => Err(self.both("sasl.password", "kurier.sasl.password.file")),
            Some(path) => Ok(SaslCredentials::PasswordFile { username, path: path.clone() }),
            None if password.is_empty() => Err(missing("sasl.password")),
            None => password_credentials(mechanism, username, password, false)
                .map(SaslCredentials::Known)
                .ok_or_else(|| refused(format!("{mechanism} takes no password"))),
        }
    }

    fn check_sasl_limits(&self) -> Result<(), Error> {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        for (key, value, least, most) in [
            ("kurier.sasl.scram.max.iterations", self.scram_max_iterations.into(), 4096.0, 1e6),
            ("sasl.login.refresh.window.factor", self.login_window_factor, 0.5, 1.0),
            ("sasl.login.refresh.window.jitter", self.login_window_jitter, 0.0, 0.25),
            ("sasl.login.refresh.min.period.seconds", self.login_min_period_seconds.into(), 0.0, 900.0),
            ("sasl.login.refresh.buffer.seconds", self.login_buffer_seconds.into(), 0.0, 3600.0),
            ("sasl.login.connect.timeout.ms", ms(self.login_connect_timeout), 1.0, f64::MAX),
            ("sasl.login.read.timeout.ms", ms(self.login_read_timeout), 1.0, f64::MAX),
            ("sasl.login.retry.backoff.ms", ms(self.login_retry_backoff), 1.0, ms(self.login_retry_backoff_max)),
        ] {
            if !(least..=most).contains(&value) {
                let range =
                    if most == f64::MAX { format!("at least {least}") } else { format!("from {least} to {most}") };
                return Err(refused(format!("{key} must be {range}, and is {value}")));
            }
        }
        Ok(())
    }
}
