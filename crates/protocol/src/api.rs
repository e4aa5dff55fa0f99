//! The table of APIs, for programs that take key and version from the wire or from a user.

use std::fmt;
use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::error::{EncodeError, ParseError};
use crate::error_code::ErrorCode;
use crate::message::{Message, Request};
use crate::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, ApiVersionsRequest, CreateTopicsRequest, EndTxnRequest,
    FetchRequest, FindCoordinatorRequest, InitProducerIdRequest, ListOffsetsRequest, MetadataRequest, ProduceRequest,
    SaslAuthenticateRequest, SaslHandshakeRequest, TxnOffsetCommitRequest,
};
use crate::schema::Struct;

/// Every API that this crate speaks, by key.
pub static APIS: &[Api] = &[
    Api::new::<ProduceRequest>(),
    Api::new::<FetchRequest>(),
    Api::new::<ListOffsetsRequest>(),
    Api::new::<MetadataRequest>(),
    Api::new::<FindCoordinatorRequest>(),
    Api::new::<SaslHandshakeRequest>(),
    Api::new::<ApiVersionsRequest>(),
    Api::new::<CreateTopicsRequest>(),
    Api::new::<InitProducerIdRequest>(),
    Api::new::<AddPartitionsToTxnRequest>(),
    Api::new::<AddOffsetsToTxnRequest>(),
    Api::new::<EndTxnRequest>(),
    Api::new::<TxnOffsetCommitRequest>(),
    Api::new::<SaslAuthenticateRequest>(),
];

/// One API: its key, its versions, and readers for its two messages.
///
/// ```
/// use kurier_protocol::Api;
///
/// let metadata = Api::named("Metadata").unwrap();
/// assert_eq!(metadata.key(), 3);
/// assert_eq!(metadata.versions(), 0..=13);
/// assert_eq!(metadata.request_header_version(9), 2);
///
/// // A body whose type is known only at run time.
/// let body = bytes::Bytes::from_static(&[0, 0, 0, 0]);
/// let request = metadata.request().read(&body, 0)?;
/// let mut out = Vec::new();
/// request.write(0, &mut out).unwrap();
/// assert_eq!(out, body);
/// # Ok::<(), kurier_protocol::ParseError>(())
/// ```
#[derive(Debug)]
pub struct Api {
    key: i16,
    lowest: i16,
    highest: i16,
    flexible_since: i16,
    request: Direction,
    response: Direction,
}

impl Api {
    const fn new<R: Request>() -> Self {
        Self {
            key: R::KEY,
            lowest: *R::VERSIONS.start(),
            highest: *R::VERSIONS.end(),
            flexible_since: R::FLEXIBLE_SINCE,
            request: Direction::new::<R>(),
            response: Direction::new::<R::Response>(),
        }
    }

    /// Returns the API with this key.
    #[must_use]
    pub fn of(key: i16) -> Option<&'static Self> {
        APIS.iter().find(|api| api.key == key)
    }

    /// Returns the API with this name, such as `ApiVersions`. Case, dashes and underscores do not matter:
    /// `API_VERSIONS` is the same.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        let name: String = name.chars().filter(|letter| !matches!(letter, '-' | '_')).collect();
        APIS.iter().find(|api| api.name().eq_ignore_ascii_case(&name))
    }

    /// The API's name in Kafka, such as `Metadata`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        let name = self.request.schema.name;
        name.strip_suffix("Request").unwrap_or(name)
    }

    /// The API's key.
    #[must_use]
    pub fn key(&self) -> i16 {
        self.key
    }

    /// The versions that this crate speaks.
    #[must_use]
    pub fn versions(&self) -> RangeInclusive<i16> {
        self.lowest..=self.highest
    }

    /// The request header's version: 2 for flexible versions, else 1.
    #[must_use]
    pub fn request_header_version(&self, version: i16) -> i16 {
        if version >= self.flexible_since { 2 } else { 1 }
    }

    /// The response header's version: 1 for flexible versions, else 0; always 0 for ApiVersions.
    #[must_use]
    pub fn response_header_version(&self, version: i16) -> i16 {
        const API_VERSIONS: i16 = ApiVersionsRequest::KEY;
        i16::from(version >= self.flexible_since && self.key != API_VERSIONS)
    }

    /// Returns the version of a response's body: the request's version `asked`, with one exception. A broker refuses an
    /// unknown version of ApiVersions in version 0, which every client can read (KIP-511).
    ///
    /// ```
    /// use kurier_protocol::Api;
    ///
    /// // From Kafka 4.3.1, asked for version 5: UNSUPPORTED_VERSION, and ApiVersions from 0 to 4.
    /// let body = bytes::Bytes::from_static(&[0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4]);
    /// let api = Api::named("ApiVersions").unwrap();
    /// assert_eq!(api.response_version(5, &body), 0);
    /// assert!(api.response().read(&body, 0).is_ok());
    /// ```
    #[must_use]
    pub fn response_version(&self, asked: i16, body: &[u8]) -> i16 {
        let refused = ErrorCode::UNSUPPORTED_VERSION.0.to_be_bytes();
        if self.key == ApiVersionsRequest::KEY && body.starts_with(&refused) { 0 } else { asked }
    }

    /// The request message.
    #[must_use]
    pub fn request(&self) -> &Direction {
        &self.request
    }

    /// The response message.
    #[must_use]
    pub fn response(&self) -> &Direction {
        &self.response
    }
}

