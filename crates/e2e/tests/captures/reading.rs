//! Our reading of a capture.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use kurier_capture::{Frame, Reader, Side};
use kurier_compression::{DEFAULT_LIMIT_BYTES, decompress_batch};
use kurier_protocol::messages::{ProduceRequest, ProduceResponse};
use kurier_protocol::record_batch::RecordBatch;
use kurier_protocol::{Api, Message, RequestHeader, ResponseHeader, Uuid};

use crate::records::{Record, Written};

/// Returns all frames, and the number of bytes outside any frame.
pub(crate) fn frames(file: &Path) -> Result<(Vec<Frame>, u64)> {
    let (frames, reader) = read(file)?;
    Ok((frames, reader.skipped_bytes()))
}

/// Returns all frames of a capture that has only a client's complete connections. Checks that each frame can be read,
/// and written again with the same bytes.
pub(crate) fn whole_frames(file: &Path) -> Result<Vec<Frame>> {
    let (frames, reader) = read(file)?;
    ensure!(!frames.is_empty() && !reader.is_cut(), "the file is empty, or cut");
    ensure!(reader.skipped_bytes() == 0, "{} bytes belong to no frame", reader.skipped_bytes());
    for frame in &frames {
        let shown = || frame.json(false).to_string();
        let content = frame.read().map_err(|unread| anyhow::anyhow!("{unread}: {}", shown()))?;
        let mut again = Vec::new();
        content.write(&mut again).with_context(shown)?;
        ensure!(again == frame.bytes, "written again, it is other bytes: {}", shown());
    }
    Ok(frames)
}

fn read(file: &Path) -> Result<(Vec<Frame>, Reader<'static>)> {
    let mut reader = Reader::new(File::open(file)?)?;
    let frames = reader.by_ref().collect::<Result<_, _>>()?;
    Ok((frames, reader))
}

/// Returns the records that the broker accepted, at the offsets it reported.
pub(crate) fn written(frames: &[Frame]) -> Result<Vec<Written>> {
    let is_produce = |frame: &&Frame| frame.head.is_some_and(|head| head.api_key == ProduceRequest::KEY);
    let answers: BTreeMap<u64, &Frame> =
        frames.iter().filter(is_produce).filter_map(|frame| Some((frame.answers?, frame))).collect();
    let api = Api::of(ProduceRequest::KEY).context("it is known")?;
    let mut all = Vec::new();
    for frame in frames.iter().filter(is_produce).filter(|frame| frame.side == Side::Client) {
        let (header, body) = RequestHeader::read(&frame.bytes)?;
        let version = header.api_version;
        let request = ProduceRequest::read(&body, version)?;
        let answer = answers.get(&frame.number).context("a request to produce was not answered")?;
        let (_, body) = ResponseHeader::read(&answer.bytes, api, version)?;
        let response = ProduceResponse::read(&body, version)?;
        for topic in &request.topic_data {
            for data in &topic.partition_data {
                if let Some(base_offset) = written_at(&response, (&topic.name, topic.topic_id), data.index) {
                    let bytes = data.records.as_ref().context("a partition without records")?.to_bytes();
                    records(&bytes, data.index, base_offset, &mut all)?;
                }
            }
        }
    }
    all.sort();
    Ok(all)
}

fn written_at(response: &ProduceResponse, topic: (&str, Uuid), index: i32) -> Option<i64> {
    let topic = response.responses.iter().find(|answer| (answer.name.as_str(), answer.topic_id) == topic)?;
    let partition = topic.partition_responses.iter().find(|answer| answer.index == index)?;
    (partition.error_code.is_none() && partition.base_offset >= 0).then_some(partition.base_offset)
}

fn records(bytes: &[u8], partition: i32, base_offset: i64, all: &mut Vec<Written>) -> Result<()> {
    let (batch, rest) = RecordBatch::parse(bytes)?;
    ensure!(rest.is_empty(), "more than one batch for a partition");
    let body = decompress_batch(&batch, DEFAULT_LIMIT_BYTES)?;
    for record in batch.records_in(&body)? {
        let record = record?;
        let bytes = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let headers = record.headers.clone().map(|header| (header.key.to_vec(), bytes(header.value))).collect();
        let offset = base_offset + record.offset;
        let timestamp = record.timestamp;
        let record = Record { partition, key: bytes(record.key), value: bytes(record.value), headers };
        all.push(Written { offset, timestamp, record });
    }
    Ok(())
}
