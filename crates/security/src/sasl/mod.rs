//! The client's side of SASL exchanges, without I/O.
//!
//! ```text
//!          start                 handle(broker's message)                         prove(proof)
//! PLAIN        ─ Send ─▶ Answer ──────────────────────────────────────────────────────────────────────▶ Done
//! OAUTHBEARER  ─ Send ─▶ Answer ── empty ─────────────────────────────────────────────────────────────▶ Done
//!                           └───── a reason ─ Send ─▶ Refused
//! SCRAM        ─ Send ─▶ First ── Compute ─▶ Computing ── Send ─▶ Last ── the broker's signature ────▶ Done
//! ```

#[cfg(test)]
mod captured;
mod checks;
mod error;
mod message;
mod oauthbearer;
mod plain;
mod scram;

use std::fmt;
use std::mem;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::credentials::Credentials;
use crate::mechanism::Mechanism;

pub use error::SaslError;
pub use message::Message;
pub use oauthbearer::Refusal;
pub use scram::{ScramJob, ScramProof};

/// Maximum size of an answer, in bytes; SCRAM has a lower one.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// The default of `kurier.sasl.scram.max.iterations`. Kafka creates passwords with 4,096 to 16,384.
const SCRAM_ITERATIONS_MAX: u32 = 65_536;

/// The client's side of one SASL exchange, after the broker has accepted the mechanism (SaslHandshake).
///
/// Send each message in a SaslAuthenticate request, and pass the answer's `auth_bytes` to [`handle`](Self::handle) while
/// its error code is 0. The exchange has succeeded only with [`Step::Done`].
///
/// ```
/// use kurier_security::{Credentials, Exchange, ScramMechanism, Step};
///
/// let credentials = Credentials::Scram {
///     mechanism: ScramMechanism::Sha256,
///     username: "alice".to_owned(),
///     password: "alice-secret".into(),
///     is_delegation_token: false,
/// };
/// // In a program, 24 random bytes.
/// let (mut exchange, first) = Exchange::start(&credentials, [7; 24])?;
/// assert_eq!(first.as_bytes(), b"n,,n=alice,r=BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH");
///
/// // The broker's answer.
/// let answer = b"r=BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHand-the-broker's,s=c2FsdA==,i=4096";
/// let Step::Compute(job) = exchange.handle(answer)? else { panic!("SCRAM computes now") };
/// let proof = std::thread::spawn(|| job.run()).join().unwrap();
/// let last = exchange.prove(proof)?;
/// assert!(last.as_bytes().starts_with(b"c=biws,r=BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHand-the-broker's,p="));
///
/// // An impostor, who does not know the password.
/// let error = exchange.handle(b"v=c2lnbmF0dXJl").unwrap_err();
/// assert!(error.to_string().contains("did not prove that it knows the password"));
/// # Ok::<(), kurier_security::SaslError>(())
/// ```
pub struct Exchange {
    mechanism: Mechanism,
    scram_iterations_max: u32,
    state: State,
}

enum State {
    Plain,
    Bearer,
    BearerRefused(Refusal),
    ScramFirst(scram::Start),
    ScramComputing,
    ScramLast { signature: Zeroizing<Vec<u8>> },
    Ended,
}

/// The next step of an exchange. See [`Exchange`] for an example.
#[derive(Debug)]
#[must_use]
pub enum Step {
    /// Send this message.
    Send(Message),
    /// Run this job on a thread that may block, and pass its result to [`Exchange::prove`].
    Compute(ScramJob),
    /// Nothing: the exchange has succeeded. With SCRAM, the broker has proved itself too.
    Done,
}

impl Exchange {
    /// Starts an exchange. The nonce is 24 random bytes, used only once; PLAIN and OAUTHBEARER do not use it.
    ///
    /// # Errors
    /// [`SaslError::Inexpressible`] if the mechanism cannot carry the credentials.
    pub fn start(credentials: &Credentials, nonce: [u8; 24]) -> Result<(Self, Message), SaslError> {
        let (state, message) = match credentials {
            Credentials::Plain { username, password } => (State::Plain, plain::first_message(username, password)?),
            Credentials::Scram { mechanism, username, password, is_delegation_token } => {
                let nonce = STANDARD.encode(nonce);
                let (start, message) = scram::start(*mechanism, username, password, *is_delegation_token, nonce)?;
                (State::ScramFirst(start), message)
            }
            Credentials::Bearer(token) => (State::Bearer, oauthbearer::first_message(token)?),
        };
        let mechanism = credentials.mechanism();
        Ok((Self { mechanism, scram_iterations_max: SCRAM_ITERATIONS_MAX, state }, message))
    }

    /// Returns the mechanism.
    #[must_use]
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Sets the maximum number of iterations that a broker may demand: `kurier.sasl.scram.max.iterations`, default
    /// 65,536. A higher number lets a broker use more processor time before it has proven anything.
    pub fn set_scram_iterations_max(&mut self, max: u32) {
        self.scram_iterations_max = max;
    }

    /// Takes an answer of the broker whose error code is 0. After an error the exchange has ended.
    ///
    /// # Errors
    /// If the broker refuses the credentials, does not prove itself, or breaks the rules of the mechanism.
    pub fn handle(&mut self, server: &[u8]) -> Result<Step, SaslError> {
        let mechanism = self.mechanism;
        if server.len() > ANSWER_BYTES_MAX {
            self.state = State::Ended;
            let why = format!("its answer has {} bytes, more than {ANSWER_BYTES_MAX}", server.len());
            return Err(SaslError::Protocol { mechanism, why });
        }
        match mem::replace(&mut self.state, State::Ended) {
            // Ignore the bytes, as Java and librdkafka do: the error code 0 means success.
            State::Plain => Ok(Step::Done),
            State::Bearer if server.is_empty() => Ok(Step::Done),
            State::Bearer => {
                self.state = State::BearerRefused(Refusal::read(server)?);
                Ok(Step::Send(oauthbearer::acknowledgement()))
            }
            State::BearerRefused(refusal) => {
                let why = format!("it reports success after it has refused the token ({refusal})");
                Err(SaslError::Protocol { mechanism, why })
            }
            State::ScramFirst(start) => {
                let job = start.read_first(server, self.scram_iterations_max)?;
                self.state = State::ScramComputing;
                Ok(Step::Compute(job))
            }
            State::ScramLast { signature } => scram::read_last(mechanism, server, &signature).map(|()| Step::Done),
            State::ScramComputing | State::Ended => Err(SaslError::OutOfTurn { mechanism, what: "message" }),
        }
    }

    /// Takes the result of the job of [`Step::Compute`], and returns the message to send.
    ///
    /// # Errors
    /// [`SaslError::OutOfTurn`] if the exchange has not asked for a proof.
    pub fn prove(&mut self, proof: ScramProof) -> Result<Message, SaslError> {
        let State::ScramComputing = self.state else {
            return Err(SaslError::OutOfTurn { mechanism: self.mechanism, what: "proof" });
        };
        self.state = State::ScramLast { signature: proof.signature };
        Ok(proof.message)
    }

    /// Returns the broker's reason for refusing a token, which it sends before it answers with an error code.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match &self.state {
            State::BearerRefused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Plain | State::Bearer => "Answer",
            State::BearerRefused(_) => "Refused",
            State::ScramFirst(_) => "First",
            State::ScramComputing => "Computing",
            State::ScramLast { .. } => "Last",
            State::Ended => "Ended",
        };
        f.debug_struct("Exchange").field("mechanism", &self.mechanism).field("state", &state).finish_non_exhaustive()
    }
}
