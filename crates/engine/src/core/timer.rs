//! A table of deadlines, at most one per key, with fast access to the earliest.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Instant;

/// Deadlines of keys of type `T`.
#[derive(Debug)]
pub(super) struct Timers<T> {
    by_time: BTreeSet<(Instant, T)>,
    deadlines: HashMap<T, Instant>,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { by_time: BTreeSet::new(), deadlines: HashMap::new() }
    }
}

impl<T: Copy + Eq + Hash + Ord> Timers<T> {
    /// Sets or replaces a key's deadline; `None` removes it.
    pub(super) fn set(&mut self, thing: T, at: Option<Instant>) {
        let before = match at {
            Some(at) => self.deadlines.insert(thing, at),
            None => self.deadlines.remove(&thing),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.by_time.remove(&(before, thing));
        }
        if let Some(at) = at {
            self.by_time.insert((at, thing));
        }
    }

    /// Removes and returns the key with the earliest deadline, if that has passed.
    pub(super) fn pop(&mut self, now: Instant) -> Option<T> {
        let (at, thing) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.set(thing, None);
        Some(thing)
    }

    /// Returns the earliest deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Returns the keys that have a deadline.
    #[cfg(any(test, feature = "internal"))]
    pub(super) fn things(&self) -> impl Iterator<Item = &T> {
        self.by_time.iter().map(|(_, thing)| thing)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn keys_come_in_order_of_their_last_deadlines() {
        let start = Instant::now();
        let at = |seconds| Some(start + Duration::from_secs(seconds));
        let mut timers = Timers::default();
        timers.set('a', at(3));
        timers.set('b', at(2));
        timers.set('c', at(1));
        timers.set('a', at(1));
        timers.set('c', None);
        assert_eq!(timers.next(), at(1));
        assert_eq!(timers.pop(start), None);
        let later = start + Duration::from_secs(9);
        assert_eq!([timers.pop(later), timers.pop(later), timers.pop(later)], [Some('a'), Some('b'), None]);
        assert_eq!(timers.next(), None);
    }
}
