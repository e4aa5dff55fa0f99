//! Tests of `kurier consume` from the command line against an in-memory cluster: output, start and end, failures.

mod command;

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};

use bytes::Bytes;
use command::{KURIER, Ran, Running, answering, kill, kurier, nobody, read_frame, server, start};
use kurier_broker::{Broker, Fault, FaultKind, Reply};
use kurier_compression::{Compression, CompressionType};
use kurier_protocol::messages::api_versions::ApiVersion;
use kurier_protocol::messages::produce::{PartitionProduceData, TopicProduceData};
use kurier_protocol::messages::{ApiVersionsResponse, ProduceRequest};
use kurier_protocol::record_batch::{Header, NewRecord, RecordBatchBuilder, Stamp};
use kurier_protocol::{ErrorCode, RequestHeader, read_response, write_request, write_response};
use nix::sys::signal::Signal;

const NOW: i64 = 1_700_000_000_000;

/// Starts three nodes and a topic of six partitions.
fn three_nodes() -> Running {
    start(Broker::builder().nodes(3).topic("events", 6))
}

impl Running {
    /// Appends a batch to a partition of "events", on its leader.
    fn append(&self, partition: i32, kind: CompressionType, records: &[NewRecord<'_>]) {
        let mut builder = RecordBatchBuilder::new();
        for record in records {
            builder.append(record).unwrap();
        }
        let sealed = Compression::new(kind).codec().unwrap().compress_batch(builder.seal().unwrap()).unwrap();
        let data = PartitionProduceData { index: partition, records: Some(sealed.stamp(&Stamp::NONE).unwrap()) };
        let topic = TopicProduceData { name: "events".to_owned(), partition_data: vec![data], ..Default::default() };
        let request = ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: vec![topic], ..Default::default() };
        let mut frame = Vec::new();
        write_request(&request, 9, 1, Some("test"), &mut frame).unwrap();
        let frame = Bytes::from(frame).slice(4..);
        let reply = self.broker.with_cluster(|cluster| {
            let leader = cluster.leader("events", partition).unwrap();
            cluster.handle(leader, &frame, NOW, false)
        });
        let Reply::Send { frame, .. } = reply else { panic!("{reply:?}") };
        let (_, response) = read_response::<ProduceRequest>(&frame.slice(4..), 9).unwrap();
        assert_eq!(response.responses[0].partition_responses[0].error_code, ErrorCode::NONE);
    }

    /// Appends values in one batch without compression.
    fn append_values(&self, partition: i32, values: &[&str]) {
        let record = |value| NewRecord { timestamp: NOW, value: Some(value), ..Default::default() };
        let records: Vec<_> = values.iter().map(|value| record(value.as_bytes())).collect();
        self.append(partition, CompressionType::None, &records);
    }

    /// Runs `kurier consume` on "events".
    fn consume(&self, arguments: &[&str]) -> Ran {
        consume(&[&["-b", &self.broker.bootstrap_servers(), "-t", "events"], arguments].concat())
    }
}

fn consume(arguments: &[&str]) -> Ran {
    // Retries need no backoff here.
    kurier(&[&["consume", "-X", "retry.backoff.ms=0"], arguments].concat())
}

#[test]
fn every_codec_is_read_in_partition_order() {
    let cluster = three_nodes();
    let mut expected = Vec::new();
    for (round, kind) in CompressionType::ALL.iter().cycle().take(20).enumerate() {
        for partition in 0..6 {
            let values: Vec<String> = (0..round * 7 + 1).map(|n| format!("{partition} {round} {n} é키🙂")).collect();
            let records: Vec<_> = values
                .iter()
                .map(|value| NewRecord { timestamp: NOW, value: Some(value.as_bytes()), ..Default::default() })
                .collect();
            cluster.append(partition, *kind, &records);
            expected.extend(values);
        }
    }
    let ran = cluster.consume(&["--exit-at-end"]);
    assert_eq!((ran.said.as_str(), ran.status), ("", 0));
    // The sort is stable, so the order within each partition remains.
    let by_partition = |mut lines: Vec<String>| {
        lines.sort_by(|one, other| one[..1].cmp(&other[..1]));
        lines
    };
    assert_eq!(by_partition(ran.printed.lines().map(str::to_owned).collect()), by_partition(expected));
}

