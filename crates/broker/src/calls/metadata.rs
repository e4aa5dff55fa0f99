//! Metadata 0 to 13.
//!
//! In version 0 an empty topic list means all topics; from version 1 on, null does. Version 4 lets the client forbid
//! topic creation. Version 10 adds topic ids to responses, version 12 to requests. Version 13 can tell the client to
//! bootstrap again, which this broker never does.
//!
//! An automatically created topic is available at once, whereas Kafka answers UNKNOWN_TOPIC_OR_PARTITION for a while.
//! Kafka never says why it cannot create a topic.

use std::collections::HashSet;

use kurier_protocol::messages::MetadataResponse;
use kurier_protocol::messages::metadata::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};
use kurier_protocol::{ErrorCode, NodeId, PartitionIndex, Uuid};

use super::call::{Call, Outcome};
use super::reader::{Read, Reader};
use crate::cluster::{Cluster, Node, Partition, Topic, is_topic_name};
use crate::version::KafkaVersion;

/// A topic in a request: by name, or from version 12 on by id. Versions 10 and 11 have a field for the id but ignore
/// it.
struct MetadataRequestTopic<'a> {
    id: Uuid,
    name: Option<&'a str>,
}

pub(super) fn handle(cluster: &mut Cluster, call: &Call<'_>, mut reader: Reader<'_>) -> Read<Outcome> {
    let wanted = reader.nullable_array(|reader| {
        let id = if call.version >= 10 { Uuid(reader.uuid()?) } else { Uuid::ZERO };
        let name = if call.version >= 10 { reader.nullable_string()? } else { Some(reader.string()?) };
        reader.tags()?;
        Ok(MetadataRequestTopic { id, name })
    })?;
    let may_create = if call.version >= 4 { reader.boolean()? } else { true };
    if (8..=10).contains(&call.version) {
        let _include_cluster_authorized_operations = reader.boolean()?;
    }
    if call.version >= 8 {
        let _include_topic_authorized_operations = reader.boolean()?;
    }
    reader.tags()?;
    reader.end()?;

    if call.refuse == Some(ErrorCode::ILLEGAL_SASL_STATE) {
        // The client has not authenticated, so the answer shows nothing of the cluster.
        let refused = |wanted: &MetadataRequestTopic<'_>| find(cluster, call, wanted, call.refuse);
        let topics = wanted.iter().flatten().map(refused).collect();
        return Ok(call.answer(&MetadataResponse { topics, ..Default::default() }));
    }
    let has_id = |wanted: &MetadataRequestTopic<'_>| wanted.name.is_none() || wanted.id != Uuid::ZERO;
    let is_too_early = call.version < 12 && wanted.iter().flatten().any(has_id);
    let refuse = call.refuse.or_else(|| is_too_early.then_some(ErrorCode::INVALID_REQUEST));
    let asks_for_all = wanted.as_ref().is_none_or(|wanted| call.version == 0 && wanted.is_empty());
    let topics = if asks_for_all {
        cluster.topics().iter().map(|(name, topic)| shown(cluster, name, topic, refuse)).collect()
    } else {
        let mut wanted = wanted.unwrap_or_default();
        // If any topic has an id, Kafka ignores the topics without one. It also ignores duplicates
        // (`KafkaApis.handleTopicMetadataRequest`).
        if wanted.iter().any(|wanted| wanted.id != Uuid::ZERO) {
            wanted.retain(|wanted| wanted.id != Uuid::ZERO);
        }
        let mut seen = HashSet::new();
        wanted.retain(|wanted| seen.insert((wanted.id, wanted.name.filter(|_| wanted.id == Uuid::ZERO))));
        if may_create && cluster.settings().auto_create_topics && refuse.is_none() {
            create_missing(cluster, &wanted);
        }
        wanted.iter().map(|wanted| find(cluster, call, wanted, refuse)).collect()
    };
    let up = || cluster.nodes().iter().filter(|(_, node)| node.is_up);
    let broker = |(id, node): (&NodeId, &Node)| {
        let (host, port) = cluster.address(node, call.session.reached());
        MetadataResponseBroker { node_id: id.0, host, port: port.into(), rack: None }
    };
    Ok(call.answer(&MetadataResponse {
        throttle_time_ms: call.throttle_time_ms,
        brokers: up().map(broker).collect(),
        cluster_id: Some(cluster.id().to_owned()),
        controller_id: up().map(|(id, _)| *id).next().unwrap_or(NodeId::NONE).0,
        topics,
        ..Default::default()
    }))
}

