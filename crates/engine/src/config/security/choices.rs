//! Settings of TLS and SASL that choose among named values.

use super::super::values::{Value, cannot_be};
use super::protocol::SecurityProtocol;
use crate::error::Error;

impl Value for SecurityProtocol {
    fn read(key: &str, text: &str) -> Result<Self, Error> {
        Self::named(text).ok_or_else(|| cannot_be(key, text, "it is PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"))
    }

    fn shown(&self) -> String {
        self.to_string()
    }
}

/// Declares a choice: its names in lower case, with the first for output, in the order of the error text.
macro_rules! choice {
    ($type:ident, $allowed:literal: $($variant:ident = $name:literal $(| $other:literal)*),*) => {
        impl Value for $type {
            fn read(key: &str, text: &str) -> Result<Self, Error> {
                match text.to_ascii_lowercase().as_str() {
                    $($name $(| $other)* => Ok(Self::$variant),)*
                    _ => Err(cannot_be(key, text, $allowed)),
                }
            }

            fn shown(&self) -> String {
                match self {
                    $(Self::$variant => $name,)*
                }
                .to_owned()
            }
        }
    };
}

/// Where the client finds the authorities that it trusts (`kurier.tls.roots`).
///
/// See [`SecurityConfig`](super::SecurityConfig) for an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Roots {
    /// The system's store or, if that is empty, Mozilla's list.
    #[default]
    Auto,
    /// In the system's store.
    System,
    /// Mozilla's list, which the feature `tls-webpki-roots` compiles in.
    Mozilla,
}

choice! { Roots, "it is auto, system or mozilla": Auto = "auto", System = "system", Mozilla = "mozilla" }

/// The library that encrypts (`kurier.tls.provider`).
///
/// See [`SecurityConfig`](super::SecurityConfig) for an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsProvider {
    /// The process's default provider, else the first compiled in: aws-lc, ring, graviola.
    #[default]
    Auto,
    /// aws-lc.
    AwsLc,
    /// ring.
    Ring,
    /// graviola.
    Graviola,
}

choice! {
    TlsProvider, "it is auto, aws-lc, ring or graviola":
    Auto = "auto", AwsLc = "aws-lc", Ring = "ring", Graviola = "graviola"
}

/// Whether the certificate of a broker must be for the host that was dialled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[doc(hidden)]
pub enum EndpointIdentification {
    #[default]
    Https,
    None,
}

choice! { EndpointIdentification, "it is https": Https = "https", None = "none" | "" }

/// The form of a file with certificates or keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[doc(hidden)]
pub enum StoreType {
    /// The content shows it.
    #[default]
    Detected,
    Pem,
}

impl Value for StoreType {
    fn read(key: &str, text: &str) -> Result<Self, Error> {
        const TO_PEM: &str = "openssl pkcs12 -in FILE.p12 -out FILE.pem, with -nokeys for a trust store";
        match text.to_ascii_uppercase().as_str() {
            "" => Ok(Self::Detected),
            "PEM" => Ok(Self::Pem),
            "PKCS12" => Err(cannot_be(key, text, &format!("only PEM is supported: convert the store by {TO_PEM}"))),
            "JKS" => {
                let to_pkcs12 =
                    "keytool -importkeystore -srckeystore FILE.jks -destkeystore FILE.p12 -deststoretype PKCS12";
                let text_of = format!("only PEM is supported: convert the store by {to_pkcs12}, then by {TO_PEM}");
                Err(cannot_be(key, text, &text_of))
            }
            _ => Err(cannot_be(key, text, "it is PEM")),
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Detected => "",
            Self::Pem => "PEM",
        }
        .to_owned()
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

impl Value for TlsVersion {
    fn read(key: &str, text: &str) -> Result<Self, Error> {
        match text {
            "TLSv1.2" => Ok(Self::Tls12),
            "TLSv1.3" | "TLS" => Ok(Self::Tls13),
            _ => Err(cannot_be(key, text, ONLY_SAFE)),
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        }
        .to_owned()
    }
}

const ONLY_SAFE: &str = "the versions are TLSv1.2 and TLSv1.3; older ones are not safe";

/// Versions of TLS, at least one.
///
/// See [`SecurityConfig`](super::SecurityConfig) for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsVersions {
    /// Whether TLS 1.2 is allowed.
    pub tls_1_2: bool,
    /// Whether TLS 1.3 is allowed.
    pub tls_1_3: bool,
}

impl TlsVersions {
    /// TLS 1.2 and TLS 1.3.
    pub const BOTH: Self = Self { tls_1_2: true, tls_1_3: true };
}

impl Value for TlsVersions {
    fn read(key: &str, text: &str) -> Result<Self, Error> {
        let mut versions = Self { tls_1_2: false, tls_1_3: false };
        for name in text.split(',') {
            match name.trim() {
                "TLSv1.2" => versions.tls_1_2 = true,
                "TLSv1.3" => versions.tls_1_3 = true,
                _ => return Err(cannot_be(key, text, ONLY_SAFE)),
            }
        }
        Ok(versions)
    }

