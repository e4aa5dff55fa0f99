//! A node's side of a connection: a request comes in as a frame, what to do comes out.
//!
//! One file an API says how the request is read and what it does; here stands what all have in common: the header,
//! the versions, the faults by script, and the answer's frame.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use kurier_protocol::messages::ApiVersionsResponse;
use kurier_protocol::{ErrorCode, Message, write_response};

use crate::cluster::Cluster;
use crate::fault::FaultKind;
use crate::reader::{Malformed, Read, Reader};
use crate::version::KafkaVersion;
use crate::{api_versions, create_topics, fetch, find_coordinator, init_producer_id, list_offsets, metadata, produce};

/// An API that the nodes speak.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Api {
    pub(crate) key: i16,
    pub(crate) name: &'static str,
    pub(crate) lowest: i16,
    /// In each of [`KafkaVersion::ALL`].
    highest: [i16; 3],
    /// The first flexible version.
    flexible: i16,
    handle: fn(&mut Cluster, &Call<'_>, Reader<'_>) -> Read<Outcome>,
}

impl Api {
    /// The highest version that this Kafka speaks.
    pub(crate) fn highest(&self, version: KafkaVersion) -> i16 {
        let [in_3_7, in_3_9, in_4_3] = self.highest;
        match version {
            KafkaVersion::V3_7 => in_3_7,
            KafkaVersion::V3_9 => in_3_9,
            KafkaVersion::V4_3 => in_4_3,
        }
    }
}

/// What the nodes speak, by key. Each range is explained in its file.
pub(crate) const APIS: [Api; 8] = [
    Api { key: 0, name: "Produce", lowest: 3, highest: [10, 11, 13], flexible: 9, handle: produce::handle },
    Api { key: 1, name: "Fetch", lowest: 4, highest: [12, 12, 12], flexible: 12, handle: fetch::handle },
    Api { key: 2, name: "ListOffsets", lowest: 1, highest: [8, 8, 8], flexible: 6, handle: list_offsets::handle },
    Api { key: 3, name: "Metadata", lowest: 0, highest: [12, 12, 13], flexible: 9, handle: metadata::handle },
    Api {
        key: 10,
        name: "FindCoordinator",
        lowest: 0,
        highest: [4, 6, 6],
        flexible: 3,
        handle: find_coordinator::handle,
    },
    Api { key: 18, name: "ApiVersions", lowest: 0, highest: [3, 4, 4], flexible: 3, handle: api_versions::handle },
    Api { key: 19, name: "CreateTopics", lowest: 2, highest: [7, 7, 7], flexible: 5, handle: create_topics::handle },
    Api {
        key: 22,
        name: "InitProducerId",
        lowest: 0,
        highest: [4, 5, 5],
        flexible: 2,
        handle: init_producer_id::handle,
    },
];

/// One request, besides its body.
pub(crate) struct Call<'a> {
    /// Which node was asked.
    pub(crate) node: i32,
    /// The address at which the client reached the node.
    pub(crate) reached: Option<IpAddr>,
    pub(crate) client_id: Option<&'a str>,
    pub(crate) version: i16,
    /// The number that the answer must bear.
    correlation_id: i32,
    /// The whole frame, of which record data is cut without a copy.
    pub(crate) frame: &'a Bytes,
    /// Milliseconds since 1970.
    pub(crate) now_ms: i64,
    /// Whether the answer may not wait any longer.
    pub(crate) is_late: bool,
    /// By script: to do nothing, and answer so.
    pub(crate) refuse: Option<ErrorCode>,
    /// By script: which records of each batch to blame.
    pub(crate) blame: Vec<i32>,
    /// By script: what to say of throttling.
    pub(crate) throttle_time_ms: i32,
}

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// An answer, as a frame.
    Answer(Bytes),
    /// It wants none.
    Nothing,
    /// Ask again after a change, or after this long.
    Wait(Duration),
    /// Kafka closes the connection on such a request.
    Close,
}

impl Call<'_> {
    /// The answer as a frame.
    pub(crate) fn answer(&self, response: &impl Message) -> Outcome {
        self.answer_in(response, self.version)
    }

    fn answer_in(&self, response: &impl Message, version: i16) -> Outcome {
        let mut frame = Vec::new();
        match write_response(response, version, self.correlation_id, &mut frame) {
            Ok(()) => Outcome::Answer(frame.into()),
            // Our own fields are within every limit, but for names that a request brought.
            Err(_) => Outcome::Close,
        }
    }
}

