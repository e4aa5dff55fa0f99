//! Frames: the units of a connection, each preceded by its length as a 32-bit integer.
//!
//! [`FrameBuffer`] finds frames in incoming bytes; [`write_request`] and [`write_response`] write them. Only this
//! buffer follows nom's *streaming* rules, where too few bytes mean "wait for more".

use std::fmt;

use bytes::{Bytes, BytesMut};
use nom::number::streaming::be_i32;

use crate::api::Api;
use crate::error::{EncodeError, EncodeErrorKind, ParseError, ParseErrorKind};
use crate::header::{ResponseHeader, put_request_header};
use crate::ids::CorrelationId;
use crate::message::{Message, Request};
use crate::put::{Count, Put};

/// Splits a connection's bytes into frames. The bytes may arrive in any chunks.
///
/// A frame shares the buffer's memory. The buffer grows with the bytes that arrive, never by a claimed length. It
/// refuses a frame above its limit as soon as the length has arrived.
///
/// ```
/// use kurier_protocol::FrameBuffer;
///
/// let mut buffer = FrameBuffer::new(1 << 20);
/// buffer.extend(&[0, 0, 0, 5, b'h', b'e']);
/// assert_eq!(buffer.next_frame()?, None);
/// buffer.extend(b"llo");
/// assert_eq!(buffer.next_frame()?.unwrap(), "hello");
/// # Ok::<(), kurier_protocol::FrameError>(())
/// ```
#[derive(Debug)]
pub struct FrameBuffer {
    buffer: BytesMut,
    limit: usize,
}

impl FrameBuffer {
    /// Minimum room that [`room`](Self::room) provides.
    pub const ROOM_BYTES: usize = 64 * 1024;

    /// Default limit of a response: 100 MiB, as in librdkafka and franz-go.
    pub const DEFAULT_LIMIT_BYTES: usize = 100 * 1024 * 1024;

    /// Limit before authentication: 1 MiB, which exceeds every response before it.
    pub const UNAUTHENTICATED_LIMIT_BYTES: usize = 1024 * 1024;

    /// Creates an empty buffer that refuses frames of more than `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), limit }
    }

    /// Changes the limit for frames that have not been returned yet.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Appends a copy of `bytes`.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the buffer with room at its end, for a socket to read into.
    ///
    /// The room doubles with the bytes that have arrived, but ends at most one [`ROOM_BYTES`](Self::ROOM_BYTES) after
    /// the incoming frame.
    pub fn room(&mut self) -> &mut BytesMut {
        let len = self.buffer.len();
        if self.buffer.capacity().saturating_sub(len) < Self::ROOM_BYTES / 2 {
            let left_of_frame = match self.claimed() {
                Some(claimed) => frame_len(claimed, self.limit).unwrap_or_default().saturating_sub(len),
                None => 0,
            };
            let mut larger = BytesMut::with_capacity(len + len.min(left_of_frame) + Self::ROOM_BYTES);
            larger.extend_from_slice(&self.buffer);
            self.buffer = larger;
        }
        &mut self.buffer
    }

    /// Number of bytes that belong to an incomplete frame.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// Returns the next frame without its length, or `None` if it is incomplete.
    ///
    /// # Errors
    /// When the length is impossible. The connection is then unusable.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(claimed) = self.claimed() else { return Ok(None) };
        let len = frame_len(claimed, self.limit)?;
        let Some(end) = len.checked_add(4).filter(|end| *end <= self.buffer.len()) else { return Ok(None) };
        let mut frame = self.buffer.split_to(end).freeze();
        if self.buffer.is_empty() {
            // The rest of the buffer shares the frame's memory and would keep it alive.
            self.buffer = BytesMut::new();
        }
        Ok(Some(frame.split_off(4)))
    }

    /// Returns the bytes after the last frame, for programs that also forward unreadable bytes.
    #[must_use]
    pub fn into_rest(self) -> Bytes {
        self.buffer.freeze()
    }

    /// Returns the length before the next frame, if it has arrived.
    fn claimed(&self) -> Option<i32> {
        be_i32::<_, ()>(&self.buffer[..]).map(|(_, claimed)| claimed).ok()
    }
}

fn frame_len(claimed: i32, limit: usize) -> Result<usize, FrameError> {
    /// Every frame has at least a correlation id.
    const SHORTEST: usize = 4;
    match usize::try_from(claimed) {
        Ok(len) if len < SHORTEST => Err(FrameError::TooShort { claimed }),
        Ok(len) if len <= limit => Ok(len),
        Ok(claimed_len) => Err(match claimed.to_be_bytes() {
            [b'H', b'T', b'T', b'P'] => FrameError::Http,
            // A TLS record: alert or handshake, version 3.x.
            [0x15 | 0x16, 0x03, 0x00..=0x04, _] => FrameError::Tls,
            _ => FrameError::TooLong { claimed: claimed_len, limit },
        }),
        Err(_) => Err(FrameError::TooShort { claimed }),
    }
}

