//! SASL in a run. In one seed of four the cluster requires it, with short sessions and faults of its own.
//!
//! ```text
//!   World ─▶ Sasl: logins, planned faults        troubles: the faults of a step
//!              ├─ Breaker: model of the waits          exchange: a node's side, and its changed answers
//!              └─ Conversation, one per connection: what may be sent now
//! ```
//!
//! All choices come from a random stream of their own, so that the other seeds run as without SASL.

pub(super) mod breaker;
pub(super) mod conversation;
pub(super) mod exchange;
mod troubles;

use std::collections::BTreeSet;
use std::time::Duration;

use kurier_broker::SaslSettings;
use kurier_security::{Credentials, Mechanism, ScramMechanism};

use super::fault_row::FaultRow;
use breaker::Breaker;
use kurier_engine::config::Config;
use kurier_engine::error::Error;
pub(super) use troubles::Trouble;
use troubles::{Planned, TROUBLES};

/// A user with a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: String,
    password: String,
}

/// The state of SASL in a run.
#[derive(Debug)]
pub(super) struct Sasl {
    random: fastrand::Rng,
    mechanism: Mechanism,
    /// The lifetime of each session.
    pub(super) lifetime: Duration,
    /// The percentage of steps with a fault.
    rate: u32,
    weights: Vec<(Trouble, u32)>,
    /// The login that cluster and producer have once no change is under way.
    target: Login,
    /// The producer's login.
    pub(super) login: Login,
    /// Counts users and passwords.
    names: u32,
    /// Faults that wait for a request.
    planned: Vec<Planned>,
    pub(super) breaker: Breaker,
    /// Rows to count once a connection is ready again.
    marks: BTreeSet<(FaultRow, &'static str)>,
}

impl Sasl {
    /// Draws the SASL of a run; `None` for a run without it.
    pub(super) fn draw(seed: u64) -> Option<Self> {
        /// Separates this stream from the others. With this number, none of the seeds in `tests.rs` has SASL, so that
        /// their runs stay the same.
        const STREAM: u64 = 1777 << 32;
        let mut random = fastrand::Rng::with_seed(seed ^ STREAM);
        if random.u32(0..4) > 0 {
            return None;
        }
        // SCRAM computes thousands of hashes per connection. So it is rare, and its sessions are long.
        let mechanism = if random.u32(0..8) == 0 { Mechanism::ScramSha256 } else { Mechanism::Plain };
        let lifetime_ms = match random.u32(0..8) {
            _ if mechanism != Mechanism::Plain => random.u64(8_000..20_000),
            0 => random.u64(1_000..3_000),
            1..5 => random.u64(3_200..8_000),
            _ => random.u64(8_000..20_000),
        };
        let mut weights = Vec::new();
        for (trouble, most) in TROUBLES {
            if random.bool() && (trouble != Trouble::WrongProof || mechanism != Mechanism::Plain) {
                weights.push((trouble, random.u32(1..=most)));
            }
        }
        let login = Login { user: "user-0".to_owned(), password: "secret-0".to_owned() };
        Some(Self {
            rate: random.u32(1..8),
            random,
            mechanism,
            lifetime: Duration::from_millis(lifetime_ms),
            weights,
            target: login.clone(),
            login,
            names: 0,
            planned: Vec::new(),
            breaker: Breaker::default(),
            marks: BTreeSet::new(),
        })
    }

    /// Returns the cluster's settings.
    pub(super) fn settings(&self) -> SaslSettings {
        let settings = SaslSettings { max_reauth: Some(self.lifetime), ..SaslSettings::default() };
        settings.user(&self.login.user, &self.login.password)
    }

    /// Sets the producer's settings. Authentication takes more round trips, so that it gets more time.
    pub(super) fn configure(&self, config: &mut Config) -> Result<(), Error> {
        const MORE: Duration = Duration::from_millis(500);
        config.set("security.protocol", "SASL_PLAINTEXT")?;
        config.set("sasl.mechanism", self.mechanism.name())?;
        config.set("sasl.username", &self.login.user)?;
        config.set("sasl.password", &self.login.password)?;
        config.connection_setup_timeout += MORE;
        config.connection_setup_timeout_max += MORE;
        Ok(())
    }

    /// Returns the highest number of requests that renew the sessions of one connection in this time.
    pub(super) fn renewals(&self, time: Duration) -> u64 {
        let sessions = time.as_millis().div_ceil(self.lifetime.mul_f64(0.8).as_millis().max(1));
        3 * u64::try_from(sessions).unwrap_or(u64::MAX / 1024)
    }

    fn credentials(&self) -> Credentials {
        let (username, password) = (self.login.user.clone(), self.login.password.as_str().into());
        match self.mechanism {
            Mechanism::Plain => Credentials::Plain { username, password },
            _ => {
                Credentials::Scram { mechanism: ScramMechanism::Sha256, username, password, is_delegation_token: false }
            }
        }
    }
}
