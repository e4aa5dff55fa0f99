//! The settings of TLS as one value, which a producer's connections share.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::{ClientSessionMemoryCache, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, SupportedCipherSuite};
use rustls_pki_types::{CertificateDer, ServerName};

use super::error::TlsError;
use super::explain::{self, Side};
use super::identity::{Identity, IdentitySource};
use super::pem::PemSource;
use super::provider::{self, Provider};
use super::roots::{Roots, Trusted};
use super::version::TlsVersion;
use crate::secret::Secret;

/// Maximum number of brokers whose sessions a client keeps for resumption.
const RESUMABLE_BROKERS: usize = 64;

/// Maximum number of sessions that rustls keeps for each.
const SESSIONS_OF_BROKER: usize = 8;

/// Settings of TLS, checked and loaded. Clones share them.
///
/// `Display` shows them for people, and neither it nor `Debug` shows a secret.
///
/// ```
/// use std::sync::Arc;
///
/// use kurier_security::tls::{PemSource, TlsConfig, rustls};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # fn of_the_application() -> Option<rustls::ClientConfig> { None }
/// if let Some(config) = of_the_application() {
///     let tls = TlsConfig::from_rustls_0_23(Arc::new(config));
///     assert_eq!(tls.server_name("kafka-1.example.")?.to_str(), "kafka-1.example");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TlsConfig(Arc<Loaded>);

struct Loaded {
    client: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
    /// `None` for a configuration of the application.
    facts: Option<Facts>,
}

/// Facts of a built configuration, for texts.
struct Facts {
    provider: &'static str,
    versions: Vec<TlsVersion>,
    trusted: Trusted,
    /// Empty without a client certificate.
    chain: Vec<CertificateDer<'static>>,
}

impl Facts {
    fn versions(&self) -> String {
        self.versions.iter().map(|version| version.name()).collect::<Vec<_>>().join(", ")
    }
}

impl TlsConfig {
    /// Returns a builder with the defaults: the system's roots, no client certificate, TLS 1.2 and 1.3.
    #[must_use]
    pub fn builder() -> TlsConfigBuilder {
        TlsConfigBuilder::default()
    }

    /// Takes a configuration of rustls 0.23 as it is, for needs that the builder does not meet: revocation lists,
    /// keys in hardware, other verifiers.
    #[must_use]
    pub fn from_rustls_0_23(config: Arc<ClientConfig>) -> Self {
        Self(Arc::new(Loaded { client: config, server_name: None, facts: None }))
    }

    /// Returns the configuration for rustls' connections.
    #[must_use]
    pub fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0.client)
    }

    /// Returns the name that the broker's certificate must have: [`TlsConfigBuilder::server_name`], or else the host that
    /// was dialled, without a final dot. An address must stand in the certificate as an address, and is not sent (SNI).
    ///
    /// # Errors
    /// Of kind [`Configuration`](super::TlsErrorKind::Configuration), if the host is neither a name nor an address.
    pub fn server_name(&self, dialled_host: &str) -> Result<ServerName<'static>, TlsError> {
        match &self.0.server_name {
            Some(name) => Ok(name.clone()),
            None => parse_name(dialled_host),
        }
    }

    /// Explains why a handshake with a host failed. If no connection to this broker was ever ready, the text asks
    /// whether the port is a PLAINTEXT one.
    #[must_use]
    pub fn explain_handshake(&self, error: &io::Error, dialled_host: &str, has_been_ready: bool) -> TlsError {
        explain::handshake(error, &self.side(&self.expected_name(dialled_host)), has_been_ready)
    }

    /// Explains an error of TLS after the handshake. In TLS 1.3 a broker refuses a client's certificate only then, so that
    /// the first read fails. Returns `None` for other errors of the connection.
    #[must_use]
    pub fn explain(&self, error: &io::Error, dialled_host: &str) -> Option<TlsError> {
        Some(explain::tls(explain::of_rustls(error)?, &self.side(&self.expected_name(dialled_host))))
    }

    fn expected_name(&self, dialled_host: &str) -> String {
        self.server_name(dialled_host).map_or_else(|_| dialled_host.to_owned(), |name| name.to_str().into_owned())
    }

    fn side<'a>(&self, server_name: &'a str) -> Side<'a> {
        let facts = self.0.facts.as_ref();
        Side {
            server_name,
            roots: facts.map(|facts| facts.trusted.to_string()),
            has_identity: facts.map(|facts| !facts.chain.is_empty()),
            versions: facts.map_or_else(|| "those of the application's configuration".to_owned(), Facts::versions),
        }
    }

    /// Returns whether both trust the same roots and have the same client certificate, so that a reload changes
    /// nothing. Two configurations of the application are equal only if they are clones.
    #[must_use]
    pub fn has_same_certificates(&self, other: &Self) -> bool {
        if Arc::ptr_eq(&self.0, &other.0) || Arc::ptr_eq(&self.0.client, &other.0.client) {
            return true;
        }
        match (&self.0.facts, &other.0.facts) {
            (Some(ours), Some(theirs)) => {
                ours.trusted.store.roots == theirs.trusted.store.roots && ours.chain == theirs.chain
            }
            _ => false,
        }
    }
}

