//! A connection without sockets, in the place of the driver's own: a thread that hands each frame to a cluster in memory.

use std::cell::RefCell;
use std::future::{Future, ready};
use std::sync::Arc;

use bytes::Bytes;
use kurier_broker::{Cluster, Reply};
use shuttle::future::block_on;
use tokio::sync::mpsc;

use crate::config::{Config, HostPort};
use crate::core::{ConnectionId, Input};
use crate::driver::Names;
use crate::sync::{Mutex, thread};

/// A frame to be written.
pub(crate) struct Frame {
    pub(crate) correlation_id: i32,
    pub(crate) chunks: Vec<Bytes>,
}

/// Where a connection's thread stands between core and cluster.
pub(crate) struct Wires {
    pub(crate) connection: ConnectionId,
    pub(crate) frames: mpsc::Receiver<Frame>,
    pub(crate) inputs: mpsc::Sender<Input>,
}

/// What the connections of one execution lead to. All its threads are one to the system, so it has it by thread.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) cluster: Arc<Mutex<Cluster>>,
    threads: Arc<Mutex<Vec<thread::JoinHandle<()>>>>,
}

std::thread_local! {
    static NETWORK: RefCell<Option<Network>> = const { RefCell::new(None) };
}

impl Network {
    /// A network that leads to this cluster, for this execution.
    pub(crate) fn new(cluster: Cluster) -> Self {
        let network = Self { cluster: Arc::new(Mutex::new(cluster)), threads: Arc::default() };
        NETWORK.set(Some(network.clone()));
        network
    }

    /// Waits until all connections have ended, and gives back the cluster.
    pub(crate) fn end(self) -> Cluster {
        NETWORK.set(None);
        let Self { cluster, threads } = self;
        for thread in std::mem::take(&mut *threads.lock().unwrap()) {
            thread.join().unwrap();
        }
        Arc::into_inner(cluster).expect("nobody else has it").into_inner().unwrap()
    }
}

/// Makes a connection; it is served by a thread of its own until the driver lets go of it.
pub(crate) fn run(
    _: Arc<Config>,
    _: Arc<dyn Names>,
    host: HostPort,
    _: u32,
    wires: Wires,
) -> impl Future<Output = ()> + use<> {
    let network = NETWORK.with_borrow(Clone::clone).expect("the execution has a network");
    let cluster = Arc::clone(&network.cluster);
    let thread = thread::spawn(move || block_on(serve(&cluster, host.port.into(), wires)));
    network.threads.lock().unwrap().push(thread);
    ready(())
}

/// Nodes listen at their ids.
async fn serve(cluster: &Mutex<Cluster>, node: i32, wires: Wires) {
    let Wires { connection, mut frames, inputs } = wires;
    if inputs.send(Input::Connected(connection)).await.is_err() {
        return;
    }
    while let Some(Frame { correlation_id, chunks }) = frames.recv().await {
        let request = Bytes::from(chunks.concat()).slice(4..);
        // The socket has let go of it.
        drop(chunks);
        let _ = inputs.send(Input::Written { connection, correlation_id }).await;
        let reply = cluster.lock().unwrap().handle(node, &request, 0, false);
        let frame = match reply {
            Reply::Send { frame, .. } => frame,
            Reply::Hang => continue,
            reply => panic!("{reply:?}"),
        };
        if inputs.send(Input::Received { connection, frame: frame.slice(4..) }).await.is_err() {
            return;
        }
    }
}
