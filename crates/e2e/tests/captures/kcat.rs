//! Reader of topics with kcat, exact to the byte.

use std::process::Command;

use anyhow::{Context, Result};
use kurier_e2e::java::run;
use serde_json::Value;

use crate::records::{Record, Written};

/// Reads all records of a topic. kcat checks the batches' checksums.
pub(crate) fn read(bootstrap: &str, topic: &str) -> Result<Vec<Written>> {
    let mut kcat = Command::new("kcat");
    kcat.args(["-C", "-q", "-e", "-J", "-o", "beginning", "-b", bootstrap, "-t", topic]);
    kcat.args(["-X", "check.crcs=true", "-X", "fetch.wait.max.ms=50"]);
    let output = run(&mut kcat, "apt-get install kcat")?;
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut records = lines.map(|line| record(line).context("a record by kcat")).collect::<Result<Vec<_>>>()?;
    records.sort();
    Ok(records)
}

/// Parses a line of kcat's JSON. kcat copies a record's bytes unchanged, UTF-8 or not, and escapes only the characters
/// that JSON requires. Reading one character per byte (Latin-1) therefore loses nothing.
fn record(line: &[u8]) -> Result<Written> {
    let line: String = line.iter().map(|byte| char::from(*byte)).collect();
    let object: Value = line.parse()?;
    let number = |name: &str| object[name].as_i64().with_context(|| format!("no {name}"));
    let mut headers = Vec::new();
    for pair in object["headers"].as_array().map_or(&[][..], Vec::as_slice).chunks(2) {
        let [name, value] = pair else { anyhow::bail!("a header without a value") };
        headers.push((bytes(name)?.context("a header without a name")?, bytes(value)?));
    }
    let record = Record {
        partition: number("partition")?.try_into()?,
        key: bytes(&object["key"])?,
        value: bytes(&object["payload"])?,
        headers,
    };
    Ok(Written { offset: number("offset")?, timestamp: number("ts")?, record })
}

fn bytes(value: &Value) -> Result<Option<Vec<u8>>> {
    if value.is_null() {
        return Ok(None);
    }
    let text = value.as_str().with_context(|| format!("neither text nor null: {value}"))?;
    Ok(Some(text.chars().map(u8::try_from).collect::<Result<_, _>>()?))
}
