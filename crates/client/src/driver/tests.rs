//! Tests of the driver without sockets, or against an in-memory cluster.

use kurier_partitioner::Choice;
use kurier_protocol::NodeId;
use kurier_protocol::record_batch::NewRecord;

use super::*;
use crate::driver::names::tests::MadeUp;
use crate::handle::Handle;
use crate::partitioning::Partitioning;
use crate::producer::Producer;
use crate::{Record, Unfinished};
use kurier_engine::accumulator::{Layout, Leadership, PartitionId, Placed};
use kurier_engine::config::Config;
use kurier_engine::delivery::Delivery;
use kurier_engine::error::Written;
use kurier_engine::serializer::BytesSerializer;

fn shared() -> Arc<Shared> {
    let mut config = Config::default();
    config.set("bootstrap.servers", "127.0.0.1:9").unwrap();
    let shared = Shared::new(Arc::new(config.check().unwrap()), 1);
    shared.accumulator.publish(&Layout { topic: "t".into(), partitions: vec![(PartitionId(0), Leadership::Anywhere)] });
    shared
}

/// A taken batch, and the delivery of its record.
fn under_way(shared: &Arc<Shared>) -> (UnderWay, Delivery) {
    let topic = shared.accumulator.topic("t").unwrap();
    let mut placed = Placed::new(Choice::Partition(0), NewRecord::default());
    let delivery = shared.accumulator.append(&topic, &mut placed, &mut Delivery::new).unwrap();
    let (taken, left) = shared.accumulator.take(PartitionId(0), usize::MAX, true);
    let batches = vec![(PartitionId(0), taken.unwrap())];
    (
        UnderWay {
            taken: TakenBatches { node: NodeId(1), batches, left: vec![(PartitionId(0), left)] },
            shared: Arc::clone(shared),
            _alive: None,
        },
        delivery,
    )
}

#[tokio::test]
async fn batches_being_compressed_fail_when_the_driver_is_dropped() {
    let shared = shared();
    let driver = Driver::new(Arc::clone(&shared), 1).unwrap();
    let done = driver.under_way.clone();
    let ((before, early), (after, late)) = (under_way(&shared), under_way(&shared));
    assert!(done.send(before).is_ok());
    drop(driver);
    drop(done.send(after));
    for delivery in [early, late] {
        let error = delivery.await.unwrap_err();
        assert_eq!((error.kind(), error.written()), (ErrorKind::Closed, Written::No));
    }
    assert_eq!((shared.summary().not_written, shared.accumulator.incomplete_count()), (2, 0));
}

#[tokio::test]
async fn request_for_an_unawaited_topic_expires() {
    let shared = shared();
    let patience = shared.config.max_block;
    let mut driver = Driver::new(shared, 1).unwrap();
    let now = driver.now();
    driver.want("u".into(), 0, None, now);
    driver.want("u".into(), 0, None, now + patience / 2);
    driver.serve_topics(now + patience);
    assert_eq!(driver.waiting.topics.len(), 1);
    driver.serve_topics(now + patience / 2 * 3);
    assert_eq!(driver.waiting.topics.len(), 0);
}

#[tokio::test]
async fn topic_command_fails_at_once_while_the_producer_closes() {
    let shared = shared();
    let (_under_way, _delivery) = under_way(&shared);
    let mut driver = Driver::new(Arc::clone(&shared), 1).unwrap();
    let far = driver.now() + shared.config.max_block;
    let ask = |name: &str, partitions| {
        let (reply, answer) = oneshot::channel();
        shared.command(Command::Topic { name: name.into(), partitions, deadline: far, reply });
        answer
    };
    // Calls before, with and after the close: for an unknown topic, and for a known one with too few partitions.
    let mut answers = vec![ask("u", 0), ask("t", 2)];
    driver.work(Happened::Nothing);
    shared.command(Command::Close { deadline: far });
    answers.push(ask("v", 0));
    driver.work(Happened::Nothing);
    answers.extend([ask("w", 0), ask("t", 3)]);
    shared.accumulator.signal(Signal::Wanted { topic: "x".into(), partitions: 0 });
    driver.work(Happened::Nothing);
    assert!(!driver.is_over, "a batch is under way");
    for mut answer in answers {
        assert_eq!(answer.try_recv().unwrap().unwrap_err().kind(), ErrorKind::Closed);
    }
    assert_eq!((driver.waiting.topics.len(), driver.waiting.topics.next_deadline()), (0, None));
}

#[tokio::test]
async fn number_of_requested_topics_is_limited() {
    let mut driver = Driver::new(shared(), 1).unwrap();
    let now = driver.now();
    for number in 0..=WANTED_TOPICS_MAX {
        driver.want(number.to_string().into(), 0, None, now);
    }
    assert_eq!(driver.waiting.topics.len(), WANTED_TOPICS_MAX);
    let (reply, mut answer) = oneshot::channel();
    driver.want("late".into(), 0, Some((now, reply)), now);
    assert_eq!(answer.try_recv().unwrap().unwrap_err().kind(), ErrorKind::Metadata);
}

/// A producer with this state, and its driver.
fn pair(shared: &Arc<Shared>) -> (Producer, Driver) {
    let driver = Driver::new(Arc::clone(shared), 1).unwrap();
    let producer = Producer::new(Handle {
        shared: Arc::clone(shared),
        key_serializer: BytesSerializer,
        value_serializer: BytesSerializer,
        partitioning: Partitioning::Unkeyed,
    });
    (producer, driver)
}

