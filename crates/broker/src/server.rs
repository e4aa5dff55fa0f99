//! The server: puts a cluster on real sockets, with a listener per node and a task per connection.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use kurier_protocol::{FrameBuffer, NodeId};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout_at};

use crate::calls::Reply;
use crate::cluster::{Cluster, ClusterError};
use crate::fault::Fault;
use crate::session::Session;
use crate::settings::{ClusterSettings, SaslSettings, TopicSettings};
#[cfg(feature = "tls")]
use crate::tls::{ServerTls, TlsAcceptor};
use crate::version::KafkaVersion;

/// A running cluster with listeners. Dropping it stops the cluster.
///
/// It lives on the tokio runtime that started it.
///
/// ```
/// use kurier_broker::Broker;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = Broker::start().await?;
/// broker.create_topic("orders", 6)?;
/// assert_eq!(broker.with_cluster(|cluster| cluster.end_offset("orders", 5)), Some(0));
/// # Ok(())
/// # }
/// ```
pub struct Broker {
    shared: Arc<Shared>,
    listen: SocketAddr,
    /// One task per node, which holds the node's listener and the tasks of its connections. A stopped task stays here,
    /// because its port may take a moment to become free.
    nodes: Mutex<BTreeMap<NodeId, JoinHandle<()>>>,
}

struct Shared {
    cluster: Mutex<Cluster>,
    /// Wakes waiting readers after a change.
    changed: watch::Sender<()>,
    /// For new connections; `None` for listeners without TLS.
    #[cfg(feature = "tls")]
    tls: Mutex<Option<TlsAcceptor>>,
}

impl Shared {
    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        // Ignore poisoning, so that a panic in one test does not fail the others.
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Builder for a [`Broker`].
///
/// ```
/// use kurier_broker::Broker;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let broker = Broker::builder().nodes(3).topic("orders", 6).auto_create_topics(false, 1).start().await?;
/// assert_eq!(broker.bootstrap_servers().split(',').count(), 3);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct BrokerBuilder {
    settings: ClusterSettings,
    topics: Vec<(String, i32, Option<TopicSettings>)>,
    listen: SocketAddr,
    #[cfg(feature = "tls")]
    tls: Option<ServerTls>,
}

impl Broker {
    /// Starts one node on a free port of 127.0.0.1, which creates missing topics.
    ///
    /// # Errors
    /// If the port cannot be opened.
    pub async fn start() -> io::Result<Self> {
        Self::builder().start().await
    }

