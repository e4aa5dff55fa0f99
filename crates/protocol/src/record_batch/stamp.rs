//! Who a batch is from: the producer id, epoch and sequence by which brokers tell a retry from a new batch (KIP-98).

/// Identifies a producer to the brokers; -1 is none. See [`Stamp`] for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProducerId(pub i64);

/// Counts the lives of a producer id, so that what an earlier one sent late is refused; -1 is none.
/// See [`Stamp`] for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProducerEpoch(pub i16);

/// Numbers the records that a producer sends to a partition, from 0 on in each epoch; -1 is none.
/// See [`Stamp`] for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sequence(pub i32);

impl Sequence {
    /// What the first record of an epoch has.
    pub const FIRST: Self = Self(0);

    /// The sequence `count` records later: after 2,147,483,647 comes 0 (`DefaultRecordBatch.incrementSequence`).
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

/// Under which producer id, epoch and sequence a batch goes out, or under none.
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
    /// Of a producer that is not idempotent.
    pub const NONE: Self = Self {
        producer_id: ProducerId(-1),
        producer_epoch: ProducerEpoch(-1),
        base_sequence: Sequence(-1),
        is_transactional: false,
    };

    /// Of an idempotent producer; the sequence is the first record's.
    #[must_use]
    pub fn idempotent(producer_id: ProducerId, producer_epoch: ProducerEpoch, base_sequence: Sequence) -> Self {
        Self { producer_id, producer_epoch, base_sequence, is_transactional: false }
    }

    /// The same, for a batch that belongs to a transaction.
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
