//! A node's side of SASL, its answers under faults, and their arrival.

use bytes::Bytes;
use kurier_broker::Reply;
use kurier_protocol::messages::{
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kurier_protocol::{ErrorCode, Message, RequestHeader, Secret, read_response, write_response};
use kurier_security::Mechanism;

use super::conversation::is_sasl;
use super::{Sasl, Trouble};
use crate::fault_row::FaultRow;
use crate::invariant::{Invariant, violation};
use crate::network::{Answer, Event, Frame};
use crate::world::{World, ms};
use kurier_engine::core::ConnectionId;

/// Meaning of an answer of SASL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The exchange goes on.
    More,
    /// The node accepts the client. With SCRAM it has also proved itself.
    Proof { lifetime_ms: i64 },
    /// The node claims success without a proof.
    Forged,
    /// The node refuses the credentials.
    Refused,
    /// The client cannot go on.
    Useless,
}

impl World<'_> {
    /// Checks an outgoing request against the rules of SASL.
    pub(crate) fn check_talk(&mut self, connection: ConnectionId, api_key: i16) {
        let now = self.now();
        let (Some(sasl), Some(line)) = (&mut self.sasl, self.lines.get_mut(&connection)) else { return };
        let mut checked = line.talk.check(api_key, &sasl.login.user, now);
        match api_key {
            SaslHandshakeRequest::KEY => {
                let may_begin = match line.talk.is_proven {
                    true => sasl.breaker.renew(),
                    false => sasl.breaker.begin(connection, now),
                };
                let wrong = |what| violation(Invariant::FewAttempts, format!("{connection:?} {what}"));
                checked = checked.and_then(|()| may_begin.map_err(wrong));
                let was_busy = line.has_questions();
                line.talk.begin(&sasl.login.user, sasl.breaker.generation, was_busy, now);
            }
            SaslAuthenticateRequest::KEY => (line.talk.is_waiting, line.talk.has_shown) = (true, true),
            _ => {}
        }
        self.ensure(checked);
    }

    /// A node closes a connection because of a request. Checks that the producer could not know that the request was
    /// not allowed.
    pub(crate) fn check_close(&mut self, connection: ConnectionId, api_key: i16) {
        let Some(line) = self.lines.get(&connection).filter(|_| self.sasl.is_some()) else { return };
        let is_stranger = line.session.principal().is_none();
        if is_stranger || line.talk.is_node_exchanging || is_sasl(api_key) {
            let step = if is_stranger { "before the client has authenticated" } else { "behind SaslHandshake" };
            let what = format!("node {} closes {connection:?}, for API {api_key} comes {step}", line.node);
            self.fail(violation(Invariant::SaslOrder, what));
        }
    }

    /// A node executes a request of SASL.
    pub(crate) fn execute_sasl(
        &mut self,
        connection: ConnectionId,
        frame: &Frame,
        header: &RequestHeader,
        request: &Bytes,
    ) {
        let now = self.now();
        let trouble = self.next_trouble(connection, header.api_key);
        if trouble == Some(Trouble::Cut) && self.draw_sasl(2) == 0 {
            return self.cut(connection, "reset by peer");
        }
        let reply = self.handle(connection, request);
        let Reply::Send { frame: answer, mut after, cut } = reply else {
            self.check_close(connection, header.api_key);
            return self.shut(connection);
        };
        let (answer, mut is_last) = (answer.slice(4..), cut.is_some());
        let (mut answer, mut meaning) = self.understand(connection, header, answer);
        match trouble {
            Some(Trouble::Cut) => return self.cut(connection, "reset by peer"),
            Some(Trouble::SilentClose) => return self.shut(connection),
            Some(Trouble::LateAnswer) => {
                let longest = self.plan.config.connection_setup_timeout_max + self.plan.config.request_timeout;
                after += ms(self.draw_sasl(u64::try_from(longest.as_millis()).unwrap_or(1)));
            }
            Some(trouble) => (answer, meaning, is_last) = self.changed(trouble, header, answer, meaning, is_last),
            None => {}
        }
        let answer = Answer {
            at: now + after,
            frame: answer,
            correlation_id: frame.correlation_id,
            key: header.api_key,
            version: header.api_version,
            duplicates: Vec::new(),
            throttle_time_ms: 0,
            meaning,
        };
        self.answer(connection, answer);
        if is_last {
            let latency = self.latency();
            let Some(line) = self.lines.get_mut(&connection) else { return };
            line.is_shut = true;
            let at = line.delivered_at + latency;
            self.at(at, Event::Closed(connection));
        }
    }

    /// Returns a number below a limit.
    fn draw_sasl(&mut self, limit: u64) -> u64 {
        self.sasl.as_mut().map_or(0, |sasl| sasl.random.u64(0..limit.max(1)))
    }

    /// Returns the fault that this request meets, and counts it.
    fn next_trouble(&mut self, connection: ConnectionId, api_key: i16) -> Option<Trouble> {
        let line = self.lines.get(&connection).filter(|line| line.is_open && !self.is_well)?;
        let is_again = line.session.principal().is_some();
        let is_token = api_key == SaslAuthenticateRequest::KEY;
        let fits = |trouble: Trouble| match trouble {
            Trouble::Cut | Trouble::LateAnswer => true,
            Trouble::SilentClose => is_token,
            Trouble::WrongProof | Trouble::HugeAnswer | Trouble::TinyLifetime => is_token,
            Trouble::RefuseRenewal => is_token && is_again,
            Trouble::TooEarly => !is_token && is_again,
            Trouble::RefuseLogin => is_token && !is_again,
            Trouble::ChangePassword | Trouble::ChangeUser | Trouble::ChangeCertificates => false,
        };
        let sasl = self.sasl.as_mut()?;
        let at = sasl.planned.iter().position(|planned| fits(planned.trouble))?;
        let planned = sasl.planned.get_mut(at)?;
        if planned.skips > 0 {
            planned.skips -= 1;
            return None;
        }
        planned.times = planned.times.saturating_sub(1);
        let trouble = planned.trouble;
        if planned.times == 0 {
            sasl.planned.remove(at);
        }
        let row = match trouble {
            Trouble::Cut => Some((FaultRow::CutInSasl, "cut during SASL, and ready later")),
            Trouble::SilentClose => Some((FaultRow::RefusedSilently, "closed at a token, and ready later")),
            Trouble::LateAnswer => Some((FaultRow::LateSaslAnswer, "a late answer, and ready later")),
            Trouble::HugeAnswer => Some((FaultRow::HugeSaslAnswer, "a token of 64 KiB, and ready later")),
            Trouble::TooEarly => Some((FaultRow::RenewedTooEarly, "told to renew later, and ready later")),
            Trouble::TinyLifetime => Some((FaultRow::TinySession, "a session of a millisecond, and then a longer one")),
            _ => None,
        };
        sasl.marks.extend(row);
        trace!(self, "{connection:?} meets {trouble:?}");
        Some(trouble)
    }

    /// Reads a node's answer.
    fn understand(&mut self, connection: ConnectionId, header: &RequestHeader, answer: Bytes) -> (Bytes, Meaning) {
        let (Some(sasl), Some(line)) = (&self.sasl, self.lines.get_mut(&connection)) else {
            return (answer, Meaning::Useless);
        };
        let meaning = match header.api_key {
            SaslHandshakeRequest::KEY => match read_response::<SaslHandshakeRequest>(&answer, header.api_version) {
                Ok((_, response)) if response.error_code.is_none() => Meaning::More,
                _ => Meaning::Useless,
            },
            _ => match read_response::<SaslAuthenticateRequest>(&answer, header.api_version) {
                Ok((_, response)) => sasl.meaning(&response),
                Err(_) => Meaning::Useless,
            },
        };
        line.talk.is_node_exchanging = meaning == Meaning::More;
        (answer, meaning)
    }

    /// Changes an answer. Returns it with its meaning, and whether the node closes the connection after it.
    fn changed(
        &self,
        trouble: Trouble,
        header: &RequestHeader,
        answer: Bytes,
        meaning: Meaning,
        is_last: bool,
    ) -> (Bytes, Meaning, bool) {
        let (Some(sasl), version) = (&self.sasl, header.api_version) else { return (answer, meaning, is_last) };
        if trouble == Trouble::TooEarly {
            let response = SaslHandshakeResponse { error_code: ErrorCode::ILLEGAL_SASL_STATE, mechanisms: Vec::new() };
            return (written(&response, header, answer), Meaning::Useless, is_last);
        }
        let Ok((_, mut response)) = read_response::<SaslAuthenticateRequest>(&answer, version) else {
            return (answer, meaning, is_last);
        };
        let mut token = response.auth_bytes.reveal().to_vec();
        let (meaning, is_last) = match (trouble, meaning) {
            (Trouble::WrongProof, Meaning::Proof { .. }) => {
                if let Some(byte) = token.get_mut(5) {
                    *byte = if *byte == b'A' { b'B' } else { b'A' };
                }
                (Meaning::Forged, is_last)
            }
            (Trouble::HugeAnswer, _) if response.error_code.is_none() => {
                token.resize(Secret::LIMIT_BYTES, b'A');
                // PLAIN ignores the token.
                (if sasl.mechanism == Mechanism::Plain { meaning } else { Meaning::Useless }, is_last)
            }
            (Trouble::TinyLifetime, Meaning::Proof { .. }) => {
                response.session_lifetime_ms = 1;
                (Meaning::Proof { lifetime_ms: 1 }, is_last)
            }
            (Trouble::RefuseRenewal | Trouble::RefuseLogin, _) => {
                response.error_code = ErrorCode::SASL_AUTHENTICATION_FAILED;
                (token, response.session_lifetime_ms) = (Vec::new(), 0);
                (Meaning::Refused, true)
            }
            _ => (meaning, is_last),
        };
        response.auth_bytes = Secret::from(&token[..]);
        (written(&response, header, answer), meaning, is_last)
    }

    /// A node closes a connection without an answer.
    pub(crate) fn shut(&mut self, connection: ConnectionId) {
        let at = self.now() + self.latency();
        // The node reads nothing more on this connection.
        if let Some(line) = self.lines.get_mut(&connection) {
            line.is_shut = true;
        }
        self.at(at, Event::Closed(connection));
    }

    /// An answer of SASL reaches the producer.
    pub(crate) fn deliver_sasl(&mut self, connection: ConnectionId, meaning: Meaning) {
        let now = self.now();
        trace!(self, "{connection:?} ◀ {meaning:?}");
        let (Some(sasl), Some(line)) = (&mut self.sasl, self.lines.get_mut(&connection)) else { return };
        let talk = &mut line.talk;
        let is_again = talk.is_proven;
        talk.is_waiting = false;
        match meaning {
            Meaning::More | Meaning::Useless => {}
            Meaning::Forged => talk.is_forged = true,
            Meaning::Refused if is_again => {
                sasl.breaker.doubt(talk.generation);
                sasl.marks.insert((FaultRow::RenewalRefused, "a renewal was refused, and a new connection is ready"));
            }
            Meaning::Refused => {
                sasl.breaker.refuse(talk.generation, now);
                sasl.marks
                    .insert((FaultRow::LoginRefused, "refused, and ready after a wait or with other credentials"));
            }
            Meaning::Proof { lifetime_ms } => {
                talk.prove(lifetime_ms);
                sasl.breaker.accept(talk.generation);
                if talk.user != sasl.login.user {
                    talk.is_retiring = Some("another user");
                }
                let was_busy = talk.was_busy;
                let marks = if lifetime_ms == 1 { Default::default() } else { std::mem::take(&mut sasl.marks) };
                for (row, what) in marks {
                    self.hit(row, what);
                }
                match (is_again, was_busy) {
                    (true, true) => self.hit(FaultRow::SessionRenewed, "renewed behind requests in flight"),
                    (true, false) => self.hit(FaultRow::SessionRenewed, "renewed while nothing was in flight"),
                    (false, _) => {}
                }
            }
        }
    }
}

