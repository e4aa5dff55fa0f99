//! The records that the clients write, and that the tests compare.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Result;

pub(crate) const PARTITIONS: i32 = 3;

/// Each client flushes after every hundred, so three times.
const COUNT: usize = 300;

/// More than fits into one packet, or into a Java batch with other records.
const LARGE_BYTES: usize = 20_000;

/// A record without an offset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Record {
    pub(crate) partition: i32,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    /// Names and values.
    pub(crate) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// A record with its offset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Written {
    pub(crate) offset: i64,
    /// Milliseconds since 1970.
    pub(crate) timestamp: i64,
    pub(crate) record: Record,
}

/// Returns records with keys, values and headers of every kind, in all combinations. Exactly the records of partition 0
/// have no key.
pub(crate) fn records() -> Vec<Record> {
    (0..COUNT).map(record).collect()
}

fn record(i: usize) -> Record {
    let partitions = usize::try_from(PARTITIONS).unwrap_or(1);
    let partition = i % partitions;
    let binary = |len: usize| -> Vec<u8> { (0..=u8::MAX).cycle().skip(i).take(len).collect() };
    let key = match (partition, (i / partitions) % 4) {
        (0, _) => None,
        (_, 0) => Some(Vec::new()),
        (_, 1) => Some(format!("клиент-{i} 🦀").into_bytes()),
        (_, 2) => Some(binary(16)),
        (_, _) => Some(format!("customer-{}", i % 20).into_bytes()),
    };
    let value = match i % 7 {
        _ if i == COUNT / 2 => Some(binary(LARGE_BYTES)),
        0 => None,
        1 => Some(Vec::new()),
        2 => Some(format!("Grüße, 世界: {i}").into_bytes()),
        3 => Some(binary(256)),
        _ => Some(format!(r#"{{"order":{i},"text":"{}"}}"#, "again and ".repeat(i % 13)).into_bytes()),
    };
    let header = |name: &str, value: Option<&[u8]>| (name.as_bytes().to_vec(), value.map(<[u8]>::to_vec));
    let headers = match i % 5 {
        0 => Vec::new(),
        1 => vec![header("trace", Some(b"ab12"))],
        2 => vec![header("null", None), header("empty", Some(b""))],
        3 => vec![header("twice", Some(b"1")), header("twice", Some(b"2")), header("", Some(b"nameless"))],
        _ => vec![header("заголовок", Some(&binary(40)))],
    };
    Record { partition: i32::try_from(partition).unwrap_or_default(), key, value, headers }
}

/// Writes records in the format of the clients' programs, one per line: partition, key, value, names and values of
/// headers, separated by tabs. Bytes are in hex, null is -.
pub(crate) fn write(records: &[Record], file: &Path) -> Result<()> {
    let mut lines = String::new();
    for Record { partition, key, value, headers } in records {
        write!(lines, "{partition}\t{}\t{}", hex(key.as_deref()), hex(value.as_deref()))?;
        for (name, value) in headers {
            write!(lines, "\t{}\t{}", hex(Some(name)), hex(value.as_deref()))?;
        }
        lines.push('\n');
    }
    Ok(fs::write(file, lines)?)
}

fn hex(bytes: Option<&[u8]>) -> String {
    let byte = |byte: &u8| format!("{byte:02x}");
    bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.iter().map(byte).collect())
}
