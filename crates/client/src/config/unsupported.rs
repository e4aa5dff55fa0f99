//! Keys that are no settings of this producer: some mean nothing here, others ask for what Kurier cannot do yet.

use super::{Config, refused};
use crate::error::Error;

/// Java's keys that mean nothing here, and why.
const MEANINGLESS: &[(&str, &str)] = &[
    ("key.serializer", "serializers are given to the builder"),
    ("value.serializer", "serializers are given to the builder"),
    ("interceptor.classes", "there are no classes to load"),
    ("metric.reporters", "there are no classes to load"),
    ("config.providers", "there are no classes to load"),
    ("security.providers", "there are no classes to load"),
    ("metrics.num.samples", "metrics are counted, not sampled"),
    ("metrics.sample.window.ms", "metrics are counted, not sampled"),
    ("metrics.recording.level", "metrics are counted, not sampled"),
    ("auto.include.jmx.reporter", "there is no JMX"),
    ("enable.metrics.push", "metrics are not yet pushed to brokers"),
    ("transaction.timeout.ms", "there are no transactions yet"),
];

/// Keys that promise what cannot be kept yet, or, with a dot at the end, the beginnings of such; the values under which
/// nothing is lost; and what to do now.
const NOT_YET: &[(&str, &[&str], &str)] = &[
    ("security.protocol", &["PLAINTEXT", "plaintext"], PLAINTEXT_ALONE),
    ("ssl.", &[], PLAINTEXT_ALONE),
    ("sasl.", &[], PLAINTEXT_ALONE),
    ("transactional.id", &[""], "transactions are to come"),
];

const PLAINTEXT_ALONE: &str = "TLS and SASL are to come; use a PLAINTEXT listener of the brokers";

impl Config {
    /// Notes a key that is no setting, if nothing is lost by it.
    pub(super) fn set_aside(&mut self, key: &str, value: &str) -> Result<(), Error> {
        if let Some((_, why)) = MEANINGLESS.iter().find(|(known, _)| *known == key) {
            self.ignored.insert(key.to_owned(), why);
            return Ok(());
        }
        let is_it = |known: &str| key == known || (known.ends_with('.') && key.starts_with(known));
        let promised = NOT_YET.iter().find(|(known, ..)| is_it(known));
        let (why, is_harmless) = match promised {
            Some((_, harmless, _)) if harmless.contains(&value) => ("it is so anyway", true),
            Some(_) => ("it cannot be followed yet", false),
            None => ("it is not known", false),
        };
        if is_harmless || !self.strict {
            self.ignored.insert(key.to_owned(), why);
            return Ok(());
        }
        if let Some((_, values, remedy)) = promised {
            // The value may be a password, unless some are known.
            let shown = if values.is_empty() { String::new() } else { format!("={value}") };
            return Err(refused(format!("{key}{shown} cannot be followed yet: {remedy}")));
        }
        let names = Self::KEYS.iter().copied().flatten().chain(MEANINGLESS.iter().map(|(key, _)| key));
        // What is much longer than any name is near to none, and would take long to compare.
        let beginning: String = key.chars().take(64).collect();
        let nearest = names.min_by_key(|name| strsim::osa_distance(name, &beginning)).copied().unwrap_or_default();
        Err(refused(format!("{key} is no setting of a producer: did you mean {nearest}?")))
    }
}