impl World<'_> {
    /// The producer accepts larger frames on a connection.
    pub(crate) fn raise_limit(&mut self, connection: ConnectionId, bytes: usize) {
        let has_sasl = self.sasl.is_some();
        let Some(line) = self.lines.get_mut(&connection).filter(|line| line.is_open) else { return };
        line.talk.limit_bytes = bytes;
        if has_sasl && !line.talk.is_proven {
            let what = format!("{connection:?} accepts {bytes} bytes before the node's proof");
            self.fail(violation(Invariant::ProofFirst, what));
        }
    }

    /// Calls that wait fail only after a second refusal.
    pub(crate) fn check_verdict(&mut self) {
        let Some(sasl) = &self.sasl else { return };
        if let Some(error) = self.driver.core.verdict().filter(|_| sasl.breaker.refusals < 2) {
            let what = format!("calls fail after {} refusals: {error}", sasl.breaker.refusals);
            self.fail(violation(Invariant::FewAttempts, what));
        }
    }

    /// The producer closes a connection.
    pub(crate) fn meet_end(&mut self, connection: ConnectionId) {
        let now = self.now();
        let Some(line) = self.lines.get(&connection).filter(|line| line.is_open && self.sasl.is_some()) else { return };
        let is_renewable = line.talk.is_retiring.is_none() && !line.talk.is_exchanging;
        let is_ended = line.talk.ends_at().is_some_and(|end| end <= now);
        if line.talk.is_forged {
            self.hit(FaultRow::WrongProof, "a signature was wrong, and the connection is closed");
        } else if line.talk.is_proven && is_ended {
            self.hit(FaultRow::SessionEnded, "closed at the end of its session");
        } else if line.talk.is_proven && line.talk.is_short() && is_renewable {
            self.hit(FaultRow::SessionTooShort, "closed before the end of its short session");
        }
    }

    /// A connection is cut.
    pub(crate) fn meet_cut(&mut self, connection: ConnectionId) {
        let now = self.now();
        let (Some(sasl), Some(line)) = (&mut self.sasl, self.lines.get(&connection)) else { return };
        if line.is_connected && !line.talk.is_proven && line.talk.has_shown && line.talk.is_waiting {
            sasl.breaker.close(line.talk.generation, now);
        }
    }
}

impl Sasl {
    fn meaning(&self, response: &SaslAuthenticateResponse) -> Meaning {
        let is_signed = self.mechanism == Mechanism::Plain || response.auth_bytes.reveal().starts_with(b"v=");
        match response.error_code {
            ErrorCode::NONE if is_signed => Meaning::Proof { lifetime_ms: response.session_lifetime_ms },
            ErrorCode::NONE => Meaning::More,
            ErrorCode::SASL_AUTHENTICATION_FAILED => Meaning::Refused,
            _ => Meaning::Useless,
        }
    }
}

fn written<M: Message>(response: &M, header: &RequestHeader, or: Bytes) -> Bytes {
    let mut frame = Vec::new();
    match write_response(response, header.api_version, header.correlation_id, &mut frame) {
        Ok(()) => Bytes::from(frame).slice(4..),
        Err(_) => or,
    }
}
