//! Snappy, in the two formats that Kafka clients use.
//!
//! Java writes the xerial library's framing: a header, then blocks of 32 KiB, each preceded by its compressed length.
//! librdkafka and franz-go write one bare block. Java reads both and blocks of any size, and so does this module. It
//! writes the framing with blocks of 64 KiB.
//!
//! ```text
//! 82 53 4e 41 50 50 59 00   "\x82SNAPPY\0"
//! 00 00 00 01               version
//! 00 00 00 01               lowest version that can read it
//! [00 00 .. ..  block]...   length of the block, big-endian, and the block
//! ```
//!
//! (`org.xerial.snappy.SnappyOutputStream`. The snappy project's own "framing format" is different and unused here.)

use kurier_protocol::CompressionType;

use crate::codec::Codec;
use crate::error::{CompressError, DecompressError};

const MAGIC: [u8; 8] = *b"\x82SNAPPY\0";

/// Version and lowest compatible version.
const VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];

/// Uncompressed size of a block: as far as a match of the encoder reaches, so larger blocks are not smaller in sum.
/// Java's 32 KiB hide half of the matches.
const BLOCK_BYTES: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) struct Snappy {
    encoder: snap::raw::Encoder,
    /// Buffer that joins a block's pieces if it spans several chunks.
    block: Vec<u8>,
    /// The encoder's output. It keeps its length, because the encoder needs more room than it fills, and clearing that
    /// room for each block costs more than copying the result.
    encoded: Vec<u8>,
}

impl Snappy {
    pub(crate) fn new() -> Self {
        Self { encoder: snap::raw::Encoder::new(), block: Vec::new(), encoded: Vec::new() }
    }
}

impl Codec for Snappy {
    fn kind(&self) -> CompressionType {
        CompressionType::Snappy
    }

    fn compress(&mut self, input: &[&[u8]], output: &mut Vec<u8>) -> Result<(), CompressError> {
        output.extend_from_slice(&MAGIC);
        output.extend_from_slice(&VERSIONS);
        let Self { encoder, block, encoded } = self;
        let mut put_block = |block: &[u8]| put_block(encoder, block, encoded, output);
        block.clear();
        for chunk in input {
            let mut rest = *chunk;
            if !block.is_empty() {
                let (head, tail) = rest.split_at(rest.len().min(BLOCK_BYTES - block.len()));
                block.extend_from_slice(head);
                rest = tail;
                if block.len() == BLOCK_BYTES {
                    put_block(block)?;
                    block.clear();
                }
            }
            while let Some((whole, tail)) = rest.split_at_checked(BLOCK_BYTES) {
                put_block(whole)?;
                rest = tail;
            }
            block.extend_from_slice(rest);
        }
        if block.is_empty() { Ok(()) } else { put_block(block) }
    }

    fn decompress(&mut self, input: &[u8], limit: usize, output: &mut Vec<u8>) -> Result<(), DecompressError> {
        match input.strip_prefix(&MAGIC) {
            Some(framed) => unframe(framed, limit, output),
            None => take_block(input, limit, output),
        }
    }
}

/// Appends a block and its length. `encoded` is working memory.
fn put_block(
    encoder: &mut snap::raw::Encoder,
    block: &[u8],
    encoded: &mut Vec<u8>,
    output: &mut Vec<u8>,
) -> Result<(), CompressError> {
    let failed = |reason: String| CompressError { codec: CompressionType::Snappy, reason };
    let room = snap::raw::max_compress_len(block.len());
    if encoded.len() < room {
        encoded.resize(room, 0);
    }
    let len = encoder.compress(block, encoded).map_err(|error| failed(error.to_string()))?;
    let length = i32::try_from(len).map_err(|error| failed(error.to_string()))?;
    output.extend_from_slice(&length.to_be_bytes());
    output.extend_from_slice(encoded.get(..len).unwrap_or_default());
    Ok(())
}

/// Reads the part after the magic.
fn unframe(framed: &[u8], limit: usize, output: &mut Vec<u8>) -> Result<(), DecompressError> {
    let damaged = |reason| DecompressError::damaged(CompressionType::Snappy, reason);
    let Some(mut rest) = framed.strip_prefix(&VERSIONS) else {
        return Err(damaged("the xerial header is cut short or of another version"));
    };
    let start = output.len();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(|| damaged("a block's length is cut short"))?;
        let length =
            usize::try_from(i32::from_be_bytes(*length)).map_err(|_| damaged("a block's length is negative"))?;
        let (block, after) =
            after.split_at_checked(length).ok_or_else(|| damaged("a block is longer than the data"))?;
        let left = limit.saturating_sub(output.len() - start);
        take_block(block, left, output).map_err(|error| match error {
            DecompressError::TooLarge { codec, .. } => DecompressError::TooLarge { codec, limit },
            other => other,
        })?;
        rest = after;
    }
    Ok(())
}

/// Reads one bare block. Its claimed length is trusted only up to the block's maximum expansion.
fn take_block(block: &[u8], limit: usize, output: &mut Vec<u8>) -> Result<(), DecompressError> {
    /// An element of three bytes copies at most 64 bytes.
    const GROWTH_MAX: usize = 22;
    const CODEC: CompressionType = CompressionType::Snappy;
    let damaged = |error: snap::Error| DecompressError::damaged(CODEC, error);
    let length = snap::raw::decompress_len(block).map_err(damaged)?;
    if length > limit {
        return Err(DecompressError::TooLarge { codec: CODEC, limit });
    }
    if length > block.len().saturating_mul(GROWTH_MAX) {
        return Err(DecompressError::damaged(CODEC, "a block claims more than it can hold"));
    }
    let start = output.len();
    output.resize(start + length, 0);
    let (_, place) = output.split_at_mut(start);
    let written = snap::raw::Decoder::new().decompress(block, place).map_err(damaged)?;
    output.truncate(start + written);
    Ok(())
}