/// Creates the missing topics among those requested by name, with the cluster's defaults, as far as possible. Kafka
/// asks its controller for all of them at once (`AutoTopicCreationManager.createTopics`).
fn create_missing(cluster: &mut Cluster, wanted: &[MetadataRequestTopic<'_>]) {
    let names = wanted.iter().filter(|wanted| wanted.id == Uuid::ZERO).filter_map(|wanted| wanted.name);
    let new: Vec<_> = names.filter(|name| cluster.check_new_name(name).is_ok()).collect();
    for name in new {
        let mut settings = cluster.settings().default_topic.clone();
        settings.is_compacted |= cluster.is_internal(name);
        let _its_answer_says_that_it_is_missing =
            cluster.add_topic(name, cluster.settings().default_partitions, settings);
    }
}

/// Describes one requested topic.
fn find(
    cluster: &Cluster,
    call: &Call<'_>,
    wanted: &MetadataRequestTopic<'_>,
    refuse: Option<ErrorCode>,
) -> MetadataResponseTopic {
    let refused = |name: Option<&str>, error_code| MetadataResponseTopic {
        error_code,
        is_internal: name.is_some_and(|name| cluster.is_internal(name)),
        // The name is nullable from version 12 on.
        name: name.or_else(|| (call.version < 12).then_some("")).map(str::to_owned),
        topic_id: wanted.id,
        ..Default::default()
    };
    if let Some(code) = refuse {
        return refused(wanted.name, code);
    }
    let name = if wanted.id == Uuid::ZERO { wanted.name } else { cluster.topic_name(wanted.id) };
    let Some(name) = name else {
        return refused(None, ErrorCode::UNKNOWN_TOPIC_ID);
    };
    if !is_topic_name(name) {
        return refused(Some(name), ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    match cluster.topics().get(name) {
        Some(topic) => shown(cluster, name, topic, None),
        None => refused(Some(name), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    }
}

fn shown(cluster: &Cluster, name: &str, topic: &Topic, refuse: Option<ErrorCode>) -> MetadataResponseTopic {
    let partitions = (0..)
        .zip(&topic.partitions)
        .map(|(index, partition)| shown_partition(cluster, PartitionIndex(index), partition));
    MetadataResponseTopic {
        error_code: refuse.unwrap_or(ErrorCode::NONE),
        name: Some(name.to_owned()),
        topic_id: topic.id,
        is_internal: cluster.is_internal(name),
        partitions: if refuse.is_none() { partitions.collect() } else { Vec::new() },
        ..Default::default()
    }
}

fn shown_partition(cluster: &Cluster, index: PartitionIndex, partition: &Partition) -> MetadataResponsePartition {
    // In Kafka 4.3 the last replica leaves the in-sync list when its node stops, but stays eligible to lead (KIP-966).
    let has_isr = partition.leader.is_some() || cluster.settings().version < KafkaVersion::V4_3;
    MetadataResponsePartition {
        error_code: if partition.leader.is_some() { ErrorCode::NONE } else { ErrorCode::LEADER_NOT_AVAILABLE },
        partition_index: index.0,
        leader_id: partition.leader.unwrap_or(NodeId::NONE).0,
        leader_epoch: partition.leader_epoch,
        replica_nodes: numbers(&partition.replicas),
        isr_nodes: if has_isr { numbers(&partition.isr) } else { Vec::new() },
        offline_replicas: numbers(partition.replicas.iter().filter(|id| !cluster.is_up(**id))),
    }
}

fn numbers<'a>(nodes: impl IntoIterator<Item = &'a NodeId>) -> Vec<i32> {
    nodes.into_iter().map(|node| node.0).collect()
}
