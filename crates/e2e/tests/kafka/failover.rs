//! Failover: nodes die before and during input. No line may be lost, doubled or out of order.

use std::collections::HashMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::process::ChildStdin;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use kurier_e2e::clock::{now, sleep_until, wait_until};
use kurier_e2e::cluster::Cluster;
use kurier_e2e::kafka::Record;
use kurier_e2e::testdata;

use crate::kurier::{Outcome, Produce, Produced};
use crate::round_trip;

const LINES_PER_SECOND: usize = 5_000;
const TICKS_PER_SECOND: u32 = 100;

/// Feeds lines for a minute, or KURIER_FAILOVER_SECONDS. After a third of the time the leader of the busiest partition
/// is killed, and after two thirds it is revived.
pub(crate) fn failover(cluster: &mut Cluster) -> Result<()> {
    let seconds = env::var("KURIER_FAILOVER_SECONDS").map_or(Ok(60), |seconds| seconds.parse())?;
    let lines = LINES_PER_SECOND * usize::try_from(seconds)?;
    let topic = "failover";
    cluster.kafka().create_topic(topic, 6, 3, &["min.insync.replicas=2"])?;
    let (producing, input) =
        Produce::to(cluster.kafka(), topic)?.arguments(["-K", r"\t", "-X", "acks=all"]).standard_input()?;
    let start = now();
    let feeder = thread::spawn(move || feed(input, start, lines));
    let third = Duration::from_secs(seconds) / 3;

    sleep_until(start + third);
    let partitions = cluster.kafka().describe(topic)?;
    let busiest = partitions.iter().max_by_key(|partition| partition.end).context("it has six")?;
    let leader = busiest.leader.context("all nodes are up")?;
    // Frozen for 300 ms, the leader answers none of that time's 1,500 lines, and dies with unanswered batches.
    cluster.pause(leader)?;
    sleep_until(now() + Duration::from_millis(300));
    cluster.kill(leader)?;
    let killed_at = start.elapsed();
    let next = wait_until("another node leads", Duration::from_secs(30), || {
        let next = cluster.kafka().leader(topic, busiest.index).unwrap_or_default();
        Ok(next.filter(|next| *next != leader))
    })?;
    let moved_at = start.elapsed();
    sleep_until(start + third * 2);
    cluster.revive(leader)?;
    let revived_at = start.elapsed();

    // The command first: if it fails, its error says more than the feeder's.
    let produced = producing.finish()?;
    let fed = feeder.join().map_err(|_| anyhow!("the feeder panicked"))?;
    let late = fed.with_context(|| format!("it ended with {:?} and said: {}", produced.code, produced.talk))?;
    let read = cluster.kafka().read_by_java(topic)?;
    println!("partition {}: led by node {leader}, killed at {:.1} s", busiest.index, killed_at.as_secs_f64());
    println!("             led by node {next} at {:.1} s at the latest", moved_at.as_secs_f64());
    println!("             node {leader} back at {:.1} s", revived_at.as_secs_f64());
    println!(
        "lines {lines}, at most {:.1} s late; produced in {:.1} s",
        late.as_secs_f64(),
        produced.took.as_secs_f64()
    );
    check(&produced, lines, &read)?;
    cluster.kafka().wait_for_replicas(topic, 3)
}

/// The first of three bootstrap servers is dead. It led partitions until a moment ago.
pub(crate) fn first_bootstrap_server_dead(cluster: &mut Cluster) -> Result<()> {
    let (topic, file) = ("first-dead", testdata("events.txt"));
    let text = fs::read_to_string(&file)?;
    cluster.kafka().create_topic(topic, 6, 3, &["min.insync.replicas=2"])?;
    cluster.kill(0)?;
    let produced = Produce::to(cluster.kafka(), topic)?.arguments(["-K", r"\t"]).file(&file)?;
    let read = cluster.kafka().read_by_java(topic)?;
    let case = round_trip::CASES[0];
    let lines = case.lines(&text);
    println!("lines {}, read {}, in {:.1} s", lines.len(), read.len(), produced.took.as_secs_f64());
    produced.expect(0, lines.len())?;
    round_trip::check(case, &lines, &produced.report, &read)?;
    cluster.revive(0)?;
    cluster.kafka().wait_for_replicas(topic, 3)
}

/// Writes lines at a fixed rate. Returns the largest delay, while the reader did not keep up.
fn feed(mut input: ChildStdin, start: Instant, lines: usize) -> Result<Duration> {
    let a_tick = LINES_PER_SECOND / usize::try_from(TICKS_PER_SECOND)?;
    let mut late = Duration::ZERO;
    let mut text = String::new();
    for (tick, first) in (0u32..).zip((0..lines).step_by(a_tick)) {
        let due = start + Duration::from_secs(1) * tick / TICKS_PER_SECOND;
        sleep_until(due);
        text.clear();
        for n in first..lines.min(first + a_tick) {
            writeln!(text, "{}\t{}", key(n), value(n))?;
        }
        input.write_all(text.as_bytes()).context("kurier produce takes no more lines")?;
        late = late.max(due.elapsed());
    }
    Ok(late)
}

/// A third of all lines share a key, so that key's partition is the busiest.
fn key(n: usize) -> String {
    if n.is_multiple_of(3) { "busy".to_owned() } else { format!("user-{}", n % 1_000) }
}

fn value(n: usize) -> String {
    format!(r#"{{"n":{n},"event":"click","url":"https://example.com/items/{}"}}"#, n * 7_919 % 10_007)
}

/// Checks that every line was read once, in order for each key, and at the reported offset.
fn check(produced: &Produced, lines: usize, read: &[Record]) -> Result<()> {
    let mut times = vec![0usize; lines];
    let mut at = HashMap::new();
    let mut last_of_key: HashMap<&str, usize> = HashMap::new();
    let mut out_of_order = 0;
    for record in read {
        let n = number(record).with_context(|| format!("not a line that was written: {record:?}"))?;
        *times.get_mut(n).with_context(|| format!("there is no line {n}"))? += 1;
        at.insert((record.partition, Some(record.offset)), n);
        let key = record.key.as_deref().unwrap_or_default();
        out_of_order += usize::from(last_of_key.insert(key, n).is_some_and(|last| last >= n));
    }
    let lost = times.iter().filter(|times| **times == 0).count();
    let twice = times.iter().filter(|times| **times > 1).count();
    println!("read {}, lost {lost}, more than once {twice}, out of order {out_of_order}", read.len());
    let as_written = (read.len(), lost, twice, out_of_order) == (lines, 0, 0, 0);
    ensure!(as_written, "not each line once, in order; it ended with {:?} and said: {}", produced.code, produced.talk);
    produced.expect(0, lines)?;
    for (n, reported) in produced.report.iter().enumerate() {
        let Outcome::Written { partition, offset } = reported.outcome else { bail!("{reported:?}") };
        let found = at.get(&(partition, offset));
        ensure!(found == Some(&n), "{reported:?}, but line {:?} is there", found.map(|n| n + 1));
    }
    Ok(())
}

/// Returns a record's line number, if it is one of our lines.
fn number(record: &Record) -> Option<usize> {
    let n = record.value.strip_prefix(r#"{"n":"#)?.split(',').next()?.parse().ok()?;
    (record.key.as_deref() == Some(key(n).as_str()) && record.value == value(n)).then_some(n)
}
