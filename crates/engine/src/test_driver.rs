//! Single-threaded replacement for the driver, without sockets and with a manual clock.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kurier_protocol::record_batch::Sequence;
use kurier_security::Credentials;

use crate::accumulator::{Accumulator, Clock, Signal};
use crate::codecs::Codecs;
use crate::config::{Config, LocalCredentials, SaslCredentials};
use crate::core::{Action, Core, Grant, Input, SeededEntropy};
use crate::delivery::Runner;
use crate::error::Error;
use crate::fault_injection::FaultInjection;
use crate::local_actions::{self, Rest, TakenBatches};

/// Manual clock.
#[derive(Debug)]
pub struct ManualClock {
    start: Instant,
    now: Mutex<Instant>,
    /// The offset of the wall clock.
    wall_off_ms: AtomicI64,
}

impl ManualClock {
    #[expect(clippy::disallowed_methods, reason = "any instant will do: it is only added to")]
    fn new() -> Self {
        let start = Instant::now();
        Self { start, now: Mutex::new(start), wall_off_ms: AtomicI64::new(0) }
    }

    pub fn set(&self, now: Instant) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// Sets the offset of the wall clock.
    pub fn set_wall(&self, off_ms: i64) {
        self.wall_off_ms.store(off_ms, Ordering::Relaxed);
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.now() - self.start
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wall_ms(&self) -> i64 {
        let start = 1_700_000_000_000_i64.saturating_add(self.wall_off_ms.load(Ordering::Relaxed));
        start.saturating_add_unsigned(u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// The core and the accumulator, with every part of the driver that needs no network.
#[derive(Debug)]
pub struct TestDriver {
    pub core: Core,
    pub accumulator: Accumulator,
    codecs: Codecs,
    pub clock: Arc<ManualClock>,
    /// Taken batches that are held back, as if they were being compressed.
    pub held_takes: Option<VecDeque<TakenBatches>>,
    /// Topics that senders wait for, with the partition count they need.
    awaited: HashMap<Arc<str>, usize>,
    /// Whether jobs get lost, as on a machine that starts no more threads.
    pub drops_jobs: bool,
    /// Whether the source of credentials does not answer.
    pub drops_fetches: bool,
    /// The credentials that the core gets when it asks for some.
    grant: Option<Arc<Grant>>,
}

impl TestDriver {
    /// # Errors
    /// If the configured codec is not compiled in.
    pub fn new(config: Arc<Config>, runner: Arc<dyn Runner>) -> Result<Self, Error> {
        Self::with(config, runner, Sequence::FIRST, FaultInjection::NONE)
    }

    /// Like [`new`](Self::new), with another first sequence number for new producer ids, and a deliberate mistake.
    pub fn with(
        config: Arc<Config>,
        runner: Arc<dyn Runner>,
        first_sequence: Sequence,
        faults: FaultInjection,
    ) -> Result<Self, Error> {
        const SEED: u64 = 1;
        let grant = match config.security().sasl.as_ref().map(|sasl| &sasl.credentials) {
            Some(SaslCredentials::Local(LocalCredentials::Known(credentials))) => {
                Some(Arc::new(Grant { credentials: credentials.clone(), generation: 0, expires_at: None }))
            }
            _ => None,
        };
        let clock = Arc::new(ManualClock::new());
        let as_clock = Arc::clone(&clock) as Arc<dyn Clock>;
        let accumulator = Accumulator::new(Arc::clone(&config), as_clock, runner, SEED, faults, Box::new(|| {}));
        let codecs = Codecs::new(config.compression()?, Arc::clone(&accumulator.memory));
        let core = Core::new(config, SEED, Box::new(SeededEntropy::new(SEED)), first_sequence, faults, clock.now());
        Ok(Self {
            core,
            accumulator,
            codecs,
            clock,
            held_takes: None,
            awaited: HashMap::new(),
            drops_jobs: false,
            drops_fetches: false,
            grant,
        })
    }

    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    pub fn handle(&mut self, input: Input) {
        let now = self.now();
        if let Input::Signal(Signal::Wanted { topic, partitions }) | Input::Wanted { topic, partitions } = &input {
            let most = self.awaited.entry(Arc::clone(topic)).or_default();
            *most = (*most).max(*partitions);
        }
        self.core.handle(input, now);
    }

    /// Passes signals and the time to the core.
    pub fn tell(&mut self) {
        for signal in self.accumulator.take_signals() {
            self.handle(Input::Signal(signal));
        }
        let now = self.now();
        self.core.handle_timeout(now);
    }

    /// Sets the credentials for the core, and reports the change.
    pub fn set_credentials(&mut self, credentials: Credentials, expires_at: Option<Instant>) {
        let generation = self.grant.as_ref().map_or(0, |grant| grant.generation) + 1;
        let grant = Arc::new(Grant { credentials, generation, expires_at });
        self.grant = Some(Arc::clone(&grant));
        self.handle(Input::Credentials(Ok(grant)));
    }

    /// Sets the credentials that the core gets when it next asks.
    pub fn set_source(&mut self, credentials: Credentials) {
        let generation = self.grant.as_ref().map_or(0, |grant| grant.generation) + 1;
        self.grant = Some(Arc::new(Grant { credentials, generation, expires_at: None }));
    }

    /// Performs an action of the core, or returns it if it needs a network. Without credentials, a request for some is
    /// returned too.
    pub fn act(&mut self, action: Action) -> Option<Action> {
        let action = match (action, &self.grant) {
            (Action::Local(action), _) => action,
            (Action::FetchCredentials { .. }, _) if self.drops_fetches => return None,
            (Action::FetchCredentials { .. }, Some(grant)) => {
                let grant = Arc::clone(grant);
                self.handle(Input::Credentials(Ok(grant)));
                return None;
            }
            (Action::Compute { .. }, _) if self.drops_jobs => return None,
            (Action::Compute { connection, job }, _) => {
                self.handle(Input::Computed { connection, proof: job.run() });
                return None;
            }
            (action, _) => return Some(action),
        };
        match local_actions::perform(action, &self.accumulator, &self.codecs) {
            Rest::Nothing => {}
            Rest::Answer(input) => self.handle(input),
            Rest::Compress(mut batches) => {
                batches.compress(&self.accumulator, &self.codecs);
                match &mut self.held_takes {
                    Some(held) => held.push_back(batches),
                    None => self.handle(batches.hand_over()),
                }
            }
            Rest::Published { topic, partitions } => {
                if self.awaited.get(&topic).is_some_and(|wanted| *wanted <= partitions) {
                    self.awaited.remove(&topic);
                    self.handle(Input::Unwanted(topic));
                }
            }
        }
        None
    }

    /// Passes held batches to the core, and holds no more back.
    pub fn let_go(&mut self) {
        for mut batches in self.held_takes.take().into_iter().flatten() {
            self.handle(batches.hand_over());
        }
    }
}
