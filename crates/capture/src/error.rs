//! A capture that cannot be read or written.

use std::io;

use thiserror::Error;

/// Why a capture cannot be read, or not any further, or not be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The file is neither pcap nor pcapng.
    #[error(
        "this is no capture: neither pcap nor pcapng ({reason}); tcpdump -w, Wireshark and kurier capture write them"
    )]
    NotACapture {
        /// What the reader of such files said.
        reason: String,
    },
    /// The file is damaged from some packet on.
    #[error("the capture is damaged behind its packet {packets}: {reason}")]
    Damaged {
        /// How many packets were read before.
        packets: u64,
        /// What the reader of such files said.
        reason: String,
    },
    /// Packets are of a link whose headers are not known here.
    #[error(
        "the capture is of a link of type {0}, which is not known here; capture on Ethernet, loopback or any (tcpdump -i any)"
    )]
    UnknownLink(i32),
    /// The file cannot be written.
    #[error("the capture cannot be written: {0}")]
    Io(#[from] io::Error),
}
