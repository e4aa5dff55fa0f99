//! Measures Kurier and other producers side by side, and prints a table for each workload.
//!
//! All send the same records to the sink, one program after the other, and that several times in turn, so that noise
//! falls on all alike. The sink has a processor of its own, and so has the producer; only where several threads share
//! a producer, all processors serve both. `make bench-peers` builds everything that it finds tools for; what is not
//! built is left out, with a notice. A run counts only if the sink received every record.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use kurier_bench::SinkProcess;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

/// Measure Kurier and other producers side by side, and print a table for each workload.
///
/// Ctrl-C stops the measurement and prints what was measured until then.
#[derive(Parser)]
struct Peers {
    /// Rounds. Each runs every program once.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Measure only workloads whose name contains this text; several of these options select more.
    #[arg(long)]
    only: Vec<String>,
    /// Measure only programs of these names, separated by commas.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Divide the numbers of records by this.
    #[arg(long, default_value_t = 1)]
    shorter: u64,
    /// Check each batch in the sink.
    #[arg(long)]
    verify: bool,
    /// Let sink and producers use all processors.
    #[arg(long)]
    unpinned: bool,
    /// Most seconds for a run.
    #[arg(long, default_value_t = 300)]
    limit: u64,
}

/// Records to send, with the flags of `kurier_bench::Workload`.
struct Work {
    name: &'static str,
    records: u64,
    flags: &'static [(&'static str, &'static str)],
}

/// JSON lines from another program, about 5:1 with gzip.
const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/events.txt");

const WORKLOADS: [Work; 15] = [
    Work { name: "100 B, no key", records: 3_000_000, flags: &[] },
    Work { name: "100 B, keys of 8 B", records: 3_000_000, flags: &[("--keyed", "1")] },
    Work { name: "1,000 B, no key", records: 1_000_000, flags: &[("--size", "1000")] },
    Work { name: "JSON 250 B, gzip", records: 500_000, flags: &json("gzip") },
    Work { name: "JSON 250 B, lz4", records: 1_000_000, flags: &json("lz4") },
    Work { name: "JSON 250 B, snappy", records: 1_000_000, flags: &json("snappy") },
    Work { name: "JSON 250 B, zstd", records: 1_000_000, flags: &json("zstd") },
    Work { name: "100 B, 500,000 records/s", records: 2_500_000, flags: &[("--rate", "500000")] },
    Work { name: "100 B, 50,000 records/s", records: 250_000, flags: &[("--rate", "50000")] },
    Work {
        name: "100 B, 1,000 records/s, linger 0",
        records: 5_000,
        flags: &[("--rate", "1000"), ("--linger-ms", "0")],
    },
    Work {
        name: "100 B, 1,000 records/s, linger 5",
        records: 5_000,
        flags: &[("--rate", "1000"), ("--linger-ms", "5")],
    },
    Work { name: "100 B, 10,000 partitions, no key", records: 2_000_000, flags: &[("--partitions", "10000")] },
    Work {
        name: "100 B, 10,000 partitions, keys of 8 B",
        records: 500_000,
        flags: &[("--partitions", "10000"), ("--keyed", "1")],
    },
    Work { name: "100 B, no key, 2 threads", records: 3_000_000, flags: &[("--threads", "2")] },
    Work { name: "100 B, no key, 4 threads", records: 3_000_000, flags: &[("--threads", "4")] },
];

const fn json(codec: &'static str) -> [(&'static str, &'static str); 4] {
    [("--size", "250"), ("--payload", EVENTS), ("--batch-size", "65536"), ("--compression", codec)]
}

impl Work {
    fn flag(&self, name: &str) -> Option<&'static str> {
        self.flags.iter().find(|flag| flag.0 == name).map(|flag| flag.1)
    }

    fn is_throttled(&self) -> bool {
        self.flag("--rate").is_some()
    }

    /// Whether one producer serves several threads. These use all processors.
    fn is_threaded(&self) -> bool {
        self.flag("--threads").is_some()
    }
}

/// A program to measure.
struct Program {
    name: &'static str,
    kind: Kind,
    command: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ceiling,
    Kurier,
    Peer,
}

