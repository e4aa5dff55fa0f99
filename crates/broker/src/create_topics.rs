//! CreateTopics 2 to 7.
//!
//! From version 4 on a count of -1 asks for the cluster's default. Versions 5 and up tell what was made, 7 its id. Of the
//! configurations `min.insync.replicas`, `max.message.bytes` and `message.timestamp.type` count here; the others are
//! accepted and forgotten. Assignments are taken for their number alone.

use kurier_protocol::messages::CreateTopicsResponse;
use kurier_protocol::messages::create_topics::CreatableTopicResult;
use kurier_protocol::{ErrorCode, Uuid};

use crate::cluster::{Cluster, TopicSettings};
use crate::node::{Call, Outcome};
use crate::reader::{Read, Reader};

struct Wanted<'a> {
    name: &'a str,
    partitions: i32,
    replication_factor: i16,
    assignments: usize,
    configs: Vec<(&'a str, Option<&'a str>)>,
}

pub(crate) fn handle(cluster: &mut Cluster, call: &Call<'_>, mut reader: Reader<'_>) -> Read<Outcome> {
    let wanted = reader.array(|reader| {
        let name = reader.string()?;
        let partitions = reader.int32()?;
        let replication_factor = reader.int16()?;
        let assignments = reader.array(|reader| {
            let _partition_index = reader.int32()?;
            reader.array(Reader::int32)?;
            reader.tags()
        })?;
        let configs = reader.array(|reader| {
            let config = (reader.string()?, reader.nullable_string()?);
            reader.tags()?;
            Ok(config)
        })?;
        reader.tags()?;
        Ok(Wanted { name, partitions, replication_factor, assignments: assignments.len(), configs })
    })?;
    let _timeout_ms = reader.int32()?;
    let is_dry_run = reader.boolean()?;
    reader.tags()?;
    reader.end()?;

    let topics = wanted.iter().map(|wanted| create(cluster, call, wanted, is_dry_run)).collect();
    Ok(call.answer(&CreateTopicsResponse { throttle_time_ms: call.throttle_time_ms, topics }))
}

fn create(cluster: &mut Cluster, call: &Call<'_>, wanted: &Wanted<'_>, is_dry_run: bool) -> CreatableTopicResult {
    let result = match call.refuse {
        Some(code) => Err(code),
        None => settings(cluster, wanted).and_then(|(partitions, settings)| {
            cluster.try_create_topic(wanted.name, partitions, settings.clone())?;
            Ok((partitions, settings))
        }),
    };
    let name = wanted.name.to_owned();
    match result {
        Ok((partitions, settings)) => {
            let topic_id = cluster.topics().get(wanted.name).map_or(Uuid::ZERO, |topic| topic.id);
            if is_dry_run {
                let _ = cluster.delete_topic(wanted.name);
            }
            CreatableTopicResult {
                name,
                topic_id,
                error_message: None,
                num_partitions: partitions,
                replication_factor: i16::try_from(settings.replication_factor).unwrap_or(i16::MAX),
                ..Default::default()
            }
        }
        Err(error_code) => CreatableTopicResult {
            name,
            error_code,
            error_message: Some(error_code.meaning().to_owned()),
            ..Default::default()
        },
    }
}

/// How many partitions a topic is to have, and its settings.
fn settings(cluster: &Cluster, wanted: &Wanted<'_>) -> Result<(i32, TopicSettings), ErrorCode> {
    let mut settings = cluster.settings().default_topic.clone();
    let partitions = match wanted.partitions {
        -1 if wanted.assignments > 0 => i32::try_from(wanted.assignments).unwrap_or(i32::MAX),
        -1 => cluster.settings().default_partitions,
        count => count,
    };
    if wanted.replication_factor != -1 {
        let factor = usize::try_from(wanted.replication_factor).unwrap_or_default();
        if factor == 0 || factor > usize::from(cluster.settings().nodes) {
            return Err(ErrorCode::INVALID_REPLICATION_FACTOR);
        }
        settings.replication_factor = factor;
    }
    for (name, value) in &wanted.configs {
        let number = || value.and_then(|value| value.parse().ok()).ok_or(ErrorCode::INVALID_CONFIG);
        match (*name, *value) {
            ("min.insync.replicas", _) => settings.min_insync_replicas = number()?,
            ("max.message.bytes", _) => settings.max_message_bytes = number()?,
            ("message.timestamp.type", Some("CreateTime")) => settings.is_log_append_time = false,
            ("message.timestamp.type", Some("LogAppendTime")) => settings.is_log_append_time = true,
            ("message.timestamp.type", _) => return Err(ErrorCode::INVALID_CONFIG),
            _ => {}
        }
    }
    Ok((partitions, settings))
}
