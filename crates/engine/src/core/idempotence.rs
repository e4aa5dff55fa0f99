//! Producer ids, epochs and sequence numbers, kept for each partition separately (KIP-98, KIP-360).
//!
//! ```text
//!             an id                    first acknowledgement
//!   Nameless ───────▶ Open, one batch ──────────────────────▶ Open, up to five
//!       ▲                │ ▲                                       │
//!       │ epochs used up │ └─ epoch + 1, sequence 0 ── drained ◀── Broken: a sequence is missing in the log
//!       └────────────────┴─────────────────────────────────────────┘
//! ```
//!
//! A missing sequence number does not affect the batches before it. They keep their sequence numbers until they have
//! their outcome. Only then does the partition continue under the next epoch.
//!
//! Brokers check sequence numbers for each partition's log separately, whatever the epochs in other logs. So a
//! partition with a broken sequence is drained and continues under its own next epoch, and other partitions are not
//! affected. A batch that may be in the log is never sent under another epoch, because that could write it twice.

use std::time::{Duration, Instant};

use kurier_protocol::messages::InitProducerIdResponse;
use kurier_protocol::record_batch::{ProducerEpoch, ProducerId, Sequence, Stamp};
use kurier_protocol::{ErrorCode, Reaction};

use super::backoff::Backoff;
use super::key::Key;
use crate::config::Config;
use crate::fault_injection::{FaultInjection, Mutant};

/// A producer id and epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub id: ProducerId,
    pub epoch: ProducerEpoch,
}

/// The sequence state of one partition.
#[derive(Debug, Default)]
pub(super) struct Line {
    identity: Option<Identity>,
    next: Option<Sequence>,
    /// When the partition last acknowledged a batch. `None` closes the gate, so that only one batch may be in flight:
    /// brokers before Kafka 4.5 accept any first sequence number of a producer that they do not know, so a second batch
    /// must not overtake the first (KAFKA-15591).
    acknowledged_at: Option<Instant>,
    /// The first batch whose sequence numbers are unusable, or missing in the log.
    broken_from: Option<Key>,
    /// Whether brokers would refuse even the next epoch of this id.
    needs_new_id: bool,
    /// Whether a batch of an earlier epoch may still be written. A batch of the current epoch in the log fences the
    /// earlier epoch, and there is none yet.
    is_unfenced: bool,
    /// The earliest time to take a new id. A new id does not fence the old one, whose batches may still arrive.
    not_before: Option<Instant>,
}

/// After this long without an acknowledgement, assume that the partition has forgotten this producer.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

impl Line {
    pub(super) fn is_broken(&self) -> bool {
        self.broken_from.is_some()
    }

    /// Returns whether the batch may be sent with its current sequence numbers.
    pub(super) fn is_whole_before(&self, batch: Option<&Key>) -> bool {
        self.broken_from.is_none_or(|from| batch.is_some_and(|batch| *batch < from))
    }

    /// Returns whether the partition has an id and epoch, so that its batches can get sequence numbers.
    pub(super) fn has_identity(&self) -> bool {
        self.identity.is_some()
    }

    /// Returns the current id and epoch.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// Returns whether a batch of an earlier epoch may still be written.
    pub(super) fn is_unfenced(&self) -> bool {
        self.is_unfenced
    }

    /// Returns the earliest time to take a new id.
    pub(super) fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    /// Starts with an id that is new to the partition. An id that it had before must not be used again.
    pub(super) fn begin(&mut self, identity: Identity, first: Sequence) {
        self.close_gate();
        self.identity = Some(identity);
        self.next = Some(first);
        (self.needs_new_id, self.is_unfenced, self.not_before) = (false, false, None);
    }

    /// Assigns sequence numbers to the next batch.
    pub(super) fn stamp(&mut self, record_count: i32, faults: FaultInjection) -> Option<Stamp> {
        let (identity, first) = (self.identity?, self.next?);
        self.next = Some(match faults.has(Mutant::SequenceOverflows) {
            true => Sequence(first.0.wrapping_add(record_count)),
            false => first.after(record_count),
        });
        Some(Stamp::idempotent(identity.id, identity.epoch, first))
    }

    /// Restarts at sequence 0 under the same epoch, which is wrong. Only a mutant calls this.
    pub(super) fn reset(&mut self) {
        self.next = self.next.and(Some(Sequence::FIRST));
    }

    /// Returns how many batches may be unacknowledged.
    pub(super) fn window(&self, max_in_flight: usize, now: Instant) -> usize {
        let is_open = self.acknowledged_at.is_some_and(|at| now < at + FORGOTTEN_AFTER);
        if is_open { max_in_flight } else { 1 }
    }