    /// Returns a builder, for more nodes, topics and settings.
    #[must_use]
    pub fn builder() -> BrokerBuilder {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        BrokerBuilder {
            settings: ClusterSettings::default(),
            topics: Vec::new(),
            listen,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Returns every node's host and port as clients see them, separated by commas, for `bootstrap.servers`.
    #[must_use]
    pub fn bootstrap_servers(&self) -> String {
        let cluster = self.shared.cluster();
        let addresses = cluster.nodes().values().map(|node| cluster.address(node, None));
        addresses.map(|(host, port)| authority(&host, port)).collect::<Vec<_>>().join(",")
    }

    /// Returns a node's listening address, whatever the node gives to clients; `None` if there is no such node.
    #[must_use]
    pub fn listen_address(&self, node: impl Into<NodeId>) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.listen.ip(), self.shared.cluster().port(node.into())?))
    }

    /// Reads or changes the cluster.
    pub fn with_cluster<T>(&self, act: impl FnOnce(&mut Cluster) -> T) -> T {
        let result = act(&mut self.shared.cluster());
        self.shared.changed.send_replace(());
        result
    }

    /// Creates a topic with the cluster's default settings.
    ///
    /// # Errors
    /// The same as [`Cluster::create_topic`].
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<(), ClusterError> {
        self.with_cluster(|cluster| {
            let settings = cluster.settings().default_topic.clone();
            cluster.create_topic(name, partitions, settings)
        })
    }

    /// Scripts a fault.
    pub fn add_fault(&self, fault: Fault) {
        self.with_cluster(|cluster| cluster.add_fault(fault));
    }

    /// Stops a node: its listener and connections close, and its partitions get other leaders.
    pub fn stop_node(&self, node: impl Into<NodeId>) {
        let node = node.into();
        self.with_cluster(|cluster| cluster.stop_node(node));
        if let Some(task) = self.tasks().get(&node) {
            task.abort();
        }
    }

    /// Starts a stopped node on its old port. Does nothing if the node is up.
    ///
    /// # Errors
    /// If there is no such node, or the port is in use.
    ///
    /// # Cancel safety
    /// If dropped early, the node stays down, and the call may be repeated.
    pub async fn start_node(&self, node: impl Into<NodeId> + Send) -> io::Result<()> {
        let node = node.into();
        let (port, is_up) = {
            let cluster = self.shared.cluster();
            (cluster.port(node), cluster.is_up(node))
        };
        let Some(port) = port else { return Err(io::Error::other(format!("there is no node {node}"))) };
        if is_up {
            return Ok(());
        }
        // The port is free once the old task has ended.
        poll_fn(|context| match self.tasks().get_mut(&node) {
            Some(task) if !task.is_finished() => Pin::new(task).poll(context).map(|_| ()),
            _ => Poll::Ready(()),
        })
        .await;
        let listener = TcpListener::bind(SocketAddr::new(self.listen.ip(), port)).await?;
        self.with_cluster(|cluster| cluster.start_node(node));
        self.listen(node, listener);
        Ok(())
    }

    /// Replaces the certificates of all nodes, for new connections only. Without TLS before, new connections must use it.
    ///
    /// # Errors
    /// The same as [`ServerTls`]'s; the old certificates stay.
    #[cfg(feature = "tls")]
    pub fn set_tls(&self, tls: &ServerTls) -> io::Result<()> {
        let acceptor = tls.acceptor()?;
        *self.shared.tls.lock().unwrap_or_else(PoisonError::into_inner) = Some(acceptor);
        Ok(())
    }

    fn listen(&self, node: NodeId, listener: TcpListener) {
        let task = tokio::spawn(accept(node, listener, Arc::clone(&self.shared)));
        self.tasks().insert(node, task);
    }

    fn tasks(&self) -> MutexGuard<'_, BTreeMap<NodeId, JoinHandle<()>>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BrokerBuilder {
    /// Sets the number of nodes (default: 1). Their ids count from 1.
    #[must_use]
    pub fn nodes(mut self, nodes: u16) -> Self {
        self.settings.nodes = nodes.max(1);
        self
    }

    /// Sets the version of Kafka to imitate (default: the newest). Topics get that version's limits for timestamps,
    /// unless [`topics_by_default`](Self::topics_by_default) is called after this.
    #[must_use]
    pub fn version(mut self, version: KafkaVersion) -> Self {
        self.settings.version = version;
        self.settings.default_topic.timestamp_after_max_ms = TopicSettings::of(version).timestamp_after_max_ms;
        self
    }

    /// Sets whether to refuse input that Kafka accepts but no client should send (default: yes). See
    /// [`ClusterSettings::is_strict`].
    #[must_use]
    pub fn strict(mut self, is_strict: bool) -> Self {
        self.settings.is_strict = is_strict;
        self
    }

    /// Makes clients authenticate by SASL (default: everybody may connect).
    ///
    /// ```
    /// use kurier_broker::{Broker, SaslSettings};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let broker = Broker::builder().sasl(SaslSettings::default().user("alice", "alice-secret")).start().await?;
    /// assert_eq!(broker.with_cluster(|cluster| cluster.logins().count()), 0);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn sasl(mut self, sasl: SaslSettings) -> Self {
        self.settings.sasl = Some(sasl);
        self
    }

    /// Sets the settings of topics without settings of their own.
    #[must_use]
    pub fn topics_by_default(mut self, settings: TopicSettings) -> Self {
        self.settings.default_topic = settings;
        self
    }

    /// Adds a topic with the default settings.
    #[must_use]
    pub fn topic(mut self, name: &str, partitions: i32) -> Self {
        self.topics.push((name.to_owned(), partitions, None));
        self
    }

    /// Adds a topic with these settings.
    #[must_use]
    pub fn topic_with(mut self, name: &str, partitions: i32, settings: TopicSettings) -> Self {
        self.topics.push((name.to_owned(), partitions, Some(settings)));
        self
    }

    /// Sets whether missing topics are created automatically, and with how many partitions (default: yes, with one).
    #[must_use]
    pub fn auto_create_topics(mut self, is_on: bool, partitions: i32) -> Self {
        self.settings.auto_create_topics = is_on;
        self.settings.default_partitions = partitions;
        self
    }

    /// Sets the first node's address; the next nodes use the ports after it. Port 0, the default, gives each node a
    /// free port. The nodes give the same address to clients. Nodes that listen on all addresses (`0.0.0.0`, `[::]`)
    /// give each client the address that the client used to reach them.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Sets the hosts and ports that the nodes give to clients instead (`advertised.listeners`), in the order of their
    /// ids. Nodes after the last entry use its host, and the ports after its port.
    ///
    /// ```
    /// use kurier_broker::Broker;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let broker = Broker::builder().nodes(2).advertised_listeners([("kafka.example", 9092)]).start().await?;
    /// assert_eq!(broker.bootstrap_servers(), "kafka.example:9092,kafka.example:9093");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn advertised_listeners<H: Into<String>>(mut self, listeners: impl IntoIterator<Item = (H, u16)>) -> Self {
        self.settings.advertised_listeners = listeners.into_iter().map(|(host, port)| (host.into(), port)).collect();
        self
    }

    /// Lets every node speak TLS only (`security.protocol=SSL`, with [SASL](ClusterSettings::sasl) `SASL_SSL`).
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Starts the nodes.
    ///
    /// # Errors
    /// If a port cannot be opened, a topic cannot be created, or a certificate cannot be used.
    pub async fn start(self) -> io::Result<Broker> {
        #[cfg(feature = "tls")]
        let tls = self.tls.as_ref().map(ServerTls::acceptor).transpose()?;
        let Self { mut settings, topics, listen, .. } = self;
        settings.host = listen.ip().to_string();
        check_listen(listen, settings.nodes)?;
        check_advertised(&settings.advertised_listeners, settings.nodes)?;
        let mut cluster = Cluster::new(settings);
        for (name, partitions, settings) in topics {
            let settings = settings.unwrap_or_else(|| cluster.settings().default_topic.clone());
            cluster.create_topic(&name, partitions, settings).map_err(io::Error::other)?;
        }
        let mut listeners = Vec::new();
        for (node, offset) in cluster.nodes().keys().copied().collect::<Vec<_>>().into_iter().zip(0u16..) {
            let port = if listen.port() == 0 { 0 } else { listen.port().saturating_add(offset) };
            let address = SocketAddr::new(listen.ip(), port);
            let cannot = |error: io::Error| io::Error::new(error.kind(), CannotListen { node, address, source: error });
            let listener = TcpListener::bind(address).await.map_err(cannot)?;
            cluster.set_port(node.0, listener.local_addr()?.port());
            listeners.push((node, listener));
        }
        let shared = Arc::new(Shared {
            cluster: Mutex::new(cluster),
            changed: watch::Sender::new(()),
            #[cfg(feature = "tls")]
            tls: Mutex::new(tls),
        });
        let broker = Broker { shared, listen, nodes: Mutex::default() };
        for (node, listener) in listeners {
            broker.listen(node, listener);
        }
        Ok(broker)
    }
}

