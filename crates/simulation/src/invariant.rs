//! Invariants that every simulated world keeps.

use std::fmt;

/// An invariant. A world that breaks one ends with a [`Violation`].
///
/// See `src/bin/simulate.rs` for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invariant {
    /// A record reported as written is in its partition's log, unchanged and at the reported offset. A record reported
    /// as not written is in no log (`I1` in old ledgers).
    TrueOutcome,
    /// Under idempotence, a record is in the log at most once (`I2` in old ledgers).
    NoDuplicate,
    /// Records of a partition are in the log in the order of their sends (`I3` in old ledgers).
    InOrder,
    /// Each accepted record gets exactly one outcome, in the order of its partition, and none after close (`I4` in old ledgers).
    OneOutcome,
    /// Requests carry the producer ids, epochs and sequences that brokers accept, and no sequence stands for other bytes (`I5` in old ledgers).
    SoundSequences,
    /// No more batches and requests are in flight than allowed (`I6` in old ledgers).
    InFlightLimit,
    /// Memory, connections, batches and flushes are released (`I7` in old ledgers).
    NoLeak,
    /// Outcomes and requests come in time: neither too late nor too early (`I8` in old ledgers).
    InTime,
    /// A flush ends in time, and every record before it has its outcome (`I9` in old ledgers).
    FlushInTime,
    /// Before authentication, nodes get only ApiVersions and SASL; nothing follows SaslHandshake until the exchange has ended, and nothing but SaslHandshake follows the end of the session.
    SaslOrder,
    /// No connection carries other requests, or large frames, before its node has accepted the client and proved itself.
    ProofFirst,
    /// Refused credentials are tried again only after the breaker's wait and on one connection at a time. No session is
    /// renewed with them.
    FewAttempts,
    /// A connection that must be replaced takes no more requests.
    RetiredIsQuiet,
    /// The settings of the plan are valid.
    ValidSettings,
    /// Nothing panics.
    NoPanic,
}

/// A broken invariant.
///
/// See `src/bin/simulate.rs` for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant.
    pub invariant: Invariant,
    /// How the run broke it.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.what)
    }
}

pub(super) fn violation(invariant: Invariant, what: impl Into<String>) -> Violation {
    Violation { invariant, what: what.into() }
}
