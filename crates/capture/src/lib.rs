//! Captured Kafka traffic: reads the files of tcpdump, Wireshark or a relay as requests, responses and records, and
//! writes such files.
//!
//! ```text
//! a file      packets, of whatever link                                pcap        by pcap-parser and etherparse
//! a segment   who to whom, a sequence number, some bytes               stream      in order, each once, holes known
//! a stream    what one side of a connection said                       frames      each behind its length
//! frames      requests, and the response to each                       connection  paired by correlation id
//! a frame     header and body, read, shown as JSON, written again      frame       by kurier-protocol
//! ```
//!
//! # Reading
//!
//! A [`Reader`] returns the frames of all connections, ordered by the capture time of their last bytes. Reading
//! continues past anything unknown or missing. A frame of an unknown API or version stays as raw bytes. Gaps in a
//! capture (a missing beginning, lost packets) cost only the frames that they cut.
//!
//! ```no_run
//! use std::fs::File;
//!
//! use kurier_capture::Reader;
//!
//! let mut reader = Reader::new(File::open("trouble.pcap")?)?;
//! while let Some(frame) = reader.next() {
//!     println!("{}", frame?.json(false));
//! }
//! eprintln!("{} bytes belong to no frame", reader.skipped_bytes());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Writing
//!
//! A [`Writer`] turns a relay's traffic into a file that looks as if captured off the wire; Wireshark can open it.
//!
//! ```
//! use std::time::Duration;
//!
//! use kurier_capture::{Reader, Side, Writer};
//!
//! let mut file = Vec::new();
//! let mut writer = Writer::new(&mut file)?;
//! let mut connection = writer.open("10.0.0.7:40000".parse()?, "10.0.0.1:9092".parse()?, Duration::from_secs(1))?;
//! // ApiVersions v0, without a client id.
//! let request = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];
//! writer.said(&mut connection, Side::Client, &request, Duration::from_secs(2))?;
//! writer.close(&mut connection, Duration::from_secs(3))?;
//!
//! let frames = Reader::new(&file[..])?.collect::<Result<Vec<_>, _>>()?;
//! assert_eq!(frames.len(), 1);
//! assert_eq!(frames[0].json(false)["api"], "ApiVersions");
//! assert_eq!(frames[0].json(false)["correlationId"], 7);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Secrets
//!
//! The JSON masks SASL tokens, and the bytes of messages that may contain passwords or tokens but cannot be read, unless
//! you ask for them. The file contains them all the same, unless its writer calls [`zeroed()`] for each frame.

#![warn(clippy::indexing_slicing, clippy::unwrap_used, reason = "what came off a wire must not end the process")]

pub mod batches;
mod connection;
mod error;
mod frame;
mod frames;
mod pcap;
mod reader;
mod secrets;
mod stream;
mod writer;
mod zeroed;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

pub use error::CaptureError;
pub use frame::{Content, Frame, Head, Side, Unread};
pub use reader::Reader;
pub use secrets::{body, is_confidential};
pub use writer::{Recorded, Writer};
pub use zeroed::zeroed;
