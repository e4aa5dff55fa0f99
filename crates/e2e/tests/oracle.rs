//! Agreement with the kafka-protocol crate, an independent implementation generated from Kafka's descriptors: arbitrary
//! messages of every version, in both directions. It reads our bytes and writes them again, and we read its bytes.
//! Bytes and JSON must be the same.
//!
//! `make oracle` shows the counts. ORACLE_CASES=n sets the number of cases per message and version.

#[path = "../../protocol/tests/arbitrary/mod.rs"]
mod arbitrary;

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};
use kurier_protocol::{APIS, Api, Direction};
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestRunner};

/// Versions newer than the oracle's descriptors of Kafka 4.1.
const UNKNOWN_TO_IT: [(&str, i16); 1] = [("ApiVersions", 5)];

#[test]
fn another_implementation_agrees_on_arbitrary_messages() {
    let cases = std::env::var("ORACLE_CASES").map_or(1000, |cases| cases.parse().expect("ORACLE_CASES is a number"));
    let mut skipped = Vec::new();
    let mut messages: BTreeMap<&str, usize> = BTreeMap::new();
    for api in APIS {
        for version in api.versions() {
            if UNKNOWN_TO_IT.contains(&(api.name(), version)) {
                skipped.push(format!("{} {version}", api.name()));
                continue;
            }
            for direction in [api.request(), api.response()] {
                check(api, direction, version, cases);
                *messages.entry(direction.schema().name).or_default() += 1;
            }
        }
    }
    for (message, versions) in &messages {
        println!("{message:<30} {versions:>2} versions, {cases} cases each: agreed, both ways");
    }
    println!(
        "{} messages and versions, {cases} cases each; unknown to the oracle: {}",
        messages.values().sum::<usize>(),
        skipped.join(", ")
    );
}

fn check(api: &Api, direction: &Direction, version: i16, cases: u32) {
    let config = ProptestConfig {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        source_file: Some(file!()),
        ..ProptestConfig::default()
    };
    let flexible = api.request_header_version(version) == 2;
    let bodies = arbitrary::body(direction.schema(), version, flexible);
    let result = TestRunner::new(config).run(&bodies, |body| {
        let fail = |what: &str, error: String| TestCaseError::fail(format!("{what}: {error}"));
        // The shortest form, without tagged fields that have their defaults.
        let message =
            direction.read(&body.into(), version).map_err(|error| fail("we cannot read", error.to_string()))?;
        let mut ours = Vec::new();
        message.write(version, &mut ours).map_err(|error| fail("we cannot write", error.to_string()))?;
        let json = message.json(version);

        let theirs = again(api, direction, version, ours.clone().into())
            .map_err(|error| fail("they cannot read", format!("{error}: {json}")))?;
        if theirs == ours {
            return Ok(());
        }
        let theirs = direction.read(&theirs, version).map(|message| message.json(version));
        Err(fail("they read it otherwise", format!("\nours:   {json}\ntheirs: {theirs:?}")))
    });
    if let Err(failure) = result {
        panic!("{} v{version}: {failure}", direction.schema().name);
    }
}

/// Returns the oracle's bytes after it read `body`.
fn again(api: &Api, direction: &Direction, version: i16, mut body: Bytes) -> Result<Bytes, String> {
    let key = ApiKey::try_from(api.key()).map_err(|()| "it does not know the API".to_owned())?;
    let mut out = BytesMut::new();
    if std::ptr::eq(direction, api.request()) {
        let message = RequestKind::decode(key, &mut body, version).map_err(|error| error.to_string())?;
        message.encode(&mut out, version).map_err(|error| error.to_string())?;
    } else {
        let message = ResponseKind::decode(key, &mut body, version).map_err(|error| error.to_string())?;
        message.encode(&mut out, version).map_err(|error| error.to_string())?;
    }
    if !body.is_empty() {
        return Err(format!("it leaves {} bytes", body.len()));
    }
    Ok(out.freeze())
}
