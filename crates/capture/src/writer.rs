//! Writer of captures: turns a relay's traffic into packets.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use etherparse::{IpHeaders, IpNumber, Ipv4Header, Ipv6Header, PacketBuilder, TcpHeader};
use pcap_parser::{LegacyPcapBlock, Linktype, PcapHeader, ToVec};

use crate::error::CaptureError;
use crate::frame::Side;

/// Payload limit of a segment: with headers it stays below IPv4's limit.
const SEGMENT_BYTES: usize = 32 * 1024;

/// Writes connections as packets of a pcap file: IP without a link layer, times in nanoseconds.
///
/// See the [crate] for an example.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
}

/// A connection in the file.
#[derive(Debug)]
pub struct Recorded {
    client: SocketAddr,
    server: SocketAddr,
    /// Sequence number of the next byte of each side.
    next: [u32; 2],
}

impl<W: Write> Writer<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn new(mut out: W) -> Result<Self, CaptureError> {
        const NANOSECONDS: u32 = 0xa1b2_3c4d;
        const WHOLE_PACKETS: u32 = 262_144;
        let mut header = PcapHeader {
            magic_number: NANOSECONDS,
            snaplen: WHOLE_PACKETS,
            network: Linktype::RAW,
            ..PcapHeader::new()
        };
        out.write_all(&header.to_vec().map_err(impossible)?)?;
        Ok(Self { out })
    }

    /// Opens a connection between two addresses of the same family.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn open(&mut self, client: SocketAddr, server: SocketAddr, time: Duration) -> Result<Recorded, CaptureError> {
        let mut connection = Recorded { client, server, next: [0, 0] };
        self.put(&connection, Side::Client, |tcp| tcp.syn = true, &[], time)?;
        connection.advance(Side::Client, 1);
        self.put(&connection, Side::Server, |tcp| (tcp.syn, tcp.ack) = (true, true), &[], time)?;
        connection.advance(Side::Server, 1);
        self.put(&connection, Side::Client, |tcp| tcp.ack = true, &[], time)?;
        Ok(connection)
    }

    /// Writes bytes that one side sent.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn said(
        &mut self,
        connection: &mut Recorded,
        side: Side,
        bytes: &[u8],
        time: Duration,
    ) -> Result<(), CaptureError> {
        for segment in bytes.chunks(SEGMENT_BYTES) {
            self.put(connection, side, |tcp| (tcp.ack, tcp.psh) = (true, true), segment, time)?;
            connection.advance(side, segment.len());
        }
        Ok(())
    }

    /// Closes a connection.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn close(&mut self, connection: &mut Recorded, time: Duration) -> Result<(), CaptureError> {
        for side in [Side::Client, Side::Server] {
            self.put(connection, side, |tcp| (tcp.ack, tcp.fin) = (true, true), &[], time)?;
            connection.advance(side, 1);
        }
        Ok(())
    }

    /// Returns the underlying writer.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }

    fn put(
        &mut self,
        connection: &Recorded,
        side: Side,
        flags: impl FnOnce(&mut TcpHeader),
        payload: &[u8],
        time: Duration,
    ) -> Result<(), CaptureError> {
        let (from, to) = connection.ends(side);
        let [client, server] = connection.next;
        let (sequence, acknowledged) = if side == Side::Client { (client, server) } else { (server, client) };
        let mut tcp = TcpHeader::new(from.port(), to.port(), sequence, u16::MAX);
        flags(&mut tcp);
        if tcp.ack {
            tcp.acknowledgment_number = acknowledged;
        }
        let packet = PacketBuilder::ip(ip(from, to)?).tcp_header(tcp);
        let mut data = Vec::with_capacity(packet.size(payload.len()));
        packet.write(&mut data, payload).map_err(impossible)?;
        let len = u32::try_from(data.len()).map_err(impossible)?;
        let mut block = LegacyPcapBlock {
            // The format's times end in 2106.
            ts_sec: u32::try_from(time.as_secs()).unwrap_or(u32::MAX),
            ts_usec: time.subsec_nanos(),
            caplen: len,
            origlen: len,
            data: &data,
        };
        self.out.write_all(&block.to_vec().map_err(impossible)?)?;
        Ok(())
    }
}

impl Recorded {
    fn ends(&self, side: Side) -> (SocketAddr, SocketAddr) {
        match side {
            Side::Client => (self.client, self.server),
            Side::Server => (self.server, self.client),
        }
    }

    fn advance(&mut self, side: Side, bytes: usize) {
        // At most one segment's bytes.
        let bytes = u32::try_from(bytes).unwrap_or_default();
        let [client, server] = &mut self.next;
        let next = if side == Side::Client { client } else { server };
        *next = next.wrapping_add(bytes);
    }
}

fn ip(from: SocketAddr, to: SocketAddr) -> Result<IpHeaders, CaptureError> {
    const HOPS: u8 = 64;
    match (from, to) {
        (SocketAddr::V4(from), SocketAddr::V4(to)) => {
            let header =
                Ipv4Header::new(0, HOPS, IpNumber::TCP, from.ip().octets(), to.ip().octets()).map_err(impossible)?;
            Ok(IpHeaders::Ipv4(header, Default::default()))
        }
        (SocketAddr::V6(from), SocketAddr::V6(to)) => {
            let header = Ipv6Header {
                next_header: IpNumber::TCP,
                hop_limit: HOPS,
                source: from.ip().octets(),
                destination: to.ip().octets(),
                ..Ipv6Header::default()
            };
            Ok(IpHeaders::Ipv6(header, Default::default()))
        }
        (from, to) => Err(impossible(format!("{from} and {to} are of different families of addresses"))),
    }
}

/// Wraps an error that our own packets never cause.
fn impossible(error: impl ToString) -> CaptureError {
    CaptureError::Io(io::Error::other(error.to_string()))
}
