//! Accounting of `buffer.memory`, with fair queues of senders that wait for some.
//!
//! A permit belongs to a segment of a batch. It returns when the last reference to the segment is dropped: after a
//! response, after expiry, or when a socket has released it. A partition may hold at most its share, so that a
//! partition without a leader cannot take all memory. A partition that holds nothing may exceed its share for one
//! record.
//!
//! The share is twice the free memory, times the fraction of all memory that is free. So it falls faster than the free
//! memory does. Many stuck partitions block one another before they block the rest, and the accounting need not know
//! which leader they have in common:
//!
//! | partitions that are stuck | 1 | 4 | 12 | 32 | 96 |
//! |---|---|---|---|---|---|
//! | leave of all memory | 50 % | 30 % | 18 % | 12 % | 7 % |
//! | would leave, were it twice what is free | 33 % | 11 % | 4 % | 1.5 % | 0.5 % |
//!
//! A sender that finds no room waits. Senders of one partition are served in order of arrival, and partitions take
//! turns. The thread that frees memory hands the permit directly to a waiter, so no other sender can overtake. If the
//! waiter is gone by then, the next one gets the permit.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::error::Error;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// The accounted memory of a producer.
#[derive(Debug)]
pub struct Memory {
    total: usize,
    used: AtomicUsize,
    /// Whether a sender waits. Read whenever a permit is returned.
    has_waiters: AtomicBool,
    /// Whether a sender waits because too little memory is free. Read whenever a permit is taken. A sender that waits
    /// only for its own partition's share does not set this, so it does not block other partitions.
    is_contended: AtomicBool,
    queues: Mutex<Queues>,
}

/// The bytes of memory that a partition holds, and the number of its waiting senders.
#[derive(Debug, Default)]
pub struct Load {
    bytes: AtomicUsize,
    waiters: AtomicUsize,
}

impl Load {
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Returns whether the partition holds memory, or a sender waits for some.
    pub fn is_used(&self) -> bool {
        // Read the waiters first, because a waiter leaves only after its memory is counted.
        self.waiters.load(Ordering::Acquire) > 0 || self.bytes() > 0
    }

    /// Counts bytes as free while they are in use. Only a mutant calls this.
    pub fn forget(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The waiting senders of each partition, and the partitions in round-robin order.
#[derive(Debug, Default)]
struct Queues {
    turns: VecDeque<u32>,
    waiters: HashMap<u32, VecDeque<Place>>,
}

/// Why memory was not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// Too little memory is free.
    Lack,
    /// The partition would exceed its share.
    Share,
}

/// A number of bytes of memory, freed on drop.
pub struct Permit {
    memory: Arc<Memory>,
    load: Arc<Load>,
    bytes: usize,
    /// Whether another partition held these bytes before. Then dropping this permit also serves the senders that wait
    /// for the other partition's share.
    was_passed: bool,
}

impl Memory {
    pub fn new(total: usize) -> Arc<Self> {
        Arc::new(Self {
            total,
            used: AtomicUsize::new(0),
            has_waiters: AtomicBool::new(false),
            is_contended: AtomicBool::new(false),
            queues: Mutex::default(),
        })
    }

    pub fn total(&self) -> usize {
        self.total
    }

    /// Returns the memory in use. It exceeds the total only by the rounding of a single record.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes memory for a partition, if enough is free. Fails if a sender waits because too little is free, or waits
    /// for the same partition.
    pub fn try_acquire(self: &Arc<Self>, load: &Arc<Load>, bytes: usize) -> Option<Permit> {
        if self.is_contended.load(Ordering::Acquire) || load.waiters.load(Ordering::Acquire) > 0 {
            return None;
        }
        self.grant(load, bytes).ok()
    }

