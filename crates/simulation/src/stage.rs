//! The parts that fuzz targets of the core share: a run of steps, the time, and the checks at the end.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use kurier_partitioner::Choice;
use kurier_protocol::record_batch::NewRecord;

use super::script::Script;
use kurier_engine::accumulator::{Placed, Signal};
use kurier_engine::config::Config;
use kurier_engine::core::{ConnectionId, Ending, Input};
use kurier_engine::delivery::{Delivery, NoCallbacks};
use kurier_engine::test_driver::TestDriver;

/// The topic of all records.
pub(super) const TOPIC: &str = "t";

/// The core, the script that decides what happens to it, and the records that it accepted.
pub(super) struct Stage<'a> {
    pub(super) script: Script<'a>,
    pub(super) driver: TestDriver,
    deliveries: Vec<Delivery>,
    wake_ups: usize,
}

impl<'a> Stage<'a> {
    /// Starts the core, which looks for the topic. Returns `None` if the settings conflict.
    pub(super) fn new(script: Script<'a>, config: Config) -> Option<Self> {
        let mut driver = TestDriver::new(Arc::new(config.check().ok()?), Arc::new(NoCallbacks)).ok()?;
        driver.handle(Input::Signal(Signal::Wanted { topic: TOPIC.into(), partitions: 0 }));
        Some(Self { script, driver, deliveries: Vec::new(), wake_ups: 0 })
    }

    /// Sends a record to the partition that the script chooses, once the topic is known.
    pub(super) fn send(&mut self, value: &[u8], partition: impl FnOnce(&mut Script<'a>) -> i32) {
        let accumulator = &self.driver.accumulator;
        let Some(topic) = accumulator.topic(TOPIC) else { return };
        let record = NewRecord { timestamp: 1, value: Some(value), ..Default::default() };
        let choice = Choice::Partition(partition(&mut self.script));
        let mut placed = Placed::new(choice, record);
        self.deliveries.extend(accumulator.append(&topic, &mut placed, &mut Delivery::new).ok());
    }
}

/// A fuzz target of the core: the peers of a [`Stage`].
pub(super) trait Play<'a>: Sized {
    /// Limits of a run.
    const STEPS_MAX: usize;
    const WAKE_UPS_MAX: usize;

    fn stage(&mut self) -> &mut Stage<'a>;

    /// Performs the actions of the core.
    fn turn(&mut self);

    /// Does what the script says next.
    fn step(&mut self);

    /// Forgets all connections, and returns them.
    fn cut_all(&mut self) -> Vec<ConnectionId>;

    /// Runs the script.
    ///
    /// # Panics
    /// If a record has no outcome in the end, or memory is not free again.
    fn run(mut self) {
        for _ in 0..Self::STEPS_MAX {
            if self.stage().script.is_over() {
                break;
            }
            self.turn();
            self.step();
        }
        for input in [Input::Hurry, Input::Abandon] {
            self.turn();
            self.stage().driver.handle(input);
        }
        self.turn();
        for connection in self.cut_all() {
            let ending = Ending::Failed("the end".into());
            self.stage().driver.handle(Input::Disconnected { connection, ending });
        }
        self.turn();
        let Stage { driver, deliveries, .. } = self.stage();
        let mut context = Context::from_waker(Waker::noop());
        for mut delivery in deliveries.drain(..) {
            assert!(Pin::new(&mut delivery).poll(&mut context).is_ready(), "a record without an outcome");
        }
        assert_eq!(driver.accumulator.memory.used(), 0, "memory is not free again");
    }

    /// Advances the time by as many units as the script says, in the steps that the core wants, up to a limit of steps.
    fn wait(&mut self, units: fn(u64) -> Duration) {
        let stage = self.stage();
        let end = stage.driver.now() + units(stage.script.byte().into());
        loop {
            let stage = self.stage();
            let now = stage.driver.now();
            if stage.wake_ups >= Self::WAKE_UPS_MAX || now >= end {
                break;
            }
            stage.wake_ups += 1;
            let next = stage.driver.core.next_timeout(now).filter(|at| *at < end).unwrap_or(end);
            stage.driver.clock.set(next.max(now + Duration::from_micros(1)).min(end));
            self.turn();
        }
        self.stage().driver.clock.set(end);
    }
}
