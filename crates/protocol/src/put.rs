//! Sinks for encoded bytes: one buffer, a list of chunks that shares large pieces instead of copying them, or a
//! counter.
//!
//! `bytes::BufMut` is an unsafe trait, so implementing it for a counter would need `unsafe`. This module has its own
//! trait.

use bytes::{Bytes, BytesMut};

/// A sink for encoded bytes.
///
/// ```
/// use kurier_protocol::messages::EndTxnRequest;
/// use kurier_protocol::{Message, Put};
///
/// /// Adds all bytes up.
/// struct Sum(u32);
///
/// impl Put for Sum {
///     fn put_slice(&mut self, bytes: &[u8]) {
///         self.0 += bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
///     }
/// }
///
/// let mut sum = Sum(0);
/// EndTxnRequest { committed: true, ..Default::default() }.write(0, &mut sum)?;
/// assert_eq!(sum.0, 1);
/// # Ok::<(), kurier_protocol::EncodeError>(())
/// ```
pub trait Put {
    /// Appends a copy of `bytes`.
    fn put_slice(&mut self, bytes: &[u8]);

    /// Appends `bytes`; some sinks keep a reference instead of a copy.
    fn put_shared(&mut self, bytes: &Bytes) {
        self.put_slice(bytes);
    }
}

impl Put for Vec<u8> {
    fn put_slice(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Put for BytesMut {
    fn put_slice(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Counts the bytes and discards them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count(pub(crate) usize);

impl Put for Count {
    fn put_slice(&mut self, bytes: &[u8]) {
        // The slices exist in memory, so their sum is far below the maximum of usize.
        self.0 = self.0.saturating_add(bytes.len());
    }
}

/// Collects a message as chunks for a vectored write: small pieces are copied together, large ones are shared.
///
/// ```
/// use bytes::Bytes;
/// use kurier_protocol::{Chunks, Put};
///
/// let records = Bytes::from(vec![7; 10_000]);
/// let mut out = Chunks::new();
/// out.put_slice(b"head");
/// out.put_shared(&records);
/// out.put_slice(b"tail");
///
/// let chunks = out.finish();
/// assert_eq!(chunks.len(), 3);
/// assert_eq!(chunks[1].as_ptr(), records.as_ptr(), "shared, not copied");
/// ```
#[derive(Debug, Default)]
pub struct Chunks {
    done: Vec<Bytes>,
    glue: BytesMut,
}

impl Chunks {
    /// Size from which a piece is shared. Copying a smaller piece is cheaper than its own slot in a vectored write.
    pub const SHARE_FROM_BYTES: usize = 4096;

    /// Creates an empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the chunks in order. No chunk is empty.
    #[must_use]
    pub fn finish(mut self) -> Vec<Bytes> {
        self.close_glue();
        self.done
    }

    fn close_glue(&mut self) {
        if !self.glue.is_empty() {
            self.done.push(self.glue.split().freeze());
        }
    }
}

impl Put for Chunks {
    fn put_slice(&mut self, bytes: &[u8]) {
        self.glue.extend_from_slice(bytes);
    }

    fn put_shared(&mut self, bytes: &Bytes) {
        if bytes.len() < Self::SHARE_FROM_BYTES {
            self.put_slice(bytes);
        } else {
            self.close_glue();
            self.done.push(bytes.clone());
        }
    }
}
