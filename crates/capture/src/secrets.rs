//! The passwords and tokens in a frame, which its JSON masks.

use kurier_protocol::messages::SaslAuthenticateRequest;
use kurier_protocol::{AnyMessage, Api, Message};
use serde_json::Value;

use crate::batches;

/// APIs whose messages may contain passwords or tokens. Those that this crate cannot read appear as bytes.
const CONFIDENTIAL: [i16; 10] = [
    32, // DescribeConfigs
    33, // AlterConfigs
    SaslAuthenticateRequest::KEY,
    38, // CreateDelegationToken
    39, // RenewDelegationToken
    40, // ExpireDelegationToken
    41, // DescribeDelegationToken
    44, // IncrementalAlterConfigs
    51, // AlterUserScramCredentials
    58, // Envelope, which carries another request
];

/// Returns whether messages of the API with this key may contain passwords or tokens.
#[must_use]
pub fn is_confidential(api_key: i16) -> bool {
    CONFIDENTIAL.contains(&api_key)
}

/// Returns a message's body as a JSON object, with each record decompressed. SASL tokens are masked unless `secrets` is
/// set.
#[must_use]
pub fn body(api: &Api, message: &AnyMessage, version: i16, secrets: bool) -> Value {
    let mut body = message.json_with(version, &batches::json);
    if api.key() == SaslAuthenticateRequest::KEY
        && !secrets
        && let Some(Value::String(token)) = body.get_mut("authBytes")
    {
        // Four letters of base64 stand for three bytes, or fewer at the end.
        *token = masked((token.len() / 4 * 3).saturating_sub(token.matches('=').count()));
    }
    body
}

pub(crate) fn masked(bytes: usize) -> String {
    format!("({bytes} bytes, masked)")
}
