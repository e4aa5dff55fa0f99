//! A relay between clients and a cluster that records both directions.
//!
//! ```text
//!            listener, one a node                     by address as the cluster says it
//!  client ───────────────────────▶ requests ─────────────────────────────────────────▶ broker
//!                                     │ head of each
//!                                     ▼
//!         ◀─────────────────────── responses ◀──────────────────────────────────────
//!            addresses made ours         every byte that a client says or sees: Recording
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Error, Result, bail};
use bytes::Bytes;
use kurier::HostPort;
use kurier_capture::{CaptureError, Head, Recorded, Side, Writer, is_confidential, zeroed};
use kurier_protocol::messages::SaslHandshakeRequest;
use kurier_protocol::{CorrelationId, FrameBuffer, FrameError, Message, NodeId};
#[cfg(feature = "tls")]
use tokio::io::split;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::addresses::{Place, changed};
#[cfg(feature = "tls")]
use super::tls::Tls;
use crate::notice;
use crate::sync::lock;

/// Maximum number of requests that await a response. Requests with acks=0 get none; they are forgotten when a later
/// request is answered.
const ASKED_MAX: usize = 100_000;

/// Time limit for connecting to a broker.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The first bytes of a TLS handshake: its record type and major version (RFC 8446, section 5.1).
const TLS_HANDSHAKE: [u8; 2] = [0x16, 0x03];

/// Size of one read.
const CHUNK_BYTES: usize = 64 * 1024;

/// A relay in front of one cluster.
#[derive(Debug)]
pub(crate) struct Relay {
    listen: SocketAddr,
    /// The port before the first node's port; 0 gives each node a free port.
    first_port: u16,
    upstream: HostPort,
    nodes: Mutex<BTreeMap<NodeId, Node>>,
    recording: Mutex<Recording>,
    /// Whether the file gets secrets as they are.
    keeps_secrets: bool,
    /// TLS that the relay ends; `None` lets it pass.
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
    failed: mpsc::Sender<Error>,
    failure: Mutex<Option<mpsc::Receiver<Error>>>,
}

/// A node of the cluster.
#[derive(Clone, Debug)]
struct Node {
    /// The node's address as the cluster reports it.
    upstream: HostPort,
    /// The node's port for clients.
    port: u16,
}

/// The capture file and its counts.
#[derive(Debug)]
pub(crate) struct Recording {
    writer: Writer<BufWriter<File>>,
    counts: Counts,
}

/// Counts of the recorded traffic.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    connections: u64,
    requests: u64,
    responses: u64,
    bytes: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, requests, responses, bytes } = self;
        write!(f, "{connections} connections, {requests} requests, {responses} responses, {bytes} bytes")
    }
}

impl Recording {
    pub(crate) fn new(file: BufWriter<File>) -> Result<Self> {
        Ok(Self { writer: Writer::new(file)?, counts: Counts::default() })
    }

    fn open(&mut self, client: SocketAddr, server: SocketAddr) -> Result<Recorded, CaptureError> {
        self.counts.connections += 1;
        self.writer.open(client, server, now())
    }

    fn said(&mut self, connection: &mut Recorded, side: Side, bytes: &[u8]) -> Result<(), CaptureError> {
        self.counts.bytes += u64::try_from(bytes.len()).unwrap_or_default();
        self.writer.said(connection, side, bytes, now())
    }

    fn close(&mut self, connection: &mut Recorded) -> Result<(), CaptureError> {
        self.writer.close(connection, now())?;
        Ok(self.writer.get_mut().flush()?)
    }
}

#[expect(clippy::disallowed_methods, reason = "a capture says when")]
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// Listens on an address.
pub(crate) fn bind(at: SocketAddr) -> Result<StdListener> {
    StdListener::bind(at).with_context(|| format!("cannot listen on {at}"))
}

impl Relay {
    pub(crate) fn new(listen: SocketAddr, upstream: HostPort, recording: Recording, keeps_secrets: bool) -> Self {
        let (failed, failure) = mpsc::channel(1);
        Self {
            listen,
            first_port: listen.port(),
            upstream,
            nodes: Mutex::default(),
            recording: Mutex::new(recording),
            keeps_secrets,
            #[cfg(feature = "tls")]
            tls: None,
            failed,
            failure: Mutex::new(Some(failure)),
        }
    }

    /// Ends TLS, or lets it pass.
    #[cfg(feature = "tls")]
    pub(crate) fn ending(self, tls: Option<Tls>) -> Self {
        Self { tls, ..self }
    }

