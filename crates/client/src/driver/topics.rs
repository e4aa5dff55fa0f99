//! Table of topics that calls wait for, with their deadlines.
//!
//! No operation scans all waiting calls: topics are ordered by when the driver looks at them next. That is the earliest
//! deadline of their waiting calls, and at least once a second, to notice cancelled calls.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Patient;
use kurier_engine::accumulator::Topic;
use kurier_engine::error::Error;

/// Topics to request metadata for: those that are unknown, or lack partitions that records were sent to.
#[derive(Default)]
pub(super) struct Topics {
    wanted: HashMap<Arc<str>, Wanted>,
    by_time: BTreeSet<(Instant, Arc<str>)>,
}

/// A topic that is unknown, or has too few partitions.
struct Wanted {
    waiters: Vec<Waiting>,
    /// Requested partition count and the end of the request, for sends that do not wait.
    unwaited: Option<(usize, Instant)>,
    /// When to look at it next.
    look_at: Instant,
}

/// A call that waits for a topic with this many partitions.
pub(super) struct Waiting {
    partitions: usize,
    deadline: Instant,
    pub(super) reply: oneshot::Sender<Result<Arc<Topic>, Error>>,
}

/// A new request for a topic.
pub(super) enum Waiter {
    /// A call that waits for this many partitions, and for at least one.
    Told { partitions: usize, patient: Patient<Arc<Topic>> },
    /// No call waits: request the topic until `until`, or until it has this many partitions.
    Nobody { partitions: usize, until: Instant },
}

