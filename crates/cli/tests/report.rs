//! Tests of `kurier produce --delivery-report`: when outcomes are written, and which files are refused.

mod command;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use command::{KURIER, kurier, nobody, start};
use kurier_broker::Broker;
use tempfile::TempDir;

const PRECIOUS: &str = "{\"line\":5,\"topic\":\"news\",\"text\":\"precious\"}\n";
const OLD: &str = "{\"line\":1,\"offset\":7,\"partition\":0,\"topic\":\"t\"}\n";

#[test]
fn outcomes_are_in_the_file_while_the_input_is_open() {
    let running = start(Broker::builder().topic("t", 1));
    let servers = running.broker.bootstrap_servers();
    let folder = TempDir::new().unwrap();
    let report = folder.path().join("report");
    let mut command = Command::new(KURIER);
    command.args(["produce", "-b", &servers, "-t", "t", "--delivery-report"]).arg(&report);
    let mut producing = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut input = producing.stdin.take().unwrap();
    for lines in 1..=3 {
        input.write_all(b"a\n").unwrap();
        while fs::read_to_string(&report).unwrap_or_default().lines().count() < lines {}
    }
    drop(input);
    assert_eq!(producing.wait().unwrap().code(), Some(0));
}

/// Creates a folder with an input, a file of other data and an older report.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, text) in
        [("input", "a\nb\n"), ("data", "{\"topic\":\"t\"}\n"), ("precious", PRECIOUS), ("old", OLD), ("empty", "")]
    {
        fs::write(folder.path().join(name), text).unwrap();
    }
    std::os::unix::fs::symlink("missing", folder.path().join("dangling")).unwrap();
    std::os::unix::fs::symlink("input", folder.path().join("link")).unwrap();
    folder
}

#[test]
fn report_over_other_data_is_refused() {
    let folder = folder();
    let server = nobody();
    for (report, inputs, part) in [
        ("input", &["input"][..], "input: it is also an input"),
        ("./input", &["old", "input"], "input: it is also an input"),
        ("link", &["input"], "link: it is also an input"),
        ("input", &["link"], "input: it is also an input"),
        ("old", &["old"], "old: it is also an input"),
        ("data", &["input"], "data: the file exists and is not a delivery report"),
        ("input", &["old"], "input: the file exists and is not a delivery report"),
        (".", &["input"], "it is a directory"),
        ("no/such", &["input"], "no/such: cannot create a file in no: "),
        ("precious", &["input"], "precious: the file exists and is not a delivery report"),
        ("dangling", &["input"], "dangling: it is a link to a file that does not exist"),
        ("new\n\u{1b}[1m/report", &["input"], r"new\n\u{1b}[1m/report: cannot create a file in new\n\u{1b}[1m: "),
    ] {
        let mut command = assert_cmd::Command::new(KURIER);
        command
            .current_dir(&folder)
            .args(["produce", "-b", &server, "-t", "t", "--delivery-report", report])
            .args(inputs);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{report} {inputs:?}: {said}");
        assert!(said.contains(part), "{report} {inputs:?}: {said}");
    }
    // The shell opens these files before the command starts.
    let file = |name: &str| File::open(folder.path().join(name)).unwrap();
    let appending = OpenOptions::new().append(true).open(folder.path().join("input")).unwrap();
    let path = folder.path().join("input");
    let path = path.to_str().unwrap();
    for (report, inputs, stdin, stdout) in [
        (path, &[][..], Stdio::from(file("input")), Stdio::null()),
        (path, &["-"], Stdio::from(file("input")), Stdio::null()),
        ("-", &[path], Stdio::null(), Stdio::from(appending)),
    ] {
        let mut command = Command::new(KURIER);
        command.args(["produce", "-b", &server, "-t", "t", "--delivery-report", report]).args(inputs);
        let output = command.stdin(stdin).stdout(stdout).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && said.contains("it is also an input"), "{said}");
    }
    for (name, text) in [("input", "a\nb\n"), ("data", "{\"topic\":\"t\"}\n"), ("precious", PRECIOUS), ("old", OLD)] {
        assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), text, "{name}");
    }
}

