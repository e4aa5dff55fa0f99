//! Tests of the settings: keys and values, conflicts, and adjusted defaults.

use std::time::Duration;

use kurier::{Acks, CompressionType, Config, Error, ErrorKind, HostPort, Producer, ProducerBuilder, SecurityProtocol};

/// A valid builder; each test adds one error to it.
fn builder() -> ProducerBuilder {
    Producer::builder().bootstrap_servers(["127.0.0.1:9"])
}

/// Returns the error of a build that fails before it contacts a server.
async fn refusal(builder: ProducerBuilder) -> String {
    let error = builder.build().await.unwrap_err();
    assert_eq!((error.kind(), error.is_retriable()), (ErrorKind::Configuration, false), "{error}");
    format!("{error:#}")
}

fn value_of(config: &Config, key: &str) -> Option<String> {
    let line = config.explain().into_iter().find(|line| line.key == key);
    line.unwrap_or_else(|| panic!("{key} is not explained")).value
}

#[test]
fn unknown_key_is_refused_and_a_near_one_suggested() {
    const ALL: &str = "the page of kurier::Config lists all settings";
    for (key, hint) in [
        ("linger.m", "did you mean linger.ms?"),
        ("bootstrap.server", "did you mean bootstrap.servers?"),
        ("batch_size", "did you mean batch.size?"),
        ("compresion.type", "did you mean compression.type?"),
        ("enable.idempotance", "did you mean enable.idempotence?"),
        ("queue.buffering.max.m", "did you mean queue.buffering.max.ms?"),
        ("Acks", "did you mean acks?"),
        ("securtiy.protocol", "did you mean security.protocol?"),
        ("group.ids", "did you mean group.id?"),
        ("linger", ALL),
        ("max.in.flight.requests", ALL),
        ("orders.topic.name", ALL),
        ("sl", ALL),
        ("=", ALL),
        ("producer.linger", ALL),
    ] {
        let error = Config::default().set(key, "1").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert_eq!(format!("{error:#}"), format!("unknown producer setting {key}: {hint}"));
    }
    for key in ["", " "] {
        let error = format!("{:#}", Config::default().set(key, "s3cret").unwrap_err());
        assert_eq!(error, "unknown producer setting without a key: write key=value, as linger.ms=5");
    }
    let error = format!("{:#}", Config::default().set(&format!("a\x1b[2J{}", "x".repeat(1 << 20)), "1").unwrap_err());
    assert!(error.contains("a\\u{1b}[2J") && error.len() < 1_000, "{error}");
}

#[test]
fn error_for_a_wrong_value_lists_the_allowed_ones() {
    for (key, value, expected) in [
        ("linger.ms", "5ms", "milliseconds"),
        ("linger.ms", "-1", "milliseconds"),
        ("batch.size", "16k", "a number from 0"),
        ("acks", "2", "0, 1 or all"),
        ("compression.type", "brotli", "gzip"),
        ("enable.idempotence", "yes", "true or false"),
        ("metadata.recovery.strategy", "always", "none or rebootstrap"),
        ("partitioner.class", "com.example.Mine", "the builder's partitioner()"),
    ] {
        let error = Config::default().set(key, value).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains(key) && text.contains(value) && text.contains(expected), "{text}");
    }
}

#[test]
fn bootstrap_servers_are_hosts_and_ports() {
    let long = format!("{}.example:1", "x".repeat(63));
    for (text, expected) in [
        ("a:1", "a:1"),
        (" a:1 , b:2,\tc:3\n", "a:1,b:2,c:3"),
        ("a:1,,b:2,", "a:1,b:2"),
        ("[::1]:9092, [fe80::1%eth0]:1", "[::1]:9092,[fe80::1%eth0]:1"),
        ("PLAINTEXT://a:1,plaintext://[::1]:2,PlainText://10.0.0.1:3", "a:1,[::1]:2,10.0.0.1:3"),
        (
            "broker_1.kafka_net:1,Kafka-2.example.:2,xn--caf-dma.example:3",
            "broker_1.kafka_net:1,Kafka-2.example.:2,xn--caf-dma.example:3",
        ),
        ("127.1:9092", "127.1:9092"),
        (&long, &long),
    ] {
        let mut config = Config::default();
        config.set("bootstrap.servers", text).unwrap();
        assert_eq!(value_of(&config, "bootstrap.servers").as_deref(), Some(expected), "{text:?}");
    }
}

