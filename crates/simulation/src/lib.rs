//! Deterministic simulation of the producer on one thread: the real accumulator and core, a cluster in memory, and a
//! network and clock that a seed drives.
//!
//! ```text
//!   senders ─▶ Accumulator ─▶ Core ─▶ network: delays, cuts, silence ─▶ kurier_broker::Cluster
//!      ▲         (TestDriver)            │ requests and responses             │ written batches
//!      └── outcomes ──▶ Ledger ◀─────────┴── Wire ◀───────────────────────────┘
//! ```
//!
//! A seed draws settings and a mix of faults. In one seed of four the cluster requires SASL, with short sessions
//! (`sasl`). After a time of faults, all faults end, and every record must get its outcome in time. `ledger`, `wire` and
//! `sasl` know the guarantees of a producer, and nothing of its implementation. The same seed always gives the same run.

/// Writes to the trace, if there is one.
macro_rules! trace {
    ($world:expr, $($text:tt)*) => {
        if $world.trace.is_some() {
            $world.say(format_args!($($text)*));
        }
    };
}

mod brokers;
mod checks;
mod converse;
mod coverage;
mod digest;
mod episodes;
mod fault_row;
mod feed;
mod invariant;
mod ledger;
mod lull;
mod network;
mod plan;
mod report;
mod sasl;
mod script;
mod senders;
mod stage;
mod troubles;
mod wire;
mod world;

pub use kurier_engine::fault_injection::Mutant;
pub use {
    converse::converse, fault_row::FaultRow, feed::feed, invariant::Invariant, invariant::Violation, report::Report,
    world::play,
};

#[cfg(test)]
mod tests;
