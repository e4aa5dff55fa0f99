//! The end of batches: written, refused, expired or abandoned. Outcomes are reported in the order of the batches.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::batch::{Batch, key_of};
use super::failure::closed;
use super::obstacle::leaderless;
use super::{Partition, Sender};
use crate::accumulator::batch::Taken;
use crate::accumulator::{Left, PartitionId};
use crate::core::action::LocalAction;
use crate::core::connection::Peer;
use crate::core::context::Context;
use crate::core::key::Key;
use crate::delivery::Outcome;
use crate::error::{Error, ErrorKind, Stage};
use crate::fault_injection::Mutant;

impl Sender {
    /// Fails batches that are older than `delivery.timeout.ms`.
    pub(super) fn expire(&mut self, id: PartitionId, cx: &mut Context) {
        let (now, timeout) = (cx.now, cx.config.delivery_timeout);
        let is_old = |created: Instant| created + timeout <= now;
        let error = || {
            let text = format!("no outcome within delivery.timeout.ms, which is {}", timeout.as_millis());
            Error::new(ErrorKind::DeliveryTimeout, text)
        };
        let old = |keys: &BTreeSet<Key>, batches: &BTreeMap<Key, Batch>| -> Vec<Key> {
            let is_due = |key: &&Key| batches.get(key).is_some_and(|batch| is_old(batch.taken.created));
            keys.iter().filter(is_due).copied().collect()
        };
        let Some(partition) = self.partitions.get(&id) else { return };
        let (waiting, in_flight) = (old(&partition.waiting, &self.batches), old(&partition.in_flight, &self.batches));
        let open = partition.open;
        for key in waiting {
            let error = self.with_trouble(key, error());
            self.fail(id, key, error, cx);
        }
        for key in in_flight {
            let error = self.with_trouble(key, error());
            self.expire_in_flight(id, key, error, cx);
        }
        if let Some(open) = open
            && is_old(open.since)
            && !self.partition(id).is_taking
            && let Some(until) = now.checked_sub(timeout)
        {
            self.drain(id, until, &error(), cx);
        }
        // Close old batches, so that late records do not inherit their deadline.
        let growing_time = cx.config.growing_time();
        let partition = self.partition(id);
        if let Some(open) = partition.open
            && let Some(until) = now.checked_sub(growing_time)
            && open.since <= until
            && partition.closed_at.is_none_or(|closed| closed <= until)
        {
            // This also closes old batches behind the first. The next timer closes those that are still too young.
            partition.closed_at = Some(now);
            cx.push(LocalAction::CloseBatches { partition: id, until });
        }
    }

    /// Makes the batch's last failure the cause of an error.
    pub(super) fn with_trouble(&self, key: Key, error: Error) -> Error {
        match self.batches.get(&key).and_then(|batch| batch.trouble.as_ref()) {
            Some(trouble) => error.caused_by(trouble.error.clone()),
            None => error,
        }
    }

    /// Fails a batch in flight as unknown. It keeps its place in the sequence until its response arrives.
    pub(super) fn expire_in_flight(&mut self, id: PartitionId, key: Key, error: Error, cx: &mut Context) {
        let Some(batch) = self.batches.get_mut(&key) else { return };
        batch.is_maybe_written = !cx.faults.has(Mutant::ExpiredIsUnwritten);
        if cx.faults.has(Mutant::FreeAtExpiry) {
            batch.taken.count_as_free();
        }
        let error = batch.describe(error, Stage::InFlight, cx.now);
        self.partition(id).is_unsettled = true;
        self.complete(id, key, Outcome::Failed(error), cx);
    }

    /// Fails a batch that waits to be sent or retried.
    pub(super) fn fail(&mut self, id: PartitionId, key: Key, error: Error, cx: &mut Context) {
        let Some(batch) = self.batches.get(&key) else { return };
        let (is_stamped, is_maybe_written) = (batch.stamp.is_some(), batch.is_maybe_written);
        let error = self.explain(id, batch.describe(error, Stage::Backoff, cx.now), cx);
        let partition = self.partition(id);
        partition.waiting.remove(&key);
        if partition.waiting.is_empty() {
            // The backoff was for the failed batches. The next batch need not wait for it.
            partition.retry_at = None;
        }
        partition.is_unsettled |= is_maybe_written;
        if is_stamped {
            partition.line.break_off(key);
        }
        self.complete(id, key, Outcome::Failed(error), cx);
    }

