//! API versions: the ranges that a broker offers, and the choice of a version that Kurier speaks too.

use std::collections::HashMap;

use kurier_protocol::messages::{ApiVersionsResponse, InitProducerIdRequest, ProduceRequest};
use kurier_protocol::{CompressionType, Message, Request};

use crate::error::{Error, ErrorKind};

/// The last version of Produce that names topics. Later ones identify them by id (KIP-516).
const LAST_WITH_TOPIC_NAMES: i16 = 12;

/// The API versions that a broker offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Versions(HashMap<i16, (i16, i16)>);

impl Versions {
    /// Reads a broker's response. An API that is listed twice, or with a reversed range, is an error.
    pub(super) fn of(response: &ApiVersionsResponse) -> Result<Self, String> {
        let mut versions = HashMap::new();
        for api in &response.api_keys {
            if api.min_version > api.max_version || api.min_version < 0 {
                return Err(format!(
                    "it offers API {} in versions {} to {}",
                    api.api_key, api.min_version, api.max_version
                ));
            }
            if versions.insert(api.api_key, (api.min_version, api.max_version)).is_some() {
                return Err(format!("it offers API {} twice", api.api_key));
            }
        }
        Ok(Self(versions))
    }

    /// Returns the highest version of a request that both sides speak and `need` allows.
    pub(super) fn needed<R: Request>(&self, need: &Need) -> Option<i16> {
        self.highest_below::<R>(need.highest).filter(|version| *version >= need.lowest)
    }

    /// Returns the highest version of a request that both sides speak.
    pub(super) fn highest<R: Request>(&self) -> Option<i16> {
        self.highest_below::<R>(*R::VERSIONS.end())
    }

    /// Returns the highest version of a request, up to `limit`, that both sides speak.
    pub(super) fn highest_below<R: Request>(&self, limit: i16) -> Option<i16> {
        let (lowest, highest) = *self.0.get(&R::KEY)?;
        let highest = highest.min(limit).min(*R::VERSIONS.end());
        (highest >= lowest.max(*R::VERSIONS.start())).then_some(highest)
    }

    /// Says why a peer cannot be asked this request, and what to do about it.
    pub(super) fn lack<R: Request>(&self) -> String {
        // Request types are named after their API.
        let api = R::SCHEMA.name.trim_end_matches("Request");
        match self.0.get(&R::KEY) {
            Some((lowest, highest)) => format!(
                "it offers {api} in versions {lowest} to {highest}, and Kurier speaks {} to {}: use a broker of another \
                 version",
                R::VERSIONS.start(),
                R::VERSIONS.end()
            ),
            None => format!("it does not offer {api}: is this a controller's listener? Use a listener of a broker"),
        }
    }
}

/// An API that the configuration needs, in certain versions.
#[derive(Debug)]
pub(super) struct Need {
    api: &'static str,
    key: i16,
    lowest: i16,
    highest: i16,
    /// The setting or purpose that needs the API.
    purpose: &'static str,
    /// The advice to a user whose broker does not offer the API.
    way_out: &'static str,
}

impl Need {
    /// Returns the versions of InitProducerId that an idempotent producer needs.
    pub(super) fn producer_id() -> Self {
        Self {
            api: "InitProducerId",
            key: InitProducerIdRequest::KEY,
            lowest: *InitProducerIdRequest::VERSIONS.start(),
            highest: *InitProducerIdRequest::VERSIONS.end(),
            purpose: "enable.idempotence=true",
            way_out: "use brokers of Kafka 0.11 or later that offer it, or set enable.idempotence=false, after which a \
                      retry may write records twice or out of order",
        }
    }

    /// Returns the versions of Produce that batches with this codec need. Versions after [`LAST_WITH_TOPIC_NAMES`] need
    /// topic ids.
    pub(super) fn produce(codec: CompressionType, has_topic_ids: bool) -> Self {
        let (lowest, purpose, way_out) = match codec {
            CompressionType::Zstd => {
                (7, "compression.type=zstd", "set another compression.type, or use brokers of Kafka 2.1 or later")
            }
            _ => (3, "every record", "use brokers of Kafka 0.11 or later that offer it"),
        };
        let highest = if has_topic_ids { *ProduceRequest::VERSIONS.end() } else { LAST_WITH_TOPIC_NAMES };
        Self { api: "Produce", key: ProduceRequest::KEY, lowest, highest, purpose, way_out }
    }

    /// Says which versions a broker lacks, why they are needed, and what to do.
    pub(super) fn error(&self, broker: &str, offered: &Versions) -> Error {
        let Self { api, key, lowest, highest, purpose, way_out } = self;
        let offer = match offered.0.get(key) {
            Some((from, to)) => format!("offers the API {api} in versions {from} to {to} only"),
            None => format!("does not offer the API {api}"),
        };
        let text = format!("{broker} {offer}, and {purpose} needs a version from {lowest} to {highest}: {way_out}");
        Error::new(ErrorKind::Unsupported, text)
    }
}

#[cfg(test)]
mod tests {
    use kurier_protocol::messages::api_versions::ApiVersion;
    use kurier_protocol::messages::{EndTxnRequest, MetadataRequest};
    use kurier_protocol::schema::Type;

    use super::*;

    fn offer(ranges: &[(i16, i16, i16)]) -> ApiVersionsResponse {
        let api = |(api_key, min_version, max_version): &(i16, i16, i16)| ApiVersion {
            api_key: *api_key,
            min_version: *min_version,
            max_version: *max_version,
        };
        ApiVersionsResponse { api_keys: ranges.iter().map(api).collect(), ..Default::default() }
    }

    #[test]
    fn highest_common_version_is_chosen() {
        let versions = Versions::of(&offer(&[(0, 0, 8), (3, 5, 99)])).unwrap();
        assert_eq!(versions.highest::<ProduceRequest>(), Some(8));
        assert_eq!(versions.highest_below::<ProduceRequest>(7), Some(7));
        assert_eq!(versions.highest_below::<ProduceRequest>(2), None, "magic 2 came with version 3");
        assert_eq!(versions.highest::<MetadataRequest>(), Some(*MetadataRequest::VERSIONS.end()));
        assert_eq!(versions.highest::<EndTxnRequest>(), None);
    }

    #[test]
    fn topic_names_end_where_the_message_says() {
        let topics = ProduceRequest::SCHEMA.fields.iter().find(|field| field.name == "topic_data").unwrap();
        let Type::Array(Type::Struct(topic)) = topics.ty else { panic!("an array of structures") };
        let name = topic.fields.iter().find(|field| field.name == "name").unwrap();
        assert_eq!(name.until, LAST_WITH_TOPIC_NAMES);
    }

    #[test]
    fn invalid_offers_are_refused() {
        for offered in [&[(0, 3, 2)][..], &[(0, -1, 2)], &[(3, 0, 1), (3, 0, 1)]] {
            assert!(Versions::of(&offer(offered)).is_err());
        }
    }
}
