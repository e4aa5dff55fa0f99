//! Reasons why batches fail without a response.

use crate::error::{Error, ErrorKind};

pub(super) fn recreated() -> Error {
    Error::new(ErrorKind::TopicRecreated, "its topic was deleted and made anew while it was on its way")
}

pub(super) fn another_cluster() -> Error {
    Error::new(
        ErrorKind::TopicRecreated,
        "the bootstrap servers lead to another cluster now, and it was sent to the old one",
    )
}

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the producer was closed before the record was delivered")
}
