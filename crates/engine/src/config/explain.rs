//! Report of the settings in force, and the reason for each.

use std::fmt;

use super::Config;

impl Config {
    /// Lists every setting with its value, the settings that were adjusted and why, and the keys that were given but
    /// have no effect.
    #[must_use]
    pub fn explain(&self) -> Vec<Explained> {
        let setting = |(key, value, default): (&'static str, String, String)| {
            let why = match (self.adjusted.get(key), self.unused.get(key)) {
                (Some(why), _) => format!("adjusted to {why}"),
                (None, Some(why)) => format!("set, without effect: {why}"),
                (None, None) if self.is_made(key) => format!("set (default {default})"),
                (None, None) => "default".to_owned(),
            };
            Explained { key: key.to_owned(), value: Some(value), why }
        };
        let ignored =
            |(key, why): (&String, &&str)| Explained { key: key.clone(), value: None, why: format!("ignored: {why}") };
        self.values().into_iter().map(setting).chain(self.ignored.iter().map(ignored)).collect()
    }
}

/// One line of [`Config::explain`].
///
/// ```
/// let mut config = kurier::Config::default();
/// config.set("linger.ms", "20")?;
/// let linger = config.explain().into_iter().find(|line| line.key == "linger.ms").unwrap();
/// assert_eq!(linger.to_string(), "linger.ms=20 # set (default 5)");
/// # Ok::<(), kurier::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explained {
    /// The key, in Java's name.
    pub key: String,
    /// The value in force; `None` if the key has no effect here.
    pub value: Option<String>,
    /// Whether the value is the default, was set, was adjusted, or is ignored, and why.
    pub why: String,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value} # {}", self.key, self.why),
            None => write!(f, "# {} {}", self.key, self.why),
        }
    }
}
