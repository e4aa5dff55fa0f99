//! Models of open batches: senders append records while batches are taken and completed.

use std::sync::Arc;

use kurier_partitioner::Choice;
use kurier_protocol::record_batch::{NewRecord, RecordBatch, Stamp};
use shuttle::future::block_on;
use tokio::sync::Notify;

use super::{explore, now};
use kurier_engine::accumulator::batch::Taken;
use kurier_engine::accumulator::{
    Accumulator, AppendError, Layout, Leadership, Left, PartitionId, Placed, Signal, Still, Topic,
};
use kurier_engine::config::Config;
use kurier_engine::delivery::{Delivery, NoCallbacks, Outcome};
use kurier_engine::error::{Error, ErrorKind};
use kurier_engine::fault_injection::FaultInjection;
use kurier_engine::sync::thread;

const PARTITION: PartitionId = PartitionId(0);

/// The accumulator and the task that its signals wake.
#[derive(Clone)]
struct Rig {
    accumulator: Arc<Accumulator>,
    notify: Arc<Notify>,
    topic: Arc<Topic>,
}

impl Rig {
    fn new(batch_size: usize) -> Self {
        let mut config = Config::default();
        config.batch_size = batch_size;
        let notify = Arc::new(Notify::new());
        let wake = Arc::clone(&notify);
        let wake = Box::new(move || wake.notify_one());
        let accumulator = Accumulator::new(
            Arc::new(config),
            Arc::new(Still(now())),
            Arc::new(NoCallbacks),
            1,
            FaultInjection::NONE,
            wake,
        );
        accumulator.publish(&layout(1));
        let topic = accumulator.topic("t").unwrap();
        Self { accumulator: Arc::new(accumulator), notify, topic }
    }

    fn append(&self, value: &[u8], choice: Choice) -> Result<Delivery, AppendError> {
        let record = NewRecord { value: Some(value), ..Default::default() };
        self.accumulator.append(&self.topic, &mut Placed::new(choice, record), &mut Delivery::new)
    }

