//! Engine of the Kafka producer `kurier`: everything between a record and a request, and nothing that waits.
//!
//! ```text
//!  Record ─▶ Accumulator ─ batches ─▶ Core ─ Action ─▶ your driver: sockets, clock, threads
//!                                      ▲                    │
//!                                      └────── Input ◀──────┘
//! ```
//!
//! The [`accumulator`] encodes records into batches. The [`core`] is a state machine: a driver passes it each
//! [`Input`](core::Input) with the time, and carries out each [`Action`](core::Action). [`local_actions`] carries out the
//! actions that need no network. The crate has no socket, no task and no clock, so a test decides what happens and when.
//!
//! The crate `kurier` is the driver for production: use that to send records. Use this crate to test against the
//! producer's own engine. Its items may change with any minor version.

#[allow(missing_docs, reason = "each doc names the fields beside it")]
pub mod accumulator;
pub mod closing;
#[allow(missing_docs, reason = "each doc names the fields beside it")]
pub mod codecs;
pub mod config;
#[allow(missing_docs, reason = "each doc names the fields beside it")]
pub mod core;
pub mod delivery;
pub mod error;
pub mod fault_injection;
#[allow(missing_docs, reason = "each doc names the fields beside it")]
pub mod local_actions;
pub mod record;
pub mod serializer;
#[doc(hidden)]
pub mod sync;
#[allow(missing_docs, reason = "each doc names the fields beside it")]
pub mod test_driver;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

pub use closing::{Summary, Uncalled, Undelivered, Unfinished};
pub use config::{Acks, Config, Explained, HostPort, InvalidHostPort, PartitionerChoice};
pub use delivery::Delivery;
pub use error::{Error, ErrorKind, SendError, Stage, Written};
pub use kurier_compression::CompressionType;
pub use kurier_protocol::ErrorCode;
pub use record::{Record, RecordMetadata};
