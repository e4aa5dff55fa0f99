//! Tests of refusals, broken connections, stopped nodes and moved leaders. Each record must be in its log once and in
//! order, or its sender must learn whether it may be written.

mod cluster;

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cluster::{LONG, batches, cluster_that_stalls, heal, is_pending, producer, stall, values};
use kurier::{CompressionType, Delivery, ErrorCode, ErrorKind, Producer, Record, Stage, TopicProducer, Written};
use kurier_broker::{Broker, Fault, FaultKind, TopicSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Sends these values in one go, as one batch or a few.
async fn send(topic: &TopicProducer, values: &[String]) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for value in values {
        deliveries.push(topic.send(topic.record().value(value)).await.unwrap());
    }
    deliveries
}

/// Checks that partition 0 of `t` holds these values, under one producer id and without gaps in epochs and sequences.
/// Returns the epoch of the last batch.
#[track_caller]
fn check_log(broker: &Broker, expected: &[String], about: &str) -> i16 {
    assert_eq!(values(broker, "t", 0), expected, "{about}");
    let batches = batches(broker, "t", 0);
    let (mut epoch, mut next) = (0, 0);
    for batch in &batches {
        assert_eq!(batch.producer_id, batches[0].producer_id, "{about}");
        if batch.epoch != epoch {
            (epoch, next) = (batch.epoch, 0);
        }
        assert_eq!(batch.sequence, next, "{about}");
        next += i32::try_from(batch.records.len()).unwrap();
    }
    epoch
}

#[tokio::test]
async fn retriable_refusal_resends_the_same_batch() {
    let codes: Vec<ErrorCode> = (-1..200).map(ErrorCode).filter(|code| code.is_retriable()).collect();
    assert!(codes.len() > 20);
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let producer = producer(&broker).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    let mut expected = Vec::new();
    for code in codes {
        // Refuse once before the write, and once after it.
        for kind in [FaultKind::Error(code), FaultKind::ErrorAfter(code)] {
            broker.add_fault(Fault::new("Produce", kind.clone()));
            let new: Vec<String> = (0..3).map(|number| format!("{kind:?} {number}")).collect();
            let first = i64::try_from(expected.len()).unwrap();
            for (delivery, offset) in send(&topic, &new).await.into_iter().zip(first..) {
                assert_eq!(timeout(LONG, delivery).await.unwrap().unwrap().offset(), Some(offset), "{kind:?}");
            }
            expected.extend(new);
            assert_eq!(check_log(&broker, &expected, &format!("{kind:?}")), 0);
        }
    }
}

#[tokio::test]
async fn batch_with_a_lost_response_is_in_the_log_once_at_its_first_offset() {
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let producer = producer(&broker).request_timeout(ms(100)).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    let mut expected = Vec::new();
    for kind in [
        FaultKind::Close,
        FaultKind::CloseAfter,
        FaultKind::Cut(0),
        FaultKind::Cut(3),
        FaultKind::Cut(20),
        FaultKind::Silence,
        FaultKind::Throttle(ms(20)),
    ] {
        for times in [1, 3] {
            broker.add_fault(Fault::new("Produce", kind.clone()).times(times));
            let new: Vec<String> = (0..50).map(|number| format!("{kind:?} {number}")).collect();
            let first = i64::try_from(expected.len()).unwrap();
            for (delivery, offset) in send(&topic, &new).await.into_iter().zip(first..) {
                assert_eq!(timeout(LONG, delivery).await.unwrap().unwrap().offset(), Some(offset), "{kind:?}");
            }
            expected.extend(new);
            assert_eq!(check_log(&broker, &expected, &format!("{kind:?}")), 0);
        }
    }
}

#[tokio::test]
async fn in_flight_batches_keep_their_order_when_one_is_retried() {
    for kind in [
        FaultKind::Error(ErrorCode::NOT_ENOUGH_REPLICAS),
        FaultKind::ErrorAfter(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND),
        FaultKind::Error(ErrorCode::CORRUPT_MESSAGE),
        FaultKind::Close,
        FaultKind::CloseAfter,
        FaultKind::Cut(5),
    ] {
        let broker = Broker::builder().topic("t", 1).start().await.unwrap();
        let producer = producer(&broker).batch_size(200).build().await.unwrap();
        let topic = producer.topic("t").await.unwrap();
        let expected: Vec<String> = (0..3000).map(|number| number.to_string()).collect();
        for (value, number) in expected.iter().zip(0..) {
            if number % 300 == 100 {
                broker.add_fault(Fault::new("Produce", kind.clone()));
            }
            topic.send(topic.record().value(value)).await.unwrap().forget();
        }
        let summary = timeout(LONG, producer.flush()).await.unwrap().unwrap();
        assert_eq!((summary.written, summary.failed()), (3000, 0), "{kind:?}");
        assert_eq!(check_log(&broker, &expected, &format!("{kind:?}")), 0);
    }
}

/// Proxy for the only node of a cluster. On demand it cuts a connection in the middle of a request.
struct Proxy {
    /// How many bytes of the next large request to let through.
    cut_after: Arc<Mutex<Option<usize>>>,
}

impl Proxy {
    const LARGE: usize = 1000;