impl fmt::Display for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.facts {
            None => f.write_str("a rustls::ClientConfig of the application")?,
            Some(facts) => {
                let certificate = if facts.chain.is_empty() { "no client certificate" } else { "a client certificate" };
                write!(f, "{}; provider {}; {}; {certificate}", facts.versions(), facts.provider, facts.trusted)?;
            }
        }
        match &self.0.server_name {
            Some(name) => write!(f, "; server name {}", name.to_str()),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Do not print rustls' type, which shows more than users need.
        write!(f, "TlsConfig({self})")
    }
}

/// Builder for a [`TlsConfig`].
///
/// [`build`](Self::build) may be called again, to read files that changed.
///
/// ```no_run
/// use kurier_security::tls::{PemSource, Provider, TlsConfig, TlsVersion};
///
/// # fn main() -> Result<(), kurier_security::tls::TlsError> {
/// let tls = TlsConfig::builder()
///     .root_certificates(PemSource::path("/etc/kafka/ca.pem"))
///     .identity(PemSource::path("/etc/kafka/client.pem"), PemSource::path("/etc/kafka/client-key.pem"))
///     .versions([TlsVersion::Tls13])
///     .server_name("kafka.example")
///     .provider(Provider::Ring)
///     .build()?;
/// println!("{tls}"); // TLSv1.3; provider ring; 1 root of /etc/kafka/ca.pem; a client certificate; server name …
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct TlsConfigBuilder {
    roots: Roots,
    identity: Option<IdentitySource>,
    key_password: Option<Secret>,
    /// Empty for all.
    versions: Vec<TlsVersion>,
    /// Empty for all.
    cipher_suites: Vec<String>,
    server_name: Option<String>,
    provider: Provider,
}

impl TlsConfigBuilder {
    /// Sets the origin of root certificates (`kurier.tls.roots`; default: [`Roots::Auto`]).
    #[must_use]
    pub fn roots(mut self, roots: Roots) -> Self {
        self.roots = roots;
        self
    }

    /// Trusts these root certificates and no others (`ssl.truststore.location`, `ssl.truststore.certificates`). Each
    /// call adds certificates.
    #[must_use]
    pub fn root_certificates(mut self, source: PemSource) -> Self {
        match &mut self.roots {
            Roots::Pem(sources) => sources.push(source),
            roots => *roots = Roots::Pem(vec![source]),
        }
        self
    }

    /// Sets the client's certificate, followed by those of its issuers in any order, and its private key
    /// (`ssl.keystore.certificate.chain` and `ssl.keystore.key`; default: none).
    #[must_use]
    pub fn identity(mut self, chain: PemSource, key: PemSource) -> Self {
        self.identity = Some(IdentitySource::Pair { chain, key });
        self
    }

    /// Sets the client's certificate and private key, from one place that has both (`ssl.keystore.location`).
    #[must_use]
    pub fn identity_bundle(mut self, bundle: PemSource) -> Self {
        self.identity = Some(IdentitySource::Bundle(bundle));
        self
    }

    /// Sets the password of an encrypted private key (`ssl.key.password`). Needs the feature `tls-encrypted-keys`.
    #[must_use]
    pub fn key_password(mut self, password: Secret) -> Self {
        self.key_password = Some(password);
        self
    }

    /// Sets the versions of TLS (`ssl.enabled.protocols`; default: 1.2 and 1.3).
    #[must_use]
    pub fn versions(mut self, versions: impl IntoIterator<Item = TlsVersion>) -> Self {
        self.versions = versions.into_iter().collect();
        self
    }