    /// Appends these values, then waits for their outcomes.
    fn send(&self, values: [&'static [u8]; 2]) -> thread::JoinHandle<Vec<(&'static [u8], i64)>> {
        let rig = self.clone();
        thread::spawn(move || {
            let deliveries = values.map(|value| (value, rig.append(value, Choice::Partition(0)).unwrap()));
            let await_one = |(value, delivery)| (value, block_on::<Delivery>(delivery).unwrap().offset().unwrap());
            deliveries.map(await_one).to_vec()
        })
    }

    /// Writes a batch to the log.
    fn complete(&self, log: &mut Vec<Vec<u8>>, batch: Taken) {
        let offset = i64::try_from(log.len()).unwrap();
        log.extend(values_of(&batch));
        let outcome = Outcome::Written { base_offset: Some(offset), log_append_time: None, is_acknowledged: true };
        self.accumulator.complete(&batch, outcome, true);
    }

    /// Takes ready batches, as the signals announce them, until the log has this many records. Handles signals as the
    /// core does.
    fn take_until(&self, count: usize, mut take: impl FnMut(&Self) -> (Vec<Taken>, Option<Left>)) -> Vec<Vec<u8>> {
        let (mut open, mut log): (Option<Left>, _) = (None, Vec::new());
        while log.len() < count {
            for signal in self.accumulator.take_signals() {
                let was_full = open.is_some_and(|open| open.is_full);
                let (since, is_full) = match signal {
                    Signal::Opened { since, is_full, .. } => (since, is_full || was_full),
                    Signal::Full { .. } => (now(), true),
                    Signal::Wanted { .. } | Signal::Pressure => unreachable!(),
                };
                open = Some(Left { since, is_full });
            }
            match open {
                Some(Left { is_full: true, .. }) => {
                    let (taken, left) = take(self);
                    open = left;
                    taken.into_iter().for_each(|batch| self.complete(&mut log, batch));
                }
                _ => block_on(self.notify.notified()),
            }
        }
        log
    }
}

/// Layout of a topic with this many partitions.
fn layout(partitions: u32) -> Layout {
    Layout {
        topic: "t".into(),
        partitions: (0..partitions).map(|id| (PartitionId(id), Leadership::Anywhere)).collect(),
    }
}

fn values_of(batch: &Taken) -> Vec<Vec<u8>> {
    let bytes = batch.sealed.stamp(&Stamp::NONE).unwrap().to_bytes();
    let (parsed, _) = RecordBatch::parse(&bytes).unwrap();
    parsed.records().unwrap().map(|record| record.unwrap().value.unwrap().to_vec()).collect()
}

/// Two senders end with a record that fills any batch, so that no batch waits for the linger. Each record must be in
/// one batch, after its sender's earlier records, and its delivery must return its offset.
fn check(take: fn(&Rig) -> (Vec<Taken>, Option<Left>)) {
    const LARGE: [&[u8]; 2] = [&[b'A'; 200], &[b'B'; 200]];
    let rig = Rig::new(200);
    let senders = [rig.send([b"a", LARGE[0]]), rig.send([b"b", LARGE[1]])];
    let log = rig.take_until(4, take);
    for sender in senders {
        let told = sender.join().unwrap();
        assert!(told.iter().all(|(value, offset)| log[usize::try_from(*offset).unwrap()] == *value), "{told:?}");
        assert!(told.is_sorted_by_key(|(_, offset)| *offset), "{told:?}");
    }
    assert_eq!(log.len(), 4);
    assert_eq!((rig.accumulator.incomplete_count(), rig.accumulator.memory.used()), (0, 0));
}

#[test]
fn full_batch_is_always_signalled() {
    explore("two append while batches are taken one by one", 16_000, || {
        check(|rig| {
            let (taken, left) = rig.accumulator.take(PARTITION, usize::MAX, true);
            (taken.into_iter().collect(), left)
        });
    });
}

#[test]
fn drained_records_keep_their_offsets() {
    explore("two append while the partition is drained", 16_000, || {
        check(|rig| rig.accumulator.drain(PARTITION, now()));
    });
}

#[test]
fn removed_partition_takes_no_records() {
    explore("two append while one of two partitions goes", 16_000, || {
        let rig = Rig::new(1);
        rig.accumulator.publish(&layout(2));
        let senders = [Choice::Partition(1), Choice::Anywhere].map(|choice| {
            let rig = rig.clone();
            thread::spawn(move || {
                let appended = [b"1", b"2"].map(|value| rig.append(value, choice).map(Delivery::forget));
                appended.into_iter().filter(Result::is_ok).count()
            })
        });
        rig.accumulator.publish(&layout(1));
        let (drained, _) = rig.accumulator.drain(PartitionId(1), now());
        let [keyed, anywhere] = senders.map(|sender| sender.join().unwrap());
        assert_eq!(anywhere, 2, "what goes anywhere went nowhere");
        assert!(rig.accumulator.take(PartitionId(1), usize::MAX, true).0.is_none(), "nobody looks there any more");
        let (stayed, _) = rig.accumulator.drain(PARTITION, now());
        let count = drained.iter().chain(&stayed).flat_map(values_of).count();
        assert_eq!(count, keyed + anywhere);
    });
}

#[test]
fn topic_is_retired_as_a_whole_or_takes_all_records() {
    explore("two append while their topic is retired", 16_000, || {
        let ids = [PARTITION, PartitionId(1)];
        let rig = Rig::new(1);
        rig.accumulator.publish(&layout(2));
        let senders = [Choice::Partition(1), Choice::Anywhere].map(|choice| {
            let rig = rig.clone();
            thread::spawn(move || {
                let appended = [b"1", b"2"].map(|value| match rig.append(value, choice) {
                    Ok(delivery) => {
                        delivery.forget();
                        true
                    }
                    Err(AppendError::Retired) => false,
                    Err(error) => panic!("{error:?}"),
                });
                appended.into_iter().filter(|is_accepted| *is_accepted).count()
            })
        });
        let is_retired = rig.accumulator.retire("t", &ids);
        let accepted: usize = senders.map(|sender| sender.join().unwrap()).into_iter().sum();
        assert_eq!(accepted, if is_retired { 0 } else { 4 });
        let count = ids.iter().flat_map(|id| rig.accumulator.drain(*id, now()).0).flat_map(|batch| values_of(&batch));
        assert_eq!(count.count(), accepted, "every accepted record can be taken");
        assert_eq!((rig.accumulator.topic("t").is_none(), rig.accumulator.memory.used()), (is_retired, 0));
    });
}

#[test]
fn closed_accumulator_takes_no_records() {
    explore("two append while a third closes", 16_000, || {
        let rig = Rig::new(200);
        let senders = [Choice::Partition(0), Choice::Anywhere].map(|choice| {
            let rig = rig.clone();
            thread::spawn(move || {
                let appended = [b"1", b"2", b"3"].map(|value| rig.append(value, choice).map(Delivery::forget));
                assert!(appended.is_sorted_by_key(|appended| appended.is_err()), "closed for good: {appended:?}");
                appended.iter().filter(|appended| appended.is_ok()).count()
            })
        });
        let closing = rig.clone();
        let closes = thread::spawn(move || {
            closing.accumulator.close(Error::new(ErrorKind::Closed, "closed"));
            // Whatever is accepted from here on would be lost.
            closing.accumulator.drain(PARTITION, now()).0.iter().flat_map(values_of).count()
        });
        let accepted: usize = senders.map(|sender| sender.join().unwrap()).into_iter().sum();
        assert_eq!(closes.join().unwrap(), accepted);
    });
}

#[test]
fn sticky_partition_gets_exactly_its_share() {
    explore("two append without a key, and switch after every second record", 16_000, || {
        let record_bytes = 17;
        let rig = Rig::new(2 * record_bytes);
        rig.accumulator.publish(&layout(3));
        let senders = [b"1 of 10 by", b"2 of 10 by"].map(|value| {
            let rig = rig.clone();
            thread::spawn(move || (0..3).for_each(|_| rig.append(value, Choice::Anywhere).unwrap().forget()))
        });
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        let count = |id| rig.accumulator.drain(PartitionId(id), now()).0.iter().flat_map(values_of).count();
        let counts = [0, 1, 2].map(count);
        assert_eq!(counts.iter().sum::<usize>(), 6);
        assert!(counts.iter().all(|count| count % 2 == 0), "a record was not counted, or a switch undone: {counts:?}");
    });
}

#[test]
fn run_of_values_is_taken_whole() {
    explore("one appends a run, one single values, while batches are taken", 16_000, || {
        let rig = Rig::new(200);
        let other = rig.send([b"b", &[b'B'; 200]]);
        let runs = rig.clone();
        let run = thread::spawn(move || {
            let values: [&[u8]; 3] = [b"a1", b"a2", &[b'A'; 200]];
            let mut left = &values[..];
            while let Some(first) = left.first() {
                let run = left.iter().map(|value| Some(*value));
                let mut count = runs.accumulator.append_run(&runs.topic, Choice::Anywhere, run);
                if count == 0 {
                    runs.append(first, Choice::Anywhere).unwrap().forget();
                    count = 1;
                }
                left = &left[count..];
            }
        });
        let log = rig.take_until(5, |rig| {
            let (taken, left) = rig.accumulator.take(PARTITION, usize::MAX, true);
            (taken.into_iter().collect(), left)
        });
        run.join().unwrap();
        other.join().unwrap();
        let of_run: Vec<_> = log.iter().filter(|value| value.to_ascii_lowercase().starts_with(b"a")).collect();
        assert_eq!(of_run, [&b"a1"[..], b"a2", &[b'A'; 200]]);
    });
}
