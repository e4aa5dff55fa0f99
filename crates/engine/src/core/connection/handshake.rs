//! Steps from a connection to a peer that is ready: the choice of versions, then [SASL](super::authentication).
//!
//! The [state diagram](super) shows them. The driver looks up the name, connects, and starts TLS. A peer in
//! `Negotiating` may refuse the version of ApiVersions: the core then asks again with a lower one.
//!
//! Until the peer is ready, its frames may have at most 1 MiB. To add a step, give it a state between `Negotiating` and
//! `Ready`. The step before it enters that state, and the last response of the step calls `make_ready`. List the state
//! in `State::is_handshake`, so that the setup timeout limits it, and its requests in `Asked`.

use std::fmt;
use std::time::Instant;

use bytes::Bytes;
use kurier_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use kurier_protocol::{ErrorCode, FrameBuffer, NodeId, read_response};

use super::{Asked, Connections, Event, Peer, State};
use crate::core::action::{Action, ConnectionId};
use crate::core::versions::Versions;
use crate::error::{Cause, Error, printable};
use crate::fault_injection::Mutant;

/// The first version to try for ApiVersions. Version 5 names the broker that is meant (KIP-1242). Brokers before Kafka
/// 4.4 refuse it and name their highest version: that costs one round trip on the first connection to each peer. Java
/// pays it on every connection.
pub(super) const VERSIONS_VERSION: i16 = 5;

impl<Q: fmt::Debug> Connections<Q> {
    /// Handles a new connection: asks the server for its versions.
    pub(crate) fn handle_connected(&mut self, connection: ConnectionId, is_private: bool, now: Instant) {
        let Some(peer) = self.peers.get(&connection).copied() else { return };
        let Some(link) = self.links.get_mut(&peer) else { return };
        link.state = State::Negotiating { connection };
        (link.is_private, link.untrusted) = (is_private, None);
        if self.faults.has(Mutant::ResetBreakerOnReconnect) {
            self.access.forget_refusals();
        }
        // Some services close the connection when they do not know the version of ApiVersions.
        if link.negotiations_broken >= 2 {
            link.versions_version = 0;
        }
        self.ask_versions(peer, now);
    }

    fn ask_versions(&mut self, peer: Peer, now: Instant) {
        let Some(link) = self.links.get(&peer) else { return };
        let version = link.versions_version;
        let (cluster_id, node_id) = match (peer, &self.cluster_id) {
            (Peer::Node(node_id), Some(cluster_id)) => (Some(cluster_id.clone()), node_id),
            _ => (None, NodeId::NONE),
        };
        let request = ApiVersionsRequest {
            client_software_name: "kurier".to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster_id,
            node_id: node_id.0,
        };
        if let Err(error) = self.transmit(peer, &request, version, Asked::Versions, true, now) {
            self.lose(peer, error.into(), now);
        }
    }

    /// Handles the response to ApiVersions.
    pub(super) fn handle_versions(&mut self, peer: Peer, frame: &Bytes, version: i16, now: Instant) {
        match read_response::<ApiVersionsRequest>(frame, version) {
            Ok((_, response)) => self.handle_offer(peer, &response, now),
            Err(error) => self.lose(peer, Cause::from(error).context("cannot read its response"), now),
        }
    }

    fn handle_offer(&mut self, peer: Peer, response: &ApiVersionsResponse, now: Instant) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        let State::Negotiating { connection } = link.state else { return };
        let offered = Versions::of(response);
        if response.error_code == ErrorCode::UNSUPPORTED_VERSION && link.versions_version > 0 {
            // The response may name the versions that the peer knows. Ignore versions that are not lower than the
            // refused one.
            let highest =
                offered.ok().and_then(|offered| offered.highest_below::<ApiVersionsRequest>(link.versions_version - 1));
            link.versions_version = highest.unwrap_or(0);
            return self.ask_versions(peer, now);
        }
        if response.error_code == ErrorCode::REBOOTSTRAP_REQUIRED
            && let (Peer::Node(id), Some(cluster_id)) = (peer, &self.cluster_id)
        {
            // The peer answered. A lower version would skip the check that just failed.
            link.negotiations_broken = 0;
            let cluster_id = printable(cluster_id);
            let why = format!("the broker at {} is not node {id} of cluster {cluster_id}", link.host);
            return self.lose_astray(peer, why.into(), now);
        }
        if !response.error_code.is_none() {
            let why = Cause::from(Error::refused(response.error_code, None)).context("it refused ApiVersions");
            return self.lose(peer, why, now);
        }
        match offered {
            Ok(versions) if self.policy.is_some() => self.authenticate(peer, connection, versions, now),
            Ok(versions) => self.make_ready(peer, connection, versions),
            Err(why) => self.lose(peer, why.into(), now),
        }
    }

    /// Ends the handshake: from now on the peer accepts requests.
    pub(super) fn make_ready(&mut self, peer: Peer, connection: ConnectionId, versions: Versions) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        link.state = State::Ready { connection, versions };
        (link.setup_failures, link.negotiations_broken) = (0, 0);
        link.was_ready = true;
        // A listener that requires SASL also gets here, and then closes the connection. So keep the last trouble until
        // the peer has answered another request.
        if link.has_answered {
            link.trouble = None;
        }
        tracing::debug!(%link.host, ?peer, "connected");
        let bytes = FrameBuffer::DEFAULT_LIMIT_BYTES;
        if !self.faults.has(Mutant::KeepFrameLimit) {
            self.actions.push_back(Action::FrameLimit { connection, bytes });
        }
        self.schedule(peer);
        self.events.push_back(Event::Ready(peer));
    }
}
