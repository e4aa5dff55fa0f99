//! Tests with hostile compressed data: it is refused, or its output ends exactly at the caller's limit.
//!
//! Test names begin with the attacked part: `gzip`, `snappy_raw`, `snappy_xerial`, `lz4`, `zstd`, `record_batch`.
//! memory.rs counts allocations. Bytes that once crashed another client or server have the number.

#![allow(dead_code, reason = "a build without codecs has nothing to check")]

use kurier_compression::{Compression, CompressionType, DecompressError, decompress_batch};
use kurier_protocol::record_batch::{Attributes, NewRecord, RecordBatch, RecordBatchBuilder, Stamp};

/// The reader's limit.
const LIMIT: usize = 64 << 20;

fn decompress(kind: CompressionType, input: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
    let mut output = Vec::new();
    Compression::new(kind).codec().unwrap().decompress(input, limit, &mut output)?;
    Ok(output)
}

/// Checks that each input is refused as damaged, not because its output is too large.
#[track_caller]
fn check(kind: CompressionType, lies: &[(&str, &[u8])]) {
    for (lie, bytes) in lies {
        match decompress(kind, bytes, LIMIT) {
            Err(DecompressError::Damaged { .. }) => {}
            Err(DecompressError::TooLarge { .. }) if lie.contains("above the limit") => {}
            other => panic!("{kind}, {lie}: {:?}", other.map(|output| output.len())),
        }
    }
}

/// Checks that the output has `len` bytes, and is refused for any smaller limit.
#[track_caller]
fn check_bomb(kind: CompressionType, bomb: &[u8], len: usize) {
    for limit in [0, 1, len / 2, len - 1] {
        assert_eq!(decompress(kind, bomb, limit).unwrap_err(), DecompressError::TooLarge { codec: kind, limit });
    }
    assert_eq!(decompress(kind, bomb, len).unwrap().len(), len);
}

#[test]
fn record_batch_unknown_codecs_are_named() {
    let mut builder = RecordBatchBuilder::new();
    builder.append(&NewRecord::default()).unwrap();
    let bytes = builder.seal().unwrap().stamp(&Stamp::NONE).unwrap().to_bytes();
    let mut header = *RecordBatch::parse(&bytes).unwrap().0.header();
    for codec in 5..=7 {
        header.attributes = Attributes(codec);
        let bytes = header.with_body(vec![]).unwrap().to_bytes();
        let (batch, _) = RecordBatch::parse(&bytes).unwrap();
        let error = decompress_batch(&batch, LIMIT).unwrap_err();
        assert_eq!(error, DecompressError::UnknownCodec(u8::try_from(codec).unwrap()));
    }
}

#[cfg(feature = "gzip")]
mod gzip {
    use super::*;

    /// An empty member.
    const EMPTY: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x03\0\0\0\0\0\0\0\0\0";

    fn member(text: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        Compression::new(CompressionType::Gzip).codec().unwrap().compress(&[text], &mut frame).unwrap();
        frame
    }

    #[test]
    fn gzip_bombs_give_no_more_than_the_limit() {
        let bomb = member(&vec![0; LIMIT + 1]);
        assert!(bomb.len() < LIMIT / 1000, "{}", bomb.len());
        let error = decompress(CompressionType::Gzip, &bomb, LIMIT).unwrap_err();
        assert_eq!(error, DecompressError::TooLarge { codec: CompressionType::Gzip, limit: LIMIT });
        // The limit is for all members together, however small each is.
        check_bomb(CompressionType::Gzip, &member(&[0; 1000]).repeat(100), 100_000);
        let many = [&EMPTY.repeat(10_000)[..], &member(b"end")].concat();
        assert_eq!(decompress(CompressionType::Gzip, &many, 3).unwrap(), b"end");
    }

