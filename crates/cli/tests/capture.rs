//! Tests of `kurier capture`, `decode` and `replay` from the command line: traffic is forwarded, recorded and produced
//! again.

mod command;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use command::{KURIER, kill, kurier, nobody, server, start};
use kurier_broker::Broker;
use kurier_capture::{Side, Writer};
use kurier_compression::CompressionType;
use kurier_protocol::messages::ProduceRequest;
use kurier_protocol::messages::produce::{PartitionProduceData, TopicProduceData};
use kurier_protocol::record_batch::{NewRecord, RecordBatchBuilder, Stamp};
use kurier_protocol::write_request;
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// A relay in front of a cluster.
struct Capturing {
    relay: Child,
    bootstrap_server: String,
    folder: TempDir,
}

impl Capturing {
    fn start(upstream: &str) -> Self {
        Self::start_at("127.0.0.1:0", upstream)
    }

    fn start_with(upstream: &str, extra: &[&str]) -> Self {
        Self::start_as("127.0.0.1:0", upstream, extra)
    }

    fn start_at(listen: &str, upstream: &str) -> Self {
        Self::start_as(listen, upstream, &[])
    }

    fn start_as(listen: &str, upstream: &str, extra: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let mut relay = Command::new(KURIER)
            .args(["capture", "--listen", listen, "--upstream", upstream, "--out", "captured.pcap"])
            .args(extra)
            .current_dir(&folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(relay.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Self { relay, bootstrap_server: line.trim().to_owned(), folder }
    }

    /// Ends the relay. Returns the folder with captured.pcap and the relay's last message.
    fn end(mut self) -> (TempDir, String) {
        kill(&self.relay, Signal::SIGINT);
        let mut said = String::new();
        self.relay.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(self.relay.wait().unwrap().code(), Some(0), "{said}");
        (self.folder, said)
    }
}

#[test]
fn wrong_upstream_is_refused_and_its_password_not_repeated() {
    for (upstream, part) in [
        ("user:s3cret@h:1", "--upstream: entry 1 is not host:port"),
        ("h", "the port is missing: write h:9092"),
        ("SSL://h:1", "has the scheme SSL://"),
        ("h:1,h:2", "--upstream takes one broker"),
        ("", "--upstream takes one broker"),
    ] {
        let ran = kurier(&["capture", "--listen", "127.0.0.1:0", "--upstream", upstream, "--out", "never.pcap"]);
        let ran = ran.fails(2).says(&[part]);
        assert!(!ran.said.contains("s3cret"), "{}", ran.said);
    }
}

#[test]
fn relay_listens_on_a_host_name() {
    let mut capturing = Capturing::start_at("localhost:0", &nobody());
    capturing.relay.kill().unwrap();
    capturing.relay.wait().unwrap();
    let address: SocketAddr = capturing.bootstrap_server.parse().unwrap();
    assert!(address.ip().is_loopback(), "{address}");
    for wrong in ["localhost", "9192", "localhost:65536"] {
        let arguments = ["capture", "--listen", wrong, "--upstream", "localhost:1", "--out", "never.pcap"];
        kurier(&arguments).fails(2).says(&["--listen", "it takes a host of this machine and a port, as in 127.0.0.1"]);
    }
}

#[test]
fn relayed_traffic_is_recorded_decoded_and_replayed() {
    let cluster = start(Broker::builder().nodes(3).auto_create_topics(true, 6));
    let upstream = cluster.broker.bootstrap_servers();
    let capturing = Capturing::start(upstream.split(',').next().unwrap());
    let relay = capturing.bootstrap_server.clone();

    let events = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/events.txt");
    kurier(&["produce", "-b", &relay, "-t", "events", "-K", r"\t", "-z", "lz4", "-H", "trace=1", events]).ends(0);
    let format = r"%p %o %T %k %h %s\n";
    let through = kurier(&["consume", "-b", &relay, "-t", "events", "-e", "-f", format]);
    let beside = kurier(&["consume", "-b", &upstream, "-t", "events", "-e", "-f", format]);
    assert_eq!(by_partition(&through.printed), by_partition(&beside.printed));

    let (folder, said) = capturing.end();
    let file = folder.path().join("captured.pcap");
    let file = file.to_str().unwrap();
    assert_eq!(said.matches(" is at 127.0.0.1:").count(), 3, "{said}");
    let decoded = kurier(&["decode", file]);
    assert_eq!(decoded.said, "");
    let frames: Vec<Value> = decoded.printed.lines().map(|line| line.parse().unwrap()).collect();
    assert!(frames.iter().all(|frame| frame["body"].is_object()), "all can be read");
    let servers: Vec<_> = upstream.split(',').collect();
    assert!(!servers.iter().any(|server| decoded.printed.contains(&format!("\"server\":\"{server}\""))));

    let again = kurier(&["replay", file, "-b", &upstream, "-t", "again", "-z", "zstd"]);
    again.ends(0).says(&["20000 records written"]);
    let again = kurier(&["consume", "-b", &upstream, "-t", "again", "-e", "-f", format]);
    assert_eq!(by_partition(&again.printed), by_partition(&beside.printed));
    assert_eq!(again.printed.lines().count(), 20_000);
}

/// Returns lines that begin with a partition's number, sorted by partition; lines of one partition keep their order.
fn by_partition(lines: &str) -> Vec<&str> {
    let mut lines: Vec<_> = lines.lines().collect();
    lines.sort_by_key(|line| line.split(' ').next());
    lines
}

/// Captures of Java, librdkafka and franz-go, with topic ids, topic names, acks=0 and retries.
#[test]
fn captures_of_other_clients_are_replayed() {
    let cluster = start(Broker::builder().auto_create_topics(true, 6));
    let servers = cluster.broker.bootstrap_servers();
    for name in [
        "java-4.3.1_kafka-4.3.1_zstd",
        "java-4.3.1_kafka-4.3.1_acks0",
        "java-4.3.1_kafka-4.3.1_message-too-large",
        "kcat-librdkafka-2.0.2_kafka-4.3.1_snappy",
        "franz-go-1.22.2_kafka-4.3.1_leader-moves",
    ] {
        let captures = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/captures");
        let expected = std::fs::read_to_string(format!("{captures}/{name}.records.jsonl")).unwrap();
        kurier(&["replay", &format!("{captures}/{name}.pcap"), "-b", &servers, "-t", name]).ends(0);
        let consume = ["consume", "-b", &servers, "-t", name, "-e", "-f", r"%p %o %S\n"];
        let mut read: Vec<_> = kurier(&consume).printed.lines().map(str::to_owned).collect();
        let shown = |line: &str| {
            let record: Value = line.parse().unwrap();
            let len = record["payload"].as_str().map_or(-1, |value| i64::try_from(value.len()).unwrap());
            format!("{} {} {len}", record["partition"], record["offset"])
        };
        let mut expected: Vec<_> = expected.lines().map(shown).collect();
        read.sort();
        expected.sort();
        assert_eq!(read, expected, "{name}");
    }
}

/// With acks=0 no broker has checked the batch.
#[test]
fn damaged_batch_does_not_stop_the_replay() {
    let cluster = start(Broker::builder().topic("events", 1));
    let batch = |value: &[u8]| {
        let mut builder = RecordBatchBuilder::new();
        builder.append(&NewRecord { timestamp: 1, value: Some(value), ..Default::default() }).unwrap();
        builder.seal().unwrap()
    };
    let damaged = batch(b"two").with_compressed_body(CompressionType::Gzip, vec!["no gzip".into()]);
    let mut file = Writer::new(Vec::new()).unwrap();
    let mut connection = file.open(([127, 0, 0, 1], 9).into(), ([127, 0, 0, 1], 9092).into(), Duration::ZERO).unwrap();
    for sealed in [batch(b"one"), damaged, batch(b"three")] {
        let data = PartitionProduceData { index: 0, records: Some(sealed.stamp(&Stamp::NONE).unwrap()) };
        let topic = TopicProduceData { name: "events".to_owned(), partition_data: vec![data], ..Default::default() };
        let mut frame = Vec::new();
        let request = ProduceRequest { acks: 0, topic_data: vec![topic], ..Default::default() };
        write_request(&request, 9, 1, Some("test"), &mut frame).unwrap();
        file.said(&mut connection, Side::Client, &frame, Duration::ZERO).unwrap();
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("damaged.pcap");
    std::fs::write(&path, file.get_mut()).unwrap();
    let servers = cluster.broker.bootstrap_servers();
    kurier(&["replay", path.to_str().unwrap(), "-b", &servers]).fails(1).says(&[
        "a batch for partition 0 of events: the gzip data",
        "2 records written",
        ", 1 not written, 0 unknown; 3 batches",
    ]);
    kurier(&["consume", "-b", &servers, "-t", "events", "-e"]).prints("one\nthree\n");
}

/// A pcap file has a header of 24 bytes, and before each packet 16 bytes, with its size in bytes 8 to 11.
#[test]
fn what_a_damaged_capture_lacks_is_reported() {
    let cluster = start(Broker::builder().auto_create_topics(true, 6));
    let servers = cluster.broker.bootstrap_servers();
    let whole = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/captures/java-4.3.1_kafka-4.3.1_zstd.pcap");
    let whole = std::fs::read(whole).unwrap();
    let size = |at: usize| usize::try_from(u32::from_le_bytes(whole[at + 8..at + 12].try_into().unwrap())).unwrap();
    let next = |at: &usize| Some(at + 16 + size(*at)).filter(|next| *next < whole.len());
    let starts: Vec<_> = std::iter::successors(Some(24), next).collect();
    // The tenth packet is a response.
    let late = [&whole[..24], &whole[starts[9]..]].concat();
    let folder = TempDir::new().unwrap();
    for (name, bytes, said) in [
        ("cut.pcap", &whole[..whole.len() - 1], "cut.pcap ends in the middle of a packet"),
        ("late.pcap", &late, "late.pcap: 6 frames in 1 connections; 204 bytes belong to none"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let path = path.to_str().unwrap();
        kurier(&["decode", path]).ends(0).says(&[said]);
        kurier(&["replay", path, "-b", &servers, "-t", "t"]).ends(0).says(&[said, " records written from "]);
    }
}

/// The broker sends an incomplete response, a response followed by HTTP, or only HTTP.
#[test]
fn unreadable_traffic_is_forwarded_unchanged() {
    for said in [&b"\0\0\0\x05ab"[..], b"\0\0\0\x04abcdHTTP/1.1 400", b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let upstream = server(move |mut socket| {
            socket.read_exact(&mut [0]).unwrap();
            socket.write_all(said).unwrap();
        });
        let capturing = Capturing::start(&upstream);
        let mut client = TcpStream::connect(&capturing.bootstrap_server).unwrap();
        client.write_all(b"?").unwrap();
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, said);
        let (folder, _) = capturing.end();
        let captured = std::fs::read(folder.path().join("captured.pcap")).unwrap();
        assert!(captured.windows(said.len()).any(|bytes| bytes == said), "{said:?}");
    }
}

#[test]
fn unreachable_cluster_and_unwritable_file_are_named() {
    let nobody = nobody();
    let capturing = Capturing::start(&nobody);
    kurier(&["consume", "-b", &capturing.bootstrap_server, "-t", "events", "-e"]).fails(1);
    let (_, said) = capturing.end();
    assert!(said.contains(&format!("cannot reach {nobody}")), "{said}");
    let ran = kurier(&["capture", "--upstream", &nobody, "--out", "no/such/folder.pcap"]);
    ran.fails(2).says(&["no/such/folder.pcap: cannot create a file in no/such: "]);
}

#[test]
fn capture_on_an_occupied_address_keeps_the_older_file() {
    let nobody = nobody();
    let capturing = Capturing::start(&nobody);
    let address = capturing.bootstrap_server.clone();
    let old = capturing.folder.path().join("old.pcap");
    std::fs::write(&old, Writer::new(Vec::new()).unwrap().get_mut().repeat(2)).unwrap();
    let before = std::fs::read(&old).unwrap();
    let ran = kurier(&["capture", "--listen", &address, "--upstream", &nobody, "--out", old.to_str().unwrap()]);
    ran.fails(1).says(&["cannot listen on"]);
    assert!(std::fs::read(&old).unwrap() == before);
    capturing.end();
}

#[test]
fn passwords_are_zeroed_in_the_file() {
    let sasl = kurier_broker::SaslSettings::default().user("alice", "canary-7Qz");
    let broker = start(Broker::builder().topic("t", 1).sasl(sasl));
    for (keeps, mechanism) in [(false, "PLAIN"), (false, "SCRAM-SHA-256"), (true, "PLAIN")] {
        let extra: &[&str] = if keeps { &["--keep-secrets"] } else { &[] };
        let relay = Capturing::start_with(&broker.broker.bootstrap_servers(), extra);
        let settings =
            ["security.protocol=SASL_PLAINTEXT", "sasl.username=alice", "sasl.password=canary-7Qz"].map(str::to_owned);
        let mechanism = format!("sasl.mechanism={mechanism}");
        let mut arguments = vec!["produce", "-b", &relay.bootstrap_server, "-t", "t", "-X", &mechanism];
        arguments.extend(settings.iter().flat_map(|setting| ["-X", setting]));
        command::kurier_reading("v\n", &arguments).ends(0);
        let (folder, _) = relay.end();
        let file = folder.path().join("captured.pcap");
        let bytes = std::fs::read(&file).unwrap();
        let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        assert_eq!(has(b"canary-7Qz"), keeps, "{mechanism}");
        assert!(has(b"SASL") || has(b"PLAIN") || has(b"SCRAM"), "the handshake is there");
        assert!(!has(b",s="), "{mechanism}: a salt and a proof let others guess the password");
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let decoded = kurier(&["decode", file.to_str().unwrap()]).ends(0);
        assert!(decoded.printed.contains("SaslAuthenticate"), "{}", decoded.printed);
    }
}

/// Tests of a relay that ends TLS, or lets it pass.
#[cfg(feature = "tls")]
mod tls {
    use kurier_broker::{BrokerBuilder, SaslSettings, ServerTls};

    use super::*;
    use command::{Ran, kurier_reading};

    fn file(name: &str) -> String {
        format!("{}/../../testdata/tls/{name}", env!("CARGO_MANIFEST_DIR"))
    }

    fn secured(nodes: u16) -> BrokerBuilder {
        let read = |name| std::fs::read_to_string(file(name)).unwrap();
        let tls = ServerTls::from_pem(read("broker.pem"), read("broker-key.pem"));
        Broker::builder().nodes(nodes).topic("events", 6).tls(tls)
    }

    /// A relay that ends TLS, with these settings for the cluster.
    fn ending(upstream: &str, settings: &[&str]) -> Capturing {
        let (certificate, key) = (file("broker.pem"), file("broker-key.pem"));
        let settings = settings.iter().flat_map(|setting| ["-X", setting]);
        let extra: Vec<_> = ["--tls-cert", &certificate, "--tls-key", &key].into_iter().chain(settings).collect();
        Capturing::start_with(upstream, &extra)
    }

    fn first(servers: &str) -> &str {
        servers.split(',').next().unwrap()
    }

    #[test]
    fn ended_tls_is_decoded_without_secrets_and_replayed() {
        const CANARY: &str = "canary-7Qz";
        let cluster = start(secured(3).sasl(SaslSettings::default().user("alice", CANARY)));
        let copies = start(Broker::builder().auto_create_topics(true, 6));
        let upstream = cluster.broker.bootstrap_servers();
        let folder = TempDir::new().unwrap();
        for (mechanism, count) in [("PLAIN", "1"), ("SCRAM-SHA-256", "2"), ("SCRAM-SHA-512", "3")] {
            // Client and relay share the file.
            let shared = folder.path().join("client.properties");
            let text = format!(
                "security.protocol=SASL_SSL\nssl.truststore.location={}\nsasl.mechanism={mechanism}\n\
                 sasl.username=alice\nsasl.password={CANARY}\n",
                file("ca.pem")
            );
            std::fs::write(&shared, text).unwrap();
            let shared = ["--command-config", shared.to_str().unwrap()];
            let (certificate, key) = (file("broker.pem"), file("broker-key.pem"));
            let certificate = ["--tls-cert", &certificate, "--tls-key", &key];
            let relay = Capturing::start_with(first(&upstream), &[&certificate[..], &shared].concat());
            let server = relay.bootstrap_server.clone();
            let produce = ["produce", "-b", &server, "-t", "events", "-K", r"\t"];
            kurier_reading("k\tone\nl\ttwo\nm\tthree\n", &[&produce[..], &shared].concat()).ends(0);
            let consume = ["consume", "-b", &server, "-t", "events", "-e", "-f", r"%p %k %s\n"];
            let read = kurier(&[&consume[..], &shared].concat()).ends(0);
            assert_eq!(read.printed.lines().count(), 3 * count.parse::<usize>().unwrap());

            let (folder, said) = relay.end();
            let ignored =
                "these settings have no effect on kurier capture: sasl.mechanism, sasl.password, sasl.username";
            assert!(said.contains(ignored), "{said}");
            let capture = folder.path().join("captured.pcap");
            let bytes = std::fs::read(&capture).unwrap();
            let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
            assert!(has(mechanism.as_bytes()) && has(b"three"), "{mechanism}: the messages are in plaintext");
            for secret in [CANARY.as_bytes(), b",s=", b",p=", b"v="] {
                assert!(!has(secret), "{mechanism}: {}", String::from_utf8_lossy(secret));
            }
            let capture = capture.to_str().unwrap();
            let decoded = kurier(&["decode", "--secrets", capture]).ends(0).printed;
            let frames: Vec<Value> = decoded.lines().map(|line| line.parse().unwrap()).collect();
            assert!(frames.iter().all(|frame| frame["body"].is_object()), "all can be read");
            assert!(frames.iter().any(|frame| frame["api"] == "SaslAuthenticate"));
            let servers = copies.broker.bootstrap_servers();
            kurier(&["replay", capture, "-b", &servers, "-t", mechanism]).ends(0).says(&["3 records written"]);
        }
    }

    /// The client authenticates the broker itself, so the relay has changed no byte.
    #[test]
    fn tls_passes_without_a_certificate() {
        let cluster = start(secured(1));
        let relay = Capturing::start(&cluster.broker.bootstrap_servers());
        let trust = format!("ssl.truststore.location={}", file("ca.pem"));
        let settings = ["-X", "security.protocol=SSL", "-X", &trust];
        let produce = ["produce", "-b", &relay.bootstrap_server, "-t", "events"];
        kurier_reading("plaintext-7Qz\n", &[&produce[..], &settings].concat()).ends(0);
        let (folder, said) = relay.end();
        assert!(said.contains("got TLS, which is recorded but not decoded"), "{said}");
        let captured = std::fs::read(folder.path().join("captured.pcap")).unwrap();
        // The client's and the broker's first bytes: a handshake.
        assert!(captured.windows(2).filter(|bytes| bytes == b"\x16\x03").count() >= 2);
        assert!(!captured.windows(6).any(|bytes| bytes == b"events"));
    }

    #[test]
    fn relay_shows_the_cluster_its_certificate() {
        let read = |name| std::fs::read_to_string(file(name)).unwrap();
        let tls = ServerTls::from_pem(read("broker.pem"), read("broker-key.pem")).client_ca(read("ca.pem"));
        let cluster = start(Broker::builder().topic("events", 1).tls(tls));
        let trust = format!("ssl.truststore.location={}", file("ca.pem"));
        let identity = format!("ssl.keystore.location={}", file("client-bundle.pem"));
        let relay = ending(&cluster.broker.bootstrap_servers(), &[&trust, &identity]);
        let produce = ["produce", "-b", &relay.bootstrap_server, "-t", "events"];
        let settings = ["-X", "security.protocol=SSL", "-X", &trust];
        kurier_reading("v\n", &[&produce[..], &settings].concat()).ends(0);
        relay.end();
    }

    #[test]
    fn unusable_certificates_and_settings_are_explained() {
        let (certificate, key, authority) = (&*file("broker.pem"), &*file("broker-key.pem"), &*file("ca.pem"));
        let (other, encrypted) = (&*file("rsa-key.pem"), &*file("client-key-pbkdf2.pem"));
        let trust = &*format!("ssl.truststore.location={authority}");
        let cases: [(&[&str], &[&str]); 11] = [
            (
                &["--tls-cert", certificate, "--tls-key", other],
                &["--tls-cert", "broker.pem, --tls-key", "the private key does not belong to the certificate"],
            ),
            (&["--tls-cert", certificate, "--tls-key", encrypted], &["the private key is encrypted: decrypt it with"]),
            (&["--tls-cert", key, "--tls-key", key], &["the certificate is not PEM with a certificate"]),
            (&["--tls-cert", certificate, "--tls-key", authority], &["the private key cannot be read: it must be PEM"]),
            (&["--tls-cert", "none.pem", "--tls-key", key], &["--tls-cert: none.pem cannot be read: No such file"]),
            (&["--tls-cert", certificate], &["--tls-key <FILE>"]),
            (&["--tls-key", key], &["--tls-cert <FILE>"]),
            (
                &["-X", trust],
                &["ssl.truststore.location is set, but without --tls-cert the relay forwards TLS", "give --tls-cert"],
            ),
            (
                &["--tls-cert", certificate, "--tls-key", key, "-X", "security.protocol=PLAINTEXT"],
                &["security.protocol is PLAINTEXT, but a relay with --tls-cert uses TLS", "set SSL or SASL_SSL"],
            ),
            (
                &["--tls-cert", certificate, "--tls-key", key, "-X", "ssl.truststore.location=none.pem"],
                &["cannot read none.pem: No such file"],
            ),
            (
                &["--tls-cert", certificate, "--tls-key", key, "-X", "enable.ssl.certificate.verification=false"],
                &["enable.ssl.certificate.verification"],
            ),
        ];
        for (arguments, says) in cases {
            let capture = ["capture", "--listen", "127.0.0.1:0", "--upstream", "h:1", "--out", "never.pcap"];
            kurier(&[&capture[..], arguments].concat()).fails(2).says(says);
        }
        assert!(!std::path::Path::new("never.pcap").exists());
    }

    /// The cluster, the relay's settings, the client's, and what each of them says.
    type Failure<'a> = (&'a str, &'a [&'a str], &'a [&'a str], &'a str, &'a str);