/// Returns the programs that exist.
fn programs() -> Vec<Program> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    let ours = target.join("release");
    let peers = target.join("peers");
    let rust = |name: &str| peers.join("release").join(name);
    let jars = format!("{0}/java/*:{0}/java", peers.display());
    let candidates: [(&'static str, Kind, PathBuf, &[&str]); 12] = [
        ("ceiling", Kind::Ceiling, ours.join("ceiling"), &[]),
        ("kurier library", Kind::Kurier, ours.join("library"), &["--api", "send"]),
        ("kurier awaited", Kind::Kurier, ours.join("library"), &["--api", "await"]),
        ("kurier post", Kind::Kurier, ours.join("library"), &["--api", "post"]),
        ("kurier post_all", Kind::Kurier, ours.join("library"), &["--api", "post_all"]),
        ("kurier perf", Kind::Kurier, ours.join("kurier"), &["perf", "--json"]),
        ("kurier perf (each latency)", Kind::Kurier, ours.join("kurier"), &["perf", "--json", "--latency-every", "1"]),
        ("librdkafka", Kind::Peer, rust("rdkafka"), &[]),
        ("krafka", Kind::Peer, rust("krafka"), &[]),
        ("confluent-kafka", Kind::Peer, rust("confluent"), &[]),
        ("franz-go", Kind::Peer, peers.join("franz-go"), &[]),
        ("java", Kind::Peer, peers.join("java/Peer.class"), &["-Xmx1g", "-cp", &jars, "Peer"]),
    ];
    let mut programs = Vec::new();
    for (name, kind, path, arguments) in candidates {
        if !path.exists() {
            eprintln!("{name} is left out: it is not built");
            continue;
        }
        let program = if name == "java" { "java".to_owned() } else { path.display().to_string() };
        let command = [program].into_iter().chain(arguments.iter().map(|&argument| argument.to_owned())).collect();
        programs.push(Program { name, kind, command });
    }
    programs
}

impl Program {
    fn can_do(&self, work: &Work) -> bool {
        let is_plain = work.flag("--compression").is_none() && !work.is_throttled();
        match self.name {
            "kurier library" | "kurier awaited" => true,
            // Codecs and pauses hide what these save.
            "kurier post" => is_plain,
            "kurier post_all" => is_plain && work.flag("--keyed").is_none(),
            "ceiling" => is_plain && !work.is_threaded(),
            _ => !work.is_threaded(),
        }
    }

    /// Returns the arguments for a workload.
    fn arguments(&self, bootstrap: &str, work: &Work, records: u64) -> Vec<String> {
        let records = records.to_string();
        let flags = [("--bootstrap", bootstrap), ("--records", &records)];
        let flags = flags.into_iter().chain(work.flags.iter().copied());
        let mut arguments = Vec::new();
        let is_perf = self.name.starts_with("kurier perf");
        if is_perf {
            arguments.extend(["--topic", "bench"].map(str::to_owned));
            if work.flag("--size").is_none() {
                arguments.extend(["--record-size", "100"].map(str::to_owned));
            }
        }
        for (flag, value) in flags {
            match flag {
                _ if !is_perf => arguments.extend([flag.to_owned(), value.to_owned()]),
                "--keyed" => arguments.push("--keyed".to_owned()),
                "--partitions" => {}
                _ => {
                    let (flag, setting) = match flag {
                        "--bootstrap" => ("--bootstrap-server", ""),
                        "--records" => ("--num-records", ""),
                        "--size" => ("--record-size", ""),
                        "--payload" => ("--payload-file", ""),
                        "--rate" => ("--throughput", ""),
                        "--linger-ms" => ("-X", "linger.ms="),
                        "--batch-size" => ("-X", "batch.size="),
                        "--compression" => ("-X", "compression.type="),
                        other => unreachable!("{other} is not translated for kurier perf"),
                    };
                    arguments.extend([flag.to_owned(), format!("{setting}{value}")]);
                }
            }
        }
        arguments
    }
}

/// Processors for the sink, for the producers, and for both where a producer serves several threads.
struct Processors {
    all: CpuSet,
    sink: CpuSet,
    producer: CpuSet,
}

impl Processors {
    /// Chooses the first two that this process may use, or none.
    fn choose(is_pinned: bool) -> Result<Option<Self>> {
        let usable = sched_getaffinity(Pid::from_raw(0))?;
        let mut first = (0..CpuSet::count()).filter(|&number| usable.is_set(number).unwrap_or(false));
        let (Some(sink), Some(producer), true) = (first.next(), first.next(), is_pinned) else { return Ok(None) };
        let only = |number| -> Result<CpuSet> {
            let mut set = CpuSet::new();
            set.set(number)?;
            Ok(set)
        };
        Ok(Some(Self { all: usable, sink: only(sink)?, producer: only(producer)? }))
    }
}

/// Moves this thread to a processor. The processes that it starts begin there.
fn move_to(processor: Option<&CpuSet>) -> Result<()> {
    if let Some(set) = processor {
        sched_setaffinity(Pid::from_raw(0), set)?;
    }
    Ok(())
}

