//! Models of `buffer.memory`: one thread returns permits while others wait for memory.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use shuttle::future::block_on;

use super::{explore, far, now};
use kurier_engine::accumulator::memory::{Load, Memory, Permit};
use kurier_engine::error::{Error, ErrorKind};
use kurier_engine::sync::{Mutex, thread};

fn load() -> Arc<Load> {
    Arc::default()
}

/// Starts a thread that waits for memory and returns it at once.
fn wait(memory: &Arc<Memory>, partition: u32, load: &Arc<Load>, bytes: usize) -> thread::JoinHandle<()> {
    let (memory, load) = (Arc::clone(memory), Arc::clone(load));
    thread::spawn(move || {
        let permit = block_on(memory.acquire(partition, &load, bytes, far())).unwrap();
        assert_eq!(permit.bytes(), bytes);
        assert!(memory.used() <= memory.total(), "more is given than there is");
    })
}

/// Starts a thread that waits for memory and gives up after the first poll.
fn give_up(memory: &Arc<Memory>, partition: u32, load: &Arc<Load>, bytes: usize) -> thread::JoinHandle<()> {
    let (memory, load) = (Arc::clone(memory), Arc::clone(load));
    thread::spawn(move || {
        let mut acquire = memory.acquire(partition, &load, bytes, far());
        drop(Pin::new(&mut acquire).poll(&mut Context::from_waker(Waker::noop())));
    })
}

/// Starts a thread that returns permits.
fn give_back(permits: Vec<Permit>) -> thread::JoinHandle<()> {
    thread::spawn(move || drop(permits))
}

/// Checks that no permit is held and no thread waits.
fn assert_at_rest(memory: &Memory, loads: &[&Arc<Load>]) {
    assert_eq!((memory.used(), memory.is_contended(), memory.next_deadline()), (0, false, None));
    assert!(loads.iter().all(|load| load.bytes() == 0));
}

#[test]
fn returned_memory_wakes_waiters() {
    explore("memory that comes back while one begins to wait", 40_000, || {
        let memory = Memory::new(100);
        let (holder, waiter) = (load(), load());
        let held = memory.try_acquire(&holder, 100).unwrap();
        let threads = [give_back(vec![held]), wait(&memory, 1, &waiter, 60)];
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_at_rest(&memory, &[&holder, &waiter]);
    });
}

#[test]
fn memory_for_a_cancelled_waiter_is_passed_on() {
    explore("memory that comes back in two parts, three wait for it in two partitions, one goes", 24_000, || {
        let memory = Memory::new(100);
        let (holder, one, two) = (load(), load(), load());
        let mut held = memory.try_acquire(&holder, 100).unwrap();
        let part = held.split(50);
        let threads = [
            give_back(vec![part]),
            give_back(vec![held]),
            give_up(&memory, 1, &one, 60),
            wait(&memory, 1, &one, 60),
            wait(&memory, 2, &two, 60),
        ];
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_at_rest(&memory, &[&holder, &one, &two]);
    });
}

#[test]
fn waiters_of_a_partition_are_served_in_order() {
    explore("a line of three for one partition, the first of whom goes", 16_000, || {
        let memory = Memory::new(100);
        let (holder, waiter) = (load(), load());
        let held = memory.try_acquire(&holder, 100).unwrap();
        let served = Arc::new(Mutex::new(Vec::new()));
        let gone = memory.acquire(1, &waiter, 60, far());
        let line = [2, 3].map(|number| {
            let (acquire, served) = (memory.acquire(1, &waiter, 60, far()), Arc::clone(&served));
            thread::spawn(move || {
                let permit = block_on(acquire).unwrap();
                served.lock().unwrap().push(number);
                drop(permit);
            })
        });
        let goes = thread::spawn(move || drop(gone));
        give_back(vec![held]).join().unwrap();
        goes.join().unwrap();
        line.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*served.lock().unwrap(), [2, 3]);
        assert_at_rest(&memory, &[&holder, &waiter]);
    });
}

