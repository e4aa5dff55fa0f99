//! Credentials: how a client proves its identity to a broker.

use std::fmt;
use std::time::SystemTime;

use crate::mechanism::{Mechanism, ScramMechanism};
use crate::secret::Secret;

/// How a client proves its identity to a broker. `Debug` shows no password and no token.
///
/// ```
/// use kurier_security::{Credentials, Mechanism, ScramMechanism};
///
/// let credentials = Credentials::Scram {
///     mechanism: ScramMechanism::Sha512,
///     username: "alice".to_owned(),
///     password: "alice-secret".into(),
///     is_delegation_token: false,
/// };
/// assert_eq!(credentials.mechanism(), Mechanism::ScramSha512);
/// assert!(!format!("{credentials:?}").contains("alice-secret"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credentials {
    /// User name and password, which the broker reads as they are (`PLAIN`).
    Plain {
        /// The user name: not empty, without NUL.
        username: String,
        /// The password: UTF-8, not empty, without NUL.
        password: Secret,
    },
    /// User name and password; the broker sees a proof of the password (`SCRAM-SHA-256`, `SCRAM-SHA-512`).
    Scram {
        /// The hash.
        mechanism: ScramMechanism,
        /// The user name, or the id of a delegation token. Brokers know names of ASCII characters only.
        username: String,
        /// The password, or the HMAC of a delegation token.
        password: Secret,
        /// Whether these are id and HMAC of a delegation token (KIP-48; `tokenauth=true` in a JAAS entry).
        is_delegation_token: bool,
    },
    /// A token (`OAUTHBEARER`).
    Bearer(Token),
}

impl Credentials {
    /// Returns the mechanism that these credentials are for.
    #[must_use]
    pub fn mechanism(&self) -> Mechanism {
        match self {
            Self::Plain { .. } => Mechanism::Plain,
            Self::Scram { mechanism, .. } => (*mechanism).into(),
            Self::Bearer(_) => Mechanism::OauthBearer,
        }
    }

    /// Returns the user name; a token names its subject only to the broker.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        match self {
            Self::Plain { username, .. } | Self::Scram { username, .. } => Some(username),
            Self::Bearer(_) => None,
        }
    }
}

/// A token for `OAUTHBEARER`, such as a JWT. `Debug` shows the expiry and the names of the extensions only.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use kurier_security::Token;
///
/// let expires_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
/// let token = Token { value: "eyJhbGciOi.eyJzdWIi.c2ln".into(), expires_at, extensions: Vec::new() };
/// assert!(!format!("{token:?}").contains("eyJ"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The token: letters, digits and `-._~+/`, then any number of `=` (RFC 6750, section 2.1).
    pub value: Secret,
    /// When the token expires. The broker ends the session then (KIP-368).
    pub expires_at: SystemTime,
    /// SASL extensions, as pairs of key and value (KIP-342): keys of letters, values of printable ASCII.
    pub extensions: Vec<(String, String)>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extensions: Vec<&String> = self.extensions.iter().map(|(key, _)| key).collect();
        f.debug_struct("Token")
            .field("value", &self.value)
            .field("expires_at", &self.expires_at)
            .field("extensions", &extensions)
            .finish()
    }
}
