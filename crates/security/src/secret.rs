//! A value that no output shows, such as a password.

use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// A value that no output shows: `Debug` prints `[hidden]`, and there is no `Display`.
///
/// Clones share the bytes, and the last one erases them from memory. A conversion erases the value that it takes.
/// Copies that other code made before, such as the text of a settings file, stay in memory. The time of a comparison
/// depends on the lengths only.
///
/// ```
/// use kurier_security::Secret;
///
/// let password = Secret::from(" s3cret");
/// assert_eq!(format!("{password:?}"), "[hidden]");
/// assert_eq!(password.expose(), b" s3cret");
/// assert_ne!(password, Secret::from("s3cret"));
/// ```
#[derive(Clone, Default)]
pub struct Secret(Arc<Zeroizing<Box<[u8]>>>);

impl Secret {
    /// Returns the value itself, to pass it to the code that needs it.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Returns whether the value has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&[u8]> for Secret {
    fn from(value: &[u8]) -> Self {
        Self(Arc::new(Zeroizing::new(Box::from(value))))
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self::from(value.as_bytes())
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self::from(value.into_bytes())
    }
}

impl From<Vec<u8>> for Secret {
    /// Copies the bytes, because a box of the exact size would leave them in the memory of the larger vector.
    fn from(mut value: Vec<u8>) -> Self {
        let secret = Self::from(value.as_slice());
        value.zeroize();
        secret
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_appears_in_no_text() {
        let secret = Secret::from("hunter2");
        for text in [format!("{secret:?}"), format!("{secret:#?}"), format!("{:#?}", Some(&secret))] {
            assert!(text.contains("[hidden]") && !text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn every_conversion_keeps_the_bytes() {
        let secrets = [Secret::from(" é"), Secret::from(" é".to_owned()), Secret::from(" é".as_bytes().to_vec())];
        for secret in secrets {
            assert_eq!(secret.expose(), " é".as_bytes());
        }
        assert!(Secret::default().is_empty());
    }

    #[test]
    fn secrets_are_equal_if_all_bytes_are() {
        let secret = Secret::from("abc");
        assert_eq!(secret, secret.clone());
        assert_eq!(secret, Secret::from("abc"));
        for other in ["", "ab", "abd", "abcd"] {
            assert_ne!(secret, Secret::from(other));
        }
    }
}