    /// Runs a client against a relay; both fail, and say why.
    #[test]
    fn failed_handshakes_are_explained_on_both_sides() {
        let (secure, plain) = (start(secured(1)), start(Broker::builder()));
        let (secure, plain) = (secure.broker.bootstrap_servers(), plain.broker.bootstrap_servers());
        let trust = &*format!("ssl.truststore.location={}", file("ca.pem"));
        let distrust = &*format!("ssl.truststore.location={}", file("other.pem"));
        let ssl = "security.protocol=SSL";
        let cases: [Failure<'_>; 5] = [
            (
                &secure,
                &[trust],
                &[],
                "it does not speak TLS: set its security.protocol to SSL, or SASL_SSL with SASL",
                "the peer answered with TLS: this is a TLS port; set security.protocol=SSL",
            ),
            (
                &secure,
                &[trust],
                &[ssl, distrust],
                "it refused the certificate: does it trust the issuer, and does the certificate name the address",
                "signed by no trusted authority",
            ),
            (
                &secure,
                &[distrust],
                &[ssl, trust],
                "the broker's certificate is signed by no trusted authority",
                "it closed the connection instead of answering ApiVersions",
            ),
            (
                &secure,
                &[trust, "kurier.tls.server.name=b2.example"],
                &[ssl, trust],
                "not b2.example",
                "it closed the connection instead of answering ApiVersions",
            ),
            (
                &plain,
                &[trust],
                &[ssl, trust],
                "is this a PLAINTEXT port?",
                "it closed the connection instead of answering ApiVersions",
            ),
        ];
        for (upstream, settings, of_client, relay_says, client_says) in cases {
            let relay = ending(upstream, settings);
            let consume = ["consume", "-b", &relay.bootstrap_server, "-t", "events", "-e"];
            let of_client: Vec<_> = of_client.iter().flat_map(|setting| ["-X", setting]).collect();
            let ran: Ran = kurier(&[&consume[..], &of_client].concat()).fails(1);
            ran.says(&[client_says]);
            let (_, said) = relay.end();
            let line = said.lines().find(|line| line.starts_with("kurier: client 127.0.0.1:"));
            assert!(line.is_some_and(|line| line.contains(relay_says)), "{relay_says}: {said}");
        }
    }
}
