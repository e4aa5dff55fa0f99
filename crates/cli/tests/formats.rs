//! Tests of record formats: `kurier consume --format X | kurier produce --format X` on an in-memory cluster, and bad
//! input.
//!
//! `SEED=n` sets the seed of the generated records.

mod command;

use std::env;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use assert_cmd::Command as Ended;
use bytes::Bytes;
use command::{KURIER, Running, start};
use kurier_broker::{Broker, Reply};
use kurier_protocol::messages::ProduceRequest;
use kurier_protocol::messages::produce::{PartitionProduceData, TopicProduceData};
use kurier_protocol::record_batch::{Batches, Header, NewRecord, RecordBatchBuilder, Stamp};
use kurier_protocol::{ErrorCode, read_response, write_request};
use serde_json::Value;
use tempfile::NamedTempFile;

const NOW: i64 = 1_700_000_000_000;
const RECORDS: usize = 20_000;
const PARTITIONS: i32 = 3;

/// A record that owns its data.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owned {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Random number generator: splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    /// Returns up to `longest` bytes, often none, often text.
    fn bytes(&mut self, longest: u64, allowed: impl Fn(u8) -> bool) -> Vec<u8> {
        let len = self.below(longest + 1);
        let is_text = self.below(2) == 0;
        let mut bytes: Vec<u8> = (0..len).map(|_| u8::try_from(self.below(256)).unwrap()).collect();
        if is_text {
            bytes.iter_mut().for_each(|byte| *byte = b"ab \n\t,=\"\\{}019-\r"[usize::from(*byte) % 16]);
        }
        bytes.retain(|byte| allowed(*byte));
        bytes
    }

    fn unless_null(&mut self, bytes: Vec<u8>) -> Option<Vec<u8>> {
        (self.below(5) > 0).then_some(bytes)
    }
}

/// A format and the bytes that it can carry.
struct Carries {
    format: &'static str,
    /// Bytes allowed in keys and values.
    data: fn(u8) -> bool,
    /// Bytes allowed in header values.
    header: fn(u8) -> bool,
}

const fn any(_: u8) -> bool {
    true
}

const FORMATS: [Carries; 5] = [
    Carries { format: "json", data: any, header: any },
    Carries { format: "frames", data: any, header: any },
    // Lengths precede the key and the value, so only header values cannot have every byte.
    Carries { format: r"%T %p %h\n%K %k%S %s\n", data: any, header: |byte| byte != b',' && byte != b'\n' },
    Carries { format: r"%R%s%K;%k%t@%o %p %T|%h\x00", data: any, header: |byte| byte != b',' && byte != 0 },
    // Delimiters end the parts. The lengths after them distinguish null from empty.
    Carries {
        format: r"%p\x1f%T\x1f%k\x1f%K\x1f%s\x1f%S\x1f%h\x1e",
        data: |byte| byte != 0x1e && byte != 0x1f,
        header: |byte| byte != 0x1e && byte != 0x1f && byte != b',',
    },
];

impl Carries {
    /// Generates records of every shape, by partition.
    fn records(&self, random: &mut Random) -> Vec<Vec<Owned>> {
        let mut partitions = vec![Vec::new(); usize::try_from(PARTITIONS).unwrap()];
        for _ in 0..RECORDS {
            let (key, value) = (random.bytes(12, self.data), random.bytes(60, self.data));
            let headers = (0..random.below(4)).map(|_| {
                let name = [&b""[..], b"trace", "é".as_bytes()][usize::try_from(random.below(3)).unwrap()].to_vec();
                let value = random.bytes(8, self.header);
                // Templates read this value as null.
                let value = if value == b"NULL" { Vec::new() } else { value };
                (name, random.unless_null(value))
            });
            let headers = headers.collect();
            let at = if random.below(50) == 0 {
                0
            } else {
                NOW - 1_000_000 + i64::try_from(random.below(2_000_000)).unwrap()
            };
            let record =
                Owned { timestamp: at, key: random.unless_null(key), value: random.unless_null(value), headers };
            partitions[usize::try_from(random.below(3)).unwrap()].push(record);
        }
        partitions
    }
}

impl Running {
    /// Appends records to a partition, on its leader.
    fn append(&self, topic: &str, partition: i32, records: &[Owned]) {
        let mut builder = RecordBatchBuilder::new();
        for record in records {
            let header = |(key, value): &'_ (Vec<u8>, Option<Vec<u8>>)| (key.clone(), value.clone());
            let owned: Vec<_> = record.headers.iter().map(header).collect();
            let headers: Vec<_> = owned.iter().map(|(key, value)| Header { key, value: value.as_deref() }).collect();
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            builder.append(&NewRecord { timestamp: record.timestamp, key, value, headers: &headers }).unwrap();
        }
        let records = builder.seal().unwrap().stamp(&Stamp::NONE).unwrap();
        let partition_data = vec![PartitionProduceData { index: partition, records: Some(records) }];
        let topic_data = vec![TopicProduceData { name: topic.to_owned(), partition_data, ..Default::default() }];
        let request = ProduceRequest { acks: -1, timeout_ms: 1000, topic_data, ..Default::default() };
        let mut frame = Vec::new();
        write_request(&request, 9, 1, Some("test"), &mut frame).unwrap();
        let frame = Bytes::from(frame).slice(4..);
        let reply = self.broker.with_cluster(|cluster| {
            let leader = cluster.leader(topic, partition).unwrap();
            cluster.handle(leader, &frame, NOW, false)
        });
        let Reply::Send { frame, .. } = reply else { panic!("{reply:?}") };
        let (_, response) = read_response::<ProduceRequest>(&frame.slice(4..), 9).unwrap();
        assert_eq!(response.responses[0].partition_responses[0].error_code, ErrorCode::NONE);
    }

