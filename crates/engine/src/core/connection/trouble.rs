//! Explanations, in error texts, of why a peer cannot be asked.

use std::fmt;
use std::time::Instant;

use super::{Connections, Link, Peer, State};
use crate::core::advice::{IS_IT_A_BROKER, advertised};
use crate::error::{Cause, printable};

const NOT_CONNECTED: &str = "not connected yet";

impl<Q> Link<Q> {
    /// Guesses, for the error text, why the peer closed the connection; `None` if its state gives no hint.
    pub(super) fn suspicion(&self) -> Option<String> {
        match self.state {
            State::Negotiating { .. } if !self.was_ready => {
                Some(format!("instead of answering ApiVersions: {IS_IT_A_BROKER}"))
            }
            // A SASL listener answers ApiVersions, and nothing else before the client has authenticated.
            State::Ready { .. } if !self.has_answered && !self.pending.is_empty() => Some(
                "at the first request after ApiVersions: does this listener require SASL? Set security.protocol and \
                 sasl.mechanism"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    /// Says which step of the handshake took too long.
    pub(super) fn delay(&self) -> String {
        let key = "socket.connection.setup.timeout.ms";
        match self.state {
            State::Negotiating { .. } => format!("it did not answer ApiVersions within {key}: {IS_IT_A_BROKER}"),
            State::Authenticating { .. } => format!("SASL authentication took longer than {key}"),
            _ => format!("it did not accept a connection, or did not finish the TLS handshake, within {key}"),
        }
    }
}

impl<Q: fmt::Debug> Connections<Q> {
    /// Names a peer in error texts: its node id and its address.
    pub(crate) fn name(&self, peer: Peer) -> String {
        let host = self.links.get(&peer).map_or_else(String::new, |link| printable(&link.host.to_string()));
        match peer {
            Peer::Node(id) => format!("node {id} ({host})"),
            Peer::Seed(_) => host,
        }
    }

    /// Lists why peers cannot be asked, one text per peer.
    pub(crate) fn troubles(&self) -> Vec<String> {
        let shown = |cause: Cause| printable(&format!("{cause:#}"));
        self.links.keys().filter_map(|peer| self.trouble(*peer).map(shown)).collect()
    }

    /// Says why a peer cannot be asked: the last failure of its connection, or the step that is missing.
    pub(crate) fn trouble(&self, peer: Peer) -> Option<Cause> {
        let link = self.links.get(&peer)?;
        let why = match (&link.trouble, &link.state) {
            (Some(trouble), _) => trouble.clone(),
            (None, State::Connecting { .. }) => NOT_CONNECTED.into(),
            (None, State::Blocked | State::Backoff { .. }) => {
                self.access.trouble().unwrap_or_else(|| "no connection yet: it waits for credentials".into())
            }
            (None, State::Authenticating { .. }) => "it has not answered during SASL authentication".into(),
            (None, State::Negotiating { .. }) => {
                format!("it accepted the connection but does not answer: {IS_IT_A_BROKER}").into()
            }
            (None, State::Idle | State::Ready { .. }) => return None,
        };
        Some(match peer {
            Peer::Node(id) if !link.was_ready => {
                why.context(format!("{}, but Kurier cannot connect to it", advertised(id, &link.host)))
            }
            _ => why.context(self.name(peer)),
        })
    }

    /// Says why a peer accepts no request now; `None` if it does.
    pub(crate) fn obstacle(&self, peer: Peer, max_in_flight: usize, now: Instant) -> Option<String> {
        let link = self.links.get(&peer)?;
        let name = self.name(peer);
        if let Some(until) = link.muted_until {
            let left = until.saturating_duration_since(now).as_secs_f64();
            return Some(format!("{name} throttles this producer for another {left:.1} s"));
        }
        if !matches!(link.state, State::Ready { .. }) {
            let not_connected = || Cause::from(NOT_CONNECTED).context(name);
            let trouble = self.trouble(peer).unwrap_or_else(not_connected);
            return Some(printable(&format!("{trouble:#}")));
        }
        if link.pending.back().is_some_and(|last| !last.is_written) {
            return Some(format!("{name} does not read from its connection"));
        }
        let is_full = link.pending.len() >= max_in_flight;
        is_full.then(|| format!("{name} has not answered {} requests", link.pending.len()))
    }

    /// Returns the peer that has an unanswered request of this kind.
    pub(crate) fn asked(&self, is_kind: impl Fn(&Q) -> bool) -> Option<Peer> {
        let is_asked = |link: &Link<Q>| link.pending.iter().filter_map(|it| it.asked.question()).any(&is_kind);
        self.links.iter().find(|(_, link)| is_asked(link)).map(|(peer, _)| *peer)
    }
}
