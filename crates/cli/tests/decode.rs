//! Tests of `kurier decode` and `kurier partition` from the command line: every golden body, errors and exit status.

mod command;

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use command::{KURIER, kurier, kurier_reading};
use kurier_capture::{Side, Writer};
use kurier_compression::{Compression, CompressionType};
use kurier_partitioner::murmur2;
use kurier_protocol::messages::ProduceRequest;
use kurier_protocol::messages::produce::{PartitionProduceData, TopicProduceData};
use kurier_protocol::record_batch::{Header, NewRecord, RecordBatchBuilder, Stamp};
use kurier_protocol::{Api, write_request};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

/// Returns the output of `kurier decode`.
#[track_caller]
fn decoded(message: impl Into<Vec<u8>>, arguments: &[&str]) -> Value {
    kurier_reading(message, &[&["decode"], arguments].concat()).ends(0).printed.parse().unwrap()
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden")
}

/// Returns the golden folders, each with its API.
fn folders() -> Vec<(String, &'static Api)> {
    let versions = fs::read_to_string(golden().join("versions.tsv")).unwrap();
    let folder = |line: &str| {
        let mut columns = line.split('\t');
        let folder = columns.next()?.to_owned();
        Some((folder, Api::of(columns.next()?.parse().ok()?)?))
    };
    versions.lines().filter_map(folder).collect()
}

#[test]
fn every_golden_body_is_printed_as_java_prints_it() {
    let mut count = 0;
    for (folder, api) in folders() {
        for version in api.versions() {
            for side in ["request", "response"] {
                for case in ["default", "full", "nulls"] {
                    let file = golden().join(&folder).join(format!("{side}-v{version}-{case}.bin"));
                    // ApiVersions 5 came with Kafka 4.4, and some cases do not exist.
                    let Ok(expected) = fs::read(file.with_extension("json")) else { continue };
                    let version = version.to_string();
                    let (side, path) = (format!("--{side}"), file.to_str().unwrap());
                    let printed = decoded("", &["--secrets", "--api", api.name(), "--version", &version, &side, path]);
                    assert_eq!(printed, serde_json::from_slice::<Value>(&expected).unwrap(), "{}", file.display());
                    count += 1;
                }
            }
        }
    }
    assert!(count >= 563, "{count} golden bodies");
}

/// Encodes a Produce request, header and body, with one batch of two records.
fn produce_request(kind: CompressionType) -> Vec<u8> {
    let mut builder = RecordBatchBuilder::new();
    let headers = [Header { key: b"trace", value: Some(b"ab12") }, Header { key: b"trace", value: None }];
    builder
        .append(&NewRecord {
            timestamp: 1_700_000_000_000,
            key: Some("키".as_bytes()),
            value: Some(b"v"),
            headers: &headers,
        })
        .unwrap();
    builder
        .append(&NewRecord { timestamp: 1_700_000_000_007, key: None, value: Some(b"\xff\xfe"), headers: &[] })
        .unwrap();
    let sealed = Compression::new(kind).codec().unwrap().compress_batch(builder.seal().unwrap()).unwrap();
    let records = sealed.stamp(&Stamp::NONE).unwrap();

    let partition = PartitionProduceData { index: 3, records: Some(records) };
    let topic = TopicProduceData { name: "orders".to_owned(), partition_data: vec![partition], ..Default::default() };
    let request = ProduceRequest { acks: -1, timeout_ms: 1500, topic_data: vec![topic], ..Default::default() };
    let mut frame = Vec::new();
    write_request(&request, 9, 7, Some("me"), &mut frame).unwrap();
    frame.split_off(4)
}

#[test]
fn header_and_records_are_printed_for_every_codec() {
    for kind in CompressionType::ALL {
        let request = produce_request(kind);
        let printed = decoded(request, &["--api", "produce", "--version", "9", "--request", "--header", "-"]);
        assert_eq!(
            printed["header"],
            json!({ "requestApiKey": 0, "requestApiVersion": 9, "correlationId": 7, "clientId": "me" })
        );
        assert_eq!((&printed["acks"], &printed["timeoutMs"]), (&json!(-1), &json!(1500)));
        let partition = &printed["topicData"][0]["partitionData"][0];
        assert!(partition["recordsSizeInBytes"].as_u64().unwrap() > 61);
        let batch = &partition["records"][0];
        assert_eq!((&batch["compression"], &batch["recordCount"]), (&json!(kind.name()), &json!(2)));
        assert_eq!(
            batch["records"],
            json!([
                {
                    "offset": 0, "timestamp": 1_700_000_000_000i64, "key": "키", "value": "v",
                    "headers": [{ "key": "trace", "value": "ab12" }, { "key": "trace", "value": null }],
                },
                { "offset": 1, "timestamp": 1_700_000_000_007i64, "key": null, "value": { "base64": "//4=" }, "headers": [] },
            ])
        );
    }
}

