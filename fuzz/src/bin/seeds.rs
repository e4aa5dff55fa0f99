//! Generator of the seed inputs: writes every corpus from testdata. Run `cargo run -p kurier-fuzz --bin seeds`, then
//! `make fuzz-minimise`.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use kurier::Config;
use kurier_capture::{Reader, Side};
use kurier_cli::format::{Entry, Format, Header as EntryHeader};
use kurier_compression::{Compression, CompressionType};
use kurier_fuzz::TEMPLATES;
use kurier_fuzz::security::{LAST, NONCE_TEXT};
use kurier_protocol::messages::ProduceRequest;
use kurier_protocol::record_batch::{Header, NewRecord, RecordBatchBuilder, Stamp};
use kurier_protocol::{APIS, write_request};

fn main() -> std::io::Result<()> {
    messages()?;
    frames()?;
    batches()?;
    captures()?;
    settings()?;
    formats()?;
    security()?;
    conversations()?;
    certificates()
}

fn write(target: &str, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), bytes)
}

/// Writes a body behind the two bytes that name its API, side and version.
fn message(name: &str, api: usize, side: Side, version: u8, body: &[u8]) -> std::io::Result<()> {
    let api = u8::try_from(api).expect("there are few APIs");
    match side {
        Side::Server => write("message", name, &[&[api, version], body].concat()),
        Side::Client => {
            write("message", name, &[&[api | 0x80, version], body].concat())?;
            write("request", name, &[&[api, version], body].concat())
        }
    }
}

/// Writes every golden body.
fn messages() -> std::io::Result<()> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/golden");
    let versions = fs::read_to_string(golden.join("versions.tsv"))?;
    for line in versions.lines().skip(1) {
        let [folder, key, ..] = *line.split('\t').collect::<Vec<_>>() else { continue };
        let Some(index) = APIS.iter().position(|api| api.key().to_string() == key) else { continue };
        let (api, folder) = (&APIS[index], golden.join(folder));
        for (side, file_side) in [(Side::Server, "response"), (Side::Client, "request")] {
            for (offset, version) in (0u8..).zip(api.versions()) {
                for case in ["full", "nulls"] {
                    let file = format!("{file_side}-v{version}-{case}");
                    if let Ok(body) = fs::read(folder.join(&file).with_extension("bin")) {
                        message(&format!("{}-{file}", api.name()), index, side, offset, &body)?;
                    }
                }
            }
        }
    }
    Ok(())
}

fn frames() -> std::io::Result<()> {
    let mut wire = Vec::new();
    for version in [3, 9] {
        write_request(&ProduceRequest::default(), version, i32::from(version), Some("kurier"), &mut wire)
            .expect("a default");
    }
    let chunks =
        |size: u8| wire.chunks(size.into()).flat_map(move |chunk| [&[size], chunk].concat()).collect::<Vec<u8>>();
    for size in [1, 5, 100] {
        write("frame", &format!("produce-in-{size}s"), &chunks(size))?;
    }
    write("frame", "tls", b"\x07\x15\x03\x03\x00\x02\x02\x46")?;
    write("frame", "http", b"\x0cHTTP/1.1 400")
}

fn batches() -> std::io::Result<()> {
    let headers = [Header { key: b"trace", value: Some(b"ab12") }, Header { key: b"", value: None }];
    let mut builder = RecordBatchBuilder::new();
    for (timestamp, key) in [(1_700_000_000_000, Some(&b"key"[..])), (1_700_000_000_900, None), (0, Some(b""))] {
        let record = NewRecord { timestamp, key, value: Some(b"value value value value"), headers: &headers };
        builder.append(&record).expect("three records fit");
    }
    let sealed = builder.seal().expect("it has three");
    let plain = sealed.stamp(&Stamp::NONE).expect("three records fit").to_bytes();
    write("record_batch", "plain", &plain)?;
    write("record_batch", "twice", &[&plain[..], &plain[..]].concat())?;
    for kind in CompressionType::ALL.into_iter().skip(1) {
        let mut codec = Compression::new(kind).codec().expect("every codec is built");
        let compressed = codec.compress_batch(sealed.clone()).expect("memory takes all of it");
        write(kind.name(), "batch", &compressed.body()[0])?;
        let mut long = Vec::new();
        codec.compress(&[&plain.repeat(400)], &mut long).expect("memory takes all of it");
        write(kind.name(), "long", &long)?;
    }
    write("snappy", "bare", &snappy_block())?;
    // Keys, values, headers and timestamps, each by its length.
    write("records", "two", b"\x20\x01k\x01v\x01h\x02ab\x00\x00\x08\x00\x00\x01\x8b\xcf\xe5\x68\x00\x01\x00\x03xyz\x00")
}

