//! Measurements of the producer, as programs in `src/bin`, and what they share. They use only the public API of
//! `kurier`; the benchmarks in `benches` measure its parts.
//!
//! Every program that sends takes the flags of [`Workload`] and prints one line of JSON, which [`Meter`] writes. So do
//! the programs in `peers`, which use other clients, and `make bench-peers` runs all of them side by side.

pub mod meter;
pub mod pace;
pub mod sink;
mod sink_process;
pub mod workload;

pub use meter::{Latencies, Meter};
pub use pace::Pace;
pub use sink_process::SinkProcess;
pub use workload::{Payload, Workload, key};
