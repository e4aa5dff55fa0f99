//! Tests of the partitioners that ignore keys (round robin, unkeyed, explicit), and of views and errors.

use std::error::Error;

use kurier_partitioner::{Choice, Explicit, Partitioner, RecordView, RoundRobin, TopicView, Unkeyed};

fn records() -> [RecordView<'static>; 2] {
    [RecordView::keyless(), RecordView::keyed(b"key")]
}

#[test]
fn round_robin_cycles_through_available_partitions_per_topic() {
    let round_robin = RoundRobin::new();
    let topics = [("half", 4, &[1, 3][..]), ("none", 3, &[]), ("one", 2, &[1]), ("gone", 2, &[0, 1, 7])];
    // Two topics alternate, with and without keys; a partition that no longer exists is skipped.
    for expected in [[1, 0, 1, 0], [3, 1, 1, 1], [1, 2, 1, 0], [3, 0, 1, 0], [1, 1, 1, 1], [3, 2, 1, 1]] {
        for ((name, partition_count, available), partition) in topics.iter().zip(expected) {
            let topic = TopicView::new(name, *partition_count, available).unwrap();
            let record = &records()[usize::from(partition % 2 == 0)];
            assert_eq!(round_robin.partition(record, &topic).unwrap(), Choice::Partition(partition), "{name}");
        }
    }
}

#[test]
fn unkeyed_returns_anywhere_for_every_record() {
    let topic = TopicView::new("orders", 3, &[0]).unwrap();
    for record in records() {
        assert_eq!(Unkeyed.partition(&record, &topic).unwrap(), Choice::Anywhere);
    }
}

#[test]
fn explicit_refuses_every_record_with_the_reason() {
    let topic = TopicView::new("orders", 3, &[0]).unwrap();
    for record in records() {
        let error = Explicit.partition(&record, &topic).unwrap_err();
        assert_eq!(error.topic(), "orders");
        let reason = "the record names no partition, and the explicit partitioner requires one";
        assert_eq!(error.source().unwrap().to_string(), reason);
        assert_eq!(error.to_string(), "cannot choose a partition of topic orders");
    }
}

#[test]
fn views_return_their_values() {
    let record = RecordView::new(Some(b"k"), Some(b"value"));
    assert_eq!((record.key(), record.value()), (Some(&b"k"[..]), Some(&b"value"[..])));
    assert_eq!(records().map(|record| (record.key(), record.value())), [(None, None), (Some(&b"key"[..]), None)]);
    let topic = TopicView::new("orders", 9, &[2, 5]).unwrap();
    assert_eq!((topic.name(), topic.partition_count(), topic.available()), ("orders", 9, &[2, 5][..]));
    for partition_count in [0, -1, i32::MIN] {
        assert!(TopicView::new("orders", partition_count, &[]).is_none());
    }
}
