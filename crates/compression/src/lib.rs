//! Kafka's codecs, framed as the Java client frames them.
//!
//! A record batch is compressed as one piece: its header is unchanged, its attributes name the codec, and its body is
//! the codec's output for the records.
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
//! | | writes | also reads | levels | feature |
//! |---|---|---|---|---|
//! | gzip | one member, header as of JDK 16 | more members | 1 to 9, or -1, which is 3 | `gzip` (default) |
//! | snappy | xerial's framing, blocks of 64 KiB | other block sizes; one bare block, as librdkafka and franz-go write | none | `snappy` (default) |
//! | lz4 | frame `04224d18 60 40 82`: independent blocks of 64 KiB | other block sizes, checksums, content size | 9, the fast one | `lz4` (default) |
//! | zstd | one frame with its content size | more frames, windows up to 8 MiB | -131072 to 22 | `zstd-pure` (Rust) or `zstd` (C) |
//!
//! The compressed bytes may differ from Java's, because the encoders choose different matches. The framing is the same,
//! except that Java's snappy blocks have 32 KiB, which compress worse. Each side reads the other's output.
//!
//! No default feature needs a C compiler. Only `zstd` does; it takes precedence if both zstd features are on. Both
//! libraries write the same sizes. C is a little faster at level 1 and faster by half at level 3.
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
//! The body of a batch, as `kurier decode` finds it in a capture or as a log segment contains it. This one is from
//! Java's client with Kafka 4.3.1: a record of 19,214 repetitive bytes, compressed with gzip.
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
//! The caller limits the output, exact to the byte, so a bomb costs no more than the limit. A claimed size alone
//! allocates nothing: for an input of under 64 bytes, a codec allocates less than 1 MiB, except lz4 (two blocks of 4
//! MiB, and 64 KiB) and zstd (its window of 8 MiB, and 1 MiB, in addition to the output). `tests/memory.rs` counts the
//! allocations. It cannot count those of C's zstd, so a test uses the library's own figure.
//!
//! # Memory
//!
//! A [`Codec`] keeps its working memory, so use one for many batches. Its output is the same as a fresh codec's.
//! zstd-pure differs in two ways: its encoder belongs to the thread, one per level, so compress on few threads; and a
//! thread that is ending creates a fresh encoder. Except for C's zstd, readers keep no memory, because a producer
//! rarely reads.

#![warn(clippy::indexing_slicing, clippy::unwrap_used, reason = "what came off a wire must not end the process")]

mod codec;
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

#[cfg(all(doctest, feature = "lz4"))]
#[doc = include_str!("../README.md")]
mod readme {}

use std::borrow::Cow;

pub use kurier_protocol::CompressionType;
use kurier_protocol::record_batch::RecordBatch;

pub use codec::Codec;
pub use error::{CompressError, DecompressError, InvalidLevel, Unavailable};
pub use setting::Compression;

/// Default limit for the output of a batch: 64 MiB, sixty-four times the default size limit of brokers
/// (`message.max.bytes`).
pub const DEFAULT_LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// Decompresses a batch's body with the codec in its attributes.
///
/// # Errors
/// When the codec is unknown or not in this build, the body is damaged, or the output exceeds `limit` bytes.
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
    /// Creates a codec of this type and level.
    ///
    /// # Errors
    /// When this build lacks the codec: each codec is a feature of the crate.
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

/// The codec that does not compress.
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
