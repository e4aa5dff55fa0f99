//! Tests of the accumulator: appending, weights, retiring and signals, with a clock that stands still.

use std::future::Future;

use super::*;
use crate::delivery::{Delivery, NoCallbacks};

fn accumulator(change: impl FnOnce(&mut Config)) -> Accumulator {
    let mut config = Config::default();
    change(&mut config);
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    let clock = Arc::new(Still(Instant::now()));
    Accumulator::new(Arc::new(config), clock, Arc::new(NoCallbacks), 1, FaultInjection::NONE, Box::new(|| {}))
}

/// Publishes the topic with partitions of these ids.
fn publish(accumulator: &Accumulator, ids: std::ops::Range<u32>) -> Arc<Topic> {
    let partitions = ids.map(|id| (PartitionId(id), Leadership::Anywhere)).collect();
    accumulator.publish(&Layout { topic: "t".into(), partitions });
    accumulator.topic("t").unwrap()
}

fn append(
    accumulator: &Accumulator,
    topic: &Topic,
    choice: Choice,
    value: &[u8],
    permit: Option<Permit>,
) -> Result<Delivery, AppendError> {
    let mut placed = Placed::timed(choice, None, NewRecord { value: Some(value), ..NewRecord::default() });
    match permit {
        None => accumulator.append(topic, &mut placed, &mut Delivery::new),
        permit => accumulator.append_with(topic, &mut placed, permit, &mut Delivery::new),
    }
}

fn loads(topic: &Topic) -> Vec<usize> {
    topic.partitions().map(|partition| partition.load.bytes()).collect()
}

#[test]
fn awaited_memory_is_charged_to_partition_of_the_record() {
    for (waited_for, value_bytes) in [(1024, 10), (4096, 10), (1024, 2_000)] {
        let accumulator = accumulator(|_| {});
        let topic = publish(&accumulator, 0..2);
        let other = Arc::clone(&topic.partition(0).unwrap().load);
        let permit = accumulator.memory.try_acquire(&other, waited_for);
        append(&accumulator, &topic, Choice::Partition(1), &vec![0; value_bytes], permit).unwrap().forget();
        let used = accumulator.memory.used();
        assert_eq!(loads(&topic), [0, used]);
        drop(accumulator.take(PartitionId(1), usize::MAX, true));
        assert_eq!((loads(&topic), accumulator.memory.used()), (vec![0, 0], 0));
    }
}

#[test]
fn records_without_a_key_use_partitions_of_smaller_recreated_topic() {
    let accumulator = accumulator(|_| {});
    let topic = publish(&accumulator, 0..8);
    let sticky = topic.sticky(stripe());
    sticky.switch(sticky.current_or(|| Some(7)).unwrap(), 7);
    append(&accumulator, &topic, Choice::Anywhere, b"v", None).unwrap().forget();
    publish(&accumulator, 0..2);
    append(&accumulator, &topic, Choice::Anywhere, b"v", None).unwrap().forget();
    let error = append(&accumulator, &topic, Choice::Partition(7), b"v", None).unwrap_err();
    assert!(matches!(error, AppendError::Refused(error) if error.kind() == ErrorKind::Partitioning));
}

#[test]
fn records_without_a_key_leave_stalled_partitions_out_unless_all_are() {
    // Partition 0 has one batch, partition 1 none, and partition 2 two.
    for (is_adaptive, stalled, expected) in [
        (true, &[][..], [0.33, 0.5, 0.17]),
        (true, &[1], [0.67, 0.0, 0.33]),
        (true, &[0, 1], [0.0, 0.0, 1.0]),
        (true, &[0, 1, 2], [0.33, 0.5, 0.17]),
        (false, &[1], [0.33, 0.33, 0.33]),
    ] {
        let accumulator = accumulator(|config| config.adaptive_partitioning = is_adaptive);
        let topic = publish(&accumulator, 0..3);
        let load = |at| Arc::clone(&topic.partition(at).unwrap().load);
        let batch = accumulator.config.batch_size;
        let _held = [(0, batch), (2, 2 * batch)].map(|(at, bytes)| accumulator.memory.try_acquire(&load(at), bytes));
        let all: Vec<_> = (0..3).map(|id| (PartitionId(id), stalled.contains(&id))).collect();
        accumulator.set_stalled(&all);
        let weights = accumulator.weights(&topic);
        let shares = [0, 1, 2].map(|at| (weights.share(at) * 100.0).round() / 100.0);
        assert_eq!(shares, expected, "{is_adaptive} {stalled:?}");
        // All leaders accept batches again.
        accumulator.set_stalled(&all.iter().map(|(id, _)| (*id, false)).collect::<Vec<_>>());
        assert!(accumulator.weights(&topic).share(1) > 0.3);
    }
}

