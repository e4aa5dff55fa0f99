//! SASL out of turn: the same frames to our broker and to Kafka, on a connection of their own per case. Both must send
//! the same bytes, and close or not.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kurier_broker::{Broker, SaslSettings};
use kurier_e2e::cluster::{Cluster, Shape};
use kurier_e2e::kafka::VERSION;
use kurier_e2e::listener::{Listener, PASSWORD, USER};
use kurier_protocol::messages::metadata::MetadataRequestTopic;
use kurier_protocol::messages::{
    ApiVersionsRequest, InitProducerIdRequest, MetadataRequest, SaslAuthenticateRequest, SaslHandshakeRequest,
    SaslHandshakeResponse,
};
use kurier_protocol::{Message, Request, Secret, read_response, write_request};

/// Time limit for an answer. A node without one in this time has left the connection open.
const PATIENCE: Duration = Duration::from_secs(1);

const GOOD: &[u8] = b"\0alice\0alice-secret";

/// Writes a request as a frame, with its length.
fn frame<R: Request>(version: i16, request: &R) -> Vec<u8> {
    let mut wire = Vec::new();
    write_request(request, version, 1, None, &mut wire).expect("a version that has these fields");
    wire
}

fn propose(mechanism: &str, version: i16) -> Vec<u8> {
    frame(version, &SaslHandshakeRequest { mechanism: mechanism.to_owned() })
}

fn token(bytes: &[u8]) -> Vec<u8> {
    frame(2, &SaslAuthenticateRequest { auth_bytes: Secret::from(bytes) })
}

/// Writes a token without a message around it.
fn bare(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap_or_default().to_be_bytes(), bytes].concat()
}

fn metadata(topics: Option<&str>) -> Vec<u8> {
    let topic = |name: &str| vec![MetadataRequestTopic { name: Some(name.to_owned()), ..Default::default() }];
    frame(12, &MetadataRequest { topics: topics.map(topic), ..Default::default() })
}

fn versions() -> Vec<u8> {
    frame(0, &ApiVersionsRequest::default())
}

fn producer_id() -> Vec<u8> {
    frame(0, &InitProducerIdRequest { transaction_timeout_ms: 1000, ..Default::default() })
}

/// Returns the cases: a name, and the frames to send one after another.
fn cases() -> Vec<(String, Vec<Vec<u8>>)> {
    let mut cases: Vec<(String, Vec<Vec<u8>>)> = Vec::new();
    let mut case = |name: &str, frames: Vec<Vec<u8>>| cases.push((name.to_owned(), frames));
    let tokens: [(&str, &[u8]); 24] = [
        ("PLAIN", GOOD),
        ("PLAIN", b"alice\0alice\0alice-secret"),
        ("PLAIN", b"\0alice\0wrong"),
        ("PLAIN", b"\0carol\0alice-secret"),
        ("PLAIN", b"\0\0alice-secret"),
        ("PLAIN", b"\0alice\0"),
        ("PLAIN", b"bob\0alice\0alice-secret"),
        ("PLAIN", b"\0alice\0\xff"),
        ("PLAIN", b""),
        ("PLAIN", b"alice"),
        ("PLAIN", b"alice\0alice-secret"),
        ("PLAIN", b"\0alice\0alice-secret\0\0"),
        ("SCRAM-SHA-256", b"n,,n=carol,r=abc"),
        ("SCRAM-SHA-512", b"n,,n=carol,r=abc"),
        ("SCRAM-SHA-256", b"n,a=bob,n=alice,r=abc"),
        ("SCRAM-SHA-512", b"y,,n=alice,r=abc"),
        ("SCRAM-SHA-256", b"n,,n=alice,r=abc,tokenauth=true"),
        ("SCRAM-SHA-512", b"n,,n=alice"),
        ("SCRAM-SHA-512", b"n,,n=alice,r=a\x07"),
        ("SCRAM-SHA-512", b""),
        ("OAUTHBEARER", b"n,,auth=Bearer x"),
        ("OAUTHBEARER", b"n,,\x01auth=Bearer x\x01\x01"),
        ("OAUTHBEARER", b"n,,\x01auth=Bearer a.b.c\x01\x01"),
        ("OAUTHBEARER", b""),
    ];
    for (mechanism, bytes) in tokens {
        let name = format!("{mechanism} {}", bytes.escape_ascii());
        case(&name, vec![propose(mechanism, 1), token(bytes)]);
    }
    let refused_token = || token(b"n,,\x01auth=Bearer x\x01\x01");
    case("a refused token, then 1", vec![propose("OAUTHBEARER", 1), refused_token(), token(&[1])]);
    case("a refused token, again", vec![propose("OAUTHBEARER", 1), refused_token(), refused_token(), token(&[1])]);
    for mechanism in ["GSSAPI", "plain", ""] {
        case(&format!("the mechanism {mechanism:?}"), vec![propose(mechanism, 1)]);
    }
    case("handshake 0, a bare token", vec![propose("PLAIN", 0), bare(GOOD)]);
    case("handshake 0, a wrong bare token", vec![propose("PLAIN", 0), bare(b"\0alice\0wrong")]);
    case("handshake 0, a message", vec![propose("PLAIN", 0), token(GOOD)]);
    case("handshake 0, an unknown mechanism", vec![propose("GSSAPI", 0)]);
    case("metadata first", vec![metadata(None)]);
    case("a token first", vec![token(GOOD)]);
    case("bytes that are no request", vec![bare(b"hello")]);
    for (name, request) in [
        ("ApiVersions", versions()),
        ("Metadata of all topics", metadata(None)),
        ("Metadata of a topic", metadata(Some("x"))),
        ("InitProducerId", producer_id()),
        ("SaslHandshake", propose("PLAIN", 1)),
    ] {
        case(&format!("{name} after a handshake"), vec![propose("PLAIN", 1), request]);
    }
    let again = vec![propose("PLAIN", 1), token(GOOD), propose("PLAIN", 1), propose("GSSAPI", 0), token(GOOD)];
    case("once more, in a session without end", again);
    cases
}

