//! SaslAuthenticate (key 36): carries the tokens of a SASL exchange (KIP-152).

use super::declaration::messages;
use crate::error_code::ErrorCode;
use crate::secret::Secret;

messages! {
    /// The client's next token, which may contain secrets.
    request SaslAuthenticateRequest (key 36, versions 0..=2, flexible 2..) -> SaslAuthenticateResponse {
        /// The token, in the mechanism's format.
        0.. auth_bytes: Secret,
    }

    /// The broker's next token.
    response SaslAuthenticateResponse {
        /// 0, or [`ErrorCode::SASL_AUTHENTICATION_FAILED`].
        0.. error_code: ErrorCode,
        /// The error in words.
        0.. error_message: Option<String>,
        /// The token, in the mechanism's format.
        0.. auth_bytes: Secret,
        /// Milliseconds until the client must authenticate again, 0 for never (KIP-368).
        1.. [ignorable] session_lifetime_ms: i64,
    }
}
