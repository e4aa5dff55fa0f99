//! Produce 3 to 13.
//!
//! Version 3 brought batches of magic 2, version 7 zstd, 8 errors by record (KIP-467), 10 the new leader (KIP-951), 13
//! topic ids. The checks come in Kafka's order: transactions, topic, the batch's frame, acks, internal topics, leader,
//! min.insync.replicas, the batch, its sequence (`KafkaApis.handleProduceRequest`, `Partition.appendRecordsToLeader`,
//! `UnifiedLog.append`). With acks=0 there is no response; on an error the node closes the connection, the only sign
//! that the client can get.

use kurier_protocol::messages::ProduceResponse;
use kurier_protocol::messages::produce::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kurier_protocol::{ErrorCode, NodeId, PartitionIndex, Uuid};

use super::call::{Call, Outcome};
use super::reader::{Read, Reader};
use crate::batch::{Batch, Refusal};
use crate::cluster::{Cluster, Partition};
use crate::log::Appended;

/// Client id that may write to Kafka's internal topics (`AdminUtils.ADMIN_CLIENT_ID`).
const ADMIN_CLIENT: &str = "__admin_client";

struct TopicData<'a> {
    name: Option<&'a str>,
    id: Uuid,
    partitions: Vec<PartitionData<'a>>,
}

struct PartitionData<'a> {
    index: PartitionIndex,
    records: Option<&'a [u8]>,
}

pub(super) fn handle(cluster: &mut Cluster, call: &Call<'_>, mut reader: Reader<'_>) -> Read<Outcome> {
    let _transactional_id = reader.nullable_string()?;
    let acks = reader.int16()?;
    let _timeout_ms = reader.int32()?;
    let topics = reader.array(|reader| {
        let name = if call.version < 13 { Some(reader.string()?) } else { None };
        let id = if call.version >= 13 { Uuid(reader.uuid()?) } else { Uuid::ZERO };
        let partitions = reader.array(|reader| {
            let data = PartitionData { index: PartitionIndex(reader.int32()?), records: reader.nullable_bytes()? };
            reader.tags()?;
            Ok(data)
        })?;
        reader.tags()?;
        Ok(TopicData { name, id, partitions })
    })?;
    reader.tags()?;
    reader.end()?;

    let records = || topics.iter().flat_map(|topic| &topic.partitions).filter_map(|data| data.records);
    // This broker has no transactions yet. Kafka answers the whole request with the same code.
    let is_transactional = records().any(Batch::is_transactional);
    let refuse = call.refuse.or_else(|| is_transactional.then_some(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED));
    let blamed: Vec<_> = call.blame.iter().map(|place| (*place, "blamed by script".to_owned())).collect();
    let mut responses = Vec::with_capacity(topics.len());
    let mut moved_to = Vec::new();
    for topic in topics {
        let name = topic.name.map(str::to_owned).or_else(|| cluster.topic_name(topic.id).map(str::to_owned));
        let mut partition_responses = Vec::with_capacity(topic.partitions.len());
        for data in &topic.partitions {
            let result = match (refuse, &name) {
                (Some(code), _) => Err(Refusal { blamed: blamed.clone(), ..code.into() }),
                (None, None) => Err(ErrorCode::UNKNOWN_TOPIC_ID.into()),
                (None, Some(name)) => append(cluster, call, acks, name, data),
            };
            let mut answer = answer(data.index, result);
            if answer.error_code == ErrorCode::NOT_LEADER_OR_FOLLOWER
                && let Some((leader, epoch)) = name.as_deref().and_then(|name| leader(cluster, name, data.index))
            {
                answer.current_leader = LeaderIdAndEpoch { leader_id: leader.0, leader_epoch: epoch };
                moved_to.push(leader);
            }
            partition_responses.push(answer);
        }
        let name = topic.name.unwrap_or_default().to_owned();
        responses.push(TopicProduceResponse { name, topic_id: topic.id, partition_responses });
    }
    if acks == 0 {
        let mut answers = responses.iter().flat_map(|topic| &topic.partition_responses);
        return Ok(if answers.all(|answer| answer.error_code.is_none()) { Outcome::Nothing } else { Outcome::Close });
    }
    // Both fields exist from version 10 on.
    if call.version < 10 {
        moved_to.clear();
        for answer in responses.iter_mut().flat_map(|topic| &mut topic.partition_responses) {
            answer.current_leader = LeaderIdAndEpoch::default();
        }
    }
    moved_to.sort_unstable();
    moved_to.dedup();
    Ok(call.answer(&ProduceResponse {
        responses,
        throttle_time_ms: call.throttle_time_ms,
        node_endpoints: moved_to.into_iter().filter_map(|id| endpoint(cluster, call, id)).collect(),
    }))
}

