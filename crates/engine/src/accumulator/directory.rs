//! An immutable hash trie of topics by name.
//!
//! A reader takes a snapshot without a lock. A change copies only the nodes on the path to its topic, so adding a topic
//! costs little even if there are many.
//!
//! ```text
//!   hash of the name, four bits a level        Branch ─▶ Branch ─▶ Leaf [orders, payments]
//!                                                  └───▶ Leaf [clicks]
//! ```

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::topic::Topic;

/// Topics by name.
#[derive(Debug, Default)]
pub(super) struct Directory {
    root: ArcSwap<Node>,
    hasher: RandomState,
    /// Tells the topics of this directory from those of others. Each topic holds a reference, so no other directory gets
    /// the same address as long as one of its topics exists.
    identity: Arc<Identity>,
}

/// The identity of a directory: its address.
#[derive(Debug, Default)]
pub(super) struct Identity {
    /// Something that has an address.
    _byte: u8,
}

crate::sync::thread_local! {
    /// The topic that this thread used last by its name. It saves hashing the name again. The topic's partitions stay in
    /// memory until the thread uses another name or ends, even after the producer was closed.
    static LAST: Cell<Option<Arc<Topic>>> = const { Cell::new(None) };
}

#[derive(Clone, Debug)]
enum Node {
    /// Topics, each with the hash of its name.
    Leaf(Vec<(u64, Arc<Topic>)>),
    Branch(Box<[Option<Arc<Self>>; WIDTH]>),
}

/// Bits of the hash that choose a child.
const BITS: u32 = 4;
const WIDTH: usize = 1 << BITS;

/// The depth without any hash bits left. Topics that collide up to there share a leaf.
const DEPTH_MAX: u32 = u64::BITS / BITS;

/// The number of topics above which a leaf is split.
const LEAF_MAX: usize = 4;

impl Default for Node {
    fn default() -> Self {
        Self::Leaf(Vec::new())
    }
}

impl Directory {
    pub(super) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// Lets `act` use the topic of this name, if it is known.
    #[inline]
    pub(super) fn with<T>(&self, name: &str, act: impl FnOnce(&Arc<Topic>) -> T) -> Option<T> {
        let is_it = |topic: &Arc<Topic>| *topic.name == *name && topic.is_in(&self.identity) && !topic.is_retired();
        let last = LAST.try_with(Cell::take).ok().flatten();
        let topic = match last.filter(is_it) {
            Some(topic) => topic,
            None => self.get(name)?,
        };
        let result = act(&topic);
        // A thread that is ending has lost its cell already.
        let _ = LAST.try_with(|last| last.set(Some(topic)));
        Some(result)
    }

    /// Returns the topic of this name.
    pub(super) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        let hash = self.hasher.hash_one(name);
        let root = self.root.load();
        let (mut node, mut depth) = (&**root, 0);
        loop {
            match node {
                Node::Leaf(topics) => {
                    let is_it = |(other, topic): &&(u64, Arc<Topic>)| *other == hash && *topic.name == *name;
                    return topics.iter().find(is_it).map(|(_, topic)| Arc::clone(topic));
                }
                Node::Branch(children) => node = children.get(slot(hash, depth))?.as_deref()?,
            }
            depth += 1;
        }
    }

    /// Adds a topic whose name is not in the directory. Changes must not run concurrently.
    pub(super) fn insert(&self, topic: Arc<Topic>) {
        let hash = self.hasher.hash_one(&*topic.name);
        self.root.store(Arc::new(self.root.load().with(0, hash, topic)));
    }

    /// Removes the topic of this name. Changes must not run concurrently.
    pub(super) fn remove(&self, name: &str) {
        let hash = self.hasher.hash_one(name);
        self.root.store(Arc::new(self.root.load().without(0, hash, name).unwrap_or_default()));
    }
}

/// Returns the child that a hash belongs to, at this depth.
fn slot(hash: u64, depth: u32) -> usize {
    usize::try_from(hash.unbounded_shr(depth * BITS)).unwrap_or_default() % WIDTH
}

