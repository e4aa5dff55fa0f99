//! Captured traffic of seven clients with real Kafka 3.7.2, 3.9.1 and 4.3.1.
//!
//! | module | question |
//! |---|---|
//! | `reading` | Is every frame read and written again, and does every batch hold what kcat read? |
//! | `answering` | Does our broker answer every client, and hold the same records at the end? |
//! | `hostile` | Are files cheap to read that claim more than they hold? |
//!
//! `make captures-read` shows the counts. testdata/ORIGIN.md describes the files.

mod answering;
mod hostile;
mod reading;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use kurier_capture::{Frame, Reader};
use kurier_protocol::record_batch::Record;
use serde_json::{Value, json};

/// One of the committed captures.
struct Capture {
    name: String,
    client: String,
    file: Vec<u8>,
    frames: Vec<Frame>,
    connections: u32,
    skipped_bytes: u64,
    kcat: Option<BTreeMap<(i64, i64), Value>>,
}

fn captures() -> Vec<Capture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/captures");
    let mut pcaps: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    pcaps.retain(|path| path.extension().is_some_and(|extension| extension == "pcap"));
    pcaps.sort();
    pcaps.into_iter().map(capture).collect()
}

fn capture(path: PathBuf) -> Capture {
    let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
    let file = fs::read(&path).unwrap();
    let mut reader = Reader::new(&file[..]).unwrap();
    let frames = reader.by_ref().collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{name}: {error}"));
    let (connections, skipped_bytes) = (reader.connections(), reader.skipped_bytes());
    drop(reader);
    let kcat = fs::read_to_string(path.with_extension("records.jsonl")).ok();
    Capture {
        client: name.split('_').next().unwrap().to_owned(),
        kcat: kcat.map(|lines| lines.lines().map(|line| by_place(line.parse().unwrap())).collect()),
        name,
        file,
        frames,
        connections,
        skipped_bytes,
    }
}

fn by_place(record: Value) -> ((i64, i64), Value) {
    let number = |name: &str| record[name].as_i64().unwrap();
    ((number("partition"), number("offset")), record)
}

/// Formats our record like kcat does, with the broker's own values taken from kcat's output.
fn shown(record: &Record<'_>, theirs: &Value) -> Value {
    let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    // On a topic with LogAppendTime the broker sets the timestamp.
    let timestamp = if theirs["tstype"] == "logappend" { theirs["ts"].clone() } else { json!(record.timestamp) };
    let mut shown = json!({
        "topic": theirs["topic"], "partition": theirs["partition"], "offset": theirs["offset"],
        "tstype": theirs["tstype"], "ts": timestamp, "broker": theirs["broker"],
        "key": text(record.key), "payload": text(record.value),
    });
    let headers = record.headers.clone().flat_map(|header| [text(Some(header.key)), text(header.value)]);
    let headers: Vec<_> = headers.collect();
    if !headers.is_empty() {
        shown["headers"] = json!(headers);
    }
    shown
}
