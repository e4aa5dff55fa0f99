//! Results of the mechanisms.

/// Answer to a token of the client.
pub(super) enum Step {
    /// The exchange goes on.
    Challenge(Vec<u8>),
    /// The client is this user.
    Success { last: Vec<u8>, name: String, expires_ms: Option<i64> },
}

/// Why the node refuses a token, in words for the client. `None` stands for Kafka's general text.
pub(super) struct Refusal(pub(super) Option<String>);
