//! Connection for models, in place of the driver's: a thread that passes frames to an in-memory cluster.

use std::cell::RefCell;
use std::future::{Future, ready};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use kurier_broker::{Cluster, Reply};
use kurier_protocol::{CorrelationId, NodeId};
use shuttle::future::block_on;
use tokio::sync::mpsc;

use crate::driver::Target;
use kurier_engine::core::{ConnectionId, Input};
use kurier_engine::sync::{Mutex, thread};

/// A frame to write.
pub(crate) struct Frame {
    pub(crate) correlation_id: CorrelationId,
    pub(crate) chunks: Vec<Bytes>,
}

/// Channels between the core and one connection.
pub(crate) struct Wires {
    pub(crate) connection: ConnectionId,
    pub(crate) frames: mpsc::Receiver<Frame>,
    pub(crate) inputs: mpsc::Sender<Input>,
    #[expect(dead_code, reason = "models have no socket")]
    pub(crate) frame_limit: Arc<AtomicUsize>,
}

/// Target of all connections of one execution. It is thread-local, because all threads of a model run on one system
/// thread.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) cluster: Arc<Mutex<Cluster>>,
    threads: Arc<Mutex<Vec<thread::JoinHandle<()>>>>,
}

std::thread_local! {
    static NETWORK: RefCell<Option<Network>> = const { RefCell::new(None) };
}

impl Network {
    /// Creates the network of one execution, in front of this cluster.
    pub(crate) fn new(cluster: Cluster) -> Self {
        let network = Self { cluster: Arc::new(Mutex::new(cluster)), threads: Arc::default() };
        NETWORK.set(Some(network.clone()));
        network
    }

    /// Waits until all connections have ended, and returns the cluster.
    pub(crate) fn end(self) -> Cluster {
        NETWORK.set(None);
        let Self { cluster, threads } = self;
        for thread in std::mem::take(&mut *threads.lock().unwrap()) {
            thread.join().unwrap();
        }
        Arc::into_inner(cluster).expect("nobody else has it").into_inner().unwrap()
    }
}

/// Connects, and serves the connection on a thread of its own until the driver drops it.
pub(crate) fn run(target: Target, wires: Wires) -> impl Future<Output = ()> + use<> {
    let network = NETWORK.with_borrow(Clone::clone).expect("the execution has a network");
    let cluster = Arc::clone(&network.cluster);
    let thread = thread::spawn(move || block_on(serve(&cluster, NodeId(target.host.port.into()), wires)));
    network.threads.lock().unwrap().push(thread);
    ready(())
}

/// Nodes listen at ports equal to their ids.
async fn serve(cluster: &Mutex<Cluster>, node: NodeId, wires: Wires) {
    let Wires { connection, mut frames, inputs, frame_limit: _ } = wires;
    if inputs.send(Input::Connected { connection, is_private: true }).await.is_err() {
        return;
    }
    while let Some(Frame { correlation_id, chunks }) = frames.recv().await {
        let request = Bytes::from(chunks.concat()).slice(4..);
        // The socket has copied the chunks.
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
