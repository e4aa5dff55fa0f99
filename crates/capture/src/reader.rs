//! Reader of a capture: returns its frames one by one.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use crate::connection::{Connection, begins_request};
use crate::error::CaptureError;
use crate::frame::Frame;
use crate::pcap::{Segment, Segments};

/// The frames of a capture, ordered by the capture time of their last bytes. See the [crate] for an example.
///
/// The reader keeps incomplete frames in memory, at most 16 MiB per direction of data behind missing packets, and a
/// little for each connection.
pub struct Reader<'a> {
    segments: Segments<'a>,
    ports: BTreeSet<u16>,
    /// The latest connection between two ends, whichever side came first.
    connections: HashMap<(SocketAddr, SocketAddr), Connection>,
    opened: u32,
    frames: u64,
    skipped_bytes: u64,
    ready: VecDeque<Frame>,
    time: Duration,
    is_over: bool,
}

impl<'a> Reader<'a> {
    /// Opens a capture in pcap or pcapng format.
    ///
    /// # Errors
    /// If the file begins like neither.
    pub fn new(file: impl Read + Send + 'a) -> Result<Self, CaptureError> {
        Ok(Self {
            segments: Segments::new(file)?,
            ports: BTreeSet::new(),
            connections: HashMap::new(),
            opened: 0,
            frames: 0,
            skipped_bytes: 0,
            ready: VecDeque::new(),
            time: Duration::ZERO,
            is_over: false,
        })
    }

    /// Limits the reader to connections to these ports. Without this, it tries every connection.
    #[must_use]
    pub fn to_ports(mut self, ports: impl IntoIterator<Item = u16>) -> Self {
        self.ports.extend(ports);
        self
    }

    /// Returns the number of connections so far.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.opened
    }

    /// Returns the number of bytes outside any frame: a connection's beginning or packets are missing, or the traffic
    /// is not Kafka's.
    #[must_use]
    pub fn skipped_bytes(&self) -> u64 {
        self.skipped_bytes + self.connections.values().map(Connection::skipped_bytes).sum::<u64>()
    }

    /// Whether the file ended inside a packet.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.segments.is_cut()
    }

    fn take(&mut self, segment: Segment) {
        if !self.is_wanted(&segment.from) && !self.is_wanted(&segment.to) {
            return;
        }
        let ends = (segment.from.min(segment.to), segment.from.max(segment.to));
        self.time = segment.time;
        let is_first = segment.syn && !segment.ack;
        // A repeated SYN begins no new connection.
        let is_known = self.connections.contains_key(&ends);
        if is_first || !is_known {
            let Some((client, server)) = self.roles(&segment) else {
                self.skipped_bytes += u64::try_from(segment.payload.len()).unwrap_or(u64::MAX);
                return;
            };
            self.forget(&ends);
            self.connections.insert(ends, Connection::new(self.opened, client, server, is_first));
            self.opened = self.opened.saturating_add(1);
        }
        let Some(connection) = self.connections.get_mut(&ends) else { return };
        let mut frames = Vec::new();
        connection.take(segment, &mut frames, self.frames);
        self.give(frames);
    }

    /// Returns client and server, if the segment belongs to a wanted connection.
    fn roles(&self, segment: &Segment) -> Option<(SocketAddr, SocketAddr)> {
        let forth = (segment.from, segment.to);
        let back = (segment.to, segment.from);
        let (client, server) = match segment.syn {
            true if segment.ack => back,
            true => forth,
            // The connection is older than the capture; the side that sends requests is the client.
            false if begins_request(&segment.payload) => forth,
            false if !self.ports.is_empty() && self.is_wanted(&segment.from) => back,
            false => return None,
        };
        self.is_wanted(&server).then_some((client, server))
    }

    fn is_wanted(&self, server: &SocketAddr) -> bool {
        self.ports.is_empty() || self.ports.contains(&server.port())
    }

    /// Finishes a connection before a new one between the same ends.
    fn forget(&mut self, ends: &(SocketAddr, SocketAddr)) {
        let Some(mut connection) = self.connections.remove(ends) else { return };
        let mut frames = Vec::new();
        connection.finish(self.time, &mut frames, self.frames);
        self.skipped_bytes += connection.skipped_bytes();
        self.give(frames);
    }

    fn give(&mut self, frames: Vec<Frame>) {
        self.frames += u64::try_from(frames.len()).unwrap_or(u64::MAX);
        self.ready.extend(frames);
    }

    fn finish(&mut self) {
        self.is_over = true;
        let mut left: Vec<_> = self.connections.keys().copied().collect();
        left.sort_unstable();
        for ends in left {
            self.forget(&ends);
        }
    }
}

impl Iterator for Reader<'_> {
    type Item = Result<Frame, CaptureError>;

    /// # Errors
    /// If the file is damaged, which ends the iteration.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Some(Ok(frame));
            }
            if self.is_over {
                return None;
            }
            match self.segments.next() {
                Ok(Some(segment)) => self.take(segment),
                Ok(None) => self.finish(),
                Err(error) => {
                    self.is_over = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("connections", &self.opened)
            .field("frames", &self.frames)
            .field("skipped_bytes", &self.skipped_bytes())
            .finish_non_exhaustive()
    }
}
