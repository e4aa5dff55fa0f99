//! Bytes that must not appear in logs.

use std::fmt;

use bytes::Bytes;

use crate::error::{EncodeError, ParseErrorKind};
use crate::put::Put;
use crate::schema::Type;
use crate::wire::{Context, Lengthed, Parsed, Prefix, Version, fail, shared_bytes};

/// The token of a SASL exchange: ordinary bytes on the wire, but `Debug` prints only their number.
///
/// ```
/// use kurier_protocol::Secret;
///
/// let token = Secret::from(&b"\0alice\0alice-secret"[..]);
/// assert_eq!(format!("{token:?}"), "Secret(19 bytes)");
/// assert_eq!(token.reveal().len(), 19);
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Bytes);

impl Secret {
    /// Maximum size of a token; no mechanism needs more.
    pub const LIMIT_BYTES: usize = 64 * 1024;

    /// Returns the bytes.
    #[must_use]
    pub fn reveal(&self) -> &Bytes {
        &self.0
    }
}

impl From<Bytes> for Secret {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for Secret {
    fn from(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

impl Lengthed for Secret {
    const TYPE: Type = Type::Bytes;
    const PREFIX: Prefix = Prefix::I32;

    fn length(&self) -> usize {
        self.0.len()
    }

    fn parse_content<'a>(length: usize, input: &'a [u8], context: Context<'a>) -> Parsed<'a, Self> {
        if length > Self::LIMIT_BYTES {
            return fail(ParseErrorKind::BytesTooLong(length), input);
        }
        let (rest, bytes) = shared_bytes(length, input, context)?;
        Ok((rest, Self(bytes)))
    }

    fn encode_content(&self, _: Version, out: &mut impl Put) -> Result<(), EncodeError> {
        out.put_shared(&self.0);
        Ok(())
    }

    #[cfg(feature = "json")]
    fn to_json(&self, _: crate::json::View<'_>) -> serde_json::Value {
        crate::json::base64(&self.0)
    }
}
