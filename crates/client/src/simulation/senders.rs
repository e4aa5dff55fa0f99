//! Who sends: records, callbacks, flushes, and who waits for memory.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use kurier_partitioner::Choice;
use kurier_protocol::ErrorCode;
use kurier_protocol::record_batch::NewRecord;

use super::ledger::{value, violation};
use super::world::{TOPIC, World, ms};
use crate::accumulator::batch::BatchId;
use crate::accumulator::memory::{Acquire, Permit};
use crate::accumulator::{AppendError, Clock, Placed};
use crate::core::Input;
use crate::delivery::{Calls, Runner};
use crate::error::{Error, ErrorKind};
use crate::record::RecordMetadata;

/// Callbacks that are due.
#[derive(Default)]
pub(super) struct Due(pub(super) Mutex<Vec<Calls>>);

impl Runner for Due {
    fn run(&self, calls: Calls) {
        lock(&self.0).push(calls);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) type Told = Arc<Mutex<Vec<(u64, Result<RecordMetadata, Error>)>>>;

/// A record that waits for memory.
pub(super) struct Patient {
    pub(super) acquire: Acquire,
    pub(super) choice: Choice,
    pub(super) bytes: usize,
    pub(super) deadline: Instant,
}

impl World<'_> {
    pub(super) fn run_callbacks(&mut self) {
        let due = std::mem::take(&mut *lock(&self.due.0));
        for calls in due {
            calls.call_each(|callback, result| callback(result));
        }
        let told = std::mem::take(&mut *lock(&self.told));
        for (number, result) in told {
            match &result {
                Ok(metadata) => trace!(self, "record {number} is written at {:?}", metadata.offset()),
                Err(error) => trace!(self, "record {number} failed: {error}"),
            }
            if let Err(error) = &result {
                self.count_failure(error);
                if let Some((_, partition)) = error.topic_partition() {
                    self.wire.failed(partition);
                }
            }
            let told = self.ledger.tell(number, result);
            self.ensure(told);
        }
    }

    pub(super) fn count_failure(&mut self, error: &Error) {
        use crate::error::{Stage, Written};
        match (error.kind(), error.stage(), error.written()) {
            (ErrorKind::DeliveryTimeout, Some(Stage::Queued), Written::No) => self.hit(8, "expired in the queue"),
            (ErrorKind::DeliveryTimeout, Some(Stage::InFlight), _) => {
                self.hit(9, "expired in flight");
                if self.lines.values().any(|line| line.is_open && line.up.iter().any(|frame| !frame.is_accepted)) {
                    self.hit(63, "expired while a frame was being written");
                }
            }
            (ErrorKind::TopicRecreated, ..) => self.hit(28, "failed, for its topic was made anew"),
            (_, _, Written::Unknown) if error.error_code() == Some(ErrorCode::NOT_LEADER_OR_FOLLOWER) => {
                self.hit(23, "unknown after NOT_LEADER_OR_FOLLOWER");
            }
            (ErrorKind::Refused, Some(Stage::Backoff), Written::Unknown) => self.hit(5, "drained as unknown"),
            _ => {}
        }
    }

    /// A record of so many bytes is sent; `true` when it was accepted or refused.
    pub(super) fn send(&mut self, choice: Choice, bytes: usize, permit: Option<Permit>) -> bool {
        let Some(topic) = self.hands.accumulator.topic(TOPIC) else { return false };
        let number = self.ledger.next();
        let value = value(number, bytes);
        let record = NewRecord { timestamp: self.hands.clock.wall_ms(), value: Some(&value), ..Default::default() };
        let told = Arc::clone(&self.told);
        let callback = Box::new(move |result| lock(&told).push((number, result)));
        match self.hands.accumulator.append(&topic, &Placed { record, choice }, permit, Some(callback)) {
            Ok(delivery) => {
                delivery.forget();
                trace!(self, "record {number} of {bytes} bytes is accepted for {choice:?}");
                self.ledger.accept(bytes.max(8), self.hands.clock.elapsed());
                true
            }
            Err((AppendError::Refused(error), _)) => {
                trace!(self, "a record of {bytes} bytes is refused: {error}");
                true
            }
            Err((AppendError::NoRoom(missing), _)) => {
                self.hit(54, "waited for memory");
                let deadline = self.now() + self.plan.config.max_block;
                let acquire = missing.wait(&self.hands.accumulator, deadline);
                self.patients.push_back(Patient { acquire, choice, bytes, deadline });
                false
            }
        }
    }

    /// Whoever waited for memory and has some appends. Says whether anybody did.
    pub(super) fn serve_patients(&mut self) -> bool {
        let mut is_news = false;
        for _ in 0..self.patients.len() {
            let Some(mut patient) = self.patients.pop_front() else { break };
            let polled = Pin::new(&mut patient.acquire).poll(&mut Context::from_waker(Waker::noop()));
            match polled {
                Poll::Pending if patient.deadline + ms(1) < self.now() => {
                    self.fail(violation("I8", "who waits for memory is not told that there is none"));
                }
                Poll::Pending => self.patients.push_back(patient),
                Poll::Ready(Ok(permit)) => {
                    is_news = true;
                    self.send(patient.choice, patient.bytes, Some(permit));
                }
                Poll::Ready(Err(_)) => is_news = true,
            }
        }
        is_news
    }

    pub(super) fn flush(&mut self) {
        let (_, newest) = self.hands.accumulator.incomplete();
        trace!(self, "flush, up to {newest:?}");
        self.flushes.push((newest, self.ledger.next()));
        self.hands.handle(Input::Hurry);
    }

    pub(super) fn serve_flushes(&mut self) {
        let (oldest, _) = self.hands.accumulator.incomplete();
        let is_over = |(newest, _): &mut (BatchId, u64)| oldest.is_none_or(|oldest| oldest > *newest);
        let over: Vec<(BatchId, u64)> = self.flushes.extract_if(.., is_over).collect();
        for (_, end) in over {
            self.hit(55, "flushed");
            if let Some((number, _)) = self.ledger.oldest_open()
                && number < end
            {
                self.fail(violation("I9", format!("flushed, and record {number} has no outcome")));
            }
        }
    }
}
