//! Report of the settings in force, and the reason for each.

use std::fmt;

use super::Config;
use super::origin::Origin;

impl Config {
    /// Lists every setting with its value and its origin, the settings that were adjusted and why, and the keys that
    /// were given but have no effect. Shows no secret.
    #[must_use]
    pub fn explain(&self) -> Vec<Explained> {
        let setting = |(key, value, default): (&'static str, String, String)| {
            let origin = self.made.get(key).map_or(Origin::Default, |made| made.origin.clone());
            let shown = if default.is_empty() { "none" } else { default.as_str() };
            let set = match &origin {
                Origin::Default => "default".to_owned(),
                Origin::Variable(_) | Origin::Jaas => format!("set by {origin} (default {shown})"),
                _ => format!("set in {origin} (default {shown})"),
            };
            let note = match (self.adjusted.get(key), self.unused.get(key)) {
                (Some(why), _) => Some(format!("adjusted to {why}")),
                (None, Some(why)) => Some(format!("without effect: {why}")),
                (None, None) => None,
            };
            let why = match &note {
                Some(note) if origin == Origin::Default => note.clone(),
                Some(note) => format!("{set}, {note}"),
                None => set,
            };
            Explained { key: key.to_owned(), value: Some(value), default: Some(default), origin, note, why }
        };
        let ignored = |(key, (why, origin)): (&String, &(&str, Origin))| {
            let note = format!("ignored: {why}");
            let (origin, why) = (origin.clone(), note.clone());
            Explained { key: key.clone(), value: None, default: None, origin, note: Some(note), why }
        };
        self.values().into_iter().map(setting).chain(self.ignored.iter().map(ignored)).collect()
    }
}

/// One line of [`Config::explain`].
///
/// ```
/// let mut config = kurier::Config::default();
/// config.set("linger.ms", "20")?;
/// let linger = config.explain().into_iter().find(|line| line.key == "linger.ms").unwrap();
/// assert_eq!(linger.to_string(), "linger.ms=20 # set in code (default 5)");
/// # Ok::<(), kurier::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explained {
    /// The key, in Java's name.
    pub key: String,
    /// The value in force, which is `[hidden]` for a secret; `None` if the key has no effect here.
    pub value: Option<String>,
    /// The default, which is empty if there is none; `None` if the key has no effect here.
    pub default: Option<String>,
    /// Where the value comes from.
    pub origin: Origin,
    /// Whether the value was adjusted, has no effect, or is ignored, and why; `None` for a value in force as it was set.
    pub note: Option<String>,
    /// Whether the value is the default, was set and where, and the note.
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
