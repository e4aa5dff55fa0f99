//! Tests of a producer's end: close with slow callbacks, runtime shutdown, and extreme settings.

mod cluster;

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use cluster::{LONG, cluster_that_stalls, producer, stall};
use kurier::{Config, ErrorKind, Producer, Record, Uncalled, Written};
use kurier_broker::Broker;
use tokio::runtime;
use tokio::time::timeout;

/// Sends records with callbacks that block until they are released. The receiver gets the offset of each that has run.
async fn send_with_blocked_callbacks(
    producer: &Producer,
    count: usize,
) -> (mpsc::Sender<()>, mpsc::Receiver<Option<i64>>) {
    let (let_go, go) = mpsc::channel::<()>();
    let (ran, heard) = mpsc::channel();
    let go = Arc::new(Mutex::new(go));
    for _ in 0..count {
        let (go, ran) = (Arc::clone(&go), ran.clone());
        let callback = move |result: Result<kurier::RecordMetadata, kurier::Error>| {
            go.lock().unwrap().recv().unwrap();
            ran.send(result.ok().and_then(|metadata| metadata.offset())).unwrap();
        };
        producer.send_with(Record::to("t").value("v"), callback).await.unwrap();
    }
    (let_go, heard)
}

#[tokio::test]
async fn close_waits_for_callbacks_no_longer_than_its_patience() {
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let producer = producer(&broker).build().await.unwrap();
    let (let_go, heard) = send_with_blocked_callbacks(&producer, 5).await;
    producer.flush().await.unwrap();
    let close = || timeout(LONG, producer.close(Duration::from_millis(100)));
    for called in [0, 2] {
        for _ in 0..called {
            let_go.send(()).unwrap();
            heard.recv().unwrap();
        }
        let unfinished = close().await.expect("close waits for a callback for ever").unwrap_err();
        let offset = |record: &Uncalled| record.result.as_ref().unwrap().offset();
        let offsets: Vec<_> = unfinished.uncalled().iter().filter_map(offset).collect();
        assert_eq!(offsets, (called..5).collect::<Vec<_>>());
        assert!(unfinished.records().is_empty() && unfinished.cause().is_none());
        assert_eq!(unfinished.counts().written, 5);
        let expected = format!("{} callbacks had not returned", 5 - called);
        assert!(unfinished.to_string().contains(&expected), "{unfinished}");
    }
    for _ in 0..3 {
        let_go.send(()).unwrap();
    }
    assert_eq!(producer.close(LONG).await.unwrap().written, 5);
    assert_eq!(heard.try_iter().flatten().collect::<Vec<_>>(), [2, 3, 4]);
}

#[tokio::test]
async fn close_runs_callbacks_of_unfinished_records_later() {
    let broker = cluster_that_stalls().await;
    let producer = producer(&broker).build().await.unwrap();
    stall(&broker);
    let (let_go, go) = mpsc::channel::<()>();
    let (ran, heard) = mpsc::channel();
    let callback = move |result: Result<kurier::RecordMetadata, kurier::Error>| {
        go.recv().unwrap();
        ran.send(result.map(drop).unwrap_err().kind()).unwrap();
    };
    producer.send_with(Record::to("t").partition(1).value("v"), callback).await.unwrap();
    let unfinished = timeout(LONG, producer.close(Duration::ZERO)).await.unwrap().unwrap_err();
    assert_eq!((unfinished.records().len(), unfinished.uncalled().len()), (1, 1));
    assert_eq!(unfinished.uncalled()[0].result.as_ref().unwrap_err().written(), Written::No);
    drop(producer);
    let_go.send(()).unwrap();
    assert_eq!(heard.recv_timeout(LONG), Ok(ErrorKind::Closed));
}

#[tokio::test]
async fn callbacks_run_after_handles_are_dropped_and_do_not_delay_flush() {
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let producer = producer(&broker).build().await.unwrap();
    let (let_go, heard) = send_with_blocked_callbacks(&producer, 3).await;
    assert_eq!(timeout(LONG, producer.flush()).await.unwrap().unwrap().written, 3);
    drop(producer);
    assert!(heard.try_recv().is_err());
    for _ in 0..3 {
        let_go.send(()).unwrap();
    }
    let offsets: Vec<_> = (0..3).map(|_| heard.recv_timeout(LONG).unwrap()).collect();
    assert_eq!(offsets, [Some(0), Some(1), Some(2)]);
}

