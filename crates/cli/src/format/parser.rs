//! The readers of all formats: [`Parser::extent`] finds where a record ends, [`Parser::decode`] reads it.

use super::entry::Entry;
use super::extent::{Extent, Flaw, More, Resume, shown};
use super::lines::Lines;
use super::template::TemplateParser;
use super::{frames, json, lines};

/// The reader of a format.
#[derive(Clone, Debug)]
pub enum Parser {
    /// Lines of text.
    Lines(Lines),
    /// kcat's placeholders.
    Template(TemplateParser),
    /// One JSON object per line.
    Json,
    /// Binary frames, each preceded by its length.
    Frames,
}

impl Parser {
    /// Finds the end of the first record in `input`. `is_end` says that the input has no more bytes. A record takes at
    /// most [`longest`](Self::longest) bytes of `limit`.
    #[must_use]
    pub fn extent(&self, input: &[u8], is_end: bool, limit: usize) -> Extent {
        let longest = self.longest(limit);
        // Look at most one byte beyond the limit, so that the result does not depend on the size of the reads.
        let clipped = input.get(..longest.saturating_add(1)).unwrap_or(input);
        let is_end = is_end && clipped.len() == input.len();
        let extent = match self {
            Self::Lines(_) | Self::Json => lines::extent(clipped, is_end, longest, limit),
            Self::Template(template) => template.extent(clipped, is_end, limit),
            Self::Frames => frames::extent(clipped, is_end, longest, limit),
        };
        match extent {
            Extent::More(_) if clipped.len() > longest => self.too_long(longest, limit),
            Extent::More(More::UpTo(bytes)) if bytes > longest.saturating_add(1) => self.too_long(longest, limit),
            Extent::More(_) if is_end => {
                Extent::Bad(Flaw::new(input.len(), "the input ends within a record"), Resume::Never)
            }
            extent => extent,
        }
    }

    fn too_long(&self, longest: usize, limit: usize) -> Extent {
        let resume = match self.terminator() {
            Some(_) => Resume::BehindTerminator(0),
            None => Resume::Never,
        };
        Extent::Bad(Flaw::too_long(longest, limit), resume)
    }

    /// Reads a record from the bytes that [`extent`](Self::extent) found.
    ///
    /// # Errors
    /// When the bytes are not a record of this format, or a header's name is not UTF-8.
    pub fn decode<'a>(&'a self, record: &'a [u8]) -> Result<Entry<'a>, Flaw> {
        let entry = match self {
            Self::Lines(lines) => lines.decode(record),
            Self::Template(template) => template.decode(record)?,
            Self::Json => json::decode(record)?,
            Self::Frames => frames::decode(record)?,
        };
        match entry.headers.iter().find(|header| str::from_utf8(&header.name).is_err()) {
            Some(header) => Err(Flaw::new(0, format!("the header name {} is not UTF-8", shown(&header.name)))),
            None => Ok(entry),
        }
    }

    /// Returns the maximum record size in this format, if key, value and headers may take `limit` bytes.
    #[must_use]
    pub fn longest(&self, limit: usize) -> usize {
        /// Allowance for numbers and field names.
        const BESIDES: usize = 4096;
        match self {
            Self::Lines(_) => limit,
            // Key and value each have their own length, and each may reach the limit.
            Self::Template(template) => limit.saturating_mul(2).saturating_add(template.literal_bytes() + BESIDES),
            // A control character takes six bytes (\u0001). A header with an empty name and value takes ten bytes, but
            // two in a record.
            Self::Json => limit.saturating_mul(6).saturating_add(BESIDES),
            // A header with an empty name and value takes eight bytes, but two in a record.
            Self::Frames => limit.saturating_mul(4).saturating_add(BESIDES),
        }
    }

    /// Returns the bytes that end each record and appear nowhere else in it.
    #[must_use]
    pub fn terminator(&self) -> Option<&[u8]> {
        match self {
            Self::Lines(_) | Self::Json => Some(b"\n"),
            Self::Template(template) => template.terminator(),
            Self::Frames => None,
        }
    }

    /// Returns whether each record is one line.
    #[must_use]
    pub fn is_by_line(&self) -> bool {
        matches!(self, Self::Lines(_) | Self::Json)
    }
}