    async fn before(broker: &Broker) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let node = broker.bootstrap_servers();
        let port = listener.local_addr().unwrap().port();
        broker.with_cluster(|cluster| cluster.set_port(1, port));
        let proxy = Self { cut_after: Arc::default() };
        let cut_after = Arc::clone(&proxy.cut_after);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(&node).await.unwrap();
                tokio::spawn(Self::relay(client, server, Arc::clone(&cut_after)));
            }
        });
        proxy
    }

    async fn relay(client: TcpStream, server: TcpStream, cut_after: Arc<Mutex<Option<usize>>>) {
        let ((mut requests, mut to_client), (mut answers, mut to_server)) = (client.into_split(), server.into_split());
        let forward = async {
            let mut read = vec![0; 64 << 10];
            loop {
                let count = requests.read(&mut read).await.unwrap_or_default();
                let cut = if count > Self::LARGE { cut_after.lock().unwrap().take() } else { None };
                let whole = &read[..cut.unwrap_or(count)];
                if to_server.write_all(whole).await.is_err() || count == 0 || cut.is_some() {
                    return;
                }
            }
        };
        let back = tokio::io::copy(&mut answers, &mut to_client);
        tokio::select! { () = forward => {}, _ = back => {} }
    }
}

#[tokio::test]
async fn request_cut_in_the_middle_is_retried() {
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let proxy = Proxy::before(&broker).await;
    let producer = producer(&broker).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    let mut expected = Vec::new();
    for cut in [0, 1, 4, 50, 500, Proxy::LARGE] {
        *proxy.cut_after.lock().unwrap() = Some(cut);
        let new: Vec<String> = (0..10).map(|number| format!("{cut} {number:500}")).collect();
        for delivery in send(&topic, &new).await {
            timeout(LONG, delivery).await.unwrap().unwrap();
        }
        assert_eq!(*proxy.cut_after.lock().unwrap(), None, "it was not cut");
        expected.extend(new);
        assert_eq!(check_log(&broker, &expected, &format!("cut after {cut}")), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarting_nodes_keep_records_unique_and_in_order() {
    let broker = Broker::builder().nodes(3).topic("t", 6).start().await.unwrap();
    let producer = producer(&broker).buffer_memory(1 << 20).batch_size(4000).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    let mut expected = vec![Vec::new(); 6];
    for number in 0..24_000 {
        match number {
            3_000 => broker.stop_node(2),
            7_000 => broker.start_node(2).await.unwrap(),
            10_000 => broker.stop_node(1),
            14_000 => broker.start_node(1).await.unwrap(),
            16_000 => broker.stop_node(3),
            17_000 => broker.stop_node(2),
            19_000 => broker.start_node(3).await.unwrap(),
            20_000 => broker.start_node(2).await.unwrap(),
            _ => {}
        }
        let partition = number % 6;
        let value = format!("{number:40}");
        expected[usize::try_from(partition).unwrap()].push(value.clone());
        topic.send(topic.record().partition(partition).value(value)).await.unwrap().forget();
    }
    let summary = timeout(LONG, producer.flush()).await.unwrap().unwrap();
    assert_eq!((summary.written, summary.failed()), (24_000, 0));
    for (partition, expected) in (0..).zip(expected) {
        assert_eq!(values(&broker, "t", partition), expected, "{partition}");
    }
}

#[tokio::test]
async fn leader_hint_alone_finds_a_moved_leader() {
    let broker = Broker::builder().nodes(3).topic("t", 1).start().await.unwrap();
    let builder = producer(&broker).set("retry.backoff.ms", "30000").set("retry.backoff.max.ms", "30000");
    let producer = builder.build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    topic.deliver(topic.record().value("before")).await.unwrap();
    // From now on no node answers Metadata.
    broker.add_fault(Fault::new("Metadata", FaultKind::Silence).times(usize::MAX));
    for (node, offset) in [(2, 1), (3, 2), (1, 3)] {
        broker.with_cluster(|cluster| cluster.move_leader("t", 0, node)).unwrap();
        let delivery = topic.deliver(topic.record().value(format!("at {node}")));
        assert_eq!(timeout(LONG, delivery).await.unwrap().unwrap().offset(), Some(offset));
    }
}

#[tokio::test]
async fn metadata_finds_a_moved_leader() {
    let broker = Broker::builder().nodes(3).topic("t", 1).start().await.unwrap();
    let producer = producer(&broker).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    for (node, offset) in [(1, 0), (2, 1), (3, 2), (1, 3)] {
        let old = broker.with_cluster(|cluster| cluster.leader("t", 0)).unwrap();
        if old.0 != node {
            broker.with_cluster(|cluster| cluster.move_leader("t", 0, node)).unwrap();
            // The refusal says that the node does not lead, but does not name the leader.
            let refusal = FaultKind::Error(ErrorCode::LEADER_NOT_AVAILABLE);
            broker.add_fault(Fault::new("Produce", refusal).on_node(old));
        }
        let delivery = topic.deliver(topic.record().value(format!("at {node}")));
        assert_eq!(timeout(LONG, delivery).await.unwrap().unwrap().offset(), Some(offset));
    }
}

#[tokio::test]
async fn leaderless_partition_waits_for_a_leader() {
    let broker = cluster_that_stalls().await;
    let producer = producer(&broker).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    stall(&broker);
    let delivery = topic.send(topic.record().partition(1).value("v")).await.unwrap();
    // The other partition is not blocked.
    topic.deliver(topic.record().partition(0).value("v")).await.unwrap();
    heal(&broker);
    assert_eq!(timeout(LONG, delivery).await.unwrap().unwrap().offset(), Some(0));
}

/// Two dead addresses: the first refuses connections, the second accepts them and never responds.
async fn dead_servers() -> (String, String, TcpListener) {
    let refusing = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    (refusing.to_string(), silent.local_addr().unwrap().to_string(), silent)
}

#[tokio::test]
async fn unresponsive_bootstrap_servers_are_skipped() {
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let (refusing, silent, _silent) = dead_servers().await;
    for _ in 0..5 {
        let builder = producer(&broker).set("socket.connection.setup.timeout.ms", "50");
        let builder = builder.bootstrap_servers([&refusing, &silent, &broker.bootstrap_servers()]);
        let producer = timeout(LONG, builder.build()).await.unwrap().unwrap();
        producer.deliver(Record::to("t").value("v")).await.unwrap();
    }
}

#[tokio::test]
async fn build_error_names_each_dead_server_with_its_error() {
    let (refusing, silent, _silent) = dead_servers().await;
    let builder = Producer::builder().bootstrap_servers([&refusing, &silent]).max_block(ms(300));
    let error = builder.set("socket.connection.setup.timeout.ms", "50").build().await.unwrap_err();
    assert_eq!((error.kind(), error.is_retriable()), (ErrorKind::Network, true));
    let text = format!("{error:#}");
    assert!(text.contains(&refusing) && text.contains(&silent) && text.contains("refused"), "{text}");
}

/// Before its first valid response, a peer may send at most 1 MiB at once, and nothing that no broker sends.
#[tokio::test]
async fn first_response_has_4_bytes_to_1_mib() {
    let answers: [(&[u8], &str); 7] = [
        (b"\0\x10\0\x01", "a frame of 1048577 bytes is above the limit of 1048576"),
        (b"\x7f\xff\xff\xff", "a frame of 2147483647 bytes is above the limit of 1048576"),
        (b"\xff\xff\xff\xff", "a frame of -1 bytes is not possible"),
        (b"\0\0\0\0", "a frame of 0 bytes is not possible"),
        (b"\0\0\0\x03abc", "a frame of 3 bytes is not possible"),
        (b"\x15\x03\x03\x01\x02\x02\x46", "the peer answered with TLS"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "the peer speaks HTTP"),
    ];
    let mut servers = Vec::new();
    for (answer, _) in answers {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        servers.push(listener.local_addr().unwrap().to_string());
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                client.write_all(answer).await.unwrap();
                // Reads until the producer disconnects.
                while client.read(&mut [0; 1024]).await.is_ok_and(|count| count > 0) {}
            }
        });
    }
    let builder = Producer::builder().bootstrap_servers(&servers).max_block(ms(2_000));
    let error = format!("{:#}", timeout(LONG, builder.build()).await.unwrap().unwrap_err());
    for (server, (_, said)) in servers.iter().zip(answers) {
        assert!(error.contains(&format!("{server}: {said}")), "{server}: {said} is not in {error}");
    }
}