/// Sends each case to our broker and to Kafka. Prints how many cases differ, and fails if any does.
pub(crate) fn turns() -> Result<()> {
    let cluster = Cluster::start_as(&Shape { listeners: &[Listener::SaslPlaintext], ..Shape::new(VERSION, 1) })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut sasl = SaslSettings::default().user(USER, PASSWORD);
    sasl.mechanisms.push("OAUTHBEARER".to_owned());
    let broker = runtime.block_on(Broker::builder().sasl(sasl).start())?;
    let ours = broker.listen_address(1).context("it has a node 1")?;
    let kafka = cluster.secured_address(0, Listener::SaslPlaintext)?;
    let (mut differences, cases) = (Vec::new(), cases());
    for (name, frames) in &cases {
        let [by_kafka, by_ours] = [kafka, ours].map(|address| exchange(address, frames));
        let (by_kafka, by_ours) = (by_kafka?, by_ours?);
        if by_kafka != by_ours {
            differences.push(format!("{name}: {by_ours:?}, not {by_kafka:?}"));
        }
    }
    println!("SASL out of turn: {} cases, {} differ", cases.len(), differences.len());
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}

/// Sends frames on a new connection. Returns each answer as text, up to the end of the connection.
fn exchange(address: SocketAddr, frames: &[Vec<u8>]) -> Result<Vec<String>> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut seen = Vec::new();
    for frame in frames {
        // Ignore a failure: the next read shows that the node has closed.
        let _it_may_have_closed = socket.write_all(frame);
        seen.push(answer(&mut socket)?.map_or_else(|| "closed".to_owned(), |bytes| shown(frame, &bytes)));
    }
    // An open connection has nothing more to read.
    let end = socket.read(&mut [0]);
    seen.push(if matches!(end, Err(error) if is_waiting(error.kind())) { "open" } else { "closed" }.to_owned());
    Ok(seen)
}

fn is_waiting(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Reads a frame without its length; `None` if the connection is closed.
fn answer(socket: &mut TcpStream) -> Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    let read = socket.read_exact(&mut length).and_then(|()| {
        let mut answer = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap_or_default()];
        socket.read_exact(&mut answer)?;
        Ok(answer)
    });
    match read {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if is_waiting(error.kind()) => Err(error).context("no answer, and the connection is open"),
        Err(_) => Ok(None),
    }
}

/// Shows an answer. Kafka lists its mechanisms in no order.
fn shown(request: &[u8], answer: &[u8]) -> String {
    const API_KEY: std::ops::Range<usize> = 4..6;
    let is_handshake = request.get(API_KEY) == Some(&SaslHandshakeRequest::KEY.to_be_bytes()[..]);
    match read_response::<SaslHandshakeRequest>(&answer.to_vec().into(), 1) {
        Ok((_, SaslHandshakeResponse { error_code, mut mechanisms })) if is_handshake => {
            mechanisms.sort();
            format!("{error_code:?} {mechanisms:?}")
        }
        _ => answer.escape_ascii().to_string(),
    }
}
