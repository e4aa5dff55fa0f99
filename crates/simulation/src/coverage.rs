//! Coverage of the fault catalogue, row by row: which faults the producer noticed and handled, not which were injected.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use kurier_protocol::messages::{MetadataResponse, ProduceResponse};
use kurier_protocol::{CorrelationId, ErrorCode, NodeId, PartitionIndex, Uuid};

use super::checks::CAP_REMEMBERED_FOR;
use super::fault_row::FaultRow;
use super::invariant::{Invariant, violation};
use super::plan::topic_name;
use super::wire::{Batch, Known, Spot, answer_for};
use super::world::{World, ms};
use kurier_engine::accumulator::batch::Taken;
use kurier_engine::core::ConnectionId;
use kurier_engine::error::{Error, ErrorKind, Stage, Written};
use kurier_engine::record::RecordMetadata;

/// Stands for the leader that a hint named, because the producer may not have followed the hint.
const UNSURE: NodeId = NodeId::NONE;

/// State that shows whether the producer notices a fault.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Each partition's leader and leader epoch, as the producer last learnt them.
    leaders: HashMap<(Uuid, PartitionIndex), (i32, NodeId)>,
    /// The nodes that the producer knows.
    nodes: HashSet<NodeId>,
    /// Each topic's id and partition count, as the producer knows them.
    counts: HashMap<usize, (Uuid, usize)>,
    /// Leader hints not followed yet: the node, and the time.
    hints: HashMap<Spot, (NodeId, Instant)>,
    /// Partitions of topics that were missing from metadata.
    hidden: HashSet<Spot>,
    /// Partitions that were added and have no records yet.
    pub(super) added: HashSet<Spot>,
    /// Partitions whose batches were held in compression, with their producer id and epoch at that time.
    pub(super) held: HashMap<Spot, Option<(i64, i16)>>,
    /// Partitions where a batch expired in flight and then proved to be written, with their producer id and epoch.
    settled_late: HashMap<Spot, (i64, i16)>,
    pub(super) id_failures: usize,
    pub(super) is_metadata_lost: bool,
    is_stormy: bool,
    pub(super) are_all_down: bool,
    pub(super) has_clock_jumped: bool,
    pub(super) slept_at: Option<Duration>,
    pub(super) splits_since_flush: usize,
    /// Ports of nodes that moved during a pause in sending, and have had no connection since.
    pub(super) moved_ports: HashSet<u16>,
    /// Records that joined an open batch right after a sleep.
    pub(super) after_sleep: HashSet<u64>,
    /// Whether a broker rejected a producer id or epoch.
    pub(super) is_id_useless: bool,
    /// The cap on a topic's batches after a split, and the time of the split.
    pub(super) caps: HashMap<usize, (usize, Duration)>,
    /// Partitions with unsent pieces of a split batch.
    split: HashSet<Spot>,
    /// The cluster id that the producer last learnt.
    cluster_id: Option<String>,
}

