//! Headers of records.

use std::fmt;

/// A header of a record. Kafka expects UTF-8 keys but does not check them, and neither does this crate.
///
/// ```
/// use kurier_protocol::record_batch::{Header, NewRecord};
///
/// let headers = [Header { key: b"trace", value: Some(b"ab12") }, Header { key: b"trace", value: None }];
/// let record = NewRecord { headers: &headers, ..Default::default() };
/// assert_eq!(format!("{:?}", record.headers[0]), "Header { key: 5 bytes, value: 4 bytes }");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// The key, which may be empty and may repeat.
    pub key: &'a [u8],
    /// The value; `None` is null.
    pub value: Option<&'a [u8]>,
}

impl fmt::Debug for Header<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header").field("key", &Size(Some(self.key))).field("value", &Size(self.value)).finish()
    }
}

/// Prints only the size of a payload, to keep it out of logs.
pub(super) struct Size<'a>(pub(super) Option<&'a [u8]>);

impl fmt::Debug for Size<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("null"),
            Some(bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}
