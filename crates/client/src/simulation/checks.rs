//! What is looked at after every moment, and when all is over: I7, I8, and the ledger's I1 to I4.

use std::collections::BTreeMap;

use super::ledger::{Log, Violation, violation};
use super::world::{TOPIC, World, ms};

impl World<'_> {
    pub(super) fn check_end(&self) -> Result<(), Violation> {
        let mut logs: BTreeMap<i32, Vec<Log>> = BTreeMap::new();
        for (partition, all) in &self.old_logs {
            for batches in all {
                logs.entry(*partition).or_default().push(self.ledger.read(batches)?);
            }
        }
        for partition in 0..self.partitions {
            let batches = self.cluster.log(TOPIC, partition).unwrap_or_default();
            logs.entry(partition).or_default().push(self.ledger.read(&batches)?);
        }
        self.ledger.check(&logs, &self.plan)?;
        let (used, incomplete) = (self.hands.accumulator.memory.used(), self.hands.accumulator.incomplete_count());
        if used != 0 {
            return Err(violation("I7", format!("{used} bytes of memory are in use, and nothing is left")));
        }
        let left = if self.plan.ends_badly { Vec::new() } else { self.hands.core.leftovers() };
        match incomplete == 0 && left.is_empty() && self.flushes.is_empty() {
            true => Ok(()),
            false => Err(violation("I7", format!("{incomplete} batches, {left:?} and {:?} are left", self.flushes))),
        }
    }

    /// What holds at every moment.
    pub(super) fn check_now(&mut self) {
        let config = &self.plan.config;
        // Batches that are split or compressed are there twice for a moment, and what a piece has is rounded up.
        let pieces = if self.has_split { config.buffer_memory } else { 0 };
        let most = config.buffer_memory + pieces + 4 * config.max_request_size + 4_096;
        let latest = config.delivery_timeout + config.linger + ms(1_000) + self.slept;
        let used = self.hands.accumulator.memory.used();
        let held = self.hands.accumulator.held();
        if used != held {
            self.fail(violation("I7", format!("{used} bytes of memory are in use, and partitions hold {held}")));
        }
        if used > most {
            let what = format!("{used} bytes of memory are in use, of {}", self.plan.config.buffer_memory);
            self.fail(violation("I7", what));
        }
        let now = self.hands.clock.elapsed();
        if self.hands.held_takes.is_none()
            && let Some((number, accepted_at)) = self.ledger.oldest_open()
            && now > accepted_at + latest
        {
            self.fail(violation("I8", format!("record {number} has no outcome after {:?}", now - accepted_at)));
        }
    }
}
