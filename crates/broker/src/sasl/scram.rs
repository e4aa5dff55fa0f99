//! SCRAM-SHA-256 and SCRAM-SHA-512 (RFC 5802, RFC 7677), as Kafka's `ScramSaslServer`: the node keeps the stored key
//! and the server key, not the password.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::keys::{Hash, Keys};
use super::step::{self, Refusal, Step};
use super::users::Users;

/// An exchange with one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exchange {
    hash: Hash,
    begun: Option<Begun>,
}

/// An exchange after the first message of each side.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Begun {
    name: String,
    keys: Keys,
    /// The header of GS2, which the client repeats.
    binding: String,
    nonce: String,
    /// Both first messages, as the signatures cover them.
    messages: String,
}

impl Exchange {
    pub(super) fn new(hash: Hash) -> Self {
        Self { hash, begun: None }
    }

    pub(super) fn hash(&self) -> Hash {
        self.hash
    }

    pub(super) fn handle(&mut self, users: &mut Users, token: &[u8], now_ms: i64) -> Result<Step, Refusal> {
        let text = std::str::from_utf8(token).map_err(|_| Refusal(None))?;
        match self.begun.take() {
            None => self.handle_first(users, text, now_ms),
            Some(begun) => self.handle_final(begun, text),
        }
    }

    fn handle_first(&mut self, users: &mut Users, text: &str, now_ms: i64) -> Result<Step, Refusal> {
        // The header of GS2 has two commas.
        let end = text.match_indices(',').nth(1).map_or(0, |(at, comma)| at + comma.len());
        let (header, bare) = text.split_at(end);
        let authorization = step::authorization(header).ok_or(Refusal(None))?;
        let mut fields = bare.split(',');
        let name = fields.next().and_then(|field| field.strip_prefix("n=")).and_then(unescaped).ok_or(Refusal(None))?;
        let client_nonce = fields.next().and_then(|field| field.strip_prefix("r=")).ok_or(Refusal(None))?;
        if client_nonce.is_empty() || !client_nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Refusal(None));
        }
        // The client wants to authenticate by a delegation token.
        if fields.any(|field| field == "tokenauth=true") {
            return Err(Refusal(None));
        }
        let seed = format!("{client_nonce} {} {now_ms}", users.next_exchange());
        let nonce = format!("{client_nonce}{}", STANDARD.encode(&self.hash.digest(seed.as_bytes())[..18]));
        let keys = users.keys(&name, self.hash).ok_or(Refusal(None))?.clone();
        let is_other = |asked: &str| unescaped(asked).as_deref() != Some(name.as_str());
        if authorization.is_some_and(is_other) {
            let why = "Client requested an authorization id that is different from username";
            return Err(Refusal(Some(format!("Authentication failed: {why}"))));
        }
        let answer = format!("r={nonce},s={},i={}", STANDARD.encode(&keys.salt), keys.iterations);
        let binding = STANDARD.encode(header);
        self.begun = Some(Begun { name, keys, binding, nonce, messages: format!("{bare},{answer}") });
        Ok(Step::Challenge(answer.into_bytes()))
    }

    fn handle_final(&self, begun: Begun, text: &str) -> Result<Step, Refusal> {
        let Begun { name, keys, binding, nonce, messages } = begun;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(Refusal(None))?;
        if without_proof != format!("c={binding},r={nonce}") {
            return Err(Refusal(None));
        }
        let proof = STANDARD.decode(proof).map_err(|_| Refusal(None))?;
        let message = format!("{messages},{without_proof}");
        let signature = self.hash.hmac(&keys.stored_key, message.as_bytes());
        if proof.len() != signature.len() {
            return Err(Refusal(None));
        }
        let client_key: Vec<u8> = proof.iter().zip(&signature).map(|(proof, mask)| proof ^ mask).collect();
        if self.hash.digest(&client_key) != keys.stored_key {
            return Err(Refusal(None));
        }
        let server_signature = self.hash.hmac(&keys.server_key, message.as_bytes());
        let last = format!("v={}", STANDARD.encode(server_signature)).into_bytes();
        Ok(Step::Success { last, name, expires_ms: None })
    }
}

/// Undoes the escapes of a name; `None` for a wrong escape.
fn unescaped(name: &str) -> Option<String> {
    let (mut text, mut rest) = (String::new(), name);
    while let Some((before, after)) = rest.split_once('=') {
        text.push_str(before);
        let (letter, after) = match after.get(..2)? {
            "2C" => (',', after.get(2..)?),
            "3D" => ('=', after.get(2..)?),
            _ => return None,
        };
        text.push(letter);
        rest = after;
    }
    text.push_str(rest);
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::unescaped;

    #[test]
    fn names_have_two_escapes() {
        let cases = [
            ("alice", Some("alice")),
            ("a=2Cb=3Dc", Some("a,b=c")),
            ("a=2", None),
            ("a=2cb", None),
            ("a=", None),
            ("", None),
        ];
        for (name, meant) in cases {
            assert_eq!(unescaped(name).as_deref(), meant, "{name}");
        }
    }
}