    /// Notes an acknowledgement. While the sequence is broken it has no effect: that batch may have gone to an earlier
    /// topic of the same name.
    pub(super) fn acknowledge(&mut self, now: Instant) {
        if !self.is_broken() {
            self.acknowledged_at = Some(now);
            self.is_unfenced = false;
        }
    }

    /// Allows one batch at a time, because the partition's log may not know this producer.
    pub(super) fn close_gate(&mut self) {
        self.acknowledged_at = None;
    }

    /// Breaks the sequence at a batch whose sequence numbers are or may be missing in the log. That batch and later
    /// ones are not sent until [`mend`](Self::mend).
    pub(super) fn break_off(&mut self, from: Key) {
        if self.identity.is_some() {
            self.broken_from = Some(self.broken_from.map_or(from, |before| before.min(from)));
        }
    }

    /// Like [`break_off`](Self::break_off), when the partition knows a newer epoch of this id.
    pub(super) fn break_with_id(&mut self, from: Key) {
        self.break_off(from);
        self.needs_new_id = true;
    }

    /// Continues at sequence 0 under the next epoch, once no batch is in flight. `is_unsettled` is whether a batch of
    /// the old epoch may still arrive.
    pub(super) fn mend(&mut self, is_unsettled: bool, delivery_timeout: Duration, now: Instant) {
        self.broken_from = None;
        self.is_unfenced |= is_unsettled;
        self.next = Some(Sequence::FIRST);
        let next = self.identity.and_then(|Identity { id, epoch }| {
            let epoch = ProducerEpoch(epoch.0.checked_add(1)?);
            (!self.needs_new_id).then_some(Identity { id, epoch })
        });
        if next.is_none() {
            self.not_before = self.is_unfenced.then(|| now + delivery_timeout);
        }
        self.identity = next;
    }
}

/// Source of producer ids, which brokers assign.
#[derive(Debug)]
pub(super) struct ProducerIds {
    is_enabled: bool,
    backoff: Backoff,
    /// The first sequence number under a new producer id. Brokers accept any; only tests choose another than 0.
    first_sequence: Sequence,
    current: Option<Identity>,
    /// Whether the current epoch is the one that the broker assigned.
    is_fresh: bool,
    is_under_way: bool,
    failures: u32,
    not_before: Instant,
}

impl ProducerIds {
    pub(super) fn new(config: &Config, first_sequence: Sequence, now: Instant) -> Self {
        Self {
            is_enabled: config.enable_idempotence,
            backoff: Backoff { first: config.retry_backoff, longest: config.retry_backoff_max },
            first_sequence,
            current: None,
            is_fresh: false,
            is_under_way: false,
            failures: 0,
            not_before: now,
        }
    }

    /// Returns whether batches have sequence numbers at all.
    pub(super) fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// Returns the id and epoch for partitions that start now. The epoch is above that of every
    /// [forgotten](Self::forget) partition.
    pub(super) fn current(&self) -> Option<Identity> {
        self.current
    }

    /// Returns the first sequence number for partitions that start now. A later epoch of a known id must begin at 0.
    pub(super) fn first_sequence(&self) -> Sequence {
        if self.is_fresh { self.first_sequence } else { Sequence::FIRST }
    }

    /// Drops a partition's sequence state. If the partition comes back, it looks like a new one. So every partition
    /// that starts from now on gets a later epoch, or another id when there is no later epoch.
    pub(super) fn forget(&mut self, identity: Identity) {
        let Some(current) = self.current.as_mut().filter(|current| current.id == identity.id) else { return };
        match identity.epoch.0.checked_add(1) {
            Some(next) if next > current.epoch.0 => {
                current.epoch.0 = next;
                self.is_fresh = false;
            }
            Some(_) => {}
            None => self.current = None,
        }
    }

    /// Drops the current id, because a partition cannot use it. The next one gets another.
    pub(super) fn discard(&mut self) {
        self.current = None;
    }

    /// Returns when a broker may be asked for an id; `None` while a request is unanswered.
    pub(super) fn next_ask(&self) -> Option<Instant> {
        (!self.is_under_way).then_some(self.not_before)
    }

    pub(super) fn asked(&mut self) {
        self.is_under_way = true;
    }

    /// Allows a request to another node, because the first one is slow. If two ids arrive, the later one is used next.
    pub(super) fn ask_another(&mut self) {
        self.is_under_way = false;
    }