#[test]
fn a_batch_that_gives_more_than_64_mib_is_refused() {
    let cluster = start(Broker::builder().topic("events", 1));
    let value = vec![0; 1 << 20];
    let record = NewRecord { timestamp: NOW, value: Some(&value), ..Default::default() };
    cluster.append(0, CompressionType::Gzip, &[record; 64]);
    let ran = cluster.consume(&["-e"]).fails(1);
    ran.says(&["events-0 after offset 0: the gzip data holds more than the limit of 67108864 bytes"]);
}

#[test]
fn format_controls_the_output() {
    let cluster = start(Broker::builder().topic("events", 1));
    let headers = [Header { key: b"trace", value: Some(b"ab12") }, Header { key: b"none", value: None }];
    cluster.append(
        0,
        CompressionType::Lz4,
        &[
            NewRecord { timestamp: NOW, key: Some("키".as_bytes()), value: Some(b"one"), headers: &headers },
            NewRecord { timestamp: NOW + 7, key: None, value: Some(b""), headers: &[] },
            NewRecord { timestamp: NOW, key: Some(b""), value: None, headers: &[] },
        ],
    );
    cluster.consume(&["-e", "--format", r"%t[%p]@%o %T %k(%K)=%s(%S) {%h} 100%%\x3b\n"]).prints(
        "events[0]@0 1700000000000 키(3)=one(3) {trace=ab12,none=NULL} 100%;\n\
         events[0]@1 1700000000007 (-1)=(0) {} 100%;\n\
         events[0]@2 1700000000000 (0)=(-1) {} 100%;\n",
    );
}

#[test]
fn start_and_end_options_are_followed() {
    let cluster = start(Broker::builder().topic("events", 2));
    cluster.append_values(0, &["a", "b", "c"]);
    cluster.append_values(0, &["d"]);
    cluster.append_values(1, &["x"]);
    let partition_0 = ["-p", "0", "-e"];
    let of_0 = |more: &[&str]| cluster.consume(&[&partition_0, more].concat());
    of_0(&[]).prints("a\nb\nc\nd\n");
    of_0(&["-o", "beginning", "-c", "2"]).prints("a\nb\n");
    of_0(&["-o", "1"]).prints("b\nc\nd\n");
    of_0(&["-o", "end"]).prints("");
    of_0(&["-o", "4"]).prints("");
    of_0(&["-c", "0"]).prints("");
    of_0(&["-o", "9"]).prints("").says(&["events-0 has the offsets from 0 to 4, not 9"]);
    // Without --exit-at-end, only the count ends the command.
    cluster.consume(&["-p", "1", "-c", "1"]).prints("x\n");
    cluster
        .consume(&["-p", "2", "-e"])
        .fails(1)
        .says(&["\"events\" has no partition 2: it has 2 partitions, numbers 0 to 1"]);
    let cluster = start(Broker::builder().topic("events", 1));
    cluster.consume(&["-p", "7", "-e"]).fails(1).says(&["\"events\" has no partition 7: it has 1 partition, number 0"]);
}

