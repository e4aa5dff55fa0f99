//! SCRAM-SHA-256 and SCRAM-SHA-512 (RFC 5802, RFC 7677, KIP-84), without channel binding and without SASLprep, as Java's
//! `ScramSaslClient`.
//!
//! ```text
//! client  n,,n=alice,r=NONCE
//! broker  r=NONCE…,s=SALT,i=ITERATIONS
//! client  c=biws,r=NONCE…,p=PROOF
//! broker  v=SIGNATURE, or e=ERROR
//! ```

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::digest::{FixedOutput, Update};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::checks::check;
use super::error::SaslError;
use super::message::Message;
use crate::mechanism::{Mechanism, ScramMechanism};
use crate::printable::printable;
use crate::secret::Secret;

/// Maximum size of a message from the broker, in bytes. Kafka's have less than 200.
const MESSAGE_BYTES_MAX: usize = 4 * 1024;
/// Minimum number of iterations (RFC 7677, section 4). Fewer would make it cheap to guess the password.
pub(super) const ITERATIONS_MIN: u32 = 4_096;
/// The GS2 header: no channel binding, no authorization id.
const HEADER: &str = "n,,";
/// The GS2 header in base64, which the last message repeats.
const HEADER_BASE64: &str = "biws";

/// An exchange that awaits the broker's first message.
pub(super) struct Start {
    mechanism: ScramMechanism,
    password: Secret,
    nonce: String,
    first_bare: String,
}

/// Returns the state of a new exchange, and its first message. The nonce is printable ASCII without a comma.
pub(super) fn start(
    mechanism: ScramMechanism,
    username: &str,
    password: &Secret,
    is_delegation_token: bool,
    nonce: String,
) -> Result<(Start, Message), SaslError> {
    check(mechanism.into(), username, password)?;
    // Escape `=` first, because the escape of the comma contains one.
    let name = username.replace('=', "=3D").replace(',', "=2C");
    let extension = if is_delegation_token { ",tokenauth=true" } else { "" };
    let first_bare = format!("n={name},r={nonce}{extension}");
    let message = Message::concat(&[HEADER.as_bytes(), first_bare.as_bytes()]);
    Ok((Start { mechanism, password: password.clone(), nonce, first_bare }, message))
}

impl Start {
    /// Reads the broker's first message, which says how to compute the proof.
    pub(super) fn read_first(self, server: &[u8], iterations_max: u32) -> Result<ScramJob, SaslError> {
        let mechanism = self.mechanism.into();
        let broken = |why: &str| SaslError::Protocol { mechanism, why: why.to_owned() };
        let text = text(mechanism, server)?;
        let mut attributes = text.split(',');
        let mut attribute = |name: &str| attributes.next().and_then(|text| text.strip_prefix(name));
        if let Some(error) = text.strip_prefix("e=") {
            return Err(refused(mechanism, error));
        }
        if text.split(',').any(|attribute| attribute.starts_with("m=")) {
            return Err(broken("it requires an extension (m=), and Kafka has none"));
        }
        let nonce = attribute("r=").ok_or_else(|| broken("its first message does not begin with a nonce (r=)"))?;
        let salt = attribute("s=").ok_or_else(|| broken("no salt (s=) follows the nonce"))?;
        let iterations = attribute("i=").ok_or_else(|| broken("no number of iterations (i=) follows the salt"))?;

        let added = nonce.strip_prefix(&self.nonce).ok_or_else(|| broken("its nonce does not begin with ours"))?;
        if added.is_empty() {
            return Err(broken("it added nothing to our nonce"));
        }
        if !nonce.bytes().all(|byte| matches!(byte, 0x21..=0x7E)) {
            return Err(broken("its nonce is not printable ASCII"));
        }
        let salt = STANDARD.decode(salt).map_err(|_| broken("its salt is not base64"))?;
        if salt.is_empty() {
            return Err(broken("its salt is empty"));
        }
        let iterations = read_iterations(iterations, iterations_max).map_err(|why| broken(&why))?;

        let unproven = format!("c={HEADER_BASE64},r={nonce}");
        let signed = Zeroizing::new(format!("{},{text},{unproven}", self.first_bare));
        Ok(ScramJob { mechanism: self.mechanism, password: self.password, salt, iterations, signed, unproven })
    }
}

