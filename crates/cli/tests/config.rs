//! Tests of `kurier config`, and of the settings that commands take from the environment.

mod command;

use assert_cmd::Command;
use command::{KURIER, Ran};
use serde_json::{Value, json};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config.properties");
const VARIABLES: [(&str, &str); 3] =
    [("KAFKA_BOOTSTRAP_SERVERS", "e:1"), ("KAFKA_SASL_PASSWORD", "hunter2"), ("KAFKA_SASL_USERNAME", "eve")];
const SCRAM: [&str; 4] = ["-X", "security.protocol=SASL_SSL", "-X", "sasl.mechanism=SCRAM-SHA-512"];

/// Runs a command with these environment variables; no output may have the password.
#[track_caller]
fn kurier(variables: &[(&str, &str)], arguments: &[&str]) -> Ran {
    let output = Command::new(KURIER).args(arguments).envs(variables.iter().copied()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let ran = Ran { printed: text(output.stdout), said: text(output.stderr), status: output.status.code().unwrap() };
    assert!(!ran.printed.contains("hunter2") && !ran.said.contains("hunter2"), "{ran:?}");
    ran
}

#[test]
fn each_setting_has_its_origin_and_its_note() {
    let file = |line: u32| format!("--command-config {FILE}:{line}");
    let cases: &[(&[&str], &[[&str; 4]])] = &[
        (&["-b", "a:1"], &[["bootstrap.servers", "a:1", "command line", ""]]),
        (
            &["-b", "a:1", "-X", "message.timeout.ms=10000", "-X", "client.id=a\tb"],
            &[
                ["bootstrap.servers", "a:1", "command line", ""],
                ["delivery.timeout.ms", "10000", "command line", ""],
                ["request.timeout.ms", "9995", "default", "adjusted to 9995, which is message.timeout.ms - linger.ms"],
                ["client.id", "a\\tb", "command line", ""],
            ],
        ),
        (
            &["--command-config", FILE, "-X", "delivery.timeout.ms=40000", "-X", "sasl.login.connect.timeout.ms=5"],
            &[
                ["bootstrap.servers", "a:9092", &file(2), ""],
                ["delivery.timeout.ms", "40000", "command line", ""],
                ["security.protocol", "SASL_SSL", &file(3), ""],
                ["sasl.mechanism", "PLAIN", &file(4), ""],
                ["sasl.username", "alice", "sasl.jaas.config", ""],
                ["sasl.password", "[hidden]", "sasl.jaas.config", ""],
                ["sasl.jaas.config", "[hidden]", &file(5), ""],
                ["sasl.login.connect.timeout.ms", "5", "command line", "without effect: sasl.mechanism is PLAIN"],
                ["group.id", "", &file(6), "ignored: it is not a producer's setting"],
            ],
        ),
        (
            &[&["--env"], &SCRAM[..]].concat(),
            &[
                ["bootstrap.servers", "e:1", "KAFKA_BOOTSTRAP_SERVERS", ""],
                ["security.protocol", "SASL_SSL", "command line", ""],
                ["sasl.mechanism", "SCRAM-SHA-512", "command line", ""],
                ["sasl.username", "eve", "KAFKA_SASL_USERNAME", ""],
                ["sasl.password", "[hidden]", "KAFKA_SASL_PASSWORD", ""],
            ],
        ),
    ];
    for (arguments, expected) in cases {
        let lines: Vec<String> = expected.iter().map(|columns| columns.join("\t") + "\n").collect();
        kurier(&VARIABLES, &[&["config"], *arguments].concat()).prints(&lines.concat());
    }
}

#[test]
fn json_has_an_object_per_setting() {
    let printed =
        kurier(&[], &["config", "--json", "-b", "a:1", "-X", "linger.ms=20", "-X", "group.id=g"]).ends(0).printed;
    let lines: Vec<Value> = printed.lines().map(|line| line.parse().unwrap()).collect();
    let line = |key, value: Value, default: Value, note: Value| json!({"key": key, "value": value, "default": default, "origin": "command line", "note": note});
    let ignored = "ignored: it is not a producer's setting".into();
    let expected = [
        line("bootstrap.servers", "a:1".into(), "".into(), Value::Null),
        line("linger.ms", "20".into(), "5".into(), Value::Null),
        line("group.id", Value::Null, Value::Null, ignored),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn all_settings_include_the_defaults() {
    let printed = kurier(&[], &["config", "--all", "-b", "a:1"]).ends(0).printed;
    for line in ["linger.ms\t5\tdefault\t", "sasl.password\t\tdefault\t", "bootstrap.servers\ta:1\tcommand line\t"] {
        assert!(printed.lines().any(|found| found == line), "{line:?} is not in {printed}");
    }
}

#[test]
fn wrong_settings_are_an_error() {
    let cases: &[(&[&str], &str)] = &[
        (&["config"], "no bootstrap server given"),
        (&["config", "-b", "a:1", "-X", "linger.m=5"], "did you mean linger.ms?"),
        (
            &["config", "-b", "a:1", "-X", "acks=1", "-X", "enable.idempotence=true"],
            "enable.idempotence cannot be true",
        ),
        (
            &["config", "-b", "a:1", "-X", "sasl.password=hunter2"],
            "sasl.password is set, but security.protocol is not set",
        ),
        (&["config", "--command-config", "/nowhere"], "--command-config /nowhere cannot be read"),
        (&["config", "--env"], "sasl.username is set, but security.protocol is not set"),
        (
            &["consume", "--env", "-t", "t", "-X", "security.protocol=SSL"],
            "sasl.username is set, but security.protocol is SSL",
        ),
    ];
    for (arguments, text) in cases {
        kurier(&VARIABLES, arguments).fails(2).says(&[text]);
    }
    for command in [&["config", "--env"][..], &["consume", "--env", "-t", "t"], &["produce", "--env", "-t", "t"]] {
        kurier(&[("KAFKA_SASL_USERNAM", "x")], command).fails(2).says(&["did you mean KAFKA_SASL_USERNAME?"]);
    }
}
