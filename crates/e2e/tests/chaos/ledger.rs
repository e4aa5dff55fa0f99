//! What a producer was given and what it said became of it, record by record, in the order in which they were given.
//!
//! As a file it is what the checker believes: a line with the topic, then a line a record: producer, counter, partition,
//! outcome; of a written one the partition and the offset that were told.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kurier::{Error, RecordMetadata, Written};
use kurier_e2e::clock::now;

use crate::gaps::Acknowledgements;

/// What became of a record, as its producer told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing yet.
    Pending,
    /// With acks=0 nobody says at which offset.
    Written {
        partition: i32,
        offset: Option<i64>,
    },
    NotWritten,
    Unknown,
    /// It was not accepted.
    Refused,
}

/// A record of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) producer: usize,
    pub(crate) counter: usize,
    /// Where it belongs.
    pub(crate) partition: i32,
    pub(crate) outcome: Outcome,
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
    /// By counter: where each record belongs, and what became of it.
    records: Vec<(i32, Outcome)>,
    /// Those without an outcome, by partition, with the time when they were given.
    pending: BTreeMap<i32, BTreeMap<usize, Instant>>,
    errors: BTreeMap<String, usize>,
    /// Outcomes that came before that of an earlier record of their partition, by that record.
    early: BTreeMap<usize, Vec<String>>,
    /// The same once that has its own, with how often.
    out_of_turn: BTreeMap<String, usize>,
}

/// How many records there are of each outcome.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) records: usize,
    pub(crate) written: usize,
    pub(crate) not_written: usize,
    pub(crate) unknown: usize,
    pub(crate) refused: usize,
    pub(crate) pending: usize,
}

impl Ledger {
    pub(crate) fn new(producer: usize, partitions: usize) -> Self {
        Self { producer, acknowledgements: Acknowledgements::new(partitions), state: Mutex::default() }
    }

    pub(crate) fn producer(&self) -> usize {
        self.producer
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record is about to be given to the producer; this is its counter if `partition` says for it where it belongs.
    pub(crate) fn give(&self, partition: impl FnOnce(usize) -> i32) -> (usize, i32) {
        let mut state = self.state();
        let counter = state.records.len();
        let partition = partition(counter);
        state.records.push((partition, Outcome::Pending));
        state.pending.entry(partition).or_default().insert(counter, now());
        (counter, partition)
    }

    /// The producer did not accept it.
    pub(crate) fn refuse(&self, counter: usize, error: &Error) {
        self.state().resolve(counter, Outcome::Refused, Some(error));
    }

    /// The producer told what became of it.
    pub(crate) fn resolve(&self, counter: usize, result: &Result<RecordMetadata, Error>) {
        let mut state = self.state();
        match result {
            Ok(metadata) => {
                let (partition, offset) = (metadata.partition(), metadata.offset());
                self.acknowledgements.note(partition, now());
                state.resolve(counter, Outcome::Written { partition, offset }, None);
            }
            Err(error) => {
                let outcome = match error.written() {
                    Written::No => Outcome::NotWritten,
                    Written::Unknown => Outcome::Unknown,
                };
                state.resolve(counter, outcome, Some(error));
            }
        }
    }

    /// The records of a partition that have had no outcome for so long.
    pub(crate) fn unanswered(&self, partition: i32, age: Duration) -> BTreeSet<usize> {
        let now = now();
        let state = self.state();
        let old = |(counter, given): (&usize, &Instant)| (now.duration_since(*given) >= age).then_some(*counter);
        state.pending.get(&partition).into_iter().flatten().map_while(old).collect()
    }

    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (_, outcome) in &self.state().records {
            counts.records += 1;
            match outcome {
                Outcome::Pending => counts.pending += 1,
                Outcome::Written { .. } => counts.written += 1,
                Outcome::NotWritten => counts.not_written += 1,
                Outcome::Unknown => counts.unknown += 1,
                Outcome::Refused => counts.refused += 1,
            }
        }
        counts
    }

