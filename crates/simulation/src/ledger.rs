//! Ledger of accepted records, their outcomes, and the logs; checks what the outcomes and the logs say.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use kurier_protocol::PartitionIndex;
use kurier_protocol::record_batch::Batches;

use super::invariant::{Invariant, Violation, violation};
use super::plan::{Plan, topic_name};
use super::wire::Spot;
use kurier_engine::config::Acks;
use kurier_engine::error::{Error, ErrorKind, Written};
use kurier_engine::record::RecordMetadata;

/// An accepted record; its number is its index in the ledger.
#[derive(Debug)]
struct Entry {
    topic: usize,
    /// The partition, if the sender chose it.
    partition: Option<PartitionIndex>,
    bytes: usize,
    accepted_at: Duration,
    outcome: Option<Told>,
}

/// A record's outcome, as its sender got it.
#[derive(Debug)]
enum Told {
    Written { partition: PartitionIndex, offset: Option<i64> },
    Failed { written: Written, kind: ErrorKind, why: String },
}

/// All accepted records with their outcomes.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: Vec<Entry>,
    open: usize,
    /// The oldest record that may be open.
    first_open: usize,
    /// The newest completed record of each partition.
    newest_told: HashMap<(String, PartitionIndex), u64>,
    /// Records that a new leader lacked.
    truncated: HashSet<u64>,
    /// Partitions without a guaranteed order: their topic was created again, and batches name the topic by its name.
    unordered: HashSet<Spot>,
    is_closed: bool,
}

/// The numbers of a partition's records, in the order of its log.
pub(super) type Log = Vec<u64>;

/// A record's value: its number, and bytes derived from it.
pub(super) fn value(number: u64, bytes: usize) -> Vec<u8> {
    let mut value = number.to_be_bytes().to_vec();
    let filler = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    value.extend(filler.iter().cycle().take(bytes.saturating_sub(8)));
    value
}

impl Ledger {
    /// The number of the next record.
    pub(super) fn next(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(super) fn accept(&mut self, topic: usize, partition: Option<PartitionIndex>, bytes: usize, now: Duration) {
        self.entries.push(Entry { topic, partition, bytes, accepted_at: now, outcome: None });
        self.open += 1;
    }

    pub(super) fn open_count(&self) -> usize {
        self.open
    }

    /// Whether a record has its outcome.
    pub(super) fn is_told(&self, number: u64) -> bool {
        self.entry(number).is_some_and(|entry| entry.outcome.is_some())
    }

    pub(super) fn was_written(&self, number: u64) -> bool {
        self.entry(number).is_some_and(|entry| matches!(entry.outcome, Some(Told::Written { .. })))
    }

    /// Returns the kind of error that a record's sender got.
    pub(super) fn failure(&self, number: u64) -> Option<ErrorKind> {
        match self.entry(number)?.outcome {
            Some(Told::Failed { kind, .. }) => Some(kind),
            _ => None,
        }
    }

    /// Returns whether a record failed because `delivery.timeout.ms` was over.
    pub(super) fn has_expired(&self, number: u64) -> bool {
        self.failure(number) == Some(ErrorKind::DeliveryTimeout)
    }

    /// Returns when a record was accepted.
    pub(super) fn accepted_at(&self, number: u64) -> Option<Duration> {
        self.entry(number).map(|entry| entry.accepted_at)
    }

    /// Returns the open records whose time of acceptance meets a condition.
    pub(super) fn open(&self, is_met: impl Fn(Duration) -> bool) -> Vec<u64> {
        let numbered = self.entries.iter().zip(0..).skip(self.first_open);
        numbered.filter(|(entry, _)| entry.outcome.is_none() && is_met(entry.accepted_at)).map(|(_, at)| at).collect()
    }

    /// Returns a record's outcome as text for a person.
    pub(super) fn say(&self, number: u64) -> String {
        self.entry(number).map_or_else(String::new, |entry| format!("{:?}", entry.outcome))
    }

    fn entry(&self, number: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(number).ok()?)
    }

    /// Returns the topic of a record.
    pub(super) fn topic_of(&self, number: u64) -> Option<usize> {
        self.entry(number).map(|entry| entry.topic)
    }

    /// Marks records that a new leader lacks.
    pub(super) fn truncate(&mut self, records: &[u64]) {
        self.truncated.extend(records);
    }

    /// Stops checking a partition's order.
    pub(super) fn forgo_order(&mut self, spot: Spot) {
        self.unordered.insert(spot);
    }

