//! Text forms of setting values.

use std::time::Duration;

use super::host_port::HostPort;

/// A type that a setting can have.
pub(super) trait Value: Sized {
    /// Whether spaces at the ends of a text are no part of the value.
    const IS_TRIMMED: bool = true;

    fn read(text: &str) -> Result<Self, String>;
    fn shown(&self) -> String;

    /// Error text for a value that a key cannot have.
    fn refusal(key: &str, text: &str, why: &str) -> String {
        format!("{key} cannot be {text:?}: {why}")
    }
}

impl Value for Duration {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map(Self::from_millis).map_err(|_| "it takes a number of milliseconds".to_owned())
    }

    fn shown(&self) -> String {
        self.as_millis().to_string()
    }
}

macro_rules! numbers {
    ($($type:ty)*) => {$(
        impl Value for $type {
            fn read(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| format!("it takes a number from {} to {}", Self::MIN, Self::MAX))
            }

            fn shown(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

numbers! { usize u32 i32 }

impl Value for bool {
    fn read(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("it is true or false".to_owned()),
        }
    }

    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    fn read(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn shown(&self) -> String {
        self.clone()
    }
}

impl Value for Vec<HostPort> {
    fn read(text: &str) -> Result<Self, String> {
        HostPort::list(text)
    }

    fn shown(&self) -> String {
        self.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    /// The reason quotes the wrong entry, because a list can be long.
    fn refusal(key: &str, _: &str, why: &str) -> String {
        format!("{key}: {why}")
    }
}
