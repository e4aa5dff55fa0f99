//! What a few bytes can make a decoder allocate, counted. One test, for the count is the process's.

use std::alloc::System;

use bytes::Bytes;
use kurier_protocol::record_batch::Batches;
use kurier_protocol::{APIS, FrameBuffer, RequestHeader};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// All that may be allocated for an input of under 64 bytes.
const ALLOWANCE: usize = 1 << 20;

#[test]
fn an_input_of_under_64_bytes_allocates_little() {
    let mut highest = (0, String::new());
    let mut measure = |what: &dyn Fn() -> String, read: &dyn Fn()| {
        let region = Region::new(ALLOCATOR);
        read();
        let allocated = region.change().bytes_allocated;
        if allocated > highest.0 {
            highest = (allocated, what());
        }
    };
    let mut count = 0;
    for input in small_inputs() {
        for api in APIS {
            for version in api.versions() {
                for direction in [api.request(), api.response()] {
                    let what = || format!("{} v{version} of {input:02x?}", direction.schema().name);
                    measure(&what, &|| drop(direction.read(&input, version)));
                    count += 1;
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
        count += 3;
    }
    println!("{count} small inputs, at most {} bytes allocated: {}", highest.0, highest.1);
    assert!(highest.0 <= ALLOWANCE, "{} bytes were allocated by {}", highest.0, highest.1);
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
