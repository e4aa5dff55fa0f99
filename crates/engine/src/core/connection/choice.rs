//! The choice of a peer for a request that any peer can answer.

use std::time::Instant;

use super::{Connections, Link, Peer, State};
use crate::core::backoff::SLOW;
use crate::core::versions::Versions;

/// Why no peer can be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nobody {
    /// A peer will be available soon.
    Yet,
    /// No node is connected, and no node can be connected to.
    Left,
    /// Some nodes are connected, but none of them offers the API. This is one of them.
    Offers(Peer),
}

/// A request that any peer may answer.
pub(crate) struct Errand<'a, Q> {
    /// Whether an unanswered request is the same one, so that its peer is skipped.
    pub is_the_same: &'a dyn Fn(&Q) -> bool,
    /// Whether a peer that offers these versions can answer.
    pub offers: &'a dyn Fn(&Versions) -> bool,
    pub max_in_flight: usize,
}

impl<Q> Clone for Errand<'_, Q> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Q> Copy for Errand<'_, Q> {}

impl<Q: std::fmt::Debug> Connections<Q> {
    /// Picks a peer for a request that any peer can answer, skipping peers that already have the same request. With
    /// `with_seeds`, the bootstrap servers come first; without it, only connected ones are candidates.
    pub(crate) fn anyone(&mut self, errand: Errand<'_, Q>, with_seeds: bool, now: Instant) -> Result<Peer, Nobody> {
        let is_seed = |peer: &Peer, _: &Link<Q>| matches!(peer, Peer::Seed(_));
        let is_known =
            |peer: &Peer, link: &Link<Q>| matches!(peer, Peer::Node(_)) || matches!(link.state, State::Ready { .. });
        if with_seeds {
            let found = self.anyone_of(is_seed, errand, now);
            if !matches!(found, Err(Nobody::Left | Nobody::Offers(_))) {
                return found;
            }
        }
        self.anyone_of(is_known, errand, now)
    }

    /// Returns the candidate that is ready and has the fewest requests. If there is none, connects to one, unless a
    /// connection is already being made.
    fn anyone_of(
        &mut self,
        is_candidate: impl Fn(&Peer, &Link<Q>) -> bool,
        errand: Errand<'_, Q>,
        now: Instant,
    ) -> Result<Peer, Nobody> {
        let Errand { is_the_same, offers, max_in_flight } = errand;
        let lacks = |link: &Link<Q>| matches!(&link.state, State::Ready { versions, .. } if !offers(versions));
        let is_of_no_use = |(peer, link): &(&Peer, &Link<Q>)| is_candidate(peer, link) && lacks(link);
        let lacking = self.links.iter().find(is_of_no_use).map(|(peer, _)| *peer);
        let candidates = || self.links.iter().filter(|(peer, link)| is_candidate(peer, link) && !lacks(link));
        let is_free =
            |link: &Link<Q>| !link.pending.iter().filter_map(|pending| pending.asked.question()).any(is_the_same);
        let ready = candidates().filter(|(peer, link)| self.has_room(**peer, max_in_flight, now) && is_free(link));
        if let Some((peer, _)) = ready.min_by_key(|(peer, link)| (link.pending.len(), **peer)) {
            return Ok(*peer);
        }
        let is_under_way = |(_, link): (&Peer, &Link<Q>)| match link.state {
            State::Connecting { since, .. } => now < since + SLOW,
            State::Negotiating { .. } | State::Authenticating { .. } => now < link.used_at + SLOW,
            State::Blocked => true,
            // A ready peer has room again soon, unless it is silent or muted.
            State::Ready { .. } => link.muted_until.is_none() && now < link.used_at + SLOW && is_free(link),
            State::Idle | State::Backoff { .. } => false,
        };
        if candidates().any(is_under_way) {
            return Err(Nobody::Yet);
        }
        let is_idle = |(_, link): &(&Peer, &Link<Q>)| matches!(link.state, State::Idle);
        let mut idle: Vec<(Peer, u32)> = candidates().filter(is_idle).map(|(p, link)| (*p, link.failures)).collect();
        // A busy or muted peer is still a connected one.
        let is_ready = |(_, link): (&Peer, &Link<Q>)| matches!(link.state, State::Ready { .. });
        let is_any_ready = candidates().any(is_ready);
        self.random.shuffle(&mut idle);
        match idle.iter().min_by_key(|(_, failures)| *failures) {
            Some((peer, _)) => {
                self.want(*peer, now);
                Err(Nobody::Yet)
            }
            None if is_any_ready => Err(Nobody::Yet),
            None => Err(lacking.map_or(Nobody::Left, Nobody::Offers)),
        }
    }
}
