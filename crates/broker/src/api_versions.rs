//! ApiVersions 0 to 4.
//!
//! Version 3 says who the client is, 4 can offer features whose lowest version is 0 (KIP-1022). Asked for one that is
//! not there, a node answers in version 0 with UNSUPPORTED_VERSION and its range of this API (KIP-511), as Kafka 4.3
//! does when asked for version 5.

use kurier_protocol::ErrorCode;
use kurier_protocol::messages::ApiVersionsResponse;
use kurier_protocol::messages::api_versions::ApiVersion;

use crate::cluster::Cluster;
use crate::node::{APIS, Api, Call, Outcome};
use crate::reader::{Read, Reader};

pub(crate) fn handle(_: &mut Cluster, call: &Call<'_>, mut reader: Reader<'_>) -> Read<Outcome> {
    if call.version >= 3 {
        let _client_software_name = reader.string()?;
        let _client_software_version = reader.string()?;
        reader.tags()?;
    }
    reader.end()?;
    Ok(call.answer(&ApiVersionsResponse {
        error_code: call.refuse.unwrap_or(ErrorCode::NONE),
        throttle_time_ms: call.throttle_time_ms,
        ..offering(&APIS)
    }))
}

/// What a client is told that asks for a version that is not there.
pub(crate) fn only_itself() -> ApiVersionsResponse {
    let itself: Vec<Api> = APIS.into_iter().filter(|api| api.name == "ApiVersions").collect();
    offering(&itself)
}

fn offering(apis: &[Api]) -> ApiVersionsResponse {
    let range = |api: &Api| ApiVersion { api_key: api.key, min_version: api.lowest, max_version: api.highest };
    ApiVersionsResponse { api_keys: apis.iter().map(range).collect(), ..Default::default() }
}
