//! Handling of Produce responses: complete, retry or split each batch.

use std::collections::HashMap;
use std::time::Duration;

use kurier_protocol::messages::ProduceResponse;
use kurier_protocol::messages::produce::PartitionProduceResponse;
use kurier_protocol::record_batch::Stamp;
use kurier_protocol::{ErrorCode, PartitionIndex, Reaction, Uuid};

use super::batch::{Trouble, key_of};
use super::{Partition, Sender};
use crate::accumulator::PartitionId;
use crate::accumulator::batch::Taken;
use crate::config::Acks;
use crate::core::action::LocalAction;
use crate::core::backoff::Backoff;
use crate::core::connection::Peer;
use crate::core::context::Context;
use crate::core::key::Key;
use crate::core::question::Sent;
use crate::core::response::{Verdict, refused, verdict};
use crate::delivery::Outcome;
use crate::error::{Cause, Error, ErrorKind};
use crate::fault_injection::Mutant;

impl Sender {
    /// Completes the batches of a request with acks=0 once its last byte is written. No response will follow.
    pub(crate) fn handle_sent(&mut self, sent: Vec<Sent>, cx: &mut Context) {
        for Sent { partition, key, .. } in sent {
            self.partition(partition).in_flight.remove(&key);
            let outcome = Outcome::Written { base_offset: None, log_append_time: None, is_acknowledged: false };
            self.complete(partition, key, outcome, cx);
            self.review(partition, cx);
        }
    }

    /// Handles a request that gets no response.
    pub(crate) fn handle_lost(&mut self, sent: Vec<Sent>, is_written: bool, peer: Peer, why: &Cause, cx: &mut Context) {
        for Sent { partition, key, .. } in sent {
            self.lose(partition, key, is_written, peer, why, cx);
        }
    }

    fn lose(&mut self, id: PartitionId, key: Key, is_written: bool, peer: Peer, why: &Cause, cx: &mut Context) {
        self.partition(id).in_flight.remove(&key);
        match self.batches.get_mut(&key) {
            Some(batch) => {
                batch.is_maybe_written |= is_written;
                let node = cx.connections.name(peer);
                let error = Error::new(ErrorKind::Network, "no response").caused_by(why.clone());
                batch.trouble = Some(Trouble { node, error });
                // With acks=0 a broker cannot detect duplicates, so a frame that may have been sent is not sent again.
                if is_written && cx.config.acks == Acks::None && !cx.faults.has(Mutant::ResendWithoutAnswers) {
                    let text = "the connection ended before the request was completely written";
                    let error = Error::new(ErrorKind::Network, text).caused_by(why.clone());
                    self.refuse(id, key, Outcome::Failed(error), cx);
                } else {
                    self.retry(id, key, true, cx);
                }
            }
            // The batch expired in flight, and now its response will never come.
            None => self.partition(id).line.break_off(key),
        }
        self.review(id, cx);
    }

    /// Schedules a retry, unless `retries` is used up. That limit does not apply to a batch that may be written and has
    /// sequence numbers: a retry can only reveal its outcome, while giving up leaves the outcome unknown and may leave
    /// a gap. Without sequence numbers each retry could write the records again, so the limit holds.
    fn retry(&mut self, id: PartitionId, key: Key, with_backoff: bool, cx: &mut Context) {
        let Some(batch) = self.batches.get(&key) else { return };
        let (attempts, trouble) = (batch.own_attempts(), batch.trouble.clone());
        let is_limited = !batch.is_maybe_written || !cx.ids.is_enabled();
        self.partition(id).waiting.insert(key);
        if attempts > cx.config.retries && is_limited {
            let is_refused = trouble.is_some_and(|trouble| trouble.error.error_code().is_some());
            let kind = if is_refused { ErrorKind::Refused } else { ErrorKind::Network };
            let text = format!("no attempt succeeded within retries, which is {}", cx.config.retries);
            let error = self.with_trouble(key, Error::new(kind, text));
            return self.fail(id, key, error, cx);
        }
        let backoff = Backoff { first: cx.config.retry_backoff, longest: cx.config.retry_backoff_max };
        let wait = if with_backoff { backoff.after(attempts, &mut cx.random) } else { Duration::ZERO };
        let partition = self.partition(id);
        // The first waiting batch sets the time, because later batches are sent after it anyway.
        if partition.waiting.first() == Some(&key) || partition.retry_at.is_none() {
            partition.retry_at = Some(cx.now + wait);
        }
    }

    /// Handles a Produce response. Fails if the response omits batches, which may or may not be written.
    pub(crate) fn handle_response(
        &mut self,
        sent: Vec<Sent>,
        response: &ProduceResponse,
        peer: Peer,
        cx: &mut Context,
    ) -> Result<(), Cause> {
        let mut by_name = HashMap::new();
        let mut by_id = HashMap::new();
        for topic in &response.responses {
            for answer in &topic.partition_responses {
                let index = PartitionIndex(answer.index);
                // If a partition is listed twice, its first entry counts.
                if topic.topic_id == Uuid::ZERO {
                    by_name.entry((topic.name.as_str(), index)).or_insert(answer);
                } else {
                    by_id.entry((topic.topic_id, index)).or_insert(answer);
                }
            }
        }
        let mut passed_over = 0;
        for Sent { partition, key, topic, topic_id, index } in sent {
            let by_its_name = || by_name.get(&(&*topic, index));
            match by_id.get(&(topic_id, index)).or_else(by_its_name).copied() {
                Some(answer) => self.handle_answer(partition, key, answer, response, peer, cx),
                None => {
                    passed_over += 1;
                    let why = Cause::from("the response omits this partition");
                    self.lose(partition, key, true, peer, &why, cx);
                }
            }
        }
        match passed_over {
            0 => Ok(()),
            _ => Err(Cause::from(format!("its Produce response omits {passed_over} partitions"))),
        }
    }

