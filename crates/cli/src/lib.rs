//! Record formats of the `kurier` command.
//!
//! This library exists so that the fuzzer can reach the formats. Its interface may change at any time.

pub mod escapes;
pub mod format;
