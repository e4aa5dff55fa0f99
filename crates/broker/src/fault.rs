//! Scripted faults: actions that a node takes instead of, or besides, its normal answer.

use std::time::Duration;

use kurier_protocol::{ErrorCode, NodeId};

use crate::api::Api;

/// A scripted fault: its kind, the requests that it hits, and how often.
///
/// ```
/// use std::time::Duration;
///
/// use bytes::Bytes;
/// use kurier_broker::{Cluster, ClusterSettings, Fault, FaultKind, Reply};
/// use kurier_protocol::messages::MetadataRequest;
/// use kurier_protocol::{ErrorCode, write_request};
///
/// let mut cluster = Cluster::new(ClusterSettings { nodes: 2, ..ClusterSettings::default() });
/// // The next two requests to Produce are refused, whichever node they reach.
/// cluster.add_fault(Fault::new("Produce", FaultKind::Error(ErrorCode::NOT_ENOUGH_REPLICAS)).times(2));
/// // Node 2 closes the connection instead of answering the next request for metadata.
/// cluster.add_fault(Fault::new("Metadata", FaultKind::CloseAfter).on_node(2));
/// // Otherwise metadata is slow from now on.
/// let slow = Duration::from_millis(50);
/// cluster.add_fault(Fault::new("Metadata", FaultKind::Delay(slow)).times(usize::MAX));
///
/// # let mut wire = Vec::new();
/// # write_request(&MetadataRequest::default(), 12, 1, None, &mut wire).unwrap();
/// # let frame = Bytes::from(wire).slice(4..);
/// let mut ask = |node| cluster.handle(node, &frame, 1_700_000_000_000, false);
/// assert!(matches!(ask(1), Reply::Send { after, .. } if after == slow));
/// assert_eq!(ask(2), Reply::Close);
/// assert!(matches!(ask(2), Reply::Send { after, .. } if after == slow));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    api: Api,
    node: Option<NodeId>,
    times: usize,
    kind: FaultKind,
}

/// Kind of a fault. See [`Fault`] for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// Does nothing and answers with this code; for Produce, on every partition.
    Error(ErrorCode),
    /// For Produce: does nothing, answers INVALID_RECORD for every partition, and blames the records at these indexes
    /// of each batch (KIP-467).
    Blame(Vec<i32>),
    /// Executes the request, but answers with this error code.
    ErrorAfter(ErrorCode),
    /// Does nothing and closes the connection.
    Close,
    /// Executes the request and closes the connection without an answer.
    CloseAfter,
    /// Executes the request, sends this many bytes of the answer, and closes the connection.
    Cut(usize),
    /// Executes the request, but never answers it or any later request on this connection. The connection stays open.
    Silence,
    /// Executes the request and answers after this delay.
    Delay(Duration),
    /// Executes the request and reports this throttle time in the answer (KIP-219).
    Throttle(Duration),
}

impl Fault {
    /// Creates a fault for the next request to the API of this name, such as `Produce`, on any node.
    ///
    /// # Panics
    /// If the nodes have no API of this name, because no request could ever meet the fault.
    #[must_use]
    pub fn new(api: &'static str, kind: FaultKind) -> Self {
        Self { api: Api::named(api), node: None, times: 1, kind }
    }

    /// Limits the fault to this node.
    #[must_use]
    pub fn on_node(self, node: impl Into<NodeId>) -> Self {
        Self { node: Some(node.into()), ..self }
    }

    /// Sets how often the fault happens.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    fn is_met(&self, api: Api, node: NodeId) -> bool {
        self.api == api && self.node.is_none_or(|id| id == node) && self.times > 0
    }
}

/// The pending faults.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    /// Returns the oldest fault that applies to this request, if any.
    pub(crate) fn met(&self, api: Api, node: NodeId) -> Option<FaultKind> {
        self.0.iter().find(|fault| fault.is_met(api, node)).map(|fault| fault.kind.clone())
    }

    /// Counts the fault of this request as done. Only an answered request may do so, because a waiting request comes
    /// again.
    pub(crate) fn strike_off(&mut self, api: Api, node: NodeId) {
        if let Some(fault) = self.0.iter_mut().find(|fault| fault.is_met(api, node)) {
            fault.times -= 1;
        }
        self.0.retain(|fault| fault.times > 0);
    }
}