#[test]
fn topic_is_retired_when_its_partitions_are_unused() {
    let accumulator = accumulator(|config| config.buffer_memory = 4_096);
    let topic = publish(&accumulator, 0..2);
    let retire = || accumulator.retire("t", &[PartitionId(0), PartitionId(1)]);
    append(&accumulator, &topic, Choice::Partition(1), b"v", None).unwrap().forget();
    assert!(!retire(), "a batch is open");
    let taken = accumulator.take(PartitionId(1), usize::MAX, true).0;
    assert!(!retire(), "a batch that was taken holds memory");
    drop(taken);
    let permit = accumulator.memory.try_acquire(&Arc::default(), 4_096);
    let partition = Arc::clone(topic.partition(0).unwrap());
    let far = accumulator.clock.now() + std::time::Duration::from_secs(1);
    let waiting = NoRoom { partition, bytes: 1_024 }.wait(&accumulator, far);
    assert!(!retire(), "a sender waits for memory");
    drop((waiting, permit));
    assert!(retire());
    assert!(accumulator.topic("t").is_none() && accumulator.partition_ids().is_empty());
    // An old handle must not append to a topic that the core has forgotten.
    for choice in [Choice::Partition(0), Choice::Anywhere] {
        let refused = append(&accumulator, &topic, choice, b"v", None);
        assert!(matches!(refused, Err(AppendError::Retired)), "{refused:?}");
    }
    let again = publish(&accumulator, 2..4);
    assert!(topic.is_retired() && !again.is_retired() && !Arc::ptr_eq(&topic, &again));
    append(&accumulator, &again, Choice::Anywhere, b"v", None).unwrap().forget();
}

#[test]
fn records_without_a_key_prefer_leaders_in_the_rack() {
    use Leadership::{Anywhere, None, SameRack};
    for (is_adaptive, leaders, stalled, expected) in [
        (true, [SameRack, Anywhere, Anywhere], &[][..], [1.0, 0.0, 0.0]),
        (true, [SameRack, Anywhere, SameRack], &[0], [0.0, 0.0, 1.0]),
        (true, [SameRack, Anywhere, None], &[0], [0.0, 1.0, 0.0]),
        (true, [SameRack, Anywhere, None], &[0, 1], [0.5, 0.5, 0.0]),
        (true, [Anywhere, Anywhere, None], &[], [0.5, 0.5, 0.0]),
        (false, [SameRack, Anywhere, SameRack], &[], [0.5, 0.0, 0.5]),
        (false, [Anywhere, Anywhere, None], &[], [0.5, 0.5, 0.0]),
    ] {
        let accumulator = accumulator(|config| config.adaptive_partitioning = is_adaptive);
        let partitions = (0..).map(PartitionId).zip(leaders).collect();
        accumulator.publish(&Layout { topic: "t".into(), partitions });
        let topic = accumulator.topic("t").unwrap();
        accumulator.set_stalled(&stalled.iter().map(|id| (PartitionId(*id), true)).collect::<Vec<_>>());
        let weights = accumulator.weights(&topic);
        assert_eq!([0, 1, 2].map(|at| weights.share(at)), expected, "{is_adaptive} {leaders:?} {stalled:?}");
    }
}

#[test]
fn batch_is_never_larger_than_max_request_size() {
    for value_bytes in 90..130 {
        let accumulator = accumulator(|config| (config.max_request_size, config.batch_size) = (4_000, 4_000));
        let topic = publish(&accumulator, 0..1);
        for _ in 0..100 {
            append(&accumulator, &topic, Choice::Partition(0), &vec![0; value_bytes], None).unwrap().forget();
        }
        while let (Some(taken), _) = accumulator.take(PartitionId(0), usize::MAX, true) {
            assert!(taken.plain_bytes + BATCH_HEADER_BYTES <= 4_000);
        }
    }
}

