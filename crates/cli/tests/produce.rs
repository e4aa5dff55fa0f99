//! Tests of `kurier produce` from the command line against an in-memory cluster: records, delivery report, errors, exit
//! status and timing.

mod command;

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use command::{KURIER, Ran, Running, answering, kill, kurier, kurier_reading, nobody, start};
use kurier_broker::{Broker, TopicSettings};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::NamedTempFile;

impl Running {
    /// Runs `kurier produce`. Returns its output and the delivery report, sorted by line.
    fn produce(&self, arguments: &[&str], input: &str) -> (Ran, Vec<Value>) {
        let servers = self.broker.bootstrap_servers();
        let report = NamedTempFile::new().unwrap();
        let with_report = ["-b", &servers, "--delivery-report", report.path().to_str().unwrap()];
        let ran = produce(&[&with_report, arguments].concat(), input);
        let lines = fs::read_to_string(report.path()).unwrap();
        let mut report: Vec<Value> = lines.lines().map(|line| line.parse().unwrap()).collect();
        report.sort_by_key(|line| line["line"].as_u64());
        (ran, report)
    }

    /// Returns all values of a topic, in order within each partition.
    fn values(&self, topic: &str, format: &str) -> String {
        let servers = self.broker.bootstrap_servers();
        kurier(&["consume", "-b", &servers, "-t", topic, "-e", "-f", format]).ends(0).printed
    }
}

fn produce(arguments: &[&str], input: &str) -> Ran {
    // Cases that cannot succeed should fail soon; no test here needs longer.
    kurier_reading(input, &[&["produce", "-X", "max.block.ms=1000"], arguments].concat())
}

#[test]
fn lines_become_records_and_the_report_has_their_offsets() {
    let running = start(Broker::builder().topic("t", 1));
    let arguments = ["-t", "t", "-K", ":", "-Z", "-H", "a=1", "-H", "b"];
    let (ran, report) = running.produce(&arguments, "k:v\n:no key\nk:\nno delimiter");
    ran.ends(0).says(&["4 records written to t"]);
    assert_eq!(
        running.values("t", "%o|%k|%K|%s|%S|%h\n"),
        "\
        0|k|1|v|1|a=1,b=NULL\n1||-1|no key|6|a=1,b=NULL\n2|k|1||-1|a=1,b=NULL\n3||-1|no delimiter|12|a=1,b=NULL\n"
    );
    for (line, offset) in report.iter().zip(0..) {
        assert_eq!(*line, serde_json::json!({ "line": offset + 1, "topic": "t", "partition": 0, "offset": offset }));
    }
    assert_eq!(report.len(), 4);
}

#[test]
fn a_record_can_be_sent_to_a_partition_and_with_acks_0_nobody_says_its_offset() {
    let running = start(Broker::builder().topic("t", 3));
    let (ran, report) = running.produce(&["-t", "t", "-p", "2", "-X", "acks=0"], "a\n");
    ran.ends(0).says(&["1 record written"]);
    assert_eq!(report, [serde_json::json!({ "line": 1, "topic": "t", "partition": 2 })]);
    let (ran, _) = running.produce(&["-t", "t", "-p", "7", "-X", "max.block.ms=200"], "a\n");
    ran.ends(1).says(&["topic t has no partition 7: it has 3", "1 not written"]);
}

#[test]
fn too_large_record_is_reported_and_others_arrive() {
    let running = start(Broker::builder().topic("t", 1));
    let (longer, long) = ("x".repeat(3000), "x".repeat(1990));
    let input = format!("one\n{longer}\ntwo\n{long}\nthree\n");
    let (ran, report) = running.produce(&["-t", "t", "-X", "max.request.size=2000"], &input);
    ran.ends(1).says(&[
        "line 2: standard input, line 2: the record is longer than 2000 bytes: raise max.request.size",
        "line 4: a record of 2060 bytes is above max.request.size, which is 2000",
        "3 records written to t, 2 not written",
    ]);
    assert_eq!(running.values("t", "%s "), "one two three ");
    let fates: Vec<_> = report.iter().map(|line| (line["line"].as_u64(), line["written"].as_str())).collect();
    assert_eq!(
        fates,
        [(Some(1), None), (Some(2), Some("no")), (Some(3), None), (Some(4), Some("no")), (Some(5), None)]
    );
}

