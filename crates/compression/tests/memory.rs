//! What a few bytes can make a codec allocate, counted. One test, for the count is the process's.

use std::alloc::System;

use kurier_compression::{Compression, CompressionType};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MIB: usize = 1 << 20;

/// All that may be allocated for an input of under 64 bytes; of lz4 two blocks of 4 MiB, of zstd its largest window.
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
            // Whatever the verdict, it must not cost more than this.
            let _ = codec.decompress(&input, 64 * MIB, &mut output);
            highest = highest.max(region.change().bytes_allocated);
        }
        println!("{kind:<6} at most {highest} bytes allocated");
        assert!(highest <= allowance(kind), "{kind} allocated {highest} bytes for an input of under 64");
    }
}

/// Frames that claim the most, beginnings of sound ones, and what a byte altered makes of both.
fn small_inputs(kind: CompressionType) -> Vec<Vec<u8>> {
    let mut sound = Vec::new();
    Compression::new(kind).codec().unwrap().compress(&[&[b'a'; 100_000]], &mut sound).unwrap();
    let mut seeds: Vec<Vec<u8>> = [16, 24, 40, 63].map(|len| sound[..len.min(sound.len())].to_vec()).into();
    seeds.extend(match kind {
        CompressionType::Snappy => vec![
            b"\xff\xff\xff\xff\x0f\x00aa".to_vec(),
            b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x08\xff\xff\xff\xff\x0f\x00aa".to_vec(),
        ],
        // Blocks of 4 MiB, the largest there are.
        CompressionType::Lz4 => vec![
            b"\x04\x22\x4d\x18\x60\x70\x73\x03\0\0\0\x20a\0\0\0\0\0".to_vec(),
            b"\x04\x22\x4d\x18\x40\x70\xdf\x03\0\0\0\x20a\0\0\0\0\0".to_vec(),
        ],
        // A window of 8 MiB, then blocks of one repeated byte, of 128 KiB each.
        CompressionType::Zstd => vec![
            b"\x28\xb5\x2f\xfd\x00\x68\x02\x00\x10a\x02\x00\x10a\x03\x00\x10a".to_vec(),
            b"\x28\xb5\x2f\xfd\xe0\xff\xff\xff\xff\xff\xff\xff\x7f\x03\x00\x10a".to_vec(),
        ],
        _ => vec![],
    });
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
