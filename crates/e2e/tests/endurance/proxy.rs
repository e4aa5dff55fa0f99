//! A proxy for a cluster of one node, which loses responses and delays requests by a plan.
//!
//! ```text
//!   producer ─▶ downstream ── whole frames ─▶ upstream ─▶ broker
//!                   │  cut here, at some request  │  goes on alone: writes what it was given, late perhaps,
//!                   ▼                             ▼  and notes every answer
//! ```
//!
//! The proxy sees more than the producer: repeated batches, whether their bytes are the same, the response to each
//! attempt, and whether the response reached the producer.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use fastrand::Rng;
use kurier_e2e::clock::now;
use kurier_protocol::messages::{MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse};
use kurier_protocol::record_batch::RecordBatch;
use kurier_protocol::{ErrorCode, FrameBuffer, Message, RequestHeader, read_response, write_response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep_until, timeout};

/// A single fault and its time.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// Number of Produce requests before the fault.
    pub(crate) after: u32,
    /// From the fault on nothing is answered. It ends after this many more requests, or after a while without one.
    pub(crate) requests: u32,
    /// Largest delay of each of these requests.
    pub(crate) late_max: Duration,
    /// Number of these requests that reach the broker; the others are lost.
    pub(crate) forwarded: u32,
    /// How the fault ends.
    pub(crate) end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With RST.
    Reset,
    /// With FIN.
    Closed,
    /// Without any sign, so that the producer must time out.
    Silence,
}

/// The attempts of all batches.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    batches: HashMap<Stamp, Attempts>,
    /// Number of unanswered requests at each cut.
    pub(crate) unanswered_at_cuts: Vec<usize>,
}

/// A batch's identity for the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Stamp {
    producer_id: i64,
    producer_epoch: i16,
    partition: i32,
    base_sequence: i32,
}

#[derive(Debug, Default)]
struct Attempts {
    /// The bytes of each attempt.
    bytes: Vec<Bytes>,
    answers: Vec<Answer>,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    code: ErrorCode,
    base_offset: i64,
    /// Whether the response reached the producer.
    is_heard: bool,
}

/// A running proxy, for one producer.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<Result<()>>,
}

struct Shared {
    address: SocketAddr,
    broker: SocketAddr,
    /// Delay of responses.
    lag: Duration,
    state: Mutex<State>,
}

struct State {
    /// Pending faults, the next one first. They wait for [`Proxy::arm`].
    faults: VecDeque<Fault>,
    is_armed: bool,
    /// Produce requests since the last fault.
    passed: u32,
    random: Rng,
    wire: Wire,
    connections: JoinSet<Result<()>>,
}

/// A request on its way to the broker.
struct Held {
    due: Instant,
    frame: Bytes,
    asked: Asked,
}

/// The facts that the response's handler needs.
struct Asked {
    header: RequestHeader,
    stamps: Vec<Stamp>,
}

/// A response on its way to the producer.
struct Lagging {
    due: Instant,
    frame: Bytes,
    noted: Vec<Noted>,
}

/// A batch, and the index of an answer in [`Attempts::answers`].
type Noted = (Stamp, usize);

impl Proxy {
    pub(crate) async fn start(broker: SocketAddr, lag: Duration, faults: Vec<Fault>, random: Rng) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let state = State {
            faults: faults.into(),
            is_armed: false,
            passed: 0,
            random,
            wire: Wire::default(),
            connections: JoinSet::new(),
        };
        let shared = Arc::new(Shared { address, broker, lag, state: Mutex::new(state) });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, accepting })
    }

    /// Enables the faults.
    pub(crate) fn arm(&self) {
        self.shared.state().is_armed = true;
    }

    /// Whether faults are pending.
    pub(crate) fn has_faults(&self) -> bool {
        !self.shared.state().faults.is_empty()
    }

    /// Waits until the broker has answered all requests. Call this after the producer is closed.
    pub(crate) async fn finish(self) -> Result<Wire> {
        self.accepting.abort();
        let mut connections = std::mem::take(&mut self.shared.state().connections);
        let all = async {
            while let Some(ended) = connections.join_next().await {
                ended??;
            }
            anyhow::Ok(())
        };
        timeout(Duration::from_secs(20), all).await.context("the broker answers, and the producer lets go")??;
        let state = &mut *self.shared.state();
        ensure!(state.faults.is_empty(), "it ended before these faults: {:?}", state.faults);
        Ok(std::mem::take(&mut state.wire))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) -> Result<()> {
    loop {
        let (producer, _) = listener.accept().await?;
        let broker = TcpStream::connect(shared.broker).await?;
        producer.set_nodelay(true)?;
        broker.set_nodelay(true)?;
        let (requests, held) = mpsc::channel(64);
        let (answers, lagging) = mpsc::channel(64);
        let mut state = shared.state();
        state.connections.spawn(upstream(Arc::clone(&shared), broker, held, answers));
        state.connections.spawn(downstream(Arc::clone(&shared), producer, requests, lagging));
    }
}

