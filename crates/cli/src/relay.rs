//! What stands between clients and a cluster, hears both, and lets through.
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
use std::io::{BufWriter, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Error, Result};
use bytes::Bytes;
use kurier::HostPort;
use kurier_capture::{CaptureError, Head, Recorded, Side, Writer};
use kurier_protocol::{FrameBuffer, FrameError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::addresses::{Place, changed};
use crate::notice;

/// Requests with acks=0 are never answered; what was asked before one that is answered is forgotten with it.
const ASKED_MAX: usize = 100_000;

/// How long a broker may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What is read at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// A relay in front of one cluster.
#[derive(Debug)]
pub(crate) struct Relay {
    listen: SocketAddr,
    /// The port behind which those of the nodes begin; 0 if each gets a free one.
    first_port: u16,
    upstream: HostPort,
    nodes: Mutex<BTreeMap<i32, Node>>,
    recording: Mutex<Recording>,
    failed: mpsc::Sender<Error>,
    failure: Mutex<Option<mpsc::Receiver<Error>>>,
}

/// A node of the cluster.
#[derive(Clone, Debug)]
struct Node {
    /// Where the cluster says it is.
    upstream: HostPort,
    /// Where clients reach it.
    port: u16,
}

/// The file, and what went into it.
#[derive(Debug)]
pub(crate) struct Recording {
    writer: Writer<BufWriter<File>>,
    counts: Counts,
}

/// What was heard.
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

impl Relay {
    pub(crate) fn new(listen: SocketAddr, upstream: HostPort, recording: Recording) -> Arc<Self> {
        let (failed, failure) = mpsc::channel(1);
        Arc::new(Self {
            listen,
            first_port: listen.port(),
            upstream,
            nodes: Mutex::default(),
            recording: Mutex::new(recording),
            failed,
            failure: Mutex::new(Some(failure)),
        })
    }

    /// Begins to listen: where, and a future of what ends it, should anything.
    pub(crate) fn start(self: &Arc<Self>) -> Result<(SocketAddr, impl Future<Output = Error> + use<>)> {
        let at = self.listen(self.listen, None)?;
        let failure = lock(&self.failure).take();
        Ok((at, async move {
            match failure {
                Some(mut failure) => failure.recv().await.unwrap_or_else(|| Error::msg("the relay has ended")),
                None => std::future::pending().await,
            }
        }))
    }

    /// Writes what is left to the file.
    pub(crate) fn finish(self) -> Result<Counts> {
        let mut recording = self.recording.into_inner().unwrap_or_else(PoisonError::into_inner);
        recording.writer.get_mut().flush()?;
        Ok(recording.counts)
    }

    /// Listens for a node, or for whatever broker there is.
    fn listen(self: &Arc<Self>, at: SocketAddr, node_id: Option<i32>) -> Result<SocketAddr> {
        let listener = std::net::TcpListener::bind(at).with_context(|| format!("{at} cannot be listened on"))?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let at = listener.local_addr()?;
        tokio::spawn(Arc::clone(self).accept(listener, node_id));
        Ok(at)
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, node_id: Option<i32>) {
        loop {
            match listener.accept().await {
                Ok((client, _)) => {
                    let node = node_id.and_then(|id| lock(&self.nodes).get(&id).cloned());
                    let upstream = node.map_or_else(|| self.upstream.clone(), |node| node.upstream);
                    tokio::spawn(Arc::clone(&self).relay(client, upstream));
                }
                Err(error) => return self.fail(Error::new(error).context("no more clients can be accepted")),
            }
        }
    }

    fn fail(&self, error: Error) {
        // The first is enough.
        let _ = self.failed.try_send(error);
    }

    async fn relay(self: Arc<Self>, client: TcpStream, upstream: HostPort) {
        let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect((upstream.host.as_str(), upstream.port))).await;
        let broker = match connected {
            Ok(Ok(broker)) => broker,
            // The client is told as the broker would tell it: by a connection that ends.
            Ok(Err(error)) => return notice::say(format_args!("{upstream} cannot be reached: {error}")),
            Err(_) => return notice::say(format_args!("{upstream} cannot be reached within {CONNECT_TIMEOUT:?}")),
        };
        if let Err(error) = self.both_ways(client, broker).await {
            self.fail(error);
        }
    }

    async fn both_ways(self: &Arc<Self>, client: TcpStream, broker: TcpStream) -> Result<()> {
        client.set_nodelay(true)?;
        broker.set_nodelay(true)?;
        let (Ok(from), Ok(at)) = (client.peer_addr(), client.local_addr()) else { return Ok(()) };
        let recorded = lock(&self.recording).open(from, at)?;
        let conversation = Arc::new(Conversation {
            relay: Arc::clone(self),
            at,
            recorded: Mutex::new(recorded),
            asked: Mutex::default(),
        });
        let ((from_client, to_client), (from_broker, to_broker)) = (client.into_split(), broker.into_split());
        let requests = tokio::spawn(Arc::clone(&conversation).requests(from_client, to_broker));
        let responses = Arc::clone(&conversation).responses(from_broker, to_client).await;
        // The broker has hung up; whatever the client still says goes nowhere.
        requests.abort();
        let requests = requests.await.unwrap_or(Ok(()));
        lock(&self.recording).close(&mut lock(&conversation.recorded))?;
        responses.and(requests)
    }

    /// Where clients reach a node.
    fn node(self: &Arc<Self>, node_id: i32, upstream: HostPort) -> Result<u16> {
        let mut nodes = lock(&self.nodes);
        if let Some(node) = nodes.get_mut(&node_id) {
            // It may have moved.
            node.upstream = upstream;
            return Ok(node.port);
        }
        let port = match self.first_port {
            0 => 0,
            first => i32::from(first)
                .checked_add(1)
                .and_then(|port| port.checked_add(node_id))
                .and_then(|port| u16::try_from(port).ok())
                .with_context(|| {
                    format!("there is no port for node {node_id} behind {first}: take another --listen, or port 0")
                })?,
        };
        let at = self.listen(SocketAddr::new(self.listen.ip(), port), Some(node_id))?;
        notice::say(format_args!("node {node_id}, {upstream}, is at {at}"));
        nodes.insert(node_id, Node { upstream, port: at.port() });
        Ok(at.port())
    }
}

