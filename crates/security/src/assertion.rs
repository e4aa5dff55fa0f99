//! JWTs with which a client proves to a token endpoint who it is (RFC 7523, KIP-1139, KIP-1258): header and claims.
//! `tls::AssertionKey` signs them.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use thiserror::Error;

use crate::json;
use crate::printable::printable;

/// Header and claims of an assertion, besides those of its template.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use kurier_security::{Assertion, AssertionAlgorithm, AssertionTemplate};
///
/// let assertion = Assertion {
///     algorithm: AssertionAlgorithm::Es256,
///     audience: Some("https://login.example".to_owned()),
///     issuer: Some("orders".to_owned()),
///     subject: Some("orders".to_owned()),
///     lifetime: Duration::from_secs(300),
///     tolerance: Duration::from_secs(60),
///     has_id: false,
/// };
/// let template = AssertionTemplate::parse(br#"{"header": {"kid": "2026-11"}}"#)?;
/// let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
/// let unsigned = assertion.unsigned(&template, now, [0; 16])?;
/// // {"alg":"ES256","kid":"2026-11","typ":"JWT"}
/// assert!(unsigned.starts_with("eyJhbGciOiJFUzI1NiIsImtpZCI6IjIwMjYtMTEiLCJ0eXAiOiJKV1QifQ."));
/// # Ok::<(), kurier_security::TemplateError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assertion {
    /// The algorithm of the signature, also the header's `alg`.
    pub algorithm: AssertionAlgorithm,
    /// `aud`: the recipient, usually the URL of the token endpoint or its issuer.
    pub audience: Option<String>,
    /// `iss`: the client's id.
    pub issuer: Option<String>,
    /// `sub`: the client's id, or the user that it acts for.
    pub subject: Option<String>,
    /// The time between issue and expiry (`exp`).
    pub lifetime: Duration,
    /// How long before its issue the assertion is valid (`nbf`), because clocks differ.
    pub tolerance: Duration,
    /// Whether the assertion has an id of its own (`jti`).
    pub has_id: bool,
}

impl Assertion {
    /// Returns header and claims in base64url, with a dot between them: the text to sign. Its times have whole seconds.
    /// `random` is the source of the id.
    ///
    /// The algorithm, the type, the times and the id replace those of the template.
    ///
    /// # Errors
    /// If the template has another audience, issuer or subject.
    pub fn unsigned(
        &self,
        template: &AssertionTemplate,
        now: SystemTime,
        random: [u8; 16],
    ) -> Result<String, TemplateError> {
        let mut header = template.header.clone();
        header.extend([member("alg", json::quoted(self.algorithm.name())), member("typ", json::quoted("JWT"))]);
        let mut claims = template.claims.clone();
        for (name, value) in [("aud", &self.audience), ("iss", &self.issuer), ("sub", &self.subject)] {
            let Some(value) = value else { continue };
            // The same text can be escaped in several ways.
            if claims.get(name).is_some_and(|other| json::string(other).as_ref() != Some(value)) {
                return Err(TemplateError::Differs(name));
            }
            claims.insert(name.to_owned(), json::quoted(value));
        }
        let issued = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let expires = issued.saturating_add(self.lifetime.as_secs());
        let begins = issued.saturating_sub(self.tolerance.as_secs());
        claims.extend([
            member("iat", issued.to_string()),
            member("exp", expires.to_string()),
            member("nbf", begins.to_string()),
        ]);
        if self.has_id {
            claims.extend([member("jti", json::quoted(&uuid(random)))]);
        }
        Ok(format!("{}.{}", encoded(&header), encoded(&claims)))
    }
}

fn member(name: &str, value: String) -> (String, String) {
    (name.to_owned(), value)
}

/// Writes an object, and encodes it.
fn encoded(members: &BTreeMap<String, String>) -> String {
    let members: Vec<String> = members.iter().map(|(name, value)| format!("{}:{value}", json::quoted(name))).collect();
    URL_SAFE_NO_PAD.encode(format!("{{{}}}", members.join(",")))
}

/// Writes random bytes as a UUID of version 4 (RFC 9562).
fn uuid(mut random: [u8; 16]) -> String {
    random[6] = random[6] & 0x0F | 0x40;
    random[8] = random[8] & 0x3F | 0x80;
    let mut text = String::new();
    for (at, byte) in random.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The algorithm of an assertion's signature (RFC 7518). See [`Assertion`] for an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AssertionAlgorithm {
    /// RSA with PKCS#1 v1.5 and SHA-256.
    #[default]
    Rs256,
    /// ECDSA with P-256 and SHA-256.
    Es256,
}

