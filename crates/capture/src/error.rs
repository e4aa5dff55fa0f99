//! Errors in reading and writing captures.

use std::io;

use thiserror::Error;

/// Reason why a capture cannot be read, read further, or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The file is neither pcap nor pcapng.
    #[error(
        "this is no capture: neither pcap nor pcapng ({reason}); tcpdump -w, Wireshark and kurier capture write them"
    )]
    NotACapture {
        /// The parser's message.
        reason: String,
    },
    /// The file is damaged after some packets.
    #[error("the capture is damaged behind its packet {packets}: {reason}")]
    Damaged {
        /// Number of packets read before.
        packets: u64,
        /// The parser's message.
        reason: String,
    },
    /// The packets have an unknown link type.
    #[error(
        "the capture is of a link of type {0}, which is not known here; capture on Ethernet, loopback or any (tcpdump -i any)"
    )]
    UnknownLink(i32),
    /// The file cannot be written.
    #[error("the capture cannot be written: {0}")]
    Io(#[from] io::Error),
}
