//! The conformance suite on real Kafka, and on our broker as each version of Kafka. Both must give the same answers to
//! the same calls. Both are called through sockets.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use kurier_broker::{Broker, KafkaVersion, TopicSettings};
use kurier_e2e::clock::{now, sleep_until};
use kurier_e2e::cluster::{Cluster, Shape};
use tokio::runtime::Runtime;

use crate::conformance::{self, Exchange, Peer, law};

/// Versions of real Kafka, and our broker's matching versions.
const VERSIONS: [(&str, KafkaVersion); 3] =
    [("3.7.2", KafkaVersion::V3_7), ("3.9.1", KafkaVersion::V3_9), ("4.3.1", KafkaVersion::V4_3)];

/// Longer than any answer takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs every call on every broker, prints the table, and fails on any difference.
pub(crate) fn conformance() -> Result<()> {
    let mut table = Table::default();
    // Most calls need one node, so these results come first.
    for nodes in [1, 3] {
        for (version, as_version) in VERSIONS {
            let began = now();
            let ours = Ours::start(as_version, nodes)?;
            table.put(&format!("ours {as_version}"), nodes, &mut Socket::to(ours));
            let cluster = Cluster::start_as(&Shape {
                settings: &[("auto.create.topics.enable", "true")],
                ..Shape::new(version, nodes)
            })?;
            table.put(version, nodes, &mut Socket::to(Real { cluster, version: as_version }));
            println!("Kafka {version}, nodes: {nodes}, {:.0} s", began.elapsed().as_secs_f64());
        }
    }
    table.print();
    ensure!(table.differences.is_empty(), "the brokers differ:\n{}", table.differences.join("\n"));
    Ok(())
}

/// Results of calls, by broker.
#[derive(Default)]
struct Table {
    brokers: Vec<String>,
    groups: Vec<Group>,
    differences: Vec<String>,
}

struct Group {
    name: String,
    /// Each call, with the brokers that differ.
    calls: Vec<(String, Vec<String>)>,
}

impl Table {
    fn put<N: Nodes>(&mut self, broker: &str, nodes: usize, peer: &mut Socket<N>) {
        if !self.brokers.iter().any(|known| known == broker) {
            self.brokers.push(broker.to_owned());
        }
        if nodes > 1 {
            for call in conformance::calls_of_three_nodes() {
                self.note(broker, "three nodes", call.name(), call.check(peer));
            }
            return;
        }
        for case in law::CASES {
            self.note(broker, "the law of sequences", case.name, case.check(peer));
        }
        let apart = law::check_that_partitions_are_apart(peer);
        self.note(broker, "the law of sequences", "ids and epochs mixed in a request, by partition", apart);
        for (group, calls) in conformance::calls() {
            for call in calls {
                self.note(broker, group, call.name(), call.check(peer));
            }
        }
        // These checks need a socket.
        for (name, length) in [("a request of more than 100 MiB", (100 << 20) + 1), ("of a length below 0", -1)] {
            let closed = peer.closes_on(length).map_err(|error| format!("{name}: {error:#}"));
            self.note(broker, "too large a request closes", name, closed);
        }
    }

    fn note(&mut self, broker: &str, group: &str, call: &str, result: Result<(), String>) {
        let group = match self.groups.iter().position(|known| known.name == group) {
            Some(index) => &mut self.groups[index],
            None => {
                self.groups.push(Group { name: group.to_owned(), calls: Vec::new() });
                self.groups.last_mut().expect("it was pushed")
            }
        };
        let differing = match group.calls.iter().position(|(known, _)| known == call) {
            Some(index) => &mut group.calls[index].1,
            None => {
                group.calls.push((call.to_owned(), Vec::new()));
                &mut group.calls.last_mut().expect("it was pushed").1
            }
        };
        if let Err(why) = result {
            differing.push(broker.to_owned());
            // Print differences at once, because the rest of the table takes minutes.
            println!("differs: {broker}: {why}");
            self.differences.push(format!("{broker}: {why}"));
        }
    }

    fn print(&self) {
        let width = 80;
        let heading: String = self.brokers.iter().map(|broker| format!("{broker:>10}")).collect();
        for Group { name, calls } in &self.groups {
            println!("\n{name:<width$}{heading}");
            for (call, differing) in calls {
                let cell = |broker: &String| if differing.contains(broker) { "DIFFERS" } else { "agrees" };
                let cells: String = self.brokers.iter().map(|broker| format!("{:>10}", cell(broker))).collect();
                println!("{call:<width$}{cells}");
            }
        }
        let calls: usize = self.groups.iter().map(|group| group.calls.len()).sum();
        let (brokers, differences) = (self.brokers.len(), self.differences.len());
        println!("\n{calls} calls to {brokers} brokers: {differences} differ");
    }
}

/// A cluster whose nodes can be stopped.
trait Nodes {
    fn version(&self) -> KafkaVersion;
    fn bootstrap_servers(&self) -> String;
    /// Returns the id of the first node.
    fn first_id(&self) -> i32;
    fn delete_topic(&mut self, name: &str) -> Result<()>;
    fn stop(&mut self, node: i32) -> Result<()>;
    fn start(&mut self, node: i32) -> Result<()>;
}

struct Real {
    cluster: Cluster,
    version: KafkaVersion,
}

impl Nodes for Real {
    fn version(&self) -> KafkaVersion {
        self.version
    }

    fn bootstrap_servers(&self) -> String {
        self.cluster.kafka().bootstrap_servers().to_owned()
    }

    fn first_id(&self) -> i32 {
        0
    }

