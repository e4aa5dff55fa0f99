//! Access to the cluster: the newest credentials, and the wait after a broker has refused them.
//!
//! ```text
//!            credentials            refused                          wait over
//!   Wanting ─────────────▶ Unproven ────────▶ wait 1, 5, 30, ... s ────────────▶ Unproven
//!                             │  ▲ one connection at a time          │
//!                    accepted ▼  └──────── new credentials ──────────┘
//!                           Proven: every connection authenticates at once
//! ```
//!
//! A server that counts wrong passwords may lock the account after a few. So all connections of a producer share one
//! wait: at most eight attempts in the first 15 minutes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kurier_security::{Credentials, Mechanism, ScramJob, ScramProof};

use super::action::ConnectionId;
use crate::config::SaslSettings;
use crate::error::{Cause, Error};

/// Credentials as the core uses them.
#[derive(Debug)]
pub struct Grant {
    pub credentials: Credentials,
    /// Differs between credentials that differ.
    pub generation: u64,
    /// When they expire, if they do.
    pub expires_at: Option<Instant>,
}

/// Why the core needs credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchReason {
    /// The core has no credentials, or they have expired.
    First,
    /// A SASL session ends soon, and the credentials expire before it.
    SessionEnds,
    /// A broker refused the last ones.
    Refused,
}

/// Why there are no credentials.
#[derive(Clone, Debug)]
pub struct CredentialError {
    /// Whether the source refused. The core then waits as long as after a refusal by a broker; otherwise it asks again
    /// soon.
    pub is_refusal: bool,
    pub why: Error,
}

/// A slow computation, for a thread that may block. Its result returns as [`Input::Computed`](super::Input::Computed).
#[derive(Debug)]
pub struct Job(pub(super) Box<ScramJob>);

impl Job {
    /// Performs the work.
    #[must_use]
    pub fn run(self) -> ScramProof {
        self.0.run()
    }
}

/// Source of unpredictable bytes.
pub trait Entropy: Send + Sync + std::fmt::Debug {
    /// Returns bytes that nobody can predict, never the same twice.
    fn nonce(&mut self) -> [u8; 24];
}

/// Entropy of a seed, for tests and simulations only.
#[derive(Debug)]
pub struct SeededEntropy(fastrand::Rng);

impl SeededEntropy {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }
}

impl Entropy for SeededEntropy {
    fn nonce(&mut self) -> [u8; 24] {
        std::array::from_fn(|_| self.0.u8(..))
    }
}

/// Settings of SASL that concern the core.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    pub(super) mechanism: Mechanism,
    /// `kurier.sasl.allow.cleartext`.
    pub(super) allows_cleartext: bool,
    /// `kurier.sasl.scram.max.iterations`.
    pub(super) scram_iterations_max: u32,
}

impl Policy {
    pub(super) fn of(settings: &SaslSettings) -> Self {
        Self {
            mechanism: settings.mechanism,
            allows_cleartext: settings.allow_cleartext,
            scram_iterations_max: settings.scram_max_iterations,
        }
    }
}

/// Whether a connection may be made now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Connect,
    /// Fetch credentials first.
    Fetch(FetchReason),
    /// Credentials are being fetched.
    Wait,
    Until(Instant),
}

/// The state of access.
#[derive(Debug)]
pub(super) struct Access {
    grant: Option<Arc<Grant>>,
    /// Why credentials are being fetched.
    fetching: Option<FetchReason>,
    /// Whether a broker has refused the newest credentials, so that their source is asked before the next attempt.
    is_stale: bool,
    /// Whether a broker has accepted the newest credentials.
    is_proven: bool,
    /// The only connection that may use the credentials until a broker accepts them.
    trial: Option<ConnectionId>,
    /// Refusals of the newest credentials.
    refusals: u32,
    /// Whether a broker refused to renew a session with the newest credentials. The next answer to a new connection
    /// resets this.
    is_doubted: bool,
    /// Connections in a row that the broker closed during the exchange.
    closes: u32,
    until: Option<Instant>,
    trouble: Option<Error>,
    /// Whether calls that wait for the cluster fail with `trouble` now.
    fails_calls: bool,
}

/// Seconds to wait after the first, the second, ... refusal.
const WAITS: [u64; 7] = [1, 5, 30, 60, 120, 240, 300];

