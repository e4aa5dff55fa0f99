//! Digest of a run: equal digests mean that two engines did the same at the same times.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::discriminant;
use std::time::Duration;

use kurier_engine::core::{Action, LocalAction};

/// Hash of the actions that reach brokers or senders, with their times. It holds no text, so that better words change
/// nothing.
#[derive(Debug, Default)]
pub(super) struct Digest(DefaultHasher);

impl Digest {
    pub(super) fn add(&mut self, at: Duration, action: &Action) {
        let state = &mut self.0;
        match action {
            Action::Connect { connection, host, attempt, .. } => (1, at, connection, host.port, attempt).hash(state),
            Action::Disconnect(connection) => (2, at, connection).hash(state),
            Action::Transmit { connection, correlation_id, chunks } => {
                (3, at, connection, correlation_id, chunks).hash(state);
            }
            Action::Local(LocalAction::Complete { partition, batch, outcome, is_last }) => {
                (4, at, partition, batch.id, &batch.range, discriminant(outcome), is_last).hash(state);
            }
            _ => {}
        }
    }

    pub(super) fn get(&self) -> u64 {
        self.0.finish()
    }
}
