//! Captured exchanges of other clients with real brokers, for tests.

use std::collections::BTreeMap;
use std::fs::File;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kurier_capture::Reader;

/// Returns the messages of each connection in a capture, from both sides.
pub(super) fn captured(name: &str) -> BTreeMap<u32, Vec<Vec<u8>>> {
    let mut connections: BTreeMap<u32, Vec<Vec<u8>>> = BTreeMap::new();
    let file = File::open(format!("../../testdata/captures/{name}.pcap")).unwrap();
    for frame in Reader::new(file).unwrap() {
        let frame = frame.unwrap();
        let Ok(content) = frame.read() else { continue };
        if content.api.name() == "SaslAuthenticate" {
            let message = STANDARD.decode(content.body(true)["authBytes"].as_str().unwrap()).unwrap();
            connections.entry(frame.connection).or_default().push(message);
        }
    }
    connections
}