#[test]
fn damaged_batch_is_printed_with_the_reason() {
    let mut request = produce_request(CompressionType::None);
    let last = request.len() - 6;
    request[last] ^= 1;
    let printed = decoded(request, &["--api", "produce", "--version", "9", "--request", "--header", "-"]);
    let error = printed["topicData"][0]["partitionData"][0]["records"][0]["error"].as_str().unwrap();
    assert!(error.starts_with("RecordBatch v2: the checksum is"), "{error}");
}

#[test]
fn an_answer_of_version_0_to_a_version_too_new_is_read() {
    // A Kafka 4.3.1 broker's response to ApiVersions 5.
    let body = [0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4];
    let printed = decoded(body, &["--api", "ApiVersions", "--version", "5", "--response", "-"]);
    assert_eq!(printed, json!({ "errorCode": 35, "apiKeys": [{ "apiKey": 18, "minVersion": 0, "maxVersion": 4 }] }));
}

#[test]
fn closed_pipe_is_no_failure() {
    let mut child = Command::new(KURIER)
        .args(["decode", "--api", "SaslHandshake", "--version", "0", "--response", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The output is larger than a pipe's buffer, and its last part is never read.
    let many = [&[0, 0, 0, 0, 0x4e, 0x20][..], &b"\0\x04abcd".repeat(20_000)].concat();
    child.stdin.take().unwrap().write_all(&many).unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 100]).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(0), String::new()));
}

#[test]
fn errors_name_reason_and_remedy() {
    let file = golden().join("metadata/response-v9-full.bin");
    let file = file.to_str().unwrap();
    let decode = |api: &str, version: &str, file: &str| {
        kurier(&["decode", "--api", api, "--version", version, "--response", file])
    };
    let says = [file, "MetadataResponse v8", "at byte", "its versions are 0 to 13", "--header"];
    decode("Metadata", "8", file).fails(1).says(&says);
    let says = ["this version is not supported", "its versions are 0 to 13"];
    decode("Metadata", "99", file).fails(1).says(&says);
    decode("Metadata", "9", "no-such-file").fails(2).says(&["no-such-file cannot be read", "No such file"]);
    decode("Meta", "9", file).fails(2).says(&["--api", "known are Produce (0), Fetch"]);
    kurier(&["decode", "--api", "Metadata", "--version", "9", file]).fails(2).says(&["--request|--response"]);
    let partition = |arguments: &[&str]| kurier(&[&["partition", "--partitions"], arguments].concat()).fails(2);
    partition(&["0", "a"]).says(&["--partitions"]);
    partition(&["3", "--partitioner", "md5", "a"]).says(&["known are java, murmur2_random"]);
    partition(&["3"]).says(&["<KEY>"]);
}

#[test]
fn api_option_accepts_any_spelling_or_the_key() {
    let file = golden().join("api_versions/response-v3-full.bin");
    let file = file.to_str().unwrap();
    let decode = |api: &str| kurier(&["decode", "--api", api, "--version", "3", "--response", file]);
    let printed = decode("ApiVersions").ends(0).printed;
    for api in ["apiversions", "API_VERSIONS", "api-versions", "Api-Versions", "18"] {
        decode(api).prints(&printed);
    }
    for api in ["", "-", "Api Versions", "999", "99999"] {
        decode(api).fails(2).says(&["known are Produce (0), Fetch (1)", "ApiVersions (18)"]);
    }
}

#[test]
fn header_of_another_api_is_refused() {
    let arguments = ["decode", "--api", "Metadata", "--version", "9", "--request", "--header", "-"];
    let ran = kurier_reading(produce_request(CompressionType::None), &arguments);
    ran.fails(1).says(&["holds a request of Produce v9, not of Metadata v9"]);
}

