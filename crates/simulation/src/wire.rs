//! Checks of all traffic: sequences, bytes, in-flight limits, targets and throttling. Also keeps each
//! batch's history for the coverage table.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use kurier_partitioner::Choice;
use kurier_protocol::messages::produce::{PartitionProduceResponse, TopicProduceResponse};
use kurier_protocol::messages::{ProduceRequest, ProduceResponse};
use kurier_protocol::record_batch::{RecordBatch, Sequence};
use kurier_protocol::{CorrelationId, ErrorCode, Message, NodeId, PartitionIndex, Uuid};

use super::fault_row::FaultRow;
use super::invariant::{Invariant, Violation, violation};
use super::ledger::{Ledger, number_of};
use super::plan::{Plan, topic_name};
use kurier_engine::config::Acks;
use kurier_engine::core::ConnectionId;

/// A partition by topic name, whichever topic has this name at the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Spot {
    /// The topic's number in the plan.
    pub(super) topic: usize,
    pub(super) index: PartitionIndex,
}

impl Spot {
    /// Returns the choice of this partition for a record.
    pub(super) fn choice(self) -> Choice {
        Choice::Partition(self.index.0)
    }
}

/// A batch's producer id, epoch and first sequence.
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
    pub(super) spot: Spot,
    pub(super) stamped: Stamped,
    pub(super) count: i32,
    /// The number of its first record.
    pub(super) first: u64,
    pub(super) bytes: Bytes,
}

impl Batch {
    fn place(&self) -> Place {
        (self.topic_id, self.spot)
    }
}

/// A partition of one topic. Below Produce version 13 the topic has no id.
type Place = (Uuid, Spot);

/// State of one attempt to write a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    UnderWay,
    Answered(ErrorCode),
    /// Its connection ended before the kernel had all of the request.
    NeverSent,
    Unanswered,
}

impl Attempt {
    /// Whether this attempt surely wrote nothing and never will.
    fn is_void(self) -> bool {
        const REFUSED: [ErrorCode; 10] = [
            ErrorCode::CORRUPT_MESSAGE,
            ErrorCode::MESSAGE_TOO_LARGE,
            ErrorCode::NOT_ENOUGH_REPLICAS,
            ErrorCode::INVALID_RECORD,
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
            ErrorCode::INVALID_PRODUCER_EPOCH,
            ErrorCode::UNKNOWN_PRODUCER_ID,
            ErrorCode::UNKNOWN_TOPIC_ID,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            ErrorCode::TOPIC_AUTHORIZATION_FAILED,
        ];
        match self {
            Self::Answered(code) => REFUSED.contains(&code),
            Self::NeverSent => true,
            Self::UnderWay | Self::Unanswered => false,
        }
    }

    fn is_acknowledged(self) -> bool {
        matches!(self, Self::Answered(ErrorCode::NONE | ErrorCode::DUPLICATE_SEQUENCE_NUMBER))
    }
}

/// A batch as last sent, and the history of its attempts.
#[derive(Debug)]
struct Sent {
    batch: Batch,
    attempts: Vec<Attempt>,
    history: History,
}

/// History of a batch, under all sequences that it had.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    pub(super) stamped: Option<Stamped>,
    pub(super) topic_id: Uuid,
    pub(super) count: i32,
    pub(super) codes: Vec<ErrorCode>,
    pub(super) unanswered: usize,
    pub(super) is_restamped: bool,
    /// Whether a broker recognised it as a duplicate.
    pub(super) is_duplicate: bool,
}

impl History {
    pub(super) fn met(&self, code: ErrorCode) -> bool {
        self.codes.contains(&code)
    }
}

/// How an outgoing batch relates to earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    First,
    Same,
    Restamped,
    Other,
}

/// A partition's sequences, up to the last batch sent.
#[derive(Clone, Copy, Debug)]
struct Line {
    id: i64,
    epoch: i16,
    next: Sequence,
}

/// Why only one batch may be in flight.
pub(super) type Why = &'static str;

