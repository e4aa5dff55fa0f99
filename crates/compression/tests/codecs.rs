//! Tests of every codec: round trips, Java's framing, reuse, and refusal of damaged, too large or false input. In
//! crates/e2e, Java itself reads our frames.

use kurier_compression::{Codec, Compression, CompressionType, DecompressError, decompress_batch};
use kurier_protocol::record_batch::{Attributes, NewRecord, RecordBatch, RecordBatchBuilder, Stamp};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

const LIMIT: usize = 64 << 20;

/// Returns the codecs of this build.
fn codecs() -> Vec<(CompressionType, Box<dyn Codec>)> {
    let codec = |kind| Compression::new(kind).codec().ok().map(|codec| (kind, codec));
    CompressionType::ALL.into_iter().filter_map(codec).collect()
}

fn compress(codec: &mut dyn Codec, chunks: &[&[u8]]) -> Vec<u8> {
    let mut output = Vec::new();
    codec.compress(chunks, &mut output).unwrap();
    output
}

fn decompress(codec: &mut dyn Codec, input: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
    let mut output = Vec::new();
    codec.decompress(input, limit, &mut output)?;
    Ok(output)
}

/// Returns text of `len` bytes that compresses about as well as events.
fn events(len: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(len + 100);
    let mut number = 1u32;
    while text.len() < len {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.extend_from_slice(
            format!("{{\"user\":{},\"city\":\"서울\",\"amount\":{number}}}\n", number >> 20).as_bytes(),
        );
    }
    text.truncate(len);
    text
}

