//! Compares the instructions per record of the thread that sends with committed counts.
//!
//! Time depends on the machine and its load; the number of instructions hardly does. For each call of the producer, this
//! program runs itself under callgrind twice, with different numbers of records, so that start and end cancel out. Only
//! the thread that sends counts: what the others do depends on timing. The sink is a process of its own.
//!
//! Timing also decides how often a send opens a batch, and load adds up to 5 % this way. It never takes anything away. So
//! the gate takes a count that does not pass again, and compares the lowest. A count that fell passes too: on a busy
//! machine it would rise again. The gate only says that a new count can be committed.
//!
//! One more case does needless work for each record. The gate must see that it is slower, so it is no gate that passes
//! everything.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand};
use kurier::{Producer, Record, TopicProducer};
use kurier_bench::SinkProcess;

/// Compare the instructions per record with the committed counts of this architecture.
#[derive(Parser)]
struct Gate {
    #[command(subcommand)]
    step: Option<Step>,
    /// Write the counts, instead of comparing.
    #[arg(long)]
    accept: bool,
}

#[derive(Subcommand)]
enum Step {
    /// Send records; the gate runs this under callgrind.
    Send { case: String, servers: String, records: u64 },
}

/// Returns the file of committed counts: a line for each case.
fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("instructions.{}.tsv", std::env::consts::ARCH))
}

/// How often the gate takes a count that does not pass.
const TRIES: usize = 5;

/// Largest increase that passes, in percent.
const TOLERANCE: f64 = 3.0;

/// The calls, by their names in the file. All send 100 bytes.
const CASES: [&str; 7] =
    ["send", "send keyed", "send with headers", "send by name", "send and await", "post", "post_all"];

/// `send`, with a copy of each value before it.
const SLOWER: &str = "send slower";

/// Records of the two runs. All of them fit into buffer.memory, so that no send waits.
const RECORDS: [u64; 2] = [10_000, 35_000];

const VALUE: [u8; 100] = [b'v'; 100];

const TOPIC: &str = "gate";

fn main() -> Result<ExitCode> {
    let Gate { step, accept } = Gate::parse();
    match step {
        Some(Step::Send { case, servers, records }) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(send(&case, &servers, records))?;
            Ok(ExitCode::SUCCESS)
        }
        None => gate(accept),
    }
}

/// Sends the records of a run.
async fn send(case: &str, servers: &str, records: u64) -> Result<()> {
    // The first producer of a process calibrates a clock, for as many instructions as fit into a time.
    let calibrated = std::thread::spawn(|| drop(quanta::Clock::new())).join();
    ensure!(calibrated.is_ok(), "the clock cannot be calibrated");
    // A request takes whole batches, so the driver, not a timer, decides when they go.
    let producer = Producer::builder().bootstrap_servers([servers]).set("linger.ms", "1000").build().await?;
    let topic = producer.topic(TOPIC).await?;
    for number in 0..records {
        match case {
            "post" => topic.post(topic.record().value(&VALUE[..])).await?,
            "send" => topic.send(topic.record().value(&VALUE[..])).await?.forget(),
            "send keyed" => {
                let key = kurier_bench::key(number);
                topic.send(topic.record().key(&key[..]).value(&VALUE[..])).await?.forget();
            }
            "send with headers" => {
                let record = topic.record().value(&VALUE[..]).header("trace", "ab12").header("source", "gate");
                topic.send(record).await?.forget();
            }
            "send by name" => producer.send(Record::to(TOPIC).value(&VALUE[..])).await?.forget(),
            "post_all" => {
                topic.post_all(&mut &vec![VALUE; usize::try_from(records)?][..]).await?;
                break;
            }
            "send and await" => return send_and_await(&producer, &topic, records).await,
            SLOWER => {
                let value = std::hint::black_box(VALUE.to_vec());
                topic.send(topic.record().value(&value[..])).await?.forget();
            }
            other => bail!("{other} is no case"),
        }
    }
    let summary = producer.close(Duration::from_secs(60)).await?;
    ensure!(summary.written == records, "{summary}");
    Ok(())
}

/// Awaits each outcome when it is there, so that the number of times that this thread sleeps does not vary.
async fn send_and_await(producer: &Producer, topic: &TopicProducer, records: u64) -> Result<()> {
    /// Records between two flushes; a divisor of [`RECORDS`].
    const PART: u64 = 5_000;
    for _ in 0..records / PART {
        let mut deliveries = Vec::new();
        for _ in 0..PART {
            deliveries.push(topic.send(topic.record().value(&VALUE[..])).await?);
        }
        producer.flush().await?;
        for delivery in deliveries {
            delivery.await?;
        }
    }
    Ok(())
}

