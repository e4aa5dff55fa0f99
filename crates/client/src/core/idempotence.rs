//! Under which producer id, epoch and sequence a partition's batches go out (KIP-98, KIP-360), each partition by itself.
//!
//! ```text
//!             an id                    first acknowledgement
//!   Nameless ───────▶ Open, one batch ──────────────────────▶ Open, up to five
//!       ▲                │ ▲                                       │
//!       │ epochs used up │ └─ epoch + 1, sequence 0 ── drained ◀── Broken: a sequence is missing in the log
//!       └────────────────┴─────────────────────────────────────────┘
//! ```
//!
//! What was sent before the sequence that is missing is not concerned: it goes on under its own sequences until it has
//! its outcome, and only then does the line go on under the next epoch.
//!
//! Brokers check the sequences of each partition's log, whatever the others' epochs are; so a partition whose line of
//! sequences is broken is drained and goes on under its own next epoch, and no other is touched. What may be in the log
//! unseen is never sent under another epoch: it would be there twice.

use std::time::{Duration, Instant};

use kurier_protocol::messages::InitProducerIdResponse;
use kurier_protocol::record_batch::{ProducerEpoch, ProducerId, Sequence, Stamp};
use kurier_protocol::{ErrorCode, Reaction};

use super::Key;
use super::backoff::Backoff;
use crate::config::Config;
use crate::simulation::{Mutant, first_sequence};

/// Whose sequences they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: ProducerId,
    pub(crate) epoch: ProducerEpoch,
}

/// A partition's line of sequences.
#[derive(Debug, Default)]
pub(crate) struct Line {
    identity: Option<Identity>,
    next: Option<Sequence>,
    /// When the partition last acknowledged a batch; `None` closes the gate: brokers before Kafka 4.5 take any first
    /// sequence of a producer that they do not know, so a second batch must not overtake the first (KAFKA-15591).
    acknowledged_at: Option<Instant>,
    /// The first batch whose sequences are of no use, or are missing.
    broken_from: Option<Key>,
    /// Whether even the next epoch of this id would be refused.
    needs_new_id: bool,
    /// Whether something of an earlier epoch may yet arrive: nothing of the current one is in the log, which would keep
    /// it out.
    is_unfenced: bool,
    /// Not before then may a new id be taken: it does not fence the old one, of which something may still arrive.
    not_before: Option<Instant>,
}

/// A partition that was silent for so long is taken for one that forgot us.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

impl Line {
    pub(crate) fn is_broken(&self) -> bool {
        self.broken_from.is_some()
    }

    /// Whether a batch goes, or goes again, under the sequences that it has.
    pub(crate) fn is_whole_before(&self, batch: Option<&Key>) -> bool {
        self.broken_from.is_none_or(|from| batch.is_some_and(|batch| *batch < from))
    }

    /// Whether batches can be given sequences, as far as this partition goes.
    pub(crate) fn has_identity(&self) -> bool {
        self.identity.is_some()
    }

    /// The id and epoch that batches go under.
    pub(crate) fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// Whether something of an earlier epoch may yet arrive.
    pub(crate) fn is_unfenced(&self) -> bool {
        self.is_unfenced
    }

    /// When a new id may be taken.
    pub(crate) fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    /// Goes on under this id, of which the partition knows nothing; one that it has had before is of no use.
    pub(crate) fn begin(&mut self, identity: Identity) {
        self.close_gate();
        self.identity = Some(identity);
        self.next = Some(first_sequence(identity.epoch));
        (self.needs_new_id, self.is_unfenced, self.not_before) = (false, false, None);
    }

    /// Gives a batch its sequences.
    pub(crate) fn stamp(&mut self, record_count: i32) -> Option<Stamp> {
        let (identity, first) = (self.identity?, self.next?);
        self.next = Some(match Mutant::SequenceOverflows.is_on() {
            true => Sequence(first.0.wrapping_add(record_count)),
            false => first.after(record_count),
        });
        Some(Stamp::idempotent(identity.id, identity.epoch, first))
    }

    /// Begins at sequence 0 again, which is wrong under the same epoch.
    pub(crate) fn reset(&mut self) {
        self.next = self.next.and(Some(Sequence::FIRST));
    }

    /// How many batches may be unacknowledged.
    pub(crate) fn window(&self, max_in_flight: usize, now: Instant) -> usize {
        let is_open = self.acknowledged_at.is_some_and(|at| now < at + FORGOTTEN_AFTER);
        if is_open || Mutant::NoGate.is_on() { max_in_flight } else { 1 }
    }

    /// A batch was acknowledged. One of a line that has broken off says nothing of the next: it may even have gone to
    /// another topic of the same name.
    pub(crate) fn acknowledge(&mut self, now: Instant) {
        if !self.is_broken() {
            self.acknowledged_at = Some(now);
            self.is_unfenced = false;
        }
    }

    /// The partition's log may know nothing of us.
    pub(crate) fn close_gate(&mut self) {
        self.acknowledged_at = None;
    }

    /// The sequences of this batch are missing, or may be: it and what follows is not sent until the line is mended.
    pub(crate) fn break_off(&mut self, from: Key) {
        if self.identity.is_some() {
            self.broken_from = Some(self.broken_from.map_or(from, |before| before.min(from)));
        }
    }

