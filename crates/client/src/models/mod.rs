//! Model tests of the real producer under a checker that interleaves its threads. At every lock, atomic, wake-up,
//! thread start and thread end, a seed makes [shuttle](https://docs.rs/shuttle) choose the thread that runs next. This
//! finds races that the single-threaded simulation cannot.
//!
//! ```text
//!   senders' threads ─▶ Producer ─▶ Accumulator ◀─ Driver, Core ─ frames ─▶ connection ─▶ kurier_broker::Cluster
//!                       (real)        (real)         (real)                 (a thread, no socket)
//! ```
//!
//! No time passes in a model: no batch lingers, expires or is retried later. A missed notification therefore blocks
//! forever, and the checker reports a deadlock. Further assertions are in each model.
//!
//! Memory is sequentially consistent here, because shuttle does not model weaker orders. `make models` runs this.

mod accumulator;
mod cell;
pub(crate) mod connection;
mod memory;
mod producer;

use std::mem::ManuallyDrop;
use std::time::{Duration, Instant};

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};

/// Runs a model under this many schedules. Half are random at each step. The others change thread priorities rarely
/// (PCT), which finds bugs that need a certain order of a few steps in a long run.
///
/// `MODELS_SEED` sets the seed, `MODELS_FACTOR` multiplies the number of schedules. A failure prints its schedule; the
/// same seed reproduces it.
#[expect(clippy::print_stdout, reason = "a person reads it")]
fn explore(name: &str, schedules: usize, model: fn()) {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().expect("a number in the environment"))
    };
    let seed = number("MODELS_SEED", 0);
    let each = schedules * usize::try_from(number("MODELS_FACTOR", 1)).unwrap() / 2;
    // The driver needs a runtime for its timers. The timers never fire, because nothing runs this runtime. It is not
    // dropped: after a failure it may hold timers that must not be woken.
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
    // Silences shuttle's warning that weaker orders count as SeqCst; see the module doc.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(model)
}

#[expect(clippy::disallowed_methods, reason = "any instant will do")]
fn now() -> Instant {
    Instant::now()
}

/// A deadline that no model reaches.
fn far() -> Instant {
    now() + Duration::from_secs(24 * 3600)
}
