//! Models of a batch's cell: outcomes race with waiting deliveries and callbacks.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use kurier_protocol::PartitionIndex;
use shuttle::future::block_on;

use super::explore;
use kurier_engine::delivery::{Calls, Cell, Delivery, Outcome, Runner};
use kurier_engine::sync::{Mutex, thread};

/// Runs callbacks at once, and keeps their results.
#[derive(Default)]
struct Now(Mutex<Vec<Option<i64>>>);

impl Runner for Now {
    fn run(&self, calls: Calls) {
        calls.call_each(|callback, result| callback(result));
    }
}

fn written(offset: i64) -> Outcome {
    Outcome::Written { base_offset: Some(offset), log_append_time: None, is_acknowledged: true }
}

/// Polls with a waker that is not used again.
fn poll_once(delivery: &mut Delivery, waker: &Waker) -> Option<i64> {
    match Pin::new(delivery).poll(&mut Context::from_waker(waker)) {
        Poll::Ready(result) => result.unwrap().offset(),
        Poll::Pending => None,
    }
}

/// Counts its wake-ups.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn delivery_wakes_its_last_waker_and_callback_runs_once() {
    explore(
        "a batch resolved in two pieces, while one record is awaited, one polled elsewhere, two called back",
        24_000,
        || {
            let runner = Arc::new(Now::default());
            let cell = Arc::new(Cell::new("t".into(), PartitionIndex(0), Arc::clone(&runner) as Arc<dyn Runner>));
            let delivery = |index| Delivery::new(&cell, index, 0);
            let resolve = |range: std::ops::Range<u32>, offset| {
                let cell = Arc::clone(&cell);
                thread::spawn(move || cell.resolve(range, written(offset)))
            };
            // The pieces of a split batch get their outcomes one by one.
            let resolvers = [resolve(0..2, 10), resolve(2..4, 12)];
            let awaited = thread::spawn({
                let delivery = delivery(0);
                move || block_on(delivery).unwrap().offset()
            });
            let moved = thread::spawn({
                let mut delivery = delivery(2);
                move || {
                    let before = Arc::new(Counting::default());
                    let seen = poll_once(&mut delivery, &Waker::from(Arc::clone(&before)));
                    let offset = block_on(delivery).unwrap().offset();
                    assert!(seen.is_none() || seen == offset);
                    assert!(before.0.load(Ordering::Relaxed) <= 1, "woken twice");
                    offset
                }
            });
            let dropped = thread::spawn({
                let mut delivery = delivery(3);
                move || {
                    poll_once(&mut delivery, Waker::noop());
                }
            });
            for index in [1, 3] {
                let runner = Arc::clone(&runner);
                delivery(index).on_complete(move |result| {
                    runner.0.lock().unwrap_or_else(PoisonError::into_inner).push(result.unwrap().offset());
                });
            }
            assert_eq!((awaited.join().unwrap(), moved.join().unwrap()), (Some(10), Some(12)));
            dropped.join().unwrap();
            for resolver in resolvers {
                resolver.join().unwrap();
            }
            let mut called = std::mem::take(&mut *runner.0.lock().unwrap());
            called.sort_unstable();
            assert_eq!(called, [Some(11), Some(13)]);
        },
    );
}