    /// Returns the oldest open record, and when it was accepted.
    pub(super) fn oldest_open(&mut self) -> Option<(u64, Duration)> {
        while self.entries.get(self.first_open).is_some_and(|entry| entry.outcome.is_some()) {
            self.first_open += 1;
        }
        self.entries.get(self.first_open).map(|entry| (self.first_open as u64, entry.accepted_at))
    }

    /// Stores a record's outcome.
    pub(super) fn tell(&mut self, number: u64, result: Result<RecordMetadata, Error>) -> Result<(), Violation> {
        let entry = usize::try_from(number).ok().and_then(|at| self.entries.get_mut(at));
        let Some(entry) = entry else {
            return Err(violation(Invariant::OneOutcome, format!("record {number} was never accepted")));
        };
        if entry.outcome.is_some() {
            return Err(violation(Invariant::OneOutcome, format!("record {number} has two outcomes")));
        }
        if self.is_closed {
            return Err(violation(
                Invariant::OneOutcome,
                format!("record {number} is told of after the producer is closed"),
            ));
        }
        let place = match &result {
            Ok(metadata) => Some((metadata.topic().to_owned(), metadata.partition().into())),
            Err(error) => error.topic_partition().map(|(topic, partition)| (topic.to_owned(), partition.into())),
        };
        if let Some(newest) = place.and_then(|place| self.newest_told.insert(place, number))
            && newest > number
        {
            return Err(violation(
                Invariant::OneOutcome,
                format!("record {number} is told of after {newest} of the same partition"),
            ));
        }
        self.open -= 1;
        entry.outcome = Some(match result {
            Ok(metadata) => Told::Written { partition: metadata.partition().into(), offset: metadata.offset() },
            Err(error) => Told::Failed { written: error.written(), kind: error.kind(), why: format!("{error:#}") },
        });
        Ok(())
    }

    /// Marks the producer as closed: no outcome may follow.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Returns how many records were written, not written, and unknown.
    pub(super) fn counts(&self) -> [usize; 3] {
        let mut counts = [0; 3];
        for entry in &self.entries {
            match entry.outcome {
                Some(Told::Written { .. }) => counts[0] += 1,
                Some(Told::Failed { written: Written::No, .. }) => counts[1] += 1,
                _ => counts[2] += 1,
            }
        }
        counts
    }

    /// Reads a partition's log, and compares each record with the one that was sent.
    pub(super) fn read(&self, batches: &[Bytes]) -> Result<Log, Violation> {
        /// Larger than any batch in a simulation.
        const LIMIT: usize = 1 << 24;
        let mut log = Log::new();
        for batch in batches.iter().flat_map(|bytes| Batches::new(bytes)) {
            let unreadable =
                |what: String| violation(Invariant::TrueOutcome, format!("a batch in the log cannot be read: {what}"));
            let batch = batch.map_err(|error| unreadable(error.to_string()))?;
            let body = kurier_compression::decompress_batch(&batch, LIMIT).map_err(|e| unreadable(e.to_string()))?;
            for record in batch.records_in(&body).map_err(|error| unreadable(error.to_string()))? {
                let record = record.map_err(|error| unreadable(error.to_string()))?;
                let sent = record.value.unwrap_or_default();
                let number = number_of(sent).unwrap_or(u64::MAX);
                let is_as_sent = self.entry(number).is_some_and(|entry| value(number, entry.bytes) == sent);
                if !is_as_sent {
                    return Err(violation(
                        Invariant::TrueOutcome,
                        format!("record {number} in the log is not as it was sent"),
                    ));
                }
                log.push(number);
            }
        }
        Ok(log)
    }

    /// Compares outcomes with the logs, by partition. A topic that was created again has several logs.
    pub(super) fn check(&self, logs: &BTreeMap<Spot, Vec<Log>>, plan: &Plan) -> Result<(), Violation> {
        let mut times: HashMap<u64, usize> = HashMap::new();
        for (spot, log) in logs.iter().flat_map(|(spot, logs)| logs.iter().map(move |log| (*spot, log))) {
            for number in log {
                *times.entry(*number).or_default() += 1;
                self.check_place(*number, spot)?;
            }
            if plan.config.enable_idempotence {
                self.check_log(spot, log)?;
            }
        }
        if plan.config.acks == Acks::None
            && let Some((number, times)) = times.iter().find(|(_, times)| **times > 1)
        {
            return Err(violation(
                Invariant::NoDuplicate,
                format!("record {number} stands {times} times, and was sent with acks=0"),
            ));
        }
        for (entry, number) in self.entries.iter().zip(0..) {
            let found = times.get(&number).copied().unwrap_or_default();
            self.check_entry(entry, number, found, logs, plan)?;
        }
        // With one batch in flight, offsets rise in the order of acknowledgement.
        let is_single = plan.config.max_in_flight == 1 && plan.config.acks != Acks::None;
        if is_single && self.truncated.is_empty() { self.check_offsets(logs) } else { Ok(()) }
    }

