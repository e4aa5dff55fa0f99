//! Reasons why batches fail without a response.

use crate::error::{Error, ErrorKind};

pub(super) fn recreated() -> Error {
    Error::new(ErrorKind::TopicRecreated, "the topic was deleted and created again before the record was acknowledged")
}

pub(super) fn another_cluster() -> Error {
    Error::new(
        ErrorKind::TopicRecreated,
        "the bootstrap servers now lead to another cluster, and the record was sent to the old one",
    )
}

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the producer was closed before the record was delivered")
}
