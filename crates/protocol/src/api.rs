//! The table of APIs: what a program needs that takes key and version from the wire or from its user.

use std::fmt;
use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::error::{EncodeError, ParseError};
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

/// One API: its key, its versions, and how to read its two messages.
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

    /// The API with this key.
    #[must_use]
    pub fn of(key: i16) -> Option<&'static Self> {
        APIS.iter().find(|api| api.key == key)
    }

    /// The API with this name, such as `Metadata`; capitals do not matter.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        APIS.iter().find(|api| api.name().eq_ignore_ascii_case(name))
    }

    /// Its name in Kafka, such as `Metadata`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        let name = self.request.schema.name;
        name.strip_suffix("Request").unwrap_or(name)
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> i16 {
        self.key
    }

    /// The versions that this crate speaks.
    #[must_use]
    pub fn versions(&self) -> RangeInclusive<i16> {
        self.lowest..=self.highest
    }

    /// 2 for flexible versions, else 1.
    #[must_use]
    pub fn request_header_version(&self, version: i16) -> i16 {
        if version >= self.flexible_since { 2 } else { 1 }
    }

    /// 1 for flexible versions, else 0; for ApiVersions always 0.
    #[must_use]
    pub fn response_header_version(&self, version: i16) -> i16 {
        const API_VERSIONS: i16 = ApiVersionsRequest::KEY;
        i16::from(version >= self.flexible_since && self.key != API_VERSIONS)
    }

    /// Its request.
    #[must_use]
    pub fn request(&self) -> &Direction {
        &self.request
    }

    /// Its response.
    #[must_use]
    pub fn response(&self) -> &Direction {
        &self.response
    }
}

type Read = fn(&Bytes, i16) -> Result<Box<dyn Body>, ParseError>;

/// One of an API's two messages.
pub struct Direction {
    schema: &'static Struct,
    read: Read,
    initial: fn() -> Box<dyn Body>,
}

impl Direction {
    const fn new<M: Message>() -> Self {
        Self {
            schema: M::SCHEMA,
            read: |body, version| Ok(Box::new(M::read(body, version)?)),
            initial: || Box::new(M::default()),
        }
    }

    /// Its name and fields.
    #[must_use]
    pub fn schema(&self) -> &'static Struct {
        self.schema
    }

    /// Reads a body, all of it.
    ///
    /// # Errors
    /// As [`Message::read`].
    pub fn read(&self, body: &Bytes, version: i16) -> Result<Box<dyn Body>, ParseError> {
        (self.read)(body, version)
    }

    /// The message with every field at its default.
    #[must_use]
    pub fn initial(&self) -> Box<dyn Body> {
        (self.initial)()
    }
}

impl fmt::Debug for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Direction").field("schema", &self.schema.name).finish_non_exhaustive()
    }
}

/// A message of a type known only at run time. Every [`Message`] is one.
pub trait Body: fmt::Debug + Send + Sync {
    /// As [`Message::write`].
    ///
    /// # Errors
    /// As there.
    fn write(&self, version: i16, out: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// As [`Message::json_with`].
    #[cfg(feature = "json")]
    fn json_with(
        &self,
        version: i16,
        records: &dyn Fn(&crate::Records) -> Option<serde_json::Value>,
    ) -> serde_json::Value;

    /// As [`Message::json`].
    #[cfg(feature = "json")]
    fn json(&self, version: i16) -> serde_json::Value {
        self.json_with(version, &|_| None)
    }
}

impl<M: Message> Body for M {
    fn write(&self, version: i16, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        Message::write(self, version, out)
    }

    #[cfg(feature = "json")]
    fn json_with(
        &self,
        version: i16,
        records: &dyn Fn(&crate::Records) -> Option<serde_json::Value>,
    ) -> serde_json::Value {
        Message::json_with(self, version, records)
    }
}
