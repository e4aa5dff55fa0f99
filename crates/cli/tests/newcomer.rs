//! The way of a new user: the files of Java clients, against `kurier broker` with TLS and users.
#![cfg(feature = "tls")]

mod command;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use command::{KURIER, Ran};
use tempfile::TempDir;

/// No output may have these.
const PASSWORDS: [&str; 2] = ["SECRET-7Qz", "wrong-7Qz"];

fn file(name: &str) -> String {
    format!("{}/../../testdata/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The command `kurier broker`, which ends with its test.
struct Cluster {
    child: Child,
    server: String,
}

impl Cluster {
    fn start(arguments: &[&str]) -> Self {
        let arguments = ["broker", "--listen", "127.0.0.1:0"].iter().chain(arguments);
        let mut child =
            Command::new(KURIER).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut server = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut server).unwrap();
        Self { child, server: server.trim().to_owned() }
    }

    /// Starts a cluster with this certificate, and a user with an API key.
    fn secured(certificate: &str) -> Self {
        let (certificate, key) = (file(certificate), file("broker-key.pem"));
        Self::start(&["--tls-cert", &certificate, "--tls-key", &key, "--user", "KEY:SECRET-7Qz"])
    }

    /// Returns the next message of the command.
    fn says(&mut self) -> String {
        let mut line = String::new();
        BufReader::new(self.child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The file that a managed cloud offers for Java, with settings of other clients.
fn cloud(server: &str) -> String {
    format!(
        "# Required connection configs for Kafka producer, consumer, and admin\n\
         bootstrap.servers={server}\n\
         security.protocol=SASL_SSL\n\
         sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username='KEY' \
         password='SECRET-7Qz';\n\
         sasl.mechanism=PLAIN\n\
         client.dns.lookup=use_all_dns_ips\n\
         session.timeout.ms=45000\n\
         acks=all\n\
         schema.registry.url=https://registry.example\n\
         basic.auth.credentials.source=USER_INFO\n\
         basic.auth.user.info=KEY:SECRET-7Qz\n\
         # The authority of the test cluster.\n\
         ssl.truststore.location={}\n",
        file("ca.pem")
    )
}

/// A file with SCRAM and the certificate of a company's authority.
fn company(server: &str) -> String {
    format!(
        "bootstrap.servers={server}\n\
         security.protocol=SASL_SSL\n\
         sasl.mechanism=SCRAM-SHA-512\n\
         sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\\n  \
         username=\"KEY\" \\\n  password=\"SECRET-7Qz\";\n\
         ssl.truststore.type=PEM\n\
         ssl.truststore.location={}\n\
         ssl.endpoint.identification.algorithm=https\n\
         key.serializer=org.apache.kafka.common.serialization.StringSerializer\n",
        file("ca.pem")
    )
}

/// Runs a command with these environment variables; no output may have a password.
#[track_caller]
fn kurier(input: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Ran {
    let mut command = assert_cmd::Command::new(KURIER);
    let output = command.args(arguments).envs(variables.iter().copied()).write_stdin(input).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let ran = Ran { printed: text(output.stdout), said: text(output.stderr), status: output.status.code().unwrap() };
    for password in PASSWORDS {
        assert!(!ran.printed.contains(password) && !ran.said.contains(password), "{ran:?}");
    }
    ran
}

#[test]
fn files_of_java_clients_lead_to_a_first_record() {
    let mut cluster = Cluster::secured("broker.pem");
    assert_eq!(
        cluster.says(),
        "kurier: clients set security.protocol=SASL_SSL, and one sasl.mechanism of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512\n"
    );
    let folder = TempDir::new().unwrap();
    for (name, text) in [("cloud", cloud(&cluster.server)), ("company", company(&cluster.server))] {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        let config = ["--command-config", path.to_str().unwrap()];
        let shown = kurier("", &[], &[&["config"], &config[..]].concat()).ends(0);
        assert!(shown.printed.contains("sasl.jaas.config\t[hidden]\t"), "{}", shown.printed);
        kurier("first\n", &[], &[&["produce", "-t", name], &config[..]].concat()).ends(0);
        kurier("", &[], &[&["consume", "-t", name, "-e"], &config[..]].concat()).prints("first\n");
        let ran = kurier(
            "",
            &[],
            &[&["perf", "-t", name, "--num-records", "10", "--record-size", "9"], &config[..]].concat(),
        );
        ran.ends(0);
    }
}

#[test]
fn variables_lead_to_a_first_record() {
    let cluster = Cluster::secured("broker.pem");
    let authority = file("ca.pem");
    let variables = [
        ("KAFKA_BOOTSTRAP_SERVERS", &*cluster.server),
        ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
        ("KAFKA_SASL_MECHANISM", "SCRAM-SHA-256"),
        ("KAFKA_SASL_USERNAME", "KEY"),
        ("KAFKA_SASL_PASSWORD", "SECRET-7Qz"),
        ("KAFKA_SSL_TRUSTSTORE_LOCATION", &authority),
    ];
    kurier("", &variables, &["config", "--env"]).ends(0);
    kurier("first\n", &variables, &["produce", "--env", "-t", "t"]).ends(0);
    kurier("", &variables, &["consume", "--env", "-t", "t", "-e"]).prints("first\n");
}

/// A mistake in the settings: its name, the cluster, the settings, the text and the status that follow.
type Mistake<'a> = (&'a str, &'a Cluster, &'a [&'a str], &'a [&'a str], i32);

/// Each mistake has one text for produce and consume, in good time, with the right status.
#[test]
fn mistakes_are_explained() {
    let (cluster, expired) = (Cluster::secured("broker.pem"), Cluster::secured("broker-expired.pem"));
    let plain = Cluster::start(&[]);
    let (other, key) = (file("other.pem"), file("client-key-pbkdf2.pem"));
    let (trust, identity) = (format!("ssl.truststore.location={other}"), format!("ssl.key.location={key}"));
    let chain = format!("ssl.certificate.location={}", file("client.pem"));
    let jaas = "sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username=\"KEY\" \
                password=\"wrong-7Qz\";";
    let mistakes: [Mistake<'_>; 8] = [
        ("wrong password", &cluster, &[jaas], &["PLAIN for user KEY: SASL_AUTHENTICATION_FAILED (58)"], 1),
        ("missing authority", &cluster, &[&trust], &["signed by no trusted authority", "set ssl.truststore."], 1),
        ("plaintext port", &plain, &[], &["is this a PLAINTEXT port? set security.protocol=PLAINTEXT"], 1),
        (
            "TLS port",
            &cluster,
            &["security.protocol=PLAINTEXT"],
            &["this is a TLS port", "set security.protocol=SSL"],
            1,
        ),
        (
            "wrong host name",
            &cluster,
            &["kurier.tls.server.name=kafka.other.example"],
            &["not kafka.other.example: check advertised.listeners, or set kurier.tls.server.name"],
            1,
        ),
        ("expired certificate", &expired, &[], &["the broker's certificate expired", "renew it, or check"], 1),
        (
            "key without its passphrase",
            &cluster,
            &[&identity, &chain],
            &["client-key-pbkdf2.pem is encrypted: set ssl.key.password"],
            2,
        ),
        (
            "no CA file",
            &cluster,
            &["ssl.truststore.location=nowhere.pem"],
            &["cannot read nowhere.pem: No such file"],
            2,
        ),
    ];
    let folder = TempDir::new().unwrap();
    for (name, cluster, settings, says, status) in mistakes {
        let path = folder.path().join("client.properties");
        fs::write(&path, cloud(&cluster.server)).unwrap();
        let settings = settings.iter().flat_map(|setting| ["-X", setting]);
        let common: Vec<_> =
            ["-t", "t", "--command-config", path.to_str().unwrap()].into_iter().chain(settings).collect();
        for command in [&["produce", "-X", "max.block.ms=3000"][..], &["consume", "-e"]] {
            let ran = kurier("v\n", &[], &[command, &common].concat());
            println!("{name}: {}: {}", command[0], ran.said);
            ran.fails(status).says(says);
        }
    }
}