/// Whether a partition may have several batches in flight: one was acknowledged under this producer id, and nothing
/// since then suggests that the broker forgot it.
#[derive(Clone, Copy, Debug)]
struct Gate {
    opened_at: Option<Duration>,
    /// Acknowledgements up to this epoch say nothing about the next one.
    closed_in: Option<i16>,
    why: Why,
}

/// Limits, and all traffic so far.
#[derive(Debug)]
pub(super) struct Wire {
    max_in_flight: usize,
    is_idempotent: bool,
    first_sequence: i32,
    /// Partitions that the producer has forgotten, and not sent to since.
    forgotten: HashSet<Place>,
    /// Whether the core may have closed a connection before it handled what arrived on it.
    is_lumpy: bool,
    /// Whether brokers respond to Produce.
    has_answers: bool,
    /// The producer ids that the current cluster issued.
    ids: HashSet<i64>,
    batches: HashMap<Spot, BTreeMap<u64, Sent>>,
    by_sequence: HashMap<(Place, Stamped), u64>,
    lines: HashMap<Place, Line>,
    /// Producer ids that a partition no longer uses.
    left_ids: HashSet<(Place, i64)>,
    gates: HashMap<(Place, i64), Gate>,
    /// Unanswered requests with batches, and each batch's attempt number.
    requests: BTreeMap<(ConnectionId, CorrelationId), Vec<(Batch, usize)>>,
    /// Partitions whose next batch may have a new producer epoch, because one of their records failed or their sequence
    /// numbers broke. The first batch with the new epoch uses this up.
    may_bump: HashSet<Place>,
    /// Partitions that may have a new producer epoch once more, because their topic was created again. A core that handles
    /// inputs late may learn of that only after it used up the other permission.
    may_bump_late: HashSet<Place>,
    /// The throttle time of each connection.
    throttled: HashMap<ConnectionId, Duration>,
    /// The node that a partition's last batch went to.
    sent_to: HashMap<Spot, NodeId>,
    /// Coverage rows that the last request met.
    pub(super) met: Vec<(FaultRow, &'static str)>,
}

/// After this silence, the producer assumes that the broker has forgotten its partition.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

impl Wire {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            max_in_flight: plan.config.max_in_flight,
            is_idempotent: plan.config.enable_idempotence,
            first_sequence: plan.first_sequence,
            forgotten: HashSet::new(),
            is_lumpy: plan.is_lumpy,
            has_answers: plan.config.acks != Acks::None,
            ids: HashSet::new(),
            batches: HashMap::new(),
            by_sequence: HashMap::new(),
            lines: HashMap::new(),
            left_ids: HashSet::new(),
            gates: HashMap::new(),
            requests: BTreeMap::new(),
            may_bump: HashSet::new(),
            may_bump_late: HashSet::new(),
            throttled: HashMap::new(),
            sent_to: HashMap::new(),
            met: Vec::new(),
        }
    }

    /// Parses the batches of a request.
    pub(super) fn parse(body: &Bytes, version: i16, ledger: &Ledger) -> Result<Vec<Batch>, Violation> {
        let wrong = |what: String| violation(Invariant::SoundSequences, format!("a request cannot be read: {what}"));
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
                let first = first.ok_or_else(|| wrong("a batch without records".to_owned()))?;
                let number = ledger.topic_of(first).ok_or_else(|| wrong("a record that nobody sent".to_owned()))?;
                let stamped = Stamped {
                    id: header.producer_id.0,
                    epoch: header.producer_epoch.0,
                    sequence: header.base_sequence.0,
                };
                batches.push(Batch {
                    topic_id: topic.topic_id,
                    spot: Spot { topic: number, index: PartitionIndex(data.index) },
                    stamped,
                    count: header.record_count,
                    first,
                    bytes: bytes.clone(),
                });
            }
        }
        Ok(batches)
    }

    fn sent(&self, spot: Spot, first: u64) -> Option<&Sent> {
        self.batches.get(&spot)?.get(&first)
    }

    /// Returns the history of the batch whose first record this is.
    pub(super) fn history(&self, spot: Spot, first: u64) -> Option<&History> {
        self.sent(spot, first).map(|sent| &sent.history)
    }

    /// Returns whether and how a batch was sent before.
    pub(super) fn known(&self, batch: &Batch) -> Known {
        match self.sent(batch.spot, batch.first) {
            None => Known::First,
            Some(before) if before.batch.bytes == batch.bytes => Known::Same,
            Some(before) if before.batch.stamped != batch.stamped => Known::Restamped,
            Some(_) => Known::Other,
        }
    }

    /// Returns the batches of an unanswered request.
    pub(super) fn asked(
        &self,
        connection: ConnectionId,
        correlation_id: CorrelationId,
    ) -> impl Iterator<Item = &Batch> {
        self.requests.get(&(connection, correlation_id)).into_iter().flatten().map(|(batch, _)| batch)
    }

    /// Whether a partition has an unanswered batch.
    pub(super) fn is_busy(&self, spot: Spot) -> bool {
        self.requests.values().flatten().any(|(batch, _)| batch.spot == spot)
    }

    /// Whether the partition of this batch has another unanswered batch.
    pub(super) fn is_busy_besides(&self, batch: &Batch) -> bool {
        self.requests.values().flatten().any(|(other, _)| other.spot == batch.spot && other.first != batch.first)
    }

    /// Whether this record's batch went to a topic that replaced an older one of the same name.
    pub(super) fn is_of_newer_topic(&self, spot: Spot, first: u64) -> bool {
        let Some(sent) = self.sent(spot, first) else { return false };
        let id = sent.batch.topic_id;
        self.lines.keys().any(|(other, at)| *at == spot && *other < id)
    }

    /// Whether no batch is unanswered.
    pub(super) fn is_quiet(&self) -> bool {
        self.requests.is_empty()
    }

    /// Returns the producer id and epoch that a partition used last.
    pub(super) fn identity(&self, spot: Spot) -> Option<(i64, i16)> {
        let of_spot = self.lines.iter().filter(|((_, other), _)| *other == spot);
        of_spot.map(|(_, line)| (line.id, line.epoch)).max()
    }

    /// Checks any outgoing request against the throttle time.
    pub(super) fn check_throttle(&mut self, connection: ConnectionId, now: Duration) -> Result<(), Violation> {
        match self.throttled.get(&connection) {
            Some(until) if now < *until => {
                Err(violation(Invariant::InTime, format!("a request {:?} before the node wants any", *until - now)))
            }
            Some(_) => {
                self.throttled.remove(&connection);
                self.met.push((FaultRow::Throttled, "waited until a node that throttled wants more"));
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(super) fn throttle(&mut self, connection: ConnectionId, until: Duration) {
        let known = self.throttled.entry(connection).or_default();
        *known = until.max(*known);
    }

    /// Checks an outgoing request with batches.
    pub(super) fn send(
        &mut self,
        (connection, node): (ConnectionId, NodeId),
        correlation_id: CorrelationId,
        batches: Vec<Batch>,
        ledger: &Ledger,
        now: Duration,
    ) -> Result<(), Violation> {
        let on_this = self.requests.keys().filter(|(other, _)| *other == connection).count();
        if on_this >= self.max_in_flight {
            return Err(violation(
                Invariant::InFlightLimit,
                format!("{} requests in flight on one connection", on_this + 1),
            ));
        }
        let mut attempts = Vec::new();
        for batch in batches {
            self.check_place(connection, &batch)?;
            let known = self.known(&batch);
            if known == Known::Same {
                self.met.push((FaultRow::SentAgain, "sent again, byte for byte"));
            }
            self.check_certain(&batch)?;
            if self.is_idempotent {
                self.check_id(&batch)?;
                if known == Known::First {
                    self.check_unresolved(&batch, ledger)?;
                }
                self.check_window(&batch, now)?;
                self.check_bytes(&batch)?;
                self.check_line(&batch, ledger)?;
                self.by_sequence.insert((batch.place(), batch.stamped), batch.first);
            } else if known == Known::First && self.is_busy(batch.spot) {
                self.met.push((FaultRow::WithoutIdempotence, "several in flight without idempotence"));
            }
            if self.sent_to.insert(batch.spot, node).is_some_and(|before| before != node) {
                self.met.push((
                    FaultRow::LeaderMoved,
                    "sent to another leader, after the one before had answered or was lost",
                ));
            }
            let of_spot = self.batches.entry(batch.spot).or_default();
            let sent = of_spot.entry(batch.first).or_insert_with(|| Sent {
                batch: batch.clone(),
                attempts: Vec::new(),
                history: History::default(),
            });
            if sent.batch.bytes != batch.bytes {
                sent.history.is_restamped |= sent.batch.stamped != batch.stamped;
                sent.attempts.clear();
                sent.batch = batch.clone();
            }
            sent.history.stamped = Some(batch.stamped);
            (sent.history.topic_id, sent.history.count) = (batch.topic_id, batch.count);
            sent.attempts.push(Attempt::UnderWay);
            attempts.push((batch, sent.attempts.len() - 1));
        }
        self.requests.insert((connection, correlation_id), attempts);
        Ok(())
    }

    /// Checks that no batch goes to a new leader while the old one has not answered.
    fn check_place(&self, connection: ConnectionId, batch: &Batch) -> Result<(), Violation> {
        let is_elsewhere = |((on, _), batches): (&(ConnectionId, CorrelationId), &Vec<(Batch, usize)>)| {
            *on != connection && batches.iter().any(|(other, _)| other.spot == batch.spot)
        };
        match self.requests.iter().find(|request| is_elsewhere(*request)) {
            Some((on, _)) => Err(violation(
                Invariant::InFlightLimit,
                format!("{} goes to {connection:?}, and to {on:?}", show(batch)),
            )),
            None => Ok(()),
        }
    }

    /// Checks that, without responses, only a batch that surely never left is sent again.
    fn check_certain(&self, batch: &Batch) -> Result<(), Violation> {
        let before = self.sent(batch.spot, batch.first).filter(|_| !self.has_answers);
        match before.is_some_and(|before| before.attempts.iter().any(|attempt| *attempt != Attempt::NeverSent)) {
            true => Err(violation(
                Invariant::NoDuplicate,
                format!("{} may have left, and is sent again with acks=0", show(batch)),
            )),
            false => Ok(()),
        }
    }

    /// Checks that the current cluster issued this producer id.
    fn check_id(&self, batch: &Batch) -> Result<(), Violation> {
        match self.ids.contains(&batch.stamped.id) {
            true => Ok(()),
            false => Err(violation(
                Invariant::SoundSequences,
                format!("{} has the producer id of another cluster", show(batch)),
            )),
        }
    }

    /// The producer got a producer id.
    pub(super) fn took_id(&mut self, id: i64) {
        self.ids.insert(id);
    }

    /// Handles another cluster behind the bootstrap servers: previous producer ids are void.
    pub(super) fn left_cluster(&mut self) {
        self.ids.clear();
    }

    /// Returns the record count of the batch that last carried this record.
    pub(super) fn batch_size_of(&self, spot: Spot, number: u64) -> Option<i32> {
        let (_, sent) = self.batches.get(&spot)?.range(..=number).next_back()?;
        Some(sent.batch.count)
    }

    /// Checks that no new batch goes out while a batch that failed as unknown is unanswered.
    fn check_unresolved(&self, batch: &Batch, ledger: &Ledger) -> Result<(), Violation> {
        let is_unresolved = |other: &&(Batch, usize)| other.0.spot == batch.spot && ledger.is_told(other.0.first);
        match self.requests.values().flatten().find(is_unresolved) {
            Some((other, _)) => {
                let (other, this) = (show(other), show(batch));
                Err(violation(
                    Invariant::SoundSequences,
                    format!("{this} goes out while {other} has failed, and its answer is to come"),
                ))
            }
            None => Ok(()),
        }
    }

    fn check_window(&mut self, batch: &Batch, now: Duration) -> Result<(), Violation> {
        let others = self.requests.values().flatten().filter(|(other, _)| other.spot == batch.spot).count();
        let gate = self.gates.get(&(batch.place(), batch.stamped.id));
        let shut = match gate {
            None if self.lines.keys().any(|place| place.1 == batch.spot && place.0 != batch.topic_id) => {
                Some("alone, to a topic that was made anew")
            }
            None => Some("alone, to a partition that has acknowledged nothing"),
            Some(Gate { opened_at: None, why, .. }) => Some(*why),
            Some(Gate { opened_at: Some(at), .. }) if now >= *at + FORGOTTEN_AFTER => {
                Some("alone, after ten minutes without an acknowledgement")
            }
            Some(_) => None,
        };
        let window = if shut.is_some() { 1 } else { self.max_in_flight.min(5) };
        if let Some(why) = shut {
            self.met.push((FaultRow::FirstBatches, why));
        }
        let index = batch.spot.index;
        match others < window {
            true => Ok(()),
            false => Err(violation(
                Invariant::InFlightLimit,
                format!("{} batches of partition {index} in flight, not {window}", others + 1),
            )),
        }
    }

    /// Checks that no sequence is reused for other bytes, and that no batch that may be written gets other sequences.
    fn check_bytes(&mut self, batch: &Batch) -> Result<(), Violation> {
        let stamped = batch.stamped;
        let before = self.by_sequence.get(&(batch.place(), stamped)).and_then(|first| self.sent(batch.spot, *first));
        if let Some(before) =
            before.filter(|before| before.batch.stamped == stamped && before.batch.bytes != batch.bytes)
        {
            let was_too_large = |attempt: &Attempt| *attempt == Attempt::Answered(ErrorCode::MESSAGE_TOO_LARGE);
            // A batch that is too large and surely not in the log passes its sequences on to its pieces.
            let may_be_split =
                before.attempts.iter().all(|attempt| attempt.is_void()) && before.attempts.iter().any(was_too_large);
            if !may_be_split || batch.count >= before.batch.count {
                let (was, is) = (show(&before.batch), show(batch));
                return Err(violation(
                    Invariant::SoundSequences,
                    format!("{was} was sent, and then {is} with other bytes"),
                ));
            }
            self.met.push((FaultRow::TooLarge, "a piece under the sequences of the whole"));
        }
        let Some(known) = self.sent(batch.spot, batch.first) else { return Ok(()) };
        if known.batch.stamped != stamped && !known.attempts.iter().all(|attempt| attempt.is_void()) {
            let (was, is, attempts) = (show(&known.batch), show(batch), &known.attempts);
            return Err(violation(
                Invariant::SoundSequences,
                format!("{was} may be written ({attempts:?}), and is sent again as {is}"),
            ));
        }
        Ok(())
    }

    /// Checks that sequences have no gaps from 0 on in each epoch, that epochs rise, and that an abandoned producer id
    /// does not return.
    fn check_line(&mut self, batch: &Batch, ledger: &Ledger) -> Result<(), Violation> {
        let Stamped { id, epoch, sequence } = batch.stamped;
        let place = batch.place();
        let next = Sequence(sequence).after(batch.count);
        let was_forgotten = self.forgotten.remove(&place);
        let wrong = |what: &str| Err(violation(Invariant::SoundSequences, format!("{}: {what}", show(batch))));
        if sequence < 0 {
            return wrong("a negative sequence");
        }
        if self.left_ids.contains(&(place, id)) {
            return wrong("an id that its partition had left");
        }
        let Some(line) = self.lines.get(&place).copied() else {
            if sequence != 0 && sequence != self.first_sequence {
                return wrong("the first of its partition");
            }
            self.lines.insert(place, Line { id, epoch, next });
            return Ok(());
        };
        if (line.id, line.epoch) == (id, epoch) {
            if sequence == line.next.0 {
                self.lines.insert(place, Line { id, epoch, next });
            } else if line.next.0.wrapping_sub(sequence) & i32::MAX > i32::MAX / 2 {
                return wrong(&format!("a gap after {}", line.next.0));
            }
            return Ok(());
        }
        if line.id == id && epoch < line.epoch {
            return wrong(&format!("an epoch after {}", line.epoch));
        }
        // Another id needs no reason. The second reason stays, because the core may have chosen this id before it learned
        // that the topic was created again.
        let may_bump = self.may_bump.remove(&place) || (line.id == id && self.may_bump_late.remove(&place));
        if was_forgotten {
            self.met.push((FaultRow::TopicForgotten, "forgotten while it was idle, and back under a later epoch"));
        }
        if !may_bump && !was_forgotten && line.id == id {
            return wrong("the first of its epoch, and the one before had come to no harm");
        }
        if sequence != 0 && (line.id == id || sequence != self.first_sequence) {
            return wrong("the first of its epoch");
        }
        if line.id != id {
            self.left_ids.insert((place, line.id));
            if line.epoch == i16::MAX {
                self.met.push((FaultRow::EpochsUsedUp, "another id after the last epoch"));
            }
        }
        // Earlier batches that may be written must have their outcome before the new epoch starts. Later ones have
        // failed, but their failure is reported after this batch's outcome.
        let older = self.batches.get(&batch.spot).into_iter().flat_map(|all| all.range(..batch.first));
        let is_open = |(first, known): (&u64, &Sent)| {
            let is_older = (known.batch.stamped.id, known.batch.stamped.epoch) != (id, epoch);
            let may_be = known.attempts.iter().any(|attempt| !attempt.is_void());
            (is_older && may_be && !ledger.is_told(*first)).then(|| show(&known.batch))
        };
        if let Some(open) = older.filter_map(is_open).min() {
            return wrong(&format!("the first of its epoch, and {open} may be written and is open"));
        }
        self.lines.insert(place, Line { id, epoch, next });
        Ok(())
    }

    fn settle(&mut self, batch: &Batch, attempt: usize, to: Attempt) {
        let Some(known) = self.batches.get_mut(&batch.spot).and_then(|all| all.get_mut(&batch.first)) else { return };
        match to {
            Attempt::Answered(code) => known.history.codes.push(code),
            Attempt::Unanswered => known.history.unanswered += 1,
            Attempt::UnderWay | Attempt::NeverSent => {}
        }
        if known.batch.bytes == batch.bytes
            && let Some(attempt) = known.attempts.get_mut(attempt)
        {
            *attempt = to;
        }
    }

    /// A broker recognised a batch as a duplicate.
    pub(super) fn found_duplicate(&mut self, spot: Spot, first: u64) {
        if let Some(known) = self.batches.get_mut(&spot).and_then(|all| all.get_mut(&first)) {
            known.history.is_duplicate = true;
        }
    }

    /// A Produce response arrives.
    pub(super) fn answered(
        &mut self,
        connection: ConnectionId,
        correlation_id: CorrelationId,
        response: &ProduceResponse,
        ledger: &Ledger,
        now: Duration,
    ) {
        for (batch, attempt) in self.requests.remove(&(connection, correlation_id)).into_iter().flatten() {
            let fate = code_for(&batch, response).map_or(Attempt::Unanswered, Attempt::Answered);
            let Stamped { id, epoch, .. } = batch.stamped;
            let gate = self.gates.entry((batch.place(), id)).or_insert(Gate {
                opened_at: None,
                closed_in: None,
                why: "alone, to a partition that has acknowledged nothing",
            });
            if fate.is_acknowledged() && gate.closed_in.is_none_or(|closed| epoch > closed) {
                gate.opened_at = Some(now);
            }
            if self.breaks_line(fate, &batch, ledger) {
                self.may_bump.insert(batch.place());
                let why = match fate {
                    Attempt::Answered(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER) => "alone, after 45 at the head",
                    _ => "alone, after 59",
                };
                let remembers = fate == Attempt::Answered(ErrorCode::INVALID_PRODUCER_EPOCH);
                if !self.is_lumpy && !remembers {
                    let gate = Gate { opened_at: None, closed_in: Some(epoch), why };
                    self.gates.insert((batch.place(), id), gate);
                }
            }
            self.settle(&batch, attempt, fate);
        }
    }

    /// Whether this response shows that the partition's sequences are broken. OUT_OF_ORDER_SEQUENCE_NUMBER does not,
    /// while an earlier batch has no final answer.
    fn breaks_line(&self, attempt: Attempt, batch: &Batch, ledger: &Ledger) -> bool {
        let is_open_before = |(first, known): (&u64, &Sent)| {
            known.batch.topic_id == batch.topic_id
                && !ledger.is_told(*first)
                && !known.attempts.iter().any(|attempt| attempt.is_acknowledged())
        };
        match attempt {
            Attempt::Answered(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER) => {
                let before = self.batches.get(&batch.spot).into_iter().flat_map(|all| all.range(..batch.first));
                let mut in_flight = self.requests.values().flatten();
                !before.into_iter().any(is_open_before)
                    && !in_flight.any(|(other, _)| other.spot == batch.spot && other.first < batch.first)
            }
            Attempt::Answered(ErrorCode::INVALID_PRODUCER_EPOCH | ErrorCode::UNKNOWN_PRODUCER_ID) => true,
            _ => false,
        }
    }

    /// A record that was sent has failed, so its sequences are used or missing.
    pub(super) fn failed(&mut self, spot: Spot) {
        let places = self.lines.keys().filter(|(_, other)| *other == spot).copied();
        self.may_bump.extend(places);
    }

    /// The producer learns that a topic was created again.
    pub(super) fn made_anew(&mut self, topic: usize) {
        let places = self.lines.iter().filter(|((_, other), _)| other.topic == topic);
        for (place, line) in places {
            let reasons = if self.is_lumpy { &mut self.may_bump_late } else { &mut self.may_bump };
            reasons.insert(*place);
            let why = "alone, to a topic that was made anew";
            if !self.is_lumpy {
                let gate = Gate { opened_at: None, closed_in: Some(line.epoch), why };
                self.gates.insert((*place, line.id), gate);
            }
        }
    }

    /// The producer forgot an idle topic; its partitions return under another epoch.
    pub(super) fn forgot_topic(&mut self, topic: usize) {
        for (place, line) in self.lines.iter().filter(|((_, spot), _)| spot.topic == topic) {
            self.forgotten.insert(*place);
            let why = "alone, to a partition that was forgotten";
            self.gates.insert((*place, line.id), Gate { opened_at: None, closed_in: Some(line.epoch), why });
        }
    }

    /// A request without a response is written.
    pub(super) fn forget(&mut self, connection: ConnectionId, correlation_id: CorrelationId) {
        self.requests.remove(&(connection, correlation_id));
    }

    /// A connection has ended. The kernel did not have all of the `never_sent` requests.
    pub(super) fn ended(&mut self, connection: ConnectionId, never_sent: &[CorrelationId]) {
        self.throttled.remove(&connection);
        let ended: Vec<CorrelationId> =
            self.requests.keys().filter(|(on, _)| *on == connection).map(|(_, id)| *id).collect();
        for correlation_id in ended {
            let fate = if never_sent.contains(&correlation_id) { Attempt::NeverSent } else { Attempt::Unanswered };
            for (batch, attempt) in self.requests.remove(&(connection, correlation_id)).into_iter().flatten() {
                self.settle(&batch, attempt, fate);
            }
        }
    }
}

/// Returns a response's error code for a batch.
pub(super) fn code_for(batch: &Batch, response: &ProduceResponse) -> Option<ErrorCode> {
    answer_for(batch, response).map(|answer| answer.error_code)
}

/// Returns a batch's part of a response.
pub(super) fn answer_for<'a>(batch: &Batch, response: &'a ProduceResponse) -> Option<&'a PartitionProduceResponse> {
    let name = topic_name(batch.spot.topic);
    let is_it = |topic: &&TopicProduceResponse| match batch.topic_id {
        Uuid::ZERO => topic.name == name,
        id => topic.topic_id == id,
    };
    let mut topics = response.responses.iter().filter(is_it);
    topics.find_map(|topic| topic.partition_responses.iter().find(|answer| batch.spot.index == answer.index.into()))
}

/// Formats a batch for a person.
pub(super) fn show(batch: &Batch) -> String {
    let Batch { spot, stamped: Stamped { id, epoch, sequence }, count, first, .. } = batch;
    let last = Sequence(*sequence).after(count - 1).0;
    let topic = topic_name(spot.topic);
    let index = spot.index;
    format!("{topic}-{index}: records {first}+{count} (id {id}, epoch {epoch}, sequence {sequence}..={last})")
}

/// Formats several batches for a person.
pub(super) fn show_all(batches: &[Batch]) -> String {
    let mut text = String::new();
    for batch in batches {
        let _ = write!(text, "\n                 {}", show(batch));
    }
    text
}