#[test]
fn memory_pressure_is_signalled_once_for_all_waiting_senders() {
    let accumulator = accumulator(|_| {});
    let topic = publish(&accumulator, 0..1);
    for _ in 0..1_000 {
        accumulator.signal(Signal::Pressure);
    }
    append(&accumulator, &topic, Choice::Partition(0), b"v", None).unwrap().forget();
    let signals = accumulator.take_signals();
    assert!(matches!(signals[..], [Signal::Opened { .. }, Signal::Pressure]), "{signals:?}");
    assert_eq!(accumulator.take_signals(), []);
}

#[test]
fn wanted_topic_is_signalled_once_for_many_tries() {
    let accumulator = accumulator(|_| {});
    let want = |topic: &str, partitions| accumulator.signal(Signal::Wanted { topic: topic.into(), partitions });
    for partitions in [0, 3, 2, 0] {
        want("t", partitions);
    }
    assert_eq!(accumulator.take_signals(), [Signal::Wanted { topic: "t".into(), partitions: 3 }]);
    for number in 0..=WANTED_TOPICS_MAX {
        want(&number.to_string(), 0);
    }
    assert_eq!(accumulator.take_signals().len(), WANTED_TOPICS_MAX);
}

#[test]
fn timestamp_delta_that_does_not_fit_opens_another_batch() {
    let accumulator = accumulator(|_| {});
    let topic = publish(&accumulator, 0..1);
    for timestamp in [i64::MIN, 1, i64::MAX, i64::MIN, -1] {
        let record = NewRecord { timestamp, ..Default::default() };
        let mut placed = Placed::new(Choice::Partition(0), record);
        accumulator.append(&topic, &mut placed, &mut Delivery::new).unwrap().forget();
    }
    let taken = std::iter::from_fn(|| accumulator.take(PartitionId(0), usize::MAX, true).0);
    let bases: Vec<_> = taken.map(|taken| (taken.sealed.base_timestamp(), taken.range.end)).collect();
    assert_eq!(bases, [(i64::MIN, 1), (1, 2), (i64::MIN, 2)]);
}

#[test]
fn no_task_is_woken_under_a_lock() {
    struct Looks(Arc<Topic>, AtomicBool);
    impl std::task::Wake for Looks {
        fn wake(self: Arc<Self>) {
            let is_free = self.0.partition(0).unwrap().queue.try_lock().is_ok();
            self.1.store(is_free, Ordering::Relaxed);
        }
    }
    let accumulator = accumulator(|config| config.buffer_memory = 4_096);
    let topic = publish(&accumulator, 0..1);
    let partition = Arc::clone(topic.partition(0).unwrap());
    let permit = accumulator.memory.try_acquire(&Arc::default(), 4_096);
    let far = accumulator.clock.now() + std::time::Duration::from_secs(1);
    let mut waiting = Box::pin(NoRoom { partition, bytes: 1_024 }.wait(&accumulator, far));
    let looks = Arc::new(Looks(Arc::clone(&topic), false.into()));
    let waker = std::task::Waker::from(Arc::clone(&looks));
    let mut context = std::task::Context::from_waker(&waker);
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    append(&accumulator, &topic, Choice::Partition(0), b"v", permit).unwrap().forget();
    assert!(looks.1.load(Ordering::Relaxed));
    assert!(waiting.as_mut().poll(&mut context).is_ready());
}

