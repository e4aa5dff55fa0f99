//! Round trip: `kurier produce` writes a file of events, and readers get the same lines. Each key's lines are in the
//! file's order, in the partition Java would choose, and at the reported offsets.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kurier_e2e::kafka::{Kafka, Record};
use kurier_e2e::testdata;

use crate::kurier::{Outcome, Produce, Reported};

const PARTITIONS: i32 = 6;

/// Every codec with keys and acks=all, and every acks with and without keys.
pub(crate) const CASES: [Case; 10] = [
    Case { keyed: true, acks: "all", codec: "none" },
    Case { keyed: true, acks: "all", codec: "gzip" },
    Case { keyed: true, acks: "all", codec: "snappy" },
    Case { keyed: true, acks: "all", codec: "lz4" },
    Case { keyed: true, acks: "all", codec: "zstd" },
    Case { keyed: true, acks: "1", codec: "none" },
    Case { keyed: true, acks: "0", codec: "none" },
    Case { keyed: false, acks: "all", codec: "none" },
    Case { keyed: false, acks: "1", codec: "lz4" },
    Case { keyed: false, acks: "0", codec: "zstd" },
];

#[derive(Clone, Copy)]
pub(crate) struct Case {
    keyed: bool,
    acks: &'static str,
    codec: &'static str,
}

/// A line of the file as a record: key and value.
pub(crate) type Line<'a> = (Option<&'a str>, &'a str);

pub(crate) fn round_trip(kafka: &Kafka) -> Result<()> {
    let file = testdata("events.txt");
    let text = fs::read_to_string(&file)?;
    let replicas = kafka.nodes(kafka.bootstrap_servers())?.len().min(3);
    // A prefix that no other test on the same cluster uses. The pattern matches all topics but the twin.
    let prefix = format!("kurier-{}", std::process::id());
    let twin = format!("twin-of-{prefix}");
    kafka.create_topic(&twin, PARTITIONS, replicas, &[])?;
    kafka.produce_by_java(&twin, &file)?;
    let java = partitions_of_keys(&kafka.read_by_java(&twin)?)?;

    println!(
        "{:<18} {:>7} {:>8} {:>7} {:>7} {:>10} {:>7}",
        "records", "written", "reported", "kcat", "keys", "partitions", "took"
    );
    let mut topics = vec![twin];
    let mut by_kcat = BTreeMap::new();
    for case in CASES {
        let name = case.name();
        let topic = format!("{prefix}-{name}");
        kafka.create_topic(&topic, PARTITIONS, replicas, &[])?;
        let lines = case.lines(&text);
        let (report, took) = case.produce(kafka, &topic, &file, lines.len()).with_context(|| name.clone())?;
        kafka.wait_for_records(&topic, lines.len())?;
        let read = kafka.read_by_kcat(&topic)?;
        let keys = check(case, &lines, &report, &read).with_context(|| name.clone())?;
        if case.keyed {
            let other = java.iter().find(|(key, partition)| keys.get(*key) != Some(partition));
            ensure!(other.is_none() && keys.len() == java.len(), "{name}: Java puts other keys elsewhere: {other:?}");
        }
        let mut partitions: Vec<_> = read.iter().map(|record| record.partition).collect();
        partitions.dedup();
        println!(
            "{name:<18} {:>7} {:>8} {:>7} {:>7} {:>10} {:>5.1} s",
            lines.len(),
            report.len(),
            read.len(),
            keys.len(),
            partitions.len(),
            took.as_secs_f64()
        );
        by_kcat.insert(format!("case:{name}"), read);
        topics.push(topic);
    }

    let count = by_kcat.values().map(Vec::len).sum();
    let by_console = kafka.read_by_console_consumer(&format!("{prefix}-.*"), count)?;
    ensure!(by_console.keys().eq(by_kcat.keys()), "other headers: {:?}", by_console.keys());
    for (headers, read) in &by_kcat {
        same(headers, read, &by_console[headers])?;
    }
    println!("Java's console consumer: the same {count} records, each with its header");
    println!("Java's producer: the same partition for each of {} keys", java.len());
    kafka.delete_topics(&topics.iter().map(String::as_str).collect::<Vec<_>>())
}