impl Access {
    pub(super) fn new() -> Self {
        Self {
            grant: None,
            fetching: None,
            is_stale: false,
            is_proven: false,
            trial: None,
            refusals: 0,
            is_doubted: false,
            closes: 0,
            until: None,
            trouble: None,
            fails_calls: false,
        }
    }

    /// Decides whether a connection may be made. On [`Admission::Fetch`] the caller must fetch credentials.
    pub(super) fn admit(&mut self, now: Instant) -> Admission {
        match self.until {
            Some(until) if now < until => return Admission::Until(until),
            _ => {}
        }
        let is_valid = |grant: &Arc<Grant>| grant.expires_at.is_none_or(|end| now < end);
        if !self.is_stale && self.grant.as_ref().is_some_and(is_valid) {
            return Admission::Connect;
        }
        let is_refused = self.is_stale || self.refusals > 0;
        let reason = if is_refused { FetchReason::Refused } else { FetchReason::First };
        if self.fetch(reason) { Admission::Fetch(reason) } else { Admission::Wait }
    }

    /// Returns whether the caller must fetch credentials; false if a fetch is under way.
    pub(super) fn fetch(&mut self, reason: FetchReason) -> bool {
        let is_first = self.fetching.is_none();
        self.fetching.get_or_insert(reason);
        is_first
    }

    /// Returns the newest credentials.
    pub(super) fn grant(&self) -> Option<&Arc<Grant>> {
        self.grant.as_ref()
    }

    /// Returns whether these are the newest credentials. The outcome of older credentials says nothing about the newest.
    pub(super) fn is_newest(&self, grant: &Grant) -> bool {
        self.grant.as_ref().is_some_and(|newest| newest.generation == grant.generation)
    }

    /// Stores credentials, and returns whether they are new, by their generation. New credentials end a wait.
    pub(super) fn handle_grant(&mut self, grant: Arc<Grant>) -> bool {
        let is_new = self.grant.as_ref().is_none_or(|old| old.generation != grant.generation);
        let is_second_try = self.fetching.take() == Some(FetchReason::Refused);
        self.is_stale = false;
        if is_new {
            self.is_proven = false;
            match is_second_try {
                // A source with another token after each refusal must not shorten the waits.
                true => (self.trial, self.is_doubted, self.until) = (None, false, None),
                false => self.forget_refusals(),
            }
        }
        self.grant = Some(grant);
        is_new
    }

    /// Notes that there are no credentials.
    pub(super) fn handle_no_grant(&mut self, error: CredentialError, now: Instant, random: &mut fastrand::Rng) {
        // Keep the old credentials, which a broker may still accept.
        (self.fetching, self.is_stale) = (None, false);
        match error.is_refusal {
            true => drop(self.handle_refusal(error.why, now, random)),
            false => {
                self.until = Some(now + jittered(0, random));
                self.trouble = Some(error.why);
            }
        }
    }

    /// Returns whether this connection may authenticate now. None may before a wait ends, and only one at a time until
    /// a broker has accepted the credentials.
    pub(super) fn may_try(&mut self, connection: ConnectionId, now: Instant) -> bool {
        !self.is_waiting(now) && (self.is_proven || *self.trial.get_or_insert(connection) == connection)
    }

