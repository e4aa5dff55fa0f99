//! The schedule of metadata requests: when to ask, and for which topics.
//!
//! A *round* asks for all topics in use, or for those that were not found. It consists of *parts*, one request each,
//! because a request names a limited number of topics. New topics join the next part and wait for no backoff. A round
//! that brings nothing new delays the next one by the backoff (100 ms to 1 s by default).
//!
//! ```text
//!              due            request sent            answered: topics remain
//!   Content ─────────▶ Round ───────────────▶ Part ────────────────────────────▶ Round
//!      ▲                 ▲                     │ │
//!      │                 └── lost: backoff ────┘ │
//!      └────────────── answered: last part ──────┘
//! ```
//!
//! If a node is slow to answer a part, another node gets the same request.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backoff::{Backoff, SLOW};
use crate::config::Config;

/// Most topics in one request. Its answer lists all their partitions and must fit into one frame.
const TOPICS_MAX: usize = 1_000;

/// Most bytes of topic names in one request. A longer name goes alone.
const NAME_BYTES_MAX: usize = 100_000;

/// Identifies a metadata request; ids ascend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct QuestionId(u64);

/// Decides when the core asks for metadata, and for which topics.
#[derive(Debug)]
pub(super) struct Refresh {
    max_age: Duration,
    backoff: Backoff,
    random: fastrand::Rng,
    /// Topics that are new, or have fewer partitions than a sender wants, and that no request has named since.
    new: BTreeSet<Arc<str>>,
    /// Topics that a response did not contain, or not with the partitions that a sender wants.
    unseen: BTreeSet<Arc<str>>,
    /// Whether a round over all topics is requested.
    is_wanted: bool,
    round: Option<Round>,
    /// The topics of the last request, until its answer.
    part: Part,
    /// The unanswered requests for the part.
    under_way: BTreeSet<QuestionId>,
    last_question: QuestionId,
    asked_at: Instant,
    /// Consecutive rounds and requests without effect.
    futile: u32,
    /// The earliest time to begin or continue a round.
    not_before: Instant,
    /// When the last round over all topics ended.
    last: Option<Instant>,
}

/// A pass through the topics.
#[derive(Debug)]
struct Round {
    /// Whether the round covers all topics in use, rather than those that were not found.
    is_over_all: bool,
    /// Whether only the age of the metadata caused the round.
    is_routine: bool,
    is_news: bool,
    /// The last topic, in order, that the round has an answer for.
    after: Option<Arc<str>>,
}

/// The topics of one request.
#[derive(Debug, Default)]
struct Part {
    names: Vec<Arc<str>>,
    name_bytes: usize,
    /// The last topic, in order, that the round has passed after this part.
    after: Option<Arc<str>>,
    ends_round: bool,
}

impl Part {
    /// Adds a topic if the request has room. Topics of this kind may use one in `share` of the limits.
    fn add(&mut self, name: &Arc<str>, share: usize) -> bool {
        let has_room = self.names.len() < TOPICS_MAX / share
            && (self.names.is_empty() || self.name_bytes + name.len() <= NAME_BYTES_MAX / share);
        if has_room {
            self.name_bytes += name.len();
            self.names.push(Arc::clone(name));
        }
        has_room
    }
}

impl Refresh {
    pub(super) fn new(config: &Config, seed: u64, now: Instant) -> Self {
        Self {
            max_age: config.metadata_max_age,
            backoff: Backoff { first: config.retry_backoff, longest: config.retry_backoff_max },
            random: fastrand::Rng::with_seed(seed),
            new: BTreeSet::new(),
            unseen: BTreeSet::new(),
            // The first request shows whether the first connection works.
            is_wanted: true,
            round: None,
            part: Part::default(),
            under_way: BTreeSet::new(),
            last_question: QuestionId::default(),
            asked_at: now,
            futile: 0,
            not_before: now,
            last: None,
        }
    }

    /// Asks for a topic without backoff.
    pub(super) fn add(&mut self, name: &Arc<str>) {
        self.new.insert(Arc::clone(name));
    }

    /// Returns whether a topic was asked for and not found, so that the next request for it waits for the backoff.
    pub(super) fn is_unseen(&self, name: &str) -> bool {
        self.unseen.contains(name)
    }

    /// Stops asking for a topic: it was found, or no sender waits for it.
    pub(super) fn remove(&mut self, name: &str) {
        self.new.remove(name);
        self.unseen.remove(name);
    }

    /// Notes that a topic was found with the partitions that senders want.
    pub(super) fn found(&mut self, name: &str) {
        self.unseen.remove(name);
    }

    /// Requests a round over all topics, because the metadata turned out to be wrong.
    pub(super) fn request(&mut self) {
        self.is_wanted = true;
    }

    /// Restarts the round at the first topic, because earlier answers came from another cluster.
    pub(super) fn begin_again(&mut self) {
        self.round = None;
        self.is_wanted = true;
    }

    /// Lists the topics that are still to be found.
    #[cfg(any(test, feature = "internal"))]
    pub(super) fn leftovers(&self) -> Vec<String> {
        self.new.union(&self.unseen).map(|topic| format!("topic {topic}, which is to be heard of")).collect()
    }

    /// Returns whether to send a request now.
    pub(super) fn asks(&self, now: Instant) -> bool {
        self.next(now).is_some_and(|at| at <= now)
    }