/// How long a cancelled call may still count as waiting.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Topics {
    pub(super) fn len(&self) -> usize {
        self.wanted.len()
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.wanted.contains_key(name)
    }

    pub(super) fn add(&mut self, name: &Arc<str>, waiter: Waiter, now: Instant) {
        let new = || Wanted { waiters: Vec::new(), unwaited: None, look_at: now + LOOK_AGAIN };
        let wanted = self.wanted.entry(Arc::clone(name)).or_insert_with(new);
        self.by_time.remove(&(wanted.look_at, Arc::clone(name)));
        let deadline = match waiter {
            Waiter::Told { partitions, patient: (deadline, reply) } => {
                wanted.waiters.push(Waiting { partitions, deadline, reply });
                deadline
            }
            Waiter::Nobody { partitions, until } => {
                let most = wanted.unwaited.map_or(partitions, |(others, _)| others.max(partitions));
                wanted.unwaited = Some((most, until));
                until
            }
        };
        wanted.look_at = wanted.look_at.min(deadline);
        self.by_time.insert((wanted.look_at, Arc::clone(name)));
    }

    /// Removes and returns the calls for which this many partitions suffice. Also returns whether it removed the topic,
    /// because nothing needs it any more.
    pub(super) fn take(&mut self, name: &Arc<str>, partitions: usize) -> (Vec<Waiting>, bool) {
        let Some(wanted) = self.wanted.get_mut(name) else { return (Vec::new(), false) };
        let content = wanted.waiters.extract_if(.., |waiting| waiting.partitions <= partitions).collect();
        // Sends that do not wait have enough partitions now.
        let _ = wanted.unwaited.take_if(|(wanted, _)| *wanted <= partitions);
        let is_over = wanted.waiters.is_empty() && wanted.unwaited.is_none();
        if is_over {
            self.by_time.remove(&(wanted.look_at, Arc::clone(name)));
            self.wanted.remove(name);
        }
        (content, is_over)
    }

    /// Removes and returns the calls of the next topic whose deadline has passed. Also returns whether it removed the
    /// topic, because nothing needs it any more.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Arc<str>, Vec<Waiting>, bool)> {
        let (look_at, _) = self.by_time.first()?;
        if *look_at > now {
            return None;
        }
        let (_, name) = self.by_time.pop_first()?;
        let wanted = self.wanted.get_mut(&name)?;
        wanted.waiters.retain(|waiting| !waiting.reply.is_closed());
        let late = wanted.waiters.extract_if(.., |waiting| waiting.deadline <= now).collect();
        let _ = wanted.unwaited.take_if(|(_, until)| *until <= now);
        let unwaited = wanted.unwaited.map(|(_, until)| until);
        let next = wanted.waiters.iter().map(|waiting| waiting.deadline).chain(unwaited).min();
        match next {
            Some(next) => {
                wanted.look_at = next.min(now + LOOK_AGAIN);
                self.by_time.insert((wanted.look_at, Arc::clone(&name)));
            }
            None => drop(self.wanted.remove(&name)),
        }
        Some((name, late, next.is_none()))
    }

    /// Removes all topics, and returns the calls that waited for each.
    pub(super) fn clear(&mut self) -> Vec<(Arc<str>, Vec<Waiting>)> {
        self.by_time.clear();
        self.wanted.drain().map(|(name, wanted)| (name, wanted.waiters)).collect()
    }

    /// Returns one of the topics, and the fewest partitions that a sender wants it to have.
    pub(super) fn any(&self) -> Option<(&Arc<str>, usize)> {
        let (_, name) = self.by_time.first()?;
        let Wanted { waiters, unwaited, .. } = self.wanted.get(name)?;
        let unwaited = unwaited.map(|(partitions, _)| partitions);
        let fewest = waiters.iter().map(|waiting| waiting.partitions).chain(unwaited).min();
        Some((name, fewest.unwrap_or_default()))
    }

    /// When to look next, if nothing happens before.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn each_topic_is_due_at_its_first_deadline_or_after_a_cancelled_call() {
        let start = Instant::now();
        let mut topics = Topics::default();
        let wait = |topics: &mut Topics, name: &str, patience| {
            let (reply, answer) = oneshot::channel();
            topics.add(&name.into(), Waiter::Told { partitions: 0, patient: (start + patience, reply) }, start);
            answer
        };
        let (_early, _late) = (wait(&mut topics, "a", ms(300)), wait(&mut topics, "a", ms(700)));
        drop(wait(&mut topics, "gone", ms(60_000)));
        topics.add(&"b".into(), Waiter::Nobody { partitions: 0, until: start + ms(500) }, start);
        let looks = |topics: &mut Topics, at| {
            topics.pop(start + at).map(|(name, late, is_unwanted)| (name.to_string(), late.len(), is_unwanted))
        };
        for (at, expected) in [
            (ms(299), None),
            (ms(300), Some(("a".to_owned(), 1, false))),
            (ms(499), None),
            (ms(500), Some(("b".to_owned(), 0, true))),
            (ms(700), Some(("a".to_owned(), 1, true))),
            (ms(1_000), Some(("gone".to_owned(), 0, true))),
            (ms(9_000), None),
        ] {
            assert_eq!(looks(&mut topics, at), expected, "{at:?}");
        }
        assert_eq!((topics.len(), topics.next_deadline()), (0, None));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn call_that_needs_more_partitions_keeps_waiting() {
        let start = Instant::now();
        let mut topics = Topics::default();
        let mut answers = Vec::new();
        for partitions in [1, 3, 5] {
            let (reply, answer) = oneshot::channel();
            topics.add(&"a".into(), Waiter::Told { partitions, patient: (start + ms(300), reply) }, start);
            answers.push(answer);
        }
        for (partitions, expected) in
            [(0, (0, false)), (3, (2, false)), (4, (0, false)), (9, (1, true)), (9, (0, false))]
        {
            let (content, is_over) = topics.take(&"a".into(), partitions);
            assert_eq!((content.len(), is_over), expected, "{partitions}");
        }
        assert_eq!(topics.next_deadline(), None);
        // The same holds for sends that do not wait.
        for wanted in [7, 2] {
            topics.add(&"a".into(), Waiter::Nobody { partitions: wanted, until: start + ms(300) }, start);
        }
        assert!(!topics.take(&"a".into(), 6).1);
        assert!(topics.take(&"a".into(), 7).1);
    }
}