    /// Takes memory, if enough is free and the partition's share allows it.
    fn grant(self: &Arc<Self>, load: &Arc<Load>, bytes: usize) -> Result<Permit, Refusal> {
        // SeqCst, because a sender may wait for this share: see `acquire`.
        let held = load.bytes.load(Ordering::SeqCst);
        // While no memory is in use, any record fits: rounding may make its segments larger than the total.
        let is_there = |used: usize| bytes <= self.total.saturating_sub(used) || used == 0;
        let fits = |used: usize| {
            let free = self.total.saturating_sub(used);
            let is_fair = held == 0 || held + bytes <= self.share(free.saturating_sub(bytes));
            (is_there(used) && is_fair).then(|| used + bytes)
        };
        let refusal = |used: usize| if is_there(used) { Refusal::Share } else { Refusal::Lack };
        self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).map_err(refusal)?;
        load.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(Permit::new(self, load, bytes))
    }

    /// Returns how much a partition may hold while `free` bytes are free.
    fn share(&self, free: usize) -> usize {
        // The square of a large `buffer.memory` needs 128 bits.
        let (free, total) = (free as u128, self.total as u128);
        let half = (free * free).checked_div(total).unwrap_or(0);
        usize::try_from(half).unwrap_or(usize::MAX).saturating_mul(2)
    }

    /// Takes memory, even above the total.
    pub fn take(self: &Arc<Self>, load: &Arc<Load>, bytes: usize) -> Permit {
        self.used.fetch_add(bytes, Ordering::AcqRel);
        load.bytes.fetch_add(bytes, Ordering::Relaxed);
        Permit::new(self, load, bytes)
    }

    /// Waits for memory for a partition, until `deadline`.
    pub fn acquire(self: &Arc<Self>, partition: u32, load: &Arc<Load>, bytes: usize, deadline: Instant) -> Acquire {
        let waiter =
            Arc::new(Waiter { load: Arc::clone(load), bytes, deadline, state: Mutex::new(WaiterState::Waiting(None)) });
        let mut queues = self.queues();
        let Queues { turns, waiters } = &mut *queues;
        let queue = waiters.entry(partition).or_insert_with(|| {
            turns.push_back(partition);
            VecDeque::new()
        });
        queue.push_back(Place::new(&waiter));
        // A waiter sets the flag and then looks for free memory and share. A thread that frees memory or share does so
        // and then reads the flag. All of these are SeqCst, so at least one of the two sees the other.
        self.has_waiters.store(true, Ordering::SeqCst);
        drop(queues);
        // Memory may have become free before this sender was queued.
        self.serve();
        Acquire { waiter, partition, memory: Arc::clone(self) }
    }

    /// Removes a waiter that stopped waiting from its queue. `serve` removes empty queues.
    fn leave(&self, partition: u32, gone: &Arc<Waiter>) {
        if let Some(queue) = self.queues().waiters.get_mut(&partition)
            && let Some(at) = queue.iter().position(|place| Arc::ptr_eq(&place.0, gone))
        {
            queue.remove(at);
        }
    }

    /// Gives free memory to waiting senders.
    fn serve(self: &Arc<Self>) {
        let mut woken = Vec::new();
        let mut queues = self.queues();
        // After one turn of all partitions without success, no waiter can be served.
        let mut refused_in_turn = 0;
        let mut is_lacking = false;
        while refused_in_turn < queues.turns.len() {
            let Some(partition) = queues.turns.pop_front() else { break };
            let Some(queue) = queues.waiters.get_mut(&partition) else { continue };
            while queue.front().is_some_and(|place| place.0.is_gone()) {
                queue.pop_front();
            }
            if let Some(place) = queue.pop_front() {
                match self.grant(&place.0.load, place.0.bytes) {
                    Ok(permit) => {
                        woken.push((Arc::clone(&place.0), permit));
                        (refused_in_turn, is_lacking) = (0, false);
                    }
                    Err(refusal) => {
                        queue.push_front(place);
                        refused_in_turn += 1;
                        is_lacking |= refusal == Refusal::Lack;
                    }
                }
            }
            if queue.is_empty() {
                queues.waiters.remove(&partition);
            } else {
                queues.turns.push_back(partition);
            }
        }
        self.has_waiters.store(!queues.turns.is_empty(), Ordering::SeqCst);
        self.is_contended.store(is_lacking, Ordering::Release);
        drop(queues);
        for (waiter, permit) in woken {
            waiter.resolve(WaiterState::Granted(permit));
        }
    }

