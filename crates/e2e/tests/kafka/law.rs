//! The law of sequences that our broker keeps, put to Kafka itself: the same table, the same answers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow, ensure};
use kurier_e2e::kafka::Kafka;
use kurier_protocol::{Request, read_response, write_request};

#[path = "../../../broker/tests/broker/law.rs"]
mod table;

/// For a Kafka of one node, which leads everything.
pub(crate) fn law(kafka: &Kafka) -> Result<()> {
    let mut peer = OneNode { kafka, socket: TcpStream::connect(kafka.bootstrap_servers())?, topics: Vec::new() };
    let mut broken: Vec<String> = table::CASES.iter().filter_map(|case| case.check(&mut peer).err()).collect();
    broken.extend(table::check_that_partitions_are_apart(&mut peer).err());
    println!("the law of sequences: {} cases, {} broken", table::CASES.len() + 1, broken.len());
    ensure!(broken.is_empty(), "Kafka keeps another law:\n{}", broken.join("\n"));
    kafka.delete_topics(&peer.topics.iter().map(String::as_str).collect::<Vec<_>>())
}

struct OneNode<'a> {
    kafka: &'a Kafka,
    socket: TcpStream,
    topics: Vec<String>,
}

impl OneNode<'_> {
    fn try_ask<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response> {
        let mut wire = Vec::new();
        write_request(request, version, 1, Some("law"), &mut wire)?;
        self.socket.write_all(&wire)?;
        let mut length = [0; 4];
        self.socket.read_exact(&mut length)?;
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length))?];
        self.socket.read_exact(&mut frame)?;
        Ok(read_response::<R>(&frame.into(), version)?.1)
    }
}

impl table::Peer for OneNode<'_> {
    fn fresh_topic(&mut self, partitions: i32) -> String {
        let topic = format!("law-{}-{}", std::process::id(), self.topics.len());
        self.kafka.create_topic(&topic, partitions, 1, &[]).expect("a topic can be created");
        self.topics.push(topic.clone());
        topic
    }

    fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.try_ask(version, request).map_err(|error| anyhow!("{request:?}: {error:#}")).expect("Kafka answers")
    }

    #[expect(clippy::disallowed_methods, reason = "Kafka refuses records that are far from its own time")]
    fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}
