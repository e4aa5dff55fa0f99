//! What goes over the wire, watched: sequences, bytes, windows and throttling, I5 and I6.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use kurier_protocol::messages::{ProduceRequest, ProduceResponse};
use kurier_protocol::record_batch::{RecordBatch, Sequence};
use kurier_protocol::{ErrorCode, Message, Uuid};

use super::ledger::{Ledger, Violation, number_of, violation};
use crate::core::ConnectionId;

/// Whose sequences they are, and which comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stamped {
    pub(super) id: i64,
    pub(super) epoch: i16,
    pub(super) sequence: i32,
}

/// A batch in a request.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) topic_id: Uuid,
    pub(super) index: i32,
    pub(super) stamped: Stamped,
    pub(super) count: i32,
    /// The number of its first record.
    pub(super) first: u64,
    pub(super) bytes: Bytes,
}

/// What is known of an attempt to write a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    UnderWay,
    Answered(ErrorCode),
    /// Its connection ended before the kernel had all of it.
    NeverSent,
    Unanswered,
}

impl Attempt {
    /// Whether by this attempt nothing was written, and nothing will be.
    fn is_void(self) -> bool {
        const REFUSED: [ErrorCode; 9] = [
            ErrorCode::CORRUPT_MESSAGE,
            ErrorCode::MESSAGE_TOO_LARGE,
            ErrorCode::NOT_ENOUGH_REPLICAS,
            ErrorCode::INVALID_RECORD,
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
            ErrorCode::INVALID_PRODUCER_EPOCH,
            ErrorCode::UNKNOWN_PRODUCER_ID,
            ErrorCode::UNKNOWN_TOPIC_ID,
            ErrorCode::TOPIC_AUTHORIZATION_FAILED,
        ];
        match self {
            Self::Answered(code) => REFUSED.contains(&code),
            Self::NeverSent => true,
            Self::UnderWay | Self::Unanswered => false,
        }
    }
}

/// A batch as it was sent last.
#[derive(Debug)]
struct Sent {
    batch: Batch,
    attempts: Vec<Attempt>,
}

/// What a batch is that goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    First,
    Same,
    Restamped,
    Other,
}

/// Names a batch for as long as it has the same first record: its partition, and that record's number.
type Name = (i32, u64);

/// A partition's line of sequences, as far as it was sent.
#[derive(Clone, Copy, Debug)]
struct Line {
    id: i64,
    epoch: i16,
    next: Sequence,
}

/// Limits, and what has gone over the wire.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) max_in_flight: usize,
    pub(super) is_idempotent: bool,
    pub(super) first_sequence: i32,
    batches: HashMap<Name, Sent>,
    by_sequence: HashMap<(Uuid, i32, Stamped), Name>,
    lines: HashMap<(Uuid, i32), Line>,
    /// Partitions that have acknowledged a batch of an id.
    acknowledged: HashSet<(Uuid, i32, i64)>,
    /// Requests with batches that wait for their answers, each batch with the number of the attempt.
    requests: BTreeMap<(ConnectionId, i32), Vec<(Batch, usize)>>,
    /// Partitions that have a reason to go on under another epoch.
    may_bump: HashSet<(Uuid, i32)>,
    /// Until when a connection is to be left alone.
    throttled: HashMap<ConnectionId, Duration>,
}

impl Wire {
    pub(super) fn new(max_in_flight: usize, is_idempotent: bool, first_sequence: i32) -> Self {
        Self {
            max_in_flight,
            is_idempotent,
            first_sequence,
            batches: HashMap::new(),
            by_sequence: HashMap::new(),
            lines: HashMap::new(),
            acknowledged: HashSet::new(),
            requests: BTreeMap::new(),
            may_bump: HashSet::new(),
            throttled: HashMap::new(),
        }
    }

