//! CreateTopics 2 to 7.
//!
//! From version 4 on, a count of -1 means the cluster's default. From version 5 on, the answer describes the new topic,
//! and from version 7 on it includes the topic id. Only configurations with a field in [`TopicSettings`] take effect;
//! Kafka's other ones are accepted and ignored. Of assignments only the numbers count: the number of partitions, and
//! the number of replicas of the first partition.

use std::collections::BTreeMap;

use kurier_protocol::ErrorCode;
use kurier_protocol::messages::CreateTopicsResponse;
use kurier_protocol::messages::create_topics::CreatableTopicResult;

use super::call::{Call, Outcome};
use super::reader::{Read, Reader};
use crate::cluster::{Cluster, Topic};
use crate::settings::TopicSettings;
use crate::version::KafkaVersion;

struct CreatableTopic<'a> {
    name: &'a str,
    partitions: i32,
    replication_factor: i16,
    /// Explicit assignments: partition index and number of replicas.
    assignments: Vec<(i32, usize)>,
    configs: Vec<(&'a str, Option<&'a str>)>,
}

pub(super) fn handle(cluster: &mut Cluster, call: &Call<'_>, mut reader: Reader<'_>) -> Read<Outcome> {
    let wanted = reader.array(|reader| {
        let name = reader.string()?;
        let partitions = reader.int32()?;
        let replication_factor = reader.int16()?;
        let assignments = reader.array(|reader| {
            let partition_index = reader.int32()?;
            let replicas = reader.array(Reader::int32)?.len();
            reader.tags()?;
            Ok((partition_index, replicas))
        })?;
        let configs = reader.array(|reader| {
            let config = (reader.string()?, reader.nullable_string()?);
            reader.tags()?;
            Ok(config)
        })?;
        reader.tags()?;
        Ok(CreatableTopic { name, partitions, replication_factor, assignments, configs })
    })?;
    let _timeout_ms = reader.int32()?;
    let is_dry_run = reader.boolean()?;
    reader.tags()?;
    reader.end()?;

    let mut counts = BTreeMap::new();
    for wanted in &wanted {
        *counts.entry(wanted.name).or_insert(0) += 1;
    }
    let twice = |name: &str| CreatableTopicResult { name: name.to_owned(), ..refused(ErrorCode::INVALID_REQUEST) };
    let mut topics: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).map(|(name, _)| twice(name)).collect();
    let once = wanted.iter().filter(|wanted| counts.get(wanted.name) == Some(&1));
    let mut checked = Vec::new();
    checked.extend(once.map(|wanted| (wanted, cluster.check_new_name(wanted.name))));
    topics.extend(checked.into_iter().map(|(wanted, name)| create(cluster, call, wanted, name, is_dry_run)));
    Ok(call.answer(&CreateTopicsResponse { throttle_time_ms: call.throttle_time_ms, topics }))
}

fn create(
    cluster: &mut Cluster,
    call: &Call<'_>,
    wanted: &CreatableTopic<'_>,
    name: Result<(), ErrorCode>,
    is_dry_run: bool,
) -> CreatableTopicResult {
    let result = match call.refuse {
        Some(code) => Err(code),
        None => name
            .and_then(|()| settings(cluster, wanted))
            .and_then(|(partitions, settings)| cluster.add_topic(wanted.name, partitions, settings)),
    };
    let shown = match result {
        Ok(()) => cluster.topics().get(wanted.name).map(created).unwrap_or_default(),
        Err(code) => refused(code),
    };
    if is_dry_run && result.is_ok() {
        let _ = cluster.delete_topic(wanted.name);
    }
    CreatableTopicResult { name: wanted.name.to_owned(), ..shown }
}

fn created(topic: &Topic) -> CreatableTopicResult {
    let replicas = topic.partitions.first().map_or(0, |partition| partition.replicas.len());
    CreatableTopicResult {
        topic_id: topic.id,
        error_message: None,
        num_partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
        replication_factor: i16::try_from(replicas).unwrap_or(i16::MAX),
        ..Default::default()
    }
}

