//! TLS and SASL as the settings ask for them: the checked result, which the driver reads.
//!
//! `check.rs` makes a [`SecurityConfig`] of the settings in the table.

mod check;
pub(super) mod choices;
pub(super) mod endpoint;
mod oidc;
pub(super) mod protocol;
mod sasl;
#[cfg(test)]
mod tests;
mod tls;
pub(super) mod values;

use std::path::PathBuf;
use std::time::Duration;

use kurier_security::{Assertion, Credentials, Mechanism, ScramMechanism, Secret, TokenClient, UnsecuredToken};

use self::choices::{Roots, TlsProvider, TlsVersions};
use self::endpoint::EndpointUrl;
use self::protocol::SecurityProtocol;
use super::host_port::HostPort;
use super::values::refused;
use crate::error::Error;

/// TLS and SASL as the settings ask for them. The settings agree with each other, but the files that they name are not
/// read yet.
///
/// ```
/// use kurier_engine::config::{Config, SecurityProtocol};
///
/// let mut config = Config::default();
/// for (key, value) in [
///     ("bootstrap.servers", "kafka-1:9093"),
///     ("security.protocol", "SASL_SSL"),
///     ("sasl.mechanism", "SCRAM-SHA-512"),
///     ("sasl.username", "alice"),
///     ("sasl.password", "alice-secret"),
/// ] {
///     config.set(key, value)?;
/// }
/// let config = config.check()?;
/// let security = config.security();
/// assert_eq!(security.protocol, SecurityProtocol::SaslSsl);
/// assert!(security.tls.is_some() && security.sasl.is_some());
/// assert!(!format!("{config:?}").contains("alice-secret"));
/// # Ok::<(), kurier_engine::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SecurityConfig {
    /// `security.protocol`.
    pub protocol: SecurityProtocol,
    /// TLS, if the protocol has it.
    pub tls: Option<TlsSettings>,
    /// SASL, if the protocol has it.
    pub sasl: Option<SaslSettings>,
}

/// Returns the error for a mechanism that would reveal a password or a token on the way to this broker.
#[must_use]
pub fn in_the_clear(mechanism: Mechanism, broker: &HostPort) -> Error {
    let secret = if mechanism == Mechanism::Plain { "password" } else { "token" };
    refused(format!(
        "{mechanism} would send the {secret} unencrypted to {broker}: use SASL_SSL, or set kurier.sasl.allow.cleartext=true"
    ))
}

/// Settings of TLS.
///
/// See [`SecurityConfig`] for an example.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsSettings {
    /// The authorities that may sign the certificate of a broker.
    pub trust: Trust,
    /// The certificate that the client shows, if it has one.
    pub identity: Option<Identity>,
    /// The versions that the client offers.
    pub versions: TlsVersions,
    /// The IANA names of the cipher suites that the client offers; all of the provider's if there are none.
    pub cipher_suites: Vec<String>,
    /// The name or address that the certificate of every broker must be for, instead of the host that was dialled
    /// (`kurier.tls.server.name`).
    pub server_name: Option<String>,
    /// The library that encrypts (`kurier.tls.provider`).
    pub provider: TlsProvider,
    /// How often the files are compared with their content in use; `None` for never (`kurier.tls.reload.ms`).
    pub reload: Option<Duration>,
}

/// The authorities that may sign the certificate of a broker.
///
/// See [`SecurityConfig`] for an example.
#[derive(Clone, Debug, PartialEq)]
pub enum Trust {
    /// The authorities that the system or a crate trusts (`kurier.tls.roots`).
    Roots(Roots),
    /// The certificates of the authorities (`ssl.truststore.location`, `ssl.truststore.certificates`).
    Certificates(PemSource),
}

/// Certificate and private key of the client.
///
/// See [`SecurityConfig`] for an example.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// The certificate and its chain, in any order.
    pub certificates: PemSource,
    /// The private key: the same file, or another.
    pub key: PemSource,
    /// The password of the key (`ssl.key.password`).
    pub key_password: Option<Secret>,
}

/// PEM text, or the place that has it.
///
/// See [`SecurityConfig`] for an example.
#[derive(Clone, Debug, PartialEq)]
pub enum PemSource {
    /// A file; for certificates of authorities also a folder of files.
    Path(PathBuf),
    /// The text itself.
    Text {
        /// The setting with the text, for errors.
        setting: &'static str,
        /// The text.
        text: Secret,
    },
}

/// Settings of SASL.
///
/// See [`SecurityConfig`] for an example.
#[derive(Clone, Debug, PartialEq)]
pub struct SaslSettings {
    /// `sasl.mechanism`.
    pub mechanism: Mechanism,
    /// The source of the credentials.
    pub credentials: SaslCredentials,
    /// Whether `PLAIN` and `OAUTHBEARER` may reveal their secret to everyone on the path
    /// (`kurier.sasl.allow.cleartext`).
    pub allow_cleartext: bool,
    /// The most iterations of PBKDF2 that a broker may ask for (`kurier.sasl.scram.max.iterations`).
    pub scram_max_iterations: u32,
    /// When and how a token is replaced.
    pub login: LoginSettings,
}