#[test]
fn temporary_failures_are_retried() {
    let faults = [
        ("Fetch", FaultKind::Error(ErrorCode::NOT_LEADER_OR_FOLLOWER), "returned NOT_LEADER_OR_FOLLOWER (6)"),
        ("Fetch", FaultKind::Error(ErrorCode::KAFKA_STORAGE_ERROR), "returned KAFKA_STORAGE_ERROR (56)"),
        ("Fetch", FaultKind::Error(ErrorCode::OFFSET_OUT_OF_RANGE), ""),
        ("Fetch", FaultKind::Close, "closed the connection instead of answering Fetch"),
        ("Fetch", FaultKind::Cut(30), "closed the connection instead of answering Fetch"),
        ("ListOffsets", FaultKind::Error(ErrorCode::LEADER_NOT_AVAILABLE), "returned LEADER_NOT_AVAILABLE (5)"),
        ("ListOffsets", FaultKind::CloseAfter, "closed the connection instead of answering ListOffsets"),
        // At the start, the command tries the next bootstrap server without a message.
        ("Metadata", FaultKind::Close, ""),
        ("ApiVersions", FaultKind::Cut(3), ""),
    ];
    for (api, kind, says) in faults {
        let cluster = three_nodes();
        for partition in 0..6 {
            cluster.append_values(partition, &["one", "two"]);
        }
        cluster.broker.add_fault(Fault::new(api, kind.clone()).times(2));
        let ran = cluster.consume(&["-e", "-f", r"%p %o %s\n"]).says(&[says]);
        assert_eq!(ran.status, 0, "{api} {kind:?}: {}", ran.said);
        let mut lines: Vec<_> = ran.printed.lines().map(str::to_owned).collect();
        lines.sort();
        let expected: Vec<_> = (0..6).flat_map(|p| [format!("{p} 0 one"), format!("{p} 1 two")]).collect();
        assert_eq!(lines, expected, "{api} {kind:?}");
    }
}

#[test]
fn permanent_failures_end_the_command() {
    let forever = |kind| Fault::new("Fetch", kind).times(usize::MAX);
    let cluster = three_nodes();
    cluster.append_values(3, &["one"]);
    cluster.broker.add_fault(forever(FaultKind::Error(ErrorCode::NOT_LEADER_OR_FOLLOWER)));
    cluster.consume(&["-e"]).fails(1).says(&["events-3 cannot be read, after 30 retries", "NOT_LEADER_OR_FOLLOWER"]);

    let cluster = three_nodes();
    cluster.append_values(3, &["one"]);
    cluster.broker.add_fault(forever(FaultKind::Error(ErrorCode::TOPIC_AUTHORIZATION_FAILED)));
    cluster.consume(&["-e"]).fails(1).says(&["events-3 cannot be read", "grant it the ACL"]);
}

#[test]
fn silent_broker_times_out() {
    let cluster = three_nodes();
    cluster.append_values(3, &["one"]);
    cluster.broker.add_fault(Fault::new("Fetch", FaultKind::Silence));
    let ran = cluster.consume(&["-e", "-X", "request.timeout.ms=300"]).prints("one\n");
    ran.says(&["no response to Fetch within 300 ms (request.timeout.ms)"]);
}

/// A running command and its lines as they arrive.
struct Tail {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    messages: BufReader<ChildStderr>,
}

fn tail(cluster: &Running, arguments: &[&str]) -> Tail {
    let mut child = Command::new(KURIER)
        .args(["consume", "-X", "retry.backoff.ms=1", "-t", "events", "-b", &cluster.broker.bootstrap_servers()])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let messages = BufReader::new(child.stderr.take().unwrap());
    Tail { child, lines, messages }
}

impl Tail {
    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    /// Waits for a message with this text.
    #[cfg(feature = "tls")]
    fn says(&mut self, text: &str) {
        let mut message = String::new();
        while !message.contains(text) {
            message.clear();
            assert!(self.messages.read_line(&mut message).unwrap() > 0, "no message with {text}");
        }
    }

    /// Ends the command by a signal. Returns its further messages and its status.
    fn ended_by(mut self, signal: Signal) -> (String, Option<i32>) {
        kill(&self.child, signal);
        let mut said = String::new();
        self.messages.read_to_string(&mut said).unwrap();
        (said, self.child.wait().unwrap().code())
    }
}

#[test]
fn reader_follows_the_leader_until_a_signal() {
    let cluster = three_nodes();
    cluster.append_values(0, &["one"]);
    let mut tail = tail(&cluster, &["-p", "0", "-f", r"%o %s\n"]);
    assert_eq!(tail.line(), "0 one");
    // The leadership moves, then the leader stops, then it returns and the other node stops.
    cluster.broker.with_cluster(|cluster| cluster.move_leader("events", 0, 2).unwrap());
    cluster.append_values(0, &["two"]);
    assert_eq!(tail.line(), "1 two");
    cluster.broker.stop_node(2);
    cluster.append_values(0, &["three"]);
    assert_eq!(tail.line(), "2 three");
    cluster.runtime.block_on(cluster.broker.start_node(2)).unwrap();
    cluster.broker.stop_node(1);
    cluster.broker.stop_node(3);
    cluster.append_values(0, &["four"]);
    assert_eq!(tail.line(), "3 four");
    let (said, status) = tail.ended_by(Signal::SIGINT);
    assert_eq!(status, Some(130), "{said}");
    assert!(said.contains("events-0: ") && said.contains("trying again"), "{said}");
}

