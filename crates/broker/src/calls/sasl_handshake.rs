//! SaslHandshake 0 and 1: the client proposes a mechanism.
//!
//! After version 0 the tokens have no message around them, as before KIP-152. A listener without SASL answers
//! ILLEGAL_SASL_STATE.

use kurier_protocol::ErrorCode;
use kurier_protocol::messages::SaslHandshakeResponse;

use super::call::{Call, Outcome};
use super::reader::{Read, Reader};
use crate::cluster::Cluster;
use crate::sasl::Handshake;

pub(super) fn handle(cluster: &Cluster, call: &mut Call<'_>, mut reader: Reader<'_>) -> Read<Outcome> {
    let mechanism = reader.string()?;
    reader.end()?;
    let answer = |error_code, mechanisms| SaslHandshakeResponse { error_code, mechanisms };
    let untimely = answer(ErrorCode::ILLEGAL_SASL_STATE, Vec::new());
    let Some(settings) = &cluster.settings().sasl else { return Ok(call.answer(&untimely)) };
    let with_list = |error_code| answer(error_code, settings.mechanisms.clone());
    match call.refuse {
        Some(ErrorCode::ILLEGAL_SASL_STATE) => return Ok(call.answer(&untimely)),
        Some(code) => return Ok(call.answer(&with_list(code))),
        None => {}
    }
    let authentication = &mut call.session.authentication;
    Ok(match authentication.handle_handshake(settings, call.version, mechanism, call.now_ms) {
        Handshake::Accepted => call.answer(&with_list(ErrorCode::NONE)),
        Handshake::Untimely => call.answer(&untimely),
        Handshake::Unsupported => {
            call.answer(&with_list(ErrorCode::UNSUPPORTED_SASL_MECHANISM)).and_close(settings.refusal_delay)
        }
        Handshake::Close => Outcome::Close,
    })
}
