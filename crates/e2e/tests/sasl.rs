//! The files in testdata/sasl, which kurier-security reads in its tests, against the Java client that wrote them.

use std::fs;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kurier_e2e::java::{Jars, Program};
use kurier_e2e::testdata;
use serde_json::Value;

/// The Java programs `ReadJaas` and `AuthenticateByScram`; the second one uses the first.
static PROGRAMS: LazyLock<[Program; 2]> = LazyLock::new(|| {
    let jars = Jars::fetch("4.3.1").unwrap();
    ["ReadJaas", "AuthenticateByScram"].map(|program| jars.compile(program).unwrap())
});

/// Reads a file of JSON lines.
fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn java_reads_each_jaas_entry_as_the_file_says() {
    let [read_jaas, _] = &*PROGRAMS;
    let expected = fs::read_to_string(testdata("sasl/jaas.jsonl")).unwrap();
    let configs = lines(&expected).into_iter().map(|line| STANDARD.encode(line["config"].as_str().unwrap()) + "\n");
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), configs.collect::<String>()).unwrap();
    let printed = read_jaas.run([file.path()]).unwrap();
    assert_eq!(lines(&printed), lines(&expected));
    println!("Java reads {} entries as the file says", printed.lines().count());
}

/// Nonces and salts are random, so that only the rest can be equal.
#[test]
fn java_still_writes_exchanges_like_those_in_the_file() {
    let [_, authenticate] = &*PROGRAMS;
    let printed = authenticate.run([""; 0]).unwrap();
    let expected = fs::read_to_string(testdata("sasl/exchanges.jsonl")).unwrap();
    let fixed = |text: &str| -> Vec<Value> {
        let mut lines = lines(text);
        for line in &mut lines {
            let messages = line["messages"].as_array_mut().unwrap();
            // OAUTHBEARER has nothing random.
            if messages.len() > 1 {
                *messages = vec![messages.len().into()];
            }
        }
        lines
    };
    assert_eq!(fixed(&printed), fixed(&expected));
}