    /// Starts to serve clients. Returns the address and a future that resolves to the first fatal error.
    pub(crate) fn start(
        self: &Arc<Self>,
        listener: StdListener,
    ) -> Result<(SocketAddr, impl Future<Output = Error> + use<>)> {
        let at = self.serve(listener, None)?;
        let failure = lock(&self.failure).take();
        Ok((at, async move {
            match failure {
                Some(mut failure) => failure.recv().await.unwrap_or_else(|| Error::msg("the relay has ended")),
                None => std::future::pending().await,
            }
        }))
    }

    /// Flushes the file.
    pub(crate) fn finish(self) -> Result<Counts> {
        let mut recording = self.recording.into_inner().unwrap_or_else(PoisonError::into_inner);
        recording.writer.get_mut().flush()?;
        Ok(recording.counts)
    }

    /// Serves clients of a node, or of the bootstrap server.
    fn serve(self: &Arc<Self>, listener: StdListener, node_id: Option<NodeId>) -> Result<SocketAddr> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let at = listener.local_addr()?;
        tokio::spawn(Arc::clone(self).accept(listener, node_id));
        Ok(at)
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, node_id: Option<NodeId>) {
        loop {
            match listener.accept().await {
                Ok((client, _)) => {
                    let node = node_id.and_then(|id| lock(&self.nodes).get(&id).cloned());
                    let upstream = node.map_or_else(|| self.upstream.clone(), |node| node.upstream);
                    tokio::spawn(Arc::clone(&self).relay(client, upstream));
                }
                Err(error) => return self.fail(Error::new(error).context("cannot accept more clients")),
            }
        }
    }

    fn fail(&self, error: Error) {
        // One error is enough.
        let _ = self.failed.try_send(error);
    }

    async fn relay(self: Arc<Self>, client: TcpStream, upstream: HostPort) {
        let (Ok(from), Ok(at)) = (client.peer_addr(), client.local_addr()) else { return };
        match self.open(client, &upstream).await {
            Ok((client, broker)) => {
                if let Err(error) = self.both_ways(from, at, client, broker).await {
                    self.fail(error);
                }
            }
            // The client sees what an unreachable broker would show: its connection ends.
            Err(error) => notice::say(format_args!("client {from} at {at}: {error:#}")),
        }
    }

    /// Connects to the broker, and starts TLS on both sides if the relay ends it.
    async fn open(&self, client: TcpStream, upstream: &HostPort) -> Result<(Halves, Halves)> {
        client.set_nodelay(true)?;
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let client = tls.accept(client).await?;
            let broker = within(upstream, async { tls.connect(connect(upstream).await?, upstream).await }).await?;
            return Ok((halves(split(client)), halves(split(broker))));
        }
        let broker = within(upstream, connect(upstream)).await?;
        Ok((halves(client.into_split()), halves(broker.into_split())))
    }

    async fn both_ways(
        self: &Arc<Self>,
        from: SocketAddr,
        at: SocketAddr,
        (from_client, to_client): Halves,
        (from_broker, to_broker): Halves,
    ) -> Result<()> {
        let recorded = lock(&self.recording).open(from, at)?;
        let conversation = Arc::new(Conversation {
            relay: Arc::clone(self),
            at,
            recorded: Mutex::new(recorded),
            asked: Mutex::default(),
            has_raw_tokens: AtomicBool::new(false),
        });
        let requests = tokio::spawn(Arc::clone(&conversation).requests(from_client, to_broker));
        let responses = Arc::clone(&conversation).responses(from_broker, to_client).await;
        // The broker has closed the connection, so the client's further bytes are dropped.
        requests.abort();
        let requests = requests.await.unwrap_or(Ok(()));
        lock(&self.recording).close(&mut lock(&conversation.recorded))?;
        responses.and(requests)
    }

    /// Returns a node's port for clients.
    fn node(self: &Arc<Self>, node_id: NodeId, upstream: HostPort) -> Result<u16> {
        let mut nodes = lock(&self.nodes);
        if let Some(node) = nodes.get_mut(&node_id) {
            // The node may have moved.
            node.upstream = upstream;
            return Ok(node.port);
        }
        let port = match self.first_port {
            0 => 0,
            first => i32::from(first)
                .checked_add(1)
                .and_then(|port| port.checked_add(node_id.0))
                .and_then(|port| u16::try_from(port).ok())
                .with_context(|| {
                    format!("there is no port for node {node_id} after {first}: choose another --listen, or port 0")
                })?,
        };
        let at = self.serve(bind(SocketAddr::new(self.listen.ip(), port))?, Some(node_id))?;
        notice::say(format_args!("node {node_id}, {upstream}, is at {at}"));
        nodes.insert(node_id, Node { upstream, port: at.port() });
        Ok(at.port())
    }
}

/// The half of a connection that reads.
type Reads = Box<dyn AsyncRead + Send + Unpin>;

