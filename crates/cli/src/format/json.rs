//! The `json` format: one JSON object per line.
//!
//! ```text
//! {"topic":"t","partition":0,"offset":5,"timestamp":1700000000000,"key":"k","value":"v","headers":[["h","1"]]}
//! ```
//!
//! - `key` and `value` are text or null. Bytes that are not UTF-8 are in base64, as `key_base64` and `value_base64`.
//! - `headers` is an array of pairs of name and value. A name may repeat and a value may be null. Bytes that are not
//!   UTF-8 are an object: `["h", {"base64": "/w=="}]`.
//! - In input, only `value` (or `value_base64`) is required; it may be null. `partition` and `timestamp` may be null or
//!   -1, which means none. `topic` and `offset` are accepted and ignored. Any other field is an error, as is a repeated
//!   field.

use std::borrow::Cow;
use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::entry::{Entry, Header, partition, timestamp};
use super::extent::{Flaw, shown};
use super::lines;

pub(crate) fn write(entry: &Entry<'_>, out: &mut impl Write) -> io::Result<()> {
    let mut object = serde_json::Map::new();
    if let Some(topic) = entry.topic {
        object.insert("topic".to_owned(), topic.into());
    }
    object.insert("partition".to_owned(), entry.partition.into());
    if let Some(offset) = entry.offset {
        object.insert("offset".to_owned(), offset.into());
    }
    object.insert("timestamp".to_owned(), entry.timestamp.into());
    for (name, part) in [("key", &entry.key), ("value", &entry.value)] {
        let (name, value) = match part.as_deref().map(str::from_utf8) {
            None => (name.to_owned(), Value::Null),
            Some(Ok(text)) => (name.to_owned(), text.into()),
            Some(Err(_)) => (format!("{name}_base64"), STANDARD.encode(part.as_deref().unwrap_or_default()).into()),
        };
        object.insert(name, value);
    }
    let pair = |header: &Header<'_>| json!([bytes(&header.name), header.value.as_deref().map(bytes)]);
    object.insert("headers".to_owned(), entry.headers.iter().map(pair).collect());
    serde_json::to_writer(&mut *out, &object)?;
    out.write_all(b"\n")
}

/// Returns text as a string, other bytes as an object with base64.
fn bytes(bytes: &[u8]) -> Value {
    str::from_utf8(bytes).map_or_else(|_| json!({ "base64": STANDARD.encode(bytes) }), Value::from)
}

/// The JSON object of a record.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object {
    #[serde(default, rename = "topic")]
    _topic: Option<String>,
    #[serde(default, rename = "offset")]
    _offset: Option<i64>,
    partition: Option<i64>,
    timestamp: Option<i64>,
    #[serde(default, deserialize_with = "given")]
    key: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    key_base64: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    value: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    value_base64: Option<Option<String>>,
    headers: Option<Vec<(Bytes, Option<Bytes>)>>,
}

/// Distinguishes a null field from a missing one.
fn given<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Option<String>>, D::Error> {
    Deserialize::deserialize(field).map(Some)
}

/// Text, or base64 in an object.
#[derive(Deserialize)]
#[serde(untagged, expecting = "text, or an object such as {\"base64\":\"/w==\"}")]
enum Bytes {
    Text(String),
    Base64(Base64),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Base64 {
    base64: String,
}

pub(crate) fn decode(line: &[u8]) -> Result<Entry<'_>, Flaw> {
    /// Byte order marks, with the remedy.
    const MARKS: [(&[u8], &str); 3] = [
        (b"\xef\xbb\xbf", "UTF-8: remove the mark"),
        (b"\xff\xfe", "UTF-16: convert the input to UTF-8 without a mark"),
        (b"\xfe\xff", "UTF-16: convert the input to UTF-8 without a mark"),
    ];
    let line = lines::content(line);
    if let Some((_, remedy)) = MARKS.iter().find(|(mark, _)| line.starts_with(mark)) {
        return Err(Flaw::new(0, format!("this begins with a byte order mark of {remedy}")));
    }
    // serde_json would also accept an array, with its elements as the fields.
    let first = line.iter().position(|byte| !byte.is_ascii_whitespace());
    let first = line.get(first.unwrap_or(line.len())..).unwrap_or_default();
    if !first.starts_with(b"{") {
        let text = format!("expected an object such as {{\"key\":\"k\",\"value\":\"v\"}}, found {}", shown(first));
        return Err(Flaw::new(0, text));
    }
    let object: Object = serde_json::from_slice(line).map_err(|error| {
        let column = error.column();
        let text = error.to_string();
        let text = text.strip_suffix(&format!(" at line {} column {column}", error.line())).unwrap_or(&text);
        Flaw::new(column.saturating_sub(1), format!("column {column}: {text}"))
    })?;
    let flaw = |text: String| Flaw::new(0, text);
    let key = part("key", object.key, object.key_base64)?.flatten();
    let value = part("value", object.value, object.value_base64)?;
    let value = value.ok_or_else(|| flaw("the value is missing: \"value\":null writes a tombstone".to_owned()))?;
    let headers = object.headers.unwrap_or_default().into_iter().map(|(name, value)| {
        Ok(Header {
            name: name.decode("a header's name")?,
            value: value.map(|value| value.decode("a header")).transpose()?,
        })
    });
    Ok(Entry {
        partition: object.partition.map_or(Ok(None), partition).map_err(flaw)?,
        timestamp: object.timestamp.map_or(Ok(None), timestamp).map_err(flaw)?,
        key,
        value,
        headers: headers.collect::<Result<_, Flaw>>()?,
        ..Entry::default()
    })
}

type Part<'a> = Option<Cow<'a, [u8]>>;

/// Returns a key or value from its text or base64 field.
fn part(
    name: &str,
    text: Option<Option<String>>,
    base64: Option<Option<String>>,
) -> Result<Option<Part<'static>>, Flaw> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(Flaw::new(0, format!("{name} and {name}_base64 are both given: remove one"))),
        (Some(text), None) => Ok(Some(text.map(|text| text.into_bytes().into()))),
        (None, Some(base64)) => base64.map(|base64| decoded(&base64, &format!("{name}_base64"))).transpose().map(Some),
        (None, None) => Ok(None),
    }
}

impl Bytes {
    fn decode(self, what: &str) -> Result<Cow<'static, [u8]>, Flaw> {
        match self {
            Self::Text(text) => Ok(text.into_bytes().into()),
            Self::Base64(Base64 { base64 }) => decoded(&base64, what),
        }
    }
}

fn decoded(base64: &str, what: &str) -> Result<Cow<'static, [u8]>, Flaw> {
    let bytes = STANDARD.decode(base64);
    bytes.map(Cow::Owned).map_err(|error| Flaw::new(0, format!("expected base64 in {what}: {error}")))
}
