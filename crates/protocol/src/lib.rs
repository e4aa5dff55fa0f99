//! Kafka's wire on a page.
mod api;
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
mod uuid;
mod varint;
mod wire;

pub use api::{APIS, Api, Body, Direction};
pub use error::{EncodeError, EncodeErrorKind, ParseError, ParseErrorKind};
pub use error_code::{ErrorCode, Reaction};
pub use frame::{FrameBuffer, FrameError, write_request, write_response};
pub use header::{RequestHeader, ResponseHeader};
pub use message::{Message, Request};
pub use put::{Chunks, Put};
pub use records::Records;
pub use uuid::{InvalidUuid, Uuid};
