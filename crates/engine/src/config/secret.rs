//! A setting's value that no output shows, such as a password.

use std::fmt;

use super::values::Value;
use crate::error::Error;

/// A value that no output shows: `Debug`, [`explain`](super::Config::explain) and errors print `[hidden]` or nothing.
///
/// A setting of this type is a line in the table of settings, as every other setting. Its text is taken as it stands:
/// spaces at its ends belong to it, as in Java.
///
/// ```
/// use kurier_engine::config::Secret;
///
/// let password = Secret::new(" s3cret");
/// assert_eq!(format!("{password:?}"), "[hidden]");
/// assert_eq!(password.reveal(), " s3cret");
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a value.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// Returns the value itself, to pass it to the code that needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl Value for Secret {
    const IS_TRIMMED: bool = false;

    /// Accepts every text. An error must not quote it: `cannot_be` would.
    fn read(_: &str, text: &str) -> Result<Self, Error> {
        Ok(Self::new(text))
    }

    fn shown(&self) -> String {
        if self.0.is_empty() { String::new() } else { "[hidden]".to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_appears_in_no_text() {
        let secret = Secret::read("sasl.password", " hunter2 ").unwrap();
        for text in [format!("{secret:?}"), format!("{:#?}", Some(&secret)), secret.shown()] {
            assert!(!text.contains("hunter2"), "{text}");
        }
        assert_eq!(secret.reveal(), " hunter2 ");
    }
}
