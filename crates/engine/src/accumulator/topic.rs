//! A topic as senders see it: its partitions, the partition that is being filled, and the compression ratio.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use kurier_partitioner::{Sticky, TopicView};
use kurier_protocol::PartitionIndex;

use super::partition::{Partition, lock};
use crate::error::{Error, ErrorKind};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A topic that senders append to.
#[derive(Debug)]
pub struct Topic {
    pub name: Arc<str>,
    places: ArcSwap<Places>,
    /// Counts changes of `places`, because comparing a number is cheaper. [`RETIRED`] once the topic is removed.
    generation: AtomicU64,
    /// One sticky partition per few threads, because each record writes to it. Allocated when the first record without
    /// a key must choose between partitions, since it is most of a topic's memory.
    sticky: OnceLock<Box<[Stripe; STRIPES]>>,
    /// The estimated compression ratio, in millionths.
    ratio: AtomicU32,
    /// The cap of the topic's batches before compression, and when a broker last refused one as too large.
    cap: Mutex<Option<(usize, Instant)>>,
}

/// How long a topic's cap is remembered. By then `max.message.bytes` may have been raised.
const CAP_REMEMBERED_FOR: Duration = Duration::from_secs(600);

/// A snapshot of a topic's partitions.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) partitions: Box<[Arc<Partition>]>,
    /// The partitions that have a leader.
    pub(super) available: Box<[i32]>,
    /// The partitions whose leader is in `client.rack`; empty if racks do not count.
    pub(super) in_rack: Box<[i32]>,
}

const STRIPES: usize = 8;

/// The generation of a topic that accepts no more records.
pub(super) const RETIRED: u64 = u64::MAX;

/// A sticky partition on its own cache line, to avoid false sharing between threads.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe(Sticky);

const MILLION: u32 = 1_000_000;

impl Topic {
    pub(super) fn new(name: Arc<str>, places: Places) -> Self {
        Self {
            name,
            places: ArcSwap::from_pointee(places),
            generation: AtomicU64::new(0),
            sticky: OnceLock::new(),
            ratio: AtomicU32::new(MILLION),
            cap: Mutex::default(),
        }
    }

    pub(super) fn set_places(&self, places: Places) {
        self.places.store(Arc::new(places));
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Makes every later append fail with `AppendError::Retired`. The caller must hold the locks of all partitions.
    pub(super) fn retire(&self) {
        self.generation.store(RETIRED, Ordering::Release);
    }

    /// Returns whether the topic was removed, so that it accepts no more records.
    pub fn is_retired(&self) -> bool {
        self.generation() == RETIRED
    }

    pub(super) fn places(&self) -> Guard<Arc<Places>> {
        self.places.load()
    }

    /// Returns the number of known partitions.
    pub fn partition_count(&self) -> usize {
        self.places().partitions.len()
    }

    /// Returns the partitions whose leader is in `client.rack`.
    #[cfg(test)]
    pub fn in_rack(&self) -> Vec<i32> {
        self.places().in_rack.to_vec()
    }

    /// Returns the number of partitions that the topic needs to have this one; `None` if it has it.
    pub fn lacks(&self, partition: Option<PartitionIndex>) -> Option<usize> {
        let wanted = usize::try_from(partition?.0).ok()?.checked_add(1)?;
        (self.partition_count() < wanted).then_some(wanted)
    }

    /// Returns a number that differs after each change of the partitions.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Shows the topic to a partitioner; `None` while it has no partitions.
    pub fn with_view<T>(&self, see: impl FnOnce(&TopicView<'_>) -> T) -> Option<T> {
        let places = self.places();
        let count = i32::try_from(places.partitions.len()).ok()?;
        TopicView::new(&self.name, count, &places.available).map(|view| see(&view))
    }

    /// Returns the sticky partition of this stripe's threads.
    pub(super) fn sticky(&self, stripe: usize) -> &Sticky {
        &self.sticky.get_or_init(Box::default)[stripe % STRIPES].0
    }

    pub(super) fn no_partition(&self, place: i32) -> Error {
        let count = self.places().partitions.len();
        let text = format!("topic {} has no partition {place}: it has {count}, counted from 0", self.name);
        Error::new(ErrorKind::Partitioning, text)
    }

    /// Estimates the size after compression: 5 % above the learnt ratio, as in Java.
    pub(super) fn compressed_bytes(&self, plain_bytes: usize) -> usize {
        let ratio = u64::from(self.ratio.load(Ordering::Relaxed));
        let estimated = plain_bytes as u64 * ratio / u64::from(MILLION) * 105 / 100;
        usize::try_from(estimated).unwrap_or(usize::MAX)
    }

    /// Returns the cap of the topic's batches before compression; no limit if no batch was too large in the last ten
    /// minutes.
    pub(super) fn cap(&self, now: Instant) -> usize {
        let learnt = lock(&self.cap).filter(|(_, at)| now < *at + CAP_REMEMBERED_FOR);
        learnt.map_or(usize::MAX, |(cap, _)| cap)
    }

    /// Remembers that a broker refused a batch as too large. Returns the resulting cap: this one, or the remembered one
    /// if that is lower.
    pub(super) fn learn_cap(&self, cap: usize, now: Instant) -> usize {
        let cap = cap.min(self.cap(now));
        *lock(&self.cap) = Some((cap, now));
        cap
    }

    /// Updates the compression ratio from a batch: quickly upwards, slowly downwards, as in Java's
    /// `CompressionRatioEstimator`.
    pub(super) fn learn_compression(&self, plain_bytes: usize, compressed_bytes: usize) {
        let Some(seen) = (compressed_bytes as u64 * u64::from(MILLION)).checked_div(plain_bytes as u64) else { return };
        let seen = u32::try_from(seen).unwrap_or(u32::MAX).min(2 * MILLION);
        let old = self.ratio.load(Ordering::Relaxed);
        let new = if seen > old { seen.max(old + MILLION / 20) } else { seen.max(old.saturating_sub(MILLION / 200)) };
        self.ratio.store(new, Ordering::Relaxed);
    }
}

/// Returns the stripe of the current thread.
pub(super) fn stripe() -> usize {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    std::thread_local! {
        static STRIPE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
    }
    STRIPE.try_with(|stripe| *stripe).unwrap_or_default()
}