    #[test]
    fn gzip_false_headers_and_trailers_are_refused() {
        let sound = member(b"sound");
        let (tail, cut) = (sound.len() - 8, sound.len() - 1);
        let put = |at: usize, mask: u8| {
            let mut damaged = sound.clone();
            damaged[at] ^= mask;
            damaged
        };
        let head = |flags: u8, more: &[u8]| [&[0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 0xff], more, &sound[10..]].concat();
        check(
            CompressionType::Gzip,
            &[
                ("nothing", b""),
                ("another format", b"PK\x03\x04aaaaaaaaaaaa"),
                ("another method", &put(2, 1)),
                ("flags that are reserved", &head(0x20, b"")),
                ("an extra field of 64 KiB that is not there", b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\xff\xffaaaa"),
                ("a name without end", &[&b"\x1f\x8b\x08\x08\0\0\0\0\0\xff"[..], &[b'a'; 1000]].concat()),
                ("a name of 100,000 bytes", &head(8, &[&[b'a'; 100_000][..], b"\0"].concat())),
                ("a comment of 100,000 bytes", &head(16, &[&[b'a'; 100_000][..], b"\0"].concat())),
                ("a checksum of the head that is wrong", &head(2, b"ab")),
                ("a wrong checksum", &put(tail, 1)),
                ("a wrong length", &put(tail + 4, 1)),
                ("cut short", &sound[..cut]),
                ("junk behind it", &[&sound[..], b"junk"].concat()),
                ("zeros behind it", &[&sound[..], &[0; 64]].concat()),
                ("the head of another member behind it", &[&sound[..], &sound[..9]].concat()),
            ],
        );
        // Optional header fields are skipped.
        let odd = head(0x1c, &[&b"\xff\xff"[..], &[1; 0xffff], b"name\0comment\0"].concat());
        assert_eq!(decompress(CompressionType::Gzip, &odd, LIMIT).unwrap(), b"sound");
    }
}

#[cfg(feature = "snappy")]
mod snappy {
    use super::*;

    const XERIAL: &[u8] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";

    /// Encodes a snappy block: its length, then the elements.
    fn block(mut length: usize, elements: &[u8]) -> Vec<u8> {
        let mut block = Vec::new();
        while length >= 0x80 {
            block.push(length.to_le_bytes()[0] | 0x80);
            length >>= 7;
        }
        block.push(length.to_le_bytes()[0]);
        block.extend(elements);
        block
    }

    /// Encodes one byte, then `copies` elements of three bytes that copy 64 each: the maximum expansion.
    fn bomb(copies: usize) -> (Vec<u8>, usize) {
        let len = 1 + 64 * copies;
        (block(len, &[&b"\0a"[..], &b"\xfe\x01\0".repeat(copies)].concat()), len)
    }

    /// A block may claim 22 times its size, which no block can reach. influxdata/rskafka #92 and #141: the first bytes
    /// of a block determined the allocation.
    #[test]
    fn snappy_raw_impossible_lengths_are_refused() {
        check(
            CompressionType::Snappy,
            &[
                ("nothing", b""),
                ("4 GiB in 8 bytes, above the limit", b"\xff\xff\xff\xff\x0f\x00aa"),
                ("1 MiB in 5 bytes", b"\x80\x80\x40\x00a"),
                ("a length of six bytes", b"\x80\x80\x80\x80\x80\0a"),
                ("a length of 33 bits", b"\xff\xff\xff\xff\x1f\0a"),
                ("a length without end", b"\x80\x80"),
                ("one byte more than 22 times its size", &block(22 * 5 + 1, b"\0a\xfe\x01")),
                ("a length and nothing else", b"\x05"),
                ("less than its length", &block(10, b"\0a")),
                ("more than its length", &block(1, b"\x04ab")),
                ("a literal longer than the data", &block(60, b"\xf0\x3ba")),
                ("a copy from before the beginning", &block(5, b"\0a\x0d\x02")),
                ("a copy from where it stands", &block(5, b"\0a\x01\0")),
                ("a copy without its offset", &block(66, b"\0a\xfe\x01")),
            ],
        );
        let (bomb, len) = bomb(100_000);
        assert!(21 * bomb.len() < len && len < 22 * bomb.len(), "{} of {}", len, bomb.len());
        check_bomb(CompressionType::Snappy, &bomb, len);
    }

