//! Record batches as JSON: the header's fields, and every record with its key, value and headers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kurier_compression::{Compression, CompressionType};
use kurier_protocol::Records;
use kurier_protocol::record_batch::{Batches, Record, RecordBatch, RecordIter};
use serde_json::{Value, json};

/// The most that a batch may give when decompressed.
const BODY_BYTES_MAX: usize = 64 << 20;

/// A list of the batches in `records`, if it begins with one. What follows them and cannot be read, such as the
/// cut end of an answer to Fetch, is an object with the reason.
pub(crate) fn json(records: &Records) -> Option<Value> {
    let bytes = records.to_bytes();
    let batches: Vec<_> = Batches::new(&bytes).collect();
    match batches.first() {
        Some(Ok(_)) => Some(batches.iter().map(|read| read.as_ref().map_or_else(unreadable, batch)).collect()),
        _ => None,
    }
}

fn unreadable(reason: impl ToString) -> Value {
    json!({ "error": reason.to_string() })
}

fn batch(batch: &RecordBatch<'_>) -> Value {
    let header = batch.header();
    let attributes = header.attributes;
    let codec = CompressionType::from_id(attributes.codec());
    let mut object = json!({
        "baseOffset": header.base_offset,
        "partitionLeaderEpoch": header.partition_leader_epoch,
        "compression": codec.map_or_else(|| format!("unknown ({})", attributes.codec()), |codec| codec.to_string()),
        "timestampType": if attributes.is_log_append_time() { "LogAppendTime" } else { "CreateTime" },
        "isTransactional": attributes.is_transactional(),
        "isControl": attributes.is_control(),
        "lastOffsetDelta": header.last_offset_delta,
        "baseTimestamp": header.base_timestamp,
        "maxTimestamp": header.max_timestamp,
        "producerId": header.producer_id,
        "producerEpoch": header.producer_epoch,
        "baseSequence": header.base_sequence,
        "recordCount": header.record_count,
    });
    match body(batch, codec) {
        Ok(body) => object["records"] = batch.records_in(&body).map_or_else(unreadable, all),
        Err(reason) => object["error"] = reason.into(),
    }
    object
}

fn body(batch: &RecordBatch<'_>, codec: Option<CompressionType>) -> Result<Vec<u8>, String> {
    let kind = codec.ok_or("its codec is not known")?;
    let mut codec = Compression::new(kind).codec().map_err(|error| error.to_string())?;
    let mut body = Vec::new();
    codec.decompress(batch.body(), BODY_BYTES_MAX, &mut body).map_err(|error| error.to_string())?;
    Ok(body)
}

fn all(records: RecordIter<'_>) -> Value {
    records.map(|read| read.map_or_else(unreadable, |one| record(&one))).collect()
}

fn record(record: &Record<'_>) -> Value {
    let headers =
        record.headers.clone().map(|header| json!({ "key": text(header.key), "value": nullable(header.value) }));
    json!({
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": nullable(record.key),
        "value": nullable(record.value),
        "headers": headers.collect::<Value>(),
    })
}

fn nullable(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, text)
}

/// A string where the bytes are UTF-8, else an object, so that neither can be taken for the other.
fn text(bytes: &[u8]) -> Value {
    match str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}
