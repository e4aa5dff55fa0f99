//! A captured request or response, with its time, its sender and its content.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use kurier_protocol::{AnyMessage, Api, CorrelationId, Direction, ParseError, RequestHeader, ResponseHeader};
use serde_json::{Map, Value};

use crate::secrets::{self, is_confidential, masked};

/// One side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The side that opened the connection and sends requests.
    Client,
    /// The side that listened and sends responses.
    Server,
}

/// A request or a response.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Frame {
    /// Index among the frames of the capture, from 0.
    pub number: u64,
    /// When the last byte was captured, since 1970.
    pub time: Duration,
    /// Index of the connection in the capture, from 0.
    pub connection: u32,
    /// Address of the side that opened the connection.
    pub client: SocketAddr,
    /// Address of the side that listened.
    pub server: SocketAddr,
    /// The side that sent the frame.
    pub side: Side,
    /// The part of a request's header that all APIs share; a response has its request's. `None` if the request was not
    /// captured or does not follow Kafka's protocol, as a bare SASL token.
    pub head: Option<Head>,
    /// Number of a response's request.
    pub answers: Option<u64>,
    /// The whole frame, without its length.
    pub bytes: Bytes,
}

/// The beginning of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Head {
    /// Key of the API, known or not.
    pub api_key: i16,
    /// Version of request and response; for exceptions see [`Api::response_version`].
    pub api_version: i16,
    /// The id that pairs request and response.
    pub correlation_id: CorrelationId,
}

impl Head {
    /// Reads the first eight bytes of a request; `None` if there are fewer.
    #[must_use]
    pub fn read(frame: &[u8]) -> Option<Self> {
        let (api_key, rest) = frame.split_first_chunk()?;
        let (api_version, rest) = rest.split_first_chunk()?;
        let (correlation_id, _) = rest.split_first_chunk()?;
        Some(Self {
            api_key: i16::from_be_bytes(*api_key),
            api_version: i16::from_be_bytes(*api_version),
            correlation_id: CorrelationId(i32::from_be_bytes(*correlation_id)),
        })
    }

    /// Returns the API, if this crate knows it and its version.
    #[must_use]
    pub fn api(&self) -> Option<&'static Api> {
        Api::of(self.api_key).filter(|api| api.versions().contains(&self.api_version))
    }
}

/// Decoded content of a frame.
#[derive(Debug)]
#[non_exhaustive]
pub struct Content {
    /// The API.
    pub api: &'static Api,
    /// Version of the body.
    pub version: i16,
    /// The client id of a request.
    pub client_id: Option<String>,
    /// The decoded body.
    pub message: AnyMessage,
    head: Head,
    side: Side,
}

/// Reason for keeping a frame as raw bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unread {
    /// The request was not captured or does not follow Kafka's protocol.
    #[error("its request was not captured or is a bare SASL token")]
    NoHead,
    /// The API or version is unknown.
    #[error("its API or version is unknown")]
    Unknown,
    /// The body contradicts the header.
    #[error(transparent)]
    Damaged(#[from] ParseError),
}

impl Frame {
    /// Decodes the frame.
    ///
    /// # Errors
    /// With the reason, if the frame can only be shown as bytes.
    pub fn read(&self) -> Result<Content, Unread> {
        let head = self.head.ok_or(Unread::NoHead)?;
        // Brokers answer an unknown version of ApiVersions in version 0.
        let api = Api::of(head.api_key).ok_or(Unread::Unknown)?;
        let (direction, version, client_id, body): (&Direction, _, _, _) = match self.side {
            Side::Client => {
                head.api().ok_or(Unread::Unknown)?;
                let (header, body) = RequestHeader::read(&self.bytes)?;
                (api.request(), head.api_version, header.client_id, body)
            }
            Side::Server => {
                let (_, body) = ResponseHeader::read(&self.bytes, api, head.api_version)?;
                (api.response(), api.response_version(head.api_version, &body), None, body)
            }
        };
        if !api.versions().contains(&version) {
            return Err(Unread::Unknown);
        }
        let message = direction.read(&body, version)?;
        Ok(Content { api, version, client_id, message, head, side: self.side })
    }

    /// Returns the frame as a JSON object: `number`, `time` (seconds since 1970), `connection`, `client`, `server`,
    /// `direction`, `apiKey`, `api`, `version`, `correlationId`, a request's `clientId`, a response's `answers`, and
    /// `body` with Kafka's field names and each record decompressed. If the frame is unreadable, the object has `raw`,
    /// the whole frame in hex, and `unread`, the reason, instead of `body`.
    ///
    /// SASL tokens are masked unless `secrets` is set, and so is `raw` if it may contain passwords or tokens: in any
    /// message about configurations, credentials or delegation tokens, and without a Kafka header.
    #[must_use]
    pub fn json(&self, secrets: bool) -> Value {
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
        put("number", self.number.into());
        put("time", self.time.as_secs_f64().into());
        put("connection", self.connection.into());
        put("client", self.client.to_string().into());
        put("server", self.server.to_string().into());
        put("direction", if self.side == Side::Client { "request" } else { "response" }.into());
        if let Some(head) = self.head {
            put("apiKey", head.api_key.into());
            if let Some(api) = Api::of(head.api_key) {
                put("api", api.name().into());
            }
            put("version", head.api_version.into());
            put("correlationId", head.correlation_id.0.into());
        }
        if let Some(number) = self.answers {
            put("answers", number.into());
        }
        match self.read() {
            Ok(content) => {
                if self.side == Side::Client {
                    put("clientId", content.client_id.clone().into());
                }
                put("body", content.body(secrets));
            }
            Err(unread) => {
                // A frame without a head may be a bare token.
                let is_open = secrets || self.head.is_some_and(|head| !is_confidential(head.api_key));
                put("raw", if is_open { hex(&self.bytes) } else { masked(self.bytes.len()) }.into());
                put("unread", unread.to_string().into());
            }
        }
        Value::Object(object)
    }
}

impl Content {
    /// Encodes the frame again, without its length.
    ///
    /// # Errors
    /// Never for content from [`Frame::read`], except after a bug in kurier-protocol.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), kurier_protocol::EncodeError> {
        let Head { api_key, api_version, correlation_id } = self.head;
        match self.side {
            Side::Client => {
                let client_id = self.client_id.clone();
                RequestHeader { api_key, api_version, correlation_id, client_id }.write(out)?;
            }
            Side::Server => ResponseHeader { correlation_id }.write(self.api, api_version, out),
        }
        self.message.write(self.version, out)
    }

    /// Returns the body as a JSON object.
    #[must_use]
    pub fn body(&self, secrets: bool) -> Value {
        secrets::body(self.api, &self.message, self.version, secrets)
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
