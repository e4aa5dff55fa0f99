//! Kafka's 128-bit ids, mainly of topics (KIP-516).

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A 128-bit id, written as Kafka's tools write it: URL-safe base64 without padding.
///
/// ```
/// use kurier_protocol::Uuid;
///
/// let id: Uuid = "MPWPWDkbFUP9neTy_aU0qQ".parse()?;
/// assert_eq!(id.to_string(), "MPWPWDkbFUP9neTy_aU0qQ");
/// assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
/// # Ok::<(), kurier_protocol::InvalidUuid>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// All zeros: no id (`Uuid.ZERO_UUID`).
    pub const ZERO: Self = Self([0; 16]);
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uuid({self})")
    }
}

impl FromStr for Uuid {
    type Err = InvalidUuid;

    fn from_str(text: &str) -> Result<Self, InvalidUuid> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidUuid)?;
        bytes.try_into().map(Self).map_err(|_| InvalidUuid)
    }
}

/// A text that is not a Kafka id. An id has 22 characters of URL-safe base64.
///
/// ```
/// use kurier_protocol::{InvalidUuid, Uuid};
///
/// assert_eq!("orders".parse::<Uuid>(), Err(InvalidUuid));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUuid;

impl fmt::Display for InvalidUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Kafka id is 22 characters of URL-safe base64, such as MPWPWDkbFUP9neTy_aU0qQ")
    }
}

impl std::error::Error for InvalidUuid {}