#[test]
fn sizes_around_every_block_border_round_trip() {
    let text = events(300_000);
    for (kind, mut codec) in codecs() {
        for len in [0, 1, 2, 100, 32_767, 32_768, 32_769, 65_535, 65_536, 65_537, 98_304, 131_072, 300_000] {
            let frame = compress(&mut *codec, &[&text[..len]]);
            assert_eq!(decompress(&mut *codec, &frame, LIMIT).unwrap(), &text[..len], "{kind} {len}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn input_in_any_pieces_round_trips(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>().prop_map(|byte| byte & 7), 0..70_000), 0..6),
    ) {
        let whole = chunks.concat();
        let slices: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        for (kind, mut codec) in codecs() {
            let frame = compress(&mut *codec, &slices);
            prop_assert_eq!(&decompress(&mut *codec, &frame, LIMIT).unwrap(), &whole, "{}", kind);
        }
    }
}

#[test]
fn reused_codec_writes_the_same_bytes_as_a_fresh_one() {
    let text = events(50_000);
    for (kind, mut used) in codecs() {
        compress(&mut *used, &[&text[..20_000]]);
        let _ = decompress(&mut *used, b"\x1f\x8b\x08damaged", LIMIT);
        let fresh = compress(&mut *Compression::new(kind).codec().unwrap(), &[&text]);
        assert_eq!(compress(&mut *used, &[&text]), fresh, "{kind}");
        assert_eq!(compress(&mut *used, &[&text]), fresh, "{kind}");
    }
}

#[test]
fn compress_and_decompress_append_to_output() {
    for (kind, mut codec) in codecs() {
        let mut output = b"head".to_vec();
        codec.compress(&[b"abcabcabc"], &mut output).unwrap();
        assert_eq!(&output[..4], b"head", "{kind}");
        let mut text = b"head".to_vec();
        // The limit counts only the new output.
        codec.decompress(&output[4..], 9, &mut text).unwrap();
        assert_eq!(text, b"headabcabcabc", "{kind}");
    }
}

#[test]
fn higher_level_output_is_not_larger() {
    let text = events(200_000);
    let size = |kind, level| {
        let mut codec = Compression::new(kind).with_level(level).unwrap().codec().unwrap();
        let frame = compress(&mut *codec, &[&text]);
        assert_eq!(decompress(&mut *codec, &frame, LIMIT).unwrap(), text);
        frame.len()
    };
    if cfg!(feature = "gzip") {
        assert!(size(CompressionType::Gzip, 9) < size(CompressionType::Gzip, 1));
        assert_eq!(size(CompressionType::Gzip, -1), size(CompressionType::Gzip, 3));
        assert_ne!(size(CompressionType::Gzip, -1), size(CompressionType::Gzip, 6));
    }
    if cfg!(any(feature = "zstd", feature = "zstd-pure")) {
        assert!(size(CompressionType::Zstd, 19) < size(CompressionType::Zstd, 1));
        assert!(size(CompressionType::Zstd, 1) <= size(CompressionType::Zstd, -5));
    }
}

#[test]
fn codec_returns_its_kind() {
    for (kind, codec) in codecs() {
        assert_eq!(codec.kind(), kind);
        assert_eq!(Compression::from(kind), Compression::new(kind));
        let name = if kind == CompressionType::None { "identity" } else { kind.name() };
        assert!(format!("{codec:?}").to_lowercase().starts_with(name), "{codec:?}");
    }
}

#[test]
fn levels_outside_the_codecs_range_are_refused() {
    let with = |kind, level| Compression::new(kind).with_level(level).map(Compression::level);
    for (kind, good, bad) in [
        (CompressionType::Gzip, &[-1, 1, 9][..], &[-2, 0, 10][..]),
        (CompressionType::Lz4, &[9], &[1, 3, 8, 10, 17]),
        (CompressionType::Zstd, &[-131_072, -1, 0, 3, 22], &[-131_073, 23]),
        (CompressionType::Snappy, &[], &[0, 1]),
        (CompressionType::None, &[], &[0, 1]),
    ] {
        for level in good {
            assert_eq!(with(kind, *level), Ok(*level));
        }
        for level in bad {
            let error = with(kind, *level).unwrap_err();
            assert!(error.to_string().contains(&format!("{kind} has no level {level}: ")), "{error}");
        }
    }
}

#[test]
fn every_level_writes_readable_frames() {
    // The text exceeds 8 MiB: there, zstd's highest levels would use a window that readers refuse.
    let text = events(9 << 20);
    for (kind, level) in [(CompressionType::Gzip, 1), (CompressionType::Zstd, 1), (CompressionType::Zstd, 22)] {
        let Ok(mut codec) = Compression::new(kind).with_level(level).unwrap().codec() else { continue };
        // Without matches within reach, even the highest level is fast.
        let frame = compress(&mut *codec, &[&text[..1 << 20], &vec![0; 8 << 20]]);
        let whole = decompress(&mut *codec, &frame, LIMIT).unwrap();
        assert_eq!((whole.len(), &whole[..1 << 20]), (9 << 20, &text[..1 << 20]), "{kind} {level}");
    }
}

#[test]
fn batch_round_trips_through_every_codec() {
    for (kind, mut codec) in codecs() {
        let mut builder = RecordBatchBuilder::new();
        for value in events(20_000).chunks(100) {
            builder.append(&NewRecord { value: Some(value), ..Default::default() }).unwrap();
        }
        let sealed = codec.compress_batch(builder.seal().unwrap()).unwrap();
        assert_eq!(sealed.compression_type(), kind);
        let bytes = sealed.stamp(&Stamp::NONE).unwrap().to_bytes();
        let (batch, _) = RecordBatch::parse(&bytes).unwrap();
        let body = decompress_batch(&batch, LIMIT).unwrap();
        let values = batch.records_in(&body).unwrap().flat_map(|record| record.unwrap().value.unwrap().to_vec());
        assert!(values.eq(events(20_000)), "{kind}");
        assert_eq!(
            decompress_batch(&batch, body.len() - 1).unwrap_err(),
            DecompressError::TooLarge { codec: kind, limit: body.len() - 1 }
        );
    }
}

#[test]
fn unknown_codec_is_named() {
    let mut builder = RecordBatchBuilder::new();
    builder.append(&NewRecord::default()).unwrap();
    let bytes = builder.seal().unwrap().stamp(&Stamp::NONE).unwrap().to_bytes();
    let (batch, _) = RecordBatch::parse(&bytes).unwrap();
    let mut header = *batch.header();
    header.attributes = Attributes(5);
    let bytes = header.with_body(vec![]).unwrap().to_bytes();
    let (batch, _) = RecordBatch::parse(&bytes).unwrap();
    assert_eq!(decompress_batch(&batch, LIMIT).unwrap_err(), DecompressError::UnknownCodec(5));
    for kind in CompressionType::ALL {
        header.attributes = Attributes::default().with_compression_type(kind);
        let bytes = header.with_body(vec![]).unwrap().to_bytes();
        let (batch, _) = RecordBatch::parse(&bytes).unwrap();
        let is_built = codecs().iter().any(|(built, _)| *built == kind);
        let is_unavailable = matches!(decompress_batch(&batch, LIMIT), Err(DecompressError::Unavailable(_)));
        assert_eq!(is_unavailable, !is_built, "{kind}");
    }
}

#[test]
fn names_and_ids_are_kafkas() {
    for (id, name) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().enumerate() {
        let kind: CompressionType = name.parse().unwrap();
        assert_eq!((kind.to_string().as_str(), usize::from(kind.id())), (name, id));
        assert_eq!(CompressionType::from_id(kind.id()), Some(kind));
    }
    assert_eq!(CompressionType::from_id(5), None);
}

#[test]
#[cfg(feature = "gzip")]
fn gzip_has_javas_header() {
    let mut codec = Compression::new(CompressionType::Gzip).codec().unwrap();
    assert_eq!(compress(&mut *codec, &[b"x"])[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
}

#[test]
#[cfg(feature = "snappy")]
fn snappy_is_framed_as_by_xerial_with_blocks_of_64_kib() {
    let mut codec = Compression::new(CompressionType::Snappy).codec().unwrap();
    let text = events(100_000);
    let frame = compress(&mut *codec, &[&text]);
    assert_eq!(
        compress(&mut *codec, &[&text[..5000], &text[5000..64_000], &text[64_000..]]),
        frame,
        "however it is cut"
    );
    assert_eq!(frame[..16], *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
    let first = u32::from_be_bytes(frame[16..20].try_into().unwrap()) as usize;
    assert_eq!(snap::raw::decompress_len(&frame[20..20 + first]).unwrap(), 64 * 1024);
    let second = u32::from_be_bytes(frame[20 + first..24 + first].try_into().unwrap()) as usize;
    assert_eq!(snap::raw::decompress_len(&frame[24 + first..]).unwrap(), 100_000 - 64 * 1024);
    assert_eq!(frame.len(), 24 + first + second, "two blocks and nothing else");
}

#[test]
#[cfg(feature = "snappy")]
fn xerial_blocks_of_every_size_are_read() {
    let mut codec = Compression::new(CompressionType::Snappy).codec().unwrap();
    let text = events(200_000);
    // The second is Java's size, the last a block that holds all.
    for size in [1_000, 32 * 1024, 64 * 1024 - 1, 64 * 1024, 100_000, 200_000] {
        let mut frame = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
        for block in text.chunks(size) {
            let block = snap::raw::Encoder::new().compress_vec(block).unwrap();
            frame.extend(u32::try_from(block.len()).unwrap().to_be_bytes());
            frame.extend(block);
        }
        assert_eq!(decompress(&mut *codec, &frame, LIMIT).unwrap(), text, "{size}");
        let error = decompress(&mut *codec, &frame, text.len() - 1).unwrap_err();
        assert_eq!(
            error,
            DecompressError::TooLarge { codec: CompressionType::Snappy, limit: text.len() - 1 },
            "{size}"
        );
    }
}

#[test]
#[cfg(feature = "snappy")]
fn bare_snappy_block_is_read() {
    let mut codec = Compression::new(CompressionType::Snappy).codec().unwrap();
    let text = events(100_000);
    let bare = snap::raw::Encoder::new().compress_vec(&text).unwrap();
    assert_eq!(decompress(&mut *codec, &bare, LIMIT).unwrap(), text);
}

#[test]
#[cfg(feature = "lz4")]
fn lz4_has_javas_header() {
    let mut codec = Compression::new(CompressionType::Lz4).codec().unwrap();
    let frame = compress(&mut *codec, &[b"x"]);
    assert_eq!(frame[..7], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
    assert_eq!(frame[frame.len() - 4..], [0; 4], "end mark, no checksum");
}

#[test]
#[cfg(feature = "gzip")]
fn gzip_members_are_read_one_after_the_other() {
    let mut codec = Compression::new(CompressionType::Gzip).codec().unwrap();
    let mut frames = compress(&mut *codec, &[b"one "]);
    frames.extend(compress(&mut *codec, &[b"two"]));
    assert_eq!(decompress(&mut *codec, &frames, LIMIT).unwrap(), b"one two");
}

#[test]
fn the_limit_holds_to_the_byte() {
    let bomb = vec![0; 10 << 20];
    for (kind, mut codec) in codecs() {
        let frame = compress(&mut *codec, &[&bomb]);
        assert_eq!(decompress(&mut *codec, &frame, bomb.len()).unwrap().len(), bomb.len(), "{kind}");
        for limit in [0, 1, 1000, bomb.len() - 1] {
            let error = decompress(&mut *codec, &frame, limit).unwrap_err();
            assert_eq!(error, DecompressError::TooLarge { codec: kind, limit }, "{kind}");
        }
    }
}

#[test]
fn truncated_frames_are_refused() {
    let text = events(2000);
    for (kind, mut codec) in codecs().into_iter().skip(1) {
        let frame = compress(&mut *codec, &[&text]);
        for len in 0..frame.len() {
            // The xerial framing has no end mark: a frame that ends before its only block is an empty frame.
            let is_empty_frame = kind == CompressionType::Snappy && len == 16;
            let result = decompress(&mut *codec, &frame[..len], LIMIT);
            assert!(result.is_err() || is_empty_frame, "{kind} cut at {len} gave {:?}", result.map(|text| text.len()));
        }
    }
}

#[test]
fn no_altered_byte_makes_a_codec_panic_or_exceed_its_limit() {
    let text = events(1000);
    for (kind, mut codec) in codecs().into_iter().skip(1) {
        let frame = compress(&mut *codec, &[&text]);
        for at in 0..frame.len() {
            for mask in [0x01, 0x10, 0x80, 0xff] {
                let mut frame = frame.clone();
                frame[at] ^= mask;
                if let Ok(text) = decompress(&mut *codec, &frame, 100_000) {
                    assert!(text.len() <= 100_000, "{kind}");
                }
            }
        }
        // The codec still works afterwards.
        assert_eq!(decompress(&mut *codec, &frame, LIMIT).unwrap(), text, "{kind}");
    }
}
