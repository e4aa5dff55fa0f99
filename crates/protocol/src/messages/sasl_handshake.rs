//! SaslHandshake (key 17): selects the SASL mechanism.
//!
//! After version 0 the tokens follow without a message around them, after version 1 inside SaslAuthenticate (KIP-152).

use super::declaration::messages;
use crate::error_code::ErrorCode;

messages! {
    /// Proposes a mechanism.
    request SaslHandshakeRequest (key 17, versions 0..=1) -> SaslHandshakeResponse {
        /// The mechanism, such as `SCRAM-SHA-256`.
        0.. mechanism: String,
    }

    /// Whether the broker supports the mechanism.
    response SaslHandshakeResponse {
        /// 0, or [`ErrorCode::UNSUPPORTED_SASL_MECHANISM`].
        0.. error_code: ErrorCode,
        /// The mechanisms that the broker offers.
        0.. mechanisms: Vec<String>,
    }
}
