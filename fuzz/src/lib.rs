//! The fuzz targets. Each takes bytes, and a panic is a finding.
//!
//! `make fuzz FUZZ_SECONDS=n` runs them all; a plain `cargo test` replays corpus and findings.

pub mod security;

use std::io::Read;

use bytes::Bytes;
use kurier::Config;
use kurier_broker::{Cluster, ClusterSettings, TopicSettings};
use kurier_capture::Reader;
use kurier_cli::format::lines::Lines;
use kurier_cli::format::{Entry, Format, Header as EntryHeader, Next, Parser, Stream};
use kurier_compression::{Compression, CompressionType};
use kurier_protocol::record_batch::{
    BATCH_HEADER_BYTES, Batches, Header, NewRecord, RecordBatch, RecordBatchBuilder, Stamp,
};
use kurier_protocol::{APIS, FrameBuffer, RequestHeader, ResponseHeader};

// Here, because a published crate must not name files outside of its package.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}

/// A target's name and function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 18] = [
    ("frame", frame),
    ("message", message),
    ("request", request),
    ("record_batch", record_batch),
    ("records", records),
    ("gzip", gzip),
    ("snappy", snappy),
    ("lz4", lz4),
    ("zstd", zstd),
    ("pcap", pcap),
    ("properties", properties),
    ("formats", formats),
    ("core", core),
    ("sasl_conversation", sasl_conversation),
    ("scram_server", security::scram_server),
    ("oauth", security::oauth),
    ("jaas", security::jaas),
    ("pem_bundle", security::pem_bundle),
];

/// Frames split into chunks, each after a one-byte length: the frames must be the same as without the split.
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
        // Both header forms of a response.
        let produce = &APIS[0];
        for version in [*produce.versions().start(), *produce.versions().end()] {
            let _ = ResponseHeader::read(&frame, produce, version);
        }
    }
}

/// Takes frames up to the first error, which would end the connection.
fn take_frames(buffer: &mut FrameBuffer, frames: &mut Vec<Option<Bytes>>) {
    while frames.last() != Some(&None) {
        match buffer.next_frame() {
            Ok(Some(frame)) => frames.push(Some(frame)),
            Ok(None) => return,
            Err(_) => frames.push(None),
        }
    }
}

/// A message: one byte for API and direction, one for the version, the rest for the body. A message that can be read
/// must write and read back the same.
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

/// Record batches: as given, and with correct length and checksum in the first one, which a fuzzer would not guess. A
/// batch that can be read must build again the same.
pub fn record_batch(data: &[u8]) {
    for batch in Batches::new(data) {
        let Ok(batch) = batch else { break };
        again(&batch);
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
        again(&batch);
    }
}