    /// Sets the cipher suites by their IANA names (`ssl.cipher.suites`; default: all of the provider).
    #[must_use]
    pub fn cipher_suites<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.cipher_suites = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the name or address that each broker's certificate must have (`kurier.tls.server.name`; default: the host
    /// that was dialled).
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Sets the provider of cryptography (`kurier.tls.provider`; default: [`Provider::Auto`]).
    #[must_use]
    pub fn provider(mut self, provider: Provider) -> Self {
        self.provider = provider;
        self
    }

    /// Loads and checks everything. Blocks while it reads files.
    ///
    /// # Errors
    /// Of kind [`Configuration`](super::TlsErrorKind::Configuration), if the provider is not compiled in, a file cannot be
    /// read or used, the private key does not belong to the certificate, or a name is unknown.
    pub fn build(&self) -> Result<TlsConfig, TlsError> {
        let provider::Chosen { name: provider_name, crypto } = provider::choose(self.provider)?;
        let crypto = with_suites(crypto, provider_name, &self.cipher_suites)?;
        let server_name = self.server_name.as_deref().map(parse_name).transpose()?;
        let trusted = Trusted::load(&self.roots)?;
        let identity = match &self.identity {
            Some(source) => Some(Identity::load(source, self.key_password.as_ref(), &crypto, provider_name)?),
            None => None,
        };
        let mut versions: Vec<TlsVersion> = TlsVersion::ALL.to_vec();
        if !self.versions.is_empty() {
            versions.retain(|version| self.versions.contains(version));
        }
        let of_rustls: Vec<_> = versions.iter().map(|version| version.rustls()).collect();
        let builder =
            ClientConfig::builder_with_provider(crypto).with_protocol_versions(&of_rustls).map_err(|error| {
                let names: Vec<&str> = versions.iter().map(|version| version.name()).collect();
                let why = format!("no cipher suite of ssl.cipher.suites belongs to {}", names.join(" or "));
                TlsError::configuration(why).because(error)
            })?;
        let builder = builder.with_root_certificates(Arc::clone(&trusted.store));
        let (chain, mut client) = match identity {
            Some(Identity { chain, resolver }) => (chain, builder.with_client_cert_resolver(resolver)),
            None => (Vec::new(), builder.with_no_client_auth()),
        };
        // Start with an empty store, so that no session resumes with an old certificate.
        client.resumption =
            Resumption::store(Arc::new(ClientSessionMemoryCache::new(RESUMABLE_BROKERS * SESSIONS_OF_BROKER)));
        let facts = Facts { provider: provider_name, versions, trusted, chain };
        Ok(TlsConfig(Arc::new(Loaded { client: Arc::new(client), server_name, facts: Some(facts) })))
    }
}

/// Parses a host: an address, with or without a zone, or a name, with or without a final dot.
fn parse_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    let (address, _zone) = host.split_once('%').unwrap_or((host, ""));
    if let Ok(address) = address.parse::<IpAddr>() {
        return Ok(ServerName::IpAddress(address.into()));
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    ServerName::try_from(name.to_owned()).map_err(|error| {
        let host = host.chars().take(253).collect::<String>();
        TlsError::configuration(format!("`{}` is neither a host name nor an address", host.escape_debug()))
            .because(error)
    })
}

/// Keeps only the named suites of a provider, in the provider's order.
fn with_suites(
    crypto: Arc<CryptoProvider>,
    provider_name: &str,
    names: &[String],
) -> Result<Arc<CryptoProvider>, TlsError> {
    if names.is_empty() {
        return Ok(crypto);
    }
    let known: Vec<String> = crypto.cipher_suites.iter().map(iana_name).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        return Err(TlsError::configuration(format!(
            "ssl.cipher.suites names {unknown}, which the TLS provider {provider_name} does not have: it has {}",
            known.join(", ")
        )));
    }
    let mut crypto = CryptoProvider::clone(&crypto);
    crypto.cipher_suites.retain(|suite| names.contains(&iana_name(suite)));
    Ok(Arc::new(crypto))
}

/// Returns the name in IANA's registry. rustls begins those of TLS 1.3 with `TLS13_`.
fn iana_name(suite: &SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1)
}