    /// Returns the records of a partition, in order.
    fn records(&self, topic: &str, partition: i32) -> Vec<Owned> {
        let log = self.broker.with_cluster(|cluster| cluster.log(topic, partition)).unwrap().concat();
        let mut records = Vec::new();
        for batch in Batches::new(&log) {
            for record in batch.unwrap().records().unwrap() {
                let record = record.unwrap();
                let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
                records.push(Owned {
                    timestamp: record.timestamp,
                    key: owned(record.key),
                    value: owned(record.value),
                    headers: record.headers.map(|header| (header.key.to_vec(), owned(header.value))).collect(),
                });
            }
        }
        records
    }
}

#[test]
fn every_format_round_trips() {
    let seed = env::var("SEED").map_or(20_261_129, |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    for carries in FORMATS {
        let format = carries.format;
        println!("{format}");
        let running = start(Broker::builder().topic("from", PARTITIONS).topic("to", PARTITIONS));
        let servers = running.broker.bootstrap_servers();
        let sent = carries.records(&mut Random(seed));
        for (partition, records) in (0..).zip(&sent) {
            records.chunks(500).for_each(|chunk| running.append("from", partition, chunk));
        }
        let report = NamedTempFile::new().unwrap();
        let mut consume = Command::new(KURIER)
            .args(["consume", "-b", &servers, "-t", "from", "-e", "--format", format])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let produce = Command::new(KURIER)
            .args(["produce", "-b", &servers, "-t", "to", "--format", format, "--delivery-report"])
            .arg(report.path())
            .stdin(consume.stdout.take().unwrap())
            .output()
            .unwrap();
        let said = String::from_utf8(produce.stderr).unwrap();
        assert!(produce.status.success() && consume.wait().unwrap().success(), "{format}: {said}");
        assert!(said.contains("20000 records written to to, in"), "{format}: {said}");
        assert_eq!(fs::read_to_string(report.path()).unwrap().lines().count(), RECORDS, "{format}");
        for (partition, sent) in (0..).zip(&sent) {
            let came = running.records("to", partition);
            assert_eq!(came.len(), sent.len(), "{format}");
            for (came, sent) in came.iter().zip(sent) {
                assert_eq!(came, sent, "{format}");
            }
        }
    }
}

/// Runs `kurier produce -t t` with this input. Returns its standard error, status and delivery report, sorted by line.
fn produce(running: &Running, arguments: &[&str], input: &[u8]) -> (String, i32, Vec<Value>) {
    let servers = running.broker.bootstrap_servers();
    let mut command = Ended::new(KURIER);
    // Write the report to standard output.
    command.args(["produce", "-X", "max.block.ms=1000", "-b", &servers, "-t", "t", "--delivery-report", "-"]);
    let output = command.args(arguments).write_stdin(input).output().unwrap();
    let mut report: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    report.sort_by_key(|line| line["line"].as_u64());
    (String::from_utf8(output.stderr).unwrap(), output.status.code().unwrap(), report)
}

#[test]
fn bad_record_is_reported_and_others_arrive() {
    let frame = b"\0\0\0\x1a\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\x01a\0\0\0\0";
    let bad_frame = b"\0\0\0\x03\x01ab";
    let frames = [&frame[..], bad_frame, frame].concat();
    let cut_frames = [&frame[..], &frame[..9]].concat();
    /// Format, input, error, values in the log, and whether each record was written.
    type Case<'a> = (&'a str, &'a [u8], &'a str, &'a str, &'a [bool]);
    let cases: [Case<'_>; 7] = [
        (
            "json",
            b"{\"value\":\"a\"}\nnothing\n{\"value\":\"b\"}\n",
            "line 2: standard input, line 2: expected an object such as",
            "a b ",
            &[true, false, true],
        ),
        (
            "json",
            b"{\"value\":\"a\",\"partition\":7}\n{\"value\":\"b\",\"partition\":0}",
            "line 1: topic t has no partition 7: it has 1",
            "b ",
            &[false, true],
        ),
        (
            "frames",
            &frames,
            "record 2: standard input, byte 35: expected a partition of 4 bytes",
            "a a ",
            &[true, false, true],
        ),
        (
            "frames",
            &cut_frames,
            "record 2: standard input, byte 39: expected a frame of 26 bytes, found 5 bytes and the end of the input; the \
             next record's beginning is unknown, so the rest is not sent",
            "a ",
            &[true, false],
        ),
        (
            r"%k\t%s\n",
            b"k\ta\nnone\nk\tb",
            "record 2: standard input, byte 4: expected %k and then \"\\t\", found \"none\\n\"",
            "a b ",
            &[true, false, true],
        ),
        (
            r"%S %s\n",
            b"1 a\n1 bc\n1 d\n",
            "record 2: standard input, byte 7: expected \"\\n\", found \"c\\n1 d\\n\"; the next record",
            "a ",
            &[true, false],
        ),
        (
            r"%S %s\n",
            b"1 a\n2000000 ",
            "record 2: standard input, byte 12: %s has 2000000 bytes, the limit is 1048576: raise max.request.size",
            "a ",
            &[true, false],
        ),
    ];
    for (format, input, says, values, written) in cases {
        let running = start(Broker::builder().topic("t", 1));
        let (said, status, report) = produce(&running, &["--format", format], input);
        assert!(said.contains(says), "{format}: {said}");
        assert_eq!(status, 1, "{format}: {said}");
        let arrived: String = running
            .records("t", 0)
            .iter()
            .map(|record| format!("{} ", String::from_utf8_lossy(record.value.as_deref().unwrap())))
            .collect();
        assert_eq!(arrived, values, "{format}: {said}");
        let numbers: Vec<_> = report.iter().filter_map(|line| line["line"].as_u64()).collect();
        assert_eq!(numbers, (1..=written.len() as u64).collect::<Vec<_>>(), "{format}");
        let told: Vec<_> = report.iter().map(|line| line["error"].is_null()).collect();
        assert_eq!(told, written, "{format}: {report:?}");
    }
}

