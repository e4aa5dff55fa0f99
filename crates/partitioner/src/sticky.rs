//! Where records without a key go: to one partition until a batch's worth of bytes went there, then to another, which
//! is picked the more likely the less is waiting for it (KIP-480's stickiness, KIP-794's measure and weights).
//!
//! Two things differ from Java's `BuiltInPartitioner`. The switch comes after `batch.size` appended bytes and does not
//! look at batches, for these are elastic here: a busy partition's batch goes on growing beyond `batch.size`, and to
//! follow it would feed the busiest partition most. And load is counted in bytes that are queued or in flight, not in
//! queued batches, whose sizes say little for the same reason.

use std::sync::atomic::{AtomicU64, Ordering};

/// The partition that is being filled, and how many bytes went there. One stands for one topic and, since it is written
/// with every record, for few threads.
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
    /// The partition plus one (0 for none yet) in the upper half, the bytes in the lower. Kafka's partition numbers have
    /// 31 bits, none is negative.
    state: AtomicU64,
}

impl Sticky {
    /// No partition yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The partition to which records go now, if one was chosen.
    #[must_use]
    pub fn current(&self) -> Option<i32> {
        partition_of(self.state.load(Ordering::Relaxed))
    }

    /// The partition to which records go now, or else what `first` chooses; `None` if it chooses none.
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

    /// Counts bytes that were appended to `partition`, and says whether it has had its share of `switch_after`.
    ///
    /// Bytes for a partition that is no longer the current one count for nothing.
    pub fn appended(&self, partition: i32, bytes: u32, switch_after: u32) -> bool {
        let count = |state| {
            let so_far = bytes_of(state);
            (partition_of(state) == Some(partition)).then(|| state_of(partition, so_far.saturating_add(bytes)))
        };
        match self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count) {
            Ok(before) => bytes_of(before).saturating_add(bytes) >= switch_after,
            Err(_) => false,
        }
    }

    /// Goes on to partition `to`, if `from` is still the current one. It may be the same again, with a new share.
    pub fn switch(&self, from: i32, to: i32) {
        let switched = |state| (partition_of(state) == Some(from)).then_some(state_of(to, 0));
        // Whoever was faster has switched already.
        let _ = self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, switched);
    }
}

fn state_of(partition: i32, bytes: u32) -> u64 {
    (u64::from(partition.cast_unsigned()) + 1) << 32 | u64::from(bytes)
}

fn partition_of(state: u64) -> Option<i32> {
    i32::try_from((state >> 32).checked_sub(1)?).ok()
}

fn bytes_of(state: u64) -> u32 {
    u32::try_from(state & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

/// How likely each partition is to be picked.
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
    /// Each partition with the sum of the weights up to and with its own.
    sums: Vec<(u64, i32)>,
}

impl Weights {
    /// All alike.
    #[must_use]
    pub fn even(partitions: impl IntoIterator<Item = i32>) -> Self {
        Self::from_weights(partitions.into_iter().map(|partition| (partition, 1)))
    }

    /// By how many bytes are queued and in flight for each partition: the heaviest weighs `unit`, and each other as much
    /// more as it has less to carry. `unit`, of at least one byte, is `batch.size`: with it, a partition that is one
    /// batch behind is still picked half as often as one that is not.
    ///
    /// Partitions without a leader, or whose leader takes nothing, are to be left out as long as there are others.
    #[must_use]
    pub fn by_load(loads: impl IntoIterator<Item = (i32, u64), IntoIter: Clone>, unit: u32) -> Self {
        let loads = loads.into_iter();
        let heaviest = loads.clone().map(|(_, load)| load).max().unwrap_or_default();
        let unit = u64::from(unit.max(1));
        // Loads that are read while others send may be heavier the second time.
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

    /// Picks by a random number, of which all 64 bits count; `None` if there are no partitions.
    #[must_use]
    pub fn pick(&self, random: u64) -> Option<i32> {
        let (total, _) = self.sums.last()?;
        let drawn = random.checked_rem(*total)?;
        let index = self.sums.partition_point(|(sum, _)| *sum <= drawn);
        self.sums.get(index).map(|(_, partition)| *partition)
    }

    /// The likelihood of a partition, from 0 to 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a likelihood for people and tests")]
    pub fn share(&self, partition: i32) -> f64 {
        let Some((total, _)) = self.sums.last() else { return 0.0 };
        let before = [(0, 0)].iter().chain(&self.sums);
        let of_partition = before.zip(&self.sums).filter(|(_, (_, at))| *at == partition);
        of_partition.map(|((low, _), (high, _))| (high - low) as f64 / *total as f64).sum()
    }
}
