//! Values with a special meaning in Java or librdkafka, and units of librdkafka that differ.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Cap of every duration, 100 years, to avoid `Instant` overflow.
pub const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Numbers that switch a setting off.
struct Off {
    /// The setting's name in Java.
    name: &'static str,
    numbers: RangeInclusive<i64>,
    instead: Instead,
    why: &'static str,
}

enum Instead {
    Forever,
    SystemDefault,
}

/// Java's rules are those of `ProducerConfig` and `Selector`, librdkafka's those of its CONFIGURATION.md. If Java does
/// not use such a number, librdkafka's meaning counts for both names of the setting.
const OFF: &[Off] = &[
    Off {
        name: "connections.max.idle.ms",
        numbers: i64::MIN..=0,
        instead: Instead::Forever,
        why: "-1 (Java) and 0 (librdkafka) mean never",
    },
    Off {
        name: "metadata.max.age.ms",
        numbers: -1..=-1,
        instead: Instead::Forever,
        why: "-1 means never in librdkafka's topic.metadata.refresh.interval.ms",
    },
    Off {
        name: "delivery.timeout.ms",
        numbers: 0..=0,
        instead: Instead::Forever,
        why: "0 means no limit in librdkafka",
    },
    Off { name: "send.buffer.bytes", numbers: 0..=0, instead: Instead::SystemDefault, why: SYSTEM },
    Off { name: "receive.buffer.bytes", numbers: 0..=0, instead: Instead::SystemDefault, why: SYSTEM },
];

const SYSTEM: &str = "0 leaves it to the system in librdkafka";

/// Replacement for a special value.
pub(super) struct Special {
    /// The value in Kurier's own form.
    pub(super) text: String,
    /// Why the value was replaced, if that needs an explanation.
    pub(super) why: Option<&'static str>,
}

/// Returns the replacement for a special value. `name` is the setting's name in Java, `key` the name as it was written.
pub(super) fn special(name: &str, key: &str, value: &str) -> Option<Special> {
    if key == "ssl.ca.location" && value == "probe" {
        return Some(Special { text: String::new(), why: Some("probe means the system's authorities in librdkafka") });
    }
    let number: i64 = value.parse().ok()?;
    if key == "queue.buffering.max.kbytes" {
        return Some(Special { text: i128::from(number).saturating_mul(1024).to_string(), why: None });
    }
    let off = OFF.iter().find(|off| off.name == name && off.numbers.contains(&number))?;
    let text = match off.instead {
        Instead::Forever => FOREVER.as_millis().to_string(),
        Instead::SystemDefault => "-1".to_owned(),
    };
    Some(Special { text, why: Some(off.why) })
}
