//! Kurier before foreign judges. Nothing here is part of a user's build; the judges are fetched by Maven and cargo.
//!
//! | test | judge | question |
//! |---|---|---|
//! | `tests/schema.rs` | the descriptors inside the kafka-clients jar | are our tables of fields Kafka's? |
//! | `tests/oracle.rs` | the kafka-protocol crate | do we agree on arbitrary messages of every version, both ways? |
//! | `tests/java.rs` | the Java client's `MemoryRecords` | are our batches, of every codec, read record for record? |
//! | `tests/broker.rs` | kcat, the Java producer, Java's console consumer | do others write to our broker, and read it back? |
//! | `tests/kafka` | real Apache Kafka, read by kcat and by Java | does `kurier produce` lose, double or reorder a record? |
//! | `tests/captures` | tshark and kcat, of Java, confluent-kafka and franz-go before real Apache Kafka | do we read from a capture what they do? |
//! | `tests/chaos` | the same, killed, paused, restarted, moved and reconfigured under load; the Java producer beside | does the client lose, double, reorder or misplace a record, or lie about one? |
//! | `tests/endurance` | real Apache Kafka, silent, dead, or answering into the void | does what takes minutes to break hold? |
//! | `tests/kafka/conforming.rs` | real Apache Kafka of three versions | does our broker answer as they do? |
//!
//! A test that lacks what it needs fails with the command that installs it.

pub mod clock;
pub mod cluster;
pub mod command;
pub mod java;
pub mod kafka;
pub mod relay;

use std::env;
use std::path::{Path, PathBuf};

/// A file or folder of testdata.
#[must_use]
pub fn testdata(path: &str) -> PathBuf {
    workspace().join("testdata").join(path)
}

/// Where cargo builds, and what is fetched for these tests is kept.
#[must_use]
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// The workspace's top.
fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
