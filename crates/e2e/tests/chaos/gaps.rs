//! The times of acknowledgements by partition, and the gaps between them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A producer's acknowledgement times.
#[derive(Debug)]
pub(crate) struct Acknowledgements(Mutex<Vec<Vec<Instant>>>);

impl Acknowledgements {
    pub(crate) fn new(partitions: usize) -> Self {
        Self(Mutex::new(vec![Vec::new(); partitions]))
    }

    fn times(&self) -> MutexGuard<'_, Vec<Vec<Instant>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records an acknowledgement. Those of a partition come in order of time.
    pub(crate) fn note(&self, partition: i32, at: Instant) {
        let mut times = self.times();
        if let Some(times) = index(partition).and_then(|partition| times.get_mut(partition)) {
            times.push(at);
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.times().iter().map(Vec::len).sum()
    }

    /// Whether each of these partitions had an acknowledgement after this time.
    pub(crate) fn came_after(&self, then: Instant, partitions: &[i32]) -> bool {
        let times = self.times();
        let last = |partition: &i32| times.get(index(*partition)?)?.last().copied();
        partitions.iter().all(|partition| last(partition).is_some_and(|last| last > then))
    }

    /// Returns a partition's gaps longer than half a second that overlap this time span.
    pub(crate) fn gaps(&self, partition: i32, from: Instant, to: Instant) -> Vec<Duration> {
        let times = self.times();
        let Some(times) = index(partition).and_then(|partition| times.get(partition)) else { return Vec::new() };
        let first = times.partition_point(|at| *at <= from).saturating_sub(1);
        let end = times.len().min(times.partition_point(|at| *at < to) + 1);
        let gaps = times[first..end].windows(2).map(|pair| pair[1].duration_since(pair[0]));
        gaps.filter(|gap| *gap > Duration::from_millis(500)).collect()
    }
}

/// Returns the median and maximum of some durations, in seconds.
pub(crate) fn median_and_maximum(gaps: &[Duration]) -> (f64, f64) {
    let mut sorted: Vec<f64> = gaps.iter().map(Duration::as_secs_f64).collect();
    sorted.sort_by(f64::total_cmp);
    let at = |place: usize| sorted.get(place).copied().unwrap_or_default();
    ((at(sorted.len() / 2) + at(sorted.len().saturating_sub(1) / 2)) / 2.0, sorted.last().copied().unwrap_or_default())
}

fn index(partition: i32) -> Option<usize> {
    usize::try_from(partition).ok()
}
