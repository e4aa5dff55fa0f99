//! zstd with structured-zstd. Its encoder cannot leave its thread, so each thread keeps one per level.

use std::cell::RefCell;
use std::collections::BTreeMap;

use kurier_protocol::CompressionType;
use structured_zstd::decoding::{ContentChecksum, FrameDecoder, StreamingDecoder};
use structured_zstd::encoding::{CompressionContext, CompressionLevel, CompressionParameters};

use super::common::{LARGE_WINDOWS_FROM_LEVEL, WINDOW_LOG_MAX, compress_error};
use crate::codec::{Codec, limited};
use crate::error::{CompressError, DecompressError};

thread_local! {
    static ENCODERS: RefCell<BTreeMap<i32, CompressionContext>> = const { RefCell::new(BTreeMap::new()) };
}

#[derive(Debug)]
pub(crate) struct Zstd {
    level: i32,
}

impl Zstd {
    pub(crate) fn new(level: i32) -> Self {
        Self { level }
    }

    fn encoder(&self) -> Result<CompressionContext, CompressError> {
        let level = CompressionLevel::from_level(self.level);
        let mut encoder = CompressionContext::new(level);
        if self.level >= LARGE_WINDOWS_FROM_LEVEL {
            let parameters = CompressionParameters::builder(level).window_log(WINDOW_LOG_MAX).build();
            encoder.set_parameters(&parameters.map_err(compress_error)?).map_err(compress_error)?;
        }
        Ok(encoder)
    }
}

impl Codec for Zstd {
    fn kind(&self) -> CompressionType {
        CompressionType::Zstd
    }

    fn compress(&mut self, input: &[&[u8]], output: &mut Vec<u8>) -> Result<(), CompressError> {
        // A thread that is ending has no encoders left.
        let kept = ENCODERS.try_with(|encoders| encoders.borrow_mut().remove(&self.level)).ok().flatten();
        let mut encoder = kept.map_or_else(|| self.encoder(), Ok)?;
        write_frame(&mut encoder, input, output).map_err(compress_error)?;
        // A failed encoder stays unusable and is not kept.
        let _ = ENCODERS.try_with(|encoders| encoders.borrow_mut().insert(self.level, encoder));
        Ok(())
    }

    fn decompress(&mut self, input: &[u8], limit: usize, output: &mut Vec<u8>) -> Result<(), DecompressError> {
        let damaged = |error: String| DecompressError::damaged(CompressionType::Zstd, error);
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(1 << WINDOW_LOG_MAX).map_err(|error| damaged(error.to_string()))?;
        // By default, the decoder ignores a wrong checksum.
        decoder.set_content_checksum(ContentChecksum::Verify);
        limited(CompressionType::Zstd, StreamingDecoder::new_with_decoder(input, decoder), limit, output)
    }
}

fn write_frame(encoder: &mut CompressionContext, input: &[&[u8]], output: &mut Vec<u8>) -> std::io::Result<()> {
    // The encoder sizes its tables by the content size; without it, a small batch gets the tables of a large one.
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