    /// The batches of a request.
    pub(super) fn parse(body: &Bytes, version: i16) -> Result<Vec<Batch>, Violation> {
        let wrong = |what: String| violation("I5", format!("a request cannot be read: {what}"));
        let request = ProduceRequest::read(body, version).map_err(|error| wrong(error.to_string()))?;
        let mut batches = Vec::new();
        for topic in request.topic_data {
            for data in topic.partition_data {
                let bytes = data.records.unwrap_or_default().to_bytes();
                let (batch, rest) = RecordBatch::parse(&bytes).map_err(|error| wrong(error.to_string()))?;
                if !rest.is_empty() {
                    return Err(wrong("two batches for one partition".to_owned()));
                }
                let header = *batch.header();
                let body = kurier_compression::decompress_batch(&batch, 1 << 24).map_err(|e| wrong(e.to_string()))?;
                let mut records = batch.records_in(&body).map_err(|error| wrong(error.to_string()))?;
                let first = records.next().and_then(Result::ok).and_then(|record| number_of(record.value?));
                let stamped = Stamped {
                    id: header.producer_id.0,
                    epoch: header.producer_epoch.0,
                    sequence: header.base_sequence.0,
                };
                batches.push(Batch {
                    topic_id: topic.topic_id,
                    index: data.index,
                    stamped,
                    count: header.record_count,
                    first: first.ok_or_else(|| wrong("a batch without records".to_owned()))?,
                    bytes: bytes.clone(),
                });
            }
        }
        Ok(batches)
    }

    /// Whether a batch was sent before.
    pub(super) fn known(&self, batch: &Batch) -> Known {
        match self.batches.get(&(batch.index, batch.first)) {
            None => Known::First,
            Some(before) if before.batch.bytes == batch.bytes => Known::Same,
            Some(before) if before.batch.stamped != batch.stamped => Known::Restamped,
            Some(_) => Known::Other,
        }
    }

    /// Whether a batch's partition has acknowledged one of the same id.
    pub(super) fn is_acknowledged(&self, batch: &Batch) -> bool {
        self.acknowledged.contains(&(batch.topic_id, batch.index, batch.stamped.id))
    }

    /// The codes in an answer for batches whose senders have been told.
    pub(super) fn codes_for_told(
        &self,
        connection: ConnectionId,
        correlation_id: i32,
        response: &ProduceResponse,
        ledger: &Ledger,
    ) -> Vec<ErrorCode> {
        let sent = self.requests.get(&(connection, correlation_id)).into_iter().flatten();
        let told: Vec<i32> =
            sent.filter(|(batch, _)| ledger.is_told(batch.first)).map(|(batch, _)| batch.index).collect();
        let answers = response.responses.iter().flat_map(|topic| &topic.partition_responses);
        answers.filter(|answer| told.contains(&answer.index)).map(|answer| answer.error_code).collect()
    }