fn refused(error_code: ErrorCode) -> CreatableTopicResult {
    CreatableTopicResult { error_code, error_message: Some(error_code.meaning().to_owned()), ..Default::default() }
}

/// Returns the smallest allowed `segment.bytes` (`LogConfig`; 1 MiB since KIP-1030).
fn segment_bytes_min(version: KafkaVersion) -> usize {
    match version {
        KafkaVersion::V3_7 | KafkaVersion::V3_9 => 14,
        KafkaVersion::V4_3 => 1 << 20,
    }
}

/// Kafka's other topic configurations, of any version (`TopicConfig`).
const UNREAD_CONFIGS: [&str; 30] = [
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "index.interval.bytes",
    "leader.replication.throttled.replicas",
    "local.retention.bytes",
    "local.retention.ms",
    "max.compaction.lag.ms",
    "message.downconversion.enable",
    "message.format.version",
    "message.timestamp.before.max.ms",
    "message.timestamp.difference.max.ms",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "preallocate",
    "remote.log.copy.disable",
    "remote.log.delete.on.disable",
    "remote.storage.enable",
    "retention.bytes",
    "retention.ms",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
];

/// Returns the topic's number of partitions and its settings.
fn settings(cluster: &Cluster, wanted: &CreatableTopic<'_>) -> Result<(i32, TopicSettings), ErrorCode> {
    let mut settings = cluster.settings().default_topic.clone();
    let has_counts = (wanted.partitions, wanted.replication_factor) != (-1, -1);
    if has_counts && !wanted.assignments.is_empty() {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    let mut assigned: Vec<i32> = wanted.assignments.iter().map(|(partition, _)| *partition).collect();
    assigned.sort_unstable();
    let is_whole = assigned.into_iter().eq((0..).take(wanted.assignments.len()));
    if !is_whole || wanted.assignments.iter().any(|(_, replicas)| *replicas == 0) {
        return Err(ErrorCode::INVALID_REPLICA_ASSIGNMENT);
    }
    let partitions = match wanted.partitions {
        -1 if !wanted.assignments.is_empty() => i32::try_from(wanted.assignments.len()).unwrap_or(i32::MAX),
        -1 => cluster.settings().default_partitions,
        count => count,
    };
    let factor = match wanted.replication_factor {
        -1 => wanted.assignments.first().map(|(_, replicas)| *replicas),
        factor => Some(usize::try_from(factor).unwrap_or_default()),
    };
    if let Some(factor) = factor {
        if factor == 0 || factor > usize::from(cluster.settings().nodes) {
            return Err(ErrorCode::INVALID_REPLICATION_FACTOR);
        }
        settings.replication_factor = factor;
    }
    for (name, value) in &wanted.configs {
        let invalid = ErrorCode::INVALID_CONFIG;
        let number = |lowest: usize| {
            let number = value.and_then(|value| value.parse().ok()).ok_or(invalid)?;
            if number >= lowest { Ok(number) } else { Err(invalid) }
        };
        match (*name, *value) {
            ("min.insync.replicas", _) => settings.min_insync_replicas = number(1)?,
            ("max.message.bytes", _) => settings.max_message_bytes = number(0)?,
            ("message.timestamp.after.max.ms", _) => {
                settings.timestamp_after_max_ms = i64::try_from(number(0)?).map_err(|_| invalid)?;
            }
            ("message.timestamp.type", Some("CreateTime")) => settings.is_log_append_time = false,
            ("message.timestamp.type", Some("LogAppendTime")) => settings.is_log_append_time = true,
            ("message.timestamp.type", _) => return Err(invalid),
            ("segment.bytes", _) => settings.segment_bytes = number(segment_bytes_min(cluster.settings().version))?,
            ("cleanup.policy", Some(policies)) => {
                let is_known = |policy: &str| matches!(policy.trim(), "compact" | "delete");
                if !policies.split(',').all(is_known) {
                    return Err(invalid);
                }
                settings.is_compacted = policies.split(',').any(|policy| policy.trim() == "compact");
            }
            (name, Some(_)) if UNREAD_CONFIGS.contains(&name) => {}
            _ => return Err(invalid),
        }
    }
    Ok((partitions, settings))
}
