//! Assembly of one side's stream from its TCP segments.

use std::collections::BTreeMap;

/// Limit on the bytes that wait for a missing segment: more than any default TCP window.
const EARLY_BYTES_MAX: usize = 16 << 20;

/// A part of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Bytes that follow the previous piece.
    Bytes(Vec<u8>),
    /// Bytes that were not captured.
    Hole,
}

/// Puts segments in order, despite repeated, reordered and missing ones.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// Sequence number of the next byte, known from the first segment on. `position` counts the bytes before it.
    next: Option<u32>,
    position: u64,
    /// Segments after a gap, by their position.
    early: BTreeMap<u64, Vec<u8>>,
    early_bytes: usize,
}

impl Stream {
    /// Handles the SYN, which gives the first sequence number.
    pub(crate) fn open(&mut self, sequence: u32) {
        *self = Self { next: Some(sequence.wrapping_add(1)), ..Self::default() };
    }

    /// Whether segments wait for a missing one.
    pub(crate) fn has_hole(&self) -> bool {
        !self.early.is_empty()
    }

    /// Takes a segment and returns the pieces that are now in order. The first segment begins the stream if no SYN did.
    pub(crate) fn take(&mut self, sequence: u32, payload: Vec<u8>) -> Vec<Piece> {
        let next = *self.next.get_or_insert(sequence);
        // Distance from the next byte; wraps, as sequence numbers do.
        let ahead = sequence.wrapping_sub(next).cast_signed();
        let mut pieces = Vec::new();
        if let Some(at) = self.position.checked_add_signed(ahead.into()) {
            self.keep(at, payload);
        } else if let Some(fresh) = usize::try_from(ahead.unsigned_abs()).ok().and_then(|known| payload.get(known..)) {
            // The segment begins before the stream: a keep-alive's byte, or the beginning of the capture.
            self.keep(self.position, fresh.to_vec());
        }
        self.follow(&mut pieces);
        while self.early_bytes > EARLY_BYTES_MAX {
            self.give_up(&mut pieces);
        }
        pieces
    }

    /// Returns the rest of the stream, with holes for missing segments.
    pub(crate) fn finish(&mut self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        while self.has_hole() {
            self.give_up(&mut pieces);
        }
        pieces
    }

    /// Keeps a segment; of two at the same position, the longer.
    fn keep(&mut self, at: u64, payload: Vec<u8>) {
        if payload.is_empty() {
            return;
        }
        let segment = self.early.entry(at).or_default();
        if payload.len() > segment.len() {
            self.early_bytes = self.early_bytes.saturating_sub(segment.len()).saturating_add(payload.len());
            *segment = payload;
        }
    }

    /// Moves on over early segments up to the next gap.
    fn follow(&mut self, pieces: &mut Vec<Piece>) {
        while let Some(entry) = self.early.first_entry() {
            let Some(known) = self.position.checked_sub(*entry.key()) else { return };
            let mut payload = entry.remove();
            self.early_bytes = self.early_bytes.saturating_sub(payload.len());
            // Drop bytes that were sent before.
            let known = usize::try_from(known).unwrap_or(usize::MAX).min(payload.len());
            payload.drain(..known);
            if !payload.is_empty() {
                self.advance(payload.len());
                pieces.push(Piece::Bytes(payload));
            }
        }
    }

    /// Gives up the first gap.
    fn give_up(&mut self, pieces: &mut Vec<Piece>) {
        let Some((at, _)) = self.early.first_key_value() else { return };
        let missing = at.saturating_sub(self.position);
        self.advance(usize::try_from(missing).unwrap_or(usize::MAX));
        pieces.push(Piece::Hole);
        self.follow(pieces);
    }

    fn advance(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.position = self.position.saturating_add(bytes);
        // Sequence numbers count modulo 2^32.
        let low = u32::try_from(bytes & u64::from(u32::MAX)).unwrap_or_default();
        self.next = self.next.map(|next| next.wrapping_add(low));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the result for segments at these positions of a text, after a first sequence number.
    fn check(first: u32, segments: &[(u32, &str)]) -> String {
        let mut stream = Stream::default();
        stream.open(first);
        let mut pieces = Vec::new();
        for (at, text) in segments {
            pieces.extend(stream.take(first.wrapping_add(1).wrapping_add(*at), text.as_bytes().to_vec()));
        }
        pieces.extend(stream.finish());
        show(pieces)
    }

    fn show(pieces: Vec<Piece>) -> String {
        let text = |piece| match piece {
            Piece::Bytes(bytes) => String::from_utf8(bytes).unwrap(),
            Piece::Hole => "…".to_owned(),
        };
        pieces.into_iter().map(text).collect()
    }

    #[test]
    fn segments_are_put_in_order() {
        let wrap = u32::MAX - 3;
        for first in [0, 1000, wrap] {
            assert_eq!(check(first, &[(0, "abc"), (3, "def")]), "abcdef");
            assert_eq!(check(first, &[(3, "def"), (0, "abc")]), "abcdef", "overtaken");
            assert_eq!(check(first, &[(0, "abc"), (0, "abc"), (3, "def")]), "abcdef", "sent again");
            assert_eq!(check(first, &[(0, "abc"), (1, "bcde"), (5, "f")]), "abcdef", "sent again, and more with it");
            assert_eq!(check(first, &[(3, "d"), (3, "def"), (0, "abc")]), "abcdef", "sent again while early");
            assert_eq!(check(first, &[(0, "abc"), (2, ""), (3, "def")]), "abcdef", "a keep-alive");
            assert_eq!(check(first, &[(0, "ab"), (4, "ef"), (8, "ij")]), "ab…ef…ij", "lost");
        }
    }

    #[test]
    fn a_stream_begins_with_the_first_captured_segment() {
        let mut stream = Stream::default();
        let mut pieces = stream.take(500, b"def".to_vec());
        pieces.extend(stream.take(497, b"abcde".to_vec()));
        pieces.extend(stream.take(503, b"ghi".to_vec()));
        assert_eq!(show(pieces), "defghi");
    }

    #[test]
    fn early_segments_are_limited() {
        let mut stream = Stream::default();
        stream.open(0);
        let mut holes = 0;
        for at in 0..1100_u32 {
            let pieces = stream.take(2 + at * 16_384, vec![0; 16_384]);
            holes += pieces.iter().filter(|piece| **piece == Piece::Hole).count();
            assert!(stream.early_bytes <= EARLY_BYTES_MAX);
        }
        assert_eq!(holes, 1);
    }
}
