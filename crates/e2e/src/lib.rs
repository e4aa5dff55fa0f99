//! Tests of Kurier against other implementations, and tools for these tests. Users never build this crate. Maven and
//! cargo fetch the other implementations.
//!
//! | test | judge | question |
//! |---|---|---|
//! | `tests/schema.rs` | the descriptors inside the kafka-clients jar | Do our tables of fields match Kafka's? |
//! | `tests/oracle.rs` | the kafka-protocol crate | Do we agree on arbitrary messages of every version, in both directions? |
//! | `tests/java.rs` | the Java client's `MemoryRecords` | Does Java read our batches, of every codec, record for record? |
//! | `tests/sasl.rs` | the Java client's `JaasContext` and `ScramSaslClient` | Did Java write the files in testdata/sasl? |
//! | `tests/broker.rs` | kcat, the Java producer, Java's console consumer | Can others write to our broker, and read it back? |
//! | `tests/secured_broker` | kcat, the Java client, confluent-kafka | Can others use our broker with TLS and SASL? |
//! | `tests/kafka` | real Apache Kafka, read by kcat and Java | Does `kurier produce` lose, double or reorder a record? |
//! | `tests/kafka/secured` | real Apache Kafka of three versions, read by Java | Does every protocol and mechanism of TLS and SASL deliver, and every failure name its cause? |
//! | `tests/captures` | tshark and kcat, on traffic of Java, confluent-kafka and franz-go with real Apache Kafka | Do we read the same from a capture? |
//! | `tests/chaos` | real Apache Kafka, killed, paused, restarted, moved and reconfigured under load; the Java producer beside ours | Does the client lose, double, reorder or misplace a record, or report one wrongly? |
//! | `tests/rotation` | real Apache Kafka, whose certificates and passwords change under load | Does the client follow without a failed send? |
//! | `tests/endurance` | real Apache Kafka, silent, dead, or with lost responses | Does the client hold its promises for minutes? |
//! | `tests/kafka/conforming.rs` | real Apache Kafka of three versions | Does our broker give the same answers? |
//! | `tests/kafka/turns.rs` | real Apache Kafka | Does our broker refuse tokens, and requests out of turn, with the same bytes? |
//!
//! A test without its tools fails with the command that installs them.

pub mod clock;
pub mod cluster;
pub mod command;
pub mod java;
pub mod kafka;
pub mod listener;
pub mod python;
pub mod relay;

use std::env;
use std::path::{Path, PathBuf};

/// Returns the path of a file or folder in testdata.
#[must_use]
pub fn testdata(path: &str) -> PathBuf {
    workspace().join("testdata").join(path)
}

/// Returns cargo's target folder, which also keeps the files that these tests fetch.
#[must_use]
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// Returns the root folder of the workspace.
fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