#[tokio::test]
async fn error_for_a_size_or_codec_says_what_to_change() {
    let refuse = |code| Some(FaultKind::Error(code));
    for (fault, parts) in [
        (
            None,
            &[
                "MESSAGE_TOO_LARGE (10)",
                "the batch of a single record has ",
                " before lz4 compressed it; that is within 1048588, Kafka's default of message.max.bytes, so the topic \
                 probably has a lower max.message.bytes: raise it",
                "or send a smaller record",
            ][..],
        ),
        (
            refuse(ErrorCode::RECORD_LIST_TOO_LARGE),
            &["RECORD_LIST_TOO_LARGE (18)", "the batch of a single record has ", "raise segment.bytes of the topic"],
        ),
        (
            refuse(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE),
            &[
                "UNSUPPORTED_COMPRESSION_TYPE (76)",
                "the batch is compressed by lz4; set compression.type=none or another codec",
            ],
        ),
        (
            refuse(ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT),
            &["UNSUPPORTED_FOR_MESSAGE_FORMAT (43)", "the batch is compressed by lz4; set compression.type=none"],
        ),
    ] {
        let settings = TopicSettings { max_message_bytes: 100, ..TopicSettings::default() };
        let broker = Broker::builder().topic_with("t", 1, settings).start().await.unwrap();
        if let Some(fault) = fault {
            broker.add_fault(Fault::new("Produce", fault));
        }
        let producer = producer(&broker).compression(CompressionType::Lz4).build().await.unwrap();
        let value =
            format!("{}{}", "compressible ".repeat(50), (0..200).map(|number| number.to_string()).collect::<String>());
        let error = producer.deliver(Record::to("t").value(&value)).await.unwrap_err();
        let text = format!("{error:#}");
        assert_eq!((error.written(), text.lines().count()), (Written::No, 1), "{text}");
        let node = format!("produce to t-0 on node 1 ({}): ", broker.bootstrap_servers());
        assert!(text.starts_with(&node), "{text}");
        for part in parts {
            assert!(text.contains(part), "{part:?} is missing in: {text}");
        }
    }
}