    /// CVE-2023-34455 and CVE-2023-43642 of snappy-java: a chunk's length, even if negative, became an array's size.
    #[test]
    fn snappy_xerial_chunks_stay_within_data_and_limit() {
        let framed = |chunk: &[u8]| [XERIAL, chunk].concat();
        check(
            CompressionType::Snappy,
            &[
                ("bad magic", b"\x82SNAPPZ\0\0\0\0\x01\0\0\0\x01\0\0\0\x02\x01\0a"),
                ("version 2", b"\x82SNAPPY\0\0\0\0\x02\0\0\0\x01"),
                ("compatible with version 2", b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x02"),
                ("cut in the versions", b"\x82SNAPPY\0\0\0\0\x01\0\0"),
                ("cut in a length", &framed(b"\0\0")),
                ("a chunk of 2 GiB less a byte", &framed(b"\x7f\xff\xff\xff")),
                ("a chunk of 2 GiB less a byte, and some of it", &framed(b"\x7f\xff\xff\xff\x01\0a")),
                ("a chunk of -2 GiB", &framed(b"\x80\0\0\0\x01\0a")),
                ("a chunk of -1 byte", &framed(b"\xff\xff\xff\xff")),
                ("an empty chunk", &framed(b"\0\0\0\0")),
                ("a chunk beyond the data", &framed(b"\0\0\0\x09\x01\0a")),
                ("a chunk short of its data", &framed(b"\0\0\0\x03\x01\0aa")),
                ("a block of 4 GiB within, above the limit", &framed(b"\0\0\0\x08\xff\xff\xff\xff\x0f\x00aa")),
                ("a block of 1 MiB within", &framed(b"\0\0\0\x05\x80\x80\x40\x00a")),
                ("a frame within", &framed(&[&b"\0\0\0\x10"[..], XERIAL].concat())),
            ],
        );
        let (bomb, len) = bomb(1000);
        let chunk = [&u32::try_from(bomb.len()).unwrap().to_be_bytes()[..], &bomb].concat();
        check_bomb(CompressionType::Snappy, &framed(&chunk.repeat(100)), 100 * len);
    }
}

#[cfg(feature = "lz4")]
mod lz4 {
    use std::io::Write;

    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

    use super::*;

    /// Headers for independent blocks of 64 KiB and of 4 MiB, without checksums.
    const SMALL: &[u8] = b"\x04\x22\x4d\x18\x60\x40\x82";
    const LARGE: &[u8] = b"\x04\x22\x4d\x18\x60\x70\x73";

    /// Encodes a frame with one block of these sequences.
    fn frame(head: &[u8], block: &[u8]) -> Vec<u8> {
        [head, &u32::try_from(block.len()).unwrap().to_le_bytes(), block, &[0; 4]].concat()
    }

    /// Encodes a frame with one uncompressed block.
    fn plain(head: &[u8], block: &[u8]) -> Vec<u8> {
        [head, &(u32::try_from(block.len()).unwrap() | 1 << 31).to_le_bytes(), block, &[0; 4]].concat()
    }

