//! What stands in front of every body: request header v1 and v2, response header v0 and v1.
//!
//! A flexible version of an API has the newer header of each, with one exception: the response to ApiVersions always
//! has v0, for the client must be able to read it before it knows what the broker speaks (KIP-511). Request header v0
//! belongs to ControlledShutdown v0 alone and is not supported.

use bytes::Bytes;

use crate::api::Api;
use crate::error::{EncodeError, EncodeErrorKind, ParseError, ParseErrorKind, Step, inside};
use crate::put::Put;
use crate::schema::parse_tags;
use crate::varint::put_uvarint;
use crate::wire::{Context, Parsed, Version, Wire, fail};

/// The head of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHeader {
    /// Which API.
    pub api_key: i16,
    /// In which version the body, and the response, are written.
    pub api_version: i16,
    /// The number that the response will bear.
    pub correlation_id: i32,
    /// The client's name, for the broker's logs and quotas (`client.id`).
    pub client_id: Option<String>,
}

impl RequestHeader {
    /// Reads the header of a frame; the rest of the frame is the body.
    ///
    /// # Errors
    /// When the bytes are no header, or name an API whose header this crate does not know.
    pub fn read(frame: &Bytes) -> Result<(Self, Bytes), ParseError> {
        let mut version = 1;
        match Self::parse(frame, &mut version) {
            Ok((body, header)) => Ok((header, frame.slice_ref(body))),
            Err(fault) => Err(ParseError::locate(fault, "RequestHeader", version, frame.len())),
        }
    }

    fn parse<'a>(frame: &'a Bytes, version: &mut i16) -> Parsed<'a, Self> {
        let (rest, api_key) = field("request_api_key", frame, frame)?;
        let Some(api) = Api::of(api_key) else {
            return fail(ParseErrorKind::UnknownApi(api_key), frame);
        };
        let (rest, api_version) = field("request_api_version", rest, frame)?;
        *version = api.request_header_version(api_version);
        let (rest, correlation_id) = field("correlation_id", rest, frame)?;
        // Never compact, not even in v2.
        let (rest, client_id) = field("client_id", rest, frame)?;
        let (rest, ()) = no_tags(rest, *version == 2)?;
        Ok((rest, Self { api_key, api_version, correlation_id, client_id }))
    }

    /// Writes the header in the version that belongs to its API and API version.
    ///
    /// # Errors
    /// When the API is not known, or the client id is longer than 32,767 bytes.
    pub fn write(&self, out: &mut impl Put) -> Result<(), EncodeError> {
        let refuse = |error: EncodeError| error.of("RequestHeader", 1);
        let api = Api::of(self.api_key).ok_or_else(|| refuse(EncodeError::new(EncodeErrorKind::UnsupportedVersion)))?;
        out.put_slice(&self.api_key.to_be_bytes());
        out.put_slice(&self.api_version.to_be_bytes());
        out.put_slice(&self.correlation_id.to_be_bytes());
        self.client_id.encode(PLAIN, out).map_err(|error| refuse(error.inside(Step::Field("client_id"))))?;
        if api.request_header_version(self.api_version) == 2 {
            put_uvarint(0, out);
        }
        Ok(())
    }

    /// The header as Kafka's tools print it.
    #[cfg(feature = "json")]
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "requestApiKey": self.api_key,
            "requestApiVersion": self.api_version,
            "correlationId": self.correlation_id,
            "clientId": self.client_id,
        })
    }
}

/// The head of a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseHeader {
    /// The number that the request bore.
    pub correlation_id: i32,
}

impl ResponseHeader {
    /// Reads the header of a frame that answers a request of this API and version; the rest of the frame is the body.
    ///
    /// # Errors
    /// When the bytes are no such header.
    pub fn read(frame: &Bytes, api: &Api, api_version: i16) -> Result<(Self, Bytes), ParseError> {
        let version = api.response_header_version(api_version);
        let parse = || {
            let (rest, correlation_id) = field("correlation_id", frame, frame)?;
            let (rest, ()) = no_tags(rest, version == 1)?;
            Ok((rest, Self { correlation_id }))
        };
        match parse() {
            Ok((body, header)) => Ok((header, frame.slice_ref(body))),
            Err(fault) => Err(ParseError::locate(fault, "ResponseHeader", version, frame.len())),
        }
    }

    /// Writes the header of a response to a request of this API and version.
    pub fn write(self, api: &Api, api_version: i16, out: &mut impl Put) {
        out.put_slice(&self.correlation_id.to_be_bytes());
        if api.response_header_version(api_version) == 1 {
            put_uvarint(0, out);
        }
    }

    /// The header as Kafka's tools print it.
    #[cfg(feature = "json")]
    #[must_use]
    pub fn json(self) -> serde_json::Value {
        serde_json::json!({ "correlationId": self.correlation_id })
    }
}

/// Fields of a header are in the plain encoding throughout.
const PLAIN: Version = Version { number: 1, flexible: false };

fn field<'a, T: Wire>(name: &'static str, input: &'a [u8], frame: &'a Bytes) -> Parsed<'a, T> {
    T::parse(input, Context { version: PLAIN, body: frame }).map_err(|fault| inside(fault, Step::Field(name)))
}

/// No tagged field of a header is known; all are skipped.
fn no_tags(input: &[u8], flexible: bool) -> Parsed<'_, ()> {
    parse_tags(input, Version { number: 0, flexible }, |_, _| Ok(()))
}
