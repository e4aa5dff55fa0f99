//! Connection task: connects, reads frames and writes frames.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, Bytes};
use kurier_protocol::{CorrelationId, FrameBuffer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::names::{Names, literal};
use super::transport::{Target, Transport};
use kurier_engine::config::{Config, HostPort};
use kurier_engine::core::{ConnectionId, Ending, Input};
use kurier_engine::error::Cause;

/// A frame to write.
pub(super) struct Frame {
    pub(super) correlation_id: CorrelationId,
    pub(super) chunks: Vec<Bytes>,
}

/// Channels between the core and one connection.
pub(super) struct Wires {
    pub(super) connection: ConnectionId,
    pub(super) frames: mpsc::Receiver<Frame>,
    pub(super) inputs: mpsc::Sender<Input>,
    /// The largest frame that the peer may send; the driver raises it.
    pub(super) frame_limit: Arc<AtomicUsize>,
}

/// Connects, serves the connection until it ends, and reports why it ended.
pub(super) async fn run(target: Target, wires: Wires) {
    let (connection, inputs) = (wires.connection, wires.inputs.clone());
    let ending = match open(&target).await {
        Ok(transport) => {
            let is_private = transport.is_private();
            // The driver has stopped; no one is listening.
            if inputs.send(Input::Connected { connection, is_private }).await.is_err() {
                return;
            }
            match transport {
                Transport::Plain(stream) => {
                    let (reader, writer) = stream.into_split();
                    serve(reader, writer, wires, &target).await
                }
                #[cfg(feature = "tls")]
                Transport::Tls(stream) => {
                    let (reader, writer) = tokio::io::split(stream);
                    serve(reader, writer, wires, &target).await
                }
            }
        }
        Err(ending) => ending,
    };
    let _ = inputs.send(Input::Disconnected { connection, ending }).await;
}

/// Connects to a server and starts TLS, if the settings ask for it.
pub(super) async fn open(target: &Target) -> Result<Transport, Ending> {
    let Target { config, names, security, host, attempt, was_ready } = target;
    let stream = connect(config, &**names, host, *attempt).await.map_err(Ending::Failed)?;
    security.secure(stream, host, *was_ready).await
}

/// Serves a connection until it ends.
async fn serve(
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
    wires: Wires,
    target: &Target,
) -> Ending {
    let Wires { connection, frames, inputs, frame_limit } = wires;
    let fault = |what: &str, error: io::Error| target.security.ending(what, error, &target.host);
    let writing = write(connection, writer, frames, &inputs, fault);
    either(writing, read(connection, reader, &inputs, &frame_limit, fault)).await
}

/// Connects to the first of the host's addresses that accepts. Looks the addresses up each time, because they change.
async fn connect(config: &Config, names: &dyn Names, host: &HostPort, attempt: u32) -> Result<TcpStream, Cause> {
    let found = names.addresses(host).await;
    let addresses = found.map_err(|error| Cause::from(error).context("cannot resolve its name"))?;
    let is_literal = literal(host).is_some();
    connect_to_one(config, addresses, attempt).await.map_err(|mut refusals| match refusals.pop() {
        None => "its name has no address".into(),
        Some((_, why)) if is_literal => why.into(),
        Some((address, why)) if refusals.is_empty() => Cause::from(why).context(address.to_string()),
        Some(last) => {
            refusals.push(last);
            let each: Vec<String> = refusals.iter().map(|(address, why)| format!("{address}: {why}")).collect();
            each.join(", ").into()
        }
    })
}

/// Connects to the first of these addresses that accepts, or returns the error of each.
async fn connect_to_one(
    config: &Config,
    mut addresses: Vec<SocketAddr>,
    attempt: u32,
) -> Result<TcpStream, Vec<(SocketAddr, io::Error)>> {
    // Each attempt starts with another address, so that one that times out does not block the others.
    let first = (attempt as usize).checked_rem(addresses.len()).unwrap_or_default();
    addresses.rotate_left(first);
    let mut refusals = Vec::new();
    for address in addresses {
        match TcpStream::connect(address).await.and_then(|stream| tune(config, stream)) {
            Ok(stream) => return Ok(stream),
            Err(error) => refusals.push((address, error)),
        }
    }
    Err(refusals)
}

fn tune(config: &Config, stream: TcpStream) -> io::Result<TcpStream> {
    /// Detects a vanished peer after one or two minutes, also on an idle connection.
    const KEEPALIVE: Duration = Duration::from_secs(60);
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(&stream);
    socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(KEEPALIVE))?;
    if let Ok(size) = usize::try_from(config.send_buffer_bytes) {
        socket.set_send_buffer_size(size)?;
    }
    if let Ok(size) = usize::try_from(config.receive_buffer_bytes) {
        socket.set_recv_buffer_size(size)?;
    }
    Ok(stream)
}

/// Runs both in one task until one of them ends. The writer is polled first, so that it reports a written frame before
/// the reader reports the end of the connection.
async fn either(writer: impl Future<Output = Ending>, reader: impl Future<Output = Ending>) -> Ending {
    let (mut writer, mut reader) = (pin!(writer), pin!(reader));
    poll_fn(|cx| match writer.as_mut().poll(cx) {
        Poll::Ready(ending) => Poll::Ready(ending),
        Poll::Pending => reader.as_mut().poll(cx),
    })
    .await
}

