//! Secured listeners of a cluster: TLS with the certificates in testdata/tls, and SASL for one user.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::testdata;

/// The user of PLAIN and SCRAM, and the usual subject of tokens.
pub const USER: &str = "alice";

/// The user's first password.
pub const PASSWORD: &str = "alice-secret";

const SASL: &str = "org.apache.kafka.common.security";

/// A listener beside the plain one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// TLS; clients need no certificate.
    Tls,
    /// TLS; clients need a certificate of the same authority.
    MutualTls,
    /// TLS with a certificate that expired in 2020.
    ExpiredTls,
    /// SASL without encryption.
    SaslPlaintext,
    /// SASL over TLS.
    SaslTls,
    /// SASL without encryption, and PLAIN as its only mechanism.
    PlainOnly,
}

impl Listener {
    /// All listeners.
    pub const ALL: [Self; 6] =
        [Self::Tls, Self::MutualTls, Self::ExpiredTls, Self::SaslPlaintext, Self::SaslTls, Self::PlainOnly];

    /// Returns the listener's name in the broker's settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tls => "TLS",
            Self::MutualTls => "MUTUAL_TLS",
            Self::ExpiredTls => "EXPIRED_TLS",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslTls => "SASL_SSL",
            Self::PlainOnly => "PLAIN_ONLY",
        }
    }

    /// Returns the value of `security.protocol` for its clients.
    #[must_use]
    pub fn protocol(self) -> &'static str {
        match self {
            Self::Tls | Self::MutualTls | Self::ExpiredTls => "SSL",
            Self::SaslPlaintext | Self::PlainOnly => "SASL_PLAINTEXT",
            Self::SaslTls => "SASL_SSL",
        }
    }

    /// Returns the full name of a setting that holds for this listener only.
    #[must_use]
    pub fn setting(self, name: &str) -> String {
        format!("listener.name.{}.{name}", self.name().to_lowercase())
    }

    /// Returns the file of the listener's key and certificate in a node's folder.
    #[must_use]
    pub fn store(self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.pem", self.name()))
    }

    /// Writes the files of this listener in a node's folder, and returns its settings as lines of a properties file.
    pub(crate) fn prepare(self, folder: &Path) -> Result<String> {
        let mut settings = Vec::new();
        if self.protocol().ends_with("SSL") {
            let certificate = if self == Self::ExpiredTls { "tls/broker-expired.pem" } else { "tls/broker.pem" };
            let parts = ["tls/broker-key.pem", certificate].map(|part| fs::read_to_string(testdata(part)));
            let [key, certificate] = parts;
            fs::write(self.store(folder), key? + &certificate?)?;
            settings.extend([
                ("ssl.keystore.type", "PEM".to_owned()),
                ("ssl.keystore.location", self.store(folder).display().to_string()),
                ("ssl.truststore.type", "PEM".to_owned()),
                ("ssl.truststore.location", testdata("tls/ca.pem").display().to_string()),
            ]);
        }
        if self == Self::MutualTls {
            settings.push(("ssl.client.auth", "required".to_owned()));
        }
        if self.protocol().starts_with("SASL") {
            let module = |name: &str, options: &str| format!("{SASL}.{name}LoginModule required {options};");
            let plain = format!(r#"user_{USER}="{PASSWORD}""#);
            let all = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER";
            settings.extend([
                ("sasl.enabled.mechanisms", if self == Self::PlainOnly { "PLAIN" } else { all }.to_owned()),
                ("plain.sasl.jaas.config", module("plain.Plain", &plain)),
                ("scram-sha-256.sasl.jaas.config", module("scram.Scram", "")),
                ("scram-sha-512.sasl.jaas.config", module("scram.Scram", "")),
                // Without a class for validation, the broker accepts unsigned tokens.
                ("oauthbearer.sasl.jaas.config", module("oauthbearer.OAuthBearer", "")),
            ]);
        }
        Ok(settings.into_iter().fold(String::new(), |mut text, (name, value)| {
            let _a_string_takes_all = writeln!(text, "{}={value}", self.setting(name));
            text
        }))
    }
}

/// Returns the arguments of Kafka's storage tool that create the user with SCRAM.
pub(crate) fn users() -> Vec<String> {
    let user = |mechanism: &str| format!("{mechanism}=[name={USER},password={PASSWORD}]");
    ["SCRAM-SHA-256", "SCRAM-SHA-512"].iter().flat_map(|one| ["--add-scram".to_owned(), user(one)]).collect()
}
