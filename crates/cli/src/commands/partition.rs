//! `kurier partition`: prints the partitions of keys.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use kurier_partitioner::{Choice, Keyed, Partitioner, RecordView, TopicView};

use crate::exit::Misuse;

/// Longest key that is read from a file. Broker records are shorter, unless message.max.bytes is raised.
const KEY_BYTES_MAX: usize = 64 << 20;

/// Print the partition of each key, one per line: the key (or its file's name), a tab, the partition.
///
/// An empty key is a key. A key that does not determine the partition (an empty one under consistent_random) prints
/// `any`.
#[derive(Args, Debug)]
pub(crate) struct Partition {
    /// Number of partitions of the topic.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,

    /// Partitioner: java, or one of librdkafka's: murmur2, murmur2_random, consistent, consistent_random (its default),
    /// fnv1a, fnv1a_random.
    #[arg(long, value_name = "NAME", default_value = "java", value_parser = keyed)]
    partitioner: Keyed,

    /// Read a key from FILE, with all of its bytes; - is standard input. May be repeated.
    #[arg(long, value_name = "FILE")]
    key_file: Vec<PathBuf>,

    /// The keys.
    #[arg(required_unless_present = "key_file", value_name = "KEY")]
    keys: Vec<String>,
}

fn keyed(name: &str) -> Result<Keyed, String> {
    Keyed::named(name).ok_or_else(|| format!("known are {}", Keyed::ALL.map(Keyed::name).join(", ")))
}

impl Partition {
    pub(crate) fn run(&self, out: &mut impl Write) -> Result<()> {
        if self.key_file.iter().filter(|file| is_stdin(file)).count() > 1 {
            return Err(Misuse::error("--key-file - is given twice, but standard input can be read only once"));
        }
        for key in &self.keys {
            self.print(key, key.as_bytes(), out)?;
        }
        for file in &self.key_file {
            self.print(&file.display().to_string(), &read_key(file)?, out)?;
        }
        Ok(())
    }

    fn print(&self, name: &str, key: &[u8], out: &mut impl Write) -> Result<()> {
        let topic = TopicView::new("", self.partitions, &[]).expect("the command line allows no 0");
        match self.partitioner.partition(&RecordView::keyed(key), &topic)? {
            Choice::Partition(partition) => writeln!(out, "{name}\t{partition}")?,
            Choice::Anywhere => writeln!(out, "{name}\tany")?,
        }
        Ok(())
    }
}

fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

fn read_key(file: &Path) -> Result<Vec<u8>> {
    let unreadable = |error| Misuse::because(format_args!("--key-file {} cannot be read", file.display()), error);
    let from: Box<dyn Read> = match is_stdin(file) {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(file).map_err(unreadable)?),
    };
    let mut key = Vec::new();
    from.take(KEY_BYTES_MAX as u64 + 1).read_to_end(&mut key).map_err(unreadable)?;
    if key.len() > KEY_BYTES_MAX {
        return Err(Misuse::error(format!("--key-file {}: a key has at most {KEY_BYTES_MAX} bytes", file.display())));
    }
    Ok(key)
}