async fn write(
    connection: ConnectionId,
    mut writer: impl AsyncWrite + Unpin,
    mut frames: mpsc::Receiver<Frame>,
    inputs: &mpsc::Sender<Input>,
    fault: impl Fn(&str, io::Error) -> Ending,
) -> Ending {
    while let Some(Frame { correlation_id, chunks }) = frames.recv().await {
        // Reserve room first, so that no other input comes between the last byte and its `Written`.
        let Ok(permit) = inputs.reserve().await else { break };
        if let Err(error) = write_all(&mut writer, chunks).await {
            return fault("cannot write to it", error);
        }
        permit.send(Input::Written { connection, correlation_id });
    }
    unneeded()
}

fn unneeded() -> Ending {
    Ending::Failed("the connection is not needed any more".into())
}

async fn write_all(writer: &mut (impl AsyncWrite + Unpin), mut chunks: Vec<Bytes>) -> io::Result<()> {
    /// More slices do not speed up a write.
    const SLICES_MAX: usize = 64;
    let mut first = 0;
    while let Some(rest) = chunks.get_mut(first..).filter(|rest| !rest.is_empty()) {
        let slices: Vec<IoSlice<'_>> = rest.iter().take(SLICES_MAX).map(|chunk| IoSlice::new(chunk)).collect();
        let mut written = writer.write_vectored(&slices).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        for chunk in rest {
            let step = written.min(chunk.len());
            chunk.advance(step);
            written -= step;
            if !chunk.is_empty() {
                break;
            }
            // Free memory that the socket has copied, for the next records.
            *chunk = Bytes::new();
            first += 1;
        }
    }
    // TLS buffers bytes. The request counts as written only when the kernel has them.
    writer.flush().await
}

async fn read(
    connection: ConnectionId,
    mut reader: impl AsyncRead + Unpin,
    inputs: &mpsc::Sender<Input>,
    limit: &AtomicUsize,
    fault: impl Fn(&str, io::Error) -> Ending,
) -> Ending {
    let mut buffer = FrameBuffer::new(limit.load(Ordering::Relaxed));
    loop {
        match reader.read_buf(buffer.room()).await {
            Ok(0) => return Ending::Closed("it closed the connection"),
            Ok(_) => {}
            Err(error) => return fault("cannot read from it", error),
        }
        buffer.set_limit(limit.load(Ordering::Relaxed));
        loop {
            match buffer.next_frame() {
                Ok(Some(frame)) => {
                    if inputs.send(Input::Received { connection, frame }).await.is_err() {
                        return unneeded();
                    }
                }
                Ok(None) => break,
                Err(error) => return Ending::Failed(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::transport::Security;
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    #[tokio::test]
    async fn unauthenticated_peer_may_send_at_most_1_mib_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // A frame of four bytes, then the length of a frame that is one byte above 1 MiB.
        let said = b"\0\0\0\x04abcd\0\x10\0\x01";
        let cases = [
            (FrameBuffer::UNAUTHENTICATED_LIMIT_BYTES, "a frame of 1048577 bytes is above the limit of 1048576"),
            (FrameBuffer::DEFAULT_LIMIT_BYTES, "it closed the connection"),
        ];
        for (limit, why) in cases {
            let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut server, _) = listener.accept().await.unwrap();
            server.write_all(said).await.unwrap();
            drop(server);
            let (inputs, mut heard) = mpsc::channel(9);
            let fault = |what: &str, error| Security::Plain.ending(what, error, &"host:1".parse().unwrap());
            let limit = AtomicUsize::new(limit);
            let ending = read(ConnectionId(1), stream.into_split().0, &inputs, &limit, fault).await;
            let said = match &ending {
                Ending::Closed(said) => (*said).to_owned(),
                Ending::Failed(said) => said.to_string(),
                Ending::Untrusted(said) => said.to_string(),
            };
            assert!(said.starts_with(why), "{said}");
            assert!(matches!(heard.try_recv(), Ok(Input::Received { frame, .. }) if frame == "abcd"));
        }
    }

    #[tokio::test]
    async fn each_attempt_tries_all_addresses_starting_with_another() {
        let config = Config::default();
        let (first, second) =
            (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        // The port is bound but not listening: no other process can take it, and connections are refused.
        let reserved = TcpSocket::new_v4().unwrap();
        reserved.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let dead = reserved.local_addr().unwrap();
        let addresses = vec![dead, first.local_addr().unwrap(), second.local_addr().unwrap()];
        for (attempt, expected) in [(0, 1), (1, 1), (2, 2), (3, 1), (u32::MAX, 1)] {
            let stream = connect_to_one(&config, addresses.clone(), attempt).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), addresses[expected], "{attempt}");
        }
        let refusals = connect_to_one(&config, vec![dead, dead], 1).await.unwrap_err();
        assert_eq!(refusals.len(), 2);
        assert!(connect_to_one(&config, Vec::new(), 7).await.unwrap_err().is_empty());
    }
}
