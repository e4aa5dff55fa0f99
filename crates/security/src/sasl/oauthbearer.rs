//! OAUTHBEARER (RFC 7628, KIP-255): the client sends a token. The broker accepts it with
//! an empty answer, or refuses it with a reason in JSON, which the client acknowledges.

use std::fmt;

use super::error::SaslError;
use super::message::Message;
use crate::credentials::Token;
use crate::json;
use crate::mechanism::Mechanism;
use crate::printable::printable;

/// Maximum size of a token, and of all extensions together, in bytes.
const TOKEN_BYTES_MAX: usize = 64 * 1024;
/// Separates the pairs of a message.
const SEPARATOR: &[u8] = b"\x01";

/// Returns the first message: the token and the extensions.
pub(super) fn first_message(token: &Token) -> Result<Message, SaslError> {
    let value = token.value.expose();
    let extension_bytes: usize = token.extensions.iter().map(|(key, value)| key.len() + value.len() + 2).sum();
    let keys = || token.extensions.iter().map(|(key, _)| key.as_str());
    let is_repeated = |(index, key): (usize, &str)| keys().take(index).any(|other| other == key);
    let mistakes = [
        (value.is_empty(), "the token is empty"),
        (value.len() > TOKEN_BYTES_MAX, "the token is longer than 64 KiB"),
        (!is_token(value), "the token has a character other than letters, digits, -._~+/ and = at its end"),
        (extension_bytes > TOKEN_BYTES_MAX, "the extensions are longer than 64 KiB"),
        (!keys().all(is_key), "the key of an extension is not made of letters"),
        (keys().any(|key| key == "auth"), "an extension has the reserved key auth"),
        (token.extensions.len() > EXTENSIONS_MAX, "there are more than 100 extensions"),
        (keys().take(EXTENSIONS_MAX).enumerate().any(is_repeated), "two extensions have the same key"),
        (
            !token.extensions.iter().all(|(_, value)| is_value(value)),
            "the value of an extension is empty or not printable ASCII",
        ),
    ];
    if let Some((_, why)) = mistakes.into_iter().find(|(is_wrong, _)| *is_wrong) {
        return Err(SaslError::Inexpressible { mechanism: Mechanism::OauthBearer, why });
    }
    let mut parts = vec![b"n,,".as_slice(), SEPARATOR, b"auth=Bearer ", value, SEPARATOR];
    for (key, value) in &token.extensions {
        parts.extend([key.as_bytes(), b"=", value.as_bytes(), SEPARATOR]);
    }
    parts.push(SEPARATOR);
    Ok(Message::concat(&parts))
}

/// Maximum number of extensions. Brokers know two or three.
const EXTENSIONS_MAX: usize = 100;

/// RFC 6750's `b64token`.
fn is_token(value: &[u8]) -> bool {
    let end = value.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    let (letters, _) = value.split_at(end);
    !letters.is_empty() && letters.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte))
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn is_value(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| matches!(byte, 0x21..=0x7E | b' ' | b'\t' | b'\r' | b'\n'))
}

/// The answer to a broker's reason, which ends the exchange (RFC 7628, section 3.2.3).
pub(super) fn acknowledgement() -> Message {
    Message::concat(&[SEPARATOR])
}

/// A broker's reason for the refusal of a token (RFC 7628, section 3.2.2). `Display` gives text that is safe to print.
///
/// ```
/// # use std::time::SystemTime;
/// use kurier_security::{Credentials, Exchange, Step, Token};
///
/// # let expires_at = SystemTime::UNIX_EPOCH;
/// let token = Token { value: "abc".into(), expires_at, extensions: Vec::new() };
/// let (mut exchange, _) = Exchange::start(&Credentials::Bearer(token), [7; 24])?;
/// let answer = br#"{"status":"invalid_token","scope":"kafka"}"#;
/// assert!(matches!(exchange.handle(answer)?, Step::Send(_)));
/// assert_eq!(exchange.refusal().unwrap().to_string(), "status invalid_token, scope kafka");
/// # Ok::<(), kurier_security::SaslError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    status: Option<String>,
    scope: Option<String>,
}

impl Refusal {
    /// Reads a broker's reason. An answer that is not JSON is a refusal too, without details, as in Java.
    pub(super) fn read(server: &[u8]) -> Result<Self, SaslError> {
        if server.len() > TOKEN_BYTES_MAX {
            let why = format!("its message has {} bytes, more than {TOKEN_BYTES_MAX}", server.len());
            return Err(SaslError::Protocol { mechanism: Mechanism::OauthBearer, why });
        }
        let object = json::object(server).unwrap_or_default();
        let text = |name: &str| object.get(name).and_then(json::Value::text).map(|text| printable(text.as_bytes()));
        Ok(Self { status: text("status"), scope: text("scope") })
    }

    /// Returns the error code, such as `invalid_token`.
    #[must_use]
    pub fn status(&self) -> Option<&str> {
        self.status.as_deref()
    }

    /// Returns the scope that a token must have.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.status, &self.scope) {
            (Some(status), Some(scope)) => write!(f, "status {status}, scope {scope}"),
            (Some(status), None) => write!(f, "status {status}"),
            (None, Some(scope)) => write!(f, "scope {scope}"),
            (None, None) => f.write_str("no reason given"),
        }
    }
}
