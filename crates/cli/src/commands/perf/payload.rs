//! Keys and values to send.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use memchr::memmem;

use crate::exit::Misuse;

/// Source of values, which threads share.
pub(super) enum Payload {
    /// Slices of this size, one after the other.
    Slices { bytes: Vec<u8>, size: usize },
    /// Parts of a file, each with its end, in random order.
    Parts { bytes: Vec<u8>, parts: Vec<(usize, usize)> },
    /// The record's number, in decimal.
    Numbers,
}

impl Payload {
    /// Returns slices of a file, or of pseudo-random letters.
    pub(super) fn slices(record_size: u32, file: Option<&Path>) -> Result<Self> {
        let size = usize::try_from(record_size)?;
        let bytes = match file {
            Some(file) => read(file)?,
            None => letters(size.max(1 << 20) + 1),
        };
        if bytes.len() <= size {
            let text = format!("--payload-file has {} bytes: it must be longer than --record-size {size}", bytes.len());
            return Err(Misuse::error(text));
        }
        Ok(Self::Slices { bytes, size })
    }

    /// Returns the parts of a file between delimiters. A delimiter at the end has no part behind it.
    pub(super) fn parts(file: &Path, delimiter: &[u8]) -> Result<Self> {
        if delimiter.is_empty() {
            return Err(Misuse::error("--payload-delimiter must not be empty"));
        }
        let bytes = read(file)?;
        let mut parts = Vec::new();
        let mut start = 0;
        for end in memmem::find_iter(&bytes, delimiter) {
            parts.push((start, end));
            start = end + delimiter.len();
        }
        if start < bytes.len() {
            parts.push((start, bytes.len()));
        }
        if parts.is_empty() {
            return Err(Misuse::error(format_args!("--payload-file {} is empty", file.display())));
        }
        Ok(Self::Parts { bytes, parts })
    }

    /// Number of values in the file, if it has parts.
    pub(super) fn count(&self) -> Option<usize> {
        match self {
            Self::Parts { parts, .. } => Some(parts.len()),
            Self::Slices { .. } | Self::Numbers => None,
        }
    }

    /// Returns the values of a thread whose records have the numbers `first`, `first + step` and so on.
    pub(super) fn values(&self, first: u64, step: u64) -> Values<'_> {
        let at = match self {
            Self::Slices { bytes, size } => offset(first, *size, bytes.len() - size),
            Self::Parts { .. } | Self::Numbers => 0,
        };
        Values { payload: self, step, at, random: SEED ^ first.wrapping_mul(0x2545_F491_4F6C_DD1D), text: Vec::new() }
    }
}

/// Returns where the slice of a record begins.
fn offset(number: u64, size: usize, slices: usize) -> usize {
    usize::try_from(number).unwrap_or(0).wrapping_mul(size) % slices
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let unreadable = |error| Misuse::because(format_args!("--payload-file {} cannot be read", file.display()), error);
    std::fs::read(file).map_err(unreadable)
}

/// The values of one thread.
pub(super) struct Values<'a> {
    payload: &'a Payload,
    step: u64,
    /// Where the next slice begins.
    at: usize,
    random: u64,
    text: Vec<u8>,
}

impl Values<'_> {
    /// Returns the value of the thread's next record, which has this number.
    pub(super) fn next(&mut self, number: u64) -> &[u8] {
        match self.payload {
            Payload::Slices { bytes, size } => {
                let slices = bytes.len() - size;
                let at = self.at;
                // Without a division in the usual case.
                let next = at + size;
                self.at = match self.step {
                    1 if next < slices => next,
                    step => offset(number + step, *size, slices),
                };
                bytes.get(at..at + size).unwrap_or_default()
            }
            Payload::Parts { bytes, parts } => {
                self.random = shuffled(self.random);
                let index = usize::try_from(self.random >> 11).unwrap_or(0) % parts.len();
                parts.get(index).and_then(|&(start, end)| bytes.get(start..end)).unwrap_or_default()
            }
            Payload::Numbers => {
                self.text.clear();
                // A vector takes everything.
                let _ = write!(self.text, "{number}");
                &self.text
            }
        }
    }
}

const SEED: u64 = 0x9E37_79B9_7F4A_7C15;

/// Returns the next state of a xorshift generator.
fn shuffled(mut state: u64) -> u64 {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    state
}

/// Returns pseudo-random letters that are always the same.
fn letters(count: usize) -> Vec<u8> {
    let mut state = SEED;
    let next = || {
        state = shuffled(state);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        file
    }

    #[test]
    fn slices_follow_each_other_whatever_the_number_of_threads() {
        let file = file(b"abcdefghijk");
        let payload = Payload::slices(3, Some(file.path())).unwrap();
        let mut alone = payload.values(0, 1);
        let expected: Vec<_> = (0..20).map(|number| alone.next(number).to_vec()).collect();
        assert_eq!(expected[..4], [b"abc", b"def", b"ghi", b"bcd"]);
        for threads in 2..5 {
            for thread in 0..threads {
                let mut values = payload.values(thread, threads);
                for number in (thread..20).step_by(usize::try_from(threads).unwrap()) {
                    assert_eq!(
                        values.next(number),
                        expected[usize::try_from(number).unwrap()],
                        "{number} of {threads}"
                    );
                }
            }
        }
    }

    #[test]
    fn parts_are_what_stands_between_delimiters() {
        for (text, delimiter, expected) in [
            (&b"a\nbc\n"[..], &b"\n"[..], &[&b"a"[..], b"bc"][..]),
            (b"a\n\nbc", b"\n", &[b"a", b"", b"bc"]),
            (b"a--b-c--", b"--", &[b"a", b"b-c"]),
            (b"\n", b"\n", &[b""]),
        ] {
            let file = file(text);
            let payload = Payload::parts(file.path(), delimiter).unwrap();
            let Payload::Parts { bytes, parts } = &payload else { panic!("no parts") };
            let found: Vec<_> = parts.iter().map(|&(start, end)| &bytes[start..end]).collect();
            assert_eq!(found, expected, "{text:?}");
            let mut values = payload.values(0, 1);
            for number in 0..100 {
                assert!(expected.contains(&values.next(number)));
            }
        }
        assert!(Payload::parts(file(b"").path(), b"\n").is_err());
        assert!(Payload::parts(file(b"a").path(), b"").is_err());
    }

    #[test]
    fn numbers_rise_by_the_step() {
        let mut values = Payload::Numbers.values(1, 2);
        assert_eq!(values.next(1), b"1");
        assert_eq!(values.next(3), b"3");
    }
}
