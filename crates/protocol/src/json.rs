//! Messages as JSON, in the form in which Kafka's own tools print them: Kafka's field names, bytes in base64, ids in
//! URL-safe base64, records by their size, tagged fields only when they differ from their defaults.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::records::Records;
use crate::wire::Version;

/// A JSON object that keeps the order of the wire.
pub(crate) type Object = serde_json::Map<String, Value>;

/// How to show a message.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) version: Version,
    /// What to show of records besides their size.
    pub(crate) records: &'a dyn Fn(&Records) -> Option<Value>,
}

/// Bytes as a JSON string of base64.
pub(crate) fn base64(bytes: &[u8]) -> Value {
    STANDARD.encode(bytes).into()
}
