//! Report of a run, with the rows of the fault catalogue that it covered.

use std::collections::BTreeMap;
use std::time::Duration;

/// Report of a run.
///
/// See `examples/simulate.rs` for an example.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How often the producer noticed a fault of the catalogue and went on, by the row's number and text. Faults that
    /// the producer did not notice are not counted.
    pub met: BTreeMap<(u8, &'static str), u64>,
    /// Records written, not written, and maybe written.
    pub records: [usize; 3],
    /// The number of steps.
    pub moments: u64,
    /// The digest of the run. Reports of several runs add theirs up.
    pub digest: u64,
    /// The simulated time.
    pub time: Duration,
}

/// The rows of the fault catalogue that the simulation must cover, with their descriptions.
pub const ROWS: [(u8, &str); 50] = [
    (1, "written, and the answer lost"),
    (2, "sent again"),
    (3, "DUPLICATE_SEQUENCE_NUMBER"),
    (4, "a gap, because of the batch before"),
    (5, "a gap at the head"),
    (6, "UNKNOWN_PRODUCER_ID"),
    (7, "refused for good amid others"),
    (8, "expired in the queue"),
    (9, "expired in flight"),
    (10, "an answer after the outcome"),
    (11, "written, but by how many is not known"),
    (12, "a topic out of sight for a while"),
    (13, "first batches, and the gate"),
    (14, "sequences wrap around"),
    (15, "epochs come to their end"),
    (16, "no producer id"),
    (17, "another id between taking and sending"),
    (18, "answers of connections that are gone"),
    (19, "without idempotence"),
    (20, "MESSAGE_TOO_LARGE"),
    (21, "errors by record"),
    (22, "CORRUPT_MESSAGE"),
    (23, "refused, and written all the same"),
    (25, "another leader"),
    (26, "another leader, and a hint"),
    (27, "old metadata"),
    (28, "a topic made anew"),
    (29, "partitions more"),
    (32, "a host that moves while nobody sends"),
    (35, "all nodes down"),
    (36, "another cluster at the bootstrap servers"),
    (37, "metadata that does not come"),
    (38, "many partitions refused at once"),
    (45, "an answer to nothing"),
    (49, "an API that no broker offers"),
    (50, "throttled"),
    (54, "memory full"),
    (55, "flush"),
    (56, "close"),
    (60, "clocks that jump"),
    (61, "ten minutes without a broker"),
    (63, "memory that a socket still reads"),
    (64, "a late hint about the leader"),
    (65, "a limit of message size that lasts"),
    (66, "acks=0, and a write that is not confirmed"),
    (67, "too large after another refusal"),
    (68, "an idle topic whose records wait"),
    (69, "time that jumps while a batch is open"),
    (70, "topics that are forgotten and come back"),
    (71, "no producer id for good"),
];