    /// Fails the senders whose deadline is not after `until`, or all senders if that is `None`, with an error from
    /// `error`.
    pub fn turn_away(self: &Arc<Self>, until: Option<Instant>, error: impl Fn() -> Error) {
        if !self.has_waiters.load(Ordering::Acquire) {
            return;
        }
        let mut turned_away = Vec::new();
        for queue in self.queues().waiters.values_mut() {
            queue.retain(|Place(waiter)| {
                let is_over = until.is_none_or(|now| waiter.deadline <= now);
                if is_over {
                    turned_away.push(Arc::clone(waiter));
                }
                !is_over
            });
        }
        for waiter in turned_away {
            waiter.resolve(WaiterState::TurnedAway(error()));
        }
        self.serve();
    }

    /// Returns the earliest deadline of a waiting sender.
    pub fn next_deadline(&self) -> Option<Instant> {
        if !self.has_waiters.load(Ordering::Acquire) {
            return None;
        }
        self.queues().waiters.values().flatten().map(|place| place.0.deadline).min()
    }

    /// Returns whether a sender waits because too little memory is free.
    pub fn is_contended(&self) -> bool {
        self.is_contended.load(Ordering::Acquire)
    }
}

impl Permit {
    fn new(memory: &Arc<Memory>, load: &Arc<Load>, bytes: usize) -> Self {
        Self { memory: Arc::clone(memory), load: Arc::clone(load), bytes, was_passed: false }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Splits off a permit for up to `bytes` bytes.
    pub fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self::new(&self.memory, &self.load, bytes)
    }

    /// Moves the permit to another partition, which lowers the load of the first. The caller may hold a lock, so
    /// senders that wait for the first partition's share are woken only when the permit is dropped, even if it has no
    /// bytes left.
    pub fn pass_to(&mut self, load: &Arc<Load>) {
        if !Arc::ptr_eq(&self.load, load) {
            load.bytes.fetch_add(self.bytes, Ordering::Relaxed);
            self.load.bytes.fetch_sub(self.bytes, Ordering::SeqCst);
            self.load = Arc::clone(load);
            self.was_passed = true;
        }
    }

    /// Adds the bytes of another permit for the same partition.
    pub fn join(&mut self, mut other: Self) {
        self.was_passed |= std::mem::take(&mut other.was_passed);
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.bytes == 0 && !self.was_passed {
            return;
        }
        self.load.bytes.fetch_sub(self.bytes, Ordering::SeqCst);
        self.memory.used.fetch_sub(self.bytes, Ordering::SeqCst);
        if self.memory.has_waiters.load(Ordering::SeqCst) {
            self.memory.serve();
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permit({} bytes)", self.bytes)
    }
}

#[derive(Debug)]
struct Waiter {
    load: Arc<Load>,
    bytes: usize,
    deadline: Instant,
    state: Mutex<WaiterState>,
}

/// A waiter's position in its queue. While it exists, no other sender takes memory for the partition.
#[derive(Debug)]
struct Place(Arc<Waiter>);

impl Place {
    fn new(waiter: &Arc<Waiter>) -> Self {
        waiter.load.waiters.fetch_add(1, Ordering::Release);
        Self(Arc::clone(waiter))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.load.waiters.fetch_sub(1, Ordering::Release);
    }
}

#[derive(Debug)]
enum WaiterState {
    Waiting(Option<Waker>),
    Granted(Permit),
    TurnedAway(Error),
    /// The waiter has its result, or has stopped waiting.
    Over,
}

impl Waiter {
    fn state(&self) -> MutexGuard<'_, WaiterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_gone(&self) -> bool {
        matches!(*self.state(), WaiterState::Over)
    }

