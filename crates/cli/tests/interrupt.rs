//! Tests of signals and unwritable output from the command line: each record still gets its outcome.

mod command;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};
use std::time::Duration;

use command::{KURIER, Running, kill, nobody, start};
use kurier_broker::{Broker, Fault, FaultKind};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::NamedTempFile;

const INTERRUPTED: i32 = 130;

/// Starts a cluster of one node that answers Metadata but accepts no records. Returns it with its bootstrap server.
fn stuck(is_silent: bool) -> (Running, String) {
    let running = start(Broker::builder().topic("t", 1).auto_create_topics(true, 6));
    match is_silent {
        true => running.broker.add_fault(Fault::new("Produce", FaultKind::Silence).times(usize::MAX)),
        // The bootstrap connection still answers; the node's own address does not.
        false => {
            let port = nobody().rsplit_once(':').unwrap().1.parse().unwrap();
            running.broker.with_cluster(|cluster| cluster.advertise(1, "127.0.0.1", port));
        }
    }
    let server = running.broker.listen_address(1).unwrap().to_string();
    (running, server)
}

/// A running command and its messages.
struct Talking {
    child: Child,
    notices: BufReader<ChildStderr>,
    said: String,
}

impl Talking {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(KURIER);
        let mut child = command.args(arguments).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let notices = BufReader::new(child.stderr.take().unwrap());
        Self { child, notices, said: String::new() }
    }

    /// Waits for a message that contains this.
    #[track_caller]
    fn wait_for(&mut self, part: &str) {
        loop {
            let start = self.said.len();
            let read = self.notices.read_line(&mut self.said).unwrap();
            assert_ne!(read, 0, "it never says {part:?}, but: {}", self.said);
            if self.said[start..].contains(part) {
                return;
            }
        }
    }

    /// Waits until the command ends. Returns its status and its messages.
    fn end(mut self) -> (i32, String) {
        self.notices.read_to_string(&mut self.said).unwrap();
        (self.child.wait().unwrap().code().unwrap(), self.said)
    }
}

#[test]
fn second_signal_gives_up_and_each_line_has_its_outcome() {
    for (is_silent, is_input_open, signal, status, obstacle, written) in [
        (true, false, Signal::SIGINT, INTERRUPTED, "node 1", "unknown"),
        (true, true, Signal::SIGTERM, 143, "node 1", "unknown"),
        (false, false, Signal::SIGHUP, 129, "advertised.listeners", "no"),
        (false, true, Signal::SIGINT, INTERRUPTED, "advertised.listeners", "no"),
    ] {
        let (_running, server) = stuck(is_silent);
        let report = NamedTempFile::new().unwrap();
        let report = report.path().to_str().unwrap();
        let mut producing = Talking::start(&["produce", "-b", &server, "-t", "t", "--delivery-report", report]);
        let mut input = producing.child.stdin.take().unwrap();
        input.write_all(b"a\nb\n").unwrap();
        let input = is_input_open.then_some(input);
        producing.wait_for("no outcome for 2 records yet");
        assert!(producing.said.contains(obstacle), "{}", producing.said);
        kill(&producing.child, signal);
        producing.wait_for(match is_input_open {
            true => "interrupted: reading has ended; 2 records without an outcome",
            false => "interrupted: all input is read; 2 records without an outcome",
        });
        assert!(producing.said.contains("another Ctrl-C gives up"), "{}", producing.said);
        kill(&producing.child, signal);
        let (ended, said) = producing.end();
        assert_eq!(ended, status, "{said}");
        let lines: Vec<Value> = fs::read_to_string(report).unwrap().lines().map(|line| line.parse().unwrap()).collect();
        let outcomes: Vec<_> = lines.iter().map(|line| (line["line"].as_u64(), line["written"].as_str())).collect();
        assert_eq!(outcomes, [(Some(1), Some(written)), (Some(2), Some(written))], "{said}");
        drop(input);
    }
}

