//! Reasons why an exchange ends without success.

use thiserror::Error;

use crate::mechanism::Mechanism;

/// The reason why an exchange ended without success. Each variant blames another party. No text contains a secret.
///
/// ```
/// use kurier_security::{Credentials, Exchange, SaslError};
///
/// let credentials = Credentials::Plain { username: "alice".to_owned(), password: "".into() };
/// let error = Exchange::start(&credentials, [7; 24]).unwrap_err();
/// assert!(matches!(error, SaslError::Inexpressible { .. }));
/// assert_eq!(error.to_string(), "PLAIN cannot carry these credentials: the password is empty");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SaslError {
    /// The broker refused the credentials.
    #[error("the broker refused the credentials for {mechanism}: {detail}")]
    Refused {
        /// The mechanism of the exchange.
        mechanism: Mechanism,
        /// The broker's reason, safe to print.
        detail: String,
    },
    /// The broker accepted the client's proof, but did not prove that it knows the password (SCRAM).
    #[error("the broker did not prove that it knows the password: is it the right cluster?")]
    Unproven {
        /// The mechanism of the exchange.
        mechanism: Mechanism,
    },
    /// The broker sent a message that the mechanism does not allow, or that a limit of this crate refuses.
    #[error("the broker broke the rules of {mechanism}: {why}")]
    Protocol {
        /// The mechanism of the exchange.
        mechanism: Mechanism,
        /// The rule, and the broken value where it is no secret.
        why: String,
    },
    /// The mechanism cannot carry the credentials.
    #[error("{mechanism} cannot carry these credentials: {why}")]
    Inexpressible {
        /// The mechanism of the credentials.
        mechanism: Mechanism,
        /// The part of the credentials that is wrong, and why.
        why: &'static str,
    },
    /// The caller passed a message or a proof at a time when the exchange expects none.
    #[error("the {mechanism} exchange expects no {what} now")]
    OutOfTurn {
        /// The mechanism of the exchange.
        mechanism: Mechanism,
        /// `message` or `proof`.
        what: &'static str,
    },
}
