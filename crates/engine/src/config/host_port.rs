//! Host and port, as settings and brokers write them.

use std::fmt;
use std::net::{AddrParseError, Ipv4Addr, Ipv6Addr};
use std::num::ParseIntError;
use std::str::FromStr;

use super::security::protocol::SecurityProtocol;
use crate::error::printable;

/// A host and its port.
///
/// ```
/// let host: kurier::HostPort = "[::1]:9092".parse()?;
/// assert_eq!((host.host.as_str(), host.port), ("::1", 9092));
/// # Ok::<(), kurier::InvalidHostPort>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// A DNS name or an IP address; an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl HostPort {
    /// Converts a node's address in a broker's response. Returns `None` unless the host has 1 to 255 printable ASCII
    /// characters and the port is 1 to 65535.
    #[must_use]
    pub fn of_node(host: &str, port: i32) -> Option<Self> {
        let port = u16::try_from(port).ok().filter(|port| *port > 0)?;
        let is_possible = (1..=255).contains(&host.len()) && host.chars().all(|letter| letter.is_ascii_graphic());
        is_possible.then(|| Self { host: host.to_owned(), port })
    }

    /// Parses a comma-separated list of servers. Ignores empty entries, as Java does, and does not count them.
    ///
    /// ```
    /// let servers = kurier::HostPort::list("kafka-1:9092, PLAINTEXT://kafka-2:9092")?;
    /// assert_eq!((servers.len(), servers[1].host.as_str()), (2, "kafka-2"));
    /// # Ok::<(), kurier::InvalidHostPort>(())
    /// ```
    ///
    /// # Errors
    /// Quotes the first wrong entry, and shows the right form. An entry with `@`, `?` or `=` may contain a password,
    /// and the comma before it may be part of the password: then the error has only that entry's number.
    pub fn list(text: &str) -> Result<Vec<Self>, InvalidHostPort> {
        entries(text)?.map(Self::from_str).collect()
    }

    /// Like [`list`](Self::list), for servers that may have the name of any security protocol as a scheme.
    pub(super) fn list_with_schemes(text: &str) -> Result<Vec<(Option<SecurityProtocol>, Self)>, InvalidHostPort> {
        entries(text)?.map(parse_with_scheme).collect()
    }
}

/// Returns the entries of a list of servers, if no entry has a password.
fn entries(text: &str) -> Result<impl Iterator<Item = &str>, InvalidHostPort> {
    let entries = || text.split(',').map(str::trim).filter(|server| !server.is_empty());
    for (server, number) in entries().zip(1..) {
        refuse_password(server).map_err(|flaw| flaw.of(&format!("entry {number}")))?;
    }
    Ok(entries())
}

impl fmt::Display for HostPort {
    /// Escapes control characters, because hosts also come from brokers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = printable(&self.host);
        if self.host.contains(':') { write!(f, "[{host}]:{}", self.port) } else { write!(f, "{host}:{}", self.port) }
    }
}

impl FromStr for HostPort {
    type Err = InvalidHostPort;

    /// Parses `host:port`, with brackets around an IPv6 address. Accepts the prefix `PLAINTEXT://`, because listeners
    /// are often copied with their protocol.
    fn from_str(text: &str) -> Result<Self, InvalidHostPort> {
        match parse_with_scheme(text)? {
            (None | Some(SecurityProtocol::Plaintext), server) => Ok(server),
            (Some(scheme), server) => {
                let text = format!("{server} has the scheme {scheme}://, and an address takes none but PLAINTEXT://");
                Err(InvalidHostPort { text, cause: None })
            }
        }
    }
}

/// Parses `host:port` behind the name of a security protocol and `://`, or without one.
fn parse_with_scheme(text: &str) -> Result<(Option<SecurityProtocol>, HostPort), InvalidHostPort> {
    refuse_password(text).map_err(|flaw| flaw.of("the address"))?;
    let quoted = format!("\"{}\"", printable(text));
    let (scheme, address) = match text.rsplit_once("://") {
        Some((scheme, address)) => (Some(SecurityProtocol::named(scheme).ok_or_else(|| unknown(&quoted))?), address),
        None => (None, text),
    };
    let flaw = match parse(address) {
        Ok(server) => return Ok((scheme, server)),
        Err(flaw) => flaw,
    };
    // A misspelled scheme, as in PLAINTEXT//kafka:9092, would look like a path behind the port.
    Err(match misspelled(address) {
        Some((scheme, server)) if SecurityProtocol::named(scheme).is_some() => {
            Flaw::from(format!("write {scheme}://{server}")).of(&quoted)
        }
        Some(("", server)) => Flaw::from(format!("write {server}")).of(&quoted),
        Some(_) => unknown(&quoted),
        None => flaw.of(&quoted),
    })
}

/// A text that is not `host:port`.
///
/// The error quotes the text and shows the right form. Its source is the standard library's error, if the text has a
/// number or an address that cannot be parsed.
///
/// ```
/// let error = "kafka".parse::<kurier::HostPort>().unwrap_err();
/// assert_eq!(error.to_string(), "\"kafka\" is not host:port: the port is missing: write kafka:9092");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidHostPort {
    text: String,
    cause: Option<Cause>,
}

impl fmt::Display for InvalidHostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for InvalidHostPort {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self.cause.as_ref()? {
            Cause::Port(error) => Some(error),
            Cause::Address(error) => Some(error),
        }
    }
}

/// The standard library's error for a part of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cause {
    Port(ParseIntError),
    Address(AddrParseError),
}

/// The fault of an address, with the right form.
struct Flaw {
    text: String,
    cause: Option<Cause>,
}

