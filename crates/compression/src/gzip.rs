//! gzip (RFC 1952). This module writes header and trailer itself, so that it can reset and reuse the deflate state, the
//! larger part of a small batch's cost.

use flate2::bufread::MultiGzDecoder;
use flate2::{Compress, Crc, FlushCompress, Status};
use kurier_protocol::CompressionType;

use crate::codec::{Codec, limited};
use crate::error::{CompressError, DecompressError};

/// Magic, deflate, no flags, no time, no hint, unknown operating system: the header that Java has written since JDK 16.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// The level that -1 stands for. Java's is 6. With zlib-rs, 3 takes a quarter fewer instructions for 8 % more bytes. Level
/// 2 takes half, for 19 % more bytes.
const DEFAULT_LEVEL: u32 = 3;

#[derive(Debug)]
pub(crate) struct Gzip {
    level: i32,
    /// Created on first use: a codec that only reads needs none.
    deflate: Option<Compress>,
}

impl Gzip {
    pub(crate) fn new(level: i32) -> Self {
        Self { level, deflate: None }
    }
}

impl Codec for Gzip {
    fn kind(&self) -> CompressionType {
        CompressionType::Gzip
    }

    fn compress(&mut self, input: &[&[u8]], output: &mut Vec<u8>) -> Result<(), CompressError> {
        let failed =
            |error: flate2::CompressError| CompressError { codec: CompressionType::Gzip, reason: error.to_string() };
        let level = u32::try_from(self.level).unwrap_or(DEFAULT_LEVEL);
        let deflate = self.deflate.get_or_insert_with(|| Compress::new(flate2::Compression::new(level), false));
        deflate.reset();
        let mut crc = Crc::new();
        output.extend_from_slice(&HEADER);
        for chunk in input {
            crc.update(chunk);
            let mut rest = *chunk;
            while !rest.is_empty() {
                rest = deflate_some(deflate, rest, output, FlushCompress::None).map_err(failed)?.0;
            }
        }
        while deflate_some(deflate, &[], output, FlushCompress::Finish).map_err(failed)?.1 != Status::StreamEnd {}
        output.extend_from_slice(&crc.sum().to_le_bytes());
        output.extend_from_slice(&crc.amount().to_le_bytes());
        Ok(())
    }

    fn decompress(&mut self, input: &[u8], limit: usize, output: &mut Vec<u8>) -> Result<(), DecompressError> {
        limited(CompressionType::Gzip, MultiGzDecoder::new(input), limit, output)
    }
}

/// Runs deflate once and returns the remaining input.
fn deflate_some<'a>(
    deflate: &mut Compress,
    input: &'a [u8],
    output: &mut Vec<u8>,
    flush: FlushCompress,
) -> Result<(&'a [u8], Status), flate2::CompressError> {
    /// Minimum room for each call; the vector still doubles when it grows.
    const ROOM_BYTES: usize = 4096;
    output.reserve(ROOM_BYTES);
    let before = deflate.total_in();
    let status = deflate.compress_vec(input, output, flush)?;
    let taken = usize::try_from(deflate.total_in() - before).unwrap_or(input.len());
    Ok((input.get(taken..).unwrap_or_default(), status))
}
