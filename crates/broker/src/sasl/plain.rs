//! PLAIN (RFC 4616), with the texts of Kafka's `PlainSaslServer`.

use super::step::{Refusal, Step};
use super::users::Users;

pub(super) fn handle(users: &Users, token: &[u8]) -> Result<Step, Refusal> {
    let refuse = |why: &str| Err(Refusal(Some(format!("Authentication failed: {why}"))));
    let text = std::str::from_utf8(token).map_err(|_| Refusal(None))?;
    let mut parts = text.split('\0');
    let (Some(authorization), Some(name), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal(None));
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
