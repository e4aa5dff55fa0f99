//! Counts the allocations that a few bytes can cause in a decoder. One test only, because the counter is per process.

use std::alloc::System;

use bytes::Bytes;
use kurier_protocol::record_batch::{
    Attributes, BATCH_HEADER_BYTES, Batches, NewRecord, RecordBatch, RecordBatchBuilder, Stamp,
};
use kurier_protocol::{APIS, FrameBuffer, RequestHeader, ResponseHeader};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Limit for an input of under 64 bytes: a frame buffer's room and a little more.
const ALLOWANCE: usize = 128 * 1024;

#[test]
fn inputs_allocate_no_more_than_documented() {
    for (allocated, by) in highest_for_small_inputs() {
        println!("inputs of under 64 bytes: at most {allocated} bytes allocated, {by}");
        assert!(allocated <= ALLOWANCE, "{allocated} bytes were allocated by {by}");
    }

    const BODY: usize = 64 << 10;
    let (allocated, by) = highest_for_large_bodies(BODY);
    println!("bodies of {BODY} bytes: at most {allocated} bytes allocated, {by}");
    // Eight times the body for arrays, one time for strings, and the fixed allowance.
    assert!(allocated <= 9 * BODY + 128 * 1024, "{allocated} bytes were allocated by {by}");
}

/// Reads bodies of many small elements as every message. Returns the highest allocation.
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

/// Returns bodies with a count as large as the rest of the body, after every possible number of bytes, in both
/// encodings, followed by minimal elements.
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

/// Returns the highest allocation of all decoders, and of the frame buffer.
fn highest_for_small_inputs() -> [(usize, String); 2] {
    let (mut highest, mut highest_of_frames) = ((0, String::new()), (0, String::new()));
    let plain = plain_batch();
    let (plain, _) = RecordBatch::parse(&plain).unwrap();
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
        for api in APIS {
            let version = *api.versions().end();
            measure(&|| format!("ResponseHeader of {input:02x?}"), &|| {
                drop(ResponseHeader::read(&input, api, version))
            });
        }
        // The input as a decompressed body.
        measure(&|| format!("records of {input:02x?}"), &|| {
            let records = plain.records_in(&input).into_iter().flatten().flatten();
            assert!(records.map(|record| 1 + record.headers.count()).sum::<usize>() <= input.len());
        });
        measure(&|| format!("RecordBatch of {input:02x?}"), &|| {
            for batch in Batches::new(&input).flatten() {
                let _ = batch.records().map(Iterator::count);
            }
        });
        let region = Region::new(ALLOCATOR);
        let mut buffer = FrameBuffer::new(FrameBuffer::DEFAULT_LIMIT_BYTES);
        buffer.extend(&input);
        let _ = buffer.room();
        let _ = buffer.next_frame();
        let allocated = region.change().bytes_allocated;
        highest_of_frames = highest_of_frames.max((allocated, format!("frames of {input:02x?}")));
    }
    [highest, highest_of_frames]
}

/// Encodes an empty batch that claims nine records.
fn plain_batch() -> Bytes {
    let mut builder = RecordBatchBuilder::new();
    builder.append(&NewRecord::default()).unwrap();
    let bytes = builder.seal().unwrap().stamp(&Stamp::NONE).unwrap().to_bytes();
    let mut header = *RecordBatch::parse(&bytes).unwrap().0.header();
    (header.record_count, header.last_offset_delta, header.attributes) = (9, i32::MAX, Attributes(0));
    header.with_body(vec![]).unwrap().to_bytes()
}

/// Returns inputs with large counts at every position, batches with false claims, and random bytes.
fn small_inputs() -> Vec<Bytes> {
    const LEN: usize = 63;
    let mut inputs: Vec<Vec<u8>> = vec![
        b"\0\0\0\0\x7f\xff\xff\xff".to_vec(),
        [&[0; 12][..], &[0xff; 50]].concat(),
        [&[0; 20][..], &[0x7f; 43]].concat(),
        // The largest allowed frame length.
        (100u32 << 20).to_be_bytes().to_vec(),
    ];
    for byte in [0x00, 0x01, 0x02, 0x3f, 0x7f, 0x80, 0xfe, 0xff] {
        inputs.push(vec![byte; LEN]);
    }
    // After every number of bytes: a count beyond the input, and a count of one-byte elements that just fits.
    for before in 0..LEN - 5 {
        let left = u8::try_from(LEN - before).unwrap();
        for count in [&b"\x7f\xff\xff\xff"[..], b"\xff\xff\xff\xff\x0f", &[left - 1], &[0, 0, 0, left - 4]] {
            for (filling, rest) in [(0, 1), (1, 0)] {
                let mut input = [&vec![filling; before], count].concat();
                input.resize(LEN, rest);
                inputs.push(input);
            }
        }
    }
    // A batch header and two bytes, with correct length and checksum.
    for (at, bytes) in
        [(57, b"\x7f\xff\xff\xff"), (57, b"\xff\xff\xff\xff"), (57, b"\0\0\0\x02"), (21, b"\0\x07\x7f\xff")]
    {
        let mut batch = plain_batch().to_vec();
        batch[at..at + 4].copy_from_slice(bytes);
        batch.resize(BATCH_HEADER_BYTES + 2, 0xff);
        batch[11] += 2;
        let crc = crc32c::crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        inputs.push(batch);
    }
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..150 {
        inputs.push(
            (0..LEN)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    // Small bytes are more likely: with them a parser gets further.
                    let byte = state.to_be_bytes()[0];
                    if state.to_be_bytes()[1] < 160 { byte & 3 } else { byte }
                })
                .collect(),
        );
    }
    inputs.into_iter().map(Bytes::from).collect()
}
