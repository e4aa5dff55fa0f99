//! Tests of `kurier broker` from the command line: versions, settings, advertised listeners and refused arguments.

mod command;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use command::{KURIER, kurier, kurier_reading, read_frame};
use kurier::{Error, Producer, Record, RecordMetadata};
use kurier_protocol::messages::{ApiVersionsRequest, MetadataRequest, ProduceRequest};
use kurier_protocol::{ErrorCode, Message, Request, read_response, write_request};
use tokio::runtime::Runtime;

const HOUR_MS: i64 = 3_600_000;

/// A running command, which ends with its test.
struct Running {
    child: Child,
    servers: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn start(arguments: &[&str]) -> Running {
    let mut command = Command::new(KURIER);
    command.arg("broker").args(arguments).stdout(Stdio::piped());
    if !arguments.contains(&"--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    let mut child = command.spawn().unwrap();
    let mut servers = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut servers).unwrap();
    Running { child, servers: servers.trim().to_owned() }
}

impl Running {
    /// Sends a request to the first node.
    fn ask<R: Request>(&self, request: &R, version: i16) -> R::Response {
        let mut wire = Vec::new();
        write_request(request, version, 1, Some("test"), &mut wire).unwrap();
        let mut socket = TcpStream::connect(self.servers.split(',').next().unwrap()).unwrap();
        socket.write_all(&wire).unwrap();
        read_response::<R>(&read_frame(&mut socket), version).unwrap().1
    }

    /// Returns the highest version of an API that the broker supports.
    fn highest<M: Message>(&self) -> i16 {
        let offered = self.ask(&ApiVersionsRequest::default(), 0).api_keys;
        offered.iter().find(|offered| offered.api_key == M::KEY).unwrap().max_version
    }

