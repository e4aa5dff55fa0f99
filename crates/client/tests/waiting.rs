//! Tests of waiting for memory, for outcomes and for the end, and of records that arrive as they were sent.

mod cluster;

use std::future::Future;
use std::pin::pin;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use cluster::{LONG, Stored, batches, cluster_that_stalls, heal, is_pending, producer, records, stall, values};
use kurier::partitioner::{Choice, PartitionError, Partitioner, RecordView, TopicView, murmur2};
use kurier::{
    Acks, BoxError, CompressionType, Delivery, ErrorCode, ErrorKind, IntegerSerializer, Producer, Record,
    RecordMetadata, SendError, Serializer, Stage, StringSerializer, TopicProducer, Written,
};
use kurier_broker::{Broker, Fault, FaultKind, TopicSettings};
use tokio::runtime::{self, Runtime};
use tokio::sync::oneshot;
use tokio::time::timeout;

type Topic = TopicProducer;

/// Sends to the stalled partition until there is no room. Returns the accepted records' deliveries.
fn fill(topic: &Topic, value: &str) -> Vec<Delivery> {
    let mut accepted = Vec::new();
    loop {
        match topic.try_send(topic.record().partition(1).value(value)) {
            Ok(delivery) => accepted.push(delivery),
            Err(refused) => {
                assert_eq!(refused.error.kind(), ErrorKind::BufferFull);
                return accepted;
            }
        }
    }
}

#[tokio::test]
async fn send_waits_for_room() {
    let broker = cluster_that_stalls().await;
    let producer = producer(&broker).buffer_memory(32 << 10).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    stall(&broker);
    let accepted = fill(&topic, &"x".repeat(500));
    assert!(accepted.len() > 20, "{}", accepted.len());
    let mut send = pin!(topic.send(topic.record().partition(1).value("y".repeat(500))));
    assert!(is_pending(send.as_mut()).await);
    heal(&broker);
    let offset = i64::try_from(accepted.len()).unwrap();
    assert_eq!(send.await.unwrap().await.unwrap().offset(), Some(offset));
}

#[tokio::test]
async fn send_waits_at_most_max_block() {
    let broker = cluster_that_stalls().await;
    let patience = Duration::from_millis(50);
    let producer = producer(&broker).buffer_memory(32 << 10).max_block(patience).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    stall(&broker);
    let accepted = fill(&topic, &"x".repeat(500));
    let error = topic.send(topic.record().partition(1).value("y".repeat(500))).await.unwrap_err();
    assert_eq!((error.kind(), error.written(), error.is_retriable()), (ErrorKind::BufferFull, Written::No, true));
    let text = format!("{error:#}");
    assert!(text.contains("buffer.memory, which is 32768") && text.contains("max.block.ms, which is 50"), "{text}");
    heal(&broker);
    assert_eq!(producer.flush().await.unwrap().written, u64::try_from(accepted.len()).unwrap());
}

#[tokio::test]
async fn send_waits_for_topic_and_room_at_most_max_block_together() {
    let broker = cluster_that_stalls().await;
    let patience = Duration::from_millis(1_500);
    let producer = producer(&broker).buffer_memory(32 << 10).max_block(patience).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    stall(&broker);
    let _accepted = fill(&topic, &"x".repeat(500));
    let learning = Duration::from_millis(700);
    broker.add_fault(Fault::new("Metadata", FaultKind::Delay(learning)));
    let send = producer.send(Record::to("u").value("y".repeat(20_000)));
    let error = timeout(learning + patience, send).await.expect("each had its own patience").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BufferFull);
}

#[tokio::test]
async fn stalled_partition_leaves_room_for_others() {
    let broker = cluster_that_stalls().await;
    let producer = producer(&broker).buffer_memory(64 << 10).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    stall(&broker);
    let stalled = fill(&topic, &"x".repeat(500));
    for number in 0..500 {
        let value = format!("{number} {}", "y".repeat(100));
        topic.send(topic.record().partition(0).value(value)).await.unwrap().forget();
    }
    // While the other partition is stalled, a flush would wait for it.
    let last = topic.deliver(topic.record().partition(0).value("last")).await.unwrap();
    assert_eq!(last.offset(), Some(500));
    heal(&broker);
    for delivery in stalled {
        delivery.await.unwrap();
    }
}

