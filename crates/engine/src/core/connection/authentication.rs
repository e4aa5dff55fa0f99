//! Authentication of a connection by SASL: before it is ready, and again before its session ends.
//!
//! ```text
//!   core                         broker
//!     ── SaslHandshake ────────────▶    proposes the configured mechanism, never another one
//!     ◀────────────────────────────
//!     ── SaslAuthenticate ─────────▶    until the exchange ends (KIP-152)
//!     ◀────────────────── lifetime ─    of the session, if it has one (KIP-368)
//! ```
//!
//! At 85 to 95 % of the lifetime the core authenticates again on the same connection. SaslHandshake then follows the
//! requests in flight, and no request follows it until the exchange has ended: the broker would close the connection.
//! One session is renewed at a time, so that not every connection stalls at once when all waited for the same token.
//!
//! A session of less than three seconds is too short for that. The connection takes no more requests, and the core
//! replaces it when all are answered. It does the same when the credentials change to another user.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kurier_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use kurier_protocol::{ErrorCode, Secret, read_response};
use kurier_security::{Exchange, Message, SaslError, ScramProof, Step as Next};

use super::session::{Authentication, Renewal, Session, Step};
use super::{Asked, Connections, Event, Link, Peer, State};
use crate::config::in_the_clear;
use crate::core::access::{CredentialError, FetchReason, Grant, Job};
use crate::core::action::{Action, ConnectionId};
use crate::core::versions::Versions;
use crate::error::{Cause, Error, ErrorKind, printable};
use crate::fault_injection::Mutant;

/// The longest session. A longer lifetime from a broker counts as this.
const LIFETIME_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// Below this, the core replaces the connection instead of authenticating again.
const LIFETIME_MIN: Duration = Duration::from_secs(3);

impl<Q: fmt::Debug> Connections<Q> {
    /// Begins the authentication of a new connection.
    pub(super) fn authenticate(&mut self, peer: Peer, connection: ConnectionId, versions: Versions, now: Instant) {
        let (Some(policy), Some(link)) = (self.policy, self.links.get_mut(&peer)) else { return };
        let offered = (versions.highest::<SaslHandshakeRequest>(), versions.highest::<SaslAuthenticateRequest>());
        let lack = match offered {
            (Some(1), Some(_)) => None,
            (Some(1), None) => Some(versions.lack::<SaslAuthenticateRequest>()),
            _ => Some(versions.lack::<SaslHandshakeRequest>()),
        };
        // The peer has answered ApiVersions, so its connections do not break during negotiation.
        (link.state, link.negotiations_broken) = (State::Authenticating { connection, versions }, 0);
        if !link.is_private && policy.mechanism.reveals_secret() && !policy.allows_cleartext {
            let error = in_the_clear(policy.mechanism, &link.host);
            return self.mismatch(peer, error, now);
        }
        if let Some(lack) = lack {
            return self.lose(peer, lack.into(), now);
        }
        // A broker may have refused the credentials since this connection was begun.
        if self.access.is_waiting(now) {
            let why = self.access.trouble().unwrap_or_else(|| "a broker refused the credentials".into());
            return self.lose(peer, why, now);
        }
        link.authentication = Some(Authentication { step: Step::Queued, since: now });
        self.schedule(peer);
        self.start_queued(now);
    }

    /// Starts the exchanges that may start now.
    pub(super) fn start_queued(&mut self, now: Instant) {
        let is_queued = |link: &Link<Q>| {
            link.authentication.as_ref().is_some_and(|authentication| matches!(authentication.step, Step::Queued))
        };
        for peer in self.peers_with(is_queued) {
            let connection = self.links.get(&peer).and_then(Link::connection);
            if connection.is_some_and(|connection| self.access.may_try(connection, now)) {
                self.propose(peer, now);
            }
        }
    }

