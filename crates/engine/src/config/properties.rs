//! Parser for Java properties files.

use std::collections::BTreeMap;
use std::io::Read;

use java_properties::PropertiesIter;

use super::{Config, refused};
use crate::error::{BoxError, Error};

/// Byte order marks, which would otherwise become part of the first key.
const MARKS: [(&[u8], &str); 3] = [(b"\xef\xbb\xbf", "UTF-8"), (b"\xfe\xff", "UTF-16"), (b"\xff\xfe", "UTF-16")];

impl Config {
    /// Reads settings from a Java properties file, with keys of Java or librdkafka.
    ///
    /// # Errors
    /// Of kind [`Configuration`](crate::ErrorKind::Configuration): if the file is not a properties file, or a key or
    /// value is wrong.
    pub fn from_properties(file: impl Read) -> Result<Self, Error> {
        let mut config = Self::default();
        config.set_properties(file)?;
        Ok(config)
    }

    /// Adds the settings of a properties file to these.
    ///
    /// # Errors
    /// As [`from_properties`](Self::from_properties).
    pub fn set_properties(&mut self, file: impl Read) -> Result<(), Error> {
        Self::read_properties(file)?.into_iter().try_for_each(|(key, value)| self.set(&key, &value))
    }

    /// Returns the keys and values of a properties file, sorted by key. If a key is repeated, its last value counts.
    ///
    /// As in Java the file is ISO 8859-1, with other characters written as `\uXXXX`.
    ///
    /// # Errors
    /// Of kind [`Configuration`](crate::ErrorKind::Configuration): if the file cannot be read, is larger than 1 MiB,
    /// begins with a byte order mark, or has a wrong escape.
    pub fn read_properties(file: impl Read) -> Result<Vec<(String, String)>, Error> {
        const LIMIT_BYTES: usize = 1 << 20;
        let wrong = |why: BoxError| refused("cannot read the properties file".to_owned()).caused_by(why);
        let mut bytes = Vec::new();
        file.take(LIMIT_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|error| wrong(error.into()))?;
        if bytes.len() > LIMIT_BYTES {
            return Err(wrong(format!("it has more than {LIMIT_BYTES} bytes").into()));
        }
        if let Some((_, encoding)) = MARKS.iter().find(|(mark, _)| bytes.starts_with(mark)) {
            return Err(wrong(
                format!("it begins with a byte order mark of {encoding}: save it as ASCII, without the mark").into(),
            ));
        }
        // java-properties would follow the byte order mark of another encoding, panics if such a file ends in half a
        // character, and drops a last line that consists of a backslash only.
        let text: String = bytes.into_iter().chain(*b"\n").map(char::from).collect();
        let mut pairs = BTreeMap::new();
        PropertiesIter::new_with_encoding(text.as_bytes(), encoding_rs::UTF_8)
            .read_into(|key, value| drop(pairs.insert(key, value)))
            .map_err(|error| wrong(error.into()))?;
        Ok(pairs.into_iter().collect())
    }
}
