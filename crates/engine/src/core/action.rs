//! The work that the core leaves to its caller.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use kurier_protocol::{CorrelationId, NodeId};

use super::access::{FetchReason, Job};
use super::key::Key;
use crate::accumulator::batch::Taken;
use crate::accumulator::{Layout, PartitionId};
use crate::config::HostPort;
use crate::delivery::Outcome;
use crate::error::Error;

/// Work for the core's caller.
#[derive(Debug)]
pub enum Action {
    /// Connect to the first address of a host that accepts. Each attempt starts with a later address. `was_ready` says
    /// whether any connection to this server was ever ready.
    Connect { connection: ConnectionId, host: HostPort, attempt: u32, was_ready: bool },
    /// Close a connection, unless it is closed already.
    Disconnect(ConnectionId),
    /// Accept frames up to this size from now on. Until then, a connection's limit is 1 MiB
    /// ([`FrameBuffer::UNAUTHENTICATED_LIMIT_BYTES`](kurier_protocol::FrameBuffer::UNAUTHENTICATED_LIMIT_BYTES)).
    FrameLimit { connection: ConnectionId, bytes: usize },
    /// Fetch credentials. Answer with [`Input::Credentials`](super::Input::Credentials).
    FetchCredentials { reason: FetchReason },
    /// Run a job on a thread that may block. Answer with [`Input::Computed`](super::Input::Computed).
    Compute { connection: ConnectionId, job: Job },
    /// Write a frame.
    Transmit { connection: ConnectionId, correlation_id: CorrelationId, chunks: Payload },
    /// Fail the senders that wait for a topic.
    Refuse { topic: Arc<str>, error: Error },
    /// Pass this to [`perform`](crate::local_actions::perform).
    Local(LocalAction),
}

/// A frame in pieces. `Debug` shows only its size: a frame may contain a password.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Payload(Vec<Bytes>);

impl Payload {
    /// Returns the pieces.
    pub fn into_chunks(self) -> Vec<Bytes> {
        self.0
    }
}

impl From<Vec<Bytes>> for Payload {
    fn from(chunks: Vec<Bytes>) -> Self {
        Self(chunks)
    }
}

impl Deref for Payload {
    type Target = [Bytes];

    fn deref(&self) -> &[Bytes] {
        &self.0
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.iter().map(Bytes::len).sum::<usize>())
    }
}

/// Work that needs no network.
#[derive(Debug)]
pub enum LocalAction {
    /// Take and compress the first batch of each of these partitions, up to `room` bytes in total. Answer with
    /// [`Input::Taken`](super::Input::Taken).
    Take { node: NodeId, partitions: Vec<PartitionId>, room: usize },
    /// Take a partition's batches that were opened by `until`. Answer with [`Input::Drained`](super::Input::Drained).
    Drain { partition: PartitionId, until: Instant, why: Error },
    /// Close a partition's batches that were opened by `until` to further records.
    CloseBatches { partition: PartitionId, until: Instant },
    /// Split a batch in two. Answer with [`Input::Split`](super::Input::Split).
    Split { partition: PartitionId, whole: Key, batch: Taken },
    /// Show senders a topic and its partitions.
    Publish(Layout),
    /// Remove an idle topic, unless a sender has appended to one of these partitions. Then answer with
    /// [`Input::Retired`](super::Input::Retired).
    Retire { topic: Arc<str>, partitions: Vec<PartitionId> },
    /// Tell senders which partitions' leaders have stalled (true) or accept batches again (false).
    Stall(Vec<(PartitionId, bool)>),
    /// Give a batch's records their outcome. `is_last` is false while other pieces have none.
    Complete { partition: PartitionId, batch: Taken, outcome: Outcome, is_last: bool },
}

impl From<LocalAction> for Action {
    fn from(action: LocalAction) -> Self {
        Self::Local(action)
    }
}

/// Actions, in the order that the driver must follow.
pub type Actions = VecDeque<Action>;

/// Identifies a connection. Ids are never reused, so late events of an old connection can be recognized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);
