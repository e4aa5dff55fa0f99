//! JSON Web Tokens (RFC 7519): reads the claims that a client needs, and makes unsigned tokens. Nothing here verifies a
//! token: the broker does.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::credentials::Token;
use crate::json::{self, Value};
use crate::secret::Secret;

/// Maximum size of a token, in bytes.
const TOKEN_BYTES_MAX: usize = 64 * 1024;
/// The last second of the year 9999. A later time is a mistake, such as milliseconds for seconds.
const SECONDS_MAX: f64 = 253_402_300_799.0;

/// Claims of a token that nobody has verified.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use kurier_security::Claims;
///
/// // {"alg":"none"}.{"sub":"alice","exp":1795000000}
/// let claims = Claims::read(b"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSIsImV4cCI6MTc5NTAwMDAwMH0.")?;
/// assert_eq!(claims.subject.as_deref(), Some("alice"));
/// assert_eq!(claims.expires_at, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000)));
/// # Ok::<(), kurier_security::JwtError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claims {
    /// `sub`: the principal.
    pub subject: Option<String>,
    /// `iat`: the time of issue.
    pub issued_at: Option<SystemTime>,
    /// `exp`: the time of expiry.
    pub expires_at: Option<SystemTime>,
}

/// The reason why a token has no readable claims. The text does not quote the token.
///
/// ```
/// use kurier_security::{Claims, JwtError};
///
/// assert_eq!(Claims::read(b"opaque").unwrap_err(), JwtError::Parts(1));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum JwtError {
    /// The token is longer than 64 KiB.
    #[error("the token is longer than 64 KiB")]
    TooLong,
    /// The token does not have three parts, but this many.
    #[error("the token has {0} parts between dots, and a signed JWT has 3")]
    Parts(usize),
    /// The second part is not JSON in base64url.
    #[error("the second part of the token is not a JSON object in base64url")]
    Claims,
    /// A claim has another type than RFC 7519 says, or a time is not between 1970 and 9999.
    #[error("the claim {0} of the token is not {1}")]
    Claim(&'static str, &'static str),
}

impl Claims {
    /// Reads the claims of a token without verifying it.
    ///
    /// # Errors
    /// If the token is not a signed or unsigned JWT in compact form, or a claim has a wrong type.
    pub fn read(token: &[u8]) -> Result<Self, JwtError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(JwtError::TooLong);
        }
        let parts = token.split(|byte| *byte == b'.').count();
        let mut each = token.split(|byte| *byte == b'.');
        let (3, Some(_), Some(claims)) = (parts, each.next(), each.next()) else { return Err(JwtError::Parts(parts)) };
        let claims = URL_SAFE_NO_PAD.decode(claims).map(Zeroizing::new).map_err(|_| JwtError::Claims)?;
        let claims = json::object(&claims).ok_or(JwtError::Claims)?;
        let subject = match claims.get("sub") {
            None => None,
            Some(value) => Some(value.text().ok_or(JwtError::Claim("sub", "text"))?.to_owned()),
        };
        Ok(Self { subject, issued_at: time(&claims, "iat")?, expires_at: time(&claims, "exp")? })
    }
}

/// Returns a time, in seconds since 1970 and possibly with a fraction.
fn time(claims: &BTreeMap<String, Value>, name: &'static str) -> Result<Option<SystemTime>, JwtError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.number().filter(|seconds| (0.0..=SECONDS_MAX).contains(seconds));
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let time = time.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
    time.map(Some).ok_or(JwtError::Claim(name, "a time in seconds since 1970"))
}

/// A template for unsigned tokens (`alg` is `none`), which only brokers for development accept (KIP-255).
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use kurier_security::{Claim, Claims, UnsecuredToken};
///
/// let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
/// let token = UnsecuredToken {
///     claims: vec![("sub".to_owned(), Claim::Text("alice".to_owned()))],
///     lifetime: Duration::from_secs(60),
///     extensions: Vec::new(),
/// };
/// let token = token.issue(now);
/// assert_eq!(token.expires_at, now + Duration::from_secs(60));
/// assert_eq!(Claims::read(token.value.expose())?.subject.as_deref(), Some("alice"));
/// # Ok::<(), kurier_security::JwtError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct UnsecuredToken {
    /// The claims besides `iat` and `exp`, each once; the broker takes the principal from `sub`.
    pub claims: Vec<(String, Claim)>,
    /// The time between issue and expiry.
    pub lifetime: Duration,
    /// The SASL extensions of the token.
    pub extensions: Vec<(String, String)>,
}

/// The value of a claim. See [`UnsecuredToken`] for an example.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// A string.
    Text(String),
    /// A finite number.
    Number(f64),
    /// A list of strings.
    List(Vec<String>),
}

