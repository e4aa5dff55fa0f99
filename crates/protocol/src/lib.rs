//! The part of Kafka's wire protocol that a producer needs, without I/O: reads and writes messages.
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
//! A client may send requests without waiting; the broker answers in order. All integers are big-endian.
//!
//! **Versions.** Messages have changed over the years. Client and broker agree on a version of each API by
//! [`ApiVersionsRequest`](messages::ApiVersionsRequest). One structure serves all versions: a field that the version
//! does not have holds its default.
//!
//! **Flexible versions** (KIP-482) are the later versions of each API. Their lengths are compact (a varint of the
//! length plus one; 0 is null). Each structure ends in **tagged fields**; a reader skips those that it does not know.
//!
//! **Null** is not empty: a field has an `Option` type if and only if it may be null.
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
//! assert_eq!((header.api_key, header.api_version, header.correlation_id.0), (3, 12, 1));
//! assert_eq!(MetadataRequest::read(&body, header.api_version)?, request);
//!
//! // Its answer bears the same number.
//! let mut answer = Vec::new();
//! write_response(&MetadataResponse::default(), header.api_version, header.correlation_id, &mut answer)?;
//! let frame = Bytes::from(answer).slice(4..);
//! assert_eq!(read_response::<MetadataRequest>(&frame, 12)?, (1.into(), MetadataResponse::default()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A program that takes key and version from the wire or from a user uses the table [`APIS`].
//!
//! # Batches
//!
//! [`record_batch`] builds batches in place and reads them lazily. Another crate compresses: a sealed batch gives its
//! body to a codec and takes the result (`kurier-compression` shows how).
//!
//! # Under a fuzzer
//!
//! A reader is a function of bytes and a version, without socket, state or clock. A fuzz target for your own program
//! (such as a proxy) needs only this; `fuzz/` of this workspace has a target for every reader.
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
//!     // A message that was read can be written, and in its shortest form, so it is not longer than the input.
//!     let mut written = Vec::new();
//!     message.write(i16::from(*version), &mut written).unwrap();
//!     assert!(written.len() <= body.len());
//! }
//!
//! target(b"\x06\x00\x00\x23\x00\x00\x00\x01\x00\x12\x00\x00\x00\x04"); // ApiVersions v0: error 35, and its versions
//! target(b"\x03\x03\x00\x00\x00\x00\x7f\xff\xff\xff"); // eight bytes that claim two thousand million brokers
//! ```
//!
//! # Against captured traffic
//!
//! Tests can read captured traffic. The crate `kurier-capture` reads files of tcpdump, Wireshark and `kurier capture`;
//! short frames can be in the test itself, like this one of franz-go 1.22.2.
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
//! # Untrusted input
//!
//! Every reader returns an error, with message, version, byte and field, unless the bytes are exactly one message.
//! Errors are truncated or trailing bytes, counts and lengths beyond the input, forbidden nulls, invalid UTF-8, and
//! tags out of order. A claimed length allocates nothing before its bytes have arrived: for an input of under 64 bytes,
//! a reader allocates at most 128 KiB, most of it the room of a [`FrameBuffer`]. The caller sets a frame's limit.
//!
//! The arrays of a message may take at most 64 KiB plus eight times the message's size in memory.
//!
//! Readers do not check the meaning of values. Callers must check these:
//!
//! - ApiVersions with a lowest version above the highest, or with a repeated key
//! - Metadata with negative ids, invalid ports, empty or unprintable hosts, unknown leaders, or too many partitions
//! - offsets below -1; producer ids and epochs below 0
//! - partitions in a response that are missing or were not requested
//! - control characters in names, before they are logged
//!
//! # How it is tested
//!
//! * Bodies of every version that the Java client wrote are read, compared with the Java client's JSON, and written
//!   again with the same bytes (`make golden`). Truncated bodies are errors; altered bodies never cause a panic.
//! * The field tables ([`schema`]), which generate readers and writers, equal the descriptors in the kafka-clients jar
//!   (`make schema`).
//! * An independent implementation, the kafka-protocol crate, agrees on arbitrary messages (`make oracle`).
//! * The Java client reads our batches, and this crate reads captured batches of seven clients (`make java`,
//!   `make captures-read`).
//! * Fuzzers test every reader (`make fuzz`).
//!
//! # Features
//!
//! `json`: [`Message::json`] prints a message as Kafka's tools do.

#![warn(clippy::indexing_slicing, clippy::unwrap_used, reason = "what came off a wire must not end the process")]

mod api;
mod compression_type;
mod context;
mod error;
mod error_code;
mod field;
mod frame;
mod header;
mod ids;
#[cfg(feature = "json")]
mod json;
mod message;
pub mod messages;
mod names;
mod put;
pub mod record_batch;
mod records;
pub mod schema;
mod secret;
mod uuid;
mod varint;
mod wire;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

pub use api::{APIS, AnyMessage, Api, Direction};
pub use compression_type::{CompressionType, UnknownCompression};
pub use error::{EncodeError, EncodeErrorKind, ParseError, ParseErrorKind};
pub use error_code::{ErrorCode, Reaction};
pub use frame::{FrameBuffer, FrameError, read_response, write_request, write_response};
pub use header::{RequestHeader, ResponseHeader};
pub use ids::{CorrelationId, NodeId, PartitionIndex};
pub use message::{Message, Request};
pub use put::{Chunks, Put};
pub use records::Records;
pub use secret::Secret;
pub use uuid::{InvalidUuid, Uuid};
