//! A Kafka cluster in memory: real sockets, leaders, `min.insync.replicas`, sequences, and scripted faults.
//!
//! Use it for quick starts without a Kafka installation, and to test code that writes to Kafka. A cluster starts in
//! less than a millisecond, on free ports, inside your process. Dropping it stops it. The command `kurier broker` runs
//! the same cluster as a program.
//!
//! # Quick start
//!
//! ```
//! use kurier_broker::Broker;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let broker = Broker::start().await?;
//! // What a client is told as `bootstrap.servers`. Topics come to be as they are asked for.
//! assert!(broker.bootstrap_servers().starts_with("127.0.0.1:"));
//! # Ok(())
//! # }
//! ```
//!
//! # In tests
//!
//! A test describes the cluster, injects faults, and checks the written records.
//!
//! ```
//! use kurier_broker::{Broker, Fault, FaultKind, TopicSettings};
//! use kurier_protocol::ErrorCode;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let strict = TopicSettings { min_insync_replicas: 2, ..TopicSettings::default() };
//! let broker = Broker::builder().nodes(3).topic_with("orders", 6, strict).start().await?;
//!
//! // The next batch is written, but its response is lost.
//! broker.add_fault(Fault::new("Produce", FaultKind::CloseAfter));
//! // Then node 2 becomes the leader of partition 0, and stops.
//! broker.with_cluster(|cluster| cluster.move_leader("orders", 0, 2))?;
//! broker.stop_node(2);
//! assert_eq!(broker.with_cluster(|cluster| cluster.leader("orders", 0)), Some(1.into()));
//! broker.start_node(2).await?;
//!
//! // Here the client under test would have written.
//! let log = broker.with_cluster(|cluster| cluster.log("orders", 0));
//! assert_eq!(log, Some(vec![]));
//! # Ok(())
//! # }
//! ```
//!
//! To use your own (for example simulated) network, use [`Cluster`] alone: it has neither sockets nor a clock.
//!
//! # Under a fuzzer
//!
//! [`Cluster::handle`] takes a frame and a time and returns the reply, so a fuzzer can feed it thousands of inputs a
//! second.
//!
//! ```
//! use bytes::Bytes;
//! use kurier_broker::{Cluster, ClusterSettings};
//!
//! // Under cargo-fuzz: libfuzzer_sys::fuzz_target!(|data: &[u8]| target(data));
//! fn target(data: &[u8]) {
//!     let mut cluster = Cluster::new(ClusterSettings::default());
//!     let _ = cluster.handle(1, &Bytes::copy_from_slice(data), 1_700_000_000_000, false);
//! }
//!
//! target(b"\0\x12\0\x04\0\0\0\x01\xff\xff\0");
//! target(b"GET / HTTP/1.1");
//! ```
//!
//! # Against captured traffic
//!
//! You can replay a client's captured requests to this cluster; `kurier-capture` reads the file. First create the
//! captured topics, with their ids if the client uses ids ([`Cluster::set_topic_id`]), and set the captured producer id
//! ([`Cluster::set_next_producer_id`]).
//!
//! ```
//! use std::fs::File;
//!
//! use kurier_broker::{Cluster, ClusterSettings, TopicSettings};
//! use kurier_capture::{Reader, Side};
//!
//! # let captures = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/captures");
//! let file = File::open(format!("{captures}/rskafka-0.6.0_kafka-4.3.1_none.pcap"))?;
//! let mut cluster = Cluster::new(ClusterSettings::default());
//! cluster.create_topic("rskafka", 3, TopicSettings::default())?;
//! for frame in Reader::new(file)? {
//!     let frame = frame?;
//!     if frame.side == Side::Client {
//!         let _ = cluster.handle(1, &frame.bytes, frame.time.as_millis().try_into()?, false);
//!     }
//! }
//! let batches: usize = (0..3).filter_map(|partition| cluster.log("rskafka", partition)).map(|log| log.len()).sum();
//! assert!(batches > 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Structure
//!
//! ```text
//!            server                        calls                       one file an API
//!  socket ──────────────▶ Cluster::handle ─────────────────▶ handle ───────────────────────────────┐
//!            frame, time                   header, version,            fields, by the reader        ▼
//!                                          fault                                                 cluster  leaders, replicas
//!                                                                                                   │     in sync, topics
//!  socket ◀──────────────────── Reply ◀─────────────────────────────── ◀────────────────────────── log   batches, producers
//!            bytes, later, never           frame                       answer, by kurier-protocol   │
//!                                                                                                 batch   checksum, records
//! ```
//!
//! This crate reads requests and batches with cursors of its own, by the offsets of their fields: code shared with the
//! client would share the client's mistakes. [`kurier_protocol`] writes the answers; its tests compare every message
//! with Kafka's.
//!
//! # Supported APIs
//!
//! | API | versions | |
//! |---|---|---|
//! | Produce | 3 to 13 | acks 0, 1 and all, topic names and ids, every codec in the build |
//! | InitProducerId | 0 to 5 | for idempotent producers |
//! | Metadata | 0 to 13 | creates missing topics, if allowed |
//! | CreateTopics | 2 to 7 | with the configurations of [`TopicSettings`]; ignores others |
//! | Fetch | 4 to 12 | waits for records; keeps no sessions, which readers do not need |
//! | ListOffsets | 1 to 8 | first, last, newest, by timestamp |
//! | ApiVersions, FindCoordinator | 0 to 4, 0 to 6 | FindCoordinator always answers with an error |
//! | SaslHandshake, SaslAuthenticate | 1, 0 to 2 | PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER with unsigned tokens |
//!
//! With the feature `tls` and a provider of cryptography (`tls-graviola`, `tls-ring`, `tls-aws-lc`), all listeners can use
//! TLS, and require a certificate of each client (`ServerTls`).
//!
//! kcat reads and writes. So do the Java client and its tools: `kafka-console-producer`, `kafka-console-consumer` with
//! `--partition` and `--offset`, `kafka-topics --create` and `--list`, `kafka-get-offsets`, `kafka-producer-perf-test`.
//!
//! This describes Kafka 4.3, the default. [`BrokerBuilder::version`] selects another version, with its API ranges,
//! defaults and quirks.
//!
//! **Not supported**: consumer groups, transactions (refused with TRANSACTIONAL_ID_AUTHORIZATION_FAILED), quotas, compaction and retention. Records stay in memory until their topic is deleted. Replicas are only numbers:
//! every replica that is up has all records at once. Acknowledged records are therefore lost only through
//! [`Cluster::truncate`], and a new topic is available at once.
//!
//! # Rules for sequences
//!
//! These rules describe how Kafka treats batches of idempotent producers. They come from experiments with brokers of
//! versions 3.7.2, 3.9.1 and 4.3.1. Thirty test cases check them, on this crate and on Kafka.
//!
//! * Producer id, epoch, first and last sequence identify a batch. If the batch is among the last five of its producer
//!   in the partition, the broker answers with the old offset and does not write it again, **whatever its bytes**:
//!   different records under a used sequence are lost, but reported as written.
//! * Any other batch must begin where the last one ended. Otherwise the answer is OUT_OF_ORDER_SEQUENCE_NUMBER: for
//!   gaps, overlaps, and also duplicates older than five batches. After 2,147,483,647 comes 0.
//! * A partition that does not know the producer accepts any first sequence (until Kafka 4.5, KAFKA-15591), and
//!   afterwards nothing from before it. [`Cluster::set_unknown_producer`] changes this.
//! * A higher epoch must begin at 0. A lower epoch gets INVALID_PRODUCER_EPOCH, also for duplicates.
//! * Each partition applies these rules on its own: one request may mix epochs and producers.
//! * A damaged batch (CORRUPT_MESSAGE), or one refused for any other reason, uses up no sequence.
//!
//! # Differences from Kafka
//!
//! `make conformance` sends the same requests, among them those for the rules above, to this broker as each
//! [`KafkaVersion`] and to that version of Kafka. It covers API versions, metadata, writes, refusals with their
//! messages, and reads; with Kafka 4.3 also SASL: refused tokens, and requests out of turn. All answers agree. `make
//! broker-judges` writes with kcat and the Java producer, with every codec, protocol and mechanism of SASL, and reads
//! with kcat and Java.
//!
//! Two differences are known. By default ([`strict`](BrokerBuilder::strict)) this broker refuses input that no client
//! should send: bytes after a request or a batch, records that do not count from 0, a producer id without an epoch. And
//! it answers a null batch, which Kafka since 3.9 never does.
//!
//! # Faults
//!
//! A [`Fault`] has a kind ([`FaultKind`]), an API, a node and a count. Kinds include refusals, lost, truncated or late
//! answers, and silence. Together with [`Cluster::move_leader`] and [`Broker::stop_node`] they cover what can happen to
//! a producer.
//!
//! A node can also imitate an older broker or a limited service: [`Cluster::set_offer`] hides an API or caps its
//! versions.
//!
//! # Limits
//!
//! A request may have up to 100 MiB, as in Kafka, and 200,000 array elements. A batch may decompress to up to 256 MiB.
//! A cluster may have up to 100,000 partitions. Its memory is that of the records in it.
//!
//! # Features
//!
//! `gzip`, `snappy`, `lz4` (on by default), `zstd` (in C) and `zstd-pure` (in Rust) are the codecs that the broker can
//! decompress to check batches. It accepts batches of other codecs unread.

mod api;
mod batch;
mod calls;
mod cluster;
mod fault;
mod log;
mod offer;
mod sasl;
mod server;
mod session;
mod settings;
#[cfg(feature = "tls")]
mod tls;
mod version;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

pub use calls::Reply;
pub use cluster::{Cluster, ClusterError};
pub use fault::{Fault, FaultKind};
pub use log::UnknownProducer;
pub use offer::Offer;
pub use server::{Broker, BrokerBuilder};
pub use session::{Login, Session};
pub use settings::{ClusterSettings, SaslSettings, TopicSettings};
#[cfg(feature = "tls")]
pub use tls::{ServerTls, TlsAcceptor};
pub use version::{KafkaVersion, UnknownVersion};