/// Runs a program once and returns its line of JSON, with the counts of the sink.
async fn run(program: &Program, sink: &mut SinkProcess, work: &Work, records: u64, limit: Duration) -> Result<Value> {
    let _ = sink.counts()?;
    let [path, arguments @ ..] = &program.command[..] else { bail!("{} has no command", program.name) };
    let mut command = Command::new(path);
    command.args(arguments).args(program.arguments(&sink.address, work, records));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = timeout(limit, command.spawn()?.wait_with_output());
    let output = output.await.with_context(|| format!("no result after {limit:?}"))??;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}", output.status, said.lines().next_back().unwrap_or_default());
    let printed = String::from_utf8_lossy(&output.stdout);
    let line = printed.lines().next_back().context("it printed nothing")?;
    let mut result: Value = serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
    let counts = sink.counts()?;
    ensure!(counts["bad"] == 0, "the sink refused {} batches", counts["bad"]);
    ensure!(result["failed"] == 0, "{} records failed", result["failed"]);
    ensure!(result["records"] == records, "it reports {} records, not {records}", result["records"]);
    ensure!(counts["sink_records"] == records, "the sink received {} records, not {records}", counts["sink_records"]);
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    let asked = records as f64;
    // `kurier perf` reports the mean size.
    let size = result["size"].as_f64().context("it reports no size")?;
    let is_smaller = counts["wire_bytes"].as_f64().is_some_and(|bytes| bytes < asked * size);
    let is_compressed = work.flag("--compression").is_some();
    ensure!(is_smaller == is_compressed, "the sink received {} bytes", counts["wire_bytes"]);
    if let (Some(result), Some(counts)) = (result.as_object_mut(), counts.as_object()) {
        result.extend(counts.clone());
    }
    Ok(result)
}

/// Results of a program, one for each round.
struct Results {
    name: &'static str,
    kind: Kind,
    runs: Vec<Value>,
}

/// Least, median and largest of some numbers.
#[derive(Clone, Copy)]
struct Spread(f64, f64, f64);

impl Results {
    /// Returns the spread of a field, if each run has it.
    fn spread(&self, field: &str) -> Option<Spread> {
        let mut numbers: Vec<f64> = self.runs.iter().filter_map(|run| run[field].as_f64()).collect();
        numbers.sort_by(f64::total_cmp);
        Some(Spread(*numbers.first()?, *numbers.get(numbers.len() / 2)?, *numbers.last()?))
    }

    fn median(&self, field: &str) -> Option<f64> {
        self.spread(field).map(|spread| spread.1)
    }
}

/// Writes the table of a workload, in the form of README.md.
fn table(work: &Work, records: u64, results: &[Results]) -> String {
    let ceiling = results.iter().find(|result| result.kind == Kind::Ceiling);
    let ceiling = ceiling.and_then(|ceiling| ceiling.median("cpu_us_per_rec"));
    let best = |field, is_better: fn(&f64, &f64) -> bool| {
        let peers = results.iter().filter(|result| result.kind == Kind::Peer);
        peers
            .filter_map(|peer| peer.median(field))
            .reduce(|best, next| if is_better(&next, &best) { next } else { best })
    };
    let (fastest, cheapest) = (best("rec_per_s", f64::gt), best("cpu_us_per_rec", f64::lt));
    let ratio = |number: Option<f64>, of: Option<f64>| match (number, of) {
        (Some(number), Some(of)) if of > 0.0 => format!("{:.2}", number / of),
        _ => String::new(),
    };
    let figure = |number: Option<f64>, digits: usize| number.map_or_else(String::new, |n| format!("{n:.digits$}"));
    let rounds = results.iter().map(|result| result.runs.len()).max().unwrap_or(0);
    let mut text = format!("\n### {} ({records} records, median of {rounds})\n\n", work.name);
    text += "| | records/s (least–most) | / best peer | CPU µs a record | / ceiling | / best peer | MB of memory | p50 ms | p99 ms \
             | latencies | bytes a record | batches a request |\n";
    text += "|---|---|---|---|---|---|---|---|---|---|---|---|\n";
    for result in results.iter().filter(|result| !result.runs.is_empty()) {
        let rate = result.spread("rec_per_s").unwrap_or(Spread(0.0, 0.0, 0.0));
        let cpu = result.median("cpu_us_per_rec");
        let quotient = |above, below| Some(result.median(above)? / result.median(below)?);
        let _ = writeln!(
            text,
            "| {} | {} ({}–{}) | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            result.name,
            thousands(rate.1),
            thousands(rate.0),
            thousands(rate.2),
            ratio(Some(rate.1), fastest),
            figure(cpu, 3),
            ratio(cpu, ceiling),
            ratio(cpu, cheapest),
            figure(result.median("rss_mb"), 0),
            figure(result.median("p50_ms"), 2),
            figure(result.median("p99_ms"), 2),
            figure(result.median("latencies").filter(|count| *count > 0.0), 0),
            figure(quotient("wire_bytes", "sink_records"), 1),
            figure(quotient("batches", "requests"), 1),
        );
    }
    text
}

