//! Headers before every body: request headers v1 and v2, response headers v0 and v1.
//!
//! Flexible versions of an API use the newer headers, with one exception: the response to ApiVersions always has header
//! v0, because the client must read it before it knows the broker's versions (KIP-511). Request header v0 belongs only
//! to ControlledShutdown v0 and is not supported.

use std::cell::Cell;

use bytes::Bytes;

use crate::api::Api;
use crate::context::{Context, Parsed, Version, fail};
use crate::error::{EncodeError, EncodeErrorKind, ParseError, ParseErrorKind, Step, inside};
use crate::field::parse_tags;
use crate::ids::CorrelationId;
use crate::put::Put;
use crate::varint::put_uvarint;
use crate::wire::{Lengthed, Wire, put_length};

/// The header of a request.
///
/// ```
/// use kurier_protocol::{CorrelationId, RequestHeader};
///
/// let (correlation_id, client_id) = (CorrelationId(7), Some("me".to_owned()));
/// let header = RequestHeader { api_key: 3, api_version: 12, correlation_id, client_id };
/// let mut frame = Vec::new();
/// header.write(&mut frame)?;
/// frame.extend_from_slice(b"body");
/// assert_eq!(RequestHeader::read(&frame.into())?, (header, "body".into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHeader {
    /// The API's key.
    pub api_key: i16,
    /// The version of the body and of the response.
    pub api_version: i16,
    /// The number that the response will carry.
    pub correlation_id: CorrelationId,
    /// The client's name, for the broker's logs and quotas (`client.id`).
    pub client_id: Option<String>,
}

impl RequestHeader {
    /// Reads the header of a frame; the rest of the frame is the body.
    ///
    /// # Errors
    /// When the bytes are not a header, or this crate does not know the API.
    pub fn read(frame: &Bytes) -> Result<(Self, Bytes), ParseError> {
        let mut version = 1;
        match Self::parse(Context { version: PLAIN, body: frame, allowance: &Cell::new(NO_ARRAYS) }, &mut version) {
            Ok((body, header)) => Ok((header, frame.slice_ref(body))),
            Err(fault) => Err(ParseError::locate(fault, "RequestHeader", version, frame.len())),
        }
    }

    fn parse<'a>(context: Context<'a>, version: &mut i16) -> Parsed<'a, Self> {
        let (rest, api_key) = field("request_api_key", context.body, context)?;
        let Some(api) = Api::of(api_key) else {
            return fail(ParseErrorKind::UnknownApi(api_key), context.body);
        };
        let (rest, api_version) = field("request_api_version", rest, context)?;
        *version = api.request_header_version(api_version);
        let (rest, correlation_id) = field("correlation_id", rest, context)?;
        let correlation_id = CorrelationId(correlation_id);
        // A plain string even in header v2.
        let (rest, client_id) = field("client_id", rest, context)?;
        let (rest, ()) = no_tags(rest, *version == 2)?;
        Ok((rest, Self { api_key, api_version, correlation_id, client_id }))
    }

    /// Writes the header, in the header version for its API and API version.
    ///
    /// # Errors
    /// When the API is unknown, or the client id is longer than 32,767 bytes.
    pub fn write(&self, out: &mut impl Put) -> Result<(), EncodeError> {
        let unknown = || EncodeError::new(EncodeErrorKind::UnknownApi(self.api_key)).of("RequestHeader", 1);
        let api = Api::of(self.api_key).ok_or_else(unknown)?;
        put_request_header(api, self.api_version, self.correlation_id, self.client_id.as_deref(), out)
    }

    /// The header as Kafka's tools print it.
    #[cfg(feature = "json")]
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "requestApiKey": self.api_key,
            "requestApiVersion": self.api_version,
            "correlationId": self.correlation_id.0,
            "clientId": self.client_id,
        })
    }
}

/// Writes a request's header.
pub(crate) fn put_request_header(
    api: &Api,
    api_version: i16,
    correlation_id: CorrelationId,
    client_id: Option<&str>,
    out: &mut impl Put,
) -> Result<(), EncodeError> {
    let version = api.request_header_version(api_version);
    let refuse = |error: EncodeError| error.inside(Step::Field("client_id")).of("RequestHeader", version);
    out.put_slice(&api.key().to_be_bytes());
    out.put_slice(&api_version.to_be_bytes());
    out.put_slice(&correlation_id.0.to_be_bytes());
    put_length(client_id.map(str::len), String::PREFIX, PLAIN, out).map_err(refuse)?;
    out.put_slice(client_id.unwrap_or_default().as_bytes());
    if version == 2 {
        put_uvarint(0, out);
    }
    Ok(())
}

/// The header of a response.
///
/// ```
/// use kurier_protocol::{Api, CorrelationId, ResponseHeader};
///
/// let api = Api::named("Metadata").unwrap();
/// let mut frame = Vec::new();
/// ResponseHeader { correlation_id: CorrelationId(7) }.write(api, 12, &mut frame);
/// assert_eq!(frame, [0, 0, 0, 7, 0], "and no tagged fields");
/// let (header, body) = ResponseHeader::read(&frame.into(), api, 12)?;
/// assert_eq!((header.correlation_id, body.len()), (CorrelationId(7), 0));
/// # Ok::<(), kurier_protocol::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseHeader {
    /// The number of the request.
    pub correlation_id: CorrelationId,
}

impl ResponseHeader {
    /// Reads the header of a response to a request of this API and version. The rest of the frame is the body.
    ///
    /// # Errors
    /// When the bytes are not such a header.
    pub fn read(frame: &Bytes, api: &Api, api_version: i16) -> Result<(Self, Bytes), ParseError> {
        let version = api.response_header_version(api_version);
        let parse = |context| {
            let (rest, correlation_id) = field("correlation_id", frame, context)?;
            let correlation_id = CorrelationId(correlation_id);
            let (rest, ()) = no_tags(rest, version == 1)?;
            Ok((rest, Self { correlation_id }))
        };
        match parse(Context { version: PLAIN, body: frame, allowance: &Cell::new(NO_ARRAYS) }) {
            Ok((body, header)) => Ok((header, frame.slice_ref(body))),
            Err(fault) => Err(ParseError::locate(fault, "ResponseHeader", version, frame.len())),
        }
    }

    /// Writes the header of a response to a request of this API and version.
    pub fn write(self, api: &Api, api_version: i16, out: &mut impl Put) {
        out.put_slice(&self.correlation_id.0.to_be_bytes());
        if api.response_header_version(api_version) == 1 {
            put_uvarint(0, out);
        }
    }

    /// The header as Kafka's tools print it.
    #[cfg(feature = "json")]
    #[must_use]
    pub fn json(self) -> serde_json::Value {
        serde_json::json!({ "correlationId": self.correlation_id.0 })
    }
}

/// All header fields use the plain encoding.
const PLAIN: Version = Version { number: 1, flexible: false };

/// A header has no arrays, so it needs no allowance for them.
const NO_ARRAYS: usize = 0;

fn field<'a, T: Wire>(name: &'static str, input: &'a [u8], context: Context<'a>) -> Parsed<'a, T> {
    T::parse(input, context).map_err(|fault| inside(fault, Step::Field(name)))
}

/// Skips the tagged fields of a header; this crate knows none.
fn no_tags(input: &[u8], flexible: bool) -> Parsed<'_, ()> {
    parse_tags(input, Version { number: 0, flexible }, |_, _| Ok(()))
}