/// An impossible length of a frame.
///
/// ```
/// use kurier_protocol::{FrameBuffer, FrameError};
///
/// let mut buffer = FrameBuffer::new(1 << 20);
/// buffer.extend(b"HTTP/1.1 400 Bad Request");
/// assert_eq!(buffer.next_frame(), Err(FrameError::Http));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// Negative, or too short for a header.
    TooShort {
        /// The received length.
        claimed: i32,
    },
    /// Above the limit.
    TooLong {
        /// The received length.
        claimed: usize,
        /// The limit.
        limit: usize,
    },
    /// The first bytes are those of TLS.
    Tls,
    /// The first bytes are those of HTTP.
    Http,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { claimed } => write!(
                f,
                "a frame of {claimed} bytes is not possible: the peer does not speak Kafka, or bytes were lost"
            ),
            Self::TooLong { claimed, limit } => write!(
                f,
                "a frame of {claimed} bytes is above the limit of {limit}: the peer does not speak Kafka, or says too much at once"
            ),
            Self::Tls => {
                write!(
                    f,
                    "the peer answered with TLS: this is a TLS port; set security.protocol=SSL, or SASL_SSL with SASL"
                )
            }
            Self::Http => {
                write!(f, "the peer speaks HTTP: this is not a Kafka broker's port; use that of a PLAINTEXT listener")
            }
        }
    }
}

impl std::error::Error for FrameError {}

/// Writes a request's frame: length, header, body.
///
/// ```
/// use kurier_protocol::messages::MetadataRequest;
/// use kurier_protocol::write_request;
///
/// let mut frame = Vec::new();
/// write_request(&MetadataRequest::default(), 12, 7, Some("kurier"), &mut frame)?;
/// assert_eq!(frame[..4], [0, 0, 0, 21]);
/// # Ok::<(), kurier_protocol::EncodeError>(())
/// ```
///
/// # Errors
/// When the message cannot be written in this version; see [`Message::write`].
pub fn write_request<R: Request>(
    request: &R,
    version: i16,
    correlation_id: impl Into<CorrelationId>,
    client_id: Option<&str>,
    out: &mut impl Put,
) -> Result<(), EncodeError> {
    let correlation_id = correlation_id.into();
    let api = api_of::<R>(version)?;
    let mut count = Count::default();
    put_request_header(api, version, correlation_id, client_id, &mut count)?;
    request.write(version, &mut count)?;
    put_len::<R>(count, version, out)?;
    put_request_header(api, version, correlation_id, client_id, out)?;
    request.write(version, out)
}

/// Writes a response's frame: length, header, body.
///
/// # Errors
/// When the message cannot be written in this version; see [`Message::write`].
pub fn write_response<M: Message>(
    response: &M,
    version: i16,
    correlation_id: impl Into<CorrelationId>,
    out: &mut impl Put,
) -> Result<(), EncodeError> {
    let api = api_of::<M>(version)?;
    let header = ResponseHeader { correlation_id: correlation_id.into() };
    let mut count = Count::default();
    header.write(api, version, &mut count);
    response.write(version, &mut count)?;
    put_len::<M>(count, version, out)?;
    header.write(api, version, out);
    response.write(version, out)
}

/// Reads the frame (without its length) of a response to a request of this version. Returns the correlation id and the
/// body.
///
/// A broker refuses an unknown version of ApiVersions in version 0; that response is read too, and has the error code.
///
/// ```
/// use bytes::Bytes;
/// use kurier_protocol::messages::ApiVersionsRequest;
/// use kurier_protocol::{CorrelationId, ErrorCode, read_response};
///
/// // From Kafka 4.3.1, asked for version 5.
/// let frame = Bytes::from_static(&[0, 0, 0, 9, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4]);
/// let (correlation_id, response) = read_response::<ApiVersionsRequest>(&frame, 5)?;
/// assert_eq!((correlation_id, response.error_code), (CorrelationId(9), ErrorCode::UNSUPPORTED_VERSION));
/// assert_eq!(response.api_keys[0].max_version, 4);
/// # Ok::<(), kurier_protocol::ParseError>(())
/// ```
///
/// # Errors
/// When the bytes are not such a response.
pub fn read_response<R: Request>(frame: &Bytes, version: i16) -> Result<(CorrelationId, R::Response), ParseError> {
    let unknown = || ParseError::whole(R::Response::SCHEMA.name, version, ParseErrorKind::UnknownApi(R::KEY));
    let api = Api::of(R::KEY).ok_or_else(unknown)?;
    let (header, body) = ResponseHeader::read(frame, api, version)?;
    let response = R::Response::read(&body, api.response_version(version, &body))?;
    Ok((header.correlation_id, response))
}

fn api_of<M: Message>(version: i16) -> Result<&'static Api, EncodeError> {
    let unknown = || EncodeError::new(EncodeErrorKind::UnknownApi(M::KEY)).of(M::SCHEMA.name, version);
    Api::of(M::KEY).ok_or_else(unknown)
}

fn put_len<M: Message>(count: Count, version: i16, out: &mut impl Put) -> Result<(), EncodeError> {
    let Count(len) = count;
    let too_long = |_| EncodeError::new(EncodeErrorKind::TooLong(len)).of(M::SCHEMA.name, version);
    out.put_slice(&i32::try_from(len).map_err(too_long)?.to_be_bytes());
    Ok(())
}
