//! A producer's ledger: the records in the order of their sends, and the outcomes that the producer reported.
//!
//! The checker reads it as a file. The first line has the topic and its temporary size limit. Each further line has a
//! record: producer, counter, partition, bytes of the value, outcome. A written record also has the topic's
//! incarnation, and the reported partition and offset.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kurier::{Error, ErrorKind, RecordMetadata, Written};
use kurier_e2e::clock::now;

use crate::gaps::Acknowledgements;

/// Outcome of a record, as its producer reported it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// No outcome yet.
    Pending,
    /// Written; with acks=0 without an offset.
    Written {
        /// Incarnation of the topic; `None` if it may be either of two.
        incarnation: Option<usize>,
        partition: i32,
        offset: Option<i64>,
    },
    NotWritten,
    /// Not written, because the record exceeds the batch size limit.
    TooLarge,
    /// Failed because the topic was deleted: the record may be in the old topic's log, but in no later one.
    Recreated,
    Unknown,
    /// The producer did not accept the record.
    Refused,
}

/// A record of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) producer: usize,
    pub(crate) counter: usize,
    /// Its correct partition.
    pub(crate) partition: i32,
    /// Size of its value.
    pub(crate) bytes: usize,
    pub(crate) outcome: Outcome,
}

/// The facts about all records of a ledger's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) topic: String,
    pub(crate) limit: Option<Limit>,
}

impl Told {
    pub(crate) fn of(topic: &str) -> Self {
        Self { topic: topic.to_owned(), limit: None }
    }
}

/// The temporary limit on the topic's batch size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) bytes: usize,
    /// Counters of the records that were sent and completed while the limit certainly held. It may hold for records
    /// before and after them.
    pub(crate) from: usize,
    pub(crate) to: usize,
}

/// The ledger of one producer.
#[derive(Debug)]
pub(crate) struct Ledger {
    producer: usize,
    pub(crate) acknowledgements: Acknowledgements,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// For each counter: the record's partition, the size of its value, and its outcome.
    records: Vec<(i32, usize, Outcome)>,
    /// The topic's incarnation for outcomes that arrive now.
    incarnation: Option<usize>,
    /// Records without an outcome, by partition, with the time of their send.
    pending: BTreeMap<i32, BTreeMap<usize, Instant>>,
    errors: BTreeMap<String, usize>,
    /// Outcomes that arrived too early, by the earlier record of the same partition that has no outcome yet.
    early: BTreeMap<usize, Vec<String>>,
    /// Descriptions of outcomes that arrived out of order, with counts.
    out_of_turn: BTreeMap<String, usize>,
}

/// Number of records with each outcome.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) records: usize,
    pub(crate) written: usize,
    pub(crate) not_written: usize,
    pub(crate) too_large: usize,
    pub(crate) recreated: usize,
    pub(crate) unknown: usize,
    pub(crate) refused: usize,
    pub(crate) pending: usize,
}

impl Ledger {
    pub(crate) fn new(producer: usize, partitions: usize) -> Self {
        let state = State { incarnation: Some(0), ..State::default() };
        Self { producer, acknowledgements: Acknowledgements::new(partitions), state: Mutex::new(state) }
    }

