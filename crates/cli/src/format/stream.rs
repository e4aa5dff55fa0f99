//! Feeds a [`Parser`] from a file or pipe.
//!
//! A stream holds one record at a time, and stops buffering at the format's limit.

use std::io::{self, Read};

use memchr::{memchr, memmem};

use super::extent::{Extent, Flaw, More, Resume};
use super::parser::Parser;

/// Size of one read.
const READ_BYTES: usize = 64 * 1024;

/// A file or pipe of records.
pub struct Stream {
    from: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    /// Range of the buffered input that belongs to no record yet.
    at: usize,
    end: usize,
    /// Whether `from` is exhausted.
    is_end: bool,
    /// Offset of `at` in the input.
    offset: u64,
    skip: Skip,
    /// Length of the record before `at`.
    record_bytes: usize,
}

/// Input to skip before the next record.
enum Skip {
    Bytes(u64),
    /// Through the first terminator that begins at `from` or later.
    ThroughTerminator {
        from: usize,
    },
    Everything,
}

/// Result of [`Stream::advance`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A record, which [`Stream::record`] returns.
    Record,
    /// A record that cannot be read.
    Bad {
        /// The fault.
        flaw: Flaw,
        /// Whether the rest of the input is lost, because the next record's beginning is unknown.
        is_last: bool,
    },
    /// The end of the input.
    End,
}

impl Stream {
    /// Creates a stream over a file or pipe.
    pub fn new(from: impl Read + Send + 'static) -> Self {
        Self {
            from: Box::new(from),
            buffer: Vec::new(),
            at: 0,
            end: 0,
            is_end: false,
            offset: 0,
            skip: Skip::Bytes(0),
            record_bytes: 0,
        }
    }

    /// Advances to the next record, which takes at most the bytes that `parser` allows for `limit`.
    ///
    /// # Errors
    /// When the input cannot be read.
    pub fn advance(&mut self, parser: &Parser, limit: usize) -> io::Result<Next> {
        self.record_bytes = 0;
        self.pass_over(parser)?;
        // One extra byte shows that a record is too long.
        let longest = parser.longest(limit).saturating_add(1);
        loop {
            let input = self.buffer.get(self.at..self.end).unwrap_or_default();
            if input.is_empty() {
                if self.is_end {
                    return Ok(Next::End);
                }
                self.read(longest)?;
                continue;
            }
            match parser.extent(input, self.is_end, limit) {
                Extent::Record(bytes) => {
                    self.take(bytes);
                    self.record_bytes = bytes;
                    return Ok(Next::Record);
                }
                Extent::More(more) => self.read_more(more, longest)?,
                Extent::Bad(flaw, resume) => {
                    self.skip = match resume {
                        Resume::After(bytes) => Skip::Bytes(bytes),
                        Resume::BehindTerminator(from) => Skip::ThroughTerminator { from },
                        Resume::Never => Skip::Everything,
                    };
                    return Ok(Next::Bad { flaw, is_last: resume == Resume::Never });
                }
            }
        }
    }

    /// Returns the bytes of the record that [`advance`](Self::advance) found.
    #[must_use]
    pub fn record(&self) -> &[u8] {
        self.buffer.get(self.at - self.record_bytes..self.at).unwrap_or_default()
    }

    /// Returns the offset of the current record in the input.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset - self.record_bytes as u64
    }

    /// Returns how much memory the stream holds, in bytes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    fn pass_over(&mut self, parser: &Parser) -> io::Result<()> {
        loop {
            let input = self.buffer.get(self.at..self.end).unwrap_or_default();
            match (&mut self.skip, parser.terminator()) {
                (Skip::Bytes(0), _) => return Ok(()),
                (Skip::Bytes(bytes), _) => {
                    let now = usize::try_from(*bytes).map_or(input.len(), |bytes| bytes.min(input.len()));
                    *bytes -= now as u64;
                    self.take(now);
                }
                (Skip::ThroughTerminator { from }, Some(terminator)) => {
                    let from = std::mem::take(from).min(input.len());
                    let rest = input.get(from..).unwrap_or_default();
                    match memmem::find(rest, terminator) {
                        Some(at) => {
                            self.take(from + at + terminator.len());
                            self.skip = Skip::Bytes(0);
                        }
                        // The buffer may end inside a terminator.
                        None => self.take(from + rest.len().saturating_sub(terminator.len() - 1)),
                    }
                }
                (Skip::ThroughTerminator { .. } | Skip::Everything, _) => {
                    self.skip = Skip::Everything;
                    self.is_end = true;
                    self.take(input.len());
                }
            }
            if self.is_end && !matches!(self.skip, Skip::Bytes(0)) {
                self.take(self.end - self.at);
                return Ok(());
            }
            if !matches!(self.skip, Skip::Bytes(0)) {
                self.read(READ_BYTES)?;
            }
        }
    }

    fn take(&mut self, bytes: usize) {
        let bytes = bytes.min(self.end - self.at);
        self.at += bytes;
        self.offset += bytes as u64;
    }

    /// Reads until the needed input is buffered, or `longest` bytes are.
    fn read_more(&mut self, more: More, longest: usize) -> io::Result<()> {
        loop {
            let before = self.end - self.at;
            self.read(longest)?;
            let held = self.buffer.get(self.at..self.end).unwrap_or_default();
            let has_enough = match more {
                More::UpTo(bytes) => held.len() >= bytes,
                More::Until(byte) => memchr(byte, held.get(before..).unwrap_or_default()).is_some(),
            };
            if has_enough || self.is_end || held.len() >= longest {
                return Ok(());
            }
        }
    }

    /// Reads once. The buffer grows up to `longest` plus [`READ_BYTES`].
    fn read(&mut self, longest: usize) -> io::Result<()> {
        if self.at == self.end {
            (self.at, self.end) = (0, 0);
        }
        if self.end == self.buffer.len() && self.at > 0 {
            self.buffer.copy_within(self.at..self.end, 0);
            self.end -= self.at;
            self.at = 0;
        }
        if self.end == self.buffer.len() {
            let most = longest.saturating_add(READ_BYTES);
            let len = self.buffer.len().saturating_mul(2).min(most).max(self.end + READ_BYTES);
            self.buffer.reserve_exact(len - self.buffer.len());
            self.buffer.resize(len, 0);
        }
        let free = self.buffer.get_mut(self.end..).unwrap_or_default();
        let read = loop {
            match self.from.read(free) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        self.end += read;
        self.is_end = read == 0;
        Ok(())
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("offset", &self.offset).field("is_end", &self.is_end).finish_non_exhaustive()
    }
}
