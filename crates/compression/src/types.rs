//! Which codecs Kafka has, their ids on the wire, and their levels.

use std::fmt;
use std::str::FromStr;

use crate::error::{InvalidLevel, UnknownCompression};

/// A codec by name (`compression.type`).
///
/// ```
/// use kurier_compression::CompressionType;
///
/// let kind: CompressionType = "snappy".parse()?;
/// assert_eq!((kind, kind.id()), (CompressionType::Snappy, 2));
/// # Ok::<(), kurier_compression::UnknownCompression>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CompressionType {
    /// The records as they are.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy blocks in the framing of the xerial library.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// RFC 8878; brokers take it since Kafka 2.1 (KIP-110).
    Zstd,
}

impl CompressionType {
    /// All of them, by id.
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

    /// The codec of an id; 5 to 7 are not in use.
    #[must_use]
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.id() == id)
    }

    /// Its name in Kafka's configuration.
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

/// A codec and its level.
///
/// ```
/// use kurier_compression::{Compression, CompressionType};
///
/// let gzip = Compression::new(CompressionType::Gzip).with_level(9)?;
/// assert_eq!(gzip.level(), 9);
///
/// let error = Compression::new(CompressionType::Lz4).with_level(3).unwrap_err();
/// assert!(error.to_string().starts_with("lz4 has no level 3"));
/// # Ok::<(), kurier_compression::InvalidLevel>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compression {
    kind: CompressionType,
    level: i32,
}

impl Compression {
    /// The codec at Kafka's default level: gzip -1 (the library's own, 6), lz4 9, zstd 3.
    #[must_use]
    pub fn new(kind: CompressionType) -> Self {
        let level = match kind {
            CompressionType::None | CompressionType::Snappy => 0,
            CompressionType::Gzip => -1,
            CompressionType::Lz4 => 9,
            CompressionType::Zstd => 3,
        };
        Self { kind, level }
    }

    /// The same codec at another level (`compression.gzip.level`, `compression.lz4.level`, `compression.zstd.level`).
    ///
    /// gzip has -1 and 1 to 9, zstd -131072 to 22. Java knows lz4 levels 1 to 17, of which 9 is the fast compressor and
    /// the others are LZ4-HC, which this crate does not have.
    ///
    /// # Errors
    /// When the codec has no such level.
    pub fn with_level(self, level: i32) -> Result<Self, InvalidLevel> {
        let (is_there, allowed) = match self.kind {
            CompressionType::None | CompressionType::Snappy => (false, "it has no levels"),
            CompressionType::Gzip => (level == -1 || (1..=9).contains(&level), "choose 1 to 9, or -1 for its default"),
            CompressionType::Lz4 => (level == 9, "only 9, the fast one, is there; the others are LZ4-HC"),
            CompressionType::Zstd => ((-131_072..=22).contains(&level), "choose -131072 to 22"),
        };
        if is_there { Ok(Self { level, ..self }) } else { Err(InvalidLevel { codec: self.kind, level, allowed }) }
    }

    /// Which codec.
    #[must_use]
    pub fn kind(self) -> CompressionType {
        self.kind
    }

    /// Its level; 0 where it has none.
    #[must_use]
    pub fn level(self) -> i32 {
        self.level
    }
}

impl From<CompressionType> for Compression {
    fn from(kind: CompressionType) -> Self {
        Self::new(kind)
    }
}
