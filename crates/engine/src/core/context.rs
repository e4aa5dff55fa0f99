//! The state that the sender shares with the rest of the core.

use std::sync::Arc;
use std::time::Instant;

use super::action::{Action, Actions};
use super::connection::Connections;
use super::idempotence::ProducerIds;
use super::metadata::Metadata;
use super::question::Question;
use crate::config::Config;
use crate::fault_injection::FaultInjection;

/// The known cluster, the time, and the actions to perform.
#[derive(Debug)]
pub(super) struct Context {
    /// The time of the current input.
    pub(super) now: Instant,
    pub(super) config: Arc<Config>,
    pub(super) faults: FaultInjection,
    pub(super) metadata: Metadata,
    pub(super) connections: Connections<Question>,
    pub(super) ids: ProducerIds,
    /// When to ask another node for a producer id, because the first one does not answer.
    pub(super) another_id_at: Option<Instant>,
    pub(super) random: fastrand::Rng,
    pub(super) actions: Actions,
}

impl Context {
    /// Queues an action behind those of the connections.
    pub(super) fn push(&mut self, action: impl Into<Action>) {
        self.connections.move_actions(&mut self.actions);
        self.actions.push_back(action.into());
    }

    /// Returns the next action.
    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.connections.move_actions(&mut self.actions);
        self.actions.pop_front()
    }

    /// Lists why servers cannot be reached; `None` if all can.
    pub(super) fn obstacles(&self) -> Option<String> {
        /// A longer list would be too long to read.
        const SERVERS_NAMED_MAX: usize = 32;
        let mut troubles = self.connections.troubles();
        let more = troubles.len().saturating_sub(SERVERS_NAMED_MAX);
        troubles.truncate(SERVERS_NAMED_MAX);
        troubles.extend((more > 0).then(|| format!("and so on, for {more} more")));
        (!troubles.is_empty()).then(|| troubles.join("; "))
    }
}
