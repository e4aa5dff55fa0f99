//! What a run was like.

use std::collections::BTreeMap;
use std::time::Duration;

/// What a run was like.
///
/// See `examples/simulate.rs` for an example.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How often what a row of the fault catalogue is about came up, by its number and what it is.
    pub rows: BTreeMap<(u8, &'static str), u64>,
    /// Records written, not written, and maybe written.
    pub records: [usize; 3],
    /// How many moments were lived through.
    pub moments: u64,
    /// How much time passed in the world.
    pub time: Duration,
}