/// A clock that panics once on demand.
struct Panics(std::sync::atomic::AtomicBool);

impl Clock for Panics {
    fn now(&self) -> Instant {
        assert!(!self.0.swap(false, Ordering::Relaxed), "the clock is broken");
        SystemClock.now()
    }

    fn wall_ms(&self) -> i64 {
        0
    }
}

#[tokio::test]
async fn driver_that_panics_fails_every_call_and_record_with_a_bug() {
    let clock = Arc::new(Panics(false.into()));
    let mut config = Config::default();
    config.set("bootstrap.servers", "127.0.0.1:9").unwrap();
    let config = Arc::new(config.check().unwrap());
    let shared = Shared::with_clock(config, 1, Arc::clone(&clock) as Arc<dyn Clock>);
    shared.accumulator.publish(&Layout { topic: "t".into(), partitions: vec![(PartitionId(0), Leadership::Anywhere)] });
    let (producer, driver) = pair(&shared);
    let mut waits = Box::pin(producer.topic("u"));
    let is_waiting = poll_fn(|cx| Poll::Ready(waits.as_mut().poll(cx).is_pending())).await;
    assert!(is_waiting);
    let driver = tokio::spawn(driver.run());
    let delivery = producer.send(Record::to("t").value("v")).await.unwrap();
    clock.0.store(true, Ordering::Relaxed);
    shared.notify.notify_one();
    driver.await.unwrap();
    let late = producer.send(Record::to("t").value("v")).await.map(drop);
    let unknown = producer.topic("w").await.map(drop);
    for result in [delivery.await.map(drop), waits.await.map(drop), producer.flush().await.map(drop), late, unknown] {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.written()), (ErrorKind::Bug, Written::No));
        let text = format!("{error:#}");
        assert!(text.contains("the clock is broken") && text.contains("please report it"), "{text}");
    }
    let unfinished: Unfinished = producer.close(std::time::Duration::from_secs(5)).await.unwrap_err();
    assert_eq!(unfinished.cause().map(Error::kind), Some(ErrorKind::Bug));
    assert_eq!((unfinished.records().len(), unfinished.counts().not_written), (1, 1));
}

#[tokio::test]
async fn batches_are_compressed_in_place_if_no_thread_starts() {
    let broker = kurier_broker::Broker::builder().topic("t", 1).start().await.unwrap();
    let mut config = Config::default();
    config.set("bootstrap.servers", &broker.bootstrap_servers()).unwrap();
    config.set("compression.type", "lz4").unwrap();
    let shared = Shared::new(Arc::new(config.check().unwrap()), 1);
    let (producer, mut driver) = pair(&shared);
    driver.workers = Workers::without_threads();
    let driver = tokio::spawn(driver.start());
    let metadata = producer.deliver(Record::to("t").value(vec![7; 1_000])).await.unwrap();
    assert_eq!(metadata.offset(), Some(0));
    let log = broker.with_cluster(|cluster| cluster.log("t", 0)).unwrap();
    assert!(log.iter().map(|batch| batch.len()).sum::<usize>() < 500, "it is compressed");
    producer.close(std::time::Duration::from_secs(5)).await.unwrap();
    driver.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn calls_fail_when_no_bootstrap_server_resolves() {
    for (timeout, expected) in [
        ("0", "cannot resolve any name in bootstrap.servers; check the names"),
        ("9000", "bootstrap.resolve.timeout.ms, which is 9000"),
    ] {
        let mut config = Config::default();
        config.set("bootstrap.servers", "nowhere:1").unwrap();
        config.set("bootstrap.resolve.timeout.ms", timeout).unwrap();
        let (producer, mut driver) = pair(&Shared::new(Arc::new(config.check().unwrap()), 1));
        driver.names = Arc::new(MadeUp::default());
        let driver = tokio::spawn(driver.start());
        let error = producer.topic("t").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Network);
        assert!(format!("{error:#}").contains(expected), "{error}");
        driver.await.unwrap();
        assert_eq!(format!("{:#}", producer.send(Record::to("t").value("v")).await.unwrap_err()), format!("{error:#}"));
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_producer_ends_while_its_bootstrap_servers_are_looked_up() {
    let mut config = Config::default();
    config.set("bootstrap.servers", "nowhere:1").unwrap();
    let (producer, mut driver) = pair(&Shared::new(Arc::new(config.check().unwrap()), 1));
    driver.names = Arc::new(MadeUp { is_silent: true, ..Default::default() });
    let driver = tokio::spawn(driver.start());
    tokio::task::yield_now().await;
    assert!(!driver.is_finished());
    drop(producer);
    driver.await.unwrap();
}

/// A waker that takes the lock of the commands.
struct Looks(Arc<Shared>);

impl std::task::Wake for Looks {
    fn wake(self: Arc<Self>) {
        drop(self.0.commands());
    }
}

/// If the waker ran under the lock, it would deadlock.
#[tokio::test]
async fn command_that_comes_too_late_is_dropped_outside_the_lock() {
    let shared = shared();
    let driver = Driver::new(Arc::clone(&shared), 1).unwrap();
    let (reply, answer) = oneshot::channel();
    let mut answer = std::pin::pin!(answer);
    let waker = std::task::Waker::from(Arc::new(Looks(Arc::clone(&shared))));
    assert!(answer.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
    shared.command(Command::Flush { reply });
    drop(driver);
    assert!(answer.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_ready());
}
