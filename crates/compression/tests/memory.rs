//! Counts the allocations that a few bytes can cause in a codec. One test only, because the counter is per process.

use std::alloc::System;

use kurier_compression::{Compression, CompressionType};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MIB: usize = 1 << 20;

/// Limit for an input of under 64 bytes: for lz4 two blocks of 4 MiB, for zstd its largest window. zstd's output is
/// counted separately, because the caller limits it. (64 bytes can validly contain 14 blocks of 128 KiB of one byte.)
fn allowance(kind: CompressionType) -> usize {
    match kind {
        CompressionType::Lz4 => 8 * MIB + 64 * 1024,
        CompressionType::Zstd => 9 * MIB,
        _ => MIB,
    }
}

#[test]
fn an_input_of_under_64_bytes_allocates_little() {
    for kind in CompressionType::ALL {
        let Ok(mut codec) = Compression::new(kind).codec() else { continue };
        let mut highest = 0;
        for input in small_inputs(kind) {
            let mut output = Vec::new();
            let region = Region::new(ALLOCATOR);
            // The allocation counts, not the result.
            let _ = codec.decompress(&input, 64 * MIB, &mut output);
            let comes_out = if kind == CompressionType::Zstd { output.capacity() } else { 0 };
            highest = highest.max(region.change().bytes_allocated.saturating_sub(comes_out));
        }
        println!("{kind:<6} at most {highest} bytes allocated for inputs of under 64");
        assert!(highest <= allowance(kind), "{kind} allocated {highest} bytes for an input of under 64");
    }
}

/// Returns frames with the largest claims, truncated valid frames, and both with single bytes altered.
fn small_inputs(kind: CompressionType) -> Vec<Vec<u8>> {
    let mut sound = Vec::new();
    Compression::new(kind).codec().unwrap().compress(&[&[b'a'; 100_000]], &mut sound).unwrap();
    let mut seeds: Vec<Vec<u8>> = [16, 24, 40, 63].map(|len| sound[..len.min(sound.len())].to_vec()).into();
    let padded = |head: &[u8]| {
        let mut input = head.to_vec();
        input.resize(63, 1);
        input
    };
    seeds.extend(match kind {
        // Optional fields of maximum length, and the maximum number of members.
        CompressionType::Gzip => vec![
            padded(b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\xff\xff"),
            padded(b"\x1f\x8b\x08\x08\0\0\0\0\0\xff"),
            padded(b"\x1f\x8b\x08\x1e\0\0\0\0\0\xff\xff\xff"),
            b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x03\0\0\0\0\0\0\0\0\0".repeat(3),
        ],
        CompressionType::Snappy => vec![
            b"\xff\xff\xff\xff\x0f\x00aa".to_vec(),
            // Just below the maximum expansion of the input, and above it.
            padded(b"\xea\x0a"),
            padded(b"\xeb\x0a"),
            padded(b"\x80\x80\x40"),
            b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\x7f\xff\xff\xff\x80\x80\x40aa".to_vec(),
            b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x08\xff\xff\xff\xff\x0f\x00aa".to_vec(),
        ],
        // Blocks of 4 MiB, the maximum.
        CompressionType::Lz4 => vec![
            b"\x04\x22\x4d\x18\x60\x70\x73\x03\0\0\0\x20a\0\0\0\0\0".to_vec(),
            b"\x04\x22\x4d\x18\x40\x70\xdf\x03\0\0\0\x20a\0\0\0\0\0".to_vec(),
            // A block that claims 4 MiB, one that claims 2 GiB, one with the maximum output of 40 bytes, and repeated
            // frames.
            padded(b"\x04\x22\x4d\x18\x60\x70\x73\0\0\x40\x80"),
            padded(b"\x04\x22\x4d\x18\x60\x70\x73\xff\xff\xff\x7f"),
            [&b"\x04\x22\x4d\x18\x60\x70\x73\x29\0\0\0\x1fa\x01\0"[..], &[0xff; 35], b"\0\0\0\0\0\0"].concat(),
            b"\x04\x22\x4d\x18\x60\x70\x73\0\0\0\0".repeat(5),
        ],
        // A window of 8 MiB, then blocks of 128 KiB of one repeated byte.
        CompressionType::Zstd => vec![
            b"\x28\xb5\x2f\xfd\x00\x68\x02\x00\x10a\x02\x00\x10a\x03\x00\x10a".to_vec(),
            b"\x28\xb5\x2f\xfd\xe0\xff\xff\xff\xff\xff\xff\xff\x7f\x03\x00\x10a".to_vec(),
            // Frames without their own window, with contents of 8 MiB, 9 MiB and 2 GiB; then windows of 9 MiB, 2 GiB
            // and 4 TiB.
            b"\x28\xb5\x2f\xfd\xa0\0\0\x80\0\x03\x00\x10a".to_vec(),
            b"\x28\xb5\x2f\xfd\xa0\0\0\x90\0\x03\x00\x10a".to_vec(),
            b"\x28\xb5\x2f\xfd\xa0\0\0\0\x80\x03\x00\x10a".to_vec(),
            b"\x28\xb5\x2f\xfd\x00\x69\x03\x00\x10a".to_vec(),
            b"\x28\xb5\x2f\xfd\x00\xa8\x03\x00\x10a".to_vec(),
            b"\x28\xb5\x2f\xfd\x00\xff\x03\x00\x10a".to_vec(),
            // Repeated frames, each with its window.
            b"\x28\xb5\x2f\xfd\x00\x68\x01\0\0".repeat(6),
            // The maximum number of blocks.
            [&b"\x28\xb5\x2f\xfd\x00\x68"[..], &b"\x02\x00\x10a".repeat(13), b"\x03\x00\x10a"].concat(),
        ],
        _ => vec![],
    });
    assert!(seeds.iter().all(|seed| seed.len() < 64));
    let mut inputs = seeds.clone();
    for seed in &seeds {
        for at in 0..seed.len() {
            for byte in [0, 1, 0x7f, 0x80, 0xff, seed[at] ^ 1, seed[at] ^ 0x40] {
                let mut input = seed.clone();
                input[at] = byte;
                inputs.push(input);
            }
        }
    }
    inputs
}
