//! The real producer on threads that a checker interleaves: at every lock, atomic, wake-up and start or end of a thread,
//! [shuttle](https://docs.rs/shuttle) decides who runs next, by a seed. What the simulation, on one thread, cannot see.
//!
//! ```text
//!   senders' threads ─▶ Producer ─▶ Accumulator ◀─ Driver, Core ─ frames ─▶ connection ─▶ kurier_broker::Cluster
//!                       (real)        (real)         (real)                 (a thread, no socket)
//! ```
//!
//! No time passes in a model: nothing lingers, expires or is tried again later. So whatever is not told to whom it
//! concerns stands still for ever, and the checker calls that a deadlock. What a model asserts besides is in the model.
//!
//! Memory is sequentially consistent here: shuttle does not know of weaker orders. `make models` runs this.

mod accumulator;
mod cell;
pub(crate) mod connection;
mod memory;
mod producer;

use std::mem::ManuallyDrop;
use std::time::{Duration, Instant};

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};

/// Runs a model under so many schedules: half of them drawn at random at each step, half with few changes of who has
/// priority (PCT), which finds what needs a certain order of few steps in a long run.
///
/// `MODELS_SEED` is the seed, `MODELS_FACTOR` multiplies how many there are. A failure prints its schedule, and comes
/// again by the same seed.
#[expect(clippy::print_stdout, reason = "a person reads it")]
fn explore(name: &str, schedules: usize, model: fn()) {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().expect("a number in the environment"))
    };
    let seed = number("MODELS_SEED", 0);
    let each = schedules * usize::try_from(number("MODELS_FACTOR", 1)).unwrap() / 2;
    // Where the driver finds its timers, which never ring, for nobody runs this. A failure leaves some in it that must
    // not be woken after all.
    let runtime = ManuallyDrop::new(tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap());
    let _entered = runtime.enter();
    let started = now();
    let mut executions = run(RandomScheduler::new_from_seed(seed, each), model);
    for depth in [2, 4] {
        executions += run(PctScheduler::new_from_seed(seed, depth, each / 2), model);
    }
    println!("{executions:>7} executions in {:>4.1} s: {name}", started.elapsed().as_secs_f64());
}

fn run(scheduler: impl Scheduler + 'static, model: fn()) -> usize {
    let mut config = Config::new();
    config.stack_size = 256 * 1024;
    // That orders weaker than SeqCst are taken for it is said above.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(model)
}

#[expect(clippy::disallowed_methods, reason = "any instant will do")]
fn now() -> Instant {
    Instant::now()
}

/// When nobody waits any more.
fn far() -> Instant {
    now() + Duration::from_secs(24 * 3600)
}
