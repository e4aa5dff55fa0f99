//! The APIs and versions that a node offers: those of its Kafka version, unless a test takes some away.

use std::collections::BTreeMap;

use crate::node::{APIS, Api};
use crate::version::KafkaVersion;

/// What a node offers of one API, to play an old broker, a proxy or a cloud service.
///
/// A client learns of a change with its next connection. A request that the node no longer offers closes the connection,
/// as Kafka does.
///
/// ```
/// use kurier_broker::{Cluster, ClusterSettings, Offer};
///
/// let mut cluster = Cluster::new(ClusterSettings { nodes: 3, ..ClusterSettings::default() });
/// // Node 1 knows no idempotent producers, and no node takes zstd.
/// cluster.set_offer(1, "InitProducerId", Offer::Nothing);
/// for node in 1..=3 {
///     cluster.set_offer(node, "Produce", Offer::UpTo(6));
/// }
/// // Node 1 is upgraded.
/// cluster.set_offer(1, "InitProducerId", Offer::Everything);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offer {
    /// All versions that its Kafka version speaks.
    #[default]
    Everything,
    /// Its versions up to this one. A node offers nothing of an API whose lowest version is above it.
    UpTo(i16),
    /// The API is unknown to the node.
    Nothing,
}

/// What each node offers, where that differs from its Kafka version.
#[derive(Debug, Default)]
pub(crate) struct Offers(BTreeMap<(i32, &'static str), Offer>);

impl Offers {
    /// # Panics
    /// When the nodes speak no API of this name.
    pub(crate) fn set(&mut self, node: i32, api: &'static str, offer: Offer) {
        let names = || APIS.iter().map(|known| known.name);
        assert!(names().any(|name| name == api), "{api:?} is none of {:?}", names().collect::<Vec<_>>());
        match offer {
            Offer::Everything => self.0.remove(&(node, api)),
            Offer::UpTo(_) | Offer::Nothing => self.0.insert((node, api), offer),
        };
    }

    /// The lowest and highest version that a node offers of an API.
    pub(crate) fn range(&self, node: i32, api: &Api, version: KafkaVersion) -> Option<(i16, i16)> {
        // librdkafka compresses only where Produce 0 is offered, so Kafka offers what it refuses (KAFKA-18659).
        let lowest = if api.name == "Produce" { 0 } else { api.lowest };
        let highest = api.highest(version);
        let highest = match self.0.get(&(node, api.name)).copied().unwrap_or_default() {
            Offer::Everything => highest,
            Offer::UpTo(limit) => highest.min(limit),
            Offer::Nothing => return None,
        };
        (lowest <= highest).then_some((lowest, highest))
    }
}
