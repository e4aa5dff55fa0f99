//! OAUTHBEARER (RFC 7628) with unsigned tokens, as Kafka's `OAuthBearerUnsecuredValidatorCallbackHandler`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::step::{self, Refusal, Step};

/// The first answer to an invalid token. The client acknowledges it with one byte, and then gets the refusal.
const INVALID_TOKEN: &str = r#"{"status":"invalid_token"}"#;
/// Separates the fields of a message.
const SEPARATOR: char = '\u{1}';

/// An exchange with one client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Exchange {
    is_refused: bool,
}

/// The claims that the node needs.
struct Claims {
    subject: String,
    expires_ms: i64,
}

impl Exchange {
    pub(super) fn handle(&mut self, token: &[u8], now_ms: i64) -> Result<Step, Refusal> {
        if std::mem::take(&mut self.is_refused) && token == [1] {
            return Err(Refusal(Some(INVALID_TOKEN.to_owned())));
        }
        let text = std::str::from_utf8(token).map_err(|_| Refusal(None))?;
        let (header, fields) = text.split_once(SEPARATOR).ok_or(Refusal(None))?;
        let authorization = step::authorization(header).ok_or(Refusal(None))?;
        let mut fields = fields.split(SEPARATOR);
        let bearer = fields.next().and_then(|field| field.strip_prefix("auth=Bearer ")).ok_or(Refusal(None))?;
        match claims(bearer).filter(|claims| now_ms < claims.expires_ms) {
            Some(Claims { subject, .. }) if authorization.is_some_and(|asked| asked != subject) => {
                let asked = authorization.unwrap_or_default();
                Err(Refusal(Some(format!(
                    "Authentication failed: Client requested an authorization id ({asked}) that is different from the \
                     token's principal name ({subject})"
                ))))
            }
            Some(Claims { subject, expires_ms }) => {
                Ok(Step::Success { last: Vec::new(), name: subject, expires_ms: Some(expires_ms) })
            }
            None => {
                self.is_refused = true;
                Ok(Step::Challenge(INVALID_TOKEN.into()))
            }
        }
    }
}

/// Reads an unsigned token; `None` if it is not one.
fn claims(token: &str) -> Option<Claims> {
    let mut parts = token.split('.');
    let (header, claims, signature) = (parts.next()?, parts.next()?, parts.next()?);
    if !signature.is_empty() || parts.next().is_some() || json(header)?.get("alg")? != "none" {
        return None;
    }
    let claims = json(claims)?;
    let subject = claims.get("sub")?.as_str()?.to_owned();
    // A number of seconds, perhaps with a fraction. The cast saturates, so no claim can overflow it.
    #[expect(clippy::cast_possible_truncation, reason = "a cast from a float saturates")]
    let expires_ms = (claims.get("exp")?.as_f64()? * 1000.0) as i64;
    (!subject.is_empty()).then_some(Claims { subject, expires_ms })
}

fn json(part: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unsigned_tokens_with_subject_and_end_count() {
        let token = |header: &str, claims: &str, signature: &str| {
            format!("{}.{}.{signature}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
        };
        let good = r#"{"sub":"alice","exp":1700000000.5}"#;
        let cases = [
            (token(r#"{"alg":"none"}"#, good, ""), Some(("alice", 1_700_000_000_500))),
            (token(r#"{"alg":"none"}"#, good, "c2ln"), None),
            (token(r#"{"alg":"RS256"}"#, good, ""), None),
            (token(r#"{"alg":"none"}"#, r#"{"sub":"alice"}"#, ""), None),
            (token(r#"{"alg":"none"}"#, r#"{"sub":"","exp":1}"#, ""), None),
            (token(r#"{"alg":"none"}"#, r#"{"sub":"a","exp":1e300}"#, ""), Some(("a", i64::MAX))),
            ("a.b".to_owned(), None),
            (String::new(), None),
        ];
        for (token, meant) in cases {
            let read = claims(&token);
            assert_eq!(read.as_ref().map(|read| (read.subject.as_str(), read.expires_ms)), meant, "{token}");
        }
    }
}
