//! The format of `kurier produce` without `--format`: one record per line of text.
//!
//! A record is a line without its `\n`; a `\r` before it belongs to the record, as in kcat. An empty line is a record
//! too, so that output of `kurier consume` goes back in line for line. (kcat skips empty lines.)

use std::borrow::Cow;

use memchr::{memchr, memmem};

use super::entry::Entry;
use super::extent::{Extent, Flaw, More, Resume};

/// Rules to turn a line into a record.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// Separates a line's key from its value. A line without the delimiter is a record without a key.
    pub delimiter: Option<Vec<u8>>,
    /// Whether an empty key or value is null.
    pub empty_is_null: bool,
}

/// Finds the end of the line. The last line needs no `\n`. An error names `limit`, from which the caller computed
/// `longest`.
pub(crate) fn extent(input: &[u8], is_end: bool, longest: usize, limit: usize) -> Extent {
    match memchr(b'\n', input) {
        Some(at) if at > longest => Extent::Bad(Flaw::too_long(longest, limit), Resume::BehindTerminator(at)),
        Some(at) => Extent::Record(at + 1),
        None if input.len() > longest => {
            Extent::Bad(Flaw::too_long(longest, limit), Resume::BehindTerminator(input.len()))
        }
        None if is_end => Extent::Record(input.len()),
        None => Extent::More(More::Until(b'\n')),
    }
}

/// Removes the end of the line.
pub(crate) fn content(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}

impl Lines {
    pub(crate) fn decode<'a>(&self, line: &'a [u8]) -> Entry<'a> {
        let line = content(line);
        let split = self.delimiter.as_ref().and_then(|delimiter| {
            let (key, rest) = line.split_at_checked(memmem::find(line, delimiter)?)?;
            Some((key, rest.get(delimiter.len()..)?))
        });
        let (key, value) = match split {
            Some((key, value)) => (Some(key), value),
            None => (None, line),
        };
        let part = |bytes: &'a [u8]| (!(self.empty_is_null && bytes.is_empty())).then_some(Cow::Borrowed(bytes));
        Entry { key: key.and_then(part), value: part(value), ..Entry::default() }
    }
}