/// Counts, compares, and prints a table.
#[expect(clippy::print_stdout, reason = "the result of the program")]
fn gate(is_accepting: bool) -> Result<ExitCode> {
    let program = std::env::current_exe()?;
    let sink = SinkProcess::start(&[])?;
    let failures = check(&program, &sink.address, is_accepting)?;
    for failure in &failures {
        println!("{failure}");
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns what does not pass.
#[expect(clippy::print_stdout, reason = "the result of the program")]
fn check(program: &Path, servers: &str, is_accepting: bool) -> Result<Vec<String>> {
    let file = file();
    let committed = fs::read_to_string(&file).unwrap_or_default();
    let committed = |case: &str| {
        let line = committed.lines().find_map(|line| line.strip_prefix(case)?.strip_prefix('\t'));
        line.and_then(|count| count.parse::<f64>().ok())
    };
    let mut failures = Vec::new();
    let mut counts = String::new();
    let mut of_send = 0.0;
    println!("{:20} {:>10} {:>10} {:>8}", "instructions", "committed", "now", "change");
    for case in CASES {
        let before = committed(case);
        let count = fewest(
            || count_per_record(program, case, servers),
            |count| !is_accepting && before.is_none_or(|before| percent(before, count) <= TOLERANCE),
        )?;
        if case == "send" {
            of_send = count;
        }
        counts += &format!("{case}\t{count:.0}\n");
        let Some(before) = before else {
            println!("{case:20} {:>10} {count:>10.0}", "");
            if file.exists() && !is_accepting {
                failures.push(format!("{case}: no count is committed; make bench-gate ACCEPT=1 writes it"));
            }
            continue;
        };
        let change = percent(before, count);
        println!("{case:20} {before:>10.0} {count:>10.0} {change:>+7.1}%");
        if is_accepting {
            continue;
        }
        if change > TOLERANCE {
            failures.push(format!(
                "{case}: {change:+.1} % instructions, and {TOLERANCE} % pass: the path is slower; if that is meant, make \
                 bench-gate ACCEPT=1 writes the new count"
            ));
        } else if change < -TOLERANCE {
            println!("{case} became faster. On a quiet machine, make bench-gate ACCEPT=1 writes the new count.");
        }
    }
    if !file.exists() && !is_accepting {
        println!("No counts are committed for {}: make bench-gate ACCEPT=1 writes them.", std::env::consts::ARCH);
    }
    let slower = fewest(|| count_per_record(program, SLOWER, servers), |_| false)?;
    let change = percent(of_send, slower);
    println!("{SLOWER:20} {of_send:>10.0} {slower:>10.0} {change:>+7.1}% (must fail)");
    if change <= TOLERANCE {
        failures.push(format!("{SLOWER}: {change:+.1} %: the gate does not notice a copy of each value"));
    }
    if is_accepting && failures.is_empty() {
        fs::write(&file, counts).with_context(|| format!("{} cannot be written", file.display()))?;
    }
    Ok(failures)
}

/// Counts until a count `suffices`, but not for ever. Returns the lowest count: load can only add to it.
fn fewest(count: impl Fn() -> Result<f64>, suffices: impl Fn(f64) -> bool) -> Result<f64> {
    let mut lowest = count()?;
    for _ in 1..TRIES {
        if suffices(lowest) {
            break;
        }
        lowest = lowest.min(count()?);
    }
    Ok(lowest)
}

/// Returns the change in percent.
fn percent(before: f64, after: f64) -> f64 {
    (after / before - 1.0) * 100.0
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
fn count_per_record(program: &Path, case: &str, servers: &str) -> Result<f64> {
    let [few, many] = RECORDS;
    let (few_count, many_count) = (count(program, case, servers, few)?, count(program, case, servers, many)?);
    let more = many_count.checked_sub(few_count).context("more records took fewer instructions")?;
    Ok(more as f64 / (many - few) as f64)
}

/// Returns the number of instructions of the thread that sends.
fn count(program: &Path, case: &str, servers: &str, records: u64) -> Result<u64> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("counts");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--separate-threads=yes", "--quiet"]);
    valgrind.arg(format!("--callgrind-out-file={}", out.display()));
    valgrind.arg(program).args(["send", case, servers, &records.to_string()]);
    let output = valgrind.output().context("valgrind does not start: apt-get install valgrind")?;
    if !output.status.success() {
        std::io::stderr().write_all(&output.stderr)?;
        bail!("{case} failed under valgrind: {}", output.status);
    }
    // The first thread is the one that sends.
    let counted = fs::read_to_string(out.with_file_name("counts-01")).context("callgrind wrote no counts")?;
    let total = counted.lines().find_map(|line| line.strip_prefix("totals: ")).context("callgrind wrote no total")?;
    Ok(total.trim().parse()?)
}
