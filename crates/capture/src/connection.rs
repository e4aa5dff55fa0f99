//! A connection: assembles the frames of both sides and pairs requests with responses.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use kurier_protocol::{CorrelationId, FrameBuffer, RequestHeader};

use crate::frame::{Frame, Head, Side};
use crate::frames::Frames;
use crate::pcap::Segment;
use crate::stream::{Piece, Stream};

/// Limit on unanswered requests, above what any client has in flight. Requests with acks=0 get no answer and are
/// dropped in time.
const ASKED_MAX: usize = 100_000;

/// Limit on responses that wait for a request captured later.
const HELD_MAX: usize = 1000;

#[derive(Debug)]
pub(crate) struct Connection {
    number: u32,
    client: SocketAddr,
    server: SocketAddr,
    requests: Half,
    responses: Half,
    asked: VecDeque<Asked>,
    /// Responses whose requests may still come.
    held: VecDeque<(Duration, Bytes)>,
}

#[derive(Debug)]
struct Half {
    stream: Stream,
    frames: Frames,
}

#[derive(Debug)]
struct Asked {
    head: Head,
    number: u64,
}

impl Connection {
    /// Creates a connection, which is older than the capture unless its first packet is a SYN (`from_its_beginning`).
    pub(crate) fn new(number: u32, client: SocketAddr, server: SocketAddr, from_its_beginning: bool) -> Self {
        let half = || Half { stream: Stream::default(), frames: Frames::new(from_its_beginning) };
        Self {
            number,
            client,
            server,
            requests: half(),
            responses: half(),
            asked: VecDeque::new(),
            held: VecDeque::new(),
        }
    }

    pub(crate) fn skipped_bytes(&self) -> u64 {
        self.requests.frames.skipped_bytes() + self.responses.frames.skipped_bytes()
    }

    /// Takes a segment and adds the frames that it completes, numbered from `number` on.
    pub(crate) fn take(&mut self, segment: Segment, frames: &mut Vec<Frame>, number: u64) {
        let side = if segment.from == self.client { Side::Client } else { Side::Server };
        let stream = &mut self.half(side).stream;
        if segment.syn {
            stream.open(segment.sequence);
            return;
        }
        let pieces = stream.take(segment.sequence, segment.payload);
        self.hear(side, &pieces, segment.time, frames, number);
    }

    /// Ends the connection at the end of the capture.
    pub(crate) fn finish(&mut self, time: Duration, frames: &mut Vec<Frame>, number: u64) {
        for side in [Side::Client, Side::Server] {
            let pieces = self.half(side).stream.finish();
            self.hear(side, &pieces, time, frames, number);
        }
    }

    fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Client => &mut self.requests,
            Side::Server => &mut self.responses,
        }
    }

    fn hear(&mut self, side: Side, pieces: &[Piece], time: Duration, frames: &mut Vec<Frame>, number: u64) {
        for piece in pieces {
            match side {
                Side::Client => self.requests.frames.take(piece, begins_request),
                Side::Server => {
                    let asked = &self.asked;
                    self.responses.frames.take(piece, |bytes| begins_response(bytes, asked));
                }
            }
            while let Some(bytes) = self.half(side).frames.next() {
                match side {
                    Side::Client => self.request(time, bytes, frames, number),
                    Side::Server => self.held.push_back((time, bytes)),
                }
            }
        }
        self.answer(frames, number);
    }

    fn request(&mut self, time: Duration, bytes: Bytes, frames: &mut Vec<Frame>, number: u64) {
        let number = number + count(frames.len());
        // After SaslHandshake v0, or without a handshake, a frame is a bare SASL token, and so is the answer.
        let head = Head::read(&bytes).filter(|head| head.api().is_some() || client_id(&bytes).is_some());
        if let Some(head) = head {
            if self.asked.len() == ASKED_MAX {
                self.asked.pop_front();
            }
            self.asked.push_back(Asked { head, number });
        }
        frames.push(self.frame(number, time, Side::Client, head, None, bytes));
    }

    /// Responses come in the order of their requests, so earlier requests without a response had none.
    fn answer(&mut self, frames: &mut Vec<Frame>, number: u64) {
        while let Some((time, bytes)) = self.held.pop_front() {
            let correlation_id = bytes.first_chunk().copied().map(i32::from_be_bytes).map(CorrelationId);
            let at = self.asked.iter().position(|asked| Some(asked.head.correlation_id) == correlation_id);
            if at.is_none() && self.requests.stream.has_hole() && self.held.len() < HELD_MAX {
                self.held.push_front((time, bytes));
                return;
            }
            let asked = at.and_then(|at| self.asked.drain(..=at).next_back());
            let number = number + count(frames.len());
            let (head, answers) = asked.map(|asked| (asked.head, asked.number)).unzip();
            frames.push(self.frame(number, time, Side::Server, head, answers, bytes));
        }
    }

    fn frame(
        &self,
        number: u64,
        time: Duration,
        side: Side,
        head: Option<Head>,
        answers: Option<u64>,
        bytes: Bytes,
    ) -> Frame {
        let Self { number: connection, client, server, .. } = *self;
        Frame { number, time, connection, client, server, side, head, answers, bytes }
    }
}

