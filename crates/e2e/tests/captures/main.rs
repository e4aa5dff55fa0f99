//! Captures of other producers through `kurier capture`, to real Kafka 3.7.2 and 4.3.1. tshark must read the same
//! frames, with the same api, version, correlation id and error codes. kcat must read the same records, at the same
//! offsets, from the topics.
//!
//! `make captures` runs all and leaves the captures in `target/captures`. It begins with the controls, and with tshark
//! on the committed captures. The table has one line per capture:
//!
//! | column | counts |
//! |---|---|
//! | frames | requests and responses; each is read and written again, with the same bytes |
//! | heads | frames with the same api, version and correlation id in tshark |
//! | id only | responses that tshark shows with only a correlation id, because it does not know their requests |
//! | unknown | frames of versions that tshark does not know; it shows their headers |
//! | responses | those in versions that tshark knows; their error codes are the same |
//! | errors, not 0 | the error codes in these responses |
//! | records | records that the broker accepted, decompressed from Produce requests |
//! | by kcat | records that kcat read from the topic with the same key, value, headers, timestamp, partition, offset |
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it shows what it counted")]

mod agreement;
mod clients;
mod controls;
mod kcat;
mod reading;
mod records;
mod scenes;
mod tshark;
mod verdict;

use std::collections::BTreeSet;
use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use kurier_e2e::clock::now;
use kurier_e2e::testdata;

use crate::clients::Clients;
use crate::verdict::{Row, Verdict};

const KAFKAS: [&str; 2] = ["3.7.2", "4.3.1"];

/// Broker ports in the committed captures (testdata/ORIGIN.md). Some connections are older than their captures.
const COMMITTED_PORTS: [u16; 4] = [19092, 19095, 19102, 19112];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("captures: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let began = now();
    let judge = tshark::version()?;
    let clients = Clients::fetch()?;
    controls::run()?;
    let mut differences = committed(&judge)?;
    let mut verdict = Verdict::new(judge);
    for version in KAFKAS {
        scenes::play(version, &clients, &mut verdict)?;
    }
    differences += verdict.end();
    println!("\n{:.0} s", began.elapsed().as_secs_f64());
    ensure!(differences == 0, "{differences} differences");
    Ok(())
}

/// Checks the captures in testdata, by client. `make captures-read` already compares their records with kcat's.
fn committed(judge: &str) -> Result<usize> {
    let mut verdict = Verdict::new(judge.to_owned());
    let ports = BTreeSet::from(COMMITTED_PORTS);
    let mut files: Vec<_> =
        fs::read_dir(testdata("captures"))?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "pcap"));
    files.sort();
    for file in files {
        let name = file.file_stem().context("a name")?.to_string_lossy().into_owned();
        let (frames, skipped_bytes) = reading::frames(&file)?;
        let agreement = agreement::compare(&frames, skipped_bytes, &tshark::dissect(&file, &ports)?);
        verdict.add(&name, Row { captures: 1, frames: frames.len(), agreement, ..Row::default() });
    }
    Ok(verdict.end())
}
