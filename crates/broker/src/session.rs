//! Facts about one connection that the handling of its requests needs.

use std::net::IpAddr;

/// A connection as its node knows it. A server keeps one for each socket; a call without a socket has the default.
///
/// Later the principal and the state of its authentication belong here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Session {
    /// The node's address that the client connected to, if there is a socket.
    reached: Option<IpAddr>,
}

impl Session {
    /// Creates the session of a client that connected to this address.
    pub(crate) fn reached_at(address: IpAddr) -> Self {
        Self { reached: Some(address) }
    }

    /// Returns the node's address that the client connected to, if there is a socket.
    pub(crate) fn reached(&self) -> Option<IpAddr> {
        self.reached
    }
}
