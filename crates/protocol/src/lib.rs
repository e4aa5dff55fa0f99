//! Kafka's wire protocol, as much of it as a producer needs, without I/O: bytes in, messages out, and back.
//!
//! # The wire on a page
//!
//! ```text
//! a connection   [length: int32][frame] [length: int32][frame] …                    FrameBuffer
//! a request      [api key, version, correlation id, client id][body]                RequestHeader, Message
//! its response   [correlation id][body]                                             ResponseHeader, Message
//! a body         fields in the order of its schema; its version says which          messages::*
//! record data    [61 bytes of header][records] …                                    record_batch
//! ```
//!
//! Requests may follow one another without waiting; the broker answers in their order. All integers are big-endian.
//!
//! **Versions.** A message has changed over the years; client and broker agree on a version of each API by
//! [`ApiVersionsRequest`](messages::ApiVersionsRequest). One structure serves all versions: a field that the version in
//! use does not have holds its default.
//!
//! **Flexible versions** (KIP-482) are the later ones of each API. Their lengths are compact (a varint of one more than
//! the length, 0 being null), and each structure ends in **tagged fields**, which a reader that does not know them skips.
//!
//! **Null** is not empty: where a field may be null, its type is an `Option`, and nothing else is.
//!
//! # In a program: reading and writing a message
//!
//! ```
//! use bytes::Bytes;
//! use kurier_protocol::messages::metadata::MetadataRequestTopic;
//! use kurier_protocol::messages::{MetadataRequest, MetadataResponse};
//! use kurier_protocol::{FrameBuffer, Message, RequestHeader, read_response, write_request, write_response};
//!
//! // The client asks who leads the partitions of "orders".
//! let topic = MetadataRequestTopic { name: Some("orders".to_owned()), ..Default::default() };
//! let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
//! let mut wire = Vec::new();
//! write_request(&request, 12, 1, Some("kurier"), &mut wire)?;
//!
//! // The broker finds the frame in its bytes, however they came, and reads it.
//! let mut buffer = FrameBuffer::new(FrameBuffer::DEFAULT_LIMIT_BYTES);
//! buffer.extend(&wire);
//! let frame = buffer.next_frame()?.expect("it is all there");
//! let (header, body) = RequestHeader::read(&frame)?;
//! assert_eq!((header.api_key, header.api_version, header.correlation_id), (3, 12, 1));
//! assert_eq!(MetadataRequest::read(&body, header.api_version)?, request);
//!
//! // Its answer bears the same number.
//! let mut answer = Vec::new();
//! write_response(&MetadataResponse::default(), header.api_version, header.correlation_id, &mut answer)?;
//! let frame = Bytes::from(answer).slice(4..);
//! assert_eq!(read_response::<MetadataRequest>(&frame, 12)?, (1, MetadataResponse::default()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A program that learns key and version only from the wire, or from its user, goes by the table [`APIS`].
//!
//! # Batches
//!
//! [`record_batch`] builds them in place and reads them lazily. Compression is not this crate's: a sealed batch gives
//! its body to a codec and takes the result (`kurier-compression` shows how).
//!
//! # Under a fuzzer
//!
//! A reader is a function of bytes and a version: no socket, no state, no clock. A target for your own program (a proxy,
//! say) needs no more than this; `fuzz/` of this workspace has one for every reader.
//!
//! ```
//! use bytes::Bytes;
//! use kurier_protocol::APIS;
//!
//! // Under cargo-fuzz: libfuzzer_sys::fuzz_target!(|data: &[u8]| target(data));
//! fn target(data: &[u8]) {
//!     let [api, version, body @ ..] = data else { return };
//!     let api = &APIS[usize::from(*api) % APIS.len()];
//!     let Ok(message) = api.response().read(&Bytes::copy_from_slice(body), i16::from(*version)) else { return };
//!     // What was read can be written: in the shortest form, which is no longer than what came.
//!     let mut written = Vec::new();
//!     message.write(i16::from(*version), &mut written).unwrap();
//!     assert!(written.len() <= body.len());
//! }
//!
//! target(b"\x06\x00\x00\x23\x00\x00\x00\x01\x00\x12\x00\x00\x00\x04"); // ApiVersions v0: error 35, and what it speaks
//! target(b"\x03\x03\x00\x00\x00\x00\x7f\xff\xff\xff"); // eight bytes that claim two thousand million brokers
//! ```
//!
//! # Against captured traffic
//!
//! What a client said once, a test can read for ever. The frames come from a file of tcpdump, Wireshark or
//! `kurier capture`, by the crate `kurier-capture`, or stand in the test, as this one of franz-go 1.22.2 does.
//!
//! ```
//! use bytes::Bytes;
//! use kurier_protocol::{Api, RequestHeader};
//!
//! let frame = Bytes::from_static(b"\0\x12\0\x04\0\0\0\x01\0\x03kgo\0\x04kgo\x08v1.22.2\0");
//! let (header, body) = RequestHeader::read(&frame)?;
//! let api = Api::of(header.api_key).expect("an API of clients");
//! assert_eq!((api.name(), header.api_version, header.client_id.as_deref()), ("ApiVersions", 4, Some("kgo")));
//!
//! let request = api.request().read(&body, header.api_version)?;
//! let mut again = Vec::new();
//! header.write(&mut again)?;
//! request.write(header.api_version, &mut again)?;
//! assert_eq!(again, frame, "every client of our captures writes as this crate does, byte for byte");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What comes from a wire is not trusted
//!
//! Every reader returns an error, with message, version, byte and field, for any bytes that are not exactly one message:
//! cut short, too long, counts and lengths that the input cannot hold, null or bad UTF-8 where it must not be, tags out
//! of order. A claimed length allocates nothing before its bytes are there: no input of under 64 bytes makes a reader
//! allocate more than 128 KiB, most of it the room of a [`FrameBuffer`]. A frame's limit is the caller's.
//!
//! The arrays of a message may take eight times its bytes of memory and 64 KiB, no more.
//!
//! What the values mean is not looked at here. Left to who acts on them: ApiVersions whose lowest version is above the
//! highest, or that name a key twice; Metadata with negative ids, impossible ports, empty or unprintable hosts, leaders
//! that are no brokers, more partitions than one would serve; offsets below -1; producer ids and epochs below 0;
//! partitions in an answer that were not asked for, or are missing from it; control characters in a name that goes into a
//! log.
//!
//! # How it is known to be right
//!
//! * Bodies of every version that the Java client wrote are read, compared with the JSON that the Java client printed,
//!   and written again: the same bytes (`make golden`). Cut anywhere they are errors; altered anywhere they never panic.
//! * The tables of fields ([`schema`]), from which readers and writers come, equal the descriptors inside the
//!   kafka-clients jar (`make schema`).
//! * An implementation made by others, the kafka-protocol crate, agrees on arbitrary messages (`make oracle`).
//! * Our batches are read by the Java client, and captured batches of seven clients by us (`make java`,
//!   `make captures-read`).
//! * Fuzzers feed every reader (`make fuzz`).
//!
//! # Features
//!
//! `json`: [`Message::json`] shows a message as Kafka's tools print it.

#![warn(clippy::indexing_slicing, clippy::unwrap_used, reason = "what came off a wire must not end the process")]

mod api;
mod compression_type;
mod error;
mod error_code;
mod frame;
mod header;
#[cfg(feature = "json")]
mod json;
mod message;
pub mod messages;
mod put;
pub mod record_batch;
mod records;
pub mod schema;
mod secret;
mod uuid;
mod varint;
mod wire;

pub use api::{APIS, AnyMessage, Api, Direction};
pub use compression_type::{CompressionType, UnknownCompression};
pub use error::{EncodeError, EncodeErrorKind, ParseError, ParseErrorKind};
pub use error_code::{ErrorCode, Reaction};
pub use frame::{FrameBuffer, FrameError, read_response, write_request, write_response};
pub use header::{RequestHeader, ResponseHeader};
pub use message::{Message, Request};
pub use put::{Chunks, Put};
pub use records::Records;
pub use secret::Secret;
pub use uuid::{InvalidUuid, Uuid};
