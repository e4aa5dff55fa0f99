//! Tests of the cluster on real sockets: connections, nodes that stop and start, faults on the wire.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use kurier_broker::{Broker, Fault, FaultKind};
use kurier_protocol::messages::fetch::{FetchPartition, FetchTopic};
use kurier_protocol::messages::{FetchRequest, MetadataRequest};
use kurier_protocol::{ErrorCode, read_response, write_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::connection::Connection;
use crate::wire::{ALL, batch, produce_request, values};

/// Returns each node's address.
fn addresses(broker: &Broker) -> Vec<SocketAddr> {
    broker.bootstrap_servers().split(',').map(|address| address.parse().unwrap()).collect()
}

/// Starts three nodes, with a topic "t" that node 1 leads.
async fn three_nodes() -> (Broker, Vec<SocketAddr>) {
    let broker = Broker::builder().nodes(3).topic("t", 1).start().await.unwrap();
    let addresses = addresses(&broker);
    assert_eq!(addresses.len(), 3);
    (broker, addresses)
}

fn metadata() -> MetadataRequest {
    MetadataRequest { topics: None, ..Default::default() }
}

fn fetch(fetch_offset: i64) -> FetchRequest {
    let partitions = vec![FetchPartition { fetch_offset, partition_max_bytes: 1 << 20, ..Default::default() }];
    let topics = vec![FetchTopic { topic: "t".to_owned(), partitions }];
    // The longest possible wait: the tests wait for no time to pass.
    FetchRequest { max_wait_ms: i32::MAX, min_bytes: 1, topics, ..Default::default() }
}

fn found(fetched: Option<kurier_protocol::messages::FetchResponse>) -> (ErrorCode, usize) {
    let partition = fetched.unwrap().responses.remove(0).partitions.remove(0);
    (partition.error_code, partition.records.unwrap().len())
}

#[tokio::test]
async fn every_node_listens_where_metadata_says() {
    let (broker, addresses) = three_nodes().await;
    for address in &addresses {
        let response = Connection::to(*address).await.ask(12, &metadata()).await.unwrap();
        let shown: Vec<_> = response.brokers.iter().map(|node| format!("{}:{}", node.host, node.port)).collect();
        assert_eq!(shown.join(","), broker.bootstrap_servers());
    }
    assert!(format!("{broker:?}").contains(&broker.bootstrap_servers()));
}

#[tokio::test]
async fn connections_share_the_log() {
    let (broker, addresses) = three_nodes().await;
    let (mut writer, mut reader) = (Connection::to(addresses[0]).await, Connection::to(addresses[0]).await);
    let sent = batch(&["some", "values"]);
    let written = writer.ask(9, &produce_request(ALL, "t", &[(0, sent.clone())])).await.unwrap();
    assert_eq!(written.responses[0].partition_responses[0].error_code, ErrorCode::NONE);
    assert_eq!(found(reader.ask(12, &fetch(0)).await), (ErrorCode::NONE, sent.len()));
    broker.with_cluster(|cluster| assert_eq!(values(cluster, "t", 0), ["some", "values"]));
}

#[tokio::test]
async fn pipelined_and_split_requests_are_answered() {
    let (_broker, addresses) = three_nodes().await;
    let mut connection = Connection::to(addresses[0]).await;
    let mut wire = Vec::new();
    for number in 0..10 {
        write_request(&metadata(), 12, number, None, &mut wire).unwrap();
        // This request has no response, and the others do not wait for one.
        write_request(&produce_request(0, "t", &[(0, batch(&["v"]))]), 9, 100, None, &mut wire).unwrap();
    }
    for piece in wire.chunks(7) {
        connection.socket.write_all(piece).await.unwrap();
    }
    for number in 0..10 {
        let frame = connection.receive().await.unwrap();
        assert_eq!(read_response::<MetadataRequest>(&frame, 12).unwrap().0, number.into());
    }
}

#[tokio::test]
async fn a_waiting_reader_is_woken_by_a_writer() {
    let (broker, addresses) = three_nodes().await;
    let (mut writer, mut reader) = (Connection::to(addresses[0]).await, Connection::to(addresses[0]).await);
    reader.send(12, &fetch(0)).await;
    let sent = batch(&["v"]);
    writer.ask(9, &produce_request(ALL, "t", &[(0, sent.clone())])).await.unwrap();
    let (_, response) = read_response::<FetchRequest>(&reader.receive().await.unwrap(), 12).unwrap();
    assert_eq!(found(Some(response)), (ErrorCode::NONE, sent.len()));

    // A change of leader wakes the reader too.
    reader.send(12, &fetch(1)).await;
    broker.with_cluster(|cluster| cluster.move_leader("t", 0, 2)).unwrap();
    let (_, response) = read_response::<FetchRequest>(&reader.receive().await.unwrap(), 12).unwrap();
    assert_eq!(found(Some(response)), (ErrorCode::NOT_LEADER_OR_FOLLOWER, 0));
}

#[tokio::test]
async fn hostile_bytes_close_their_connection_and_no_other() {
    let (broker, addresses) = three_nodes().await;
    let mut other = Connection::to(addresses[0]).await;
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a ClientHello",
        b"\xff\xff\xff\xff and more",
        b"\x80\0\0\0 and more",
        b"\0\0\0\0 and more",
        b"\0\0\0\x03abc",
        b"\x7f\xff\xff\xff and more",
        b"\0\0\0\x08\0\0\0\x63\0\0\0\x07",
        b"\0\0\0\x0a\0\x03\0\x63\0\0\0\x07\xff\xff",
        b"\0\0\0\x0e\0\x03\0\x01\0\0\0\x07\xff\xff\x7f\xff\xff\xff",
    ] {
        let mut hostile = Connection::to(addresses[0]).await;
        hostile.socket.write_all(bytes).await.unwrap();
        assert_eq!(hostile.receive().await, None, "{bytes:?}");
    }
    // Half a request, and then the connection closes.
    let mut half = Connection::to(addresses[0]).await;
    half.socket.write_all(b"\0\0\0\x20\0\x03").await.unwrap();
    drop(half);
    assert!(other.ask(12, &metadata()).await.is_some());
    assert!(broker.with_cluster(|cluster| cluster.is_up(1)));
}

