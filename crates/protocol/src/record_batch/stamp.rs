//! Producer id, epoch and sequence, which brokers use to tell a retry from a new batch (KIP-98).

/// Identifies a producer to the brokers; -1 is none. See [`Stamp`] for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProducerId(pub i64);

/// Counts the sessions of a producer id, so that brokers refuse late batches of an earlier session; -1 is none. See
/// [`Stamp`] for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProducerEpoch(pub i16);

/// Numbers a producer's records in a partition, from 0 in each epoch; -1 is none. See [`Stamp`] for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sequence(pub i32);

impl Sequence {
    /// The sequence of an epoch's first record.
    pub const FIRST: Self = Self(0);

    /// Returns the sequence `count` records later; 0 follows 2,147,483,647 (`DefaultRecordBatch.incrementSequence`).
    ///
    /// ```
    /// use kurier_protocol::record_batch::Sequence;
    ///
    /// assert_eq!(Sequence(5).after(3), Sequence(8));
    /// assert_eq!(Sequence(i32::MAX).after(1), Sequence::FIRST);
    /// ```
    #[must_use]
    pub fn after(self, count: i32) -> Self {
        Self(self.0.wrapping_add(count) & i32::MAX)
    }
}

/// Producer id, epoch and sequence of a batch, or none of them.
///
/// ```
/// use kurier_protocol::record_batch::{ProducerEpoch, ProducerId, Sequence, Stamp};
///
/// let stamp = Stamp::idempotent(ProducerId(4000), ProducerEpoch(0), Sequence(17));
/// assert_eq!(stamp.base_sequence(), Sequence(17));
/// assert!(stamp.in_transaction().is_transactional());
/// assert_eq!(Stamp::NONE.producer_id(), ProducerId(-1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    base_sequence: Sequence,
    is_transactional: bool,
}

impl Stamp {
    /// The stamp of a producer that is not idempotent.
    pub const NONE: Self = Self {
        producer_id: ProducerId(-1),
        producer_epoch: ProducerEpoch(-1),
        base_sequence: Sequence(-1),
        is_transactional: false,
    };

    /// Returns the stamp of an idempotent producer; the sequence is the first record's.
    #[must_use]
    pub fn idempotent(producer_id: ProducerId, producer_epoch: ProducerEpoch, base_sequence: Sequence) -> Self {
        Self { producer_id, producer_epoch, base_sequence, is_transactional: false }
    }

    /// Returns the same stamp for a batch in a transaction.
    #[must_use]
    pub fn in_transaction(self) -> Self {
        Self { is_transactional: true, ..self }
    }

    /// The producer's id.
    #[must_use]
    pub fn producer_id(&self) -> ProducerId {
        self.producer_id
    }

    /// The producer's epoch.
    #[must_use]
    pub fn producer_epoch(&self) -> ProducerEpoch {
        self.producer_epoch
    }

    /// The first record's sequence.
    #[must_use]
    pub fn base_sequence(&self) -> Sequence {
        self.base_sequence
    }

    /// Whether the batch belongs to a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.is_transactional
    }
}

impl Default for Stamp {
    fn default() -> Self {
        Self::NONE
    }
}
