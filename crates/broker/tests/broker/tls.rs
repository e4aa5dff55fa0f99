//! Tests of listeners with TLS, with rustls as the client. testdata/ORIGIN.md describes the certificates.

use std::io;
use std::sync::Arc;

use kurier_broker::{Broker, ServerTls};
use kurier_protocol::messages::ApiVersionsRequest;
use kurier_protocol::{ErrorCode, FrameBuffer, FrameError};
use rustls::crypto::CryptoProvider;
use rustls::{AlertDescription, ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::connection::Connection;

fn read(name: &str) -> String {
    std::fs::read_to_string(format!("{}/../../testdata/tls/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn certificates(name: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(read(name).as_bytes()).collect::<Result<_, _>>().unwrap()
}

fn server() -> ServerTls {
    ServerTls::from_pem(read("broker.pem"), read("broker-key.pem"))
}

async fn start(tls: ServerTls) -> Broker {
    Broker::builder().tls(tls).start().await.unwrap()
}

fn provider() -> CryptoProvider {
    cfg_select! {
        feature = "tls-ring" => rustls::crypto::ring::default_provider(),
        feature = "tls-aws-lc" => rustls::crypto::aws_lc_rs::default_provider(),
        _ => rustls_graviola::default_provider(),
    }
}

fn client(version: &'static SupportedProtocolVersion, has_certificate: bool) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates("ca.pem"));
    let builder = ClientConfig::builder_with_provider(Arc::new(provider())).with_protocol_versions(&[version]).unwrap();
    let builder = builder.with_root_certificates(roots);
    let config = if has_certificate {
        let key = PrivateKeyDer::from_pem_slice(read("client-key.pem").as_bytes()).unwrap();
        builder.with_client_auth_cert(certificates("client.pem"), key).unwrap()
    } else {
        builder.with_no_client_auth()
    };
    TlsConnector::from(Arc::new(config))
}

async fn connect(broker: &Broker, client: &TlsConnector) -> io::Result<Connection<TlsStream<TcpStream>>> {
    let socket = TcpStream::connect(broker.listen_address(1).unwrap()).await?;
    Ok(Connection::over(client.connect(ServerName::try_from("localhost").unwrap(), socket).await?))
}

/// Returns the certificate that the broker showed.
fn certificate(connection: &Connection<TlsStream<TcpStream>>) -> CertificateDer<'static> {
    connection.socket.get_ref().1.peer_certificates().unwrap()[0].clone()
}

async fn is_answered(connection: &mut Connection<TlsStream<TcpStream>>) -> bool {
    let answer = connection.ask(0, &ApiVersionsRequest::default()).await;
    answer.is_some_and(|answer| answer.error_code == ErrorCode::NONE)
}

#[tokio::test]
async fn requests_are_answered_over_each_version_of_tls() {
    let broker = start(server()).await;
    for version in [&version::TLS12, &version::TLS13] {
        let mut connection = connect(&broker, &client(version, false)).await.unwrap();
        assert_eq!(connection.socket.get_ref().1.protocol_version(), Some(version.version));
        assert!(is_answered(&mut connection).await);
        assert!(is_answered(&mut connection).await);
    }
}

#[tokio::test]
async fn client_without_certificate_gets_an_alert_if_one_is_required() {
    let broker = start(server().client_ca(read("ca.pem"))).await;
    for version in [&version::TLS12, &version::TLS13] {
        let mut connection = connect(&broker, &client(version, true)).await.unwrap();
        assert!(is_answered(&mut connection).await);
        // With TLS 1.3 the client's handshake has ended before the broker sees that the certificate is missing.
        let error = match connect(&broker, &client(version, false)).await {
            Ok(mut connection) => connection.socket.read(&mut [0]).await.unwrap_err(),
            Err(error) => error,
        };
        let error: &rustls::Error = error.get_ref().unwrap().downcast_ref().unwrap();
        assert_eq!(error, &rustls::Error::AlertReceived(AlertDescription::CertificateRequired));
    }
}

#[tokio::test]
async fn client_without_tls_gets_an_alert() {
    let broker = start(server()).await;
    let mut connection = Connection::to(broker.listen_address(1).unwrap()).await;
    connection.send(0, &ApiVersionsRequest::default()).await;
    let mut answer = Vec::new();
    connection.socket.read_to_end(&mut answer).await.unwrap();
    let mut buffer = FrameBuffer::new(1 << 20);
    buffer.room().extend_from_slice(&answer);
    assert_eq!(buffer.next_frame().unwrap_err(), FrameError::Tls, "{answer:x?}");
}

#[tokio::test]
async fn new_certificate_is_for_new_connections() {
    let broker = start(server()).await;
    let client = client(&version::TLS13, false);
    let mut old = connect(&broker, &client).await.unwrap();
    assert_eq!(certificate(&old), certificates("broker.pem")[0]);
    let wrong = ServerTls::from_pem(read("broker.pem"), read("rsa-key.pem"));
    assert_eq!(broker.set_tls(&wrong).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    broker.set_tls(&ServerTls::from_pem(read("broker-rotated.pem"), read("broker-key.pem"))).unwrap();
    let mut new = connect(&broker, &client).await.unwrap();
    assert_eq!(certificate(&new), certificates("broker-rotated.pem")[0]);
    assert!(is_answered(&mut old).await && is_answered(&mut new).await);
}

#[tokio::test(start_paused = true)]
async fn handshake_that_does_not_end_is_closed_after_ten_seconds() {
    let broker = start(server()).await;
    let mut socket = TcpStream::connect(broker.listen_address(1).unwrap()).await.unwrap();
    // The start of a record.
    socket.write_all(&[0x16, 3, 1]).await.unwrap();
    let before = tokio::time::Instant::now();
    assert_eq!(socket.read(&mut [0]).await.unwrap_or_default(), 0);
    assert_eq!(before.elapsed().as_secs(), 10);
}

#[tokio::test]
async fn wrong_certificates_are_refused_at_the_start() {
    let cases = [
        (ServerTls::from_pem("", read("broker-key.pem")), "the certificate is not PEM with a certificate"),
        (ServerTls::from_pem(read("broker.pem"), ""), "the private key cannot be read: it must be PEM"),
        (ServerTls::from_pem(read("broker.pem"), read("client-key-pbkdf2.pem")), "the private key is encrypted"),
        (
            ServerTls::from_pem(read("broker.pem"), read("client-key-old-encryption.pem")),
            "the private key is encrypted",
        ),
        (
            ServerTls::from_pem(read("broker.pem"), read("rsa-key.pem")),
            "the private key does not belong to the certificate",
        ),
        (server().client_ca("junk"), "the authority of clients is not PEM with a certificate"),
    ];
    for (tls, why) in cases {
        let error = Broker::builder().tls(tls).start().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().starts_with(why), "{error}");
    }
}

/// A server of the test's own accepts a client, and says why it cannot accept others.
#[tokio::test]
async fn acceptor_says_why_a_handshake_fails() {
    let acceptor = server().acceptor().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accept = async || acceptor.accept(listener.accept().await.unwrap().0).await;
    let trusting = client(&version::TLS13, false);
    let connect = async |connector: &TlsConnector| {
        let socket = TcpStream::connect(address).await.unwrap();
        connector.connect(ServerName::try_from("localhost").unwrap(), socket).await
    };
    let (accepted, connected) = tokio::join!(accept(), connect(&trusting));
    connected.unwrap().get_mut().0.write_all(b"").await.unwrap();
    accepted.unwrap();

    let config = ClientConfig::builder_with_provider(Arc::new(provider())).with_protocol_versions(&[&version::TLS13]);
    let distrusting = config.unwrap().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let distrusting = TlsConnector::from(Arc::new(distrusting));
    let (accepted, refused) = tokio::join!(accept(), connect(&distrusting));
    refused.unwrap_err();
    assert!(accepted.unwrap_err().to_string().starts_with("it refused the certificate: does it trust the issuer"));

    let plain = async {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(b"\0\0\0\x0a\0\x12\0\0\0\0\0\x07\xff\xff").await.unwrap();
        let _ = socket.read_to_end(&mut Vec::new()).await;
    };
    let (accepted, ()) = tokio::join!(accept(), plain);
    assert!(accepted.unwrap_err().to_string().starts_with("it does not speak TLS: set its security.protocol to SSL"));
}

#[test]
fn debug_does_not_show_the_key() {
    let shown = format!("{:?}", Broker::builder().tls(server()));
    assert!(shown.contains("ServerTls") && !shown.contains("PRIVATE"), "{shown}");
}