    /// Any request goes out.
    pub(super) fn check_throttle(&self, connection: ConnectionId, now: Duration) -> Result<(), Violation> {
        match self.throttled.get(&connection) {
            Some(until) if now < *until => {
                Err(violation("I8", format!("a request {:?} before the node wants any", *until - now)))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn throttle(&mut self, connection: ConnectionId, until: Duration) {
        let known = self.throttled.entry(connection).or_default();
        *known = until.max(*known);
    }

    /// A request with batches goes out.
    pub(super) fn send(
        &mut self,
        connection: ConnectionId,
        correlation_id: i32,
        batches: Vec<Batch>,
        ledger: &Ledger,
    ) -> Result<(), Violation> {
        let on_this = self.requests.keys().filter(|(other, _)| *other == connection).count();
        if on_this >= self.max_in_flight {
            return Err(violation("I6", format!("{} requests in flight on one connection", on_this + 1)));
        }
        let mut attempts = Vec::new();
        for batch in batches {
            let name = (batch.index, batch.first);
            self.check_place(connection, &batch)?;
            if self.is_idempotent {
                self.check_window(&batch)?;
                self.check_bytes(&batch)?;
                self.check_line(&batch, ledger)?;
                self.by_sequence.insert((batch.topic_id, batch.index, batch.stamped), name);
            }
            let known = self.batches.entry(name).or_insert_with(|| Sent { batch: batch.clone(), attempts: Vec::new() });
            if known.batch.bytes != batch.bytes {
                known.attempts.clear();
                known.batch = batch.clone();
            }
            known.attempts.push(Attempt::UnderWay);
            attempts.push((batch, known.attempts.len() - 1));
        }
        self.requests.insert((connection, correlation_id), attempts);
        Ok(())
    }

    /// Nothing goes to a new leader while the old one has not answered.
    fn check_place(&self, connection: ConnectionId, batch: &Batch) -> Result<(), Violation> {
        let is_elsewhere = |((on, _), batches): (&(ConnectionId, i32), &Vec<(Batch, usize)>)| {
            *on != connection && batches.iter().any(|(other, _)| other.index == batch.index)
        };
        match self.requests.iter().find(|request| is_elsewhere(*request)) {
            Some((on, _)) => Err(violation("I6", format!("{} goes to {connection:?}, and to {on:?}", show(batch)))),
            None => Ok(()),
        }
    }

    fn check_window(&self, batch: &Batch) -> Result<(), Violation> {
        let (topic_id, index, id) = (batch.topic_id, batch.index, batch.stamped.id);
        let others = self.requests.values().flatten().filter(|(other, _)| other.index == index).count();
        let window = match self.acknowledged.contains(&(topic_id, index, id)) {
            true => self.max_in_flight.min(5),
            false => 1,
        };
        match others < window {
            true => Ok(()),
            false => {
                Err(violation("I6", format!("{} batches of partition {index} in flight, not {window}", others + 1)))
            }
        }
    }

    /// No sequence is ever used for other bytes, and no batch that may be written gets other sequences.
    fn check_bytes(&self, batch: &Batch) -> Result<(), Violation> {
        let stamped = batch.stamped;
        let before = self.by_sequence.get(&(batch.topic_id, batch.index, stamped)).and_then(|n| self.batches.get(n));
        if let Some(before) =
            before.filter(|before| before.batch.stamped == stamped && before.batch.bytes != batch.bytes)
        {
            let was_too_large = |attempt: &Attempt| *attempt == Attempt::Answered(ErrorCode::MESSAGE_TOO_LARGE);
            if !before.attempts.iter().all(was_too_large) || batch.count >= before.batch.count {
                let (was, is) = (show(&before.batch), show(batch));
                return Err(violation("I5", format!("{was} was sent, and then {is} with other bytes")));
            }
        }
        let Some(known) = self.batches.get(&(batch.index, batch.first)) else { return Ok(()) };
        if known.batch.stamped != stamped && !known.attempts.iter().all(|attempt| attempt.is_void()) {
            let (was, is, attempts) = (show(&known.batch), show(batch), &known.attempts);
            return Err(violation("I5", format!("{was} may be written ({attempts:?}), and is sent again as {is}")));
        }
        Ok(())
    }

    /// Sequences are without gaps from 0 on in each epoch, and epochs rise.
    fn check_line(&mut self, batch: &Batch, ledger: &Ledger) -> Result<(), Violation> {
        let Stamped { id, epoch, sequence } = batch.stamped;
        let next = Sequence(sequence).after(batch.count);
        let wrong = |what: &str| Err(violation("I5", format!("{}: {what}", show(batch))));
        if sequence < 0 {
            return wrong("a negative sequence");
        }
        let Some(line) = self.lines.get(&(batch.topic_id, batch.index)).copied() else {
            if sequence != 0 && sequence != self.first_sequence {
                return wrong("the first of its partition");
            }
            self.lines.insert((batch.topic_id, batch.index), Line { id, epoch, next });
            return Ok(());
        };
        if (line.id, line.epoch) == (id, epoch) {
            if sequence == line.next.0 {
                self.lines.insert((batch.topic_id, batch.index), Line { id, epoch, next });
            } else if line.next.0.wrapping_sub(sequence) & i32::MAX > i32::MAX / 2 {
                return wrong(&format!("a gap after {}", line.next.0));
            }
            return Ok(());
        }
        if line.id == id && epoch < line.epoch {
            return wrong(&format!("an epoch after {}", line.epoch));
        }
        let place = (batch.topic_id, batch.index);
        if line.id == id && !self.may_bump.remove(&place) {
            return wrong("the first of its epoch, and the one before had come to no harm");
        }
        self.may_bump.remove(&place);
        if sequence != 0 && (line.id == id || sequence != self.first_sequence) {
            return wrong("the first of its epoch");
        }
        // What went before and may be written is over before the new epoch begins. (What came after has failed, which is
        // told after this one's outcome.)
        let is_open = |(name, known): (&Name, &Sent)| {
            let is_older = (known.batch.stamped.id, known.batch.stamped.epoch) != (id, epoch);
            let may_be = known.attempts.iter().any(|attempt| !attempt.is_void());
            (name.0 == batch.index && name.1 < batch.first && is_older && may_be && !ledger.is_told(name.1))
                .then(|| show(&known.batch))
        };
        if let Some(open) = self.batches.iter().filter_map(is_open).min() {
            return wrong(&format!("the first of its epoch, and {open} may be written and is open"));
        }
        self.lines.insert((batch.topic_id, batch.index), Line { id, epoch, next });
        Ok(())
    }

    fn settle(&mut self, batch: &Batch, attempt: usize, to: Attempt) {
        if let Some(known) = self.batches.get_mut(&(batch.index, batch.first))
            && known.batch.bytes == batch.bytes
            && let Some(attempt) = known.attempts.get_mut(attempt)
        {
            *attempt = to;
        }
    }

    /// An answer to Produce arrives.
    pub(super) fn answered(
        &mut self,
        connection: ConnectionId,
        correlation_id: i32,
        response: &ProduceResponse,
        ledger: &Ledger,
    ) {
        for (batch, attempt) in self.requests.remove(&(connection, correlation_id)).into_iter().flatten() {
            let mut answers = response.responses.iter().filter(|topic| topic.topic_id == batch.topic_id);
            let answer = answers.find_map(|topic| topic.partition_responses.iter().find(|a| a.index == batch.index));
            let fate = answer.map_or(Attempt::Unanswered, |answer| Attempt::Answered(answer.error_code));
            if let Attempt::Answered(ErrorCode::NONE | ErrorCode::DUPLICATE_SEQUENCE_NUMBER) = fate {
                self.acknowledged.insert((batch.topic_id, batch.index, batch.stamped.id));
            }
            if self.justifies_bump(fate, &batch, ledger) {
                self.may_bump.insert((batch.topic_id, batch.index));
            }
            self.settle(&batch, attempt, fate);
        }
    }

    /// Whether a batch of a partition waits for its answer.
    pub(super) fn is_busy(&self, index: i32) -> bool {
        self.requests.values().flatten().any(|(batch, _)| batch.index == index)
    }

    /// Whether this answer says that the line of sequences is broken. A gap before a batch is none while one before it
    /// is not answered for good.
    fn justifies_bump(&self, attempt: Attempt, batch: &Batch, ledger: &Ledger) -> bool {
        let is_open_before = |(name, known): (&Name, &Sent)| {
            let is_before = name.0 == batch.index && name.1 < batch.first && known.batch.topic_id == batch.topic_id;
            let is_acknowledged = |attempt: &Attempt| {
                matches!(attempt, Attempt::Answered(ErrorCode::NONE | ErrorCode::DUPLICATE_SEQUENCE_NUMBER))
            };
            is_before && !ledger.is_told(name.1) && !known.attempts.iter().any(is_acknowledged)
        };
        match attempt {
            Attempt::Answered(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER) => !self.batches.iter().any(is_open_before),
            Attempt::Answered(ErrorCode::INVALID_PRODUCER_EPOCH | ErrorCode::UNKNOWN_PRODUCER_ID) => true,
            _ => false,
        }
    }

    /// A record of a partition failed that had been sent: its sequences are used or missing.
    pub(super) fn failed(&mut self, index: i32) {
        let places = self.lines.keys().filter(|(_, other)| *other == index).copied();
        self.may_bump.extend(places);
    }

    /// A request that gets no answer is written.
    pub(super) fn forget(&mut self, connection: ConnectionId, correlation_id: i32) {
        self.requests.remove(&(connection, correlation_id));
    }

    /// A connection has ended; of these requests the kernel had not all.
    pub(super) fn ended(&mut self, connection: ConnectionId, never_sent: &[i32]) {
        self.throttled.remove(&connection);
        let ended: Vec<i32> = self.requests.keys().filter(|(on, _)| *on == connection).map(|(_, id)| *id).collect();
        for correlation_id in ended {
            let fate = if never_sent.contains(&correlation_id) { Attempt::NeverSent } else { Attempt::Unanswered };
            for (batch, attempt) in self.requests.remove(&(connection, correlation_id)).into_iter().flatten() {
                self.settle(&batch, attempt, fate);
            }
        }
    }
}

/// A batch for people.
pub(super) fn show(batch: &Batch) -> String {
    let Batch { index, stamped: Stamped { id, epoch, sequence }, count, first, .. } = batch;
    let last = Sequence(*sequence).after(count - 1).0;
    format!("partition {index}: records {first}+{count} (id {id}, epoch {epoch}, sequence {sequence}..={last})")
}

/// Several batches for people.
pub(super) fn show_all(batches: &[Batch]) -> String {
    let mut text = String::new();
    for batch in batches {
        let _ = write!(text, "\n                 {}", show(batch));
    }
    text
}
