//! What a few bytes can make a decoder allocate, counted. One test, for the count is the process's.

use std::alloc::System;

use bytes::Bytes;
use kurier_protocol::record_batch::Batches;
use kurier_protocol::{APIS, FrameBuffer, RequestHeader};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// All that may be allocated for an input of under 64 bytes: the room of a frame buffer, and a little more.
const ALLOWANCE: usize = 128 * 1024;

#[test]
fn inputs_allocate_no_more_than_is_promised() {
    let (allocated, by) = highest_for_small_inputs();
    println!("inputs of under 64 bytes: at most {allocated} bytes allocated, {by}");
    assert!(allocated <= ALLOWANCE, "{allocated} bytes were allocated by {by}");

    const BODY: usize = 64 << 10;
    let (allocated, by) = highest_for_large_bodies(BODY);
    println!("bodies of {BODY} bytes: at most {allocated} bytes allocated, {by}");
    // Eight times the body for arrays, once for strings, and what the allowance begins with.
    assert!(allocated <= 9 * BODY + 128 * 1024, "{allocated} bytes were allocated by {by}");
}

/// A body of many small elements, of each kind there is, in every message.
fn highest_for_large_bodies(len: usize) -> (usize, String) {
    let mut highest = (0, String::new());
    for api in APIS {
        for version in api.versions() {
            for direction in [api.request(), api.response()] {
                for body in large_bodies(len) {
                    let region = Region::new(ALLOCATOR);
                    let read = direction.read(&body, version);
                    let allocated = region.change().bytes_allocated;
                    let what = format!(
                        "{} v{version}, {}",
                        direction.schema().name,
                        if read.is_ok() { "read" } else { "refused" }
                    );
                    highest = highest.max((allocated, what));
                }
            }
        }
    }
    highest
}

/// Counts as large as the rest of the body, behind every number of bytes that may stand before them, in both encodings,
/// and then elements as empty as can be.
fn large_bodies(len: usize) -> Vec<Bytes> {
    let mut bodies = Vec::new();
    for before in 0..16 {
        for (count, element) in [(len / 3, &b"\x01\x01\x00"[..]), (len / 2, b"\x01\x00"), (len - 40, b"\x01")] {
            let mut body = vec![0; before];
            let mut compact = u32::try_from(count).unwrap();
            while compact >= 0x80 {
                body.push(compact.to_le_bytes()[0] | 0x80);
                compact >>= 7;
            }
            body.push(compact.to_le_bytes()[0]);
            body.extend(element.iter().cycle().take(len - body.len()));
            bodies.push(body.into());
        }
        for size in [2, 4, 6] {
            let count = u32::try_from((len - 40) / size).unwrap();
            let mut body = vec![0; before];
            body.extend(count.to_be_bytes());
            body.resize(len, 0);
            bodies.push(body.into());
        }
    }
    bodies
}

fn highest_for_small_inputs() -> (usize, String) {
    let mut highest = (0, String::new());
    let mut measure = |what: &dyn Fn() -> String, read: &dyn Fn()| {
        let region = Region::new(ALLOCATOR);
        read();
        let allocated = region.change().bytes_allocated;
        if allocated > highest.0 {
            highest = (allocated, what());
        }
    };
    for input in small_inputs() {
        for api in APIS {
            for version in api.versions() {
                for direction in [api.request(), api.response()] {
                    let what = || format!("{} v{version} of {input:02x?}", direction.schema().name);
                    measure(&what, &|| drop(direction.read(&input, version)));
                }
            }
        }
        measure(&|| format!("RequestHeader of {input:02x?}"), &|| drop(RequestHeader::read(&input)));
        measure(&|| format!("RecordBatch of {input:02x?}"), &|| {
            for batch in Batches::new(&input).flatten() {
                let _ = batch.records().map(Iterator::count);
            }
        });
        measure(&|| format!("frames of {input:02x?}"), &|| {
            let mut buffer = FrameBuffer::new(FrameBuffer::DEFAULT_LIMIT_BYTES);
            buffer.extend(&input);
            let _ = buffer.room();
            let _ = buffer.next_frame();
        });
    }
    highest
}

/// Bytes that read as large counts wherever a count may stand, and bytes at random.
fn small_inputs() -> Vec<Bytes> {
    let mut inputs: Vec<Vec<u8>> = vec![
        b"\0\0\0\0\x7f\xff\xff\xff".to_vec(),
        [&[0; 12][..], &[0xff; 50]].concat(),
        [&[0; 20][..], &[0x7f; 43]].concat(),
    ];
    for byte in [0x00, 0x01, 0x02, 0x3f, 0x7f, 0x80, 0xfe, 0xff] {
        inputs.push(vec![byte; 63]);
    }
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..150 {
        inputs.push(
            (0..63)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    // Small bytes are likely: they get a parser further.
                    let byte = state.to_be_bytes()[0];
                    if state.to_be_bytes()[1] < 160 { byte & 3 } else { byte }
                })
                .collect(),
        );
    }
    inputs.into_iter().map(Bytes::from).collect()
}
