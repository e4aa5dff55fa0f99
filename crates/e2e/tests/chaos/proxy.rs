//! Stands on the detours to a cluster's nodes, and now and then cuts a connection when a broker has carried out a produce
//! request and said so: the answer is lost, and the record is written.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use kurier_e2e::cluster::Detour;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Of requests, by the protocol's guide.
const PRODUCE: [u8; 2] = [0, 0];

/// No frame of these tests is as large.
const FRAME_MAX: usize = 16 << 20;

/// The proxy before all nodes. It ends when dropped, but not its connections.
pub(crate) struct Proxy {
    cuts: Arc<Cuts>,
    listeners: Vec<JoinHandle<()>>,
}

/// Which answers are cut off.
#[derive(Debug)]
struct Cuts {
    /// One of so many.
    one_of: usize,
    limit: usize,
    answers: AtomicUsize,
    done: AtomicUsize,
}

impl Proxy {
    /// Cuts one of so many answers to produce requests, up to a limit.
    pub(crate) fn start(runtime: &Handle, detours: &[Detour], one_of: usize, limit: usize) -> Result<Self> {
        let _guard = runtime.enter();
        let cuts = Arc::new(Cuts { one_of, limit, answers: AtomicUsize::new(0), done: AtomicUsize::new(0) });
        let mut listeners = Vec::new();
        for detour in detours {
            let socket = TcpSocket::new_v4()?;
            // The port is kept free for us by one who does the same.
            socket.set_reuseaddr(true)?;
            socket.bind(detour.advertised).context("the detour's port")?;
            let listener = socket.listen(64)?;
            listeners.push(runtime.spawn(accept(listener, detour.leads_to, Arc::clone(&cuts))));
        }
        Ok(Self { cuts, listeners })
    }

    /// How many answers were cut off.
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
    /// Whether this answer is to be cut off.
    fn cut(&self) -> bool {
        let is_due = (self.answers.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(self.one_of);
        let one_more = |done| (done < self.limit).then_some(done + 1);
        is_due && self.done.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }
}

async fn accept(listener: TcpListener, node: SocketAddr, cuts: Arc<Cuts>) {
    while let Ok((client, _)) = listener.accept().await {
        let cuts = Arc::clone(&cuts);
        // Either side may end it; then it is over for both.
        tokio::spawn(async move { pass(client, node, &cuts).await });
    }
}

async fn pass(client: TcpStream, node: SocketAddr, cuts: &Cuts) -> io::Result<()> {
    let broker = TcpStream::connect(node).await?;
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    let ((from_client, to_client), (from_broker, to_broker)) = (client.into_split(), broker.into_split());
    // The correlation ids of produce requests that are not answered.
    let produced = Mutex::default();
    tokio::select! {
        ended = requests(from_client, to_broker, &produced) => ended,
        ended = answers(from_broker, to_client, &produced, cuts) => ended,
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    produced: &Mutex<HashSet<[u8; 4]>>,
) -> io::Result<()> {
    loop {
        let frame = frame(&mut from).await?;
        // Behind the length: the API, its version, the correlation id.
        if frame.get(4..6) == Some(&PRODUCE[..])
            && let Some(correlation) = frame.get(8..12).and_then(|bytes| bytes.try_into().ok())
        {
            produced.lock().unwrap_or_else(PoisonError::into_inner).insert(correlation);
        }
        to.write_all(&frame).await?;
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    produced: &Mutex<HashSet<[u8; 4]>>,
    cuts: &Cuts,
) -> io::Result<()> {
    loop {
        let frame = frame(&mut from).await?;
        let correlation = frame.get(4..8).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).unwrap_or_default();
        let is_produced = produced.lock().unwrap_or_else(PoisonError::into_inner).remove(&correlation);
        if is_produced && cuts.cut() {
            return Ok(());
        }
        to.write_all(&frame).await?;
    }
}

/// A frame with its length before it.
async fn frame(from: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let length = from.read_i32().await?;
    let is_sane = |length: &usize| *length <= FRAME_MAX;
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes"));
    let bytes = usize::try_from(length).ok().filter(is_sane).ok_or_else(wrong)?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.resize(4 + bytes, 0);
    from.read_exact(&mut frame[4..]).await?;
    Ok(frame)
}
