//! SASL on a node's side: the states of a connection, and the mechanisms.
//!
//! ```text
//!            ApiVersions, once         SaslHandshake               SaslAuthenticate
//!   Start ─────────────────────▶ Start ─────────────▶ Exchanging ───────────────────▶ Authenticated
//!                                                        ▲    │ refused: the node answers and closes   │
//!                                                        │    └──▶                                    │
//!                                                        └──────── SaslHandshake, again in time ──────┘
//! ```
//!
//! The states and texts are those of Kafka's `SaslServerAuthenticator`. A session ends after
//! [`SaslSettings::max_reauth`], or when its token ends (KIP-368); then the node closes the connection on any request
//! but SaslHandshake. A session without an end cannot be renewed.
//!
//! After SaslHandshake 0 the tokens have no message around them, as before KIP-152.
//!
//! The mechanisms share no code with the client's, so that both cannot make the same mistake.

mod keys;
mod oauthbearer;
mod plain;
mod scram;
mod step;
mod users;

pub(crate) use users::Users;

use crate::api::Api;
use crate::settings::SaslSettings;
use keys::Hash;
use step::{Refusal, Step};

/// The client's identity after a successful exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    mechanism: Mechanism,
    name: String,
    /// Milliseconds since 1970.
    expires_ms: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mechanism {
    Plain,
    Scram(Hash),
    OAuthBearer,
}

impl Mechanism {
    const ALL: [Self; 4] = [Self::Plain, Self::Scram(Hash::Sha256), Self::Scram(Hash::Sha512), Self::OAuthBearer];

    fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Scram(Hash::Sha256) => "SCRAM-SHA-256",
            Self::Scram(Hash::Sha512) => "SCRAM-SHA-512",
            Self::OAuthBearer => "OAUTHBEARER",
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum State {
    /// Expects SaslHandshake.
    #[default]
    Start,
    /// Expects SaslAuthenticate.
    Exchanging(Exchange),
    /// The client tried to authenticate again with another mechanism. Kafka closes the connection on the next request.
    OtherMechanism,
    Authenticated,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Exchange {
    Plain,
    Scram(scram::Exchange),
    OAuthBearer(oauthbearer::Exchange),
}

/// The state of a connection's authentication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Authentication {
    state: State,
    /// Whether the node has answered ApiVersions. It answers once before the client has authenticated.
    has_versions: bool,
    identity: Option<Identity>,
    /// When the client last began to authenticate again.
    reauthenticated_ms: Option<i64>,
    /// Whether the tokens come without SaslAuthenticate around them.
    has_bare_tokens: bool,
}

/// Reaction to a request in a state.
pub(crate) enum Admission {
    Execute,
    /// Answers ILLEGAL_SASL_STATE, and closes.
    Refuse,
    Close,
    /// Waits as before the answer to a refusal, but closes without one.
    Fail,
}

/// Answer to SaslHandshake.
pub(crate) enum Handshake {
    Accepted,
    /// The client cannot authenticate again now. Its session goes on.
    Untimely,
    /// The node names its mechanisms, and closes.
    Unsupported,
    Close,
}

/// Answer to SaslAuthenticate.
pub(crate) enum Answer {
    Token {
        bytes: Vec<u8>,
        session_lifetime_ms: i64,
    },
    /// The node closes the connection after this answer.
    Refusal {
        why: String,
        /// Whether the mechanism has no words of its own for it.
        is_general: bool,
    },
}

/// The shortest time between two re-authentications of a connection, as in Kafka.
const REAUTHENTICATION_MIN_MS: i64 = 1000;

impl Authentication {
    /// Returns the client's authenticated name.
    pub(crate) fn principal(&self) -> Option<&str> {
        self.identity.as_ref().map(|identity| identity.name.as_str())
    }

    /// Returns whether the client has authenticated, and no exchange is under way.
    pub(crate) fn is_over(&self) -> bool {
        self.state == State::Authenticated
    }

    /// Returns the reaction to a request of this API.
    pub(crate) fn admit(&self, api: Api, now_ms: i64) -> Admission {
        match (&self.state, api) {
            (State::Start, Api::ApiVersions) if !self.has_versions => Admission::Execute,
            (State::Start, Api::SaslHandshake) => Admission::Execute,
            (State::Start, _) => Admission::Close,
            (State::OtherMechanism, _) => Admission::Fail,
            (State::Exchanging(_), Api::SaslAuthenticate) => Admission::Execute,
            (State::Exchanging(_), _) => Admission::Refuse,
            (State::Authenticated, Api::SaslHandshake) => Admission::Execute,
            (State::Authenticated, _) if self.expires_ms().is_none_or(|end| now_ms < end) => Admission::Execute,
            (State::Authenticated, _) => Admission::Close,
        }
    }