    fn resolve(&self, to: WaiterState) {
        let mut state = self.state();
        if let WaiterState::Waiting(waker) = &mut *state {
            let waker = waker.take();
            *state = to;
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        } else {
            // The waiter has stopped waiting. Dropping its permit, outside the lock, frees the memory.
            drop(state);
            drop(to);
        }
    }
}

/// A wait for memory. Dropping it leaves the queue.
#[derive(Debug)]
pub struct Acquire {
    waiter: Arc<Waiter>,
    partition: u32,
    memory: Arc<Memory>,
}

impl Future for Acquire {
    type Output = Result<Permit, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // A waker runs user code, so it is cloned and dropped outside the lock.
        let waker = cx.waker().clone();
        let mut state = self.waiter.state();
        let before = match &mut *state {
            WaiterState::Waiting(known) => WaiterState::Waiting(known.replace(waker)),
            state => std::mem::replace(state, WaiterState::Over),
        };
        drop(state);
        match before {
            WaiterState::Granted(permit) => Poll::Ready(Ok(permit)),
            WaiterState::TurnedAway(error) => Poll::Ready(Err(error)),
            WaiterState::Waiting(_) | WaiterState::Over => Poll::Pending,
        }
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        let before = std::mem::replace(&mut *self.waiter.state(), WaiterState::Over);
        let was_waiting = matches!(before, WaiterState::Waiting(_));
        // A permit that was granted too late goes to the next waiter.
        drop(before);
        if was_waiting {
            self.memory.leave(self.partition, &self.waiter);
            self.memory.serve();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::ErrorKind;

    fn load() -> Arc<Load> {
        Arc::new(Load::default())
    }

    fn poll(acquire: &mut Acquire) -> Poll<Result<Permit, Error>> {
        Pin::new(acquire).poll(&mut Context::from_waker(Waker::noop()))
    }

    fn far() -> Instant {
        near() + Duration::from_secs(3600)
    }

    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn near() -> Instant {
        Instant::now()
    }

    #[test]
    fn one_partition_leaves_half() {
        let memory = Memory::new(900);
        let (greedy, other) = (load(), load());
        let mut held = Vec::new();
        while let Some(permit) = memory.try_acquire(&greedy, 100) {
            held.push(permit);
        }
        assert_eq!(held.len(), 4, "half is left for others");
        assert!(memory.try_acquire(&other, 450).is_some());
        drop(held);
        assert_eq!((memory.used(), greedy.bytes()), (0, 0));
    }

    #[test]
    fn many_stuck_partitions_leave_room_for_others() {
        // The 1 % below the formula is the size of a segment: partitions stop that much short of their shares.
        for (stuck, left_percent) in [(1, 50), (4, 29), (12, 18), (32, 11), (96, 6), (333, 3)] {
            let memory = Memory::new(32 << 20);
            let partitions: Vec<Arc<Load>> = (0..stuck).map(|_| load()).collect();
            let mut held = Vec::new();
            loop {
                let before = held.len();
                held.extend(partitions.iter().filter_map(|partition| memory.try_acquire(partition, 1 << 10)));
                if held.len() == before {
                    break;
                }
            }
            let left = memory.total() - memory.used();
            assert!(left * 100 / memory.total() >= left_percent, "{stuck} partitions leave {left} bytes");
            // A partition that comes later gets at least a third of what each of the first ones holds.
            let other = load();
            let taken: Vec<Permit> = std::iter::from_fn(|| memory.try_acquire(&other, 1 << 10)).collect();
            assert!(other.bytes() >= partitions[0].bytes() / 3, "beside {stuck}: {taken:?}");
        }
    }

    #[test]
    fn share_is_computed_for_any_total() {
        for total in [0, 1, 100, 1 << 40, usize::MAX] {
            let memory = Memory::new(total);
            assert_eq!((memory.share(0), memory.share(total)), (0, total.saturating_mul(2)));
            assert!(memory.share(total / 2).abs_diff(total / 2) <= 2, "half of {total}");
        }
    }

    #[test]
    fn waiter_for_share_is_served_when_memory_moves_to_another_partition() {
        let memory = Memory::new(900);
        let (greedy, other) = (load(), load());
        let mut held: Vec<Permit> = std::iter::from_fn(|| memory.try_acquire(&greedy, 100)).collect();
        let mut waiting = memory.acquire(1, &greedy, 60, far());
        let mut last = memory.acquire(1, &greedy, 10, far());
        assert!(poll(&mut waiting).is_pending());
        let mut passed = held.pop().unwrap();
        passed.pass_to(&other);
        let all = passed.split(100);
        assert!(poll(&mut waiting).is_pending(), "nobody is woken where a lock may be held");
        drop(passed);
        assert!(poll(&mut waiting).is_ready() && poll(&mut last).is_ready());
        assert_eq!(other.bytes(), 100);
        drop(all);
    }

    #[test]
    fn any_record_fits_into_unused_memory() {
        let memory = Memory::new(1000);
        let partition = load();
        let permit = memory.try_acquire(&partition, 1024).expect("rounding is no reason");
        assert!(memory.try_acquire(&load(), 1).is_none());
        drop(permit);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn waiters_are_served_in_turn() {
        let memory = Memory::new(100);
        let (a, b) = (load(), load());
        let all = memory.try_acquire(&load(), 100).unwrap();
        let mut waiting =
            [memory.acquire(1, &a, 60, far()), memory.acquire(1, &a, 10, far()), memory.acquire(2, &b, 60, far())];
        assert!(waiting.iter_mut().all(|acquire| poll(acquire).is_pending()));
        drop(all);
        let Poll::Ready(Ok(first)) = poll(&mut waiting[0]) else { panic!("there was room") };
        assert!(poll(&mut waiting[2]).is_pending(), "its turn, but no room");
        assert!(memory.try_acquire(&load(), 10).is_none(), "nobody overtakes");
        drop(first);
        assert!(poll(&mut waiting[2]).is_ready());
        assert!(poll(&mut waiting[1]).is_ready());
        assert!(!memory.is_contended());
    }

    #[test]
    fn waiter_for_own_share_does_not_block_other_partitions() {
        let memory = Memory::new(900);
        let (greedy, other) = (load(), load());
        let mut held = Vec::new();
        while let Some(permit) = memory.try_acquire(&greedy, 100) {
            held.push(permit);
        }
        let mut waiting = memory.acquire(1, &greedy, 100, far());
        assert!(poll(&mut waiting).is_pending());
        let free = memory.try_acquire(&other, 300);
        assert!(free.is_some());
        drop(free);
        assert!(poll(&mut waiting).is_pending());
        held.pop();
        assert!(poll(&mut waiting).is_ready());
        assert_eq!(memory.next_deadline(), None);
    }

    #[test]
    fn no_sender_overtakes_a_waiter_of_the_same_partition() {
        let memory = Memory::new(900);
        let partition = load();
        let mut held: Vec<Permit> = (0..4).map(|_| memory.try_acquire(&partition, 100).unwrap()).collect();
        let mut large = memory.acquire(1, &partition, 200, far());
        // Each returned permit makes room for another small one, but not for the large one.
        held.pop();
        assert!(memory.try_acquire(&partition, 100).is_none());
        assert!(poll(&mut large).is_pending());
        held.truncate(1);
        assert!(poll(&mut large).is_ready());
        drop(large);
        assert!(memory.try_acquire(&partition, 100).is_some());
    }

    #[test]
    fn permit_of_dropped_waiter_is_passed_on() {
        let memory = Memory::new(100);
        let all = memory.try_acquire(&load(), 100).unwrap();
        let gone = memory.acquire(1, &load(), 100, far());
        let late = memory.acquire(1, &load(), 100, far());
        let mut last = memory.acquire(2, &load(), 100, far());
        drop(gone);
        drop(all); // granted to `late`
        drop(late);
        assert!(poll(&mut last).is_ready());
        drop(last);
        assert_eq!((memory.used(), memory.is_contended()), (0, false));
    }

    #[test]
    fn dropped_waiter_leaves_queue_at_any_position() {
        let memory = Memory::new(100);
        let all = memory.try_acquire(&load(), 100).unwrap();
        let soon = near();
        let mut first = memory.acquire(1, &load(), 10, far());
        for _ in 0..3 {
            let gone = [memory.acquire(1, &load(), 10, soon), memory.acquire(2, &load(), 10, soon)];
            assert_eq!(memory.next_deadline(), Some(soon));
            drop(gone);
            let queues = memory.queues();
            assert_eq!((queues.waiters[&1].len(), queues.waiters.len(), queues.turns.len()), (1, 1, 1));
        }
        drop(all);
        assert!(poll(&mut first).is_ready());
    }

    #[test]
    fn waiter_past_its_deadline_is_turned_away() {
        let memory = Memory::new(100);
        let all = memory.try_acquire(&load(), 100).unwrap();
        let soon = near();
        let mut early = memory.acquire(1, &load(), 10, soon);
        let mut late = memory.acquire(1, &load(), 10, far());
        assert_eq!(memory.next_deadline(), Some(soon));
        memory.turn_away(Some(soon), || Error::new(ErrorKind::BufferFull, "full"));
        assert!(matches!(poll(&mut early), Poll::Ready(Err(error)) if error.kind() == ErrorKind::BufferFull));
        assert!(poll(&mut late).is_pending());
        drop(all);
        assert!(poll(&mut late).is_ready());
    }

    /// Checks that no waiter or queue lock is held when it is woken or dropped.
    struct Looks(Arc<Memory>, Arc<Waiter>);

    impl Looks {
        fn look(&self) {
            assert!(self.0.queues.try_lock().is_ok() && self.1.state.try_lock().is_ok(), "a lock is held");
        }
    }

    impl std::task::Wake for Looks {
        fn wake(self: Arc<Self>) {
            self.look();
        }
    }

    impl Drop for Looks {
        fn drop(&mut self) {
            self.look();
        }
    }

    #[test]
    fn wakers_are_woken_and_dropped_outside_the_locks() {
        for ends in ["granted", "turned away", "dropped"] {
            let memory = Memory::new(100);
            let all = memory.try_acquire(&load(), 100).unwrap();
            let mut waiting = memory.acquire(1, &load(), 10, far());
            for _ in 0..2 {
                let waker = Waker::from(Arc::new(Looks(Arc::clone(&memory), Arc::clone(&waiting.waiter))));
                assert!(Pin::new(&mut waiting).poll(&mut Context::from_waker(&waker)).is_pending());
            }
            match ends {
                "granted" => drop(all),
                "turned away" => memory.turn_away(None, || Error::new(ErrorKind::Closed, "closed")),
                _ => drop(waiting),
            }
        }
    }

    #[test]
    fn a_permit_splits_and_joins_without_loss() {
        let memory = Memory::new(100);
        let partition = load();
        let mut permit = memory.try_acquire(&partition, 90).unwrap();
        let part = permit.split(30);
        assert_eq!((permit.bytes(), part.bytes(), memory.used()), (60, 30, 90));
        permit.join(part);
        let rest = permit.split(1000);
        assert_eq!((permit.bytes(), rest.bytes()), (0, 90));
        drop(rest);
        assert_eq!((memory.used(), partition.bytes()), (0, 0));
    }
}