    /// Proposes the mechanism.
    fn propose(&mut self, peer: Peer, now: Instant) {
        let Some(grant) = self.access.grant().cloned() else {
            return self.lose(peer, "there are no credentials".into(), now);
        };
        let mechanism = grant.credentials.mechanism();
        if self.policy.is_none_or(|policy| policy.mechanism != mechanism) {
            let text = format!("the credentials are for {mechanism}, and sasl.mechanism is another one");
            return self.mismatch(peer, Error::new(ErrorKind::Configuration, text), now);
        }
        let mechanism = mechanism.name().to_owned();
        if let Some(link) = self.links.get_mut(&peer) {
            link.authentication = Some(Authentication { step: Step::Proposed(grant), since: now });
        }
        if let Err(error) = self.transmit(peer, &SaslHandshakeRequest { mechanism }, 1, Asked::SaslHandshake, true, now)
        {
            self.lose(peer, error.into(), now);
        }
    }

    /// Handles the response to SaslHandshake.
    pub(super) fn handle_sasl_handshake(&mut self, peer: Peer, frame: &Bytes, version: i16, now: Instant) {
        let response = match read_response::<SaslHandshakeRequest>(frame, version) {
            Ok((_, response)) => response,
            Err(error) => return self.lose(peer, Cause::from(error).context("cannot read its response"), now),
        };
        let Some(Step::Proposed(grant)) = self.take_step(peer) else { return };
        let is_again = self.links.get(&peer).is_some_and(|link| link.session.is_some());
        match response.error_code {
            ErrorCode::NONE => {}
            // The broker accepted the mechanism before. A new connection shows whether it still does.
            code if is_again => {
                let why = Cause::from(Error::refused(code, None)).context("it refused to renew the session");
                return self.lose(peer, why, now);
            }
            ErrorCode::UNSUPPORTED_SASL_MECHANISM => {
                let offered = printable(&response.mechanisms.join(", "));
                let mechanism = grant.credentials.mechanism();
                let text = format!("the broker offers {offered}, not {mechanism}: set sasl.mechanism");
                let error = Error::new(ErrorKind::Authentication, text).with_code(Some(response.error_code));
                return self.mismatch(peer, error, now);
            }
            ErrorCode::ILLEGAL_SASL_STATE => {
                let text = "this listener does not use SASL: set security.protocol to PLAINTEXT or SSL, or use another \
                            listener of the broker";
                let error = Error::new(ErrorKind::Authentication, text).with_code(Some(response.error_code));
                return self.mismatch(peer, error, now);
            }
            code => {
                let why = Cause::from(Error::refused(code, None)).context("it refused SaslHandshake");
                return self.lose(peer, why, now);
            }
        }
        match Exchange::start(&grant.credentials, self.entropy.nonce()) {
            Ok((mut exchange, message)) => {
                if let Some(policy) = self.policy {
                    exchange.set_scram_iterations_max(policy.scram_iterations_max);
                }
                self.send_token(peer, grant, exchange, message, now);
            }
            Err(error) => {
                let error = Error::new(ErrorKind::Configuration, error.to_string());
                self.mismatch(peer, error, now);
            }
        }
    }

    fn send_token(&mut self, peer: Peer, grant: Arc<Grant>, exchange: Exchange, message: Message, now: Instant) {
        let Some(version) = self.links.get(&peer).and_then(|link| match &link.state {
            State::Authenticating { versions, .. } | State::Ready { versions, .. } => {
                versions.highest::<SaslAuthenticateRequest>()
            }
            _ => None,
        }) else {
            return;
        };
        self.set_step(peer, Step::Exchanging(grant, exchange));
        let request = SaslAuthenticateRequest { auth_bytes: Secret::from(Bytes::from_owner(message)) };
        if let Err(error) = self.transmit(peer, &request, version, Asked::SaslAuthenticate, true, now) {
            self.lose(peer, error.into(), now);
        }
    }

