//! The splitter of a stream into frames, which finds the frames again after a gap.

use bytes::Bytes;
use kurier_protocol::FrameBuffer;

use crate::stream::Piece;

/// Splits pieces into frames.
///
/// ```text
///              a hole, an impossible length
///  in step ───────────────────────────────────▶ out of step    bytes are skipped
///          ◀───────────────────────────────────
///              a piece that begins with a frame
/// ```
#[derive(Debug)]
pub(crate) struct Frames {
    buffer: FrameBuffer,
    in_step: bool,
    skipped_bytes: u64,
}

impl Frames {
    /// Creates a splitter; `in_step` if it sees the stream from the first byte on.
    pub(crate) fn new(in_step: bool) -> Self {
        Self { buffer: FrameBuffer::new(FrameBuffer::DEFAULT_LIMIT_BYTES), in_step, skipped_bytes: 0 }
    }

    /// Returns the number of bytes outside any complete frame.
    pub(crate) fn skipped_bytes(&self) -> u64 {
        self.skipped_bytes + count(self.buffer.pending())
    }

    /// Takes a piece. Out of step, the splitter skips pieces until `begins` recognizes the start of a frame.
    pub(crate) fn take(&mut self, piece: &Piece, begins: impl Fn(&[u8]) -> bool) {
        match piece {
            Piece::Hole => self.lose_step(),
            Piece::Bytes(bytes) => {
                self.in_step = self.in_step || begins(bytes);
                if self.in_step {
                    self.buffer.extend(bytes);
                } else {
                    self.skipped_bytes += count(bytes.len());
                }
            }
        }
    }

    pub(crate) fn next(&mut self) -> Option<Bytes> {
        self.buffer.next_frame().unwrap_or_else(|_impossible_length| {
            self.lose_step();
            None
        })
    }

    fn lose_step(&mut self) {
        self.skipped_bytes += count(self.buffer.pending());
        self.buffer = FrameBuffer::new(FrameBuffer::DEFAULT_LIMIT_BYTES);
        self.in_step = false;
    }
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