    /// Sends a record whose timestamp is this far in the future.
    fn deliver(&self, ahead_ms: i64) -> Result<RecordMetadata, Error> {
        Runtime::new().unwrap().block_on(async {
            let producer = Producer::builder().bootstrap_servers(self.servers.split(',')).build().await?;
            let time = now_ms().saturating_add(ahead_ms);
            producer.deliver(Record::to("t").value("v").timestamp(time)).await
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "the broker under test has the real time")]
fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

#[test]
fn api_versions_match_the_kafka_version() {
    for (arguments, produce, metadata) in [
        (&["--as-version", "3.7"][..], 10, 12),
        (&["--as-version", "3.9"], 11, 12),
        (&["--as-version", "4.3"], 13, 13),
        (&[], 13, 13),
    ] {
        let running = start(arguments);
        let offered = (running.highest::<ProduceRequest>(), running.highest::<MetadataRequest>());
        assert_eq!(offered, (produce, metadata), "{arguments:?}");
    }
}

#[test]
fn future_timestamp_limit_follows_version_and_setting() {
    // These are the responses of Kafka 4.3.1 and 3.7.2.
    let setting = |value: &str| format!("log.message.timestamp.after.max.ms={value}");
    let (second, none, forever) = (setting("1000"), setting("0"), setting("9223372036854775807"));
    for (arguments, ahead_ms, is_taken) in [
        (&[][..], HOUR_MS - 60_000, true),
        (&[], HOUR_MS + 60_000, false),
        (&["--as-version", "3.7"], i64::MAX, true),
        (&["-X", &second], -HOUR_MS, true),
        (&["-X", &second], 60_000, false),
        (&["-X", &none], 60_000, false),
        (&["-X", &forever], i64::MAX, true),
        // The order on the command line does not matter.
        (&["--as-version", "3.7", "-X", &second], 60_000, false),
        (&["-X", &second, "--as-version", "3.7"], 60_000, false),
    ] {
        let code = start(arguments).deliver(ahead_ms).err().map(|error| error.error_code().unwrap());
        let expected = if is_taken { None } else { Some(ErrorCode::INVALID_TIMESTAMP) };
        assert_eq!(code, expected, "{arguments:?}, {ahead_ms} ms ahead");
    }
}

#[test]
fn new_topics_follow_settings() {
    let running = start(&["--nodes", "3", "-X", "num.partitions=4", "-X", "default.replication.factor=2"]);
    assert_eq!(running.servers.split(',').count(), 3);
    running.deliver(0).unwrap();
    let metadata = running.ask(&MetadataRequest { topics: None, ..Default::default() }, 12);
    let partitions = &metadata.topics[0].partitions;
    assert_eq!((partitions.len(), partitions[0].replica_nodes.len()), (4, 2));

    let settings = ["-X", "auto.create.topics.enable=FALSE", "-X", "log.message.timestamp.type=LogAppendTime"];
    let running = start(&[&["-t", "t:1"], &settings[..]].concat());
    // Were this the record's own time, the broker would refuse it.
    let time = running.deliver(2 * HOUR_MS).unwrap().timestamp();
    assert!(time <= now_ms(), "{time}");

    let running = start(&["-X", "message.max.bytes=60"]);
    assert_eq!(running.deliver(0).unwrap_err().error_code(), Some(ErrorCode::MESSAGE_TOO_LARGE));
}

#[test]
fn metadata_returns_advertised_listeners() {
    let plain = "advertised.listeners=PLAINTEXT://one.example:1, plaintext://[fd00::2]:2";
    for (arguments, expected) in [
        (&["--advertised-listeners", "one.example:1"][..], "one.example:1,one.example:2,one.example:3"),
        (&["--advertised-listeners", "one.example:1,PLAINTEXT://[fd00::2]:2,h:9"], "one.example:1,[fd00::2]:2,h:9"),
        (&["-X", plain], "one.example:1,[fd00::2]:2,[fd00::2]:3"),
        (&["-X", plain, "--advertised-listeners", "h:7"], "h:7,h:8,h:9"),
    ] {
        let servers = start(&[&["--nodes", "3"], arguments].concat()).servers.clone();
        assert_eq!(servers, expected, "{arguments:?}");
    }
}

#[test]
fn wildcard_listener_advertises_reachable_address() {
    let mut running = start(&["--listen", "0.0.0.0:0", "-t", "t:1"]);
    let port = running.servers.rsplit_once(':').unwrap().1.to_owned();
    assert_eq!(running.servers, format!("localhost:{port}"));
    running.servers = format!("127.1.2.3:{port}");
    let metadata = running.ask(&MetadataRequest { topics: None, ..Default::default() }, 12);
    assert_eq!(metadata.brokers[0].host, "127.1.2.3");
    running.deliver(0).unwrap();
}

#[test]
fn invalid_arguments_are_refused_with_allowed_values() {
    for (arguments, says) in [
        (["--as-version", "2.8"], "cannot imitate Kafka 2.8: choose 3.7, 3.9 or 4.3"),
        (["-t", "t"], "a name, a colon and a number of partitions"),
        (["--listen", "9092"], "it takes a host of this machine and a port"),
        (["--advertised-listeners", "h"], "the port is missing"),
        (
            ["--advertised-listeners", "SSL://h:9092"],
            "leave SSL:// out, as in h:9092: each node has one listener, and --tls-cert and --user decide",
        ),
        (["--advertised-listeners", "0.0.0.0:9092"], "clients cannot connect to 0.0.0.0:9092"),
        (["--advertised-listeners", "h:1,h:2"], "2 addresses for 1 nodes"),
        (
            ["-X", "advertised.listeners=SSL://h:9092"],
            "leave SSL:// out, as in h:9092: each node has one listener, and --tls-cert and --user decide",
        ),
        (["-X", "num.partition=3"], "unknown broker setting num.partition: did you mean num.partitions?"),
        (["-X", "num.pratition=3"], "unknown broker setting num.pratition: did you mean num.partitions?"),
        (["-X", "foo=1"], "unknown broker setting foo: it has advertised.listeners, auto.create.topics.enable, num"),
        (["-X", "message.timestamp.type=CreateTime"], "it has advertised.listeners"),
        (["-X", "=x"], "the key before = is missing"),
        (["-X", "num.partitions=0"], "num.partitions cannot be \"0\": it takes a number from 1 to 2147483647"),
        (["-X", "log.message.timestamp.after.max.ms=-1"], "it takes a number from 0 to 9223372036854775807"),
        (["-X", "log.message.timestamp.type=createtime"], "it takes CreateTime or LogAppendTime"),
        (["-X", "auto.create.topics.enable=yes"], "it takes true or false"),
    ] {
        let [option, value] = arguments;
        kurier(&["broker", option, value]).fails(2).says(&[says]);
    }
    for (listen, nodes, says) in [
        (
            "127.0.0.1:65535",
            "2",
            "2 nodes from 127.0.0.1:65535 on need the ports up to 65536, but 65535 is the highest",
        ),
        ("[::1]:65500", "100", "100 nodes from [::1]:65500 on need the ports up to 65599, but 65535 is the highest"),
    ] {
        let ran = kurier(&["broker", "--listen", listen, "--nodes", nodes]).fails(2);
        ran.says(&[says, "let the first node listen on a lower port, or on 0 for free ports"]);
    }
}

#[test]
fn users_authenticate_and_others_do_not() {
    let broker = start(&["--user", "alice:alice:secret", "--user", "bob:b", "--unsecured-tokens"]);
    let produce = |mechanism: &str, password: &str| {
        let settings = [
            format!("bootstrap.servers={}", broker.servers),
            "security.protocol=SASL_PLAINTEXT".to_owned(),
            format!("sasl.mechanism={mechanism}"),
            "sasl.username=alice".to_owned(),
            format!("sasl.password={password}"),
            "max.block.ms=5000".to_owned(),
        ];
        let mut arguments = vec!["produce", "-t", "t"];
        arguments.extend(settings.iter().flat_map(|setting| ["-X", setting]));
        kurier_reading("v\n", &arguments)
    };
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        produce(mechanism, "alice:secret").ends(0);
        produce(mechanism, "other")
            .fails(1)
            .says(&[&format!("{mechanism} for user alice: SASL_AUTHENTICATION_FAILED (58)")]);
    }
}

#[test]
fn wrong_user_is_refused_and_not_repeated() {
    for user in ["alice", ":secret", "alice:"] {
        let ran = kurier(&["broker", "--user", user]).fails(2);
        ran.says(&["it takes a name, a colon and a password"]);
    }
}

#[cfg(feature = "tls")]
#[test]
fn tls_options_encrypt() {
    let file = |name: &str| format!("{}/../../testdata/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    let (certificate, key, authority) = (file("broker.pem"), file("broker-key.pem"), file("ca.pem"));
    let broker = start(&["--tls-cert", &certificate, "--tls-key", &key, "--tls-client-ca", &authority]);
    let settings = [
        "security.protocol=SSL".to_owned(),
        format!("ssl.truststore.location={authority}"),
        format!("ssl.keystore.location={}", file("client-bundle.pem")),
    ];
    let mut arguments = vec!["produce", "-t", "t", "-b", &broker.servers];
    arguments.extend(settings.iter().flat_map(|setting| ["-X", setting]));
    kurier_reading("v\n", &arguments).ends(0);
    arguments.truncate(arguments.len() - 2);
    kurier_reading("v\n", &arguments).fails(1).says(&["the broker requires a client certificate"]);
}