#[tokio::test]
async fn a_stopped_node_closes_and_restarts_on_its_port() {
    let (broker, addresses) = three_nodes().await;
    for round in 0..5 {
        let mut before = Connection::to(addresses[0]).await;
        assert!(before.ask(12, &metadata()).await.is_some());
        let mut waiting = Connection::to(addresses[1]).await;
        broker.stop_node(1);
        broker.stop_node(1);
        assert_eq!(before.receive().await, None);
        // Either no one listens, or the connection gets no answer.
        if let Ok(socket) = TcpStream::connect(addresses[0]).await {
            let mut late = Connection::over(socket);
            assert_eq!(late.receive().await, None);
        }
        let seen = waiting.ask(12, &metadata()).await.unwrap();
        let nodes: Vec<_> = seen.brokers.iter().map(|node| node.node_id).collect();
        assert_eq!(nodes, [2, 3]);
        assert_ne!(seen.topics[0].partitions[0].leader_id, 1);

        broker.start_node(1).await.unwrap();
        broker.start_node(1).await.unwrap();
        let seen = Connection::to(addresses[0]).await.ask(12, &metadata()).await.unwrap();
        assert_eq!(seen.brokers.len(), 3, "round {round}");
        broker.with_cluster(|cluster| cluster.move_leader("t", 0, 1)).unwrap();
    }
    assert_eq!(addresses, self::addresses(&broker));
    let error = broker.start_node(4).await.unwrap_err().to_string();
    assert_eq!(error, "there is no node 4");
}

/// After `stop_node` returns, nothing is written, although connections close a little later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_node_writes_nothing() {
    let (broker, addresses) = three_nodes().await;
    let mut connection = Connection::to(addresses[0]).await;
    connection.ask(12, &metadata()).await.unwrap();
    broker.stop_node(1);
    let mut wire = Vec::new();
    write_request(&produce_request(1, "t", &[(0, batch(&["v"]))]), 9, 1, None, &mut wire).unwrap();
    // The connection may be closed already.
    let _ = connection.socket.write_all(&wire).await;
    assert_eq!(connection.receive().await, None);
    broker.with_cluster(|cluster| assert_eq!(cluster.end_offset("t", 0), Some(0)));
}