    /// Returns whether all connections must wait, because a broker refused the credentials.
    pub(super) fn is_waiting(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Notes that a broker has accepted the credentials.
    pub(super) fn handle_acceptance(&mut self) {
        self.is_proven = true;
        self.forget_refusals();
    }

    pub(super) fn forget_refusals(&mut self) {
        (self.trial, self.refusals, self.closes) = (None, 0, 0);
        (self.is_doubted, self.is_stale) = (false, false);
        (self.until, self.trouble, self.fails_calls) = (None, None, false);
    }

    /// Notes that a broker has refused to renew a session. A new connection shows whether the credentials are wrong;
    /// until then, no other session is renewed.
    pub(super) fn handle_doubt(&mut self) {
        (self.is_proven, self.is_doubted, self.is_stale) = (false, true, true);
    }

    /// Notes that a broker has refused the credentials. Returns the wait until the next attempt.
    pub(super) fn handle_refusal(&mut self, why: Error, now: Instant, random: &mut fastrand::Rng) -> Duration {
        let wait = jittered(self.refusals, random);
        self.refusals = self.refusals.saturating_add(1);
        (self.is_proven, self.is_doubted, self.is_stale, self.trial) = (false, false, true, None);
        self.until = Some(now + wait);
        self.trouble = Some(why);
        // One refusal may be a broker that does not know a new password yet.
        self.fails_calls = self.refusals >= 2;
        wait
    }

    /// Notes that no credentials can help: the configuration does not match the broker's.
    pub(super) fn handle_mismatch(&mut self, why: Error) {
        (self.trouble, self.fails_calls) = (Some(why), true);
    }

    /// Notes that the broker closed a connection during the exchange. Returns whether that counts as a refusal, because
    /// some servers refuse in this way.
    pub(super) fn handle_close(&mut self) -> bool {
        /// A broker that stops closes connections too, but rarely three in a row.
        const CLOSES_MAX: u32 = 3;
        self.closes = self.closes.saturating_add(1);
        self.closes >= CLOSES_MAX
    }

    /// Notes that a connection has ended.
    pub(super) fn handle_end(&mut self, connection: ConnectionId) {
        self.trial.take_if(|trial| *trial == connection);
    }

    /// Returns whether sessions may be renewed: not after a refusal, until a broker has accepted the credentials.
    pub(super) fn is_open(&self) -> bool {
        self.refusals == 0 && !self.is_doubted
    }

    /// Returns the end of the wait after a refusal.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Says why there is no access.
    pub(super) fn trouble(&self) -> Option<Cause> {
        self.trouble.clone().map(Cause::from)
    }

    /// Returns the error for calls that wait for the cluster, if waiting would not help.
    pub(super) fn verdict(&self) -> Option<&Error> {
        self.trouble.as_ref().filter(|_| self.fails_calls)
    }
}

/// Returns the wait after this many earlier refusals, lengthened by up to a fifth, so that many producers do not try at
/// once.
fn jittered(refusals: u32, random: &mut fastrand::Rng) -> Duration {
    let longest = WAITS.len() - 1;
    let at = usize::try_from(refusals).unwrap_or(longest).min(longest);
    let wait = Duration::from_secs(WAITS.get(at).copied().unwrap_or_default());
    wait.mul_f64(1.0 + 0.2 * random.f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn grant(generation: u64, expires_at: Option<Instant>) -> Arc<Grant> {
        let credentials = Credentials::Plain { username: "alice".to_owned(), password: "secret".into() };
        Arc::new(Grant { credentials, generation, expires_at })
    }

    fn refusal() -> Error {
        Error::new(ErrorKind::Authentication, "wrong password")
    }

    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn refused_credentials_are_tried_at_most_eight_times_in_15_minutes() {
        for seed in 0..100 {
            let (start, mut random) = (start(), fastrand::Rng::with_seed(seed));
            let mut access = Access::new();
            access.handle_grant(grant(1, None));
            let mut now = start;
            let mut attempts = 0;
            while now < start + Duration::from_secs(15 * 60) {
                if attempts > 0 {
                    assert_eq!(access.admit(now), Admission::Fetch(FetchReason::Refused));
                    // Half of the sources have another token each time.
                    access.handle_grant(grant(if seed % 2 == 0 { 1 } else { 1 + attempts }, None));
                }
                assert_eq!(access.admit(now), Admission::Connect);
                assert!(access.may_try(ConnectionId(attempts), now));
                assert!(!access.may_try(ConnectionId(attempts + 1), now), "one at a time");
                assert_eq!(access.verdict().is_some(), attempts >= 2);
                let wait = access.handle_refusal(refusal(), now, &mut random);
                attempts += 1;
                assert!(!access.may_try(ConnectionId(attempts), now), "not before the wait is over");
                assert_eq!(access.admit(now), Admission::Until(now + wait));
                now += wait;
            }
            assert!((6..=8).contains(&attempts), "{attempts} attempts");
        }
    }

    #[test]
    fn new_credentials_end_the_wait_and_old_ones_do_not() {
        let (now, mut random) = (start(), fastrand::Rng::with_seed(7));
        let mut access = Access::new();
        access.handle_grant(grant(1, None));
        access.handle_refusal(refusal(), now, &mut random);
        access.handle_refusal(refusal(), now, &mut random);
        assert!(!access.handle_grant(grant(1, None)));
        assert!(matches!(access.admit(now), Admission::Until(_)));
        assert!(access.verdict().is_some());
        assert!(access.handle_grant(grant(2, None)));
        assert_eq!(access.admit(now), Admission::Connect);
        assert!(access.verdict().is_none());
    }

    #[test]
    fn refused_renewal_lets_one_new_connection_try() {
        let (now, mut access) = (start(), Access::new());
        access.handle_grant(grant(1, None));
        access.handle_acceptance();
        access.handle_doubt();
        assert!(!access.is_open());
        assert_eq!(access.admit(now), Admission::Fetch(FetchReason::Refused), "without a wait");
        assert!(!access.handle_grant(grant(1, None)) && !access.is_open());
        assert_eq!(access.admit(now), Admission::Connect);
        assert!(access.may_try(ConnectionId(1), now) && !access.may_try(ConnectionId(2), now));
        access.handle_acceptance();
        assert!(access.is_open() && access.may_try(ConnectionId(2), now));
        access.handle_doubt();
        assert!(access.handle_grant(grant(2, None)) && access.is_open());
    }

    #[test]
    fn source_is_asked_again_after_a_refusal() {
        let (mut now, mut random) = (start(), fastrand::Rng::with_seed(7));
        let mut access = Access::new();
        access.handle_grant(grant(1, None));
        now += access.handle_refusal(refusal(), now, &mut random);
        assert_eq!(access.admit(now), Admission::Fetch(FetchReason::Refused));
        assert_eq!(access.admit(now), Admission::Wait);
        let error = CredentialError { is_refusal: false, why: Error::new(ErrorKind::Network, "no route") };
        access.handle_no_grant(error, now, &mut random);
        let Admission::Until(until) = access.admit(now) else { panic!("no wait") };
        assert_eq!(access.admit(until), Admission::Connect, "the old ones may do");
    }

    #[test]
    fn credentials_are_fetched_once_before_they_are_needed() {
        let now = start();
        let mut access = Access::new();
        assert_eq!(access.admit(now), Admission::Fetch(FetchReason::First));
        assert_eq!(access.admit(now), Admission::Wait);
        let end = now + Duration::from_secs(60);
        access.handle_grant(grant(1, Some(end)));
        assert_eq!(access.admit(now), Admission::Connect);
        assert_eq!(access.admit(end), Admission::Fetch(FetchReason::First));
        assert_eq!(access.admit(end), Admission::Wait);
    }

    #[test]
    fn a_source_that_cannot_be_reached_is_asked_again_soon() {
        let (now, mut random) = (start(), fastrand::Rng::with_seed(7));
        let mut access = Access::new();
        access.admit(now);
        let error = || CredentialError { is_refusal: false, why: Error::new(ErrorKind::Network, "no route") };
        access.handle_no_grant(error(), now, &mut random);
        let Admission::Until(until) = access.admit(now) else { panic!("no wait") };
        assert!(until <= now + Duration::from_millis(1200));
        assert!(access.verdict().is_none(), "calls wait until max.block.ms");
        assert_eq!(access.admit(until), Admission::Fetch(FetchReason::First));
        access.handle_no_grant(CredentialError { is_refusal: true, ..error() }, until, &mut random);
        assert!(matches!(access.admit(until), Admission::Until(_)));
        assert_eq!(access.admit(until + Duration::from_secs(2)), Admission::Fetch(FetchReason::Refused));
    }

    #[test]
    fn third_close_in_a_row_counts_as_a_refusal() {
        let mut access = Access::new();
        assert_eq!([access.handle_close(), access.handle_close(), access.handle_close()], [false, false, true]);
        access.handle_acceptance();
        assert!(!access.handle_close());
    }

    #[test]
    fn another_connection_may_try_after_the_first_has_ended() {
        let (mut access, now) = (Access::new(), start());
        assert!(access.may_try(ConnectionId(1), now));
        access.handle_end(ConnectionId(2));
        assert!(!access.may_try(ConnectionId(2), now));
        access.handle_end(ConnectionId(1));
        assert!(access.may_try(ConnectionId(2), now));
        access.handle_acceptance();
        assert!(access.may_try(ConnectionId(3), now), "proven credentials need no turn");
    }
}
