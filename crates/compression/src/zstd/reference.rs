//! zstd with the reference library.

use std::fmt;
use std::io::Write;

use kurier_protocol::CompressionType;
use zstd::stream::{read, write};
use zstd::zstd_safe::{CCtx, CParameter, DCtx, DParameter, ResetDirective, get_error_name};

use super::common::{LARGE_WINDOWS_FROM_LEVEL, WINDOW_LOG_MAX, compress_error};
use crate::codec::{Codec, limited};
use crate::error::{CompressError, DecompressError};

pub(crate) struct Zstd {
    level: i32,
    /// Encoder and decoder are created on first use: most codecs use one direction.
    encoder: Option<CCtx<'static>>,
    decoder: Option<DCtx<'static>>,
}

impl Zstd {
    pub(crate) fn new(level: i32) -> Self {
        Self { level, encoder: None, decoder: None }
    }
}

impl fmt::Debug for Zstd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zstd").field("level", &self.level).finish_non_exhaustive()
    }
}

impl Codec for Zstd {
    fn kind(&self) -> CompressionType {
        CompressionType::Zstd
    }

    fn compress(&mut self, input: &[&[u8]], output: &mut Vec<u8>) -> Result<(), CompressError> {
        let failed = |code| compress_error(get_error_name(code));
        let encoder = self.encoder.get_or_insert_with(CCtx::create);
        encoder.reset(ResetDirective::SessionOnly).map_err(failed)?;
        encoder.set_parameter(CParameter::CompressionLevel(self.level)).map_err(failed)?;
        if self.level >= LARGE_WINDOWS_FROM_LEVEL {
            encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG_MAX)).map_err(failed)?;
        }
        // The encoder sizes its tables by the content size; without it, a small batch gets the tables of a large one.
        let len = input.iter().map(|chunk| chunk.len() as u64).sum();
        encoder.set_pledged_src_size(Some(len)).map_err(failed)?;
        let mut frame = write::Encoder::with_context(output, encoder);
        for chunk in input {
            frame.write_all(chunk).map_err(compress_error)?;
        }
        frame.finish().map_err(compress_error)?;
        Ok(())
    }

    fn decompress(&mut self, input: &[u8], limit: usize, output: &mut Vec<u8>) -> Result<(), DecompressError> {
        let damaged = |code| DecompressError::damaged(CompressionType::Zstd, get_error_name(code));
        let decoder = self.decoder.get_or_insert_with(DCtx::create);
        decoder.reset(ResetDirective::SessionOnly).map_err(damaged)?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).map_err(damaged)?;
        limited(CompressionType::Zstd, read::Decoder::with_context(input, decoder), limit, output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Compression;

    /// The test's allocator does not see C's allocations, so the decoder's own figure is used.
    #[test]
    fn windows_above_8_mib_are_refused_before_anything_is_allocated_for_them() {
        const MIB: usize = 1 << 20;
        let read = |head: &[u8]| {
            let mut zstd = Zstd::new(Compression::new(CompressionType::Zstd).level());
            let result = zstd.decompress(&[head, b"\x03\0\x10a"].concat(), 64 * MIB, &mut Vec::new());
            (result, zstd.decoder.unwrap().sizeof())
        };
        for (window, mib) in [(0x68, 8), (0x69, 9), (0x70, 16), (0xa8, 2048), (0xff, 3_932_160)] {
            let (result, allocated) = read(&[0x28, 0xb5, 0x2f, 0xfd, 0, window]);
            assert_eq!(result.is_ok(), mib <= 8, "{mib} MiB: {result:?}");
            assert!(allocated <= if mib <= 8 { 9 * MIB } else { MIB }, "{allocated} bytes for a window of {mib} MiB");
        }
        // The content is also the window.
        for (size, is_read) in [(128 << 10, true), (9 << 20, false), (u32::MAX, false)] {
            let head = [&[0x28, 0xb5, 0x2f, 0xfd, 0xa0][..], &size.to_le_bytes()].concat();
            let (result, allocated) = read(&head);
            assert_eq!(result.is_ok(), is_read, "{size}: {result:?}");
            assert!(allocated <= MIB, "{allocated} bytes for {size}");
        }
    }
}