/// A fault in effect on a connection.
struct Struck {
    fault: Fault,
    /// Number of requests since then.
    requests: u32,
    /// When the fault ends if no more requests arrive.
    ends: Instant,
}

/// Serves the producer until it disconnects or is cut off.
async fn downstream(
    shared: Arc<Shared>,
    mut producer: TcpStream,
    requests: mpsc::Sender<Held>,
    mut answers: mpsc::Receiver<Lagging>,
) -> Result<()> {
    /// Time for the producer to send all requests it wants before it waits for responses.
    const GATHERING: Duration = Duration::from_millis(30);
    let mut buffer = FrameBuffer::new(FrameBuffer::DEFAULT_LIMIT_BYTES);
    let mut lagging: VecDeque<Lagging> = VecDeque::new();
    let mut struck: Option<Struck> = None;
    let (mut is_fed, mut asked, mut answered, mut last_due) = (true, 0usize, 0usize, now());
    loop {
        let next_answer = lagging.front().map(|answer| answer.due).filter(|_| struck.is_none());
        let ends = struck.as_ref().filter(|struck| struck.fault.end != End::Silence).map(|struck| struck.ends);
        tokio::select! {
            read = producer.read_buf(buffer.room()) => {
                // The producer may disconnect in any way.
                if read.unwrap_or(0) == 0 {
                    break;
                }
                while let Some(frame) = buffer.next_frame()? {
                    let (header, stamps) = shared.look_at(&frame)?;
                    if header.api_key == ProduceRequest::KEY {
                        if struck.is_none() {
                            struck = shared.strike().map(|fault| {
                                Struck { fault, requests: 0, ends: now() + GATHERING }
                            });
                        }
                        asked += 1;
                    }
                    let mut delay = Duration::ZERO;
                    let mut is_forwarded = true;
                    if let Some(struck) = &mut struck {
                        delay = shared.delay(struck.fault.late_max);
                        is_forwarded = struck.requests < struck.fault.forwarded;
                        struck.requests += 1;
                        if struck.requests >= struck.fault.requests {
                            struck.ends = now();
                        }
                    }
                    if is_forwarded {
                        // Requests keep their order.
                        last_due = last_due.max(now()) + delay;
                        let held = Held { due: last_due, frame, asked: Asked { header, stamps } };
                        // If the broker is gone, the upstream side reports why.
                        let _gone = requests.send(held).await;
                    }
                }
            }
            answer = answers.recv(), if is_fed => match answer {
                Some(answer) => lagging.push_back(answer),
                None => is_fed = false,
            },
            () = until(next_answer) => {
                if let Some(answer) = lagging.pop_front() {
                    answered += usize::from(!answer.noted.is_empty());
                    if write(&mut producer, &answer.frame).await.is_err() {
                        break;
                    }
                    shared.state().wire.heard(&answer.noted);
                }
            }
            () = until(ends) => {
                if struck.as_ref().is_some_and(|struck| struck.fault.end == End::Reset) {
                    socket2::SockRef::from(&producer).set_linger(Some(Duration::ZERO))?;
                }
                break;
            }
        }
    }
    if struck.is_some() {
        shared.state().wire.unanswered_at_cuts.push(asked.saturating_sub(answered));
    }
    Ok(())
}