/// Writes the beginnings of captures, in both formats, and all captured requests and responses.
fn captures() -> std::io::Result<()> {
    const BEGINNING_BYTES: usize = 2 << 10;
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/captures");
    for entry in fs::read_dir(captures)? {
        let path = entry?.path();
        let (Some(name), true) = (path.file_stem(), path.extension().is_some_and(|extension| extension == "pcap"))
        else {
            continue;
        };
        let (name, file) = (name.to_string_lossy(), fs::read(&path)?);
        let beginning = &file[..file.len().min(BEGINNING_BYTES)];
        write("pcap", &name, beginning)?;
        write("pcap", &format!("{name}-ng"), &pcapng(beginning))?;
        let reader = Reader::new(&file[..]).expect("a capture");
        for frame in reader.map(|frame| frame.expect("a capture")) {
            let Ok(content) = frame.read() else { continue };
            let index = APIS.iter().position(|api| api.key() == content.api.key()).expect("it was read");
            let offset =
                u8::try_from(content.version - content.api.versions().start()).expect("there are few versions");
            let mut body = Vec::new();
            content.message.write(content.version, &mut body).expect("it was read");
            message(&format!("{name}-{}", frame.number), index, frame.side, offset, &body)?;
        }
    }
    Ok(())
}

/// Converts a pcap file to pcapng: a section, its interface, and a block per packet.
fn pcapng(pcap: &[u8]) -> Vec<u8> {
    let block = |kind: u32, body: &[u8]| {
        let padded = body.len().next_multiple_of(4);
        let total = u32::try_from(padded + 12).expect("it is small").to_le_bytes();
        [&kind.to_le_bytes(), &total, body, &[0; 3][..padded - body.len()], &total].concat()
    };
    let (header, mut packets) = pcap.split_at(24);
    let mut file = block(0x0a0d_0d0a, b"\x4d\x3c\x2b\x1a\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff");
    file.extend(block(1, &[&header[20..22], b"\0\0", &header[16..20]].concat()));
    while let Some((times, rest)) = packets.split_at_checked(16) {
        let len = times[8..12].try_into().map(u32::from_le_bytes).expect("four bytes");
        let Some((packet, rest)) = rest.split_at_checked(len.try_into().expect("it is small")) else { break };
        packets = rest;
        // Interface, time in two halves, both lengths.
        file.extend(block(6, &[b"\0\0\0\0\0\0\0\0", &times[..4], &times[8..12], &times[8..12], packet].concat()));
    }
    file
}

fn settings() -> std::io::Result<()> {
    let every: String = Config::default()
        .explain()
        .iter()
        .map(|one| format!("{}={}\n", one.key, one.value.as_deref().unwrap_or_default()))
        .collect();
    write("properties", "every", every.as_bytes())?;
    write("properties", "escapes", b"# a\n! b\nbootstrap.servers : a:1,\\\n  [::1]:2\nclient.id\\u0020=\\t\nacks 1")?;
    // A topic, a leader, a connection, records, responses.
    write("core", "zeros", &[0; 64])?;
    write("core", "numbers", &(0..=255).collect::<Vec<u8>>())
}

/// Writes every certificate and key in PEM.
fn certificates() -> std::io::Result<()> {
    for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/tls"))? {
        let path = file?.path();
        if let (Some("pem"), Some(name)) =
            (path.extension().and_then(OsStr::to_str), path.file_stem().and_then(OsStr::to_str))
        {
            write("pem_bundle", name, &fs::read(&path)?)?;
        }
    }
    Ok(())
}

/// Writes conversations: a node proves itself, renews sessions, or claims a proof.
fn conversations() -> std::io::Result<()> {
    const CONNECT: &[u8] = &[6];
    const SEND: &[u8] = &[7];
    // The answer to the oldest request of the first or the second connection, as the cluster gives it.
    const TRUE: &[u8] = &[0, 0, 0];
    const SECOND: &[u8] = &[0, 1, 0];
    // Success, with a signature that is not the node's.
    const FORGED: &[u8] = &[0, 0, 0xff, 2, 0, 0, 0, 0];
    const FOUR_SECONDS: &[u8] = &[11, 4];
    const BOB: &[u8] = &[9, 2];
    const CERTIFICATES: &[u8] = &[9, 3];
    let ready = [CONNECT, &TRUE.repeat(6)].concat();
    // The producer id comes first, then the connection to the leader.
    let second = [SEND, TRUE, CONNECT, &SECOND.repeat(7)].concat();
    let renewed = [FOUR_SECONDS, SEND, &TRUE.repeat(3), &SECOND.repeat(4)].concat();
    for (mechanism, name) in [(0, "scram"), (1, "plain")] {
        let begin = [mechanism, 40];
        let write = |case: &str, parts: &[&[u8]]| {
            write("sasl_conversation", &format!("{name}-{case}"), &[&begin, &parts.concat()[..]].concat())
        };
        write("ready", &[&ready, &second])?;
        write("renewed", &[&ready, &second, &renewed, &renewed])?;
        write("bob", &[&ready, &second, BOB, &ready, &second])?;
        write("certificates", &[&ready, &second, SEND, CERTIFICATES, SEND, SECOND, &ready, &second])?;
        write("forged", &[CONNECT, &TRUE.repeat(4), FORGED, TRUE, TRUE])?;
    }
    Ok(())
}

