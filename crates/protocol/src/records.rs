//! The `records` type of Kafka's descriptors: the encoded record batches of one partition, as a list of chunks.

use std::fmt;

use bytes::Bytes;

/// Encoded record batches, as the chunks in which they were built or as one received chunk.
///
/// A clone shares the bytes, so a retry sends the same bytes. Two values are equal if their bytes are, whatever their
/// chunks.
///
/// ```
/// use bytes::Bytes;
/// use kurier_protocol::Records;
///
/// let built: Records = vec![Bytes::from_static(b"header"), Bytes::from_static(b"body")].into();
/// assert_eq!(built.len(), 10);
/// assert_eq!(built, Records::from(Bytes::from_static(b"headerbody")));
/// assert_eq!(built.to_bytes(), "headerbody");
/// ```
#[derive(Clone, Default)]
pub struct Records {
    chunks: Vec<Bytes>,
    len: usize,
}

impl Records {
    /// The chunks in order.
    #[must_use]
    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    /// Total size in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns all bytes in one piece; copies unless there is only one chunk.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self.chunks.as_slice() {
            [] => Bytes::new(),
            [only] => only.clone(),
            chunks => chunks.concat().into(),
        }
    }
}

impl From<Vec<Bytes>> for Records {
    fn from(chunks: Vec<Bytes>) -> Self {
        let len = chunks.iter().map(Bytes::len).sum();
        Self { chunks, len }
    }
}

impl From<Bytes> for Records {
    fn from(chunk: Bytes) -> Self {
        vec![chunk].into()
    }
}

impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        let bytes = |records: &Self| records.chunks.clone().into_iter().flatten();
        self.len == other.len && bytes(self).eq(bytes(other))
    }
}

impl Eq for Records {}

impl fmt::Debug for Records {
    /// Prints only the size, to keep payload out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Records({} bytes)", self.len)
    }
}