#[test]
fn signal_cuts_no_line_and_interrupts_a_waiting_reader() {
    let cluster = three_nodes();
    cluster.append_values(0, &["one"]);
    let mut quiet = tail(&cluster, &["-X", "request.timeout.ms=600000"]);
    assert_eq!(quiet.line(), "one");
    cluster.broker.add_fault(Fault::new("Fetch", FaultKind::Silence).times(usize::MAX));
    assert_eq!(quiet.ended_by(Signal::SIGTERM), (String::new(), Some(143)));
}

#[test]
fn signal_ends_a_reader_whose_output_nobody_reads() {
    let cluster = start(Broker::builder().topic("events", 1));
    // The output is larger than the buffers of a pipe and of the test.
    let value = "x".repeat(1000);
    for _ in 0..200 {
        cluster.append_values(0, &[value.as_str(); 10]);
    }
    let mut tail = tail(&cluster, &[]);
    tail.line();
    assert_eq!(tail.ended_by(Signal::SIGTERM), (String::new(), Some(143)));
}

#[test]
fn closed_pipe_ends_the_reader() {
    let cluster = start(Broker::builder().topic("events", 1));
    // The output is larger than a pipe's buffer.
    let value = "x".repeat(1000);
    for _ in 0..20 {
        cluster.append_values(0, &[value.as_str(); 10]);
    }
    let mut tail = tail(&cluster, &[]);
    tail.line();
    let Tail { mut child, lines, mut messages } = tail;
    drop(lines);
    let mut said = String::new();
    messages.read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
}

