//! FindCoordinator 0 to 6.
//!
//! This broker has neither consumer groups nor transactions, so every answer is an error. The API exists because
//! librdkafka compresses with LZ4 only if a broker lists it. Version 4 takes many keys at once (KIP-699).

use kurier_protocol::ErrorCode;
use kurier_protocol::messages::FindCoordinatorResponse;
use kurier_protocol::messages::find_coordinator::Coordinator;

use super::call::{Call, Outcome};
use super::reader::{Read, Reader};
use crate::cluster::Cluster;

pub(super) fn handle(_: &mut Cluster, call: &Call<'_>, mut reader: Reader<'_>) -> Read<Outcome> {
    let key = if call.version <= 3 { Some(reader.string()?) } else { None };
    if call.version >= 1 {
        let _key_type = reader.int8()?;
    }
    let keys = if call.version >= 4 { reader.array(Reader::string)? } else { Vec::new() };
    reader.tags()?;
    reader.end()?;

    let error_code = call.refuse.unwrap_or(ErrorCode::COORDINATOR_NOT_AVAILABLE);
    let nobody = |key: &str| Coordinator {
        key: key.to_owned(),
        node_id: -1,
        port: -1,
        error_code,
        error_message: Some("this broker keeps neither groups nor transactions".to_owned()),
        ..Default::default()
    };
    let response = match key {
        Some(_) => FindCoordinatorResponse { error_code, node_id: -1, port: -1, ..Default::default() },
        None => FindCoordinatorResponse { coordinators: keys.into_iter().map(nobody).collect(), ..Default::default() },
    };
    Ok(call.answer(&FindCoordinatorResponse { throttle_time_ms: call.throttle_time_ms, ..response }))
}
