//! Real Apache Kafka on loopback. Its nodes are combined brokers and controllers (KRaft), each in a child process that
//! tests can kill, pause, stop and revive. Maven fetches the jars once, the ports are free ones, and dropping the
//! cluster deletes its data.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::mem;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::clock::wait_until;
use crate::java::{Jars, Program};
use crate::kafka::Kafka;
use crate::listener::{self, Listener};

/// Any 16 bytes in base64 will do.
const CLUSTER_ID: &str = "S3VyaWVyLWUyZS10ZXN0cw";

/// Time limit for a node to start or stop. Alone it takes three seconds, but a hundred were seen on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// A Kafka cluster of our own. Its nodes end when it is dropped. They also end when its process is killed, except for
/// paused nodes.
#[derive(Debug)]
pub struct Cluster {
    kafka: Kafka,
    nodes: Vec<Node>,
    /// The last field, so that the folder is removed after the nodes have ended.
    _folder: TempDir,
}

#[derive(Debug)]
struct Node {
    id: i32,
    address: String,
    folder: PathBuf,
    program: Program,
    /// `None` while the node is down.
    process: Option<Child>,
    /// Reserved even while the node is down.
    ports: Ports,
    /// Earlier ports of a moved node. They stay reserved, so that no one else answers there.
    left: Vec<Port>,
    logs_requests: bool,
}

/// How to start a cluster.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    /// Version of Kafka.
    pub version: &'static str,
    /// Number of nodes.
    pub nodes: usize,
    /// Kafka settings that override those of all our clusters.
    pub settings: &'a [(&'a str, &'a str)],
    /// Whether each node has a [`Detour`].
    pub has_detours: bool,
    /// Secured listeners of each node, beside the plain one.
    pub listeners: &'a [Listener],
    /// Whether nodes log every request, with the client's principal, and every authentication.
    pub logs_requests: bool,
}

impl Shape<'_> {
    /// Returns a cluster with the settings of all our clusters.
    #[must_use]
    pub fn new(version: &'static str, nodes: usize) -> Self {
        Self { version, nodes, settings: &[], has_detours: false, listeners: &[], logs_requests: false }
    }
}

#[derive(Debug)]
struct Ports {
    clients: Port,
    controllers: Port,
    detour: Option<[Port; 2]>,
    secured: Vec<(Listener, Port)>,
}

/// A second way to a node, through a proxy: the node's second listener advertises the proxy's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detour {
    /// The advertised address. Its port is free for a proxy that binds it with SO_REUSEADDR.
    pub advertised: SocketAddr,
    /// The address of the node's second listener.
    pub leads_to: SocketAddr,
}

/// A free port, reserved for programs that bind it with SO_REUSEADDR, as Java does.
///
/// Linux lets several sockets share such a port as long as only one of them listens. Linux never assigns it to a bind
/// to any port or to an outgoing connection. Without the reservation, another program could take the port before a node
/// wants it back.
/// node wants it back.
#[derive(Debug)]
struct Port {
    number: u16,
    _socket: Socket,
}

impl Cluster {
    /// Starts a cluster of this version of Kafka with this many nodes, numbered from 0. Waits until each of them
    /// answers and knows all others.
    ///
    /// # Errors
    /// If Java or Maven is missing, or a node does not start; then with the end of its log.
    pub fn start(version: &'static str, nodes: usize) -> Result<Self> {
        Self::start_as(&Shape::new(version, nodes))
    }

    /// Starts a cluster of this shape, like [`start`](Self::start).
    ///
    /// # Errors
    /// The same as [`start`](Self::start).
    pub fn start_as(shape: &Shape<'_>) -> Result<Self> {
        let jars = Jars::fetch_server(shape.version)?;
        let program = jars.compile("RunNode")?;
        let folder = tempfile::Builder::new().prefix("kurier-kafka-").tempdir()?;
        let ports: Vec<Ports> = (0..shape.nodes).map(|_| Ports::reserve(shape)).collect::<Result<_>>()?;
        let voters: Vec<_> =
            (0..).zip(&ports).map(|(id, ports)| format!("{id}@{}", ports.controllers.address())).collect();
        let nodes = (0..).zip(ports).map(|(id, ports)| {
            let folder = folder.path().join(id.to_string());
            fs::create_dir(&folder)?;
            let mut text = properties(id, &ports, &voters, &folder);
            for listener in shape.listeners {
                text.push_str(&listener.prepare(&folder)?);
            }
            // Of two lines for the same setting, the later one wins.
            let own: String = shape.settings.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
            fs::write(folder.join("node.properties"), text + &own)?;
            let address = ports.clients.address().to_string();
            let (program, logs_requests) = (program.clone(), shape.logs_requests);
            Ok(Node { id, address, folder, program, process: None, ports, left: Vec::new(), logs_requests })
        });
        let mut nodes: Vec<Node> = nodes.collect::<Result<_>>()?;
        format_all(&jars, &nodes, !shape.listeners.is_empty())?;
        for node in &mut nodes {
            node.launch()?;
        }
        let addresses: Vec<&str> = nodes.iter().map(|node| node.address.as_str()).collect();
        let kafka = Kafka::new(&addresses.join(","), jars)?;
        let mut cluster = Self { kafka, nodes, _folder: folder };
        for index in 0..cluster.nodes.len() {
            cluster.wait_until_ready(index)?;
        }
        Ok(cluster)
    }