    /// Outcomes that came before that of an earlier record of their partition, and what that was; each with how often.
    pub(crate) fn out_of_turn(&self) -> BTreeMap<String, usize> {
        self.state().out_of_turn.clone()
    }

    /// The errors that it told, each with how often.
    pub(crate) fn errors(&self) -> BTreeMap<String, usize> {
        self.state().errors.clone()
    }

    fn entries(&self) -> Vec<Entry> {
        let entry = |(counter, (partition, outcome)): (usize, &(i32, Outcome))| Entry {
            producer: self.producer,
            counter,
            partition: *partition,
            outcome: *outcome,
        };
        self.state().records.iter().enumerate().map(entry).collect()
    }
}

impl State {
    fn resolve(&mut self, counter: usize, outcome: Outcome, error: Option<&Error>) {
        let Some((partition, place)) = self.records.get_mut(counter) else { return };
        let pending = self.pending.entry(*partition).or_default();
        pending.remove(&counter);
        *place = outcome;
        let earlier = pending.first_key_value().map(|(earlier, _)| *earlier).filter(|earlier| *earlier < counter);
        // One that was not accepted has no turn.
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

fn describe(outcome: Outcome, error: Option<&Error>) -> String {
    let outcome = match outcome {
        Outcome::Pending => "pending",
        Outcome::Written { .. } => "written",
        Outcome::NotWritten => "not written",
        Outcome::Unknown => "unknown",
        Outcome::Refused => "refused",
    };
    let Some(error) = error else { return outcome.to_owned() };
    let code = error.error_code().map_or(String::new(), |code| format!(", {code}"));
    let stage = error.stage().map_or(String::new(), |stage| format!(", {stage}"));
    format!("{outcome}: {:?}{stage}{code}", error.kind())
}

/// Writes ledgers of one topic.
pub(crate) fn write<'l>(file: &Path, topic: &str, ledgers: impl IntoIterator<Item = &'l Ledger>) -> Result<()> {
    write_entries(file, topic, ledgers.into_iter().flat_map(Ledger::entries))
}

pub(crate) fn write_entries(file: &Path, topic: &str, entries: impl IntoIterator<Item = Entry>) -> Result<()> {
    let mut out = BufWriter::new(File::create(file)?);
    writeln!(out, "{topic}")?;
    for Entry { producer, counter, partition, outcome } in entries {
        write!(out, "{producer}\t{counter}\t{partition}\t")?;
        match outcome {
            Outcome::Pending => writeln!(out, "pending"),
            Outcome::Written { partition, offset: Some(offset) } => writeln!(out, "written\t{partition}\t{offset}"),
            Outcome::Written { partition, offset: None } => writeln!(out, "written\t{partition}"),
            Outcome::NotWritten => writeln!(out, "not written"),
            Outcome::Unknown => writeln!(out, "unknown"),
            Outcome::Refused => writeln!(out, "refused"),
        }?;
    }
    Ok(out.flush()?)
}

/// Reads what [`write`] wrote.
pub(crate) fn read(file: &Path) -> Result<(String, Vec<Entry>)> {
    let mut lines = BufReader::new(File::open(file)?).lines();
    let topic = lines.next().context("the ledger is empty")??;
    let entries = lines.map(|line| {
        let line = line?;
        entry(&line).with_context(|| format!("the ledger: {line:?}"))
    });
    Ok((topic, entries.collect::<Result<_>>()?))
}

fn entry(line: &str) -> Result<Entry> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [producer, counter, partition, ref outcome @ ..] = fields[..] else { bail!("too short") };
    let outcome = match outcome {
        ["pending"] => Outcome::Pending,
        ["written", partition] => Outcome::Written { partition: partition.parse()?, offset: None },
        ["written", partition, offset] => {
            Outcome::Written { partition: partition.parse()?, offset: Some(offset.parse()?) }
        }
        ["not written"] => Outcome::NotWritten,
        ["unknown"] => Outcome::Unknown,
        ["refused"] => Outcome::Refused,
        _ => bail!("no outcome"),
    };
    Ok(Entry { producer: producer.parse()?, counter: counter.parse()?, partition: partition.parse()?, outcome })
}
