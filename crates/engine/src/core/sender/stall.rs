//! Detection of nodes that have work but accept nothing, so that records without a key avoid their partitions
//! (`partitioner.availability.timeout.ms`, KIP-794).
//!
//! ```text
//!             something for it              it has taken nothing for the timeout
//!   content ──────────────────▶ watched ─────────────────────────────────────────▶ stalled
//!      ▲                         │   ▲ takes something                               │ │
//!      └──── nothing for it ─────┘   └───────────────────────────────────────────────┘ │
//!      └──────────────── nothing for it any more, for all has expired ─────────────────┘
//! ```
//!
//! As in Java's `RecordAccumulator`, a node stalls when it has work and accepts none. Two points differ.
//! Batches that wait behind unanswered ones count as work, because a partition may have few batches in flight here. And
//! a stalled node whose work has all expired is tried again; in Java that happens only when a record names one of its
//! partitions.

use std::time::Instant;

use kurier_protocol::NodeId;

use super::{Sender, Stand};
use crate::accumulator::PartitionId;
use crate::core::action::LocalAction;
use crate::core::context::Context;

impl Sender {
    /// Starts the timer of a node that has work.
    pub(super) fn watch(&mut self, node: NodeId, cx: &Context) {
        let timeout = cx.config.availability_timeout;
        if timeout.is_zero() {
            return;
        }
        let queue = self.nodes.entry(node).or_default();
        if queue.idle_since.is_none() {
            queue.idle_since = Some(cx.now);
            self.stall_timers.set(node, Some(cx.now + timeout));
        }
    }

    /// Notes that a node has accepted a request.
    pub(super) fn handle_accepted(&mut self, node: NodeId, cx: &mut Context) {
        let Some(queue) = self.nodes.get_mut(&node) else { return };
        // The timer keeps running; its handler checks the new time.
        if let Some(since) = &mut queue.idle_since {
            *since = cx.now;
        }
        self.set_stalled(node, false, cx);
    }

    /// Checks the nodes whose timers are due.
    pub(super) fn handle_stall_timeout(&mut self, cx: &mut Context) {
        let timeout = cx.config.availability_timeout;
        while let Some(node) = self.stall_timers.pop(cx.now) {
            let Some(queue) = self.nodes.get(&node) else { continue };
            let (was_stalled, Some(since)) = (queue.is_stalled, queue.idle_since) else { continue };
            let stalls_at = self.work_since(node, since, cx).map(|work| work + timeout);
            let is_stalled = stalls_at.is_some_and(|at| was_stalled || at <= cx.now);
            // The work of a stalled node may expire, so check again later.
            let next = stalls_at.map(|at| if is_stalled { cx.now + timeout } else { at });
            self.stall_timers.set(node, next);
            if let Some(queue) = self.nodes.get_mut(&node) {
                queue.idle_since = next.and(Some(since));
            }
            self.set_stalled(node, is_stalled, cx);
        }
    }

    /// Returns since when the node has had work that it does not accept, `idle_since` at the earliest; `None` without
    /// work.
    fn work_since(&self, node: NodeId, idle_since: Instant, cx: &Context) -> Option<Instant> {
        let ids = self.partitions.keys().copied();
        let is_led = |id: &PartitionId| cx.metadata.place(*id).is_some_and(|place| place.leader == Some(node));
        let is_held_up = |id: &PartitionId| match self.stand(*id, cx) {
            Stand::Ready(by) | Stand::Unanswered(by) => by == node,
            _ => false,
        };
        let due = |id: PartitionId| self.due(self.partitions.get(&id)?, idle_since, cx);
        ids.filter(is_led).filter(is_held_up).filter_map(due).min().map(|due| due.max(idle_since))
    }

    /// Forgets a node that the cluster no longer names.
    pub(super) fn forget_node(&mut self, node: NodeId, cx: &mut Context) {
        self.set_stalled(node, false, cx);
        self.stall_timers.set(node, None);
        self.nodes.remove(&node);
    }

    fn set_stalled(&mut self, node: NodeId, is_stalled: bool, cx: &mut Context) {
        let Some(queue) = self.nodes.get_mut(&node) else { return };
        if std::mem::replace(&mut queue.is_stalled, is_stalled) == is_stalled {
            return;
        }
        tracing::debug!(%node, is_stalled, "records without a key leave a node out, or come back to it");
        let changed: Vec<_> = cx.metadata.partitions().filter_map(|id| self.change_of_stall(id, cx)).collect();
        if !changed.is_empty() {
            cx.push(LocalAction::Stall(changed));
        }
    }

    /// Tells senders whether a partition's leader has stalled, if that has changed.
    pub(super) fn show_stall(&mut self, id: PartitionId, cx: &mut Context) {
        if !cx.config.availability_timeout.is_zero()
            && let Some(change) = self.change_of_stall(id, cx)
        {
            cx.push(LocalAction::Stall(vec![change]));
        }
    }

    fn change_of_stall(&mut self, id: PartitionId, cx: &Context) -> Option<(PartitionId, bool)> {
        let leader = cx.metadata.place(id).and_then(|place| place.leader);
        let is_stalled = leader.and_then(|leader| self.nodes.get(&leader)).is_some_and(|queue| queue.is_stalled);
        let was_stalled = std::mem::replace(&mut self.partition(id).is_shown_stalled, is_stalled);
        (was_stalled != is_stalled).then_some((id, is_stalled))
    }
}
