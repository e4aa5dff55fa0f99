//! PLAIN (RFC 4616): the client sends user name and password, and the broker answers with success or an error code.

use super::checks::check;
use super::error::SaslError;
use super::message::Message;
use crate::mechanism::Mechanism;
use crate::secret::Secret;

/// Returns `NUL user NUL password`. The authorization id before the first NUL is empty, so the broker uses the user
/// name.
pub(super) fn first_message(username: &str, password: &Secret) -> Result<Message, SaslError> {
    check(Mechanism::Plain, username, password)?;
    Ok(Message::concat(&[b"\0", username.as_bytes(), b"\0", password.expose()]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sasl::captured::captured;

    /// A connection of kcat to a real broker.
    #[test]
    fn message_is_that_of_captured_traffic() {
        let connections = captured("kcat-librdkafka-2.0.2_kafka-4.3.1_sasl-plain");
        for messages in connections.values() {
            let message = first_message("alice", &"alice-secret".into()).unwrap();
            assert_eq!(messages[..], [message.as_bytes(), b""]);
        }
        assert!(!connections.is_empty());
    }
}
