//! Pool of threads that compress batches.
//!
//! The producer owns the threads. The blocking pool of a user's runtime may be busy or have no threads at all, and
//! tokio panics if the system refuses one.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::thread::available_parallelism;

use kurier_engine::sync::{Condvar, Mutex, MutexGuard, thread};

/// Work for a thread.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// Threads that start on demand, up to a limit, and end when this is dropped.
pub(super) struct Workers {
    queue: Arc<Queue>,
    threads_max: usize,
    /// Starts a thread. Tests make it fail.
    start: fn(Job) -> io::Result<()>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    is_over: bool,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.state();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                if catch_unwind(AssertUnwindSafe(job)).is_err() {
                    tracing::error!("a job panicked on a thread that compresses");
                }
                state = self.state();
            } else if state.is_over {
                return;
            } else {
                state.idle += 1;
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }
}

impl Workers {
    /// Allows one thread per processor.
    pub(super) fn new() -> Self {
        Self::with(available_parallelism().map_or(1, usize::from), start_thread)
    }

    fn with(threads_max: usize, start: fn(Job) -> io::Result<()>) -> Self {
        Self { queue: Arc::default(), threads_max, start }
    }

    /// Workers in a process that cannot start threads.
    #[cfg(test)]
    pub(super) fn without_threads() -> Self {
        Self::with(1, |_| Err(io::ErrorKind::WouldBlock.into()))
    }

    /// Runs a job on a thread, or returns it if there is no thread and none starts.
    pub(super) fn run(&self, job: Job) -> Result<(), Job> {
        let mut state = self.queue.state();
        state.jobs.push_back(job);
        if state.idle < state.jobs.len() && state.threads < self.threads_max {
            let queue = Arc::clone(&self.queue);
            match (self.start)(Box::new(move || queue.work())) {
                Ok(()) => state.threads += 1,
                // The existing threads run the job later.
                Err(_) if state.threads > 0 => {}
                Err(error) => {
                    tracing::warn!(%error, "could not start a thread for compression; batches are compressed in place");
                    return state.jobs.pop_back().map_or(Ok(()), Err);
                }
            }
        }
        drop(state);
        self.queue.changed.notify_one();
        Ok(())
    }
}

fn start_thread(work: Job) -> io::Result<()> {
    thread::Builder::new().name("kurier-compress".to_owned()).spawn(work).map(drop)
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.queue.state().is_over = true;
        self.queue.changed.notify_all();
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("threads_max", &self.threads_max).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn jobs_run_on_few_threads_and_survive_a_panic() {
        let workers = Workers::with(2, start_thread);
        let (ran, heard) = mpsc::channel();
        for number in 0..50 {
            let ran = ran.clone();
            let job = move || {
                assert_ne!(number, 7, "one that panics");
                ran.send(number).unwrap();
            };
            assert!(workers.run(Box::new(job)).is_ok());
        }
        drop(ran);
        let mut numbers: Vec<i32> = heard.iter().collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..50).filter(|number| *number != 7).collect::<Vec<_>>());
        assert!(workers.queue.state().threads <= 2);
    }

    #[test]
    fn job_is_returned_if_no_thread_starts() {
        assert!(Workers::without_threads().run(Box::new(|| {})).is_err());
    }
}