/// One connection of a client, through to its broker.
#[derive(Debug)]
struct Conversation {
    relay: Arc<Relay>,
    /// Where the client came in.
    at: SocketAddr,
    recorded: Mutex<Recorded>,
    asked: Mutex<VecDeque<Head>>,
}

impl Conversation {
    /// Lets through what the client says, as it comes, until it has said all.
    async fn requests(self: Arc<Self>, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> Result<()> {
        let mut frames = Some(FrameBuffer::new(FrameBuffer::DEFAULT_LIMIT_BYTES));
        let mut chunk = vec![0; CHUNK_BYTES];
        while let Ok(read @ 1..) = from.read(&mut chunk).await {
            let Some(bytes) = chunk.get(..read) else { break };
            self.record(Side::Client, bytes)?;
            if let Some(buffer) = &mut frames {
                buffer.extend(bytes);
                if self.ask(buffer).is_err() {
                    // It is none of Kafka's.
                    frames = None;
                }
            }
            if to.write_all(bytes).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
        Ok(())
    }

    /// Lets through what the broker says, answer by answer.
    async fn responses(self: Arc<Self>, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> Result<()> {
        let mut frames = Some(FrameBuffer::new(FrameBuffer::DEFAULT_LIMIT_BYTES));
        let mut chunk = vec![0; CHUNK_BYTES];
        while let Ok(read @ 1..) = from.read(&mut chunk).await {
            let Some(bytes) = chunk.get(..read) else { break };
            let mut heard = Vec::new();
            match frames.take() {
                None => heard.extend_from_slice(bytes),
                Some(mut buffer) => {
                    buffer.extend(bytes);
                    if let Some(error) = self.answers(&mut buffer, &mut heard)? {
                        let rest = buffer.into_rest();
                        notice::say(format_args!("{} said {} bytes that are no answer: {error}", self.at, rest.len()));
                        heard.extend_from_slice(&rest);
                    } else {
                        frames = Some(buffer);
                    }
                }
            }
            self.record(Side::Server, &heard)?;
            if to.write_all(&heard).await.is_err() {
                break;
            }
        }
        // Where it ends in the middle of an answer, it does so for the client too.
        if let Some(rest) = frames.map(FrameBuffer::into_rest) {
            self.record(Side::Server, &rest)?;
            let _ = to.write_all(&rest).await;
        }
        let _ = to.shutdown().await;
        Ok(())
    }

    /// Takes in the requests that are there.
    fn ask(&self, frames: &mut FrameBuffer) -> Result<(), FrameError> {
        let mut asked = lock(&self.asked);
        while let Some(request) = frames.next_frame()? {
            lock(&self.relay.recording).counts.requests += 1;
            if asked.len() == ASKED_MAX {
                asked.pop_front();
            }
            asked.extend(Head::read(&request));
        }
        Ok(())
    }

    /// The answers that are there, as the client is to see them, and why there will be no more.
    fn answers(&self, frames: &mut FrameBuffer, heard: &mut Vec<u8>) -> Result<Option<FrameError>> {
        loop {
            match frames.next_frame() {
                Ok(Some(response)) => heard.extend(self.answer(&response)?),
                Ok(None) => return Ok(None),
                Err(error) => return Ok(Some(error)),
            }
        }
    }

    /// The answer, with its length, as the client is to see it.
    fn answer(&self, response: &Bytes) -> Result<Vec<u8>> {
        lock(&self.relay.recording).counts.responses += 1;
        let correlation_id = response.first_chunk().copied().map(i32::from_be_bytes);
        let head = {
            let mut asked = lock(&self.asked);
            let at = asked.iter().position(|head| Some(head.correlation_id) == correlation_id);
            at.and_then(|at| asked.drain(..=at).next_back())
        };
        let ours = |place: Place<'_>| {
            // Where nothing can be, nobody need come through.
            let Some(upstream) = HostPort::of_node(place.host, *place.port) else { return Ok(()) };
            let port = self.relay.node(place.node_id, upstream)?;
            *place.host = self.at.ip().to_string();
            *place.port = port.into();
            Ok(())
        };
        let changed = head.map_or(Ok(None), |head| changed(head, response, ours))?;
        Ok(changed.unwrap_or_else(|| {
            let len = u32::try_from(response.len()).unwrap_or_default();
            [&len.to_be_bytes(), &response[..]].concat()
        }))
    }

    fn record(&self, side: Side, bytes: &[u8]) -> Result<()> {
        Ok(lock(&self.relay.recording).said(&mut lock(&self.recorded), side, bytes)?)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
