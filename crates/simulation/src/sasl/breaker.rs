//! Model of the producer's breaker, which limits how often refused credentials are tried again.

use std::time::{Duration, Instant};

use kurier_engine::core::ConnectionId;

/// The brokers' answers to the newest credentials.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    /// Counts the credentials of the run.
    pub(crate) generation: u64,
    is_proven: bool,
    /// Whether a broker refused to renew a session. The next answer to a new connection resets this.
    is_doubted: bool,
    pub(crate) refusals: usize,
    refused_at: Option<Instant>,
    /// Connections in a row that ended during the exchange.
    closes: u32,
    /// The only new connection that may use the credentials until a broker accepts them.
    trial: Option<ConnectionId>,
}

/// Seconds until the next attempt after the first, the second, ... refusal.
const WAITS: [u64; 7] = [1, 5, 30, 60, 120, 240, 300];

impl Breaker {
    /// The producer gets other credentials.
    pub(crate) fn change(&mut self) {
        *self = Self { generation: self.generation + 1, ..Self::default() };
    }

    /// A new connection begins to authenticate.
    pub(crate) fn begin(&mut self, connection: ConnectionId, now: Instant) -> Result<(), String> {
        if let (Some(at), Some(wait)) = (self.refused_at, self.wait())
            && now < at + wait
        {
            let times = self.refusals;
            return Err(format!("shows its credentials {:?} after refusal {times}, and not {wait:?}", now - at));
        }
        if self.is_proven {
            return Ok(());
        }
        match self.trial.replace(connection).filter(|other| *other != connection) {
            Some(other) => Err(format!("shows unproven credentials while {other:?} does")),
            None => Ok(()),
        }
    }

    /// Returns the wait after the last refusal.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let at = self.refusals.checked_sub(1)?.min(WAITS.len() - 1);
        WAITS.get(at).copied().map(Duration::from_secs)
    }

    /// A connection begins to renew its session.
    pub(crate) fn renew(&self) -> Result<(), String> {
        match self.is_open() {
            true => Ok(()),
            false => Err("renews its session with credentials that were refused".to_owned()),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.refusals == 0 && !self.is_doubted
    }

    pub(crate) fn accept(&mut self, generation: u64) {
        if generation == self.generation {
            *self = Self { generation, is_proven: true, ..Self::default() };
        }
    }

    /// A broker refuses a new connection.
    pub(crate) fn refuse(&mut self, generation: u64, now: Instant) {
        if generation == self.generation {
            self.refusals += 1;
            (self.refused_at, self.is_proven, self.is_doubted, self.trial) = (Some(now), false, false, None);
        }
    }

    /// A broker refuses to renew a session.
    pub(crate) fn doubt(&mut self, generation: u64) {
        if generation == self.generation {
            (self.is_doubted, self.is_proven) = (true, false);
        }
    }

    /// A broker closes a new connection after the client's token. The third close in a row counts as a refusal.
    pub(crate) fn close(&mut self, generation: u64, now: Instant) {
        if generation == self.generation {
            self.closes += 1;
            if self.closes >= 3 {
                self.refuse(generation, now);
            }
        }
    }

    /// A connection has ended.
    pub(crate) fn end(&mut self, connection: ConnectionId) {
        self.trial.take_if(|trial| *trial == connection);
    }
}
