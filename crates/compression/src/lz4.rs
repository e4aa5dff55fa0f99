//! LZ4 frames as Java writes them: independent blocks of 64 KiB, no checksums, no content size. The header is therefore
//! `04 22 4d 18 60 40 82`.
//!
//! Java refuses frames with linked blocks, so producers cannot write them. This module refuses them too: a reader would
//! need twice the memory.

use std::fmt;
use std::io::Write;
use std::mem;

use kurier_protocol::CompressionType;
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use crate::codec::{Codec, limited};
use crate::error::{CompressError, DecompressError};

pub(crate) struct Lz4 {
    /// Created on first use: a codec that only reads needs none.
    encoder: Option<FrameEncoder<Vec<u8>>>,
}

impl Lz4 {
    pub(crate) fn new() -> Self {
        Self { encoder: None }
    }
}

impl fmt::Debug for Lz4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lz4").finish_non_exhaustive()
    }
}

impl Codec for Lz4 {
    fn kind(&self) -> CompressionType {
        CompressionType::Lz4
    }

    fn compress(&mut self, input: &[&[u8]], output: &mut Vec<u8>) -> Result<(), CompressError> {
        let encoder = self.encoder.get_or_insert_with(|| {
            let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
            FrameEncoder::with_frame_info(info, Vec::new())
        });
        mem::swap(encoder.get_mut(), output);
        let result = write_frame(encoder, input);
        mem::swap(encoder.get_mut(), output);
        if let Err(reason) = result {
            self.encoder = None;
            return Err(CompressError { codec: CompressionType::Lz4, reason });
        }
        Ok(())
    }

    fn decompress(&mut self, input: &[u8], limit: usize, output: &mut Vec<u8>) -> Result<(), DecompressError> {
        check_frame(input).map_err(|reason| DecompressError::damaged(CompressionType::Lz4, reason))?;
        let mut decoder = FrameDecoder::new(input);
        limited(CompressionType::Lz4, &mut decoder, limit, output)?;
        // The library takes an empty block for the end of the frame and ignores the rest.
        if decoder.get_ref().is_empty() {
            Ok(())
        } else {
            Err(DecompressError::damaged(CompressionType::Lz4, "a block has no content"))
        }
    }
}

fn write_frame(encoder: &mut FrameEncoder<Vec<u8>>, input: &[&[u8]]) -> Result<(), String> {
    for chunk in input {
        encoder.write_all(chunk).map_err(|error| error.to_string())?;
    }
    encoder.try_finish().map_err(|error| error.to_string())
}

/// Checks that the input is exactly one complete frame of independent blocks. (The library accepts a frame without its
/// end.)
fn check_frame(input: &[u8]) -> Result<(), &'static str> {
    const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
    const INDEPENDENT: u8 = 0x20;
    const BLOCK_CHECKSUM: u8 = 0x10;
    const CONTENT_SIZE: u8 = 0x08;
    const CONTENT_CHECKSUM: u8 = 0x04;
    const DICTIONARY: u8 = 0x01;
    const NOT_COMPRESSED: u32 = 0x8000_0000;

    let short = "the frame is cut short";
    let rest = input.strip_prefix(&MAGIC).ok_or("it does not begin as an LZ4 frame does")?;
    let &[flags, _] = rest.first_chunk::<2>().ok_or(short)?;
    if flags & INDEPENDENT == 0 {
        return Err("its blocks depend on each other, which Kafka does not allow");
    }
    if flags & DICTIONARY != 0 {
        return Err("it needs a dictionary");
    }
    // Two bytes of flags, the optional content size, and a checksum byte.
    let header = if flags & CONTENT_SIZE == 0 { 3 } else { 11 };
    let (_, mut rest) = rest.split_at_checked(header).ok_or(short)?;
    loop {
        let (size, after) = rest.split_first_chunk::<4>().ok_or(short)?;
        let size = u32::from_le_bytes(*size);
        if size == 0 {
            rest = after;
            break;
        }
        let checksum = if flags & BLOCK_CHECKSUM == 0 { 0 } else { 4 };
        let block = usize::try_from(size & !NOT_COMPRESSED).map_err(|_| short)?;
        (_, rest) = block.checked_add(checksum).and_then(|len| after.split_at_checked(len)).ok_or(short)?;
    }
    match (flags & CONTENT_CHECKSUM == 0, rest.len()) {
        (true, 0) | (false, 4) => Ok(()),
        (false, 0..4) => Err(short),
        _ => Err("bytes follow its end"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns text for two compressible blocks and an incompressible one.
    fn text() -> Vec<u8> {
        let mut state = 1u32;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        });
        vec![b'a'; 128 * 1024].into_iter().chain(noise.take(100)).collect()
    }

    fn frame(info: FrameInfo) -> Vec<u8> {
        let mut encoder = FrameEncoder::with_frame_info(info.block_size(BlockSize::Max64KB), Vec::new());
        write_frame(&mut encoder, &[&text()]).unwrap();
        mem::take(encoder.get_mut())
    }

    #[test]
    fn every_valid_frame_is_read_and_truncation_is_refused() {
        for bits in 0..8 {
            let (checksums, checksum, size) = (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0);
            let frame = frame(
                FrameInfo::new()
                    .block_mode(BlockMode::Independent)
                    .block_checksums(checksums)
                    .content_checksum(checksum)
                    .content_size(size.then_some(text().len() as u64)),
            );
            let mut output = Vec::new();
            Lz4::new().decompress(&frame, text().len(), &mut output).unwrap();
            assert!(output == text(), "{bits}");
            assert_eq!(check_frame(&[&frame[..], b"a"].concat()), Err("bytes follow its end"), "{bits}");
            for len in 4..frame.len() {
                assert_eq!(check_frame(&frame[..len]), Err("the frame is cut short"), "{bits} cut at {len}");
            }
        }
    }

    #[test]
    fn invalid_frames_are_named() {
        let linked = frame(FrameInfo::new().block_mode(BlockMode::Linked));
        let mut with_dictionary = frame(FrameInfo::new().block_mode(BlockMode::Independent));
        with_dictionary[4] |= 1;
        for (frame, reason) in [
            (&linked[..], "its blocks depend on each other, which Kafka does not allow"),
            (&with_dictionary, "it needs a dictionary"),
            (b"\x04\x22\x4d", "it does not begin as an LZ4 frame does"),
        ] {
            assert_eq!(check_frame(frame), Err(reason));
            let error = Lz4::new().decompress(frame, usize::MAX, &mut Vec::new()).unwrap_err();
            assert_eq!(error, DecompressError::damaged(CompressionType::Lz4, reason));
        }
    }
}
