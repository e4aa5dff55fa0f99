//! Validates the settings of TLS and SASL against `security.protocol`, and keeps the result.

use std::net::IpAddr;

use super::super::Config;
use super::super::host_port::HostPort;
use super::super::origin::Origin;
use super::super::values::refused;
use super::{SecurityConfig, SecurityProtocol, in_the_clear};
use crate::error::Error;

/// Certificates and keys: an error if `security.protocol` does not use them.
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

/// Credentials: an error if `security.protocol` does not use them.
pub(super) const CREDENTIALS: &[&str] = &[
    "sasl.username",
    "sasl.password",
    "kurier.sasl.password.file",
    "sasl.jaas.config",
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.assertion.file",
    "sasl.oauthbearer.assertion.private.key.file",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.config",
];

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
            self.leave_out(&["sasl.", "kurier.sasl.", "enable.sasl.", "https.ca."], CREDENTIALS)?;
            None
        };
        self.security = SecurityConfig { protocol, tls, sasl };
        self.check_cleartext()
    }

    /// Refuses to send a password or a token unencrypted to an address of another machine. The core checks the
    /// addresses of names when it has connected.
    fn check_cleartext(&self) -> Result<(), Error> {
        let SecurityConfig { tls, sasl, .. } = &self.security;
        let Some(sasl) = sasl.as_ref().filter(|_| tls.is_none()) else { return Ok(()) };
        if !sasl.mechanism.reveals_secret() || sasl.allow_cleartext {
            return Ok(());
        }
        let is_elsewhere =
            |server: &&HostPort| server.host.parse().is_ok_and(|address: IpAddr| !address.to_canonical().is_loopback());
        let elsewhere = self.bootstrap_servers.iter().find(is_elsewhere);
        elsewhere.map_or(Ok(()), |server| Err(in_the_clear(sasl.mechanism, server)))
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
    pub(super) fn given(&self) -> Vec<&'static str> {
        let is_given = |key: &str| self.made.get(key).is_some_and(|made| made.origin != Origin::Jaas);
        let values = self.values().into_iter();
        values.filter(|(key, value, _)| is_given(key) && !value.is_empty()).map(|(key, ..)| key).collect()
    }

    /// Returns the error for two settings that exclude each other.
    pub(super) fn both(&self, one: &'static str, other: &'static str) -> Error {
        refused(format!("{} and {} are both set: remove one", self.written(one), self.written(other)))
    }
}