    /// As [`break_off`](Self::break_off), when a newer epoch of this id is known to the partition than ours.
    pub(crate) fn break_with_id(&mut self, from: Key) {
        self.break_off(from);
        self.needs_new_id = true;
    }

    /// Goes on from sequence 0 under the next epoch, once nothing is in flight. `is_unsettled` tells whether a batch of
    /// the old epoch may yet arrive.
    pub(crate) fn mend(&mut self, is_unsettled: bool, delivery_timeout: Duration, now: Instant) {
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

/// Where ids come from: brokers give them.
#[derive(Debug)]
pub(crate) struct ProducerIds {
    is_enabled: bool,
    backoff: Backoff,
    current: Option<Identity>,
    is_under_way: bool,
    failures: u32,
    not_before: Instant,
}

impl ProducerIds {
    pub(crate) fn new(config: &Config, now: Instant) -> Self {
        Self {
            is_enabled: config.enable_idempotence,
            backoff: Backoff { first: config.retry_backoff, longest: config.retry_backoff_max },
            current: None,
            is_under_way: false,
            failures: 0,
            not_before: now,
        }
    }

    /// Whether batches bear sequences at all.
    pub(crate) fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// The id to begin with, and the epoch: above that of every partition that was [forgotten](Self::forget).
    pub(crate) fn current(&self) -> Option<Identity> {
        self.current
    }

    /// A partition's sequences are forgotten. When it comes back, it looks like a new one, so every partition that begins
    /// from now on begins at a later epoch; when there is none, under another id.
    pub(crate) fn forget(&mut self, identity: Identity) {
        let Some(current) = self.current.as_mut().filter(|current| current.id == identity.id) else { return };
        if Mutant::EpochFloorIgnored.is_on() {
            return;
        }
        match identity.epoch.0.checked_add(1) {
            Some(next) => current.epoch.0 = current.epoch.0.max(next),
            None => self.current = None,
        }
    }

    /// The current id is no good for a partition; the next one gets another.
    pub(crate) fn discard(&mut self) {
        self.current = None;
    }

    /// When a broker may be asked for an id, if something waits for one; `None` while one is asked.
    pub(crate) fn next_ask(&self) -> Option<Instant> {
        (!self.is_under_way).then_some(self.not_before)
    }

    pub(crate) fn asked(&mut self) {
        self.is_under_way = true;
    }

    /// Whoever was asked is slow: another may be asked beside it. Of two ids that come, the later one is begun with next.
    pub(crate) fn ask_another(&mut self) {
        self.is_under_way = false;
    }

    /// Takes an answer in. An error is a refusal that asking again does not change.
    pub(crate) fn handle_response(
        &mut self,
        response: &InitProducerIdResponse,
        now: Instant,
        random: &mut fastrand::Rng,
    ) -> Result<(), ErrorCode> {
        self.is_under_way = false;
        let code = response.error_code;
        if code.is_none() && response.producer_id >= 0 && response.producer_epoch >= 0 {
            let (id, epoch) = (ProducerId(response.producer_id), ProducerEpoch(response.producer_epoch));
            self.current = Some(Identity { id, epoch });
            self.failures = 0;
            return Ok(());
        }
        self.handle_failure(now, random);
        let may_change = code.is_none() || code.is_retriable() || code.reaction() == Reaction::FindCoordinator;
        if may_change { Ok(()) } else { Err(code) }
    }

    pub(crate) fn handle_failure(&mut self, now: Instant, random: &mut fastrand::Rng) {
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
    fn sequences_run_on_and_begin_anew_under_the_next_epoch() {
        let mut line = Line::default();
        assert_eq!(line.stamp(3), None);
        line.begin(identity(7, 0));
        let stamp = |id, epoch, first| Some(Stamp::idempotent(ProducerId(id), ProducerEpoch(epoch), Sequence(first)));
        assert_eq!((line.stamp(3), line.stamp(2)), (stamp(7, 0, 0), stamp(7, 0, 3)));
        line.break_off(Key::FIRST);
        line.mend(true, Duration::from_secs(120), now());
        assert_eq!((line.stamp(1), line.is_broken()), (stamp(7, 1, 0), false));
    }

    #[test]
    fn an_id_whose_epochs_are_used_up_is_left_but_not_while_something_of_it_may_arrive() {
        let (start, patience) = (now(), Duration::from_secs(120));
        for (is_unsettled, not_before) in [(false, None), (true, Some(start + patience))] {
            let mut line = Line::default();
            line.begin(identity(7, i16::MAX));
            line.break_off(Key::FIRST);
            line.mend(is_unsettled, patience, start);
            assert_eq!((line.has_identity(), line.not_before()), (false, not_before));
        }
    }

    #[test]
    fn what_may_arrive_of_an_epoch_is_kept_out_by_the_next_once_that_is_acknowledged() {
        let (start, patience) = (now(), Duration::from_secs(120));
        for (is_acknowledged, not_before) in [(true, None), (false, Some(start + patience))] {
            let mut line = Line::default();
            line.begin(identity(7, i16::MAX - 1));
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
    fn a_partition_begins_above_the_epochs_of_those_that_were_forgotten() {
        let mut ids = ProducerIds::new(&Config::default(), now());
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
        line.begin(identity(8, 0));
        assert_eq!(line.window(5, start), 1, "of another id nothing is known");
    }
}
