//! Replaces the broker addresses in responses.

use anyhow::Result;
use bytes::Bytes;
use kurier_capture::Head;
use kurier_protocol::messages::{FindCoordinatorRequest, MetadataRequest, ProduceRequest};
use kurier_protocol::{Message, NodeId, Request, read_response, write_response};

/// A node's address in a response.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) node_id: NodeId,
    pub(crate) host: &'a mut String,
    pub(crate) port: &'a mut i32,
}

/// Returns the response as a frame with its length, after `change` has edited each address in it. Returns `None` if the
/// response has no addresses, or this crate does not know its API or version.
///
/// # Errors
/// When `change` fails.
pub(crate) fn changed(
    head: Head,
    response: &Bytes,
    change: impl FnMut(Place<'_>) -> Result<()>,
) -> Result<Option<Vec<u8>>> {
    if head.api().is_none() {
        return Ok(None);
    }
    match head.api_key {
        MetadataRequest::KEY => rewritten::<MetadataRequest>(head, response, change, |response| {
            let places = response.brokers.iter_mut();
            places.map(|one| Place { node_id: one.node_id.into(), host: &mut one.host, port: &mut one.port }).collect()
        }),
        FindCoordinatorRequest::KEY => rewritten::<FindCoordinatorRequest>(head, response, change, |response| {
            let first = Place { node_id: response.node_id.into(), host: &mut response.host, port: &mut response.port };
            let others = response.coordinators.iter_mut();
            let others =
                others.map(|one| Place { node_id: one.node_id.into(), host: &mut one.host, port: &mut one.port });
            // Versions from 4 on have a list, earlier versions a single coordinator.
            [first].into_iter().chain(others).filter(|place| !place.host.is_empty()).collect()
        }),
        ProduceRequest::KEY => rewritten::<ProduceRequest>(head, response, change, |response| {
            let places = response.node_endpoints.iter_mut();
            places.map(|one| Place { node_id: one.node_id.into(), host: &mut one.host, port: &mut one.port }).collect()
        }),
        _ => Ok(None),
    }
}

fn rewritten<R: Request>(
    head: Head,
    response: &Bytes,
    mut change: impl FnMut(Place<'_>) -> Result<()>,
    places: impl FnOnce(&mut R::Response) -> Vec<Place<'_>>,
) -> Result<Option<Vec<u8>>> {
    let Ok((correlation_id, mut message)) = read_response::<R>(response, head.api_version) else { return Ok(None) };
    let places = places(&mut message);
    if places.is_empty() {
        return Ok(None);
    }
    places.into_iter().try_for_each(&mut change)?;
    let mut frame = Vec::with_capacity(response.len());
    write_response(&message, head.api_version, correlation_id, &mut frame)?;
    Ok(Some(frame))
}
