//! Kafka's codecs, framed as the Java client frames them.
mod error;
#[cfg(feature = "gzip")]
mod gzip;
#[cfg(feature = "lz4")]
mod lz4;
#[cfg(feature = "snappy")]
mod snappy;
mod types;
#[cfg(any(feature = "zstd", feature = "zstd-pure"))]
mod zstd;

use std::fmt;

pub use error::{CompressError, DecompressError, InvalidLevel, Unavailable, UnknownCompression};
pub use types::{Compression, CompressionType};

/// Compresses and decompresses the body of record batches, and keeps its working memory from one to the next.
pub trait Codec: fmt::Debug + Send {
    /// Compresses the concatenation of `input` and appends the result to `output`.
    ///
    /// # Errors
    /// When the library below fails, which it has no reason to.
    fn compress(&mut self, input: &[&[u8]], output: &mut Vec<u8>) -> Result<(), CompressError>;

    /// Decompresses `input`, all of it, and appends the result to `output`.
    ///
    /// # Errors
    /// When `input` is damaged, or gives more than `limit` bytes. What `output` holds by then is of no use.
    fn decompress(&mut self, input: &[u8], limit: usize, output: &mut Vec<u8>) -> Result<(), DecompressError>;
}

impl Compression {
    /// A codec of this type and level.
    ///
    /// # Errors
    /// When this build does not have it: each codec is a feature of the crate.
    pub fn codec(self) -> Result<Box<dyn Codec>, Unavailable> {
        match self.kind() {
            CompressionType::None => Ok(Box::new(Identity)),
            #[cfg(feature = "gzip")]
            CompressionType::Gzip => Ok(Box::new(gzip::Gzip::new(self.level()))),
            #[cfg(feature = "snappy")]
            CompressionType::Snappy => Ok(Box::new(snappy::Snappy::new())),
            #[cfg(feature = "lz4")]
            CompressionType::Lz4 => Ok(Box::new(lz4::Lz4::new())),
            #[cfg(any(feature = "zstd", feature = "zstd-pure"))]
            CompressionType::Zstd => Ok(Box::new(zstd::Zstd::new(self.level()))),
            #[allow(unreachable_patterns, reason = "reached when a feature is off")]
            codec => Err(Unavailable { codec }),
        }
    }
}

/// No compression.
#[derive(Debug)]
struct Identity;

impl Codec for Identity {
    fn compress(&mut self, input: &[&[u8]], output: &mut Vec<u8>) -> Result<(), CompressError> {
        for chunk in input {
            output.extend_from_slice(chunk);
        }
        Ok(())
    }

    fn decompress(&mut self, input: &[u8], limit: usize, output: &mut Vec<u8>) -> Result<(), DecompressError> {
        if input.len() > limit {
            return Err(DecompressError::TooLarge { codec: CompressionType::None, limit });
        }
        output.extend_from_slice(input);
        Ok(())
    }
}

/// Reads all that comes out of `reader`, but no more than `limit` bytes.
#[cfg(any(feature = "gzip", feature = "lz4", feature = "zstd", feature = "zstd-pure"))]
fn limited(
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
