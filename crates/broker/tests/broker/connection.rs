//! A connection of a client to a node on a real socket.

use std::net::SocketAddr;

use bytes::Bytes;
use kurier_protocol::{FrameBuffer, Request, read_response, write_request};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection to a node, over a plain socket or another stream.
pub(crate) struct Connection<S = TcpStream> {
    pub(crate) socket: S,
    buffer: FrameBuffer,
    next: i32,
}

impl Connection {
    pub(crate) async fn to(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(crate) fn over(socket: S) -> Self {
        Self { socket, buffer: FrameBuffer::new(1 << 20), next: 1 }
    }

    /// Sends a request and returns its correlation id.
    pub(crate) async fn send<R: Request>(&mut self, version: i16, request: &R) -> i32 {
        let mut wire = Vec::new();
        write_request(request, version, self.next, Some("tests"), &mut wire).unwrap();
        self.socket.write_all(&wire).await.unwrap();
        self.socket.flush().await.unwrap();
        self.next += 1;
        self.next - 1
    }

    /// Returns the next response, or `None` when the node has closed the connection.
    pub(crate) async fn receive(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = self.buffer.next_frame().unwrap() {
                return Some(frame);
            }
            // If a node has not read all bytes, the connection may end with a reset.
            match self.socket.read_buf(self.buffer.room()).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub(crate) async fn ask<R: Request>(&mut self, version: i16, request: &R) -> Option<R::Response> {
        let number = self.send(version, request).await;
        let (correlation_id, response) = read_response::<R>(&self.receive().await?, version).unwrap();
        assert_eq!(correlation_id.0, number);
        Some(response)
    }
}