impl Case {
    fn name(self) -> String {
        let keyed = if self.keyed { "keyed" } else { "unkeyed" };
        format!("{keyed}-{}-{}", self.acks, self.codec)
    }

    pub(crate) fn lines(self, text: &str) -> Vec<Line<'_>> {
        let record = |line| match self.keyed {
            true => line_of_key_and_value(line),
            false => (None, line),
        };
        text.lines().map(record).collect()
    }

    /// The header lets a reader of many topics tell which case wrote a record.
    fn produce(self, kafka: &Kafka, topic: &str, file: &Path, lines: usize) -> Result<(Vec<Reported>, Duration)> {
        let mut produce = Produce::to(kafka, topic)?.arguments(["-H", &format!("case={}", self.name())]);
        produce = produce.arguments(["-z", self.codec, "-X", &format!("acks={}", self.acks)]);
        if self.keyed {
            produce = produce.arguments(["-K", r"\t"]);
        }
        let produced = produce.file(file)?;
        produced.expect(0, lines)?;
        Ok((produced.report, produced.took))
    }
}

fn line_of_key_and_value(line: &str) -> Line<'_> {
    line.split_once('\t').map_or((None, line), |(key, value)| (Some(key), value))
}

/// Compares the read records with the written lines. Returns the partition of each key.
pub(crate) fn check(
    case: Case,
    lines: &[Line<'_>],
    report: &[Reported],
    read: &[Record],
) -> Result<HashMap<String, i32>> {
    let mut written = lines.to_vec();
    let mut found: Vec<Line<'_>> = read.iter().map(content).collect();
    written.sort_unstable();
    found.sort_unstable();
    same("the sorted lines", &written, &found)?;
    let distinct = written.windows(2).all(|pair| pair[0] != pair[1]);
    ensure!(distinct, "two lines of the file are the same: they could be confused");

    let keys = if case.keyed { partitions_of_keys(read)? } else { HashMap::new() };
    if case.keyed {
        let by_key = |lines: &mut dyn Iterator<Item = Line<'_>>| {
            lines.fold(BTreeMap::<String, Vec<String>>::new(), |mut by_key, (key, value)| {
                by_key.entry(key.unwrap_or_default().to_owned()).or_default().push(value.to_owned());
                by_key
            })
        };
        let (in_file, in_log) = (by_key(&mut lines.iter().copied()), by_key(&mut read.iter().map(content)));
        let out_of_order = in_file.iter().find(|(key, values)| in_log.get(*key) != Some(values));
        ensure!(
            out_of_order.is_none(),
            "the lines of {:?} are not in the file's order",
            out_of_order.map(|(key, _)| key)
        );
    }

    let places: HashMap<Line<'_>, &Record> = read.iter().map(|record| (content(record), record)).collect();
    for (reported, line) in report.iter().zip(lines) {
        let Outcome::Written { partition, offset } = &reported.outcome else { bail!("{reported:?}") };
        let place = places.get(line).context("it was read")?;
        ensure!(*partition == place.partition, "{reported:?}, but it is in partition {}", place.partition);
        let known = (case.acks != "0").then_some(place.offset);
        ensure!(*offset == known, "{reported:?}, but it is at offset {}", place.offset);
    }
    Ok(keys)
}

fn content(record: &Record) -> Line<'_> {
    (record.key.as_deref(), &record.value)
}

fn partitions_of_keys(records: &[Record]) -> Result<HashMap<String, i32>> {
    let mut keys = HashMap::new();
    for Record { partition, key, .. } in records {
        let key = key.as_ref().context("a record without a key")?;
        let first = *keys.entry(key.clone()).or_insert(*partition);
        ensure!(first == *partition, "{key:?} is in partitions {first} and {partition}");
    }
    Ok(keys)
}

/// Compares lists that are too long to print.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, ours: &[T], theirs: &[T]) -> Result<()> {
    let other = ours.iter().zip(theirs).find(|(ours, theirs)| ours != theirs);
    ensure!(other.is_none(), "{what}: they differ first in {other:?}");
    ensure!(ours.len() == theirs.len(), "{what}: {} and {} of them", ours.len(), theirs.len());
    Ok(())
}
