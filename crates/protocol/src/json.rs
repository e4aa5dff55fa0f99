//! JSON view of messages, in the form of Kafka's tools: Kafka's field names, bytes in base64, ids in URL-safe base64,
//! records by their size, tagged fields only if they differ from their defaults.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::context::Version;
use crate::records::Records;

/// A JSON object that keeps the wire's field order.
pub(crate) type Object = serde_json::Map<String, Value>;

/// Options of the JSON view.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) version: Version,
    /// JSON to add for records, besides their size.
    pub(crate) records: &'a dyn Fn(&Records) -> Option<Value>,
}

/// Returns bytes as a JSON string in base64.
pub(crate) fn base64(bytes: &[u8]) -> Value {
    STANDARD.encode(bytes).into()
}
