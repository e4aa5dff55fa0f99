//! Kafka's codecs, framed as the Java client frames them.
//!
//! A record batch is compressed as one piece: its header stays as it is, its attributes name the codec, and its body is
//! what the codec made of the records.
//!
//! ```
//! use kurier_compression::{Compression, CompressionType};
//! use kurier_protocol::record_batch::{NewRecord, RecordBatch, RecordBatchBuilder, Stamp};
//!
//! let mut builder = RecordBatchBuilder::new();
//! for _ in 0..100 {
//!     builder.append(&NewRecord { timestamp: 1_700_000_000_000, value: Some(b"the same again"), ..Default::default() })?;
//! }
//! let sealed = builder.seal();
//!
//! // The body's chunks go in, one comes out.
//! let mut codec = Compression::new(CompressionType::Lz4).codec()?;
//! let chunks: Vec<&[u8]> = sealed.body().iter().map(AsRef::as_ref).collect();
//! let mut body = Vec::new();
//! codec.compress(&chunks, &mut body)?;
//! assert!(body.len() < sealed.body_bytes() / 2);
//! let records = sealed.compressed(CompressionType::Lz4.id(), vec![body.into()]).stamp(&Stamp::default())?;
//!
//! // The reader finds the codec in the attributes, and says how much it is ready to take.
//! let bytes = records.to_bytes();
//! let (batch, _) = RecordBatch::parse(&bytes)?;
//! let kind = CompressionType::from_id(batch.header().attributes.codec()).expect("an id in use");
//! let mut body = Vec::new();
//! Compression::new(kind).codec()?.decompress(batch.body(), 64 << 20, &mut body)?;
//! assert_eq!(batch.records_in(&body)?.count(), 100);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The codecs
//!
//! | | written | read besides | levels | feature |
//! |---|---|---|---|---|
//! | gzip | one member, header as of JDK 16 | more members | 1 to 9, or -1 | `gzip` (default) |
//! | snappy | xerial's framing, blocks of 32 KiB | one bare block, as librdkafka and franz-go write | none | `snappy` (default) |
//! | lz4 | frame `04224d18 60 40 82`: independent blocks of 64 KiB | other block sizes, checksums, content size | 9, the fast one | `lz4` (default) |
//! | zstd | one frame with its content size | more frames, windows up to 8 MiB | -131072 to 22 | `zstd-pure` (Rust) or `zstd` (C) |
//!
//! The bytes inside a frame are not Java's to the letter, for two encoders choose their matches differently; the frames
//! are, and each side reads the other's.
//!
//! No default feature needs a C compiler. `zstd` does; where both zstd features are on, it is taken. On 1 MB of JSON
//! events at level 3 the pure one took 3.6 ms where C took 1.9, for the same size, and at level 1 1.8 ms where C took 1.5
//! (structured-zstd 0.2.6, zstd 1.5.7, one core of a shared machine, the mean of ten).
//!
//! # Limits
//!
//! What comes out is limited by the caller, to the byte; so a bomb costs no more than the limit. Nothing is allocated on
//! the word of a header: what a codec allocates for an input of under 64 bytes is below 1 MiB (lz4: two blocks of
//! 4 MiB and 64 KiB; zstd: its window of 8 MiB and 1 MiB), counted in `tests/memory.rs`.
//!
//! # Memory
//!
//! A [`Codec`] keeps its working memory, so make one and use it for batch after batch; it writes what a fresh one would.
//! (The pure zstd keeps its own once a thread. Readers keep none but for C's zstd: they are not a producer's hot path.)

#![warn(clippy::indexing_slicing, clippy::unwrap_used, reason = "what came off a wire must not end the process")]

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
///
/// ```
/// use kurier_compression::{Codec, Compression, CompressionType, DecompressError};
///
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