    pub(crate) fn producer(&self) -> usize {
        self.producer
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the topic's incarnation for later acknowledgements; `None` if it may be either of two.
    pub(crate) fn set_incarnation(&self, incarnation: Option<usize>) {
        self.state().incarnation = incarnation;
    }

    /// Adds a record before its send. `make` returns the partition and value for its counter.
    pub(crate) fn give(&self, make: impl FnOnce(usize) -> (i32, String)) -> (usize, i32, String) {
        let mut state = self.state();
        let counter = state.records.len();
        let (partition, value) = make(counter);
        state.records.push((partition, value.len(), Outcome::Pending));
        state.pending.entry(partition).or_default().insert(counter, now());
        (counter, partition, value)
    }

    /// Whether all records up to this one have an outcome.
    pub(crate) fn is_answered_up_to(&self, counter: usize) -> bool {
        let state = self.state();
        state.pending.values().filter_map(BTreeMap::first_key_value).all(|(pending, _)| *pending > counter)
    }

    /// Notes that the producer did not accept a record.
    pub(crate) fn refuse(&self, counter: usize, error: &Error) {
        self.state().resolve(counter, Outcome::Refused, Some(error));
    }

    /// Notes a record's outcome from the producer.
    pub(crate) fn resolve(&self, counter: usize, result: &Result<RecordMetadata, Error>) {
        let mut state = self.state();
        match result {
            Ok(metadata) => {
                let (partition, offset) = (metadata.partition(), metadata.offset());
                self.acknowledgements.note(partition, now());
                let incarnation = state.incarnation;
                state.resolve(counter, Outcome::Written { incarnation, partition, offset }, None);
            }
            Err(error) => {
                let outcome = match (error.kind(), error.written()) {
                    (ErrorKind::RecordTooLarge, Written::No) => Outcome::TooLarge,
                    (ErrorKind::TopicRecreated, _) => Outcome::Recreated,
                    (_, Written::No) => Outcome::NotWritten,
                    (_, Written::Unknown) => Outcome::Unknown,
                };
                state.resolve(counter, outcome, Some(error));
            }
        }
    }

    /// Returns the records of a partition that have waited this long for an outcome.
    pub(crate) fn unanswered(&self, partition: i32, age: Duration) -> BTreeSet<usize> {
        let now = now();
        let state = self.state();
        let old = |(counter, given): (&usize, &Instant)| (now.duration_since(*given) >= age).then_some(*counter);
        state.pending.get(&partition).into_iter().flatten().map_while(old).collect()
    }

    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (_, _, outcome) in &self.state().records {
            counts.records += 1;
            match outcome {
                Outcome::Pending => counts.pending += 1,
                Outcome::Written { .. } => counts.written += 1,
                Outcome::NotWritten => counts.not_written += 1,
                Outcome::TooLarge => counts.too_large += 1,
                Outcome::Recreated => counts.recreated += 1,
                Outcome::Unknown => counts.unknown += 1,
                Outcome::Refused => counts.refused += 1,
            }
        }
        counts
    }

    /// Returns outcomes that arrived before an earlier record's of the same partition, with that outcome and counts.
    pub(crate) fn out_of_turn(&self) -> BTreeMap<String, usize> {
        self.state().out_of_turn.clone()
    }

    /// Returns the reported errors, with counts.
    pub(crate) fn errors(&self) -> BTreeMap<String, usize> {
        self.state().errors.clone()
    }

    fn entries(&self) -> Vec<Entry> {
        let entry = |(counter, (partition, bytes, outcome)): (usize, &(i32, usize, Outcome))| Entry {
            producer: self.producer,
            counter,
            partition: *partition,
            bytes: *bytes,
            outcome: *outcome,
        };
        self.state().records.iter().enumerate().map(entry).collect()
    }
}

impl State {
    fn resolve(&mut self, counter: usize, outcome: Outcome, error: Option<&Error>) {
        let Some((partition, _, place)) = self.records.get_mut(counter) else { return };
        let pending = self.pending.entry(*partition).or_default();
        pending.remove(&counter);
        *place = outcome;
        let earlier = pending.first_key_value().map(|(earlier, _)| *earlier).filter(|earlier| *earlier < counter);
        // A refused record has no turn.
        let earlier = earlier.filter(|_| outcome != Outcome::Refused);
        if error.is_none() && earlier.is_none() && self.early.is_empty() {
            return;
        }
        let text = describe(outcome, error);
        if error.is_some() {
            *self.errors.entry(text.clone()).or_default() += 1;
        }
        for early in self.early.remove(&counter).unwrap_or_default() {
            *self.out_of_turn.entry(format!("{early} | before | {text}")).or_default() += 1;
        }
        if let Some(earlier) = earlier {
            self.early.entry(earlier).or_default().push(text);
        }
    }
}

/// End of the description of an error whose record was never sent.
pub(crate) const NEVER_SENT: &str = ", never sent";