#[tokio::test]
async fn error_suspects_a_tls_or_sasl_listener() {
    for (api, said) in [
        (
            "ApiVersions",
            "the connection instead of answering ApiVersions: is it a Kafka broker, and is this its PLAINTEXT \
             listener, not a SASL or TLS listener?",
        ),
        (
            "Metadata",
            "the connection at the first request after ApiVersions: does this listener require SASL? Set \
             security.protocol and sasl.mechanism",
        ),
    ] {
        let broker = Broker::start().await.unwrap();
        broker.add_fault(Fault::new(api, FaultKind::Close).times(usize::MAX));
        let error = format!("{:#}", producer(&broker).max_block(ms(1_000)).build().await.unwrap_err());
        // A socket that is closed with unread bytes resets its connection.
        let server = broker.bootstrap_servers();
        let is_said = |verb| error.contains(&format!("{server}: it {verb} {said}"));
        assert!(is_said("closed") || is_said("reset"), "{said} is not in {error}");
    }
}

/// Sends two records to a cluster that cannot take any. Returns the error of the first.
async fn undelivered(broker: &Broker) -> kurier::Error {
    let builder = producer(broker).request_timeout(ms(60)).delivery_timeout(ms(200)).linger(Duration::ZERO);
    let producer = builder.build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    let deliveries = send(&topic, &["a".to_owned(), "b".to_owned()]).await;
    let mut errors = Vec::new();
    for delivery in deliveries {
        errors.push(timeout(LONG, delivery).await.unwrap().unwrap_err());
    }
    assert_eq!(errors[0].kind(), ErrorKind::DeliveryTimeout);
    assert_eq!(errors[0].topic_partition(), Some(("t", 0)));
    let summary = timeout(LONG, producer.flush()).await.unwrap().unwrap();
    let unknown = errors.iter().filter(|error| error.written() == Written::Unknown).count();
    assert_eq!((summary.written, summary.failed()), (0, 2));
    assert_eq!(summary.unknown, u64::try_from(unknown).unwrap());
    errors.swap_remove(0)
}

#[tokio::test]
async fn unanswered_record_is_unknown() {
    for kind in [FaultKind::Silence, FaultKind::Delay(LONG), FaultKind::CloseAfter] {
        let broker = Broker::builder().topic("t", 1).start().await.unwrap();
        broker.add_fault(Fault::new("Produce", kind.clone()).times(usize::MAX));
        let error = undelivered(&broker).await;
        assert_eq!(error.written(), Written::Unknown, "{error}");
        assert!(error.attempts() >= 2, "{error}");
        let text = format!("{error:#}");
        assert!(text.contains("delivery.timeout.ms, which is 200") && text.contains("it is not known"), "{text}");
    }
}

#[tokio::test]
async fn unsent_record_is_not_written() {
    let (refusing, silent, _silent) = dead_servers().await;
    for (address, reason) in [(refusing, "refused"), (silent, "the partition's leader")] {
        let broker = Broker::builder().nodes(2).topic("other", 1).start().await.unwrap();
        let settings = TopicSettings { replication_factor: 1, ..TopicSettings::default() };
        let port = address.rsplit(':').next().unwrap().parse().unwrap();
        let servers = broker.bootstrap_servers();
        broker.with_cluster(|cluster| {
            cluster.create_topic("t", 1, settings).unwrap();
            cluster.set_port(1, port);
        });
        let builder = Producer::builder().bootstrap_servers(servers.rsplit(',').next());
        let builder = builder.set("reconnect.backoff.ms", "5").request_timeout(ms(60)).delivery_timeout(ms(200));
        let producer = builder.build().await.unwrap();
        let error = producer.deliver(Record::to("t").value("v")).await.unwrap_err();
        assert_eq!((error.kind(), error.written()), (ErrorKind::DeliveryTimeout, Written::No), "{error}");
        assert_eq!((error.stage(), error.attempts()), (Some(Stage::Queued), 0));
        let text = format!("{error:#}");
        assert!(text.contains(reason) && text.contains("never sent") && text.contains("not written"), "{text}");
    }
}

#[tokio::test]
async fn not_enough_replicas_is_not_written() {
    let settings = TopicSettings { min_insync_replicas: 2, ..TopicSettings::default() };
    let broker = Broker::builder().nodes(2).topic_with("t", 1, settings).start().await.unwrap();
    broker.stop_node(2);
    let producer = producer(&broker).set("retries", "3").build().await.unwrap();
    // The record must end with a response: if it expires while a request is in flight, its outcome is unknown.
    let error = producer.deliver(Record::to("t").value("v")).await.unwrap_err();
    assert_eq!((error.written(), error.error_code()), (Written::No, Some(ErrorCode::NOT_ENOUGH_REPLICAS)), "{error}");
    assert!(error.attempts() == 4 && format!("{error:#}").contains("NOT_ENOUGH_REPLICAS"), "{error}");
    assert!(values(&broker, "t", 0).is_empty());
}

#[tokio::test]
async fn not_enough_replicas_after_append_is_unknown() {
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let code = ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND;
    broker.add_fault(Fault::new("Produce", FaultKind::ErrorAfter(code)).times(usize::MAX));
    let error = undelivered(&broker).await;
    assert_eq!((error.written(), error.error_code()), (Written::Unknown, Some(code)), "{error}");
}