#[test]
fn report_replaces_an_older_one() {
    let running = start(Broker::builder().topic("t", 1));
    let servers = running.broker.bootstrap_servers();
    let folder = folder();
    let input = folder.path().join("input");
    let lines = |path: &Path| fs::read_to_string(path).unwrap().lines().count();
    for name in ["old", "empty", "new", "new"] {
        let report = folder.path().join(name);
        let arguments = ["produce", "-b", &servers, "-t", "t", "--delivery-report", report.to_str().unwrap()];
        kurier(&[&arguments[..], &[input.to_str().unwrap()]].concat()).ends(0);
        assert_eq!(lines(&report), 2, "{name}");
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 8, "no other file is left");
}

#[test]
fn failed_start_keeps_the_older_report() {
    let running = start(Broker::builder().topic("t", 1));
    let servers = running.broker.bootstrap_servers();
    let folder = folder();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (report, input) = (path("old"), path("input"));
    for (server, topic, setting, status) in [
        (&nobody()[..], "t", "max.block.ms=100", 1),
        ("kurier.invalid:9092", "t", "max.block.ms=100", 1),
        (&servers, "..", "acks=1", 2),
        (&servers, "t", "max.in.flight.requests.per.connection=6", 2),
    ] {
        let arguments = ["produce", "-b", server, "-t", topic, "-X", setting, "--delivery-report", &report, &input];
        kurier(&arguments).fails(status);
        assert_eq!(fs::read_to_string(&report).unwrap(), OLD, "{arguments:?}");
    }
}

/// The shell opens the file, and the report names the open file.
#[test]
fn report_in_an_open_file_keeps_its_other_lines() {
    let running = start(Broker::builder().topic("t", 1));
    let servers = running.broker.bootstrap_servers();
    let folder = folder();
    let input = folder.path().join("input");
    for (report, redirection, is_appended) in [
        ("/dev/stdout", ">>", true),
        ("/dev/stdout", ">", false),
        ("/dev/fd/1", ">>", true),
        ("/proc/self/fd/1", ">", false),
        ("/dev/stderr", "2>>", true),
        ("old", ">>", true),
    ] {
        let old = folder.path().join("old");
        fs::write(&old, OLD).unwrap();
        let produce = format!("{KURIER} produce -b {servers} -t t --delivery-report {report} {}", input.display());
        let script = format!("{{ {produce}; {produce}; }} {redirection}old");
        let status = Command::new("sh").args(["-c", &script]).current_dir(&folder).status().unwrap();
        assert!(status.success(), "{script}");
        let text = fs::read_to_string(&old).unwrap();
        assert_eq!(text.starts_with(OLD), is_appended, "{script}: {text}");
        let lines = text.lines().filter(|line| line.starts_with('{')).count();
        assert_eq!(lines, 4 + usize::from(is_appended), "{script}: {text}");
    }
    let script = format!("{KURIER} produce -b {servers} -t t --delivery-report /dev/fd/3 {} 3>>old", input.display());
    let output = Command::new("sh").args(["-c", &script]).current_dir(&folder).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("/dev/fd/3: it is an open file"), "{said}");
}

#[test]
fn capture_over_other_data_or_output_is_refused() {
    let folder = folder();
    let input = folder.path().join("input");
    let input = input.to_str().unwrap();
    for (out, part) in [
        (input, "input: the file exists and is not a capture"),
        ("-", "--out -: the command prints its own lines to standard output: name a file"),
        ("/dev/stdout", "--out /dev/stdout: the command prints its own lines to standard output: name a file"),
        ("/dev/stderr", "--out /dev/stderr: the command prints its own lines to standard output: name a file"),
    ] {
        let ran = kurier(&["capture", "--listen", "127.0.0.1:0", "--upstream", &nobody(), "--out", out]);
        ran.fails(2).says(&[part]);
    }
    assert_eq!(fs::read_to_string(input).unwrap(), "a\nb\n");
}
