//! Tests of `kurier perf` from the command line: options, output and records.

mod command;

use std::io::Write;

use command::{Running, kurier, start};
use kurier_broker::{Broker, Fault, FaultKind};
use kurier_protocol::ErrorCode;
use serde_json::Value;
use tempfile::NamedTempFile;

fn running() -> (Running, String) {
    let running = start(Broker::builder().topic("t", 1));
    let servers = running.broker.bootstrap_servers();
    (running, servers)
}

/// Runs `kurier perf` on topic `t`.
fn perf(servers: &str, arguments: &[&str]) -> command::Ran {
    kurier(&[&["perf", "--bootstrap-server", servers, "--topic", "t"], arguments].concat())
}

/// Replaces every number with `N`.
fn shape(text: &str) -> String {
    let mut shape = String::new();
    for letter in text.chars() {
        match letter {
            '0'..='9' if shape.ends_with('N') => {}
            '0'..='9' => shape.push('N'),
            _ => shape.push(letter),
        }
    }
    shape
}

const TOTAL: &str = "N records sent, N.N records/sec (N.N MB/sec), N.N ms avg latency, N.N ms max latency, \
                     N ms Nth, N ms Nth, N ms Nth, N ms N.Nth.\n";

#[test]
fn output_is_that_of_kafka_producer_perf_test() {
    let (_running, servers) = running();
    let ran = perf(&servers, &["--num-records", "1000", "--record-size", "10", "--throughput", "-1"]).ends(0);
    assert_eq!(shape(&ran.printed), TOTAL);
    assert!(ran.printed.starts_with("1000 records sent, "), "{}", ran.printed);
    assert_eq!(ran.said, "");

    let ran = perf(&servers, &["--num-records", "1000", "--record-size", "10", "--warmup-records", "400"]).ends(0);
    let steady = TOTAL.replace(" records sent", " steady state records sent");
    let warmup = "Warmup first N records. Steady state results will print after the complete test summary.\n";
    assert_eq!(shape(&ran.printed), [warmup, TOTAL, &steady].concat());
    assert!(ran.printed.contains("\n600 steady state records sent, "), "{}", ran.printed);

    let paced = ["--num-records", "300", "--record-size", "10", "--throughput", "1000", "--reporting-interval", "100"];
    let ran = perf(&servers, &[&paced[..], &["--warmup-records", "1"]].concat()).ends(0);
    let progress = "In steady state.\n\
                    N records sent, N.N records/sec (N.N MB/sec), N.N ms avg latency, N.N ms max latency.\n";
    assert!(shape(&ran.printed).contains(progress), "{}", ran.printed);
}

#[test]
fn part_without_a_measured_record_has_no_latencies() {
    let (_running, servers) = running();
    // Only the first record is measured, and it warms up.
    let warmup = ["--num-records", "20", "--record-size", "1", "--latency-every", "100", "--warmup-records", "10"];
    let ran = perf(&servers, &warmup).ends(0);
    let latencies = " ms avg latency, - ms max latency, - ms 50th, - ms 95th, - ms 99th, - ms 99.9th.\n";
    assert!(shape(&ran.printed).contains(TOTAL), "{}", ran.printed);
    assert!(ran.printed.ends_with(&[" MB/sec), -", latencies].concat()), "{}", ran.printed);

    let ran = perf(&servers, &[&warmup[..], &["--json"]].concat()).ends(0);
    let report: Value = serde_json::from_str(&ran.printed).unwrap();
    let steady = &report["steady_state"];
    assert_eq!((&steady["records"], &steady["latencies"]), (&10.into(), &0.into()), "{report}");
    for name in ["avg_ms", "max_ms", "p50_ms", "p95_ms", "p99_ms", "p999_ms"] {
        assert!(report[name].is_number() && steady.get(name) == Some(&Value::Null), "{name}: {report}");
    }
}

#[test]
fn huge_throughput_is_no_limit() {
    let (_running, servers) = running();
    let ran = perf(&servers, &["--num-records", "9", "--record-size", "1", "--throughput", "1e30"]).ends(0);
    assert!(ran.printed.starts_with("9 records sent, "), "{}", ran.printed);
}

#[test]
fn measured_sample_is_stated_in_text_and_json() {
    let (_running, servers) = running();
    let many = ["--num-records", "1001", "--record-size", "10", "--latency-every", "100"];
    let ran = perf(&servers, &many).ends(0);
    let (sample, total) = ran.printed.split_once('\n').unwrap();
    assert_eq!(sample, "Latencies are those of one record in 100 (--latency-every 1: of each).");
    assert_eq!(shape(total), TOTAL);

    for (arguments, every, latencies) in [(&many[..], 100, 11), (&["--num-records", "7", "--record-size", "1"], 1, 7)] {
        let ran = perf(&servers, &[arguments, &["--json"]].concat()).ends(0);
        assert_eq!(ran.printed.lines().count(), 1, "{}", ran.printed);
        let report: Value = serde_json::from_str(&ran.printed).unwrap();
        assert_eq!((&report["latency_every"], &report["latencies"]), (&every.into(), &latencies.into()), "{report}");
        assert_eq!(report["failed"], 0, "{report}");
        assert!(report["p50_ms"].as_f64() > Some(0.0), "{report}");
        assert!(report["cpu_us_per_rec"].is_number() && report["rec_per_s"].is_number(), "{report}");
    }

    // Of each thread its own records.
    let ran = perf(&servers, &[&many[..], &["--json", "--threads", "2"]].concat()).ends(0);
    let report: Value = serde_json::from_str(&ran.printed).unwrap();
    assert_eq!((&report["records"], &report["latencies"]), (&1001.into(), &11.into()), "{report}");
}

