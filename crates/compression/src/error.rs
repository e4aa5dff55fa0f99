//! What can go wrong, for whom, and what to do.

use thiserror::Error;

use crate::types::CompressionType;

/// A library failed to compress.
#[derive(Clone, Debug, Error)]
#[error("{codec} failed to compress: {reason}; this is a bug, please report it")]
pub struct CompressError {
    /// Which codec.
    pub codec: CompressionType,
    /// In its library's words.
    pub reason: String,
}

/// Compressed data that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecompressError {
    /// More came out than the caller allows, or more was announced.
    #[error("the {codec} data holds more than the limit of {limit} bytes")]
    TooLarge {
        /// Which codec.
        codec: CompressionType,
        /// The caller's limit in bytes.
        limit: usize,
    },
    /// The data is not what the codec writes, or is cut short.
    #[error("the {codec} data is damaged: {reason}")]
    Damaged {
        /// Which codec.
        codec: CompressionType,
        /// In the codec's words.
        reason: String,
    },
}

impl DecompressError {
    #[cfg(any(feature = "gzip", feature = "snappy", feature = "lz4", feature = "zstd", feature = "zstd-pure"))]
    pub(crate) fn damaged(codec: CompressionType, reason: impl ToString) -> Self {
        Self::Damaged { codec, reason: reason.to_string() }
    }
}

/// A level that the codec does not have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{codec} has no level {level}: {allowed}")]
pub struct InvalidLevel {
    /// Which codec.
    pub codec: CompressionType,
    /// The level asked for.
    pub level: i32,
    /// The levels there are, and why no others.
    pub allowed: &'static str,
}

/// A codec that this build does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this build has no {codec}: build it with the crate feature {}", feature_of(*.codec))]
pub struct Unavailable {
    /// Which codec.
    pub codec: CompressionType,
}

fn feature_of(codec: CompressionType) -> &'static str {
    match codec {
        CompressionType::Zstd => "zstd, or zstd-pure, which needs no C compiler",
        other => other.name(),
    }
}

/// A name that is no codec's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no codec {0:?}: choose none, gzip, snappy, lz4 or zstd")]
pub struct UnknownCompression(pub String);