#[tokio::test]
async fn faults_happen_on_the_wire() {
    let (broker, addresses) = three_nodes().await;
    let request = produce_request(ALL, "t", &[(0, batch(&["v"]))]);
    let length = {
        let mut connection = Connection::to(addresses[0]).await;
        connection.send(9, &request).await;
        connection.receive().await.unwrap().len() + 4
    };
    let written = || broker.with_cluster(|cluster| cluster.end_offset("t", 0)).unwrap();
    for (kind, sent, is_written) in [
        (FaultKind::Close, 0, false),
        (FaultKind::CloseAfter, 0, true),
        (FaultKind::Cut(0), 0, true),
        (FaultKind::Cut(3), 3, true),
        (FaultKind::Cut(length), length, true),
        (FaultKind::Cut(usize::MAX), length, true),
    ] {
        let before = written();
        broker.add_fault(Fault::new("Produce", kind.clone()));
        let mut connection = Connection::to(addresses[0]).await;
        connection.send(9, &request).await;
        let mut received = Vec::new();
        connection.socket.read_to_end(&mut received).await.unwrap();
        assert_eq!((received.len(), written() - before), (sent, i64::from(is_written)), "{kind:?}");
    }

    broker.add_fault(Fault::new("Produce", FaultKind::Delay(Duration::from_millis(20))));
    let mut connection = Connection::to(addresses[0]).await;
    let start = Instant::now();
    assert!(connection.ask(9, &request).await.is_some());
    assert!(start.elapsed() >= Duration::from_millis(20));
}

/// After `Silence`, the node answers nothing on this connection, not even other requests, and the connection stays
/// open.
#[tokio::test]
async fn silence_lasts_for_the_connection() {
    let (broker, addresses) = three_nodes().await;
    broker.add_fault(Fault::new("Produce", FaultKind::Silence));
    let mut connection = Connection::to(addresses[0]).await;
    connection.send(9, &produce_request(ALL, "t", &[(0, batch(&["v"]))])).await;
    connection.send(12, &metadata()).await;
    // Meanwhile another connection works, and sees the written batch.
    let mut other = Connection::to(addresses[0]).await;
    assert_eq!(found(other.ask(12, &fetch(0)).await).0, ErrorCode::NONE);
    assert!(other.ask(12, &metadata()).await.is_some());
    let nothing = connection.socket.try_read(&mut [0; 10]).unwrap_err();
    assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock, "open, and nothing to read");
    broker.stop_node(1);
    assert_eq!(connection.receive().await, None);
}

#[tokio::test]
async fn dropping_a_broker_stops_it() {
    let (broker, addresses) = three_nodes().await;
    let mut connection = Connection::to(addresses[2]).await;
    connection.ask(12, &metadata()).await.unwrap();
    drop(broker);
    assert_eq!(connection.receive().await, None);
    assert!(TcpStream::connect(addresses[2]).await.is_err());
}

#[tokio::test]
async fn invalid_topics_and_used_ports_fail() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let error = Broker::builder().listen(address).start().await.unwrap_err().to_string();
    assert!(error.contains(&format!("node 1 cannot listen on {address}")), "{error}");
    let error = Broker::builder().topic("two words", 1).start().await.unwrap_err().to_string();
    assert!(error.contains("\"two words\"") && error.contains("INVALID_TOPIC_EXCEPTION"), "{error}");
}

/// Returns the hosts and ports that a node gives to a client, in Metadata and in the leader hints of Produce.
async fn given_out(reached: SocketAddr) -> Vec<String> {
    let mut connection = Connection::to(reached).await;
    let metadata = connection.ask(12, &metadata()).await.unwrap();
    let mut nodes: Vec<_> = metadata.brokers.iter().map(|node| format!("{} {}", node.host, node.port)).collect();
    // Node 1 leads, so the other nodes name it.
    let request = produce_request(ALL, "t", &[(0, batch(&["v"]))]);
    let produced = connection.ask(10, &request).await.unwrap();
    nodes.extend(produced.node_endpoints.iter().map(|node| format!("{} {}", node.host, node.port)));
    nodes
}

