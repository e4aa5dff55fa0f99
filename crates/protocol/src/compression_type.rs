//! Kafka's codecs and their ids in batch attributes. Another crate implements them.

use std::fmt;
use std::str::FromStr;

/// A codec (`compression.type`).
///
/// ```
/// use kurier_protocol::CompressionType;
///
/// let kind: CompressionType = "snappy".parse()?;
/// assert_eq!((kind, kind.id()), (CompressionType::Snappy, 2));
/// assert_eq!(CompressionType::from_id(2), Some(kind));
/// # Ok::<(), kurier_protocol::UnknownCompression>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CompressionType {
    /// No compression.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy blocks in the framing of the xerial library.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// RFC 8878; brokers take it since Kafka 2.1, from Produce 7 on (KIP-110).
    Zstd,
}

impl CompressionType {
    /// All codecs, by id.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The id in the attributes of a record batch.
    #[must_use]
    pub fn id(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// Returns the codec of an id; ids 5 to 7 are unused.
    #[must_use]
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.id() == id)
    }

    /// The codec's name in Kafka's configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for CompressionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for CompressionType {
    type Err = UnknownCompression;

    fn from_str(name: &str) -> Result<Self, UnknownCompression> {
        let known = Self::ALL.into_iter().find(|kind| kind.name() == name);
        known.ok_or_else(|| UnknownCompression(name.to_owned()))
    }
}

/// A name that is not a codec's.
///
/// ```
/// use kurier_protocol::CompressionType;
///
/// let error = "brotli".parse::<CompressionType>().unwrap_err();
/// assert_eq!(error.to_string(), "there is no codec \"brotli\": choose none, gzip, snappy, lz4 or zstd");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownCompression(pub String);

impl fmt::Display for UnknownCompression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no codec {:?}: choose none, gzip, snappy, lz4 or zstd", self.0)
    }
}

impl std::error::Error for UnknownCompression {}