    /// Returns whether the next frame is a token, without a request's header.
    pub(crate) fn expects_bare_token(&self) -> bool {
        self.has_bare_tokens && matches!(self.state, State::Exchanging(_))
    }

    fn expires_ms(&self) -> Option<i64> {
        self.identity.as_ref().and_then(|identity| identity.expires_ms)
    }

    /// Notes that the node answers ApiVersions without an error.
    pub(crate) fn answers_versions(&mut self) {
        self.has_versions = true;
    }

    /// Handles a proposal of a mechanism, in this version of SaslHandshake.
    pub(crate) fn handle_handshake(
        &mut self,
        settings: &SaslSettings,
        version: i16,
        name: &str,
        now_ms: i64,
    ) -> Handshake {
        let is_again = self.is_over();
        let is_early = |last: i64| now_ms.saturating_sub(last) < REAUTHENTICATION_MIN_MS;
        if is_again && (self.expires_ms().is_none() || self.reauthenticated_ms.is_some_and(is_early)) {
            return Handshake::Untimely;
        }
        let is_enabled = settings.mechanisms.iter().any(|enabled| enabled == name);
        let Some(mechanism) = Mechanism::ALL.into_iter().find(|one| one.name() == name).filter(|_| is_enabled) else {
            return if is_again { Handshake::Close } else { Handshake::Unsupported };
        };
        if is_again {
            self.reauthenticated_ms = Some(now_ms);
        }
        self.state = match &self.identity {
            Some(identity) if identity.mechanism != mechanism => State::OtherMechanism,
            _ => State::Exchanging(match mechanism {
                Mechanism::Plain => Exchange::Plain,
                Mechanism::Scram(hash) => Exchange::Scram(scram::Exchange::new(hash)),
                Mechanism::OAuthBearer => Exchange::OAuthBearer(oauthbearer::Exchange::default()),
            }),
        };
        self.has_bare_tokens = version == 0;
        Handshake::Accepted
    }

    /// Handles a token of the client, in a state that [admits](Self::admit) it.
    pub(crate) fn handle_token(
        &mut self,
        settings: &SaslSettings,
        users: &mut Users,
        token: &[u8],
        now_ms: i64,
    ) -> Answer {
        let (mechanism, step) = match &mut self.state {
            State::Exchanging(Exchange::Plain) => (Mechanism::Plain, plain::handle(users, token)),
            State::Exchanging(Exchange::Scram(exchange)) => {
                (Mechanism::Scram(exchange.hash()), exchange.handle(users, token, now_ms))
            }
            State::Exchanging(Exchange::OAuthBearer(exchange)) => {
                (Mechanism::OAuthBearer, exchange.handle(token, now_ms))
            }
            State::Start | State::OtherMechanism | State::Authenticated => {
                return Answer::Refusal { why: "no exchange is under way".to_owned(), is_general: false };
            }
        };
        match step {
            Ok(Step::Challenge(bytes)) => Answer::Token { bytes, session_lifetime_ms: 0 },
            Ok(Step::Success { last, name, expires_ms }) => {
                if let Some(identity) = &self.identity
                    && identity.name != name
                {
                    let old = &identity.name;
                    let why = format!("Cannot change principals during re-authentication from User.{old}: User.{name}");
                    return Answer::Refusal { why, is_general: false };
                }
                let max_reauth = settings.max_reauth.map(|time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
                let left = expires_ms.map(|end| end.saturating_sub(now_ms).max(0));
                let lifetime = [max_reauth, left].into_iter().flatten().min();
                let expires_ms = lifetime.map(|lifetime| now_ms.saturating_add(lifetime));
                self.identity = Some(Identity { mechanism, name, expires_ms });
                self.state = State::Authenticated;
                Answer::Token { bytes: last, session_lifetime_ms: lifetime.unwrap_or(0) }
            }
            Err(Refusal(Some(why))) => Answer::Refusal { why, is_general: false },
            Err(Refusal(None)) => {
                let kind = if self.identity.is_some() { "re-authentication" } else { "authentication" };
                let name = mechanism.name();
                let why = format!(
                    "Authentication failed during {kind} due to invalid credentials with SASL mechanism {name}"
                );
                Answer::Refusal { why, is_general: true }
            }
        }
    }
}
