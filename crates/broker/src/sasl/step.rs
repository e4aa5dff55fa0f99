//! Results of the mechanisms.

/// Answer to a token of the client.
pub(super) enum Step {
    /// The exchange goes on.
    Challenge(Vec<u8>),
    /// The client is this user.
    Success { last: Vec<u8>, name: String, expires_ms: Option<i64> },
}

/// Why the node refuses a token, as a text for the client; `None` for Kafka's general text.
pub(super) struct Refusal(pub(super) Option<String>);

/// Reads the header of GS2 (RFC 5801) without channel binding: `n,,` or `n,a=name,`. Returns the name, if there is one.
pub(super) fn authorization(header: &str) -> Option<Option<&str>> {
    let field = header.strip_prefix("n,")?.strip_suffix(',')?;
    if field.is_empty() { Some(None) } else { field.strip_prefix("a=").map(Some) }
}