#[tokio::test]
async fn retries_limits_attempts() {
    let code = ErrorCode::NOT_ENOUGH_REPLICAS;
    for (kind, is_idempotent, expected, written) in [
        (FaultKind::Error(code), true, (ErrorKind::Refused, Written::No, Some(code)), &["next"][..]),
        (FaultKind::Error(code), false, (ErrorKind::Refused, Written::No, Some(code)), &["next"]),
        // Without a sequence, each attempt may write it once more. Too many attempts are worse than giving up.
        (FaultKind::CloseAfter, false, (ErrorKind::Network, Written::Unknown, None), &["v", "v", "v", "next"]),
    ] {
        let broker = Broker::builder().topic("t", 1).start().await.unwrap();
        let builder = producer(&broker).set("retries", "2").enable_idempotence(is_idempotent);
        let producer = builder.build().await.unwrap();
        broker.add_fault(Fault::new("Produce", kind).times(3));
        let error = producer.deliver(Record::to("t").value("v")).await.unwrap_err();
        assert_eq!((error.kind(), error.written(), error.error_code()), expected, "{error}");
        assert_eq!(error.attempts(), 3);
        // The next record is not blocked.
        producer.deliver(Record::to("t").value("next")).await.unwrap();
        assert_eq!(values(&broker, "t", 0), written);
    }
}

#[tokio::test]
async fn idempotent_unknown_batch_is_retried_until_its_outcome_is_known() {
    for kind in [FaultKind::CloseAfter, FaultKind::ErrorAfter(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND)] {
        let broker = Broker::builder().topic("t", 1).start().await.unwrap();
        let producer = producer(&broker).set("retries", "1").build().await.unwrap();
        broker.add_fault(Fault::new("Produce", kind).times(4));
        producer.deliver(Record::to("t").value("v")).await.unwrap();
        producer.deliver(Record::to("t").value("next")).await.unwrap();
        assert_eq!(values(&broker, "t", 0), ["v", "next"]);
    }
}

#[tokio::test]
async fn late_arrival_of_an_expired_batch_keeps_later_records() {
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let builder = producer(&broker).linger(Duration::ZERO).request_timeout(LONG).delivery_timeout(LONG);
    let producer = builder.build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    topic.deliver(topic.record().value("first")).await.unwrap();
    drop((topic, producer));
    let builder = cluster::producer(&broker).linger(Duration::ZERO).request_timeout(ms(300)).delivery_timeout(ms(300));
    let producer = builder.build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    topic.deliver(topic.record().value("second")).await.unwrap();
    // The response comes after the record's deadline or after the request timeout, whichever is first.
    broker.add_fault(Fault::new("Produce", FaultKind::Delay(ms(310))));
    let error = topic.deliver(topic.record().value("third")).await.unwrap_err();
    assert_eq!((error.kind(), error.written()), (ErrorKind::DeliveryTimeout, Written::Unknown));
    topic.deliver(topic.record().value("fourth")).await.unwrap();
    assert_eq!(values(&broker, "t", 0), ["first", "second", "third", "fourth"]);
}

#[tokio::test]
async fn permanently_refused_batch_fails_alone() {
    for code in [
        ErrorCode::INVALID_RECORD,
        ErrorCode::TOPIC_AUTHORIZATION_FAILED,
        ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
        ErrorCode::INVALID_REQUIRED_ACKS,
        ErrorCode(9999),
    ] {
        let broker = Broker::builder().topic("t", 1).start().await.unwrap();
        let producer = producer(&broker).build().await.unwrap();
        let topic = producer.topic("t").await.unwrap();
        topic.deliver(topic.record().value("before")).await.unwrap();
        broker.add_fault(Fault::new("Produce", FaultKind::Error(code)));
        let error = topic.deliver(topic.record().value("refused")).await.unwrap_err();
        assert_eq!((error.kind(), error.error_code()), (ErrorKind::Refused, Some(code)), "{error}");
        let certainty = if code == ErrorCode(9999) { Written::Unknown } else { Written::No };
        assert_eq!((error.written(), error.is_retriable(), error.attempts()), (certainty, false, 1), "{error}");
        assert!(error.node().unwrap().contains("node 1 (127.0.0.1:"), "{error}");
        topic.deliver(topic.record().value("after")).await.unwrap();
        // Its sequence is missing, so the next records go out under the next epoch.
        assert_eq!(check_log(&broker, &["before".to_owned(), "after".to_owned()], &code.to_string()), 1);
    }
}

#[tokio::test]
async fn refused_batch_names_its_invalid_records() {
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let producer = producer(&broker).linger(Duration::from_secs(50)).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    broker.add_fault(Fault::new("Produce", FaultKind::Blame(vec![1, 3, 100])));
    let deliveries = send(&topic, &["a", "b", "c", "d", "e"].map(str::to_owned)).await;
    let summary = producer.flush().await.unwrap();
    assert_eq!((summary.written, summary.not_written, summary.unknown), (0, 5, 0));
    for (delivery, index) in deliveries.into_iter().zip(0..) {
        let error = delivery.await.unwrap_err();
        assert_eq!((error.kind(), error.written()), (ErrorKind::Refused, Written::No));
        assert_eq!(error.error_code(), Some(ErrorCode::INVALID_RECORD));
        let expected = if index == 1 || index == 3 { "blamed by script" } else { "another record of the batch" };
        assert!(format!("{error:#}").contains(expected), "{index}: {error}");
    }
}