/// Whether bytes from the middle of a stream begin with a request. Either the request can be read, or it has a client
/// id, if it is incomplete or of an unknown API. (A response easily looks like a request without a client id.)
pub(crate) fn begins_request(bytes: &[u8]) -> bool {
    let Some((claimed, rest)) = bytes.split_first_chunk() else { return false };
    let Some(len) = possible(*claimed) else { return false };
    let Some(client_id) = client_id(rest) else { return false };
    let api = Head::read(rest).and_then(|head| head.api());
    match (api, rest.get(..len)) {
        (Some(api), Some(frame)) => RequestHeader::read(&Bytes::copy_from_slice(frame))
            .is_ok_and(|(header, body)| api.request().read(&body, header.api_version).is_ok()),
        _ => !client_id.is_empty(),
    }
}

/// Returns the client id if the bytes begin like a request, with a plausible key and version; empty if there is none.
fn client_id(frame: &[u8]) -> Option<&str> {
    /// The highest key of Kafka 4.3 is 92, the highest version of any API 18.
    const KEYS: std::ops::Range<i16> = 0..128;
    const VERSIONS: std::ops::Range<i16> = 0..32;
    let head = Head::read(frame)?;
    if !KEYS.contains(&head.api_key) || !VERSIONS.contains(&head.api_version) {
        return None;
    }
    let (len, rest) = frame.get(8..)?.split_first_chunk()?;
    let Ok(len) = usize::try_from(i16::from_be_bytes(*len)) else {
        return (*len == (-1_i16).to_be_bytes()).then_some("");
    };
    let id = str::from_utf8(rest.get(..len)?).ok()?;
    (!id.contains(char::is_control)).then_some(id)
}

/// Whether bytes from the middle of a stream begin with the response to an open request.
fn begins_response(bytes: &[u8], asked: &VecDeque<Asked>) -> bool {
    let Some((claimed, rest)) = bytes.split_first_chunk() else { return false };
    let Some(correlation_id) = rest.first_chunk().copied().map(i32::from_be_bytes).map(CorrelationId) else {
        return false;
    };
    possible(*claimed).is_some() && asked.iter().any(|asked| asked.head.correlation_id == correlation_id)
}

/// Returns the length of a frame, if it is within the limits.
fn possible(claimed: [u8; 4]) -> Option<usize> {
    let claimed = usize::try_from(i32::from_be_bytes(claimed)).ok()?;
    (4..=FrameBuffer::DEFAULT_LIMIT_BYTES).contains(&claimed).then_some(claimed)
}

fn count(frames: usize) -> u64 {
    u64::try_from(frames).unwrap_or(u64::MAX)
}