impl Flaw {
    /// Returns the error for the text that has this flaw.
    fn of(self, what: &str) -> InvalidHostPort {
        InvalidHostPort { text: format!("{what} is not host:port: {}", self.text), cause: self.cause }
    }

    fn caused_by(self, cause: Cause) -> Self {
        Self { cause: Some(cause), ..self }
    }
}

impl<T: Into<String>> From<T> for Flaw {
    fn from(text: T) -> Self {
        Self { text: text.into(), cause: None }
    }
}

fn unknown(quoted: &str) -> InvalidHostPort {
    let text = format!(
        "{quoted} has a scheme that is no security.protocol: write host:port, and set security.protocol to PLAINTEXT, SSL, \
         SASL_PLAINTEXT or SASL_SSL"
    );
    InvalidHostPort { text, cause: None }
}

/// Splits a server behind a misspelled scheme, such as `PLAINTEXT//` or `PLAINTEXT:/`.
fn misspelled(text: &str) -> Option<(&str, HostPort)> {
    let (before, server) = text.rsplit_once('/')?;
    let scheme = before.trim_end_matches([':', '/']);
    let is_scheme = scheme.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    parse(server).ok().filter(|_| is_scheme).map(|server| (scheme, server))
}

/// Refuses text that may contain a password. The error quotes no part of it.
fn refuse_password(text: &str) -> Result<(), Flaw> {
    let what = match text {
        _ if text.contains('@') => "remove the name and the password before the host",
        _ if text.contains(['?', '=']) => "remove the parameters after the port",
        _ => return Ok(()),
    };
    Err(format!("{what}, as in kafka-1:9092").into())
}

/// Parses `host:port`. An error says what is wrong and shows the right form.
fn parse(text: &str) -> Result<HostPort, Flaw> {
    let is_quote = |letter| matches!(letter, '"' | '\'' | '`' | '“' | '”' | '„' | '‘' | '’');
    let wrong = |why: &str| Err(why.into());
    if text.contains(is_quote) {
        return wrong("remove the quotation marks");
    }
    if text.contains(|letter: char| letter == ';' || letter.is_whitespace()) {
        return wrong("separate servers by commas, as kafka-1:9092,kafka-2:9092");
    }
    if text.contains('/') {
        return wrong("remove the slash and everything after it");
    }
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            check_ipv6(address)?;
            let port = rest.strip_prefix(':').unwrap_or(rest);
            if !port.is_empty() && port == rest {
                let text = format!("a colon must separate host and port: write [{address}]:{}", suggested(port));
                return Err(text.into());
            }
            (address, port)
        }
        None if text.contains(['[', ']']) => return wrong(BRACKETS),
        None => {
            let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
            let is_ipv6 = |letter: char| letter.is_ascii_hexdigit() || matches!(letter, ':' | '.');
            if host.contains(':') && host.chars().all(is_ipv6) {
                return wrong("write an IPv6 address in brackets, as [::1]:9092");
            }
            check_host(host)?;
            (host, port)
        }
    };
    if port.is_empty() {
        let shown = HostPort { host: host.to_owned(), port: 9092 };
        return Err(format!("the port is missing: write {shown}").into());
    }
    // Rust's parser accepts a leading plus sign.
    let is_number = port.bytes().all(|digit| digit.is_ascii_digit());
    let not_a_port = || Flaw::from("the port must be a number from 1 to 65535");
    match port.parse() {
        Ok(port) if is_number && port > 0 => Ok(HostPort { host: host.to_owned(), port }),
        Ok(_) => Err(not_a_port()),
        Err(error) => Err(not_a_port().caused_by(Cause::Port(error))),
    }
}

const BRACKETS: &str = "use brackets only around an IPv6 address, as [::1]:9092";

/// Returns this port for an example, or Kafka's default port.
fn suggested(port: &str) -> u16 {
    port.parse().unwrap_or(9092)
}

/// Checks an IPv6 address, which may have a zone, as in `fe80::1%eth0`.
fn check_ipv6(address: &str) -> Result<(), Flaw> {
    let (address, zone) = address.split_once('%').unwrap_or((address, "0"));
    let is_zone = !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    match address.parse::<Ipv6Addr>() {
        Ok(_) if is_zone => Ok(()),
        Ok(_) => Err(BRACKETS.into()),
        Err(error) => Err(Flaw::from(BRACKETS).caused_by(Cause::Address(error))),
    }
}

/// Checks that a host is a DNS name or an IPv4 address. Allows underscores: host names should not have them, but
/// container networks use them.
fn check_host(host: &str) -> Result<(), Flaw> {
    /// RFC 1035, without the final dot.
    const NAME_MAX: usize = 253;
    /// RFC 1035.
    const LABEL_MAX: usize = 63;
    if host.is_empty() {
        return Err("the host is missing".into());
    }
    let is_possible = |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    if let Some(letter) = host.chars().find(|letter| !is_possible(letter)) {
        let hint = if letter.is_ascii() { "" } else { "; write an international name in its ASCII form, as xn--…" };
        return Err(format!("a host cannot contain '{}'{hint}", printable(&letter.to_string())).into());
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.len() > NAME_MAX {
        return Err(format!("the host has more than {NAME_MAX} characters").into());
    }
    let labels: Vec<&str> = name.split('.').collect();
    if labels.iter().any(|label| !(1..=LABEL_MAX).contains(&label.len())) {
        return Err(format!("each part of a host between two dots has 1 to {LABEL_MAX} characters").into());
    }
    let is_ipv4 = labels.len() == 4 && labels.iter().all(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    if is_ipv4 && let Err(error) = name.parse::<Ipv4Addr>() {
        return Err(Flaw::from(format!("{name} is not an IPv4 address")).caused_by(Cause::Address(error)));
    }
    Ok(())
}