    fn handle_answer(
        &mut self,
        id: PartitionId,
        key: Key,
        answer: &PartitionProduceResponse,
        response: &ProduceResponse,
        peer: Peer,
        cx: &mut Context,
    ) {
        let code = answer.error_code;
        let is_idempotent = cx.ids.is_enabled();
        let partition = self.partition(id);
        partition.in_flight.remove(&key);
        let is_before = |other: Option<&Key>| other.is_some_and(|other| *other < key);
        let Partition { in_flight, waiting, splitting, .. } = partition;
        let is_head = ![in_flight, waiting, splitting].into_iter().any(|keys| is_before(keys.first()))
            || cx.faults.has(Mutant::BreakOnAnyGap);
        let Some(batch) = self.batches.get_mut(&key) else {
            // The batch expired in flight, and its sender already has the outcome.
            let partition = self.partition(id);
            match code {
                ErrorCode::NONE | ErrorCode::DUPLICATE_SEQUENCE_NUMBER => partition.line.acknowledge(cx.now),
                _ => {
                    // An expired batch at the head may also reveal that the broker has forgotten this producer.
                    if code.reaction() == Reaction::Resequence && is_head {
                        partition.line.close_gate();
                    }
                    partition.line.break_off(key);
                }
            }
            return self.review(id, cx);
        };
        let topic_id = batch.topic_id;
        let asked = batch.asked(is_idempotent, is_head);
        let verdict = verdict(answer, asked, cx.faults);
        if !matches!(verdict, Verdict::Written(_)) {
            batch.is_maybe_written |= !code.is_unwritten();
            let error = Error::refused(code, answer.error_message.as_deref());
            batch.trouble = Some(Trouble { node: cx.connections.name(peer), error });
        }
        if code.refreshes_metadata() {
            cx.metadata.doubt();
            if let Peer::Node(node) = peer {
                cx.metadata.deny_leader(id, node);
            }
        }
        match verdict {
            Verdict::Written(outcome) => {
                self.partition(id).line.acknowledge(cx.now);
                self.complete(id, key, outcome, cx);
            }
            Verdict::Retry if cx.faults.has(Mutant::RebuildOnRetry) && asked.record_count > 1 => {
                self.split(id, key, cx)
            }
            Verdict::Retry => {
                let is_told =
                    cx.metadata.take_hint(id, topic_id, &answer.current_leader, &response.node_endpoints, cx.now);
                self.retry(id, key, !is_told, cx);
            }
            Verdict::Split => self.split(id, key, cx),
            Verdict::Broken { needs_new_id } => {
                let line = &mut self.partition(id).line;
                line.close_gate();
                if needs_new_id {
                    line.break_with_id(key)
                } else {
                    line.break_off(key)
                }
                self.retry(id, key, true, cx);
            }
            Verdict::Failed(outcome) => self.refuse(id, key, outcome, cx),
        }
        self.review(id, cx);
    }

    /// Requests a split of a batch that is too large, if it is surely not written. Then each attempt was refused before
    /// its append, or its frame was not sent whole. So the sequence numbers are unused, and the pieces may share them.
    fn split(&mut self, id: PartitionId, key: Key, cx: &mut Context) {
        let Some(batch) = self.batches.get(&key) else { return };
        let was_refused = cx.faults.has(Mutant::NoSplitAfterRefusal) && batch.own_attempts() > 1;
        if (batch.is_maybe_written || was_refused) && !cx.faults.has(Mutant::RebuildOnRetry) {
            let code = ErrorCode::MESSAGE_TOO_LARGE;
            let refused = refused(code, None, batch.asked(cx.ids.is_enabled(), true));
            let text = "the batch cannot be split, because an earlier attempt may have been written";
            let error = Error::new(ErrorKind::Refused, text).with_code(Some(code)).caused_by(refused);
            return self.refuse(id, key, Outcome::Failed(error), cx);
        }
        let taken = batch.taken.clone();
        self.partition(id).splitting.insert(key);
        cx.push(LocalAction::Split { partition: id, whole: key, batch: taken });
    }

    pub(crate) fn handle_split(
        &mut self,
        id: PartitionId,
        whole: Key,
        pieces: Result<Vec<Taken>, Cause>,
        cx: &mut Context,
    ) {
        self.partition(id).splitting.remove(&whole);
        match pieces {
            Ok(pieces) => {
                let Some(parent) = self.batches.remove(&whole) else { return };
                let mut next = parent.stamp;
                for taken in pieces {
                    let stamp = next;
                    let count = taken.sealed.record_count();
                    next = stamp.filter(|_| cx.ids.is_enabled()).map(|stamp| {
                        let sequence = stamp.base_sequence().after(count);
                        Stamp::idempotent(stamp.producer_id(), stamp.producer_epoch(), sequence)
                    });
                    let key = key_of(&taken);
                    self.batches.insert(key, parent.piece(taken, stamp));
                    self.partition(id).waiting.insert(key);
                }
                self.partition(id).retry_at = None;
            }
            Err(why) => {
                let error = Error::new(ErrorKind::Bug, "cannot split a batch that is too large").caused_by(why);
                self.refuse(id, whole, Outcome::Failed(error), cx);
            }
        }
        self.review(id, cx);
    }
}