#[test]
fn unusable_servers_are_named_with_their_causes() {
    let closing = server(|mut socket| {
        let _ = socket.read(&mut [0; 1000]);
    });
    let servers = [
        (nobody(), "Connection refused"),
        (answering(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "the peer speaks HTTP"),
        (answering(b"\x15\x03\x03\x00\x02\x02\x46"), "the peer answered with TLS: this is a TLS port; set"),
        (answering(b"SSH-2.0-OpenSSH_9.6\r\n"), "does not speak Kafka"),
        (answering(b"\0\x10\0\x01"), "a frame of 1048577 bytes is above the limit of 1048576"),
        (answering(b"\0\0\0\x0a\0\0\0\x09\0\x23\0\0\0\0"), "has correlation id 9"),
        (answering(b"\0\0\0\x05\0\0\0\0\0"), "its response to ApiVersions cannot be read: ApiVersionsResponse v3"),
        (
            closing,
            "closed the connection instead of answering ApiVersions: is it a Kafka broker, and is this its PLAINTEXT",
        ),
        // No name under .invalid has an address (RFC 6761).
        ("nosuchhost.invalid:9092".to_owned(), "the name cannot be resolved"),
    ];
    let list = servers.each_ref().map(|(server, _)| server.as_str()).join(", ");
    let ran = consume(&["-b", &list, "-t", "events"]).fails(1);
    for (server, cause) in &servers {
        let line = ran.said.lines().find(|line| line.contains(server.as_str()) && line.contains(cause));
        assert!(line.is_some(), "{server}: {cause}: {}", ran.said);
    }
    ran.says(&["cannot use any bootstrap server", "(-b)"]);

    let silent = answering(b"");
    let arguments = ["-b", &silent, "-t", "events", "-X", "request.timeout.ms=5"];
    consume(&arguments).fails(1).says(&["no response to ApiVersions within 5 ms (request.timeout.ms)"]);
}

#[test]
fn first_usable_server_is_used() {
    let cluster = three_nodes();
    cluster.append_values(0, &["one"]);
    let good = cluster.broker.bootstrap_servers();
    let list = format!("{}, {}, {good}", nobody(), answering(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    consume(&["-b", &list, "-t", "events", "-e"]).prints("one\n");
}

/// Starts a broker that supports these versions and refuses ApiVersions above version 0.
fn offering(versions: Vec<ApiVersion>) -> String {
    server(move |mut socket| {
        let mut answer = |expected: i16, response: ApiVersionsResponse| {
            let (header, _) = RequestHeader::read(&read_frame(&mut socket)).unwrap();
            assert_eq!((header.api_key, header.api_version), (18, expected));
            let mut frame = Vec::new();
            write_response(&response, 0, header.correlation_id, &mut frame).unwrap();
            socket.write_all(&frame).unwrap();
        };
        answer(3, ApiVersionsResponse { error_code: ErrorCode::UNSUPPORTED_VERSION, ..Default::default() });
        answer(0, ApiVersionsResponse { api_keys: versions.clone(), ..Default::default() });
        let _ = socket.read_to_end(&mut Vec::new());
    })
}

#[test]
fn server_that_closes_after_api_versions_may_want_sasl() {
    let cluster = three_nodes();
    cluster.broker.add_fault(Fault::new("Metadata", FaultKind::Close).times(usize::MAX));
    let said =
        "closed the connection instead of answering Metadata: does this listener require SASL? Set security.protocol";
    cluster.consume(&["-e"]).fails(1).says(&[said]);
}

#[test]
fn versions_are_negotiated_with_old_and_new_brokers() {
    let metadata = |min_version, max_version| ApiVersion { api_key: 3, min_version, max_version };
    let cases = [
        (vec![metadata(90, 99)], "offers Metadata in versions 90 to 99, and Kurier speaks 0 to 13"),
        (vec![], "does not offer Metadata: is this a controller's listener? Use a listener of a broker"),
        (vec![metadata(9, 8)], "offers API 3 in versions 9 to 8, which is invalid"),
        (vec![metadata(-1, 8)], "offers API 3 in versions -1 to 8, which is invalid"),
        (vec![metadata(0, 8), metadata(0, 9)], "offers API 3 twice"),
    ];
    for (versions, says) in cases {
        consume(&["-b", &offering(versions), "-t", "events"]).fails(1).says(&[says]);
    }
}

#[test]
fn partition_of_an_invalid_node_has_no_leader() {
    let cluster = three_nodes();
    for partition in 0..6 {
        cluster.append_values(partition, &["one"]);
    }
    let server = cluster.broker.bootstrap_servers().split(',').next().unwrap().to_owned();
    cluster.broker.with_cluster(|cluster| cluster.set_port(2, 0));
    let of = |partition| consume(&["-b", &server, "-t", "events", "-e", "-p", partition]);
    of("0").prints("one\n");
    of("1").fails(1).says(&["events-1 cannot be read, after 30 retries", "LEADER_NOT_AVAILABLE (5)"]);
}

#[test]
fn missing_topic_is_not_created() {
    let cluster = three_nodes();
    let arguments = ["-b", &cluster.broker.bootstrap_servers(), "-t", "evnts", "-e"];
    consume(&arguments).fails(1).says(&[
        "topic \"evnts\" cannot be read",
        "UNKNOWN_TOPIC_OR_PARTITION",
        "check its name",
    ]);
    assert_eq!(cluster.broker.with_cluster(|cluster| cluster.end_offset("evnts", 0)), None);
}

#[test]
fn invalid_command_line_is_explained() {
    let file = format!("{}/tests/consume.properties", env!("CARGO_MANIFEST_DIR"));
    let cases: [(&[&str], &[&str]); 12] = [
        (&[], &["-b HOST:PORT"]),
        (&["-b", "localhost"], &["\"localhost\" is not host:port", "the port is missing: write localhost:9092"]),
        (&["-b", "SSL://h:9093"], &["names SSL for h:9093, but security.protocol is PLAINTEXT: make them agree"]),
        (&["-b", "Http://h:9092"], &["Http", "security.protocol"]),
        (
            &["-b", "a:1 b:2"],
            &[
                "bootstrap.servers is not a list of host:port servers: \"a:1 b:2\" is not host:port",
                "separate servers by commas",
            ],
        ),
        (&["-b", "a:1", "-o", "middle"], &["--offset", "beginning, end, or an offset"]),
        (&["-b", "a:1", "-o=-1"], &["--offset", "beginning, end, or an offset"]),
        (&["-b", "a:1", "-f", "%z"], &["--format", "%z is unknown"]),
        (&["-b", "a:1", "-X", "client.id"], &["-X takes KEY=VALUE", "the = is missing"]),
        (&["-b", "a:1", "-X", "request.timeout.ms=soon"], &["request.timeout.ms cannot be \"soon\""]),
        (&["-b", "a:1", "--command-config", "no-such-file"], &["no-such-file cannot be read", "No such file"]),
        (&["--command-config", &file, "-X", "security.protocol=SASL_SSL"], &["sasl.mechanism is missing"]),
    ];
    for (arguments, says) in cases {
        consume(&[&["-t", "events"], arguments].concat()).fails(2).says(says);
    }
    consume(&["-b", "a:1"]).fails(2).says(&["--topic"]);
}

#[test]
fn settings_without_effect_are_ignored_with_a_notice() {
    let cluster = three_nodes();
    cluster.append_values(0, &["one"]);
    for (settings, said) in [
        (&["linger.ms=5"][..], "kurier: linger.ms has no effect on kurier consume\n"),
        (
            &["linger.ms=5", "acks=all", "linger.ms=6", "batch.size=1"],
            "kurier: these settings have no effect on kurier consume: linger.ms, acks, batch.size\n",
        ),
    ] {
        let settings = settings.iter().flat_map(|setting| ["-X", setting]);
        let arguments: Vec<_> = ["-e"].into_iter().chain(settings).collect();
        assert_eq!(cluster.consume(&arguments).prints("one\n").said, said);
    }
}

/// Tests of TLS and SASL.
#[cfg(feature = "tls")]
mod secured {
    use std::time::Duration;

    use command::kurier_reading;
    use kurier_broker::{SaslSettings, ServerTls};

    use super::*;

    fn file(name: &str) -> String {
        format!("{}/../../testdata/tls/{name}", env!("CARGO_MANIFEST_DIR"))
    }

    fn server_tls() -> ServerTls {
        let read = |name| std::fs::read_to_string(file(name)).unwrap();
        ServerTls::from_pem(read("broker.pem"), read("broker-key.pem"))
    }

    /// Starts three nodes with TLS and SASL, for alice and bob.
    fn sasl_ssl(change: impl FnOnce(&mut SaslSettings)) -> Running {
        let mut sasl = SaslSettings::default().user("alice", "secret").user("bob", "builder");
        sasl.mechanisms.push("OAUTHBEARER".to_owned());
        change(&mut sasl);
        start(Broker::builder().nodes(3).topic("events", 6).tls(server_tls()).sasl(sasl))
    }

    /// Returns the options of these settings, with trust in the brokers.
    fn options(settings: &[&str]) -> Vec<String> {
        let trust = format!("ssl.truststore.location={}", file("ca.pem"));
        let settings = settings.iter().copied().chain([trust.as_str()]);
        settings.flat_map(|setting| ["-X".to_owned(), setting.to_owned()]).collect()
    }

    fn produce(running: &Running, value: &str, settings: &[&str]) -> Ran {
        let (servers, options) = (running.broker.bootstrap_servers(), options(settings));
        let mut arguments = vec!["produce", "-b", &servers, "-t", "events"];
        arguments.extend(options.iter().map(String::as_str));
        kurier_reading(format!("{value}\n"), &arguments)
    }

    fn consume_with(running: &Running, settings: &[&str]) -> Ran {
        let options = options(settings);
        let arguments: Vec<_> = ["-e"].into_iter().chain(options.iter().map(String::as_str)).collect();
        running.consume(&arguments)
    }

    #[test]
    fn every_mechanism_reads_what_the_producer_wrote() {
        let password = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&password, "secret\n").unwrap();
        let password_file = format!("kurier.sasl.password.file={}", password.path().display());
        let jaas = r#"sasl.jaas.config=a.b.ScramLoginModule required username="alice" password="secret";"#;
        let jaas = jaas.replace("a.b.", "org.apache.kafka.common.security.scram.");
        let cases: [(&str, &[&str]); 4] = [
            ("PLAIN", &["sasl.username=alice", "sasl.password=secret"]),
            ("SCRAM-SHA-256", &["sasl.username=alice", &password_file]),
            ("SCRAM-SHA-512", &[&jaas]),
            ("OAUTHBEARER", &["enable.sasl.oauthbearer.unsecure.jwt=true", "sasl.oauthbearer.config=principal=alice"]),
        ];
        for (mechanism, credentials) in cases {
            let running = sasl_ssl(|_| {});
            let mechanism = format!("sasl.mechanism={mechanism}");
            let settings = [&["security.protocol=SASL_SSL", &mechanism], credentials].concat();
            produce(&running, "one", &settings).ends(0);
            let ran = consume_with(&running, &settings).prints("one\n");
            assert_eq!(ran.said, "", "{mechanism}");
            let is_alice = |login: &kurier_broker::Login| login.principal.as_deref() == Some("alice");
            assert!(running.broker.with_cluster(|cluster| cluster.logins().all(is_alice)), "{mechanism}");
        }
    }

    #[test]
    fn client_certificate_is_shown() {
        let authority = std::fs::read_to_string(file("ca.pem")).unwrap();
        let running = start(Broker::builder().topic("events", 1).tls(server_tls().client_ca(authority)));
        let identity = format!("ssl.keystore.location={}", file("client-bundle.pem"));
        let settings = ["security.protocol=SSL", &identity];
        produce(&running, "one", &settings).ends(0);
        consume_with(&running, &settings).prints("one\n");
        let ran = consume_with(&running, &settings[..1]).fails(1);
        ran.says(&["the broker requires a client certificate", "set ssl.keystore.location"]);
    }

    /// A wrong password is shown to one node only, because each attempt counts for the lock of an account.
    #[test]
    fn refused_credentials_end_the_command_at_once() {
        let scram = ["security.protocol=SASL_SSL", "sasl.mechanism=SCRAM-SHA-512"];
        let cases: [(&[&str], &str, usize); 3] = [
            (
                &["sasl.username=alice", "sasl.password=wrong-7Qz"],
                "SCRAM-SHA-512 for user alice: SASL_AUTHENTICATION_FAILED (58), Authentication failed during authentication \
                 due to invalid credentials with SASL mechanism SCRAM-SHA-512; correct the user name or the password\n",
                1,
            ),
            (
                &["sasl.username=nobody", "sasl.password=wrong-7Qz"],
                "SCRAM-SHA-512 for user nobody: SASL_AUTHENTICATION_FAILED (58), Authentication failed during \
                 authentication due to invalid credentials with SASL mechanism SCRAM-SHA-512; correct the user name or the \
                 password\n",
                1,
            ),
            (
                &["sasl.mechanism=SCRAM-SHA-256", "sasl.username=alice", "sasl.password=wrong-7Qz"],
                "the broker offers PLAIN, SCRAM-SHA-512, OAUTHBEARER, not SCRAM-SHA-256: set sasl.mechanism\n",
                0,
            ),
        ];
        for (settings, says, attempts) in cases {
            let running = sasl_ssl(|sasl| sasl.mechanisms.retain(|mechanism| mechanism != "SCRAM-SHA-256"));
            let ran = consume_with(&running, &[&scram[..], settings].concat()).fails(1).says(&[says]);
            assert!(!ran.said.contains("wrong-7Qz") && ran.said.lines().count() == 1, "{}", ran.said);
            assert_eq!(running.broker.with_cluster(|cluster| cluster.logins().count()), attempts);
        }
    }

    #[test]
    fn missing_credentials_end_the_command_after_retries() {
        const WHY: &str = "cannot read kurier.sasl.password.file none: No such file or directory (os error 2)";
        let running = sasl_ssl(|_| {});
        let user = ["sasl.mechanism=PLAIN", "sasl.username=alice", "kurier.sasl.password.file=none"];
        let ran = consume_with(&running, &[&["security.protocol=SASL_SSL"], &user[..]].concat()).fails(1);
        let ran =
            ran.says(&[&format!("{WHY}; trying again\n"), "no credentials after 30 retries: ", &format!("{WHY}\n")]);
        assert_eq!(ran.said.lines().count(), 2, "{}", ran.said);
        assert_eq!(running.broker.with_cluster(|cluster| cluster.logins().count()), 0);
    }

    /// Both at the start and when a session ends.
    #[test]
    fn empty_password_file_is_read_again() {
        let running = sasl_ssl(|sasl| sasl.max_reauth = Some(Duration::from_millis(500)));
        let password = tempfile::NamedTempFile::new().unwrap();
        let user = ["security.protocol=SASL_SSL", "sasl.mechanism=PLAIN", "sasl.username=alice"];
        let of_writer = [&user[..], &["sasl.password=secret"]].concat();
        let file = format!("kurier.sasl.password.file={}", password.path().display());
        let of_reader = options(&[&user[..], &[&file, "retry.backoff.ms=100"]].concat());
        let mut tail = tail(&running, &of_reader.iter().map(String::as_str).collect::<Vec<_>>());
        for _ in 0..2 {
            tail.says("it is empty; trying again");
            std::fs::write(&password, "secret\n").unwrap();
            produce(&running, "one", &of_writer).ends(0);
            assert_eq!(tail.line(), "one");
            std::fs::write(&password, "").unwrap();
        }
        assert_eq!(tail.ended_by(Signal::SIGINT).1, Some(130));
    }

    #[test]
    fn reading_goes_on_in_further_sessions() {
        let running = sasl_ssl(|sasl| sasl.max_reauth = Some(Duration::from_millis(500)));
        let as_user = |name: &str, password: &str| {
            let credentials = [format!("sasl.username={name}"), format!("sasl.password={password}")];
            ["security.protocol=SASL_SSL", "sasl.mechanism=PLAIN"].map(str::to_owned).into_iter().chain(credentials)
        };
        let of_reader: Vec<String> = as_user("alice", "secret").collect();
        let of_reader = options(&of_reader.iter().map(String::as_str).collect::<Vec<_>>());
        let mut tail = tail(&running, &of_reader.iter().map(String::as_str).collect::<Vec<_>>());
        let of_writer: Vec<String> = as_user("bob", "builder").collect();
        let of_writer: Vec<&str> = of_writer.iter().map(String::as_str).collect();
        let is_alice = |login: &&kurier_broker::Login| login.principal.as_deref() == Some("alice");
        let logins = || running.broker.with_cluster(|cluster| cluster.logins().filter(is_alice).count());
        // One for the metadata, one for each of three leaders, and then again.
        while logins() < 10 {
            produce(&running, "one", &of_writer).ends(0);
            assert_eq!(tail.line(), "one");
        }
        assert_eq!(tail.ended_by(Signal::SIGINT).1, Some(130));
    }

    #[test]
    fn port_and_protocol_that_disagree_are_explained() {
        let (tls, plain) = (start(Broker::builder().tls(server_tls())), start(Broker::builder()));
        let sasl = sasl_ssl(|_| {});
        let credentials = ["sasl.mechanism=PLAIN", "sasl.username=alice", "sasl.password=secret"];
        let sasl_ssl = [&["security.protocol=SASL_SSL"], &credentials[..]].concat();
        let cases: [(&Running, &[&str], &str); 5] = [
            (&tls, &[], "this is a TLS port; set security.protocol=SSL"),
            (&plain, &["security.protocol=SSL"], "is this a PLAINTEXT port? set security.protocol=PLAINTEXT"),
            (
                &sasl,
                &["security.protocol=SSL"],
                "does this listener require SASL? Set security.protocol and sasl.mechanism",
            ),
            (&tls, &sasl_ssl, "this listener does not use SASL: set security.protocol to PLAINTEXT or SSL"),
            (&tls, &["security.protocol=SSL", "kurier.tls.server.name=b2.example"], "not b2.example: check"),
        ];
        for (running, settings, says) in cases {
            // Without TLS, a truststore is an error of the settings.
            let settings = if settings.is_empty() { &["security.protocol=PLAINTEXT"] } else { settings };
            consume_with(running, settings).fails(1).says(&[says]);
        }
    }
}
