//! A node's side of a connection: maps a request frame to the next action.
//!
//! Each API has a file that reads its request and executes it. This file has the common parts: the header, the
//! versions, the scripted faults, and the response's frame.

mod api_versions;
mod call;
mod create_topics;
mod fetch;
mod find_coordinator;
mod init_producer_id;
mod list_offsets;
mod metadata;
mod produce;
mod reader;
mod sasl_authenticate;
mod sasl_handshake;

use std::time::Duration;

use bytes::Bytes;
use kurier_protocol::messages::ApiVersionsResponse;
use kurier_protocol::{CorrelationId, ErrorCode, NodeId};

use self::call::{Call, Outcome};
use self::reader::{Malformed, Read, Reader};
use crate::api::Api;
use crate::cluster::Cluster;
use crate::fault::FaultKind;
use crate::sasl::Admission;
use crate::session::Session;

/// Next action of a connection. See [`Cluster`] for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// Sends this frame, with its length, after a delay. With `cut`, sends only that many bytes and then closes.
    Send {
        /// The frame, with its length.
        frame: Bytes,
        /// Delay before sending.
        after: Duration,
        /// Number of bytes to send.
        cut: Option<usize>,
    },
    /// Sends nothing and reads the next request.
    Nothing,
    /// Sends nothing, now or later, and keeps the connection open until the client closes it.
    Hang,
    /// Handles the request again after a change of the cluster, or with `is_late` after this time.
    Wait(Duration),
    /// Closes the connection.
    Close,
    /// Sends nothing, and closes the connection after this time.
    CloseAfter(Duration),
}

impl Cluster {
    /// Handles a request (a frame without its length) to a node.
    ///
    /// `now_ms` is the time in milliseconds since 1970. Set `is_late` for a request whose [waiting time](Reply::Wait)
    /// is over.
    #[must_use]
    pub fn handle(&mut self, node: impl Into<NodeId>, frame: &Bytes, now_ms: i64, is_late: bool) -> Reply {
        self.handle_on(node, &mut Session::default(), frame, now_ms, is_late)
    }

    /// Like [`handle`](Self::handle), for a request on this connection.
    pub fn handle_on(
        &mut self,
        node: impl Into<NodeId>,
        session: &mut Session,
        frame: &Bytes,
        now_ms: i64,
        is_late: bool,
    ) -> Reply {
        self.try_handle(node.into(), session, frame, now_ms, is_late).unwrap_or(Reply::Close)
    }

    fn try_handle(
        &mut self,
        node: NodeId,
        session: &mut Session,
        frame: &Bytes,
        now_ms: i64,
        is_late: bool,
    ) -> Read<Reply> {
        // A stopped node answers nothing, even on connections that are still open.
        if !self.is_up(node) {
            return Ok(Reply::Close);
        }
        if session.authentication.expects_bare_token() {
            let outcome = sasl_authenticate::handle_bare(self, node, session, frame, now_ms);
            return Ok(reply(outcome, Duration::ZERO, None));
        }
        let mut reader = Reader::new(frame);
        let key = reader.int16()?;
        let version = reader.int16()?;
        let correlation_id = CorrelationId(reader.int32()?);
        let client_id = reader.nullable_string()?;
        let mut call = Call {
            node,
            session,
            client_id,
            version,
            correlation_id,
            frame,
            now_ms,
            is_late,
            refuse: None,
            blame: Vec::new(),
            throttle_time_ms: 0,
        };
        let api = Api::of(key).ok_or(Malformed)?;
        let (_, highest) = self.offered(node, api).ok_or(Malformed)?;
        if !(api.lowest()..=highest).contains(&version) {
            // Only ApiVersions answers a request in an unknown version (KIP-511).
            let refusal = ApiVersionsResponse {
                error_code: ErrorCode::UNSUPPORTED_VERSION,
                ..api_versions::only_itself(self, node)
            };
            return match api {
                Api::ApiVersions => Ok(reply(call.answer_in(&refusal, 0), Duration::ZERO, None)),
                _ => Err(Malformed),
            };
        }
        let mut reader = reader.flexible(api.is_flexible(version)).strict(self.settings().is_strict);
        reader.tags()?;
        let is_admitted = call.session.waiting.take() == Some(correlation_id);
        match call.session.admit(self.settings(), api, now_ms) {
            _ if is_admitted => {}
            Admission::Execute => {}
            Admission::Refuse => {
                call.refuse = Some(ErrorCode::ILLEGAL_SASL_STATE);
                let outcome = self.execute(api, &mut call, reader)?;
                return Ok(reply(outcome.and_close(self.refusal_delay()), Duration::ZERO, None));
            }
            Admission::Close => return Ok(Reply::Close),
            Admission::Fail => return Ok(Reply::CloseAfter(self.refusal_delay())),
        }

        let fault = self.faults.met(api, node);
        if let Some(FaultKind::Throttle(time)) = fault {
            call.throttle_time_ms = i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
        }
        match &fault {
            Some(FaultKind::Error(code)) => call.refuse = Some(*code),
            Some(FaultKind::Blame(places)) => {
                (call.refuse, call.blame) = (Some(ErrorCode::INVALID_RECORD), places.clone());
            }
            _ => {}
        }
        let mut outcome = match fault {
            Some(FaultKind::Close) => Outcome::Close,
            _ => self.execute(api, &mut call, reader.clone())?,
        };
        if let Outcome::Wait(time) = outcome {
            call.session.waiting = Some(correlation_id);
            return Ok(Reply::Wait(time));
        }
        self.faults.strike_off(api, node);
        if let Some(FaultKind::ErrorAfter(code)) = fault {
            call.refuse = Some(code);
            outcome = self.execute(api, &mut call, reader)?;
        }
        Ok(match fault {
            Some(FaultKind::CloseAfter) => Reply::Close,
            Some(FaultKind::Silence) => Reply::Hang,
            Some(FaultKind::Cut(bytes)) => reply(outcome, Duration::ZERO, Some(bytes)),
            Some(FaultKind::Delay(after)) => reply(outcome, after, None),
            _ => reply(outcome, Duration::ZERO, None),
        })
    }

    /// Reads a request's body and executes it.
    fn execute(&mut self, api: Api, call: &mut Call<'_>, body: Reader<'_>) -> Read<Outcome> {
        match api {
            Api::Produce => produce::handle(self, call, body),
            Api::Fetch => fetch::handle(self, call, body),
            Api::ListOffsets => list_offsets::handle(self, call, body),
            Api::Metadata => metadata::handle(self, call, body),
            Api::FindCoordinator => find_coordinator::handle(self, call, body),
            Api::SaslHandshake => sasl_handshake::handle(self, call, body),
            Api::ApiVersions => api_versions::handle(self, call, body),
            Api::CreateTopics => create_topics::handle(self, call, body),
            Api::InitProducerId => init_producer_id::handle(self, call, body),
            Api::SaslAuthenticate => sasl_authenticate::handle(self, call, body),
        }
    }
}

fn reply(outcome: Outcome, after: Duration, cut: Option<usize>) -> Reply {
    match outcome {
        Outcome::Answer(frame) => Reply::Send { frame, after, cut },
        Outcome::Last { frame, after: delay } => {
            let cut = cut.unwrap_or(frame.len());
            Reply::Send { frame, after: after.max(delay), cut: Some(cut) }
        }
        Outcome::Nothing => Reply::Nothing,
        Outcome::Wait(time) => Reply::Wait(time),
        Outcome::Close => Reply::Close,
        Outcome::CloseAfter(time) => Reply::CloseAfter(time),
    }
}
