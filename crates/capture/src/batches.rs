//! Record batches as JSON: the header's fields, and every record with its key, value and headers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kurier_compression::{DEFAULT_LIMIT_BYTES, decompress_batch};
use kurier_protocol::Records;
use kurier_protocol::record_batch::{Attributes, Batches, Record, RecordBatch, RecordIter};
use serde_json::{Value, json};

/// Returns a list of the batches in `records`, if the bytes begin with a batch. An unreadable part, such as a damaged
/// batch or the truncated end of a Fetch response, becomes an object with the reason.
pub fn json(records: &Records) -> Option<Value> {
    let bytes = records.to_bytes();
    let batches: Vec<_> = Batches::new(&bytes).collect();
    let is_batch = batches.first().is_some_and(Result::is_ok) || looks_like_a_batch(&bytes);
    is_batch.then(|| batches.iter().map(|read| read.as_ref().map_or_else(unreadable, batch)).collect())
}

/// Whether the bytes begin like a batch: with a known magic, and a length that leads to the end or to another batch.
fn looks_like_a_batch(bytes: &[u8]) -> bool {
    let length = bytes.get(8..12).and_then(|length| length.try_into().ok()).map(i32::from_be_bytes);
    let rest =
        length.and_then(|length| usize::try_from(length).ok()).and_then(|length| bytes.len().checked_sub(12 + length));
    rest.is_some_and(|rest| rest == 0 || rest > 61) && bytes.get(16).is_some_and(|magic| *magic <= 2)
}

fn unreadable(reason: impl ToString) -> Value {
    json!({ "error": reason.to_string() })
}

fn batch(batch: &RecordBatch<'_>) -> Value {
    let header = batch.header();
    let attributes = header.attributes;
    let fields = json!({
        "baseOffset": header.base_offset,
        "partitionLeaderEpoch": header.partition_leader_epoch,
        "compression": attributes.compression_type().map_or_else(|| unknown_codec(attributes), |kind| kind.to_string()),
        "timestampType": if attributes.is_log_append_time() { "LogAppendTime" } else { "CreateTime" },
        "isTransactional": attributes.is_transactional(),
        "isControl": attributes.is_control(),
        "lastOffsetDelta": header.last_offset_delta,
        "baseTimestamp": header.base_timestamp,
        "maxTimestamp": header.max_timestamp,
        "producerId": header.producer_id.0,
        "producerEpoch": header.producer_epoch.0,
        "baseSequence": header.base_sequence.0,
        "recordCount": header.record_count,
    });
    let mut object = fields.as_object().cloned().unwrap_or_default();
    let (name, value) = match decompress_batch(batch, DEFAULT_LIMIT_BYTES) {
        Ok(body) => ("records", batch.records_in(&body).map_or_else(unreadable, all)),
        Err(error) => ("error", error.to_string().into()),
    };
    object.extend([(name.to_owned(), value)]);
    Value::Object(object)
}

fn unknown_codec(attributes: Attributes) -> String {
    format!("unknown ({})", attributes.codec_id())
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

/// Returns a string if the bytes are UTF-8, else an object, so that the two cannot be confused.
fn text(bytes: &[u8]) -> Value {
    match str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}
