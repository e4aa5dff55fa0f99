//! What goes over the wire, watched: sequences, bytes, windows, places and throttling, I5 and I6; and what became of each
//! batch, for the table of what was met.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use kurier_protocol::messages::produce::{PartitionProduceResponse, TopicProduceResponse};
use kurier_protocol::messages::{ProduceRequest, ProduceResponse};
use kurier_protocol::record_batch::{RecordBatch, Sequence};
use kurier_protocol::{ErrorCode, Message, Uuid};

use super::ledger::{Ledger, Violation, number_of, violation};
use super::plan::{Plan, topic_name};
use crate::config::Acks;
use crate::core::ConnectionId;

/// A partition of a topic of this name, whichever topic that is at the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Spot {
    /// The topic, by its number in the plan.
    pub(super) topic: usize,
    pub(super) index: i32,
}

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

/// A partition of one topic, which below version 13 of Produce has no id.
type Place = (Uuid, Spot);

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

/// A batch as it was sent last, and what became of it before.
#[derive(Debug)]
struct Sent {
    batch: Batch,
    attempts: Vec<Attempt>,
    history: History,
}

/// What has become of a batch, under whatever sequences.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    pub(super) stamped: Option<Stamped>,
    pub(super) topic_id: Uuid,
    pub(super) count: i32,
    pub(super) codes: Vec<ErrorCode>,
    pub(super) unanswered: usize,
    pub(super) is_restamped: bool,
    /// Whether a broker found that it had it already.
    pub(super) is_duplicate: bool,
}

impl History {
    pub(super) fn met(&self, code: ErrorCode) -> bool {
        self.codes.contains(&code)
    }
}

/// What a batch is that goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    First,
    Same,
    Restamped,
    Other,
}

/// A partition's line of sequences, as far as it was sent.
#[derive(Clone, Copy, Debug)]
struct Line {
    id: i64,
    epoch: i16,
    next: Sequence,
}

/// Why only one batch may be in flight.
pub(super) type Why = &'static str;

/// Whether a partition has acknowledged a batch of an id, and not lately given a reason to think it forgot.
#[derive(Clone, Copy, Debug)]
struct Gate {
    opened_at: Option<Duration>,
    /// Acknowledgements of this epoch and those before say nothing of the next.
    closed_in: Option<i16>,
    why: Why,
}

/// Limits, and what has gone over the wire.
#[derive(Debug)]
pub(super) struct Wire {
    max_in_flight: usize,
    is_idempotent: bool,
    first_sequence: i32,
    /// Partitions that the producer has forgotten, and not sent to since.
    forgotten: HashSet<Place>,
    /// Whether the core may have ended a connection before it heard what came on it.
    is_lumpy: bool,
    /// Whether brokers answer Produce.
    has_answers: bool,
    /// The producer ids that the current cluster gave.
    ids: HashSet<i64>,
    batches: HashMap<Spot, BTreeMap<u64, Sent>>,
    by_sequence: HashMap<(Place, Stamped), u64>,
    lines: HashMap<Place, Line>,
    /// The ids that a partition has left behind.
    left_ids: HashSet<(Place, i64)>,
    gates: HashMap<(Place, i64), Gate>,
    /// Requests with batches that wait for their answers, each batch with the number of the attempt.
    requests: BTreeMap<(ConnectionId, i32), Vec<(Batch, usize)>>,
    /// Partitions that have a reason to go on under another epoch.
    may_bump: HashSet<Place>,
    /// Partitions that have another: their topic was made anew. A core that hears late may learn of it only after it had
    /// gone on under another epoch for the first one.
    may_bump_late: HashSet<Place>,
    /// Until when a connection is to be left alone.
    throttled: HashMap<ConnectionId, Duration>,
    /// To which node a partition's last batch went.
    sent_to: HashMap<Spot, i32>,
    /// What came up with the request that was sent last.
    pub(super) met: Vec<(u8, &'static str)>,
}

/// A partition that was silent for so long is taken for one that forgot us.
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

