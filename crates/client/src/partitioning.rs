//! The choice of a record's partition.

use std::sync::Arc;

use kurier_partitioner::{Choice, Keyed, PartitionError, Partitioner, RecordView, TopicView};

use kurier_engine::accumulator::Topic;
use kurier_engine::config::{Config, PartitionerChoice};
use kurier_engine::error::{Error, ErrorKind};

/// A producer's partitioner. The usual ones need no snapshot of the topic.
pub(crate) enum Partitioning {
    Keyed(Keyed),
    Unkeyed,
    Other(Arc<dyn Partitioner>),
}

impl Partitioning {
    /// Returns the partitioner that the settings choose.
    pub(crate) fn of(config: &Config) -> Self {
        match config.partitioner {
            _ if config.partitioner_ignore_keys => Self::Unkeyed,
            PartitionerChoice::Java => Self::Keyed(Keyed::JAVA),
            PartitionerChoice::Keyed(name) => Self::Keyed(Keyed::named(name).unwrap_or_default()),
            _ => Self::Other(config.new_partitioner()),
        }
    }

    /// Returns the choice for every record without a key, if the partitioner needs no look at its value.
    pub(crate) fn choose_without_key(&self, topic: &Topic) -> Result<Option<Choice>, Error> {
        match self {
            Self::Other(_) => Ok(None),
            Self::Keyed(_) | Self::Unkeyed => self.choose(topic, None, None).map(Some),
        }
    }

    /// Chooses the partition of a record that names none.
    #[inline]
    pub(crate) fn choose(&self, topic: &Topic, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Choice, Error> {
        match self {
            Self::Unkeyed => Ok(Choice::Anywhere),
            Self::Keyed(keyed) if keyed.goes_anywhere(key) => Ok(Choice::Anywhere),
            _ => self.ask(topic, &RecordView::new(key, value)),
        }
    }

    /// Asks the partitioner.
    fn ask(&self, topic: &Topic, record: &RecordView<'_>) -> Result<Choice, Error> {
        let chosen = match self {
            Self::Unkeyed => return Ok(Choice::Anywhere),
            Self::Keyed(keyed) => {
                let view = TopicView::new(&topic.name, topic.count(), &[]);
                view.map(|view| keyed.partition(record, &view))
            }
            Self::Other(partitioner) => topic.with_view(|view| partitioner.partition(record, view)),
        };
        match chosen {
            Some(Ok(choice)) => Ok(choice),
            chosen => Err(not_chosen(topic, chosen.and_then(Result::err))),
        }
    }
}

#[cold]
fn not_chosen(topic: &Topic, error: Option<PartitionError>) -> Error {
    match error {
        Some(error) => Error::new(ErrorKind::Partitioning, "the partitioner rejected the record").caused_by(error),
        None => Error::new(ErrorKind::Metadata, format!("topic {} has no partitions", topic.name)),
    }
}
