//! Zstandard (RFC 8878), with one of two libraries: the reference library in C (feature `zstd`), or structured-zstd in
//! Rust (feature `zstd-pure`). The C library takes precedence if both are on.
//!
//! A reader must keep a frame's window of output, and a frame of a few bytes can claim a window of gigabytes. RFC 8878
//! requires decoders to support at least 8 MiB. Larger windows are refused before any allocation.

#[cfg(not(feature = "zstd"))]
mod pure;
#[cfg(feature = "zstd")]
mod reference;

#[cfg(not(feature = "zstd"))]
pub(crate) use pure::Zstd;
#[cfg(feature = "zstd")]
pub(crate) use reference::Zstd;

use kurier_protocol::CompressionType;

use crate::error::CompressError;

/// The largest accepted window, as a power of two.
const WINDOW_LOG_MAX: u32 = 23;

/// From this level on the libraries would choose larger windows, which not every reader accepts. The encoders limit
/// them.
const LARGE_WINDOWS_FROM_LEVEL: i32 = 20;

fn compress_error(reason: impl ToString) -> CompressError {
    CompressError { codec: CompressionType::Zstd, reason: reason.to_string() }
}