    fn encoded(info: FrameInfo, text: &[u8]) -> Vec<u8> {
        let info = info.block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn lz4_only_single_frames_of_independent_blocks_are_read() {
        check(
            CompressionType::Lz4,
            &[
                ("nothing", b""),
                ("no blocks and no end", SMALL),
                ("a wrong checksum of the head", b"\x04\x22\x4d\x18\x60\x40\x83\0\0\0\0"),
                // Java refuses linked blocks, so producers cannot write them; a reader would need twice the memory.
                ("linked blocks", b"\x04\x22\x4d\x18\x40\x40\xc0\0\0\0\0"),
                ("version 2", b"\x04\x22\x4d\x18\xa0\x40\x82\0\0\0\0"),
                ("blocks of 32 KiB, which there are not", b"\x04\x22\x4d\x18\x60\x30\x82\0\0\0\0"),
                ("a dictionary", b"\x04\x22\x4d\x18\x61\x40\0\0\0\0\x82\0\0\0\0"),
                ("the legacy format", b"\x02\x21\x4c\x18\x05\0\0\0\x10abcd"),
                ("a skippable frame", b"\x50\x2a\x4d\x18\x04\0\0\0abcd"),
                ("a frame behind a skippable one", &[b"\x50\x2a\x4d\x18\x04\0\0\0abcd", SMALL, &[0; 4]].concat()),
                ("two frames", &plain(SMALL, b"a").repeat(2)),
                ("bytes behind the end", &[SMALL, b"\0\0\0\0a"].concat()),
                ("no end", &plain(SMALL, b"a")[..12]),
            ],
        );
        assert_eq!(decompress(CompressionType::Lz4, &plain(SMALL, b"abc"), LIMIT).unwrap(), b"abc");
    }

    #[test]
    fn lz4_blocks_are_no_larger_than_the_head_says_and_no_larger_than_4_mib() {
        let large = vec![7; (4 << 20) + 1];
        // The output is one byte more than 64 KiB: 'a', and a copy for the rest.
        let copy = [
            &b"\x1fa\x01\0"[..],
            &vec![0xff; (65_536 - 19 - 5) / 255],
            &[(65_536u32 - 19 - 5).to_le_bytes()[0]],
            b"\x50bbbbb",
        ];
        check(
            CompressionType::Lz4,
            &[
                ("a block beyond the data", &[SMALL, b"\xff\xff\0\0a"].concat()),
                ("a block of 2 GiB", &[SMALL, b"\xff\xff\xff\x7fa"].concat()),
                ("a plain block of 2 GiB", &[SMALL, b"\xff\xff\xff\xffa"].concat()),
                ("a plain block of 64 KiB and a byte", &plain(SMALL, &large[..65_537])),
                ("a plain block of 4 MiB and a byte", &plain(LARGE, &large)),
                ("a block of 4 MiB and a byte", &frame(LARGE, &large)),
                ("more in a block than 64 KiB", &frame(SMALL, &copy.concat().repeat(2))),
            ],
        );
        assert_eq!(decompress(CompressionType::Lz4, &plain(LARGE, &large[1..]), LIMIT).unwrap().len(), 4 << 20);
    }

    /// RUSTSEC-2026-0041: for invalid offsets, lz4_flex before 0.11.6 and 0.12.1 copied memory outside the block.
    #[test]
    fn lz4_offsets_of_0_and_from_before_the_block_are_refused() {
        check(
            CompressionType::Lz4,
            &[
                ("an offset of 0", &frame(SMALL, b"\x10a\0\0\x50bbbbb")),
                ("an offset of 0 and a long copy", &frame(SMALL, b"\x1fa\0\0\xff\xff\x10\x50bbbbb")),
                ("an offset before the beginning", &frame(SMALL, b"\x10a\x02\0\x50bbbbb")),
                ("an offset of 65535", &frame(SMALL, b"\x10a\xff\xff\x50bbbbb")),
                ("a copy without a byte before it", &frame(SMALL, b"\0\x01\0\x50bbbbb")),
                (
                    "an offset into the block before",
                    &[&plain(SMALL, b"abc")[..14], &frame(b"", b"\x10a\x03\0\x50bbbbb")].concat(),
                ),
                ("half an offset", &frame(SMALL, b"\x10a\x01")),
                ("literals beyond the block", &frame(SMALL, b"\x50ab")),
                ("a length without end", &frame(SMALL, b"\xf0\xff\xff\xff")),
                // The library takes an empty block for the end of the frame and ignores the rest.
                ("a block of nothing", &[&frame(SMALL, b"\0")[..12], &plain(b"", b"abc")].concat()),
            ],
        );
        assert_eq!(
            decompress(CompressionType::Lz4, &frame(SMALL, b"\x10a\x01\0\x50bbbbb"), LIMIT).unwrap(),
            b"aaaaabbbbb"
        );
    }

    #[test]
    fn lz4_false_sizes_and_checksums_are_refused() {
        let sized = encoded(FrameInfo::new().content_size(Some(5)), b"abcde");
        let head = &sized[..15];
        assert_eq!(decompress(CompressionType::Lz4, &sized, LIMIT).unwrap(), b"abcde");
        let checked = encoded(FrameInfo::new().block_checksums(true).content_checksum(true), b"abcde");
        assert_eq!(decompress(CompressionType::Lz4, &checked, LIMIT).unwrap(), b"abcde");
        let (block, end) = (checked.len() - 12, checked.len() - 4);
        let put = |at: usize| {
            let mut damaged = checked.clone();
            damaged[at] ^= 1;
            damaged
        };
        check(
            CompressionType::Lz4,
            &[
                ("less than its size", &plain(head, b"abc")),
                ("more than its size", &plain(head, b"abcdef")),
                ("nothing of its size", &[head, &[0; 4]].concat()),
                ("a wrong checksum of a block", &put(block)),
                ("a wrong checksum of all", &put(end)),
                ("no checksum of all", &checked[..end]),
                ("half a checksum of all", &checked[..end + 2]),
            ],
        );
        // The largest claimed size allocates nothing.
        let mut huge = sized.clone();
        huge[6..14].fill(0xff);
        check(CompressionType::Lz4, &[("a size of 16 EiB", &huge)]);
        let zeros = vec![0; 1 << 20];
        check_bomb(CompressionType::Lz4, &encoded(FrameInfo::new(), &zeros), zeros.len());
    }
}

#[cfg(any(feature = "zstd", feature = "zstd-pure"))]
mod zstd {
    use super::*;