impl AssertionAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 2] = [Self::Rs256, Self::Es256];

    /// Returns the registered name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }
}

impl fmt::Display for AssertionAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for AssertionAlgorithm {
    type Err = UnknownAlgorithm;

    /// Finds the algorithm with this name, in capital or small letters as in Java.
    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        let mut known = Self::ALL.into_iter();
        known
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| UnknownAlgorithm(name.to_owned()))
    }
}

/// The error for a name that is not the name of an [`AssertionAlgorithm`].
///
/// ```
/// use kurier_security::AssertionAlgorithm;
///
/// let error = "HS256".parse::<AssertionAlgorithm>().unwrap_err();
/// assert_eq!(error.to_string(), "unknown algorithm HS256 for assertions: use RS256 or ES256");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownAlgorithm(String);

impl fmt::Display for UnknownAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown algorithm {} for assertions: use RS256 or ES256", printable(self.0.as_bytes()))
    }
}

impl std::error::Error for UnknownAlgorithm {}

/// Members that every assertion has in its header and its claims. See [`Assertion`] for an example.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AssertionTemplate {
    /// The text of each value, by name.
    header: BTreeMap<String, String>,
    claims: BTreeMap<String, String>,
}

impl AssertionTemplate {
    /// Reads a template: a JSON object with the objects `header` and `payload`, or one of them.
    ///
    /// # Errors
    /// If the bytes are something else.
    pub fn parse(bytes: &[u8]) -> Result<Self, TemplateError> {
        let text = str::from_utf8(bytes).map_err(|_| TemplateError::NotJson)?;
        let parts = json::texts(text).ok_or(TemplateError::NotJson)?;
        let mut template = Self::default();
        for (name, part) in parts {
            let (part_name, target) = match name.as_str() {
                "header" => ("header", &mut template.header),
                "payload" => ("payload", &mut template.claims),
                _ => return Err(TemplateError::Member(printable(name.as_bytes()))),
            };
            let members = json::texts(part).ok_or(TemplateError::NotAnObject(part_name))?;
            target.extend(members.into_iter().map(|(name, value)| (name, value.to_owned())));
        }
        Ok(template)
    }
}

