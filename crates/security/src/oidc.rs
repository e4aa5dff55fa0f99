//! The client's side of an OAuth token endpoint (RFC 6749, KIP-768): the request for a token, and the answer. The caller
//! sends and receives them by HTTP.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::credentials::Token;
use crate::json::{self, Value};
use crate::jwt::Claims;
use crate::printable::printable;
use crate::secret::Secret;

/// A client of a token endpoint, with its secret or assertion.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use kurier_security::{ClientProof, Secret, TokenClient};
///
/// let client = TokenClient {
///     client_id: "kurier".to_owned(),
///     proof: ClientProof::Secret { secret: "s3cret".into(), encodes_header: false },
///     scope: Some("kafka write".to_owned()),
/// };
/// let no_assertion = Secret::default();
/// assert_eq!(client.form(&no_assertion).expose(), b"grant_type=client_credentials&scope=kafka+write");
/// assert_eq!(client.authorization().unwrap().expose(), b"Basic a3VyaWVyOnMzY3JldA==");
///
/// let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
/// let token = client.read_answer(200, br#"{"access_token":"opaque","expires_in":60}"#, now, &no_assertion)?;
/// assert_eq!(token.expires_at, now + Duration::from_secs(60));
/// # Ok::<(), kurier_security::EndpointError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenClient {
    /// The client's id; it may be empty if an assertion names the client.
    pub client_id: String,
    /// How the client proves who it is.
    pub proof: ClientProof,
    /// The scope to ask for.
    pub scope: Option<String>,
}

/// How a client proves to a token endpoint who it is. See [`TokenClient`] for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientProof {
    /// By a secret, with the grant `client_credentials`.
    Secret {
        /// The secret.
        secret: Secret,
        /// Whether id and secret are URL-encoded before base64 (KIP-1025). RFC 6749 requires that, but not every
        /// endpoint expects it.
        encodes_header: bool,
    },
    /// By a signed JWT, with the grant `client_credentials` (RFC 7523, section 2.2; KIP-1258).
    Assertion,
    /// By a signed JWT that is itself the grant (RFC 7523, section 2.1; KIP-1139).
    Bearer,
}

impl TokenClient {
    /// Returns the value of the header `Authorization`, if the client has a secret.
    #[must_use]
    pub fn authorization(&self) -> Option<Secret> {
        let ClientProof::Secret { secret, encodes_header } = &self.proof else { return None };
        let mut pair = Zeroizing::new(Vec::new());
        if *encodes_header {
            pair.extend_from_slice(encoded(self.client_id.as_bytes()).as_bytes());
            pair.push(b':');
            pair.extend_from_slice(Zeroizing::new(encoded(secret.expose())).as_bytes());
        } else {
            pair.extend_from_slice(self.client_id.as_bytes());
            pair.push(b':');
            pair.extend_from_slice(secret.expose());
        }
        let mut value = Zeroizing::new("Basic ".to_owned());
        STANDARD.encode_string(&*pair, &mut value);
        Some(Secret::from(value.as_str()))
    }

    /// Returns the body of the request, of the type `application/x-www-form-urlencoded`. A client with a secret needs no
    /// assertion.
    #[must_use]
    pub fn form(&self, assertion: &Secret) -> Secret {
        const CREDENTIALS: &[u8] = b"client_credentials";
        const BEARER: &[u8] = b"urn:ietf:params:oauth:grant-type:jwt-bearer";
        const TYPE: &[u8] = b"urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let grant = if self.proof == ClientProof::Bearer { BEARER } else { CREDENTIALS };
        let mut fields = vec![("grant_type", grant)];
        match self.proof {
            ClientProof::Secret { .. } => {}
            ClientProof::Bearer => fields.push(("assertion", assertion.expose())),
            ClientProof::Assertion => {
                let id = Some(self.client_id.as_bytes()).filter(|id| !id.is_empty());
                fields.extend(id.map(|id| ("client_id", id)));
                fields.extend([("client_assertion_type", TYPE), ("client_assertion", assertion.expose())]);
            }
        }
        fields.extend(self.scope.as_ref().map(|scope| ("scope", scope.as_bytes())));
        let mut form = Zeroizing::new(String::new());
        for (name, value) in fields {
            if !form.is_empty() {
                form.push('&');
            }
            form.push_str(name);
            form.push('=');
            form.push_str(&Zeroizing::new(encoded(value)));
        }
        Secret::from(form.as_str())
    }

