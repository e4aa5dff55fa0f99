//! The limit of windows, and the error of an encoder, for both libraries.

use kurier_protocol::CompressionType;

use crate::error::CompressError;

/// The largest accepted window, as a power of two.
pub(super) const WINDOW_LOG_MAX: u32 = 23;

/// From this level on the libraries would choose larger windows, which not every reader accepts. The encoders limit
/// them.
pub(super) const LARGE_WINDOWS_FROM_LEVEL: i32 = 20;

pub(super) fn compress_error(reason: impl ToString) -> CompressError {
    CompressError { codec: CompressionType::Zstd, reason: reason.to_string() }
}
