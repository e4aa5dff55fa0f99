//! A Kafka cluster in memory: real sockets, leaders, `min.insync.replicas`, sequences, and faults by script.
//!
//! It is for quick starts, where nobody wants to install Kafka first, and for the tests of whoever writes to Kafka. A
//! cluster starts in less than a millisecond, on free ports, in the process that wants it, and is gone when it is dropped.
//! The command `kurier broker` is the same as a program.
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
//! A test says what cluster it wants, lets things go wrong, and looks at what was written.
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
//! // The next batch is written, but nobody learns of it.
//! broker.add_fault(Fault::new("Produce", FaultKind::CloseAfter));
//! // Then partition 0 has another leader, and after that its node is down until further notice.
//! broker.with_cluster(|cluster| cluster.move_leader("orders", 0, 2))?;
//! broker.stop_node(2);
//! assert_eq!(broker.with_cluster(|cluster| cluster.leader("orders", 0)), Some(1));
//! broker.start_node(2).await?;
//!
//! // Here the client under test would have written.
//! let log = broker.with_cluster(|cluster| cluster.log("orders", 0));
//! assert_eq!(log, Some(vec![]));
//! # Ok(())
//! # }
//! ```
//!
//! Whoever brings a network of his own, simulated say, takes [`Cluster`] alone: it has neither sockets nor a clock.
//!
//! # Under a fuzzer
//!
//! [`Cluster::handle`] takes a frame and a time and says what goes back: so whatever bytes there are can be put to it,
//! thousands of times a second.
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
//! What a client said to Kafka can be said to this cluster, to see what comes of it; `kurier-capture` reads the file. Its
//! topics must be there, under their ids where clients go by these ([`Cluster::set_topic_id`]), and the producer id that
//! was given ([`Cluster::set_next_producer_id`]).
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
//! # How it is built
//!
//! ```text
//!            server                        node                        one file an API
//!  socket ──────────────▶ Cluster::handle ─────────────────▶ handle ───────────────────────────────┐
//!            frame, time                   header, version,            fields, by the reader        ▼
//!                                          fault                                                 cluster  leaders, replicas
//!                                                                                                   │     in sync, topics
//!  socket ◀──────────────────── Reply ◀─────────────────────────────── ◀────────────────────────── log   batches, producers
//!            bytes, later, never           frame                       answer, by kurier-protocol   │
//!                                                                                                 batch   checksum, records
//! ```
//!
//! Requests and batches are read by cursors of this crate, by the offsets of their fields: what shared its tables with the
//! client would share its mistakes. Answers are written by [`kurier_protocol`], whose every message is held against Kafka's.
//!
//! # What it serves
//!
//! | API | versions | |
//! |---|---|---|
//! | Produce | 3 to 13 | acks 0, 1 and all, names and ids, every codec that is built |
//! | InitProducerId | 0 to 5 | for idempotent producers |
//! | Metadata | 0 to 13 | creates the topics that are asked for, if it may |
//! | CreateTopics | 2 to 7 | with the configurations of [`TopicSettings`]; others are forgotten |
//! | Fetch | 4 to 12 | waits for records; no sessions, which readers do without |
//! | ListOffsets | 1 to 8 | first, last, newest, by time |
//! | ApiVersions, FindCoordinator | 0 to 4, 0 to 6 | nobody coordinates |
//!
//! kcat reads and writes. So do the Java client and its tools: `kafka-console-producer`, `kafka-console-consumer` with
//! `--partition` and `--offset`, `kafka-topics --create` and `--list`, `kafka-get-offsets`, `kafka-producer-perf-test`.
//!
//! That is as Kafka 4.3. [`BrokerBuilder::version`] makes it another: then it has that version's ranges, defaults and
//! peculiarities.
//!
//! **It does not have** consumer groups, transactions (whatever belongs to one is refused with
//! TRANSACTIONAL_ID_AUTHORIZATION_FAILED), TLS, SASL, quotas, compaction or retention: everything stays in memory until its
//! topic is deleted. Replicas are numbers: those that are up have everything at once, so nothing that was acknowledged is
//! ever lost but by [`Cluster::truncate`], and a topic is there as soon as it is created.
//!
//! # The law of sequences
//!
//! What Kafka does with an idempotent producer's batches, found by asking brokers of 3.7.2, 3.9.1 and 4.3.1; thirty cases of
//! it are this crate's test, and theirs.
//!
//! * A batch is known by its producer id, epoch, first and last sequence. Known among the last five of its producer in the
//!   partition, it is answered with its old offset and not written again, **whatever its bytes**: other records under a used
//!   sequence are lost, and reported as written.
//! * Any other batch must begin where the last one ended. Else it is OUT_OF_ORDER_SEQUENCE_NUMBER: gaps, overlaps, and also
//!   duplicates older than five. After 2,147,483,647 comes 0.
//! * A partition that does not know the producer takes any first sequence (until Kafka 4.5, KAFKA-15591), and then nothing
//!   from before it; [`Cluster::set_unknown_producer`] has it do otherwise.
//! * A higher epoch must begin at 0. A lower one is INVALID_PRODUCER_EPOCH, duplicates included.
//! * All this is each partition's own: in one request epochs and producers may be mixed.
//! * A damaged batch (CORRUPT_MESSAGE), or one that is refused for any other reason, uses up no sequence.
//!
//! # How near it is to Kafka
//!
//! `make conformance` puts the same calls, the law among them, to this broker as each [`KafkaVersion`] and to that version of
//! Kafka itself: versions, metadata, what is written, refused, in which words, and what is read; all answers agree.
//! `make broker-judges` lets kcat and the Java producer write with every codec, and kcat and Java's console consumer read it
//! back. Only, unless [told otherwise](BrokerBuilder::strict), it is stricter with what no client should send: bytes after a
//! request or a batch, records that do not count from 0, a producer id without an epoch. And it answers who sends null for a
//! batch, which Kafka since 3.9 never does.
//!
//! # Faults
//!
//! A [`Fault`] says what goes wrong ([`FaultKind`]), of which API, on which node, how often. Refusals, lost answers, answers
//! cut short or late, silence; with [`Cluster::move_leader`] and [`Broker::stop_node`] that is what happens to a producer.
//!
//! A node also plays an older broker, or a service that speaks less: [`Cluster::set_offer`] hides an API or caps its versions.
//!
//! # Limits
//!
//! Requests have up to 100 MiB, as Kafka's, and 200,000 elements in their arrays. A batch is decompressed up to 256 MiB. A
//! cluster has up to 100,000 partitions. Its memory is that of the records in it.
//!
//! # Features
//!
//! `gzip`, `snappy`, `lz4` (by default), `zstd` (in C) and `zstd-pure` (in Rust): with which codecs batches can be looked
//! into. Batches of a codec that is not built are taken unread.

mod api_versions;
mod batch;
mod cluster;
mod create_topics;
mod fault;
mod fetch;
mod find_coordinator;
mod init_producer_id;
mod list_offsets;
mod log;
mod metadata;
mod node;
mod offer;
mod produce;
mod reader;
mod server;
mod version;

pub use cluster::{Cluster, ClusterError, ClusterSettings, TopicSettings};
pub use fault::{Fault, FaultKind};
pub use log::UnknownProducer;
pub use node::Reply;
pub use offer::Offer;
pub use server::{Broker, BrokerBuilder};
pub use version::{KafkaVersion, UnknownVersion};