    /// The batches of a request.
    pub(super) fn parse(body: &Bytes, version: i16, ledger: &Ledger) -> Result<Vec<Batch>, Violation> {
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
                let first = first.ok_or_else(|| wrong("a batch without records".to_owned()))?;
                let number = ledger.topic_of(first).ok_or_else(|| wrong("a record that nobody sent".to_owned()))?;
                let stamped = Stamped {
                    id: header.producer_id.0,
                    epoch: header.producer_epoch.0,
                    sequence: header.base_sequence.0,
                };
                batches.push(Batch {
                    topic_id: topic.topic_id,
                    spot: Spot { topic: number, index: data.index },
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

    /// What has become of the batch whose first record is this one.
    pub(super) fn history(&self, spot: Spot, first: u64) -> Option<&History> {
        self.sent(spot, first).map(|sent| &sent.history)
    }

    /// Whether a batch was sent before.
    pub(super) fn known(&self, batch: &Batch) -> Known {
        match self.sent(batch.spot, batch.first) {
            None => Known::First,
            Some(before) if before.batch.bytes == batch.bytes => Known::Same,
            Some(before) if before.batch.stamped != batch.stamped => Known::Restamped,
            Some(_) => Known::Other,
        }
    }

    /// The batches of a request that waits for its answer.
    pub(super) fn asked(&self, connection: ConnectionId, correlation_id: i32) -> impl Iterator<Item = &Batch> {
        self.requests.get(&(connection, correlation_id)).into_iter().flatten().map(|(batch, _)| batch)
    }

    /// Whether a batch of a partition waits for its answer.
    pub(super) fn is_busy(&self, spot: Spot) -> bool {
        self.requests.values().flatten().any(|(batch, _)| batch.spot == spot)
    }

    /// Whether a batch of the same partition as this one waits for its answer.
    pub(super) fn is_busy_besides(&self, batch: &Batch) -> bool {
        self.requests.values().flatten().any(|(other, _)| other.spot == batch.spot && other.first != batch.first)
    }

    /// Whether the batch of this record went to a topic that was made anew, and is the newest of its name.
    pub(super) fn is_of_newer_topic(&self, spot: Spot, first: u64) -> bool {
        let Some(sent) = self.sent(spot, first) else { return false };
        let id = sent.batch.topic_id;
        self.lines.keys().any(|(other, at)| *at == spot && *other < id)
    }

    /// Whether any batch waits for its answer.
    pub(super) fn is_quiet(&self) -> bool {
        self.requests.is_empty()
    }

    /// Under which id and epoch a partition was sent to last.
    pub(super) fn identity(&self, spot: Spot) -> Option<(i64, i16)> {
        let of_spot = self.lines.iter().filter(|((_, other), _)| *other == spot);
        of_spot.map(|(_, line)| (line.id, line.epoch)).max()
    }

    /// Any request goes out.
    pub(super) fn check_throttle(&mut self, connection: ConnectionId, now: Duration) -> Result<(), Violation> {
        match self.throttled.get(&connection) {
            Some(until) if now < *until => {
                Err(violation("I8", format!("a request {:?} before the node wants any", *until - now)))
            }
            Some(_) => {
                self.throttled.remove(&connection);
                self.met.push((50, "waited until a node that throttled wants more"));
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(super) fn throttle(&mut self, connection: ConnectionId, until: Duration) {
        let known = self.throttled.entry(connection).or_default();
        *known = until.max(*known);
    }

    /// A request with batches goes out.
    pub(super) fn send(
        &mut self,
        (connection, node): (ConnectionId, i32),
        correlation_id: i32,
        batches: Vec<Batch>,
        ledger: &Ledger,
        now: Duration,
    ) -> Result<(), Violation> {
        let on_this = self.requests.keys().filter(|(other, _)| *other == connection).count();
        if on_this >= self.max_in_flight {
            return Err(violation("I6", format!("{} requests in flight on one connection", on_this + 1)));
        }
        let mut attempts = Vec::new();
        for batch in batches {
            self.check_place(connection, &batch)?;
            let known = self.known(&batch);
            if known == Known::Same {
                self.met.push((2, "sent again, byte for byte"));
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
                self.met.push((19, "several in flight without idempotence"));
            }
            if self.sent_to.insert(batch.spot, node).is_some_and(|before| before != node) {
                self.met.push((25, "sent to another leader, after the one before had answered or was lost"));
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

    /// Nothing goes to a new leader while the old one has not answered.
    fn check_place(&self, connection: ConnectionId, batch: &Batch) -> Result<(), Violation> {
        let is_elsewhere = |((on, _), batches): (&(ConnectionId, i32), &Vec<(Batch, usize)>)| {
            *on != connection && batches.iter().any(|(other, _)| other.spot == batch.spot)
        };
        match self.requests.iter().find(|request| is_elsewhere(*request)) {
            Some((on, _)) => Err(violation("I6", format!("{} goes to {connection:?}, and to {on:?}", show(batch)))),
            None => Ok(()),
        }
    }

    /// Without answers, only a batch that certainly never left may be sent again.
    fn check_certain(&self, batch: &Batch) -> Result<(), Violation> {
        let before = self.sent(batch.spot, batch.first).filter(|_| !self.has_answers);
        match before.is_some_and(|before| before.attempts.iter().any(|attempt| *attempt != Attempt::NeverSent)) {
            true => Err(violation("I2", format!("{} may have left, and is sent again with acks=0", show(batch)))),
            false => Ok(()),
        }
    }

    /// The current cluster gave this producer id.
    fn check_id(&self, batch: &Batch) -> Result<(), Violation> {
        match self.ids.contains(&batch.stamped.id) {
            true => Ok(()),
            false => Err(violation("I5", format!("{} has the producer id of another cluster", show(batch)))),
        }
    }

    /// The producer was given an id.
    pub(super) fn took_id(&mut self, id: i64) {
        self.ids.insert(id);
    }

    /// The bootstrap servers lead to another cluster: ids of the one before are void.
    pub(super) fn left_cluster(&mut self) {
        self.ids.clear();
    }

    /// Returns the record count of the batch that a record was last sent in.
    pub(super) fn batch_size_of(&self, spot: Spot, number: u64) -> Option<i32> {
        let (_, sent) = self.batches.get(&spot)?.range(..=number).next_back()?;
        Some(sent.batch.count)
    }

    /// Nothing new goes out while a batch whose sender was told that it may be written has its answer to come.
    fn check_unresolved(&self, batch: &Batch, ledger: &Ledger) -> Result<(), Violation> {
        let is_unresolved = |other: &&(Batch, usize)| other.0.spot == batch.spot && ledger.is_told(other.0.first);
        match self.requests.values().flatten().find(is_unresolved) {
            Some((other, _)) => {
                let (other, this) = (show(other), show(batch));
                Err(violation("I5", format!("{this} goes out while {other} has failed, and its answer is to come")))
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
            self.met.push((13, why));
        }
        let index = batch.spot.index;
        match others < window {
            true => Ok(()),
            false => {
                Err(violation("I6", format!("{} batches of partition {index} in flight, not {window}", others + 1)))
            }
        }
    }

    /// No sequence is ever used for other bytes, and no batch that may be written gets other sequences.
    fn check_bytes(&mut self, batch: &Batch) -> Result<(), Violation> {
        let stamped = batch.stamped;
        let before = self.by_sequence.get(&(batch.place(), stamped)).and_then(|first| self.sent(batch.spot, *first));
        if let Some(before) =
            before.filter(|before| before.batch.stamped == stamped && before.batch.bytes != batch.bytes)
        {
            let was_too_large = |attempt: &Attempt| *attempt == Attempt::Answered(ErrorCode::MESSAGE_TOO_LARGE);
            // A batch that is surely not in the log, and too large, lends its sequences to its pieces.
            let may_be_split =
                before.attempts.iter().all(|attempt| attempt.is_void()) && before.attempts.iter().any(was_too_large);
            if !may_be_split || batch.count >= before.batch.count {
                let (was, is) = (show(&before.batch), show(batch));
                return Err(violation("I5", format!("{was} was sent, and then {is} with other bytes")));
            }
            self.met.push((20, "a piece under the sequences of the whole"));
        }
        let Some(known) = self.sent(batch.spot, batch.first) else { return Ok(()) };
        if known.batch.stamped != stamped && !known.attempts.iter().all(|attempt| attempt.is_void()) {
            let (was, is, attempts) = (show(&known.batch), show(batch), &known.attempts);
            return Err(violation("I5", format!("{was} may be written ({attempts:?}), and is sent again as {is}")));
        }
        Ok(())
    }

    /// Sequences are without gaps from 0 on in each epoch, epochs rise, and an id that was left does not come back.
    fn check_line(&mut self, batch: &Batch, ledger: &Ledger) -> Result<(), Violation> {
        let Stamped { id, epoch, sequence } = batch.stamped;
        let place = batch.place();
        let next = Sequence(sequence).after(batch.count);
        let was_forgotten = self.forgotten.remove(&place);
        let wrong = |what: &str| Err(violation("I5", format!("{}: {what}", show(batch))));
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
        let may_bump = self.may_bump.remove(&place) || self.may_bump_late.remove(&place);
        if was_forgotten {
            self.met.push((70, "forgotten while it was idle, and back under a later epoch"));
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
                self.met.push((15, "another id after the last epoch"));
            }
        }
        // What went before and may be written is over before the new epoch begins. (What came after has failed, which is
        // told after this one's outcome.)
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

    /// A broker has found that it had a batch already.
    pub(super) fn found_duplicate(&mut self, spot: Spot, first: u64) {
        if let Some(known) = self.batches.get_mut(&spot).and_then(|all| all.get_mut(&first)) {
            known.history.is_duplicate = true;
        }
    }

    /// An answer to Produce arrives.
    pub(super) fn answered(
        &mut self,
        connection: ConnectionId,
        correlation_id: i32,
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

    /// Whether this answer says that the line of sequences is broken. A gap before a batch is none while one before it
    /// is not answered for good.
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

    /// A record of a partition failed that had been sent: its sequences are used or missing.
    pub(super) fn failed(&mut self, spot: Spot) {
        let places = self.lines.keys().filter(|(_, other)| *other == spot).copied();
        self.may_bump.extend(places);
    }

    /// The producer learns that a topic was made anew.
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

    /// The producer has forgotten a topic that was idle: its partitions come back under another epoch.
    pub(super) fn forgot_topic(&mut self, topic: usize) {
        for (place, line) in self.lines.iter().filter(|((_, spot), _)| spot.topic == topic) {
            self.forgotten.insert(*place);
            let why = "alone, to a partition that was forgotten";
            self.gates.insert((*place, line.id), Gate { opened_at: None, closed_in: Some(line.epoch), why });
        }
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

/// What an answer says of a batch.
pub(super) fn code_for(batch: &Batch, response: &ProduceResponse) -> Option<ErrorCode> {
    answer_for(batch, response).map(|answer| answer.error_code)
}

/// A batch's part of an answer.
pub(super) fn answer_for<'a>(batch: &Batch, response: &'a ProduceResponse) -> Option<&'a PartitionProduceResponse> {
    let name = topic_name(batch.spot.topic);
    let is_it = |topic: &&TopicProduceResponse| match batch.topic_id {
        Uuid::ZERO => topic.name == name,
        id => topic.topic_id == id,
    };
    let mut topics = response.responses.iter().filter(is_it);
    topics.find_map(|topic| topic.partition_responses.iter().find(|answer| answer.index == batch.spot.index))
}

/// A batch for people.
pub(super) fn show(batch: &Batch) -> String {
    let Batch { spot, stamped: Stamped { id, epoch, sequence }, count, first, .. } = batch;
    let last = Sequence(*sequence).after(count - 1).0;
    let topic = topic_name(spot.topic);
    let index = spot.index;
    format!("{topic}-{index}: records {first}+{count} (id {id}, epoch {epoch}, sequence {sequence}..={last})")
}

/// Several batches for people.
pub(super) fn show_all(batches: &[Batch]) -> String {
    let mut text = String::new();
    for batch in batches {
        let _ = write!(text, "\n                 {}", show(batch));
    }
    text
}
