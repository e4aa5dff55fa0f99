//! Record formats of the `kurier` command.
//!
//! This library exists so that fuzz targets can reach the formats. Its interface may change at any time.

pub mod escapes;
pub mod format;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
