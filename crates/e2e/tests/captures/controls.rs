//! Controls: changes that the other tests must detect, or they prove nothing. Each control changes one byte of a
//! capture for tshark, or one field of kcat's records.

use std::fs;

use anyhow::{Context, Result, ensure};
use kurier_capture::{Frame, Side};
use kurier_e2e::testdata;

use crate::agreement::compare;
use crate::records::{Written, records};
use crate::{reading, tshark, verdict};

/// A capture with only versions that tshark knows.
const CAPTURE: &str = "captures/kcat-librdkafka-2.0.2_kafka-4.3.1_lz4.pcap";

/// Changes in an ApiVersions v3 frame: name, side, index of the byte in the frame, and the expected finding.
const CHANGES: [(&str, Side, usize, &str); 4] = [
    ("an api key", Side::Client, 1, "tshark has CreateTopics v3"),
    ("a version", Side::Client, 3, "tshark has ApiVersions v2"),
    ("a correlation id", Side::Server, 3, "tshark has correlation id 0"),
    ("an error code", Side::Server, 5, "tshark has error codes [1], not [0]"),
];

/// Runs the controls and prints the findings.
pub(crate) fn run() -> Result<()> {
    changed_bytes()?;
    changed_records()
}

fn changed_bytes() -> Result<()> {
    let file = testdata(CAPTURE);
    let frames = reading::whole_frames(&file)?;
    let ports = tshark::ports(&file)?;
    let unchanged = compare(&frames, 0, &tshark::dissect(&file, &ports)?);
    ensure!(unchanged.differences.is_empty() && unchanged.unknown.is_empty(), "not as it is: {unchanged:?}");
    let bytes = fs::read(&file)?;
    let folder = tempfile::tempdir()?;
    let changed = folder.path().join("changed.pcap");
    for (what, side, at, finding) in CHANGES {
        fs::write(&changed, with_a_change(&bytes, &frames, side, at)?)?;
        let found = compare(&frames, 0, &tshark::dissect(&changed, &ports)?).differences;
        println!("control: {what} changed: {}", found.first().map_or("nothing found", String::as_str));
        ensure!(found.iter().any(|difference| difference.contains(finding)), "{what} changed, and found: {found:?}");
    }
    Ok(())
}

/// Returns the file with one bit flipped in the first frame of this side.
fn with_a_change(file: &[u8], frames: &[Frame], side: Side, at: usize) -> Result<Vec<u8>> {
    let frame = frames.iter().find(|frame| frame.side == side).context("a side that said nothing")?;
    let start =
        file.windows(frame.bytes.len()).position(|window| window == frame.bytes).context("it is in one packet")?;
    let mut changed = file.to_vec();
    *changed.get_mut(start + at).context("within the frame")? ^= 1;
    Ok(changed)
}

fn changed_records() -> Result<()> {
    let place = |(offset, record)| Written { offset, timestamp: 1, record };
    let captured: Vec<Written> = (0..).zip(records()).map(place).collect();
    ensure!(verdict::differences(&captured, &captured).is_empty(), "the same records differ");
    type Change = fn(&mut Vec<Written>);
    let changes: [(&str, Change); 7] = [
        ("an offset", |read| read[9].offset += 1),
        ("a timestamp", |read| read[9].timestamp += 1),
        ("a key, from null to empty,", |read| read[9].record.key = Some(Vec::new())),
        ("a value", |read| read[9].record.value = Some(b"other".to_vec())),
        ("a header's value", |read| read[9].record.headers[0].1 = Some(b"other".to_vec())),
        ("one record less", |read| _ = read.pop()),
        ("one record more", |read| read.push(read[0].clone())),
    ];
    for (what, change) in changes {
        let mut read = captured.clone();
        change(&mut read);
        ensure!(!verdict::differences(&captured, &read).is_empty(), "{what} changed, and nothing found");
    }
    println!("control: records changed in {} ways, each found", changes.len());
    Ok(())
}
