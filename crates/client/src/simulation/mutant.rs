//! Mistakes that a producer could make, to be made on purpose: a check that has caught none proves nothing.

/// A mistake. Each stands as one condition at the place where it would be made, which without the feature `internal` is
/// the constant `false`.
///
/// See `examples/simulate.rs` for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A batch that is sent again gets the next sequences.
    NewSequenceOnRetry,
    /// A partition whose leader is not known for a while begins at sequence 0 again, under the same epoch.
    ResetWhenLeaderless,
    /// Whatever batch is answered OUT_OF_ORDER_SEQUENCE_NUMBER, the line of sequences counts as broken.
    BreakOnAnyGap,
    /// A batch that is to be sent again is put together anew.
    RebuildOnRetry,
    /// What expires in flight is called not written.
    ExpiredIsUnwritten,
    /// A new leader is sent to while the old one has not answered.
    NoDrainOnMove,
    /// Memory counts as free when its batch expires, though a socket may still read it.
    FreeAtExpiry,
    /// A batch that was split counts as complete with its first piece.
    SplitCountsOnce,
    /// After 2,147,483,647 comes -2,147,483,648.
    SequenceOverflows,
    /// Brokers that want to be left alone are not.
    IgnoreThrottle,
    /// A partition that has acknowledged nothing yet gets five batches at once.
    NoGate,
    /// A duplicate whose offset is not known is said to be at 0.
    OffsetZero,
    /// What may be written is sent again under the next epoch.
    RestampUnsettled,
    /// Batches that wait for a node are not looked at when the node is found to have moved.
    MoveWakesNobody,
    /// A leader hint counts although a later leader epoch is known.
    OldHint,
    /// A leader hint counts although its topic was deleted and created again since.
    ForeignHint,
    /// Batches that were not written keep their producer id and sequence when the cluster is another.
    PiecesKeepStamp,
    /// A batch with acks=0 that may have left is sent again.
    ResendWithoutAnswers,
    /// A batch that is too large is not split if it was sent before.
    NoSplitAfterRefusal,
    /// The cap that a batch above max.message.bytes set doubles with the next batch that reached it.
    CapForgotten,
    /// The producer stops asking for an idle topic whose records wait.
    RetireBusy,
    /// A record joins an open batch, however old that is.
    LateRecordJoins,
    /// A broker that lacks InitProducerId is asked for ever.
    SilentWithoutApi,
    /// A producer id is asked for although no batch waits for one.
    AskIdForever,
    /// A partition that was forgotten comes back under an epoch that it has had.
    EpochFloorIgnored,
}

#[cfg(any(test, feature = "internal"))]
impl Mutant {
    /// All of them.
    #[cfg(feature = "internal")]
    pub const ALL: [Self; 25] = [
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
    ];

    /// Whether this mistake is to be made.
    pub(crate) fn is_on(self) -> bool {
        AT_WORK.get() == Some(self)
    }

    /// Has this thread make a mistake from now on, or none.
    pub(crate) fn put_to_work(mutant: Option<Self>) {
        AT_WORK.set(mutant);
    }
}

#[cfg(any(test, feature = "internal"))]
std::thread_local! {
    static AT_WORK: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

#[cfg(not(any(test, feature = "internal")))]
impl Mutant {
    /// Whether this mistake is to be made: no.
    #[expect(clippy::unused_self, reason = "with the feature it is looked at")]
    pub(crate) const fn is_on(self) -> bool {
        false
    }
}
