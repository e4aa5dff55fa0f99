//! The APIs and versions that a node offers: by default those of its Kafka version.

use std::collections::BTreeMap;

use kurier_protocol::NodeId;

use crate::api::Api;
use crate::version::KafkaVersion;

/// A node's offer of one API, to imitate an old broker, a proxy or a cloud service.
///
/// A client sees a change on its next connection. The node closes the connection on a request that it no longer offers,
/// as Kafka does.
///
/// ```
/// use kurier_broker::{Cluster, ClusterSettings, Offer};
///
/// let mut cluster = Cluster::new(ClusterSettings { nodes: 3, ..ClusterSettings::default() });
/// // Node 1 offers no producer ids, and no node accepts zstd.
/// cluster.set_offer(1, "InitProducerId", Offer::Nothing);
/// for node in 1..=3 {
///     cluster.set_offer(node, "Produce", Offer::UpTo(6));
/// }
/// // Node 1 is upgraded.
/// cluster.set_offer(1, "InitProducerId", Offer::Everything);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offer {
    /// All versions of its Kafka version.
    #[default]
    Everything,
    /// All versions up to this one. If the API's lowest version is above it, the node offers none.
    UpTo(i16),
    /// The node does not know the API.
    Nothing,
}

/// Offers of nodes that differ from their Kafka version.
#[derive(Debug, Default)]
pub(crate) struct Offers(BTreeMap<(NodeId, Api), Offer>);

impl Offers {
    /// # Panics
    /// If the nodes have no API of this name.
    pub(crate) fn set(&mut self, node: NodeId, api: &str, offer: Offer) {
        let api = Api::named(api);
        match offer {
            Offer::Everything => self.0.remove(&(node, api)),
            Offer::UpTo(_) | Offer::Nothing => self.0.insert((node, api), offer),
        };
    }

    /// Returns the lowest and highest version that a node offers of an API.
    pub(crate) fn range(&self, node: NodeId, api: Api, version: KafkaVersion) -> Option<(i16, i16)> {
        // librdkafka compresses only if the broker offers Produce 0. Kafka therefore offers versions that it refuses
        // (KAFKA-18659).
        let lowest = if api == Api::Produce { 0 } else { api.lowest() };
        let highest = api.highest(version);
        let highest = match self.0.get(&(node, api)).copied().unwrap_or_default() {
            Offer::Everything => highest,
            Offer::UpTo(limit) => highest.min(limit),
            Offer::Nothing => return None,
        };
        (lowest <= highest).then_some((lowest, highest))
    }
}
