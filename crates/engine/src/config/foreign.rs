//! Keys of consumers, admin tools and Kafka Connect workers, so that a producer can share their properties files.

/// Returns whether a key belongs to other clients only. `is_producers` recognises a producer's keys, which Connect
/// workers write with a prefix.
pub(super) fn is_foreign(key: &str, is_producers: impl Fn(&str) -> bool) -> bool {
    let is_known = |key: &str| KEYS.contains(&key) || PREFIXES.iter().any(|prefix| key.starts_with(prefix));
    let overridden = OVERRIDES.iter().find_map(|prefix| key.strip_prefix(prefix));
    is_known(key) || overridden.is_some_and(|key| is_known(key) || is_producers(key))
}

/// Returns every key that is not built from a prefix and another key.
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    KEYS.iter().copied()
}

/// The keys of Java's `ConsumerConfig`, `AdminClientConfig`, `DistributedConfig` and `StandaloneConfig`, and of
/// librdkafka's consumer, without those of a producer. The test below compares them with the lists of these clients.
const KEYS: &[&str] = &[
    "access.control.allow.methods",
    "access.control.allow.origin",
    "admin.listeners",
    "auto.commit.enable",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "bootstrap.controllers",
    "check.crcs",
    "config.storage.replication.factor",
    "config.storage.topic",
    "connect.protocol",
    "connector.client.config.override.policy",
    "consume.callback.max.messages",
    "consume_cb",
    "coordinator.query.interval.ms",
    "default.api.timeout.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "exactly.once.source.support",
    "exclude.internal.topics",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.max.wait.ms",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.protocol.type",
    "group.remote.assignor",
    "header.converter",
    "header.converter.plugin.version",
    "heartbeat.interval.ms",
    "inter.worker.key.generation.algorithm",
    "inter.worker.key.size",
    "inter.worker.key.ttl.ms",
    "inter.worker.signature.algorithm",
    "inter.worker.verification.algorithms",
    "internal.leave.group.on.close",
    "internal.throw.on.fetch.stable.offset.unsupported",
    "internal.topics.automatic.creation.enable",
    "isolation.level",
    "key.converter",
    "key.converter.plugin.version",
    "key.deserializer",
    "listeners",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "max.poll.records",
    "offset.flush.interval.ms",
    "offset.flush.timeout.ms",
    "offset.storage.file.filename",
    "offset.storage.partitions",
    "offset.storage.replication.factor",
    "offset.storage.topic",
    "offset.store.method",
    "offset.store.path",
    "offset.store.sync.interval.ms",
    "offset_commit_cb",
    "partition.assignment.strategy",
    "plugin.discovery",
    "plugin.path",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "rebalance.timeout.ms",
    "rebalance_cb",
    "response.http.headers.config",
    "rest.advertised.host.name",
    "rest.advertised.listener",
    "rest.advertised.port",
    "rest.extension.classes",
    "scheduled.rebalance.max.delay.ms",
    "session.timeout.ms",
    "share.acknowledgement.mode",
    "share.acquire.mode",
    "ssl.client.auth",
    "status.storage.partitions",
    "status.storage.replication.factor",
    "status.storage.topic",
    "task.shutdown.graceful.timeout.ms",
    "topic.creation.enable",
    "topic.tracking.allow.reset",
    "topic.tracking.enable",
    "value.converter",
    "value.converter.plugin.version",
    "value.deserializer",
    "worker.sync.timeout.ms",
    "worker.unsync.backoff.ms",
];

/// Prefixes of the settings that a Connect worker passes to its converters, stores, listeners and plug-ins, and of those
/// for a schema registry, which clouds put into the files that they offer.
const PREFIXES: &[&str] = &[
    "admin.listeners.https.",
    "basic.auth.",
    "config.providers.",
    "config.storage.",
    "header.converter.",
    "key.converter.",
    "listeners.https.",
    "metrics.context.",
    "offset.storage.",
    "schema.registry.",
    "status.storage.",
    "value.converter.",
];

/// Prefixes of the settings that a Connect worker passes to its connectors' clients.
const OVERRIDES: &[&str] = &["producer.", "consumer.", "admin."];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::Config;

    /// Clients and their keys; ORIGIN.md in the same folder names the versions.
    const CLIENTS: &str = include_str!("../../../../testdata/settings.tsv");

    fn keys_of(is_producer: bool) -> BTreeSet<&'static str> {
        let lines = CLIENTS.lines().map(|line| line.split_once('\t').unwrap());
        lines.filter(|(client, _)| client.ends_with("-producer") == is_producer).map(|(_, key)| key).collect()
    }

    #[test]
    fn keys_are_those_of_the_other_clients() {
        let others = keys_of(false).into_iter().filter(|key| !Config::is_producers(key));
        assert_eq!(others.collect::<Vec<_>>(), KEYS);
    }

    #[test]
    fn every_key_of_a_producer_is_known() {
        let unknown: Vec<_> = keys_of(true).into_iter().filter(|key| !Config::is_producers(key)).collect();
        assert_eq!(unknown, Vec::<&str>::new());
    }

    #[test]
    fn connect_workers_write_keys_with_prefixes() {
        for (key, is_expected) in [
            ("basic.auth.user.info", true),
            ("schema.registry.url", true),
            ("producer.linger.ms", true),
            ("producer.queue.buffering.max.ms", true),
            ("producer.ssl.key.password", true),
            ("consumer.max.poll.records", true),
            ("admin.security.protocol", true),
            ("key.converter.schemas.enable", true),
            ("config.providers.env.class", true),
            ("status.storage.cleanup.policy", true),
            ("producer.linger", false),
            ("producer.producer.linger.ms", false),
            ("consumer.", false),
            ("linger.ms", false),
        ] {
            assert_eq!(is_foreign(key, Config::is_producers), is_expected, "{key}");
        }
    }
}