    /// Checks that a record is in the partition that it was sent to.
    fn check_place(&self, number: u64, spot: Spot) -> Result<(), Violation> {
        let is_there = |entry: &Entry| {
            entry.topic == spot.topic && entry.partition.is_none_or(|partition| partition == spot.index)
        };
        match self.entry(number).is_some_and(is_there) {
            true => Ok(()),
            false => {
                let what = format!("record {number} stands in {}-{}", topic_name(spot.topic), spot.index);
                Err(violation(Invariant::TrueOutcome, what))
            }
        }
    }

    /// Checks that each record is in the log once, in the order of acceptance.
    fn check_log(&self, spot: Spot, log: &Log) -> Result<(), Violation> {
        let mut seen = HashSet::new();
        let again = log.iter().find(|number| !seen.insert(**number));
        let at = format!("in {}-{}", topic_name(spot.topic), spot.index);
        if let Some(number) = again {
            return Err(violation(Invariant::NoDuplicate, format!("{at}, {number} stands twice")));
        }
        let is_disorder = |pair: &&[u64]| pair.first() > pair.last();
        match log.windows(2).find(is_disorder).filter(|_| !self.unordered.contains(&spot)) {
            Some(pair) => Err(violation(Invariant::InOrder, format!("{at}, records stand out of order: {pair:?}"))),
            None => Ok(()),
        }
    }

    /// Checks that a partition's records were acknowledged at rising offsets.
    fn check_offsets(&self, logs: &BTreeMap<Spot, Vec<Log>>) -> Result<(), Violation> {
        let mut highest: HashMap<Spot, (i64, u64)> = HashMap::new();
        for (entry, number) in self.entries.iter().zip(0..) {
            let Some(Told::Written { partition, offset: Some(offset) }) = entry.outcome else { continue };
            let spot = Spot { topic: entry.topic, index: partition };
            if logs.get(&spot).is_none_or(|logs| logs.len() > 1) {
                continue;
            }
            if let Some((before, other)) = highest.insert(spot, (offset, number))
                && before >= offset
            {
                let what = format!("record {number} is at offset {offset}, and {other} before it at {before}");
                return Err(violation(Invariant::InOrder, what));
            }
        }
        Ok(())
    }

    /// Checks that a record's outcome matches the logs.
    fn check_entry(
        &self,
        entry: &Entry,
        number: u64,
        found: usize,
        logs: &BTreeMap<Spot, Vec<Log>>,
        plan: &Plan,
    ) -> Result<(), Violation> {
        match &entry.outcome {
            None => Err(violation(Invariant::OneOutcome, format!("record {number} has no outcome"))),
            // With acks=1, an acknowledged record may be lost with its leader.
            Some(Told::Written { .. }) if self.truncated.contains(&number) => Ok(()),
            Some(Told::Written { partition, offset: Some(offset) }) => {
                let stands = |log: &Log| usize::try_from(*offset).ok().and_then(|at| log.get(at)) == Some(&number);
                let spot = Spot { topic: entry.topic, index: *partition };
                match logs.get(&spot).is_some_and(|logs| logs.iter().any(stands)) {
                    true => Ok(()),
                    false => {
                        let what = format!("record {number} is not at offset {offset} of partition {partition}");
                        Err(violation(Invariant::TrueOutcome, what))
                    }
                }
            }
            Some(Told::Written { .. }) if plan.config.acks == Acks::None || found > 0 => Ok(()),
            Some(Told::Written { .. }) => Err(violation(
                Invariant::TrueOutcome,
                format!("record {number} is nowhere, and was said to be written"),
            )),
            Some(Told::Failed { written: Written::No, why, .. }) if found > 0 => {
                Err(violation(Invariant::NoDuplicate, format!("record {number} is in the log, and was told: {why}")))
            }
            Some(Told::Failed { .. }) => Ok(()),
        }
    }
}

/// Returns the number of the record with this value.
pub(super) fn number_of(value: &[u8]) -> Option<u64> {
    value.first_chunk().map(|number| u64::from_be_bytes(*number))
}