fn describe(outcome: Outcome, error: Option<&Error>) -> String {
    let outcome = match outcome {
        Outcome::Pending => "pending",
        Outcome::Written { .. } => "written",
        Outcome::NotWritten | Outcome::TooLarge => "not written",
        Outcome::Recreated => "not in the new topic",
        Outcome::Unknown => "unknown",
        Outcome::Refused => "refused",
    };
    let Some(error) = error else { return outcome.to_owned() };
    let code = error.error_code().map_or(String::new(), |code| format!(", {code}"));
    let stage = error.stage().map_or(String::new(), |stage| format!(", {stage}"));
    let attempts = if error.attempts() == 0 { NEVER_SENT } else { "" };
    format!("{outcome}: {:?}{stage}{code}{attempts}", error.kind())
}

/// Writes the ledgers of one topic to a file.
pub(crate) fn write<'l>(file: &Path, told: &Told, ledgers: impl IntoIterator<Item = &'l Ledger>) -> Result<()> {
    write_entries(file, told, ledgers.into_iter().flat_map(Ledger::entries))
}

pub(crate) fn write_entries(file: &Path, told: &Told, entries: impl IntoIterator<Item = Entry>) -> Result<()> {
    let mut out = BufWriter::new(File::create(file)?);
    write!(out, "{}", told.topic)?;
    if let Some(Limit { bytes, from, to }) = told.limit {
        write!(out, "\t{bytes}\t{from}\t{to}")?;
    }
    writeln!(out)?;
    for Entry { producer, counter, partition, bytes, outcome } in entries {
        write!(out, "{producer}\t{counter}\t{partition}\t{bytes}\t")?;
        match outcome {
            Outcome::Pending => writeln!(out, "pending"),
            Outcome::Written { incarnation, partition, offset } => {
                let either = |number: Option<String>| number.unwrap_or_else(|| "?".to_owned());
                let incarnation = either(incarnation.map(|incarnation| incarnation.to_string()));
                writeln!(
                    out,
                    "written\t{incarnation}\t{partition}\t{}",
                    either(offset.map(|offset| offset.to_string()))
                )
            }
            Outcome::NotWritten => writeln!(out, "not written"),
            Outcome::TooLarge => writeln!(out, "too large"),
            Outcome::Recreated => writeln!(out, "recreated"),
            Outcome::Unknown => writeln!(out, "unknown"),
            Outcome::Refused => writeln!(out, "refused"),
        }?;
    }
    Ok(out.flush()?)
}

/// Reads a file that [`write`] wrote.
pub(crate) fn read(file: &Path) -> Result<(Told, Vec<Entry>)> {
    let mut lines = BufReader::new(File::open(file)?).lines();
    let told = lines.next().context("the ledger is empty")??;
    let told = match told.split('\t').collect::<Vec<_>>()[..] {
        [topic] => Told::of(topic),
        [topic, bytes, from, to] => {
            let limit = Limit { bytes: bytes.parse()?, from: from.parse()?, to: to.parse()? };
            Told { limit: Some(limit), ..Told::of(topic) }
        }
        _ => bail!("the ledger: {told:?}"),
    };
    let entries = lines.map(|line| {
        let line = line?;
        entry(&line).with_context(|| format!("the ledger: {line:?}"))
    });
    Ok((told, entries.collect::<Result<_>>()?))
}

fn entry(line: &str) -> Result<Entry> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [producer, counter, partition, bytes, ref outcome @ ..] = fields[..] else { bail!("too short") };
    let outcome = match outcome {
        ["pending"] => Outcome::Pending,
        ["written", incarnation, partition, offset] => Outcome::Written {
            incarnation: if *incarnation == "?" { None } else { Some(incarnation.parse()?) },
            partition: partition.parse()?,
            offset: if *offset == "?" { None } else { Some(offset.parse()?) },
        },
        ["not written"] => Outcome::NotWritten,
        ["too large"] => Outcome::TooLarge,
        ["recreated"] => Outcome::Recreated,
        ["unknown"] => Outcome::Unknown,
        ["refused"] => Outcome::Refused,
        _ => bail!("no outcome"),
    };
    let (producer, counter) = (producer.parse()?, counter.parse()?);
    Ok(Entry { producer, counter, partition: partition.parse()?, bytes: bytes.parse()?, outcome })
}
