//! The place of the tokens for `OAUTHBEARER`: a file, or a token endpoint.

use std::fmt;
use std::path::PathBuf;

use super::super::host_port::HostPort;
use super::super::values::{Value, cannot_be, refused};
use crate::error::Error;

/// The place of the tokens, written as a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub enum TokenUrl {
    File(PathBuf),
    Endpoint(EndpointUrl),
}

impl Value for TokenUrl {
    /// An error does not quote the URL of an endpoint, which may have a password.
    fn read(key: &str, text: &str) -> Result<Self, Error> {
        if let Some(path) = text.strip_prefix("file:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            let is_plain = path.starts_with('/') && !path.contains(['%', '?', '#']);
            let wrong = || cannot_be(key, text, "it is as file:///run/secrets/token");
            return if is_plain { Ok(Self::File(path.into())) } else { Err(wrong()) };
        }
        EndpointUrl::read(text).map(Self::Endpoint).map_err(|why| refused(format!("{key} cannot be used: {why}")))
    }

    fn shown(&self) -> String {
        match self {
            Self::File(path) => format!("file://{}", path.display()),
            Self::Endpoint(url) => url.to_string(),
        }
    }
}

/// The URL of a token endpoint. `Display` leaves the query out.
///
/// See [`SecurityConfig`](super::SecurityConfig) for an example.
#[derive(Clone, PartialEq, Eq)]
pub struct EndpointUrl {
    /// Whether the URL begins with `https:`, not with `http:`.
    pub is_encrypted: bool,
    /// The host and the port, which is the scheme's if the URL has none.
    pub server: HostPort,
    /// The host and the port as written.
    pub authority: String,
    /// The path with the query.
    pub target: String,
}

impl EndpointUrl {
    fn read(text: &str) -> Result<Self, &'static str> {
        const FORMS: &str = "it is as https://host/token or file:///run/secrets/token";
        if text.len() > LENGTH_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("it is longer than 8 KiB, or has characters that a URL has as %XX");
        }
        let (scheme, rest) = text.split_once("://").ok_or(FORMS)?;
        let (is_encrypted, port) = match scheme.to_ascii_lowercase().as_str() {
            "https" => (true, 443),
            "http" => (false, 80),
            _ => return Err(FORMS),
        };
        let (authority, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') || target.contains('#') {
            return Err("a user name, a password or a # has no place in it");
        }
        let has_port = authority.rsplit(']').next().is_some_and(|end| end.contains(':'));
        let server = if has_port { authority.to_owned() } else { format!("{authority}:{port}") };
        let server = server.parse().map_err(|_| "its host or its port is wrong; it is as https://host:8443/token")?;
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok(Self { is_encrypted, server, authority: authority.to_owned(), target })
    }
}

/// The longest URL, in bytes.
const LENGTH_MAX: usize = 8 << 10;

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_encrypted { "https" } else { "http" };
        let path = self.target.split('?').next().unwrap_or_default();
        write!(f, "{scheme}://{}{path}", self.authority)
    }
}

impl fmt::Debug for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_has_scheme_server_and_target() {
        for (text, is_encrypted, server, target, shown) in [
            ("https://h/token", true, "h:443", "/token", "https://h/token"),
            ("HTTPS://h:8443/a/b?k=hunter2", true, "h:8443", "/a/b?k=hunter2", "https://h:8443/a/b"),
            ("http://[::1]:1", false, "[::1]:1", "/", "http://[::1]:1/"),
            ("http://[::1]", false, "[::1]:80", "/", "http://[::1]/"),
            ("https://h?a=b", true, "h:443", "/?a=b", "https://h/"),
        ] {
            let url = EndpointUrl::read(text).unwrap();
            assert_eq!((url.is_encrypted, url.server.to_string().as_str()), (is_encrypted, server), "{text}");
            assert_eq!((url.target.as_str(), url.to_string().as_str()), (target, shown), "{text}");
            assert!(!format!("{url:?}").contains("hunter2"));
        }
    }

    #[test]
    fn other_urls_are_refused_and_not_quoted() {
        let long = format!("https://h/{}", "x".repeat(LENGTH_MAX));
        for (text, why) in [
            ("h/token", "it is as https://host/token or file:///run/secrets/token"),
            ("ftp://hunter2/token", "it is as https://host/token"),
            ("https://u:hunter2@h/token", "a user name, a password or a # has no place in it"),
            ("https://h/token#hunter2", "a # has no place in it"),
            ("https://h/hunter2 x", "it is longer than 8 KiB, or has characters"),
            (&long, "it is longer than 8 KiB"),
            ("https:///token", "its host or its port is wrong"),
            ("https://hunter2:0/token", "its host or its port is wrong"),
            ("https://hunter2:99999/", "its host or its port is wrong"),
            ("https://::1/token", "its host or its port is wrong"),
        ] {
            let error = TokenUrl::read("sasl.oauthbearer.token.endpoint.url", text).unwrap_err();
            let shown = format!("{error:#}");
            assert!(shown.contains(why) && !shown.contains("hunter2") && shown.len() < 300, "{text}: {shown}");
        }
    }
}