    /// Applies a response. An error is a refusal that a retry does not change.
    pub(super) fn handle_response(
        &mut self,
        response: &InitProducerIdResponse,
        now: Instant,
        random: &mut fastrand::Rng,
    ) -> Result<(), ErrorCode> {
        self.is_under_way = false;
        let code = response.error_code;
        if code.is_none() && response.producer_id >= 0 && response.producer_epoch >= 0 {
            let (id, epoch) = (ProducerId(response.producer_id), ProducerEpoch(response.producer_epoch));
            (self.current, self.is_fresh) = (Some(Identity { id, epoch }), true);
            self.failures = 0;
            return Ok(());
        }
        self.handle_failure(now, random);
        let may_change = code.is_none() || code.is_retriable() || code.reaction() == Reaction::FindCoordinator;
        if may_change { Ok(()) } else { Err(code) }
    }

    pub(super) fn handle_failure(&mut self, now: Instant, random: &mut fastrand::Rng) {
        self.is_under_way = false;
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + self.backoff.after(self.failures, random);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn now() -> Instant {
        Instant::now()
    }

    fn identity(id: i64, epoch: i16) -> Identity {
        Identity { id: ProducerId(id), epoch: ProducerEpoch(epoch) }
    }

    #[test]
    fn sequences_restart_under_next_epoch() {
        let mut line = Line::default();
        assert_eq!(line.stamp(3, FaultInjection::NONE), None);
        line.begin(identity(7, 0), Sequence::FIRST);
        let stamp = |id, epoch, first| Some(Stamp::idempotent(ProducerId(id), ProducerEpoch(epoch), Sequence(first)));
        assert_eq!(
            (line.stamp(3, FaultInjection::NONE), line.stamp(2, FaultInjection::NONE)),
            (stamp(7, 0, 0), stamp(7, 0, 3))
        );
        line.break_off(Key::FIRST);
        line.mend(true, Duration::from_secs(120), now());
        assert_eq!((line.stamp(1, FaultInjection::NONE), line.is_broken()), (stamp(7, 1, 0), false));
    }

    #[test]
    fn used_up_id_is_replaced_once_no_batch_of_it_can_arrive() {
        let (start, patience) = (now(), Duration::from_secs(120));
        for (is_unsettled, not_before) in [(false, None), (true, Some(start + patience))] {
            let mut line = Line::default();
            line.begin(identity(7, i16::MAX), Sequence::FIRST);
            line.break_off(Key::FIRST);
            line.mend(is_unsettled, patience, start);
            assert_eq!((line.has_identity(), line.not_before()), (false, not_before));
        }
    }

    #[test]
    fn acknowledged_batch_fences_earlier_epoch() {
        let (start, patience) = (now(), Duration::from_secs(120));
        for (is_acknowledged, not_before) in [(true, None), (false, Some(start + patience))] {
            let mut line = Line::default();
            line.begin(identity(7, i16::MAX - 1), Sequence::FIRST);
            line.break_off(Key::FIRST);
            line.mend(true, patience, start);
            if is_acknowledged {
                line.acknowledge(start);
            }
            line.break_off(Key::FIRST);
            line.mend(false, patience, start);
            assert_eq!((line.has_identity(), line.not_before()), (false, not_before));
        }
    }

    #[test]
    fn new_partition_starts_above_forgotten_epochs() {
        let mut ids = ProducerIds::new(&Config::default(), Sequence::FIRST, now());
        for (current, forgotten, expected) in [
            (identity(7, 0), identity(7, 0), Some(identity(7, 1))),
            (identity(7, 3), identity(7, 1), Some(identity(7, 3))),
            (identity(7, 3), identity(7, 8), Some(identity(7, 9))),
            (identity(7, 3), identity(6, 8), Some(identity(7, 3))),
            (identity(7, 3), identity(7, i16::MAX), None),
        ] {
            ids.current = Some(current);
            ids.forget(forgotten);
            assert_eq!(ids.current(), expected, "{forgotten:?}");
        }
    }

    #[test]
    fn one_batch_at_a_time_until_the_first_is_acknowledged() {
        let start = now();
        let mut line = Line::default();
        assert_eq!(line.window(5, start), 1);
        line.acknowledge(start);
        assert_eq!(line.window(5, start), 5);
        assert_eq!(line.window(5, start + FORGOTTEN_AFTER), 1);
        line.close_gate();
        assert_eq!(line.window(5, start), 1);
        line.acknowledge(start);
        line.begin(identity(8, 0), Sequence::FIRST);
        assert_eq!(line.window(5, start), 1, "of another id nothing is known");
    }
}
