//! Zstandard (RFC 8878), with one of two libraries: the reference library in C (feature `zstd`), or structured-zstd in
//! Rust (feature `zstd-pure`). The C library takes precedence if both are on.
//!
//! A reader must keep a frame's window of output, and a frame of a few bytes can claim a window of gigabytes. RFC 8878
//! requires decoders to support at least 8 MiB. Larger windows are refused before any allocation.

mod common;
#[cfg(not(feature = "zstd"))]
mod pure;
#[cfg(feature = "zstd")]
mod reference;

#[cfg(not(feature = "zstd"))]
pub(crate) use pure::Zstd;
#[cfg(feature = "zstd")]
pub(crate) use reference::Zstd;
