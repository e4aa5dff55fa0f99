//! Tests of `kurier produce --delivery-report`: when outcomes are written, and which files are refused.

mod command;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use command::{KURIER, kurier, nobody, start};
use kurier_broker::Broker;
use tempfile::TempDir;

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
    for (name, text) in [("input", "a\nb\n"), ("data", "{\"topic\":\"t\"}\n"), ("old", OLD), ("empty", "")] {
        fs::write(folder.path().join(name), text).unwrap();
    }
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
        ("data", &["input"], "data: it exists and is no delivery report"),
        ("input", &["old"], "input: it exists and is no delivery report"),
        (".", &["input"], "it is a directory"),
        ("no/such", &["input"], "no/such: No such file"),
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
    let text = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!([text("input"), text("data"), text("old")], ["a\nb\n", "{\"topic\":\"t\"}\n", OLD]);
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
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 6, "no other file is left");
}

#[test]
fn capture_over_other_data_is_refused() {
    let folder = folder();
    let input = folder.path().join("input");
    let input = input.to_str().unwrap();
    let ran = kurier(&["capture", "--listen", "127.0.0.1:0", "--upstream", &nobody(), "--out", input]);
    ran.fails(2).says(&["input: it exists and is no capture"]);
    assert_eq!(fs::read_to_string(input).unwrap(), "a\nb\n");
}
