//! Tests of our broker with other clients. kcat and the Java producer write with every codec, and kcat and Java's
//! console consumer read back. Java's batches pass the broker's checks, and none passes with a flipped bit. `kurier
//! consume --format` prints the same as `kcat -f`.
//!
//! `make broker-judges` shows the counts.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use kurier_broker::{Broker, Reply};
use kurier_e2e::java::Jars;
use kurier_e2e::kafka::VERSION;
use kurier_e2e::testdata;
use kurier_protocol::messages::ProduceRequest;
use kurier_protocol::messages::produce::{PartitionProduceData, TopicProduceData};
use kurier_protocol::record_batch::{BatchHeader, Batches};
use kurier_protocol::{CompressionType, ErrorCode, read_response, write_request};

/// The partitions of each topic.
const PARTITIONS: [i32; 2] = [0, 1];

/// A line of the file, or a record from a reader: key and value.
type Line<'a> = (&'a str, &'a str);

#[test]
fn kcat_and_java_write_to_our_broker_and_read_it_back() {
    let judges = Judges::new().unwrap();
    let file = testdata("events.txt");
    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<Line<'_>> = text.lines().map(|line| line.split_once('\t').unwrap()).collect();

    let java = judges.write_by_java(&file, &CompressionType::ALL.map(|codec| (topic("java", codec), codec))).unwrap();
    println!(
        "{:<8} {:<16} {:>6} {:>8} {:>7} {:>7} {:>13}",
        "codec", "writer", "lines", "batches", "encoded", "kcat", "java consumer"
    );
    for codec in CompressionType::ALL {
        for writer in ["kcat", "kcat-idempotent", "java"] {
            let topic = topic(writer, codec);
            if writer != "java" {
                judges.write_by_kcat(&file, &topic, codec, writer == "kcat-idempotent").unwrap();
            }
            let batches = judges.batches(&topic);
            let encoded = batches.iter().filter(|batch| batch.attributes.compression_type() == Some(codec)).count();
            let by_kcat = judges.read_by_kcat(&topic).unwrap();
            let by_console = judges.read_by_console_consumer(&topic).unwrap();
            let count = |read: &BTreeMap<i32, Vec<String>>| read.values().map(Vec::len).sum::<usize>();
            println!(
                "{:<8} {writer:<16} {:>6} {:>8} {encoded:>7} {:>7} {:>13}",
                codec.name(),
                lines.len(),
                batches.len(),
                count(&by_kcat),
                count(&by_console),
            );
            // librdkafka does not compress a batch that would not shrink. Such a batch has few records.
            let is_left = |batch: &&BatchHeader| batch.attributes.compression_type() != Some(codec);
            let left: Vec<_> = batches.iter().filter(is_left).map(|batch| batch.record_count).collect();
            assert!(left.iter().all(|records| writer != "java" && *records < 10), "{topic}: {left:?} not encoded");
            let is_idempotent = batches.iter().all(|batch| batch.producer_id.0 >= 0);
            assert_eq!(is_idempotent, writer != "kcat", "{topic}");
            same_lines(&lines, &by_kcat).with_context(|| format!("{topic}, by kcat")).unwrap();
            same_lines(&lines, &by_console).with_context(|| format!("{topic}, by the console consumer")).unwrap();
            if writer == "java" {
                check_places(&lines, &java[&topic], &by_kcat).with_context(|| topic.clone()).unwrap();
            }
        }
    }

    println!("\n{:<8} {:>11} {:>8} {:>8}", "codec", "Java's bytes", "flipped", "refused");
    for codec in CompressionType::ALL {
        let sent = as_sent(&judges.log(&topic("java", codec), 0)[0]);
        let (flipped, refused) = judges.flip(&format!("flipped-{codec}"), &sent);
        println!("{:<8} {:>11} {flipped:>8} {refused:>8}", codec.name(), sent.len());
        assert_eq!(flipped, refused);
    }
}

/// Keys, values and headers of every kind: null, empty, binary, with newlines and with format characters.
const SHAPES: &str = r#"{"key":null,"value":"plain","timestamp":1700000000000}
{"key":"","value":""}
{"key":"key","value":null,"headers":[["a","1"]]}
{"key":"two\nlines","value":"tab\there, 100% = \\n"}
{"key_base64":"/wD+","value_base64":"AP8KAA==","headers":[["trace","ab12"],["trace",null],["empty",""],["é","NULL"]]}
{"key":null,"value":null,"headers":[["","x=y,z"],["b",{"base64":"//4="}]],"timestamp":0}
"#;

