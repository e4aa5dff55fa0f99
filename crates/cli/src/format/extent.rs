//! Where a record ends, and the faults in it.

/// Extent of the first record of some input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The record takes this many bytes.
    Record(usize),
    /// The record continues after the input.
    More(More),
    /// The record is malformed.
    Bad(Flaw, Resume),
}

/// Additional input that is needed to find a record's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    /// This many bytes in total.
    UpTo(usize),
    /// Input up to and including this byte, which is part of the record's end.
    Until(u8),
}

/// A fault in a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Offset of the fault, in bytes from the record's beginning.
    pub at: usize,
    /// Names the expected and the actual input.
    pub text: String,
}

/// Position of the record after a bad one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// This many bytes after the bad record's beginning.
    After(u64),
    /// After the next terminator that is at least this many bytes after the bad record's beginning.
    BehindTerminator(usize),
    /// Unknown: the rest of the input is lost.
    Never,
}

impl Flaw {
    pub(crate) fn new(at: usize, text: impl Into<String>) -> Self {
        Self { at, text: text.into() }
    }

    /// Returns the fault of a record above `longest`, the bytes that this format may need for a record of `limit` bytes.
    pub(crate) fn too_long(longest: usize, limit: usize) -> Self {
        let reason = if longest == limit { String::new() } else { format!(", the limit for max.request.size={limit}") };
        Self::new(
            0,
            format!("the record is longer than {longest} bytes{reason}: raise max.request.size, or send less at once"),
        )
    }
}

/// Quotes the first bytes of some input in an error.
pub(crate) fn shown(bytes: &[u8]) -> String {
    const SHOWN_BYTES: usize = 20;
    match bytes.get(..SHOWN_BYTES) {
        _ if bytes.is_empty() => "the end of the input".to_owned(),
        Some(first) if first.len() < bytes.len() => format!("\"{}…\"", first.escape_ascii()),
        _ => format!("\"{}\"", bytes.escape_ascii()),
    }
}
