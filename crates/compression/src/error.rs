//! Errors of the codecs.

use kurier_protocol::CompressionType;
use thiserror::Error;

/// A failure of a compression library.
///
/// ```
/// use kurier_compression::{CompressError, CompressionType};
///
/// let error = CompressError { codec: CompressionType::Gzip, reason: "out of luck".to_owned() };
/// assert_eq!(error.to_string(), "gzip failed to compress: out of luck; this is a bug, please report it");
/// ```
#[derive(Clone, Debug, Error)]
#[error("{codec} failed to compress: {reason}; this is a bug, please report it")]
pub struct CompressError {
    /// The codec.
    pub codec: CompressionType,
    /// The library's error, as text: no type of the library is in this crate's API.
    pub reason: String,
}

/// Compressed data that cannot be read. See [`Codec`](crate::Codec) for an example.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecompressError {
    /// The output exceeds the caller's limit, or a header announces that it will.
    #[error("the {codec} data holds more than the limit of {limit} bytes")]
    TooLarge {
        /// The codec.
        codec: CompressionType,
        /// The caller's limit in bytes.
        limit: usize,
    },
    /// The data is damaged or truncated.
    #[error("the {codec} data is damaged: {reason}")]
    Damaged {
        /// The codec.
        codec: CompressionType,
        /// The codec's error, as text.
        reason: String,
    },
    /// Kafka has no codec with this id.
    #[error("the batch has the unknown codec id {0}")]
    UnknownCodec(u8),
    /// The batch uses a codec that this build lacks.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl DecompressError {
    #[cfg(any(feature = "gzip", feature = "snappy", feature = "lz4", feature = "zstd", feature = "zstd-pure"))]
    pub(crate) fn damaged(codec: CompressionType, reason: impl ToString) -> Self {
        Self::Damaged { codec, reason: reason.to_string() }
    }
}

/// A level that the codec does not have. See [`Compression`](crate::Compression) for an example.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{codec} has no level {level}: {allowed}")]
pub struct InvalidLevel {
    /// The codec.
    pub codec: CompressionType,
    /// The requested level.
    pub level: i32,
    /// The allowed levels, and the reason.
    pub allowed: &'static str,
}

/// A codec that this build lacks.
///
/// ```
/// use kurier_compression::{CompressionType, Unavailable};
///
/// assert_eq!(
///     Unavailable { codec: CompressionType::Zstd }.to_string(),
///     "this build has no zstd: build it with the crate feature zstd, or zstd-pure, which needs no C compiler"
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this build has no {codec}: build it with the crate feature {}", feature_of(*.codec))]
pub struct Unavailable {
    /// The codec.
    pub codec: CompressionType,
}

fn feature_of(codec: CompressionType) -> &'static str {
    match codec {
        CompressionType::Zstd => "zstd, or zstd-pure, which needs no C compiler",
        other => other.name(),
    }
}