    fn shown(&self) -> String {
        let names = [(self.tls_1_2, "TLSv1.2"), (self.tls_1_3, "TLSv1.3")];
        names.iter().filter(|(is_on, _)| *is_on).map(|(_, name)| *name).collect::<Vec<_>>().join(",")
    }
}

/// IANA names of cipher suites. An empty list stands for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[doc(hidden)]
pub struct CipherSuites(pub Vec<String>);

impl Value for CipherSuites {
    fn read(key: &str, text: &str) -> Result<Self, Error> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let is_iana = |name: &str| {
            name.starts_with("TLS") && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        let is_list = names.clone().all(is_iana);
        let allowed = "it takes IANA names separated by commas, as TLS_AES_128_GCM_SHA256, not OpenSSL's names";
        if !is_list { Err(cannot_be(key, text, allowed)) } else { Ok(Self(names.map(str::to_owned).collect())) }
    }

    fn shown(&self) -> String {
        self.0.join(",")
    }
}

/// How librdkafka gets tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[doc(hidden)]
pub enum OauthMethod {
    /// As the other settings say.
    #[default]
    Default,
    Oidc,
}

choice! { OauthMethod, "it is default or oidc": Default = "default", Oidc = "oidc" }

/// The OAuth grant type of requests to a token endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[doc(hidden)]
pub enum GrantType {
    #[default]
    ClientCredentials,
    JwtBearer,
}

choice! {
    GrantType, "it is client_credentials or urn:ietf:params:oauth:grant-type:jwt-bearer":
    ClientCredentials = "client_credentials", JwtBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"
}

/// Java's class that fetches tokens (KIP-1139).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[doc(hidden)]
pub enum TokenRetriever {
    /// By the URL.
    #[default]
    Default,
    ClientCredentials,
    File,
    JwtBearer,
}

/// The package of Java's classes for tokens.
const JAVA: &str = "org.apache.kafka.common.security.oauthbearer.";

impl TokenRetriever {
    /// Returns the name of the class without its package.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Default => "DefaultJwtRetriever",
            Self::ClientCredentials => "ClientCredentialsJwtRetriever",
            Self::File => "FileJwtRetriever",
            Self::JwtBearer => "JwtBearerJwtRetriever",
        }
    }
}

impl Value for TokenRetriever {
    fn read(key: &str, text: &str) -> Result<Self, Error> {
        let known = [Self::Default, Self::ClientCredentials, Self::File, Self::JwtBearer];
        let name = text.strip_prefix(JAVA).unwrap_or_default();
        known
            .into_iter()
            .find(|retriever| retriever.name() == name)
            .ok_or_else(|| cannot_be(key, text, "it is one of Java's classes; for another way implement TokenProvider"))
    }

    fn shown(&self) -> String {
        format!("{JAVA}{}", self.name())
    }
}