/// Error of a node that cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("node {node} cannot listen on {address}")]
struct CannotListen {
    node: NodeId,
    address: SocketAddr,
    source: io::Error,
}

impl Drop for Broker {
    fn drop(&mut self) {
        for task in self.tasks().values() {
            task.abort();
        }
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("bootstrap_servers", &self.bootstrap_servers()).finish_non_exhaustive()
    }
}

/// Accepts connections until it is aborted, which aborts the connections too.
async fn accept(node: NodeId, listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        // Accepting can fail for lack of descriptors; a short wait helps.
        let Ok((socket, _)) = listener.accept().await else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // An error ends only this connection.
            let _ = open(node, socket, &shared).await;
        });
    }
}

/// Serves a connection, with TLS if the listeners use it.
async fn open(node: NodeId, socket: TcpStream, shared: &Shared) -> io::Result<()> {
    socket.set_nodelay(true)?;
    // An IPv4 client may reach an IPv6 listener, and needs the address in its own form.
    let session = Session::reached_at(socket.local_addr()?.ip().to_canonical());
    #[cfg(feature = "tls")]
    {
        let tls = shared.tls.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(tls) = tls {
            return serve(node, tls.accept(socket).await?, session, shared).await;
        }
    }
    serve(node, socket, session, shared).await
}