#[test]
fn cancelled_or_expired_waiter_unblocks_the_next() {
    explore(
        "a line of three, of whom the first two want more than there is: one goes, one is turned away",
        16_000,
        || {
            let memory = Memory::new(100);
            let (holder, waiter) = (load(), load());
            let held = memory.try_acquire(&holder, 50).unwrap();
            let soon = now();
            let goes = memory.acquire(1, &waiter, 60, far());
            let late = memory.acquire(1, &waiter, 60, soon);
            let goes = thread::spawn(move || drop(goes));
            let turns_away = thread::spawn({
                let memory = Arc::clone(&memory);
                move || memory.turn_away(Some(soon), || Error::new(ErrorKind::BufferFull, "late"))
            });
            wait(&memory, 1, &waiter, 40).join().unwrap();
            assert_eq!(block_on(late).unwrap_err().kind(), ErrorKind::BufferFull);
            [goes, turns_away].into_iter().for_each(|thread| thread.join().unwrap());
            drop(held);
            assert_at_rest(&memory, &[&holder, &waiter]);
        },
    );
}

#[test]
fn partition_stays_within_its_share() {
    explore("two ask for one partition and one waits for it, beside another partition", 16_000, || {
        let memory = Memory::new(900);
        let (greedy, other) = (load(), load());
        let takers = [(), ()].map(|()| {
            let (memory, greedy) = (Arc::clone(&memory), Arc::clone(&greedy));
            thread::spawn(move || {
                let permits: Vec<Permit> = std::iter::from_fn(|| memory.try_acquire(&greedy, 75)).take(7).collect();
                // The two other threads may each have read the share before this one took its part, but no more.
                assert!(greedy.bytes() <= 450 + 2 * 75, "{} of 900 bytes", greedy.bytes());
                permits
            })
        });
        let waiter = wait(&memory, 1, &greedy, 75);
        let neighbour = wait(&memory, 2, &other, 75);
        for taker in takers {
            drop(taker.join().unwrap());
        }
        waiter.join().unwrap();
        neighbour.join().unwrap();
        assert_at_rest(&memory, &[&greedy, &other]);
    });
}

#[test]
fn memory_passed_to_another_partition_wakes_waiters_for_the_share() {
    explore(
        "memory that is passed from one partition to another while one begins to wait for the first",
        16_000,
        || {
            let memory = Memory::new(900);
            let (greedy, other) = (load(), load());
            let mut held: Vec<Permit> = std::iter::from_fn(|| memory.try_acquire(&greedy, 75)).collect();
            let mut passed = held.pop().unwrap();
            let passes = {
                let other = Arc::clone(&other);
                thread::spawn(move || {
                    passed.pass_to(&other);
                    // A batch takes all of the permit.
                    passed.split(75)
                })
            };
            let waits = wait(&memory, 1, &greedy, 20);
            // Neither partition returns memory before this.
            waits.join().unwrap();
            let of_other = passes.join().unwrap();
            assert_eq!((greedy.bytes(), other.bytes()), (375, 75));
            drop((of_other, held));
            assert_at_rest(&memory, &[&greedy, &other]);
        },
    );
}

#[test]
fn each_waiter_gets_memory_or_an_error() {
    explore("memory that comes back while all who wait are turned away", 16_000, || {
        let memory = Memory::new(100);
        let (holder, waiter) = (load(), load());
        let held = memory.try_acquire(&holder, 100).unwrap();
        let waiting = [1, 2].map(|partition| memory.acquire(partition, &waiter, 60, far()));
        let waiting = waiting.map(|acquire| thread::spawn(move || drop(block_on(acquire))));
        let back = give_back(vec![held]);
        memory.turn_away(None, || Error::new(ErrorKind::Closed, "closed"));
        back.join().unwrap();
        waiting.into_iter().for_each(|thread| thread.join().unwrap());
        assert_at_rest(&memory, &[&holder, &waiter]);
    });
}
