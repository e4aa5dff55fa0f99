//! Tests of the public API against the in-memory cluster.

use std::time::Duration;

use kurier::{Acks, CompressionType, ErrorKind, Producer, Record, Written};
use kurier_broker::{Broker, TopicSettings};

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn records_are_sent_three_ways() {
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let producer = Producer::builder().bootstrap_servers([broker.bootstrap_servers()]).build().await.unwrap();
    let record = |value| Record::to("t").key("k").value(value);
    producer.send(record("forgotten")).await.unwrap().forget();
    let metadata = producer.send(record("awaited")).await.unwrap().await.unwrap();
    assert_eq!((metadata.partition(), metadata.offset(), metadata.acknowledged()), (0, Some(1), true));
    let (told, heard) = tokio::sync::oneshot::channel();
    producer.send_with(record("called back"), |result| told.send(result.unwrap().offset()).unwrap()).await.unwrap();
    assert_eq!(heard.await.unwrap(), Some(2));
    let summary = producer.close(LONG).await.unwrap();
    assert_eq!((summary.written, summary.failed()), (3, 0));
    let error = producer.send(record("too late")).await.unwrap_err();
    assert_eq!((error.kind(), error.written()), (ErrorKind::Closed, Written::No));
}

#[tokio::test]
async fn many_records_arrive_once_and_in_order() {
    for (acks, compression) in [
        (Acks::All, CompressionType::None),
        (Acks::All, CompressionType::Gzip),
        (Acks::All, CompressionType::Snappy),
        (Acks::Leader, CompressionType::Lz4),
        (Acks::None, CompressionType::None),
    ] {
        let broker = Broker::builder().nodes(3).topic("t", 4).start().await.unwrap();
        let builder = Producer::builder().bootstrap_servers([broker.bootstrap_servers()]);
        let producer = builder.acks(acks).compression(compression).buffer_memory(1 << 20).build().await.unwrap();
        for number in 0..20_000 {
            let value = format!("value {number}");
            producer.send(Record::to("t").value(value)).await.unwrap().forget();
        }
        let summary = producer.flush().await.unwrap();
        assert_eq!((summary.written, summary.failed()), (20_000, 0), "{acks:?} {compression}");
        producer.close(LONG).await.unwrap();
    }
}

#[tokio::test]
async fn records_for_a_dead_node_go_to_the_next_leader() {
    let topics = TopicSettings { replication_factor: 3, ..Default::default() };
    let broker = Broker::builder().nodes(3).topics_by_default(topics).topic("t", 12).start().await.unwrap();
    let producer = Producer::builder().bootstrap_servers([broker.bootstrap_servers()]).build().await.unwrap();
    for number in 0..6_000 {
        if number == 3_000 {
            broker.stop_node(2);
        }
        let record = Record::to("t").partition(number % 12).value("v");
        producer.send(record).await.unwrap().forget();
        tokio::task::yield_now().await;
    }
    let summary = producer.flush().await.unwrap();
    assert_eq!((summary.written, summary.failed()), (6_000, 0));
}