#[tokio::test]
async fn nodes_on_all_addresses_give_the_one_that_was_reached() {
    for (listen, reached, host) in [
        ("0.0.0.0:0", "127.0.0.1", "127.0.0.1"),
        ("0.0.0.0:0", "127.9.8.7", "127.9.8.7"),
        ("[::]:0", "::1", "::1"),
        // An IPv4 client at an IPv6 listener.
        ("[::]:0", "127.0.0.1", "127.0.0.1"),
        ("127.0.0.1:0", "127.0.0.1", "127.0.0.1"),
    ] {
        let builder = Broker::builder().nodes(2).topic("t", 1).listen(listen.parse().unwrap());
        let broker = match builder.start().await {
            Ok(broker) => broker,
            // This machine has no IPv6.
            Err(error) if listen.starts_with('[') => {
                println!("{listen}: {error}");
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        let ports = [1, 2].map(|node| broker.listen_address(node).unwrap().port());
        let own = if listen.starts_with("127") { "127.0.0.1" } else { "localhost" };
        assert_eq!(broker.bootstrap_servers(), format!("{own}:{},{own}:{}", ports[0], ports[1]));
        let expected = [1, 2, 1].map(|node| format!("{host} {}", ports[node - 1]));
        let reached = SocketAddr::new(reached.parse().unwrap(), ports[1]);
        assert_eq!(given_out(reached).await, expected, "{listen} reached at {reached}");
    }
}

#[tokio::test]
async fn nodes_give_out_their_advertised_listeners() {
    for (listeners, [first, second], servers) in [
        (
            &[("one.example", 9092), ("two.example", 19_092)][..],
            ["one.example 9092", "two.example 19092"],
            "one.example:9092,two.example:19092",
        ),
        // Node 2 has no listener in the list: it gives out the last one's host and the next port.
        (&[("one.example", 9092)], ["one.example 9092", "one.example 9093"], "one.example:9092,one.example:9093"),
        (&[("fd00::2", 9092), ("10.0.0.2", 1)], ["fd00::2 9092", "10.0.0.2 1"], "[fd00::2]:9092,10.0.0.2:1"),
    ] {
        let builder = Broker::builder().nodes(2).topic("t", 1).listen(([0, 0, 0, 0], 0).into());
        let broker = builder.advertised_listeners(listeners.iter().copied()).start().await.unwrap();
        let second_listens = broker.listen_address(2).unwrap().port();
        let found = given_out(([127, 0, 0, 1], second_listens).into()).await;
        assert_eq!(found, [first, second, first]);
        assert_eq!(broker.bootstrap_servers(), servers);
    }
}

#[tokio::test]
async fn a_node_may_give_out_another_address_later() {
    let (broker, addresses) = three_nodes().await;
    broker.with_cluster(|cluster| cluster.advertise(1, "elsewhere.example", 9));
    let found = given_out(addresses[1]).await;
    assert_eq!((&*found[0], &*found[3]), ("elsewhere.example 9", "elsewhere.example 9"));
    assert_eq!(broker.listen_address(1), Some(addresses[0]));
    assert_eq!(broker.listen_address(4), None);
}

#[tokio::test]
async fn addresses_that_no_client_can_use_are_not_advertised() {
    for (listeners, why) in [
        (&[("0.0.0.0", 9092)][..], "clients cannot connect to 0.0.0.0:9092"),
        (&[("::", 9092)], "clients cannot connect to [::]:9092"),
        (&[("h", 0)], "clients cannot connect to h:0"),
        (&[("", 9092)], "clients cannot connect to :9092"),
        (&[("h", 65_535)], "no ports are left after h:65535 for 1 more nodes"),
        (&[("h", 1), ("h", 2), ("h", 3)], "3 addresses for 2 nodes"),
    ] {
        let builder = Broker::builder().nodes(2).advertised_listeners(listeners.iter().copied());
        let error = builder.start().await.unwrap_err().to_string();
        assert!(error.starts_with("advertised.listeners: ") && error.contains(why), "{error}");
    }
}