/// Why a template cannot be used. The text continues a sentence that names the template, and quotes no value of it.
///
/// ```
/// use kurier_security::{AssertionTemplate, TemplateError};
///
/// assert_eq!(AssertionTemplate::parse(b"header: {}"), Err(TemplateError::NotJson));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// It is not one JSON object.
    #[error("is not a JSON object")]
    NotJson,
    /// A part is not a JSON object.
    #[error("has a {0} that is not a JSON object")]
    NotAnObject(&'static str),
    /// It has another member than `header` and `payload`.
    #[error("has the member {0}: it takes header and payload, with the claims in payload")]
    Member(String),
    /// A claim has another value than the setting for it.
    #[error("has another claim {0} than sasl.oauthbearer.assertion.claim.{0}: remove one of the two")]
    Differs(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Assertion = Assertion {
        algorithm: AssertionAlgorithm::Rs256,
        audience: None,
        issuer: None,
        subject: None,
        lifetime: Duration::from_secs(300),
        tolerance: Duration::from_secs(60),
        has_id: false,
    };

    /// Header and claims as JSON.
    fn decoded(assertion: &Assertion, template: &str, seconds: u64) -> Result<[String; 2], TemplateError> {
        let template = AssertionTemplate::parse(template.as_bytes())?;
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 999);
        let unsigned =
            assertion.unsigned(&template, now, std::array::from_fn(|at| 0xF0 | u8::try_from(at).unwrap()))?;
        let (header, claims) = unsigned.split_once('.').unwrap();
        Ok([header, claims].map(|part| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()))
    }

    #[test]
    fn header_and_claims_are_those_of_settings_template_and_time() {
        let named = Assertion {
            algorithm: AssertionAlgorithm::Es256,
            audience: Some("https://h/\"é".to_owned()),
            issuer: Some("orders".to_owned()),
            subject: Some("alice".to_owned()),
            has_id: true,
            ..PLAIN
        };
        let times = r#""exp":1300,"iat":1000,"nbf":940"#;
        for (assertion, template, header, claims) in [
            (&PLAIN, "{}", r#"{"alg":"RS256","typ":"JWT"}"#, format!("{{{times}}}")),
            (
                &named,
                "{}",
                r#"{"alg":"ES256","typ":"JWT"}"#,
                r#"{"aud":"https://h/\"é","exp":1300,"iat":1000,"iss":"orders","jti":"f0f1f2f3-f4f5-46f7-b8f9-fafbfcfdfeff","nbf":940,"sub":"alice"}"#
                    .to_owned(),
            ),
            // The same claim twice, and values that the client decides.
            (
                &named,
                r#"{"header":{"kid":"a","alg":"none","typ":7}, "payload":{"iss" : "orders","n":[ 1e2, {}],"exp":9,"iat":"x","nbf":null,"jti":1}}"#,
                r#"{"alg":"ES256","kid":"a","typ":"JWT"}"#,
                r#"{"aud":"https://h/\"é","exp":1300,"iat":1000,"iss":"orders","jti":"f0f1f2f3-f4f5-46f7-b8f9-fafbfcfdfeff","n":[ 1e2, {}],"nbf":940,"sub":"alice"}"#
                    .to_owned(),
            ),
            // The same claims, written with other escapes.
            (
                &named,
                r#"{"payload":{"iss":"\u006frders","aud":"https:\/\/h\/\u0022\u00e9","sub":"alic\u0065"}}"#,
                r#"{"alg":"ES256","typ":"JWT"}"#,
                r#"{"aud":"https://h/\"é","exp":1300,"iat":1000,"iss":"orders","jti":"f0f1f2f3-f4f5-46f7-b8f9-fafbfcfdfeff","nbf":940,"sub":"alice"}"#
                    .to_owned(),
            ),
            (
                &PLAIN,
                r#"{"payload":{"aud":["a","b"],"jti":"own"}}"#,
                r#"{"alg":"RS256","typ":"JWT"}"#,
                r#"{"aud":["a","b"],"exp":1300,"iat":1000,"jti":"own","nbf":940}"#.to_owned(),
            ),
        ] {
            assert_eq!(decoded(assertion, template, 1000).unwrap(), [header.to_owned(), claims], "{template}");
        }
        // A clock before 1970, and one that is about to end.
        assert_eq!(decoded(&PLAIN, "{}", 0).unwrap()[1], r#"{"exp":300,"iat":0,"nbf":0}"#);
        let long = Assertion { lifetime: Duration::MAX, ..PLAIN };
        assert_eq!(decoded(&long, "{}", 60).unwrap()[1], format!(r#"{{"exp":{},"iat":60,"nbf":0}}"#, u64::MAX));
    }

    #[test]
    fn other_templates_are_refused_and_not_quoted() {
        const DIFFERS: &str = "has another claim iss than sasl.oauthbearer.assertion.claim.iss: remove one of the two";
        let named = Assertion { issuer: Some("orders".to_owned()), ..PLAIN };
        for (template, expected) in [
            ("", "is not a JSON object"),
            ("[]", "is not a JSON object"),
            ("{\"header\":{}", "is not a JSON object"),
            ("{\"header\":{\"a\":1,\"a\":2}}", "is not a JSON object"),
            ("{\"header\":7}", "has a header that is not a JSON object"),
            ("{\"payload\":\"hunter2\"}", "has a payload that is not a JSON object"),
            ("{\"claims\":{\"a\":\"hunter2\"}}", "has the member claims: it takes header and payload"),
            ("{\"payload\":{\"iss\":\"hunter2\"}}", DIFFERS),
            ("{\"payload\":{\"iss\":\"\\u004frders\"}}", DIFFERS),
            ("{\"payload\":{\"iss\":[\"orders\"]}}", DIFFERS),
            ("{\"payload\":{\"iss\":null}}", DIFFERS),
        ] {
            let text = decoded(&named, template, 1000).unwrap_err().to_string();
            assert!(text.contains(expected) && !text.contains("hunter2"), "{template}: {text}");
        }
    }

    #[test]
    fn every_algorithm_reads_back() {
        for algorithm in AssertionAlgorithm::ALL {
            assert_eq!(algorithm.name().parse(), Ok(algorithm));
            assert_eq!(algorithm.name().to_lowercase().parse(), Ok(algorithm));
        }
    }
}
