//! A producer in a world of bad luck, on one thread: the real accumulator and the real core, a cluster in memory, and a
//! network and a clock that a seed makes up as it goes.
//!
//! ```text
//!   senders ─▶ Accumulator ─▶ Core ─▶ network: delays, cuts, silence ─▶ kurier_broker::Cluster
//!      ▲            (Hands)              │ what is sent and answered          │ what is written
//!      └── outcomes ──▶ Ledger ◀─────────┴── Wire ◀───────────────────────────┘
//! ```
//!
//! A seed draws settings and a mix of faults. First things go wrong; then all is well again, and everything must come to
//! its end in time. `ledger` and `wire` know what a producer promises and nothing of how it keeps it.
//! The same seed gives the same run, always.

/// Tells whoever reads along.
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
#[cfg(feature = "internal")]
mod feed;
#[cfg(any(test, feature = "internal"))]
pub(crate) mod hands;
#[cfg(any(test, feature = "internal"))]
mod ledger;
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

use kurier_protocol::record_batch::Sequence;

pub use mutant::Mutant;
#[cfg(feature = "internal")]
pub use {feed::feed, ledger::Violation, report::ROWS, report::Report, world::play};

/// The sequence with which a new producer id begins: 0, but in some simulations, where it is soon to wrap around. Brokers
/// take any first sequence of an id that they do not know.
pub(crate) fn first_sequence() -> Sequence {
    #[cfg(any(test, feature = "internal"))]
    return Sequence(world::FIRST_SEQUENCE.get());
    #[cfg(not(any(test, feature = "internal")))]
    Sequence::FIRST
}

#[cfg(test)]
mod tests;