    /// Reads the status and the body of an answer to a request that was sent at this time, with this assertion. The token
    /// has no extensions.
    ///
    /// # Errors
    /// If the endpoint gave no token, or one whose time of expiry is not known.
    pub fn read_answer(
        &self,
        status: u16,
        body: &[u8],
        asked_at: SystemTime,
        assertion: &Secret,
    ) -> Result<Token, EndpointError> {
        let object = json::object(body);
        let member = |name: &str| object.as_ref().and_then(|object| object.get(name));
        if !matches!(status, 200 | 201) {
            let text = |name: &str| member(name).and_then(Value::text).map(|text| self.shown(text, assertion));
            return Err(EndpointError::Status { status, error: text("error"), description: text("error_description") });
        }
        if object.is_none() {
            return Err(EndpointError::NotJson);
        }
        let token = member("access_token").and_then(Value::text).filter(|token| !token.is_empty());
        let value = Secret::from(token.ok_or(EndpointError::NoToken)?);
        let expires_at = match member("expires_in") {
            Some(lifetime) => asked_at.checked_add(seconds(lifetime).ok_or(EndpointError::WrongLifetime)?),
            None => Claims::read(value.expose()).ok().and_then(|claims| claims.expires_at),
        };
        let expires_at = expires_at.ok_or(EndpointError::NoLifetime)?;
        Ok(Token { value, expires_at, extensions: Vec::new() })
    }

    /// Escapes a text of the endpoint, and removes secrets that it quotes.
    fn shown(&self, text: &str, assertion: &Secret) -> String {
        let mut text = text.to_owned();
        let secret = match &self.proof {
            ClientProof::Secret { secret, .. } => secret,
            ClientProof::Assertion | ClientProof::Bearer => assertion,
        };
        if let Ok(secret) = str::from_utf8(secret.expose())
            && !secret.is_empty()
        {
            text = text.replace(secret, "[hidden]");
        }
        printable(text.as_bytes())
    }
}

/// Returns a lifetime. Some endpoints write the number as text.
fn seconds(value: &Value) -> Option<Duration> {
    /// Ten years. A larger number is a mistake.
    const SECONDS_MAX: f64 = 10.0 * 365.0 * 86_400.0;
    let seconds = value.number().or_else(|| value.text()?.parse().ok())?;
    (1.0..=SECONDS_MAX).contains(&seconds).then(|| Duration::try_from_secs_f64(seconds).ok())?
}

/// Encodes a value of a form, as Java's `URLEncoder` does.
fn encoded(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => text.push(char::from(*byte)),
            b' ' => text.push('+'),
            _ => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

/// Why an answer of a token endpoint has no usable token. The text continues a sentence that names the endpoint.
///
/// See [`TokenClient`] for an example.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The status is another than 200 and 201.
    #[error("answered {status}{}", .error.as_ref().map(|error| reason(error, .description.as_deref())).unwrap_or_else(|| advice(*.status)))]
    Status {
        /// The status.
        status: u16,
        /// The code of the error, such as `invalid_client`.
        error: Option<String>,
        /// The endpoint's text about it.
        description: Option<String>,
    },
    /// The body is not a JSON object.
    #[error("answered with something that is not a JSON object: does the URL name the token endpoint?")]
    NotJson,
    /// The object has no token.
    #[error("answered without an access_token")]
    NoToken,
    /// The lifetime is not a number of seconds.
    #[error("answered with an expires_in that is not a number of seconds from 1 second to 10 years")]
    WrongLifetime,
    /// Nothing says how long the token lasts.
    #[error("answered without expires_in, and its token is not a JWT with a time of expiry (exp)")]
    NoLifetime,
}

impl EndpointError {
    /// Returns whether the endpoint refused, so that the same request would fail again.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Status { status, .. } => !matches!(status, 408 | 429 | 500..),
            _ => false,
        }
    }
}

fn reason(error: &str, description: Option<&str>) -> String {
    description.map_or_else(|| format!(" ({error})"), |description| format!(" ({error}: {description})"))
}

