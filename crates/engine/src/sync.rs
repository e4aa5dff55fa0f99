//! Synchronization primitives: std's, or in model tests shuttle's, whose checker decides at each of them which thread
//! runs next (`models`, `make models`).

#[cfg(not(shuttle))]
pub use std::{
    sync::{Condvar, Mutex, MutexGuard, OnceLock, atomic},
    thread, thread_local,
};

#[cfg(shuttle)]
pub use shuttle::{
    sync::{Condvar, Mutex, MutexGuard, atomic},
    thread, thread_local,
};

#[cfg(shuttle)]
pub use once_lock::OnceLock;

#[cfg(shuttle)]
mod once_lock {
    use super::atomic::{AtomicBool, Ordering};

    /// std's, for which shuttle has no counterpart. Each access uses an atomic first, so that the checker can let other
    /// threads run there.
    #[derive(Debug)]
    pub struct OnceLock<T> {
        value: std::sync::OnceLock<T>,
        turn: AtomicBool,
    }

    impl<T> Default for OnceLock<T> {
        fn default() -> Self {
            Self { value: std::sync::OnceLock::new(), turn: AtomicBool::new(false) }
        }
    }

    impl<T> OnceLock<T> {
        #[allow(missing_docs, reason = "as in std")]
        pub fn get(&self) -> Option<&T> {
            self.turn.load(Ordering::Acquire);
            self.value.get()
        }

        #[allow(missing_docs, reason = "as in std")]
        pub fn set(&self, value: T) -> Result<(), T> {
            self.turn.store(true, Ordering::Release);
            self.value.set(value)
        }

        /// `init` must not use anything of this module, since the checker cannot see that others wait for its end.
        pub fn get_or_init(&self, init: impl FnOnce() -> T) -> &T {
            self.turn.store(true, Ordering::Release);
            self.value.get_or_init(init)
        }
    }
}
