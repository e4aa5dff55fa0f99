//! Command that runs the simulation: `make sim`.
//!
//! ```text
//! simulate --seeds 10000 [--from n]     runs the seeds, and prints how often each fault occurred
//! simulate --seed 42 [--mutant Name]    runs one seed, and prints its events
//! simulate --mutants [--seeds 20000]    makes each mistake, and looks for a seed that detects it
//! simulate --seeds 10000 --ledger simulation.tsv --commit 06c34eb --date 2026-11-22
//!                                       also appends a line with the results to the file
//! ```

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use kurier_simulation::{FaultRow, Mutant, Report, Violation, play};

type Error = Box<dyn std::error::Error>;

/// Command-line options.
#[derive(Default)]
struct Asked {
    from: u64,
    seeds: Option<u64>,
    seed: Option<u64>,
    mutant: Option<Mutant>,
    is_mutants: bool,
    ledger: Option<PathBuf>,
    commit: String,
    date: String,
}

fn main() -> Result<ExitCode, Error> {
    let asked = asked()?;
    if let Some(seed) = asked.seed {
        return replay(seed, asked.mutant);
    }
    // The report names a run that panics by its seed.
    std::panic::set_hook(Box::new(|_| {}));
    match asked.is_mutants {
        true => mutants(asked.from, asked.seeds.unwrap_or(20_000)),
        false => seeds(&asked),
    }
}

fn asked() -> Result<Asked, Error> {
    let mut asked = Asked::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut next = || words.next().ok_or_else(|| format!("{word} needs something after it"));
        match word.as_str() {
            "--seeds" => asked.seeds = Some(next()?.parse()?),
            "--from" => asked.from = next()?.parse()?,
            "--seed" => asked.seed = Some(next()?.parse()?),
            "--mutants" => asked.is_mutants = true,
            "--ledger" => asked.ledger = Some(next()?.into()),
            "--commit" => asked.commit = next()?,
            "--date" => asked.date = next()?,
            "--mutant" => {
                let name = next()?;
                let mutant = Mutant::ALL.into_iter().find(|mutant| format!("{mutant:?}") == name);
                asked.mutant = Some(mutant.ok_or_else(|| format!("{name:?} is none of {:?}", Mutant::ALL))?);
            }
            _ => return Err(format!("{word:?} is not known").into()),
        }
    }
    Ok(asked)
}