#[test]
fn every_partitioner_places_keys() {
    let placed = |partitions: &str, arguments: &[&str], lines: &str| {
        kurier(&[&["partition", "--partitions", partitions], arguments].concat()).prints(lines);
    };
    placed("10", &["abc", "", "한국어"], "abc\t7\n\t1\n한국어\t4\n");
    placed("10", &["--partitioner", "murmur2", "abc"], "abc\t7\n");
    placed("100", &["--partitioner", "consistent", "D"], "D\t92\n");
    placed("100", &["--partitioner", "fnv1a_random", "D"], "D\t41\n");
    placed("10", &["--partitioner", "consistent_random", ""], "\tany\n");
}

#[test]
fn key_file_may_contain_any_bytes() {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(b"abc").unwrap();
    let path = file.path().to_str().unwrap();
    let partition = ["partition", "--partitions", "10", "--key-file"];
    let run = |input: &[u8], more: &[&str]| kurier_reading(input, &[&partition, more].concat());
    run(b"", &[path]).prints(&format!("{path}\t7\n"));
    run("한국어".as_bytes(), &["-", "--key-file", path, "abc"]).prints(&format!("abc\t7\n-\t4\n{path}\t7\n"));
    // A newline at the file's end belongs to the key, as do bytes that are not UTF-8.
    let binary = |key: &[u8]| format!("-\t{}\n", (murmur2(key) & 0x7fff_ffff) % 10);
    for key in [&b"abc\n"[..], b"\xff\0\xfe", b"", b"\n\n"] {
        run(key, &["-"]).prints(&binary(key));
    }
    run(b"", &["no/such"]).fails(2).says(&["--key-file no/such cannot be read: No such file"]);
    run(b"", &["-", "--key-file", "-"]).fails(2).says(&["standard input can be read only once"]);
}

fn captured(name: &str) -> String {
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/captures");
    captures.join(format!("{name}.pcap")).to_str().unwrap().to_owned()
}

/// Returns the output of `kurier decode` for a capture, and its messages.
fn capture(arguments: &[&str]) -> (Vec<Value>, String) {
    let ran = kurier(&[&["decode"], arguments].concat()).ends(0);
    (ran.printed.lines().map(|line| line.parse().unwrap()).collect(), ran.said)
}

#[test]
fn a_capture_is_printed_frame_by_frame() {
    let (frames, said) = capture(&[&captured("rskafka-0.6.0_kafka-4.3.1_none")]);
    assert_eq!((frames.len(), said.as_str()), (22, ""));
    let produced: Vec<_> =
        frames.iter().filter(|frame| frame["api"] == "Produce" && frame["direction"] == "request").collect();
    let batches = produced.iter().flat_map(|frame| frame["body"]["topicData"].as_array().unwrap());
    let batches = batches.flat_map(|topic| topic["partitionData"].as_array().unwrap());
    let records = batches.map(|partition| partition["records"][0]["records"].as_array().unwrap().len());
    assert_eq!(records.sum::<usize>(), 150);
    for frame in frames.iter().filter(|frame| frame["direction"] == "response") {
        let request = &frames[usize::try_from(frame["answers"].as_u64().unwrap()).unwrap()];
        assert_eq!(request["correlationId"], frame["correlationId"]);
        assert!(request["time"].as_f64().unwrap() > 1.7e9);
    }
}

#[test]
fn inter_broker_traffic_is_printed_as_bytes_and_filtered_by_port() {
    let path = captured("franz-go-1.22.2_kafka-4.3.1_leader-moves");
    let (frames, said) = capture(&[&path]);
    assert!(frames.iter().any(|frame| frame["apiKey"] == 1 && frame["raw"].is_string() && frame["unread"].is_string()));
    assert!(said.contains("264 frames in 10 connections; 42 bytes belong to none"), "{said}");
    let (frames, said) = capture(&["--port", "19102", "--port", "19112", &path]);
    assert_eq!(said, "");
    assert!(frames.iter().all(|frame| !frame["server"].as_str().unwrap().ends_with(":19092")));
}

