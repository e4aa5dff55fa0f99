//! Calls for Metadata: topics by name and by id, missing topics, and automatically created ones.

use kurier_broker::KafkaVersion;

use super::ask::{Ask, Wanted, Which, create};
use super::{Call, call};

/// Asks for these topics in this version, without creating any.
fn metadata(version: i16, topics: &[Wanted]) -> Ask {
    Ask::Metadata { version, topics: Some(topics.to_vec()), may_create: false }
}

/// Like [`metadata`], but missing topics may be created.
fn creating(version: i16, topics: &[Wanted]) -> Ask {
    Ask::Metadata { version, topics: Some(topics.to_vec()), may_create: true }
}

/// A name of 250 letters, one more than allowed.
pub(super) const TOO_LONG: &str = "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn\
    nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn\
    nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn";

pub(super) fn calls() -> Vec<Call> {
    vec![
        call("a topic, in every version")
            .partitions(2)
            .ask(metadata(0, &[Which::Own]), "NONE own, 0: leader leads leader, in sync leader, 1: leader leads leader, in sync leader")
            .ask(metadata(1, &[Which::Own]), "NONE own, 0: leader leads leader, in sync leader, 1: leader leads leader, in sync leader")
            .ask(metadata(4, &[Which::Own]), "NONE own, 0: leader leads leader, in sync leader, 1: leader leads leader, in sync leader")
            .ask(metadata(5, &[Which::Own]), "NONE own, 0: leader leads leader, in sync leader, 1: leader leads leader, in sync leader")
            .ask(metadata(7, &[Which::Own]), "NONE own, 0: leader leads leader, in sync leader, epoch 0, 1: leader leads leader, in sync leader, epoch 0")
            .ask(metadata(8, &[Which::Own]), "NONE own, 0: leader leads leader, in sync leader, epoch 0, 1: leader leads leader, in sync leader, epoch 0")
            .ask(metadata(9, &[Which::Own]), "NONE own, 0: leader leads leader, in sync leader, epoch 0, 1: leader leads leader, in sync leader, epoch 0")
            .ask(metadata(10, &[Which::Own]), "NONE own, own id, 0: leader leads leader, in sync leader, epoch 0, 1: leader leads leader, in sync leader, epoch 0")
            .ask(metadata(11, &[Which::Own]), "NONE own, own id, 0: leader leads leader, in sync leader, epoch 0, 1: leader leads leader, in sync leader, epoch 0")
            .ask(metadata(12, &[Which::Own]), "NONE own, own id, 0: leader leads leader, in sync leader, epoch 0, 1: leader leads leader, in sync leader, epoch 0")
            .ask(metadata(13, &[Which::Own]), "NONE own, own id, 0: leader leads leader, in sync leader, epoch 0, 1: leader leads leader, in sync leader, epoch 0")
.until(KafkaVersion::V3_9, "Closed"),
        call("all topics")
            .ask(Ask::Metadata { version: 0, topics: Some(vec![]), may_create: false }, "NONE own, 0: leader leads leader, in sync leader")
            .ask(Ask::Metadata { version: 1, topics: None, may_create: false }, "NONE own, 0: leader leads leader, in sync leader")
            .ask(Ask::Metadata { version: 12, topics: None, may_create: false }, "NONE own, own id, 0: leader leads leader, in sync leader, epoch 0"),
        call("no topics").ask(metadata(1, &[]), "").ask(metadata(12, &[]), ""),
        call("a topic asked for twice is shown once").ask(metadata(9, &[Which::Own, Which::Own]), "NONE own, 0: leader leads leader, in sync leader, epoch 0"),
        call("a topic that is not there")
            .without_topic()
            .ask(metadata(4, &[Which::Own]), "UNKNOWN_TOPIC_OR_PARTITION own")
            .ask(metadata(9, &[Which::Own]), "UNKNOWN_TOPIC_OR_PARTITION own")
            .ask(metadata(12, &[Which::Own]), "UNKNOWN_TOPIC_OR_PARTITION own"),
        call("a topic by its id").ask(metadata(12, &[Which::OwnId]), "NONE own, own id, 0: leader leads leader, in sync leader, epoch 0").ask(metadata(13, &[Which::OwnId]), "NONE own, own id, 0: leader leads leader, in sync leader, epoch 0")
.until(KafkaVersion::V3_9, "Closed"),
        call("a topic by its name and by its id").ask(metadata(12, &[Which::Own, Which::OwnId]), "NONE own, own id, 0: leader leads leader, in sync leader, epoch 0"),
        call("an id that no topic has")
            .ask(metadata(12, &[Which::NoId]), "UNKNOWN_TOPIC_ID null, an id")
            .ask(metadata(12, &[Which::Own, Which::NoId]), "UNKNOWN_TOPIC_ID null, an id")
            .ask(creating(12, &[Which::NoId]), "UNKNOWN_TOPIC_ID null, an id"),
        call("the id of a topic that was deleted, and then made anew")
            .then(Ask::Delete)
            .ask(metadata(12, &[Which::OwnId]), "UNKNOWN_TOPIC_ID null, own id")
            .ask(metadata(12, &[Which::Own]), "UNKNOWN_TOPIC_OR_PARTITION own")
            .then(Ask::CreateAnew)
            .ask(metadata(12, &[Which::OwnId]), "UNKNOWN_TOPIC_ID null, own id")
            .ask(metadata(12, &[Which::Own]), "NONE own, an id, 0: leader leads leader, in sync leader, epoch 0"),
        call("an id in a version that has a place for it but none for null")
            .ask(metadata(10, &[Which::OwnId]), "INVALID_REQUEST , own id")
            .ask(metadata(11, &[Which::OwnId]), "INVALID_REQUEST , own id"),
        call("a name that no topic may have")
            .without_topic()
            .ask(metadata(9, &[Which::Named("two words")]), "INVALID_TOPIC_EXCEPTION two words")
            .ask(metadata(9, &[Which::Named("")]), "INVALID_TOPIC_EXCEPTION ")
            .ask(metadata(9, &[Which::Named("."), Which::Named("..")]), "INVALID_TOPIC_EXCEPTION .; INVALID_TOPIC_EXCEPTION ..")
            .ask(metadata(9, &[Which::Named("größe")]), "INVALID_TOPIC_EXCEPTION größe")
            .ask(creating(9, &[Which::Named("a/b")]), "INVALID_TOPIC_EXCEPTION a/b")
            .ask(creating(12, &[Which::Named(TOO_LONG)]), "INVALID_TOPIC_EXCEPTION nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"),
        call("a topic comes to be by being asked for")
            .without_topic()
            .ask(creating(9, &[Which::Own]), "NONE own, 0: leader leads leader, in sync leader, epoch 0")
            .in_the_end()
            .ask(metadata(9, &[Which::Own]), "NONE own, 0: leader leads leader, in sync leader, epoch 0"),
        call("a topic whose name differs from another by dot and underscore does not come to be so")
            .without_topic()
            .ask(create(1, 1).named("conformance.asked_for"), "NONE, 1 partitions, 1 replicas, an id")
            .ask(creating(9, &[Which::Named("conformance_asked.for")]), "UNKNOWN_TOPIC_OR_PARTITION conformance_asked.for")
            .ask(creating(9, &[Which::Named("conformance_asked.for"), Which::Named("conformance_asked for")]), "INVALID_TOPIC_EXCEPTION conformance_asked for; UNKNOWN_TOPIC_OR_PARTITION conformance_asked.for")
            .ask(creating(12, &[Which::Named("conformance_asked.for")]), "UNKNOWN_TOPIC_OR_PARTITION conformance_asked.for")
            .ask(create(1, 1).named("conformance_asked.for"), "INVALID_TOPIC_EXCEPTION, and why"),
        call("two such that are asked for at once both come to be")
            .without_topic()
            .ask(
                creating(9, &[Which::Named("conformance.two_once"), Which::Named("conformance_two.once")]),
                "NONE conformance.two_once, 0: leader leads leader, in sync leader, epoch 0; NONE conformance_two.once, 0: leader leads leader, in sync leader, epoch 0",
            )
            .in_the_end(),
        call("before version 4 nobody can say that it must not")
            .without_topic()
            .ask(metadata(1, &[Which::Own]), "NONE own, 0: leader leads leader, in sync leader")
            .in_the_end(),
        call("some are there and others not")
            .ask(metadata(9, &[Which::Named("two words"), Which::Own, Which::Named("conformance-missing")]), "INVALID_TOPIC_EXCEPTION two words; NONE own, 0: leader leads leader, in sync leader, epoch 0; UNKNOWN_TOPIC_OR_PARTITION conformance-missing"),
    ]
}