/// Each share is that of KIP-794 among the partitions of a sample, and each partition has the same chance to be in it.
#[test]
fn choice_among_many_partitions_keeps_their_shares() {
    const COUNT: u32 = 100;
    let accumulator = accumulator(|_| {});
    let topic = publish(&accumulator, 0..COUNT);
    // Three batches wait for every second partition. So the others are four times as likely.
    let held: Vec<_> = topic.partitions().step_by(2).collect();
    let bytes = 3 * accumulator.config.batch_size;
    let _held: Vec<_> = held.iter().map(|partition| accumulator.memory.take(&partition.load, bytes)).collect();
    let stalled = [(PartitionId(0), true), (PartitionId(1), true), (PartitionId(2), true)];
    accumulator.set_stalled(&stalled);
    let mut counts = [0u32; COUNT as usize];
    for _ in 0..100_000 {
        counts[usize::try_from(accumulator.choose(&topic).unwrap()).unwrap()] += 1;
    }
    assert_eq!(counts[..3], [0; 3], "stalled partitions are left out");
    // 48 loaded partitions of weight 1, and 49 idle ones of weight 4.
    let (loaded, idle) = (100_000 / (48 + 4 * 49), 400_000 / (48 + 4 * 49));
    for (index, count) in counts.iter().enumerate().skip(3) {
        let expected = if index % 2 == 0 { loaded } else { idle };
        assert!(count.abs_diff(expected) < expected / 4, "partition {index}: {count}, and {expected} are expected");
    }
    let idle_share = counts.iter().skip(3).step_by(2).sum::<u32>();
    assert!(idle_share.abs_diff(49 * idle) < 1_500, "{idle_share} of 100000, and {} are expected", 49 * idle);
}

#[test]
fn sample_has_no_partition_twice_and_prefers_the_rack() {
    use Leadership::{Anywhere, SameRack};
    // (partitions, of which in the rack, of which stalled), the partitions that can be chosen
    for (count, in_rack, stalled, expected) in [
        (33, 0, 0, 0..33),
        (1_000, 0, 995, 995..1_000),
        (1_000, 0, 1_000, 0..1_000),
        (1_000, 3, 0, 0..3),
        (1_000, 3, 3, 3..1_000),
        (1_000, 500, 0, 0..500),
        (1_000, 500, 499, 499..500),
    ] {
        for is_adaptive in [true, false] {
            let accumulator = accumulator(|config| config.adaptive_partitioning = is_adaptive);
            let leader = |index| if index < in_rack { SameRack } else { Anywhere };
            let partitions = (0..count).map(|index| (PartitionId(index), leader(index))).collect();
            accumulator.publish(&Layout { topic: "t".into(), partitions });
            let topic = accumulator.topic("t").unwrap();
            accumulator.set_stalled(&(0..stalled).map(|id| (PartitionId(id), true)).collect::<Vec<_>>());
            let expected = match is_adaptive {
                true => expected.clone(),
                // Without adaptive partitioning nothing stalls.
                false => 0..if in_rack == 0 { count } else { in_rack },
            };
            for _ in 0..100 {
                let weights = accumulator.weights(&topic);
                let shares: Vec<f64> = (0i32..).take(count as usize).map(|index| weights.share(index)).collect();
                let chosen: Vec<u32> = (0..count).filter(|index| shares[*index as usize] > 0.0).collect();
                assert!(chosen.iter().all(|index| expected.contains(index)), "{chosen:?} are not in {expected:?}");
                let size = chosen.len().min(expected.len());
                assert!(size == expected.len() || size >= 8, "{size} of {expected:?}");
                // Equal loads have equal shares, unless a partition stands in the sample twice.
                let each = 1.0 / f64::from(u32::try_from(chosen.len()).unwrap());
                assert!(chosen.iter().all(|index| (shares[*index as usize] - each).abs() < 1e-9), "{shares:?}");
            }
        }
    }
}

#[test]
fn batch_is_full_at_the_estimate_of_its_opening() {
    let accumulator = accumulator(|config| {
        config.batch_size = 1_000 + BATCH_HEADER_BYTES;
        config.compression_type = kurier_compression::CompressionType::Lz4;
    });
    let topic = publish(&accumulator, 0..1);
    accumulator.compressed("t", 1_000, 250);
    let full_bytes = topic.plain_bytes(1_000);
    let mut is_full = false;
    while !is_full {
        append(&accumulator, &topic, Choice::Partition(0), &[7; 50], None).unwrap().forget();
        // A later batch would be full at more.
        accumulator.compressed("t", 1_000, 1);
        is_full = accumulator.take_signals().iter().any(|signal| matches!(signal, Signal::Full { .. }));
        let bytes = lock(&topic.partition(0).unwrap().queue).batches.last_mut().unwrap().builder.body_bytes();
        assert_eq!(is_full, bytes >= full_bytes, "{bytes} of {full_bytes}");
    }
    assert!(topic.plain_bytes(1_000) > full_bytes);
}
