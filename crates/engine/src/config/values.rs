//! Text forms of setting values.

use std::time::Duration;

use kurier_security::Secret;

use super::special::FOREVER;
use crate::error::{Error, ErrorKind};

/// A type that a setting can have.
pub(super) trait Value: Sized {
    /// Whether spaces at the ends of a text are removed.
    const IS_TRIMMED: bool = true;

    /// Reads the value of a key.
    fn read(key: &str, text: &str) -> Result<Self, Error>;
    fn shown(&self) -> String;

    /// Lowers a value that is too large to compute with.
    fn cap(&mut self) {}
}

/// Returns the error for settings that no producer can work with.
pub(super) fn refused(why: String) -> Error {
    Error::new(ErrorKind::Configuration, why)
}

/// Rejects a value below the limit.
pub(super) fn at_least<T: Value + PartialOrd>(key: &str, value: &T, least: &T) -> Result<(), Error> {
    if value >= least {
        return Ok(());
    }
    Err(refused(format!("{key} must be at least {}, and is {}", least.shown(), value.shown())))
}

/// Rejects a value above the limit.
pub(super) fn at_most<T: Value + PartialOrd>(key: &str, value: &T, most: &T) -> Result<(), Error> {
    if value <= most {
        return Ok(());
    }
    Err(refused(format!("{key} must be at most {}, and is {}", most.shown(), value.shown())))
}

/// Returns the error for a value that a key cannot have, with the values that it can have.
pub(super) fn cannot_be(key: &str, text: &str, allowed: &str) -> Error {
    refused(format!("{key} cannot be {text:?}: {allowed}"))
}

impl Value for Duration {
    fn read(key: &str, text: &str) -> Result<Self, Error> {
        let millis = text.parse().map_err(|_| cannot_be(key, text, "it takes a number of milliseconds"))?;
        Ok(Self::from_millis(millis))
    }

    fn shown(&self) -> String {
        self.as_millis().to_string()
    }

    fn cap(&mut self) {
        *self = (*self).min(FOREVER);
    }
}

macro_rules! numbers {
    ($($type:ty)*) => {$(
        impl Value for $type {
            fn read(key: &str, text: &str) -> Result<Self, Error> {
                let allowed = || format!("it takes a number from {} to {}", Self::MIN, Self::MAX);
                text.parse().map_err(|_| cannot_be(key, text, &allowed()))
            }

            fn shown(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

numbers! { usize u32 i32 }

impl Value for bool {
    fn read(key: &str, text: &str) -> Result<Self, Error> {
        match text.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(cannot_be(key, text, "it is true or false")),
        }
    }

    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    fn read(_: &str, text: &str) -> Result<Self, Error> {
        Ok(text.to_owned())
    }

    fn shown(&self) -> String {
        self.clone()
    }
}

impl Value for Secret {
    /// Spaces at the ends belong to a password, as in Java.
    const IS_TRIMMED: bool = false;

    /// Accepts every text. An error must not quote it: `cannot_be` would.
    fn read(_: &str, text: &str) -> Result<Self, Error> {
        Ok(Self::from(text))
    }

    fn shown(&self) -> String {
        if self.is_empty() { String::new() } else { "[hidden]".to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_setting_keeps_its_spaces_and_is_not_shown() {
        let secret = Secret::read("sasl.password", " hunter2 ").unwrap();
        assert_eq!(secret.expose(), b" hunter2 ");
        assert_eq!(secret.shown(), "[hidden]");
        assert_eq!(Secret::default().shown(), "");
    }
}
