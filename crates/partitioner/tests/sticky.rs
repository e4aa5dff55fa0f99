//! Tests of the sticky choice: even for even loads, less for heavier loads, and consistent under many threads.

use std::sync::Mutex;
use std::thread;

use kurier_partitioner::{Sticky, Weights};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

proptest! {
    #![proptest_config(ProptestConfig::with_failure_persistence(FileFailurePersistence::WithSource("regressions")))]

    #[test]
    fn every_partition_is_picked_as_often_as_its_share_says(
        loads in prop::collection::vec(0u64..1_000_000, 1..20), unit in 1u32..100_000,
    ) {
        let loads: Vec<(i32, u64)> = (0..).step_by(3).zip(loads).collect();
        let weights = Weights::by_load(loads.iter().copied(), unit);
        let heaviest = loads.iter().map(|(_, load)| *load).max().unwrap();
        let total: u64 = loads.iter().map(|(_, load)| heaviest - load + u64::from(unit)).sum();
        for (partition, load) in &loads {
            let weight = heaviest - load + u64::from(unit);
            prop_assert!((weights.share(*partition) - weight as f64 / total as f64).abs() < 1e-9);
        }
        // Boundaries: each partition owns as many numbers below the total as its weight.
        let mut at = 0;
        for (partition, load) in &loads {
            let weight = heaviest - load + u64::from(unit);
            prop_assert_eq!(weights.pick(at), Some(*partition));
            prop_assert_eq!(weights.pick(at + weight - 1), Some(*partition));
            at += weight;
        }
        prop_assert_eq!(weights.pick(total), weights.pick(0));
    }
}

#[test]
fn no_partition_gives_no_choice() {
    assert_eq!(Weights::even([]).pick(3), None);
    assert_eq!(Weights::by_load([], 1).pick(3), None);
    assert_eq!(Weights::default().share(0), 0.0);
    assert_eq!(Sticky::new().current_or(|| None), None);
}

#[test]
fn heaviest_load_does_not_overflow() {
    let weights = Weights::by_load([(0, 0), (1, u64::MAX)], u32::MAX);
    assert_eq!(weights.pick(0), Some(0));
}

#[test]
fn bytes_for_a_former_partition_do_not_count() {
    let sticky = Sticky::new();
    assert_eq!(sticky.current_or(|| Some(4)), Some(4));
    assert!(sticky.appended(4, 100, 100));
    sticky.switch(4, 0);
    assert!(!sticky.appended(4, 100, 100));
    sticky.switch(4, 9);
    assert_eq!(sticky.current(), Some(0), "who comes late does not switch again");
    assert!(!sticky.appended(0, 99, 100));
    assert!(sticky.appended(0, u32::MAX, 100), "the count stays at its highest");
    sticky.switch(0, 0x7fff_ffff);
    assert_eq!(sticky.current(), Some(0x7fff_ffff), "the highest number that Kafka has");
}

#[test]
fn many_threads_switch_once_per_share() {
    const THREADS: usize = 4;
    const APPENDS: usize = 10_000;
    let sticky = Sticky::new();
    // Each share of 1,000 bytes takes 100 appends.
    let partitions: Vec<Mutex<usize>> = (0..=THREADS * APPENDS / 100).map(Mutex::new).collect();
    sticky.current_or(|| Some(0));
    let append = || loop {
        let partition = sticky.current().unwrap();
        let _locked = partitions[usize::try_from(partition).unwrap()].lock().unwrap();
        if sticky.current() == Some(partition) {
            if sticky.appended(partition, 10, 1000) {
                sticky.switch(partition, partition + 1);
            }
            break;
        }
    };
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| (0..APPENDS).for_each(|_| append()));
        }
    });
    assert_eq!(sticky.current(), i32::try_from(partitions.len() - 1).ok(), "no byte is lost");
}

#[test]
fn load_that_rises_between_reads_counts_as_heaviest() {
    let load = std::cell::Cell::new(0);
    let rising = (0..2).map(|partition| {
        load.set(load.get() + 10);
        (partition, load.get())
    });
    // The loads are 10 and 20 when the heaviest is determined, then 30 and 40.
    assert_eq!(Weights::by_load(rising, 1).share(0), 0.5);
}

#[test]
fn negative_partition_does_not_count() {
    let sticky = Sticky::new();
    assert!(!sticky.appended(-1, 7, 1));
    assert_eq!(sticky.current_or(|| Some(3)), Some(3));
}
