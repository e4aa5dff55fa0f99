//! A running Kafka, ours or the user's: its topics, and other clients to read and write them. java/AskKafka.java runs
//! the Java client; kcat and Java's console consumer run like a user would run them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::clock::wait_until;
use crate::java::{Jars, run};

/// The main version of Kafka in tests. Its client and tools also talk to a user's own cluster.
pub const VERSION: &str = "4.3.1";

/// A running Kafka.
#[derive(Debug)]
pub struct Kafka {
    bootstrap_servers: String,
    jars: Jars,
    asked: Mutex<AskKafka>,
    folder: TempDir,
}

/// Owner of a dynamic setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Configured<'a> {
    /// The topic of this name.
    Topic(&'a str),
    /// All brokers.
    Brokers,
    /// The broker of this id.
    Broker(i32),
}

/// A partition's description by the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its index.
    pub index: i32,
    /// The node that leads it, if any.
    pub leader: Option<i32>,
    /// End offset for consumers, which excludes records that followers have not copied; -1 without a leader.
    pub end: i64,
    /// The nodes in sync.
    pub in_sync: Vec<i32>,
}

/// A record of text, as another client read it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// Its partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its key, if it has one.
    pub key: Option<String>,
    /// Its value.
    pub value: String,
}

impl Kafka {
    /// Connects the client and tools in these jars to this Kafka, which need not be up yet.
    ///
    /// # Errors
    /// If Java or Maven is missing.
    pub fn new(bootstrap_servers: &str, jars: Jars) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let asked = AskKafka::start(&jars, bootstrap_servers, folder.path())?;
        Ok(Self { bootstrap_servers: bootstrap_servers.to_owned(), jars, asked: Mutex::new(asked), folder })
    }

    /// Returns the user's own cluster, if `KAFKA_BOOTSTRAP` names one.
    ///
    /// # Errors
    /// If Java or Maven is missing.
    pub fn from_environment() -> Option<Result<Self>> {
        let bootstrap_servers = std::env::var("KAFKA_BOOTSTRAP").ok().filter(|servers| !servers.is_empty())?;
        Some(Jars::fetch_server(VERSION).and_then(|jars| Self::new(&bootstrap_servers, jars)))
    }

    /// Returns the addresses of all nodes, up or down, in the order of their ids.
    #[must_use]
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// Returns the ids of the running nodes, according to the node at this address.
    ///
    /// # Errors
    /// If the node does not answer within a second.
    pub fn nodes(&self, address: &str) -> Result<Vec<i32>> {
        let answer = self.ask(&["nodes", address])?;
        answer.iter().map(|id| id.parse().context("a node's id")).collect()
    }

    /// Creates a topic and waits until all its replicas are in sync.
    ///
    /// # Errors
    /// If the cluster refuses it.
    pub fn create_topic(&self, name: &str, partitions: i32, replicas: usize, settings: &[&str]) -> Result<()> {
        let counts = [partitions.to_string(), replicas.to_string()];
        self.ask(&[&["create", name, &counts[0], &counts[1]], settings].concat())?;
        self.wait_for_replicas(name, replicas)
    }

    /// Creates a topic whose partitions have these replicas, with the preferred leader first. Waits until all are in
    /// sync.
    ///
    /// # Errors
    /// If the cluster refuses it.
    pub fn create_assigned_topic(&self, name: &str, replicas: &[Vec<i32>], settings: &[&str]) -> Result<()> {
        let partition = |ids: &Vec<i32>| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let partitions = replicas.iter().map(partition).collect::<Vec<_>>().join(";");
        self.ask(&[&["create", name, &partitions, "assigned"], settings].concat())?;
        self.wait_for_replicas(name, replicas.first().map_or(0, Vec::len))
    }

    /// Moves partitions back to their preferred leaders, as far as these are in sync.
    ///
    /// # Errors
    /// If the cluster refuses it.
    pub fn elect_preferred_leaders(&self, topics: &[&str]) -> Result<()> {
        self.ask(&[&["elect"], topics].concat())?;
        Ok(())
    }

    /// Deletes topics.
    ///
    /// # Errors
    /// If the cluster refuses it.
    pub fn delete_topics(&self, names: &[&str]) -> Result<()> {
        self.ask(&[&["delete"], names].concat())?;
        Ok(())
    }

    /// Changes a setting; `None` restores the default.
    ///
    /// # Errors
    /// If the cluster refuses it.
    pub fn configure(&self, owner: Configured<'_>, setting: &str, value: Option<&str>) -> Result<()> {
        let (kind, name) = match owner {
            Configured::Topic(name) => ("topic", name.to_owned()),
            Configured::Brokers => ("broker", String::new()),
            Configured::Broker(id) => ("broker", id.to_string()),
        };
        let words = ["configure", kind, &name, setting].into_iter().chain(value);
        self.ask(&words.collect::<Vec<_>>())?;
        Ok(())
    }

    /// Sets a user's password for a mechanism, such as SCRAM-SHA-512.
    ///
    /// # Errors
    /// If the cluster refuses it.
    pub fn set_scram_password(&self, user: &str, mechanism: &str, password: &str) -> Result<()> {
        self.ask(&["scram", user, mechanism, password])?;
        Ok(())
    }

    /// Waits until every partition of a topic has a leader and this many replicas in sync.
    ///
    /// # Errors
    /// After two minutes, far longer than a silent node counts as alive.
    pub fn wait_for_replicas(&self, topic: &str, replicas: usize) -> Result<()> {
        let mut last = String::new();
        let waited = wait_until(&format!("{replicas} replicas of {topic} in sync"), Duration::from_secs(120), || {
            // A node may not know the topic yet, or know it no longer; that is no failure.
            let partitions = match self.describe(topic) {
                Ok(partitions) => partitions,
                Err(error) => {
                    last = format!("{error:#}");
                    return Ok(None);
                }
            };
            last = format!("{partitions:?}");
            let is_so = |partition: &Partition| partition.leader.is_some() && partition.in_sync.len() == replicas;
            Ok((!partitions.is_empty() && partitions.iter().all(is_so)).then_some(()))
        });
        waited.with_context(|| format!("last: {last}"))
    }

    /// Waits until consumers see this many records of a topic. With acks=0 no one reports when records are written, and
    /// with acks=1 no one reports when the followers have them.
    ///
    /// # Errors
    /// If there are fewer after ten seconds.
    pub fn wait_for_records(&self, topic: &str, count: usize) -> Result<()> {
        let mut last = String::new();
        let waited = wait_until(&format!("{count} records in {topic}"), Duration::from_secs(10), || {
            let partitions = self.describe(topic)?;
            last = format!("{partitions:?}");
            let ends = partitions.iter().map(|partition| partition.end).sum::<i64>();
            Ok((ends >= i64::try_from(count)?).then_some(()))
        });
        waited.with_context(|| format!("last: {last}"))
    }

    /// Returns the partitions of a topic, in order.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub fn describe(&self, topic: &str) -> Result<Vec<Partition>> {
        let answer = self.ask(&["describe", topic])?;
        let mut partitions = answer.iter().map(|line| Partition::parse(line)).collect::<Result<Vec<_>>>()?;
        partitions.sort_by_key(|partition| partition.index);
        Ok(partitions)
    }

    /// Returns the node that leads a partition, if any.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub fn leader(&self, topic: &str, partition: i32) -> Result<Option<i32>> {
        let partitions = self.describe(topic)?;
        let partition = partitions.iter().find(|other| other.index == partition).context("no such partition")?;
        Ok(partition.leader)
    }

    /// Writes a file with the Java producer and its default settings. Each line is a record, with a tab between key and
    /// value; a line without a tab has no key.
    ///
    /// # Errors
    /// If a record is not acknowledged.
    pub fn produce_by_java(&self, topic: &str, file: &Path) -> Result<()> {
        self.ask(&["produce", topic, &file.display().to_string()])?;
        Ok(())
    }

    /// Reads a topic up to its current end with Java's consumer. Returns the records in the order of partitions and
    /// offsets.
    ///
    /// # Errors
    /// If reading fails.
    pub fn read_by_java(&self, topic: &str) -> Result<Vec<Record>> {
        let file = self.folder.path().join("read");
        self.save_by_java(topic, &file)?;
        records(&fs::read_to_string(file)?)
    }

    /// Like [`read_by_java`](Self::read_by_java), but writes the records to a file, one per line: partition, offset,
    /// the key's length or -1, key, value, separated by tabs. The records of each partition are in the order of their
    /// offsets.
    ///
    /// # Errors
    /// If reading fails.
    pub fn save_by_java(&self, topic: &str, file: &Path) -> Result<()> {
        self.ask(&["read", topic, &file.display().to_string()])?;
        Ok(())
    }

    /// Like [`read_by_java`](Self::read_by_java), with kcat, which checks the batches' checksums too.
    ///
    /// # Errors
    /// If kcat is missing or fails.
    pub fn read_by_kcat(&self, topic: &str) -> Result<Vec<Record>> {
        let mut kcat = Command::new("kcat");
        kcat.args(["-C", "-q", "-e", "-o", "beginning", "-b", &self.bootstrap_servers, "-t", topic]);
        kcat.args(["-X", "check.crcs=true", "-X", "fetch.wait.max.ms=50"]);
        kcat.args(["-f", r"%p\t%o\t%K\t%k\t%s\n"]);
        let output = run(&mut kcat, "apt-get install kcat")?;
        records(&String::from_utf8(output.stdout)?)
    }

    /// Reads the topics whose names match a pattern, with Java's console consumer. Returns the records by their printed
    /// headers, because the consumer does not print topics. It ends after `count` records, or after ten seconds without
    /// one.
    ///
    /// # Errors
    /// If it fails, or finds a number of records other than `count`.
    pub fn read_by_console_consumer(&self, topics: &str, count: usize) -> Result<BTreeMap<String, Vec<Record>>> {
        // Kafka 3.8 moved the class, and 4.2 renamed the option.
        let (class, property) = match self.jars.version() {
            version if version.starts_with("3.7.") => ("kafka.tools.ConsoleConsumer", "--property"),
            version if version.starts_with("3.") => ("org.apache.kafka.tools.consumer.ConsoleConsumer", "--property"),
            _ => ("org.apache.kafka.tools.consumer.ConsoleConsumer", "--formatter-property"),
        };
        let mut consumer = self.jars.program(class).command(&["-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]);
        consumer.args(["--bootstrap-server", &self.bootstrap_servers, "--include", topics, "--from-beginning"]);
        consumer.args(["--max-messages", &count.to_string(), "--timeout-ms", "10000"]);
        for what in ["partition", "offset", "headers", "key"] {
            consumer.args([property, &format!("print.{what}=true")]);
        }
        let output = run(&mut consumer, "apt-get install openjdk-17-jre-headless")?;
        let mut found: BTreeMap<String, Vec<Record>> = BTreeMap::new();
        for line in std::str::from_utf8(&output.stdout)?.lines() {
            let (headers, record) = console_record(line).with_context(|| format!("the console consumer: {line:?}"))?;
            found.entry(headers.to_owned()).or_default().push(record);
        }
        let read: usize = found.values().map(Vec::len).sum();
        ensure!(read == count, "Java's console consumer read {read} records of {topics}, not {count}");
        found.values_mut().for_each(|records| records.sort());
        Ok(found)
    }

    /// Returns Java's console producer for this bootstrap server. It reads lines of key, tab, value from standard
    /// input.
    #[must_use]
    pub fn console_producer(&self, bootstrap_server: &str, topic: &str) -> Command {
        // Kafka 3.8 moved the class, and 4.2 renamed the option.
        let (class, property) = match self.jars.version() {
            version if version.starts_with("3.7.") => ("kafka.tools.ConsoleProducer", "--property"),
            version if version.starts_with("3.") => ("org.apache.kafka.tools.ConsoleProducer", "--property"),
            _ => ("org.apache.kafka.tools.ConsoleProducer", "--reader-property"),
        };
        let mut producer = self.jars.program(class).command(&["-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]);
        producer.args(["--bootstrap-server", bootstrap_server, "--topic", topic, property, "parse.key=true"]);
        producer
    }

    fn ask(&self, words: &[&str]) -> Result<Vec<String>> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.ask(words).with_context(|| format!("asking by Java: {}", words.join(" ")))
    }
}

impl Partition {
    fn parse(line: &str) -> Result<Self> {
        let fields: Vec<&str> = line.split('\t').collect();
        let [index, leader, end, in_sync] = fields[..] else { bail!("not a partition: {line:?}") };
        let leader: i32 = leader.parse()?;
        let in_sync = in_sync.split(',').filter(|id| !id.is_empty()).map(str::parse);
        Ok(Self {
            index: index.parse()?,
            leader: (leader >= 0).then_some(leader),
            end: end.parse()?,
            in_sync: in_sync.collect::<Result<_, _>>()?,
        })
    }
}

/// Parses lines of partition, offset, the key's length or -1, key, value. The value may contain tabs.
fn records(lines: &str) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for line in lines.lines() {
        let fields: Vec<&str> = line.splitn(5, '\t').collect();
        let [partition, offset, key_length, key, value] = fields[..] else { bail!("not a record: {line:?}") };
        let key = (key_length != "-1").then(|| key.to_owned());
        records.push(Record { partition: partition.parse()?, offset: offset.parse()?, key, value: value.to_owned() });
    }
    records.sort();
    Ok(records)
}

/// Parses a line such as `Partition:0<TAB>Offset:5<TAB>name:value<TAB>key<TAB>value`. Returns its headers and its
/// record.
fn console_record(line: &str) -> Option<(&str, Record)> {
    let mut fields = line.splitn(5, '\t');
    let partition = fields.next()?.strip_prefix("Partition:")?.parse().ok()?;
    let offset = fields.next()?.strip_prefix("Offset:")?.parse().ok()?;
    let (headers, key, value) = (fields.next()?, fields.next()?, fields.next()?);
    let key = (key != "null").then(|| key.to_owned());
    Some((headers, Record { partition, offset, key, value: value.to_owned() }))
}

/// The running java/AskKafka.java.
#[derive(Debug)]
struct AskKafka {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl AskKafka {
    fn start(jars: &Jars, bootstrap_servers: &str, folder: &Path) -> Result<Self> {
        // Silences its log, mostly about nodes that are down.
        let mut java = jars.compile("AskKafka")?.command(&["-Dorg.slf4j.simpleLogger.defaultLogLevel=off"]);
        java.arg(bootstrap_servers).stdin(Stdio::piped()).stdout(Stdio::piped());
        java.stderr(File::create(folder.join("ask-kafka.log"))?);
        let mut process = java.spawn().context("java cannot be run; apt-get install openjdk-17-jre-headless")?;
        let questions = process.stdin.take().context("it was given one")?;
        let answers = BufReader::new(process.stdout.take().context("it was given one")?);
        Ok(Self { process, questions, answers })
    }

    fn ask(&mut self, words: &[&str]) -> Result<Vec<String>> {
        writeln!(self.questions, "{}", words.join("\t"))?;
        let answer = self.line()?;
        match answer.split_once('\t') {
            Some(("ok", count)) => (0..count.parse::<usize>()?).map(|_| self.line()).collect(),
            Some(("error", why)) => bail!("{why}"),
            _ => bail!("no answer: {answer:?}"),
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.answers.read_line(&mut line)? > 0, "java/AskKafka.java ended");
        Ok(line.trim_end_matches('\n').to_owned())
    }
}

impl Drop for AskKafka {
    fn drop(&mut self) {
        let _ended_already = self.process.kill();
        let _nothing_to_do_about_it = self.process.wait();
    }
}
