//! Simulated senders: records, callbacks, flushes, and waits for memory.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use kurier_partitioner::Choice;
use kurier_protocol::record_batch::NewRecord;

use super::fault_row::FaultRow;
use super::invariant::{Invariant, violation};
use super::ledger::value;
use super::plan::topic_name;
use super::wire::Spot;
use super::world::{World, ms};
use kurier_engine::accumulator::batch::BatchId;
use kurier_engine::accumulator::memory::{Acquire, Permit};
use kurier_engine::accumulator::{AppendError, Placed, Signal};
use kurier_engine::core::Input;
use kurier_engine::delivery::{Callback, Calls, Cell, Runner};
use kurier_engine::error::{Error, ErrorKind};
use kurier_engine::record::RecordMetadata;

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

/// A flush that waits for all records accepted before it.
#[derive(Debug)]
pub(super) struct Flush {
    /// The newest batch that it waits for.
    newest: BatchId,
    /// The first record that it does not wait for.
    end: u64,
    pub(super) at: Duration,
    /// The number of splits before it.
    splits: usize,
}

/// A record that waits for memory.
pub(super) struct Patient {
    pub(super) topic: usize,
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
            if !self.ledger.is_told(number) {
                self.meet_outcome(number, &result);
            }
            if let Err(error) = &result
                && let (Some(topic), Some((_, index))) = (self.ledger.topic_of(number), error.topic_partition())
            {
                self.wire.failed(Spot { topic, index: index.into() });
            }
            if let Err(error) = &result {
                let failed = self.check_failure(number, error);
                self.ensure(failed);
            }
            let told = self.ledger.tell(number, result);
            self.ensure(told);
        }
    }

    /// Requests a topic that the producer does not know, or has forgotten.
    pub(super) fn want(&mut self, topic: usize) {
        // A forgotten topic has lost its own size limit.
        self.watch.caps.remove(&topic);
        self.wire.forgot_topic(topic);
        self.pace_want(topic_name(topic));
        self.driver.accumulator.signal(Signal::Wanted { topic: topic_name(topic).into(), partitions: 0 });
    }

    /// Sends a record of this size. Returns `true` if it was accepted or refused.
    pub(super) fn send(&mut self, topic: usize, choice: Choice, bytes: usize, permit: Option<Permit>) -> bool {
        let Some(known) = self.driver.accumulator.topic(topic_name(topic)) else {
            self.want(topic);
            return false;
        };
        let number = self.ledger.next();
        let value = value(number, bytes);
        let mut placed = Placed::timed(choice, None, NewRecord { value: Some(&value), ..NewRecord::default() });
        let told = Arc::clone(&self.told);
        let mut callback: Option<Callback> = Some(Box::new(move |result| lock(&told).push((number, result))));
        let mut keep = |cell: &Arc<Cell>, index, timestamp| {
            if let Some(callback) = callback.take() {
                cell.add_callback(index, timestamp, callback);
            }
        };
        let accumulator = &self.driver.accumulator;
        let appended = match permit {
            None => accumulator.append(&known, &mut placed, &mut keep),
            permit => accumulator.append_with(&known, &mut placed, permit, &mut keep),
        };
        match appended {
            Ok(()) => {
                trace!(self, "record {number} of {bytes} bytes is accepted for {} {choice:?}", topic_name(topic));
                let partition = if let Choice::Partition(index) = choice { Some(index.into()) } else { None };
                self.ledger.accept(topic, partition, bytes.max(8), self.driver.clock.elapsed());
                true
            }
            Err(AppendError::Refused(error)) => {
                trace!(self, "a record of {bytes} bytes is refused: {error}");
                if error.kind() == ErrorKind::RecordTooLarge {
                    self.hit(FaultRow::MemoryFull, "a record that memory could never hold, refused at once");
                }
                true
            }
            // On one thread, nothing can retire the topic between the look-up and the append.
            Err(AppendError::Retired) => false,
            Err(AppendError::NoRoom(missing)) => {
                let deadline = self.now() + self.plan.config.max_block;
                let acquire = missing.wait(&self.driver.accumulator, deadline);
                self.patients.push_back(Patient { acquire, topic, choice, bytes, deadline });
                false
            }
        }
    }

    /// Appends the records whose wait for memory is over. Returns whether there were any.
    pub(super) fn serve_patients(&mut self) -> bool {
        let mut is_news = false;
        for _ in 0..self.patients.len() {
            let Some(mut patient) = self.patients.pop_front() else { break };
            let polled = Pin::new(&mut patient.acquire).poll(&mut Context::from_waker(Waker::noop()));
            match polled {
                Poll::Pending if patient.deadline + ms(1) < self.now() => {
                    self.fail(violation(Invariant::InTime, "who waits for memory is not told that there is none"));
                }
                Poll::Pending => self.patients.push_back(patient),
                Poll::Ready(Ok(permit)) => {
                    is_news = true;
                    self.hit(FaultRow::MemoryFull, "waited for memory, and got some");
                    self.send(patient.topic, patient.choice, patient.bytes, Some(permit));
                }
                Poll::Ready(Err(_)) => {
                    is_news = true;
                    self.hit(FaultRow::MemoryFull, "waited for memory, and was turned away in time");
                }
            }
        }
        is_news
    }

    pub(super) fn flush(&mut self) {
        let (_, newest) = self.driver.accumulator.incomplete();
        trace!(self, "flush, up to {newest:?}");
        let at = self.driver.clock.elapsed();
        self.flushes.push(Flush { newest, end: self.ledger.next(), at, splits: self.watch.splits_since_flush });
        self.driver.handle(Input::Hurry);
    }

    pub(super) fn serve_flushes(&mut self) {
        let (oldest, _) = self.driver.accumulator.incomplete();
        let is_over = |flush: &mut Flush| oldest.is_none_or(|oldest| oldest > flush.newest);
        let over: Vec<Flush> = self.flushes.extract_if(.., is_over).collect();
        for Flush { end, at, splits, .. } in over {
            if at < self.driver.clock.elapsed() {
                self.hit(FaultRow::Flush, "flushed, after a while");
            }
            if splits < self.watch.splits_since_flush {
                self.hit(FaultRow::Flush, "flushed, with splits meanwhile");
            }
            if let Some((number, _)) = self.ledger.oldest_open()
                && number < end
            {
                self.fail(violation(Invariant::FlushInTime, format!("flushed, and record {number} has no outcome")));
            }
        }
    }
}