/// Answers requests one after another, as Kafka does, until the client closes or a request closes the connection.
async fn serve<S>(node: NodeId, mut socket: S, mut session: Session, shared: &Shared) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let mut buffer = FrameBuffer::new(0);
    loop {
        let refusal_delay = {
            let cluster = shared.cluster();
            buffer.set_limit(session.request_bytes_max(cluster.settings()));
            cluster.refusal_delay()
        };
        let frame = loop {
            match buffer.next_frame() {
                Err(error) => {
                    // Kafka takes a large request before the exchange for a failure of it.
                    let wait = if session.principal().is_none() { refusal_delay } else { Duration::ZERO };
                    sleep(wait).await;
                    return Err(io::Error::other(error));
                }
                Ok(Some(frame)) => break frame,
                Ok(None) if socket.read_buf(buffer.room()).await? == 0 => return Ok(()),
                Ok(None) => {}
            }
        };
        match answer(node, &mut session, &frame, shared).await {
            Reply::Send { frame, after, cut } => {
                if !after.is_zero() {
                    sleep(after).await;
                }
                let whole = cut.is_none();
                socket.write_all(&frame.slice(..cut.unwrap_or(frame.len()).min(frame.len()))).await?;
                // Without this, TLS would keep the data in its buffer.
                socket.flush().await?;
                if !whole {
                    return Ok(());
                }
            }
            Reply::Nothing => {}
            Reply::Hang => {
                while socket.read(&mut [0; 1024]).await? > 0 {}
                return Ok(());
            }
            Reply::CloseAfter(time) => {
                sleep(time).await;
                return Ok(());
            }
            Reply::Wait(_) | Reply::Close => return Ok(()),
        }
    }
}

/// Returns the reply to a request, after waiting as long as the request may wait.
async fn answer(node: NodeId, session: &mut Session, frame: &Bytes, shared: &Shared) -> Reply {
    let mut changed = shared.changed.subscribe();
    let mut late_at = None;
    loop {
        let is_late = late_at.is_some_and(|at| at <= Instant::now());
        let (reply, has_changed) = {
            let mut cluster = shared.cluster();
            let before = cluster.changes();
            (cluster.handle_on(node, session, frame, now_ms(), is_late), cluster.changes() != before)
        };
        if has_changed {
            shared.changed.send_replace(());
        }
        let Reply::Wait(wait) = reply else { return reply };
        let at = *late_at.get_or_insert_with(|| Instant::now() + wait);
        let _ = timeout_at(at, changed.changed()).await;
    }
}

/// Refuses a first port that leaves too few for the other nodes. Port 0 gives each a free one.
fn check_listen(first: SocketAddr, nodes: u16) -> io::Result<()> {
    let last = u32::from(first.port()) + u32::from(nodes.saturating_sub(1));
    if first.port() == 0 || last <= u32::from(u16::MAX) {
        return Ok(());
    }
    let why = format!(
        "{nodes} nodes from {first} on need the ports up to {last}, but 65535 is the highest: let the first node listen on \
         a lower port, or on 0 for free ports"
    );
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

/// Refuses addresses that no client can use, and a list longer than the number of nodes.
fn check_advertised(listeners: &[(String, u16)], nodes: u16) -> io::Result<()> {
    let refuse = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, format!("advertised.listeners: {why}")));
    if listeners.len() > usize::from(nodes) {
        return refuse(format!("{} addresses for {nodes} nodes; give one a node at most", listeners.len()));
    }
    for (host, port) in listeners {
        let address = authority(host, *port);
        if host.is_empty() || *port == 0 || host.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified()) {
            return refuse(format!("clients cannot connect to {address}; give a host and a port that they can reach"));
        }
    }
    let behind = usize::from(nodes).saturating_sub(listeners.len());
    match listeners.last() {
        Some((host, port)) if usize::from(*port) + behind > usize::from(u16::MAX) => {
            refuse(format!("no ports are left after {} for {behind} more nodes", authority(host, *port)))
        }
        _ => Ok(()),
    }
}

/// Joins host and port; an IPv6 address needs brackets.
fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[expect(clippy::disallowed_methods, reason = "the server is where time enters")]
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::authority;

    #[test]
    fn ipv6_addresses_get_brackets() {
        assert_eq!(authority("127.0.0.1", 9092), "127.0.0.1:9092");
        assert_eq!(authority("localhost", 9092), "localhost:9092");
        assert_eq!(authority("::1", 9092), "[::1]:9092");
    }
}