    /// Handles the response to SaslAuthenticate.
    pub(super) fn handle_sasl_authenticate(&mut self, peer: Peer, frame: &Bytes, version: i16, now: Instant) {
        let response = match read_response::<SaslAuthenticateRequest>(frame, version) {
            Ok((_, response)) => response,
            Err(error) => return self.lose(peer, Cause::from(error).context("cannot read its response"), now),
        };
        let Some(Step::Exchanging(grant, mut exchange)) = self.take_step(peer) else { return };
        match response.error_code {
            ErrorCode::NONE => {}
            code @ ErrorCode::SASL_AUTHENTICATION_FAILED => {
                let words = response.error_message.as_deref().unwrap_or_default();
                let reason = match exchange.refusal() {
                    Some(refusal) => refusal.to_string(),
                    None => shortened(words),
                };
                let reason = if reason.is_empty() { code.meaning().to_owned() } else { reason };
                return self.refuse(peer, &grant, &format!("{code}, {reason}"), Some(code), now);
            }
            code => {
                let words = response.error_message.as_deref().map(shortened);
                let why = Cause::from(Error::refused(code, words.as_deref())).context("it refused SaslAuthenticate");
                return self.lose(peer, why, now);
            }
        }
        match exchange.handle(response.auth_bytes.reveal()) {
            Ok(Next::Send(message)) => self.send_token(peer, grant, exchange, message, now),
            Ok(Next::Compute(job)) => {
                let Some(connection) = self.links.get(&peer).and_then(Link::connection) else { return };
                self.set_step(peer, Step::Computing(grant, exchange));
                self.actions.push_back(Action::Compute { connection, job: Job(Box::new(job)) });
            }
            Err(SaslError::Unproven { .. }) if self.faults.has(Mutant::SkipSignature) => {
                self.accept(peer, &grant, response.session_lifetime_ms, now);
            }
            Ok(Next::Done) => self.accept(peer, &grant, response.session_lifetime_ms, now),
            Err(SaslError::Refused { detail, .. }) => self.refuse(peer, &grant, &detail, None, now),
            // The broker broke the protocol, so other credentials would not help.
            Err(error) => self.lose(peer, error.into(), now),
        }
    }

    /// Handles the result of [`Action::Compute`].
    pub(crate) fn handle_computed(&mut self, connection: ConnectionId, proof: ScramProof, now: Instant) {
        let Some(peer) = self.peers.get(&connection).copied() else { return };
        let Some(Step::Computing(grant, mut exchange)) = self.take_step(peer) else { return };
        match exchange.prove(proof) {
            Ok(message) => self.send_token(peer, grant, exchange, message, now),
            Err(error) => self.lose(peer, error.into(), now),
        }
    }

    /// Handles new credentials, or their absence.
    pub(crate) fn handle_credentials(&mut self, fetched: Result<Arc<Grant>, CredentialError>, now: Instant) {
        match fetched {
            Ok(grant) => {
                if self.access.handle_grant(Arc::clone(&grant)) {
                    self.end_waits();
                    self.resume_renewals(now);
                }
                self.retire_sessions_of_others(&grant);
                for peer in self.peers_that_renew(Renewal::WithNewCredentials) {
                    self.renew_in_turn(peer, now);
                }
            }
            Err(error) => {
                tracing::warn!(why = format_args!("{:#}", error.why), "no credentials");
                self.access.handle_no_grant(error, now, &mut self.random);
            }
        }
        self.unblock();
        self.start_queued(now);
    }

    /// Lets the peers connect that waited because a broker had refused the credentials.
    fn end_waits(&mut self) {
        let waits =
            |link: &Link<Q>| matches!(link.state, State::Backoff { .. }) && !link.is_astray && link.untrusted.is_none();
        for peer in self.peers_with(waits) {
            self.set_idle(peer);
        }
    }

    /// Replaces the connections of another user or mechanism: a session keeps its user.
    fn retire_sessions_of_others(&mut self, grant: &Grant) {
        let (mechanism, username) = (grant.credentials.mechanism(), grant.credentials.username());
        let is_other = |session: &Session| {
            session.mechanism != mechanism || (username.is_some() && session.username.as_deref() != username)
        };
        for peer in self.peers_with(|link| link.session.as_ref().is_some_and(is_other)) {
            self.retire(peer);
        }
    }