#[test]
fn unknown_scheme_is_refused() {
    for scheme in ["http", "HTTPS", "kafka", "EXTERNAL", "PLAINTEXT2", "PLAINTEXT://SSL", "SSL://PLAINTEXT", ""] {
        for text in [format!("{scheme}://h:9093"), format!("a:1,{scheme}://[::1]:9093"), format!("{scheme}://h")] {
            for key in ["bootstrap.servers", "metadata.broker.list"] {
                let text = format!("{:#}", Config::default().set(key, &text).unwrap_err());
                for part in [key, scheme, "a scheme that is no security.protocol: write host:port"] {
                    assert!(text.contains(part), "{part} is not in {text}");
                }
            }
        }
    }
}

#[test]
fn address_by_itself_has_no_other_scheme_than_plaintext() {
    let error = "SSL://h:1".parse::<HostPort>().unwrap_err().to_string();
    assert_eq!(error, "h:1 has the scheme SSL://, and an address takes none but PLAINTEXT://");
    assert_eq!("plaintext://h:1".parse::<HostPort>().unwrap().host, "h");
}

#[test]
fn wrong_bootstrap_server_is_named_with_the_right_form() {
    let (long_label, long_host) =
        (format!("{}.example:1", "x".repeat(64)), format!("{}:1", vec!["x".repeat(60); 5].join(".")));
    for (text, entry, why) in [
        ("kafka", "kafka", "the port is missing: write kafka:9092"),
        ("a:1,kafka.example,b:2", "kafka.example", "the port is missing: write kafka.example:9092"),
        ("kafka:", "kafka:", "the port is missing: write kafka:9092"),
        ("[::1]", "[::1]", "the port is missing: write [::1]:9092"),
        ("[::1]:", "[::1]:", "the port is missing: write [::1]:9092"),
        ("[::1]9092", "[::1]9092", "a colon must separate host and port: write [::1]:9092"),
        ("kafka:0", "kafka:0", "the port must be a number from 1 to 65535"),
        ("kafka:65536", "kafka:65536", "the port must be a number from 1 to 65535"),
        ("kafka:+9092", "kafka:+9092", "the port must be a number from 1 to 65535"),
        ("kafka:9092x", "kafka:9092x", "the port must be a number from 1 to 65535"),
        (":9092", ":9092", "the host is missing"),
        ("PLAINTEXT://:9092", "PLAINTEXT://:9092", "the host is missing"),
        ("::1:9092", "::1:9092", "write an IPv6 address in brackets, as [::1]:9092"),
        ("::1", "::1", "write an IPv6 address in brackets, as [::1]:9092"),
        ("a:1;b:2", "a:1;b:2", "separate servers by commas, as kafka-1:9092,kafka-2:9092"),
        ("a:1,b:2 c:3", "b:2 c:3", "separate servers by commas, as kafka-1:9092,kafka-2:9092"),
        ("a:1\nb:2", "a:1\\nb:2", "separate servers by commas"),
        ("a: 1", "a: 1", "separate servers by commas"),
        ("\"a:1,b:2\"", "\"a:1", "remove the quotation marks"),
        ("a:1,'b:2'", "'b:2'", "remove the quotation marks"),
        ("“a:1”", "“a:1”", "remove the quotation marks"),
        ("[a:1,b:2]", "[a:1", "use brackets only around an IPv6 address, as [::1]:9092"),
        ("[a:1]", "[a:1]", "use brackets only around an IPv6 address, as [::1]:9092"),
        ("a:1,b:2]", "b:2]", "use brackets only around an IPv6 address, as [::1]:9092"),
        ("[kafka]:1", "[kafka]:1", "use brackets only around an IPv6 address, as [::1]:9092"),
        ("[::1%]:1", "[::1%]:1", "use brackets only around an IPv6 address, as [::1]:9092"),
        ("a:9092/", "a:9092/", "remove the slash and everything after it"),
        ("a:9092/chroot,b:2", "a:9092/chroot", "remove the slash and everything after it"),
        ("PLAINTEXT://a:1/", "PLAINTEXT://a:1/", "remove the slash and everything after it"),
        ("ka*ka:1", "ka*ka:1", "a host cannot contain '*'"),
        ("SSL:kafka:1", "SSL:kafka:1", "a host cannot contain ':'"),
        ("{kafka}:1", "{kafka}:1", "a host cannot contain '{'"),
        ("fe80%eth0:1", "fe80%eth0:1", "a host cannot contain '%'"),
        ("kafk\u{e4}:1", "kafk\u{e4}:1", "a host cannot contain 'ä'"),
        ("ka\0fka:1", "ka\\0fka:1", "a host cannot contain '\\0'"),
        ("kafka..example:1", "kafka..example:1", "between two dots"),
        (".kafka:1", ".kafka:1", "between two dots"),
        (".:1", ".:1", "between two dots"),
        ("10.0.0.256:1", "10.0.0.256:1", "10.0.0.256 is not an IPv4 address"),
        (&long_label, "xxx.example:1", "1 to 63 characters"),
        (&long_host, "xxx:1", "more than 253 characters"),
    ] {
        let error = Config::default().set("bootstrap.servers", text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        let text = format!("{error:#}");
        assert!(
            text.starts_with("bootstrap.servers is not a list of host:port servers: ")
                && text.contains(&format!("{entry}\" is not host:port: ")),
            "{text}"
        );
        assert!(text.contains(why), "{why} is not in {text}");
    }
    let error = format!("{:#}", Config::default().set("bootstrap.servers", &"/".repeat(1 << 20)).unwrap_err());
    assert!(error.len() < 1_000, "{} bytes", error.len());
}

#[test]
fn scheme_with_a_missing_sign_is_refused_with_the_right_form() {
    for (text, right) in [
        ("PLAINTEXT//h:1", "PLAINTEXT://h:1"),
        ("plaintext:/h:1", "plaintext://h:1"),
        ("PLAINTEXT/h:1", "PLAINTEXT://h:1"),
        ("SASL_SSL:/[::1]:1", "SASL_SSL://[::1]:1"),
        ("PLAINTEXT:///h:1", "h:1"),
        ("//h:1", "h:1"),
        ("/h:1", "h:1"),
        ("a:1,:/h:1", "h:1"),
    ] {
        let error = format!("{:#}", Config::default().set("bootstrap.servers", text).unwrap_err());
        assert!(error.ends_with(&format!("\" is not host:port: write {right}")), "{error}");
    }
    let error = format!("{:#}", Config::default().set("bootstrap.servers", "http/h:1").unwrap_err());
    assert!(error.contains("a scheme that is no security.protocol"), "{error}");
}

#[test]
fn bootstrap_server_with_a_password_is_named_by_its_number() {
    const NAME: &str = "remove the name and the password before the host, as in kafka-1:9092";
    const PARAMETERS: &str = "remove the parameters after the port, as in kafka-1:9092";
    for (text, number, why) in [
        ("user:s3cret@h:1", 1, NAME),
        ("a:1,user:s3cret@h:1", 2, NAME),
        ("user:x,s3cret@h:1", 2, NAME),
        ("user:s3cret,x@h:1,b", 2, NAME),
        ("s3cret,,s3cret,s3cret@h:1", 3, NAME),
        ("SASL_SSL://user:s3cret@h:1", 1, NAME),
        ("h@1:s3cret@h:1", 1, NAME),
        ("h:1?user=me&password=s3cret", 1, PARAMETERS),
        ("a:1,h:1?password=x,s3cret", 2, PARAMETERS),
        ("h:1;password=s3cret", 1, PARAMETERS),
        ("h:1/?s3cret", 1, PARAMETERS),
    ] {
        for key in ["bootstrap.servers", "metadata.broker.list"] {
            let error = Config::default().set(key, text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert_eq!(
                format!("{error:#}"),
                format!("{key} is not a list of host:port servers: entry {number} is not host:port: {why}")
            );
        }
        let error = text.parse::<HostPort>().unwrap_err().to_string();
        assert!(error.starts_with("the address is not host:port: remove the ") && !error.contains("s3cret"), "{error}");
    }
}

#[tokio::test]
async fn conflicting_settings_are_refused() {
    let second = Duration::from_secs(1);
    for (builder, expected) in [
        (Producer::builder(), "bootstrap.servers is missing"),
        (builder().bootstrap_servers([""]), "bootstrap.servers is missing"),
        (builder().acks(Acks::Leader).enable_idempotence(true), "enable.idempotence cannot be true: acks is 1"),
        (builder().set("acks", "0").set("enable.idempotence", "true"), "enable.idempotence cannot be true: acks is 0"),
        (builder().set("retries", "0").enable_idempotence(true), "enable.idempotence cannot be true: retries is 0"),
        (builder().set("max.in.flight.requests.per.connection", "6"), "is 6, and enable.idempotence, which is true"),
        (builder().set("max.in.flight", "0"), "max.in.flight must be at least 1"),
        (builder().set("queue.buffering.max.kbytes", "0"), "queue.buffering.max.kbytes must be at least 1"),
        (
            builder().delivery_timeout(second).request_timeout(second).linger(Duration::from_millis(1)),
            "delivery.timeout.ms is 1000, but must be at least linger.ms + request.timeout.ms, which is 1001",
        ),
        (builder().delivery_timeout(Duration::ZERO), "delivery.timeout.ms must be at least 1"),
        (builder().set("metadata.max.idle.ms", "4999"), "metadata.max.idle.ms must be at least 5000"),
        (builder().client_id(&"x".repeat(32_768)), "client.id has 32768 bytes, and Kafka's protocol allows 32767"),
        (builder().max_request_size(0), "max.request.size must be at least 1"),
        (builder().buffer_memory(0), "buffer.memory must be at least 1"),
        (builder().set("partitioner.rack.aware", "true"), "partitioner.rack.aware is true, but client.rack is empty"),
        (builder().compression(CompressionType::Gzip).set("compression.gzip.level", "10"), "compression.gzip.level"),
        // The first error is reported.
        (builder().set("linger.m", "1").set("batch", "1"), "did you mean linger.ms?"),
        (builder().set("transactional.id", "mine"), "transactional.id=mine is not supported yet: leave it out"),
        (
            builder().set("compression.level", "5"),
            "compression.level=5 is not supported yet: set compression.gzip.level",
        ),
        (builder().set("queuing.strategy", "lifo"), "queuing.strategy=lifo is not supported yet"),
        (builder().set("enable.gapless.guarantee", "true"), "enable.gapless.guarantee=true is not supported yet"),
    ] {
        let text = refusal(builder).await;
        assert!(text.contains(expected), "{expected:?} is not in {text:?}");
    }
}

#[tokio::test]
async fn defaults_adjust_to_settings() {
    let broker = kurier_broker::Broker::builder().topic("t", 1).start().await.unwrap();
    let builder = || Producer::builder().bootstrap_servers([broker.bootstrap_servers()]);
    for builder in [
        builder().acks(Acks::Leader),
        builder().acks(Acks::None),
        builder().client_id(&"x".repeat(32_767)),
        builder().set("retries", "0"),
        builder().set("max.in.flight", "6").enable_idempotence(false),
        builder().delivery_timeout(Duration::from_secs(1)),
        builder().set("message.timeout.ms", "0").set("connections.max.idle.ms", "-1"),
        builder().request_timeout(Duration::from_secs(300)),
        builder().linger(Duration::from_millis(7)).set("request.timeout.ms", "200000"),
        builder().set("metadata.recovery.strategy", "NONE"),
        builder().set("partitioner.rack.aware", "true").set("client.rack", "a"),
        builder().set("client.rack", "a"),
        builder().set("security.protocol", "PLAINTEXT"),
        builder().set("key.serializer", "org.apache.kafka.common.serialization.StringSerializer"),
    ] {
        let about = format!("{builder:?}");
        let producer = builder.build().await.unwrap();
        producer.deliver(kurier::Record::to("t").value("v")).await.unwrap_or_else(|error| panic!("{about}: {error}"));
    }
}

#[test]
fn librdkafka_keys_set_the_same_fields() {
    for (alias, name, value) in [
        ("metadata.broker.list", "bootstrap.servers", "a:1"),
        ("request.required.acks", "acks", "1"),
        ("queue.buffering.max.ms", "linger.ms", "17"),
        ("compression.codec", "compression.type", "lz4"),
        ("message.send.max.retries", "retries", "17"),
        ("message.max.bytes", "max.request.size", "17"),
        ("max.in.flight", "max.in.flight.requests.per.connection", "3"),
        ("message.timeout.ms", "delivery.timeout.ms", "17"),
        ("socket.timeout.ms", "request.timeout.ms", "17"),
        ("topic.metadata.refresh.interval.ms", "metadata.max.age.ms", "17"),
        ("socket.send.buffer.bytes", "send.buffer.bytes", "17"),
        ("socket.receive.buffer.bytes", "receive.buffer.bytes", "17"),
        ("partitioner", "partitioner.class", "murmur2_random"),
    ] {
        let (mut by_alias, mut by_name) = (Config::default(), Config::default());
        by_alias.set(alias, value).unwrap();
        by_name.set(name, value).unwrap();
        assert_eq!(by_alias.explain(), by_name.explain(), "{alias}");
        assert_eq!(value_of(&by_alias, name).as_deref(), Some(value), "{alias}");
    }
}

#[test]
fn typed_methods_of_tls_and_sasl_set_the_same_fields() {
    let typed = |builder: ProducerBuilder| format!("{builder:?}");
    let text = |settings: &[(&str, &str)]| {
        let set = |builder: ProducerBuilder, (key, value): &(&str, &str)| builder.set(key, value);
        format!("{:?}", settings.iter().fold(builder(), set))
    };
    let sasl =
        |mechanism| text(&[("sasl.mechanism", mechanism), ("sasl.username", "alice"), ("sasl.password", "hunter2")]);
    for (typed, text) in [
        (typed(builder().security_protocol(SecurityProtocol::SaslSsl)), text(&[("security.protocol", "SASL_SSL")])),
        (typed(builder().truststore_location("/ca")), text(&[("ssl.truststore.location", "/ca")])),
        (typed(builder().keystore_location("/k")), text(&[("ssl.keystore.location", "/k")])),
        (typed(builder().sasl_plain("alice", "hunter2")), sasl("PLAIN")),
        (typed(builder().sasl_scram_sha_256("alice", "hunter2")), sasl("SCRAM-SHA-256")),
        (typed(builder().sasl_scram_sha_512("alice", "hunter2")), sasl("SCRAM-SHA-512")),
    ] {
        assert_eq!(typed, text);
        assert!(!typed.contains("hunter2"), "{typed}");
    }
}

#[test]
fn explain_lists_all_settings() {
    let mut config = Config::default();
    config.set(" linger.ms ", " 20 ").unwrap();
    config.set("partitioner.availability.timeout.ms", "250").unwrap();
    config.set("key.serializer", "org.example.Mine").unwrap();
    config.set("security.protocol", "PLAINTEXT").unwrap();
    config.strict(false);
    config.set("sasl.kerberos.service.name", "kafka").unwrap();
    config.set("ssl.engine.id", "pkcs11").unwrap();
    config.set("group.id", "mine").unwrap();
    config.set("connections.max.idle.ms", "-1").unwrap();
    config.set("queue.buffering.max.kbytes", "64").unwrap();
    config.set("no.such.key", "1").unwrap();
    let lines: Vec<String> = config.explain().iter().map(ToString::to_string).collect();
    for line in [
        "linger.ms=20 # set in code (default 5)",
        "batch.size=16384 # default",
        "acks=all # default",
        "partitioner.availability.timeout.ms=250 # set in code (default 0)",
        "# key.serializer ignored: serializers are given to the builder",
        "security.protocol=PLAINTEXT # set in code (default PLAINTEXT)",
        "# sasl.kerberos.service.name ignored: there is no Kerberos",
        "# ssl.engine.id ignored: it is not supported yet",
        "# group.id ignored: it is not a producer's setting",
        "connections.max.idle.ms=3153600000000 # set in code (default 540000), adjusted to 3153600000000: -1 (Java) and 0 (librdkafka) mean never",
        "buffer.memory=65536 # set in code (default 33554432)",
        "# no.such.key ignored: it is not known",
    ] {
        assert!(lines.iter().any(|found| found == line), "{line} is not in {lines:#?}");
    }
}

#[test]
fn a_file_of_properties_is_read_as_java_reads_it() -> Result<(), Error> {
    let file = "# a comment
! another
bootstrap.servers = kafka-1:9092,\\
    kafka-2:9092
linger.ms: 20
acks all
compression.type=gzip
client.id=caf\\u00e9
key.serializer=org.apache.kafka.common.serialization.StringSerializer
";
    let config = Config::from_properties(file.as_bytes())?;
    for (key, value) in [
        ("bootstrap.servers", "kafka-1:9092,kafka-2:9092"),
        ("linger.ms", "20"),
        ("acks", "all"),
        ("compression.type", "gzip"),
        ("client.id", "café"),
    ] {
        assert_eq!(value_of(&config, key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(value_of(&config, "key.serializer"), None);
    let error = Config::from_properties(&b"linger.ms=soon"[..]).unwrap_err();
    assert!(format!("{error:#}").contains("linger.ms cannot be \"soon\""), "{error}");
    let pairs = Config::read_properties(&b"client.id=caf\xe9 \x80\n\xff=1\n\xef\xbb"[..])?;
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(pairs, [pair("client.id", "café \u{80}"), pair("ï»", ""), pair("ÿ", "1")]);
    let error = Config::read_properties(&b"#".repeat((1 << 20) + 1)[..]).unwrap_err();
    assert!(format!("{error:#}").contains("more than 1048576 bytes"), "{error}");
    let error = Config::from_properties(&b"client.id=\\u00g0"[..]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    Ok(())
}

#[test]
fn file_with_any_first_and_last_byte_is_read() {
    let marks: [&[u8]; 8] = [b"", b"\xef", b"\xef\xbb", b"\xef\xbb\xbf", b"\xff", b"\xff\xfe", b"\xfe", b"\xfe\xff"];
    let ends: [&[u8]; 6] = [b"", b"a", b"\0a", b"a\0", b"\xd8\x00", b"\x00\xd8"];
    for byte in 0..=u8::MAX {
        for before in [&b""[..], b"\\", b"=", b"a", b"\xef", b"\xef\xbb", b"\xfe", b"\xff"] {
            let _ = Config::from_properties(&[before, &[byte]].concat()[..]);
        }
    }
    for (mark, end) in marks.iter().flat_map(|mark| ends.map(|end| (*mark, end))) {
        let read = Config::from_properties(&[mark, end].concat()[..]);
        assert_eq!(read.is_err(), !(mark.is_empty() && end.is_empty()), "{mark:?} {end:?}");
    }
}

#[test]
fn byte_order_mark_is_named() {
    for (file, encoding) in [
        (&b"\xef\xbb\xbflinger.ms=5"[..], "UTF-8"),
        (b"\xef\xbb\xbf# a comment\nlinger.ms=5", "UTF-8"),
        (b"\xef\xbb\xbf", "UTF-8"),
        (b"\xff\xfea\0", "UTF-16"),
        (b"\xfe\xff\0a", "UTF-16"),
    ] {
        let error = Config::from_properties(file).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(format!("{error:#}").contains(&format!("byte order mark of {encoding}: save it")), "{error}");
    }
}

#[test]
fn file_shared_with_other_clients_is_accepted() {
    let file = include_str!("shared.properties");
    let config = Config::from_properties(file.as_bytes()).unwrap();
    assert_eq!(value_of(&config, "bootstrap.servers").as_deref(), Some("kafka-1:9092"));
    assert_eq!(value_of(&config, "request.timeout.ms").as_deref(), Some("20000"));
    let lines = config.explain();
    let ignored = |key: &str| lines.iter().any(|line| line.key == key && line.value.is_none());
    let keys = file.lines().filter_map(|line| line.split_once('=')).map(|(key, _)| key);
    let taken: Vec<_> = keys.filter(|key| !ignored(key)).collect();
    assert_eq!(
        taken,
        [
            "bootstrap.servers",
            "request.timeout.ms",
            "security.protocol",
            "sasl.jaas.config",
            "sasl.mechanism",
            "ssl.endpoint.identification.algorithm",
            "ssl.truststore.location",
        ]
    );
    config.check().unwrap();
    for line in ["group.ids=a", "ssl.trustore.location=/ca.pem", "consumer.group=a"] {
        Config::from_properties(format!("{file}{line}\n").as_bytes()).unwrap_err();
    }
}

#[test]
fn numbers_that_switch_a_setting_off_are_accepted() {
    const FOREVER: &str = "3153600000000";
    for (key, text, name, value) in [
        ("connections.max.idle.ms", "-1", "connections.max.idle.ms", FOREVER),
        ("connections.max.idle.ms", "-9223372036854775808", "connections.max.idle.ms", FOREVER),
        ("connections.max.idle.ms", "0", "connections.max.idle.ms", FOREVER),
        ("topic.metadata.refresh.interval.ms", "-1", "metadata.max.age.ms", FOREVER),
        ("metadata.max.age.ms", "-1", "metadata.max.age.ms", FOREVER),
        ("message.timeout.ms", "0", "delivery.timeout.ms", FOREVER),
        ("delivery.timeout.ms", "0", "delivery.timeout.ms", FOREVER),
        ("send.buffer.bytes", "-1", "send.buffer.bytes", "-1"),
        ("socket.send.buffer.bytes", "0", "send.buffer.bytes", "-1"),
        ("receive.buffer.bytes", "-1", "receive.buffer.bytes", "-1"),
        ("socket.receive.buffer.bytes", "0", "receive.buffer.bytes", "-1"),
        ("request.required.acks", "-1", "acks", "all"),
        ("compression.gzip.level", "-1", "compression.gzip.level", "-1"),
        ("queue.buffering.max.kbytes", "3", "buffer.memory", "3072"),
    ] {
        let mut config = Config::default();
        config.set(key, text).unwrap();
        assert_eq!(value_of(&config, name).as_deref(), Some(value), "{key}={text}");
        // A later value replaces it and its reason.
        let (later, shown) = if name == "acks" { ("1", "1") } else { ("7", "7") };
        config.set(name, later).unwrap();
        let line = config.explain().into_iter().find(|line| line.key == name).unwrap();
        assert_eq!(
            (line.value.as_deref(), line.why.starts_with("set in code (default")),
            (Some(shown), true),
            "{key}={text}"
        );
    }
    for key in
        ["linger.ms", "request.timeout.ms", "max.block.ms", "retry.backoff.ms", "metadata.max.idle.ms", "retries"]
    {
        Config::default().set(key, "-1").unwrap_err();
    }
}

#[test]
fn last_line_with_a_trailing_backslash_is_read() {
    for file in
        ["acks=0\nlinger.ms=7\\", "acks=0\nlinger.ms=7\\\n", "acks=0\nlinger.ms=7\\\n\\", "linger.ms=\\\n7\\\r\n"]
    {
        let config = Config::from_properties(file.as_bytes()).unwrap();
        assert_eq!(value_of(&config, "linger.ms").as_deref(), Some("7"), "{file:?}");
    }
}

#[test]
fn wrong_escape_is_an_error_with_its_line() {
    for escape in ["\\u", "\\u1", "\\u12", "\\u123", "\\u12g4", "\\u 123", "\\ud800", "\\udfff", "\\uD83Dx", "\\u00é9"]
    {
        for (file, line) in [
            (format!("client.id={escape}"), 1),
            (format!("acks=0\r\n\n! comment\n  client.id : a{escape}\nlinger.ms=1"), 4),
            (format!("acks=0\n{escape}=1\n"), 2),
            (format!("acks=0\nclient.id=a\\\n   b{escape}"), 2),
        ] {
            let latin: Vec<u8> = file.chars().map(|letter| u8::try_from(u32::from(letter)).unwrap()).collect();
            let error = Config::from_properties(&latin[..]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(format!("{error:#}").contains(&format!("line {line}: ")), "{file:?}: {error}");
        }
    }
    // Odd files that Java reads.
    for (file, id) in [("client.id=a\\qb", "aqb"), ("client.id=\\u0041\\\\", "A\\"), ("client\\u002eid=\\:\\=", ":=")] {
        let config = Config::from_properties(file.as_bytes()).unwrap();
        assert_eq!(value_of(&config, "client.id").as_deref(), Some(id), "{file:?}");
    }
}

#[test]
fn any_file_is_read_or_refused_with_its_line() {
    const PARTS: [&[u8]; 18] = [
        b"\\", b"\\u", b"u", b"12", b"d83d", b"\\ud83d", b"=", b":", b" ", b"\t", b"\x0c", b"#", b"!", b"\n", b"\r",
        b"\xff", b"\0", b"acks",
    ];
    let mut random = fastrand::Rng::with_seed(6);
    let mut refused = 0;
    for _ in 0..2_000 {
        let parts: Vec<&[u8]> = (0..random.usize(..12)).map(|_| PARTS[random.usize(..PARTS.len())]).collect();
        let file = parts.concat();
        if let Err(error) = Config::from_properties(&file[..]) {
            let text = format!("{error:#}");
            let is_placed = text.contains("properties file: line ") && !text.contains("unknown");
            assert!(
                is_placed || text.starts_with("unknown producer setting") || text.contains("acks cannot be"),
                "{file:?}: {text}"
            );
            refused += usize::from(is_placed);
        }
    }
    assert!(refused > 200, "{refused}");
}

#[tokio::test]
async fn a_producer_is_made_from_a_file() {
    let broker = kurier_broker::Broker::builder().topic("t", 1).start().await.unwrap();
    let file = format!("bootstrap.servers={}\nacks=0\n", broker.bootstrap_servers());
    let producer = Producer::from_properties(file.as_bytes()).await.unwrap();
    let metadata = producer.deliver(kurier::Record::to("t").value("v")).await.unwrap();
    assert!(!metadata.acknowledged());
}
