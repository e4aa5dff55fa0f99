//! SaslHandshake 0 and 1: the client proposes a mechanism.
//!
//! After version 0, Kafka expects bare tokens, each behind its length and without SaslAuthenticate (before KIP-152). This
//! broker closes the connection instead. A listener without SASL answers ILLEGAL_SASL_STATE.

use std::time::Duration;

use kurier_protocol::ErrorCode;
use kurier_protocol::messages::SaslHandshakeResponse;

use super::call::{Call, Outcome};
use super::reader::{Malformed, Read, Reader};
use crate::cluster::Cluster;

pub(super) fn handle(cluster: &Cluster, call: &mut Call<'_>, mut reader: Reader<'_>) -> Read<Outcome> {
    let mechanism = reader.string()?;
    reader.end()?;
    let answer = |error_code, mechanisms| SaslHandshakeResponse { error_code, mechanisms };
    let Some(settings) = &cluster.settings().sasl else {
        return Ok(call.answer(&answer(ErrorCode::ILLEGAL_SASL_STATE, Vec::new())));
    };
    if let Some(code) = call.refuse {
        return Ok(call.answer(&answer(code, settings.mechanisms.clone())));
    }
    if call.version == 0 {
        return Err(Malformed);
    }
    let handshake = call.session.authentication.handle_handshake(settings, mechanism, call.now_ms);
    let response = answer(handshake.error_code, settings.mechanisms.clone());
    Ok(match call.answer(&response) {
        Outcome::Answer(frame) if handshake.closes => Outcome::Last { frame, after: Duration::ZERO },
        outcome => outcome,
    })
}