fn replay(seed: u64, mutant: Option<Mutant>) -> Result<ExitCode, Error> {
    let mut out = std::io::stdout().lock();
    let mut write = |line: &str| {
        let _ = writeln!(out, "{line}");
    };
    let (report, result) = play(seed, mutant, Some(&mut write));
    match result {
        Ok(()) => {
            writeln!(
                out,
                "seed {seed}: no promise was broken; {:?} virtual; digest {:016x}",
                report.time, report.digest
            )?;
            Ok(ExitCode::SUCCESS)
        }
        Err(violation) => {
            writeln!(out, "seed {seed}: {violation}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The first seed that breaks an invariant, and the sum of all reports before it.
struct Found {
    broken: Vec<(u64, Violation)>,
    total: Report,
}

/// Runs seeds on all cores, until one breaks an invariant or all are done.
fn search(from: u64, count: u64, mutant: Option<Mutant>) -> Found {
    let next = AtomicU64::new(from);
    let end = AtomicU64::new(from.saturating_add(count));
    let found = Mutex::new(Found { broken: Vec::new(), total: Report::default() });
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end.load(Ordering::Relaxed) {
                        return;
                    }
                    let (report, result) = play(seed, mutant, None);
                    let Ok(mut found) = found.lock() else { return };
                    add(&mut found.total, &report);
                    if let Err(violation) = result {
                        found.broken.push((seed, violation));
                        if mutant.is_some() {
                            end.store(0, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    found.broken.sort_by_key(|(seed, _)| *seed);
    found
}

fn add(total: &mut Report, report: &Report) {
    for (row, count) in &report.met {
        *total.met.entry(*row).or_default() += count;
    }
    for (sum, count) in total.records.iter_mut().zip(report.records) {
        *sum += count;
    }
    total.moments += report.moments;
    total.digest = total.digest.wrapping_add(report.digest);
    total.time += report.time;
}

fn seeds(asked: &Asked) -> Result<ExitCode, Error> {
    let (from, count) = (asked.from, asked.seeds.unwrap_or(1_000));
    let mut out = std::io::stdout().lock();
    #[expect(clippy::disallowed_methods, reason = "how long it takes here, not in there")]
    let start = Instant::now();
    let Found { broken, total } = search(from, count, asked.mutant);
    let rare = table(&total, &mut out)?;
    for (seed, violation) in broken.iter().take(10) {
        writeln!(out, "seed {seed}: {violation}\n    replay it: make sim SEED={seed}")?;
    }
    if let Some(ledger) = &asked.ledger {
        let mut line =
            format!("{from}\t{}\t{}\t{}", from.saturating_add(count).saturating_sub(1), asked.commit, asked.date);
        line += &format!("\t{}", broken.len());
        for (seed, violation) in &broken {
            line += &format!(" {seed}:{:?}", violation.invariant);
        }
        line += &format!("\t{}", start.elapsed().as_secs());
        writeln!(File::options().append(true).open(ledger)?, "{line}")?;
    }
    let [written, not_written, unknown] = total.records;
    writeln!(
        out,
        "sim: seeds {from}..{}, {} violations, {:.0?}; {written} records written, {not_written} not, {unknown} unknown; \
         {} moments in {:.0} hours; digest {:016x}",
        from.saturating_add(count),
        broken.len(),
        start.elapsed(),
        total.moments,
        total.time.as_secs_f64() / 3600.0,
        total.digest,
    )?;
    // If a row was hardly covered, a clean result says little.
    let is_proof = rare.is_empty() || count < ENOUGH_SEEDS;
    if !is_proof {
        writeln!(out, "sim: met fewer than {ENOUGH_TIMES} times: rows {rare:?}")?;
    }
    Ok(if broken.is_empty() && is_proof { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// With this many seeds, each row of the fault catalogue must be covered this many times.
const ENOUGH_SEEDS: u64 = 10_000;
const ENOUGH_TIMES: u64 = 100;

/// Writes the coverage of the fault catalogue. Returns the rows that were hardly covered.
fn table(total: &Report, out: &mut impl Write) -> Result<Vec<FaultRow>, Error> {
    let mut rare = Vec::new();
    writeln!(out, "row of the fault catalogue, and how often the producer met what")?;
    for row in FaultRow::ALL {
        let met = total.met.iter().filter(|((of, _), _)| of == row);
        let times: u64 = met.clone().map(|(_, times)| times).sum();
        writeln!(out, "{:>4} {:<66} {times:>9}", row.number(), row.description())?;
        for ((_, what), times) in met {
            writeln!(out, "      {times:>9} × {what}")?;
        }
        if times < ENOUGH_TIMES {
            rare.push(*row);
        }
    }
    Ok(rare)
}

fn mutants(from: u64, count: u64) -> Result<ExitCode, Error> {
    let mut out = std::io::stdout().lock();
    let mut caught = 0;
    for mutant in Mutant::ALL {
        let name = format!("{mutant:?}");
        match search(from, count, Some(mutant)).broken.first() {
            Some((seed, violation)) => {
                caught += 1;
                writeln!(out, "{name:<20} caught by seed {seed}: {violation}")?;
            }
            None => writeln!(out, "{name:<20} SURVIVES {count} seeds")?,
        }
    }
    writeln!(out, "sim: {caught} of {} mutants caught", Mutant::ALL.len())?;
    Ok(if caught == Mutant::ALL.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