/// Formats a number without a fraction, with commas.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Describes the machine and the moment.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches([' ', '\t', ':']);
    let count = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let said = |program: &str, arguments: &[&str]| {
        let output = std::process::Command::new(program).args(arguments).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let commit = said("git", &["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "--short=12", "HEAD"]);
    format!(
        "{count} processors: {model}; Linux {}; load {}; {}; commit {commit}\n",
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/loadavg").split(' ').next().unwrap_or_default(),
        said("date", &["-u", "+%F %H:%M UTC"]),
    )
}

/// Measures, and fills `results` by workload and program.
async fn measure(
    arguments: &Peers,
    work: &[&Work],
    programs: &[Program],
    results: &mut [Vec<Results>],
    processors: Option<&Processors>,
) -> Result<ExitCode> {
    let runs: usize = work.iter().map(|work| programs.iter().filter(|program| program.can_do(work)).count()).sum();
    let runs = runs * arguments.rounds;
    let (mut done, mut failed) = (0, 0);
    for (work, results) in work.iter().zip(results) {
        let records = work.records.div_ceil(arguments.shorter);
        let place = |choose: fn(&Processors) -> &CpuSet| {
            processors.map(|processors| if work.is_threaded() { &processors.all } else { choose(processors) })
        };
        move_to(place(|processors| &processors.sink))?;
        let mut flags = vec!["--partitions", work.flag("--partitions").unwrap_or("6")];
        flags.extend(arguments.verify.then_some("--verify"));
        let mut sink = SinkProcess::start(&flags)?;
        move_to(place(|processors| &processors.producer))?;
        for round in 1..=arguments.rounds {
            for (program, results) in programs.iter().zip(results.iter_mut()) {
                if !program.can_do(work) {
                    continue;
                }
                done += 1;
                eprint!("[{done}/{runs}] {}, round {round}: {}: ", work.name, program.name);
                let _ = std::io::stderr().flush();
                match run(program, &mut sink, work, records, Duration::from_secs(arguments.limit)).await {
                    Ok(run) => {
                        eprintln!("{} records/s, {} µs of CPU each", run["rec_per_s"], run["cpu_us_per_rec"]);
                        results.runs.push(run);
                    }
                    Err(error) => {
                        eprintln!("{error:#}");
                        failed += 1;
                    }
                }
            }
        }
    }
    if failed > 0 {
        eprintln!("{failed} of {runs} runs failed");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let arguments = Peers::parse();
    ensure!(arguments.rounds > 0 && arguments.shorter > 0, "--rounds and --shorter must be at least 1");
    let is_wanted =
        |work: &&Work| arguments.only.is_empty() || arguments.only.iter().any(|part| work.name.contains(part));
    let work: Vec<&Work> = WORKLOADS.iter().filter(is_wanted).collect();
    ensure!(!work.is_empty(), "no workload has such a name");
    let mut programs = programs();
    programs.retain(|program| arguments.peers.is_empty() || arguments.peers.iter().any(|name| name == program.name));
    ensure!(!programs.is_empty(), "no program has such a name");
    let empty = || programs.iter().map(|program| Results { name: program.name, kind: program.kind, runs: Vec::new() });
    let mut results: Vec<Vec<Results>> = work.iter().map(|_| empty().collect()).collect();
    let processors = Processors::choose(!arguments.unpinned)?;

    let mut out = std::io::stdout();
    write!(out, "{}", machine())?;
    let measured = tokio::select! {
        measured = measure(&arguments, &work, &programs, &mut results, processors.as_ref()) => Some(measured),
        _ = tokio::signal::ctrl_c() => None,
    };
    for (work, results) in
        work.iter().zip(&results).filter(|(_, results)| results.iter().any(|one| !one.runs.is_empty()))
    {
        write!(out, "{}", table(work, work.records.div_ceil(arguments.shorter), results))?;
    }
    match measured {
        Some(measured) => measured,
        None => {
            eprintln!("\ninterrupted");
            Ok(ExitCode::from(130))
        }
    }
}
