//! A topic as senders see it: its partitions at this time, which of them is being filled, what compression leaves of it.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use kurier_partitioner::{Sticky, TopicView};

use super::{Partition, lock};
use crate::error::{Error, ErrorKind};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A topic to send to.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: Arc<str>,
    places: ArcSwap<Places>,
    /// Counts the changes of `places`; cheaper to look at twice than they are. [`RETIRED`] once the topic is forgotten.
    generation: AtomicU64,
    /// One for every few threads, since it is written with every record. Not there until a record without a key chooses
    /// between partitions: this is most of a topic's memory.
    sticky: OnceLock<Box<[Stripe; STRIPES]>>,
    /// How much compression leaves, in millionths.
    ratio: AtomicU32,
    /// The cap of its batches before compression, and when a broker last refused one as too large.
    cap: Mutex<Option<(usize, Instant)>>,
}

/// How long a topic's cap is remembered. By then somebody may have raised `max.message.bytes`.
const CAP_REMEMBERED_FOR: Duration = Duration::from_secs(600);

/// A topic's partitions at one time.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) partitions: Box<[Arc<Partition>]>,
    /// Those that have a leader.
    pub(super) available: Box<[i32]>,
    /// Those whose leader is in `client.rack`; empty where racks do not count.
    pub(super) in_rack: Box<[i32]>,
}

const STRIPES: usize = 8;

/// The generation of a topic that takes no more records.
pub(super) const RETIRED: u64 = u64::MAX;

/// On a cache line of its own, so that threads do not slow each other.
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

    /// Has every later append fail with `AppendError::Retired`. Call it under the locks of all partitions.
    pub(super) fn retire(&self) {
        self.generation.store(RETIRED, Ordering::Release);
    }

    /// Whether the topic was forgotten, so that it takes no more records.
    pub(crate) fn is_retired(&self) -> bool {
        self.generation() == RETIRED
    }

    pub(super) fn places(&self) -> Guard<Arc<Places>> {
        self.places.load()
    }

    /// How many partitions it has, as far as is known.
    pub(crate) fn partition_count(&self) -> usize {
        self.places().partitions.len()
    }

    /// Partitions whose leader is in `client.rack`.
    #[cfg(test)]
    pub(crate) fn in_rack(&self) -> Vec<i32> {
        self.places().in_rack.to_vec()
    }

    /// How many partitions it would need for this one to be there, if it is not.
    pub(crate) fn lacks(&self, partition: Option<i32>) -> Option<usize> {
        let wanted = usize::try_from(partition?).ok()?.checked_add(1)?;
        (self.partition_count() < wanted).then_some(wanted)
    }

    /// A number that is another after each change of the partitions.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The topic as a partitioner sees it; `None` while it has no partitions.
    pub(crate) fn with_view<T>(&self, see: impl FnOnce(&TopicView<'_>) -> T) -> Option<T> {
        let places = self.places();
        let count = i32::try_from(places.partitions.len()).ok()?;
        TopicView::new(&self.name, count, &places.available).map(|view| see(&view))
    }

    /// Which partition the threads of this stripe are filling.
    pub(super) fn sticky(&self, stripe: usize) -> &Sticky {
        &self.sticky.get_or_init(Box::default)[stripe % STRIPES].0
    }

    pub(super) fn no_partition(&self, place: i32) -> Error {
        let count = self.places().partitions.len();
        let text = format!("topic {} has no partition {place}: it has {count}, counted from 0", self.name);
        Error::new(ErrorKind::Partitioning, text)
    }

    /// How many bytes so many will be after compression, as far as can be told: a little more than was seen, as in Java.
    pub(super) fn compressed_bytes(&self, plain_bytes: usize) -> usize {
        let ratio = u64::from(self.ratio.load(Ordering::Relaxed));
        let estimated = plain_bytes as u64 * ratio / u64::from(MILLION) * 105 / 100;
        usize::try_from(estimated).unwrap_or(usize::MAX)
    }

    /// The cap of its batches before compression, without limit if none was learnt in the last ten minutes.
    pub(super) fn cap(&self, now: Instant) -> usize {
        let learnt = lock(&self.cap).filter(|(_, at)| now < *at + CAP_REMEMBERED_FOR);
        learnt.map_or(usize::MAX, |(cap, _)| cap)
    }

    /// Takes in that a broker refused a batch as too large, and returns the cap that follows: this one, or the lower one
    /// that is remembered.
    pub(super) fn learn_cap(&self, cap: usize, now: Instant) -> usize {
        let cap = cap.min(self.cap(now));
        *lock(&self.cap) = Some((cap, now));
        cap
    }

    /// Learns from a batch what compression leaves: quickly when it is more, slowly when it is less, as in Java's
    /// `CompressionRatioEstimator`.
    pub(super) fn learn_compression(&self, plain_bytes: usize, compressed_bytes: usize) {
        let Some(seen) = (compressed_bytes as u64 * u64::from(MILLION)).checked_div(plain_bytes as u64) else { return };
        let seen = u32::try_from(seen).unwrap_or(u32::MAX).min(2 * MILLION);
        let old = self.ratio.load(Ordering::Relaxed);
        let new = if seen > old { seen.max(old + MILLION / 20) } else { seen.max(old.saturating_sub(MILLION / 200)) };
        self.ratio.store(new, Ordering::Relaxed);
    }
}

/// The stripe of this thread.
pub(super) fn stripe() -> usize {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    std::thread_local! {
        static STRIPE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
    }
    STRIPE.try_with(|stripe| *stripe).unwrap_or_default()
}
