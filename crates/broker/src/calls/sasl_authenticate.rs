//! SaslAuthenticate 0 to 2: carries the client's tokens (KIP-152). From version 1 on, the answer has the lifetime of the
//! session (KIP-368).
//!
//! After a refusal the node waits for a moment, answers, and closes the connection. A listener without SASL answers
//! ILLEGAL_SASL_STATE.

use kurier_protocol::messages::SaslAuthenticateResponse;
use kurier_protocol::{ErrorCode, Secret};

use super::call::{Call, Outcome};
use super::reader::{Malformed, Read, Reader};
use crate::cluster::Cluster;
use crate::sasl::Answer;
use crate::session::Login;

pub(super) fn handle(cluster: &mut Cluster, call: &mut Call<'_>, mut reader: Reader<'_>) -> Read<Outcome> {
    let token = reader.nullable_bytes()?.ok_or(Malformed)?;
    reader.tags()?;
    reader.end()?;
    let refusal = |error_code, why: &str| SaslAuthenticateResponse {
        error_code,
        error_message: Some(why.to_owned()),
        ..Default::default()
    };
    let Some(delay) = cluster.settings().sasl.as_ref().map(|settings| settings.refusal_delay) else {
        let why = "SaslAuthenticate request received after successful authentication";
        return Ok(call.answer(&refusal(ErrorCode::ILLEGAL_SASL_STATE, why)));
    };
    let before = call.session.principal().is_some();
    let answer = match call.refuse {
        Some(code) => Err(refusal(code, "refused by a scripted fault")),
        None => match cluster.authenticate(&mut call.session.authentication, token, call.now_ms) {
            Answer::Token { bytes, session_lifetime_ms } => Ok(SaslAuthenticateResponse {
                auth_bytes: Secret::from(&bytes[..]),
                session_lifetime_ms,
                ..Default::default()
            }),
            Answer::Refusal(why) => Err(refusal(ErrorCode::SASL_AUTHENTICATION_FAILED, &why)),
        },
    };
    let is_over = answer.is_err() || call.session.authentication.is_over();
    if is_over {
        let principal = call.session.principal().filter(|_| answer.is_ok()).map(str::to_owned);
        cluster.note_login(Login { node: call.node, principal, at_ms: call.now_ms, is_again: before });
    }
    Ok(match answer {
        Ok(response) => call.answer(&response),
        Err(response) => match call.answer(&response) {
            Outcome::Answer(frame) => Outcome::Last { frame, after: delay },
            outcome => outcome,
        },
    })
}
