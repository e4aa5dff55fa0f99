//! The checker: compares the producers' reports with the log. Both are files: `ledger` wrote the first, Java's consumer
//! read the second. A recreated topic has a log for each incarnation, in their order.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::ledger::{self, Entry, Limit, Outcome, Told};
use crate::payload::{self, Payload, Unreadable};

/// The checker's result: allowed counts first, then misses.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Verdict {
    accepted: usize,
    written: usize,
    in_log: usize,
    not_written: usize,
    too_large: usize,
    recreated: usize,
    unknown: usize,
    unknown_in_log: usize,
    refused: usize,
    misses: Misses,
}

/// Counts that must be 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Misses {
    /// Reported as written, but not in the log.
    lost: usize,
    /// More than once in the log.
    doubled: usize,
    /// In the log after a later record of the same producer and partition.
    reordered: usize,
    /// In a wrong topic or partition, or not at the reported offset.
    misplaced: usize,
    /// Reported as not written, or not accepted, but in the log.
    untrue: usize,
    /// Without a reported outcome.
    unresolved: usize,
    /// In the log, but not from our producers.
    foreign: usize,
    /// Different from the sent value.
    damaged: usize,
    /// Too large for the topic's limit but written, or within it but reported as too large.
    against_the_limit: usize,
}

/// The number of bytes that a batch with one record has at most beside the record's value.
const BESIDE_THE_VALUE: usize = 100;

impl Misses {
    fn all(&self) -> [(&'static str, usize); 9] {
        let Self { lost, doubled, reordered, misplaced, untrue, unresolved, foreign, damaged, against_the_limit } =
            *self;
        [
            ("lost", lost),
            ("doubled", doubled),
            ("reordered", reordered),
            ("misplaced", misplaced),
            ("\"not written\", but in the log", untrue),
            ("without an outcome", unresolved),
            ("that nobody sent", foreign),
            ("damaged", damaged),
            ("against the limit of size", against_the_limit),
        ]
    }
}

impl Verdict {
    /// Whether there are no misses.
    pub(crate) fn is_clean(&self) -> bool {
        self.misses == Misses::default()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { accepted, written, in_log, not_written, too_large, recreated, .. } = self;
        let Self { unknown, unknown_in_log, refused, misses, .. } = self;
        writeln!(f, "  records accepted                 {accepted:>9}")?;
        writeln!(f, "  acknowledged                     {written:>9}")?;
        writeln!(f, "  unknown                          {unknown:>9}, of which {unknown_in_log} are in the log")?;
        writeln!(f, "  not written                      {not_written:>9}")?;
        writeln!(f, "  too large                        {too_large:>9}")?;
        writeln!(f, "  failed with a deleted topic      {recreated:>9}")?;
        writeln!(f, "  refused                          {refused:>9}")?;
        writeln!(f, "  in the log                       {in_log:>9}")?;
        misses.all().iter().try_for_each(|(what, count)| writeln!(f, "  {what:<32} {count:>9}"))
    }
}

/// Checks a ledger's file against the logs' files, one per incarnation of the topic.
pub(crate) fn check<L: AsRef<Path>>(ledger: &Path, logs: &[L]) -> Result<Verdict> {
    let (told, entries) = ledger::read(ledger).context("the ledger cannot be read")?;
    let mut checker = Checker::new(told, entries)?;
    for (incarnation, log) in logs.iter().enumerate() {
        for line in BufReader::new(File::open(log).context("the log cannot be read")?).lines() {
            let line = line?;
            let fields: Vec<&str> = line.splitn(5, '\t').collect();
            let [partition, offset, key_length, key, value] = fields[..] else { bail!("the log: {line:?}") };
            let key = (key_length != "-1").then_some(key);
            checker.handle(incarnation, (partition.parse()?, offset.parse()?), key, value);
        }
    }
    Ok(checker.verdict())
}

struct Checker {
    told: Told,
    /// Entries by producer and counter.
    entries: Vec<Vec<(Entry, Seen)>>,
    /// The last offset of each partition of each incarnation, and the last counter of each producer in the partition.
    last_offset: HashMap<(usize, i32), i64>,
    last_counter: HashMap<(i32, usize), usize>,
    verdict: Verdict,
}

/// Occurrences of a record in the log.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    times: usize,
    /// Whether the record is at the reported offset.
    is_where_told: bool,
}

