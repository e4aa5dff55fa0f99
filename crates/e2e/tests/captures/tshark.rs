//! Reader of captures with Wireshark's tshark.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, Result};
use kurier_e2e::java::run;
use serde_json::Value;

const REMEDY: &str = "apt-get install tshark";

/// A request or response, as far as tshark shows it.
#[derive(Clone, Debug)]
pub(crate) struct Dissected {
    /// Number of the packet that completes it.
    pub(crate) packet: u64,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    /// Size with the length field.
    pub(crate) bytes: u64,
    pub(crate) correlation_id: i32,
    /// `None` for a response whose request tshark does not have.
    pub(crate) api: Option<(i16, i16)>,
    /// Whether tshark knows this version of this API. If not, it decodes as its highest known version, with meaningless
    /// results.
    pub(crate) is_known: bool,
    /// Whether decoding failed halfway.
    pub(crate) is_malformed: bool,
    /// All error codes, in order.
    pub(crate) errors: Vec<i16>,
}

/// Returns tshark's name and version.
pub(crate) fn version() -> Result<String> {
    let output = run(Command::new("tshark").arg("--version"), REMEDY)?;
    let talk = String::from_utf8(output.stdout)?;
    let number = talk.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
    Ok(format!("tshark {}", number.context("tshark does not say which it is")?.trim_end_matches('.')))
}

/// Returns every frame of the connections to these ports. tshark tells client and server apart only by the port.
pub(crate) fn dissect(file: &Path, ports: &BTreeSet<u16>) -> Result<Vec<Dissected>> {
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(file).args(["-Y", "kafka", "-T", "json", "--no-duplicate-keys", "-J", "frame ip tcp kafka"]);
    for port in ports {
        tshark.args(["-d", &format!("tcp.port=={port},kafka")]);
    }
    let output = run(&mut tshark, REMEDY)?;
    let packets: Vec<Value> = serde_json::from_slice(&output.stdout).context("tshark's JSON")?;
    let mut dissected = Vec::new();
    for packet in &packets {
        let layers = &packet["_source"]["layers"];
        let packet = field(&layers["frame"], "frame.number").context("a packet without a number")?;
        let [from, to] = ends(layers).with_context(|| format!("packet {packet} without ends"))?;
        // A packet may be the end of several frames.
        let first = dissected.len();
        for layer in each(&layers["kafka"]) {
            let read = Dissected::read(layer, packet, from, to);
            dissected.push(read.with_context(|| format!("packet {packet} is not whole: {layer}"))?);
        }
        // tshark does not say which frame is malformed. Frames of unknown versions may be.
        let frames = &mut dissected[first..];
        if layers.get("_ws.malformed").is_some() && frames.iter().all(|frame| frame.is_known) {
            frames.iter_mut().for_each(|frame| frame.is_malformed = true);
        }
    }
    Ok(dissected)
}

/// Returns the ports that connections were opened to.
pub(crate) fn ports(file: &Path) -> Result<BTreeSet<u16>> {
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(file).args(["-Y", "tcp.flags.syn == 1 && tcp.flags.ack == 0"]);
    let output = run(tshark.args(["-T", "fields", "-e", "tcp.dstport"]), REMEDY)?;
    let lines = String::from_utf8(output.stdout)?;
    lines.lines().map(|port| port.parse().context("a port")).collect()
}

impl Dissected {
    fn read(layer: &Value, packet: u64, from: SocketAddr, to: SocketAddr) -> Option<Self> {
        let api = |key, version| Some((field(layer, key)?, field(layer, version)?));
        let is_unknown =
            |name: &str| layer.get(format!("{name}_tree")).is_some_and(|tree| tree.get("_ws.expert").is_some());
        let marks = ["kafka.request_key", "kafka.response_key", "kafka.api_key", "kafka.request.version"];
        let marks = marks.into_iter().chain(["kafka.response.version", "kafka.api_version"]);
        let mut errors = Vec::new();
        error_codes(layer, "kafka.error", &mut errors);
        Some(Self {
            packet,
            from,
            to,
            bytes: field::<u64>(layer, "kafka.len")?.checked_add(4)?,
            correlation_id: field(layer, "kafka.correlation_id")?,
            api: api("kafka.request_key", "kafka.request.version")
                .or_else(|| api("kafka.response_key", "kafka.response.version")),
            is_known: !marks.into_iter().any(is_unknown),
            is_malformed: layer.get("_ws.malformed").is_some(),
            errors,
        })
    }
}

/// Collects all values of this name in an object, at any depth, in order.
pub(crate) fn error_codes(value: &Value, name: &str, found: &mut Vec<i16>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                match key == name {
                    true => found.extend(each(value).iter().filter_map(number::<i16>)),
                    false => error_codes(value, name, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| error_codes(value, name, found)),
        _ => {}
    }
}

fn ends(layers: &Value) -> Option<[SocketAddr; 2]> {
    let end = |address, port| {
        let address: IpAddr = field(&layers["ip"], address)?;
        Some(SocketAddr::new(address, field(&layers["tcp"], port)?))
    };
    Some([end("ip.src", "tcp.srcport")?, end("ip.dst", "tcp.dstport")?])
}

fn field<T: FromStr>(layer: &Value, name: &str) -> Option<T> {
    layer.get(name)?.as_str()?.parse().ok()
}

/// Parses a number; tshark writes numbers as strings, we do not.
fn number<T: FromStr>(value: &Value) -> Option<T> {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned).parse().ok()
}

/// Returns the elements of a field in tshark's JSON, which may be missing, a single value or an array.
fn each(value: &Value) -> &[Value] {
    match value {
        Value::Null => &[],
        Value::Array(values) => values,
        one => std::slice::from_ref(one),
    }
}
