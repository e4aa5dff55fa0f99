//! The comparison of our frames with tshark's.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::AddAssign;

use kurier_capture::{Frame, Side};
use kurier_protocol::messages::SaslAuthenticateRequest;
use kurier_protocol::{Api, Message};

use crate::tshark::{Dissected, error_codes};

/// Versions that tshark 4.0.17 wrongly calls malformed: it reads the length of `auth_bytes` from two bytes, finds it
/// empty and the frame too long. In Kafka's descriptor the type is bytes, whose length has four bytes below the
/// flexible versions. The capture of kcat with SASL PLAIN has 00 00 00 13, followed by 19 bytes with a password.
const MISREAD: [(i16, i16); 2] = [(SaslAuthenticateRequest::KEY, 0), (SaslAuthenticateRequest::KEY, 1)];

/// Result of comparing two readings of a capture.
#[derive(Debug, Default)]
pub(crate) struct Agreement {
    /// Frames with the same api, version and correlation id in both.
    pub(crate) heads: usize,
    /// Responses that tshark shows with only a correlation id, because it does not know their requests' versions.
    pub(crate) ids_only: usize,
    /// Responses in versions that tshark knows, with the same error codes in both.
    pub(crate) responses: usize,
    /// Number of error codes in these responses.
    pub(crate) errors: usize,
    /// Number of those error codes that are not 0.
    pub(crate) failures: usize,
    /// Frames in versions that tshark does not know, by API key and version.
    pub(crate) unknown: BTreeMap<(i16, i16), usize>,
    /// Frames in the versions of [`MISREAD`].
    pub(crate) misread: usize,
    /// Descriptions of the differences.
    pub(crate) differences: Vec<String>,
}

impl AddAssign for Agreement {
    fn add_assign(&mut self, other: Self) {
        self.heads += other.heads;
        self.ids_only += other.ids_only;
        self.responses += other.responses;
        self.errors += other.errors;
        self.failures += other.failures;
        self.misread += other.misread;
        for (version, count) in other.unknown {
            *self.unknown.entry(version).or_default() += count;
        }
        self.differences.extend(other.differences);
    }
}

/// Compares the frames of each side of each connection, in order. `skipped_bytes` is the number of bytes that we
/// skipped.
pub(crate) fn compare(ours: &[Frame], skipped_bytes: u64, theirs: &[Dissected]) -> Agreement {
    let mut sides: BTreeMap<(SocketAddr, SocketAddr), (Vec<&Frame>, Vec<&Dissected>)> = BTreeMap::new();
    for frame in ours {
        let ends = match frame.side {
            Side::Client => (frame.client, frame.server),
            Side::Server => (frame.server, frame.client),
        };
        sides.entry(ends).or_default().0.push(frame);
    }
    for frame in theirs {
        sides.entry((frame.from, frame.to)).or_default().1.push(frame);
    }
    // Requests first: they tell which responses tshark cannot know.
    let mut sides: Vec<_> = sides.into_iter().collect();
    sides.sort_by_key(|(_, (ours, _))| ours.first().is_some_and(|frame| frame.side == Side::Server));
    let mut agreement = Agreement::default();
    let mut skipped_by_us = 0;
    for ((from, to), (ours, mut theirs)) in sides {
        // If a connection is older than the capture, tshark begins with a response of unknown api, but we begin with a
        // request.
        if theirs.len() > ours.len() && theirs.first().is_some_and(|first| first.api.is_none()) {
            skipped_by_us += theirs.remove(0).bytes;
        }
        if ours.len() != theirs.len() {
            let (ours, theirs) = (ours.len(), theirs.len());
            agreement.differences.push(format!("{from} said {ours} frames to {to}, by tshark {theirs}"));
        }
        for (our, their) in ours.into_iter().zip(theirs) {
            agreement.frame(our, their);
        }
    }
    if skipped_by_us != skipped_bytes {
        let difference = format!("{skipped_bytes} bytes are no frame's, {skipped_by_us} by tshark");
        agreement.differences.push(difference);
    }
    agreement
}

impl Agreement {
    fn frame(&mut self, our: &Frame, their: &Dissected) {
        let Some(head) = our.head else {
            return self.differ(our, their, "we know no request for it");
        };
        if head.correlation_id.0 != their.correlation_id {
            return self.differ(our, their, &format!("correlation id {}", their.correlation_id));
        }
        let version = (head.api_key, head.api_version);
        match their.api {
            Some(api) if api != version => {
                return self.differ(our, their, &format!("{} v{}", name(api.0), api.1));
            }
            Some(_) => self.heads += 1,
            // Correct only if tshark did not know the request.
            None if our.side == Side::Server && self.unknown.contains_key(&version) => self.ids_only += 1,
            None => return self.differ(our, their, "no api"),
        }
        if their.api.is_none() || !their.is_known {
            *self.unknown.entry(version).or_default() += 1;
            return;
        }
        if their.is_malformed && !MISREAD.contains(&version) {
            return self.differ(our, their, "malformed");
        }
        if their.is_malformed {
            self.misread += 1;
        }
        if our.side == Side::Server {
            let mut errors = Vec::new();
            error_codes(&our.json(false)["body"], "errorCode", &mut errors);
            if errors != their.errors {
                return self.differ(our, their, &format!("error codes {:?}, not {errors:?}", their.errors));
            }
            self.responses += 1;
            self.errors += errors.len();
            self.failures += errors.iter().filter(|code| **code != 0).count();
        }
    }

    fn differ(&mut self, our: &Frame, their: &Dissected, what: &str) {
        let head = our.head.map_or_else(
            || "?".to_owned(),
            |head| format!("{} v{}, correlation id {}", name(head.api_key), head.api_version, head.correlation_id),
        );
        let side = if our.side == Side::Client { "request" } else { "response" };
        let (number, packet) = (our.number, their.packet);
        self.differences.push(format!("frame {number}, {side} of {head}: tshark has {what} in packet {packet}"));
    }
}

/// Returns an API's name, or its key if it is unknown.
pub(crate) fn name(api_key: i16) -> String {
    Api::of(api_key).map_or_else(|| format!("api {api_key}"), |api| api.name().to_owned())
}