/// Returns the values in partition 0 of topic `t`, as `kurier consume` prints them.
fn values(servers: &str) -> Vec<String> {
    let ran = kurier(&["consume", "-b", servers, "-t", "t", "-e", "--format", "%s|"]).ends(0);
    ran.printed.trim_end_matches('|').split('|').map(str::to_owned).collect()
}

#[test]
fn values_are_lines_numbers_or_slices() {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(b"alpha;beta;").unwrap();
    let name = file.path().to_str().unwrap();

    let (_running, servers) = running();
    let file_of_lines = ["--num-records", "50", "--payload-file", name, "--payload-delimiter", r"\x3b"];
    let ran = perf(&servers, &file_of_lines).ends(0);
    assert!(ran.printed.starts_with(&format!("Reading payloads from: {name}\nNumber of records read: 2\n")), "{ran:?}");
    let sent = values(&servers);
    assert_eq!(sent.len(), 50);
    assert!(sent.iter().all(|value| value == "alpha" || value == "beta"), "{sent:?}");
    assert!(sent.iter().any(|value| value == "alpha") && sent.iter().any(|value| value == "beta"), "{sent:?}");

    let (_running, servers) = running();
    perf(&servers, &["--num-records", "12", "--payload-monotonic"]).ends(0);
    assert_eq!(values(&servers), ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"]);

    let (_running, servers) = running();
    perf(&servers, &["--num-records", "3", "--payload-file", name, "--record-size", "4"]).ends(0);
    assert_eq!(values(&servers), ["alph", "a;be", "lpha"]);
}

#[test]
fn settings_are_taken_in_the_words_of_kafka() {
    let mut file = NamedTempFile::new().unwrap();
    let (_running, servers) = running();
    writeln!(file, "bootstrap.servers={servers}").unwrap();
    let name = file.path().to_str().unwrap();
    let start = ["perf", "--topic", "t", "--num-records", "5", "--record-size", "1", "--print-metrics"];
    for arguments in [
        &["--producer-props", &format!("bootstrap.servers={servers}"), "client.id=me", "acks=1"][..],
        &["--producer.config", name, "--producer-props", "client.id=me"],
        &["--command-config", name, "--command-property", "client.id=me", "linger.ms=0"],
        &["-b", &servers, "-X", "client.id=me", "-X", "acks=1"],
    ] {
        let ran = kurier(&[&start[..], arguments].concat()).ends(0);
        let metrics = ran.printed.split_once("\n\n").unwrap().1;
        assert_eq!(
            metrics,
            "Metric Name                                          Value\n\
             producer-metrics:record-error-total:{client-id=me} : 0.000\n\
             producer-metrics:record-send-total:{client-id=me}  : 5.000\n"
        );
    }
}

#[test]
fn failures_are_counted_and_the_first_is_printed() {
    let (running, servers) = running();
    let refusal = FaultKind::Error(ErrorCode::INVALID_RECORD);
    running.broker.add_fault(Fault::new("Produce", refusal).times(usize::MAX));
    let ran = perf(&servers, &["--num-records", "10", "--record-size", "1", "--json"]).ends(1);
    let report: Value = serde_json::from_str(&ran.printed).unwrap();
    assert_eq!((&report["failed"], &report["records"]), (&10.into(), &0.into()), "{report}");
    assert_eq!(report.get("p50_ms"), Some(&Value::Null), "{report}");
    ran.says(&["first error: ", "INVALID_RECORD"]);
}

#[test]
fn wrong_options_are_refused_by_name() {
    let start = ["perf", "-b", "h:1", "-t", "t", "--num-records", "3"];
    let sized = ["--record-size", "1"];
    for (arguments, part) in [
        (&[][..], "--record-size"),
        (&["--payload-monotonic", "--record-size", "1"], "--payload-monotonic"),
        (&["--record-size", "0"], "--record-size"),
        (
            &[&sized[..], &["--transactional-id", "a"]].concat(),
            "--transactional-id cannot be used: Kurier has no trans",
        ),
        (&[&sized[..], &["--transaction-duration-ms", "9"]].concat(), "--transaction-duration-ms cannot be used"),
        (
            &[&sized[..], &["--warmup-records", "3"]].concat(),
            "--warmup-records is 3: it must be less than --num-records 3",
        ),
        (&[&sized[..], &["--throughput", "inf"]].concat(), "--throughput must be a number"),
        (&[&sized[..], &["--reporting-interval", "0"]].concat(), "--reporting-interval"),
        (&["--payload-file", "no", "--payload-delimiter", r"\q"], r"--payload-delimiter: \q is unknown"),
    ] {
        kurier(&[&start[..], arguments].concat()).fails(2).says(&[part]);
    }
}