#[test]
fn command_line_partition_and_headers_apply_to_the_input() {
    let running = start(Broker::builder().topic("t", 3));
    let input = b"{\"key\":\"k\",\"value\":\"v\",\"partition\":1,\"timestamp\":5,\"headers\":[[\"a\",null]]}\n";
    let placed = || (0..3).map(|partition| running.records("t", partition).len()).collect::<Vec<_>>();
    let (said, status, report) = produce(&running, &["--format", "json", "-H", "b=2"], input);
    assert_eq!((status, report.len(), placed()), (0, 1, vec![0, 1, 0]), "{said}");
    let header = |name: &str, value: Option<&str>| (name.into(), value.map(Into::into));
    let headers = vec![header("a", None), header("b", Some("2"))];
    let expected = Owned { timestamp: 5, key: Some(b"k".to_vec()), value: Some(b"v".to_vec()), headers };
    assert_eq!(running.records("t", 1), [expected]);
    produce(&running, &["--format", "json", "-p", "2"], input);
    assert_eq!(placed(), [0, 1, 1]);
    // The partitioner chooses partition 2 of 3 for "k", whatever the input says.
    produce(&running, &["--format", "json", "--any-partition"], input);
    assert_eq!(placed().iter().sum::<usize>(), 3);
    assert_eq!(placed()[1], 1, "{:?}", placed());
}

#[test]
fn unreadable_format_is_refused_before_sending() {
    let running = start(Broker::builder().topic("t", 1));
    for (arguments, says) in [
        (&["--format", "%k%s\\n"][..], "nothing says where %k ends: put %K before it"),
        (&["--format", "%q"], "%q is unknown"),
        (&["--format", "json", "-Z"], "this format tells null from empty itself"),
        (&["--format", "json", "-K", ":"], "cannot be used with"),
        (&["--format", "json", "-p", "0", "--any-partition"], "cannot be used with"),
        (&["-K", "\\n"], "a line contains no \\n, so no line would have a key: use --format"),
        (&["-K", ":\\n:"], "a line contains no \\n"),
    ] {
        let (said, status, report) = produce(&running, arguments, b"a\n");
        assert!(status == 2 && report.is_empty() && said.contains(says), "{arguments:?}: {said}");
    }
    assert!(running.records("t", 0).is_empty());
}

#[test]
fn records_are_sent_while_the_input_stays_open() {
    let running = start(Broker::builder().topic("t", 1));
    let inputs = [("json", "{\"value\":\"a\"}\n"), (r"%s\n", "a\n"), ("%S %s", "1 a"), ("frames", "\0\0\0\x19\x01")];
    for (count, (format, input)) in (0..).zip(inputs) {
        let mut input = input.as_bytes().to_vec();
        if format == "frames" {
            input.extend([0xff; 16]);
            input.extend([0; 8]);
        }
        let mut producing = Command::new(KURIER)
            .args(["produce", "-b", &running.broker.bootstrap_servers(), "-t", "t", "--format", format])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = producing.stdin.take().unwrap();
        stdin.write_all(&input).unwrap();
        while running.records("t", 0).len() == count {}
        drop(stdin);
        assert!(producing.wait().unwrap().success(), "{format}");
    }
}