/// The half of a connection that writes.
type Writes = Box<dyn AsyncWrite + Send + Unpin>;

/// Both halves of a connection.
type Halves = (Reads, Writes);

fn halves(
    (reads, writes): (impl AsyncRead + Send + Unpin + 'static, impl AsyncWrite + Send + Unpin + 'static),
) -> Halves {
    (Box::new(reads), Box::new(writes))
}

async fn connect(upstream: &HostPort) -> Result<TcpStream> {
    let broker = TcpStream::connect((upstream.host.as_str(), upstream.port)).await?;
    broker.set_nodelay(true)?;
    Ok(broker)
}

/// Limits the time until a broker is connected, and names it in the error.
async fn within<T>(upstream: &HostPort, connected: impl Future<Output = Result<T>>) -> Result<T> {
    match timeout(CONNECT_TIMEOUT, connected).await {
        Ok(connected) => connected.with_context(|| format!("cannot reach {upstream}")),
        Err(_) => bail!("cannot reach {upstream} within {CONNECT_TIMEOUT:?}"),
    }
}

/// Writes bytes at once; TLS would hold them back.
async fn write(to: &mut Writes, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}

/// A client's connection, forwarded to its broker.
#[derive(Debug)]
struct Conversation {
    relay: Arc<Relay>,
    /// The relay's address on this connection.
    at: SocketAddr,
    recorded: Mutex<Recorded>,
    asked: Mutex<VecDeque<Head>>,
    /// Whether the client has sent SaslHandshake 0. Its tokens then have no message around them.
    has_raw_tokens: AtomicBool,
}

impl Conversation {
    /// Forwards the client's bytes as they arrive, until the client closes its side.
    async fn requests(self: Arc<Self>, mut from: Reads, mut to: Writes) -> Result<()> {
        let mut frames = Some(FrameBuffer::new(FrameBuffer::DEFAULT_LIMIT_BYTES));
        let mut chunk = vec![0; CHUNK_BYTES];
        while let Ok(read @ 1..) = from.read(&mut chunk).await {
            let Some(bytes) = chunk.get(..read) else { break };
            let mut shown = Vec::new();
            match frames.take() {
                None => shown.extend_from_slice(bytes),
                Some(mut buffer) => {
                    buffer.extend(bytes);
                    match self.ask(&mut buffer, &mut shown) {
                        None => frames = Some(buffer),
                        Some(error) => {
                            // The bytes are not Kafka's protocol; forward them unread.
                            let rest = buffer.into_rest();
                            if rest.starts_with(&TLS_HANDSHAKE) {
                                notice::say(format_args!("{} got TLS, which is recorded but not decoded", self.at));
                            } else {
                                notice::say(format_args!("{} got bytes that are not a request: {error}", self.at));
                            }
                            shown.extend_from_slice(&rest);
                        }
                    }
                }
            }
            self.record(Side::Client, &shown)?;
            if write(&mut to, bytes).await.is_err() {
                break;
            }
        }
        if let Some(rest) = frames.map(FrameBuffer::into_rest) {
            self.record_cut(Side::Client, Head::read(rest.get(4..).unwrap_or_default()), &rest)?;
        }
        let _ = to.shutdown().await;
        Ok(())
    }

    /// Forwards the broker's bytes, response by response.
    async fn responses(self: Arc<Self>, mut from: Reads, mut to: Writes) -> Result<()> {
        let mut frames = Some(FrameBuffer::new(FrameBuffer::DEFAULT_LIMIT_BYTES));
        let mut chunk = vec![0; CHUNK_BYTES];
        while let Ok(read @ 1..) = from.read(&mut chunk).await {
            let Some(bytes) = chunk.get(..read) else { break };
            let (mut heard, mut shown) = (Vec::new(), Vec::new());
            match frames.take() {
                None => {
                    shown.extend_from_slice(bytes);
                    heard.extend_from_slice(bytes);
                }
                Some(mut buffer) => {
                    buffer.extend(bytes);
                    if let Some(error) = self.answers(&mut buffer, &mut heard, &mut shown)? {
                        let rest = buffer.into_rest();
                        if !rest.starts_with(&TLS_HANDSHAKE) {
                            notice::say(format_args!(
                                "{} sent {} bytes that are not a response: {error}",
                                self.at,
                                rest.len()
                            ));
                        }
                        shown.extend_from_slice(&rest);
                        heard.extend_from_slice(&rest);
                    } else {
                        frames = Some(buffer);
                    }
                }
            }
            self.record(Side::Server, &shown)?;
            if write(&mut to, &heard).await.is_err() {
                break;
            }
        }
        // Forward an incomplete response at the end as it is.
        if let Some(rest) = frames.map(FrameBuffer::into_rest) {
            self.record_cut(Side::Server, self.asked(rest.get(4..).unwrap_or_default()), &rest)?;
            let _ = write(&mut to, &rest).await;
        }
        let _ = to.shutdown().await;
        Ok(())
    }