    /// If a batch expired before its first attempt, adds the reason to the error.
    pub(super) fn explain(&self, id: PartitionId, error: Error, cx: &Context) -> Error {
        if error.attempts() > 0 || error.kind() != ErrorKind::DeliveryTimeout {
            return error;
        }
        let Some(place) = cx.metadata.place(id) else { return error };
        match place.leader {
            None => error.caused_by(leaderless(place, cx)),
            Some(node) => match cx.connections.trouble(Peer::Node(node)) {
                Some(trouble) => error.because("cannot reach the partition's leader").caused_by(trouble),
                None => error.because("the partition's leader did not accept the batch in time"),
            },
        }
    }

    pub(super) fn complete(&mut self, id: PartitionId, key: Key, outcome: Outcome, cx: &mut Context) {
        let Some(batch) = self.batches.remove(&key) else { return };
        self.partition(id).untold.insert(key, (batch.taken, outcome));
        self.tell(id, cx);
    }

    /// Reports the known outcomes, the oldest batch's first.
    pub(super) fn tell(&mut self, id: PartitionId, cx: &mut Context) {
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        let Partition { untold, waiting, in_flight, splitting, .. } = partition;
        // A batch that expired in flight has been reported already.
        let in_flight = in_flight.iter().find(|key| self.batches.contains_key(key));
        let oldest = [waiting.first(), in_flight, splitting.first()].into_iter().flatten().min();
        while let Some(next) = untold.first_entry()
            && oldest.is_none_or(|oldest| next.key() < oldest)
        {
            let (key, (batch, outcome)) = next.remove_entry();
            let mut pieces = self.batches.range(Key { batch: key.batch, first_record: 0 }..).map(|(key, _)| key);
            let is_piece = |other: &Key| other.batch == key.batch;
            let is_last = !pieces.next().is_some_and(is_piece) && !untold.keys().next().is_some_and(is_piece);
            let is_last = is_last || cx.faults.has(Mutant::SplitCountsOnce);
            cx.push(LocalAction::Complete { partition: id, batch, outcome, is_last });
        }
        partition.release();
    }

    /// Completes a batch that was refused for good.
    pub(super) fn refuse(&mut self, id: PartitionId, key: Key, outcome: Outcome, cx: &mut Context) {
        let Some(batch) = self.batches.get(&key) else { return };
        let outcome = outcome.map_errors(|error| batch.describe(error, Stage::InFlight, cx.now));
        let is_maybe_written = batch.is_maybe_written;
        let partition = self.partition(id);
        partition.is_unsettled |= is_maybe_written;
        partition.line.break_off(key);
        self.complete(id, key, outcome, cx);
    }

    pub(super) fn fail_waiting(&mut self, id: PartitionId, error: &Error, cx: &mut Context) {
        let keys: Vec<Key> = self.partition(id).waiting.iter().copied().collect();
        for key in keys {
            self.fail(id, key, error.clone(), cx);
        }
    }

    /// Fails a partition's waiting batches, and takes its open batches to fail them.
    pub(super) fn fail_unsent(&mut self, id: PartitionId, error: &Error, cx: &mut Context) {
        self.fail_waiting(id, error, cx);
        self.drain(id, cx.now, error, cx);
    }

    /// Takes a partition's open batches to fail them.
    pub(super) fn drain(&mut self, id: PartitionId, until: Instant, why: &Error, cx: &mut Context) {
        let partition = self.partition(id);
        partition.open = None;
        cx.push(LocalAction::Drain { partition: id, until, why: why.clone() });
    }

    pub(crate) fn handle_drained(
        &mut self,
        id: PartitionId,
        batches: Vec<Taken>,
        left: Option<Left>,
        why: &Error,
        cx: &mut Context,
    ) {
        for taken in batches {
            let batch = Batch::new(taken);
            let error = self.explain(id, batch.describe(why.clone(), Stage::Queued, cx.now), cx);
            self.partition(id).untold.insert(key_of(&batch.taken), (batch.taken, Outcome::Failed(error)));
        }
        self.tell(id, cx);
        let partition = self.partition(id);
        partition.open = left.or(partition.open);
        self.review(id, cx);
    }

    /// Stops sending, and fails all batches.
    pub(crate) fn abandon(&mut self, cx: &mut Context) {
        self.is_abandoned = true;
        for id in self.ids() {
            self.fail_waiting(id, &closed(), cx);
            let keys: Vec<Key> = self.partition(id).in_flight.iter().copied().collect();
            for key in keys {
                self.expire_in_flight(id, key, closed(), cx);
            }
            // A batch that is being taken is older than the open ones, so its outcome must come first.
            if !self.partition(id).is_taking {
                self.drain(id, cx.now, &closed(), cx);
            }
        }
    }
}
