//! Synchronization primitives: std's, or in model tests shuttle's, whose checker decides at each of them which thread
//! runs next (`models`, `make models`).

#[cfg(not(shuttle))]
pub use std::{
    sync::{Condvar, Mutex, MutexGuard, atomic},
    thread,
};

#[cfg(shuttle)]
pub use shuttle::{
    sync::{Condvar, Mutex, MutexGuard, atomic},
    thread,
};