/// Request or response of an API.
///
/// ```
/// use kurier_protocol::Api;
///
/// let request = Api::named("EndTxn").unwrap().request();
/// assert_eq!(request.schema().name, "EndTxnRequest");
/// assert_eq!(request.schema().fields.last().unwrap().name, "committed");
///
/// let mut body = Vec::new();
/// request.initial().write(0, &mut body)?;
/// assert!(request.read(&body.into(), 0).is_ok());
/// # Ok::<(), kurier_protocol::EncodeError>(())
/// ```
pub struct Direction {
    schema: &'static Struct,
    read: fn(&Bytes, i16) -> Result<AnyMessage, ParseError>,
    initial: fn() -> AnyMessage,
}

impl Direction {
    const fn new<M: Message>() -> Self {
        Self {
            schema: M::SCHEMA,
            read: |body, version| M::read(body, version).map(AnyMessage::new),
            initial: || AnyMessage::new(M::default()),
        }
    }

    /// The message's name and fields.
    #[must_use]
    pub fn schema(&self) -> &'static Struct {
        self.schema
    }

    /// Reads a complete body.
    ///
    /// # Errors
    /// As [`Message::read`].
    pub fn read(&self, body: &Bytes, version: i16) -> Result<AnyMessage, ParseError> {
        (self.read)(body, version)
    }

    /// Returns the message with every field at its default.
    #[must_use]
    pub fn initial(&self) -> AnyMessage {
        (self.initial)()
    }
}

impl fmt::Debug for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Direction").field("schema", &self.schema.name).finish_non_exhaustive()
    }
}

/// A message of a type known only at run time.
///
/// ```
/// use kurier_protocol::Api;
///
/// let body = bytes::Bytes::from_static(&[0, 5, b'P', b'L', b'A', b'I', b'N']);
/// let message = Api::named("SaslHandshake").unwrap().request().read(&body, 1)?;
/// let mut written = Vec::new();
/// message.write(1, &mut written).unwrap();
/// assert_eq!(written, body);
/// # Ok::<(), kurier_protocol::ParseError>(())
/// ```
#[derive(Debug)]
pub struct AnyMessage(Box<dyn Body>);

impl AnyMessage {
    fn new(message: impl Message) -> Self {
        Self(Box::new(message))
    }

    /// As [`Message::write`].
    ///
    /// # Errors
    /// As [`Message::write`].
    pub fn write(&self, version: i16, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.0.write_body(version, out)
    }

    /// As [`Message::json`].
    #[cfg(feature = "json")]
    #[must_use]
    pub fn json(&self, version: i16) -> serde_json::Value {
        self.json_with(version, &|_| None)
    }

    /// As [`Message::json_with`].
    #[cfg(feature = "json")]
    #[must_use]
    pub fn json_with(
        &self,
        version: i16,
        records: &dyn Fn(&crate::records::Records) -> Option<serde_json::Value>,
    ) -> serde_json::Value {
        self.0.body_json(version, records)
    }
}

/// Methods that [`AnyMessage`] forwards to its message.
trait Body: fmt::Debug + Send + Sync {
    fn write_body(&self, version: i16, out: &mut Vec<u8>) -> Result<(), EncodeError>;

    #[cfg(feature = "json")]
    fn body_json(
        &self,
        version: i16,
        records: &dyn Fn(&crate::records::Records) -> Option<serde_json::Value>,
    ) -> serde_json::Value;
}

impl<M: Message> Body for M {
    fn write_body(&self, version: i16, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.write(version, out)
    }

    #[cfg(feature = "json")]
    fn body_json(
        &self,
        version: i16,
        records: &dyn Fn(&crate::records::Records) -> Option<serde_json::Value>,
    ) -> serde_json::Value {
        self.json_with(version, records)
    }
}