/// Each placeholder alone and beside others, and the escapes.
const FORMATS: [&str; 18] = [
    r"%s\n",
    r"%S\n",
    "%R",
    r"%k\n",
    r"%K\n",
    r"%t\n",
    r"%p\n",
    r"%o\n",
    r"%T\n",
    r"%h\n",
    r"%R%s",
    r"%K %k%S %s",
    r"%t[%p]@%o %T %k(%K)=%s(%S) {%h} 100%%\x3b\n",
    r"%s%s%%s",
    r"\t\r\n\\%s",
    r"\x01%s\x1f\x7f",
    "é%sé\n",
    r"%k\x1f%s\x1e",
];

#[test]
fn kcat_prints_what_kurier_prints_for_each_placeholder() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let broker = runtime.block_on(Broker::builder().topic("shapes", 1).topic("odd", 1).start()).unwrap();
    let servers = broker.bootstrap_servers();
    let produce = |topic: &str, input: &str| {
        let mut produce = Command::new(kurier_e2e::command::binary().unwrap());
        produce.args(["produce", "-b", &servers, "-t", topic, "--format", "json"]).stdin(Stdio::piped());
        let mut child = produce.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    };
    let by_kcat = |topic: &str, format: &str| {
        let mut kcat = Command::new("kcat");
        printed(kcat.args(["-C", "-q", "-e", "-o", "beginning", "-b", &servers, "-t", topic, "-p", "0", "-f", format]))
    };
    let by_kurier = |topic: &str, format: &str| {
        let mut kurier = Command::new(kurier_e2e::command::binary().unwrap());
        printed(kurier.args(["consume", "-b", &servers, "-t", topic, "-e", "-p", "0", "--format", format]))
    };
    produce("shapes", SHAPES);
    for format in FORMATS {
        let (kcat, kurier) = (by_kcat("shapes", format), by_kurier("shapes", format));
        println!("{format:<55} {:>5} bytes by kcat, {:>5} by kurier", kcat.len(), kurier.len());
        assert_eq!(kcat.escape_ascii().to_string(), kurier.escape_ascii().to_string(), "{format}");
        assert!(!kcat.is_empty());
    }
    // Kurier does not imitate kcat where kcat loses data. kcat ends a header's value and a literal at a NUL, and reads
    // every hexadecimal digit after \\x but needs a decimal one first.
    produce("odd", "{\"value\":\"v\",\"headers\":[[\"h\",\"a\\u0000b\"]]}\n");
    for (format, kcat, kurier) in [
        ("%h", &b"h=a"[..], &b"h=a\0b"[..]),
        (r"\xff%s", b"ffv", b"\xffv"),
        (r"a\x00!%s", b"av", b"a\0!v"),
        (r"\x41bcd%s", b"\xcdv", b"Abcdv"),
    ] {
        assert_eq!(by_kcat("odd", format).escape_ascii().to_string(), kcat.escape_ascii().to_string(), "{format}");
        assert_eq!(by_kurier("odd", format), kurier, "{format}");
    }
}

