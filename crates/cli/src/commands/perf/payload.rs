//! Keys and values to send.

use std::path::Path;

use anyhow::Result;

use crate::exit::Misuse;

/// Source of values: slices of a file, or of pseudo-random letters.
pub(super) struct Payload {
    bytes: Vec<u8>,
    pub(super) size: usize,
}

impl Payload {
    pub(super) fn new(record_size: u32, file: Option<&Path>) -> Result<Self> {
        let size = usize::try_from(record_size)?;
        let bytes = match file {
            Some(path) => std::fs::read(path).map_err(|error| {
                Misuse::because(format_args!("--payload-file {} cannot be read", path.display()), error)
            })?,
            None => letters(size.max(1 << 20) + 1),
        };
        if bytes.len() <= size {
            let text = format!("--payload-file has {} bytes: it must be longer than --record-size {size}", bytes.len());
            return Err(Misuse::error(text));
        }
        Ok(Self { bytes, size })
    }

    pub(super) fn value(&self, number: u64) -> &[u8] {
        let windows = self.bytes.len() - self.size;
        let at = usize::try_from(number).unwrap_or(0).wrapping_mul(self.size) % windows;
        self.bytes.get(at..at + self.size).unwrap_or_default()
    }
}

/// Returns pseudo-random letters that are always the same (xorshift).
fn letters(count: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b'A' + u8::try_from(state % 26).unwrap_or_default()
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// Returns a key of eight digits; consecutive numbers give scattered keys.
pub(super) fn key_of(number: u64) -> [u8; 8] {
    let mut rest = number.wrapping_mul(2_654_435_761) % 100_000_000;
    let mut key = [b'0'; 8];
    for digit in key.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
    }
    key
}
