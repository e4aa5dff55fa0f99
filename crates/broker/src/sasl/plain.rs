//! PLAIN (RFC 4616), with the texts of Kafka's `PlainSaslServer`.

use super::step::{Refusal, Step};
use super::users::Users;

pub(super) fn handle(users: &Users, token: &[u8]) -> Result<Step, Refusal> {
    let refuse = |why: &str| Err(Refusal(Some(format!("Authentication failed: {why}"))));
    // Java replaces bytes that are not UTF-8.
    let text = String::from_utf8_lossy(token);
    let parts: Vec<&str> = text.split('\0').take(4).collect();
    let [authorization, name, password] = parts[..] else {
        let count = parts.len();
        return Err(Refusal(Some(format!("Invalid SASL/PLAIN response: expected 3 tokens, got {count}"))));
    };
    if name.is_empty() {
        return refuse("username not specified");
    }
    if password.is_empty() {
        return refuse("password not specified");
    }
    if !users.has_password(name, password.as_bytes()) {
        return refuse("Invalid username or password");
    }
    if !authorization.is_empty() && authorization != name {
        return refuse("Client requested an authorization id that is different from username");
    }
    Ok(Step::Success { last: Vec::new(), name: name.to_owned(), expires_ms: None })
}
