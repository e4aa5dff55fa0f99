//! Bytes that must not appear in logs.

use std::fmt;

use bytes::Bytes;

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
