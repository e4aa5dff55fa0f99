//! ApiVersions 0 to 4.
//!
//! From version 3 on, the request names the client's software in letters, digits, `-` and `.` (KIP-511). Version 4 can
//! offer features whose lowest version is 0 (KIP-1022). A node answers an unknown version in version 0, with
//! UNSUPPORTED_VERSION and its range of ApiVersions (KIP-511), as Kafka 4.3 does for version 5.

use kurier_protocol::messages::ApiVersionsResponse;
use kurier_protocol::messages::api_versions::ApiVersion;
use kurier_protocol::{ErrorCode, NodeId};

use super::call::{Call, Outcome};
use super::reader::{Read, Reader};
use crate::api::Api;
use crate::cluster::Cluster;

pub(super) fn handle(cluster: &Cluster, call: &mut Call<'_>, mut reader: Reader<'_>) -> Read<Outcome> {
    let mut is_well_named = true;
    if call.version >= 3 {
        let (software_name, software_version) = (reader.string()?, reader.string()?);
        is_well_named = is_name(software_name) && is_name(software_version);
        reader.tags()?;
    }
    reader.end()?;
    let refuse = call.refuse.or_else(|| (!is_well_named).then_some(ErrorCode::INVALID_REQUEST));
    let offer = if refuse.is_none() { offering(cluster, call.node, &Api::ALL) } else { ApiVersionsResponse::default() };
    if refuse.is_none() {
        call.session.authentication.answers_versions();
    }
    Ok(call.answer(&ApiVersionsResponse {
        error_code: refuse.unwrap_or(ErrorCode::NONE),
        throttle_time_ms: call.throttle_time_ms,
        ..offer
    }))
}

/// Whether Kafka accepts this name of a client's software (`ApiVersionsRequest.isValid`).
fn is_name(name: &str) -> bool {
    let is_inside = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.');
    let is_end = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric());
    name.chars().all(is_inside) && is_end(name.chars().next()) && is_end(name.chars().next_back())
}

/// Answers an unsupported version: lists only the ApiVersions API.
pub(super) fn only_itself(cluster: &Cluster, node: NodeId) -> ApiVersionsResponse {
    offering(cluster, node, &[Api::ApiVersions])
}

fn offering(cluster: &Cluster, node: NodeId, apis: &[Api]) -> ApiVersionsResponse {
    let range = |api: &Api| {
        let (min_version, max_version) = cluster.offered(node, *api)?;
        Some(ApiVersion { api_key: api.key(), min_version, max_version })
    };
    ApiVersionsResponse { api_keys: apis.iter().filter_map(range).collect(), ..Default::default() }
}