#[tokio::test]
async fn cancelled_waiting_sends_leak_nothing() {
    let broker = cluster_that_stalls().await;
    let producer = producer(&broker).buffer_memory(32 << 10).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    let value = "x".repeat(500);
    let mut sent = 0;
    let mut rooms = Vec::new();
    for _ in 0..3 {
        stall(&broker);
        let mut accepted = fill(&topic, &value).len();
        let mut cancelled = 0;
        while cancelled < 50 {
            let mut send = pin!(topic.send(topic.record().partition(1).value(&value)));
            // A socket may free the last round's memory only now.
            if is_pending(send.as_mut()).await { cancelled += 1 } else { accepted += 1 }
        }
        rooms.push(accepted);
        heal(&broker);
        // A send that does not give up is queued behind those that did.
        topic.send(topic.record().partition(1).value(&value)).await.unwrap().forget();
        sent += accepted + 1;
        producer.flush().await.unwrap();
    }
    // The unused room in segments varies; a leak would grow from round to round.
    assert!(rooms.iter().all(|room| room + 8 >= rooms[0]), "{rooms:?}");
    assert_eq!(values(&broker, "t", 1), vec![value; sent]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_share_a_producer_and_each_keeps_its_order() {
    const TASKS: usize = 8;
    const EACH: usize = 3000;
    let broker = Broker::builder().nodes(3).topic("t", 3).start().await.unwrap();
    // So little memory that most tasks wait most of the time.
    let producer = producer(&broker).buffer_memory(48 << 10).build().await.unwrap();
    let send = async |producer: Producer, task: usize| {
        for number in 0..EACH {
            let partition = i32::try_from(number % 3).unwrap();
            let record = Record::to("t").partition(partition).value(format!("{task} {number:60}"));
            producer.send(record).await.unwrap().forget();
        }
    };
    let tasks: Vec<_> = (0..TASKS).map(|task| tokio::spawn(send(producer.clone(), task))).collect();
    for task in tasks {
        timeout(LONG, task).await.unwrap().unwrap();
    }
    let summary = timeout(LONG, producer.close(LONG)).await.unwrap().unwrap();
    assert_eq!(summary.written, u64::try_from(TASKS * EACH).unwrap());
    for partition in 0..3 {
        let mut next = [usize::try_from(partition).unwrap(); TASKS];
        for value in values(&broker, "t", partition) {
            let (task, number) = value.split_once(' ').unwrap();
            let next: &mut usize = &mut next[task.parse::<usize>().unwrap()];
            assert_eq!(number.trim().parse(), Ok(*next), "of task {task} in {partition}");
            *next += 3;
        }
        assert!(next.iter().all(|next| *next >= EACH), "{partition}: {next:?}");
    }
}

#[tokio::test]
async fn try_send_returns_the_reason_and_the_record() {
    let broker = Broker::builder().nodes(2).topic("t", 1).start().await.unwrap();
    let producer = producer(&broker).build().await.unwrap();
    let record = Record::to("t").key("k").value("v");
    let refused = producer.try_send(record.clone()).unwrap_err();
    assert_eq!((refused.error.kind(), refused.error.is_retriable()), (ErrorKind::MetadataPending, true));
    let SendError { record, .. } = *refused;
    assert_eq!(record.topic(), "t");
    // The topic has been requested by now; only waiting for it remains.
    producer.topic("t").await.unwrap();
    let metadata = producer.try_send(record).unwrap().await.unwrap();
    assert_eq!(metadata.offset(), Some(0));
    let refused = producer.try_send(Record::to("t").partition(7).value("v")).unwrap_err();
    assert_eq!((refused.error.kind(), refused.error.is_retriable()), (ErrorKind::Partitioning, false));
    let refused = producer.try_send(Record::to("t").value(vec![0; 2 << 20])).unwrap_err();
    assert_eq!(refused.error.kind(), ErrorKind::RecordTooLarge);
    assert!(format!("{refused:#}").contains("max.request.size, which is 1048576"), "{refused}");
}

#[tokio::test]
async fn flush_waits_for_earlier_records_without_lingering() {
    let broker = cluster_that_stalls().await;
    let producer = producer(&broker).linger(Duration::from_secs(50)).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    stall(&broker);
    let mut deliveries = Vec::new();
    for value in ["a", "b", "c"] {
        deliveries.push(topic.send(topic.record().partition(1).value(value)).await.unwrap());
    }
    topic.send(topic.record().partition(0).value("elsewhere")).await.unwrap().forget();
    let mut flush = pin!(producer.flush());
    assert!(is_pending(flush.as_mut()).await);
    heal(&broker);
    let summary = timeout(LONG, flush).await.unwrap().unwrap();
    assert_eq!((summary.written, summary.failed()), (4, 0));
    for delivery in deliveries {
        assert!(!is_pending(pin!(delivery)).await);
    }
    assert_eq!(values(&broker, "t", 1), ["a", "b", "c"]);
}

#[tokio::test]
async fn flush_does_not_wait_for_later_records() {
    let broker = cluster_that_stalls().await;
    let producer = producer(&broker).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    stall(&broker);
    topic.deliver(topic.record().partition(0).value("before")).await.unwrap();
    let before = producer.flush().await.unwrap();
    assert_eq!(before.written, 1);
    let delivery = topic.send(topic.record().partition(1).value("after")).await.unwrap();
    assert!(is_pending(pin!(producer.flush())).await);
    heal(&broker);
    delivery.await.unwrap();
}

#[tokio::test]
async fn close_returns_unfinished_records_with_their_certainty() {
    for (stage, certainty) in
        [(Stage::Queued, Written::No), (Stage::Backoff, Written::No), (Stage::InFlight, Written::Unknown)]
    {
        let broker = cluster_that_stalls().await;
        let builder = producer(&broker).set("retry.backoff.ms", "30000").set("retry.backoff.max.ms", "30000");
        let producer = builder.linger(Duration::ZERO).build().await.unwrap();
        let topic = producer.topic("t").await.unwrap();
        topic.deliver(topic.record().partition(0).value("written")).await.unwrap();
        let every = |kind| Fault::new("Produce", kind).times(usize::MAX);
        match stage {
            Stage::Queued => broker.add_fault(Fault::new("ApiVersions", FaultKind::Silence).on_node(2)),
            Stage::Backoff => broker.add_fault(every(FaultKind::Error(ErrorCode::NOT_ENOUGH_REPLICAS))),
            _ => broker.add_fault(every(FaultKind::Silence)),
        }
        let record = || topic.record().partition(1).timestamp(5).header("h", "w").null_header("n");
        let first = topic.send(record().key("k").value("v")).await.unwrap();
        let second = topic.send(record()).await.unwrap();
        let unfinished = producer.close(Duration::from_millis(300)).await.unwrap_err();
        let counts = unfinished.counts();
        assert_eq!((counts.written, counts.failed()), (1, 2), "{unfinished}");
        assert_eq!(counts.unknown, if certainty == Written::No { 0 } else { 2 });
        assert_eq!(unfinished.records().len(), 2);
        for (record, (key, value)) in unfinished.into_iter().zip([(Some("k"), Some("v")), (None, None)]) {
            let bytes = |text: Option<&'static str>| text.map(bytes::Bytes::from);
            assert_eq!((record.key.clone(), record.value.clone()), (bytes(key), bytes(value)));
            assert_eq!((&*record.topic, record.partition, record.timestamp), ("t", 1, 5));
            assert_eq!(record.headers, [("h".into(), bytes(Some("w"))), ("n".into(), None)]);
            assert_eq!(record.written, certainty, "{record:?}");
        }
        for delivery in [first, second] {
            let error = delivery.await.unwrap_err();
            assert_eq!((error.kind(), error.written()), (ErrorKind::Closed, certainty));
            assert_eq!((error.stage(), error.is_fatal()), (Some(stage), true));
            assert_eq!(error.topic_partition(), Some(("t", 1)));
        }
    }
}

#[tokio::test]
async fn close_fails_sends_that_wait_for_room() {
    let broker = cluster_that_stalls().await;
    let producer = producer(&broker).buffer_memory(32 << 10).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    stall(&broker);
    let accepted = fill(&topic, &"x".repeat(500));
    let mut send = pin!(topic.send(topic.record().partition(1).value("y".repeat(500))));
    assert!(is_pending(send.as_mut()).await);
    let unfinished = producer.close(Duration::ZERO).await.unwrap_err();
    assert_eq!(unfinished.records().len(), accepted.len());
    assert_eq!(send.await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn calls_after_close_fail_at_once() {
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let producer = producer(&broker).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    topic.deliver(topic.record().value("v")).await.unwrap();
    let (first, second) = tokio::join!(producer.close(LONG), producer.close(LONG));
    assert_eq!((first.unwrap().written, second.unwrap().written), (1, 1));
    let all = async {
        assert_eq!(producer.close(LONG).await.unwrap().written, 1);
        assert_eq!(producer.flush().await.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(producer.topic("other").await.unwrap_err().kind(), ErrorKind::Closed);
        for name in ["t", "other"] {
            let record = || Record::to(name).value("late");
            assert_eq!(producer.send(record()).await.unwrap_err().kind(), ErrorKind::Closed, "{name}");
            assert_eq!(producer.try_send(record()).unwrap_err().error.kind(), ErrorKind::Closed, "{name}");
            let error = producer.send_with(record(), |_| panic!("it was not accepted")).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Closed, "{name}");
        }
        assert_eq!(topic.deliver(topic.record().value("late")).await.unwrap_err().kind(), ErrorKind::Closed);
    };
    timeout(LONG, all).await.unwrap();
    assert_eq!(values(&broker, "t", 0), ["v"]);
}

#[tokio::test]
async fn cancelled_close_continues() {
    let broker = cluster_that_stalls().await;
    let producer = producer(&broker).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    stall(&broker);
    let delivery = topic.send(topic.record().partition(1).value("v")).await.unwrap();
    assert!(is_pending(pin!(producer.close(LONG))).await);
    heal(&broker);
    assert_eq!(delivery.await.unwrap().offset(), Some(0));
    assert_eq!(topic.deliver(topic.record().value("late")).await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn accepted_records_are_delivered_after_the_last_handle_is_dropped() {
    let broker = cluster_that_stalls().await;
    let producer = producer(&broker).linger(Duration::from_secs(50)).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    stall(&broker);
    let mut deliveries = Vec::new();
    for _ in 0..100 {
        deliveries.push(topic.send(topic.record().partition(1).value("v")).await.unwrap());
    }
    drop(topic);
    drop(producer.clone());
    drop(producer);
    heal(&broker);
    for (delivery, offset) in deliveries.into_iter().zip(0..) {
        assert_eq!(timeout(LONG, delivery).await.unwrap().unwrap().offset(), Some(offset));
    }
}

#[tokio::test]
async fn dropped_delivery_changes_nothing() {
    let broker = cluster_that_stalls().await;
    let producer = producer(&broker).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    stall(&broker);
    let mut polled = Box::pin(topic.send(topic.record().partition(1).value("polled")).await.unwrap());
    assert!(is_pending(polled.as_mut()).await);
    drop(polled);
    drop(topic.send(topic.record().partition(1).value("dropped")).await.unwrap());
    heal(&broker);
    assert_eq!(producer.flush().await.unwrap().written, 2);
    assert_eq!(values(&broker, "t", 1), ["polled", "dropped"]);
}

#[tokio::test]
async fn callbacks_run_in_order_and_survive_a_panic() {
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let producer = producer(&broker).build().await.unwrap();
    let (told, heard) = mpsc::channel();
    for number in 0..1000 {
        let told = told.clone();
        let callback = move |result: Result<RecordMetadata, _>| {
            assert_ne!(number, 500, "one that panics");
            told.send(result.unwrap().offset()).unwrap();
        };
        producer.send_with(Record::to("t").value("v"), callback).await.unwrap();
    }
    let late = producer.send(Record::to("t").value("v")).await.unwrap();
    producer.flush().await.unwrap();
    late.on_complete(move |result| told.send(result.unwrap().offset()).unwrap());
    producer.close(LONG).await.unwrap();
    let offsets: Vec<_> = heard.try_iter().map(Option::unwrap).collect();
    assert_eq!(offsets, (0..=1000).filter(|number| *number != 500).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_callback_may_send() {
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let producer = producer(&broker).build().await.unwrap();
    let (told, heard) = oneshot::channel();
    let again = producer.topic("t").await.unwrap();
    let callback = move |result: Result<RecordMetadata, _>| {
        let value = format!("after {}", result.unwrap().offset().unwrap());
        told.send(again.try_send(again.record().value(value)).unwrap()).unwrap();
    };
    producer.send_with(Record::to("t").value("first"), callback).await.unwrap();
    heard.await.unwrap().await.unwrap();
    assert_eq!(values(&broker, "t", 0), ["first", "after 0"]);
}

/// A runtime of the user's, on a thread beside the test's.
fn other_runtime() -> Runtime {
    runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[tokio::test]
async fn a_producer_runs_on_its_users_runtime() {
    let broker = Broker::builder().topic("t", 4).start().await.unwrap();
    // This task never waits by itself, and must not starve the producer on the same thread.
    let producer = producer(&broker).runtime(runtime::Handle::current()).buffer_memory(64 << 10);
    let producer = producer.build().await.unwrap();
    for number in 0..5000 {
        producer.send(Record::to("t").value(format!("{number}"))).await.unwrap().forget();
    }
    assert_eq!(producer.close(LONG).await.unwrap().written, 5000);
}

#[tokio::test]
async fn nonblocking_sends_let_other_tasks_run() {
    let elsewhere = other_runtime();
    for is_guest in [false, true] {
        let broker = Broker::builder().topic("t", 1).start().await.unwrap();
        let builder = producer(&broker);
        let builder = if is_guest { builder.runtime(elsewhere.handle().clone()) } else { builder };
        let producer = builder.build().await.unwrap();
        let topic = producer.topic("t").await.unwrap();
        for way in 0..4 {
            let other = tokio::spawn(async {});
            // Tokio allows a task 128 steps in a row, and every fourth send is one.
            for _ in 0..600 {
                match way {
                    3 => topic.post(topic.record().value("v")).await.unwrap(),
                    0 => topic.send(topic.record().value("v")).await.unwrap().forget(),
                    1 => producer.send(Record::to("t").value("v")).await.unwrap().forget(),
                    _ => topic.send_with(topic.record().value("v"), drop).await.unwrap(),
                }
            }
            assert!(other.is_finished(), "{is_guest} {way}");
        }
    }
    elsewhere.shutdown_background();
}

#[test]
fn sends_outside_of_a_runtime_never_yield() {
    let runtime = other_runtime();
    let broker = runtime.block_on(Broker::builder().topic("t", 1).start()).unwrap();
    let producer = runtime.block_on(producer(&broker).build()).unwrap();
    let topic = runtime.block_on(producer.topic("t")).unwrap();
    for _ in 0..1_000 {
        let send = pin!(topic.send(topic.record().value("v")));
        match send.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(delivery) => delivery.unwrap().forget(),
            Poll::Pending => panic!("there is nothing to wait for"),
        }
    }
    assert_eq!(runtime.block_on(producer.close(LONG)).unwrap().written, 1_000);
}

#[tokio::test]
async fn runtime_shutdown_leaves_every_record_with_an_outcome() {
    for compression in [CompressionType::None, CompressionType::Gzip] {
        for round in 0..20 {
            let broker = cluster_that_stalls().await;
            let runtime = other_runtime();
            let builder = producer(&broker).runtime(runtime.handle().clone()).compression(compression);
            let producer = builder.batch_size(1000).build().await.unwrap();
            let topic = producer.topic("t").await.unwrap();
            let mut deliveries = Vec::new();
            // Some records are written, some in flight, some in compression, and some not taken.
            for number in 0..100 * round {
                deliveries.push(topic.send(topic.record().value(format!("{number:100}"))).await.unwrap());
            }
            runtime.shutdown_background();
            for (number, delivery) in deliveries.into_iter().enumerate() {
                let outcome = timeout(LONG, delivery).await;
                if let Err(error) = outcome.unwrap_or_else(|_| panic!("{compression}, round {round}: {number}")) {
                    assert_eq!(error.kind(), ErrorKind::Closed);
                }
            }
            let _ = timeout(LONG, producer.close(LONG)).await.unwrap();
            let late = timeout(LONG, topic.send(topic.record().value("late"))).await.unwrap();
            assert_eq!(late.unwrap_err().kind(), ErrorKind::Closed);
            assert_eq!(timeout(LONG, producer.flush()).await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
        }
    }
}

#[tokio::test]
async fn without_acknowledgement_a_record_has_no_offset() {
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let producer = producer(&broker).acks(Acks::None).build().await.unwrap();
    let metadata = producer.deliver(Record::to("t").timestamp(7).value("v")).await.unwrap();
    assert_eq!((metadata.acknowledged(), metadata.offset(), metadata.timestamp()), (false, None, 7));
    // The metadata response follows on the same connection.
    producer.topic("other").await.unwrap();
    assert_eq!(values(&broker, "t", 0), ["v"]);
}

#[tokio::test]
async fn metadata_has_the_brokers_time_with_log_append_time() {
    let settings = TopicSettings { is_log_append_time: true, ..TopicSettings::default() };
    let broker = Broker::builder().topic_with("t", 1, settings).start().await.unwrap();
    let producer = producer(&broker).build().await.unwrap();
    let metadata = producer.deliver(Record::to("t").timestamp(7).value("v")).await.unwrap();
    assert!(metadata.timestamp() > 1_600_000_000_000, "{}", metadata.timestamp());
}

#[tokio::test]
async fn batch_size_zero_sends_each_record_by_itself() {
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let producer = producer(&broker).batch_size(0).linger(Duration::from_secs(50)).build().await.unwrap();
    let numbers: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    for number in &numbers {
        producer.send(Record::to("t").value(number)).await.unwrap().forget();
    }
    // The record does not linger, because no other record could join it.
    let last = producer.deliver(Record::to("t").value("last"));
    assert_eq!(timeout(LONG, last).await.unwrap().unwrap().offset(), Some(100));
    let sizes: Vec<usize> = batches(&broker, "t", 0).iter().map(|batch| batch.records.len()).collect();
    assert_eq!(sizes, [1; 101]);
    assert_eq!(values(&broker, "t", 0)[..100], numbers);
}

#[tokio::test]
async fn a_record_arrives_as_it_was_sent() {
    let own = |text: &str| Some(text.as_bytes().to_vec());
    let plain = Stored { key: None, value: None, headers: Vec::new(), timestamp: 1_700_000_000_000 };
    let broker = Broker::builder().topic("t", 3).start().await.unwrap();
    let producer = producer(&broker).build().await.unwrap();
    let record = || Record::to("t").partition(2).timestamp(1_700_000_000_000);
    producer.send(record()).await.unwrap().forget();
    producer.send(record().key("k").value("v")).await.unwrap().forget();
    producer.send(record().key("deleted")).await.unwrap().forget();
    producer.send(record().key("").value("")).await.unwrap().forget();
    producer.send(record().nullable_key(None::<&str>).nullable_value(Some("v"))).await.unwrap().forget();
    producer.send(record().nullable_key(Some("k")).nullable_value(None::<&str>)).await.unwrap().forget();
    let headers = record().header("one", "1").header("", "").null_header("one").header("bytes", &[0u8, 255]);
    producer.send(headers.value("with headers")).await.unwrap().forget();
    producer.send(Record::to("t").partition(2).timestamp(5).value("earlier")).await.unwrap().forget();
    producer.flush().await.unwrap();
    let expected = [
        plain.clone(),
        Stored { key: own("k"), value: own("v"), ..plain.clone() },
        Stored { key: own("deleted"), ..plain.clone() },
        Stored { key: own(""), value: own(""), ..plain.clone() },
        Stored { value: own("v"), ..plain.clone() },
        Stored { key: own("k"), ..plain.clone() },
        Stored {
            value: own("with headers"),
            headers: vec![
                ("one".into(), own("1")),
                (String::new(), own("")),
                ("one".into(), None),
                ("bytes".into(), Some(vec![0, 255])),
            ],
            ..plain.clone()
        },
        Stored { value: own("earlier"), timestamp: 5, ..plain },
    ];
    assert_eq!(records(&broker, "t", 2), expected);
    assert!(records(&broker, "t", 0).is_empty() && records(&broker, "t", 1).is_empty());
}

#[tokio::test]
async fn keyed_records_choose_javas_partitions() {
    let broker = Broker::builder().topic("t", 7).start().await.unwrap();
    let producer = producer(&broker).build().await.unwrap();
    let keys: Vec<String> = (0..200).map(|number| format!("customer-{number}")).collect();
    for key in &keys {
        let place = i32::try_from((murmur2(key.as_bytes()) & 0x7fff_ffff) % 7).unwrap();
        let metadata = producer.deliver(Record::to("t").key(key).value("v"));
        assert_eq!(metadata.await.unwrap().partition(), place, "{key}");
    }
}

#[tokio::test]
async fn keyless_records_spread_over_partitions() {
    let broker = Broker::builder().topic("t", 3).start().await.unwrap();
    let producer = producer(&broker).batch_size(1000).build().await.unwrap();
    for _ in 0..3000 {
        producer.send(Record::to("t").value("x".repeat(100))).await.unwrap().forget();
    }
    producer.flush().await.unwrap();
    for partition in 0..3 {
        let count = records(&broker, "t", partition).len();
        assert!(count > 100, "{count} in {partition}");
    }
}

#[tokio::test]
async fn each_codec_arrives() {
    for compression in [CompressionType::None, CompressionType::Gzip, CompressionType::Snappy, CompressionType::Lz4] {
        let broker = Broker::builder().topic("t", 1).start().await.unwrap();
        let producer = producer(&broker).compression(compression).build().await.unwrap();
        let expected: Vec<String> = (0..5000).map(|number| format!("the value of {number}")).collect();
        for value in &expected {
            producer.send(Record::to("t").value(value)).await.unwrap().forget();
        }
        producer.flush().await.unwrap();
        assert_eq!(values(&broker, "t", 0), expected);
        let codecs = batches(&broker, "t", 0).into_iter().filter(|batch| batch.records.len() > 10);
        assert!(codecs.map(|batch| batch.compression).all(|codec| codec == Some(compression)), "{compression}");
    }
}

#[tokio::test]
async fn one_request_at_a_time_keeps_order_without_idempotence() {
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let builder = producer(&broker).set("max.in.flight", "1").enable_idempotence(false);
    let producer = builder.batch_size(200).build().await.unwrap();
    let expected: Vec<String> = (0..500).map(|number| number.to_string()).collect();
    for (number, value) in expected.iter().enumerate() {
        if number % 50 == 0 {
            broker.add_fault(Fault::new("Produce", FaultKind::Error(ErrorCode::REQUEST_TIMED_OUT)));
        }
        producer.send(Record::to("t").value(value)).await.unwrap().forget();
    }
    producer.flush().await.unwrap();
    assert_eq!(values(&broker, "t", 0), expected);
    assert!(batches(&broker, "t", 0).iter().all(|batch| batch.producer_id == -1));
}

/// An order, by its number. The serializer rejects 13.
struct Order(u32);

#[derive(Debug)]
struct AsText;

impl Serializer<Order> for AsText {
    fn serialize(&self, topic: &str, order: &Order, out: &mut BytesMut) -> Result<(), BoxError> {
        // Bytes written before the rejection must not leak into the next record.
        out.extend_from_slice(format!("{topic} {}", order.0).as_bytes());
        if order.0 == 13 { Err("13 brings bad luck".into()) } else { Ok(()) }
    }
}

#[tokio::test]
async fn keys_and_values_go_through_their_serializers() {
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let builder = producer(&broker).key_serializer(IntegerSerializer).value_serializer(AsText);
    let producer = builder.build().await.unwrap();
    producer.deliver(Record::to("t").key(258).value(Order(12))).await.unwrap();
    let error = producer.send(Record::to("t").key(1).value(Order(13))).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retriable()), (ErrorKind::Serialization, false));
    assert!(
        format!("{error:#}").contains("cannot serialize the value of a record for topic t: 13 brings bad luck"),
        "{error}"
    );
    producer.deliver(Record::to("t").key(-1i64).value(Order(14))).await.unwrap();
    let stored: Vec<_> = records(&broker, "t", 0).into_iter().map(|record| (record.key, record.value)).collect();
    let expected = |key: &[u8], value: &str| (Some(key.to_vec()), Some(value.as_bytes().to_vec()));
    assert_eq!(stored, [expected(&[0, 0, 1, 2], "t 12"), expected(&[255; 8], "t 14")]);
}

#[tokio::test]
async fn string_serializer_takes_only_text() {
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let builder = producer(&broker).key_serializer(StringSerializer).value_serializer(StringSerializer);
    let producer: Producer<_, _> = builder.build().await.unwrap();
    producer.deliver(Record::to("t").key("k").value(String::from("v"))).await.unwrap();
    assert_eq!(values(&broker, "t", 0), ["v"]);
}

/// Partitioner that chooses by the value's first letter and keeps the keys it saw.
#[derive(Debug, Default)]
struct ByLetter(Mutex<Vec<Option<Vec<u8>>>>);

impl Partitioner for ByLetter {
    fn partition(&self, record: &RecordView<'_>, topic: &TopicView<'_>) -> Result<Choice, PartitionError> {
        self.0.lock().unwrap().push(record.key().map(<[u8]>::to_vec));
        match record.value().and_then(<[u8]>::first) {
            Some(b'l') => Ok(Choice::Partition(topic.partition_count() - 1)),
            Some(b'x') => Ok(Choice::Partition(topic.partition_count())),
            _ => Ok(Choice::Anywhere),
        }
    }
}

/// Wrapper that lets the test inspect the partitioner afterwards.
#[derive(Debug)]
struct Given(Arc<ByLetter>);

impl Partitioner for Given {
    fn partition(&self, record: &RecordView<'_>, topic: &TopicView<'_>) -> Result<Choice, PartitionError> {
        self.0.partition(record, topic)
    }
}

#[tokio::test]
async fn custom_partitioner_is_skipped_if_the_record_names_a_partition() {
    let broker = Broker::builder().topic("t", 5).start().await.unwrap();
    let partitioner = Arc::new(ByLetter::default());
    let producer = producer(&broker).partitioner(Given(Arc::clone(&partitioner))).build().await.unwrap();
    let last = producer.deliver(Record::to("t").key("a").value("last")).await.unwrap();
    let named = producer.deliver(Record::to("t").key("b").value("last").partition(0)).await.unwrap();
    let anywhere = producer.deliver(Record::to("t").value("anywhere")).await.unwrap();
    assert_eq!((last.partition(), named.partition()), (4, 0));
    assert!((0..5).contains(&anywhere.partition()));
    let error = producer.send(Record::to("t").key("c").value("x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Partitioning);
    assert!(format!("{error:#}").contains("topic t has no partition 5: it has 5"), "{error}");
    let seen = partitioner.0.lock().unwrap();
    assert_eq!(*seen, [Some(b"a".to_vec()), None, Some(b"c".to_vec())]);
}

#[tokio::test]
async fn topic_producer_ignores_the_records_topic() {
    let broker = Broker::builder().topic("t", 1).topic("other", 1).start().await.unwrap();
    let producer = producer(&broker).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    let clone = topic.clone();
    drop(producer);
    topic.deliver(Record::to("other").value("a")).await.unwrap();
    let (told, heard) = oneshot::channel();
    clone.send_with(clone.record().value("b"), |result| told.send(result).unwrap()).await.unwrap();
    assert_eq!(heard.await.unwrap().unwrap().offset(), Some(1));
    clone.try_send(clone.record().value("c")).unwrap().await.unwrap();
    assert_eq!((clone.name(), values(&broker, "t", 0)), ("t", ["a", "b", "c"].map(str::to_owned).to_vec()));
}

/// Waits until the obstacle contains `expected`.
async fn says(producer: &Producer, expected: &str) {
    let mut said = None;
    let heard = async {
        while said.as_deref().is_none_or(|said: &str| !said.contains(expected)) {
            said = producer.obstacle().await;
            tokio::task::yield_now().await;
        }
    };
    let is_heard = timeout(LONG, heard).await.is_ok();
    assert!(is_heard, "{expected:?} is missing in {said:?}");
}

#[tokio::test]
async fn obstacle_describes_what_blocks_the_producer() {
    let nowhere = Producer::builder().bootstrap_servers(["127.0.0.1:1"]).start().unwrap();
    says(&nowhere, "127.0.0.1:1: Connection refused").await;
    let nameless = Producer::builder()
        .bootstrap_servers(["no.such.invalid:1"])
        .set("bootstrap.resolve.timeout.ms", "60000")
        .start()
        .unwrap();
    says(&nameless, "no name in bootstrap.servers has an address yet: no.such.invalid:1: ").await;
    nameless.close(Duration::ZERO).await.unwrap_err();
    assert_eq!(nameless.obstacle().await, None, "after its end");

    let settings = TopicSettings { replication_factor: 1, ..TopicSettings::default() };
    let builder = Broker::builder().nodes(2).topic_with("t", 2, settings).auto_create_topics(false, 1);
    let broker = builder.start().await.unwrap();
    let producer = producer(&broker).start().unwrap();
    producer.connected().await.unwrap();
    assert_eq!(producer.obstacle().await, None);
    let topic = producer.topic("t").await.unwrap();
    {
        let mut lacking = pin!(topic.send(topic.record().partition(6).value("v")));
        assert!(is_pending(lacking.as_mut()).await);
        says(&producer, "topic t has 2 partitions, and a send waits for partition 6").await;
    }
    let mut missing = pin!(producer.topic("missing"));
    stall(&broker);
    assert!(is_pending(missing.as_mut()).await);
    says(&producer, "topic missing is not known: UNKNOWN_TOPIC_OR_PARTITION (3)").await;
    let delivery = topic.send(topic.record().partition(1).value("v")).await.unwrap();
    says(&producer, "t-1: ").await;
    heal(&broker);
    delivery.await.unwrap();
}