/// The source of the credentials.
///
/// See [`SecurityConfig`] for an example.
#[derive(Clone, Debug, PartialEq)]
pub enum SaslCredentials {
    /// This machine has the credentials.
    Local(LocalCredentials),
    /// A token endpoint gives the tokens of `OAUTHBEARER` (KIP-768).
    Oidc(Box<OidcSettings>),
    /// The program provides the credentials; no setting does.
    Program,
}

/// Credentials in the settings or in a file, or tokens that the client makes.
///
/// See [`SecurityConfig`] for an example.
#[derive(Clone, Debug, PartialEq)]
pub enum LocalCredentials {
    /// User name and password stand in the settings.
    Known(Credentials),
    /// The password stands in a file, with or without a final newline (`kurier.sasl.password.file`).
    PasswordFile {
        /// The user name.
        username: String,
        /// The file with the password.
        path: PathBuf,
    },
    /// The token of `OAUTHBEARER` stands in a file, as a JWT, with or without a final newline
    /// (`sasl.oauthbearer.token.endpoint.url`).
    TokenFile {
        /// The file with the token.
        path: PathBuf,
        /// The SASL extensions of the token.
        extensions: Vec<(String, String)>,
    },
    /// The client makes unsigned tokens for `OAUTHBEARER` (`enable.sasl.oauthbearer.unsecure.jwt`).
    Unsecured(UnsecuredToken),
}

/// A token endpoint, and the client's credentials there.
///
/// See [`SecurityConfig`] for an example.
#[derive(Clone, Debug, PartialEq)]
pub struct OidcSettings {
    /// The URL (`sasl.oauthbearer.token.endpoint.url`).
    pub endpoint: EndpointUrl,
    /// Id, proof and scope of the client.
    pub client: TokenClient,
    /// The source of the client's assertions; `None` if the client has a secret.
    pub assertion: Option<AssertionSource>,
    /// The SASL extensions of the tokens.
    pub extensions: Vec<(String, String)>,
    /// TLS for the endpoint (`https.ca.location`, `https.ca.pem`, `kurier.tls.roots`, `kurier.tls.provider`).
    pub tls: TlsSettings,
}

/// The source of a client's assertions. Each request to the token endpoint has one.
///
/// See [`SecurityConfig`] for an example.
#[derive(Clone, Debug, PartialEq)]
pub enum AssertionSource {
    /// A file that something else renews (`sasl.oauthbearer.assertion.file`).
    File(PathBuf),
    /// The client signs them itself.
    Key(Box<AssertionSettings>),
}

/// Settings of the assertions that the client signs itself (`sasl.oauthbearer.assertion.*`).
///
/// See [`SecurityConfig`] for an example.
#[derive(Clone, Debug, PartialEq)]
pub struct AssertionSettings {
    /// Algorithm and claims.
    pub assertion: Assertion,
    /// The private key.
    pub key: PemSource,
    /// The passphrase of the key.
    pub passphrase: Option<Secret>,
    /// The file with further members of header and claims.
    pub template: Option<PathBuf>,
}

impl OidcSettings {
    /// Returns the error for an endpoint that would get the client's secret unencrypted.
    #[must_use]
    pub fn in_the_clear(&self) -> Error {
        endpoint_in_the_clear(&self.endpoint)
    }
}

fn endpoint_in_the_clear(endpoint: &EndpointUrl) -> Error {
    refused(format!(
        "sasl.oauthbearer.token.endpoint.url would send the client's secret unencrypted to {}: use https:, or set \
         kurier.sasl.allow.cleartext=true",
        endpoint.server
    ))
}

impl SaslSettings {
    /// Returns the credentials of this mechanism for a user name and a password.
    ///
    /// Returns `None` for `OAUTHBEARER`, which takes a token.
    #[must_use]
    pub fn with_password(&self, username: String, password: Secret, is_delegation_token: bool) -> Option<Credentials> {
        password_credentials(self.mechanism, username, password, is_delegation_token)
    }
}

fn password_credentials(
    mechanism: Mechanism,
    username: String,
    password: Secret,
    is_delegation_token: bool,
) -> Option<Credentials> {
    let mechanism = match mechanism {
        Mechanism::Plain => return Some(Credentials::Plain { username, password }),
        Mechanism::ScramSha256 => ScramMechanism::Sha256,
        Mechanism::ScramSha512 => ScramMechanism::Sha512,
        _ => return None,
    };
    Some(Credentials::Scram { mechanism, username, password, is_delegation_token })
}

/// When and how the client replaces a token of `OAUTHBEARER` (`sasl.login.*`).
///
/// See [`SecurityConfig`] for an example.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoginSettings {
    /// How much of a token's lifetime passes before the client asks for the next one.
    pub window_factor: f64,
    /// The largest random delay of that request, as a part of the lifetime.
    pub window_jitter: f64,
    /// The least age at which a token is replaced. This and `buffer` have no effect if together they exceed the
    /// lifetime.
    pub min_period: Duration,
    /// How long before its expiry a token is replaced at the latest.
    pub buffer: Duration,
    /// How long a connection to the provider of tokens may take.
    pub connect_timeout: Duration,
    /// How long the provider may take to answer.
    pub read_timeout: Duration,
    /// The first wait before the client asks again after a failure.
    pub retry_backoff: Duration,
    /// The longest wait before the client asks again.
    pub retry_backoff_max: Duration,
}