#[test]
fn too_few_in_sync_replicas_fail_with_the_error_code() {
    for (min_insync_replicas, status, written) in [(1, 0, 2), (2, 0, 2), (3, 1, 0)] {
        let topic = TopicSettings { replication_factor: 3, min_insync_replicas, ..Default::default() };
        let builder = Broker::builder().nodes(3).topics_by_default(topic).topic("t", 1);
        let running = start(builder);
        running.broker.stop_node(3);
        let settings = ["-X", "delivery.timeout.ms=900", "-X", "request.timeout.ms=800", "-X", "retry.backoff.ms=20"];
        let (ran, report) = running.produce(&[&["-t", "t"][..], &settings].concat(), "a\nb\n");
        ran.ends(status).says(if status == 0 { &[] } else { &["NOT_ENOUGH_REPLICAS (19)", "; not written"] });
        assert_eq!(running.values("t", "%s\n").lines().count(), written, "min.insync.replicas={min_insync_replicas}");
        let is_told =
            |line: &Value| line["written"] == "no" && line["error"].as_str().unwrap().contains("NOT_ENOUGH_REPLICAS");
        assert!(report.len() == 2 && report.iter().all(|line| is_told(line) == (written == 0)), "{report:?}");
    }
}

#[test]
fn missing_topic_is_named_with_a_remedy() {
    let running = start(Broker::builder().auto_create_topics(false, 1));
    let (ran, _) = running.produce(&["-t", "nobodys"], "a\n");
    ran.ends(1).says(&[
        "topic nobodys was not found within max.block.ms, which is 1000",
        "UNKNOWN_TOPIC_OR_PARTITION (3)",
        "create it",
    ]);
}