/// Runs a command, which must succeed, and returns its output.
fn printed(command: &mut Command) -> Vec<u8> {
    let output = command.output().expect("apt-get install kcat");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn topic(writer: &str, codec: CompressionType) -> String {
    format!("{writer}-{codec}")
}

/// The broker in this process, and its clients.
struct Judges {
    broker: Broker,
    jars: Jars,
    /// The last field, because it runs the broker.
    _runtime: tokio::runtime::Runtime,
}

impl Judges {
    fn new() -> Result<Self> {
        let jars = Jars::fetch_server(VERSION)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        // The broker creates topics when their writers ask for them.
        let broker = runtime.block_on(Broker::builder().nodes(3).auto_create_topics(true, 2).start())?;
        Ok(Self { broker, jars, _runtime: runtime })
    }

    fn write_by_kcat(&self, file: &Path, topic: &str, codec: CompressionType, is_idempotent: bool) -> Result<()> {
        let mut kcat = Command::new("kcat");
        kcat.args(["-P", "-b", &self.broker.bootstrap_servers(), "-t", topic, "-z", codec.name(), "-K", "\t", "-l"]);
        kcat.arg(file).args(["-X", &format!("enable.idempotence={is_idempotent}")]);
        run(&mut kcat, "apt-get install kcat")?;
        Ok(())
    }

    /// Returns partition and offset of each line, by topic.
    fn write_by_java(
        &self,
        file: &Path,
        topics: &[(String, CompressionType)],
    ) -> Result<BTreeMap<String, Vec<(i32, usize)>>> {
        let mut java = self.jars.compile("WriteLines")?.command(&[QUIET]);
        java.arg(self.broker.bootstrap_servers()).arg(file);
        for (topic, codec) in topics {
            java.args([topic, codec.name()]);
        }
        let mut places: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for line in run(&mut java, "apt-get install openjdk-17-jre-headless")?.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let [topic, partition, offset] = fields[..] else { anyhow::bail!("java/WriteLines.java printed {line:?}") };
            places.entry(topic.to_owned()).or_default().push((partition.parse()?, offset.parse()?));
        }
        Ok(places)
    }

    /// Reads keys and values with a tab between, by partition. Offsets must count from 0.
    fn read_by_kcat(&self, topic: &str) -> Result<BTreeMap<i32, Vec<String>>> {
        let mut kcat = Command::new("kcat");
        kcat.args(["-C", "-q", "-e", "-o", "beginning", "-b", &self.broker.bootstrap_servers(), "-t", topic]);
        kcat.args(["-X", "check.crcs=true", "-f", r"%p\t%o\t%k\t%s\n"]);
        let mut read: BTreeMap<i32, Vec<String>> = BTreeMap::new();
        for line in run(&mut kcat, "apt-get install kcat")?.lines() {
            let fields: Vec<&str> = line.splitn(3, '\t').collect();
            let [partition, offset, content] = fields[..] else { anyhow::bail!("kcat printed {line:?}") };
            let partition = read.entry(partition.parse()?).or_default();
            ensure!(
                offset.parse() == Ok(partition.len()),
                "kcat read offset {offset} after {} records",
                partition.len()
            );
            partition.push(content.to_owned());
        }
        Ok(read)
    }

    /// The same with Java's console consumer, which reads one partition up to its end.
    fn read_by_console_consumer(&self, topic: &str) -> Result<BTreeMap<i32, Vec<String>>> {
        thread::scope(|scope| {
            let read = |partition| scope.spawn(move || self.read_partition_by_console_consumer(topic, partition));
            // All at once, because a virtual machine takes most of its time to start.
            let readers = PARTITIONS.map(|partition| (partition, read(partition)));
            let joined = |(partition, reader): (i32, thread::ScopedJoinHandle<'_, Result<_>>)| {
                Ok((partition, reader.join().expect("it does not panic")?))
            };
            readers.into_iter().map(joined).collect()
        })
    }

    fn read_partition_by_console_consumer(&self, topic: &str, partition: i32) -> Result<Vec<String>> {
        let end = self.broker.with_cluster(|cluster| cluster.end_offset(topic, partition)).context("no partition")?;
        let mut consumer = self.jars.program("org.apache.kafka.tools.consumer.ConsoleConsumer").command(&[QUIET]);
        consumer.args(["--bootstrap-server", &self.broker.bootstrap_servers(), "--topic", topic]);
        consumer.args(["--partition", &partition.to_string(), "--offset", "earliest"]);
        consumer.args(["--max-messages", &end.to_string(), "--timeout-ms", "60000"]);
        for what in ["offset", "key"] {
            consumer.args(["--formatter-property", &format!("print.{what}=true")]);
        }
        let mut contents = Vec::new();
        for line in run(&mut consumer, "apt-get install openjdk-17-jre-headless")?.lines() {
            let at = line.strip_prefix("Offset:").and_then(|line| line.split_once('\t'));
            let (offset, content) = at.with_context(|| format!("the console consumer printed {line:?}"))?;
            ensure!(offset.parse() == Ok(contents.len()), "offset {offset} after {} records", contents.len());
            contents.push(content.to_owned());
        }
        Ok(contents)
    }

    /// Returns the headers of all batches of a topic.
    fn batches(&self, topic: &str) -> Vec<BatchHeader> {
        let mut headers = Vec::new();
        for partition in PARTITIONS {
            let log = self.log(topic, partition).concat();
            headers.extend(Batches::new(&log).map(|batch| *batch.unwrap().header()));
        }
        headers
    }

    fn log(&self, topic: &str, partition: i32) -> Vec<Bytes> {
        self.broker.with_cluster(|cluster| cluster.log(topic, partition)).expect("it was written")
    }

    /// Sends a batch with one bit flipped, once for each byte, and at the end unchanged. Returns the number of damaged
    /// batches, and of those refused as corrupt and not written.
    fn flip(&self, topic: &str, sent: &Bytes) -> (usize, usize) {
        // Length and magic have checks of their own, and the broker sets base offset and leader epoch. The rest is the
        // checksum and the bytes it covers.
        const CHECKSUM: usize = 17;
        /// Bit 4 of this byte marks a transactional batch, which is refused first.
        const ATTRIBUTES: usize = 22;
        let create = |cluster: &mut kurier_broker::Cluster| {
            let settings = cluster.settings().default_topic.clone();
            cluster.create_topic(topic, 1, settings)
        };
        self.broker.with_cluster(create).unwrap();
        let mut refused = 0;
        for at in CHECKSUM..sent.len() {
            let bit = if at == ATTRIBUTES { 0 } else { at % 8 };
            let mut bytes = sent.to_vec();
            bytes[at] ^= 1 << bit;
            refused += usize::from(self.produce(topic, bytes.into()) == ErrorCode::CORRUPT_MESSAGE);
        }
        assert_eq!(self.log(topic, 0).len(), 0);
        assert_eq!(self.produce(topic, sent.clone()), ErrorCode::NONE);
        assert_eq!(as_sent(&self.log(topic, 0)[0]), sent);
        (sent.len() - CHECKSUM, refused)
    }

    /// Sends a batch for the topic to the first node, which leads it, and returns the error code.
    fn produce(&self, topic: &str, batch: Bytes) -> ErrorCode {
        const VERSION: i16 = 9;
        const NOW_MS: i64 = 4_000_000_000_000; // later than any record
        let partition_data = vec![PartitionProduceData { index: 0, records: Some(batch.into()) }];
        let topic_data = vec![TopicProduceData { name: topic.to_owned(), partition_data, ..Default::default() }];
        let request = ProduceRequest { acks: -1, timeout_ms: 1000, topic_data, ..Default::default() };
        let mut wire = Vec::new();
        write_request(&request, VERSION, 1, None, &mut wire).unwrap();
        let frame = Bytes::from(wire).slice(4..);
        match self.broker.with_cluster(|cluster| cluster.handle(1, &frame, NOW_MS, false)) {
            Reply::Send { frame, .. } => {
                let (_, response) = read_response::<ProduceRequest>(&frame.slice(4..), VERSION).unwrap();
                response.responses[0].partition_responses[0].error_code
            }
            reply => panic!("{reply:?}"),
        }
    }
}