    fn delete_topic(&mut self, name: &str) -> Result<()> {
        self.cluster.kafka().delete_topics(&[name])
    }

    fn stop(&mut self, node: i32) -> Result<()> {
        self.cluster.stop(node)
    }

    fn start(&mut self, node: i32) -> Result<()> {
        self.cluster.revive(node)
    }
}

struct Ours {
    broker: Broker,
    version: KafkaVersion,
    runtime: Runtime,
}

impl Ours {
    fn start(version: KafkaVersion, nodes: usize) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        // Kafka's own default.
        let topics = TopicSettings { replication_factor: 1, ..TopicSettings::of(version) };
        let builder =
            Broker::builder().version(version).strict(false).nodes(u16::try_from(nodes)?).topics_by_default(topics);
        let broker = runtime.block_on(builder.start())?;
        Ok(Self { broker, version, runtime })
    }
}

impl Nodes for Ours {
    fn version(&self) -> KafkaVersion {
        self.version
    }

    fn bootstrap_servers(&self) -> String {
        self.broker.bootstrap_servers()
    }

    fn first_id(&self) -> i32 {
        1
    }

    fn delete_topic(&mut self, name: &str) -> Result<()> {
        Ok(self.broker.with_cluster(|cluster| cluster.delete_topic(name))?)
    }

    fn stop(&mut self, node: i32) -> Result<()> {
        self.broker.stop_node(node);
        Ok(())
    }

    fn start(&mut self, node: i32) -> Result<()> {
        Ok(self.runtime.block_on(self.broker.start_node(node))?)
    }
}

/// A cluster, and a connection to each node used so far.
struct Socket<N> {
    cluster: N,
    addresses: Vec<(i32, String)>,
    connections: HashMap<i32, TcpStream>,
    names: u32,
}

impl<N: Nodes> Socket<N> {
    fn to(cluster: N) -> Self {
        let servers = cluster.bootstrap_servers();
        let addresses = (cluster.first_id()..).zip(servers.split(',').map(str::to_owned)).collect();
        Self { cluster, addresses, connections: HashMap::new(), names: 0 }
    }

    /// Checks that the first node closes the connection on a request with this length.
    fn closes_on(&self, length: i32) -> Result<()> {
        let (_, address) = self.addresses.first().context("a node")?;
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.write_all(&length.to_be_bytes())?;
        match socket.read(&mut [0]) {
            Ok(0) => Ok(()),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
            other => bail!("it does not close: {other:?}"),
        }
    }

    /// Returns a node's reaction to a frame; a node without a response for long is silent. For a frame without a
    /// response, sends a second request after it, because a connection's requests are handled in order.
    fn try_exchange(&mut self, node: i32, frame: &Bytes, is_answered: bool) -> Result<Exchange> {
        if !self.connections.contains_key(&node) {
            let (_, address) = self.addresses.iter().find(|(id, _)| *id == node).context("no such node")?;
            let socket = TcpStream::connect(address)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.set_nodelay(true)?;
            self.connections.insert(node, socket);
        }
        let socket = self.connections.get_mut(&node).context("it is there")?;
        // A request of ApiVersions 0.
        const QUESTION: [u8; 10] = [0, 18, 0, 0, 0, 0, 0, 9, 0xff, 0xff];
        let mut wire = Vec::from(u32::try_from(frame.len())?.to_be_bytes());
        wire.extend_from_slice(frame);
        if !is_answered {
            wire.extend_from_slice(&u32::try_from(QUESTION.len())?.to_be_bytes());
            wire.extend_from_slice(&QUESTION);
        }
        let answer = socket.write_all(&wire).and_then(|()| {
            let mut length = [0; 4];
            socket.read_exact(&mut length)?;
            let mut answer = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap_or_default()];
            socket.read_exact(&mut answer)?;
            Ok(answer)
        });
        match answer {
            Ok(answer) if is_answered => Ok(Exchange::Answer(answer.into())),
            Ok(answer) => {
                ensure!(answer.starts_with(&[0, 0, 0, 9]), "it was answered: {answer:?}");
                Ok(Exchange::Silence)
            }
            Err(error) => {
                self.connections.remove(&node);
                let is_closed = matches!(
                    error.kind(),
                    ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
                );
                match error.kind() {
                    _ if is_closed => Ok(Exchange::Closed),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(Exchange::Silence),
                    _ => Err(error.into()),
                }
            }
        }
    }
}

impl<N: Nodes> Peer for Socket<N> {
    fn version(&self) -> KafkaVersion {
        self.cluster.version()
    }

    fn nodes(&self) -> Vec<i32> {
        self.addresses.iter().map(|(id, _)| *id).collect()
    }

    fn exchange(&mut self, node: i32, frame: &Bytes, is_answered: bool) -> Exchange {
        self.try_exchange(node, frame, is_answered).expect("the node is up")
    }

    fn delete_topic(&mut self, name: &str) {
        self.cluster.delete_topic(name).expect("the topic is there");
    }

    fn stop_node(&mut self, node: i32) {
        self.cluster.stop(node).expect("the node can be stopped");
        self.connections.remove(&node);
    }

    fn start_node(&mut self, node: i32) {
        self.cluster.start(node).expect("the node can be started");
    }

    #[expect(clippy::disallowed_methods, reason = "Kafka refuses records that are far from its own time")]
    fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn fresh_name(&mut self) -> String {
        self.names += 1;
        format!("conformance-{}", self.names)
    }

    fn wait(&mut self) -> bool {
        // Short compared to any action of a cluster.
        sleep_until(now() + Duration::from_millis(10));
        true
    }
}
