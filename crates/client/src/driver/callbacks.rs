//! Runs users' callbacks, one after the other, on a thread of their own: what they do there keeps no socket waiting, and
//! one that panics ends itself alone.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};

use tokio::sync::oneshot;

use crate::delivery::{Calls, Runner};
use crate::sync::{Condvar, Mutex, MutexGuard, thread};

/// The line of callbacks. Its thread begins with the first of them, and ends after the last when the producer is gone.
#[derive(Debug, Default)]
pub(crate) struct Callbacks(Arc<Line>);

#[derive(Default)]
struct Line {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    calls: VecDeque<Next>,
    is_running: bool,
    is_over: bool,
}

/// What comes next in the line.
enum Next {
    Call(Calls),
    /// Somebody who waits for those before it.
    Tell(oneshot::Sender<()>),
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.state();
        loop {
            if let Some(next) = state.calls.pop_front() {
                drop(state);
                match next {
                    Next::Call(calls) => calls.call_each(|callback, result| {
                        if catch_unwind(AssertUnwindSafe(|| callback(result))).is_err() {
                            tracing::error!("a callback panicked; its record's outcome stands");
                        }
                    }),
                    Next::Tell(told) => drop(told.send(())),
                }
                state = self.state();
            } else if state.is_over {
                return;
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("calls", &self.state().calls.len()).finish()
    }
}

impl Callbacks {
    /// Tells when all callbacks so far have run.
    pub(crate) fn tell_when_done(&self, told: oneshot::Sender<()>) {
        let mut state = self.0.state();
        if state.is_running {
            state.calls.push_back(Next::Tell(told));
            self.0.changed.notify_all();
            return;
        }
        // This wakes a task, whose waker is the user's: not under the lock.
        drop(state);
        let _ = told.send(());
    }
}

impl Runner for Callbacks {
    fn run(&self, calls: Calls) {
        let mut state = self.0.state();
        state.calls.push_back(Next::Call(calls));
        if !state.is_running {
            let line = Arc::clone(&self.0);
            let spawned = thread::Builder::new().name("kurier-callbacks".to_owned()).spawn(move || line.work());
            match spawned {
                Ok(_) => state.is_running = true,
                Err(error) => {
                    tracing::error!(%error, "no thread for callbacks is to be had; they wait for the next try")
                }
            }
        }
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

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::{Context, Wake, Waker};

    use super::*;

    /// Looks at the lock when it is woken.
    struct Looks(Arc<Line>);

    impl Wake for Looks {
        fn wake(self: Arc<Self>) {
            assert!(self.0.state.try_lock().is_ok(), "the lock is held");
        }
    }

    #[test]
    fn task_that_waits_for_callbacks_is_woken_outside_the_lock() {
        let callbacks = Callbacks::default();
        let (told, done) = oneshot::channel();
        let mut done = std::pin::pin!(done);
        let waker = Waker::from(Arc::new(Looks(Arc::clone(&callbacks.0))));
        assert!(done.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        callbacks.tell_when_done(told);
        assert!(done.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    }
}