fn append(
    cluster: &mut Cluster,
    call: &Call<'_>,
    acks: i16,
    name: &str,
    data: &PartitionData<'_>,
) -> Result<Appended, Refusal> {
    const ALL: i16 = -1;
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    let (is_strict, is_internal) = (cluster.settings().is_strict, cluster.is_internal(name));
    let topic = cluster.topic_mut(name).ok_or(unknown)?;
    let settings = topic.settings.clone();
    let index = usize::try_from(data.index.0).map_err(|_| unknown)?;
    let partition: &mut Partition = topic.partitions.get_mut(index).ok_or(unknown)?;
    let sent = Batch::find(data.records.unwrap_or_default(), call.version, is_strict)?;
    if !(ALL..=1).contains(&acks) {
        return Err(ErrorCode::INVALID_REQUIRED_ACKS.into());
    }
    if is_internal && call.client_id != Some(ADMIN_CLIENT) {
        return Err(ErrorCode::INVALID_TOPIC_EXCEPTION.into());
    }
    if partition.leader != Some(call.node) {
        return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER.into());
    }
    // The required number is capped by the number of replicas (`Partition.effectiveMinIsr`), including replicas without
    // a node.
    if acks == ALL && partition.isr.len() < settings.min_insync_replicas.min(settings.replication_factor) {
        return Err(Refusal::from(ErrorCode::NOT_ENOUGH_REPLICAS).by_log());
    }
    let batch = Batch::check(call.frame.slice_ref(sent), &settings, call.now_ms, is_strict).map_err(Refusal::by_log)?;
    let append_time = settings.is_log_append_time.then_some(call.now_ms);
    let appended = partition.log.append(&batch, partition.leader_epoch, append_time);
    let appended = appended.map_err(|code| Refusal::from(code).by_log())?;
    cluster.has_changed();
    Ok(appended)
}

fn answer(index: PartitionIndex, result: Result<Appended, Refusal>) -> PartitionProduceResponse {
    match result {
        Ok(Appended { base_offset, log_append_time }) => PartitionProduceResponse {
            index: index.0,
            base_offset,
            log_append_time_ms: log_append_time,
            log_start_offset: 0,
            ..Default::default()
        },
        Err(Refusal { code: error_code, blamed, why, is_by_log }) => PartitionProduceResponse {
            index: index.0,
            error_code,
            base_offset: -1,
            log_start_offset: if is_by_log { 0 } else { -1 },
            error_message: match blamed.len() {
                0 => why.map(str::to_owned),
                count => Some(format!("{count} of the batch's records are refused")),
            },
            record_errors: blamed.into_iter().map(|(index, what)| blame(index, what)).collect(),
            ..Default::default()
        },
    }
}

fn blame(batch_index: i32, what: String) -> BatchIndexAndErrorMessage {
    BatchIndexAndErrorMessage { batch_index, batch_index_error_message: Some(what) }
}

fn leader(cluster: &Cluster, topic: &str, index: PartitionIndex) -> Option<(NodeId, i32)> {
    let partition = cluster.partition(topic, index)?;
    Some((partition.leader?, partition.leader_epoch))
}

fn endpoint(cluster: &Cluster, call: &Call<'_>, id: NodeId) -> Option<NodeEndpoint> {
    let (host, port) = cluster.address(cluster.nodes().get(&id)?, call.session.reached());
    Some(NodeEndpoint { node_id: id.0, host, port: port.into(), rack: None })
}