/// Values of different lengths that compress badly.
fn noise(count: usize, longest: usize) -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..count)
        .map(|number| {
            let length = random.usize(0..longest);
            format!("{number} {}", (0..length).map(|_| random.alphanumeric()).collect::<String>())
        })
        .collect()
}

#[tokio::test]
async fn too_large_batch_is_split() {
    for compression in [CompressionType::None, CompressionType::Gzip, CompressionType::Lz4] {
        for max_message_bytes in [1500, 8000] {
            let settings = TopicSettings { max_message_bytes, ..TopicSettings::default() };
            let broker = Broker::builder().topic_with("t", 1, settings).start().await.unwrap();
            let producer = producer(&broker).compression(compression).batch_size(30_000).build().await.unwrap();
            let topic = producer.topic("t").await.unwrap();
            let expected = noise(2000, 500);
            let deliveries = send(&topic, &expected).await;
            let mut flush = Box::pin(producer.flush());
            let summary = timeout(LONG, &mut flush).await.unwrap().unwrap();
            assert_eq!((summary.written, summary.failed()), (2000, 0), "{compression} {max_message_bytes}");
            assert_eq!(check_log(&broker, &expected, &compression.to_string()), 0);
            for (delivery, offset) in deliveries.into_iter().zip(0..) {
                assert_eq!(delivery.await.unwrap().offset(), Some(offset));
            }
        }
    }
}

#[tokio::test]
async fn too_large_record_fails_alone() {
    // Its position among the others decides how its batch is split.
    for (count, place) in [(1, 0), (2, 0), (2, 1), (3, 1), (100, 0), (100, 50), (100, 99)] {
        let settings = TopicSettings { max_message_bytes: 2000, ..TopicSettings::default() };
        let broker = Broker::builder().topic_with("t", 1, settings).start().await.unwrap();
        let producer = producer(&broker).linger(Duration::from_secs(50)).build().await.unwrap();
        let topic = producer.topic("t").await.unwrap();
        let mut sent: Vec<String> = (0..count).map(|number| number.to_string()).collect();
        sent[place] = "x".repeat(5000);
        let mut deliveries = send(&topic, &sent).await;
        producer.flush().await.unwrap();
        let error = deliveries.remove(place).await.unwrap_err();
        assert_eq!((error.kind(), error.written()), (ErrorKind::RecordTooLarge, Written::No), "{place}: {error}");
        assert_eq!(error.error_code(), Some(ErrorCode::MESSAGE_TOO_LARGE), "{error}");
        for delivery in deliveries {
            delivery.await.unwrap();
        }
        sent.remove(place);
        check_log(&broker, &sent, &format!("{place} of {count}"));
    }
}

#[tokio::test]
async fn lost_sequence_starts_the_next_epoch() {
    for code in [ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, ErrorCode::UNKNOWN_PRODUCER_ID] {
        let broker = Broker::builder().topic("t", 1).start().await.unwrap();
        let producer = producer(&broker).batch_size(200).build().await.unwrap();
        let topic = producer.topic("t").await.unwrap();
        topic.deliver(topic.record().value("first")).await.unwrap();
        broker.add_fault(Fault::new("Produce", FaultKind::Error(code)));
        let mut expected = vec!["first".to_owned()];
        expected.extend((0..300).map(|number| number.to_string()));
        for delivery in send(&topic, &expected[1..]).await {
            timeout(LONG, delivery).await.unwrap().unwrap();
        }
        assert_eq!(check_log(&broker, &expected, &code.to_string()), 1);
    }
}

#[tokio::test]
async fn newer_epoch_on_the_broker_requires_another_producer_id() {
    let broker = Broker::builder().topic("t", 2).start().await.unwrap();
    let producer = producer(&broker).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    let send = async |partition, value| topic.deliver(topic.record().partition(partition).value(value)).await;
    send(0, "a").await.unwrap();
    send(1, "b").await.unwrap();
    broker.add_fault(Fault::new("Produce", FaultKind::Error(ErrorCode::INVALID_PRODUCER_EPOCH)));
    timeout(LONG, send(0, "c")).await.unwrap().unwrap();
    send(1, "d").await.unwrap();
    let ids =
        |partition| batches(&broker, "t", partition).into_iter().map(|batch| batch.producer_id).collect::<Vec<_>>();
    let (first, other) = (ids(0), ids(1));
    assert!(first[0] != first[1] && other == [first[0]; 2], "{first:?} {other:?}");
    assert_eq!(values(&broker, "t", 0), ["a", "c"]);
}

