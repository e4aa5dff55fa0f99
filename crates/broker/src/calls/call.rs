//! A request as its handler sees it, and the handler's result.

use std::time::Duration;

use bytes::Bytes;
use kurier_protocol::{CorrelationId, ErrorCode, Message, NodeId, write_response};

use crate::session::Session;

/// A request without its body.
pub(super) struct Call<'a> {
    /// The node that received the request.
    pub(super) node: NodeId,
    /// The connection that the request came on.
    pub(super) session: &'a mut Session,
    pub(super) client_id: Option<&'a str>,
    pub(super) version: i16,
    /// Correlation id, which the answer repeats.
    pub(super) correlation_id: CorrelationId,
    /// The whole frame. The log keeps slices of it, without a copy.
    pub(super) frame: &'a Bytes,
    /// Milliseconds since 1970.
    pub(super) now_ms: i64,
    /// Whether the waiting time is over, so that the node must answer now.
    pub(super) is_late: bool,
    /// Set by a fault, or during SASL: the node does nothing and answers with this code.
    pub(super) refuse: Option<ErrorCode>,
    /// Set by a fault: the records of each batch to blame.
    pub(super) blame: Vec<i32>,
    /// Set by a fault: the throttle time to report.
    pub(super) throttle_time_ms: i32,
}

/// Result of a request.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A response frame.
    Answer(Bytes),
    /// A response frame, sent after this time. Then the node closes the connection.
    Last { frame: Bytes, after: Duration },
    /// No response wanted.
    Nothing,
    /// Try again after a change of the cluster, or after this time.
    Wait(Duration),
    /// Close the connection, as Kafka does for such a request.
    Close,
    /// Close the connection after this time.
    CloseAfter(Duration),
}

impl Outcome {
    /// Sends the answer after this time, and then closes.
    pub(super) fn and_close(self, after: Duration) -> Self {
        match self {
            Self::Answer(frame) => Self::Last { frame, after },
            _ => Self::Close,
        }
    }
}

impl Call<'_> {
    /// Encodes the response as a frame.
    pub(super) fn answer(&self, response: &impl Message) -> Outcome {
        self.answer_in(response, self.version)
    }

    /// Encodes a response of another version than the request.
    pub(super) fn answer_in(&self, response: &impl Message, version: i16) -> Outcome {
        let mut frame = Vec::new();
        match write_response(response, version, self.correlation_id, &mut frame) {
            Ok(()) => Outcome::Answer(frame.into()),
            // Only a name from the request can exceed the limits of a field.
            Err(_) => Outcome::Close,
        }
    }
}
