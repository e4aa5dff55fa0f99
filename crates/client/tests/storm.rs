//! Randomised test of all faults at once: refusals, lost responses, stopped nodes, moved leaders, oversized batches,
//! cancelled sends. Every outcome that the producer reports must be true.

mod cluster;

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use cluster::{LONG, batches, producer};
use kurier::{CompressionType, Delivery, ErrorCode, ErrorKind, Written};
use kurier_broker::{Broker, Cluster, Fault, FaultKind, TopicSettings};
use tokio::time::timeout;

const PARTITIONS: i32 = 5;
const RECORDS: usize = 3000;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Returns a random fault for the next requests.
fn fault(random: &mut fastrand::Rng) -> Fault {
    let codes = [
        ErrorCode::NOT_ENOUGH_REPLICAS,
        ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        ErrorCode::REQUEST_TIMED_OUT,
        ErrorCode::NOT_LEADER_OR_FOLLOWER,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode::CORRUPT_MESSAGE,
        ErrorCode::KAFKA_STORAGE_ERROR,
    ];
    let code = codes[random.usize(..codes.len())];
    // A broker must not write a batch that it reports as unwritten.
    let is_honest_after = !code.is_unwritten();
    let kind = match random.u8(..12) {
        0..3 => FaultKind::Error(code),
        3..5 if is_honest_after => FaultKind::ErrorAfter(code),
        3 => FaultKind::Close,
        4 | 5 => FaultKind::CloseAfter,
        6 => FaultKind::Cut(random.usize(..40)),
        7 => FaultKind::Silence,
        8 => FaultKind::Delay(ms(random.u64(..80))),
        9 => FaultKind::Throttle(ms(random.u64(..20))),
        10 => FaultKind::Error(ErrorCode::INVALID_RECORD),
        _ => FaultKind::Error(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER),
    };
    let api = ["Produce", "Produce", "Produce", "Produce", "Metadata", "InitProducerId", "ApiVersions"];
    let api = api[random.usize(..api.len())];
    let kind = match api {
        "Produce" => kind,
        "ApiVersions" => FaultKind::Close,
        _ => [FaultKind::Close, FaultKind::Cut(7), FaultKind::Delay(ms(10))][random.usize(..3)].clone(),
    };
    Fault::new(api, kind).times(random.usize(1..4))
}

/// Moves a leader, or stops or starts a node.
async fn upset(broker: &Broker, random: &mut fastrand::Rng, down: &mut Option<i32>) {
    match (random.u8(..4), *down) {
        (0, None) => {
            let node = random.i32(1..4);
            broker.stop_node(node);
            *down = Some(node);
        }
        (0 | 1, Some(node)) => {
            broker.start_node(node).await.unwrap();
            *down = None;
        }
        _ => {
            let (partition, node) = (random.i32(0..PARTITIONS), random.i32(1..4));
            // Not every node can lead.
            let _ = broker.with_cluster(|cluster| cluster.move_leader("t", partition, node));
        }
    }
}

/// Outcomes of the records.
#[derive(Debug, Default)]
struct Counts {
    written: usize,
    not_written: usize,
    unknown: usize,
    /// The number of unknown records that are in the log.
    arrived: usize,
    cancelled: usize,
}