#[test]
fn sasl_tokens_are_masked_without_secrets_option() {
    let path = captured("kcat-librdkafka-2.0.2_kafka-4.3.1_sasl-plain");
    let token = |arguments: &[&str]| {
        let (frames, _) = capture(arguments);
        let request = frames.into_iter().find(|frame| frame["api"] == "SaslAuthenticate").unwrap();
        request["body"]["authBytes"].as_str().unwrap().to_owned()
    };
    assert_eq!(token(&[&path]), "(19 bytes, masked)");
    assert_eq!(token(&["--secrets", &path]), "AGFsaWNlAGFsaWNlLXNlY3JldA==");
}

#[test]
fn token_of_one_message_is_masked_without_secrets_option() {
    // The token, and for a response also the error.
    for (side, before) in [("--request", &b""[..]), ("--response", b"\0\0\xff\xff")] {
        let message = [before, b"\0\0\0\x0d\0alice\0s3cret"].concat();
        let arguments = ["--api", "SaslAuthenticate", "--version", "0", side, "-"];
        assert_eq!(decoded(&message[..], &arguments)["authBytes"], "(13 bytes, masked)");
        let printed = decoded(message, &[&["--secrets"], &arguments[..]].concat());
        assert_eq!(printed["authBytes"], "AGFsaWNlAHMzY3JldA==");
    }
}

/// Returns a request's header without a client id, and then these bytes.
fn raw_request(api_key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    [&api_key.to_be_bytes()[..], &version.to_be_bytes(), &7_i32.to_be_bytes(), &[0xff, 0xff], body].concat()
}

/// Returns what `kurier decode` prints of a connection with these two frames.
fn printed_of(request: &[u8], response: &[u8], options: &[&str]) -> String {
    let mut file = Vec::new();
    let mut writer = Writer::new(&mut file).unwrap();
    let time = Duration::from_secs(1);
    let (client, server) = ("10.0.0.7:40000".parse().unwrap(), "10.0.0.1:9092".parse().unwrap());
    let mut connection = writer.open(client, server, time).unwrap();
    for (side, frame) in [(Side::Client, request), (Side::Server, response)] {
        let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
        writer.said(&mut connection, side, &[&length, frame].concat(), time).unwrap();
    }
    writer.close(&mut connection, time).unwrap();
    kurier_reading(file, &[&["decode"], options, &["-"]].concat()).ends(0).printed
}

#[test]
fn bytes_that_may_contain_passwords_are_masked_without_secrets_option() {
    let password = b"\0alice\0s3cret-s3cret";
    let response = [&7_i32.to_be_bytes()[..], password].concat();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let secret = hex(b"s3cret");
    for (api_key, is_masked) in
        [36, 32, 33, 38, 39, 40, 41, 44, 51, 58].map(|key| (key, true)).into_iter().chain([(48, false), (50, false)])
    {
        // SaslAuthenticate v0 cannot have a negative length, so its body cannot be read.
        let request = raw_request(api_key, 0, &[b"\xff\xff\xff\xff", &password[..]].concat());
        let printed = printed_of(&request, &response, &[]);
        assert_eq!(printed.matches(&secret).count(), if is_masked { 0 } else { 4 }, "{api_key}: {printed}");
        assert_eq!(printed.contains("\"raw\":\"(34 bytes, masked)\""), is_masked, "{api_key}: {printed}");
        let printed = printed_of(&request, &response, &["--secrets"]);
        assert_eq!(printed.matches(&secret).count(), 4, "{api_key}: {printed}");
    }
    // Bare tokens, as after a handshake that was not captured.
    for token in [&password[..], b"\0a\0s3cret-s3cret", b"n,,n=alice,r=s3cret,s3cret"] {
        let printed = printed_of(token, b"r=s3cret,s=s3cret", &[]);
        assert!(printed.matches("masked").count() == 2 && !printed.contains(&secret), "{printed}");
        assert!(!printed.contains("apiKey") && !printed.contains("correlationId"), "{printed}");
        let printed = printed_of(token, b"r=s3cret,s=s3cret", &["--secrets"]);
        assert_eq!(printed.matches(&secret).count(), 4, "{printed}");
    }
}

#[test]
fn file_that_is_no_capture_is_refused() {
    kurier(&["decode", "Cargo.toml"]).fails(1).says(&["Cargo.toml", "the file is not a capture", "tcpdump -w"]);
}
