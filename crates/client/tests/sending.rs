//! Tests of the futures of sends, and of sends without a delivery.

mod cluster;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use cluster::{LONG, batches, cluster_that_stalls, heal, is_pending, producer, records, stall, values};
use kurier::partitioner::{Choice, PartitionError, Partitioner, RecordView, RoundRobin, TopicView};
use kurier::{BoxError, Error, ErrorCode, ErrorKind, Producer, Record, RecordMetadata, Serializer};
use kurier_broker::{Broker, Fault, FaultKind};

#[tokio::test]
async fn send_does_nothing_until_it_is_polled() {
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let producer = producer(&broker).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    drop(topic.send(topic.record().value("never")));
    drop(producer.post(Record::to("t").value("never")));
    drop(topic.post_all(&mut &["never"][..]));
    topic.post(topic.record().value("sent")).await.unwrap();
    assert_eq!(producer.close(LONG).await.unwrap().written, 1);
    assert_eq!(values(&broker, "t", 0), ["sent"]);
}

#[tokio::test]
async fn send_that_has_completed_panics_when_polled() {
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let producer = producer(&broker).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    let poll = |send: std::pin::Pin<&mut dyn Future<Output = Result<(), Error>>>| {
        catch_unwind(AssertUnwindSafe(|| send.poll(&mut Context::from_waker(Waker::noop()))))
    };
    for value in ["a value", &"too large".repeat(1 << 20)] {
        let mut send = pin!(topic.post(topic.record().value(value)));
        let Ok(Poll::Ready(_)) = poll(send.as_mut()) else { panic!("there is nothing to wait for") };
        let message = poll(send.as_mut()).unwrap_err();
        assert_eq!(message.downcast_ref(), Some(&"a send was polled after it had completed"));
    }
    assert_eq!(producer.close(LONG).await.unwrap().written, 1, "it is not sent again");
}

/// Callers need no bounds on lifetimes.
async fn deliver<K: AsRef<[u8]> + Send + Sync, V: AsRef<[u8]> + Send + Sync>(
    producer: &Producer,
    topic: &str,
    (key, value): (K, V),
) -> Result<RecordMetadata, Error> {
    producer.post(Record::to(topic).key(&key).value(&value)).await?;
    producer.send(Record::to(topic).key(key).value(value)).await?.await
}

#[tokio::test]
async fn generic_callers_can_send() {
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let producer = producer(&broker).build().await.unwrap();
    let sending = deliver(&producer, "t", ("k", vec![b'v']));
    assert_eq!(tokio::task::unconstrained(sending).await.unwrap().offset(), Some(1));
}

/// Writes to the buffer, and counts its calls.
#[derive(Clone, Debug, Default)]
struct Counting(Arc<AtomicUsize>);

impl Serializer<String> for Counting {
    fn serialize(&self, _: &str, value: &String, out: &mut BytesMut) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        out.extend_from_slice(value.as_bytes());
        if value == "refused" { Err("it is refused".into()) } else { Ok(()) }
    }
}

#[tokio::test]
async fn serializer_writes_once_for_a_record_that_waits() {
    let broker = cluster_that_stalls().await;
    let counting = Counting::default();
    let builder = producer(&broker).key_serializer(counting.clone()).buffer_memory(16 << 10);
    let producer = builder.build().await.unwrap();
    stall(&broker);
    let record = || Record::to("t").partition(1).key("k".to_owned()).value(vec![b'v'; 600]);
    let mut sent = 0;
    while producer.try_send(record()).map(kurier::Delivery::forget).is_ok() {
        sent += 1;
    }
    let before = counting.0.load(Ordering::Relaxed);
    let mut waiting = pin!(producer.send(record()));
    assert!(is_pending(waiting.as_mut()).await);
    heal(&broker);
    waiting.await.unwrap().forget();
    assert_eq!(counting.0.load(Ordering::Relaxed), before + 1);
    assert_eq!(producer.close(LONG).await.unwrap().written, sent + 1);
    assert!(records(&broker, "t", 1).iter().all(|record| record.key.as_deref() == Some(b"k")));
}

#[tokio::test]
async fn thread_that_sends_by_name_to_two_producers_mixes_nothing() {
    let mut brokers = Vec::new();
    for _ in 0..2 {
        brokers.push(Broker::builder().topic("t", 1).topic("u", 1).start().await.unwrap());
    }
    for round in 0..3 {
        let first = producer(&brokers[0]).build().await.unwrap();
        let second = producer(&brokers[1]).build().await.unwrap();
        for _ in 0..5 {
            for (producer, value) in [(&first, "first"), (&second, "second"), (&second, "second")] {
                producer.post(Record::to("t").value(value)).await.unwrap();
                producer.post(Record::to("u").value(value)).await.unwrap();
            }
        }
        first.close(LONG).await.unwrap();
        let error = first.post(Record::to("t").value("late")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed, "{round}");
        second.close(LONG).await.unwrap();
    }
    for (broker, value, count) in [(&brokers[0], "first", 15), (&brokers[1], "second", 30)] {
        for topic in ["t", "u"] {
            assert_eq!(values(broker, topic, 0), vec![value; count]);
        }
    }
}

#[tokio::test]
async fn failures_of_posted_records_are_counted() {
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let producer = producer(&broker).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    topic.post(topic.record().value("written")).await.unwrap();
    assert_eq!(producer.flush().await.unwrap().failed(), 0);
    broker.add_fault(Fault::new("Produce", FaultKind::Error(ErrorCode::TOPIC_AUTHORIZATION_FAILED)));
    topic.post_all(&mut &["refused", "refused"][..]).await.unwrap();
    let summary = producer.flush().await.unwrap();
    assert_eq!((summary.written, summary.not_written), (1, 2));
    assert_eq!(producer.close(LONG).await.unwrap(), summary);
}