#[tokio::test]
async fn close_after_the_runtime_was_shut_down_is_an_error() {
    for count in [0, 3] {
        let broker = cluster_that_stalls().await;
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let producer = producer(&broker).runtime(runtime.handle().clone()).linger(LONG).build().await.unwrap();
        stall(&broker);
        let mut deliveries = Vec::new();
        for _ in 0..count {
            deliveries.push(producer.send(Record::to("t").partition(1).key("k").value("v")).await.unwrap());
        }
        runtime.shutdown_background();
        for delivery in deliveries {
            let error = timeout(LONG, delivery).await.unwrap().unwrap_err();
            assert_eq!((error.kind(), error.written()), (ErrorKind::Closed, Written::No));
        }
        // The shutdown takes a moment; until then the driver still replies.
        let is_over = async { while producer.flush().await.is_ok() {} };
        timeout(LONG, is_over).await.unwrap();
        let unfinished = timeout(LONG, producer.close(LONG)).await.unwrap().unwrap_err();
        assert_eq!(
            (unfinished.counts().not_written, unfinished.records().len()),
            (count, usize::try_from(count).unwrap())
        );
        assert_eq!(unfinished.cause().map(kurier::Error::kind), Some(ErrorKind::Closed));
        assert!(format!("{unfinished:#}").contains("was shut down"), "{unfinished:#}");
        for error in [producer.flush().await.map(drop).unwrap_err(), producer.topic("u").await.map(drop).unwrap_err()] {
            assert!(error.kind() == ErrorKind::Closed && format!("{error:#}").contains("was shut down"), "{error}");
        }
    }
}

#[tokio::test]
async fn too_large_max_in_flight_is_refused_at_build() {
    let broker = Broker::start().await.unwrap();
    let key = "max.in.flight.requests.per.connection";
    for count in [usize::MAX, 1_000_001] {
        let error = producer(&broker).set("acks", "1").set(key, &count.to_string()).build().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(format!("{error:#}").contains(key) && format!("{error:#}").contains("1000000"), "{error}");
    }
    producer(&broker).set("acks", "1").set(key, "1000000").build().await.unwrap();
}

#[tokio::test]
async fn runtime_without_timers_or_io_is_refused_at_build() {
    let builder = runtime::Builder::new_current_thread;
    for other in [builder().build(), builder().enable_io().build(), builder().enable_time().build()] {
        let other = other.unwrap();
        let broker = Broker::start().await.unwrap();
        let error = producer(&broker).runtime(other.handle().clone()).build().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
        assert!(format!("{error:#}").contains("enable_all()"), "{error}");
        other.shutdown_background();
    }
}

/// Tests every numeric setting at the limits of its own type and of others.
#[tokio::test]
async fn settings_at_their_extremes_work_or_are_refused_by_name() {
    const EXTREMES: [&str; 9] = [
        "0",
        "1",
        "-1",
        "2147483647",
        "-2147483648",
        "4294967295",
        "9223372036854775807",
        "18446744073709551615",
        "340282366920938463463374607431768211455",
    ];
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let keys: Vec<String> = Config::default().explain().into_iter().map(|line| line.key).collect();
    let (mut written, mut wrong) = (0, Vec::new());
    for key in &keys {
        for value in EXTREMES {
            // Metadata would have no time to arrive; core::tests covers that.
            if key == "metadata.recovery.rebootstrap.trigger.ms" && value.len() == 1 {
                continue;
            }
            for is_idempotent in [true, false] {
                match try_setting(&broker, key, value, is_idempotent).await {
                    Ok(count) => written += count,
                    Err(why) => wrong.push(format!("{key}={value}, idempotent: {is_idempotent}: {why}")),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(written > 100, "{written}");
}

/// Builds a producer with a setting, sends a record and closes. Returns the number of written records.
async fn try_setting(broker: &Broker, key: &str, value: &str, is_idempotent: bool) -> Result<u64, String> {
    let builder = producer(broker).set("enable.idempotence", &is_idempotent.to_string());
    let builder = builder.set("compression.type", "gzip").set("max.block.ms", "2000").set(key, value);
    let built = timeout(LONG, builder.build()).await.map_err(|_| "build hangs")?;
    let producer = match built {
        Ok(producer) => producer,
        Err(error) if error.kind() == ErrorKind::Configuration && format!("{error:#}").contains(key) => return Ok(0),
        // A millisecond may be too short to reach a broker.
        Err(error) if (key, value, error.kind()) == ("max.block.ms", "1", ErrorKind::Network) => return Ok(0),
        Err(error) => return Err(format!("build: {error:?}")),
    };
    match timeout(LONG, producer.send(Record::to("t").value("v"))).await.map_err(|_| "send hangs")? {
        Ok(delivery) => delivery.forget(),
        // With so little time or memory, a record may be refused.
        Err(error) => match error.kind() {
            ErrorKind::Metadata | ErrorKind::BufferFull | ErrorKind::RecordTooLarge => {}
            _ => return Err(format!("send: {error:?}")),
        },
    }
    let closed = timeout(LONG, producer.close(LONG / 2)).await.map_err(|_| "close hangs")?;
    closed.map(|summary| summary.written).map_err(|unfinished| format!("close: {unfinished}"))
}
