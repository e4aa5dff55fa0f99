//! A proxy on the detours to a cluster's nodes. It sometimes cuts a connection when a broker has executed a Produce
//! request and responded. So the response is lost, but the record is written.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use kurier_e2e::cluster::Detour;
use kurier_protocol::messages::ProduceRequest;
use kurier_protocol::{CorrelationId, FrameBuffer, Message, RequestHeader};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// The proxy for all nodes. Dropping it ends its listeners but not its connections.
pub(crate) struct Proxy {
    cuts: Arc<Cuts>,
    listeners: Vec<JoinHandle<()>>,
}

/// Rule for cutting responses.
#[derive(Debug)]
struct Cuts {
    /// Cuts every `one_of`th response.
    one_of: usize,
    limit: usize,
    answers: AtomicUsize,
    done: AtomicUsize,
}

impl Proxy {
    /// Starts the proxy; it cuts every `one_of`th Produce response, up to a limit.
    pub(crate) fn start(runtime: &Handle, detours: &[Detour], one_of: usize, limit: usize) -> Result<Self> {
        let _guard = runtime.enter();
        let cuts = Arc::new(Cuts { one_of, limit, answers: AtomicUsize::new(0), done: AtomicUsize::new(0) });
        let mut listeners = Vec::new();
        for detour in detours {
            let socket = TcpSocket::new_v4()?;
            // The cluster reserves the port with the same option.
            socket.set_reuseaddr(true)?;
            socket.bind(detour.advertised).context("the detour's port")?;
            let listener = socket.listen(64)?;
            listeners.push(runtime.spawn(accept(listener, detour.leads_to, Arc::clone(&cuts))));
        }
        Ok(Self { cuts, listeners })
    }

    /// Returns the number of responses cut off.
    pub(crate) fn cuts(&self) -> usize {
        self.cuts.done.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listeners.iter().for_each(JoinHandle::abort);
    }
}

impl Cuts {
    /// Whether to cut off this response.
    fn cut(&self) -> bool {
        let is_due = (self.answers.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(self.one_of);
        let one_more = |done| (done < self.limit).then_some(done + 1);
        is_due && self.done.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }
}

async fn accept(listener: TcpListener, node: SocketAddr, cuts: Arc<Cuts>) {
    while let Ok((client, _)) = listener.accept().await {
        let cuts = Arc::clone(&cuts);
        // Either side may end the connection, which ends both halves.
        tokio::spawn(async move { pass(client, node, &cuts).await });
    }
}

async fn pass(client: TcpStream, node: SocketAddr, cuts: &Cuts) -> Result<()> {
    let broker = TcpStream::connect(node).await?;
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    let ((from_client, to_client), (from_broker, to_broker)) = (client.into_split(), broker.into_split());
    let produced = Mutex::default();
    tokio::select! {
        ended = requests(from_client, to_broker, &produced) => ended,
        ended = answers(from_broker, to_client, &produced, cuts) => ended,
    }
}

/// Correlation ids of unanswered Produce requests.
type Produced = Mutex<HashSet<CorrelationId>>;

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, produced: &Produced) -> Result<()> {
    let mut buffer = FrameBuffer::new(FrameBuffer::DEFAULT_LIMIT_BYTES);
    while from.read_buf(buffer.room()).await? > 0 {
        while let Some(frame) = buffer.next_frame()? {
            let (header, _) = RequestHeader::read(&frame)?;
            if header.api_key == ProduceRequest::KEY {
                produced.lock().unwrap_or_else(PoisonError::into_inner).insert(header.correlation_id);
            }
            write(&mut to, &frame).await?;
        }
    }
    Ok(())
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, produced: &Produced, cuts: &Cuts) -> Result<()> {
    let mut buffer = FrameBuffer::new(FrameBuffer::DEFAULT_LIMIT_BYTES);
    while from.read_buf(buffer.room()).await? > 0 {
        while let Some(frame) = buffer.next_frame()? {
            let correlation_id = frame.first_chunk().context("a correlation id")?;
            let correlation_id = CorrelationId(i32::from_be_bytes(*correlation_id));
            let is_produced = produced.lock().unwrap_or_else(PoisonError::into_inner).remove(&correlation_id);
            if is_produced && cuts.cut() {
                return Ok(());
            }
            write(&mut to, &frame).await?;
        }
    }
    Ok(())
}

/// Writes a frame with its length.
async fn write(to: &mut OwnedWriteHalf, frame: &[u8]) -> Result<()> {
    to.write_all(&u32::try_from(frame.len())?.to_be_bytes()).await?;
    Ok(to.write_all(frame).await?)
}
