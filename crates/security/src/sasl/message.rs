//! Bytes of an exchange.

use std::fmt;

use zeroize::Zeroizing;

/// A message to the broker: the `auth_bytes` of a SaslAuthenticate request. `Debug` hides it, and its memory is erased
/// when it is dropped. See [`Exchange`](crate::Exchange) for an example.
#[derive(Clone)]
pub struct Message(Zeroizing<Vec<u8>>);

impl Message {
    /// Joins the parts, without a copy that stays in memory.
    pub(super) fn concat(parts: &[&[u8]]) -> Self {
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            bytes.extend_from_slice(part);
        }
        Self(Zeroizing::new(bytes))
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}
