//! Deterministic simulation of the producer on one thread: the real accumulator and core, a cluster in memory, and a
//! network and clock that a seed drives.
//!
//! ```text
//!   senders ─▶ Accumulator ─▶ Core ─▶ network: delays, cuts, silence ─▶ kurier_broker::Cluster
//!      ▲            (Hands)              │ what is sent and answered          │ what is written
//!      └── outcomes ──▶ Ledger ◀─────────┴── Wire ◀───────────────────────────┘
//! ```
//!
//! A seed draws settings and a mix of faults. After a time of faults, all faults end, and every record must get its
//! outcome in time. `ledger` and `wire` know the guarantees of a producer, and nothing of its implementation. The same
//! seed always gives the same run.

/// Writes to the trace, if there is one.
#[cfg(any(test, feature = "internal"))]
macro_rules! trace {
    ($world:expr, $($text:tt)*) => {
        if $world.trace.is_some() {
            $world.say(format_args!($($text)*));
        }
    };
}

#[cfg(any(test, feature = "internal"))]
mod brokers;
#[cfg(any(test, feature = "internal"))]
mod checks;
#[cfg(any(test, feature = "internal"))]
mod coverage;
#[cfg(any(test, feature = "internal"))]
mod digest;
#[cfg(any(test, feature = "internal"))]
mod episodes;
#[cfg(feature = "internal")]
mod feed;
#[cfg(any(test, feature = "internal"))]
pub(crate) mod hands;
#[cfg(any(test, feature = "internal"))]
mod ledger;
#[cfg(any(test, feature = "internal"))]
mod lull;
mod mutant;
#[cfg(any(test, feature = "internal"))]
mod network;
#[cfg(any(test, feature = "internal"))]
mod plan;
#[cfg(any(test, feature = "internal"))]
mod report;
#[cfg(any(test, feature = "internal"))]
mod senders;
#[cfg(any(test, feature = "internal"))]
mod troubles;
#[cfg(any(test, feature = "internal"))]
mod wire;
#[cfg(any(test, feature = "internal"))]
mod world;

use kurier_protocol::record_batch::{ProducerEpoch, Sequence};

pub use mutant::Mutant;
#[cfg(feature = "internal")]
pub use {feed::feed, ledger::Violation, report::ROWS, report::Report, world::play};

/// Returns the first sequence of a partition that starts under this epoch: 0, except that in some simulations a new
/// producer id starts close to the end of sequences. Brokers accept any first sequence of an unknown producer id.
pub(crate) fn first_sequence(epoch: ProducerEpoch) -> Sequence {
    #[cfg(any(test, feature = "internal"))]
    return if epoch == ProducerEpoch(world::FIRST_EPOCH.get()) {
        Sequence(world::FIRST_SEQUENCE.get())
    } else {
        Sequence::FIRST
    };
    #[cfg(not(any(test, feature = "internal")))]
    {
        let _ = epoch;
        Sequence::FIRST
    }
}

#[cfg(test)]
mod tests;