/// Serves the broker until it has answered all requests.
async fn upstream(
    shared: Arc<Shared>,
    mut broker: TcpStream,
    mut requests: mpsc::Receiver<Held>,
    answers: mpsc::Sender<Lagging>,
) -> Result<()> {
    let mut buffer = FrameBuffer::new(FrameBuffer::DEFAULT_LIMIT_BYTES);
    let (mut waiting, mut asked): (VecDeque<Held>, VecDeque<Asked>) = Default::default();
    let mut is_fed = true;
    while is_fed || !waiting.is_empty() || !asked.is_empty() {
        let next = waiting.front().map(|held| held.due);
        tokio::select! {
            held = requests.recv(), if is_fed => match held {
                Some(held) => waiting.push_back(held),
                None => is_fed = false,
            },
            () = until(next) => {
                if let Some(Held { frame, asked: what, .. }) = waiting.pop_front() {
                    write(&mut broker, &frame).await.context("the broker takes a request")?;
                    asked.push_back(what);
                }
            }
            read = broker.read_buf(buffer.room()) => {
                ensure!(read.context("the broker")? > 0, "the broker closed a connection");
                while let Some(frame) = buffer.next_frame()? {
                    let Asked { header, stamps } = asked.pop_front().context("an answer to nothing")?;
                    let (frame, noted) = shared.look_at_answer(&header, frame, &stamps)?;
                    let _nobody_hears_it = answers.send(Lagging { due: now() + shared.lag, frame, noted }).await;
                }
            }
        }
    }
    Ok(())
}

/// Waits until this time; forever without one.
async fn until(then: Option<Instant>) {
    match then {
        Some(then) => sleep_until(then.into()).await,
        None => std::future::pending().await,
    }
}

async fn write(stream: &mut TcpStream, frame: &Bytes) -> Result<()> {
    let mut wire = Vec::with_capacity(4 + frame.len());
    wire.extend_from_slice(&u32::try_from(frame.len())?.to_be_bytes());
    wire.extend_from_slice(frame);
    Ok(stream.write_all(&wire).await?)
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the fault that begins with this Produce request, if any.
    fn strike(&self) -> Option<Fault> {
        let mut state = self.state();
        if !state.is_armed {
            return None;
        }
        state.passed += 1;
        let passed = state.passed;
        let fault = state.faults.pop_front_if(|fault| fault.after < passed)?;
        state.passed = 0;
        Some(fault)
    }

    fn delay(&self, max: Duration) -> Duration {
        max.mul_f64(self.state().random.f64())
    }

    fn look_at(&self, frame: &Bytes) -> Result<(RequestHeader, Vec<Stamp>)> {
        let (header, body) = RequestHeader::read(frame)?;
        let mut stamps = Vec::new();
        if header.api_key == ProduceRequest::KEY {
            let request = ProduceRequest::read(&body, header.api_version)?;
            let mut state = self.state();
            for data in request.topic_data.iter().flat_map(|topic| &topic.partition_data) {
                let bytes = data.records.as_ref().context("a batch")?.to_bytes();
                let (batch, rest) = RecordBatch::parse(&bytes)?;
                ensure!(rest.is_empty(), "one batch a partition");
                let stamp = Stamp {
                    producer_id: batch.header().producer_id.0,
                    producer_epoch: batch.header().producer_epoch.0,
                    partition: data.index,
                    base_sequence: batch.header().base_sequence.0,
                };
                state.wire.batches.entry(stamp).or_default().bytes.push(bytes);
                stamps.push(stamp);
            }
        }
        Ok((header, stamps))
    }

    /// Notes the broker's response. In Metadata, replaces the broker's address with the proxy's.
    fn look_at_answer(&self, header: &RequestHeader, frame: Bytes, stamps: &[Stamp]) -> Result<(Bytes, Vec<Noted>)> {
        let version = header.api_version;
        let mut noted = Vec::new();
        if header.api_key == ProduceRequest::KEY {
            let (_, response): (_, ProduceResponse) = read_response::<ProduceRequest>(&frame, version)?;
            let mut state = self.state();
            for answer in response.responses.iter().flat_map(|topic| &topic.partition_responses) {
                let stamp = stamps.iter().find(|stamp| stamp.partition == answer.index).context("its partition")?;
                let answers = &mut state.wire.batches.entry(*stamp).or_default().answers;
                noted.push((*stamp, answers.len()));
                answers.push(Answer { code: answer.error_code, base_offset: answer.base_offset, is_heard: false });
            }
        }
        if header.api_key != MetadataRequest::KEY {
            return Ok((frame, noted));
        }
        let (correlation_id, mut response): (_, MetadataResponse) = read_response::<MetadataRequest>(&frame, version)?;
        for broker in &mut response.brokers {
            broker.host = self.address.ip().to_string();
            broker.port = self.address.port().into();
        }
        let mut wire = Vec::new();
        write_response(&response, version, correlation_id, &mut wire)?;
        Ok((Bytes::from(wire).slice(4..), noted))
    }
}

