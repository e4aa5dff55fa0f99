//! InitProducerId 0 to 5.
//!
//! Without a transactional id, every request gets a new producer id at epoch 0, whatever id it names
//! (`TransactionCoordinator.handleInitProducerId`). A request must name both id and epoch, or neither. Requests with a
//! transactional id are refused, because this broker has no transactions yet.

use kurier_protocol::ErrorCode;
use kurier_protocol::messages::InitProducerIdResponse;

use super::call::{Call, Outcome};
use super::reader::{Read, Reader};
use crate::cluster::Cluster;

pub(super) fn handle(cluster: &mut Cluster, call: &Call<'_>, mut reader: Reader<'_>) -> Read<Outcome> {
    let transactional_id = reader.nullable_string()?;
    let _transaction_timeout_ms = reader.int32()?;
    const NONE: i64 = -1;
    let producer_id = if call.version >= 3 { reader.int64()? } else { NONE };
    let producer_epoch = if call.version >= 3 { reader.int16()?.into() } else { NONE };
    reader.tags()?;
    reader.end()?;

    let refuse = match transactional_id {
        _ if call.refuse.is_some() => call.refuse,
        Some("") => Some(ErrorCode::INVALID_REQUEST),
        Some(_) => Some(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        None if (producer_id == NONE) != (producer_epoch == NONE) => Some(ErrorCode::INVALID_REQUEST),
        None => None,
    };
    let (producer_id, producer_epoch) = match refuse {
        None => (cluster.new_producer_id(), 0),
        Some(_) => (-1, -1),
    };
    Ok(call.answer(&InitProducerIdResponse {
        throttle_time_ms: call.throttle_time_ms,
        error_code: refuse.unwrap_or(ErrorCode::NONE),
        producer_id,
        producer_epoch,
    }))
}