impl Checker {
    fn new(told: Told, all: Vec<Entry>) -> Result<Self> {
        let mut entries: Vec<Vec<(Entry, Seen)>> = Vec::new();
        for entry in all {
            if entries.len() <= entry.producer {
                entries.resize_with(entry.producer + 1, Vec::new);
            }
            let of_producer = &mut entries[entry.producer];
            if of_producer.len() != entry.counter {
                bail!("the ledger: {entry:?} is not the next of its producer");
            }
            of_producer.push((entry, Seen::default()));
        }
        let (last_offset, last_counter) = (HashMap::new(), HashMap::new());
        Ok(Self { told, entries, last_offset, last_counter, verdict: Verdict::default() })
    }

    /// Handles a record of the log.
    fn handle(&mut self, incarnation: usize, (partition, offset): (i32, i64), key: Option<&str>, value: &str) {
        let misses = &mut self.verdict.misses;
        self.verdict.in_log += 1;
        if self.last_offset.insert((incarnation, partition), offset).is_some_and(|last| last >= offset) {
            misses.reordered += 1;
        }
        let payload = match Payload::read(value) {
            Ok(payload) => payload,
            Err(Unreadable::Foreign) => return misses.foreign += 1,
            Err(Unreadable::Damaged) => return misses.damaged += 1,
        };
        let entry = self.entries.get_mut(payload.producer).and_then(|entries| entries.get_mut(payload.counter));
        let Some((entry, seen)) = entry else { return misses.foreign += 1 };
        if key != payload::key(payload.counter).as_deref() {
            misses.damaged += 1;
        }
        if (payload.topic.as_str(), payload.partition, entry.partition) != (&self.told.topic, partition, partition) {
            misses.misplaced += 1;
        }
        seen.times += 1;
        let here = match entry.outcome {
            Outcome::Written { incarnation: of, partition: told, offset: at } => {
                of.is_none_or(|of| of == incarnation) && told == partition && at.is_none_or(|at| at == offset)
            }
            _ => true,
        };
        // A record that failed with a deleted topic must not be in a later incarnation.
        misses.misplaced += usize::from(entry.outcome == Outcome::Recreated && incarnation > 0);
        seen.is_where_told |= here;
        if seen.times > 1 {
            misses.doubled += 1;
            return;
        }
        let last = self.last_counter.entry((partition, payload.producer)).or_insert(payload.counter);
        if *last > payload.counter {
            misses.reordered += 1;
        }
        *last = payload.counter.max(*last);
    }

    fn verdict(mut self) -> Verdict {
        let verdict = &mut self.verdict;
        let misses = &mut verdict.misses;
        for (entry, seen) in self.entries.iter().flatten() {
            misses.against_the_limit += usize::from(is_against(self.told.limit, entry));
            verdict.accepted += usize::from(entry.outcome != Outcome::Refused);
            match entry.outcome {
                Outcome::Written { .. } => {
                    verdict.written += 1;
                    misses.lost += usize::from(seen.times == 0);
                    misses.misplaced += usize::from(seen.times > 0 && !seen.is_where_told);
                }
                Outcome::NotWritten | Outcome::TooLarge | Outcome::Refused => {
                    match entry.outcome {
                        Outcome::Refused => verdict.refused += 1,
                        Outcome::TooLarge => verdict.too_large += 1,
                        _ => verdict.not_written += 1,
                    }
                    misses.untrue += usize::from(seen.times > 0);
                }
                Outcome::Recreated => verdict.recreated += 1,
                Outcome::Unknown => {
                    verdict.unknown += 1;
                    verdict.unknown_in_log += usize::from(seen.times > 0);
                }
                Outcome::Pending => misses.unresolved += 1,
            }
        }
        self.verdict
    }
}

/// Whether a record's outcome contradicts the topic's batch size limit. A record reported as too large must exceed the
/// limit, whenever it was sent. A larger record may be written only when the limit may not have held.
fn is_against(limit: Option<Limit>, entry: &Entry) -> bool {
    match (entry.outcome, limit) {
        (Outcome::TooLarge, None) => true,
        (Outcome::TooLarge, Some(limit)) => entry.bytes + BESIDE_THE_VALUE <= limit.bytes,
        (Outcome::Written { .. }, Some(limit)) => {
            entry.bytes > limit.bytes && (limit.from..limit.to).contains(&entry.counter)
        }
        _ => false,
    }
}