impl World<'_> {
    /// The producer sends batches to a node.
    pub(super) fn meet_send(&mut self, node: NodeId, batches: &[Batch]) {
        let now = self.now();
        for batch in batches {
            let spot = batch.spot;
            self.watch.split.remove(&spot);
            let is_first = self.wire.known(batch) == Known::First;
            let identity = (batch.stamped.id, batch.stamped.epoch);
            if let Some((hinted, since)) = self.watch.hints.remove(&spot)
                && hinted == node
                && now < since + self.plan.config.retry_backoff.mul_f64(0.8)
            {
                self.hit(FaultRow::LeaderHinted, "a hint followed without waiting");
            }
            if !is_first || identity.0 < 0 {
                continue;
            }
            let goes_on = self.wire.identity(spot) == Some(identity);
            if self.watch.hidden.remove(&spot) && goes_on {
                self.hit(FaultRow::TopicHidden, "back in sight, and the sequences go on");
            }
            if let Some(before) = self.watch.held.remove(&spot).flatten()
                && before != identity
            {
                self.hit(FaultRow::IdChangedMeanwhile, "taken under one id or epoch, and sent under the next");
            }
            if self.watch.settled_late.remove(&spot) == Some(identity) {
                self.hit(FaultRow::ExpiredInFlight, "expired in flight, then written: the line goes on");
            }
        }
        self.check_leaders(node, batches);
    }

    /// Checks that batches go to the leader that the producer last learnt.
    fn check_leaders(&mut self, node: NodeId, batches: &[Batch]) {
        for batch in batches {
            let Some((id, _)) = self.watch.counts.get(&batch.spot.topic) else { continue };
            let Some((epoch, leader)) = self.watch.leaders.get(&(*id, batch.spot.index)).copied() else { continue };
            if !self.plan.is_lumpy && leader != UNSURE && leader != node {
                let what = format!("a batch goes to node {node}, and {leader} leads since epoch {epoch}");
                self.fail(violation(Invariant::InFlightLimit, what));
            }
        }
    }

    /// A Produce response reaches the producer.
    pub(super) fn meet_answer(
        &mut self,
        connection: ConnectionId,
        correlation_id: CorrelationId,
        response: &ProduceResponse,
    ) {
        let batches: Vec<Batch> = self.wire.asked(connection, correlation_id).cloned().collect();
        let now = self.now();
        let (mut refreshing, mut codes) = (0, HashSet::new());
        for batch in &batches {
            let Some(answer) = answer_for(batch, response) else { continue };
            let code = answer.error_code;
            codes.insert(code);
            self.watch.is_id_useless |= code == ErrorCode::INVALID_PRODUCER_EPOCH;
            if code == ErrorCode::MESSAGE_TOO_LARGE {
                self.meet_too_large(batch);
            }
            refreshing += usize::from(code.refreshes_metadata());
            if self.ledger.is_told(batch.first) {
                match code.is_none() {
                    true => self.hit(FaultRow::LateAnswer, "success after its sender was told of failure"),
                    false => self.hit(FaultRow::LateAnswer, "failure after its sender was told of one"),
                }
                if code.is_none() {
                    let identity = (batch.stamped.id, batch.stamped.epoch);
                    self.watch.settled_late.insert(batch.spot, identity);
                }
            }
            let (leader, epoch) = (NodeId(answer.current_leader.leader_id), answer.current_leader.leader_epoch);
            if let Some((id, _)) = self.watch.counts.get(&batch.spot.topic) {
                if leader != NodeId::NONE && batch.topic_id != *id && batch.topic_id != Uuid::ZERO {
                    self.hit(FaultRow::LateHint, "a hint about a topic that is gone");
                    continue;
                }
                let known = self.watch.leaders.get(&(*id, batch.spot.index)).map_or(-1, |(epoch, _)| *epoch);
                let is_known = self.watch.nodes.contains(&leader);
                let has_endpoint = response.node_endpoints.iter().any(|endpoint| NodeId(endpoint.node_id) == leader);
                let is_old = leader != NodeId::NONE && epoch < known;
                // The producer ignores the hint for a batch that has its outcome.
                let is_open = !self.ledger.is_told(batch.first);
                if is_open && epoch > known && (is_known || has_endpoint) {
                    // This state alone does not show whether the producer can follow the hint.
                    self.watch.leaders.insert((*id, batch.spot.index), (epoch, UNSURE));
                    self.watch.nodes.insert(leader);
                    self.watch.hints.insert(batch.spot, (leader, now));
                }
                if is_old {
                    self.hit(FaultRow::LateHint, "a hint that is older than what is known");
                }
            }
            if code == ErrorCode::INVALID_RECORD && self.is_amid_others(batch) {
                self.hit(FaultRow::RefusedAmidOthers, "refused for good, with others of its partition under way");
            }
        }
        if refreshing > 1 {
            self.watch.is_stormy = true;
        }
        if codes.len() > 2 || (codes.len() > 1 && codes.contains(&ErrorCode::NONE)) {
            self.hit(FaultRow::ManyPartitionsRefused, "partitions of one request fare differently");
        }
    }

    fn is_amid_others(&self, batch: &Batch) -> bool {
        self.wire.is_busy_besides(batch)
    }

    /// The producer sends a metadata request.
    pub(super) fn meet_question(&mut self) {
        if std::mem::take(&mut self.watch.is_stormy) {
            self.hit(FaultRow::ManyPartitionsRefused, "several partitions refused at once, and one question about it");
        }
    }

    /// A metadata response reaches the producer.
    pub(super) fn meet_metadata(&mut self, response: &MetadataResponse) {
        if std::mem::take(&mut self.watch.is_metadata_lost) {
            self.hit(FaultRow::MetadataLost, "one question about the cluster was lost, and the next is answered");
        }
        let is_another =
            self.watch.cluster_id.as_ref().is_some_and(|known| Some(known) != response.cluster_id.as_ref());
        if is_another {
            self.hit(FaultRow::AnotherCluster, "another cluster at the bootstrap servers");
            if !std::mem::take(&mut self.watch.split).is_empty() {
                self.hit(FaultRow::AnotherCluster, "another cluster, and pieces of a split batch wait");
            }
            self.watch.caps.clear();
            // Metadata of the previous cluster is void, so the producer requests it again at once.
            self.pace.metadata_at = None;
        }
        self.watch.cluster_id.clone_from(&response.cluster_id);
        let nodes: HashSet<NodeId> = response.brokers.iter().map(|broker| NodeId(broker.node_id)).collect();
        self.watch.nodes.clone_from(&nodes);
        for heard in &response.topics {
            let name = heard.name.as_deref().unwrap_or_default();
            let Some(topic) = (0..self.plan.topics.len()).find(|topic| topic_name(*topic) == name) else { continue };
            if !heard.error_code.is_none() {
                let (_, count) = self.watch.counts.get(&topic).copied().unwrap_or_default();
                let spots = (0..i32::try_from(count).unwrap_or_default())
                    .map(|index| Spot { topic, index: PartitionIndex(index) });
                self.watch.hidden.extend(spots);
                continue;
            }
            let (known_id, known_count) = self.watch.counts.get(&topic).copied().unwrap_or_default();
            if known_id == heard.topic_id && heard.partitions.len() < known_count {
                self.hit(FaultRow::PartitionsAdded, "a broker that lags behind names fewer");
            }
            if known_id != heard.topic_id && known_id != Uuid::ZERO {
                self.wire.made_anew(topic);
            }
            self.watch.counts.insert(topic, (heard.topic_id, heard.partitions.len().max(known_count)));
            for partition in &heard.partitions {
                let place = (heard.topic_id, PartitionIndex(partition.partition_index));
                let leader = NodeId(partition.leader_id);
                let known = self.watch.leaders.get(&place).map_or(-1, |(epoch, _)| *epoch);
                if partition.leader_epoch < known {
                    self.hit(FaultRow::OldMetadata, "an older epoch of a leader");
                } else if nodes.contains(&leader) {
                    self.watch.leaders.insert(place, (partition.leader_epoch, leader));
                } else {
                    self.watch.leaders.remove(&place);
                }
            }
        }
    }

    /// A batch was refused as too large.
    fn meet_too_large(&mut self, batch: &Batch) {
        let limit = self.plan.topics.get(batch.spot.topic).map_or(usize::MAX, |topic| topic.max_message_bytes);
        if batch.bytes.len() > limit && batch.count > 1 {
            self.hit(FaultRow::LastingSizeLimit, "a batch above the topic's own limit");
        }
        let codes = [ErrorCode::NOT_ENOUGH_REPLICAS, ErrorCode::CORRUPT_MESSAGE, ErrorCode::UNKNOWN_TOPIC_ID];
        let history = self.wire.history(batch.spot, batch.first);
        if batch.count > 1 && history.is_some_and(|history| codes.iter().any(|code| history.met(*code))) {
            self.hit(FaultRow::TooLargeAfterRefusal, "too large, after it was refused for another reason");
        }
    }

    /// A batch is about to be split.
    pub(super) fn meet_split(&mut self, batch: &Taken) {
        self.watch.splits_since_flush += 1;
        let Some(topic) = (0..self.plan.topics.len()).find(|topic| topic_name(*topic) == batch.cell.topic()) else {
            return;
        };
        self.watch.split.insert(Spot { topic, index: batch.cell.place().1 });
        let now = self.driver.clock.elapsed();
        let known = self.watch.caps.get(&topic).filter(|(_, since)| now < *since + CAP_REMEMBERED_FOR);
        let cap = (batch.plain_bytes / 2).max(self.plan.config.batch_size);
        let cap = known.map_or(cap, |(known, _)| cap.min(*known));
        self.watch.caps.insert(topic, (cap, now));
    }

    /// A sender gets a record's outcome.
    pub(super) fn meet_outcome(&mut self, number: u64, result: &Result<RecordMetadata, Error>) {
        if self.watch.after_sleep.remove(&number) {
            match result {
                Ok(_) => self.hit(FaultRow::TimeJumpsInBatch, "sent right after a sleep, and written"),
                Err(_) => self.hit(FaultRow::TimeJumpsInBatch, "sent right after a sleep, and failed"),
            }
        }
        match result {
            Ok(metadata) => self.meet_success(number, metadata),
            Err(error) => self.meet_failure(error),
        }
    }

    fn spot_of(&self, number: u64, index: PartitionIndex) -> Option<Spot> {
        Some(Spot { topic: self.ledger.topic_of(number)?, index })
    }

    fn meet_success(&mut self, number: u64, metadata: &RecordMetadata) {
        let Some(spot) = self.spot_of(number, metadata.partition().into()) else { return };
        if std::mem::take(&mut self.watch.are_all_down) {
            self.hit(FaultRow::AllNodesDown, "all nodes were down, and then it is written");
        }
        if self.watch.added.remove(&spot) {
            self.hit(FaultRow::PartitionsAdded, "written to a partition that was added");
        }
        if std::mem::take(&mut self.watch.has_clock_jumped) {
            self.hit(FaultRow::ClocksJump, "written after the clock on the wall was set");
        }
        // The first record of a batch stands for all of them.
        let Some(history) = self.wire.history(spot, number).cloned() else { return };
        if history.is_duplicate {
            match metadata.offset() {
                Some(_) => self.hit(FaultRow::AnswerLost, "written once, found by its sequence, told its first offset"),
                None => self.hit(FaultRow::DuplicateSequence, "written once, told without an offset"),
            }
            if history.met(ErrorCode::NOT_LEADER_OR_FOLLOWER) || history.met(ErrorCode::UNKNOWN_SERVER_ERROR) {
                self.hit(FaultRow::RefusedButWritten, "refused, sent again, and found to be written");
            }
        }
        match (history.met(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER), history.is_restamped) {
            (true, false) => self.hit(FaultRow::GapAfterFailure, "a gap, sent again as it was, and written"),
            (true, true) => self.hit(FaultRow::GapAtHead, "settled, and written under the next epoch"),
            (false, _) => {}
        }
        if history.met(ErrorCode::UNKNOWN_PRODUCER_ID) && history.is_restamped {
            self.hit(FaultRow::UnknownProducerId, "forgotten, and written under the next epoch");
        }
        let is_unsure = |code| history.met(code) && !history.is_restamped;
        if is_unsure(ErrorCode::REQUEST_TIMED_OUT) || is_unsure(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND) {
            self.hit(FaultRow::WriteUnconfirmed, "maybe written, sent again as it was, and written");
        }
        if history.met(ErrorCode::CORRUPT_MESSAGE) {
            self.hit(FaultRow::CorruptMessage, "damaged, sent again, and written");
        }
        if let Some(stamped) = history.stamped.filter(|stamped| stamped.id >= 0) {
            let left = i32::MAX - stamped.sequence;
            if left < history.count {
                self.hit(FaultRow::SequencesWrap, "written across the end of sequences");
            }
            if stamped.epoch == i16::MAX {
                self.hit(FaultRow::EpochsUsedUp, "written in the last epoch");
            }
        }
        if self.wire.is_of_newer_topic(spot, number) {
            self.hit(FaultRow::TopicRecreated, "written to the topic that was made anew");
        }
    }

    fn meet_failure(&mut self, error: &Error) {
        let kind = (error.kind(), error.stage(), error.written());
        match kind {
            (ErrorKind::DeliveryTimeout, Some(Stage::Queued), Written::No) => {
                self.hit(FaultRow::ExpiredQueued, "expired, never sent")
            }
            (ErrorKind::DeliveryTimeout, Some(Stage::InFlight), _) => {
                self.hit(FaultRow::ExpiredInFlight, "expired in flight");
                if self.lines.values().any(|line| line.is_open && line.up.iter().any(|frame| !frame.is_accepted)) {
                    self.hit(FaultRow::MemoryInSocket, "expired while a frame was being written");
                }
            }
            (ErrorKind::TopicRecreated, ..) => {
                self.hit(FaultRow::TopicRecreated, "failed, for its topic was made anew")
            }
            (ErrorKind::Closed, ..) => self.hit(FaultRow::Close, "closed with the record under way"),
            (ErrorKind::Refused, _, Written::Unknown) if error.error_code().is_some_and(is_told_of_another) => {
                self.hit(FaultRow::RefusedButWritten, "refused, given up, and called unknown");
            }
            _ => {}
        }
        if error.kind() == ErrorKind::DeliveryTimeout
            && self.watch.slept_at.is_some_and(|at| self.driver.clock.elapsed() < at + ms(10))
        {
            self.hit(FaultRow::ClocksJump, "expired by a sleep of the machine, once");
        }
        match (error.error_code(), error.written()) {
            (Some(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER), Written::Unknown) => {
                self.hit(FaultRow::GapAtHead, "drained as unknown")
            }
            (Some(ErrorCode::UNKNOWN_PRODUCER_ID), Written::Unknown) => {
                self.hit(FaultRow::UnknownProducerId, "forgotten, and called unknown")
            }
            (Some(ErrorCode::MESSAGE_TOO_LARGE), Written::No) => {
                self.hit(FaultRow::TooLarge, "a record that is too large by itself")
            }
            (Some(ErrorCode::MESSAGE_TOO_LARGE), Written::Unknown) => {
                self.hit(FaultRow::TooLarge, "too large, and maybe written before")
            }
            (Some(ErrorCode::CORRUPT_MESSAGE), _) => self.hit(FaultRow::CorruptMessage, "damaged until it is given up"),
            (Some(ErrorCode::CLUSTER_AUTHORIZATION_FAILED), _) => {
                self.hit(FaultRow::NoProducerId, "no id for good, and told so")
            }
            (Some(ErrorCode::INVALID_RECORD), _) => {
                let is_mate = error.to_string().contains("another record of the batch");
                self.hit(FaultRow::ErrorsByRecord, if is_mate { "failed with the one to blame" } else { "blamed" });
            }
            _ => {}
        }
    }
}

/// Whether the code means that another node leads, or does not say why.
fn is_told_of_another(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::UNKNOWN_SERVER_ERROR)
}
