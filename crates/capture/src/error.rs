//! Errors in reading and writing captures.

use std::io;

use thiserror::Error;

/// Reason why a capture cannot be read, read further, or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The file is neither pcap nor pcapng.
    #[error(
        "the file is not a capture: neither pcap nor pcapng ({reason}); tcpdump -w, Wireshark and kurier capture write such files"
    )]
    NotACapture {
        /// The parser's message.
        reason: String,
    },
    /// The file is damaged after some packets.
    #[error("the capture is damaged after packet {packets}: {reason}")]
    Damaged {
        /// Number of packets read before.
        packets: u64,
        /// The parser's message.
        reason: String,
    },
    /// The packets have an unknown link type.
    #[error("the capture has the unknown link type {0}; capture on Ethernet, loopback or any (tcpdump -i any)")]
    UnknownLink(i32),
    /// The file cannot be written.
    #[error("cannot write the capture")]
    Io(#[from] io::Error),
}