    /// Returns the client side of this cluster.
    #[must_use]
    pub fn kafka(&self) -> &Kafka {
        &self.kafka
    }

    /// Returns the detours to its nodes, in the order of their ids; none if it was started without.
    #[must_use]
    pub fn detours(&self) -> Vec<Detour> {
        let detours = self.nodes.iter().filter_map(|node| node.ports.detour.as_ref());
        detours.map(|[told, own]| Detour { advertised: told.address(), leads_to: own.address() }).collect()
    }

    /// Returns a node's address for clients.
    ///
    /// # Errors
    /// If there is no such node.
    pub fn address(&self, id: i32) -> Result<SocketAddr> {
        Ok(self.node_of(id)?.ports.clients.address())
    }

    /// Returns the address of a secured listener of a node.
    ///
    /// # Errors
    /// If there is no such node, or it lacks the listener.
    pub fn secured_address(&self, id: i32, listener: Listener) -> Result<SocketAddr> {
        self.node_of(id)?.ports.secured(listener)
    }

    /// Returns the addresses of a secured listener on all nodes, up or down, separated by commas.
    ///
    /// # Errors
    /// If the cluster lacks the listener.
    pub fn secured_servers(&self, listener: Listener) -> Result<String> {
        let address = |node: &Node| node.ports.secured(listener).map(|address| address.to_string());
        Ok(self.nodes.iter().map(address).collect::<Result<Vec<_>>>()?.join(","))
    }

    /// Returns a node's folder, with its settings and its stores of keys.
    ///
    /// # Errors
    /// If there is no such node.
    pub fn folder(&self, id: i32) -> Result<&Path> {
        Ok(&self.node_of(id)?.folder)
    }

    /// Returns all that a node has logged since its first start.
    ///
    /// # Errors
    /// If there is no such node, or its log cannot be read.
    pub fn log(&self, id: i32) -> Result<String> {
        Ok(fs::read_to_string(self.node_of(id)?.log())?)
    }

    /// Kills a node with SIGKILL, paused or not. Does nothing if the node is down.
    ///
    /// # Errors
    /// If there is no such node, or the signal fails.
    pub fn kill(&mut self, id: i32) -> Result<()> {
        self.node(id)?.kill()
    }

    /// Stops a node with SIGTERM, so that it first hands over its partitions. Returns when the node has ended.
    ///
    /// # Errors
    /// If the node does not end; with the end of its log.
    pub fn stop(&mut self, id: i32) -> Result<()> {
        let node = self.node(id)?;
        node.signal(Signal::TERM)?;
        wait_until("the node ended", PATIENCE, || Ok(node.has_ended()?.then_some(()))).with_context(|| node.talk())?;
        node.process = None;
        Ok(())
    }

    /// Pauses a node with SIGSTOP: its sockets stay open but no one answers.
    ///
    /// # Errors
    /// If the node is down.
    pub fn pause(&mut self, id: i32) -> Result<()> {
        self.node(id)?.signal(Signal::STOP)
    }

    /// Resumes a paused node.
    ///
    /// # Errors
    /// If the node is down.
    pub fn resume(&mut self, id: i32) -> Result<()> {
        self.node(id)?.signal(Signal::CONT)
    }

    /// Starts a node that is down, with its ports and data. Waits until it answers and knows all running nodes.
    ///
    /// # Errors
    /// If the node does not start; with the end of its log.
    pub fn revive(&mut self, id: i32) -> Result<()> {
        let node = self.node(id)?;
        ensure!(node.process.is_none(), "node {id} is not down");
        node.launch()?;
        let index = self.nodes.iter().position(|node| node.id == id).context("it was there")?;
        self.wait_until_ready(index)
    }