    /// Returns when to send the next request, unless an event comes first.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        if let Some(at) = self.slow_at() {
            return Some(at);
        }
        if !self.new.is_empty() {
            return Some(now);
        }
        match self.round.is_some() || self.is_wanted || !self.unseen.is_empty() {
            true => Some(self.not_before),
            false => self.last.map(|last| (last + self.max_age).max(self.not_before)),
        }
    }

    /// Returns when to ask another node because the last ones have not answered. The wait doubles each time. `None` if
    /// no request is unanswered. No node gets a second request at a time, so there are never more requests than nodes.
    fn slow_at(&self) -> Option<Instant> {
        let doublings = u32::try_from(self.under_way.len()).unwrap_or(u32::MAX).checked_sub(1)?.min(6);
        Some(self.asked_at + SLOW * (1 << doublings))
    }

    fn is_old(&self, now: Instant) -> bool {
        self.last.is_some_and(|last| last + self.max_age <= now)
    }

    /// Begins a round if one is due.
    fn begin_round(&mut self, now: Instant) {
        if self.round.is_some() || now < self.not_before {
            return;
        }
        let (is_old, is_wanted) = (self.is_old(now), std::mem::take(&mut self.is_wanted));
        if is_old {
            // As in Java, a quiet time ends a series of failures.
            self.futile = 0;
        }
        let is_over_all = is_old || is_wanted;
        if is_over_all || !self.unseen.is_empty() {
            let is_routine = is_over_all && !is_wanted && self.unseen.is_empty();
            self.round = Some(Round { is_over_all, is_routine, is_news: false, after: None });
        }
    }

    /// Returns the topics for the next request. `in_use_after` lists the topics in use from a bound on, in order.
    pub(super) fn next_part<'a, I>(
        &mut self,
        now: Instant,
        in_use_after: impl FnOnce(Bound<Arc<str>>) -> I,
    ) -> &[Arc<str>]
    where
        I: Iterator<Item = &'a Arc<str>>,
    {
        if !self.under_way.is_empty() {
            return &self.part.names;
        }
        self.begin_round(now);
        let round = self.round.as_ref().filter(|_| self.not_before <= now);
        let mut part = Part::default();
        let share = if round.is_some() { 2 } else { 1 };
        for name in &self.new {
            if !part.add(name, share) {
                break;
            }
        }
        if let Some(round) = round {
            let mut pass = |mut names: &mut dyn Iterator<Item = &Arc<str>>| {
                part.ends_round = Iterator::all(&mut names, |name| {
                    let is_passed = self.new.contains(name) || part.add(name, 1);
                    if is_passed {
                        part.after = Some(Arc::clone(name));
                    }
                    is_passed
                });
            };
            let start = round.after.clone().map_or(Bound::Unbounded, Bound::Excluded);
            match round.is_over_all {
                true => pass(&mut in_use_after(start)),
                false => pass(&mut self.unseen.range((start, Bound::Unbounded))),
            }
        }
        self.part = part;
        &self.part.names
    }

    /// Returns the topics of the last request.
    pub(super) fn part(&self) -> &[Arc<str>] {
        &self.part.names
    }

    /// Returns the id of the next request.
    pub(super) fn next_question(&self) -> QuestionId {
        QuestionId(self.last_question.0 + 1)
    }

    /// Notes that a request was sent.
    pub(super) fn asked(&mut self, question: QuestionId, now: Instant) {
        self.under_way.insert(question);
        (self.last_question, self.asked_at) = (question, now);
        // A round without an answer yet satisfies all refresh requests so far.
        if self.round.as_ref().is_some_and(|round| round.is_over_all && round.after.is_none()) {
            self.is_wanted = false;
        }
        for name in &self.part.names {
            if self.new.remove(name) {
                self.unseen.insert(Arc::clone(name));
            }
        }
    }

    /// Returns whether a response to the request is still useful.
    pub(super) fn expects(&self, question: QuestionId) -> bool {
        self.under_way.contains(&question)
    }

    /// Notes that a request failed. If other nodes got the same request, their responses still count.
    pub(super) fn fail(&mut self, question: QuestionId, now: Instant) {
        if self.under_way.remove(&question) {
            // A current round asks for this part again.
            self.is_wanted |= self.round.is_none();
            self.put_off(now);
        }
    }

    /// Notes that the part was answered.
    pub(super) fn answered(&mut self, is_news: bool, now: Instant) {
        self.under_way.clear();
        let part = std::mem::take(&mut self.part);
        let Some(mut round) = self.round.take() else {
            // Missing new topics must not delay a round that became due meanwhile.
            if part.names.iter().any(|name| self.unseen.contains(name)) && self.not_before <= self.asked_at {
                self.not_before = self.asked_at + self.backoff.first;
            }
            return;
        };
        round.is_news |= is_news;
        if !part.ends_round {
            round.after = part.after.or(round.after);
            self.round = Some(round);
            return;
        }
        if round.is_over_all {
            self.last = Some(now);
        }
        if self.unseen.is_empty() && (round.is_news || round.is_routine) {
            self.futile = 0;
            self.not_before = now + self.backoff.first;
        } else {
            self.put_off(now);
        }
    }

    /// Delays the next round by the backoff.
    pub(super) fn put_off(&mut self, now: Instant) {
        self.futile = self.futile.saturating_add(1);
        self.not_before = now + self.backoff.after(self.futile, &mut self.random);
    }
}
