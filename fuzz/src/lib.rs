//! What each fuzz target does with its bytes. A panic is a finding.
//!
//! `make fuzz FUZZ_SECONDS=n` runs them all; a plain `cargo test` replays corpus and findings.

use bytes::Bytes;
use kurier_compression::{Compression, CompressionType};
use kurier_protocol::record_batch::{
    BATCH_HEADER_BYTES, Batches, Header, NewRecord, RecordBatch, RecordBatchBuilder, Stamp,
};
use kurier_protocol::{APIS, FrameBuffer, RequestHeader, ResponseHeader};

/// A target's name and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 4] =
    [("frame", frame), ("message", message), ("record_batch", record_batch), ("decompress", decompress)];

/// Bytes in chunks, each behind its length of one byte: the frames are those that are found when all comes at once.
pub fn frame(data: &[u8]) {
    const LIMIT: usize = 1000;
    let mut whole = FrameBuffer::new(LIMIT);
    let mut pieces = FrameBuffer::new(LIMIT);
    let mut from_pieces = Vec::new();
    let mut rest = data;
    while let Some((len, after)) = rest.split_first() {
        let (chunk, after) = after.split_at(after.len().min((*len).into()));
        rest = after;
        whole.extend(chunk);
        pieces.extend(chunk);
        take_frames(&mut pieces, &mut from_pieces);
    }
    let mut at_once = Vec::new();
    take_frames(&mut whole, &mut at_once);
    assert_eq!(from_pieces, at_once);
    for frame in at_once.into_iter().flatten() {
        if let Ok((header, _)) = RequestHeader::read(&frame) {
            let mut written = Vec::new();
            header.write(&mut written).expect("what was read can be written");
            assert_eq!(RequestHeader::read(&written.into()).map(|(header, _)| header), Ok(header));
        }
        for api in APIS {
            let _ = ResponseHeader::read(&frame, api, *api.versions().end());
        }
    }
}

/// Frames up to the first error, which is the last thing that a connection would see.
fn take_frames(buffer: &mut FrameBuffer, frames: &mut Vec<Option<Bytes>>) {
    while frames.last() != Some(&None) {
        match buffer.next_frame() {
            Ok(Some(frame)) => frames.push(Some(frame)),
            Ok(None) => return,
            Err(_) => frames.push(None),
        }
    }
}

/// A message: a byte for its API and direction, one for its version, the rest its body. What is read can be written,
/// and read again, the same.
pub fn message(data: &[u8]) {
    let [which, version, body @ ..] = data else {
        return;
    };
    let api = &APIS[usize::from(which & 0x7f) % APIS.len()];
    let direction = if which & 0x80 == 0 { api.response() } else { api.request() };
    let version = api.versions().start() + i16::from(*version) % (api.versions().end() - api.versions().start() + 1);
    let Ok(message) = direction.read(&Bytes::copy_from_slice(body), version) else {
        return;
    };
    let mut written = Vec::new();
    message.write(version, &mut written).expect("what was read can be written");
    assert!(written.len() <= body.len(), "the shortest form is longer");
    let again = direction.read(&written.clone().into(), version).expect("what was written can be read");
    let mut twice = Vec::new();
    again.write(version, &mut twice).expect("what was read can be written");
    assert_eq!(written, twice);
}

/// Record batches: as they are, and with the length and the checksum of the first made right, which a fuzzer would not
/// guess. What is read can be built again, and is the same.
pub fn record_batch(data: &[u8]) {
    for batch in Batches::new(data) {
        let Ok(batch) = batch else { break };
        records(&batch);
    }
    if data.len() < BATCH_HEADER_BYTES {
        return;
    }
    let mut mended = data.to_vec();
    mended[8..12].copy_from_slice(&i32::try_from(data.len() - 12).unwrap_or(i32::MAX).to_be_bytes());
    mended[16] = 2;
    let crc = crc32c::crc32c(&mended[21..]);
    mended[17..21].copy_from_slice(&crc.to_be_bytes());
    if let Ok((batch, _)) = RecordBatch::parse(&mended) {
        records(&batch);
    }
}

fn records(batch: &RecordBatch<'_>) {
    let Ok(records) = batch.records_in(batch.body()) else {
        return;
    };
    let mut builder = RecordBatchBuilder::new();
    for record in records.clone() {
        let Ok(record) = record else { return };
        let headers: Vec<Header<'_>> = record.headers.collect();
        let record = NewRecord { timestamp: record.timestamp, key: record.key, value: record.value, headers: &headers };
        if builder.append(&record).is_err() {
            return; // two timestamps may be further apart than a delta can say
        }
    }
    let Some(sealed) = builder.seal() else { return };
    let built = sealed.stamp(&Stamp::NONE).expect("it was as long when it was read").to_bytes();
    let (again, _) = RecordBatch::parse(&built).expect("what was built can be read");
    for (ours, theirs) in again.records().expect("it is not compressed").zip(records) {
        let (Ok(ours), Ok(theirs)) = (ours, theirs) else { panic!("what was built can be read") };
        assert_eq!((ours.timestamp, ours.key, ours.value), (theirs.timestamp, theirs.key, theirs.value));
        assert!(ours.headers.eq(theirs.headers));
    }
}

/// A byte for the codec, the rest compressed data: what comes out is within the limit, and comes out again after it was
/// compressed.
pub fn decompress(data: &[u8]) {
    const LIMIT: usize = 1 << 20;
    let [which, input @ ..] = data else { return };
    let kind = CompressionType::ALL[1 + usize::from(*which) % 4];
    let mut codec = Compression::new(kind).codec().expect("every codec is built");
    let mut output = Vec::new();
    if codec.decompress(input, LIMIT, &mut output).is_err() {
        return;
    }
    assert!(output.len() <= LIMIT);
    let mut frame = Vec::new();
    codec.compress(&[&output], &mut frame).expect("memory takes all of it");
    let mut again = Vec::new();
    codec.decompress(&frame, LIMIT, &mut again).expect("what was compressed can be read");
    assert_eq!(again, output);
}