#[tokio::test]
async fn lost_sequence_after_a_lost_response_leaves_the_record_unknown() {
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let producer = producer(&broker).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    topic.deliver(topic.record().value("a")).await.unwrap();
    broker.add_fault(Fault::new("Produce", FaultKind::CloseAfter));
    broker.add_fault(Fault::new("Produce", FaultKind::Error(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER)));
    // The record is in the log; under another epoch it would be duplicated.
    let error = timeout(LONG, topic.deliver(topic.record().value("b"))).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.written()), (ErrorKind::Refused, Written::Unknown), "{error}");
    topic.deliver(topic.record().value("c")).await.unwrap();
    assert_eq!(check_log(&broker, &["a", "b", "c"].map(str::to_owned), ""), 1);
}

#[tokio::test]
async fn failed_producer_id_request_is_retried() {
    for kind in [
        FaultKind::Error(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
        FaultKind::Error(ErrorCode::COORDINATOR_NOT_AVAILABLE),
        FaultKind::Error(ErrorCode::NOT_COORDINATOR),
        FaultKind::Error(ErrorCode::CONCURRENT_TRANSACTIONS),
        FaultKind::Close,
        FaultKind::CloseAfter,
        FaultKind::Cut(3),
    ] {
        let broker = Broker::builder().topic("t", 1).start().await.unwrap();
        broker.add_fault(Fault::new("InitProducerId", kind.clone()).times(3));
        let producer = producer(&broker).build().await.unwrap();
        let delivery = producer.deliver(Record::to("t").value("v"));
        assert_eq!(timeout(LONG, delivery).await.unwrap().unwrap().offset(), Some(0), "{kind:?}");
        assert!(batches(&broker, "t", 0)[0].producer_id >= 0);
    }
}

#[tokio::test]
async fn refused_producer_id_fails_records() {
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
    broker.add_fault(Fault::new("InitProducerId", FaultKind::Error(code)));
    let producer = producer(&broker).build().await.unwrap();
    let error = timeout(LONG, producer.deliver(Record::to("t").value("v"))).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.written()), (ErrorKind::Refused, Written::No), "{error}");
    assert_eq!(error.error_code(), Some(code), "{error}");
    assert!(format!("{error:#}").contains("refused a producer id"), "{error}");
    // The permission may have been granted meanwhile.
    timeout(LONG, producer.deliver(Record::to("t").value("v"))).await.unwrap().unwrap();
}