    /// Like [`revive`](Self::revive), but on new ports for clients, which the node advertises from then on.
    /// [`Kafka::bootstrap_servers`] still has the old one.
    ///
    /// # Errors
    /// If the node does not start; with the end of its log.
    pub fn revive_elsewhere(&mut self, id: i32) -> Result<()> {
        let node = self.node(id)?;
        ensure!(node.process.is_none(), "node {id} is not down");
        let mut properties = fs::read_to_string(node.properties())?;
        let secured = node.ports.secured.iter_mut().map(|(_, port)| port);
        for port in secured.chain([&mut node.ports.clients]) {
            let old = mem::replace(port, Port::reserve()?);
            let moved = properties.replace(&format!("://{}", old.address()), &format!("://{}", port.address()));
            ensure!(moved != properties, "node {id} did not listen at {}", old.address());
            properties = moved;
            node.left.push(old);
        }
        fs::write(node.properties(), properties)?;
        node.address = node.ports.clients.address().to_string();
        self.revive(id)
    }

    /// Returns the ids of all nodes, up or down.
    #[must_use]
    pub fn node_ids(&self) -> Vec<i32> {
        self.nodes.iter().map(|node| node.id).collect()
    }

    /// Returns a node's folder of logs.
    ///
    /// # Errors
    /// If there is no such node.
    pub fn data(&self, id: i32) -> Result<PathBuf> {
        Ok(data(&self.node_of(id)?.folder))
    }

    /// Starts all nodes that are down, together, with their ports and data, and waits as [`revive`](Self::revive) does.
    /// One at a time, too few nodes would wait for the others.
    ///
    /// # Errors
    /// If a node does not start; with the end of its log.
    pub fn revive_all(&mut self) -> Result<()> {
        let is_down = |node: &Node| node.process.is_none();
        let down: Vec<usize> = (0..self.nodes.len()).filter(|index| is_down(&self.nodes[*index])).collect();
        for index in &down {
            self.nodes[*index].launch()?;
        }
        down.into_iter().try_for_each(|index| self.wait_until_ready(index))
    }

    fn node_of(&self, id: i32) -> Result<&Node> {
        self.nodes.iter().find(|node| node.id == id).with_context(|| format!("there is no node {id}"))
    }

    fn node(&mut self, id: i32) -> Result<&mut Node> {
        self.nodes.iter_mut().find(|node| node.id == id).with_context(|| format!("there is no node {id}"))
    }

    /// Waits until a node answers clients, which it does only after it has read the cluster's metadata.
    fn wait_until_ready(&mut self, index: usize) -> Result<()> {
        let up: Vec<i32> = self.nodes.iter().filter(|node| node.process.is_some()).map(|node| node.id).collect();
        let (kafka, node) = (&self.kafka, &mut self.nodes[index]);
        let what = format!("node {} at {} answers and knows {up:?}", node.id, node.address);
        let waited = wait_until(&what, PATIENCE, || {
            ensure!(!node.has_ended()?, "node {} ended", node.id);
            let known = kafka.nodes(&node.address).unwrap_or_default();
            Ok(up.iter().all(|id| known.contains(id)).then_some(()))
        });
        waited.with_context(|| node.talk())
    }
}

impl Node {
    fn launch(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut options = vec!["-Xmx400m", "-Dorg.slf4j.simpleLogger.showDateTime=true"];
        if self.logs_requests {
            options.push("-Dorg.slf4j.simpleLogger.log.kafka.request.logger=debug");
            options.push("-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.network.Selector=debug");
        }
        let mut java = self.program.command(&options);
        java.arg(self.properties()).stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        let process = java.spawn().context("java cannot be run; apt-get install openjdk-17-jre-headless")?;
        self.process = Some(process);
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let process = self.process.as_ref().with_context(|| format!("node {} is down", self.id))?;
        Ok(kill_process(Pid::from_child(process), signal)?)
    }

    fn has_ended(&mut self) -> Result<bool> {
        match &mut self.process {
            Some(process) => Ok(process.try_wait()?.is_some()),
            None => Ok(true),
        }
    }

