//! Counts allocations per record: in the long run there are none on any thread.
//!
//! The count covers the whole process. While nothing can be written, that means the senders' threads; otherwise it
//! includes driver and broker.

mod cluster;

use std::alloc::System;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::BytesMut;
use cluster::{cluster_that_stalls, heal, stall};
use kurier::partitioner::{Choice, PartitionError, Partitioner, RecordView, TopicView};
use kurier::{BoxError, ErrorKind, IntegerSerializer, Producer, Record, Serializer, TopicProducer};
use kurier_broker::Broker;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const RECORDS: u64 = 100_000;
/// Two allocations for every hundred records: segments of up to 64 KiB, and the structures around them.
const SENDERS_LIMIT: u64 = RECORDS / 50;
/// Allocations for a batch of up to 1 MiB on its way through driver, sockets, broker and log, and back.
const EACH_BATCH_LIMIT: u64 = 250;
const VALUE: [u8; 100] = [b'x'; 100];

/// A way to send a record.
#[derive(Clone, Copy, Debug)]
enum Way {
    Send,
    TrySend,
    ByName,
    SendWith,
    Post,
    PostAll,
    /// By serializers that write to the buffer, and a partitioner of the user's.
    Own,
}

/// Serialises values into the buffer.
#[derive(Debug)]
struct Copying;

impl Serializer<[u8; 100]> for Copying {
    fn serialize(&self, _: &str, value: &[u8; 100], out: &mut BytesMut) -> Result<(), BoxError> {
        out.extend_from_slice(value);
        Ok(())
    }
}

/// Sends everything to partition 1.
#[derive(Debug)]
struct ToOne;

impl Partitioner for ToOne {
    fn partition(&self, _: &RecordView<'_>, _: &TopicView<'_>) -> Result<Choice, PartitionError> {
        Ok(Choice::Partition(1))
    }
}

/// The producers, with a handle to their topic.
struct Rig {
    producer: Producer,
    topic: TopicProducer,
    own: Producer<IntegerSerializer, Copying>,
    called: Arc<AtomicU64>,
}

async fn send_all(way: Way, rig: &Rig) {
    let Rig { producer, topic, own, called } = rig;
    if let Way::PostAll = way {
        // murmur2 hashes the missing key like an empty one, which belongs to partition 1.
        for _ in 0..RECORDS / 1_000 {
            topic.post_all(&mut &[VALUE; 1_000][..]).await.unwrap();
        }
        return;
    }
    for _ in 0..RECORDS {
        let record = topic.record().partition(1).key(&VALUE[..8]).value(&VALUE[..]).header("h", "v");
        match way {
            Way::Send => topic.send(record).await.unwrap().forget(),
            Way::TrySend => match topic.try_send(record) {
                Ok(delivery) => delivery.forget(),
                Err(refused) => {
                    assert_eq!(refused.error.kind(), ErrorKind::BufferFull);
                    topic.send(refused.record).await.unwrap().forget();
                }
            },
            Way::ByName => producer.send(record).await.unwrap().forget(),
            Way::Post => topic.post(record).await.unwrap(),
            Way::Own => own.send(Record::to("t").key(7_i64).value(VALUE).header("h", "v")).await.unwrap().forget(),
            Way::PostAll => {}
            Way::SendWith => {
                let called = Arc::clone(called);
                let callback = move |_| {
                    called.fetch_add(1, Ordering::Relaxed);
                };
                topic.send_with(record, callback).await.unwrap();
            }
        }
    }
}

fn batch_count(broker: &Broker) -> u64 {
    broker.with_cluster(|cluster| cluster.log("t", 1)).unwrap().len() as u64
}

/// A single test, because the count covers the process.
#[tokio::test]
#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
async fn sending_allocates_nothing_in_the_long_run() {
    let broker = cluster_that_stalls().await;
    let builder = || Producer::builder().bootstrap_servers([broker.bootstrap_servers()]).buffer_memory(64 << 20);
    let producer = builder().set("partitioner", "murmur2").build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    let own = builder().partitioner(ToOne).key_serializer(IntegerSerializer).value_serializer(Copying);
    let rig = Rig { topic, own: own.build().await.unwrap(), called: Arc::default(), producer };
    let flush = async || {
        rig.producer.flush().await.unwrap();
        rig.own.flush().await.unwrap();
    };
    // One-off allocations: connections, threads, growing tables.
    for way in [Way::Send, Way::SendWith, Way::Own] {
        send_all(way, &rig).await;
        flush().await;
    }
    for way in [Way::Send, Way::TrySend, Way::ByName, Way::SendWith, Way::Post, Way::PostAll, Way::Own] {
        for is_stalled in [true, false] {
            if is_stalled {
                stall(&broker);
            }
            let batches_before = batch_count(&broker);
            let region = Region::new(ALLOCATOR);
            send_all(way, &rig).await;
            if !is_stalled {
                flush().await;
            }
            let change = region.change();
            if is_stalled {
                heal(&broker);
                flush().await;
            }
            let batches = batch_count(&broker) - batches_before;
            let boxes = if let Way::SendWith = way { RECORDS } else { 0 };
            let count = change.allocations + change.reallocations;
            let about = if is_stalled { "senders alone" } else { "driver and broker as well" };
            let each = count as f64 / RECORDS as f64;
            println!("{way:?}, {about}: {count}, which is {each:.5} a record; {batches} batches");
            let limit = if is_stalled { SENDERS_LIMIT } else { EACH_BATCH_LIMIT * batches };
            assert!(
                (boxes..boxes + limit).contains(&(count as u64)),
                "{way:?}, {about}: {change:?}, {batches} batches"
            );
        }
    }
    rig.producer.close(cluster::LONG).await.unwrap();
    assert_eq!(rig.called.load(Ordering::Relaxed), 3 * RECORDS);
}