#[test]
fn first_signal_changes_nothing_once_all_input_is_read() {
    let running = start(Broker::builder().topic("t", 1));
    running.broker.add_fault(
        Fault::new("Produce", FaultKind::Error(kurier_protocol::ErrorCode::NOT_ENOUGH_REPLICAS)).times(usize::MAX),
    );
    let servers = running.broker.bootstrap_servers();
    let mut producing = Talking::start(&["produce", "-b", &servers, "-t", "t"]);
    producing.child.stdin.take().unwrap().write_all(b"a\nb\n").unwrap();
    producing.wait_for("no outcome for 2 records yet");
    kill(&producing.child, Signal::SIGINT);
    producing.wait_for("interrupted: all input is read");
    running.broker.with_cluster(kurier_broker::Cluster::clear_faults);
    let (status, said) = producing.end();
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("2 records written to t, in"), "{said}");
}

#[test]
fn line_blocked_on_memory_has_its_outcome() {
    let (_running, server) = stuck(true);
    let report = NamedTempFile::new().unwrap();
    let report = report.path().to_str().unwrap();
    let mut producing = Talking::start(&[
        "produce",
        "-b",
        &server,
        "-t",
        "t",
        "--delivery-report",
        report,
        "-X",
        "buffer.memory=40000",
        "-X",
        "batch.size=10000",
    ]);
    let mut input = producing.child.stdin.take().unwrap();
    let feeding = std::thread::spawn(move || {
        // The command stops reading, which breaks the pipe.
        let line = format!("{}\n", "x".repeat(4_000));
        while input.write_all(line.as_bytes()).is_ok() {}
    });
    producing.wait_for("no outcome for ");
    kill(&producing.child, Signal::SIGINT);
    producing.wait_for("interrupted: reading has ended");
    kill(&producing.child, Signal::SIGINT);
    let (status, said) = producing.end();
    assert_eq!(status, INTERRUPTED, "{said}");
    let lines: Vec<Value> = fs::read_to_string(report).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    let mut numbers: Vec<_> = lines.iter().map(|line| line["line"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=lines.len() as u64).collect::<Vec<_>>(), "no line lacks its outcome");
    let last = lines.iter().find(|line| line["line"].as_u64() == Some(lines.len() as u64)).unwrap();
    assert_eq!(last["written"], "no", "{last}");
    assert_eq!(last["error"], "the command was interrupted before the record was sent", "{last}");
    feeding.join().unwrap();
}

#[test]
fn replay_is_given_up_by_the_second_signal() {
    let (_running, server) = stuck(true);
    let capture = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/captures/java-4.3.1_kafka-4.3.1_zstd.pcap");
    let mut replaying = Talking::start(&["replay", capture, "-b", &server]);
    replaying.wait_for("no outcome for ");
    kill(&replaying.child, Signal::SIGINT);
    replaying.wait_for("interrupted: all input is read; ");
    kill(&replaying.child, Signal::SIGINT);
    let (status, said) = replaying.end();
    assert_eq!(status, INTERRUPTED, "{said}");
    assert!(said.contains("0 records written from ") && !said.contains(" 0 unknown"), "{said}");
}

