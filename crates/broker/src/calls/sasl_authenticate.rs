//! SaslAuthenticate 0 to 2: carries the client's tokens (KIP-152). From version 1 on, the answer has the lifetime of the
//! session (KIP-368).
//!
//! After a refusal the node waits for a moment, answers, and closes the connection. A listener without SASL answers
//! ILLEGAL_SASL_STATE.

use kurier_protocol::messages::SaslAuthenticateResponse;
use kurier_protocol::{ErrorCode, NodeId, Secret};

use super::call::{Call, Outcome};
use super::reader::{Malformed, Read, Reader};
use crate::cluster::Cluster;
use crate::sasl::Answer;
use crate::session::{Login, Session};

pub(super) fn handle(cluster: &mut Cluster, call: &mut Call<'_>, mut reader: Reader<'_>) -> Read<Outcome> {
    let token = reader.nullable_bytes()?.ok_or(Malformed)?;
    reader.tags()?;
    reader.end()?;
    let refusal = |error_code, why: &str| SaslAuthenticateResponse {
        error_code,
        error_message: Some(why.to_owned()),
        ..Default::default()
    };
    if cluster.settings().sasl.is_none() || call.session.authentication.is_over() {
        let why = "SaslAuthenticate request received after successful authentication";
        return Ok(call.answer(&refusal(ErrorCode::ILLEGAL_SASL_STATE, why)));
    }
    let why = "refused by a scripted fault".to_owned();
    let refused = call.refuse.map(|_| Answer::Refusal { why, is_general: false });
    Ok(match authenticate(cluster, call.node, call.session, token, refused, call.now_ms) {
        Answer::Token { bytes, session_lifetime_ms } => call.answer(&SaslAuthenticateResponse {
            auth_bytes: Secret::from(&bytes[..]),
            session_lifetime_ms,
            ..Default::default()
        }),
        Answer::Refusal { why, .. } => {
            let code = call.refuse.unwrap_or(ErrorCode::SASL_AUTHENTICATION_FAILED);
            call.answer(&refusal(code, &why)).and_close(cluster.refusal_delay())
        }
    })
}

/// Handles a token without a message around it. A refusal has no answer, and the node closes the connection.
pub(super) fn handle_bare(
    cluster: &mut Cluster,
    node: NodeId,
    session: &mut Session,
    token: &[u8],
    now_ms: i64,
) -> Outcome {
    match authenticate(cluster, node, session, token, None, now_ms) {
        Answer::Token { bytes, .. } => {
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            Outcome::Answer([&length.to_be_bytes(), &bytes[..]].concat().into())
        }
        // Kafka takes a failure without words of its mechanism for one of the network.
        Answer::Refusal { is_general: true, .. } => Outcome::Close,
        Answer::Refusal { is_general: false, .. } => Outcome::CloseAfter(cluster.refusal_delay()),
    }
}

/// Handles a token, unless the answer is known already, and notes the end of an exchange.
fn authenticate(
    cluster: &mut Cluster,
    node: NodeId,
    session: &mut Session,
    token: &[u8],
    known: Option<Answer>,
    now_ms: i64,
) -> Answer {
    let is_again = session.principal().is_some();
    let answer = known.unwrap_or_else(|| cluster.authenticate(&mut session.authentication, token, now_ms));
    let is_refused = matches!(answer, Answer::Refusal { .. });
    if is_refused || session.authentication.is_over() {
        let principal = session.principal().filter(|_| !is_refused).map(str::to_owned);
        cluster.note_login(Login { node, principal, at_ms: now_ms, is_again });
    }
    answer
}
