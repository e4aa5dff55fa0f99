//! Calls for CreateTopics: created and refused topics.

use kurier_broker::KafkaVersion;

use super::ask::{Ask, Which, create};
use super::metadata::TOO_LONG;
use super::{Call, call};

/// A name of 249 letters, the longest valid one.
const LONGEST: &str = TOO_LONG.split_at(1).1;

fn shown() -> Ask {
    Ask::Metadata { version: 9, topics: Some(vec![Which::Own]), may_create: false }
}

pub(super) fn calls() -> Vec<Call> {
    vec![
        call("a topic is created")
            .without_topic()
            .ask(create(3, 1), "NONE, 3 partitions, 1 replicas, an id")
            .ask(shown(), "NONE own, 0: leader leads leader, in sync leader, epoch 0, 1: leader leads leader, in sync leader, epoch 0, 2: leader leads leader, in sync leader, epoch 0")
            .in_the_end()
            .ask(create(3, 1), "TOPIC_ALREADY_EXISTS, and why"),
        call("in version 2").without_topic().ask(create(1, 1).version(2), "NONE").ask(create(1, 1).version(2), "TOPIC_ALREADY_EXISTS, and why"),
        call("in version 4").without_topic().ask(create(1, 1).version(4), "NONE").ask(create(1, 1).version(4), "TOPIC_ALREADY_EXISTS, and why"),
        call("in version 5").without_topic().ask(create(1, 1).version(5), "NONE, 1 partitions, 1 replicas").ask(create(1, 1).version(5), "TOPIC_ALREADY_EXISTS, and why"),
        call("with the cluster's defaults").without_topic().ask(create(-1, -1), "NONE, 1 partitions, 1 replicas, an id"),
        call("with the cluster's defaults, which version 3 has no word for")
            .without_topic()
            .ask(create(-1, -1).version(3), "NONE"),
        call("that is there already").ask(create(1, 1), "TOPIC_ALREADY_EXISTS, and why"),
        call("under a name that no topic may have")
            .without_topic()
            .ask(create(1, 1).named("two words"), "INVALID_TOPIC_EXCEPTION, and why")
            .ask(create(1, 1).named(""), "INVALID_TOPIC_EXCEPTION, and why")
            .ask(create(1, 1).named("."), "INVALID_TOPIC_EXCEPTION, and why")
            .ask(create(1, 1).named("größe"), "INVALID_TOPIC_EXCEPTION, and why"),
        call("under a name that differs from another by dot and underscore")
            .without_topic()
            .ask(create(1, 1).named("conformance.dot_underscore"), "NONE, 1 partitions, 1 replicas, an id")
            .ask(create(1, 1).named("conformance_dot.underscore"), "INVALID_TOPIC_EXCEPTION, and why"),
        call("under two names that differ by dot and underscore, in one request")
            .without_topic()
            .ask(
                create(1, 1).named("conformance.at_once").and("conformance_at.once"),
                "NONE, 1 partitions, 1 replicas, an id; NONE, 1 partitions, 1 replicas, an id")
            .ask(create(1, 1).named("conformance_at_once"), "INVALID_TOPIC_EXCEPTION, and why")
            .ask(create(1, 1).named("conformance_at.once"), "TOPIC_ALREADY_EXISTS, and why"),
        call("under a name that differs so from one that was deleted, and from one of a dry run")
            .without_topic()
            .ask(create(1, 1).named("conformance.gone_now"), "NONE, 1 partitions, 1 replicas, an id")
            .ask(create(1, 1).named("conformance_gone.now"), "INVALID_TOPIC_EXCEPTION, and why")
            .ask(create(1, 1).named("conformance_gone.now").dry_run(), "INVALID_TOPIC_EXCEPTION, and why")
            .then(Ask::DeleteNamed("conformance.gone_now"))
            .ask(create(1, 1).named("conformance.gone.now").dry_run(), "NONE, 1 partitions, 1 replicas, an id")
            .ask(create(1, 1).named("conformance_gone.now"), "NONE, 1 partitions, 1 replicas, an id"),
        call("under the longest name, and a longer one")
            .without_topic()
            .ask(create(1, 1).named(LONGEST), "NONE, 1 partitions, 1 replicas, an id")
            .ask(create(1, 1).named(TOO_LONG), "INVALID_TOPIC_EXCEPTION, and why"),
        call("under names of dots, dashes and underscores")
            .without_topic()
            .ask(create(1, 1).named("..."), "NONE, 1 partitions, 1 replicas, an id")
            .ask(create(1, 1).named("-"), "NONE, 1 partitions, 1 replicas, an id")
            .ask(create(1, 1).named("_"), "NONE, 1 partitions, 1 replicas, an id")
            .ask(create(1, 1).named(".."), "INVALID_TOPIC_EXCEPTION, and why"),
        call("a name that no topic may have is told before all else")
            .ask(create(1, 0).named("two words"), "INVALID_TOPIC_EXCEPTION, and why")
            .ask(create(0, 1).named("two words"), "INVALID_TOPIC_EXCEPTION, and why")
            .ask(create(1, 1).named("two words").set("colour", Some("red")), "INVALID_TOPIC_EXCEPTION, and why")
            .ask(create(1, 1).named("two words").and("two words"), "INVALID_REQUEST, and why")
            .ask(create(1, 0), "TOPIC_ALREADY_EXISTS, and why")
            .ask(create(1, 1).set("colour", Some("red")), "TOPIC_ALREADY_EXISTS, and why"),
        call("under the name of the log of the cluster's own metadata")
            .without_topic()
            .ask(create(1, 1).named("__cluster_metadata"), "INVALID_REQUEST, and why")
            .until(KafkaVersion::V3_7, "TOPIC_AUTHORIZATION_FAILED, and why")
            .ask(create(1, 0).named("__cluster_metadata"), "INVALID_REQUEST, and why")
            .until(KafkaVersion::V3_7, "TOPIC_AUTHORIZATION_FAILED, and why"),
        call("without partitions").without_topic().ask(create(0, 1), "INVALID_PARTITIONS, and why").ask(create(-2, 1), "INVALID_PARTITIONS, and why"),
        call("without replicas").without_topic().ask(create(1, 0), "INVALID_REPLICATION_FACTOR, and why").ask(create(1, -2), "INVALID_REPLICATION_FACTOR, and why"),
        call("with more replicas than nodes").without_topic().ask(create(1, 9), "INVALID_REPLICATION_FACTOR, and why"),
        call("without either").without_topic().ask(create(0, 0), "INVALID_REPLICATION_FACTOR, and why"),
        call("by assignments")
            .without_topic()
            .ask(create(-1, -1).assigned(0, 1).assigned(1, 1), "NONE, 2 partitions, 1 replicas, an id")
            .ask(shown(), "NONE own, 0: leader leads leader, in sync leader, epoch 0, 1: leader leads leader, in sync leader, epoch 0")
            .in_the_end(),
        call("by assignments and counts").without_topic().ask(create(1, 1).assigned(0, 1), "INVALID_REQUEST, and why"),
        call("by assignments that do not count from 0").without_topic().ask(create(-1, -1).assigned(1, 1), "INVALID_REPLICA_ASSIGNMENT, and why"),
        call("by an assignment to nobody").without_topic().ask(create(-1, -1).assigned(0, 0), "INVALID_REPLICA_ASSIGNMENT, and why"),
        call("twice in a request").without_topic().ask(create(1, 1).twice(), "INVALID_REQUEST, and why").ask(shown(), "UNKNOWN_TOPIC_OR_PARTITION own"),
        call("as a dry run").without_topic().ask(create(2, 1).dry_run(), "NONE, 2 partitions, 1 replicas, an id").ask(shown(), "UNKNOWN_TOPIC_OR_PARTITION own"),
        call("as a dry run of what is there").ask(create(2, 1).dry_run(), "TOPIC_ALREADY_EXISTS, and why"),
        call("with settings")
            .without_topic()
            .ask(
                create(1, 1)
                    .set("min.insync.replicas", Some("2"))
                    .set("max.message.bytes", Some("1000"))
                    .set("cleanup.policy", Some("compact"))
                    .set("message.timestamp.type", Some("LogAppendTime")),
                "NONE, 1 partitions, 1 replicas, an id"),
        call("with settings that cannot be")
            .without_topic()
            .ask(create(1, 1).set("min.insync.replicas", Some("0")), "INVALID_CONFIG, and why")
            .ask(create(1, 1).set("min.insync.replicas", Some("two")), "INVALID_CONFIG, and why")
            .ask(create(1, 1).set("max.message.bytes", Some("-1")), "INVALID_CONFIG, and why")
            .ask(create(1, 1).set("message.timestamp.type", Some("Midnight")), "INVALID_CONFIG, and why")
            .ask(create(1, 1).set("message.timestamp.after.max.ms", Some("-1")), "INVALID_CONFIG, and why")
            .ask(create(1, 1).set("cleanup.policy", Some("keep")), "INVALID_CONFIG, and why")
            .ask(create(1, 1).set("segment.bytes", Some("1")), "INVALID_CONFIG, and why"),
        call("with segments of less than 1 MiB (KIP-1030)")
            .without_topic()
            .ask(create(1, 1).set("segment.bytes", Some("1000")), "INVALID_CONFIG, and why")
.until(KafkaVersion::V3_9, "NONE, 1 partitions, 1 replicas, an id"),
        call("with a setting of null").without_topic().ask(create(1, 1).set("min.insync.replicas", None), "INVALID_CONFIG, and why"),
        call("with a setting that there is not").without_topic().ask(create(1, 1).set("colour", Some("red")), "INVALID_CONFIG, and why"),
    ]
}
