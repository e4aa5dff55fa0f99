//! Text forms of values that only settings of TLS and SASL have.

use std::path::PathBuf;

use kurier_security::{AssertionAlgorithm, Mechanism};

use super::super::host_port::HostPort;
use super::super::values::{Value, cannot_be, refused};
use crate::error::Error;

/// Empty text means that the setting has no value, as in Java.
impl<T: Value> Value for Option<T> {
    const IS_TRIMMED: bool = T::IS_TRIMMED;

    fn read(key: &str, text: &str) -> Result<Self, Error> {
        if text.is_empty() { Ok(None) } else { T::read(key, text).map(Some) }
    }

    fn shown(&self) -> String {
        self.as_ref().map(T::shown).unwrap_or_default()
    }
}

impl Value for PathBuf {
    /// Refuses the content of a file without quoting it: it may be a private key.
    fn read(key: &str, text: &str) -> Result<Self, Error> {
        if text.contains("-----BEGIN") {
            return Err(refused(format!("{key} takes the path of a file, and has the content of one: write the path")));
        }
        Ok(Self::from(text))
    }

    fn shown(&self) -> String {
        self.display().to_string()
    }
}

impl Value for Mechanism {
    fn read(key: &str, text: &str) -> Result<Self, Error> {
        if text.contains(',') {
            return Err(cannot_be(key, text, "it is exactly one mechanism, such as SCRAM-SHA-512"));
        }
        text.parse().map_err(|error| refused(format!("{key} names no mechanism of this producer")).caused_by(error))
    }

    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Value for AssertionAlgorithm {
    fn read(key: &str, text: &str) -> Result<Self, Error> {
        text.parse().map_err(|error| refused(format!("{key} cannot be used")).caused_by(error))
    }

    fn shown(&self) -> String {
        self.to_string()
    }
}

/// A DNS name or an IP address, without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub struct ServerName(pub String);

impl Value for ServerName {
    fn read(key: &str, text: &str) -> Result<Self, Error> {
        let with_port = if text.contains(':') { format!("[{text}]:1") } else { format!("{text}:1") };
        let server: Result<HostPort, _> = with_port.parse();
        let server =
            server.map_err(|_| cannot_be(key, text, "it takes a DNS name or an IP address, without a port"))?;
        Ok(Self(server.host))
    }

    fn shown(&self) -> String {
        self.0.clone()
    }
}

/// SASL extensions, as pairs of name and value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[doc(hidden)]
pub struct Extensions(pub Vec<(String, String)>);

impl Value for Extensions {
    /// Refuses names and values that RFC 7628 does not allow.
    fn read(key: &str, text: &str) -> Result<Self, Error> {
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=')?;
            let (name, value) = (name.trim(), value.trim());
            let is_name = !name.is_empty() && name != "auth" && name.bytes().all(|byte| byte.is_ascii_alphabetic());
            let is_value = value.bytes().all(|byte| byte.is_ascii_graphic() || b" \t\r\n".contains(&byte));
            (is_name && is_value).then(|| (name.to_owned(), value.to_owned()))
        };
        let pairs = text.split(',').filter(|entry| !entry.trim().is_empty()).map(pair);
        let pairs: Option<Vec<_>> = pairs.collect();
        pairs.map(Self).ok_or_else(|| cannot_be(key, text, "it takes NAME=VALUE,NAME=VALUE, with letters in the names"))
    }

    fn shown(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
    }
}

impl Value for f64 {
    fn read(key: &str, text: &str) -> Result<Self, Error> {
        let number = text.parse().ok().filter(|number: &Self| number.is_finite());
        number.ok_or_else(|| cannot_be(key, text, "it takes a number, as 0.8"))
    }

    fn shown(&self) -> String {
        self.to_string()
    }
}