/// Reads a number of iterations within the limits.
fn read_iterations(text: &str, max: u32) -> Result<u32, String> {
    if text.is_empty() || text.starts_with('0') || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("its number of iterations is not a positive number".to_owned());
    }
    match text.parse() {
        Ok(iterations) if iterations < ITERATIONS_MIN => Err(format!(
            "{iterations} iterations are fewer than {ITERATIONS_MIN}, which makes the password easy to guess"
        )),
        Ok(iterations) if iterations <= max => Ok(iterations),
        _ => Err(format!(
            "{} iterations are more than {max}: raise kurier.sasl.scram.max.iterations if you trust this broker",
            printable(text.get(..20).unwrap_or(text).as_bytes())
        )),
    }
}

/// The slow part of a SCRAM exchange: the computation of the salted password (PBKDF2). It takes milliseconds for Kafka's
/// usual 4,096 iterations, and tens of milliseconds for the default limit of 65,536, so run it on a thread that may
/// block. `Debug` hides it. See [`Exchange`](crate::Exchange) for an example.
pub struct ScramJob {
    mechanism: ScramMechanism,
    password: Secret,
    salt: Vec<u8>,
    iterations: u32,
    /// RFC 5802's AuthMessage, which contains the broker's message as it was received.
    signed: Zeroizing<String>,
    /// The last message, without its proof.
    unproven: String,
}

impl ScramJob {
    /// Computes the proof for [`Exchange::prove`](crate::Exchange::prove).
    #[must_use]
    pub fn run(self) -> ScramProof {
        let (proof, signature) = match self.mechanism {
            ScramMechanism::Sha256 => self.compute::<Hmac<Sha256>, Sha256>(),
            ScramMechanism::Sha512 => self.compute::<Hmac<Sha512>, Sha512>(),
        };
        let proof = Zeroizing::new(STANDARD.encode(&*proof));
        ScramProof { message: Message::concat(&[self.unproven.as_bytes(), b",p=", proof.as_bytes()]), signature }
    }

    /// Returns the client's proof, and the signature that the broker must send (RFC 5802, section 3).
    fn compute<M, D>(&self) -> (Zeroizing<Vec<u8>>, Zeroizing<Vec<u8>>)
    where
        M: KeyInit + Mac + Update + FixedOutput + Clone,
        D: Digest,
    {
        let mut salted = Zeroizing::new(vec![0; M::output_size()]);
        #[expect(clippy::expect_used, reason = "an HMAC takes a key of any size")]
        pbkdf2::pbkdf2::<M>(self.password.expose(), &self.salt, self.iterations, &mut salted).expect("any key fits");
        let client_key = hmac::<M>(&salted, b"Client Key");
        let stored_key = Zeroizing::new(D::digest(&*client_key).to_vec());
        let client_signature = hmac::<M>(&stored_key, self.signed.as_bytes());
        let proof = client_key.iter().zip(client_signature.iter()).map(|(key, signature)| key ^ signature).collect();
        let server_key = hmac::<M>(&salted, b"Server Key");
        (Zeroizing::new(proof), hmac::<M>(&server_key, self.signed.as_bytes()))
    }
}

/// Returns the HMAC of some data.
fn hmac<M: KeyInit + Mac>(key: &[u8], data: &[u8]) -> Zeroizing<Vec<u8>> {
    #[expect(clippy::expect_used, reason = "an HMAC takes a key of any size")]
    let mac = <M as KeyInit>::new_from_slice(key).expect("any key fits");
    Zeroizing::new(mac.chain_update(data).finalize().into_bytes().to_vec())
}