impl UnsecuredToken {
    /// Makes a token. Its times have whole seconds, so it expires up to a second early.
    #[must_use]
    pub fn issue(&self, now: SystemTime) -> Token {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let issued = Duration::from_secs(since.as_secs());
        let expires = Duration::from_secs(issued.saturating_add(self.lifetime).as_secs());
        let mut claims = format!("{{\"iat\":{},\"exp\":{}", issued.as_secs(), expires.as_secs());
        for (name, claim) in &self.claims {
            let value = match claim {
                Claim::Text(text) => json::quoted(text),
                Claim::Number(number) => number.to_string(),
                Claim::List(texts) => {
                    format!("[{}]", texts.iter().map(|text| json::quoted(text)).collect::<Vec<_>>().join(","))
                }
            };
            claims += &format!(",{}:{value}", json::quoted(name));
        }
        claims.push('}');
        let value = format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode(claims));
        let expires_at = SystemTime::UNIX_EPOCH.checked_add(expires).unwrap_or(now);
        Token { value: Secret::from(value), expires_at, extensions: self.extensions.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_claims(claims: &str) -> Vec<u8> {
        format!("eyJhbGciOiJSUzI1NiJ9.{}.c2lnbmF0dXJl", URL_SAFE_NO_PAD.encode(claims)).into_bytes()
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// RFC 7519, section 3.1, and RFC 7515, appendix A.1.
    #[test]
    fn example_of_rfc_7519() {
        let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let claims = Claims::read(token.as_bytes()).unwrap();
        assert_eq!(claims, Claims { subject: None, issued_at: None, expires_at: Some(at(1_300_819_380)) });
    }

    #[test]
    fn claims_that_can_be_read() {
        let cases = [
            ("{}", Claims::default()),
            (
                r#"{"sub":"é","iat":0,"exp":1.5e9,"realm_access":{"roles":["a"]}}"#,
                Claims { subject: Some("é".to_owned()), issued_at: Some(at(0)), expires_at: Some(at(1_500_000_000)) },
            ),
            (r#"{"exp":253402300799}"#, Claims { expires_at: Some(at(253_402_300_799)), ..Default::default() }),
            (r#"{"exp":1.5}"#, Claims { expires_at: Some(at(1) + Duration::from_millis(500)), ..Default::default() }),
        ];
        for (claims, expected) in cases {
            assert_eq!(Claims::read(&with_claims(claims)), Ok(expected), "{claims}");
        }
    }

    #[test]
    fn other_tokens_are_refused() {
        let time = "a time in seconds since 1970";
        let cases = [
            (b"".to_vec(), JwtError::Parts(1)),
            (b"a.b".to_vec(), JwtError::Parts(2)),
            (b"a.b.c.d.e".to_vec(), JwtError::Parts(5)),
            (vec![b'.'; 65_536], JwtError::Parts(65_537)),
            (vec![b'.'; 65_537], JwtError::TooLong),
            (b"..".to_vec(), JwtError::Claims),
            (b"a.e30=.c".to_vec(), JwtError::Claims),
            (b"a.*.c".to_vec(), JwtError::Claims),
            (with_claims("[]"), JwtError::Claims),
            (with_claims("{\"exp\":1,\"exp\":2}"), JwtError::Claims),
            (with_claims("{\"sub\":7}"), JwtError::Claim("sub", "text")),
            (with_claims("{\"exp\":\"1795000000\"}"), JwtError::Claim("exp", time)),
            (with_claims("{\"exp\":null}"), JwtError::Claim("exp", time)),
            (with_claims("{\"exp\":-1}"), JwtError::Claim("exp", time)),
            (with_claims("{\"exp\":1e999}"), JwtError::Claim("exp", time)),
            (with_claims("{\"iat\":253402300800}"), JwtError::Claim("iat", time)),
        ];
        for (token, expected) in cases {
            assert_eq!(Claims::read(&token), Err(expected));
        }
    }

    #[test]
    fn unsecured_token_reads_back() {
        let token = UnsecuredToken {
            claims: vec![
                ("sub".to_owned(), Claim::Text("a\"b\\c\n\u{7}é".to_owned())),
                ("n".to_owned(), Claim::Number(1.5)),
                ("scope".to_owned(), Claim::List(vec!["a".to_owned(), "b".to_owned()])),
            ],
            lifetime: Duration::from_millis(60_500),
            extensions: vec![("traceId".to_owned(), "7".to_owned())],
        };
        let token = token.issue(at(1_000) + Duration::from_millis(700));
        let text = str::from_utf8(token.value.expose()).unwrap();
        let [header, claims, ""] = text.split('.').collect::<Vec<_>>()[..] else { panic!("{text}") };
        assert_eq!(URL_SAFE_NO_PAD.decode(header).unwrap(), br#"{"alg":"none"}"#);
        let expected = r#"{"iat":1000,"exp":1060,"sub":"a\"b\\c\u000a\u0007é","n":1.5,"scope":["a","b"]}"#;
        assert_eq!(String::from_utf8(URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap(), expected);
        assert_eq!((token.expires_at, token.extensions.len()), (at(1_060), 1));
        let claims = Claims::read(token.value.expose()).unwrap();
        assert_eq!(claims.subject.as_deref(), Some("a\"b\\c\n\u{7}é"));
        assert_eq!((claims.issued_at, claims.expires_at), (Some(at(1_000)), Some(at(1_060))));
    }
}