/// A topic of one partition gets a record for another one. A lost notice fails the test once max.block.ms is over.
#[test]
fn send_to_a_missing_partition_is_reported_and_given_up_by_the_second_signal() {
    let running = start(Broker::builder().topic("t", 1));
    let servers = running.broker.bootstrap_servers();
    let capture = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/captures/java-4.3.1_kafka-4.3.1_zstd.pcap");
    let to_t = ["-b", &servers, "-t", "t", "-X", "max.block.ms=20000"];
    let produce = [&["produce", "-p", "3"], &to_t[..]].concat();
    let replay = [&["replay", capture], &to_t[..]].concat();

    let mut producing = Talking::start(&produce);
    producing.child.stdin.take().unwrap().write_all(b"a\nb\n").unwrap();
    let waits = "topic t has 1 partition, and a send waits for partition 3";
    producing.wait_for(&format!("no outcome for 1 record yet: {waits}"));
    kill(&producing.child, Signal::SIGTERM);
    producing.wait_for(&format!("interrupted: reading has ended; 1 record without an outcome ({waits})"));
    kill(&producing.child, Signal::SIGTERM);
    let (status, said) = producing.end();
    assert_eq!(status, 143, "{said}");
    assert!(said.contains("0 records written to t, 1 not written"), "{said}");

    let mut replaying = Talking::start(&replay);
    replaying.wait_for("yet: topic t has 1 partition, and a send waits for partition ");
    kill(&replaying.child, Signal::SIGTERM);
    let (status, said) = replaying.end();
    assert_eq!(status, 143, "{said}");
}

#[test]
fn perf_is_given_up_by_the_second_signal() {
    for (is_silent, obstacle) in [(true, "node 1"), (false, "advertised.listeners")] {
        let (_running, server) = stuck(is_silent);
        let settings = ["-X", "delivery.timeout.ms=20000", "-X", "request.timeout.ms=10000"];
        let records = ["--num-records", "10", "--record-size", "3", "--json"];
        let mut measuring = Talking::start(&[&["perf", "-b", &server, "-t", "t"], &records[..], &settings].concat());
        measuring.wait_for("no outcome for 10 records yet: ");
        assert!(measuring.said.contains(obstacle), "{}", measuring.said);
        kill(&measuring.child, Signal::SIGTERM);
        measuring.wait_for("interrupted: all records are sent; 10 records without an outcome");
        kill(&measuring.child, Signal::SIGTERM);
        let (status, said) = measuring.end();
        assert_eq!(status, 143, "{said}");
    }
}

#[test]
fn ignored_hangup_stays_ignored() {
    let running = start(Broker::builder().topic("t", 1));
    let servers = running.broker.bootstrap_servers();
    // nohup ignores SIGHUP, and a script's background command ignores SIGINT.
    let script = format!("trap '' HUP INT; exec {KURIER} produce -b {servers} -t t");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut producing = command.spawn().unwrap();
    let mut input = producing.stdin.take().unwrap();
    input.write_all(b"a\n").unwrap();
    let offset = || running.broker.with_cluster(|cluster| cluster.end_offset("t", 0));
    while offset() != Some(1) {}
    kill(&producing, Signal::SIGHUP);
    input.write_all(b"b\n").unwrap();
    while offset() != Some(2) {}
    kill(&producing, Signal::SIGINT);
    let ended = producing.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(INTERRUPTED), "{said}");
    drop(input);
}

/// Runs the command with a standard error that cannot be written. Returns its status.
fn unheard(arguments: &[&str], input: &str) -> i32 {
    let mut command = Command::new(KURIER);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(File::create("/dev/full").unwrap());
    let mut child = command.spawn().unwrap();
    // The command may have ended without reading.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait().unwrap().code().unwrap()
}

#[test]
fn unwritable_standard_error_does_not_affect_records() {
    let running = start(Broker::builder().topic("t", 1));
    let servers = running.broker.bootstrap_servers();
    // After two seconds the command prints that no server has answered.
    let slow = Duration::from_millis(2_300);
    running.broker.add_fault(Fault::new("ApiVersions", FaultKind::Delay(slow)));
    let server = &servers[..];
    let closed = nobody();
    for (arguments, input, status) in [
        (&["produce", "-b", server, "-t", "t"][..], "a\nb\n", 0),
        (&["produce", "-b", server, "-t", "t", "-p", "3", "-X", "max.block.ms=100"], "c\n", 1),
        (&["produce", "-b", server, "-t", "t", "-X", "acks=2"], "d\n", 2),
        (&["produce", "-b", server], "e\n", 2),
        (&["produce", "-b", &closed, "-t", "t", "-X", "max.block.ms=100"], "f\n", 1),
        (&["consume", "-b", server, "-t", "t", "-e", "-X", "linger.ms=1"], "", 0),
        (&["consume", "-b", server, "-t", "nobodys", "-e"], "", 1),
        (&["perf", "-b", server, "-t", "t", "--num-records", "3", "--record-size", "10"], "", 0),
        (&["decode", "/no/such/file"], "", 2),
    ] {
        assert_eq!(unheard(arguments, input), status, "{arguments:?}");
    }
    assert_eq!(running.broker.with_cluster(|cluster| cluster.end_offset("t", 0)), Some(5));
}

