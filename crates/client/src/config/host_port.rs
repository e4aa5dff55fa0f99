//! Hosts with their ports, as settings and brokers name them.

use std::fmt;
use std::str::FromStr;

use crate::error::printable;

/// A host and its port.
///
/// ```
/// let host: kurier::HostPort = "[::1]:9092".parse()?;
/// assert_eq!((host.host.as_str(), host.port), ("::1", 9092));
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// A name or an address; of IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl HostPort {
    /// Where a broker says that a node is; `None` where none can be: the host has 1 to 255 characters, which are printed
    /// in ASCII, and the port is 1 to 65535.
    #[must_use]
    pub fn of_node(host: &str, port: i32) -> Option<Self> {
        let port = u16::try_from(port).ok().filter(|port| *port > 0)?;
        let is_possible = (1..=255).contains(&host.len()) && host.chars().all(|letter| letter.is_ascii_graphic());
        is_possible.then(|| Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for HostPort {
    /// With control characters shown, for brokers tell hosts too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = printable(&self.host);
        if self.host.contains(':') { write!(f, "[{host}]:{}", self.port) } else { write!(f, "{host}:{}", self.port) }
    }
}

impl FromStr for HostPort {
    type Err = String;

    /// `host:port`, with brackets around an address of IPv6.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{text:?} is no host:port: {why}");
        // Listeners are often copied with their protocol.
        let rest = text.rsplit_once("://").map_or(text, |(_, rest)| rest);
        let (host, port) = rest.rsplit_once(':').ok_or_else(|| wrong("the port is missing"))?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => address,
            None if host.contains(':') => return Err(wrong("an address of IPv6 stands in brackets, as [::1]:9092")),
            None => host,
        };
        if host.is_empty() {
            return Err(wrong("the host is missing"));
        }
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(|| wrong("the port is 1 to 65535"))?;
        Ok(Self { host: host.to_owned(), port })
    }
}