    /// Encodes a frame with this window and blocks of 128 KiB of one byte.
    fn blocks(window: u8, count: usize) -> Vec<u8> {
        let head = [0x28, 0xb5, 0x2f, 0xfd, 0, window];
        [&head[..], &b"\x02\0\x10a".repeat(count - 1), b"\x03\0\x10a"].concat()
    }

    #[test]
    fn zstd_windows_are_at_most_8_mib() {
        check(
            CompressionType::Zstd,
            &[
                ("nothing", b""),
                ("a window of 2 GiB", b"\x28\xb5\x2f\xfd\x00\xa8\x01\0\0"),
                ("a window of 9 MiB", b"\x28\xb5\x2f\xfd\x00\x69\x01\0\0"),
                ("a window of 9 MiB, and content", &blocks(0x69, 1)),
                ("the largest window", &blocks(0xff, 1)),
                ("content of 9 MiB that is its own window", b"\x28\xb5\x2f\xfd\xa0\0\0\x90\0\x03\0\x10a"),
                ("content of 2 GiB that is its own window", b"\x28\xb5\x2f\xfd\xa0\0\0\0\x80\x03\0\x10a"),
                ("a dictionary that nobody has", b"\x28\xb5\x2f\xfd\x01\x48\x07\x03\0\x10a"),
            ],
        );
        let read = decompress(CompressionType::Zstd, &blocks(0x68, 1), LIMIT).unwrap();
        assert_eq!(read.len(), 128 << 10, "8 MiB is allowed");
    }

    #[test]
    fn zstd_frames_without_size_stay_within_the_limit() {
        let bomb = blocks(0x68, 80);
        assert!(bomb.len() < 400);
        check_bomb(CompressionType::Zstd, &bomb, 80 * (128 << 10));
        // The limit is for several frames together.
        check_bomb(CompressionType::Zstd, &blocks(0x48, 1).repeat(9), 9 * (128 << 10));
    }

    #[test]
    fn zstd_false_sizes_and_blocks_are_refused() {
        check(
            CompressionType::Zstd,
            &[
                ("a reserved bit", b"\x28\xb5\x2f\xfd\x08\x48\x01\0\0"),
                ("a reserved block", b"\x28\xb5\x2f\xfd\x00\x48\x07\0\0"),
                ("a block of more than 128 KiB", b"\x28\xb5\x2f\xfd\x00\x68\x0b\0\x10a"),
                ("a block of more than its window", b"\x28\xb5\x2f\xfd\x00\x00\x03\0\x10a"),
                ("a block beyond the data", b"\x28\xb5\x2f\xfd\x00\x48\x29\0\0abc"),
                ("more than its size", b"\x28\xb5\x2f\xfd\x20\x02\x21\0\0abcd"),
                ("less than its size", b"\x28\xb5\x2f\xfd\x20\x05\x21\0\0abcd"),
                ("no last block", b"\x28\xb5\x2f\xfd\x20\x04\x20\0\0abcd"),
                ("a wrong checksum", b"\x28\xb5\x2f\xfd\x24\x04\x21\0\0abcd\0\0\0\0"),
                ("no checksum", b"\x28\xb5\x2f\xfd\x24\x04\x21\0\0abcd"),
                ("junk behind it", b"\x28\xb5\x2f\xfd\x20\x04\x21\0\0abcdjunk"),
            ],
        );
        let sound = b"\x28\xb5\x2f\xfd\x20\x04\x21\0\0abcd";
        assert_eq!(decompress(CompressionType::Zstd, sound, LIMIT).unwrap(), b"abcd");
    }
}
