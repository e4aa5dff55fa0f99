//! Frames without their secrets, for capture files.

use bytes::Bytes;
use kurier_protocol::messages::{SaslAuthenticateRequest, SaslAuthenticateResponse};
use kurier_protocol::{Api, Message, RequestHeader, ResponseHeader, Secret};

use crate::frame::{Head, Side};
use crate::secrets::is_confidential;

/// Returns a frame whose secrets are zeroed, at the same size; `None` if the frame has none. `head` is the frame's
/// request.
///
/// Of SaslAuthenticate, only the token is zeroed. Of messages about configurations, delegation tokens, SCRAM credentials
/// and of envelopes, only the head stays: they may have passwords and tokens, and this crate does not read them.
///
/// ```
/// use bytes::Bytes;
/// use kurier_capture::{Head, Side, zeroed};
///
/// // SaslAuthenticate 0 with the token `alice`.
/// let frame = Bytes::from_static(b"\0\x24\0\0\0\0\0\x07\xff\xff\0\0\0\x05alice");
/// let head = Head::read(&frame).unwrap();
/// let zeroed = zeroed(head, Side::Client, &frame).unwrap();
/// assert_eq!(zeroed.len(), frame.len());
/// assert!(zeroed.ends_with(b"\0\0\0\x05\0\0\0\0\0"));
/// ```
#[must_use]
pub fn zeroed(head: Head, side: Side, frame: &Bytes) -> Option<Bytes> {
    if !is_confidential(head.api_key) {
        return None;
    }
    // Of a frame that cannot be read, only its correlation id stays, or its head.
    let kept = match side {
        Side::Client => 8,
        Side::Server => 4,
    };
    if head.api_key != SaslAuthenticateRequest::KEY || head.api().is_none() {
        return Some(cleared(frame, kept));
    }
    let version = head.api_version;
    let body = match side {
        Side::Client => RequestHeader::read(frame).ok().map(|(_, body)| body),
        Side::Server => {
            let header = Api::of(head.api_key).map(|api| ResponseHeader::read(frame, api, version));
            header.and_then(Result::ok).map(|(_, body)| body)
        }
    };
    let Some(body) = body else { return Some(cleared(frame, kept)) };
    let zeros = |token: &Secret| Secret::from(Bytes::from(vec![0; token.reveal().len()]));
    let mut written = Vec::new();
    let is_written = match side {
        Side::Client => SaslAuthenticateRequest::read(&body, version).is_ok_and(|mut message| {
            message.auth_bytes = zeros(&message.auth_bytes);
            message.write(version, &mut written).is_ok()
        }),
        Side::Server => SaslAuthenticateResponse::read(&body, version).is_ok_and(|mut message| {
            message.auth_bytes = zeros(&message.auth_bytes);
            message.write(version, &mut written).is_ok()
        }),
    };
    let header = frame.len().saturating_sub(body.len());
    // Fields that this crate does not know are lost in writing. Then nothing of the body stays.
    if !is_written || written.len() != body.len() {
        return Some(cleared(frame, header));
    }
    Some([frame.get(..header).unwrap_or_default(), &written].concat().into())
}

/// Zeroes everything behind the first bytes.
fn cleared(frame: &Bytes, kept: usize) -> Bytes {
    let mut bytes = frame.to_vec();
    bytes.iter_mut().skip(kept).for_each(|byte| *byte = 0);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use kurier_protocol::{CorrelationId, write_request, write_response};

    use super::*;

    fn head(version: i16) -> Head {
        Head { api_key: SaslAuthenticateRequest::KEY, api_version: version, correlation_id: CorrelationId(7) }
    }

    #[test]
    fn tokens_of_every_version_are_zeroed_and_nothing_else() {
        for version in SaslAuthenticateRequest::VERSIONS {
            let request = |token: &'static [u8]| {
                let request = SaslAuthenticateRequest { auth_bytes: Secret::from(token) };
                let mut wire = Vec::new();
                write_request(&request, version, CorrelationId(7), Some("me"), &mut wire).unwrap();
                Bytes::from(wire).slice(4..)
            };
            assert_eq!(zeroed(head(version), Side::Client, &request(b"secret")), Some(request(&[0; 6])));
            let response = |token: &'static [u8]| {
                let response = SaslAuthenticateResponse {
                    auth_bytes: Secret::from(token),
                    error_message: Some("words".to_owned()),
                    ..Default::default()
                };
                let mut wire = Vec::new();
                write_response(&response, version, CorrelationId(7), &mut wire).unwrap();
                Bytes::from(wire).slice(4..)
            };
            assert_eq!(zeroed(head(version), Side::Server, &response(b"v=c2ln")), Some(response(&[0; 6])));
        }
    }

    #[test]
    fn unreadable_frames_keep_their_head_only() {
        let frame = Bytes::from_static(b"\0\x24\0\0\0\0\0\x07\xff\xff\0\0\0\x63secret");
        let zeroed = zeroed(head(0), Side::Client, &frame).unwrap();
        assert_eq!(zeroed.len(), frame.len());
        assert!(zeroed.starts_with(&frame[..8]) && !zeroed.ends_with(b"t"));
        let other = Head { api_key: 3, ..head(0) };
        assert_eq!(super::zeroed(other, Side::Client, &frame), None);
    }

    #[test]
    fn messages_that_may_have_secrets_keep_their_head_only() {
        // A version of SaslAuthenticate that this crate does not know, and the APIs of delegation tokens.
        for (api_key, api_version) in [(36, 99), (38, 3), (39, 2), (40, 2), (41, 3), (51, 0)] {
            let head = Head { api_key, ..head(api_version) };
            for (side, kept) in [(Side::Client, 8), (Side::Server, 4)] {
                let frame = Bytes::from_static(b"12345678 and an HMAC");
                let zeroed = zeroed(head, side, &frame).unwrap();
                assert_eq!(zeroed.len(), frame.len());
                let (head, rest) = zeroed.split_at(kept);
                assert!(head == &frame[..kept] && rest.iter().all(|byte| *byte == 0), "{api_key}: {zeroed:?}");
            }
        }
    }
}
