//! Kafka producer, written from scratch, that reports the true outcome of every record and is fast.
//!
//! [`Producer`] sends records, [`ProducerBuilder`] has the settings, and [`Error`] lists the failures. The [`manual`]
//! describes the architecture, the guarantees, and what to do about each error.
//!
//! # Path of a record
//!
//! ```text
//!  caller's thread (data plane, per record)                control task (core, per batch)            connection task (I/O)
//!  Record ─ Serializer ─ Partitioner ─ Accumulator         Sender ─ ProduceRequest ─ Connections     vectored write ─▶ broker
//!             key, value   from what     append encoded ──▶ leader known, window open; correlation ──▶ header | batch | batch
//!             as bytes     is known      into the open      stamp id, epoch, sequence; id, FIFO                       │
//!                          of the topic  batch              max.request.size                                          ▼
//!  Delivery ◀── one wake-up a batch ◀── Cell ◀───────────── Verdict: written, retry, split, failed ◀── nom ◀── frame ◀┘
//! ```
//!
//! The sending thread serialises a record, chooses its partition, and encodes it into the partition's open batch
//! (`accumulator`). A single-threaded state machine without I/O (`core`) schedules batches and interprets responses; it
//! handles batches, never records. Only `driver` touches sockets, clocks and tasks.

mod builder;
pub mod credentials;
mod driver;
mod handle;
pub mod manual;
#[cfg(all(test, shuttle))]
mod models;
mod partitioning;
mod parts;
mod producer;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

pub use builder::ProducerBuilder;
pub use driver::security::{ConnectionSecurity, Login, LoginError, SecureStream, Ticket};
pub use kurier_compression::CompressionType;
pub use kurier_engine::closing::{Summary, Uncalled, Undelivered, Unfinished};
pub use kurier_engine::config::{
    Acks, Config, Explained, HostPort, InvalidHostPort, Origin, PartitionerChoice, SecurityProtocol,
};
pub use kurier_engine::delivery::Delivery;
pub use kurier_engine::error::{Error, ErrorKind, SendError, Stage, Written};
pub use kurier_engine::record::{Record, RecordMetadata};
pub use kurier_engine::serializer::{
    BoxError, BytesSerializer, IntegerSerializer, Part, Serialize, Serializer, StringSerializer, Unset,
};
pub use kurier_partitioner as partitioner;
pub use kurier_protocol::ErrorCode;
pub use kurier_security::Secret;
#[cfg(feature = "tls")]
pub use kurier_security::tls;
pub use producer::{Producer, TopicProducer};
