//! A topic as senders see it: its partitions, the partition that is being filled, and the compression ratio.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use kurier_partitioner::{Sticky, TopicView};
use kurier_protocol::PartitionIndex;

use super::directory::Identity;
use super::partition::{Partition, lock};
use super::table::Table;
use crate::error::{Error, ErrorKind};
use crate::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use crate::sync::{Mutex, OnceLock};

/// A topic that senders append to.
#[derive(Debug)]
pub struct Topic {
    pub name: Arc<str>,
    directory: Arc<Identity>,
    /// All partitions that the topic has had. Only those below `count` accept records.
    table: Table,
    /// The number of partitions; its complement, which is negative, once the topic accepts no more records. Senders read
    /// it under a partition's lock, to see a change that was made before the partition's last batch was taken.
    count: AtomicI32,
    places: ArcSwap<Places>,
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

/// A snapshot of a topic's partitions, for choices that are not made for every record.
#[derive(Debug)]
pub(super) struct Places {
    count: i32,
    /// The partitions that have a leader.
    pub(super) available: Box<[i32]>,
    /// The partitions whose leader is in `client.rack`; empty if racks do not count.
    pub(super) in_rack: Box<[i32]>,
}

const STRIPES: usize = 8;

/// A sticky partition on its own cache line, to avoid false sharing between threads.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe(Sticky);

const MILLION: u32 = 1_000_000;

impl Places {
    pub(super) fn new(partition_count: usize, available: Box<[i32]>, in_rack: Box<[i32]>) -> Self {
        // Kafka counts partitions in 31 bits.
        Self { count: i32::try_from(partition_count).unwrap_or(i32::MAX), available, in_rack }
    }
}

impl Topic {
    pub(super) fn new(
        name: Arc<str>,
        directory: &Arc<Identity>,
        partitions: &[Arc<Partition>],
        places: Places,
    ) -> Self {
        Self {
            name,
            directory: Arc::clone(directory),
            table: Table::from(partitions),
            count: AtomicI32::new(places.count),
            places: ArcSwap::from_pointee(places),
            sticky: OnceLock::default(),
            ratio: AtomicU32::new(MILLION),
            cap: Mutex::default(),
        }
    }

    pub(super) fn set_places(&self, partitions: &[Arc<Partition>], places: Places) {
        self.table.extend(partitions);
        let count = places.count;
        self.places.store(Arc::new(places));
        self.count.store(count, Ordering::Release);
    }

    /// Makes every later append fail with `AppendError::Retired`. The caller must hold the locks of all partitions.
    pub(super) fn retire(&self) {
        self.count.store(!self.count(), Ordering::Release);
    }

    /// Returns whether the topic belongs to this directory.
    pub(super) fn is_in(&self, directory: &Arc<Identity>) -> bool {
        Arc::ptr_eq(&self.directory, directory)
    }

    /// Returns whether the topic was removed, so that it accepts no more records.
    pub fn is_retired(&self) -> bool {
        self.count.load(Ordering::Acquire) < 0
    }

    pub(super) fn places(&self) -> Guard<Arc<Places>> {
        self.places.load()
    }

    /// Returns the number of known partitions.
    pub fn partition_count(&self) -> usize {
        usize::try_from(self.count()).unwrap_or_default()
    }

    /// Returns the number of partitions, or what it was when the topic was removed.
    #[inline]
    pub fn count(&self) -> i32 {
        let count = self.count.load(Ordering::Acquire);
        if count < 0 { !count } else { count }
    }

    /// Returns whether the topic has the partition of this index and accepts records.
    #[inline]
    pub(super) fn accepts(&self, index: i32) -> bool {
        (0..self.count.load(Ordering::Acquire)).contains(&index)
    }

    /// Returns the partition of this index, even if the topic does not have it any more.
    #[inline]
    pub(super) fn partition(&self, index: i32) -> Option<&Arc<Partition>> {
        self.table.get(usize::try_from(index).ok()?)
    }

    /// Returns the topic's partitions.
    pub(super) fn partitions(&self) -> impl Iterator<Item = &Arc<Partition>> {
        (0..self.count()).filter_map(|index| self.partition(index))
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

    /// Shows the topic to a partitioner; `None` while it has no partitions.
    pub fn with_view<T>(&self, see: impl FnOnce(&TopicView<'_>) -> T) -> Option<T> {
        let places = self.places();
        TopicView::new(&self.name, places.count, &places.available).map(|view| see(&view))
    }

    /// Returns the sticky partition of this stripe's threads.
    pub(super) fn sticky(&self, stripe: usize) -> &Sticky {
        &self.sticky.get_or_init(Box::default)[stripe % STRIPES].0
    }

    pub(super) fn no_partition(&self, place: i32) -> Error {
        let count = self.count();
        let text = format!("topic {} has no partition {place}: it has {count}, counted from 0", self.name);
        Error::new(ErrorKind::Partitioning, text)
    }

    /// Estimates the size before compression: by a ratio that is 5 % above the learnt one, as in Java.
    pub(super) fn plain_bytes(&self, compressed_bytes: usize) -> usize {
        let ratio = u128::from(self.ratio.load(Ordering::Relaxed).max(1)) * 105;
        let estimated = (compressed_bytes as u128 * u128::from(MILLION) * 100).div_ceil(ratio);
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