fn advice(status: u16) -> String {
    match status {
        300..400 => ", which redirects: set the URL that it redirects to".to_owned(),
        404 => ": does the URL name the token endpoint?".to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(id: &str, secret: &str, encodes_header: bool) -> TokenClient {
        let proof = ClientProof::Secret { secret: secret.into(), encodes_header };
        TokenClient { client_id: id.to_owned(), proof, scope: None }
    }

    /// Expected values from Java's `Base64.getEncoder` and `URLEncoder`, and RFC 6749, section 2.3.1.
    #[test]
    fn request_is_as_javas() {
        for (id, secret, encodes_header, expected) in [
            ("s6BhdRkqt3", "7Fjfp0ZBr1KtDRbnfVdmIw", false, "czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3"),
            ("s6BhdRkqt3", "7Fjfp0ZBr1KtDRbnfVdmIw", true, "czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3"),
            // Standard base64: + and /, not - and _.
            ("a", "\u{fe}~~?", false, "YTrDvn5+Pw=="),
            ("a", "??>", false, "YTo/Pz4="),
            // a:+%2B%25%C3%A9
            ("a", " +%é", true, "YTorJTJCJTI1JUMzJUE5"),
        ] {
            let value = client(id, secret, encodes_header).authorization().unwrap();
            assert_eq!(String::from_utf8_lossy(value.expose()), format!("Basic {expected}"), "{id}:{secret}");
        }
        let secret = client("a", "b", false).proof;
        let assertion = "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=e.e.s";
        let bearer = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=e.e.s";
        for (proof, id, scope, expected) in [
            (&secret, "a", None, "grant_type=client_credentials".to_owned()),
            (&secret, "a", Some("a b"), "grant_type=client_credentials&scope=a+b".to_owned()),
            (
                &secret,
                "a",
                Some("api://x/.default&é*-._~"),
                "grant_type=client_credentials&scope=api%3A%2F%2Fx%2F.default%26%C3%A9*-._%7E".to_owned(),
            ),
            (&ClientProof::Assertion, "", None, format!("grant_type=client_credentials&{assertion}")),
            (
                &ClientProof::Assertion,
                "a",
                Some("s"),
                format!("grant_type=client_credentials&client_id=a&{assertion}&scope=s"),
            ),
            (&ClientProof::Bearer, "a", Some("s"), format!("{bearer}&scope=s")),
        ] {
            let client =
                TokenClient { client_id: id.to_owned(), proof: proof.clone(), scope: scope.map(str::to_owned) };
            assert_eq!(String::from_utf8_lossy(client.form(&"e.e.s".into()).expose()), expected);
            assert_eq!(client.authorization().is_some(), *proof == secret);
        }
    }

    /// Status, body, and the token's expiry in seconds since 1970, or a part of the text and whether it is a refusal.
    type Case<'a> = (u16, &'a str, Result<u64, (&'a str, bool)>);

    #[test]
    fn answer_is_a_token_or_the_reason() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        // {"alg":"none"}.{"sub":"alice","exp":1795000000}
        const JWT: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSIsImV4cCI6MTc5NTAwMDAwMH0.";
        let jwt = format!(r#"{{"access_token":"{JWT}"}}"#);
        let both = format!(r#"{{"access_token":"{JWT}","expires_in":60}}"#);
        let refused = r#"{"error":"invalid_client","error_description":"no client with hunter2\n"}"#;
        let cases: &[Case<'_>] = &[
            (200, r#"{"access_token":"t","token_type":"Bearer","expires_in":3600}"#, Ok(4_600)),
            (201, r#"{"access_token":"t","expires_in":"60"}"#, Ok(1_060)),
            (200, &jwt, Ok(1_795_000_000)),
            (200, &both, Ok(1_060)),
            (200, r#"{"access_token":"t"}"#, Err(("answered without expires_in", false))),
            (200, r#"{"access_token":"t","expires_in":0}"#, Err(("an expires_in that is not", false))),
            (200, r#"{"access_token":"t","expires_in":1e300}"#, Err(("an expires_in that is not", false))),
            (200, r#"{"access_token":"t","expires_in":null}"#, Err(("an expires_in that is not", false))),
            (200, r#"{"access_token":"","expires_in":1}"#, Err(("answered without an access_token", false))),
            (200, r#"{"access_token":7,"expires_in":1}"#, Err(("answered without an access_token", false))),
            (200, "<html>", Err(("not a JSON object", false))),
            (200, "", Err(("not a JSON object", false))),
            (401, refused, Err(("answered 401 (invalid_client: no client with [hidden]\\n)", true))),
            (400, r#"{"error":"invalid_scope"}"#, Err(("answered 400 (invalid_scope)", true))),
            (404, "<html>", Err(("answered 404: does the URL name the token endpoint?", true))),
            (302, "", Err(("answered 302, which redirects: set the URL that it redirects to", true))),
            (204, "", Err(("answered 204", true))),
            (408, "", Err(("answered 408", false))),
            (429, "", Err(("answered 429", false))),
            (500, refused, Err(("answered 500 (invalid_client", false))),
            (503, "", Err(("answered 503", false))),
        ];
        for (status, body, expected) in cases {
            match (
                client("a", "hunter2", false).read_answer(*status, body.as_bytes(), now, &Secret::default()),
                expected,
            ) {
                (Ok(token), Ok(seconds)) => {
                    assert_eq!(token.expires_at, SystemTime::UNIX_EPOCH + Duration::from_secs(*seconds), "{body}");
                }
                (Err(error), Err((text, is_refusal))) => {
                    assert!(error.to_string().contains(text), "{status} {body}: {error}");
                    assert_eq!(error.is_refusal(), *is_refusal, "{status} {body}");
                }
                (found, _) => panic!("{status} {body}: {found:?}"),
            }
        }
        let client = TokenClient { proof: ClientProof::Bearer, ..client("a", "", false) };
        let error = client.read_answer(401, refused.as_bytes(), now, &"hunter2".into()).unwrap_err();
        assert!(error.to_string().contains("no client with [hidden]"), "{error}");
    }
}
