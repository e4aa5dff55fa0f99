//! Performs the core's actions that need no network.
//!
//! ```text
//!   core ─ LocalAction ─▶ perform ─▶ accumulator, codecs, outcome cells
//!     ▲                      │
//!     └──────── Input ◀──────┴─▶ Rest: the part that the caller must perform
//! ```
//!
//! The driver and the simulation both perform these actions here, so that the simulation tests the code that runs in
//! production.

use std::sync::Arc;

use kurier_protocol::NodeId;

use crate::accumulator::batch::Taken;
use crate::accumulator::{Accumulator, Left, PartitionId};
use crate::codecs::Codecs;
use crate::core::{Input, LocalAction};
use crate::delivery::Outcome;

/// The part of an action that its caller must perform.
#[derive(Debug)]
pub enum Rest {
    Nothing,
    /// Pass this input to the core.
    Answer(Input),
    /// Compress these batches, on any thread, and hand them over.
    Compress(TakenBatches),
    /// Wake the calls that wait for a topic, which now has this many partitions. If no call waits for more, answer with
    /// [`Input::Unwanted`].
    Published {
        topic: Arc<str>,
        partitions: usize,
    },
}

/// Performs an action, except for the part that it returns.
pub fn perform(action: LocalAction, accumulator: &Accumulator, codecs: &Codecs) -> Rest {
    match action {
        LocalAction::Take { node, partitions, room } => {
            let (batches, left) = accumulator.take_all(&partitions, room);
            Rest::Compress(TakenBatches { node, batches, left })
        }
        LocalAction::Drain { partition, until, why } => {
            let (batches, left) = accumulator.drain(partition, until);
            Rest::Answer(Input::Drained { partition, batches, left, why })
        }
        LocalAction::CloseBatches { partition, until } => {
            accumulator.close_batches(partition, until);
            Rest::Nothing
        }
        LocalAction::Split { partition, whole, batch } => {
            accumulator.shrink_cap(partition, batch.plain_bytes);
            // This is rare, so it happens at once, on the caller's thread.
            let pieces = codecs.split(&batch);
            Rest::Answer(Input::Split { partition, whole, pieces })
        }
        LocalAction::Publish(layout) => {
            accumulator.publish(&layout);
            Rest::Published { partitions: layout.partitions.len(), topic: layout.topic }
        }
        LocalAction::Retire { topic, partitions } => match accumulator.retire(&topic, &partitions) {
            true => Rest::Answer(Input::Retired(topic)),
            false => Rest::Nothing,
        },
        LocalAction::Stall(changed) => {
            accumulator.set_stalled(&changed);
            Rest::Nothing
        }
        LocalAction::Complete { partition, batch, outcome, is_last } => {
            if let Outcome::Written { .. } = outcome {
                accumulator.grow_cap(partition, batch.plain_bytes);
            }
            accumulator.complete(&batch, outcome, is_last);
            Rest::Nothing
        }
    }
}

/// Batches on their way from the accumulator to the core.
#[derive(Debug)]
pub struct TakenBatches {
    pub node: NodeId,
    pub batches: Vec<(PartitionId, Taken)>,
    pub left: Vec<(PartitionId, Option<Left>)>,
}

impl TakenBatches {
    /// Compresses the batches, if a codec is set.
    pub fn compress(&mut self, accumulator: &Accumulator, codecs: &Codecs) {
        if !codecs.compress() {
            return;
        }
        for (_, taken) in &mut self.batches {
            codecs.compress_batch(taken);
            accumulator.compressed(taken.cell.topic(), taken.plain_bytes, taken.sealed.body_bytes());
        }
    }

    /// Returns the batches as an input for the core, and keeps none. From now on they may be sent.
    pub fn hand_over(&mut self) -> Input {
        let (batches, left) = (std::mem::take(&mut self.batches), std::mem::take(&mut self.left));
        batches.iter().for_each(|(_, batch)| batch.may_be_sent());
        Input::Taken { node: self.node, batches, left }
    }
}