impl fmt::Debug for ScramJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramJob").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// The result of a [`ScramJob`]: the last message, and the signature that the broker must send. `Debug` hides both. See
/// [`Exchange`](crate::Exchange) for an example.
#[derive(Clone)]
pub struct ScramProof {
    pub(super) message: Message,
    pub(super) signature: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for ScramProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramProof([hidden])")
    }
}

/// Reads the broker's last message, which must contain the expected signature.
pub(super) fn read_last(mechanism: Mechanism, server: &[u8], expected: &[u8]) -> Result<(), SaslError> {
    let text = text(mechanism, server)?;
    if let Some(error) = text.strip_prefix("e=") {
        return Err(refused(mechanism, error));
    }
    let signature = text.strip_prefix("v=").and_then(|rest| rest.split(',').next());
    let signature = signature.and_then(|signature| STANDARD.decode(signature).ok()).unwrap_or_default();
    match bool::from(signature.ct_eq(expected)) {
        true => Ok(()),
        false => Err(SaslError::Unproven { mechanism }),
    }
}

/// Returns the text of a message, after a check of its size.
fn text(mechanism: Mechanism, server: &[u8]) -> Result<&str, SaslError> {
    let broken = |why: String| SaslError::Protocol { mechanism, why };
    if server.len() > MESSAGE_BYTES_MAX {
        return Err(broken(format!("its message has {} bytes, more than {MESSAGE_BYTES_MAX}", server.len())));
    }
    str::from_utf8(server).map_err(|_| broken("its message is not UTF-8".to_owned()))
}

