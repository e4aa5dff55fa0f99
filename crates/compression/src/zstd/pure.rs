//! By structured-zstd. Its context cannot leave its thread, so each thread keeps one, of the level it last used.

use std::cell::RefCell;

use structured_zstd::decoding::{FrameDecoder, StreamingDecoder};
use structured_zstd::encoding::{CompressionContext, CompressionLevel};

use super::{WINDOW_LOG_MAX, compress_error};
use crate::error::{CompressError, DecompressError};
use crate::types::CompressionType;
use crate::{Codec, limited};

thread_local! {
    static ENCODER: RefCell<Option<(i32, CompressionContext)>> = const { RefCell::new(None) };
}

#[derive(Debug)]
pub(crate) struct Zstd {
    level: i32,
}

impl Zstd {
    pub(crate) fn new(level: i32) -> Self {
        Self { level }
    }
}

impl Codec for Zstd {
    fn compress(&mut self, input: &[&[u8]], output: &mut Vec<u8>) -> Result<(), CompressError> {
        ENCODER.with_borrow_mut(|kept| {
            let fresh = || (self.level, CompressionContext::new(CompressionLevel::from_level(self.level)));
            let (level, mut encoder) = kept.take().filter(|(level, _)| *level == self.level).unwrap_or_else(fresh);
            write_frame(&mut encoder, input, output).map_err(compress_error)?;
            // A context that failed stays failed, and is not kept.
            *kept = Some((level, encoder));
            Ok(())
        })
    }

    fn decompress(&mut self, input: &[u8], limit: usize, output: &mut Vec<u8>) -> Result<(), DecompressError> {
        let damaged = |error: String| DecompressError::damaged(CompressionType::Zstd, error);
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(1 << WINDOW_LOG_MAX).map_err(|error| damaged(error.to_string()))?;
        limited(CompressionType::Zstd, StreamingDecoder::new_with_decoder(input, decoder), limit, output)
    }
}

fn write_frame(encoder: &mut CompressionContext, input: &[&[u8]], output: &mut Vec<u8>) -> std::io::Result<()> {
    // The tables are sized by it, and a small batch would drown in those for a large one.
    encoder.set_pledged_content_size(input.iter().map(|chunk| chunk.len() as u64).sum())?;
    for chunk in input {
        let mut rest = *chunk;
        while !rest.is_empty() {
            let taken = encoder.write(output, rest)?;
            rest = rest.get(taken..).unwrap_or_default();
        }
    }
    encoder.finish_frame(output)
}
