//! Writes the seeds of every corpus from testdata: `cargo run -p kurier-fuzz --bin seeds`, then `make fuzz-minimise`.

use std::fs;
use std::path::Path;

use kurier_compression::{Compression, CompressionType};
use kurier_protocol::messages::ProduceRequest;
use kurier_protocol::record_batch::{Header, NewRecord, RecordBatchBuilder, Stamp};
use kurier_protocol::{APIS, write_request};

fn main() -> std::io::Result<()> {
    messages()?;
    frames()?;
    batches()
}

fn write(target: &str, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), bytes)
}

/// Every golden body, behind the two bytes that name its API, direction and version.
fn messages() -> std::io::Result<()> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/golden");
    let versions = fs::read_to_string(golden.join("versions.tsv"))?;
    for line in versions.lines().skip(1) {
        let [folder, key, ..] = *line.split('\t').collect::<Vec<_>>() else { continue };
        let Some(index) = APIS.iter().position(|api| api.key().to_string() == key) else { continue };
        let (api, index) = (&APIS[index], u8::try_from(index).expect("there are few APIs"));
        let folder = golden.join(folder);
        for (which, side) in [(index, "response"), (index | 0x80, "request")] {
            for (offset, version) in (0u8..).zip(api.versions()) {
                for case in ["full", "nulls"] {
                    let file = format!("{side}-v{version}-{case}");
                    if let Ok(body) = fs::read(folder.join(&file).with_extension("bin")) {
                        write("message", &format!("{}-{file}", api.name()), &[&[which, offset], &body[..]].concat())?;
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
        write_request(&ProduceRequest::default(), version, version.into(), Some("kurier"), &mut wire)
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
        let which = kind.id() - 1;
        write("decompress", kind.name(), &[&[which], &compressed.body()[0][..]].concat())?;
        let mut long = Vec::new();
        codec.compress(&[&plain.repeat(400)], &mut long).expect("memory takes all of it");
        write("decompress", &format!("{kind}-long"), &[&[which], &long[..]].concat())?;
    }
    let bare = snappy_block();
    write("decompress", "snappy-bare", &[&[CompressionType::Snappy.id() - 1], &bare[..]].concat())?;
    Ok(())
}

/// "wikipedia" twice, as one bare block: a length of 18, a literal of 9, a copy of 9.
fn snappy_block() -> Vec<u8> {
    [&[18, 8 << 2][..], b"wikipedia", &[(9 - 4) << 2 | 1, 9]].concat()
}
