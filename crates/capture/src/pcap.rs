//! Reader of capture files: finds packets, and the TCP segment in each.

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TransportSlice};
use pcap_parser::data::{PacketData, get_packetdata};
use pcap_parser::traits::PcapReaderIterator;
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError};

use crate::error::CaptureError;

/// Initial size of the reader's buffer.
const BUFFER_BYTES: usize = 64 << 10;

/// Largest size of the buffer, and so of a block. tcpdump writes packets of up to 256 KiB.
const BLOCK_BYTES_MAX: usize = 16 << 20;

/// A section with more interfaces counts as damaged.
const INTERFACES_MAX: usize = 1024;

/// Type of the first block of a pcapng file: the same in both byte orders.
const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// Type of a block about a process.
const PROCESS: u32 = 0x8000_0001;

/// A part of one side's stream.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Time since 1970.
    pub(crate) time: Duration,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) sequence: u32,
    /// Whether this is the first segment of its side.
    pub(crate) syn: bool,
    /// Whether the segment acknowledges another.
    pub(crate) ack: bool,
    pub(crate) payload: Vec<u8>,
}

/// Iterator over the TCP segments of a file.
pub(crate) struct Segments<'a> {
    reader: Box<dyn PcapReaderIterator + Send + 'a>,
    /// Whether the file is pcapng.
    is_ng: bool,
    buffer_bytes: usize,
    interfaces: Vec<Interface>,
    packets: u64,
    is_cut: bool,
}

/// A network interface of the capture.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link: Linktype,
    /// Clock ticks per second.
    ticks_per_second: u64,
    /// Seconds to add to its timestamps.
    offset: i64,
}

/// Kind of the next data in the file.
enum Found {
    Nothing,
    Segment(Segment),
    Interface(Interface),
    /// A new section, which counts interfaces from 0 again.
    Section,
    /// An incomplete block.
    More,
    /// An incomplete block that exceeds the buffer.
    Large,
    /// An incomplete block at the end of the file.
    Cut,
    /// Data that is no block.
    Damage(String),
}

impl<'a> Segments<'a> {
    pub(crate) fn new(file: impl Read + Send + 'a) -> Result<Self, CaptureError> {
        let reader = pcap_parser::create_reader(BUFFER_BYTES, file)
            .map_err(|error| CaptureError::NotACapture { reason: said(&error) })?;
        let is_ng = reader.data().starts_with(&SECTION_HEADER);
        Ok(Self { reader, is_ng, buffer_bytes: BUFFER_BYTES, interfaces: Vec::new(), packets: 0, is_cut: false })
    }

    /// Whether the file ends inside a packet, for example after a killed tcpdump.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    pub(crate) fn next(&mut self) -> Result<Option<Segment>, CaptureError> {
        loop {
            if self.is_ng && is_short_process(self.reader.data()) {
                return Err(self.damaged("a block that is shorter than its own header".to_owned()));
            }
            let (used, found) = match self.reader.next() {
                Ok((used, block)) => (used, found(&block, &self.interfaces)?),
                Err(PcapError::Eof) => return Ok(None),
                Err(PcapError::UnexpectedEof) => (0, Found::Cut),
                Err(PcapError::Incomplete(_)) => (0, Found::More),
                Err(PcapError::BufferTooSmall) => (0, Found::Large),
                Err(error) => (0, Found::Damage(said(&error))),
            };
            self.reader.consume(used);
            match found {
                Found::Nothing => self.packets += 1,
                Found::Segment(segment) => {
                    self.packets += 1;
                    return Ok(Some(segment));
                }
                Found::Interface(_) if self.interfaces.len() == INTERFACES_MAX => {
                    return Err(self.damaged(format!("more than {INTERFACES_MAX} interfaces")));
                }
                Found::Interface(interface) => self.interfaces.push(interface),
                Found::Section => self.interfaces.clear(),
                Found::Large => self.make_room()?,
                Found::More if !self.reader.reader_exhausted() => self.refill()?,
                Found::More | Found::Cut => {
                    self.is_cut = true;
                    return Ok(None);
                }
                Found::Damage(reason) => return Err(self.damaged(reason)),
            }
        }
    }

    fn refill(&mut self) -> Result<(), CaptureError> {
        let reason = match self.reader.refill() {
            Ok(()) => return Ok(()),
            Err(error) => said(&error),
        };
        Err(self.damaged(reason))
    }

    fn make_room(&mut self) -> Result<(), CaptureError> {
        self.buffer_bytes = self.buffer_bytes.saturating_mul(2);
        if self.buffer_bytes > BLOCK_BYTES_MAX || !self.reader.grow(self.buffer_bytes) {
            return Err(self.damaged(format!("a block of more than {BLOCK_BYTES_MAX} bytes")));
        }
        self.refill()
    }

    fn damaged(&self, reason: String) -> CaptureError {
        CaptureError::Damaged { packets: self.packets, reason }
    }
}

