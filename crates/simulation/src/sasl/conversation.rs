//! The rules of SASL on one connection: what the producer may send now.

use std::time::{Duration, Instant};

use kurier_protocol::messages::{ApiVersionsRequest, SaslAuthenticateRequest, SaslHandshakeRequest};
use kurier_protocol::{FrameBuffer, Message};

use crate::invariant::{Invariant, Violation, violation};

/// Returns whether an API belongs to SASL.
pub(crate) fn is_sasl(api_key: i16) -> bool {
    matches!(api_key, SaslHandshakeRequest::KEY | SaslAuthenticateRequest::KEY)
}

/// Returns whether an API belongs to the steps before a connection is ready.
pub(crate) fn is_handshake(api_key: i16) -> bool {
    api_key == ApiVersionsRequest::KEY || is_sasl(api_key)
}

/// The state of SASL on a connection, as the producer and its node see it.
#[derive(Debug, Default)]
pub(crate) struct Conversation {
    /// Whether the node has accepted the client and proved itself.
    pub(crate) is_proven: bool,
    pub(crate) is_exchanging: bool,
    /// Whether the node has not answered the last request of the exchange.
    pub(crate) is_waiting: bool,
    /// Whether the last request of the exchange contained a token.
    pub(crate) has_shown: bool,
    /// The user of the exchange, or of the session.
    pub(crate) user: String,
    /// The credentials of the exchange.
    pub(crate) generation: u64,
    since: Option<Instant>,
    lifetime: Option<Duration>,
    /// Whether the producer must replace the connection, and why.
    pub(crate) is_retiring: Option<&'static str>,
    /// Whether requests were in flight when the exchange began.
    pub(crate) was_busy: bool,
    /// Whether the node's last answer claims a proof that it does not give.
    pub(crate) is_forged: bool,
    /// The largest frame that the producer accepts.
    pub(crate) limit_bytes: usize,
    /// Whether the node is in an exchange.
    pub(crate) is_node_exchanging: bool,
}

/// The shortest session that the producer renews. Shorter ones end with a new connection.
pub(crate) const RENEWED_FROM: Duration = Duration::from_secs(3);

/// The longest session. The producer treats a longer lifetime as 30 days.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

impl Conversation {
    /// The conversation of a new connection.
    pub(crate) fn new() -> Self {
        Self { limit_bytes: FrameBuffer::UNAUTHENTICATED_LIMIT_BYTES, ..Self::default() }
    }

    /// Returns the session's end, as far as the producer knows.
    pub(crate) fn ends_at(&self) -> Option<Instant> {
        Some(self.since? + self.lifetime.filter(|_| self.is_proven)?)
    }

    /// Returns whether the session is too short to renew it.
    pub(crate) fn is_short(&self) -> bool {
        self.lifetime.is_some_and(|lifetime| lifetime < RENEWED_FROM)
    }

    /// Checks a request that the producer sends.
    pub(crate) fn check(&self, api_key: i16, user: &str, now: Instant) -> Result<(), Violation> {
        let wrong = |what: &str| Err(violation(Invariant::SaslOrder, format!("API {api_key} is sent {what}")));
        let is_over = self.ends_at().is_some_and(|end| end <= now);
        match api_key {
            ApiVersionsRequest::KEY if self.is_exchanging => wrong("behind SaslHandshake"),
            ApiVersionsRequest::KEY if self.is_proven => wrong("again"),
            ApiVersionsRequest::KEY => Ok(()),
            SaslHandshakeRequest::KEY if self.is_exchanging => wrong("within an exchange"),
            SaslHandshakeRequest::KEY if self.is_proven => match self.is_retiring {
                Some(why) => Err(violation(Invariant::RetiredIsQuiet, format!("renewed after {why}"))),
                None if self.is_short() => wrong("again in a session of less than 3 s"),
                None if self.user != user => wrong("in the session of another user"),
                None => Ok(()),
            },
            SaslHandshakeRequest::KEY => Ok(()),
            SaslAuthenticateRequest::KEY if !self.is_exchanging => wrong("outside of an exchange"),
            SaslAuthenticateRequest::KEY if self.is_waiting => wrong("before the last answer"),
            SaslAuthenticateRequest::KEY => Ok(()),
            _ if self.is_exchanging => wrong("behind SaslHandshake"),
            _ if !self.is_proven => {
                Err(violation(Invariant::ProofFirst, format!("API {api_key} is sent before the node's proof")))
            }
            _ if self.limit_bytes < FrameBuffer::DEFAULT_LIMIT_BYTES => {
                let what = format!("API {api_key} is sent, and answers are limited to {} bytes", self.limit_bytes);
                Err(violation(Invariant::ProofFirst, what))
            }
            _ => match self.is_retiring {
                Some(why) => Err(violation(Invariant::RetiredIsQuiet, format!("API {api_key} is sent after {why}"))),
                None if is_over => wrong("after the session's end"),
                None => Ok(()),
            },
        }
    }

    /// The producer begins an exchange.
    pub(crate) fn begin(&mut self, user: &str, generation: u64, was_busy: bool, now: Instant) {
        (self.is_exchanging, self.is_waiting, self.has_shown) = (true, true, false);
        (self.generation, self.was_busy) = (generation, was_busy);
        user.clone_into(&mut self.user);
        // The producer counts the session's lifetime from here, the node from its last answer.
        self.since = Some(now);
    }

    /// The node's last answer arrives: it has proved itself.
    pub(crate) fn prove(&mut self, lifetime_ms: i64) {
        (self.is_proven, self.is_exchanging) = (true, false);
        let lifetime = u64::try_from(lifetime_ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis);
        self.lifetime = lifetime.map(|lifetime| lifetime.min(LONGEST));
    }
}