async fn storm(seed: u64) -> Counts {
    let mut random = fastrand::Rng::with_seed(seed);
    let compression = [CompressionType::None, CompressionType::Lz4][random.usize(..2)];
    let settings = TopicSettings { max_message_bytes: 1 << random.u32(9..16), ..TopicSettings::default() };
    let broker = Broker::builder().nodes(3).topic_with("t", PARTITIONS, settings).start().await.unwrap();
    let builder = producer(&broker).compression(compression).linger(ms(random.u64(..3)));
    let builder = builder.request_timeout(ms(60)).delivery_timeout(ms(random.u64(100..600)));
    let builder = builder.batch_size(1 << random.u32(8..15)).buffer_memory(1 << random.u32(14..20));
    let builder = builder.set("max.in.flight", &random.u32(1..6).to_string());
    let producer = builder.build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();

    let mut counts = Counts::default();
    let mut accepted: Vec<(String, i32, Delivery)> = Vec::new();
    let mut down = None;
    for number in 0..RECORDS {
        if number % 40 == 0 {
            broker.add_fault(fault(&mut random));
        }
        if number % 200 == 100 {
            upset(&broker, &mut random, &mut down).await;
        }
        if number % 300 == 299 {
            timeout(LONG, producer.flush()).await.unwrap().unwrap();
        }
        let partition = random.i32(0..PARTITIONS);
        let value = format!("{number} {}", "x".repeat(random.usize(..100)));
        let mut send = pin!(topic.send(topic.record().partition(partition).value(value.clone())));
        let is_impatient = random.u8(..20) == 0;
        let sent = match poll_fn(|cx| Poll::Ready(send.as_mut().poll(cx))).await {
            Poll::Ready(sent) => sent,
            Poll::Pending if is_impatient => {
                counts.cancelled += 1;
                continue;
            }
            Poll::Pending => timeout(LONG, send).await.unwrap(),
        };
        match sent {
            Ok(delivery) => accepted.push((value, partition, delivery)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::BufferFull, "{error}"),
        }
    }
    if let Some(node) = down {
        broker.start_node(node).await.unwrap();
    }
    // Without faults every partition works again, although the first few records may still fail from earlier faults.
    broker.with_cluster(Cluster::clear_faults);
    let mut ended = Vec::new();
    for (value, partition, delivery) in accepted {
        ended.push((value, partition, timeout(LONG, delivery).await.unwrap()));
    }
    for partition in 0..PARTITIONS {
        let goes_on = async {
            for attempt in 0.. {
                let value = format!("{attempt} in {partition} after the storm");
                let outcome = topic.send(topic.record().partition(partition).value(value.clone())).await.unwrap().await;
                let is_written = outcome.is_ok();
                ended.push((value, partition, outcome));
                if is_written {
                    return;
                }
            }
        };
        timeout(LONG, goes_on).await.unwrap();
    }
    let summary = timeout(LONG, producer.flush()).await.unwrap().unwrap();

    let mut places: HashMap<String, (i32, i64)> = HashMap::new();
    let mut in_log: Vec<Vec<String>> = Vec::new();
    for partition in 0..PARTITIONS {
        let mut values = Vec::new();
        for batch in batches(&broker, "t", partition) {
            for (record, offset) in batch.records.into_iter().zip(batch.base_offset..) {
                let value = String::from_utf8(record.value.unwrap()).unwrap();
                let before = places.insert(value.clone(), (partition, offset));
                assert_eq!(before, None, "{value} is there twice");
                values.push(value);
            }
        }
        in_log.push(values);
    }
    let mut expected: Vec<Vec<String>> = vec![Vec::new(); in_log.len()];
    for (value, partition, outcome) in ended {
        let place = places.remove(&value);
        let in_order = &mut expected[usize::try_from(partition).unwrap()];
        match outcome {
            Ok(metadata) => {
                counts.written += 1;
                assert_eq!(place, Some((partition, metadata.offset().unwrap())), "{value}");
                in_order.push(value);
            }
            Err(error) if error.written() == Written::No => {
                counts.not_written += 1;
                assert_eq!(place, None, "{value}: {error}");
            }
            Err(error) => {
                counts.unknown += 1;
                assert!(place.is_none_or(|(found, _)| found == partition), "{value}: {error}");
                if place.is_some() {
                    counts.arrived += 1;
                    in_order.push(value);
                }
            }
        }
    }
    assert_eq!(places, HashMap::new(), "nobody sent them");
    assert_eq!(in_log, expected, "the order of each partition");
    let told = (counts.written, counts.not_written, counts.unknown);
    let count = |count: u64| usize::try_from(count).unwrap();
    assert_eq!(told, (count(summary.written), count(summary.not_written), count(summary.unknown)));
    timeout(LONG, producer.close(LONG)).await.unwrap().unwrap();
    counts
}

/// Returns a few seeds, or the range in KURIER_STORM_SEEDS, such as `100..200`.
fn seeds() -> std::ops::Range<u64> {
    let Ok(range) = std::env::var("KURIER_STORM_SEEDS") else { return 0..8 };
    let (first, last) = range.split_once("..").unwrap();
    first.parse().unwrap()..last.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reported_outcomes_are_true() {
    for seed in seeds() {
        println!("seed {seed}");
        println!("{:?}", storm(seed).await);
    }
}