const LINE: &str = "twenty bytes a line\n";

/// Starts `produce` with a report on standard output, which is a pipe, and feeds it lines until it has read most of
/// them. Returns it with its input.
fn reporting(servers: &str, options: &[&str], line: &str, count: usize) -> (Talking, ChildStdin) {
    let mut command = Command::new(KURIER);
    command.args(["produce", "-b", servers, "-t", "t", "--delivery-report", "-"]).args(options);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(line.repeat(count).as_bytes()).unwrap();
    let notices = BufReader::new(child.stderr.take().unwrap());
    (Talking { child, notices, said: String::new() }, input)
}

#[test]
fn report_without_a_reader_is_given_up_by_the_second_signal() {
    let running = start(Broker::builder().topic("t", 1));
    let servers = running.broker.bootstrap_servers();
    for (options, line, count, is_input_open) in [
        // More lines than the pipe and the command's memory hold, so callbacks wait.
        (&[][..], LINE, 40_000, true),
        (&[], LINE, 40_000, false),
        // Refused lines: the thread that reads waits.
        (&["--format", "json"], &format!("{{\"value\":{:90}1}}\n", ""), 8_000, true),
        (&["--format", "json"], &format!("{{\"value\":{:90}1}}\n", ""), 8_000, false),
    ] {
        let (mut producing, input) = reporting(&servers, options, line, count);
        let input = is_input_open.then_some(input);
        kill(&producing.child, Signal::SIGTERM);
        producing.wait_for("the delivery report waits for its reader; another Ctrl-C ends the wait");
        kill(&producing.child, Signal::SIGTERM);
        let report = producing.child.stdout.take();
        let (status, said) = producing.end();
        assert_eq!(status, 143, "{said}");
        assert!(said.contains("the delivery report is incomplete: its reader stopped reading"), "{said}");
        drop((input, report));
    }
}

#[test]
fn slow_reader_gets_each_outcome() {
    let running = start(Broker::builder().topic("t", 1));
    let (mut producing, input) = reporting(&running.broker.bootstrap_servers(), &[], LINE, 40_000);
    drop(input);
    // The first outcome shows that the command has taken over the signals.
    let mut report = BufReader::with_capacity(1, producing.child.stdout.take().unwrap());
    report.read_line(&mut String::new()).unwrap();
    kill(&producing.child, Signal::SIGINT);
    producing.wait_for("the delivery report waits for its reader");
    let rest = report.lines().count();
    let (_, said) = producing.end();
    assert!(said.contains(&format!("{} records written to t, in", rest + 1)), "{said}");
}

#[test]
fn unwritable_report_does_not_affect_records() {
    let running = start(Broker::builder().topic("t", 1));
    let servers = running.broker.bootstrap_servers();
    let arguments = ["produce", "-b", &servers, "-t", "t", "--delivery-report", "/dev/full"];
    let mut producing = Talking::start(&arguments);
    producing.child.stdin.take().unwrap().write_all(b"a\nb\n").unwrap();
    let (status, said) = producing.end();
    assert_eq!(status, 1, "{said}");
    assert!(
        said.contains("2 records written to t, in") && said.contains("the delivery report is incomplete"),
        "{said}"
    );
}
