//! `kurier partition`: where keys go.

use std::io::Write;

use anyhow::Result;
use clap::Args;
use kurier_partitioner::{Choice, Keyed, Partitioner, RecordView, TopicView};

/// Print the partition of each key, a line each: the key, a tab, the partition.
///
/// An empty key is a key. A key that does not decide (an empty one under consistent_random) has `any`.
#[derive(Args, Debug)]
pub(crate) struct Partition {
    /// How many partitions the topic has.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,

    /// Whose rule: java, or one of librdkafka's: murmur2, murmur2_random, consistent, consistent_random (its default),
    /// fnv1a, fnv1a_random.
    #[arg(long, value_name = "NAME", default_value = "java", value_parser = keyed)]
    partitioner: Keyed,

    /// The keys.
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,
}

fn keyed(name: &str) -> Result<Keyed, String> {
    Keyed::named(name).ok_or_else(|| format!("known are {}", Keyed::ALL.map(Keyed::name).join(", ")))
}

impl Partition {
    pub(crate) fn run(&self, out: &mut impl Write) -> Result<()> {
        let topic = TopicView::new("", self.partitions, &[]).expect("the command line allows no 0");
        for key in &self.keys {
            match self.partitioner.partition(&RecordView::keyed(key.as_bytes()), &topic)? {
                Choice::Partition(partition) => writeln!(out, "{key}\t{partition}")?,
                Choice::Anywhere => writeln!(out, "{key}\tany")?,
            }
        }
        Ok(())
    }
}