/// Summary of a proxy's observations.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) batches: usize,
    /// Batches sent more than once.
    pub(crate) retried: usize,
    /// Batches with an attempt whose bytes differ from the first attempt's.
    pub(crate) changed: usize,
    /// Attempts that the broker recognized as duplicates and answered with the offset of another attempt.
    pub(crate) duplicates: usize,
    /// Attempts answered with OUT_OF_ORDER_SEQUENCE_NUMBER.
    pub(crate) out_of_order: usize,
    /// Number of those responses that reached the producer.
    pub(crate) out_of_order_heard: usize,
    /// Batches with one such attempt, and another one that was written.
    pub(crate) out_of_order_and_written: usize,
    /// Retried batches whose written attempt's response never reached the producer.
    pub(crate) written_unheard: usize,
    pub(crate) cuts: usize,
    /// Unanswered requests at all cuts.
    pub(crate) unanswered: usize,
}

impl Wire {
    fn heard(&mut self, noted: &[Noted]) {
        for (stamp, place) in noted {
            let answer = self.batches.get_mut(stamp).and_then(|attempts| attempts.answers.get_mut(*place));
            answer.into_iter().for_each(|answer| answer.is_heard = true);
        }
    }

    pub(crate) fn seen(&self) -> Seen {
        let mut seen = Seen { batches: self.batches.len(), ..Seen::default() };
        seen.cuts = self.unanswered_at_cuts.len();
        seen.unanswered = self.unanswered_at_cuts.iter().sum();
        for Attempts { bytes, answers } in self.batches.values() {
            let is_written = |answer: &&Answer| answer.code == ErrorCode::NONE;
            let written = answers.iter().filter(is_written).count();
            let is_refused = |answer: &&Answer| answer.code == ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER;
            let refused = answers.iter().filter(is_refused).count();
            let is_retried = bytes.len() > 1;
            seen.retried += usize::from(is_retried);
            seen.changed += usize::from(bytes.iter().any(|other| Some(other) != bytes.first()));
            seen.duplicates += written.saturating_sub(1);
            seen.out_of_order += refused;
            seen.out_of_order_heard += answers.iter().filter(is_refused).filter(|answer| answer.is_heard).count();
            seen.out_of_order_and_written += usize::from(refused > 0 && written > 0);
            // The first response belongs to the attempt that was executed first.
            let first = answers.iter().find(is_written);
            seen.written_unheard += usize::from(is_retried && first.is_some_and(|first| !first.is_heard));
        }
        seen
    }

    /// Whether a batch's written attempts all have the same offset.
    pub(crate) fn is_of_one_mind(&self) -> bool {
        self.batches.values().all(|attempts| {
            let offsets =
                || attempts.answers.iter().filter(|one| one.code == ErrorCode::NONE).map(|one| one.base_offset);
            offsets().all(|offset| Some(offset) == offsets().next())
        })
    }
}

impl Seen {
    pub(crate) fn add(&mut self, other: Self) {
        self.batches += other.batches;
        self.retried += other.retried;
        self.changed += other.changed;
        self.duplicates += other.duplicates;
        self.out_of_order += other.out_of_order;
        self.out_of_order_heard += other.out_of_order_heard;
        self.out_of_order_and_written += other.out_of_order_and_written;
        self.written_unheard += other.written_unheard;
        self.cuts += other.cuts;
        self.unanswered += other.unanswered;
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = [
            (self.batches, "batches"),
            (self.cuts, "connections cut"),
            (self.unanswered, "requests unanswered at that"),
            (self.retried, "batches retried"),
            (self.written_unheard, "of them written by an attempt whose answer nobody heard"),
            (self.duplicates, "attempts that the broker knew for duplicates"),
            (self.out_of_order, "attempts answered OUT_OF_ORDER_SEQUENCE_NUMBER"),
            (self.out_of_order_heard, "of them heard"),
            (self.out_of_order_and_written, "batches answered so and written all the same"),
            (self.changed, "batches retried with other bytes"),
        ];
        lines.iter().try_for_each(|(count, what)| writeln!(f, "  {count:>6} {what}"))
    }
}
