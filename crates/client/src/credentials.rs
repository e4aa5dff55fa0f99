//! Credentials that the program provides: tokens, and passwords from a vault.
//!
//! A password in the settings needs none of these types.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use kurier_engine::error::BoxError;

pub use kurier_engine::core::FetchReason;
pub use kurier_security::{Credentials, Mechanism, ScramMechanism, Secret, Token};

/// A future that a trait object returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why the producer asks for credentials.
///
/// See [`TokenProvider`] for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenRequest {
    /// Why.
    pub reason: FetchReason,
}

/// Source of tokens for OAUTHBEARER (KIP-255).
///
/// The producer asks before it connects, keeps the token, and asks again in time before the token expires
/// (`sasl.login.refresh.*`). It asks at most once at a time. A call that takes longer than
/// `sasl.login.connect.timeout.ms` and `sasl.login.read.timeout.ms` together counts as failed, and the producer asks
/// again.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use kurier::credentials::{BoxFuture, Token, TokenError, TokenProvider, TokenRequest};
///
/// #[derive(Debug)]
/// struct Vault;
///
/// impl TokenProvider for Vault {
///     fn token<'a>(&'a self, _: &'a TokenRequest) -> BoxFuture<'a, Result<Token, TokenError>> {
///         Box::pin(async {
///             let expires_at = SystemTime::now() + Duration::from_secs(900);
///             Ok(Token { value: "eyJhbGciOi.eyJzdWIi.c2ln".into(), expires_at, extensions: Vec::new() })
///         })
///     }
/// }
/// ```
pub trait TokenProvider: Send + Sync + fmt::Debug {
    /// Returns a token that is valid for some time.
    ///
    /// # Errors
    /// [`TokenError::refused`] if a retry would not help soon: the producer then waits longer after each refusal.
    /// [`TokenError::unavailable`] for a failure that may pass.
    fn token<'a>(&'a self, request: &'a TokenRequest) -> BoxFuture<'a, Result<Token, TokenError>>;
}

/// Source of user names and passwords, for example a vault.
///
/// The producer asks before it connects, and again after a broker has refused the credentials.
///
/// ```
/// use kurier::credentials::{BoxFuture, CredentialSource, Credentials, TokenError, TokenRequest};
///
/// #[derive(Debug)]
/// struct Vault;
///
/// impl CredentialSource for Vault {
///     fn credentials<'a>(&'a self, _: &'a TokenRequest) -> BoxFuture<'a, Result<Credentials, TokenError>> {
///         let (username, password) = ("alice".to_owned(), "alice-secret".into());
///         Box::pin(async { Ok(Credentials::Plain { username, password }) })
///     }
/// }
/// ```
pub trait CredentialSource: Send + Sync + fmt::Debug {
    /// Returns the newest credentials.
    ///
    /// # Errors
    /// As for [`TokenProvider::token`].
    fn credentials<'a>(&'a self, request: &'a TokenRequest) -> BoxFuture<'a, Result<Credentials, TokenError>>;
}

/// Why a source has no credentials. Its text appears in errors and logs, so it must not contain a secret.
///
/// ```
/// use kurier::credentials::TokenError;
///
/// let error = TokenError::refused("the token endpoint answered 401 (invalid_client)");
/// assert!(error.is_refusal());
/// ```
#[derive(Debug)]
pub struct TokenError {
    is_refusal: bool,
    source: BoxError,
}

impl TokenError {
    /// Creates an error for a source that refused, so that a retry would not help.
    pub fn refused(why: impl Into<BoxError>) -> Self {
        Self { is_refusal: true, source: why.into() }
    }

    /// Creates an error for a source that cannot be reached or is overloaded, so that a retry may help.
    pub fn unavailable(why: impl Into<BoxError>) -> Self {
        Self { is_refusal: false, source: why.into() }
    }

    /// Returns whether the source refused.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.is_refusal
    }

    pub(crate) fn into_source(self) -> BoxError {
        self.source
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_refusal { "the source refused" } else { "the source cannot be reached" })
    }
}

impl std::error::Error for TokenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}
