//! Partition choice for records without a key: one partition until a batch's worth of bytes is appended, then another.
//! A partition with less load is more likely (KIP-480's stickiness, KIP-794's measure and weights).
//!
//! Two things differ from Java's `BuiltInPartitioner`. First, the switch comes after `batch.size` appended bytes,
//! whatever the batches: in this producer a busy partition's batch grows beyond `batch.size`, and a switch at the
//! batch's end would send most records to the busiest partition. Second, load is the number of bytes that are queued or
//! in flight, not the number of queued batches, because their sizes vary for the same reason.

use std::sync::atomic::{AtomicU64, Ordering};

/// The current partition, and the number of bytes appended to it. Use one per topic and for few threads, because every
/// record writes to it.
///
/// ```
/// use kurier_partitioner::{Sticky, Weights};
///
/// let weights = Weights::even([0, 1, 2]);
/// let sticky = Sticky::new();
/// let first = sticky.current_or(|| weights.pick(7)).unwrap();
/// assert_eq!(sticky.current_or(|| weights.pick(8)), Some(first), "it sticks");
///
/// assert!(!sticky.appended(first, 16_000, 16_384));
/// assert!(sticky.appended(first, 400, 16_384), "a batch's worth went there: time to switch");
/// sticky.switch(first, weights.pick(8).unwrap());
/// assert_eq!(sticky.current(), Some(2));
/// ```
#[derive(Debug, Default)]
pub struct Sticky {
    /// Upper half: the partition plus one (0 for none). Lower half: the bytes. Kafka's partition numbers have 31 bits
    /// and are never negative.
    state: AtomicU64,
}

impl Sticky {
    /// Creates a value without a current partition.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the current partition, if there is one.
    #[inline]
    #[must_use]
    pub fn current(&self) -> Option<i32> {
        partition_of(self.state.load(Ordering::Relaxed))
    }

    /// Returns the current partition, or else the result of `first`, which becomes the current one.
    pub fn current_or(&self, first: impl FnOnce() -> Option<i32>) -> Option<i32> {
        if let Some(partition) = self.current() {
            return Some(partition);
        }
        let chosen = state_of(first()?, 0);
        match self.state.compare_exchange(0, chosen, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => partition_of(chosen),
            Err(theirs) => partition_of(theirs),
        }
    }

    /// Counts bytes that were appended to `partition`, and returns whether the partition has had its share of
    /// `switch_after`.
    ///
    /// Bytes for a partition that is not the current one do not count. The caller should hold a lock that every thread
    /// holds which counts for `partition` or switches from it, such as that of its open batch: this saves an atomic
    /// exchange for each record. Without one, bytes of other threads may be lost from the count, and a switch undone.
    #[inline]
    pub fn appended(&self, partition: i32, bytes: u32, switch_after: u32) -> bool {
        let state = self.state.load(Ordering::Relaxed);
        if partition_of(state) != Some(partition) {
            return false;
        }
        let bytes = bytes_of(state).saturating_add(bytes);
        self.state.store(state & UPPER | u64::from(bytes), Ordering::Relaxed);
        bytes >= switch_after
    }

    /// Switches to partition `to` if `from` is still the current one. Both may be the same; a new share then begins. The
    /// caller should hold the lock of `from`, as in [`appended`](Self::appended).
    pub fn switch(&self, from: i32, to: i32) {
        let switched = |state| (partition_of(state) == Some(from)).then_some(state_of(to, 0));
        // If this fails, another thread has already switched.
        let _ = self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, switched);
    }
}

/// The half of the state that has the partition.
const UPPER: u64 = u64::MAX << 32;

fn state_of(partition: i32, bytes: u32) -> u64 {
    (u64::from(partition.cast_unsigned()) + 1) << 32 | u64::from(bytes)
}

fn partition_of(state: u64) -> Option<i32> {
    // The upper half always fits.
    let number = u32::try_from(state >> 32).unwrap_or(u32::MAX);
    number.checked_sub(1).map(u32::cast_signed)
}

fn bytes_of(state: u64) -> u32 {
    u32::try_from(state & !UPPER).unwrap_or(u32::MAX)
}

/// Probability of each partition.
///
/// ```
/// use kurier_partitioner::Weights;
///
/// // Nothing waits for partition 0, a batch for 1, four batches for 4.
/// let weights = Weights::by_load([(0, 0), (1, 16_384), (4, 65_536)], 16_384);
/// assert_eq!(weights.share(0), 5.0 / 10.0);
/// assert_eq!(weights.share(1), 4.0 / 10.0);
/// assert_eq!(weights.share(4), 1.0 / 10.0);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weights {
    /// Each partition with the cumulative weight up to and including its own.
    sums: Vec<(u64, i32)>,
}

impl Weights {
    /// Gives all partitions the same weight.
    #[must_use]
    pub fn even(partitions: impl IntoIterator<Item = i32>) -> Self {
        Self::from_weights(partitions.into_iter().map(|partition| (partition, 1)))
    }

    /// Weighs partitions by their queued and in-flight bytes. The heaviest has the weight `unit`; each other one has
    /// `unit` plus the bytes by which its load is smaller. `unit` is `batch.size`, at least one byte: a partition that
    /// is one batch behind is then picked half as often as one that is not.
    ///
    /// Leave out partitions without a leader, or whose leader accepts nothing, as long as there are others.
    #[must_use]
    pub fn by_load(loads: impl IntoIterator<Item = (i32, u64), IntoIter: Clone>, unit: u32) -> Self {
        let loads = loads.into_iter();
        let heaviest = loads.clone().map(|(_, load)| load).max().unwrap_or_default();
        let unit = u64::from(unit.max(1));
        // Other threads may increase a load between the two reads.
        let lack = |load: u64| heaviest.saturating_sub(load);
        Self::from_weights(loads.map(|(partition, load)| (partition, lack(load).saturating_add(unit))))
    }

    fn from_weights(weights: impl Iterator<Item = (i32, u64)>) -> Self {
        let mut sum = 0u64;
        let mut running = |(partition, weight)| {
            sum = sum.saturating_add(weight);
            (sum, partition)
        };
        Self { sums: weights.map(&mut running).collect() }
    }

    /// Picks a partition by a random number that uses all 64 bits. Returns `None` if there are no partitions.
    #[must_use]
    pub fn pick(&self, random: u64) -> Option<i32> {
        let (total, _) = self.sums.last()?;
        let drawn = random.checked_rem(*total)?;
        let index = self.sums.partition_point(|(sum, _)| *sum <= drawn);
        self.sums.get(index).map(|(_, partition)| *partition)
    }

    /// Returns the probability of a partition, from 0 to 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a likelihood for people and tests")]
    pub fn share(&self, partition: i32) -> f64 {
        let Some((total, _)) = self.sums.last() else { return 0.0 };
        let before = [(0, 0)].iter().chain(&self.sums);
        let of_partition = before.zip(&self.sums).filter(|(_, (_, at))| *at == partition);
        of_partition.map(|((low, _), (high, _))| (high - low) as f64 / *total as f64).sum()
    }
}
