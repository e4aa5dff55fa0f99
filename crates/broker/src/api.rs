//! The table of the nodes' APIs.

use crate::version::KafkaVersion;

/// An API of the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::enum_variant_names, reason = "Kafka's names")]
pub(crate) enum Api {
    Produce,
    Fetch,
    ListOffsets,
    Metadata,
    FindCoordinator,
    SaslHandshake,
    ApiVersions,
    CreateTopics,
    InitProducerId,
    SaslAuthenticate,
}

/// Facts about an API.
struct Row {
    key: i16,
    name: &'static str,
    lowest: i16,
    /// Highest version in each of [`KafkaVersion::ALL`].
    highest: [i16; 3],
    /// The first flexible version.
    flexible: i16,
}

impl Api {
    /// All APIs, by key.
    pub(crate) const ALL: [Self; 10] = [
        Self::Produce,
        Self::Fetch,
        Self::ListOffsets,
        Self::Metadata,
        Self::FindCoordinator,
        Self::SaslHandshake,
        Self::ApiVersions,
        Self::CreateTopics,
        Self::InitProducerId,
        Self::SaslAuthenticate,
    ];

    /// The file of each API in `calls` explains its versions.
    fn row(self) -> Row {
        match self {
            Self::Produce => Row { key: 0, name: "Produce", lowest: 3, highest: [10, 11, 13], flexible: 9 },
            Self::Fetch => Row { key: 1, name: "Fetch", lowest: 4, highest: [12, 12, 12], flexible: 12 },
            Self::ListOffsets => Row { key: 2, name: "ListOffsets", lowest: 1, highest: [8, 8, 8], flexible: 6 },
            Self::Metadata => Row { key: 3, name: "Metadata", lowest: 0, highest: [12, 12, 13], flexible: 9 },
            Self::FindCoordinator => {
                Row { key: 10, name: "FindCoordinator", lowest: 0, highest: [4, 6, 6], flexible: 3 }
            }
            // No version of SaslHandshake is flexible.
            Self::SaslHandshake => {
                Row { key: 17, name: "SaslHandshake", lowest: 0, highest: [1, 1, 1], flexible: i16::MAX }
            }
            Self::ApiVersions => Row { key: 18, name: "ApiVersions", lowest: 0, highest: [3, 4, 4], flexible: 3 },
            Self::CreateTopics => Row { key: 19, name: "CreateTopics", lowest: 2, highest: [7, 7, 7], flexible: 5 },
            Self::InitProducerId => Row { key: 22, name: "InitProducerId", lowest: 0, highest: [4, 5, 5], flexible: 2 },
            Self::SaslAuthenticate => {
                Row { key: 36, name: "SaslAuthenticate", lowest: 0, highest: [2, 2, 2], flexible: 2 }
            }
        }
    }

    /// Returns the API with this key.
    pub(crate) fn of(key: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|api| api.key() == key)
    }

    /// Returns the API with this name.
    ///
    /// # Panics
    /// If the nodes have no API of this name.
    pub(crate) fn named(name: &str) -> Self {
        let named = Self::ALL.into_iter().find(|api| api.row().name == name);
        named.unwrap_or_else(|| panic!("{name:?} is none of {:?}", Self::ALL.map(|api| api.row().name)))
    }

    pub(crate) fn key(self) -> i16 {
        self.row().key
    }

    /// Returns the lowest version that the nodes execute.
    pub(crate) fn lowest(self) -> i16 {
        self.row().lowest
    }

    /// Returns the highest version in this version of Kafka.
    pub(crate) fn highest(self, version: KafkaVersion) -> i16 {
        let [in_3_7, in_3_9, in_4_3] = self.row().highest;
        match version {
            KafkaVersion::V3_7 => in_3_7,
            KafkaVersion::V3_9 => in_3_9,
            KafkaVersion::V4_3 => in_4_3,
        }
    }

    /// Whether messages of this version are flexible (KIP-482).
    pub(crate) fn is_flexible(self, version: i16) -> bool {
        version >= self.row().flexible
    }
}
