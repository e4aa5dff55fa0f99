//! The trait of codecs.

use std::fmt;

use kurier_protocol::CompressionType;
use kurier_protocol::record_batch::SealedBatch;

use crate::error::{CompressError, DecompressError};

/// Compresses and decompresses the bodies of record batches, and reuses its working memory.
///
/// ```
/// use kurier_compression::{Codec, Compression, CompressionType, DecompressError};
///
/// # if !cfg!(feature = "gzip") { return Ok(()) }
/// let mut codec = Compression::new(CompressionType::Gzip).codec()?;
/// let mut frame = Vec::new();
/// codec.compress(&[b"one piece, ", b"and another"], &mut frame)?;
///
/// let mut text = Vec::new();
/// codec.decompress(&frame, 1000, &mut text)?;
/// assert_eq!(text, b"one piece, and another");
///
/// let error = codec.decompress(&frame, 10, &mut Vec::new()).unwrap_err();
/// assert_eq!(error, DecompressError::TooLarge { codec: CompressionType::Gzip, limit: 10 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Codec: fmt::Debug + Send {
    /// The codec's type.
    fn kind(&self) -> CompressionType;

    /// Compresses the concatenation of `input` and appends the result to `output`.
    ///
    /// # Errors
    /// When the compression library fails, which is not expected.
    fn compress(&mut self, input: &[&[u8]], output: &mut Vec<u8>) -> Result<(), CompressError>;

    /// Decompresses all of `input` and appends the result to `output`.
    ///
    /// # Errors
    /// When `input` is damaged, or its output exceeds `limit` bytes. The contents of `output` are then useless.
    fn decompress(&mut self, input: &[u8], limit: usize, output: &mut Vec<u8>) -> Result<(), DecompressError>;

    /// Compresses a batch's body, which must be uncompressed.
    ///
    /// # Errors
    /// As [`compress`](Self::compress).
    fn compress_batch(&mut self, batch: SealedBatch) -> Result<SealedBatch, CompressError> {
        if self.kind() == CompressionType::None {
            return Ok(batch);
        }
        let chunks: Vec<&[u8]> = batch.body().iter().map(AsRef::as_ref).collect();
        // Events compress to about half; a vector that is too small doubles.
        let mut body = Vec::with_capacity(batch.body_bytes() / 2);
        self.compress(&chunks, &mut body)?;
        Ok(batch.with_compressed_body(self.kind(), vec![body.into()]))
    }
}

/// Reads all output of `reader`, up to `limit` bytes.
#[cfg(any(feature = "gzip", feature = "lz4", feature = "zstd", feature = "zstd-pure"))]
pub(crate) fn limited(
    codec: CompressionType,
    reader: impl std::io::Read,
    limit: usize,
    output: &mut Vec<u8>,
) -> Result<(), DecompressError> {
    let start = output.len();
    let one_more = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut reader = std::io::Read::take(reader, one_more);
    std::io::Read::read_to_end(&mut reader, output).map_err(|error| DecompressError::damaged(codec, error))?;
    if output.len() - start > limit { Err(DecompressError::TooLarge { codec, limit }) } else { Ok(()) }
}
