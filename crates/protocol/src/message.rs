//! Traits of messages: read from a frame's body, write, print.

use std::cell::Cell;
use std::fmt;
use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::context::{Context, Version, allowance};
use crate::error::{EncodeError, EncodeErrorKind, Fault, ParseError, ParseErrorKind};
use crate::put::Put;
use crate::schema::Struct;
use crate::wire::{Wire, encoded_len};

/// The body of a request or response. One structure serves all versions of an API.
///
/// After reading, a field that the version does not have holds its default. Writing fails if such a field is set,
/// unless Kafka calls it ignorable.
///
/// ```
/// use kurier_protocol::Message;
/// use kurier_protocol::messages::EndTxnResponse;
///
/// assert_eq!((EndTxnResponse::SCHEMA.name, EndTxnResponse::KEY), ("EndTxnResponse", 26));
/// assert_eq!((EndTxnResponse::VERSIONS, EndTxnResponse::FLEXIBLE_SINCE), (0..=5, 3));
///
/// // Version 5 brought the producer's id, and an older one may drop it.
/// let response = EndTxnResponse { producer_id: 4000, ..Default::default() };
/// let mut body = Vec::new();
/// response.write(4, &mut body)?;
/// assert_eq!(body.len(), response.written_len(4)?);
/// assert_eq!(EndTxnResponse::read(&body.into(), 4)?.producer_id, -1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[expect(private_bounds, reason = "sealed: how a message is encoded is this crate's own affair")]
pub trait Message: Wire + fmt::Debug + Default + Send + Sync + 'static {
    /// The message's name and fields.
    const SCHEMA: &'static Struct;
    /// The API's key.
    const KEY: i16;
    /// The versions that this crate speaks.
    const VERSIONS: RangeInclusive<i16>;
    /// The first flexible version (KIP-482: compact lengths, tagged fields); `i16::MAX` if there is none.
    const FLEXIBLE_SINCE: i16;

    /// Reads a complete body. Fields of type bytes and records share `body` instead of copying.
    ///
    /// # Errors
    /// When the version is not in [`VERSIONS`](Self::VERSIONS), or the bytes are not such a message.
    fn read(body: &Bytes, version: i16) -> Result<Self, ParseError> {
        let what = Self::SCHEMA.name;
        let Some(of) = version_of::<Self>(version) else {
            return Err(ParseError::whole(what, version, ParseErrorKind::UnsupportedVersion));
        };
        let locate = |fault| ParseError::locate(fault, what, version, body.len());
        let allowance = Cell::new(allowance(body));
        match Self::parse(body, Context { version: of, body, allowance: &allowance }).map_err(locate)? {
            ([], message) => Ok(message),
            (rest, _) => Err(locate(nom::Err::Failure(Fault::new(ParseErrorKind::TrailingBytes(rest.len()), rest)))),
        }
    }

    /// Writes the body.
    ///
    /// # Errors
    /// When the version is not in [`VERSIONS`](Self::VERSIONS) or lacks a field that is set, or when a length does not
    /// fit its prefix. The bytes written before an error are useless.
    fn write(&self, version: i16, out: &mut impl Put) -> Result<(), EncodeError> {
        let what = Self::SCHEMA.name;
        match version_of::<Self>(version) {
            Some(of) => self.encode(of, out).map_err(|error| error.of(what, version)),
            None => Err(EncodeError::new(EncodeErrorKind::UnsupportedVersion).of(what, version)),
        }
    }

    /// Returns the number of bytes that [`write`](Self::write) would write.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    fn written_len(&self, version: i16) -> Result<usize, EncodeError> {
        let what = Self::SCHEMA.name;
        match version_of::<Self>(version) {
            Some(of) => encoded_len(self, of).map_err(|error| error.of(what, version)),
            None => Err(EncodeError::new(EncodeErrorKind::UnsupportedVersion).of(what, version)),
        }
    }

    /// Returns the fields of this version as a JSON object, in the form of Kafka's tools. Records are printed by their
    /// size.
    #[cfg(feature = "json")]
    fn json(&self, version: i16) -> serde_json::Value {
        self.json_with(version, &|_| None)
    }

    /// Like [`json`](Self::json), and adds the result of `records` for record data.
    #[cfg(feature = "json")]
    fn json_with(
        &self,
        version: i16,
        records: &dyn Fn(&crate::records::Records) -> Option<serde_json::Value>,
    ) -> serde_json::Value {
        let version = Version { number: version, flexible: version >= Self::FLEXIBLE_SINCE };
        self.to_json(crate::json::View { version, records })
    }
}

/// A request message.
///
/// ```
/// use kurier_protocol::{Message, Request};
/// use kurier_protocol::messages::EndTxnRequest;
///
/// assert_eq!(<EndTxnRequest as Request>::Response::SCHEMA.name, "EndTxnResponse");
/// ```
pub trait Request: Message {
    /// The response message.
    type Response: Message;
}

fn version_of<M: Message>(version: i16) -> Option<Version> {
    M::VERSIONS.contains(&version).then_some(Version { number: version, flexible: version >= M::FLEXIBLE_SINCE })
}