    /// Renews a session that is due, or closes its connection, or waits for new credentials.
    pub(super) fn check_session(&mut self, peer: Peer, now: Instant) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        let Some(session) = link.session.as_mut().filter(|_| link.authentication.is_none()) else { return };
        if session.has_ended(now) {
            return self.lose(peer, "its session has ended".into(), now);
        }
        let has_waited = match session.renewal {
            Renewal::At(at) if at <= now => false,
            Renewal::InTurn { latest } if latest <= now => true,
            _ => return,
        };
        if session.is_short {
            session.renewal = Renewal::Never;
            link.is_retiring = true;
            return;
        }
        let ends_at = session.ends_at;
        // The next session would be too short. The one under way seems to end before its token, by the time of an answer.
        let is_short = |grant: &Arc<Grant>| {
            grant.expires_at.is_some_and(|end| ends_at.is_none_or(|ends| end <= ends + LIFETIME_MIN))
        };
        match self.access.grant() {
            // Keep the session until a broker accepts the credentials, or until it ends.
            _ if !self.access.is_open() => session.renewal = Renewal::WithoutDoubt,
            _ if has_waited => self.renew(peer, now),
            Some(grant) if is_short(grant) => {
                session.renewal = Renewal::WithNewCredentials;
                let reason = FetchReason::SessionEnds;
                if self.access.fetch(reason) {
                    self.actions.push_back(Action::FetchCredentials { reason });
                }
            }
            _ => self.renew_in_turn(peer, now),
        }
    }

    fn peers_that_renew(&self, renewal: Renewal) -> Vec<Peer> {
        self.peers_with(|link| link.session.as_ref().is_some_and(|session| session.renewal == renewal))
    }

    fn set_renewal(&mut self, peer: Peer, renewal: Renewal) {
        if let Some(session) = self.links.get_mut(&peer).and_then(|link| link.session.as_mut()) {
            session.renewal = renewal;
        }
        self.schedule(peer);
    }

    /// Renews the sessions that became due while the credentials were in doubt.
    fn resume_renewals(&mut self, now: Instant) {
        for peer in self.peers_that_renew(Renewal::WithoutDoubt) {
            self.set_renewal(peer, Renewal::At(now));
        }
    }

    /// Authenticates again on the same connection, once no other connection does.
    fn renew_in_turn(&mut self, peer: Peer, now: Instant) {
        if !self.access.is_open() {
            return self.set_renewal(peer, Renewal::WithoutDoubt);
        }
        if !self.links.values().any(Link::is_renewing) {
            return self.renew(peer, now);
        }
        let ends_at = self.links.get(&peer).and_then(|link| link.session.as_ref()?.ends_at);
        // A broker that does not answer must not use up the time of the other sessions.
        let latest = ends_at.map_or(now, |end| now + end.saturating_duration_since(now) / 2);
        self.set_renewal(peer, Renewal::InTurn { latest });
    }

    /// Authenticates again on the connection whose turn it is, unless another one does.
    pub(super) fn renew_next(&mut self, now: Instant) {
        if self.links.values().any(Link::is_renewing) || !self.access.is_open() {
            return;
        }
        let waits = |(peer, link): (&Peer, &Link<Q>)| match link.session.as_ref()?.renewal {
            Renewal::InTurn { latest } if !link.is_retiring => Some((latest, *peer)),
            _ => None,
        };
        if let Some((_, peer)) = self.links.iter().filter_map(waits).min() {
            self.renew(peer, now);
        }
    }

    /// Renews a session: authenticates again on the same connection.
    fn renew(&mut self, peer: Peer, now: Instant) {
        self.set_renewal(peer, Renewal::Never);
        let Some(link) = self.links.get(&peer) else { return };
        if matches!(link.state, State::Ready { .. }) && link.authentication.is_none() && !link.is_retiring {
            self.propose(peer, now);
        }
    }

    /// Notes that the broker has accepted the credentials.
    fn accept(&mut self, peer: Peer, grant: &Grant, lifetime_ms: i64, now: Instant) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        let since = link.authentication.take().map_or(now, |authentication| authentication.since);
        let lifetime = u64::try_from(lifetime_ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis);
        let lifetime = lifetime.map(|lifetime| lifetime.min(LIFETIME_MAX));
        let share = 0.85 + 0.1 * self.random.f64();
        link.session = Some(Session {
            mechanism: grant.credentials.mechanism(),
            username: grant.credentials.username().map(str::to_owned),
            is_short: lifetime.is_some_and(|lifetime| lifetime < LIFETIME_MIN),
            renewal: lifetime.map_or(Renewal::Never, |lifetime| Renewal::At(since + lifetime.mul_f64(share))),
            ends_at: lifetime.map(|lifetime| since + lifetime),
        });
        tracing::debug!(%link.host, ?peer, mechanism = %grant.credentials.mechanism(), ?lifetime, "authenticated");
        if self.access.is_newest(grant) {
            self.access.handle_acceptance();
            self.resume_renewals(now);
        }
        // Another user may have replaced this one during the exchange.
        if let Some(newest) = self.access.grant().cloned() {
            self.retire_sessions_of_others(&newest);
        }
        let Some(link) = self.links.get_mut(&peer) else { return };
        if let State::Authenticating { connection, versions } = &mut link.state {
            let (connection, versions) = (*connection, std::mem::take(versions));
            self.make_ready(peer, connection, versions);
        } else {
            self.schedule(peer);
            self.events.push_back(Event::Unmuted(peer));
        }
        self.start_queued(now);
        self.renew_next(now);
    }

    /// Handles a refusal of the credentials.
    fn refuse(&mut self, peer: Peer, grant: &Grant, reason: &str, code: Option<ErrorCode>, now: Instant) {
        let mechanism = grant.credentials.mechanism();
        let whose =
            grant.credentials.username().map_or_else(String::new, |name| format!(" for user {}", printable(name)));
        let text = format!("{mechanism}{whose}: {reason}");
        let is_again = self.links.get(&peer).is_some_and(|link| link.session.is_some());
        let is_newest = self.access.is_newest(grant);
        if is_again && is_newest {
            // Some clouds refuse for no visible reason, or the source has a new password by now.
            self.access.handle_doubt();
        }
        if is_again || !is_newest {
            return self.lose(peer, text.into(), now);
        }
        let error = Error::new(ErrorKind::Authentication, text).with_code(code);
        let wait = self.access.handle_refusal(error.clone(), now, &mut self.random);
        tracing::warn!(why = %error, wait_s = wait.as_secs_f64(), "a broker refused the credentials");
        let error = error.and(&format!("next attempt in {:.0} s", wait.as_secs_f64()));
        self.lose(peer, error.clone().into(), now);
        // The same credentials would fail on these connections too.
        for other in self.peers_with(|link| matches!(link.state, State::Authenticating { .. })) {
            self.lose(other, error.clone().into(), now);
        }
    }

    /// Handles a configuration that does not match the broker's. Calls that wait fail at once.
    fn mismatch(&mut self, peer: Peer, error: Error, now: Instant) {
        self.access.handle_mismatch(error.clone());
        self.lose_for_long(peer, error.into(), now);
    }

    /// Notes that a connection has ended during its exchange because the peer closed it. Returns whether that counts as
    /// a refusal.
    pub(super) fn refuse_by_close(&mut self, peer: Peer, now: Instant) -> bool {
        let Some(link) = self.links.get(&peer) else { return false };
        let is_first = matches!(link.state, State::Authenticating { .. });
        let grant = match link.authentication.as_ref().map(|authentication| &authentication.step) {
            Some(Step::Exchanging(grant, _)) if is_first => Arc::clone(grant),
            _ => return false,
        };
        let is_refusal = self.access.is_newest(&grant) && self.access.handle_close();
        if is_refusal {
            self.refuse(peer, &grant, "the broker closed the connection three times in a row", None, now);
        }
        is_refusal
    }

    fn take_step(&mut self, peer: Peer) -> Option<Step> {
        let authentication = self.links.get_mut(&peer)?.authentication.as_mut()?;
        Some(std::mem::replace(&mut authentication.step, Step::Queued))
    }

    fn set_step(&mut self, peer: Peer, step: Step) {
        if let Some(authentication) = self.links.get_mut(&peer).and_then(|link| link.authentication.as_mut()) {
            authentication.step = step;
        }
    }
}

/// Cuts a broker's words to a length that suits an error text.
fn shortened(words: &str) -> String {
    const CHARACTERS_MAX: usize = 300;
    printable(&words.chars().take(CHARACTERS_MAX).collect::<String>())
}
