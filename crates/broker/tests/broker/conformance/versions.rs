//! Calls for supported and unsupported versions, and for producer ids, which need no topic.

use kurier_broker::KafkaVersion;
use kurier_protocol::messages::InitProducerIdRequest;

use super::ask::Ask;
use super::{Call, call};

/// An ApiVersions request in this version, with this client software name.
const fn versions(version: i16, software: &'static str) -> Ask {
    Ask::Versions { version, software }
}

/// A request in this version with a meaningless body.
const fn raw(key: i16, version: i16) -> Ask {
    Ask::Raw { key, version, body: &[0; 40] }
}

/// A request for a producer id, from a producer with this id and epoch.
fn producer_id(version: i16, producer_id: i64, producer_epoch: i16) -> Ask {
    let transaction_timeout_ms = 60_000;
    let request = InitProducerIdRequest { transactional_id: None, transaction_timeout_ms, producer_id, producer_epoch };
    Ask::InitProducerId(request, version)
}

pub(super) fn calls() -> Vec<Call> {
    vec![
        call("ApiVersions 0").without_topic().ask(versions(0, ""), "NONE in version 0, Produce 3-13, Fetch 4-12, ListOffsets 1-8, Metadata 0-13, FindCoordinator 0-6, ApiVersions 0-4, CreateTopics 2-7, InitProducerId 0-5")
.until(KafkaVersion::V3_7, "NONE in version 0, Produce 3-10, Fetch 4-12, ListOffsets 1-8, Metadata 0-12, FindCoordinator 0-4, ApiVersions 0-3, CreateTopics 2-7, InitProducerId 0-4")
.until(KafkaVersion::V3_9, "NONE in version 0, Produce 3-11, Fetch 4-12, ListOffsets 1-8, Metadata 0-12, FindCoordinator 0-6, ApiVersions 0-4, CreateTopics 2-7, InitProducerId 0-5"),
        call("ApiVersions 1 and 2").without_topic().ask(versions(1, ""), "NONE in version 1, Produce 3-13, Fetch 4-12, ListOffsets 1-8, Metadata 0-13, FindCoordinator 0-6, ApiVersions 0-4, CreateTopics 2-7, InitProducerId 0-5")
.until(KafkaVersion::V3_7, "NONE in version 1, Produce 3-10, Fetch 4-12, ListOffsets 1-8, Metadata 0-12, FindCoordinator 0-4, ApiVersions 0-3, CreateTopics 2-7, InitProducerId 0-4")
.until(KafkaVersion::V3_9, "NONE in version 1, Produce 3-11, Fetch 4-12, ListOffsets 1-8, Metadata 0-12, FindCoordinator 0-6, ApiVersions 0-4, CreateTopics 2-7, InitProducerId 0-5").ask(versions(2, ""), "NONE in version 2, Produce 3-13, Fetch 4-12, ListOffsets 1-8, Metadata 0-13, FindCoordinator 0-6, ApiVersions 0-4, CreateTopics 2-7, InitProducerId 0-5")
.until(KafkaVersion::V3_7, "NONE in version 2, Produce 3-10, Fetch 4-12, ListOffsets 1-8, Metadata 0-12, FindCoordinator 0-4, ApiVersions 0-3, CreateTopics 2-7, InitProducerId 0-4")
.until(KafkaVersion::V3_9, "NONE in version 2, Produce 3-11, Fetch 4-12, ListOffsets 1-8, Metadata 0-12, FindCoordinator 0-6, ApiVersions 0-4, CreateTopics 2-7, InitProducerId 0-5"),
        call("ApiVersions 3").without_topic().ask(versions(3, "tests"), "NONE in version 3, Produce 3-13, Fetch 4-12, ListOffsets 1-8, Metadata 0-13, FindCoordinator 0-6, ApiVersions 0-4, CreateTopics 2-7, InitProducerId 0-5")
.until(KafkaVersion::V3_7, "NONE in version 3, Produce 3-10, Fetch 4-12, ListOffsets 1-8, Metadata 0-12, FindCoordinator 0-4, ApiVersions 0-3, CreateTopics 2-7, InitProducerId 0-4")
.until(KafkaVersion::V3_9, "NONE in version 3, Produce 3-11, Fetch 4-12, ListOffsets 1-8, Metadata 0-12, FindCoordinator 0-6, ApiVersions 0-4, CreateTopics 2-7, InitProducerId 0-5"),
        call("ApiVersions 4").without_topic().ask(versions(4, "tests"), "NONE in version 4, Produce 3-13, Fetch 4-12, ListOffsets 1-8, Metadata 0-13, FindCoordinator 0-6, ApiVersions 0-4, CreateTopics 2-7, InitProducerId 0-5")
.until(KafkaVersion::V3_7, "UNSUPPORTED_VERSION in version 0, ApiVersions 0-3")
.until(KafkaVersion::V3_9, "NONE in version 4, Produce 3-11, Fetch 4-12, ListOffsets 1-8, Metadata 0-12, FindCoordinator 0-6, ApiVersions 0-4, CreateTopics 2-7, InitProducerId 0-5"),
        call("ApiVersions 5, which is too new: version 0 says which are spoken (KIP-511)")
            .without_topic()
            .ask(versions(5, "tests"), "UNSUPPORTED_VERSION in version 0, ApiVersions 0-4")
.until(KafkaVersion::V3_7, "UNSUPPORTED_VERSION in version 0, ApiVersions 0-3"),
        call("ApiVersions of a client without a name, or with a strange one")
            .without_topic()
            .ask(versions(3, ""), "INVALID_REQUEST in version 3")
            .ask(versions(3, "two words"), "INVALID_REQUEST in version 3")
            .ask(versions(3, "-x"), "INVALID_REQUEST in version 3")
            .ask(versions(3, "a.b-c"), "NONE in version 3, Produce 3-13, Fetch 4-12, ListOffsets 1-8, Metadata 0-13, FindCoordinator 0-6, ApiVersions 0-4, CreateTopics 2-7, InitProducerId 0-5")
.until(KafkaVersion::V3_7, "NONE in version 3, Produce 3-10, Fetch 4-12, ListOffsets 1-8, Metadata 0-12, FindCoordinator 0-4, ApiVersions 0-3, CreateTopics 2-7, InitProducerId 0-4")
.until(KafkaVersion::V3_9, "NONE in version 3, Produce 3-11, Fetch 4-12, ListOffsets 1-8, Metadata 0-12, FindCoordinator 0-6, ApiVersions 0-4, CreateTopics 2-7, InitProducerId 0-5"),
        call("ApiVersions far too new, and below 0")
            .without_topic()
            .ask(raw(18, i16::MAX), "[0, 0, 0, 1, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4]")
.until(KafkaVersion::V3_7, "[0, 0, 0, 1, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 3]")
            .ask(raw(18, -1), "[0, 0, 0, 1, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4]")
.until(KafkaVersion::V3_7, "[0, 0, 0, 1, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 3]"),
        call("an API that there is not closes").without_topic().ask(raw(999, 0), "Closed").ask(raw(-1, 0), "Closed"),
        call("a version that is too new closes")
            .without_topic()
            .ask(raw(0, 99), "Closed")
            .ask(raw(3, 99), "Closed")
            .ask(raw(22, 99), "Closed"),
        call("a version below 0 closes").without_topic().ask(raw(0, -1), "Closed").ask(raw(3, -1), "Closed"),
        call("a body that is none closes")
            .without_topic()
            .ask(Ask::Raw { key: 0, version: 9, body: &[0xff; 40] }, "Closed")
            .ask(Ask::Raw { key: 3, version: 9, body: &[] }, "Closed")
            .ask(Ask::Raw { key: 22, version: 4, body: &[0x7f; 3] }, "Closed"),
        // ListOffsets 1 without topics.
        call("bytes after a request")
            .without_topic()
            .ask(Ask::Raw { key: 2, version: 1, body: &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0] }, "[0, 0, 0, 1, 0, 0, 0, 0]")
            .ask(Ask::Raw { key: 2, version: 1, body: &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 7] }, "[0, 0, 0, 1, 0, 0, 0, 0]"),
        call("a producer id, in every version")
            .without_topic()
            .ask(producer_id(0, -1, -1), "NONE a new id, epoch 0")
            // A new broker may need a moment before it can give out ids.
            .in_the_end()
            .ask(producer_id(1, -1, -1), "NONE a new id, epoch 0")
            .ask(producer_id(2, -1, -1), "NONE a new id, epoch 0")
            .ask(producer_id(3, -1, -1), "NONE a new id, epoch 0")
            .ask(producer_id(4, -1, -1), "NONE a new id, epoch 0")
            .ask(producer_id(5, -1, -1), "NONE a new id, epoch 0")
.until(KafkaVersion::V3_7, "Closed"),
        call("a producer that has an id gets another, at epoch 0").without_topic().ask(producer_id(4, 5, 3), "NONE a new id, epoch 0"),
        call("an id without an epoch, and an epoch without an id")
            .without_topic()
            .ask(producer_id(4, 5, -1), "INVALID_REQUEST, id -1, epoch -1")
            .ask(producer_id(4, -1, 5), "INVALID_REQUEST, id -1, epoch -1"),
        call("an empty transactional id").without_topic().ask(
            Ask::InitProducerId(
                InitProducerIdRequest { transactional_id: Some(String::new()), ..Default::default() },
                4,
            ),
            "INVALID_REQUEST, id -1, epoch -1"),
    ]
}
