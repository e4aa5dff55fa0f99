//! Captured traffic: packets of a pcap file, put together to what each side of each connection said, cut into frames,
//! and each request paired with its response.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use kurier_protocol::{Api, FrameBuffer, ParseErrorKind, RequestHeader, ResponseHeader};
use pcap_parser::{LegacyPcapBlock, PcapBlockOwned, PcapError};

/// A connection, as both sides' bytes.
#[derive(Debug)]
pub struct Connection {
    /// Who opened it.
    pub client: SocketAddr,
    /// Who listened.
    pub server: SocketAddr,
    requests: Direction,
    responses: Direction,
}

/// A request and, if one came, its response.
#[derive(Debug)]
pub struct Exchange {
    /// The request's header.
    pub header: RequestHeader,
    /// Which API.
    pub api: &'static Api,
    /// The request's body.
    pub request: Bytes,
    /// The response's body.
    pub response: Option<Bytes>,
    /// The whole request, without its length.
    pub request_frame: Bytes,
    /// The whole response, without its length.
    pub response_frame: Option<Bytes>,
}

/// One side of a connection: its bytes in order.
#[derive(Debug, Default)]
struct Direction {
    /// The sequence number of the next byte; known from the first packet on.
    next: Option<u32>,
    bytes: Vec<u8>,
    /// Segments that came before those in front of them, by their distance from the first.
    early: BTreeMap<usize, Vec<u8>>,
}

impl Direction {
    /// The first packet of a connection: data begins after its number.
    fn open(&mut self, sequence: u32) {
        self.next = Some(sequence.wrapping_add(1));
    }

    fn take(&mut self, sequence: u32, payload: &[u8]) -> Result<()> {
        let next = self.next.context("a connection that was open before the capture began")?;
        // How far ahead of what is there: wrapping, as sequence numbers are.
        let ahead = sequence.wrapping_sub(next).cast_signed();
        let at = self.bytes.len().checked_add_signed(isize::try_from(ahead)?);
        let Some(at) = at else { return Ok(()) }; // a keep-alive of the byte before the first
        let segment = self.early.entry(at).or_default();
        if payload.len() > segment.len() {
            *segment = payload.to_vec();
        }
        while let Some(segment) = self.early.first_entry() {
            let at = *segment.key();
            if at > self.bytes.len() {
                break;
            }
            let payload = segment.remove();
            // What was there already was sent again.
            let known = self.bytes.len() - at;
            if let Some(fresh) = payload.get(known..) {
                self.bytes.extend_from_slice(fresh);
                self.next = Some(self.next.unwrap_or_default().wrapping_add(u32::try_from(fresh.len())?));
            }
        }
        Ok(())
    }

    fn frames(&self) -> Result<Vec<Bytes>> {
        let mut buffer = FrameBuffer::new(FrameBuffer::DEFAULT_LIMIT_BYTES);
        buffer.extend(&self.bytes);
        let mut frames = Vec::new();
        while let Some(frame) = buffer.next_frame()? {
            frames.push(frame);
        }
        Ok(frames)
    }
}

impl Connection {
    /// All requests of APIs that we speak, in order, each with its response. Others are left out.
    ///
    /// # Errors
    /// When what either side said is not made of frames, or not of requests and responses.
    pub fn exchanges(&self) -> Result<Vec<Exchange>> {
        let mut responses = self.responses.frames()?.into_iter().peekable();
        let mut exchanges = Vec::new();
        for frame in self.requests.frames()? {
            let correlation_id = frame.get(4..8).context("a request without a correlation id")?;
            // Answers come in the order of their requests; acks=0 has none.
            let response = responses.next_if(|response| response.get(..4) == Some(correlation_id));
            let (header, request) = match RequestHeader::read(&frame) {
                Ok(read) => read,
                Err(error) if matches!(error.kind(), ParseErrorKind::UnknownApi(_)) => continue,
                Err(error) => return Err(error.into()),
            };
            let api = Api::of(header.api_key).context("the header has been read")?;
            let read = |frame| ResponseHeader::read(frame, api, header.api_version).map(|(_, body)| body);
            let body = response.as_ref().map(read).transpose()?;
            exchanges.push(Exchange {
                header,
                api,
                request,
                response: body,
                request_frame: frame,
                response_frame: response,
            });
        }
        if responses.next().is_some() {
            bail!("{} answered what {} did not ask", self.server, self.client);
        }
        Ok(exchanges)
    }
}

/// Reads a pcap file into its connections, in the order in which they were opened.
///
/// # Errors
/// When it is no pcap file of Ethernet packets.
pub fn read(pcap: &[u8]) -> Result<Vec<Connection>> {
    let mut connections: Vec<Connection> = Vec::new();
    for packet in packets(pcap)? {
        let Some((from, to, tcp)) = segment(&packet)? else { continue };
        if tcp.syn() && !tcp.ack() {
            let (requests, responses) = Default::default();
            connections.push(Connection { client: from, server: to, requests, responses });
        }
        // The last of those between the same two ports is the one that lives.
        let ours = |connection: &&mut Connection| {
            (connection.client, connection.server) == (from, to) || (connection.client, connection.server) == (to, from)
        };
        let Some(connection) = connections.iter_mut().rev().find(ours) else { continue };
        let direction = if connection.client == from { &mut connection.requests } else { &mut connection.responses };
        if tcp.syn() {
            direction.open(tcp.sequence_number());
        } else if !tcp.payload().is_empty() {
            direction.take(tcp.sequence_number(), tcp.payload())?;
        }
    }
    Ok(connections)
}

fn packets(pcap: &[u8]) -> Result<Vec<Vec<u8>>> {
    const BUFFER_BYTES: usize = 1 << 20;
    let broken = |error| anyhow!("this is no pcap file: {error:?}");
    let mut reader = pcap_parser::create_reader(BUFFER_BYTES, pcap).map_err(|error| broken(format!("{error:?}")))?;
    let mut packets = Vec::new();
    loop {
        match reader.next() {
            Ok((offset, block)) => {
                if let PcapBlockOwned::Legacy(LegacyPcapBlock { data, .. }) = block {
                    packets.push(data.to_vec());
                }
                reader.consume(offset);
            }
            Err(PcapError::Incomplete(_)) => reader.refill().map_err(|error| broken(format!("{error:?}")))?,
            Err(PcapError::Eof) => return Ok(packets),
            Err(error) => bail!(broken(format!("{error:?}"))),
        }
    }
}

/// The TCP segment in a packet, and from where to where it goes; `None` for packets of other kinds.
fn segment(packet: &[u8]) -> Result<Option<(SocketAddr, SocketAddr, etherparse::TcpSlice<'_>)>> {
    let packet = SlicedPacket::from_ethernet(packet)?;
    let (Some(net), Some(TransportSlice::Tcp(tcp))) = (packet.net, packet.transport) else { return Ok(None) };
    let (from, to) = match net {
        NetSlice::Ipv4(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        NetSlice::Ipv6(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        _ => return Ok(None),
    };
    let at = |address: std::net::IpAddr, port| SocketAddr::new(address, port);
    Ok(Some((at(from, tcp.source_port()), at(to, tcp.destination_port()), tcp)))
}