/// Whether the next block is a process block with an impossible length. pcap-parser 0.17.0 panics on it, because it
/// subtracts an assumed size from the length.
fn is_short_process(data: &[u8]) -> bool {
    const HEADER_BYTES: u32 = 16;
    let Some((head, _)) = data.split_first_chunk::<8>() else { return false };
    let [a, b, c, d, len @ ..] = *head;
    let kind = [a, b, c, d];
    (u32::from_le_bytes(kind) == PROCESS && u32::from_le_bytes(len) < HEADER_BYTES)
        || (u32::from_be_bytes(kind) == PROCESS && u32::from_be_bytes(len) < HEADER_BYTES)
}

/// Returns the reason, without the bytes that pcap-parser adds.
fn said(error: &PcapError<&[u8]>) -> String {
    match error {
        PcapError::NomError(_, kind) | PcapError::OwnedNomError(_, kind) => kind.description().to_owned(),
        PcapError::Eof => "it is empty".to_owned(),
        other => other.to_string(),
    }
}

fn found(block: &PcapBlockOwned<'_>, interfaces: &[Interface]) -> Result<Found, CaptureError> {
    const NANOS: u64 = 1_000_000_000;
    const MICROS: u64 = 1_000_000;
    let (interface, ticks, data) = match block {
        PcapBlockOwned::LegacyHeader(header) => {
            let ticks_per_second = if header.is_nanosecond_precision() { NANOS } else { MICROS };
            return Ok(Found::Interface(Interface { link: header.network, ticks_per_second, offset: 0 }));
        }
        PcapBlockOwned::Legacy(packet) => {
            let Some(interface) = interfaces.first() else { return Ok(Found::Nothing) };
            let ticks = u64::from(packet.ts_sec) * interface.ticks_per_second + u64::from(packet.ts_usec);
            (interface, ticks, packet.data)
        }
        PcapBlockOwned::NG(Block::SectionHeader(_)) => return Ok(Found::Section),
        PcapBlockOwned::NG(Block::InterfaceDescription(description)) => {
            return Ok(Found::Interface(Interface {
                link: description.linktype,
                ticks_per_second: description.ts_resolution().unwrap_or(MICROS).max(1),
                offset: description.ts_offset(),
            }));
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
            let at = usize::try_from(packet.if_id).unwrap_or(usize::MAX);
            let Some(interface) = interfaces.get(at) else { return Ok(Found::Nothing) };
            let ticks = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
            (interface, ticks, packet.data)
        }
        PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
            let Some(interface) = interfaces.first() else { return Ok(Found::Nothing) };
            (interface, 0, packet.data)
        }
        PcapBlockOwned::NG(_) => return Ok(Found::Nothing),
    };
    let seconds = (ticks / interface.ticks_per_second).saturating_add_signed(interface.offset);
    let part = u128::from(ticks % interface.ticks_per_second) * u128::from(NANOS);
    let nanos = u32::try_from(part / u128::from(interface.ticks_per_second)).unwrap_or_default();
    Ok(segment(interface.link, data, Duration::new(seconds, nanos))?.map_or(Found::Nothing, Found::Segment))
}

/// Returns the segment in a packet; `None` if it has none or its headers are incomplete.
fn segment(link: Linktype, data: &[u8], time: Duration) -> Result<Option<Segment>, CaptureError> {
    const KNOWN: [Linktype; 7] = [
        Linktype::ETHERNET,
        Linktype::NULL,
        Linktype::RAW,
        Linktype::LINUX_SLL,
        Linktype::LINUX_SLL2,
        Linktype::IPV4,
        Linktype::IPV6,
    ];
    if !KNOWN.contains(&link) {
        return Err(CaptureError::UnknownLink(link.0));
    }
    let packet = match get_packetdata(data, link, data.len()) {
        Some(PacketData::L2(frame)) => LaxSlicedPacket::from_ethernet(frame).ok(),
        Some(PacketData::L3(kind, packet)) => Some(LaxSlicedPacket::from_ether_type(EtherType(kind), packet)),
        _ => None,
    };
    let Some(packet) = packet else { return Ok(None) };
    let (Some(net), Some(TransportSlice::Tcp(tcp))) = (packet.net, packet.transport) else { return Ok(None) };
    let (from, to): (IpAddr, IpAddr) = match net {
        LaxNetSlice::Ipv4(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        LaxNetSlice::Ipv6(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        LaxNetSlice::Arp(_) => return Ok(None),
    };
    Ok(Some(Segment {
        time,
        from: SocketAddr::new(from, tcp.source_port()),
        to: SocketAddr::new(to, tcp.destination_port()),
        sequence: tcp.sequence_number(),
        syn: tcp.syn(),
        ack: tcp.ack(),
        payload: tcp.payload().to_vec(),
    }))
}
