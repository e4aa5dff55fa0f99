//! Compares this crate with bytes of the Java client: they are read, compared with their JSON, and written again
//! unchanged.
//!
//! `make golden` prints the counts. testdata/ORIGIN.md describes the files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use kurier_protocol::{APIS, Api, Direction, ErrorCode};
use serde_json::Value;

/// One body, and the Java client's JSON of it.
struct Golden {
    /// Such as `produce/request-v9-full`.
    name: String,
    api: &'static Api,
    is_request: bool,
    version: i16,
    /// Whether every field has its default.
    is_default: bool,
    body: Bytes,
    json: Value,
}

impl Golden {
    fn direction(&self) -> &'static Direction {
        if self.is_request { self.api.request() } else { self.api.response() }
    }
}

fn testdata(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(folder)
}

/// Returns the lines of a table, without the first, split at tabs.
fn table(path: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(testdata(path)).unwrap();
    text.lines().skip(1).map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// Returns every golden body of an API and version that this crate supports, sorted by name.
fn goldens() -> Vec<Golden> {
    let keys: BTreeMap<String, i16> =
        table("golden/versions.tsv").into_iter().map(|row| (row[0].clone(), row[1].parse().unwrap())).collect();
    let mut goldens = Vec::new();
    for set in ["golden", "golden-4.4.0"] {
        for (folder, key) in &keys {
            let Some(api) = Api::of(*key) else { continue };
            let Ok(files) = fs::read_dir(testdata(set).join(folder)) else { continue };
            for path in files.map(|file| file.unwrap().path()).filter(|path| path.extension().unwrap() == "bin") {
                let stem = path.file_stem().unwrap().to_str().unwrap();
                let [side, version, case] = *stem.split('-').collect::<Vec<_>>() else { panic!("{stem}") };
                let version = version.strip_prefix('v').unwrap().parse().unwrap();
                if api.versions().contains(&version) {
                    goldens.push(Golden {
                        name: format!("{folder}/{stem}"),
                        api,
                        is_request: side == "request",
                        version,
                        is_default: case == "default",
                        body: fs::read(&path).unwrap().into(),
                        json: serde_json::from_slice(&fs::read(path.with_extension("json")).unwrap()).unwrap(),
                    });
                }
            }
        }
    }
    goldens.sort_by(|a, b| a.name.cmp(&b.name));
    goldens
}

#[test]
fn every_body_is_read_shown_and_written_as_java_does() {
    let goldens = goldens();
    println!(
        "{:<20} {:>8} {:>8} {:>9} {:>8} {:>11} {:>7}",
        "api", "versions", "requests", "responses", "bytes", "truncations", "flips"
    );
    let mut total = [0; 5];
    for api in APIS {
        let mut row = [0; 5];
        for golden in goldens.iter().filter(|golden| golden.api.key() == api.key()) {
            check(golden);
            row[usize::from(!golden.is_request)] += 1;
            row[2] += golden.body.len();
            row[3] += check_truncations(golden);
            row[4] += check_flips(golden);
        }
        let versions = format!("{}-{}", api.versions().start(), api.versions().end());
        println!(
            "{:<20} {versions:>8} {:>8} {:>9} {:>8} {:>11} {:>7}",
            api.name(),
            row[0],
            row[1],
            row[2],
            row[3],
            row[4]
        );
        for (sum, n) in total.iter_mut().zip(row) {
            *sum += n;
        }
    }
    println!("{:<29} {:>8} {:>9} {:>8} {:>11} {:>7}", "all", total[0], total[1], total[2], total[3], total[4]);
    println!("{} bodies read, equal to their JSON, written, the same bytes", total[0] + total[1]);
    assert!(total[0] + total[1] >= 563, "golden files are missing");
}

fn check(golden: &Golden) {
    let Golden { name, version, body, .. } = golden;
    let message = golden.direction().read(body, *version).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(message.json(*version), golden.json, "{name}");

    let mut written = Vec::new();
    message.write(*version, &mut written).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(written, **body, "{name}");

    if golden.is_default {
        let mut initial = Vec::new();
        golden.direction().initial().write(*version, &mut initial).unwrap();
        assert_eq!(initial, **body, "{name}: our defaults differ from Kafka's");
    }
}

/// Checks that every truncated body is an error with the message, the version and an offset within the body.
fn check_truncations(golden: &Golden) -> usize {
    for len in 0..golden.body.len() {
        let error = golden.direction().read(&golden.body.slice(..len), golden.version).expect_err(&golden.name);
        assert_eq!((error.what(), error.version()), (golden.direction().schema().name, golden.version));
        assert!(error.offset() <= len, "{}: {error}", golden.name);
    }
    golden.body.len()
}

/// Checks that no altered byte causes a panic, and that a body that is still readable can be printed and written again.
fn check_flips(golden: &Golden) -> usize {
    let masks = [0x01, 0x80, 0xff];
    for at in 0..golden.body.len() {
        for mask in masks {
            let mut body = golden.body.to_vec();
            body[at] ^= mask;
            if let Ok(message) = golden.direction().read(&body.into(), golden.version) {
                let _ = message.json(golden.version);
                message.write(golden.version, &mut Vec::new()).unwrap();
            }
        }
    }
    golden.body.len() * masks.len()
}

#[test]
fn versions_and_headers_are_those_of_java() {
    for row in table("golden/versions.tsv") {
        let number = |column: usize| row[column].parse::<i16>().unwrap();
        let Some(api) = Api::of(number(1)) else { continue };
        assert!(api.versions().start() >= &number(2), "{}", row[0]);
        // ApiVersions 5 came with Kafka 4.4.
        assert!(api.versions().end() <= &number(3).max(if api.name() == "ApiVersions" { 5 } else { 0 }), "{}", row[0]);
        for version in api.versions() {
            let flexible = number(4) >= 0 && version >= number(4);
            assert_eq!(api.request_header_version(version), if flexible { 2 } else { 1 }, "{} v{version}", row[0]);
        }
    }
}

#[test]
fn error_codes_are_those_of_java() {
    for file in ["golden/errors.tsv", "golden-4.4.0/errors.tsv"] {
        let rows = table(file);
        for row in &rows {
            let code = ErrorCode(row[0].parse().unwrap());
            assert_eq!(code.name(), Some(row[1].as_str()));
            assert_eq!(code.is_retriable().to_string(), row[2], "{code}");
            assert_eq!(code.refreshes_metadata().to_string(), row[3], "{code}");
        }
        println!("{} of {} error codes of {file}", rows.len(), ErrorCode::ALL.len());
    }
    assert_eq!(ErrorCode::ALL.len(), table("golden-4.4.0/errors.tsv").len());
}
