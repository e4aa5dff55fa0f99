//! Explanations, in error texts, of why a peer cannot be asked.

use std::fmt;
use std::time::Instant;

use super::{Connections, Link, Peer, State};
use crate::core::advice::{IS_IT_A_BROKER, advertised};
use crate::error::printable;

impl<Q> Link<Q> {
    /// Says what kind of server may be closing the connection; `None` for a peer that is known to be a broker.
    pub(super) fn suspicion(&self) -> Option<String> {
        match self.state {
            State::Negotiating { .. } if !self.was_ready => {
                Some(format!("instead of answering ApiVersions: {IS_IT_A_BROKER}"))
            }
            // A SASL listener answers ApiVersions, and nothing else before the client has authenticated.
            State::Ready { .. } if !self.has_answered && !self.pending.is_empty() => Some(
                "when it was asked more than ApiVersions: is this a SASL or TLS listener? Kurier speaks neither yet; use a \
                 PLAINTEXT listener of the broker"
                    .to_owned(),
            ),
            _ => None,
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
        self.links.keys().filter_map(|peer| self.trouble(*peer)).collect()
    }

    /// Says why a peer cannot be asked: the last failure of its connection, or the step that is missing.
    pub(crate) fn trouble(&self, peer: Peer) -> Option<String> {
        let link = self.links.get(&peer)?;
        let why = match (&link.trouble, &link.state) {
            (Some(trouble), _) => printable(trouble),
            (None, State::Connecting { .. }) => "no connection stands yet".to_owned(),
            (None, State::Negotiating { .. }) => {
                format!("it was connected to and does not answer: {IS_IT_A_BROKER}")
            }
            (None, State::Idle | State::Backoff { .. } | State::Ready { .. }) => return None,
        };
        Some(match peer {
            Peer::Node(id) if !link.was_ready => {
                format!("{}, and no connection to it can be made: {why}", advertised(id, &link.host))
            }
            _ => format!("{}: {why}", self.name(peer)),
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
            return Some(self.trouble(peer).unwrap_or_else(|| format!("{name}: no connection stands yet")));
        }
        if link.pending.back().is_some_and(|last| !last.is_written) {
            return Some(format!("{name} reads nothing from its connection"));
        }
        let is_full = link.pending.len() >= max_in_flight;
        is_full.then(|| format!("{name} has not answered {} requests", link.pending.len()))
    }

    /// Returns the peer that has an unanswered request of this kind.
    pub(crate) fn asked(&self, is_kind: impl Fn(&Q) -> bool) -> Option<Peer> {
        let is_asked = |link: &Link<Q>| link.pending.iter().filter_map(|it| it.question.as_ref()).any(&is_kind);
        self.links.iter().find(|(_, link)| is_asked(link)).map(|(peer, _)| *peer)
    }
}
