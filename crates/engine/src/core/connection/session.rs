//! Authentication of one connection: the exchange under way, and the session that the broker has accepted.

use std::sync::Arc;
use std::time::Instant;

use kurier_security::{Exchange, Mechanism};

use crate::core::access::Grant;

/// An exchange under way.
#[derive(Debug)]
pub(super) struct Authentication {
    pub(super) step: Step,
    /// When it began: the broker may count the session's lifetime from any time after that.
    pub(super) since: Instant,
}

#[derive(Debug)]
pub(super) enum Step {
    /// Waits while another connection tries the same credentials.
    Queued,
    /// SaslHandshake has no answer yet.
    Proposed(Arc<Grant>),
    /// SaslAuthenticate has no answer yet.
    Exchanging(Arc<Grant>, Exchange),
    /// A thread computes the next message.
    Computing(Arc<Grant>, Exchange),
}

/// A session that a broker has accepted.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) mechanism: Mechanism,
    pub(super) username: Option<String>,
    /// Whether the session is too short to authenticate again in it.
    pub(super) is_short: bool,
    pub(super) renewal: Renewal,
    pub(super) ends_at: Option<Instant>,
}

/// When to authenticate again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    /// The session has no end, or the renewal has begun, or the connection will be replaced.
    Never,
    At(Instant),
    /// When there are new credentials.
    WithNewCredentials,
    /// When the credentials are no longer in doubt.
    WithoutDoubt,
    /// When no other session is being renewed; at this time also beside another.
    InTurn {
        latest: Instant,
    },
}

impl Session {
    /// Returns whether the session has ended: the broker closes the connection at the next request.
    pub(super) fn has_ended(&self, now: Instant) -> bool {
        self.ends_at.is_some_and(|end| end <= now)
    }

    /// Returns when the core must look at the session again.
    pub(super) fn next(&self) -> Option<Instant> {
        let renewal = match self.renewal {
            Renewal::At(at) | Renewal::InTurn { latest: at } => Some(at),
            Renewal::Never | Renewal::WithNewCredentials | Renewal::WithoutDoubt => None,
        };
        [renewal, self.ends_at].into_iter().flatten().min()
    }
}