/// Writes records of every shape in every format, and a template inside its input.
fn formats() -> std::io::Result<()> {
    let header = |name: &'static str, value: Option<&'static [u8]>| EntryHeader {
        name: name.as_bytes().into(),
        value: value.map(Into::into),
    };
    let full = Entry {
        topic: Some("t"),
        offset: Some(5),
        partition: Some(3),
        timestamp: Some(1_700_000_000_000),
        key: Some(b"k\xff"[..].into()),
        value: Some("é\u{1}".as_bytes().into()),
        headers: vec![header("a", Some(b"1")), header("a", None), header("", Some(b"")), header("b", Some(b"\xfe"))],
    };
    let empty = Entry { key: Some(b""[..].into()), value: Some(b""[..].into()), ..Entry::default() };
    let entries = [full, empty, Entry::default()];
    let printed = |format: &Format| {
        let mut printed = Vec::new();
        for entry in &entries {
            format.write(entry, &mut printed).expect("memory takes all of it");
        }
        printed
    };
    write("formats", "lines", b"\x00\x05k::v\n::\n\nnone\nk::v::w")?;
    write("formats", "json", &[&b"\x01\x05"[..], &printed(&Format::Json)].concat())?;
    write("formats", "frames", &[&b"\x02\x05"[..], &printed(&Format::Frames)].concat())?;
    let own = r"%p %T;%K %k%S %s%h\n";
    let format: Format = own.parse().expect("a template");
    write("formats", "template", &[&b"\x03\x05"[..], own.as_bytes(), b"\0", &printed(&format)].concat())?;
    for (which, template) in (8u8..).zip(TEMPLATES) {
        let format: Format = template.parse().expect("a template");
        write("formats", &format!("template-{which}"), &[&[which, 5], &printed(&format)[..]].concat())?;
    }
    Ok(())
}

/// Writes messages of brokers, and every JAAS entry that Java read.
fn security() -> std::io::Result<()> {
    let firsts = [
        "r={},s=c2FsdA==,i=4096",
        "r={}x,s=c2FsdA==,i=4096",
        "r={}x,s=QSXCR+Q6sek8bf92,i=65536,x=1",
        "r={}x,s=c2FsdA==,i=4095",
        "m=x,r={}x,s=c2FsdA==,i=4096",
        "e=unknown-user",
    ];
    for (index, first) in firsts.iter().enumerate() {
        write("scram_server", &format!("first-{index}"), format!("\0{}", first.replace("{}", NONCE_TEXT)).as_bytes())?;
    }
    for (index, last) in [LAST, &format!("{LAST},x=1"), "v=c2FsdA==", "e=invalid-proof"].iter().enumerate() {
        write("scram_server", &format!("last-{index}"), format!("\u{1}{last}").as_bytes())?;
    }
    write("oauth", "empty", b"")?;
    let reason = br#"{"status":"invalid_token","scope":"a","openid-configuration":"https://h/"}"#;
    write("oauth", "reason", reason)?;
    let claims =
        br#"{"sub":"a\"\u00e9\ud83d\ude00","iat":1795000000.5,"exp":1.8e9,"roles":[{"a":null},true,false,[]]}"#;
    write("oauth", "claims", claims)?;
    write("oauth", "token", b"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSIsImV4cCI6MTc5NTAwMDAwMH0.")?;
    write("oauth", "granted", br#"{"access_token":"e30.e30.","token_type":"Bearer","expires_in":3600}"#)?;
    write("oauth", "refused", br#"{"error":"invalid_client","error_description":"no client with hunter2"}"#)?;
    let entries = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/sasl/jaas.jsonl");
    for (index, line) in fs::read_to_string(entries)?.lines().enumerate() {
        let line: serde_json::Value = serde_json::from_str(line)?;
        write("jaas", &format!("entry-{index}"), line["config"].as_str().expect("each line has one").as_bytes())?;
    }
    Ok(())
}

/// "wikipedia" twice, as one bare block: a length of 18, a literal of 9, a copy of 9.
fn snappy_block() -> Vec<u8> {
    [&[18, 8 << 2][..], b"wikipedia", &[(9 - 4) << 2 | 1, 9]].concat()
}
