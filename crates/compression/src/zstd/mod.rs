//! Zstandard (RFC 8878), by one of two libraries: the reference one, which is C (feature `zstd`), or structured-zstd,
//! which is Rust (feature `zstd-pure`). Where both are on the first is taken.
//!
//! A reader must keep as much of what it has written as the frame's window says, and a frame of a few bytes can ask for
//! gigabytes. So windows above 8 MiB, the least that RFC 8878 asks every decoder to support, are refused before anything
//! is allocated for them.

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

/// The largest window that a reader accepts, as a power of two.
const WINDOW_LOG_MAX: u32 = 23;

/// From this level on the libraries would take larger windows, which not every reader accepts; they are held to it.
const LARGE_WINDOWS_FROM_LEVEL: i32 = 20;

fn compress_error(reason: impl ToString) -> CompressError {
    CompressError { codec: CompressionType::Zstd, reason: reason.to_string() }
}
