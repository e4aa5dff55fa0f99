//! A connection as its node knows it: the address, and the client's identity.

use std::net::IpAddr;

use kurier_protocol::{CorrelationId, NodeId};

use crate::api::Api;
use crate::sasl::{Admission, Authentication};
use crate::settings::ClusterSettings;

/// A connection as its node knows it. A server keeps one for each socket.
///
/// ```
/// use bytes::Bytes;
/// use kurier_broker::{Cluster, ClusterSettings, Reply, SaslSettings, Session};
///
/// let sasl = Some(SaslSettings::default().user("alice", "alice-secret"));
/// let mut cluster = Cluster::new(ClusterSettings { sasl, ..ClusterSettings::default() });
/// let mut session = Session::default();
/// // Metadata 0, before the client has authenticated.
/// let frame = Bytes::from_static(b"\0\x03\0\0\0\0\0\x01\xff\xff\0\0\0\0");
/// assert_eq!(cluster.handle_on(1, &mut session, &frame, 1_700_000_000_000, false), Reply::Close);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// The node's address that the client connected to, if there is a socket.
    reached: Option<IpAddr>,
    /// The state of SASL, which never changes on a cluster without SASL.
    pub(crate) authentication: Authentication,
    /// The request that waits for its answer. It was admitted when it came, and stays so if the session ends meanwhile.
    pub(crate) waiting: Option<CorrelationId>,
}

impl Session {
    /// Creates the session of a client that connected to this address.
    pub(crate) fn reached_at(address: IpAddr) -> Self {
        Self { reached: Some(address), ..Self::default() }
    }

    /// Returns the node's address that the client connected to, if there is a socket.
    pub(crate) fn reached(&self) -> Option<IpAddr> {
        self.reached
    }

    /// Returns the client's authenticated name, if there is one.
    #[must_use]
    pub fn principal(&self) -> Option<&str> {
        self.authentication.principal()
    }

    /// Returns the reaction of a node with these settings to a request of this API.
    pub(crate) fn admit(&self, settings: &ClusterSettings, api: Api, now_ms: i64) -> Admission {
        if settings.sasl.is_none() { Admission::Execute } else { self.authentication.admit(api, now_ms) }
    }

    /// Returns the largest request that the node takes now, in bytes: before a client has authenticated, Kafka takes
    /// less (`sasl.server.max.receive.size`).
    pub(crate) fn request_bytes_max(&self, settings: &ClusterSettings) -> usize {
        const BEFORE: usize = 512 << 10;
        const AFTER: usize = 100 << 20;
        if settings.sasl.is_some() && self.principal().is_none() { BEFORE } else { AFTER }
    }
}

/// The end of an exchange, for [`Cluster::logins`](crate::Cluster::logins).
///
/// ```
/// use kurier_broker::{Cluster, ClusterSettings, Login};
///
/// let cluster = Cluster::new(ClusterSettings::default());
/// let refused = |login: &&Login| login.principal.is_none();
/// assert_eq!(cluster.logins().filter(refused).count(), 0);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Login {
    /// The node that the client connected to.
    pub node: NodeId,
    /// The client's name; `None` if the node refused it.
    pub principal: Option<String>,
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// Whether the client had authenticated before on the same connection.
    pub is_again: bool,
}
