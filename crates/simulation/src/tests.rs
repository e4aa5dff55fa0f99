//! A few simulations in every test run: no invariant breaks, and deliberate mistakes are detected.

use std::collections::BTreeSet;

use super::Mutant;
use super::world::play;

#[test]
fn no_promise_is_broken_in_a_hundred_worlds() {
    let (mut written, mut rows) = (0, BTreeSet::new());
    for seed in 0..100 {
        let (report, result) = play(seed, None, None);
        assert_eq!(result, Ok(()), "seed {seed}, after {} moments and {:?}", report.moments, report.time);
        rows.extend(report.met.keys().map(|(row, _)| *row));
        written += report.records[0];
    }
    assert!(written > 5_000, "{written} records");
    assert!(rows.len() > 30, "of the fault catalogue only {rows:?} were met");
}

/// Seeds that once broke an invariant, each with its cause.
#[test]
fn replayed_seeds_break_no_promise() {
    for (seed, fault) in [
        (2_016_322, "known nodes that refuse kept the producer from the bootstrap servers"),
        (2_020_194, "the same, until records expired"),
        (2_038_819, "the check took a question for unanswered that the producer had an answer to"),
        (16_045, "the check took a question for unanswered that a response at the same time had answered"),
        (80_609, "the check knew no reason for another epoch, because another id had used up the reason"),
        (3_023_382, "a late response showed senders a topic that was being forgotten"),
        (3_026_675, "the same"),
        (3_042_703, "the same"),
        (3_049_538, "the same, until the producer was closed"),
        (3_057_776, "the same"),
    ] {
        assert_eq!(play(seed, None, None).1, Ok(()), "seed {seed}: {fault}");
    }
}

#[test]
fn a_seed_gives_the_same_run_always() {
    let tell = |seed| {
        let mut lines = Vec::new();
        let _ = play(seed, None, Some(&mut |line: &str| lines.push(line.to_owned())));
        lines
    };
    for seed in 0..20 {
        let (one, other) = (tell(seed), tell(seed));
        let differs = one.iter().zip(&other).find(|(one, other)| one != other);
        assert_eq!((differs, one.len()), (None, other.len()), "seed {seed}");
    }
}

/// Checks that a few seeds detect these mistakes. `make sim-mutants` looks for the others, which need more seeds.
#[test]
fn mistakes_are_found() {
    let mistakes = [
        Mutant::NewSequenceOnRetry,
        Mutant::ExpiredIsUnwritten,
        Mutant::FreeAtExpiry,
        Mutant::NoGate,
        Mutant::OffsetZero,
        Mutant::RestampUnsettled,
        Mutant::SendBehindHandshake,
        Mutant::ResetBreakerOnReconnect,
        Mutant::KeepFrameLimit,
        Mutant::FeedRetiring,
    ];
    for mutant in mistakes {
        let is_caught = |seed| play(seed, Some(mutant), None).1.is_err();
        assert!((0..60).any(is_caught), "{mutant:?}");
    }
}
