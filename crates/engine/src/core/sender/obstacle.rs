//! An explanation, for users, of what holds up the oldest batch without an outcome.

use std::time::Instant;

use kurier_protocol::NodeId;

use super::batch::Batch;
use super::{Partition, Sender, Stand};
use crate::accumulator::PartitionId;
use crate::config::Acks;
use crate::core::connection::Peer;
use crate::core::context::Context;
use crate::core::key::Key;
use crate::core::metadata::Place;
use crate::core::question::Question;
use crate::error::printable;

impl Sender {
    /// Says what holds up the oldest batch without an outcome; `None` if there is no such batch. Checks all partitions.
    pub(crate) fn obstacle(&self, cx: &Context) -> Option<String> {
        let since = |(id, partition): (&PartitionId, &Partition)| Some((self.oldest(partition, cx.now)?, *id));
        let (_, id) = self.partitions.iter().filter_map(since).min()?;
        let place = cx.metadata.place(id)?;
        let held_up = self.held_up(id, self.partitions.get(&id)?, place, cx);
        Some(format!("{}-{}: {held_up}", printable(&place.topic), place.index))
    }

    /// Returns when the oldest batch of a partition without an outcome was opened.
    fn oldest(&self, partition: &Partition, now: Instant) -> Option<Instant> {
        let Partition { open, is_taking, waiting, in_flight, splitting, .. } = partition;
        let keys = waiting.first().into_iter().chain(in_flight).chain(splitting.first());
        let opened = keys.filter_map(|key| self.batches.get(key)).map(|batch| batch.taken.created);
        // The age of a batch that is being taken will be known again soon.
        opened.chain(open.map(|open| open.since)).chain(is_taking.then_some(now)).min()
    }

    /// Says what holds up a partition's first batch.
    fn held_up(&self, id: PartitionId, partition: &Partition, place: &Place, cx: &Context) -> String {
        let Partition { is_taking, waiting, in_flight, sent_to, splitting, line, retry_at, .. } = partition;
        let name = |node: NodeId| cx.connections.name(Peer::Node(node));
        let batch = |key: &Key| self.batches.get(key);
        let sent = in_flight.iter().find_map(|key| Some((key, batch(key)?)));
        if let (Some((key, sent)), Some(node)) = (sent, sent_to)
            && waiting.first().is_none_or(|first| key < first)
        {
            let age = sent.sent_at.map_or(0.0, |at| cx.now.saturating_duration_since(at).as_secs_f64());
            let text = match cx.config.acks {
                Acks::None => format!("{} has not accepted the batch's bytes for {age:.1} s", name(*node)),
                _ => format!("{} has not acknowledged the batch for {age:.1} s", name(*node)),
            };
            return with_trouble(text, Some(sent));
        }
        let first = waiting.first().and_then(batch);
        if *is_taking && first.is_none() {
            return "the batch is being compressed".to_owned();
        }
        if !splitting.is_empty() {
            return "the batch is too large and is being split".to_owned();
        }
        let unanswered = |node: NodeId| format!("{} has not answered an earlier batch", name(node));
        let text = match self.stand(id, cx) {
            Stand::Due(at) => {
                let wait = at.saturating_duration_since(cx.now).as_secs_f64();
                match first {
                    Some(_) if *retry_at == Some(at) => format!("retry in {wait:.1} s"),
                    None if line.not_before() != Some(at) => {
                        format!("the batch waits for linger.ms, which is {}", cx.config.linger.as_millis())
                    }
                    _ => format!(
                        "the batch waits {wait:.1} s for a new producer id, until no earlier batch can arrive any more"
                    ),
                }
            }
            Stand::Leaderless => leaderless(place, cx),
            Stand::WithoutProducerId => without_producer_id(cx),
            Stand::Unanswered(node) => unanswered(node),
            Stand::Ready(node) => {
                let obstacle = cx.connections.obstacle(Peer::Node(node), cx.config.max_in_flight, cx.now);
                obstacle.unwrap_or_else(|| format!("the batch is next in the queue for {}", name(node)))
            }
            Stand::Nothing if self.is_abandoned => "the producer is being closed".to_owned(),
            Stand::Nothing => sent_to.map_or_else(|| "the batch is next".to_owned(), unanswered),
        };
        with_trouble(text, first)
    }
}

/// Appends the batch's last failure.
fn with_trouble(text: String, batch: Option<&Batch>) -> String {
    match batch.and_then(|batch| batch.trouble.as_ref()) {
        Some(trouble) => format!("{text}; {trouble}"),
        None => text,
    }
}

/// Says why a partition has no leader.
pub(super) fn leaderless(place: &Place, cx: &Context) -> String {
    if let Some(why) = cx.metadata.misadvertised_leader(place) {
        return format!("cannot connect to its leader: {why}");
    }
    let said = cx.metadata.topic_error(&place.topic).map(|code| format!(" ({code}, {})", code.meaning()));
    format!("the partition has no leader{}", said.unwrap_or_default())
}

fn without_producer_id(cx: &Context) -> String {
    let what = "a producer id, which enable.idempotence=true needs";
    match cx.connections.asked(|question| matches!(question, Question::ProducerId)) {
        Some(peer) => format!("{} has not answered with {what}", cx.connections.name(peer)),
        None => {
            let why = cx.obstacles().map(|why| format!(": {why}"));
            format!("no node has returned {what}, yet{}", why.unwrap_or_default())
        }
    }
}
