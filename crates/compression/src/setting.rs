//! The setting of a codec and its level.

use kurier_protocol::CompressionType;

use crate::error::InvalidLevel;

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
    /// Returns the codec at Kafka's default level: gzip -1, lz4 9, zstd 3.
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

    /// Returns the same codec at another level (`compression.gzip.level`, `compression.lz4.level`,
    /// `compression.zstd.level`).
    ///
    /// gzip has the levels 1 to 9, and -1, which is 3 here and 6 in Java. zstd has -131072 to 22. Java has the lz4 levels
    /// 1 to 17: 9 is the fast compressor, the others are LZ4-HC, which this crate lacks.
    ///
    /// # Errors
    /// When the codec does not have this level.
    pub fn with_level(self, level: i32) -> Result<Self, InvalidLevel> {
        let (is_there, allowed) = match self.kind {
            CompressionType::None | CompressionType::Snappy => (false, "it has no levels"),
            CompressionType::Gzip => (level == -1 || (1..=9).contains(&level), "choose 1 to 9, or -1, which is 3"),
            CompressionType::Lz4 => (level == 9, "only 9, the fast one, is there; the others are LZ4-HC"),
            CompressionType::Zstd => ((-131_072..=22).contains(&level), "choose -131072 to 22"),
        };
        if is_there { Ok(Self { level, ..self }) } else { Err(InvalidLevel { codec: self.kind, level, allowed }) }
    }

    /// The codec.
    #[must_use]
    pub fn kind(self) -> CompressionType {
        self.kind
    }

    /// The level; 0 for a codec without levels.
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