#[tokio::test]
async fn posted_values_arrive_in_order() {
    // The way of all values at once, and that of a partitioner of the user's, which sees each of them.
    for is_own in [false, true] {
        let broker = Broker::builder().topic("t", 1).start().await.unwrap();
        let builder = producer(&broker);
        let builder = if is_own { builder.partitioner(RoundRobin::new()) } else { builder };
        let producer = builder.build().await.unwrap();
        let topic = producer.topic("t").await.unwrap();
        // Sizes around that of a segment of memory, and more than a batch.
        let sent: Vec<String> = (0..2_000).map(|number| format!("{number}:").repeat(number % 200 + 1)).collect();
        let mut left = &sent[..];
        topic.post_all(&mut left).await.unwrap();
        assert!(left.is_empty());
        assert_eq!(producer.close(LONG).await.unwrap().written, 2_000);
        assert_eq!(values(&broker, "t", 0), sent, "{is_own}");
    }
}

#[tokio::test]
async fn run_of_values_spreads_over_partitions_like_single_ones() {
    let broker = Broker::builder().topic("t", 4).start().await.unwrap();
    let producer = producer(&broker).set("batch.size", "4096").build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    topic.post_all(&mut &vec![[b'v'; 100]; 10_000][..]).await.unwrap();
    producer.close(LONG).await.unwrap();
    let counts: Vec<usize> = (0..4).map(|partition| records(&broker, "t", partition).len()).collect();
    // The sticky partition changes after 39 records or a few more (batch.size).
    assert!(counts.iter().all(|count| (500..6_000).contains(count)), "{counts:?}");
}

#[tokio::test]
async fn values_show_what_was_accepted_before_an_error() {
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let producer = producer(&broker).value_serializer(Counting::default()).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    let mut sent = vec!["v".to_owned(); 200];
    sent[150] = "refused".to_owned();
    let mut left = &sent[..];
    let error = topic.post_all(&mut left).await.unwrap_err();
    assert_eq!((error.kind(), left.len()), (ErrorKind::Serialization, 50));
    assert_eq!(topic.post_all(&mut left).await.unwrap_err().kind(), ErrorKind::Serialization);
    left = &left[1..];
    topic.post_all(&mut left).await.unwrap();
    assert_eq!(producer.close(LONG).await.unwrap().written, 199);
    sent.push("late".to_owned());
    let mut left = &sent[200..];
    assert_eq!(topic.post_all(&mut left).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(left.len(), 1);
}

/// Sends everything to the partition that stalls.
#[derive(Debug)]
struct Stalling;

impl Partitioner for Stalling {
    fn partition(&self, _: &RecordView<'_>, _: &TopicView<'_>) -> Result<Choice, PartitionError> {
        Ok(Choice::Partition(1))
    }
}

#[tokio::test]
async fn dropped_run_of_values_can_be_continued() {
    // murmur2 hashes the missing key like an empty one, which belongs to partition 1.
    for is_own in [false, true] {
        let broker = cluster_that_stalls().await;
        let builder = producer(&broker).buffer_memory(64 << 10);
        let builder = if is_own { builder.partitioner(Stalling) } else { builder.set("partitioner", "murmur2") };
        let producer = builder.build().await.unwrap();
        let topic = producer.topic("t").await.unwrap();
        stall(&broker);
        let sent: Vec<String> = (0..3_000).map(|number| format!("value {number}")).collect();
        let mut left = &sent[..];
        assert!(is_pending(pin!(topic.post_all(&mut left))).await);
        assert!((1..3_000).contains(&left.len()), "{}", left.len());
        heal(&broker);
        topic.post_all(&mut left).await.unwrap();
        assert_eq!(producer.close(LONG).await.unwrap().written, 3_000);
        assert_eq!(values(&broker, "t", 1), sent, "each once, {is_own}");
    }
}

/// Writes 10 KB for each value, and counts the values.
struct Large(Arc<AtomicUsize>);

impl Serializer<u8> for Large {
    fn serialize(&self, _: &str, value: &u8, out: &mut BytesMut) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        out.resize(out.len() + 10_000, *value);
        Ok(())
    }
}

/// Serialized values take memory beside `buffer.memory` until they are appended.
#[tokio::test]
async fn run_of_values_serializes_few_of_them_ahead() {
    let broker = cluster_that_stalls().await;
    let count = Arc::new(AtomicUsize::new(0));
    let builder = producer(&broker).buffer_memory(64 << 10).set("partitioner", "murmur2");
    let producer = builder.value_serializer(Large(Arc::clone(&count))).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    stall(&broker);
    let mut left = &[b'v'; 60][..];
    assert!(is_pending(pin!(topic.post_all(&mut left))).await);
    let ahead = count.load(Ordering::Relaxed) - (60 - left.len());
    assert!(ahead <= 2, "{ahead} values of 10 KB are serialized and wait");
    heal(&broker);
    topic.post_all(&mut left).await.unwrap();
    assert_eq!(producer.close(LONG).await.unwrap().written, 60);
}

#[tokio::test]
async fn timestamps_of_a_partition_rise() {
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let producer = producer(&broker).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    let mut send = pin!(topic.post(topic.record().value("v")));
                    while send.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                        std::thread::yield_now();
                    }
                }
            });
        }
    });
    producer.close(LONG).await.unwrap();
    let stored = batches(&broker, "t", 0).into_iter().flat_map(|batch| batch.records);
    let timestamps: Vec<i64> = stored.map(|record| record.timestamp).collect();
    assert_eq!(timestamps.len(), 60_000);
    assert!(timestamps.is_sorted());
}
