//! Report of a run, with the rows of the fault catalogue that it covered.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::fault_row::FaultRow;

/// Report of a run.
///
/// See `src/bin/simulate.rs` for an example.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How often the producer noticed a fault of the catalogue and went on, by the row and a text. Faults that
    /// the producer did not notice are not counted.
    pub met: BTreeMap<(FaultRow, &'static str), u64>,
    /// Records written, not written, and maybe written.
    pub records: [usize; 3],
    /// The number of steps.
    pub moments: u64,
    /// The digest of the run, or the sum of the digests of several runs.
    pub digest: u64,
    /// The simulated time.
    pub time: Duration,
}