#[tokio::test]
async fn missing_topic_fails_after_max_block() {
    let broker = Broker::builder().auto_create_topics(false, 1).start().await.unwrap();
    let producer = producer(&broker).max_block(ms(100)).build().await.unwrap();
    let error = producer.send(Record::to("missing").value("v")).await.unwrap_err();
    assert_eq!((error.kind(), error.written(), error.is_retriable()), (ErrorKind::Metadata, Written::No, true));
    assert_eq!(error.error_code(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    let text = format!("{error:#}");
    assert!(text.contains("topic missing") && text.contains("UNKNOWN_TOPIC_OR_PARTITION"), "{text}");
    broker.create_topic("missing", 1).unwrap();
    producer.deliver(Record::to("missing").value("v")).await.unwrap();
}

#[tokio::test]
async fn send_succeeds_when_its_topic_appears() {
    let broker = Broker::builder().auto_create_topics(false, 1).start().await.unwrap();
    let producer = producer(&broker).build().await.unwrap();
    let mut delivery = Box::pin(producer.deliver(Record::to("late").value("v")));
    assert!(timeout(ms(30), &mut delivery).await.is_err());
    broker.create_topic("late", 1).unwrap();
    assert_eq!(timeout(LONG, delivery).await.unwrap().unwrap().offset(), Some(0));
}

#[tokio::test]
async fn invalid_topic_name_is_refused_locally() {
    let broker = Broker::start().await.unwrap();
    let producer = producer(&broker).build().await.unwrap();
    for name in ["", ".", "..", "not\na topic", "t\u{e9}", &"t".repeat(250), &"t".repeat(40_000)] {
        let refused = [
            timeout(LONG, producer.send(Record::to(name).value("v"))).await.unwrap().unwrap_err(),
            timeout(LONG, producer.topic(name)).await.unwrap().unwrap_err(),
            producer.try_send(Record::to(name).value("v")).unwrap_err().error,
        ];
        for error in refused {
            assert_eq!(
                (error.kind(), error.error_code(), error.written()),
                (ErrorKind::InvalidTopic, None, Written::No)
            );
            assert!(format!("{error:#}").contains(" is not a valid topic name: it "), "{error}");
        }
    }
    producer.deliver(Record::to("t").value("v")).await.unwrap();
}

#[tokio::test]
async fn negative_timestamp_is_refused_and_fails_no_other_record() {
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let producer = producer(&broker).build().await.unwrap();
    let check = |error: kurier::Error| {
        assert_eq!((error.kind(), error.written()), (ErrorKind::InvalidTimestamp, Written::No));
        let text = format!("{error:#}");
        assert!(text.contains("for topic t is -") && text.contains("milliseconds since 1970"), "{text}");
    };
    // First the topic is unknown, then it is known.
    for timestamp in [i64::MIN, -1] {
        let record = || Record::to("t").value("v").timestamp(timestamp);
        check(producer.try_send(record()).unwrap_err().error);
        check(producer.send(record()).await.unwrap_err());
        let topic = producer.topic("t").await.unwrap();
        check(topic.try_send(record()).unwrap_err().error);
        check(topic.send_with(record(), |_| {}).await.unwrap_err());
    }
    let mut deliveries = Vec::new();
    for timestamp in [0, 1_700_000_000_000, 1] {
        deliveries.push(producer.send(Record::to("t").value("v").timestamp(timestamp)).await.unwrap());
    }
    for delivery in deliveries {
        timeout(LONG, delivery).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn first_send_creates_the_topic() {
    let broker = Broker::builder().nodes(2).auto_create_topics(true, 3).start().await.unwrap();
    let producer = producer(&broker).build().await.unwrap();
    let metadata = producer.deliver(Record::to("new").partition(2).value("v")).await.unwrap();
    assert_eq!((metadata.topic(), metadata.partition(), metadata.offset()), ("new", 2, Some(0)));
}

#[tokio::test]
async fn sent_records_do_not_end_in_a_recreated_topic() {
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let producer = producer(&broker).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    topic.deliver(topic.record().value("in the old one")).await.unwrap();
    broker.with_cluster(|cluster| cluster.delete_topic("t")).unwrap();
    broker.create_topic("t", 1).unwrap();
    let error = timeout(LONG, topic.deliver(topic.record().value("between"))).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.written()), (ErrorKind::TopicRecreated, Written::No), "{error}");
    for (value, offset) in [("new", 0), ("newer", 1)] {
        let metadata = timeout(LONG, topic.deliver(topic.record().value(value))).await.unwrap().unwrap();
        assert_eq!(metadata.offset(), Some(offset));
    }
    assert_eq!(values(&broker, "t", 0), ["new", "newer"]);
}

#[tokio::test]
async fn missing_partition_fails_after_max_block() {
    let broker = Broker::builder().topic("t", 2).start().await.unwrap();
    let producer = producer(&broker).max_block(ms(100)).build().await.unwrap();
    producer.topic("t").await.unwrap();
    for (partition, advice) in [
        (2, "it has 2, counted from 0: the topic did not get this partition within max.block.ms, which is 100"),
        (-1, "counted from 0"),
    ] {
        let error = producer.send(Record::to("t").partition(partition).value("a")).await.unwrap_err();
        assert_eq!((error.kind(), error.written()), (ErrorKind::Partitioning, Written::No));
        let text = format!("{error:#}");
        assert!(
            text.contains(&format!("topic t has no partition {partition}: it has 2")) && text.contains(advice),
            "{text}"
        );
    }
    let refused = producer.try_send(Record::to("t").partition(2).value("a")).unwrap_err();
    assert_eq!(refused.error.kind(), ErrorKind::Partitioning);
}

#[tokio::test]
async fn new_partitions_are_found_and_the_old_ones_kept() {
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let producer = producer(&broker).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    topic.deliver(topic.record().value("a")).await.unwrap();
    // The producer waits for a missing partition.
    let mut waits = pin!(topic.deliver(topic.record().partition(2).value("b")));
    assert!(is_pending(waits.as_mut()).await);
    broker.with_cluster(|cluster| cluster.add_partitions("t", 3)).unwrap();
    assert_eq!(timeout(LONG, waits).await.unwrap().unwrap().partition(), 2);
    topic.deliver(topic.record().partition(0).value("c")).await.unwrap();
    assert_eq!(check_log(&broker, &["a", "c"].map(str::to_owned), ""), 0);
}

#[tokio::test]
async fn try_send_finds_new_partitions() {
    let broker = Broker::builder().topic("t", 1).start().await.unwrap();
    let producer = producer(&broker).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    let mut is_grown = false;
    let sent = async {
        loop {
            match topic.try_send(topic.record().partition(2).value("a")) {
                Ok(delivery) => return delivery.await.unwrap(),
                Err(refused) => {
                    assert_eq!(refused.error.kind(), ErrorKind::Partitioning);
                    // Partitions that appeared meanwhile need no request.
                    let text = format!("{:#}", refused.error);
                    let says = if is_grown {
                        "it has 1, counted from 0"
                    } else {
                        "it has 1, counted from 0; the producer has requested the topic's partitions again"
                    };
                    assert!(text.contains(says), "{text}");
                }
            }
            // After a refusal, the producer requests metadata until the partition exists.
            if !std::mem::replace(&mut is_grown, true) {
                broker.with_cluster(|cluster| cluster.add_partitions("t", 3)).unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(timeout(LONG, sent).await.unwrap().partition(), 2);
    producer.close(LONG).await.unwrap();
    let refused = topic.try_send(topic.record().partition(3).value("a")).unwrap_err();
    assert_eq!(refused.error.kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn refusal_with_acks_0_costs_only_a_connection() {
    let broker = Broker::builder().nodes(2).topic("t", 1).start().await.unwrap();
    let producer = producer(&broker).acks(kurier::Acks::None).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    topic.deliver(topic.record().value("lost")).await.unwrap();
    let leader = broker.with_cluster(|cluster| cluster.leader("t", 0)).unwrap();
    broker.with_cluster(|cluster| cluster.move_leader("t", 0, 3 - leader.0)).unwrap();
    let arrived = async {
        while values(&broker, "t", 0).last().is_none_or(|value| value != "arrived") {
            topic.deliver(topic.record().value("arrived")).await.unwrap();
        }
    };
    timeout(LONG, arrived).await.unwrap();
}