fn refused(mechanism: Mechanism, error: &str) -> SaslError {
    let error = error.split(',').next().unwrap_or_default();
    SaslError::Refused { mechanism, detail: printable(error.as_bytes()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sasl::captured::captured;

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn begin(mechanism: ScramMechanism, username: &str, nonce: &str) -> (Start, Message) {
        start(mechanism, username, &"pencil".into(), false, nonce.to_owned()).unwrap()
    }

    fn read(server_first: &[u8]) -> Result<ScramJob, SaslError> {
        begin(ScramMechanism::Sha256, "user", NONCE).0.read_first(server_first, 65_536)
    }

    #[test]
    fn example_of_rfc_7677() {
        let (start, first) = begin(ScramMechanism::Sha256, "user", NONCE);
        assert_eq!(first.as_bytes(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let proof = start.read_first(SERVER_FIRST.as_bytes(), 4_096).unwrap().run();
        let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(str::from_utf8(proof.message.as_bytes()).unwrap(), last);
        let answer = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(read_last(Mechanism::ScramSha256, answer, &proof.signature), Ok(()));
    }

    /// RFC 5802's example uses SHA-1, which Kafka does not use. The rest of the exchange is as with SHA-256.
    #[test]
    fn example_of_rfc_5802() {
        let (start, first) = begin(ScramMechanism::Sha256, "user", "fyko+d2lbbFgONRv9qkxdawL");
        assert_eq!(first.as_bytes(), b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL");
        let answer = b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096";
        let job = start.read_first(answer, 4_096).unwrap();
        let (proof, signature) = job.compute::<Hmac<sha1::Sha1>, sha1::Sha1>();
        assert_eq!(job.unproven, "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j");
        assert_eq!(STANDARD.encode(&*proof), "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=");
        assert_eq!(STANDARD.encode(&*signature), "rmF9pqV8S7suAoZWja4dJRkFsKQ=");
    }

    /// Each line of `testdata/sasl/exchanges.jsonl` is an exchange between Java's client and Java's server.
    #[test]
    fn exchanges_are_those_of_java() {
        let mut count = 0;
        for line in include_str!("../../../../testdata/sasl/exchanges.jsonl").lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let mechanism = match line["mechanism"].as_str().unwrap() {
                "SCRAM-SHA-256" => ScramMechanism::Sha256,
                "SCRAM-SHA-512" => ScramMechanism::Sha512,
                _ => continue,
            };
            let messages: Vec<&str> =
                line["messages"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
            let username = line["username"].as_str().unwrap();
            let password = line["password"].as_str().unwrap().into();
            check_exchange(mechanism, username, &password, line["token"].as_bool().unwrap(), &messages);
            count += 1;
        }
        assert_eq!(count, 14);
    }

    /// Connections of a Java client to a real broker.
    #[test]
    fn exchanges_are_those_of_captured_traffic() {
        let connections = captured("java-4.3.1_kafka-4.3.1_sasl-scram-256");
        for messages in connections.values() {
            let messages: Vec<&str> = messages.iter().map(|message| str::from_utf8(message).unwrap()).collect();
            check_exchange(ScramMechanism::Sha256, "alice", &"alice-secret".into(), false, &messages);
        }
        assert!(connections.len() > 1, "{}", connections.len());
    }

    /// Checks that we send what another client sent, and accept what the broker answered.
    fn check_exchange(mechanism: ScramMechanism, username: &str, password: &Secret, is_token: bool, messages: &[&str]) {
        let [client_first, server_first, client_last, server_last] = messages else { panic!("{messages:?}") };
        let nonce = client_first.split(",r=").nth(1).unwrap().split(',').next().unwrap();
        let (start, first) = start(mechanism, username, password, is_token, nonce.to_owned()).unwrap();
        assert_eq!(str::from_utf8(first.as_bytes()), Ok(*client_first));
        let proof = start.read_first(server_first.as_bytes(), 65_536).unwrap().run();
        assert_eq!(str::from_utf8(proof.message.as_bytes()), Ok(*client_last));
        assert_eq!(read_last(mechanism.into(), server_last.as_bytes(), &proof.signature), Ok(()));
    }

    #[test]
    fn names_are_escaped_and_tokens_marked() {
        let (_, first) = begin(ScramMechanism::Sha256, "a=2C,b=", NONCE);
        assert_eq!(first.as_bytes(), b"n,,n=a=3D2C=2Cb=3D,r=rOprNGfwEbeRWgbNEkqO");
        let (_, first) = start(ScramMechanism::Sha512, "id", &"hmac".into(), true, NONCE.to_owned()).unwrap();
        assert_eq!(first.as_bytes(), b"n,,n=id,r=rOprNGfwEbeRWgbNEkqO,tokenauth=true");
    }

    #[test]
    fn extensions_of_first_answer_are_signed_and_ignored() {
        let with_extension = format!("{SERVER_FIRST},x=1,y");
        let job = read(with_extension.as_bytes()).unwrap();
        assert!(job.signed.contains(",i=4096,x=1,y,c=biws,r=rOpr"));
        assert_eq!(job.iterations, 4_096);
    }

    #[test]
    fn hostile_first_answer_is_refused() {
        let long = format!("{SERVER_FIRST},x={}", "x".repeat(4_096));
        let cases: [(&[u8], &str); 38] = [
            (b"", "does not begin with a nonce"),
            (b",", "does not begin with a nonce"),
            (b"\xff", "not UTF-8"),
            (long.as_bytes(), "4185 bytes, more than 4096"),
            (b"s=W22Z,i=4096", "does not begin with a nonce"),
            (b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "does not begin with a nonce"),
            (b"R=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=4096", "does not begin with a nonce"),
            (b" r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=4096", "does not begin with a nonce"),
            (b"m=x,r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=4096", "requires an extension (m=)"),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=4096,m=x", "requires an extension (m=)"),
            (b"e=unknown-user", "refused the credentials for SCRAM-SHA-256: unknown-user"),
            (b"e=\x1b[2J,x=1", "refused the credentials for SCRAM-SHA-256: \\u{1b}[2J"),
            (b"r=,s=W22Z,i=4096", "does not begin with ours"),
            (b"r=other,s=W22Z,i=4096", "does not begin with ours"),
            (b"r=xrOprNGfwEbeRWgbNEkqO,s=W22Z,i=4096", "does not begin with ours"),
            (b"r=rOprNGfwEbeRWgbNEkq,s=W22Z,i=4096", "does not begin with ours"),
            (b"r=ROPRNGFWEBERWGBNEKQOx,s=W22Z,i=4096", "does not begin with ours"),
            (b"r=rOprNGfwEbeRWgbNEkqO,s=W22Z,i=4096", "added nothing to our nonce"),
            (b"r=rOprNGfwEbeRWgbNEkqO x,s=W22Z,i=4096", "not printable ASCII"),
            (b"r=rOprNGfwEbeRWgbNEkqO\x7f,s=W22Z,i=4096", "not printable ASCII"),
            (b"r=rOprNGfwEbeRWgbNEkqO\0,s=W22Z,i=4096", "not printable ASCII"),
            (b"r=rOprNGfwEbeRWgbNEkqO\xc3\xa9,s=W22Z,i=4096", "not printable ASCII"),
            (b"r=rOprNGfwEbeRWgbNEkqOx", "no salt"),
            (b"r=rOprNGfwEbeRWgbNEkqOx,i=4096,s=W22Z", "no salt"),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=,i=4096", "salt is empty"),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0,i=4096", "salt is not base64"),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=W2-_,i=4096", "salt is not base64"),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z", "no number of iterations"),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,x=1,i=4096", "no number of iterations"),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=", "not a positive number"),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=0", "not a positive number"),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=-4096", "not a positive number"),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=+4096", "not a positive number"),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=4096 ", "not a positive number"),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=1", "1 iterations are fewer than 4096"),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=4095", "4095 iterations are fewer than 4096"),
            (
                b"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=65537",
                "65537 iterations are more than 65536: raise kurier.sasl.scram.max",
            ),
            (
                b"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=99999999999999999999999",
                "99999999999999999999 iterations are more than",
            ),
        ];
        for (answer, text) in cases {
            let error = read(answer).unwrap_err().to_string();
            assert!(error.contains(text), "{text}: {error}");
        }
        for answer in ["r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=4096", "r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=65536"] {
            assert!(read(answer.as_bytes()).is_ok(), "{answer}");
        }
    }

    #[test]
    fn last_answer_without_the_signature_is_refused() {
        let mechanism = Mechanism::ScramSha256;
        let signature = read(SERVER_FIRST.as_bytes()).unwrap().run().signature;
        let check = |answer: &[u8]| read_last(mechanism, answer, &signature);
        let right = STANDARD.encode(&*signature);
        for answer in [format!("v={right}"), format!("v={right},x=1")] {
            assert_eq!(check(answer.as_bytes()), Ok(()));
        }
        let wrong = STANDARD.encode([0; 32]);
        let short = STANDARD.encode(&signature[..31]);
        let long = STANDARD.encode([&signature[..], &[0]].concat());
        for answer in [
            "",
            "v=",
            "v",
            "V=",
            &right,
            "v=!",
            "v=AA",
            &format!("v={wrong}"),
            &format!("v={short}"),
            &format!("v={long}"),
            &format!("v={right}="),
            &format!("v= {right}"),
            &format!("v={right}\n"),
            &format!("x=1,v={right}"),
            "success",
        ] {
            assert_eq!(check(answer.as_bytes()), Err(SaslError::Unproven { mechanism }), "{answer}");
        }
        assert!(matches!(check(&[b'v'; 4_097]), Err(SaslError::Protocol { .. })));
        assert!(matches!(check(b"v=\xff"), Err(SaslError::Protocol { .. })));
        for (answer, detail) in [("e=invalid-proof", "invalid-proof"), ("e=other-error,v=x", "other-error"), ("e=", "")]
        {
            assert_eq!(check(answer.as_bytes()), Err(SaslError::Refused { mechanism, detail: detail.to_owned() }));
        }
    }

    #[test]
    fn nothing_of_an_exchange_shows_the_password() {
        let job = read(SERVER_FIRST.as_bytes()).unwrap();
        let shown = format!("{job:?}");
        assert_eq!(shown, "ScramJob { iterations: 4096, .. }");
        assert_eq!(format!("{:?}", job.run()), "ScramProof([hidden])");
    }
}