/// What a connection does next. See [`Cluster`] for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// Sends this frame, with its length, after this long. If `cut` says so, no more than so many bytes of it, and then
    /// closes.
    Send {
        /// Length and all.
        frame: Bytes,
        /// How long to wait before.
        after: Duration,
        /// How much of it to send.
        cut: Option<usize>,
    },
    /// Sends nothing, and reads the next request.
    Nothing,
    /// Sends nothing, now or later, and keeps the connection open until the client goes.
    Hang,
    /// Asks again when the cluster has changed, or with `is_late` after this long.
    Wait(Duration),
    /// Closes the connection.
    Close,
}

impl Cluster {
    /// Takes a request (a frame without its length) that reached a node.
    ///
    /// `now_ms` is the time in milliseconds since 1970. `is_late` says that a request which was told to
    /// [wait](Reply::Wait) has waited long enough.
    #[must_use]
    pub fn handle(&mut self, node: i32, frame: &Bytes, now_ms: i64, is_late: bool) -> Reply {
        self.handle_at(node, None, frame, now_ms, is_late)
    }

    /// As [`handle`](Self::handle), of a client that reached the node at this address.
    pub(crate) fn handle_at(
        &mut self,
        node: i32,
        reached: Option<IpAddr>,
        frame: &Bytes,
        now_ms: i64,
        is_late: bool,
    ) -> Reply {
        self.try_handle(node, reached, frame, now_ms, is_late).unwrap_or(Reply::Close)
    }

    fn try_handle(
        &mut self,
        node: i32,
        reached: Option<IpAddr>,
        frame: &Bytes,
        now_ms: i64,
        is_late: bool,
    ) -> Read<Reply> {
        // Who stops does nothing more, even on connections that have yet to learn it.
        if !self.is_up(node) {
            return Ok(Reply::Close);
        }
        let mut reader = Reader::new(frame);
        let key = reader.int16()?;
        let version = reader.int16()?;
        let correlation_id = reader.int32()?;
        let client_id = reader.nullable_string()?;
        let mut call = Call {
            node,
            reached,
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
        let api = APIS.iter().find(|api| api.key == key).ok_or(Malformed)?;
        let (_, highest) = self.offered(node, api).ok_or(Malformed)?;
        if !(api.lowest..=highest).contains(&version) {
            // Only of ApiVersions may a client ask for what nobody has (KIP-511).
            let refusal = ApiVersionsResponse {
                error_code: ErrorCode::UNSUPPORTED_VERSION,
                ..api_versions::only_itself(self, node)
            };
            return match api.name {
                "ApiVersions" => Ok(reply(call.answer_in(&refusal, 0), Duration::ZERO, None)),
                _ => Err(Malformed),
            };
        }
        let mut reader = reader.flexible(version >= api.flexible).strict(self.settings().is_strict);
        reader.tags()?;

        let fault = self.faults.met(api.name, node);
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
            _ => (api.handle)(self, &call, reader.clone())?,
        };
        if let Outcome::Wait(time) = outcome {
            return Ok(Reply::Wait(time));
        }
        self.faults.strike_off(api.name, node);
        if let Some(FaultKind::ErrorAfter(code)) = fault {
            call.refuse = Some(code);
            outcome = (api.handle)(self, &call, reader)?;
        }
        Ok(match fault {
            Some(FaultKind::CloseAfter) => Reply::Close,
            Some(FaultKind::Silence) => Reply::Hang,
            Some(FaultKind::Cut(bytes)) => reply(outcome, Duration::ZERO, Some(bytes)),
            Some(FaultKind::Delay(after)) => reply(outcome, after, None),
            _ => reply(outcome, Duration::ZERO, None),
        })
    }
}

fn reply(outcome: Outcome, after: Duration, cut: Option<usize>) -> Reply {
    match outcome {
        Outcome::Answer(frame) => Reply::Send { frame, after, cut },
        Outcome::Nothing => Reply::Nothing,
        Outcome::Wait(time) => Reply::Wait(time),
        Outcome::Close => Reply::Close,
    }
}