impl Node {
    /// Returns a copy with one more topic.
    fn with(&self, depth: u32, hash: u64, topic: Arc<Topic>) -> Self {
        match self {
            Self::Leaf(topics) if topics.len() < LEAF_MAX || depth >= DEPTH_MAX => {
                let mut topics = topics.clone();
                topics.push((hash, topic));
                Self::Leaf(topics)
            }
            Self::Leaf(topics) => {
                let branch = Self::Branch(Box::default());
                let split = |node: Self, (hash, topic): &(u64, Arc<Topic>)| node.with(depth, *hash, Arc::clone(topic));
                topics.iter().fold(branch, split).with(depth, hash, topic)
            }
            Self::Branch(children) => {
                let mut children = children.clone();
                if let Some(child) = children.get_mut(slot(hash, depth)) {
                    let with = match child.as_deref() {
                        Some(child) => child.with(depth + 1, hash, topic),
                        None => Self::default().with(depth + 1, hash, topic),
                    };
                    *child = Some(Arc::new(with));
                }
                Self::Branch(children)
            }
        }
    }

    /// Returns a copy without a topic; `None` if nothing is left.
    fn without(&self, depth: u32, hash: u64, name: &str) -> Option<Self> {
        match self {
            Self::Leaf(topics) => {
                let others = topics.iter().filter(|(_, topic)| *topic.name != *name).cloned();
                let others: Vec<_> = others.collect();
                (!others.is_empty()).then_some(Self::Leaf(others))
            }
            Self::Branch(children) => {
                let mut children = children.clone();
                if let Some(child) = children.get_mut(slot(hash, depth)) {
                    *child = child.as_deref().and_then(|child| child.without(depth + 1, hash, name)).map(Arc::new);
                }
                children.iter().any(Option::is_some).then_some(Self::Branch(children))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::topic::Places;
    use super::*;

    fn topic(name: &str) -> Arc<Topic> {
        Arc::new(Topic::new(name.into(), &Arc::default(), &[], Places::new(0, Box::default(), Box::default())))
    }

    #[test]
    fn topics_are_found_until_they_are_removed() {
        let directory = Directory::default();
        let names: Vec<String> = (0..2_000).map(|number| format!("topic-{number}")).collect();
        for (at, name) in names.iter().enumerate() {
            assert!(directory.get(name).is_none());
            directory.insert(topic(name));
            assert_eq!(*directory.get(name).unwrap().name, **name);
            // Remove every third topic at once.
            if at % 3 == 0 {
                directory.remove(name);
            }
        }
        for (at, name) in names.iter().enumerate() {
            assert_eq!(directory.get(name).is_some(), at % 3 != 0);
            directory.remove(name);
            assert!(directory.get(name).is_none());
        }
        assert!(matches!(&**directory.root.load(), Node::Leaf(topics) if topics.is_empty()), "nothing is left");
    }

    #[test]
    fn names_with_equal_hash_share_a_leaf() {
        let mut node = Node::default();
        let names = ["a", "b", "c", "d", "e", "f"];
        for name in names {
            node = node.with(0, 7, topic(name));
        }
        for (at, name) in names.iter().enumerate() {
            let left = node.without(0, 7, name);
            assert_eq!(left.is_none(), at + 1 == names.len());
            node = left.unwrap_or_default();
        }
    }

    #[test]
    fn a_change_copies_one_path() {
        let directory = Directory::default();
        for number in 0..10_000 {
            directory.insert(topic(&number.to_string()));
        }
        let before = directory.root.load_full();
        directory.insert(topic("one more"));
        let after = directory.root.load_full();
        let (Node::Branch(before), Node::Branch(after)) = (&*before, &*after) else { panic!("two branches") };
        let is_same = |(a, b): &(&Option<Arc<Node>>, &Option<Arc<Node>>)| {
            a.as_ref().zip(b.as_ref()).is_some_and(|(a, b)| Arc::ptr_eq(a, b))
        };
        assert_eq!(before.iter().zip(after.iter()).filter(is_same).count(), WIDTH - 1);
    }
}
