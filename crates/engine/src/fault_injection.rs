//! Fault injection: deliberate mistakes of the producer, which its tests must detect. Checks that catch none prove
//! nothing.
//!
//! Code that can make a mistake is given a [`FaultInjection`] at its construction, and asks it at the place of the
//! mistake. In a normal build this type has no size and its answer is the constant `false`, so it costs no instruction.

/// The mistake that a producer makes, if any.
#[derive(Clone, Copy, Debug)]
pub struct FaultInjection {
    #[cfg(any(test, feature = "internal"))]
    mutant: Option<Mutant>,
}

#[cfg(any(test, feature = "internal"))]
impl FaultInjection {
    /// No mistake.
    pub const NONE: Self = Self { mutant: None };

    /// One mistake, or none.
    pub const fn of(mutant: Option<Mutant>) -> Self {
        Self { mutant }
    }

    /// Returns whether the producer makes this mistake.
    pub fn has(self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }
}

#[cfg(not(any(test, feature = "internal")))]
impl FaultInjection {
    /// No mistake.
    pub const NONE: Self = Self {};

    /// Returns false: a normal build makes no mistake.
    pub const fn has(self, _: Mutant) -> bool {
        false
    }
}

/// A deliberate mistake of the producer. Each is one condition at the place of the mistake.
///
/// See `crates/simulation/src/bin/simulate.rs` for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A retried batch gets the next sequences.
    NewSequenceOnRetry,
    /// A partition whose leader is unknown for a while restarts at sequence 0 under the same epoch.
    ResetWhenLeaderless,
    /// Any batch that fails with OUT_OF_ORDER_SEQUENCE_NUMBER marks the partition's sequences as broken.
    BreakOnAnyGap,
    /// A retried batch is encoded again.
    RebuildOnRetry,
    /// A batch that expires in flight fails as not written.
    ExpiredIsUnwritten,
    /// Batches go to a new leader while requests to the old one are unanswered.
    NoDrainOnMove,
    /// Memory is freed when its batch expires, although a socket may still read it.
    FreeAtExpiry,
    /// A split batch completes with its first piece.
    SplitCountsOnce,
    /// The sequence after 2,147,483,647 is -2,147,483,648.
    SequenceOverflows,
    /// The producer ignores brokers' throttle times.
    IgnoreThrottle,
    /// A partition without any acknowledgement gets five batches in flight at once.
    NoGate,
    /// A duplicate with an unknown offset is reported at offset 0.
    OffsetZero,
    /// A batch that may be written is retried under the next epoch.
    RestampUnsettled,
    /// Batches that wait for a node stay queued when metadata shows that the node has moved.
    MoveWakesNobody,
    /// A leader hint is followed although a later leader epoch is known.
    OldHint,
    /// A leader hint is followed although its topic was deleted and created again since.
    ForeignHint,
    /// Batches that were not written keep their producer id and sequence in another cluster.
    PiecesKeepStamp,
    /// A batch with acks=0 that may have been sent is sent again.
    ResendWithoutAnswers,
    /// A batch that is too large is not split if it was sent before.
    NoSplitAfterRefusal,
    /// After a batch above max.message.bytes has lowered the cap, the next batch that reaches the cap doubles it.
    CapForgotten,
    /// The producer stops requesting the metadata of a topic that was not used for a while, although records of the topic
    /// have no outcome yet.
    RetireBusy,
    /// A record joins an open batch of any age.
    LateRecordJoins,
    /// The producer keeps asking a broker that lacks InitProducerId.
    SilentWithoutApi,
    /// A producer id is requested although no batch waits for one.
    AskIdForever,
    /// A forgotten partition returns under an epoch that it had before.
    EpochFloorIgnored,
    /// Requests follow SaslHandshake while a session is renewed.
    SendBehindHandshake,
    /// A SCRAM exchange succeeds although the broker's signature is wrong.
    SkipSignature,
    /// Each new connection makes the producer forget that brokers refused its credentials.
    ResetBreakerOnReconnect,
    /// A ready connection keeps the limit of 1 MiB on frames.
    KeepFrameLimit,
    /// A connection that must be replaced takes further requests.
    FeedRetiring,
}

#[cfg(feature = "internal")]
impl Mutant {
    /// All mistakes.
    pub const ALL: [Self; 30] = [
        Self::NewSequenceOnRetry,
        Self::ResetWhenLeaderless,
        Self::BreakOnAnyGap,
        Self::RebuildOnRetry,
        Self::ExpiredIsUnwritten,
        Self::NoDrainOnMove,
        Self::FreeAtExpiry,
        Self::SplitCountsOnce,
        Self::SequenceOverflows,
        Self::IgnoreThrottle,
        Self::NoGate,
        Self::OffsetZero,
        Self::RestampUnsettled,
        Self::MoveWakesNobody,
        Self::OldHint,
        Self::ForeignHint,
        Self::PiecesKeepStamp,
        Self::ResendWithoutAnswers,
        Self::NoSplitAfterRefusal,
        Self::CapForgotten,
        Self::RetireBusy,
        Self::LateRecordJoins,
        Self::SilentWithoutApi,
        Self::AskIdForever,
        Self::EpochFloorIgnored,
        Self::SendBehindHandshake,
        Self::SkipSignature,
        Self::ResetBreakerOnReconnect,
        Self::KeepFrameLimit,
        Self::FeedRetiring,
    ];
}
