//! InitProducerId 0 to 5.
//!
//! Without a transactional id every call gives a new id at epoch 0, whatever id it names (`TransactionCoordinator.
//! handleInitProducerId`). Transactional ids are refused: there are no transactions here yet.

use kurier_protocol::ErrorCode;
use kurier_protocol::messages::InitProducerIdResponse;

use crate::cluster::Cluster;
use crate::node::{Call, Outcome};
use crate::reader::{Read, Reader};

pub(crate) fn handle(cluster: &mut Cluster, call: &Call<'_>, mut reader: Reader<'_>) -> Read<Outcome> {
    let transactional_id = reader.nullable_string()?;
    let _transaction_timeout_ms = reader.int32()?;
    if call.version >= 3 {
        let _producer_id = reader.int64()?;
        let _producer_epoch = reader.int16()?;
    }
    reader.tags()?;
    reader.end()?;

    let refuse = call.refuse.or_else(|| transactional_id.map(|_| ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED));
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
