//! The client's example `three_ways`: one record without waiting, one awaited, one with a callback.

use anyhow::{Context, Result, ensure};
use kurier_e2e::command::cargo;
use kurier_e2e::kafka::Kafka;

pub(crate) fn three_ways(kafka: &Kafka) -> Result<()> {
    let topic = format!("three-ways-{}", std::process::id());
    kafka.create_topic(&topic, 1, 1, &[])?;
    let mut example = cargo();
    example.args(["run", "--quiet", "--locked", "-p", "kurier", "--example", "three_ways", "--"]);
    let output = example.args([kafka.bootstrap_servers(), &topic]).output()?;
    let printed = String::from_utf8(output.stdout)?;
    let talk = String::from_utf8_lossy(&output.stderr);
    print!("{printed}");
    ensure!(output.status.success(), "it ended with {}: {talk}", output.status);

    let read = kafka.read_by_java(&topic)?;
    ensure!(read.len() == 3, "three records were sent, and {} read: {read:?}", read.len());
    let places: Vec<_> = printed.lines().filter_map(place).collect();
    ensure!(!places.is_empty(), "it prints no partition and offset");
    for place in places {
        let is_there = read.iter().any(|record| (i64::from(record.partition), record.offset) == place);
        ensure!(is_there, "it prints partition and offset {place:?}, where nothing is");
    }
    ensure!(printed.to_lowercase().contains("callback"), "its callback prints nothing");
    println!("read by Java: {} records", read.len());
    kafka.delete_topics(&[&topic]).context("deleting the topic")
}

/// Finds the partition and offset in a line, whatever words surround them.
fn place(line: &str) -> Option<(i64, i64)> {
    let line = line.to_lowercase();
    let number_after = |word: &str| {
        let (_, rest) = line.split_once(word)?;
        let digits = rest.trim_start_matches(|letter: char| !letter.is_ascii_digit());
        digits.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
    };
    Some((number_after("partition")?, number_after("offset")?))
}