/// Returns a stored batch as its producer sent it; the checksum does not cover the broker's fields.
fn as_sent(kept: &Bytes) -> Bytes {
    const LEADER_EPOCH: usize = 12;
    let mut sent = kept.to_vec();
    sent[..8].fill(0);
    sent[LEADER_EPOCH..LEADER_EPOCH + 4].fill(0xff);
    sent.into()
}

/// Checks that each line was read once, and that the lines of a key are in one partition, in the file's order.
fn same_lines(lines: &[Line<'_>], read: &BTreeMap<i32, Vec<String>>) -> Result<()> {
    let mut written: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (key, value) in lines {
        written.entry(key).or_default().push(value);
    }
    for (partition, contents) in read {
        let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for content in contents {
            let (key, value) = content.split_once('\t').context("a record without key")?;
            found.entry(key).or_default().push(value);
        }
        for (key, values) in found {
            let lines = written.remove(key).with_context(|| format!("{key:?} is in partition {partition} too"))?;
            let other = lines.iter().zip(&values).find(|(line, value)| line != value);
            ensure!(other.is_none() && lines.len() == values.len(), "of {key:?} others are read: {other:?}");
        }
    }
    ensure!(written.is_empty(), "{} keys are missing", written.len());
    Ok(())
}

/// Checks that every line is where the producer was told.
fn check_places(lines: &[Line<'_>], places: &[(i32, usize)], read: &BTreeMap<i32, Vec<String>>) -> Result<()> {
    ensure!(lines.len() == places.len(), "{} lines have a place, not {}", places.len(), lines.len());
    for ((key, value), (partition, offset)) in lines.iter().zip(places) {
        let found =
            read.get(partition).and_then(|contents| contents.get(*offset)).and_then(|content| content.split_once('\t'));
        ensure!(found == Some((key, value)), "at {partition}, {offset} is {found:?}, not {key:?}, {value:?}");
    }
    Ok(())
}

/// Silences the tools' logs, except for failures.
const QUIET: &str = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error";

fn run(command: &mut Command, remedy: &str) -> Result<String> {
    let program = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("{program} cannot be run; {remedy}"))?;
    let talk = || String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{program} ended with {}: {}", output.status, talk());
    Ok(String::from_utf8(output.stdout)?)
}