    /// Counts and remembers each complete request, and appends to `shown` what the file records of it. Returns an error
    /// if the bytes are not a frame.
    fn ask(&self, frames: &mut FrameBuffer, shown: &mut Vec<u8>) -> Option<FrameError> {
        loop {
            let request = match frames.next_frame() {
                Ok(Some(request)) => request,
                Ok(None) => return None,
                Err(error) => return Some(error),
            };
            lock(&self.relay.recording).counts.requests += 1;
            let head = Head::read(&request);
            shown.extend_from_slice(&framed(&self.shown(head, Side::Client, request)));
            if head.is_some_and(|head| (head.api_key, head.api_version) == (SaslHandshakeRequest::KEY, 0)) {
                self.has_raw_tokens.store(true, Ordering::Relaxed);
            }
            let mut asked = lock(&self.asked);
            if asked.len() == ASKED_MAX {
                asked.pop_front();
            }
            asked.extend(head);
        }
    }

    /// Returns the frame as the file gets it: without secrets, unless it keeps them.
    fn shown(&self, head: Option<Head>, side: Side, frame: Bytes) -> Bytes {
        if self.relay.keeps_secrets {
            return frame;
        }
        // A token without a message around it, in either direction.
        if self.has_raw_tokens.load(Ordering::Relaxed) && head.and_then(|head| head.api()).is_none() {
            return vec![0; frame.len()].into();
        }
        head.and_then(|head| zeroed(head, side, &frame)).unwrap_or(frame)
    }

    /// Appends each complete response to `heard`, with addresses replaced, and to `shown` what the file records of it.
    /// Returns an error if the bytes are not a frame.
    fn answers(
        &self,
        frames: &mut FrameBuffer,
        heard: &mut Vec<u8>,
        shown: &mut Vec<u8>,
    ) -> Result<Option<FrameError>> {
        loop {
            match frames.next_frame() {
                Ok(Some(response)) => {
                    let (head, answer) = self.answer(&response)?;
                    shown.extend_from_slice(&framed(&self.shown(head, Side::Server, answer.slice(4..))));
                    heard.extend_from_slice(&answer);
                }
                Ok(None) => return Ok(None),
                Err(error) => return Ok(Some(error)),
            }
        }
    }

    /// Returns the head of a response's request, and the response with its length, with addresses replaced.
    fn answer(&self, response: &Bytes) -> Result<(Option<Head>, Bytes)> {
        lock(&self.relay.recording).counts.responses += 1;
        let head = self.asked(response);
        let ours = |place: Place<'_>| {
            // An invalid address needs no relay.
            let Some(upstream) = HostPort::of_node(place.host, *place.port) else { return Ok(()) };
            let port = self.relay.node(place.node_id, upstream)?;
            *place.host = self.at.ip().to_string();
            *place.port = port.into();
            Ok(())
        };
        let changed = head.map_or(Ok(None), |head| changed(head, response, ours))?;
        Ok((head, changed.map_or_else(|| framed(response), Bytes::from)))
    }

    /// Returns the head of a response's request, and forgets the requests before it.
    fn asked(&self, response: &[u8]) -> Option<Head> {
        let correlation_id = CorrelationId(i32::from_be_bytes(*response.first_chunk()?));
        let mut asked = lock(&self.asked);
        let at = asked.iter().position(|head| head.correlation_id == correlation_id)?;
        asked.drain(..=at).next_back()
    }

    /// Records an incomplete frame at the end of a connection. Of one that may have secrets, only its length stays.
    fn record_cut(&self, side: Side, head: Option<Head>, rest: &[u8]) -> Result<()> {
        let may_have_secrets =
            self.has_raw_tokens.load(Ordering::Relaxed) || head.is_some_and(|head| is_confidential(head.api_key));
        let is_safe = self.relay.keeps_secrets || !may_have_secrets;
        self.record(side, if is_safe { rest } else { rest.get(..4).unwrap_or_default() })
    }

    fn record(&self, side: Side, bytes: &[u8]) -> Result<()> {
        Ok(lock(&self.relay.recording).said(&mut lock(&self.recorded), side, bytes)?)
    }
}

/// Puts the length before a frame.
fn framed(frame: &Bytes) -> Bytes {
    let len = u32::try_from(frame.len()).unwrap_or_default();
    [&len.to_be_bytes(), &frame[..]].concat().into()
}
