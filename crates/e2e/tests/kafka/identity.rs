//! Broker identity in Kafka 4.4, which checks that a client reached the broker it meant (KIP-1242). Our producer relies
//! on the responses to ApiVersions 5.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};
use kurier_e2e::kafka::Kafka;
use kurier_protocol::messages::{ApiVersionsRequest, MetadataRequest};
use kurier_protocol::{ErrorCode, FrameBuffer, Request, read_response, write_request};

/// Only the broker that a connection names serves it.
pub(crate) fn wrong_broker_is_refused(kafka: &Kafka) -> Result<()> {
    let described =
        Connection::open(kafka)?.call(&MetadataRequest { topics: Some(Vec::new()), ..Default::default() }, 12)?;
    let cluster_id = described.cluster_id.context("Kafka names its cluster")?;
    let node_id = described.brokers.first().context("Kafka names its node")?.node_id;
    let other = "AAAAAAAAAAAAAAAAAAAAAA";
    for (cluster_id, node_id, expected) in [
        (None, -1, ErrorCode::NONE),
        (Some(cluster_id.as_str()), node_id, ErrorCode::NONE),
        (Some(cluster_id.as_str()), node_id + 1, ErrorCode::REBOOTSTRAP_REQUIRED),
        (Some(other), node_id, ErrorCode::REBOOTSTRAP_REQUIRED),
    ] {
        let request = ApiVersionsRequest {
            client_software_name: "kurier".to_owned(),
            client_software_version: "1".to_owned(),
            cluster_id: cluster_id.map(str::to_owned),
            node_id,
        };
        let code = Connection::open(kafka)?.call(&request, 5)?.error_code;
        println!("as node {node_id} of {cluster_id:?}: {code}");
        ensure!(code == expected, "node {node_id} of {cluster_id:?}: {code}, expected {expected}");
    }
    Ok(())
}

/// A blocking connection with one request at a time.
struct Connection {
    socket: TcpStream,
    buffer: FrameBuffer,
}

impl Connection {
    fn open(kafka: &Kafka) -> Result<Self> {
        let socket = TcpStream::connect(kafka.bootstrap_servers())?;
        Ok(Self { socket, buffer: FrameBuffer::new(FrameBuffer::DEFAULT_LIMIT_BYTES) })
    }

    fn call<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response> {
        let mut frame = Vec::new();
        write_request(request, version, 1, Some("kurier-e2e"), &mut frame)?;
        self.socket.write_all(&frame)?;
        let mut chunk = [0; 4096];
        loop {
            if let Some(frame) = self.buffer.next_frame()? {
                return Ok(read_response::<R>(&frame, version)?.1);
            }
            let count = self.socket.read(&mut chunk)?;
            ensure!(count > 0, "Kafka closed the connection");
            self.buffer.room().extend_from_slice(chunk.get(..count).unwrap_or_default());
        }
    }
}
