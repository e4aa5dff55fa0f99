//! Kafka's codecs, framed as the Java client frames them.
//!
//! A record batch is compressed as one piece: its header stays as it is, its attributes name the codec, and its body is
//! what the codec made of the records.
//!
//! # In a program: a batch there and back
//!
//! ```
//! use kurier_compression::{Compression, CompressionType, DEFAULT_LIMIT_BYTES, decompress_batch};
//! use kurier_protocol::record_batch::{NewRecord, RecordBatch, RecordBatchBuilder, Stamp};
//!
//! let mut builder = RecordBatchBuilder::new();
//! for _ in 0..100 {
//!     builder.append(&NewRecord { timestamp: 1_700_000_000_000, value: Some(b"the same again"), ..Default::default() })?;
//! }
//! let sealed = builder.seal().unwrap();
//! let plain_bytes = sealed.body_bytes();
//!
//! # if !cfg!(feature = "lz4") { return Ok(()) }
//! let mut codec = Compression::new(CompressionType::Lz4).codec()?;
//! let sealed = codec.compress_batch(sealed)?;
//! assert!(sealed.body_bytes() < plain_bytes / 2);
//! let bytes = sealed.stamp(&Stamp::NONE)?.to_bytes();
//!
//! // The reader finds the codec in the attributes, and says how much it is ready to take.
//! let (batch, _) = RecordBatch::parse(&bytes)?;
//! let body = decompress_batch(&batch, DEFAULT_LIMIT_BYTES)?;
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
//! No default feature needs a C compiler. `zstd` does; where both zstd features are on, it is taken. Both write the
//! same sizes; C is the faster, by a little at level 1 and by half at level 3.
//!
//! # Under a fuzzer
//!
//! ```
//! use kurier_compression::{Compression, CompressionType};
//!
//! // Under cargo-fuzz: libfuzzer_sys::fuzz_target!(|data: &[u8]| target(CompressionType::Gzip, data));
//! fn target(kind: CompressionType, data: &[u8]) {
//!     const LIMIT_BYTES: usize = 1 << 20;
//!     let Ok(mut codec) = Compression::new(kind).codec() else { return };
//!     let mut plain = Vec::new();
//!     if codec.decompress(data, LIMIT_BYTES, &mut plain).is_ok() {
//!         assert!(plain.len() <= LIMIT_BYTES);
//!     }
//! }
//!
//! target(CompressionType::Gzip, b"\x1f\x8b\x08\0");
//! target(CompressionType::Snappy, b"\xff\xff\xff\xff\x0f"); // five bytes that claim four gigabytes
//! target(CompressionType::Lz4, b"\x04\x22\x4d\x18\x60\x40\x82\xff\xff\xff\x7f");
//! ```
//!
//! # Against captured traffic
//!
//! The body of a batch as `kurier decode` finds it in a capture, or as it stands in a log's segment. This is one of Java's
//! client before Kafka 4.3.1: a record of 19,214 bytes that repeat, under gzip.
//!
//! ```
//! # if !cfg!(feature = "gzip") { return Ok(()) }
//! use kurier_compression::{Compression, CompressionType};
//!
//! let body = b"\x1f\x8b\x08\0\0\0\0\0\0\xff\xed\xc77\x11\x80@\x10\0\xc0\x9b/\xd0C\x0erx\xd2\xe0\x02\x15\xa8x\x91\xa8\
//! \xa0\xdb\xed\xf6-)\x22\xaa|_OIu\xd3v\xfd0N\xf3\xb2\xe6m?Nwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww\xf7?\x1f\x1f{$\xfc\x8e\x0eK\0\0";
//! let mut plain = Vec::new();
//! Compression::new(CompressionType::Gzip).codec()?.decompress(body, 64 << 20, &mut plain)?;
//! assert_eq!(plain.len(), 0x4b0e);
//! assert!(plain.ends_with(b"0123456789abcdef\0"), "the value, and no headers");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Limits
//!
//! What comes out is limited by the caller, to the byte; so a bomb costs no more than the limit. Nothing is allocated on
//! the word of a header: what a codec allocates for an input of under 64 bytes is below 1 MiB (lz4: two blocks of
//! 4 MiB and 64 KiB; zstd: its window of 8 MiB and 1 MiB, beside what comes out). `tests/memory.rs` counts it; for what
//! C's zstd allocates unseen, the library's own word is taken.
//!
//! # Memory
//!
//! A [`Codec`] keeps its working memory, so make one and use it for batch after batch; it writes what a fresh one would.
//! Two things are different for zstd-pure: its encoder stays with the thread, one a level, so compress on few threads;
//! and a thread that is ending makes a fresh one. Readers keep nothing but for C's zstd: they are not a producer's hot
//! path.

#![warn(clippy::indexing_slicing, clippy::unwrap_used, reason = "what came off a wire must not end the process")]

mod error;
#[cfg(feature = "gzip")]
mod gzip;
#[cfg(feature = "lz4")]
mod lz4;
mod setting;
#[cfg(feature = "snappy")]
mod snappy;
#[cfg(any(feature = "zstd", feature = "zstd-pure"))]
mod zstd;

use std::borrow::Cow;
use std::fmt;

pub use kurier_protocol::CompressionType;
use kurier_protocol::record_batch::{RecordBatch, SealedBatch};

pub use error::{CompressError, DecompressError, InvalidLevel, Unavailable};
pub use setting::Compression;

/// What a batch may give where nothing else is known: 64 MiB, sixty-four times what brokers take of one by default
/// (`message.max.bytes`).
pub const DEFAULT_LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// Compresses and decompresses the body of record batches, and keeps its working memory from one to the next.
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
    /// Which codec it is.
    fn kind(&self) -> CompressionType;

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

    /// Compresses a batch's body, which must not yet be compressed.
    ///
    /// # Errors
    /// As [`compress`](Self::compress).
    fn compress_batch(&mut self, batch: SealedBatch) -> Result<SealedBatch, CompressError> {
        if self.kind() == CompressionType::None {
            return Ok(batch);
        }
        let chunks: Vec<&[u8]> = batch.body().iter().map(AsRef::as_ref).collect();
        // Half is what events come to; a vector that is too small doubles.
        let mut body = Vec::with_capacity(batch.body_bytes() / 2);
        self.compress(&chunks, &mut body)?;
        Ok(batch.with_compressed_body(self.kind(), vec![body.into()]))
    }
}

/// A batch's body as it was before compression, by whichever codec its attributes name.
///
/// # Errors
/// When the codec is not known or not built, the body is damaged, or gives more than `limit` bytes.
pub fn decompress_batch<'a>(batch: &RecordBatch<'a>, limit: usize) -> Result<Cow<'a, [u8]>, DecompressError> {
    let attributes = batch.header().attributes;
    let kind = attributes.compression_type().ok_or_else(|| DecompressError::UnknownCodec(attributes.codec_id()))?;
    if kind == CompressionType::None && batch.body().len() <= limit {
        return Ok(batch.body().into());
    }
    let mut body = Vec::new();
    Compression::new(kind).codec()?.decompress(batch.body(), limit, &mut body)?;
    Ok(body.into())
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
    fn kind(&self) -> CompressionType {
        CompressionType::None
    }

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
