//! The events that the core's caller reports.

use std::sync::Arc;

use bytes::Bytes;
use kurier_protocol::{CorrelationId, NodeId};
use kurier_security::ScramProof;

use super::access::{CredentialError, Grant};
use super::action::ConnectionId;
use super::key::Key;
use crate::accumulator::batch::Taken;
use crate::accumulator::{Left, PartitionId, Signal};
use crate::error::{Cause, Error};

/// Something that happened outside the core.
#[derive(Debug)]
pub enum Input {
    /// A sender's thread reports an event.
    Signal(Signal),
    /// A sender waits until a topic is known and has this many partitions.
    Wanted { topic: Arc<str>, partitions: usize },
    /// No sender waits for this topic any more.
    Unwanted(Arc<str>),
    /// Send open batches now, without lingering: a sender flushes, or waits for memory.
    Hurry,
    /// Stop sending: all remaining batches fail.
    Abandon,
    /// The answer to [`LocalAction::Take`](super::LocalAction::Take); `left` says what remains of each partition.
    Taken { node: NodeId, batches: Vec<(PartitionId, Taken)>, left: Vec<(PartitionId, Option<Left>)> },
    /// The answer to [`LocalAction::Drain`](super::LocalAction::Drain).
    Drained { partition: PartitionId, batches: Vec<Taken>, left: Option<Left>, why: Error },
    /// The answer to [`LocalAction::Split`](super::LocalAction::Split): the pieces, or why there are none.
    Split { partition: PartitionId, whole: Key, pieces: Result<Vec<Taken>, Cause> },
    /// The accumulator has removed a topic, as [`LocalAction::Retire`](super::LocalAction::Retire) asked.
    Retired(Arc<str>),
    /// A connection is established. It is private if it is encrypted or does not leave the machine.
    Connected { connection: ConnectionId, is_private: bool },
    /// The answer to [`Action::FetchCredentials`](super::Action::FetchCredentials), or credentials that have changed.
    Credentials(Result<Arc<Grant>, CredentialError>),
    /// The answer to [`Action::Compute`](super::Action::Compute).
    Computed { connection: ConnectionId, proof: ScramProof },
    /// The certificates have changed: the core replaces all connections.
    TlsChanged,
    /// The kernel has accepted the last byte of a request.
    Written { connection: ConnectionId, correlation_id: CorrelationId },
    /// A frame arrived, without its length.
    Received { connection: ConnectionId, frame: Bytes },
    /// A connection attempt failed, or a connection has ended.
    Disconnected { connection: ConnectionId, ending: Ending },
}

/// How a connection ended, as reported for its peer.
#[derive(Debug)]
pub enum Ending {
    /// The peer closed or reset the connection.
    Closed(&'static str),
    /// The connection attempt failed, or the connection failed in another way.
    Failed(Cause),
    /// One side does not accept the certificate of the other. Another attempt would fail in the same way.
    Untrusted(Error),
}
