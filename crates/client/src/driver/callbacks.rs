//! Runs users' callbacks one after the other on a thread of their own. A slow callback delays no socket, and a callback
//! that panics stops no other.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use super::clock::SystemClock;
use kurier_engine::accumulator::Clock;
use kurier_engine::closing::Uncalled;
use kurier_engine::delivery::{Calls, Runner};
use kurier_engine::sync::{Condvar, Mutex, MutexGuard, thread};

/// Queue of callbacks, with a thread that starts with the first callback. After the producer is dropped, the thread
/// ends with the last callback.
#[derive(Debug, Default)]
pub(crate) struct Callbacks(Arc<Queue>);

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Callbacks by batch. Those of the first batch may be running.
    calls: VecDeque<Arc<Calls>>,
    is_running: bool,
    is_over: bool,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.state();
        loop {
            if let Some(calls) = state.calls.front().cloned() {
                drop(state);
                let call = |callback: kurier_engine::delivery::Callback, result| {
                    if catch_unwind(AssertUnwindSafe(|| callback(result))).is_err() {
                        tracing::error!("a callback panicked; its record's outcome stands");
                    }
                };
                while calls.call_next(call) {}
                let mut locked = self.state();
                // Only this thread removes calls.
                let done = locked.calls.pop_front();
                if locked.calls.is_empty() {
                    self.changed.notify_all();
                }
                drop(locked);
                // `calls` and `done` may hold the last reference to `Callbacks`, whose drop takes the lock.
                drop((calls, done));
                state = self.state();
            } else if state.is_over {
                return;
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Blocks until all callbacks have returned, up to `deadline`.
    fn wait(&self, deadline: Instant) {
        let mut state = self.state();
        while !state.calls.is_empty() {
            let rest = deadline.saturating_duration_since(SystemClock.now());
            if rest.is_zero() {
                return;
            }
            state = self.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("batches", &self.state().calls.len()).finish()
    }
}

impl Callbacks {
    /// Waits until all callbacks have returned, up to `deadline`, and returns the results of those that have not.
    pub(crate) async fn finish(&self, deadline: Instant) -> Vec<Uncalled> {
        let is_done = {
            let mut state = self.0.state();
            self.start(&mut state);
            state.calls.is_empty() || !state.is_running
        };
        if !is_done && deadline > SystemClock.now() {
            // Wait on a thread: a callback may never return, and the driver's timers have stopped by now.
            let (told, done) = oneshot::channel();
            let queue = Arc::clone(&self.0);
            let waits = move || {
                queue.wait(deadline);
                let _ = told.send(());
            };
            // If no thread starts, do not wait.
            if thread::Builder::new().name("kurier-close".to_owned()).spawn(waits).is_ok() {
                let _ = done.await;
            }
        }
        self.uncalled()
    }

    /// Returns the results of all callbacks that have not returned, in their order.
    fn uncalled(&self) -> Vec<Uncalled> {
        let calls: Vec<Arc<Calls>> = self.0.state().calls.iter().cloned().collect();
        calls.iter().flat_map(|calls| calls.uncalled()).collect()
    }

    /// Starts the thread if callbacks are queued and it is not running.
    fn start(&self, state: &mut State) {
        if state.is_running || state.calls.is_empty() {
            return;
        }
        let queue = Arc::clone(&self.0);
        match thread::Builder::new().name("kurier-callbacks".to_owned()).spawn(move || queue.work()) {
            Ok(_) => state.is_running = true,
            Err(error) => {
                tracing::error!(%error, "could not start the thread for callbacks; retrying with the next one")
            }
        }
    }
}

impl Runner for Callbacks {
    fn run(&self, calls: Calls) {
        let mut state = self.0.state();
        state.calls.push_back(Arc::new(calls));
        self.start(&mut state);
        drop(state);
        self.0.changed.notify_all();
    }
}

impl Drop for Callbacks {
    fn drop(&mut self) {
        self.0.state().is_over = true;
        self.0.changed.notify_all();
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use kurier_protocol::PartitionIndex;

    use super::*;
    use kurier_engine::delivery::{Cell, Outcome};
    use kurier_engine::error::{Error, ErrorKind};

    /// A thread that dropped the last reference under its own lock would deadlock: one leaked thread per producer.
    #[test]
    fn thread_ends_when_a_callback_holds_the_last_reference() {
        let callbacks = Arc::new(Callbacks::default());
        let queue = Arc::clone(&callbacks.0);
        // The test runs the thread's loop itself.
        queue.state().is_running = true;
        let cell = Arc::new(Cell::new("t".into(), PartitionIndex(0), Arc::clone(&callbacks) as Arc<dyn Runner>));
        cell.add_callback(0, 0, Box::new(drop));
        cell.resolve(0..1, Outcome::Failed(Error::new(ErrorKind::Closed, "closed")));
        drop((cell, callbacks));
        let (told, ended) = mpsc::channel();
        thread::spawn(move || {
            queue.work();
            told.send(())
        });
        ended.recv_timeout(Duration::from_secs(30)).expect("the loop ends with its last callback");
    }
}