/// Checks that a batch that can be read builds again the same.
fn again(batch: &RecordBatch<'_>) {
    let Ok(records) = batch.records_in(batch.body()) else {
        return;
    };
    let mut builder = RecordBatchBuilder::new();
    for record in records.clone() {
        let Ok(record) = record else { return };
        let headers: Vec<Header<'_>> = record.headers.collect();
        let record = NewRecord { timestamp: record.timestamp, key: record.key, value: record.value, headers: &headers };
        if builder.append(&record).is_err() {
            return; // two timestamps may be further apart than a delta can hold
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

/// A request to our broker: one byte for the API, one for the version, the rest for the body, behind a valid header.
/// The broker must answer or close the connection.
pub fn request(data: &[u8]) {
    const NODE: i32 = 1;
    const NOW_MS: i64 = 1_700_000_000_000;
    let [which, version, body @ ..] = data else { return };
    let api = &APIS[usize::from(*which) % APIS.len()];
    let (lowest, highest) = (*api.versions().start(), *api.versions().end());
    let api_version = lowest + i16::from(*version) % (highest - lowest + 2);
    let header =
        RequestHeader { api_key: api.key(), api_version, correlation_id: 7.into(), client_id: Some("fuzz".to_owned()) };
    let mut frame = Vec::new();
    header.write(&mut frame).expect("the API is known");
    frame.extend_from_slice(body);
    let mut cluster = Cluster::new(ClusterSettings { is_strict: which & 0x80 == 0, ..ClusterSettings::default() });
    cluster.create_topic("t", 2, TopicSettings::default()).expect("there is none of this name");
    let frame = Bytes::from(frame);
    let first = cluster.handle(NODE, &frame, NOW_MS, true);
    if let kurier_broker::Reply::Send { frame: answer, .. } = first {
        let mut buffer = FrameBuffer::new(FrameBuffer::DEFAULT_LIMIT_BYTES);
        buffer.extend(&answer);
        let answer = buffer.next_frame().expect("a frame").expect("a whole one");
        let (header, body) = ResponseHeader::read(&answer, api, api_version).expect("the header of an answer");
        assert_eq!(header.correlation_id.0, 7);
        api.response().read(&body, api.response_version(api_version, &body)).expect("an answer in the version asked");
    }
    // A second time, on the changed cluster.
    let _ = cluster.handle(NODE, &frame, NOW_MS, true);
}

/// A record as given to the builder, to compare with the read one.
struct Sent<'a> {
    timestamp: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: Vec<Header<'a>>,
}

/// Records of arbitrary parts, through the builder and back.
pub fn records(data: &[u8]) {
    let mut rest = data;
    let mut builder = RecordBatchBuilder::new();
    let mut sent = Vec::new();
    while let Some((shape, after)) = rest.split_first() {
        rest = after;
        let mut part = |is_there: bool| {
            let (len, after) = rest.split_first()?;
            let (part, after) = after.split_at(after.len().min((*len).into()));
            rest = after;
            is_there.then_some(part)
        };
        let (key, value) = (part(shape & 1 == 0), part(shape & 2 == 0));
        let headers: Vec<_> = (0..shape >> 4)
            .map(|_| Header { key: part(true).unwrap_or_default(), value: part(shape & 4 == 0) })
            .filter(|header| str::from_utf8(header.key).is_ok())
            .collect();
        let timestamp = part(true).and_then(|part| part.first_chunk()).copied().map_or(0, i64::from_be_bytes);
        let record = NewRecord { timestamp, key, value, headers: &headers };
        if builder.append(&record).is_ok() {
            sent.push(Sent { timestamp, key, value, headers });
        }
    }
    let Some(sealed) = builder.seal() else { return assert!(sent.is_empty()) };
    let built = sealed.stamp(&Stamp::NONE).expect("it holds few records").to_bytes();
    let (batch, rest) = RecordBatch::parse(&built).expect("what was built can be read");
    assert!(rest.is_empty());
    let read = batch.records().expect("it is not compressed");
    let read: Vec<_> = read.map(|record| record.expect("what was built can be read")).collect();
    assert_eq!(read.len(), sent.len());
    for (record, sent) in read.into_iter().zip(sent) {
        assert_eq!((record.timestamp, record.key, record.value), (sent.timestamp, sent.key, sent.value));
        assert!(record.headers.eq(sent.headers));
    }
}

/// Gzip members.
pub fn gzip(data: &[u8]) {
    decompress(CompressionType::Gzip, data);
}

/// Snappy, in xerial's frames and as a bare block.
pub fn snappy(data: &[u8]) {
    decompress(CompressionType::Snappy, data);
}

/// LZ4 frames.
pub fn lz4(data: &[u8]) {
    decompress(CompressionType::Lz4, data);
}

/// Zstd frames.
pub fn zstd(data: &[u8]) {
    decompress(CompressionType::Zstd, data);
}

/// Checks that the output is within the limit, and is the same after another round of compression.
fn decompress(kind: CompressionType, input: &[u8]) {
    const LIMIT: usize = 1 << 20;
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

/// A capture file: every frame that can be read must also be shown and written.
pub fn pcap(data: &[u8]) {
    let Ok(reader) = Reader::new(data) else { return };
    for frame in reader {
        let Ok(frame) = frame else { return };
        let _ = frame.json(true);
        if let Ok(content) = frame.read() {
            content.write(&mut Vec::new()).expect("what was read can be written");
        }
    }
}

/// A properties file: gives an error, or a configuration that can be explained.
pub fn properties(data: &[u8]) {
    let mut config = Config::default();
    // Otherwise the first unknown key would end the test.
    config.strict(false);
    if config.set_properties(data).is_ok() {
        let _ = config.explain();
        if let Ok(config) = config.check() {
            let _ = config.explain();
        }
    }
}

/// Templates for [`formats`]; the input can contain a template of its own.
pub const TEMPLATES: [&str; 8] = [
    r"%s\n",
    r"%k\t%s\n",
    r"%R%s",
    r"%T %p %K %k%S %s%h\n",
    r"%K,%S:%k%s",
    r"%t[%p]@%o %T %h|%k\x1f%s\x1e\n",
    r"%sabab%S ababa",
    r"%k %K;%s %S\n",
];

/// Input of `kurier produce`: one byte for the format, one for the size of reads, a template up to a NUL if the format
/// needs one, and records. Memory stays bounded, the size of reads makes no difference, and printed records read back
/// as the same records.
pub fn formats(data: &[u8]) {
    const LIMIT: usize = 300;
    let [which, piece, input @ ..] = data else { return };
    let (which, empty_is_null) = (usize::from(which & 0x7f), which & 0x80 != 0);
    let (format, input) = match which {
        0 => (None, input),
        1 => (Some(Format::Json), input),
        2 => (Some(Format::Frames), input),
        3 => {
            let at = input.iter().position(|byte| *byte == 0).unwrap_or(input.len());
            let (text, rest) = input.split_at(at);
            let Ok(format) = String::from_utf8_lossy(text).parse() else { return };
            (Some(format), rest.get(1..).unwrap_or_default())
        }
        _ => (Some(TEMPLATES[which % TEMPLATES.len()].parse().expect("a template")), input),
    };
    let parser = match &format {
        None => Parser::Lines(Lines { delimiter: Some(b"::".to_vec()), empty_is_null }),
        Some(format) => match format.parser(empty_is_null) {
            Ok(parser) => parser,
            Err(_) => return,
        },
    };
    let at_once = entries(&parser, input, usize::MAX, LIMIT);
    assert_eq!(entries(&parser, input, usize::from(*piece) + 1, LIMIT), at_once, "pieces make a difference");
    let Some(format) = format else { return };
    let read: Vec<Entry<'_>> = at_once.into_iter().flatten().collect();
    let mut printed = Vec::new();
    for entry in &read {
        format.write(&Entry { topic: Some("t"), offset: Some(5), ..entry.clone() }, &mut printed).expect("memory");
    }
    let again: Vec<_> = entries(&parser, &printed, usize::MAX, LIMIT * 10).into_iter().map(Result::ok).collect();
    assert_eq!(again, read.into_iter().map(Some).collect::<Vec<_>>(), "{}", printed.escape_ascii());
}

/// Returns the records of some input, and the offset of each bad one.
fn entries(parser: &Parser, input: &[u8], piece: usize, limit: usize) -> Vec<Result<Entry<'static>, u64>> {
    /// Twice the size of a read.
    const BESIDES: usize = 128 << 10;
    let mut stream = Stream::new(Pieces(input.to_vec(), piece));
    let mut read = Vec::new();
    loop {
        match stream.advance(parser, limit).expect("memory can be read") {
            Next::End => return read,
            Next::Bad { flaw, .. } => read.push(Err(stream.offset() + flaw.at as u64)),
            Next::Record => match parser.decode(stream.record()) {
                Ok(entry) => read.push(Ok(owned(&entry))),
                Err(flaw) => read.push(Err(stream.offset() + flaw.at as u64)),
            },
        }
        assert!(stream.held_bytes() <= parser.longest(limit) + BESIDES, "{} bytes are held", stream.held_bytes());
    }
}

fn owned(entry: &Entry<'_>) -> Entry<'static> {
    let part = |bytes: Option<&[u8]>| bytes.map(|bytes| bytes.to_vec().into());
    let header = |header: &EntryHeader<'_>| EntryHeader {
        name: header.name.to_vec().into(),
        value: part(header.value.as_deref()),
    };
    Entry {
        topic: None,
        offset: None,
        partition: entry.partition,
        timestamp: entry.timestamp,
        key: part(entry.key.as_deref()),
        value: part(entry.value.as_deref()),
        headers: entry.headers.iter().map(header).collect(),
    }
}

/// Returns at most `.1` bytes per read.
struct Pieces(Vec<u8>, usize);

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let len = self.1.min(buffer.len()).min(self.0.len());
        buffer[..len].copy_from_slice(&self.0[..len]);
        self.0.drain(..len);
        Ok(len)
    }
}

/// The producer's core, with simulated brokers whose responses come from the data.
pub fn core(data: &[u8]) {
    kurier_simulation::feed(data);
}

/// The producer's core with SASL, and nodes whose answers the data keeps, changes or invents.
pub fn sasl_conversation(data: &[u8]) {
    kurier_simulation::converse(data);
}