    fn properties(&self) -> PathBuf {
        self.folder.join("node.properties")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Returns the end of the node's log.
    fn talk(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines.len().saturating_sub(20);
        format!("node {} logged last:\n{}\n", self.id, lines[last..].join("\n"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _nothing_to_do_about_it = self.kill();
    }
}

impl Ports {
    fn reserve(shape: &Shape<'_>) -> Result<Self> {
        let detour = if shape.has_detours { Some([Port::reserve()?, Port::reserve()?]) } else { None };
        let secured = shape.listeners.iter().map(|listener| Ok((*listener, Port::reserve()?)));
        let secured = secured.collect::<Result<_>>()?;
        Ok(Self { clients: Port::reserve()?, controllers: Port::reserve()?, detour, secured })
    }

    fn secured(&self, listener: Listener) -> Result<SocketAddr> {
        let found = self.secured.iter().find(|(other, _)| *other == listener);
        Ok(found.with_context(|| format!("no listener {}", listener.name()))?.1.address())
    }
}

impl Port {
    fn reserve() -> Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let number = socket.local_addr()?.as_socket().context("an address of IPv4")?.port();
        Ok(Self { number, _socket: socket })
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}

/// Formats the log folders of all nodes at once.
fn format_all(jars: &Jars, nodes: &[Node], has_users: bool) -> Result<()> {
    let tool = jars.program("kafka.tools.StorageTool");
    let mut running = Vec::new();
    for node in nodes {
        let mut format = tool.command(&["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]);
        format.args(["format", "--cluster-id", CLUSTER_ID, "--config"]).arg(node.properties());
        if has_users {
            format.args(listener::users());
        }
        let log = File::create(node.log())?;
        let format = format.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        running.push(format.context("java cannot be run; apt-get install openjdk-17-jre-headless")?);
    }
    // Wait for all processes, even if one fails.
    let ended: Vec<_> = running.iter_mut().map(Child::wait).collect();
    for (node, ended) in nodes.iter().zip(ended) {
        ensure!(ended?.success(), "a node's folder was not formatted: {}", node.talk());
    }
    Ok(())
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

/// Returns the text of a node's settings file. All other settings keep Kafka's defaults.
fn properties(id: i32, ports: &Ports, voters: &[String], folder: &Path) -> String {
    let mut protocols = "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned();
    let mut advertised = format!("CLIENT://{}", ports.clients.address());
    let mut listeners = format!("{advertised},CONTROLLER://{}", ports.controllers.address());
    if let Some([told, own]) = &ports.detour {
        protocols.push_str(",DETOUR:PLAINTEXT");
        let _a_string_takes_all = write!(advertised, ",DETOUR://{}", told.address());
        let _a_string_takes_all = write!(listeners, ",DETOUR://{}", own.address());
    }
    for (listener, port) in &ports.secured {
        let _a_string_takes_all = write!(protocols, ",{}:{}", listener.name(), listener.protocol());
        let one = format!(",{}://{}", listener.name(), port.address());
        advertised.push_str(&one);
        listeners.push_str(&one);
    }
    // At most one replica per node, and at most Kafka's own default.
    let replicas = voters.len().min(3);
    let data = data(folder);
    let settings = [
        ("node.id", id.to_string()),
        ("process.roles", "broker,controller".to_owned()),
        ("controller.quorum.voters", voters.join(",")),
        ("controller.listener.names", "CONTROLLER".to_owned()),
        ("inter.broker.listener.name", "CLIENT".to_owned()),
        ("listener.security.protocol.map", protocols),
        ("listeners", listeners),
        ("advertised.listeners", advertised),
        ("log.dirs", data.display().to_string()),
        // A killed node's partitions get another leader after this time; the default is 9 seconds.
        ("broker.session.timeout.ms", "6000".to_owned()),
        ("broker.heartbeat.interval.ms", "1000".to_owned()),
        // A missing topic is an error instead of a new topic.
        ("auto.create.topics.enable", "false".to_owned()),
        // Kafka's internal topics, for the console consumer's group, stay small.
        ("offsets.topic.num.partitions", "1".to_owned()),
        ("offsets.topic.replication.factor", replicas.to_string()),
        ("group.initial.rebalance.delay.ms", "0".to_owned()),
        // Few threads, for few cores.
        ("num.network.threads", "2".to_owned()),
        ("num.io.threads", "2".to_owned()),
        ("background.threads", "2".to_owned()),
        ("log.cleaner.threads", "1".to_owned()),
        ("log.cleaner.dedupe.buffer.size", "2097152".to_owned()),
    ];
    settings.iter().fold(String::new(), |mut text, (name, value)| {
        let _a_string_takes_all = writeln!(text, "{name}={value}");
        text
    })
}