#[test]
fn ctrl_c_stops_reading_and_delivers_read_records() {
    let running = start(Broker::builder().topic("t", 1));
    let servers = running.broker.bootstrap_servers();
    let mut command = Command::new(KURIER);
    command.args(["produce", "-b", &servers, "-t", "t"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut producing = command.spawn().unwrap();
    // Keep the input open, so that the command waits for more.
    let mut input = producing.stdin.take().unwrap();
    input.write_all(b"a\nb\n").unwrap();
    while running.values("t", "%s ") != "a b " {}
    kill(&producing, Signal::SIGINT);
    let ended = producing.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(130), "{said}");
    assert!(said.contains("2 records written to t"), "{said}");
}

#[test]
fn unusable_servers_are_reported_one_by_one() {
    let closed = nobody();
    let http = answering(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let tls = answering(&[0x15, 3, 3, 0, 2, 2, 70]);
    let silent = answering(b"");
    let servers = format!("{closed},{http},{tls},{silent},nosuchhost.invalid:9092");
    let ran = produce(&["-b", &servers, "-t", "t", "-X", "max.block.ms=3000"], "a\n");
    ran.ends(1).says(&[
        &format!(
            "no bootstrap server has answered yet; still trying, up to max.block.ms: {closed}: Connection refused"
        ),
        "cannot reach a bootstrap server within max.block.ms, which is 3000",
        &format!("{closed}: Connection refused"),
        &format!("{http}: the peer speaks HTTP"),
        &format!("{tls}: the peer answered with TLS: this is a TLS port; set security.protocol=SSL"),
        "nosuchhost.invalid:9092: cannot resolve its name",
    ]);
}

#[test]
fn node_that_advertises_a_useless_address_is_named_with_advertised_listeners() {
    let closed: u16 = nobody().rsplit_once(':').unwrap().1.parse().unwrap();
    for (host, port, why) in [
        ("127.0.0.1", closed, ", but Kurier cannot connect to it: Connection refused"),
        // The resolver is not asked about an invalid name.
        ("no..such", 9092, ", but Kurier cannot connect to it: cannot resolve its name: "),
        ("my host", 9092, ", which is not a valid address"),
    ] {
        let running = start(Broker::builder().topic("t", 1).advertised_listeners([(host, port)]));
        let servers = running.broker.listen_address(1).unwrap().to_string();
        let settings = ["-X", "delivery.timeout.ms=500", "-X", "request.timeout.ms=400"];
        let ran = produce(&[&["-b", &servers, "-t", "t"], &settings[..]].concat(), "a\n");
        let named = format!("node 1 advertises {host}:{port} (advertised.listeners on that broker){why}");
        ran.ends(1).says(&[&named]);
    }
}

#[test]
fn topic_name_that_kafka_does_not_allow_is_refused() {
    let running = start(Broker::builder().topic("t", 1));
    for name in ["", ".", "..", "a b", "a/b", "\u{e9}", &"x".repeat(250)] {
        let (ran, report) = running.produce(&["-t", name], "a\n");
        ran.fails(2).says(&[&format!("{name:?} is not a valid topic name")]);
        assert!(report.is_empty(), "{report:?}");
        let capture = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/captures/java-4.3.1_kafka-4.3.1_zstd.pcap");
        let ran = kurier(&["replay", capture, "-b", &running.broker.bootstrap_servers(), "-t", name]).fails(2);
        assert_eq!(ran.said.matches("is not a valid topic name").count(), 1, "{}", ran.said);
    }
}

#[test]
fn invalid_arguments_are_refused_before_sending() {
    let mut damaged = NamedTempFile::new().unwrap();
    damaged.write_all(b"\xff\xfea").unwrap();
    let damaged = damaged.path().to_str().unwrap();
    for (arguments, parts) in [
        (&["-t", "t"][..], &["no bootstrap server given: name a broker with -b HOST:PORT"][..]),
        (&["-b", "h", "-t", "t"], &["\"h\" is not host:port: the port is missing: write h:9092"]),
        (&["-b", "a:1;b:2", "-t", "t"], &["\"a:1;b:2\" is not host:port", "separate servers by commas"]),
        (&["-b", "h\u{e9}:1", "-t", "t"], &["\"h\u{e9}:1\" is not host:port", "a host cannot contain"]),
        (
            &["-b", "SSL://h:9093", "-t", "t"],
            &["names SSL for h:9093, but security.protocol is PLAINTEXT: make them agree"],
        ),
        (&["-b", "sasl_ssl://h:9093", "-t", "t"], &["names SASL_SSL for h:9093"]),
        (&["-b", "a:1,SASL_PLAINTEXT://h:9093", "-t", "t"], &["SASL_PLAINTEXT", "security.protocol"]),
        (&["-b", "http://h:9092", "-t", "t"], &["http", "security.protocol"]),
        (
            &["-b", "h:1", "-t", "t", "-X", "linger.m=1"],
            &["unknown producer setting linger.m", "did you mean linger.ms?"],
        ),
        (
            &["-b", "h:1", "-t", "t", "-X", "lingering=1"],
            &["unknown producer setting lingering: the page of kurier::Config"],
        ),
        (&["-b", "h:1", "-t", "t", "-X", "acks=2"], &["acks cannot be \"2\"", "0, 1 or all"]),
        (&["-b", "h:1", "-t", "t", "-X", "acks=1", "-X", "enable.idempotence=true"], &["acks is 1, and it needs all"]),
        (&["-b", "h:1", "-t", "t", "-X", "delivery.timeout.ms=1", "-X", "linger.ms=1"], &["must be above linger.ms"]),
        (&["-b", "h:1", "-t", "t", "-z", "rar"], &["compression.type cannot be \"rar\""]),
        (
            &["-b", "h:1", "-t", "t", "-X", "security.protocol=SASL_PLAINTEXT"],
            &["sasl.mechanism is missing", "SCRAM-SHA-512"],
        ),
        (&["-b", "h:1", "-t", "t", "no/such/file"], &["no/such/file cannot be read: No such file"]),
        (&["-b", "h:1", "-t", "t", "--command-config", "no/such"], &["no/such cannot be read: No such file"]),
        (&["-b", "h:1", "-t", "t", "--command-config", damaged], &["begins with a byte order mark of UTF-16"]),
        (&["-b", "h:1"], &["--topic"]),
    ] {
        produce(arguments, "a\n").fails(2).says(parts);
    }
}

#[test]
fn missing_input_is_refused_alike_by_every_command() {
    let no = "no/such/file";
    for arguments in [
        &["produce", "-b", "h:1", "-t", "t", no][..],
        &["replay", "-b", "h:1", no],
        &["decode", no],
        &["decode", "--api", "Produce", "--version", "9", "--request", no],
        &["partition", "--partitions", "6", "--key-file", no],
        &["perf", "-b", "h:1", "-t", "t", "--num-records", "1", "--record-size", "1", "--payload-file", no],
    ] {
        let ran = kurier(arguments).fails(2).says(&["no/such/file cannot be read: No such file"]);
        assert_eq!(ran.said.lines().count(), 1, "{}", ran.said);
    }
}
