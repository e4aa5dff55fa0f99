//! The state of a parser besides its input, and its result.

use std::cell::Cell;

use bytes::Bytes;

use crate::error::{Fault, ParseErrorKind};

/// A parser's result: the rest of the input, and the value.
pub(crate) type Parsed<'a, T> = nom::IResult<&'a [u8], T, Fault>;

/// The version of a message, and whether it is flexible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) number: i16,
    /// Whether the version has compact lengths and tagged fields.
    pub(crate) flexible: bool,
}

/// A parser's context besides its input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) version: Version,
    /// The whole body, which contains every input. `bytes` fields share it instead of copying.
    pub(crate) body: &'a Bytes,
    /// Memory that the message's arrays may still take.
    pub(crate) allowance: &'a Cell<usize>,
}

/// Returns how much memory the arrays of a message may take. An element takes more in memory than on the wire: usually
/// up to five times as much, an empty one up to thirty times. A frame with only empty elements must not take thirty
/// times its size.
pub(crate) fn allowance(body: &[u8]) -> usize {
    const PER_BYTE: usize = 8;
    const AT_LEAST: usize = 64 * 1024;
    body.len().saturating_mul(PER_BYTE).saturating_add(AT_LEAST)
}

/// Fails with an error at the start of `input`.
pub(crate) fn fail<T>(kind: ParseErrorKind, input: &[u8]) -> Parsed<'_, T> {
    Err(nom::Err::Failure(Fault::new(kind, input)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_may_take_eight_times_the_body_and_64_kib() {
        assert_eq!(allowance(&[]), 65_536);
        assert_eq!(allowance(&[0; 1000]), 8_000 + 65_536);
    }
}
