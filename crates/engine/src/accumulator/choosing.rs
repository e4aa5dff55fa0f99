//! Chooses partitions for records without a key: mostly those with the least load (KIP-794).

use kurier_partitioner::{Sticky, Weights};
use smallvec::SmallVec;

use super::partition::lock;
use super::topic::Topic;
use super::{Accumulator, Ordering};

/// The number of partitions up to which a choice looks at all of them.
const SCANNED_MAX: usize = 32;

/// The number of partitions that a choice among more looks at. Enough that the shares are close to those of a scan, and
/// the cost does not depend on the number of partitions.
const SAMPLE: usize = 16;

/// The number of random partitions that a choice looks at to find a sample. Some may be stalled, or drawn already.
const DRAWS_MAX: usize = 4 * SAMPLE;

type Candidates = SmallVec<[i32; SCANNED_MAX]>;

impl Accumulator {
    /// Counts a record for a sticky partition, and chooses another one in time. Returns whether the partition has had its
    /// share. The caller holds the partition's lock, so no other thread counts for it or leaves it.
    #[inline(always)]
    pub(super) fn count_sticky(&self, topic: &Topic, sticky: &Sticky, place: i32, record_bytes: usize) -> bool {
        let bytes = u32::try_from(record_bytes).unwrap_or(u32::MAX);
        let switch_after = u32::try_from(self.config.batch_size).unwrap_or(u32::MAX);
        let is_over = sticky.appended(place, bytes, switch_after);
        if is_over {
            self.leave(topic, sticky, place);
        }
        is_over
    }

    /// Makes another partition the sticky one, if there is one to choose.
    #[cold]
    fn leave(&self, topic: &Topic, sticky: &Sticky, place: i32) {
        if let Some(next) = self.choose(topic) {
            sticky.switch(place, next);
        }
    }

    /// Chooses another partition for records without a key.
    pub(super) fn choose(&self, topic: &Topic) -> Option<i32> {
        let weights = self.weights(topic);
        weights.pick(lock(&self.random).u64(..))
    }

    /// Returns the weight of each partition that can be chosen: by its queued bytes, if
    /// `partitioner.adaptive.partitioning.enable` is true. Stalled partitions are left out, unless all are stalled.
    /// Partitions led from `client.rack` go first, unless all of those are stalled.
    pub(super) fn weights(&self, topic: &Topic) -> Weights {
        let is_adaptive = self.config.adaptive_partitioning;
        let is_stalled = |index| topic.partition(index).is_some_and(|it| it.is_stalled.load(Ordering::Relaxed));
        let places = topic.places();
        // The topic may just have lost partitions.
        let is_there = |index| topic.accepts(index);
        // A flag may change between two reads, so each list reads it once.
        let is_accepting = |index| is_there(index) && !(is_adaptive && is_stalled(index));
        let mut candidates = self.candidates(&places.in_rack, is_accepting);
        if candidates.is_empty() {
            candidates = self.candidates(&places.available, is_accepting);
        }
        if candidates.is_empty() {
            candidates = self.candidates(&places.available, is_there);
        }
        if candidates.is_empty() {
            return Weights::even(0..topic.count());
        }
        if !is_adaptive {
            return Weights::even(candidates);
        }
        let load = |index: i32| (index, topic.partition(index).map_or(0, |partition| partition.load.bytes() as u64));
        let unit = u32::try_from(self.config.batch_size).unwrap_or(u32::MAX);
        Weights::by_load(candidates.iter().copied().map(load), unit)
    }

    /// Returns the partitions of a list that can be chosen, or a random sample of them if the list is long.
    fn candidates(&self, list: &[i32], is_one: impl Fn(i32) -> bool) -> Candidates {
        if list.len() > SCANNED_MAX {
            let sample = sample(list, &mut lock(&self.random), &is_one);
            // A smaller one would say little of the loads. Most partitions are stalled then.
            if sample.len() >= SAMPLE / 2 {
                return sample;
            }
        }
        list.iter().copied().filter(|index| is_one(*index)).collect()
    }
}

/// Draws up to [`SAMPLE`] different partitions of a list, all of which can be chosen. Fewer if most cannot.
fn sample(list: &[i32], random: &mut fastrand::Rng, is_one: impl Fn(i32) -> bool) -> Candidates {
    let mut sample = Candidates::new();
    for _ in 0..DRAWS_MAX {
        if let Some(index) = random.choice(list)
            && !sample.contains(index)
            && is_one(*index)
        {
            sample.push(*index);
            if sample.len() == SAMPLE {
                break;
            }
        }
    }
    sample
}
